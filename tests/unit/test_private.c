/* Heaps in memory of one process: used like any other, copied by fork. */
#include <pthread.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "blocks.h"
#include "heap.h"
#include "test.h"

#define BLOCKS 2000u
#define WORKERS 3u

static alps_heap_t *open_private(uint64_t size)
{
    struct alps_create_options o = blocks_options(size, size);
    alps_heap_t *heap = NULL;
    CHECK_ERR(heap_private_open(&o, NULL, &heap), 0);
    return heap;
}

static struct blocks allocate(alps_heap_t *heap, unsigned count, uint64_t seed)
{
    struct blocks blocks = {0};
    struct test_rng rng = test_rng(seed);
    for (unsigned i = 0; i < count; i++) {
        size_t size = rng_size(&rng, 200 * KIB);
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK_NE(p, ALPS_NULL);
        blocks_add(&blocks, block_begin(heap, NULL, p, size, seed + i, alps_heap_generation(heap)));
    }
    return blocks;
}

static void verify_all(alps_heap_t *heap, const struct blocks *blocks)
{
    for (size_t i = 0; i < blocks->count; i++)
        block_verify(heap, &blocks->items[i]);
}

static void set_generations(struct blocks *blocks, alps_gen_t generation)
{
    for (size_t i = 0; i < blocks->count; i++)
        blocks->items[i].generation = generation;
}

TEST(private, serves_blocks_until_it_is_full)
{
    alps_heap_t *heap = open_private(64 * MIB);
    struct blocks blocks = allocate(heap, 100, 1);
    blocks_expect(heap, &blocks);
    heap_free_all(heap, &blocks);
    heap_fill(heap, 100 * KIB, &blocks);
    CHECK_LT(40 * MIB, blocks.count * 100 * KIB);
    CHECK_ERRNO(alps_malloc(heap, 100 * KIB, ALPS_ANY_NODE), ENOMEM);
    heap_free_all(heap, &blocks);
    blocks_expect(heap, &blocks);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(private, trimmed_memory_is_zero)
{
    alps_heap_t *heap = open_private(64 * MIB);
    alps_ptr_t p = alps_malloc(heap, 16 * MIB, ALPS_ANY_NODE);
    memset(alps_deref(heap, p), 1, 16 * MIB);
    char *inside = (char *)alps_deref(heap, p) + 8 * MIB;
    CHECK_ERR(alps_free(heap, p), 0);
    CHECK_ERR(alps_heap_trim(heap), 0);
    CHECK_EQ(*inside, 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

struct family {
    alps_heap_t *heap;
    struct blocks before;
    unsigned depth;
};

static void diverge(alps_heap_t *heap, unsigned depth);

static void diverge_in_child(void *context)
{
    struct family *f = (struct family *)context;
    alps_heap_t *heap = f->heap;
    const alps_gen_t generation = alps_heap_generation(heap);
    CHECK_ERR(alps_free(heap, f->before.items[0].ptr), -ECHILD);
    verify_all(heap, &f->before);
    CHECK_ERR(heap_private_inherit(heap), 0);
    CHECK_LT(generation, alps_heap_generation(heap));
    verify_all(heap, &f->before);
    set_generations(&f->before, ALPS_PERMANENT);
    if (f->depth == 0)
        blocks_expect(heap, &f->before);
    struct blocks own = allocate(heap, BLOCKS, 7777);
    verify_all(heap, &f->before);
    if (f->depth < 2)
        diverge(heap, f->depth + 1);
    verify_all(heap, &own);
    heap_free_all(heap, &own);
    verify_all(heap, &f->before);
    heap_free_all(heap, &f->before);
    blocks_check_heap(heap);
}

/* Parent and child write, free and allocate, and neither sees anything of it from the other. */
static void diverge(alps_heap_t *heap, unsigned depth)
{
    struct family f = {heap, allocate(heap, BLOCKS, depth * 10000), depth};
    pid_t child = test_fork(diverge_in_child, &f);
    for (size_t i = 0; i < f.before.count; i += 2) {
        struct block b = f.before.items[i];
        memset(alps_deref(heap, b.ptr), 0x55, b.size);
        CHECK_ERR(alps_free(heap, b.ptr), 0);
    }
    struct blocks later = allocate(heap, BLOCKS, depth * 10000 + 5000);
    test_join(child);
    verify_all(heap, &later);
    blocks_check_heap(heap);
    heap_free_all(heap, &later);
    blocks_clear(&f.before);
    blocks_clear(&later);
}

TEST(private, fork_copies_it)
{
    alps_heap_t *heap = open_private(256 * MIB);
    diverge(heap, 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

static void fill_in_child(void *context)
{
    const struct family *f = (const struct family *)context;
    struct blocks more = {0};
    CHECK_ERR(heap_private_inherit(f->heap), 0);
    heap_fill(f->heap, 64, &more);
    CHECK_LE(f->before.count, more.count);
    blocks_clear(&more);
    blocks_check_heap(f->heap);
}

/* Free space in the parent's slabs is not lost to the child. */
TEST(private, child_uses_what_the_parent_left_free)
{
    alps_heap_t *heap = open_private(64 * MIB);
    struct blocks blocks = {0};
    heap_fill(heap, 64, &blocks);
    const size_t all = blocks.count;
    for (size_t i = 0; i < all; i += 2)
        CHECK_ERR(alps_free(heap, blocks.items[i].ptr), 0);
    struct family f = {.heap = heap, .before.count = all / 2};
    test_join(test_fork(fill_in_child, &f));
    blocks_clear(&blocks);
    CHECK_ERR(alps_heap_close(heap), 0);
}

static alps_heap_t *worked_on;
static bool stop;

static void *work(void *seed)
{
    struct test_rng rng = test_rng((uintptr_t)seed);
    alps_ptr_t held[64] = {0};
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        alps_ptr_t *p = &held[test_rng_below(&rng, 64)];
        CHECK_ERR(alps_free(worked_on, *p), 0);
        *p = alps_malloc(worked_on, rng_size(&rng, 300 * KIB), ALPS_ANY_NODE);
        CHECK_NE(*p, ALPS_NULL);
    }
    for (unsigned i = 0; i < 64; i++)
        CHECK_ERR(alps_free(worked_on, held[i]), 0);
    return NULL;
}

static void use_in_child(void *context)
{
    struct family *f = (struct family *)context;
    CHECK_ERR(heap_private_inherit(f->heap), 0);
    blocks_check_heap(f->heap);
    struct blocks own = allocate(f->heap, 200, 1);
    verify_all(f->heap, &f->before);
    heap_free_all(f->heap, &own);
    heap_free_all(f->heap, &f->before);
    blocks_check_heap(f->heap);
}

/* Without the sanitizers' check for leaks, which waits for good for what another thread of the
 * parent had locked. */
static void use_in_child_and_leave(void *context)
{
    use_in_child(context);
    _exit(0);
}

/* Whatever the other threads were doing when one forked. */
TEST(private, fork_beside_threads)
{
    alps_heap_t *heap = worked_on = open_private(512 * MIB);
    pthread_t threads[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i), 0);
    struct family f = {.heap = heap, .before = allocate(heap, 100, 99)};
    for (unsigned round = blocks_scaled(50); round > 0; round--)
        test_join(test_fork(use_in_child_and_leave, &f));
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    heap_free_all(heap, &f.before);
    blocks_expect(heap, &f.before);
    CHECK_ERR(alps_heap_close(heap), 0);
}
