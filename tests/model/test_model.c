/* One process does random things to a small heap, and a plain model tells what must come out.
 *
 * The model is a list of the blocks that are allocated, with the seeds of their contents, and a
 * map of the bytes in use. After some rounds the heap is walked and compared with the model, block
 * by block. Nothing depends on time: the seed says it all. */
#include <alps/alps.h>

#include <errno.h>
#include <string.h>

#include "blocks.h"
#include "test.h"

#define LARGEST (6 * MIB)
#define WORDS 64

struct model {
    const char *path;
    alps_heap_t *heap;
    struct test_rng rng;
    struct shadow shadow;
    struct blocks blocks;
    alps_ptr_t cells;         /* a permanent block of WORDS words for malloc_to and free_from */
    struct block held[WORDS]; /* what the words name; ptr ALPS_NULL: nothing */
    alps_gen_t generation;
    unsigned refused, done; /* allocations with ENOMEM, and others */
};

static alps_ptr_t *word_of(struct model *m, size_t index)
{
    return (alps_ptr_t *)alps_deref(m->heap, m->cells) + index;
}

static void compare(struct model *m)
{
    struct blocks all = {0};
    blocks_append(&all, &m->blocks);
    for (size_t i = 0; i < WORDS; i++) {
        CHECK_EQ(*word_of(m, i), m->held[i].ptr);
        if (m->held[i].ptr != ALPS_NULL)
            blocks_add(&all, m->held[i]);
    }
    blocks_add(&all, (struct block){.ptr = m->cells,
                                    .usable = alps_usable_size(m->heap, m->cells),
                                    .generation = ALPS_PERMANENT});
    blocks_expect(m->heap, &all);
    blocks_clear(&all);
}

static void verify_all(struct model *m)
{
    for (size_t i = 0; i < m->blocks.count; i++)
        block_verify(m->heap, &m->blocks.items[i]);
    for (size_t i = 0; i < WORDS; i++)
        if (m->held[i].ptr != ALPS_NULL)
            block_verify(m->heap, &m->held[i]);
}

/* Takes in a block just allocated, or notes why there is none. */
static struct block took(struct model *m, alps_ptr_t ptr, size_t size)
{
    if (ptr == ALPS_NULL) {
        CHECK_EQ(errno, ENOMEM);
        m->refused++;
        return (struct block){0};
    }
    m->done++;
    return block_begin(m->heap, &m->shadow, ptr, size, test_rng_next(&m->rng), m->generation);
}

static void allocate(struct model *m)
{
    struct test_rng *rng = &m->rng;
    size_t size = rng_size(rng, LARGEST);
    int node = rng_chance(rng, 4) ? 0 : ALPS_ANY_NODE;
    alps_ptr_t p;
    switch (test_rng_below(rng, 6)) {
    case 0: {
        size_t count = 1 + test_rng_below(rng, 20);
        p = alps_calloc(m->heap, count, size / count, node);
        size = size / count * count;
        if (p != ALPS_NULL)
            CHECK_EQ(blocks_not_zero(alps_deref(m->heap, p), size), size);
        break;
    }
    case 1: {
        size_t alignment = (size_t)1 << test_rng_below(rng, rng_chance(rng, 8) ? 23 : 14);
        p = alps_aligned_alloc(m->heap, alignment, size, node);
        CHECK_EQ(p % alignment, 0);
        break;
    }
    default:
        p = alps_malloc(m->heap, size, node);
    }
    struct block block = took(m, p, size);
    if (block.ptr != ALPS_NULL)
        blocks_add(&m->blocks, block);
}

static void reallocate(struct model *m)
{
    struct block old = blocks_take(&m->blocks, test_rng_below(&m->rng, m->blocks.count));
    size_t size = rng_size(&m->rng, LARGEST);
    block_end(m->heap, &m->shadow, &old);
    alps_ptr_t p = alps_realloc(m->heap, old.ptr, size);
    if (p == ALPS_NULL) { /* the old one is as it was */
        CHECK_EQ(errno, ENOMEM);
        CHECK(shadow_claim(&m->shadow, old.ptr, old.usable));
        block_verify(m->heap, &old);
        blocks_add(&m->blocks, old);
        m->refused++;
        return;
    }
    size_t kept = size < old.size ? size : old.size;
    CHECK_EQ(blocks_differ(alps_deref(m->heap, p), kept, old.seed), kept);
    struct block block = took(m, p, size);
    if (p == old.ptr)
        block.generation = old.generation;
    blocks_add(&m->blocks, block);
}

static void release(struct model *m)
{
    struct block block = blocks_take(&m->blocks, test_rng_below(&m->rng, m->blocks.count));
    CHECK_EQ(alps_usable_size(m->heap, block.ptr), block.usable);
    block_end(m->heap, &m->shadow, &block);
    CHECK_ERR(alps_free(m->heap, block.ptr), 0);
    if (rng_chance(&m->rng, 16)) {
        CHECK_ERR(alps_free(m->heap, block.ptr), -EALREADY);
        CHECK_ERRNO(alps_usable_size(m->heap, block.ptr), EINVAL);
    }
}

static void publish(struct model *m)
{
    size_t i = test_rng_below(&m->rng, WORDS);
    alps_ptr_t *word = word_of(m, i);
    CHECK_EQ(*word, m->held[i].ptr);
    if (m->held[i].ptr != ALPS_NULL) {
        block_end(m->heap, &m->shadow, &m->held[i]);
        CHECK_ERR(alps_free_from(m->heap, word), 0);
        CHECK_EQ(*word, ALPS_NULL);
        m->held[i].ptr = ALPS_NULL;
        return;
    }
    size_t size = rng_size(&m->rng, LARGEST);
    alps_ptr_t p = alps_malloc_to(m->heap, word, size, ALPS_ANY_NODE);
    CHECK_EQ(*word, p);
    m->held[i] = took(m, p, size);
}

static void open_model(struct model *m, unsigned flags)
{
    m->heap = heap_open_with(m->path, flags);
    m->generation = alps_heap_generation(m->heap);
}

static void close_and_open(struct model *m)
{
    CHECK_ERR(alps_heap_close(m->heap), 0);
    open_model(m, rng_chance(&m->rng, 4) ? ALPS_OPEN_PERMANENT : 0);
}

/* One generation, of which blocks may be left, is bulk-freed or committed. */
static void end_generation(struct model *m)
{
    if (m->blocks.count == 0)
        return;
    alps_gen_t victim = m->blocks.items[test_rng_below(&m->rng, m->blocks.count)].generation;
    if (victim == ALPS_PERMANENT) {
        CHECK_ERR(alps_bulk_free(m->heap, victim), -EINVAL);
        return;
    }
    if (victim == m->generation) {
        CHECK_ERR(alps_bulk_free(m->heap, victim), -EBUSY);
        return;
    }
    bool commit = rng_chance(&m->rng, 3);
    CHECK_ERR(commit ? alps_commit(m->heap, victim) : alps_bulk_free(m->heap, victim), 0);
    for (size_t i = m->blocks.count; i-- > 0;) {
        struct block *block = &m->blocks.items[i];
        if (block->generation != victim)
            continue;
        block->generation = ALPS_PERMANENT;
        if (!commit) {
            CHECK(shadow_drop(&m->shadow, block->ptr, block->usable));
            blocks_take(&m->blocks, i);
        }
    }
    for (size_t i = 0; i < WORDS; i++)
        if (m->held[i].ptr != ALPS_NULL && m->held[i].generation == victim) {
            m->held[i].generation = ALPS_PERMANENT;
            if (!commit) {
                CHECK(shadow_drop(&m->shadow, m->held[i].ptr, m->held[i].usable));
                m->held[i].ptr = *word_of(m, i) = ALPS_NULL;
            }
        }
}

static void run_model(uint64_t size, uint64_t capacity, unsigned target, unsigned rounds)
{
    struct model m = {.path = test_heap_path(), .rng = test_rng(1)};
    heap_make(m.path, size, capacity);
    open_model(&m, ALPS_OPEN_PERMANENT);
    m.shadow = shadow_make(capacity + 64 * MIB);
    m.cells = alps_calloc(m.heap, WORDS, sizeof(alps_ptr_t), ALPS_ANY_NODE);
    CHECK(m.cells != ALPS_NULL);
    CHECK(shadow_claim(&m.shadow, m.cells, alps_usable_size(m.heap, m.cells)));
    close_and_open(&m);
    for (unsigned round = 0; round < rounds; round++) {
        /* The number of blocks swings around target, so that the heap fills and empties. */
        bool grow = m.blocks.count < target / 4 || (round / 2000 % 2 == 0 && m.refused % 64 != 63);
        switch (test_rng_below(&m.rng, 16)) {
        case 0:
        case 1:
            publish(&m);
            break;
        case 2:
            if (m.blocks.count != 0)
                reallocate(&m);
            break;
        default:
            if (m.blocks.count == 0 || test_rng_below(&m.rng, 16) < (grow ? 10 : 6))
                allocate(&m);
            else
                release(&m);
        }
        if (rng_chance(&m.rng, 400))
            compare(&m);
        if (rng_chance(&m.rng, 1000))
            verify_all(&m);
        if (rng_chance(&m.rng, 1500))
            CHECK_ERR(alps_heap_remap(m.heap, NULL), 0);
        if (rng_chance(&m.rng, 1500))
            CHECK_ERR(alps_heap_trim(m.heap), 0);
        if (rng_chance(&m.rng, 1000))
            close_and_open(&m);
        if (rng_chance(&m.rng, 1000))
            end_generation(&m);
    }
    compare(&m);
    verify_all(&m);
    CHECK(rounds < 50000 || m.refused > 10); /* the heap was full at times */
    CHECK(m.done > m.refused);

    while (m.blocks.count != 0)
        release(&m);
    for (size_t i = 0; i < WORDS; i++)
        if (m.held[i].ptr != ALPS_NULL)
            CHECK_ERR(alps_free_from(m.heap, word_of(&m, i)), 0);
    CHECK_ERR(alps_free(m.heap, m.cells), 0);
    CHECK_EQ(blocks_stats(m.heap).live_blocks, 0);
    blocks_check_heap(m.heap);
    CHECK_ERR(alps_heap_close(m.heap), 0);
    /* Nothing is stranded: one block of most of the heap. */
    open_model(&m, 0);
    alps_ptr_t p = alps_malloc(m.heap, blocks_stats(m.heap).usable_bytes / 10 * 9, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(m.heap, p), 0);
    CHECK_ERR(alps_heap_close(m.heap), 0);
    shadow_free(&m.shadow);
    blocks_clear(&m.blocks);
}

TEST(model, small_heap_that_is_often_full)
{
    run_model(32 * MIB, 32 * MIB, 200, blocks_scaled(150000));
}

TEST(model, heap_that_grows)
{
    run_model(16 * MIB, 96 * MIB, 1000, blocks_scaled(100000));
}

TEST(model, smallest_heap)
{
    run_model(16 * MIB, 16 * MIB, 50, blocks_scaled(150000));
}
