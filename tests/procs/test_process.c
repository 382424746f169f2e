/* What the header says of fork, exec, exit, signals and cancellation. */
#include <alps/alps.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "blocks.h"
#include "test.h"

enum { BLOCKS = 50 };

/* Between a case and its children. */
struct stage {
    const char *path;
    alps_heap_t *inherited;
    pid_t grandchild;
    int told[2]; /* a pipe: the child is where the case wants it */
};

static struct stage stage_make(void)
{
    struct stage stage = {.path = test_heap_path()};
    heap_make(stage.path, 16 * MIB, 64 * MIB);
    CHECK_EQ(pipe(stage.told), 0);
    return stage;
}

static void tell(const struct stage *stage)
{
    CHECK_EQ(write(stage->told[1], "", 1), 1);
}

static void await(const struct stage *stage)
{
    char byte;
    CHECK_EQ(read(stage->told[0], &byte, 1), 1);
}

static alps_heap_t *open_and_allocate(const char *path)
{
    alps_heap_t *heap = heap_open(path);
    for (unsigned i = 0; i < BLOCKS; i++)
        CHECK(alps_malloc(heap, 100 * i, ALPS_ANY_NODE) != ALPS_NULL);
    return heap;
}

/* One instance has died; its blocks are there, and go with its generation. */
static void expect_one_dead(const char *path)
{
    alps_gen_t generation;
    struct alps_recovery report = {
        .struct_size = sizeof report, .generations = &generation, .capacity = 1};
    /* Opening takes the dead in; so it is done before. */
    alps_heap_t *heap = heap_open_with(path, ALPS_OPEN_READONLY);
    /* A spawned process lets go of what is closed on exec a moment after its parent goes on. */
    for (unsigned i = 0; i < 10000 && blocks_stats(heap).dead_instances == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK_EQ(blocks_stats(heap).dead_instances, 1);
    CHECK_ERR(alps_recover(heap, &report), -EROFS);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = heap_open(path);
    CHECK_EQ(blocks_stats(heap).dead_instances, 0);
    struct blocks found = blocks_walk(heap);
    CHECK_EQ(found.count, BLOCKS);
    CHECK_ERR(alps_bulk_free(heap, found.items[0].generation), 0);
    blocks_clear(&found);
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

static void fork_and_die(void *context)
{
    struct stage *stage = context;
    alps_heap_t *heap = open_and_allocate(stage->path);
    pid_t child = fork();
    if (child == 0) {
        /* The heap is the parent's. */
        CHECK_ERRNO(alps_malloc(heap, 64, ALPS_ANY_NODE), ECHILD);
        tell(stage);
        for (;;)
            pause();
    }
    for (;;)
        pause();
}

TEST(process, a_forked_child_does_not_keep_a_dead_parent_alive)
{
    struct stage stage = stage_make();
    pid_t child = test_fork(fork_and_die, &stage);
    await(&stage);
    CHECK_EQ(kill(child, SIGKILL), 0);
    test_join_killed(child, SIGKILL);
    expect_one_dead(stage.path); /* the grandchild goes on; the runner ends it */
}

static void spawn_and_die(void *context)
{
    struct stage *stage = context;
    char *arguments[] = {"sleep", "60", NULL};
    open_and_allocate(stage->path);
    CHECK_EQ(posix_spawnp(&stage->grandchild, "sleep", NULL, NULL, arguments, NULL), 0);
    tell(stage);
    for (;;)
        pause();
}

TEST(process, a_spawned_program_does_not_keep_a_dead_parent_alive)
{
    struct stage stage = stage_make();
    pid_t child = test_fork(spawn_and_die, &stage);
    await(&stage);
    CHECK_EQ(kill(child, SIGKILL), 0);
    test_join_killed(child, SIGKILL);
    expect_one_dead(stage.path);
}

static void execute(void *context)
{
    struct stage *stage = context;
    open_and_allocate(stage->path);
    /* The pipe's end closes when the other program has begun. */
    CHECK_EQ(fcntl(stage->told[1], F_SETFD, FD_CLOEXEC), 0);
    execlp("sleep", "sleep", "60", (char *)NULL);
    test_fail(__FILE__, __LINE__, "sleep cannot be executed");
}

TEST(process, exec_ends_the_instance_though_the_process_goes_on)
{
    struct stage stage = stage_make();
    pid_t child = test_fork(execute, &stage);
    close(stage.told[1]);
    char byte;
    CHECK_EQ(read(stage.told[0], &byte, 1), 0);
    CHECK_EQ(waitpid(child, NULL, WNOHANG), 0);
    expect_one_dead(stage.path);
    CHECK_EQ(kill(child, SIGKILL), 0);
    test_join_killed(child, SIGKILL);
}

/* ---- exit ---- */

static alps_heap_t *last_heap;
static alps_ptr_t last_block;

static void at_exit(void)
{
    /* Until the very end the heap may be used. */
    for (unsigned i = 0; i < 2000; i++)
        CHECK_ERR(alps_free(last_heap, alps_malloc(last_heap, i, ALPS_ANY_NODE)), 0);
    CHECK_ERR(alps_free(last_heap, last_block), 0);
}

static void exit_without_closing(void *context)
{
    struct stage *stage = context;
    last_heap = open_and_allocate(stage->path);
    last_block = alps_malloc(last_heap, 64, ALPS_ANY_NODE);
    CHECK_EQ(atexit(at_exit), 0);
    exit(0);
}

TEST(process, exit_without_close_is_a_death_like_others)
{
    struct stage stage = stage_make();
    test_join(test_fork(exit_without_closing, &stage));
    expect_one_dead(stage.path);
}

/* ---- threads that end ---- */

static pthread_key_t key;
static unsigned rounds_of_destructors;

static void destructor(void *value)
{
    alps_heap_t *heap = value;
    for (unsigned i = 0; i < 100; i++)
        CHECK_ERR(alps_free(heap, alps_malloc(heap, 64 + i, ALPS_ANY_NODE)), 0);
    /* Again, after the library's own destructor has run. */
    if (++rounds_of_destructors < 3)
        CHECK_EQ(pthread_setspecific(key, heap), 0);
}

static void *end_with_destructor(void *heap)
{
    CHECK_EQ(pthread_setspecific(key, heap), 0);
    CHECK_ERR(alps_free(heap, alps_malloc(heap, 64, ALPS_ANY_NODE)), 0);
    return NULL;
}

TEST(process, destructors_of_threads_may_use_the_heap)
{
    struct stage stage = stage_make();
    alps_heap_t *heap = heap_open(stage.path);
    CHECK_EQ(pthread_key_create(&key, destructor), 0);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, end_with_destructor, heap), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(rounds_of_destructors, 3);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = heap_open(stage.path);
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    CHECK_EQ(blocks_stats(heap).span_bytes, 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

static __attribute__((noinline)) void open_and_work(const char *path, struct test_rng *rng)
{
    alps_heap_t *heap = heap_open(path);
    for (unsigned i = 0; i < 20; i++) {
        alps_ptr_t p = alps_malloc(heap, rng_size(rng, 4 * MIB), ALPS_ANY_NODE);
        if (p != ALPS_NULL)
            CHECK_ERR(alps_free(heap, p), 0);
        CHECK_ERR(alps_heap_trim(heap), 0);
    }
    CHECK_ERR(alps_root_set(heap, "root", heap == NULL ? 1 : 64), 0);
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Has no variable in its frame whose address is taken: AddressSanitizer does not see cancellation
 * end the frame, and would guard the stack around such a variable still. */
static void *work_until_cancelled(void *context)
{
    static __thread struct test_rng rng;
    const struct stage *stage = context;
    rng = test_rng((uint64_t)pthread_self());
    for (;;) {
        open_and_work(stage->path, &rng);
        pthread_testcancel();
    }
    return NULL;
}

/* No function is a cancellation point, so the thread is cancelled only where it says so: whatever
 * it had open is closed then. */
TEST(process, threads_are_not_cancelled_inside_the_library)
{
    struct stage stage = stage_make();
    for (unsigned i = 0; i < blocks_scaled(60); i++) {
        pthread_t thread;
        void *result;
        CHECK_EQ(pthread_create(&thread, NULL, work_until_cancelled, &stage), 0);
        nanosleep(&(struct timespec){.tv_nsec = 1000000 + 37000 * (long)i}, NULL);
        CHECK_EQ(pthread_cancel(thread), 0);
        CHECK_EQ(pthread_join(thread, &result), 0);
        CHECK(result == PTHREAD_CANCELED);
        alps_heap_t *heap = heap_open_with(stage.path, ALPS_OPEN_READONLY);
        struct alps_stats stats = blocks_stats(heap);
        CHECK_EQ(stats.instances + stats.dead_instances, 0);
        CHECK_EQ(stats.span_bytes, 0);
        CHECK_ERR(alps_heap_close(heap), 0);
    }
}

/* ---- signals ---- */

static void nothing(int signal)
{
    (void)signal;
}

TEST(process, signals_interrupt_no_call)
{
    struct stage stage = stage_make();
    struct sigaction action = {.sa_handler = nothing}; /* no SA_RESTART */
    CHECK_EQ(sigaction(SIGVTALRM, &action, NULL), 0);
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    struct itimerval often = {.it_interval.tv_usec = 200, .it_value.tv_usec = 200};
    CHECK_EQ(setitimer(ITIMER_VIRTUAL, &often, NULL), 0);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec real = {.it_interval.tv_nsec = 150000, .it_value.tv_nsec = 150000};
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_EQ(timer_settime(timer, 0, &real, NULL), 0);
    struct test_rng rng = test_rng(0);
    for (unsigned i = 0; i < blocks_scaled(100); i++) {
        alps_heap_t *heap = heap_open(stage.path);
        alps_ptr_t blocks[30];
        for (unsigned k = 0; k < 30; k++) {
            blocks[k] = alps_malloc(heap, rng_size(&rng, MIB), ALPS_ANY_NODE);
            CHECK(blocks[k] != ALPS_NULL);
        }
        for (unsigned k = 0; k < 30; k++)
            CHECK_ERR(alps_free(heap, blocks[k]), 0);
        CHECK_ERR(alps_heap_trim(heap), 0);
        CHECK_ERR(alps_recover(heap, NULL), 0);
        CHECK_ERR(alps_heap_close(heap), 0);
    }
    CHECK_EQ(timer_delete(timer), 0);
}

/* ---- a directory that vanishes ---- */

TEST(process, a_heap_whose_directory_is_gone_goes_on_and_is_not_found)
{
    char directory[300], path[320];
    snprintf(directory, sizeof directory, "%s/gone", test_directory());
    snprintf(path, sizeof path, "%s/heap", directory);
    CHECK_EQ(mkdir(directory, 0700), 0);
    heap_make(path, 16 * MIB, 64 * MIB);
    alps_heap_t *heap = heap_open(path), *other;
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(rmdir(directory), 0);
    alps_ptr_t large = alps_malloc(heap, 40 * MIB, ALPS_ANY_NODE); /* it grows */
    CHECK(large != ALPS_NULL);
    CHECK_ERR(alps_heap_remap(heap, NULL), 0);
    CHECK_ERR(alps_recover(heap, NULL), 0);
    CHECK_ERR(alps_free(heap, large), 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_open(path, NULL, &other), -ENOENT);
    CHECK_ERR(alps_heap_destroy(path), -ENOENT);
    CHECK_ERR(alps_heap_close(heap), 0);
}
