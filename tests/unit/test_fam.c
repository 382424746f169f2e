/* The access hooks, and with them what the fast paths touch. */
#include <alps/hooks.h>

#include "inside.h"

struct counts {
    uint64_t ops[ALPS_FAM_OPS];
};

static uint64_t count(void *context, enum alps_fam_op op, uint64_t *word, uint64_t *expected,
                      uint64_t value)
{
    ((struct counts *)context)->ops[op]++;
    return alps_fam_perform(op, word, expected, value);
}

TEST(fam, operations_do_what_they_say_with_and_without_a_hook)
{
    for (int hooked = 0; hooked < 2; hooked++) {
        struct counts counts = {0};
        alps_fam_set_hook(hooked ? count : NULL, &counts);
        fam_word_t w = {0};
        uint64_t expected = 5;
        fam_store(&w, 4);
        CHECK_EQ(fam_load(&w), 4);
        CHECK(!fam_cas(&w, &expected, 9));
        CHECK_EQ(expected, 4);
        CHECK(fam_cas(&w, &expected, 9));
        CHECK_EQ(fam_or(&w, 6), 9);
        CHECK_EQ(fam_and(&w, 12), 15);
        CHECK_EQ(fam_add(&w, 1), 12);
        fam_store_release(&w, fam_load_acquire(&w) + 1);
        fam_flush(&w);
        fam_fence();
        CHECK_EQ(fam_load(&w), 14);
        alps_fam_set_hook(NULL, NULL);
        CHECK_EQ(counts.ops[ALPS_FAM_CAS], hooked ? 2 : 0);
        CHECK_EQ(counts.ops[ALPS_FAM_LOAD], hooked ? 3 : 0);
        CHECK_EQ(counts.ops[ALPS_FAM_STORE], hooked ? 2 : 0);
        CHECK_EQ(counts.ops[ALPS_FAM_FLUSH], hooked ? 1 : 0);
        CHECK_EQ(counts.ops[ALPS_FAM_FENCE], hooked ? 1 : 0);
    }
}

struct mapping {
    const void *base, *gone;
    uint64_t length, position;
    unsigned mapped, unmapped;
};

static void note_mapping(void *context, const void *base, uint64_t length, uint64_t position,
                         int mapped)
{
    struct mapping *m = context;
    if (mapped) {
        *m = (struct mapping){base, m->gone, length, position, m->mapped + 1, m->unmapped};
    } else {
        m->gone = base;
        m->unmapped++;
    }
}

TEST(fam, the_map_hook_hears_of_every_mapping)
{
    struct mapping m = {0};
    const char *path = inside_create(16 * MIB, 32 * MIB, 0);
    alps_fam_set_map_hook(note_mapping, &m);
    alps_heap_t *heap = inside_open(path, 0);
    CHECK_EQ(m.mapped - m.unmapped, 1);
    CHECK_EQ(m.base, (const void *)heap->base.base);
    CHECK_LE(32 * MIB, m.length);
    const uint64_t position = m.position;
    const void *before = m.base;
    CHECK_ERR(alps_heap_remap(heap, NULL), 0);
    CHECK_EQ(m.mapped - m.unmapped, 1);
    CHECK_EQ(m.base, (const void *)heap->base.base);
    CHECK_EQ(m.gone, before);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_EQ(m.mapped, m.unmapped);
    CHECK_EQ(m.gone, m.base);
    heap = inside_open(path, 0);
    CHECK_EQ(m.position, position);
    CHECK_ERR(alps_heap_close(heap), 0);
    alps_fam_set_map_hook(NULL, NULL);
}

#define PAIRS 7 /* so many blocks of any size here, and one, have memory from the start */

/* What so many mallocs, and then the frees of these blocks, ask for where a slab is there. */
static struct counts count_pairs(alps_heap_t *heap, size_t size)
{
    alps_ptr_t blocks[PAIRS];
    struct counts counts = {0};
    CHECK_NE(alps_malloc(heap, size, ALPS_ANY_NODE), ALPS_NULL);
    alps_fam_set_hook(count, &counts);
    for (unsigned i = 0; i < PAIRS; i++)
        blocks[i] = alps_malloc(heap, size, ALPS_ANY_NODE);
    for (unsigned i = 0; i < PAIRS; i++)
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
    alps_fam_set_hook(NULL, NULL);
    return counts;
}

/* Promise 5: no read of shared metadata on the path of a malloc, or of a free of one's own block:
 * one store each, and nothing else. */
TEST(fam, malloc_and_own_free_are_one_store_each)
{
    if (ALPS_PARANOID)
        SKIP("a paranoid build looks at the metadata after each operation");
    static const size_t sizes[] = {1, 16, 64, 100, 1000, 2048};
    alps_heap_t *heap = inside_open(inside_create(16 * MIB, 16 * MIB, 0), 0);
    for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct counts counts = count_pairs(heap, sizes[s]);
        for (unsigned op = 0; op < ALPS_FAM_OPS; op++)
            CHECK_EQ(counts.ops[op], op == ALPS_FAM_STORE ? 2 * PAIRS : 0);
    }
}

/* Where several kernels share the heap, each call looks at the slot's state as well, which nobody
 * changes before the instance is declared dead: it stays in the processor's cache. */
TEST(fam, in_a_shared_heap_each_looks_at_its_own_slot_as_well)
{
    if (ALPS_PARANOID)
        SKIP("a paranoid build looks at the metadata after each operation");
    struct counts counts = count_pairs(inside_open(inside_create_shared(), 0), 64);
    for (unsigned op = 0; op < ALPS_FAM_OPS; op++)
        CHECK_EQ(counts.ops[op], op == ALPS_FAM_STORE || op == ALPS_FAM_LOAD ? 2 * PAIRS : 0);
}

/* Into a pointer and out of it: two looks at whether the instance is lost, one each at the pointer,
 * at what others have released, and at whether a free of that kind was announced. */
TEST(fam, blocks_that_are_never_lost_take_few_reads)
{
    if (ALPS_PARANOID)
        SKIP("a paranoid build looks at the metadata after each operation");
    alps_heap_t *heap = inside_open(inside_create(16 * MIB, 16 * MIB, 0), 0);
    alps_ptr_t *where = alps_deref(heap, alps_calloc(heap, 1, 64, ALPS_ANY_NODE));
    struct counts counts = {0};
    for (unsigned i = 0; i <= PAIRS; i++) {
        if (i == 1) /* the first one announces */
            alps_fam_set_hook(count, &counts);
        CHECK_NE(alps_malloc_to(heap, where, 64, ALPS_ANY_NODE), ALPS_NULL);
        CHECK_ERR(alps_free_from(heap, where), 0);
    }
    alps_fam_set_hook(NULL, NULL);
    CHECK_EQ(counts.ops[ALPS_FAM_LOAD], 5 * PAIRS);
    CHECK_EQ(counts.ops[ALPS_FAM_STORE], 12 * PAIRS);
    CHECK_EQ(counts.ops[ALPS_FAM_CAS], PAIRS);
    CHECK_EQ(counts.ops[ALPS_FAM_OR], PAIRS);
}

/* Finding room for a large block takes a look at each large block on the way, not at each of its
 * spans, and not at all the room that there is. */
TEST(fam, large_blocks_are_found_with_few_reads)
{
    if (ALPS_PARANOID)
        SKIP("a paranoid build looks at the metadata after each operation");
    enum { BLOCKS = 32, SPANS = 16, LARGE = SPANS * 64 * 1024 };
    alps_heap_t *heap = inside_open(inside_create(512 * MIB, 512 * MIB, 0), 0);
    alps_ptr_t blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++)
        CHECK_NE(blocks[i] = alps_malloc(heap, LARGE, ALPS_ANY_NODE), ALPS_NULL);
    struct counts counts = {0};
    alps_fam_set_hook(count, &counts);
    for (unsigned i = 0; i < BLOCKS; i++) {
        CHECK_ERR(alps_free(heap, blocks[0]), 0); /* the next search begins there */
        blocks[0] = alps_malloc(heap, LARGE + 1, ALPS_ANY_NODE);
        CHECK_NE(blocks[0], ALPS_NULL);
    }
    alps_fam_set_hook(NULL, NULL);
    CHECK_LT(counts.ops[ALPS_FAM_LOAD], BLOCKS * (4 * BLOCKS + 6 * SPANS));
}

/* Taking and giving back slabs included, reads stay a small fraction. */
TEST(fam, reads_are_rare_where_slabs_change)
{
    if (ALPS_PARANOID)
        SKIP("a paranoid build looks at the metadata after each operation");
    alps_heap_t *heap = inside_open(inside_create(32 * MIB, 32 * MIB, 0), 0);
    static alps_ptr_t blocks[100000];
    struct counts counts = {0};
    for (int round = 0; round < 3; round++) {
        counts = (struct counts){0};
        alps_fam_set_hook(count, &counts);
        for (unsigned i = 0; i < 100000; i++)
            blocks[i] = alps_malloc(heap, 64, ALPS_ANY_NODE);
        for (unsigned i = 0; i < 100000; i++)
            CHECK_ERR(alps_free(heap, blocks[i]), 0);
        alps_fam_set_hook(NULL, NULL);
    }
    uint64_t atomics = counts.ops[ALPS_FAM_CAS] + counts.ops[ALPS_FAM_OR] +
                       counts.ops[ALPS_FAM_AND] + counts.ops[ALPS_FAM_ADD];
    CHECK_LE(200000, counts.ops[ALPS_FAM_STORE]);
    CHECK_LT(counts.ops[ALPS_FAM_LOAD], 100000 / 2);
    CHECK_LT(atomics, 100000 / 50);
}

struct intruder {
    alps_heap_t *heap;
    uint64_t *state; /* of the span that the search comes to */
    alps_ptr_t block;
};

/* Right after somebody has seen that a span is free, somebody else takes it. */
static uint64_t intrude(void *context, enum alps_fam_op op, uint64_t *word, uint64_t *expected,
                        uint64_t value)
{
    struct intruder *i = context;
    uint64_t seen = alps_fam_perform(op, word, expected, value);
    if (op == ALPS_FAM_LOAD && word == i->state && i->block == ALPS_NULL) {
        alps_fam_set_hook(NULL, NULL);
        i->block = alps_malloc(i->heap, 64, ALPS_ANY_NODE);
    }
    return seen;
}

TEST(fam, a_span_taken_while_a_search_looks_at_it_does_not_make_its_zone_full)
{
    const char *path = inside_create(64 * MIB, 64 * MIB, 64 * MIB);
    alps_heap_t *heap = inside_open(path, 0);
    struct intruder i = {.heap = inside_open(path, 0)};
    alps_ptr_t block = alps_malloc(heap, MIB, ALPS_ANY_NODE);
    CHECK_NE(block, ALPS_NULL);
    inside_forget_hints(heap);
    uint64_t next = layout_span_of(heap_layout(heap), block + MIB);
    i.heap->instance.cursor.value = next;
    i.state = &layout_state(heap_layout(heap), next)->raw;
    alps_fam_set_hook(intrude, &i);
    heap->instance.cursor.value = 0; /* from the start of the zone: then it notes what it found */
    CHECK_NE(alps_malloc(heap, 64, ALPS_ANY_NODE), ALPS_NULL);
    alps_fam_set_hook(NULL, NULL);
    CHECK_NE(i.block, ALPS_NULL);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(i.heap), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

struct claimant {
    const struct instance *instance;
    uint64_t cursor; /* as it was when the first span was claimed */
    unsigned claims;
};

static uint64_t note_cursor(void *context, enum alps_fam_op op, uint64_t *word, uint64_t *expected,
                            uint64_t value)
{
    struct claimant *c = context;
    if (op == ALPS_FAM_CAS && c->claims++ == 0)
        c->cursor = c->instance->cursor.value;
    return alps_fam_perform(op, word, expected, value);
}

TEST(fam, threads_that_search_at_a_time_begin_apart)
{
    alps_heap_t *heap = inside_open(inside_create(64 * MIB, 64 * MIB, 0), 0);
    struct claimant c = {.instance = &heap->instance};
    alps_fam_set_hook(note_cursor, &c);
    alps_ptr_t block = alps_malloc(heap, 3 * MIB, ALPS_ANY_NODE);
    alps_fam_set_hook(NULL, NULL);
    CHECK_NE(block, ALPS_NULL);
    CHECK_NE(c.claims, 0);
    CHECK_EQ(c.cursor, layout_span_of(heap_layout(heap), block + 3 * MIB));
    CHECK_ERR(alps_heap_close(heap), 0);
}

struct watch {
    const char *from, *to;
    unsigned accesses;
};

static uint64_t watch(void *context, enum alps_fam_op op, uint64_t *word, uint64_t *expected,
                      uint64_t value)
{
    struct watch *w = context;
    w->accesses += (const char *)word >= w->from && (const char *)word < w->to;
    return alps_fam_perform(op, word, expected, value);
}

/* Others write there when they get memory in the zone. */
TEST(fam, large_blocks_from_the_reserve_leave_the_zone_alone)
{
    if (ALPS_PARANOID)
        SKIP("a paranoid build looks at the metadata after each operation");
    alps_heap_t *heap = inside_open(inside_create(64 * MIB, 64 * MIB, 64 * MIB), 0);
    const struct layout_zone *zone = layout_zone(heap_layout(heap), 0);
    struct watch w = {.from = (const char *)zone, .to = (const char *)(zone + 1)};
    alps_ptr_t blocks[3];
    for (unsigned i = 0; i < 3; i++)
        CHECK_NE(blocks[i] = alps_malloc(heap, 2 * MIB, ALPS_ANY_NODE), ALPS_NULL);
    alps_fam_set_hook(watch, &w);
    for (unsigned i = 0; i < 3; i++) /* runs are joined, and cut */
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK_NE(blocks[i] = alps_malloc(heap, (i + 1) * MIB, ALPS_ANY_NODE), ALPS_NULL);
    alps_fam_set_hook(NULL, NULL);
    CHECK_EQ(w.accesses, 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
    inside_check(heap);
}

/* With many nodes the zones' headers are in others' caches. */
TEST(fam, a_search_does_not_look_at_all_zones)
{
    if (ALPS_PARANOID)
        SKIP("a paranoid build looks at the metadata after each operation");
    alps_heap_t *heap = inside_open(inside_create(64 * MIB, 64 * MIB, MIB), 0);
    const struct layout *l = heap_layout(heap);
    struct watch w = {.from = (const char *)layout_zone(l, 8),
                      .to = (const char *)layout_zone(l, l->zone_count)};
    CHECK_NE(alps_malloc(heap, 64, ALPS_ANY_NODE), ALPS_NULL);
    inside_forget_hints(heap);
    alps_fam_set_hook(watch, &w);
    CHECK_NE(alps_malloc(heap, 512 * KIB, ALPS_ANY_NODE), ALPS_NULL);
    alps_fam_set_hook(NULL, NULL);
    CHECK_EQ(w.accesses, 0);
}
