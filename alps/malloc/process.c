/* The heap of a process: when it opens, what it is, and what becomes of it by fork and as threads
 * end.
 *
 * Opening: at the first call, whichever that is: libraries' constructors allocate before the
 * program runs. What opens the heap allocates itself, as libc does for it: a thread that is inside
 * a call of the heap library, by its own flag, is served by the arena. So is everybody before the
 * constructor here, which gets the environment that says where the heap is to be, whatever the
 * program does to it later. Nothing ever comes from glibc's malloc, since all of its names are
 * here.
 *
 * Nothing closes the heap: handlers of exit and destructors of other libraries go on using it, and
 * the kernel takes it all back, as after a kill.
 *
 * Fork: after it the child goes on with the memory that the parent had at that moment, and neither
 * sees what the other writes. Without a file the heap is made of memory that the kernel copies on
 * write. All metadata is copied with it, in whatever state other threads, which the child has not,
 * had left it; so the child takes its copy for a heap whose owner was killed, and becomes another
 * instance in it, with a generation of its own (heap_private.c). In a file, the parent's blocks are
 * copied for the child (inherited.c), which opens the heap once more. Either is done at the child's
 * first call that needs it: a child that only calls exec does not. If by then it cannot open the
 * file any more, having given up the rights or the root directory of before, its new blocks are in
 * a private heap. Locks: those of the arena and of opening are held through the fork by its
 * handlers, which must be the first that any library registers: then other handlers may allocate,
 * and change in the parent what they hold locks for, until the copy is made. The linker's flag
 * initfirst sees to that.
 *
 * A file outlives the programs: each opening notes its generation in a root of the heap, and frees
 * in bulk what dead ones have left that are noted there.
 *
 * Thread ends: the library lets go of what a thread holds in a destructor of thread-specific data.
 * Other such destructors, and libc after them, still allocate and free. From the destructor here
 * on, which comes after the library's, each call of the thread lets go of everything again. */
#include "process.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "heap.h"
#include "size.h"

#define HEAP_VARIABLE "ALPS_MALLOC_HEAP"
#define SIZE_VARIABLE "ALPS_MALLOC_SIZE"

#define DEFAULT_SIZE (64 * GIB)
#define DEFAULT_SIZE_MAX (4 * TIB)
#define SMALLEST_SIZE (64 * MIB) /* that is tried by itself */

/* Blocks may be aligned to as much as the heap's address is. */
#define BASE_ALIGNMENT ALPS_ALIGNMENT_MAX
#define ADDRESSES (17 * TIB) /* more than any heap has */

alps_heap_t *process_heap;
char *process_base;

/* DRAM: changes under the lock, or in a forked child. */
static enum { CLOSED, OPEN, FORKED } state;
static char file[PATH_MAX]; /* that the heap is in: its full path */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t end_key;
static char **environment; /* as the program got it */

static __attribute__((tls_model("initial-exec"))) __thread struct {
    bool inside; /* a call of the heap library */
    bool known;  /* its end will be noticed */
    bool ending;
} this_thread;

void process_die(int how, const char *format, ...)
{
    char line[1024];
    int length = snprintf(line, sizeof line, "libalps-malloc: ");
    va_list arguments;
    va_start(arguments, format);
    length += vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
    va_end(arguments);
    length = length < (int)sizeof line - 1 ? length : (int)sizeof line - 2;
    line[length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    (void)written; /* there is nobody else to tell */
    if (how == PROCESS_ABORT)
        abort();
    _exit(how);
}

bool process_heap_is_private(void)
{
    return heap_layout(process_heap)->region.anonymous;
}

/* ---- opening ---- */

/* A variable, unless the program has more rights than who set it. */
static const char *get_variable(const char *name)
{
    const size_t length = strlen(name);
    if (getauxval(AT_SECURE) != 0)
        return NULL;
    for (char **entry = environment; *entry != NULL; entry++)
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
            return *entry + length + 1;
    return NULL;
}

/* A well aligned address with much room after it; NULL if there is none. */
static void *find_addresses(void)
{
    char *p = mmap(NULL, ADDRESSES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    munmap(p, ADDRESSES);
    return p + (align_up((uintptr_t)p, BASE_ALIGNMENT) - (uintptr_t)p);
}

/* As much as the program could ever use. */
static uint64_t default_size(void)
{
    struct sysinfo info;
    uint64_t bytes = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
    return min_u64(max_u64(2 * bytes, DEFAULT_SIZE), DEFAULT_SIZE_MAX);
}

/* less: a smaller heap will do, if limits of the process, or a kernel that wants memory behind
 * every address, leave no room for that. */
static int open_private(uint64_t size, bool less)
{
    struct alps_create_options o = {.struct_size = sizeof o, .max_instances = 64};
    int rc;
    do {
        o.size = o.capacity = size;
        /* Few zones, so that little is touched to begin with. */
        o.zone_size = (uint64_t)1 << log2_floor(size / 64);
        o.zone_size = min_u64(max_u64(o.zone_size, LAYOUT_ZONE_SIZE_MIN), LAYOUT_ZONE_SIZE_MAX);
        rc = heap_private_open(&o, find_addresses(), &process_heap);
        size /= 2;
    } while (less && (rc == -EFBIG || rc == -ENOMEM) && size >= SMALLEST_SIZE);
    return rc;
}

/* ---- a heap in a file ---- */

static int open_file(const char *path)
{
    const struct alps_open_options o = {.struct_size = sizeof o, .map_hint = find_addresses()};
    return alps_heap_open(path, &o, &process_heap);
}

static int create_file(const char *path, uint64_t size)
{
    const struct alps_create_options o = {
        .struct_size = sizeof o, .size = min_u64(size, GIB), .capacity = size};
    int rc = alps_heap_create(path, &o);
    return rc == -EEXIST ? 0 : rc; /* somebody was faster */
}

static int open_or_create_file(const char *path, uint64_t size)
{
    int rc = open_file(path);
    if (rc == -ENOENT && (rc = create_file(path, size)) == 0)
        rc = open_file(path);
    /* Somebody may be creating it. */
    for (unsigned ms = 0; (rc == -EMEDIUMTYPE || rc == -EBUSY) && ms < 100; ms++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        rc = open_file(path);
    }
    return rc;
}

#define ROOT_PREFIX "alps-malloc."

struct generations {
    unsigned count;
    alps_gen_t numbers[ALPS_ROOT_MAX];
};

static int note_generation(const char *name, alps_ptr_t p, void *context)
{
    struct generations *noted = (struct generations *)context;
    const size_t prefix = sizeof ROOT_PREFIX - 1;
    (void)p;
    if (strncmp(name, ROOT_PREFIX, prefix) == 0 && noted->count < ALPS_ROOT_MAX)
        noted->numbers[noted->count++] = strtoull(name + prefix, NULL, 10);
    return 0;
}

static void set_root(alps_gen_t generation, alps_ptr_t p)
{
    char name[ALPS_ROOT_NAME_MAX + 1];
    snprintf(name, sizeof name, ROOT_PREFIX "%llu", (unsigned long long)generation);
    alps_root_set(process_heap, name, p);
}

/* What fails here is left to the next one, or to the user. */
static void free_what_the_dead_left(void)
{
    static struct generations noted;
    noted.count = 0;
    alps_root_walk(process_heap, note_generation, &noted);
    for (unsigned i = 0; i < noted.count; i++) {
        int rc = alps_bulk_free(process_heap, noted.numbers[i]);
        if (rc == 0 || rc == -ENOENT)
            set_root(noted.numbers[i], ALPS_NULL);
    }
    alps_ptr_t p = alps_malloc(process_heap, 1, ALPS_ANY_NODE);
    if (p != ALPS_NULL)
        set_root(alps_heap_generation(process_heap), p);
}

/* ---- one or the other ---- */

static void open_heap(void)
{
    const char *size_text = get_variable(SIZE_VARIABLE), *path = get_variable(HEAP_VARIABLE);
    uint64_t size = default_size();
    int rc;
    if (size_text != NULL) {
        const char *problem = parse_positive_size(size_text, &size);
        if (problem != NULL)
            process_die(PROCESS_NO_START, "%s=%s: %s", SIZE_VARIABLE, size_text, problem);
    }
    if (path != NULL) {
        rc = open_or_create_file(path, size);
        if (rc == 0 && realpath(path, file) == NULL)
            process_die(PROCESS_NO_START, "%s: %s", path, strerror(errno));
    } else {
        rc = open_private(size, size_text == NULL);
    }
    if (rc != 0)
        process_die(PROCESS_NO_START, "%s", alps_error_detail());
}

static void open_again(void)
{
    int rc;
    if (process_heap != NULL)
        rc = heap_private_inherit(process_heap);
    else if ((rc = open_file(file)) != 0)
        rc = open_private(default_size(), true);
    if (rc != 0)
        process_die(PROCESS_NO_START, "after a fork: %s", alps_error_detail());
}

/* ---- fork, the ends of threads ---- */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
    arena_lock();
    if (state == OPEN && !process_heap_is_private())
        inherited_stage(process_heap, process_heap->base.base, process_heap->base.length);
}

static void after_fork_in_parent(void)
{
    if (state == OPEN && !process_heap_is_private())
        inherited_drop();
    arena_unlock();
    pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    if (state == OPEN && !process_heap_is_private()) {
        if (!inherited_take())
            process_die(PROCESS_NO_START, "%s: no memory for a forked child's copy", file);
        process_heap = NULL;
        process_base = NULL;
    }
    if (state == OPEN)
        state = FORKED;
    arena_unlock();
    pthread_mutex_unlock(&lock);
}

static void at_thread_end(void *unused)
{
    (void)unused;
    this_thread.ending = true;
}

/* The library's handlers first: in a child they come before ours, and both before all others. */
static void register_handlers(void)
{
    cache_register_handlers();
    pthread_key_create(&end_key, at_thread_end);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

__attribute__((constructor)) static void before_all_libraries(int count, char **arguments,
                                                              char **variables)
{
    (void)count, (void)arguments;
    environment = variables;
    pthread_once(&once, register_handlers);
}

/* ---- calls ---- */

static __attribute__((noinline, cold)) bool make_ready(void)
{
    const int error = errno;
    if (environment == NULL)
        return false;
    pthread_once(&once, register_handlers);
    pthread_mutex_lock(&lock);
    if (state == CLOSED)
        open_heap();
    else if (state == FORKED)
        open_again();
    if (state != OPEN && !process_heap_is_private()) {
        descriptors_hide();
        free_what_the_dead_left();
    }
    process_base = process_heap->base.base;
    __atomic_store_n(&state, OPEN, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    errno = error;
    return true;
}

bool process_enter(void)
{
    if (this_thread.inside)
        return false;
    this_thread.inside = true;
    if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) != OPEN && !make_ready()) {
        this_thread.inside = false;
        return false;
    }
    if (!this_thread.known) {
        this_thread.known = true;
        pthread_setspecific(end_key, &this_thread);
    }
    return true;
}

void process_leave(void)
{
    if (this_thread.ending)
        cache_thread_end();
    this_thread.inside = false;
}
