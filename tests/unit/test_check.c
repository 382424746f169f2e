/* alps_heap_check finds a violation of each invariant, by its number. */
#include <string.h>

#include "inside.h"

struct damaged {
    alps_heap_t *heap;
    struct layout *l;
    alps_ptr_t small, large;
    uint64_t slab, extent;
    uint64_t free; /* a free span in a chunk that is used */
};

static struct damaged healthy(void)
{
    struct damaged d = {.heap = inside_open(inside_create(16 * MIB, 16 * MIB, 16 * MIB), 0)};
    d.l = heap_layout(d.heap);
    d.small = alps_malloc(d.heap, 80, ALPS_ANY_NODE);
    d.large = alps_malloc(d.heap, MIB, ALPS_ANY_NODE);
    d.slab = layout_span_of(d.l, d.small);
    d.extent = layout_span_of(d.l, d.large);
    d.free = d.extent + 16;
    CHECK_EQ(layout_span_known(d.l, d.free), true);
    CHECK_EQ(layout_span_state(d.l, d.free), SPAN_FREE);
    CHECK_ERR(alps_root_set(d.heap, "a", d.small), 0);
    CHECK_ERR(alps_root_set(d.heap, "b", d.large), 0);
    inside_check(d.heap);
    return d;
}

static void expect(struct damaged *d, const char *number)
{
    struct alps_check check = {.struct_size = sizeof check};
    CHECK_ERR(alps_heap_check(d->heap, &check), -EUCLEAN);
    CHECK_LT(0, check.problems);
    if (strncmp(check.first, number, strlen(number)) != 0)
        CHECK_STR(check.first, number);
    CHECK(strstr(alps_error_detail(), check.first) != NULL);
}

/* Memory behind no more than so many pages of a span. */
static void lose_memory(const struct layout *l, uint64_t span, uint64_t pages)
{
    fam_store(&layout_zone(l, 0)->backed[0], 0);
    fam_store(&layout_record(l, span)->backed, pages);
}

static void use_last_block(const struct layout *l, uint64_t slab)
{
    const unsigned class = span_class(layout_span_state(l, slab));
    fam_or(slab_allocated(l, slab, class), (uint64_t)1 << (slab_classes[class].blocks - 1));
}

#define DAMAGE(number, statement)                                                                  \
    do {                                                                                           \
        struct damaged d = healthy();                                                              \
        statement;                                                                                 \
        expect(&d, number ": ");                                                                   \
    } while (0)

TEST(check, spans)
{
    DAMAGE("E1", fam_store(layout_state(d.l, d.free), span_tail(1)));
    DAMAGE("E1", fam_store(layout_state(d.l, d.free), span_tail(5000)));
    DAMAGE("E1", fam_store(layout_state(d.l, d.free), 7));
    DAMAGE("E1", fam_store(layout_state(d.l, d.extent + 16), span_tail(16)));
    DAMAGE("E2", fam_store(layout_state(d.l, d.extent + 3), SPAN_FREE));
    DAMAGE("E2", fam_store(&layout_record(d.l, d.extent)->length, 1u << 30));
    DAMAGE("E2", fam_store(&layout_record(d.l, d.slab)->length, 2));
    DAMAGE("E3", lose_memory(d.l, d.extent + 2, 15));
    DAMAGE("E3", lose_memory(d.l, d.slab, 0));
    DAMAGE("E3", fam_store(layout_state(d.l, 100), span_extent(1)));
    DAMAGE("E5", fam_add(&layout_record(d.l, d.extent)->incarnation, 1));
    DAMAGE("E4", fam_store(layout_state(d.l, d.free), span_claimed(span_owner_bits(9999, 1))));
    DAMAGE("I2", fam_store(layout_state(d.l, d.free), span_claimed(span_owner_bits(60, 1))));
    DAMAGE("I4", fam_store(&layout_record(d.l, d.slab)->generation, 777));
    DAMAGE("I4", fam_store(&layout_record(d.l, d.slab)->generation, UINT64_MAX));
}

TEST(check, slabs)
{
    DAMAGE("S3", fam_add(&layout_released(d.l, d.slab)->words[1], (uint64_t)1 << 32));
    DAMAGE("S5", fam_and(&layout_record(d.l, d.slab)->allocated[12], UINT64_MAX >> 1));
    DAMAGE("S5", fam_or(&layout_released(d.l, d.slab)->words[25], (uint64_t)1 << 31));
    DAMAGE("S5", fam_or(&layout_record(d.l, d.slab)->committed[12], (uint64_t)1 << 63));
    DAMAGE("E4", fam_store(&layout_touched(d.l, layout_slot(d.l, d.heap->instance.slot))[0], 0));
    /* A block in the part of a slab that has no memory yet. */
    DAMAGE("E3", use_last_block(d.l, layout_span_of(d.l, alps_malloc(d.heap, 300000, -1))));
}

TEST(check, tables)
{
    DAMAGE("Z1", fam_store(&layout_zone(d.l, 0)->node, 5000));
    DAMAGE("Z1", fam_store(&layout_zone(d.l, 0)->meta, 2));
    DAMAGE("Z1", fam_store(&layout_zone(d.l, 0)->meta, 0));
    DAMAGE("Z1", fam_store(&layout_zone(d.l, 0)->recorded[0], 0));
    DAMAGE("Z1", fam_store(&layout_zone(d.l, 0)->recorded[2], 1));
    DAMAGE("I1", fam_store(layout_slot_state(d.l, 9), 77));
    DAMAGE("I5", fam_store(&layout_super(d.l)->slots_used, 0));
    DAMAGE("I5", fam_store(layout_slot_state(d.l, 9), slot_word(SLOT_FREE, 0, 1, 0)));
    DAMAGE("I2", fam_store(&layout_slot(d.l, 9)->generation, 77));
    DAMAGE("I2", fam_store(layout_touched(d.l, layout_slot(d.l, 9)), 1));
    DAMAGE("I2", fam_store(&layout_slot(d.l, 9)->intents[3].op, 9));
    DAMAGE("I3", fam_store(layout_generation(d.l, 5),
                           generation_word(1, 9, GENERATION_USED | GENERATION_OPEN)));
    DAMAGE("I4", fam_store(layout_generation(d.l, 5), generation_word(99, 9, GENERATION_USED)));
    DAMAGE("I4", fam_store(layout_generation(d.l, 0), 0));
    DAMAGE("R1", fam_store(&layout_root(d.l, 1)->name[0], fam_load(&layout_root(d.l, 0)->name[0])));
    DAMAGE("R1", fam_store(&layout_root(d.l, 1)->name[0], 0));
    DAMAGE("R1", fam_store(&layout_root(d.l, 1)->name[7], UINT64_MAX));
}

/* Whatever is in the metadata, walking, counting, checking and freeing never fault. */
TEST(check, random_damage_never_faults)
{
    if (ALPS_PARANOID)
        SKIP("a paranoid build ends the process when it meets damage");
    struct test_rng rng = test_rng(0);
    for (int round = 0; round < 30; round++) {
        struct damaged d = healthy();
        alps_ptr_t more[200];
        for (unsigned i = 0; i < 200; i++)
            more[i] = alps_malloc(d.heap, 1 + test_rng_below(&rng, 100000), ALPS_ANY_NODE);
        uint64_t spans = layout_zone_spans(d.l, 0);
        for (unsigned i = 0; i < 200; i++) {
            uint64_t span = test_rng_below(&rng, spans);
            uint64_t junk = test_rng_next(&rng) >> test_rng_below(&rng, 64);
            struct layout_record *record = layout_record(d.l, span);
            fam_word_t *places[] = {layout_state(d.l, span), &record->generation, &record->length,
                                    &record->incarnation, &record->last_state};
            fam_store(places[test_rng_below(&rng, 5)], junk);
        }
        struct alps_stats stats = {.struct_size = sizeof stats};
        CHECK_ERR(alps_heap_stats(d.heap, &stats), 0);
        struct alps_check check = {.struct_size = sizeof check};
        CHECK_ERR(alps_heap_check(d.heap, &check), -EUCLEAN);
        for (unsigned i = 0; i < 200; i++)
            if (more[i] != ALPS_NULL) {
                alps_usable_size(d.heap, more[i]);
                alps_free(d.heap, more[i]);
            }
    }
}
