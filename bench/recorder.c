/* libalps-trace.so: records what an unmodified program allocates and frees.
 *
 *     ALPS_TRACE=FILE LD_PRELOAD=libalps-trace.so PROGRAM
 *
 * Idea: the library's malloc and the like call glibc's and append a line to the file (format:
 * doc/trace.md). A table of addresses gives each block its number. A free is recorded before the
 * block goes and a malloc after it has come, so under one lock the lines are in an order that could
 * have been a single thread's.
 *
 * The file must not exist: the process that makes it is recorded, its children are not. Without
 * ALPS_TRACE, or if the file cannot be made, nothing is recorded; that is said on stderr. All
 * memory of the library's own comes from mmap. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define NO_BLOCK UINT64_MAX
#define TABLE_FIRST (UINT64_C(1) << 16)
#define LINE_MAX 64
#define VARIABLE "ALPS_TRACE"

/* glibc's own names for its allocator. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

struct entry {
    uintptr_t address; /* 0: empty */
    uint64_t block;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int fd = -1; /* -1: nothing is recorded */
static uint64_t blocks;
static char text[1 << 16];
static size_t text_length;

/* Open addressing; at most half full. A hole is closed by moving what follows. */
static struct entry *table;
static uint64_t table_size, table_used;

static void complain(const char *what, const char *path)
{
    char line[512];
    int length =
        snprintf(line, sizeof line, "libalps-trace: %s%s: %s\n", path, what, strerror(errno));

    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0)
        return; /* there is nobody to tell */
}

static void flush(void)
{
    size_t done = 0;

    while (done < text_length) {
        ssize_t count = write(fd, text + done, text_length - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0) {
            complain("", "cannot write");
            close(fd);
            fd = -1;
            break;
        }
        done += (size_t)count;
    }
    text_length = 0;
}

static struct entry *entries(uint64_t count)
{
    void *memory = mmap(NULL, count * sizeof(struct entry), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static uint64_t place(uintptr_t address)
{
    return (address >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20 & (table_size - 1);
}

static struct entry *look_up(uintptr_t address)
{
    uint64_t at = place(address);

    while (table[at].address != 0 && table[at].address != address)
        at = (at + 1) & (table_size - 1);
    return &table[at];
}

static bool grow(void)
{
    struct entry *old = table;
    const uint64_t old_size = table_size;
    struct entry *bigger = entries(old_size * 2);

    if (bigger == NULL)
        return false;
    table = bigger;
    table_size = old_size * 2;
    for (uint64_t i = 0; i < old_size; i++) {
        if (old[i].address != 0)
            *look_up(old[i].address) = old[i];
    }
    munmap(old, old_size * sizeof *old);
    return true;
}

static void stop(const char *why)
{
    complain(", so the trace ends here", why);
    flush();
    if (fd >= 0)
        close(fd);
    fd = -1;
}

/* The number of a block that goes; NO_BLOCK if it came before there was a trace. */
static uint64_t forget(const void *address)
{
    struct entry *entry = look_up((uintptr_t)address);
    uint64_t hole = (uint64_t)(entry - table);

    if (entry->address == 0)
        return NO_BLOCK;
    const uint64_t block = entry->block;
    for (uint64_t at = (hole + 1) & (table_size - 1); table[at].address != 0;
         at = (at + 1) & (table_size - 1)) {
        /* It may move into the hole unless its own place lies between that and where it is. */
        const uint64_t distance = (at - place(table[at].address)) & (table_size - 1);
        if (distance >= ((at - hole) & (table_size - 1))) {
            table[hole] = table[at];
            hole = at;
        }
    }
    table[hole].address = 0;
    table_used--;
    return block;
}

static void remember(const void *address)
{
    if (table_used * 2 >= table_size && !grow()) {
        stop("no memory");
        return;
    }
    *look_up((uintptr_t)address) = (struct entry){.address = (uintptr_t)address, .block = blocks++};
    table_used++;
}

static void append(const char *format, unsigned long long a, unsigned long long b)
{
    if (text_length + LINE_MAX > sizeof text)
        flush();
    text_length += (size_t)snprintf(text + text_length, LINE_MAX, format, a, b);
}

static bool begin(void)
{
    if (__atomic_load_n(&fd, __ATOMIC_RELAXED) < 0)
        return false;
    pthread_mutex_lock(&lock);
    if (fd >= 0)
        return true;
    pthread_mutex_unlock(&lock);
    return false;
}

static void end(void)
{
    pthread_mutex_unlock(&lock);
}

static void *came(void *block, size_t size)
{
    const int error = errno;

    if (block != NULL && begin()) {
        append("+ %llu\n", size, 0);
        remember(block);
        end();
    }
    errno = error;
    return block;
}

static void goes(const void *block)
{
    const int error = errno;

    if (block != NULL && begin()) {
        const uint64_t number = forget(block);
        if (number != NO_BLOCK)
            append("- %llu\n", number, 0);
        end();
    }
    errno = error;
}

/* ---- what programs call --------------------------------------------------------------------- */

EXPORT void *malloc(size_t size)
{
    return came(__libc_malloc(size), size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return came(__libc_calloc(count, size), count * size);
}

EXPORT void free(void *block)
{
    goes(block);
    __libc_free(block);
}

EXPORT void *realloc(void *block, size_t size)
{
    if (block == NULL)
        return malloc(size);
    if (!begin())
        return __libc_realloc(block, size);
    const uint64_t number = forget(block);
    void *moved = __libc_realloc(block, size);
    const int error = errno;
    if (moved != NULL) {
        if (number != NO_BLOCK)
            append("= %llu %llu\n", number, size);
        else
            append("+ %llu\n", size, 0);
        remember(moved);
    } else if (size == 0) {
        if (number != NO_BLOCK)
            append("- %llu\n", number, 0);
    } else if (number != NO_BLOCK) { /* it stays, under its number */
        *look_up((uintptr_t)block) = (struct entry){(uintptr_t)block, number};
        table_used++;
    }
    end();
    errno = error;
    return moved;
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return came(__libc_memalign(alignment, size), size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size)
{
    const int error = errno;

    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0)
        return EINVAL;
    void *memory = memalign(alignment, size);
    const int result = memory == NULL ? errno : 0;
    errno = error;
    if (memory != NULL)
        *block = memory;
    return result;
}

/* ---- begin and end -------------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_in_child(void)
{
    if (fd >= 0)
        close(fd);
    fd = -1;
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv(VARIABLE);

    if (path == NULL) {
        errno = EINVAL;
        complain(" is not set", VARIABLE);
        return;
    }
    table_size = TABLE_FIRST;
    table = entries(table_size);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 || table == NULL) {
        if (file < 0 && errno != EEXIST) /* that of a parent */
            complain("", path);
        return;
    }
    pthread_atfork(before_fork, end, after_fork_in_child);
    text_length = (size_t)snprintf(text, sizeof text, "# alps-trace 1\n");
    fd = file;
}

__attribute__((destructor)) static void finish(void)
{
    if (begin()) {
        flush();
        if (fd >= 0)
            close(fd);
        fd = -1;
        end();
    }
}
