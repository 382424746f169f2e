/* Many threads on one handle: their own blocks, each other's blocks, and what they leave behind. */
#include <alps/alps.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "blocks.h"
#include "test.h"

enum { THREADS = 4, SLOTS = 500 };

struct shared {
    const char *path;
    alps_heap_t *heap;
    unsigned rounds;
    pthread_mutex_t lock;
    struct blocks exchange; /* blocks of anybody, for anybody to free; by lock */
};

struct thread {
    struct shared *shared;
    unsigned index;
    struct blocks left; /* allocated and not freed */
};

static void run_threads(void *(*body)(void *), struct shared *shared, struct thread *threads)
{
    pthread_t ids[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){.shared = shared, .index = i};
        CHECK_EQ(pthread_create(&ids[i], NULL, body, &threads[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(ids[i], NULL), 0);
}

static struct shared shared_make(uint64_t size, uint64_t capacity, unsigned rounds)
{
    struct shared shared = {.path = test_heap_path(), .rounds = rounds};
    heap_make(shared.path, size, capacity);
    shared.heap = heap_open(shared.path);
    CHECK_EQ(pthread_mutex_init(&shared.lock, NULL), 0);
    return shared;
}

/* Nothing is stranded: one block of most of the heap can be had without closing it. */
static void end_empty(struct shared *shared)
{
    alps_heap_t *heap = shared->heap;
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    CHECK_ERR(alps_heap_trim(heap), 0);
    CHECK_EQ(blocks_stats(heap).span_bytes, 0);
    alps_ptr_t p = alps_malloc(heap, blocks_stats(heap).usable_bytes / 10 * 9, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(heap, p), 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    blocks_clear(&shared->exchange);
    CHECK_EQ(pthread_mutex_destroy(&shared->lock), 0);
}

static void *free_own_blocks(void *context)
{
    struct thread *t = context;
    struct test_rng rng = test_rng(10 + t->index);
    alps_heap_t *heap = t->shared->heap;
    struct block held[SLOTS] = {0};
    for (unsigned i = 0; i < t->shared->rounds; i++) {
        struct block *slot = &held[test_rng_below(&rng, SLOTS)];
        if (slot->ptr != ALPS_NULL) {
            block_end(heap, NULL, slot);
            CHECK_ERR(alps_free(heap, slot->ptr), 0);
        }
        size_t size = rng_size(&rng, 64 * KIB);
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        *slot = block_begin(heap, NULL, p, size, test_rng_next(&rng), alps_heap_generation(heap));
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (held[i].ptr != ALPS_NULL) {
            block_end(heap, NULL, &held[i]);
            CHECK_ERR(alps_free(heap, held[i].ptr), 0);
        }
    return NULL;
}

TEST(threads, free_their_own_blocks)
{
    struct shared shared = shared_make(64 * MIB, 512 * MIB, blocks_scaled(50000));
    struct thread threads[THREADS];
    for (int round = 0; round < 2; round++)
        run_threads(free_own_blocks, &shared, threads);
    end_empty(&shared);
}

static void *free_any_blocks(void *context)
{
    struct thread *t = context;
    struct shared *shared = t->shared;
    struct test_rng rng = test_rng(20 + t->index);
    alps_heap_t *heap = shared->heap;
    for (unsigned i = 0; i < shared->rounds; i++) {
        size_t size = rng_size(&rng, 64 * KIB);
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        struct block mine =
            block_begin(heap, NULL, p, size, test_rng_next(&rng), alps_heap_generation(heap));
        struct block theirs = {0};
        pthread_mutex_lock(&shared->lock);
        blocks_add(&shared->exchange, mine);
        if (shared->exchange.count > 1000)
            theirs = blocks_take(&shared->exchange, test_rng_below(&rng, shared->exchange.count));
        pthread_mutex_unlock(&shared->lock);
        if (theirs.ptr != ALPS_NULL) {
            CHECK_EQ(alps_usable_size(heap, theirs.ptr), theirs.usable);
            block_end(heap, NULL, &theirs);
            CHECK_ERR(alps_free(heap, theirs.ptr), 0);
        }
    }
    return NULL;
}

TEST(threads, free_each_others_blocks)
{
    struct shared shared = shared_make(64 * MIB, 512 * MIB, blocks_scaled(40000));
    struct thread threads[THREADS];
    for (int round = 0; round < 2; round++) {
        run_threads(free_any_blocks, &shared, threads);
        blocks_expect(shared.heap, &shared.exchange);
    }
    for (size_t i = 0; i < shared.exchange.count; i++)
        block_verify(shared.heap, &shared.exchange.items[i]);
    /* All threads that allocated have ended; this one frees. */
    heap_free_all(shared.heap, &shared.exchange);
    end_empty(&shared);
}

static void *leave_blocks(void *context)
{
    struct thread *t = context;
    struct test_rng rng = test_rng(30 + t->index);
    alps_heap_t *heap = t->shared->heap;
    for (unsigned i = 0; i < t->shared->rounds; i++) {
        size_t size = rng_size(&rng, 64 * KIB);
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        blocks_add(&t->left, block_begin(heap, NULL, p, size, test_rng_next(&rng),
                                         alps_heap_generation(heap)));
    }
    return NULL;
}

TEST(threads, that_end_leave_nothing_stranded)
{
    struct shared shared = shared_make(256 * MIB, 0, 300);
    for (unsigned round = 0; round < blocks_scaled(20) + 1; round++) {
        struct thread threads[THREADS];
        struct blocks all = {0};
        run_threads(leave_blocks, &shared, threads);
        for (unsigned i = 0; i < THREADS; i++) {
            blocks_append(&all, &threads[i].left);
            blocks_clear(&threads[i].left);
        }
        blocks_expect(shared.heap, &all);
        for (size_t i = 0; i < all.count; i++)
            block_verify(shared.heap, &all.items[i]);
        heap_free_all(shared.heap, &all);
    }
    alps_ptr_t p = alps_malloc(shared.heap, 200 * MIB, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(shared.heap, p), 0);
    end_empty(&shared);
}

/* Each thread fills the heap as far as it can, so that all of them meet its end. */
static void *fill_the_heap(void *context)
{
    struct thread *t = context;
    alps_heap_t *heap = t->shared->heap;
    static const size_t sizes[] = {100, 3000, 40000, 700000};
    for (unsigned i = 0; i < t->shared->rounds; i++) {
        struct blocks blocks = {0};
        heap_fill(heap, sizes[(i + t->index) % 4], &blocks);
        for (size_t j = 0; j < blocks.count; j++)
            blocks_fill(alps_deref(heap, blocks.items[j].ptr), 64, blocks.items[j].ptr);
        for (size_t j = 0; j < blocks.count; j++)
            CHECK_EQ(blocks_differ(alps_deref(heap, blocks.items[j].ptr), 64, blocks.items[j].ptr),
                     64);
        heap_free_all(heap, &blocks);
    }
    return NULL;
}

TEST(threads, meet_a_full_heap)
{
    struct shared shared = shared_make(16 * MIB, 32 * MIB, blocks_scaled(60) + 3);
    struct thread threads[THREADS];
    run_threads(fill_the_heap, &shared, threads);
    end_empty(&shared);
}

/* Threads with handles of their own. */
static void *open_and_close(void *context)
{
    struct thread *t = context;
    struct test_rng rng = test_rng(40 + t->index);
    for (unsigned i = 0; i < t->shared->rounds; i++) {
        alps_heap_t *heap = heap_open(t->shared->path);
        alps_ptr_t blocks[20];
        for (unsigned j = 0; j < 20; j++) {
            blocks[j] = alps_malloc(heap, rng_size(&rng, 10000), ALPS_ANY_NODE);
            CHECK(blocks[j] != ALPS_NULL);
        }
        CHECK_ERR(alps_heap_remap(heap, NULL), 0);
        for (unsigned j = 0; j < 20; j++)
            CHECK_ERR(alps_free(j % 2 == 0 ? heap : t->shared->heap, blocks[j]), 0);
        CHECK_ERR(alps_heap_close(heap), 0);
    }
    return NULL;
}

static void run_on_a_heap_that_grows(void *(*body)(void *))
{
    struct shared shared = shared_make(64 * MIB, 256 * MIB, blocks_scaled(200));
    struct thread threads[THREADS];
    run_threads(body, &shared, threads);
    end_empty(&shared);
}

TEST(threads, open_and_close_handles_of_their_own)
{
    run_on_a_heap_that_grows(open_and_close);
}

/* One thread looks up the handle of an address while the others open and close theirs. */
static void *find_handles(void *context)
{
    struct thread *t = context;
    if (t->index != 0)
        return open_and_close(context);
    alps_heap_t *heap = t->shared->heap;
    const char *address = alps_deref(heap, 4096);
    for (unsigned i = 0; i < t->shared->rounds * 100; i++)
        CHECK_EQ(alps_heap_at(address + i), heap);
    return NULL;
}

TEST(threads, find_handles_while_others_come_and_go)
{
    run_on_a_heap_that_grows(find_handles);
}

/* A heap that grows is opened at any time: a file is as long as its zones say. */
static void *open_while_it_grows(void *context)
{
    struct thread *t = context;
    uint64_t size = 16 * MIB;
    for (unsigned i = 0; i < t->shared->rounds; i++) {
        if (t->index != 0)
            CHECK_ERR(alps_heap_close(heap_open(t->shared->path)), 0);
        for (unsigned k = 0; k < 30 && t->index == 0; k++)
            CHECK_ERR(alps_heap_grow(t->shared->heap, size += 64 * 1024), 0);
    }
    return NULL;
}

TEST(threads, open_a_heap_while_it_grows)
{
    struct shared shared = shared_make(16 * MIB, 4096 * MIB, blocks_scaled(2000));
    struct thread threads[THREADS];
    run_threads(open_while_it_grows, &shared, threads);
    end_empty(&shared);
}

/* Looking at a heap beside writers never fails, and finds nothing wrong. */
static void *look(void *context)
{
    struct thread *t = context;
    if (t->index != 0)
        return free_own_blocks(context);
    alps_heap_t *heap = t->shared->heap;
    for (unsigned i = 0; i < t->shared->rounds / 1000 + 1; i++) {
        struct alps_recovery report = {.struct_size = sizeof report};
        struct blocks found = blocks_walk(heap);
        blocks_clear(&found);
        blocks_check_heap(heap);
        CHECK(blocks_stats(heap).instances == 1);
        CHECK_ERR(alps_recover(heap, &report), 0);
        CHECK_EQ(report.count, 0);
        CHECK_ERR(alps_heap_trim(heap), 0);
    }
    return NULL;
}

TEST(threads, look_at_the_heap_beside_writers)
{
    struct shared shared = shared_make(64 * MIB, 256 * MIB, blocks_scaled(50000));
    struct thread threads[THREADS];
    run_threads(look, &shared, threads);
    end_empty(&shared);
}
