/* The mode virtual: what accesses cost, by the clock. */
#include <emu/emu.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "test.h"

#define FAR_BYTES ((size_t)16 << 20)

static char *far;

static void start(const char *text, const char *share, unsigned hosts)
{
    char path[256];
    snprintf(path, sizeof path, "%s/test.profile", test_directory());
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
    struct emu_options options = {.struct_size = sizeof options,
                                  .mode = EMU_VIRTUAL,
                                  .profile = path,
                                  .share = share,
                                  .hosts = hosts};
    CHECK_ERR(emu_start(&options), 0);
    far = mmap(NULL, FAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(far != MAP_FAILED);
    CHECK_ERR(emu_add(far, FAR_BYTES, 0), 0);
}

static void start_profile(const char *text, const char *share)
{
    start(text, share, 1);
}

/* A hit costs 2 ns, a miss 100 (read), 200 (write), 300 (atomic), 400 (flush); a fence 10. */
#define PLAIN                                                                                      \
    "fence = 10 ns\nparallelism = 4\n"                                                             \
    "[cache]\nsize = 4 KiB\nways = 2\nhit = 2 ns\n"                                                \
    "[memory m]\nread = 100 ns\nwrite = 200 ns\natomic = 300 ns\nflush = 400 ns\n"

static uint64_t cost_of(void (*access)(void))
{
    const uint64_t before = emu_clock_ns();
    access();
    return emu_clock_ns() - before;
}

static void read_0(void)
{
    emu_read(far, 8);
}
static void write_1(void)
{
    emu_write(far + 64, 8);
}
static void atomic_2(void)
{
    emu_atomic(far + 128);
}
static void flush_1(void)
{
    emu_flush(far + 64, 8);
}
static void fence(void)
{
    emu_fence();
}
static void read_16_lines(void)
{
    emu_read(far + 4096 * 5 + 32, 15 * 64 + 1);
}

TEST(virtual, each_access_costs_what_the_profile_says)
{
    start_profile(PLAIN, NULL);
    CHECK_EQ(emu_clock_ns(), 0);
    CHECK_EQ(cost_of(read_0), 100);
    CHECK_EQ(cost_of(read_0), 2);
    CHECK_EQ(cost_of(write_1), 200);
    CHECK_EQ(cost_of(write_1), 2);
    CHECK_EQ(cost_of(atomic_2), 300);
    CHECK_EQ(cost_of(atomic_2), 2);
    CHECK_EQ(cost_of(flush_1), 2);
    CHECK_EQ(cost_of(fence), 400 + 10);
    CHECK_EQ(cost_of(flush_1), 2); /* it is clean now */
    CHECK_EQ(cost_of(fence), 10);
    CHECK_EQ(cost_of(read_16_lines), 4 * 100);
    struct emu_counts c;
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_READ], 2 + 16);
    CHECK_EQ(c.misses[EMU_READ], 1 + 16);
    CHECK_EQ(c.accesses[EMU_WRITE], 2);
    CHECK_EQ(c.misses[EMU_ATOMIC], 1);
    CHECK_EQ(c.accesses[EMU_FLUSH], 2);
    CHECK_EQ(c.misses[EMU_FLUSH], 1);
    CHECK_EQ(c.fences, 2);
    CHECK_EQ(c.charged_ns, emu_clock_ns());
    emu_stop();
}

TEST(virtual, the_cache_has_so_many_lines)
{
    start_profile(PLAIN, NULL);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < 64; i++) /* 4 KiB: all fit */
            emu_read(far + i * 64, 1);
    CHECK_EQ(emu_clock_ns(), 64 * 100 + 64 * 2);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < 128; i++) /* 8 KiB: by turns, nothing stays */
            emu_read(far + 8192 + i * 64, 1);
    CHECK_EQ(emu_clock_ns(), 64 * 100 + 64 * 2 + 256 * 100);
    emu_stop();
}

/* What only this thread does not make far: other memory, and nothing is charged without an
 * emulator. */
TEST(virtual, other_memory_costs_nothing)
{
    char near[256] = {0};
    start_profile(PLAIN, NULL);
    emu_read(near, sizeof near);
    emu_write(near, sizeof near);
    CHECK_EQ(emu_clock_ns(), 0);
    emu_read(far - 64, 128); /* half of it */
    CHECK_EQ(emu_clock_ns(), 100);
    CHECK_ERR(emu_remove(far), 0);
    emu_read(far + 640, 8);
    CHECK_EQ(emu_clock_ns(), 100);
    emu_stop();
    emu_read(far, 8);
    emu_fence();
}

static void *write_line_0(void *unused)
{
    (void)unused;
    emu_write(far, 8);
    return NULL;
}

TEST(virtual, a_line_that_another_thread_wrote_is_fetched_again)
{
    pthread_t thread;
    start_profile(PLAIN, NULL);
    emu_read(far, 8);
    CHECK_EQ(cost_of(read_0), 2);
    CHECK_EQ(pthread_create(&thread, NULL, write_line_0, NULL), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(cost_of(read_0), 100);
    CHECK_EQ(cost_of(read_0), 2);
    emu_write(far, 8); /* and to write it again, the other's copy has to go */
    CHECK_EQ(emu_clock_ns(), 100 + 2 + 100 + 2 + 200);
    struct emu_counts c;
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_WRITE], 2); /* of both threads */
    emu_stop();
}

TEST(virtual, without_coherence_single_words_come_from_the_memory)
{
    start_profile("coherent = no\n" PLAIN, NULL);
    CHECK_EQ(cost_of(read_0), 100);
    CHECK_EQ(cost_of(read_0), 100);
    CHECK_EQ(cost_of(atomic_2), 300);
    CHECK_EQ(cost_of(atomic_2), 300);
    CHECK_EQ(cost_of(read_16_lines), 400);
    CHECK_EQ(cost_of(read_16_lines), 32);
    emu_stop();
}

TEST(virtual, computing_and_waiting_advance_the_clock)
{
    start_profile(PLAIN, NULL);
    emu_compute(50);
    CHECK_EQ(emu_clock_ns(), 50);
    emu_wait_until(40);
    CHECK_EQ(emu_clock_ns(), 50);
    emu_wait_until(1000);
    CHECK_EQ(emu_clock_ns(), 1000);
    emu_stop();
}

TEST(virtual, copies_cost_both_sides_and_copy)
{
    start_profile(PLAIN, NULL);
    memcpy(far, "one line of text", 17);
    emu_copy(far + 4096, far, 17);
    CHECK_STR(far + 4096, "one line of text");
    CHECK_EQ(emu_clock_ns(), 100 + 200);
    emu_stop();
}

/* Long transfers are as fast as the bandwidth allows. */
TEST(virtual, a_long_transfer_takes_its_bytes_over_the_bandwidth)
{
    start_profile("parallelism = 64\n[memory m]\nread = 100 ns\nbandwidth = 1 GB/s\n", NULL);
    emu_read(far, (size_t)1 << 20);
    const uint64_t took = emu_clock_ns();
    CHECK_LE(1 << 20, took + 1000);
    CHECK_LE(took, (1 << 20) + (1 << 20) / 50);
    emu_stop();
}

static void work(void *figures)
{
    struct emu_counts c;
    start_profile("[link l]\nlatency = 50 ns\nbandwidth = 5 GB/s\nscope = host\n"
                  "[cache]\nsize = 64 KiB\n"
                  "[memory m]\nread = 300 ns\ncount = 3\nbandwidth = 3 GB/s at 0 % reads, "
                  "6 GB/s at 100 % reads\nloaded = 1 at 0 %, 4 at 100 %\n",
                  NULL);
    uint64_t x = 1;
    for (int i = 0; i < 200000; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        const size_t at = (size_t)(x >> 33) % (FAR_BYTES - 4096), length = (x >> 20) % 2000;
        switch (x >> 61) {
        case 0:
            emu_write(far + at, length);
            break;
        case 1:
            emu_atomic(far + at / 8 * 8);
            break;
        case 2:
            emu_flush(far + at, length);
            emu_fence();
            break;
        default:
            emu_read(far + at, length);
        }
    }
    emu_count(&c);
    ((uint64_t *)figures)[0] = emu_clock_ns();
    memcpy((uint64_t *)figures + 1, &c, sizeof c);
    emu_stop();
}

/* To the last digit, wherever the memory lies. */
TEST(virtual, one_process_gets_the_same_figures_each_time)
{
    const size_t words = 1 + sizeof(struct emu_counts) / 8;
    uint64_t *figures = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 3; i++)
        test_join(test_fork(work, figures + (size_t)i * words));
    CHECK_LT(1000000, figures[0]);
    CHECK_EQ(memcmp(figures, figures + words, words * 8), 0);
    CHECK_EQ(memcmp(figures, figures + 2 * words, words * 8), 0);
    /* And on any machine: the figure itself. */
    CHECK_EQ(figures[0], 155762330);
}

TEST(virtual, a_profile_without_latencies_is_refused)
{
    struct emu_options options = {
        .struct_size = sizeof options, .mode = EMU_VIRTUAL, .profile = "sham"};
    CHECK_ERR(emu_start(&options), -EINVAL);
    CHECK(strstr(emu_error_detail(), "virtual needs") != NULL);
}

/* One thread plays two processors on hosts of their own: clocks, caches and figures are apart, what
 * one writes the other must fetch again, and neither waits at the other's port. */
TEST(virtual, a_thread_plays_agents_on_several_hosts)
{
    start(PLAIN, NULL, 2);
    struct emu_agent *a, *b;
    CHECK_ERR(emu_agent_new(0, &a), 0);
    CHECK_ERR(emu_agent_new(1, &b), 0);
    CHECK_ERR(emu_agent_new(2, &b), -EINVAL);
    CHECK(emu_become(a) == NULL);
    CHECK_EQ(cost_of(read_0), 100);
    CHECK_EQ(cost_of(read_0), 2);
    CHECK(emu_become(b) == a);
    CHECK_EQ(emu_clock_ns(), 0);
    CHECK_EQ(cost_of(read_0), 100);
    emu_write(far, 8);
    CHECK(emu_become(a) == b);
    CHECK_EQ(emu_clock_ns(), 102);
    CHECK_EQ(cost_of(read_0), 100);
    struct emu_counts c, all;
    emu_agent_count(a, &c);
    CHECK_EQ(c.accesses[EMU_READ], 3);
    CHECK_EQ(c.misses[EMU_READ], 2);
    CHECK_EQ(c.charged_ns, 202);
    emu_become(NULL);
    CHECK_EQ(emu_clock_ns(), 0);
    CHECK_EQ(cost_of(read_0), 100);
    emu_count(&all);
    CHECK_EQ(all.accesses[EMU_READ], 5);
    CHECK_EQ(all.misses[EMU_WRITE], 1);
    emu_stop();
    CHECK_ERR(emu_agent_new(0, &a), -EINVAL);
}
