/* Allocating: sizes, alignments, contents, publishing. */
#include <alps/alps.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "blocks.h"
#include "test.h"

static alps_heap_t *fresh_heap(uint64_t size, uint64_t capacity)
{
    const char *path = test_heap_path();
    heap_make(path, size, capacity);
    return heap_open(path);
}

static void end_empty(alps_heap_t *heap)
{
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Sizes over 128 bytes use at most 1/8 more than asked, rounded to the unit of alignment. */
static void expect_thrift(size_t size, size_t usable)
{
    if (usable < size || (size > 128 && usable > size + size / 8 + 16) ||
        (size <= 128 && usable > 128))
        fprintf(stderr, "asked for %zu bytes, got %zu\n", size, usable);
    CHECK(usable >= size);
    CHECK(size > 128 ? (usable - size) * 8 <= usable : usable <= (size + 15) / 16 * 16 + 16);
}

TEST(size, every_size_is_met_thriftily_and_apart)
{
    alps_heap_t *heap = fresh_heap(64 * MIB, 1 * GIB);
    uint64_t capacity = blocks_stats(heap).capacity;
    struct shadow shadow = shadow_make(capacity + 64 * MIB);
    struct blocks blocks = {0};
    alps_gen_t generation = alps_heap_generation(heap);
    struct test_rng rng = test_rng(1);
    /* All small sizes, then steps of a 64th, then around powers of two. */
    for (size_t size = 0; size < 4 * MIB; size += size < 4096 ? 1 : size / 64 + 1) {
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        blocks_add(&blocks, block_begin(heap, &shadow, p, size, test_rng_next(&rng), generation));
    }
    for (unsigned shift = 4; shift < 25; shift++)
        for (size_t size = ((size_t)1 << shift) - 1; size <= ((size_t)1 << shift) + 1; size++) {
            alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
            blocks_add(&blocks,
                       block_begin(heap, &shadow, p, size, test_rng_next(&rng), generation));
        }
    blocks_expect(heap, &blocks);
    while (blocks.count != 0) {
        struct block block = blocks_take(&blocks, test_rng_below(&rng, blocks.count));
        block_end(heap, &shadow, &block);
        CHECK_ERR(alps_free(heap, block.ptr), 0);
    }
    end_empty(heap);
    shadow_free(&shadow);
    blocks_clear(&blocks);
}

TEST(size, no_size_over_128_bytes_wastes_more_than_an_eighth)
{
    alps_heap_t *heap = fresh_heap(256 * MIB, 0);
    for (size_t size = 0; size < 64 * MIB; size += size < 20000 ? 1 : size / 512 + 1) {
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        expect_thrift(size, alps_usable_size(heap, p));
        CHECK_ERR(alps_free(heap, p), 0);
    }
    end_empty(heap);
}

/* Sizes that the compiler knows: around the classes' borders. */
/* clang-format off */
#define CONSTANTS(X)                                                                               \
    X(1) X(15) X(16) X(17) X(32) X(33) X(127) X(128) X(129) X(143) X(144) X(145) X(240) X(241)     \
    X(255) X(256) X(257) X(288) X(289) X(480) X(481) X(512) X(513) X(576) X(577) X(960) X(961)     \
    X(1023) X(1024) X(1025) X(1152) X(1153) X(1920) X(1921) X(2047) X(2048) X(2049) X(4096)
/* clang-format on */
#define CONSTANT_MALLOC(size)                                                                      \
    static alps_ptr_t malloc_##size(alps_heap_t *heap)                                             \
    {                                                                                              \
        return alps_malloc(heap, size, ALPS_ANY_NODE);                                             \
    }
#define CONSTANT_ROW(size) {size, malloc_##size},
CONSTANTS(CONSTANT_MALLOC)

TEST(size, what_the_compiler_knows_gets_the_same_block)
{
    static const struct {
        size_t size;
        alps_ptr_t (*get)(alps_heap_t *heap);
    } rows[] = {CONSTANTS(CONSTANT_ROW)};
    alps_heap_t *heap = fresh_heap(64 * MIB, 64 * MIB);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int times = 0; times < 2; times++) { /* the second time inline */
            alps_ptr_t known = rows[i].get(heap);
            alps_ptr_t unknown = alps_malloc(heap, rows[i].size, ALPS_ANY_NODE);
            CHECK_NE(known, ALPS_NULL);
            CHECK_EQ(alps_usable_size(heap, known), alps_usable_size(heap, unknown));
            CHECK_ERR(alps_free(heap, known), 0);
            CHECK_ERR(alps_free(heap, unknown), 0);
        }
    }
    end_empty(heap);
}

TEST(size, zero_is_a_block_of_its_own)
{
    alps_heap_t *heap = fresh_heap(16 * MIB, 0);
    alps_ptr_t p = alps_malloc(heap, 0, ALPS_ANY_NODE), q = alps_malloc(heap, 0, ALPS_ANY_NODE);
    alps_ptr_t r = alps_calloc(heap, 0, 100, ALPS_ANY_NODE);
    alps_ptr_t s = alps_calloc(heap, 100, 0, ALPS_ANY_NODE);
    alps_ptr_t t = alps_aligned_alloc(heap, 4096, 0, ALPS_ANY_NODE);
    alps_ptr_t all[] = {p, q, r, s, t};
    for (unsigned i = 0; i < 5; i++) {
        CHECK(all[i] != ALPS_NULL);
        CHECK(alps_usable_size(heap, all[i]) >= 1);
        for (unsigned j = 0; j < i; j++)
            CHECK(all[i] != all[j]);
    }
    CHECK_EQ(blocks_stats(heap).live_blocks, 5);
    all[0] = alps_realloc(heap, p, 0);
    CHECK(all[0] != ALPS_NULL);
    CHECK_EQ(blocks_stats(heap).live_blocks, 5);
    for (unsigned i = 0; i < 5; i++)
        CHECK_ERR(alps_free(heap, all[i]), 0);
    end_empty(heap);
}

TEST(size, one_block_takes_nearly_the_whole_heap)
{
    alps_heap_t *heap = fresh_heap(64 * MIB, 0);
    struct alps_stats stats = blocks_stats(heap);
    for (int round = 0; round < 3; round++)
        for (uint64_t size = stats.usable_bytes; size > 1 * MIB; size -= size / 7) {
            alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
            CHECK(p != ALPS_NULL);
            CHECK(alps_usable_size(heap, p) >= size);
            char *bytes = alps_deref(heap, p);
            bytes[0] = bytes[size - 1] = 1;
            CHECK_ERR(alps_free(heap, p), 0);
        }
    errno = 0;
    CHECK_EQ(alps_malloc(heap, stats.usable_bytes + 1, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK(stats.usable_bytes >= 58 * MIB);
    end_empty(heap);
}

TEST(aligned, offsets_and_addresses_are_multiples)
{
    alps_heap_t *heap = fresh_heap(256 * MIB, 1 * GIB);
    struct shadow shadow = shadow_make(1200 * MIB);
    struct blocks blocks = {0};
    struct test_rng rng = test_rng(1);
    static const size_t sizes[] = {1, 16, 100, 129, 1000, 4096, 5000, 65536, 70000, 1000000};
    for (int remapped = 0; remapped < 2; remapped++) {
        for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2)
            for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                alps_ptr_t p = alps_aligned_alloc(heap, alignment, sizes[i], ALPS_ANY_NODE);
                CHECK(p != ALPS_NULL);
                CHECK_EQ(p % alignment, 0);
                uintptr_t address = (uintptr_t)alps_deref(heap, p);
                CHECK(alignment > 2 * MIB || address % alignment == 0);
                blocks_add(&blocks, block_begin(heap, &shadow, p, sizes[i], test_rng_next(&rng),
                                                alps_heap_generation(heap)));
            }
        CHECK_ERR(alps_heap_remap(heap, NULL), 0);
        for (size_t i = 0; i < blocks.count; i++) {
            uintptr_t address = (uintptr_t)alps_deref(heap, blocks.items[i].ptr);
            CHECK_EQ(address % (2 * MIB), blocks.items[i].ptr % (2 * MIB));
        }
    }
    blocks_expect(heap, &blocks);
    while (blocks.count != 0) {
        struct block block = blocks_take(&blocks, test_rng_below(&rng, blocks.count));
        block_end(heap, &shadow, &block);
        CHECK_ERR(alps_free(heap, block.ptr), 0);
    }
    end_empty(heap);
    shadow_free(&shadow);
    blocks_clear(&blocks);
}

TEST(aligned, large_alignments_are_met_or_refused)
{
    alps_heap_t *heap = fresh_heap(256 * MIB, 4 * GIB);
    for (size_t alignment = 8 * MIB; alignment <= ALPS_ALIGNMENT_MAX; alignment *= 2) {
        alps_ptr_t p = alps_aligned_alloc(heap, alignment, 100, ALPS_ANY_NODE);
        alps_ptr_t q = alps_aligned_alloc(heap, alignment, 3 * MIB, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL && q != ALPS_NULL && p != q);
        CHECK_EQ(p % alignment, 0);
        CHECK_EQ(q % alignment, 0);
        CHECK_ERR(alps_free(heap, p), 0);
        CHECK_ERR(alps_free(heap, q), 0);
    }
    end_empty(heap);
}

/* All bytes of the heap that blocks can have are written, so that zeros are the library's work. */
static void dirty(alps_heap_t *heap, size_t size)
{
    struct blocks blocks = {0};
    heap_fill(heap, size, &blocks);
    for (size_t i = 0; i < blocks.count; i++)
        memset(alps_deref(heap, blocks.items[i].ptr), 0xff, blocks.items[i].usable);
    heap_free_all(heap, &blocks);
}

TEST(calloc, zeroes_memory_that_was_used_before)
{
    alps_heap_t *heap = fresh_heap(32 * MIB, 0);
    static const size_t counts[] = {1, 3, 10, 100, 1000, 10000};
    static const size_t sizes[] = {1, 7, 16, 64, 100, 300};
    static const size_t dirts[] = {64, 5000, 200000};
    for (unsigned d = 0; d < 3; d++) {
        dirty(heap, dirts[d]);
        for (unsigned i = 0; i < 6; i++)
            for (unsigned j = 0; j < 6; j++) {
                alps_ptr_t p = alps_calloc(heap, counts[i], sizes[j], ALPS_ANY_NODE);
                CHECK(p != ALPS_NULL);
                size_t size = counts[i] * sizes[j];
                CHECK(alps_usable_size(heap, p) >= size);
                CHECK_EQ(blocks_not_zero(alps_deref(heap, p), size), size);
                memset(alps_deref(heap, p), 0xff, size);
                CHECK_ERR(alps_free(heap, p), 0);
            }
    }
    end_empty(heap);
}

TEST(realloc, keeps_the_contents_growing_and_shrinking)
{
    alps_heap_t *heap = fresh_heap(64 * MIB, 256 * MIB);
    struct test_rng rng = test_rng(1);
    for (unsigned round = 0; round < blocks_scaled(40); round++) {
        size_t size = rng_size(&rng, 1 * MIB);
        uint64_t seed = test_rng_next(&rng);
        alps_ptr_t p = alps_realloc(heap, ALPS_NULL, size);
        CHECK(p != ALPS_NULL);
        blocks_fill(alps_deref(heap, p), size, seed);
        for (unsigned i = 0; i < 50; i++) {
            size_t before = size, kept;
            size = rng_chance(&rng, 2)   ? rng_size(&rng, 4 * MIB)
                   : rng_chance(&rng, 2) ? size + test_rng_below(&rng, 100)
                                         : size - test_rng_below(&rng, size < 100 ? size : 100);
            alps_ptr_t moved = alps_realloc(heap, p, size);
            CHECK(moved != ALPS_NULL);
            CHECK(alps_usable_size(heap, moved) >= size);
            kept = before < size ? before : size;
            CHECK_EQ(blocks_differ(alps_deref(heap, moved), kept, seed), kept);
            CHECK_EQ(blocks_stats(heap).live_blocks, 1);
            p = moved;
            blocks_fill(alps_deref(heap, p), size, seed);
        }
        CHECK_ERR(alps_free(heap, p), 0);
    }
    end_empty(heap);
}

TEST(realloc, gives_memory_back_and_fails_without_harm)
{
    alps_heap_t *heap = fresh_heap(64 * MIB, 0);
    alps_ptr_t p = alps_malloc(heap, 40 * MIB, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    blocks_fill(alps_deref(heap, p), 40 * MIB, 42);
    errno = 0;
    CHECK_EQ(alps_realloc(heap, p, 63 * MIB), ALPS_NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(blocks_differ(alps_deref(heap, p), 40 * MIB, 42), 40 * MIB);
    CHECK(alps_usable_size(heap, p) >= 40 * MIB);
    CHECK_EQ(blocks_stats(heap).live_blocks, 1);
    p = alps_realloc(heap, p, 1000);
    CHECK(p != ALPS_NULL);
    CHECK_EQ(blocks_differ(alps_deref(heap, p), 1000, 42), 1000);
    CHECK(blocks_stats(heap).live_bytes <= 1200);
    alps_ptr_t q = alps_malloc(heap, 40 * MIB, ALPS_ANY_NODE);
    CHECK(q != ALPS_NULL);
    CHECK_ERR(alps_free(heap, q), 0);
    CHECK_ERR(alps_free(heap, p), 0);
    end_empty(heap);
}

/* A block of a dead generation grows by the hand of another. */
TEST(realloc, moves_into_the_generation_of_the_caller)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 0);
    alps_heap_t *heap = heap_open(path);
    alps_gen_t old = alps_heap_generation(heap);
    alps_ptr_t p = alps_malloc(heap, 100, ALPS_ANY_NODE);
    blocks_fill(alps_deref(heap, p), 100, 7);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = heap_open(path);
    p = alps_realloc(heap, p, 10000);
    CHECK(p != ALPS_NULL);
    CHECK_EQ(blocks_differ(alps_deref(heap, p), 100, 7), 100);
    struct blocks found = blocks_walk(heap);
    CHECK_EQ(found.count, 1);
    CHECK_EQ(found.items[0].ptr, p);
    CHECK_EQ(found.items[0].generation, alps_heap_generation(heap));
    int rc = alps_bulk_free(heap, old); /* nothing of it is left */
    CHECK(rc == 0 || rc == -ENOENT);
    CHECK_EQ(blocks_differ(alps_deref(heap, p), 100, 7), 100);
    blocks_clear(&found);
    CHECK_ERR(alps_free(heap, p), 0);
    end_empty(heap);
}

TEST(publish, malloc_to_and_free_from_set_the_word)
{
    alps_heap_t *heap = fresh_heap(64 * MIB, 256 * MIB);
    alps_gen_t generation = alps_heap_generation(heap);
    enum { WORDS = 100 };
    struct test_rng rng = test_rng(1);
    struct shadow shadow = shadow_make(300 * MIB);
    alps_ptr_t cells = alps_calloc(heap, WORDS, sizeof(alps_ptr_t), ALPS_ANY_NODE);
    alps_ptr_t *words = alps_deref(heap, cells);
    struct block held[WORDS] = {0};
    for (unsigned i = 0; i < blocks_scaled(20000); i++) {
        size_t w = test_rng_below(&rng, WORDS);
        CHECK_EQ(words[w], held[w].ptr);
        if (held[w].ptr != ALPS_NULL) {
            block_end(heap, &shadow, &held[w]);
            CHECK_ERR(alps_free_from(heap, &words[w]), 0);
            CHECK_EQ(words[w], ALPS_NULL);
            CHECK_ERR(alps_free_from(heap, &words[w]), -ENOENT);
            held[w].ptr = ALPS_NULL;
        } else {
            size_t size = rng_size(&rng, 1 * MIB);
            alps_ptr_t p = alps_malloc_to(heap, &words[w], size, rng_chance(&rng, 2) ? 0 : -1);
            CHECK(p != ALPS_NULL);
            CHECK_EQ(words[w], p);
            held[w] = block_begin(heap, &shadow, p, size, test_rng_next(&rng), generation);
        }
    }
    struct blocks expected = {0};
    blocks_add(&expected, (struct block){.ptr = cells,
                                         .usable = alps_usable_size(heap, cells),
                                         .generation = generation});
    for (size_t w = 0; w < WORDS; w++)
        if (held[w].ptr != ALPS_NULL)
            blocks_add(&expected, held[w]);
    blocks_expect(heap, &expected);
    blocks_clear(&expected);
    for (size_t w = 0; w < WORDS; w++)
        CHECK_EQ(held[w].ptr == ALPS_NULL ? 0 : alps_free_from(heap, &words[w]), 0);
    CHECK_ERR(alps_free(heap, cells), 0);
    shadow_free(&shadow);
    end_empty(heap);
}

/* What the word held is overwritten, not freed. */
TEST(publish, malloc_to_overwrites)
{
    alps_heap_t *heap = fresh_heap(16 * MIB, 0);
    alps_ptr_t cell = alps_calloc(heap, 1, 16, ALPS_ANY_NODE), *word = alps_deref(heap, cell);
    alps_ptr_t p = alps_malloc_to(heap, word, 100, ALPS_ANY_NODE);
    alps_ptr_t q = alps_malloc_to(heap, word, 100, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL && q != ALPS_NULL && p != q);
    CHECK_EQ(*word, q);
    CHECK_EQ(blocks_stats(heap).live_blocks, 3);
    /* On failure the word keeps what it had. */
    errno = 0;
    CHECK_EQ(alps_malloc_to(heap, word, 17 * MIB, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(*word, q);
    CHECK_ERR(alps_free_from(heap, word), 0);
    CHECK_ERR(alps_free(heap, p), 0);
    CHECK_ERR(alps_free(heap, cell), 0);
    end_empty(heap);
}

/* A published word may lie in the block that it frees. */
TEST(publish, a_word_may_name_its_own_block)
{
    alps_heap_t *heap = fresh_heap(16 * MIB, 0);
    static const size_t sizes[] = {16, 100, 10000, 1000000};
    for (unsigned i = 0; i < 4; i++) {
        alps_ptr_t p = alps_malloc(heap, sizes[i], ALPS_ANY_NODE), *word = alps_deref(heap, p);
        *word = p;
        CHECK_ERR(alps_free_from(heap, word), 0);
        CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    }
    end_empty(heap);
}

TEST(place, a_hint_gives_a_block_whatever_the_node)
{
    alps_heap_t *heap = fresh_heap(32 * MIB, 0);
    static const int nodes[] = {ALPS_ANY_NODE, 0, 1, 7, ALPS_NODE_MAX};
    for (unsigned i = 0; i < 5; i++)
        for (size_t size = 10; size < 5 * MIB; size *= 10) {
            alps_ptr_t p = alps_malloc(heap, size, nodes[i]);
            CHECK(p != ALPS_NULL);
            memset(alps_deref(heap, p), 1, size);
            int node = alps_block_node(heap, p);
            CHECK(node >= 0 && node <= ALPS_NODE_MAX);
            CHECK_ERR(alps_free(heap, p), 0);
        }
    end_empty(heap);
}

TEST(place, migrating_to_where_a_block_is_changes_nothing)
{
    const char *path = test_heap_path();
    static const int nodes[] = {0};
    struct alps_create_options options = blocks_options(32 * MIB, 0);
    options.nodes = nodes;
    options.node_count = 1;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    alps_heap_t *heap = heap_open(path);
    for (size_t size = 10; size < 5 * MIB; size *= 10) {
        alps_ptr_t p = alps_malloc(heap, size, 0), moved = p;
        CHECK(p != ALPS_NULL);
        blocks_fill(alps_deref(heap, p), size, size);
        CHECK_EQ(alps_block_node(heap, p), 0);
        CHECK_ERR(alps_migrate(heap, &moved, 0), 0);
        CHECK_EQ(moved, p);
        CHECK_ERR(alps_migrate(heap, &moved, ALPS_NODE_MAX), -ENODEV);
        CHECK_EQ(moved, p);
        CHECK_EQ(blocks_differ(alps_deref(heap, p), size, size), size);
        CHECK_ERR(alps_free(heap, p), 0);
    }
    end_empty(heap);
}

struct seen_nodes {
    unsigned count;
    struct alps_node first;
};

static int see_node(const struct alps_node *node, void *context)
{
    struct seen_nodes *seen = context;
    if (seen->count++ == 0)
        seen->first = *node;
    return 0;
}

static int stop_at_once(const struct alps_node *node, void *context)
{
    (void)node, (void)context;
    return 77;
}

TEST(place, figures_by_node_are_those_of_the_heap)
{
    static const int nodes[] = {0};
    for (unsigned placed = 0; placed < 2; placed++) {
        const char *path = test_heap_path();
        struct alps_create_options options = blocks_options(32 * MIB, 0);
        options.nodes = placed ? nodes : NULL;
        options.node_count = placed;
        CHECK_ERR(alps_heap_create(path, &options), 0);
        alps_heap_t *heap = heap_open(path);
        alps_ptr_t small = alps_malloc(heap, 100, ALPS_ANY_NODE);
        alps_ptr_t large = alps_malloc(heap, 5 * MIB, ALPS_ANY_NODE);
        struct seen_nodes seen = {0};
        struct alps_stats stats = blocks_stats(heap);
        CHECK_ERR(alps_node_walk(heap, 1, see_node, &seen), 0);
        CHECK_EQ(seen.count, 1);
        CHECK_EQ(seen.first.node, placed ? 0 : ALPS_ANY_NODE);
        CHECK_EQ(seen.first.zones, stats.zones);
        CHECK_EQ(seen.first.size, stats.usable_bytes);
        CHECK_EQ(seen.first.span_bytes, stats.span_bytes);
        CHECK_EQ(seen.first.live_bytes, stats.live_bytes);
        CHECK_EQ(seen.first.live_blocks, 2);
        CHECK_EQ(seen.first.pages, placed ? stats.span_bytes / 4096 : 0);
        CHECK_EQ(seen.first.misplaced, 0);
        seen.count = 0;
        CHECK_ERR(alps_node_walk(heap, 0, see_node, &seen), 0);
        CHECK_EQ(seen.first.pages, 0);
        CHECK_EQ(alps_node_walk(heap, 0, stop_at_once, NULL), 77);
        CHECK_ERR(alps_node_walk(heap, 0, NULL, NULL), -EINVAL);
        CHECK_ERR(alps_free(heap, small), 0);
        CHECK_ERR(alps_free(heap, large), 0);
        end_empty(heap);
    }
}

TEST(address, deref_and_ref_are_inverse)
{
    alps_heap_t *heap = fresh_heap(16 * MIB, 256 * MIB);
    char outside;
    alps_ptr_t p = alps_malloc(heap, 1 * MIB, ALPS_ANY_NODE);
    char *bytes = alps_deref(heap, p);
    CHECK(alps_deref(heap, ALPS_NULL) == NULL);
    CHECK_EQ(alps_ref(heap, NULL), ALPS_NULL);
    CHECK_EQ(alps_ref(heap, &outside), ALPS_NULL);
    CHECK_EQ(alps_ref(heap, bytes), p);
    CHECK_EQ(alps_ref(heap, bytes + 12345), p + 12345);
    CHECK_EQ(alps_ref(heap, bytes - p), ALPS_NULL); /* offset 0 is no block */
    CHECK_EQ(alps_ref(heap, bytes - p - 1), ALPS_NULL);
    CHECK_EQ((uintptr_t)(bytes - p) % (2 * MIB), 0);
    CHECK_ERR(alps_free(heap, p), 0);
    end_empty(heap);
}
