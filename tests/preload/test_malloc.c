/* The malloc family of a program that was not changed: run with libalps-malloc.so loaded first. */
#include <alps/alps.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* Compilers know malloc; these they do not. */
static void *(*volatile alloc)(size_t size) = malloc;
static void *(*volatile calloc_)(size_t count, size_t size) = calloc;
static void *(*volatile realloc_)(void *block, size_t size) = realloc;
static void *(*volatile reallocarray_)(void *block, size_t count, size_t size) = reallocarray;
static void *(*volatile memalign_)(size_t alignment, size_t size) = memalign;
static void (*volatile release)(void *block) = free;

struct mallinfo old_mallinfo(void) __asm__("mallinfo"); /* deprecated */

static void fill(void *block, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)block)[i] = (unsigned char)(seed + i * 7);
}

static bool holds(const void *block, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        if (((const unsigned char *)block)[i] != (unsigned char)(seed + i * 7))
            return false;
    return true;
}

static bool is_zero(const unsigned char *block, size_t size)
{
    return size == 0 || (block[0] == 0 && memcmp(block, block + 1, size - 1) == 0);
}

static bool is_aligned(const void *block, size_t alignment)
{
    return (uintptr_t)block % alignment == 0;
}

/* Else all of this would test glibc's. */
TEST(malloc, is_ours)
{
    static const char *const names[] = {"malloc",        "calloc",
                                        "realloc",       "reallocarray",
                                        "free",          "memalign",
                                        "aligned_alloc", "valloc",
                                        "pvalloc",       "malloc_trim",
                                        "mallopt",       "posix_memalign",
                                        "mallinfo",      "malloc_usable_size",
                                        "mallinfo2"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        Dl_info info;
        void *function = dlsym(RTLD_DEFAULT, names[i]);
        CHECK(function != NULL && dladdr(function, &info) != 0);
        if (strstr(info.dli_fname, "libalps-malloc") == NULL)
            test_fail(__FILE__, __LINE__, "%s is that of %s", names[i], info.dli_fname);
    }
}

TEST(malloc, blocks_of_all_sizes)
{
    enum { MOST = 4000 };
    static void *blocks[MOST];
    static size_t sizes[MOST];
    unsigned count = 0;
    for (size_t size = 0; size < 3000 && count < MOST; size++)
        sizes[count++] = size;
    for (size_t size = 3000; size < 40 * MIB && count < MOST; size += size / 8 + 1)
        sizes[count++] = size;
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = alloc(sizes[i]);
        CHECK(blocks[i] != NULL && is_aligned(blocks[i], 16));
        CHECK_LE(sizes[i], malloc_usable_size(blocks[i]));
        fill(blocks[i], sizes[i], i);
    }
    for (unsigned i = 0; i < count; i++) {
        CHECK(holds(blocks[i], sizes[i], i));
        release(blocks[i]);
    }
    CHECK_EQ(malloc_usable_size(NULL), 0);
    release(NULL);
}

TEST(malloc, calloc_is_zero)
{
    static const size_t sizes[] = {1, 40, 1000, 33000, 500000, 9 * MIB + 5, 100 * MIB + 4096};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (unsigned again = 0; again < 3; again++) {
            unsigned char *block = (unsigned char *)calloc_(1, sizes[i]);
            CHECK(block != NULL && is_zero(block, sizes[i]));
            memset(block, 0xa5, sizes[i]);
            release(block);
        }
}

TEST(malloc, realloc_keeps_contents)
{
    struct test_rng rng = test_rng(0);
    char *block = NULL;
    size_t size = 0;
    for (unsigned i = 0; i < 3000; i++) {
        size_t next = 1 + test_rng_below(&rng, i % 100 == 0 ? 20 * MIB : i % 10 == 0 ? 90000 : 900);
        block = (char *)realloc_(block, next);
        CHECK(block != NULL && is_aligned(block, 16));
        CHECK(holds(block, size < next ? size : next, 3));
        fill(block, next, 3);
        size = next;
    }
    CHECK(realloc_(block, 0) == NULL); /* frees it */
    block = (char *)reallocarray_(NULL, 100, 10);
    fill(block, 1000, 4);
    CHECK_ERRNO((uintptr_t)realloc_(block, SIZE_MAX / 2 + 2), ENOMEM);
    CHECK_ERRNO((uintptr_t)realloc_(block, (size_t)1 << 46), ENOMEM);
    CHECK_ERRNO((uintptr_t)reallocarray_(block, SIZE_MAX / 8, 9), ENOMEM);
    CHECK(holds(block, 1000, 4));
    release(block);
    block = (char *)memalign_(4096, 100);
    fill(block, 100, 5);
    block = (char *)realloc_(block, 100000);
    CHECK(holds(block, 100, 5));
    release(block);
}

TEST(malloc, too_much)
{
    CHECK_ERRNO((uintptr_t)alloc(SIZE_MAX), ENOMEM);
    CHECK_ERRNO((uintptr_t)alloc((size_t)PTRDIFF_MAX + 1), ENOMEM);
    CHECK_ERRNO((uintptr_t)alloc((size_t)1 << 46), ENOMEM);
    CHECK_ERRNO((uintptr_t)calloc_(SIZE_MAX / 2, 3), ENOMEM);
    CHECK_ERRNO((uintptr_t)calloc_((size_t)1 << 32, (size_t)1 << 32), ENOMEM);
    CHECK_ERRNO((uintptr_t)memalign_((size_t)1 << 40, 1), ENOMEM);
    CHECK_ERRNO((uintptr_t)memalign_(64, SIZE_MAX - 10), ENOMEM);
    CHECK_ERRNO((uintptr_t)pvalloc(SIZE_MAX - 10), ENOMEM);
    void *block = alloc(100); /* and no harm is done */
    CHECK(block != NULL);
    release(block);
}

TEST(malloc, alignments)
{
    for (size_t alignment = 1; alignment <= GIB; alignment *= 2)
        for (size_t size = 0; size <= 300000; size = size * 7 + 1) {
            char *a = (char *)memalign_(alignment, size);
            CHECK(a != NULL && is_aligned(a, alignment) && is_aligned(a, 16));
            CHECK_LE(size, malloc_usable_size(a));
            fill(a, size, 1);
            void *b = aligned_alloc(alignment, size);
            CHECK(b != NULL && is_aligned(b, alignment));
            fill(b, size, 2);
            CHECK(holds(a, size, 1));
            release(a);
            release(b);
        }
    void *block = memalign_(48, 10); /* the next power of two */
    CHECK(is_aligned(block, 64));
    release(block);
    block = valloc(10);
    CHECK(is_aligned(block, 4096));
    release(block);
    block = pvalloc(4097);
    CHECK(is_aligned(block, 4096));
    CHECK_LE(8192, malloc_usable_size(block));
    release(block);
}

TEST(malloc, posix_memalign_returns_its_errors)
{
    void *const before = &errno;
    void *block = before;
    errno = EPIPE;
    CHECK_EQ(posix_memalign(&block, 0, 10), EINVAL);
    CHECK_EQ(posix_memalign(&block, 4, 10), EINVAL);
    CHECK_EQ(posix_memalign(&block, 24, 10), EINVAL);
    CHECK_EQ(posix_memalign(&block, 64, SIZE_MAX / 2 + 2), ENOMEM);
    CHECK(block == before && errno == EPIPE);
    CHECK_EQ(posix_memalign(&block, 4096, 10), 0);
    CHECK(is_aligned(block, 4096));
    release(block);
}

TEST(malloc, errno_is_kept)
{
    static const size_t sizes[] = {1, 100, 5000, 100000, 3 * MIB, 30 * MIB};
    errno = EPIPE;
    for (unsigned round = 0; round < 5; round++)
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            void *block = alloc(sizes[i]);
            CHECK_EQ(errno, EPIPE);
            block = realloc_(block, sizes[i] * 3);
            CHECK_EQ(errno, EPIPE);
            release(block);
            CHECK_EQ(errno, EPIPE);
        }
}

/* What libc allocates is freed here, and the other way round. */
TEST(malloc, libc_uses_it)
{
    char *line = NULL, *text = NULL;
    size_t length = 0;
    FILE *f = tmpfile();
    CHECK(f != NULL);
    for (unsigned i = 0; i < 5000; i++)
        putc('x', f);
    rewind(f);
    CHECK_EQ(getline(&line, &length, f), 5000);
    fclose(f);
    CHECK_LE(5000, malloc_usable_size(line));
    release(line);
    CHECK_EQ(asprintf(&text, "%s %d", "text", 5), 6);
    char *copy = strdup(text);
    CHECK_STR(copy, "text 5");
    release(text);
    release(copy);
    f = open_memstream(&text, &length);
    fprintf(f, "%100000d", 1);
    fclose(f);
    CHECK_EQ(length, 100000);
    release(text);
}

TEST(malloc, settings_and_figures)
{
    CHECK_EQ(mallopt(M_MMAP_THRESHOLD, 1000), 1);
    const size_t before = mallinfo2().uordblks;
    void *block = alloc(10 * MIB);
    CHECK_LE(before + 10 * MIB, mallinfo2().uordblks);
    CHECK_LE(10 * MIB, (size_t)old_mallinfo().uordblks);
    release(block);
    CHECK_LE(mallinfo2().uordblks, before + MIB);
    CHECK_EQ(malloc_trim(0), 1);
}

static size_t resident(void)
{
    unsigned long total = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f != NULL && fscanf(f, "%lu %lu", &total, &pages) == 2);
    fclose(f);
    return pages * 4096;
}

TEST(malloc, large_blocks_take_and_leave_no_memory)
{
    if (getenv("ALPS_MALLOC_HEAP") != NULL)
        SKIP("the heap is in a file, where memory is secured as a whole");
    const size_t before = resident();
    char *sparse = (char *)calloc_(1, GIB);
    CHECK(sparse != NULL && sparse[GIB / 2] == 0);
    CHECK_LT(resident(), before + 200 * MIB);
    release(sparse);
    char *dense = (char *)alloc(200 * MIB);
    memset(dense, 1, 200 * MIB);
    CHECK_LE(before + 150 * MIB, resident());
    release(dense);
    CHECK_LT(resident(), before + 100 * MIB);
}

TEST(malloc, trim_gives_memory_back)
{
    enum { COUNT = 2000 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        memset(blocks[i] = alloc(60000), 1, 60000);
    const size_t full = resident();
    for (unsigned i = 0; i < COUNT; i++)
        release(blocks[i]);
    CHECK_EQ(malloc_trim(0), 1);
    CHECK_LT(resident(), full - 80 * MIB);
}

/* ---- descriptors ---- */

static int find_self(const struct alps_instance *instance, void *alive)
{
    if (instance->pid == (uint64_t)getpid() && !instance->self)
        *(bool *)alive = instance->alive;
    return 0;
}

/* Others, who open the heap and recover the dead, find this process alive; and memory that was
 * never used can be had. */
static void check_heap_in_file(void)
{
    enum { COUNT = 200 };
    static void *blocks[COUNT];
    alps_heap_t *heap;
    bool alive = false;
    CHECK_ERR(alps_heap_open(getenv("ALPS_MALLOC_HEAP"), NULL, &heap), 0);
    CHECK_ERR(alps_instance_walk(heap, find_self, &alive), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK(alive);
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = alloc(600000);
        CHECK(blocks[i] != NULL);
        fill(blocks[i], 600000, i);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK(holds(blocks[i], 600000, i));
        release(blocks[i]);
    }
    malloc_trim(0);
}

/* As daemons and shells treat descriptors they do not know. */
TEST(malloc, heap_survives_programs_that_close_descriptors)
{
    if (getenv("ALPS_MALLOC_HEAP") == NULL)
        SKIP("the heap is in no file");
    for (int fd = 3; fd < 1100; fd++)
        close(fd);
    check_heap_in_file();
    CHECK_EQ(close_range(3, ~0u, 0), 0);
    check_heap_in_file();
    closefrom(3);
    check_heap_in_file();
    char path[200];
    snprintf(path, sizeof path, "%s/own", test_directory());
    int own = open(path, O_CREAT | O_RDWR, 0600);
    CHECK_EQ(own, 3); /* the lowest number is the program's */
    CHECK_EQ(write(own, "own", 3), 3);
    for (int fd = 4; fd < 1020; fd += 2) {
        CHECK_EQ(dup2(own, fd), fd);
        CHECK_EQ(dup3(own, fd + 1, O_CLOEXEC), fd + 1);
    }
    check_heap_in_file();
    struct stat status;
    CHECK_EQ(fstat(1000, &status), 0);
    CHECK_EQ(status.st_size, 3); /* it is the program's and was not used for the heap */
}

/* ---- misuse ---- */

static void *misused;
static char said[1000];

static void free_twice(void)
{
    release(misused);
    release(misused);
}
static void free_inside(void)
{
    release((char *)misused + 16);
}
static void free_static(void)
{
    release(said);
}
static void free_mapped(void)
{
    release(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
static void realloc_freed(void)
{
    release(misused);
    misused = realloc_(misused, 100000);
}
static void size_of_freed(void)
{
    release(misused);
    (void)!malloc_usable_size(misused);
}

struct misuse {
    void (*commit)(void);
    int out;
};

static void misuse_in_child(void *context)
{
    const struct misuse *m = (const struct misuse *)context;
    dup2(m->out, STDERR_FILENO);
    misused = alloc(5000);
    m->commit();
}

static void check_misuse(void (*commit)(void), const char *function, const char *what)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    struct misuse m = {commit, ends[1]};
    test_join_killed(test_fork(misuse_in_child, &m), SIGABRT);
    close(ends[1]);
    ssize_t n = read(ends[0], said, sizeof said - 1);
    CHECK_LT(0, n);
    said[n] = '\0';
    close(ends[0]);
    if (strncmp(said, "libalps-malloc: ", 16) != 0 || strstr(said, function) == NULL ||
        strstr(said, what) == NULL)
        test_fail(__FILE__, __LINE__, "%s: said: %s", function, said);
}

TEST(malloc, misuse_ends_the_program)
{
    check_misuse(free_twice, "free(", "freed already");
    check_misuse(free_inside, "free(", "not the start of a block");
    check_misuse(free_static, "free(", "not the start of a block");
    check_misuse(free_mapped, "free(", "not the start of a block");
    check_misuse(realloc_freed, "realloc(", "freed already");
    check_misuse(size_of_freed, "malloc_usable_size(", "not the start of a block");
}

/* ---- threads ---- */

#define SLOTS 512u
static void *shared[SLOTS];
static bool stop;

/* Takes blocks that others have left and leaves its own, so most are freed by another thread. */
static void *exchange(void *context)
{
    struct test_rng rng = test_rng((uintptr_t)context);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        size_t size =
            2 * sizeof(size_t) + test_rng_below(&rng, test_rng_below(&rng, 64) == 0 ? 300000 : 600);
        size_t *block = (size_t *)alloc(size);
        CHECK(block != NULL);
        block[0] = size;
        fill(block + 1, size - sizeof size, (unsigned)size);
        block = (size_t *)__atomic_exchange_n(&shared[test_rng_below(&rng, SLOTS)], block,
                                              __ATOMIC_ACQ_REL);
        if (block != NULL)
            CHECK(holds(block + 1, block[0] - sizeof size, (unsigned)block[0]));
        release(block);
    }
    return NULL;
}

static void start(pthread_t *threads, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, exchange, (void *)(uintptr_t)i), 0);
}

TEST(threads, free_what_others_allocated)
{
    pthread_t threads[8];
    start(threads, 8);
    usleep(500000);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

static pthread_key_t keys[40];

static void destroy(void *block)
{
    /* In each round; libc frees in the end what it had made for the later keys. */
    void *more = alloc(3000);
    CHECK(holds(block, 200, 9));
    release(block);
    release(more);
    more = alloc(200);
    fill(more, 200, 9);
    static __thread unsigned rounds;
    if (rounds++ < 60)
        pthread_setspecific(keys[35], more);
    else
        release(more);
}

static void *come_and_go(void *context)
{
    (void)context;
    void *blocks[100];
    for (unsigned i = 0; i < 100; i++)
        blocks[i] = alloc(i * 30);
    for (unsigned i = 0; i < 100; i++)
        release(blocks[i]);
    for (unsigned i = 30; i < 40; i++) {
        void *block = alloc(200);
        fill(block, 200, 9);
        CHECK_EQ(pthread_setspecific(keys[i], block), 0);
    }
    return NULL;
}

static size_t addresses(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f != NULL && fscanf(f, "%lu", &pages) == 1);
    fclose(f);
    return pages * 4096;
}

/* What a thread had is used by the next one, whatever comes after the library's own destructor. */
TEST(threads, that_end_leave_nothing)
{
    for (unsigned i = 0; i < 40; i++)
        CHECK_EQ(pthread_key_create(&keys[i], destroy), 0);
    size_t before = 0;
    for (unsigned i = 0; i < 500; i++) {
        pthread_t thread;
        if (i == 10)
            before = addresses();
        CHECK_EQ(pthread_create(&thread, NULL, come_and_go, NULL), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    CHECK_LE(addresses(), before + 64 * MIB);
}

static void *wait_for_all(void *barrier)
{
    void *block = alloc(1000);
    pthread_barrier_wait((pthread_barrier_t *)barrier);
    release(block);
    return NULL;
}

/* More than a heap has instances. */
TEST(threads, many_at_a_time)
{
    enum { COUNT = 300 };
    static pthread_t threads[COUNT];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, wait_for_all, &barrier), 0);
    for (unsigned i = 0; i < COUNT; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* ---- the end ---- */

static void *at_exit;

static void free_at_exit(void)
{
    release(at_exit);
    release(alloc(100000));
}

__attribute__((destructor)) static void at_unload(void)
{
    release(alloc(1000));
}

static void exit_beside_threads(void *context)
{
    (void)context;
    pthread_t threads[4];
    at_exit = alloc(1000);
    atexit(free_at_exit);
    start(threads, 4);
    usleep(20000);
    exit(0);
}

TEST(threads, run_while_the_process_exits)
{
    for (unsigned i = 0; i < 10; i++)
        test_join(test_fork(exit_beside_threads, NULL));
}
