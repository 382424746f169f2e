/* Fork in a program that was not changed, with libalps-malloc.so loaded first: the child goes on
 * with the memory that the parent had, and neither sees what the other does to it. Run with a
 * private heap, and with one in a file. */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define COUNT 1000u

struct block {
    unsigned char *at;
    size_t size;
    unsigned seed;
};

static void *(*volatile alloc)(size_t size) = malloc;
static void *(*volatile realloc_)(void *block, size_t size) = realloc;
static void (*volatile release)(void *block) = free;

static void fill(const struct block *b)
{
    for (size_t i = 0; i < b->size; i++)
        b->at[i] = (unsigned char)(b->seed + i * 7);
}

static void check(const struct block *b)
{
    CHECK_LE(b->size, malloc_usable_size(b->at));
    for (size_t i = 0; i < b->size; i++)
        if (b->at[i] != (unsigned char)(b->seed + i * 7))
            test_fail(__FILE__, __LINE__, "byte %zu of %zu is %u, seed %u", i, b->size, b->at[i],
                      b->seed);
}

static void check_all(const struct block *blocks, unsigned step)
{
    for (unsigned i = 0; i < COUNT; i += step)
        check(&blocks[i]);
}

static void make(struct block *b, struct test_rng *rng, unsigned seed)
{
    size_t most = test_rng_below(rng, 200) == 0  ? 400000
                  : test_rng_below(rng, 20) == 0 ? 20000
                                                 : 500;
    *b = (struct block){NULL, 1 + test_rng_below(rng, most), seed};
    b->at = (unsigned char *)alloc(b->size);
    CHECK(b->at != NULL);
    fill(b);
}

static struct block *make_all(unsigned seed)
{
    struct test_rng rng = test_rng(seed);
    struct block *blocks = (struct block *)alloc(COUNT * sizeof *blocks);
    for (unsigned i = 0; i < COUNT; i++)
        make(&blocks[i], &rng, seed + i);
    return blocks;
}

/* Frees some, writes over some, moves some, and makes others instead. */
static void change_all(struct block *blocks, unsigned seed)
{
    struct test_rng rng = test_rng(seed);
    for (unsigned i = 0; i < COUNT; i++) {
        struct block *b = &blocks[i];
        b->seed = seed + i;
        if (i % 3 == 0) {
            release(b->at);
            make(b, &rng, b->seed);
        } else if (i % 3 == 1) {
            b->at = (unsigned char *)realloc_(b->at, b->size += 100);
            CHECK(b->at != NULL);
        }
        fill(b);
    }
}

static void free_all(struct block *blocks)
{
    for (unsigned i = 0; i < COUNT; i++)
        release(blocks[i].at);
    release(blocks);
}

/* ---- parent, child, grandchildren ---- */

struct family {
    struct block *blocks;
    int gate[2]; /* at its end of file the parent has changed everything */
    unsigned depth;
};

static void diverge(struct block *blocks, unsigned depth);

static void look_and_change(void *context)
{
    struct family *f = (struct family *)context;
    char byte;
    close(f->gate[1]);
    CHECK_EQ(read(f->gate[0], &byte, 1), 0);
    close(f->gate[0]);
    check_all(f->blocks, 1);
    struct block *own = make_all(f->depth * 100 + 50);
    check_all(f->blocks, 1);
    change_all(f->blocks, f->depth * 100 + 60);
    check_all(own, 1);
    check_all(f->blocks, 1);
    if (f->depth < 3)
        diverge(f->blocks, f->depth + 1);
    check_all(own, 1);
    free_all(own);
    free_all(f->blocks);
}

/* Forks; changes every block while the child waits, which then does the same. */
static void diverge(struct block *blocks, unsigned depth)
{
    struct family f = {.blocks = blocks, .depth = depth};
    CHECK_EQ(pipe(f.gate), 0);
    pid_t child = test_fork(look_and_change, &f);
    change_all(blocks, depth * 100 + 70);
    struct block *more = make_all(depth * 100 + 80);
    close(f.gate[0]);
    close(f.gate[1]);
    check_all(blocks, 1);
    test_join(child);
    check_all(blocks, 1);
    check_all(more, 1);
    free_all(more);
}

TEST(fork, each_goes_on_with_its_own)
{
    struct block *blocks = make_all(1);
    diverge(blocks, 0);
    diverge(blocks, 3);
    free_all(blocks);
}

/* The moment of the fork counts, not that of the child's first call. */
static void look_late(void *context)
{
    struct family *f = (struct family *)context;
    char byte;
    close(f->gate[1]);
    CHECK_EQ(read(f->gate[0], &byte, 1), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        const struct block *b = &f->blocks[i];
        for (size_t k = 0; k < b->size; k++)
            CHECK_EQ(b->at[k], (unsigned char)(b->seed + k * 7));
    }
    _exit(0); /* and it has called nothing */
}

TEST(fork, child_that_only_reads)
{
    struct family f = {.blocks = make_all(5)};
    CHECK_EQ(pipe(f.gate), 0);
    pid_t child = test_fork(look_late, &f);
    change_all(f.blocks, 6);
    free_all(f.blocks);
    close(f.gate[0]);
    close(f.gate[1]);
    test_join(child);
}

/* ---- threads ---- */

static bool stop;
static FILE *log_file;

/* A list that a lock protects, through forks as well. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct item {
    struct item *next;
    struct block block;
} * list;
static unsigned list_length;

static void *change_list(void *context)
{
    struct test_rng rng = test_rng((uintptr_t)context);
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        struct item *item = (struct item *)alloc(sizeof *item);
        make(&item->block, &rng, i);
        pthread_mutex_lock(&list_lock);
        item->next = list;
        list = item;
        list_length++;
        item = NULL;
        if (list_length > 200) {
            struct item **link = &list;
            for (unsigned k = 0; k < 100; k++)
                link = &(*link)->next;
            item = *link;
            *link = item->next;
            list_length--;
        }
        pthread_mutex_unlock(&list_lock);
        if (item != NULL) {
            check(&item->block);
            release(item->block.at);
            release(item);
        }
    }
    return NULL;
}

static void check_list(void)
{
    unsigned count = 0;
    pthread_mutex_lock(&list_lock);
    for (struct item *item = list; item != NULL; item = item->next, count++)
        check(&item->block);
    CHECK_EQ(count, list_length);
    pthread_mutex_unlock(&list_lock);
}

static void lock_list(void)
{
    release(alloc(70000)); /* handlers may allocate */
    pthread_mutex_lock(&list_lock);
}
static void unlock_list(void)
{
    pthread_mutex_unlock(&list_lock);
    release(alloc(70000));
}

static void *allocate_in_thread(void *unused)
{
    (void)unused;
    free_all(make_all(33));
    return NULL;
}

static void use_list(void *unused)
{
    (void)unused;
    pthread_t thread;
    check_list();
    struct block *own = make_all(44);
    CHECK_EQ(pthread_create(&thread, NULL, allocate_in_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    check_all(own, 1);
    for (struct item *item = list, *next; item != NULL; item = next) {
        next = item->next;
        release(item->block.at);
        release(item);
    }
    fprintf(log_file, "a stream that was open\n");
    CHECK_EQ(fclose(log_file), 0);
    exit(0);
}

static void fork_beside_threads(void)
{
    pthread_t threads[3];
    log_file = tmpfile();
    CHECK(log_file != NULL);
    CHECK_EQ(pthread_atfork(lock_list, unlock_list, unlock_list), 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, change_list, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < 12; i++) {
        test_join(test_fork(use_list, NULL));
        check_list();
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

TEST(fork, beside_threads)
{
    fork_beside_threads();
}

static void *fork_in_thread(void *blocks)
{
    struct family f = {.blocks = (struct block *)blocks, .depth = 2};
    diverge(f.blocks, 2);
    return NULL;
}

TEST(fork, from_another_thread)
{
    pthread_t thread;
    struct block *blocks = make_all(9);
    CHECK_EQ(pthread_create(&thread, NULL, fork_in_thread, blocks), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    check_all(blocks, 1);
    free_all(blocks);
}

/* Another thread uses a stream at the moment of the fork. */
static void *write_log(void *unused)
{
    (void)unused;
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++)
        fprintf(log_file, "%u\n", i);
    return NULL;
}

static void write_in_child(void *unused)
{
    (void)unused;
    CHECK_LT(0, fprintf(log_file, "child\n"));
    _exit(0);
}

TEST(fork, child_writes_to_a_stream)
{
    pthread_t thread;
    log_file = tmpfile();
    CHECK(log_file != NULL);
    CHECK_EQ(pthread_create(&thread, NULL, write_log, NULL), 0);
    for (unsigned i = 0; i < 30; i++)
        test_join(test_fork(write_in_child, NULL));
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static pthread_key_t keys[40];
static pthread_barrier_t barrier;

static void *keep_values(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 40; i++)
        CHECK_EQ(pthread_setspecific(keys[i], &keys[i]), 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* forks are over */
    for (unsigned i = 0; i < 40; i++)
        CHECK(pthread_getspecific(keys[i]) == &keys[i]);
    return NULL;
}

static void do_nothing(void *unused)
{
    (void)unused;
}

TEST(fork, leaves_other_threads_their_data)
{
    pthread_t thread;
    for (unsigned i = 0; i < 40; i++)
        CHECK_EQ(pthread_key_create(&keys[i], NULL), 0);
    pthread_barrier_init(&barrier, NULL, 2);
    CHECK_EQ(pthread_create(&thread, NULL, keep_values, NULL), 0);
    pthread_barrier_wait(&barrier);
    test_join(test_fork(do_nothing, NULL));
    pthread_barrier_wait(&barrier);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* ---- other ways to start a process ---- */

static void execute(void *program)
{
    execl((const char *)program, "true", (char *)NULL);
}

TEST(fork, then_exec)
{
    static char path[] = "/bin/true", *arguments[] = {path, NULL};
    struct block *blocks = make_all(3);
    for (unsigned i = 0; i < 100; i++)
        test_join(test_fork(execute, path));
    for (unsigned i = 0; i < 20; i++) {
        int status;
        pid_t child;
        CHECK_EQ(posix_spawn(&child, path, NULL, NULL, arguments, environ), 0);
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
        child = vfork();
        if (child == 0) {
            execv(path, arguments);
            _exit(1);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
        CHECK_EQ(system("exit 7"), 7 << 8);
    }
    check_all(blocks, 1);
    free_all(blocks);
}

/* The parent is gone, and its parent, too; the working directory is another one. */
static void become_daemon(void *context)
{
    struct family *f = (struct family *)context;
    char *path = NULL;
    CHECK_LT(0, asprintf(&path, "%s/done", test_directory()));
    CHECK_EQ(daemon(0, 0), 0);
    check_all(f->blocks, 1);
    change_all(f->blocks, 20);
    free_all(make_all(21));
    check_all(f->blocks, 1);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    free(path);
    _exit(fd >= 0 ? 0 : 1);
}

TEST(fork, daemon)
{
    struct family f = {.blocks = make_all(19)};
    char path[200];
    snprintf(path, sizeof path, "%s/done", test_directory());
    test_join(test_fork(become_daemon, &f));
    while (access(path, F_OK) != 0) /* the case's limit ends it */
        usleep(1000);
    check_all(f.blocks, 1);
}

/* Where no heap can be opened any more, there is another one. */
static void lose_the_file(void *context)
{
    struct family *f = (struct family *)context;
    if (geteuid() == 0)
        CHECK_EQ(chroot(test_directory()), 0);
    look_and_change(f);
}

TEST(fork, child_that_cannot_open_files)
{
    struct family f = {.blocks = make_all(29), .depth = 2};
    CHECK_EQ(pipe(f.gate), 0);
    pid_t child = test_fork(lose_the_file, &f);
    change_all(f.blocks, 30);
    close(f.gate[0]);
    close(f.gate[1]);
    test_join(child);
    check_all(f.blocks, 1);
}

static void grow_old(unsigned depth)
{
    void *block = alloc(1000);
    int status;
    pid_t child = fork();
    CHECK_LE(0, child);
    if (child == 0) {
        release(block);
        if (depth < 40)
            grow_old(depth + 1);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    release(block);
}

TEST(fork, many_generations)
{
    grow_old(0);
    struct block *blocks = make_all(1);
    for (unsigned i = 0; i < 200; i++) {
        pid_t child = fork();
        int status;
        CHECK_LE(0, child);
        if (child == 0) {
            release(alloc(1000));
            exit(0);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
    }
    free_all(blocks);
}

static void free_twice(void *block)
{
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    release(block);
    release(block);
}
static void free_inside(void *block)
{
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    release((char *)block + 16);
}

TEST(fork, misuse_of_the_parents_blocks)
{
    void *block = alloc(5000);
    test_join_killed(test_fork(free_twice, block), SIGABRT);
    test_join_killed(test_fork(free_inside, block), SIGABRT);
    release(block);
}
