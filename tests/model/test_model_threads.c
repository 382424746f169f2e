/* The model of test_model.c with threads: each has a model of its own, one map of the bytes in use
 * is everybody's, and blocks travel between the threads through mailboxes, contents and all. When
 * the threads rest, the heap is compared with all models together. */
#include <alps/alps.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "blocks.h"
#include "test.h"

enum { THREADS = 4, MAILBOX = 256 };

struct mailbox {
    pthread_mutex_t lock;
    struct blocks blocks;
};

struct world {
    alps_heap_t *heap;
    struct shadow shadow;
    struct mailbox mailboxes[THREADS];
    unsigned rounds, target;
};

struct actor {
    struct world *world;
    unsigned index;
    struct test_rng rng;
    struct blocks blocks;
    unsigned refused, done;
};

static void send_block(struct actor *a)
{
    struct mailbox *to = &a->world->mailboxes[test_rng_below(&a->rng, THREADS)];
    pthread_mutex_lock(&to->lock);
    if (to->blocks.count < MAILBOX)
        blocks_add(&to->blocks, blocks_take(&a->blocks, test_rng_below(&a->rng, a->blocks.count)));
    pthread_mutex_unlock(&to->lock);
}

static void receive_block(struct actor *a)
{
    struct mailbox *from = &a->world->mailboxes[a->index];
    struct block block = {0};
    pthread_mutex_lock(&from->lock);
    if (from->blocks.count != 0)
        block = blocks_take(&from->blocks, test_rng_below(&a->rng, from->blocks.count));
    pthread_mutex_unlock(&from->lock);
    if (block.ptr == ALPS_NULL)
        return;
    block_verify(a->world->heap, &block);
    blocks_add(&a->blocks, block);
}

static void take_in(struct actor *a, alps_ptr_t ptr, size_t size)
{
    struct world *w = a->world;
    if (ptr == ALPS_NULL) {
        CHECK_EQ(errno, ENOMEM);
        a->refused++;
        return;
    }
    a->done++;
    blocks_add(&a->blocks, block_begin(w->heap, &w->shadow, ptr, size, test_rng_next(&a->rng),
                                       alps_heap_generation(w->heap)));
}

static void allocate(struct actor *a)
{
    alps_heap_t *heap = a->world->heap;
    size_t size = rng_size(&a->rng, 3 * MIB);
    switch (test_rng_below(&a->rng, 8)) {
    case 0: {
        alps_ptr_t p = alps_calloc(heap, 1, size, ALPS_ANY_NODE);
        if (p != ALPS_NULL)
            CHECK_EQ(blocks_not_zero(alps_deref(heap, p), size), size);
        take_in(a, p, size);
        break;
    }
    case 1: {
        size_t alignment = (size_t)1 << test_rng_below(&a->rng, 14);
        alps_ptr_t p = alps_aligned_alloc(heap, alignment, size, 0);
        CHECK_EQ(p % alignment, 0);
        take_in(a, p, size);
        break;
    }
    default:
        take_in(a, alps_malloc(heap, size, ALPS_ANY_NODE), size);
    }
}

static void release(struct actor *a)
{
    struct world *w = a->world;
    struct block block = blocks_take(&a->blocks, test_rng_below(&a->rng, a->blocks.count));
    CHECK_EQ(alps_usable_size(w->heap, block.ptr), block.usable);
    block_end(w->heap, &w->shadow, &block);
    CHECK_ERR(alps_free(w->heap, block.ptr), 0);
}

static void reallocate(struct actor *a)
{
    struct world *w = a->world;
    struct block old = blocks_take(&a->blocks, test_rng_below(&a->rng, a->blocks.count));
    size_t size = rng_size(&a->rng, 3 * MIB), kept = size < old.size ? size : old.size;
    block_end(w->heap, &w->shadow, &old);
    alps_ptr_t p = alps_realloc(w->heap, old.ptr, size);
    if (p == ALPS_NULL) {
        CHECK_EQ(errno, ENOMEM);
        CHECK(shadow_claim(&w->shadow, old.ptr, old.usable));
        block_verify(w->heap, &old);
        blocks_add(&a->blocks, old);
        a->refused++;
        return;
    }
    CHECK_EQ(blocks_differ(alps_deref(w->heap, p), kept, old.seed), kept);
    take_in(a, p, size);
}

static void *act(void *context)
{
    struct actor *a = context;
    for (unsigned round = 0; round < a->world->rounds; round++) {
        size_t count = a->blocks.count;
        unsigned roll = (unsigned)test_rng_below(&a->rng, 16);
        if (roll < 2)
            receive_block(a);
        else if (count == 0 || (count < a->world->target && roll < 9))
            allocate(a);
        else if (roll < 12)
            send_block(a);
        else if (roll == 12)
            reallocate(a);
        else
            release(a);
    }
    return NULL;
}

static void run_model(uint64_t size, uint64_t capacity, unsigned target, unsigned rounds)
{
    const char *path = test_heap_path();
    heap_make(path, size, capacity);
    struct world world = {.heap = heap_open(path),
                          .shadow = shadow_make(capacity + 64 * MIB),
                          .rounds = rounds,
                          .target = target};
    struct actor actors[THREADS] = {0};
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_mutex_init(&world.mailboxes[i].lock, NULL), 0);
        actors[i] = (struct actor){.world = &world, .index = i, .rng = test_rng(1 + i)};
    }
    struct blocks all = {0};
    unsigned refused = 0, done = 0;
    for (unsigned era = 0; era < 6; era++) {
        pthread_t threads[THREADS];
        for (unsigned i = 0; i < THREADS; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, act, &actors[i]), 0);
        blocks_clear(&all);
        for (unsigned i = 0; i < THREADS; i++) {
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
            blocks_append(&all, &actors[i].blocks);
            refused += actors[i].refused;
            done += actors[i].done;
        }
        for (unsigned i = 0; i < THREADS; i++)
            blocks_append(&all, &world.mailboxes[i].blocks);
        blocks_expect(world.heap, &all);
        for (size_t i = 0; i < all.count; i++)
            block_verify(world.heap, &all.items[i]);
        CHECK_ERR(alps_heap_remap(world.heap, NULL), 0);
    }
    CHECK(rounds < 5000 || refused > 10); /* the heap was full at times */
    CHECK(done > refused);
    /* The threads are gone: nothing of the heap went with them. */
    heap_free_all(world.heap, &all);
    CHECK_EQ(blocks_stats(world.heap).live_blocks, 0);
    blocks_check_heap(world.heap);
    CHECK_ERR(alps_heap_trim(world.heap), 0);
    uint64_t most = blocks_stats(world.heap).usable_bytes / 10 * 9;
    alps_ptr_t p = alps_malloc(world.heap, most, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(world.heap, p), 0);
    CHECK_ERR(alps_heap_close(world.heap), 0);
    shadow_free(&world.shadow);
    for (unsigned i = 0; i < THREADS; i++) {
        blocks_clear(&actors[i].blocks);
        blocks_clear(&world.mailboxes[i].blocks);
    }
}

TEST(model_threads, small_heap_that_is_often_full)
{
    run_model(32 * MIB, 32 * MIB, 100, blocks_scaled(10000));
}

TEST(model_threads, heap_that_grows)
{
    run_model(16 * MIB, 128 * MIB, 500, blocks_scaled(10000));
}
