/* Links and devices as servers that processes share. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache.h"
#include "model.h"
#include "test.h"

#include <emu/emu.h>

#define WINDOW UINT64_C(10000000) /* ps */

static struct profile profile;

static struct model *open_model(const char *text, const char *path, unsigned hosts)
{
    struct model *m;
    CHECK_ERR(profile_parse(&profile, "p", text), 0);
    CHECK_ERR(model_open(&m, &profile, path, hosts, WINDOW), 0);
    model_opened(m);
    return m;
}

static struct model_cost read_bytes(struct model *m, uint64_t bytes, uint64_t now)
{
    return model_transfer(m, 0, 0, EMU_READ, false, bytes, now);
}

TEST(model, an_idle_path_costs_its_latency_and_no_queue)
{
    struct model *m = open_model("[link a]\nlatency = 30 ns\nbandwidth = 10 GB/s\n"
                                 "[memory m]\nread = 200 ns\nbandwidth = 20 GB/s\n",
                                 NULL, 1);
    struct model_cost c = read_bytes(m, 64, 1000000);
    CHECK_EQ(c.latency_ps, 230000);
    CHECK_EQ(c.service_ps, 6400); /* of the narrower one */
    CHECK_EQ(c.queue_ps, 0);
    model_close(m);
}

/* What arrives together is moved one after the other, at the rate, whatever the order of times. */
TEST(model, bandwidth_is_what_the_profile_says)
{
    struct model *m = open_model("[memory m]\nread = 1 ns\nbandwidth = 2 GB/s\n", NULL, 1);
    uint64_t last = 0, now = 5 * WINDOW;
    const unsigned n = 10000;
    for (unsigned i = 0; i < n; i++) { /* one sender that waits for nothing */
        struct model_cost c = read_bytes(m, 64, now);
        last = now + c.queue_ps + c.service_ps;
    }
    CHECK_EQ(last - now, n * 64 * 500);
    /* Two whose clocks are apart share every window all the same. */
    uint64_t clocks[2] = {100 * WINDOW, 100 * WINDOW}, moved[2] = {0, 0};
    const uint64_t end = 120 * WINDOW;
    for (unsigned turn = 0; clocks[0] < end || clocks[1] < end; turn++) {
        const unsigned i = turn / 50 % 2; /* 50 transfers each in turn */
        if (clocks[i] >= end)
            continue;
        struct model_cost c = read_bytes(m, 256, clocks[i]);
        clocks[i] += c.queue_ps + c.service_ps;
        moved[i] += 256;
    }
    const double bytes = (double)(moved[0] + moved[1]), possible = 20.0 * WINDOW / 500;
    CHECK(bytes <= possible * 1.05 && bytes >= possible * 0.95);
    model_close(m);
}

TEST(model, bandwidth_follows_the_mix)
{
    struct model *m = open_model("[memory m]\nread = 1 ns\n"
                                 "bandwidth = 1 GB/s at 0 % reads, 4 GB/s at 100 % reads\n",
                                 NULL, 1);
    CHECK_EQ(read_bytes(m, 4000, WINDOW).service_ps, 1000000);
    CHECK_EQ(model_transfer(m, 0, 0, EMU_WRITE, true, 4000, 5 * WINDOW).service_ps, 4000000);
    CHECK_EQ(read_bytes(m, 4000, 5 * WINDOW).service_ps, 1600000); /* half and half: 2.5 GB/s */
    model_close(m);
}

TEST(model, a_busy_device_takes_longer)
{
    struct model *m = open_model("[memory m]\nread = 100 ns\nbandwidth = 1 GB/s\n"
                                 "loaded = 1 at 0 %, 3 at 100 %\n",
                                 NULL, 1);
    CHECK_EQ(read_bytes(m, 64, WINDOW).latency_ps, 100000);
    read_bytes(m, WINDOW / 1000 / 2, 5 * WINDOW); /* half of that window */
    CHECK_EQ(read_bytes(m, 64, 6 * WINDOW).latency_ps, 200000);
    CHECK_EQ(read_bytes(m, 64, 9 * WINDOW).latency_ps, 100000);
    model_close(m);
}

TEST(model, small_accesses_take_a_whole_grain)
{
    struct model *m =
        open_model("[memory m]\nread = 1 ns\nbandwidth = 1 GB/s\ngrain = 256 B\n", NULL, 1);
    CHECK_EQ(read_bytes(m, 64, WINDOW).service_ps, 256000);
    model_close(m);
}

TEST(model, each_host_has_its_port_and_all_share_the_switch)
{
    struct model *m = open_model("[link port]\nscope = host\nbandwidth = 1 GB/s\n"
                                 "[link switch]\nbandwidth = 2 GB/s\n"
                                 "[memory m]\nread = 1 ns\n",
                                 NULL, 4);
    /* Each of four hosts sends a window's worth of its port; the switch can do two of them. */
    const uint64_t bytes = WINDOW / 1000;
    uint64_t queue[4];
    for (unsigned host = 0; host < 4; host++)
        queue[host] = model_transfer(m, host, 0, EMU_READ, false, bytes, WINDOW).queue_ps;
    CHECK_EQ(queue[0], 0);
    CHECK_EQ(queue[1], WINDOW / 2);
    CHECK_EQ(queue[3], WINDOW / 2 * 3);
    CHECK_LE(WINDOW, model_transfer(m, 0, 0, EMU_READ, false, bytes, WINDOW).queue_ps);
    model_close(m);
}

/* Who comes later than the ring remembers waits for nobody, and takes nothing away. */
TEST(model, times_long_ago_do_no_harm)
{
    struct model *m = open_model("[memory m]\nread = 1 ns\nbandwidth = 1 GB/s\n", NULL, 1);
    const uint64_t late = 70000 * WINDOW;
    for (int i = 0; i < 100; i++)
        read_bytes(m, WINDOW / 1000, late);
    CHECK_EQ(read_bytes(m, 64, late - 65536 * WINDOW).queue_ps, 0);
    CHECK_EQ(read_bytes(m, 64, late).queue_ps, 100 * WINDOW);
    model_close(m);
}

#define WINDOWS 500

struct sender {
    struct model *model;
    uint64_t moved, end;
};

static void *send_for_a_while(void *argument)
{
    struct sender *s = argument;
    for (uint64_t now = 100 * WINDOW; now < s->end; s->moved += 512) {
        struct model_cost c = read_bytes(s->model, 512, now);
        now += c.queue_ps + c.service_ps;
    }
    return NULL;
}

struct child {
    const char *path;
    uint64_t *moved;
};

static void send_from_child(void *context)
{
    const struct child *child = context;
    struct model *m = open_model("[memory m]\nread = 1 ns\nbandwidth = 2 GB/s\n", child->path, 1);
    struct sender s = {m, 0, (100 + WINDOWS) * WINDOW};
    send_for_a_while(&s);
    *child->moved = s.moved;
    model_close(m);
}

TEST(model, threads_and_processes_share_a_link)
{
    const char *path = test_heap_path(); /* a name, no heap */
    struct model *m = open_model("[memory m]\nread = 1 ns\nbandwidth = 2 GB/s\n", path, 1);
    uint64_t *moved =
        mmap(NULL, sizeof *moved, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = test_fork(send_from_child, &(struct child){path, moved});
    struct sender senders[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        senders[i] = (struct sender){m, 0, (100 + WINDOWS) * WINDOW};
        CHECK_EQ(pthread_create(&threads[i], NULL, send_for_a_while, &senders[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    test_join(child);
    const double sum = (double)(senders[0].moved + senders[1].moved + *moved);
    const double possible = (double)WINDOWS * WINDOW / 500;
    CHECK(sum <= possible * 1.02); /* the last window's queue may reach beyond the end */
    CHECK(sum >= possible * 0.95);
    model_close(m);
}

TEST(model, a_share_of_something_else_is_refused)
{
    const char *path = test_heap_path();
    struct model *m = open_model("[memory m]\nread = 1 ns\n", path, 2), *other;
    CHECK_ERR(model_open(&other, &profile, path, 3, WINDOW), -EINVAL);
    CHECK_ERR(model_open(&other, &profile, path, 2, WINDOW * 2), -EINVAL);
    CHECK_ERR(profile_parse(&profile, "p", "[memory m]\nread = 2 ns\n"), 0);
    CHECK_ERR(model_open(&other, &profile, path, 2, WINDOW), -EINVAL);
    CHECK(strstr(emu_error_detail(), path) != NULL);
    model_close(m);
    CHECK_EQ(truncate(path, 100), 0);
    CHECK_ERR(model_open(&other, &profile, path, 2, WINDOW), -EINVAL);
    CHECK_ERR(model_open(&other, &profile, "/nowhere/at/all", 2, WINDOW), -ENOENT);
}

TEST(model, lines_change_hands)
{
    struct model *m = open_model("[memory m]\nread = 1 ns\n", NULL, 1);
    bool had;
    const unsigned a = model_new_agent(m), b = model_new_agent(m);
    CHECK_NE(a, b);
    const uint64_t first = model_own(m, 7, a, &had);
    CHECK(!had);
    CHECK_EQ(model_own(m, 7, a, &had), first);
    CHECK(had);
    CHECK_EQ(model_fetch(m, 7, b), first); /* both have it now */
    const uint64_t second = model_own(m, 7, a, &had);
    CHECK(!had);
    CHECK_NE(second, first);
    CHECK_EQ(model_stamp(m, 7), second);
    CHECK_NE(model_own(m, 7, b, &had), second);
    model_close(m);
}

TEST(model, a_cache_keeps_what_was_used_last)
{
    struct cache *cache = cache_new(64 * 64, 4);
    struct cache_line evicted;
    for (uint64_t i = 0; i < 4; i++) {
        CHECK(cache_find(cache, i * 16) == NULL);
        cache_insert(cache, i * 16, &evicted)->dirty = true;
        CHECK_EQ(evicted.line, 0);
    }
    CHECK(cache_find(cache, 0) != NULL);
    cache_insert(cache, 4 * 16, &evicted);
    CHECK_EQ(evicted.line, 16 + 1);
    CHECK(evicted.dirty);
    CHECK(cache_find(cache, 16) == NULL);
    CHECK(cache_find(cache, 0) != NULL);
    CHECK(cache_find(cache, 1) == NULL);
    free(cache);
}
