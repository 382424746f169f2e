/* The slab layer: classes, bitmaps, and what every state that a crash leaves means. */
#include <string.h>
#include <sys/stat.h>

#include "inside.h"

TEST(slab, classes_waste_at_most_an_eighth)
{
    for (unsigned i = 0; i < SLAB_CLASSES; i++) {
        const struct slab_class *c = &slab_classes[i];
        CHECK_EQ(c->size % 16, 0);
        CHECK_EQ(c->words, (c->blocks + 63) / 64);
        CHECK_LE(c->words, SLAB_WORDS_MAX);
        CHECK_LE(c->first + (uint64_t)c->blocks * c->size, c->spans * SPAN_SIZE);
        CHECK_LT(c->spans * SPAN_SIZE - c->first - (uint64_t)c->blocks * c->size, c->size);
        /* The bitmaps fit where they lie. */
        if (c->first == 0)
            CHECK_LE(c->words, 16);
        else
            CHECK_LE(2 * c->words * sizeof(fam_word_t), c->first);
        if (i == 0)
            continue;
        CHECK_LT(slab_classes[i - 1].size, c->size);
        uint64_t smallest = slab_classes[i - 1].size + 1u;
        if (smallest > 128)
            CHECK_LE((c->size - smallest) * 8, c->size);
    }
    /* And so do extents. */
    uint64_t smallest = SLAB_SIZE_MAX + 1, bytes = align_up(smallest, SPAN_SIZE);
    CHECK_EQ(slab_classes[SLAB_CLASSES - 1].size, SLAB_SIZE_MAX);
    CHECK_LE((bytes - smallest) * 8, bytes);
}

TEST(slab, class_of_is_the_smallest_that_fits)
{
    for (uint64_t size = 1; size <= SLAB_SIZE_MAX; size++) {
        unsigned class = slab_class_of(size);
        CHECK(slab_classes[class].size >= size);
        CHECK(class == 0 || slab_classes[class - 1].size < size);
    }
}

TEST(slab, aligned_classes_are_aligned)
{
    for (uint64_t alignment = 32; alignment <= SPAN_SIZE; alignment *= 2)
        for (uint64_t size = 1; size <= SLAB_SIZE_MAX; size = size * 9 / 8 + 1) {
            unsigned class = slab_class_aligned(size, alignment);
            if (class == SLAB_CLASSES)
                continue;
            CHECK_LE(size, slab_classes[class].size);
            CHECK_EQ(slab_classes[class].size % alignment, 0);
            CHECK_EQ(slab_classes[class].first % alignment, 0);
        }
    CHECK_LT(slab_class_aligned(4096, 4096), SLAB_CLASSES);
    CHECK_LT(slab_class_aligned(1, 65536), SLAB_CLASSES);
}

TEST(slab, index_is_exact_for_every_byte)
{
    for (unsigned i = 0; i < SLAB_CLASSES; i++) {
        const struct slab_class *c = &slab_classes[i];
        uint64_t step = c->spans == 1 ? 1 : 8, index;
        for (uint64_t bytes = 0; bytes < c->spans * SPAN_SIZE; bytes += step) {
            index = alps_fast_index(c->inverse, c->shift, bytes);
            bool good = index < c->blocks;
            CHECK(good == (bytes % c->size == 0 && bytes / c->size < c->blocks));
            CHECK(!good || index == bytes / c->size);
        }
        for (uint64_t before = 1; before <= 2048; before++)
            CHECK_LE(c->blocks, alps_fast_index(c->inverse, c->shift, 0 - before));
    }
}

/* A slab of 64-byte blocks made by hand, owned by the heap's instance. */
struct made {
    alps_heap_t *heap;
    struct layout *l;
    uint64_t span;
    unsigned class;
};

static int create(struct instance *instance, unsigned class, uint64_t *span)
{
    return slab_create(instance, class, slab_classes[class].blocks, ALPS_ANY_NODE, span);
}

static struct made make_slab(size_t size)
{
    struct made m = {.heap = inside_open(inside_create(16 * MIB, 16 * MIB, 0), 0)};
    m.heap->instance.reserve_max = 0; /* what is given back is free */
    m.l = heap_layout(m.heap);
    m.class = slab_class_of(size);
    CHECK_ERR(create(&m.heap->instance, m.class, &m.span), 0);
    return m;
}

static uint64_t state_of(const struct made *m)
{
    return inside_state(m->heap, m->span);
}

static fam_word_t *a_word(const struct made *m, unsigned w)
{
    return &slab_allocated(m->l, m->span, m->class)[w];
}

static void allocate_bit(const struct made *m, unsigned index)
{
    fam_or(a_word(m, index / 64), (uint64_t)1 << (index % 64));
}

static bool is_live(const struct made *m, unsigned index)
{
    return slab_live(m->l, m->span, m->class, index / 64) >> (index % 64) & 1;
}

TEST(slab, a_new_one_is_empty_for_every_class)
{
    for (unsigned class = 0; class < SLAB_CLASSES; class += 1) {
        struct made m = make_slab(slab_classes[class].size);
        CHECK_EQ(m.class, class);
        CHECK(slab_is_empty(m.l, m.span, class));
        inside_check(m.heap);
        for (unsigned i = 0; i < slab_classes[class].blocks; i++)
            allocate_bit(&m, i);
        CHECK_EQ(inside_live_blocks(m.heap), slab_classes[class].blocks);
        inside_check(m.heap);
        CHECK_ERR(alps_heap_close(m.heap), 0);
    }
}

TEST(slab, remote_free_then_double_free)
{
    struct made m = make_slab(64);
    struct instance *self = &m.heap->instance;
    allocate_bit(&m, 700);
    allocate_bit(&m, 701);
    CHECK_EQ(slab_remote_free(self, m.span, state_of(&m), 700), 0);
    CHECK(!is_live(&m, 700));
    CHECK(is_live(&m, 701));
    CHECK_EQ(slab_remote_free(self, m.span, state_of(&m), 700), -EALREADY);
    CHECK_EQ(slab_remote_free(self, m.span, state_of(&m), 702), -EALREADY);
    uint64_t allocated[SLAB_WORDS_MAX];
    CHECK_EQ(slab_fold(m.l, m.span, m.class, allocated), 1);
    CHECK_EQ(slab_remote_free(self, m.span, state_of(&m), 700), -EALREADY);
    inside_check(m.heap);
}

TEST(slab, a_free_that_arrives_after_recycling_changes_nothing)
{
    struct made m = make_slab(64);
    struct instance *self = &m.heap->instance;
    allocate_bit(&m, 5);
    uint64_t late = state_of(&m);
    fam_store(a_word(&m, 0), 0);
    slab_destroy(self, m.span, m.class);
    self->cursor.value = m.span; /* the next one comes here again */
    uint64_t span;
    CHECK_ERR(create(self, m.class, &span), 0);
    CHECK_EQ(span, m.span);
    CHECK_NE(state_of(&m), late);
    allocate_bit(&m, 5);
    CHECK_EQ(slab_remote_free(self, m.span, late, 5), -EAGAIN);
    CHECK(is_live(&m, 5));
    CHECK_EQ(slab_remote_free(self, m.span, state_of(&m), 5), 0);
}

/* All states of one block's bits in A, R, and what S1 says of them. */
TEST(slab, fold_keeps_what_is_live_in_every_state_a_crash_leaves)
{
    for (unsigned bits = 0; bits < 4; bits++) {
        bool a = bits & 1, r = bits & 2;
        struct made m = make_slab(64);
        fam_word_t *word = &layout_released(m.l, m.span)->words[2];
        if (a)
            allocate_bit(&m, 70);
        if (r)
            fam_or(word, 1 << 6);
        allocate_bit(&m, 71);
        CHECK_EQ(is_live(&m, 70), a && !r);
        uint64_t allocated[SLAB_WORDS_MAX];
        CHECK_EQ(slab_fold(m.l, m.span, m.class, allocated), (a && !r) + 1);
        CHECK_EQ(is_live(&m, 70), a && !r);
        CHECK(is_live(&m, 71));
        CHECK_EQ(fam_load(word) & UINT32_MAX, 0); /* S2: it may be handed out */
        CHECK_EQ(allocated[1] >> 6 & 1, a && !r);
        inside_check(m.heap);
    }
}

TEST(slab, the_last_remote_free_gives_the_spans_back)
{
    struct made m = make_slab(40000);
    struct instance *self = &m.heap->instance;
    CHECK_LT(1, slab_classes[m.class].spans);
    allocate_bit(&m, 0);
    allocate_bit(&m, 1);
    slab_release(self, m.span, m.class, false);
    CHECK_EQ(slab_remote_free(self, m.span, state_of(&m), 0), 0);
    CHECK_EQ(span_kind(state_of(&m)), SPAN_SLAB);
    CHECK_NE(state_of(&m) & SPAN_HINTED, 0);
    CHECK_EQ(slab_remote_free(self, m.span, state_of(&m), 1), 0);
    for (unsigned i = 0; i < slab_classes[m.class].spans; i++)
        CHECK_EQ(inside_state(m.heap, m.span + i), SPAN_FREE);
    inside_check(m.heap);
}

TEST(slab, a_hint_leads_to_free_blocks)
{
    struct made m = make_slab(64);
    struct instance *self = &m.heap->instance;
    uint64_t found;
    for (unsigned i = 0; i < 1024; i++)
        allocate_bit(&m, i);
    slab_release(self, m.span, m.class, false);
    CHECK(!slab_find_hinted(self, m.class, ALPS_ANY_NODE, 0, &found));
    CHECK(!slab_find_any(self, m.class, ALPS_ANY_NODE, &found));
    CHECK_EQ(slab_remote_free(self, m.span, state_of(&m), 333), 0);
    CHECK(!slab_find_hinted(self, m.class + 1, ALPS_ANY_NODE, 0, &found));
    CHECK(slab_find_hinted(self, m.class, ALPS_ANY_NODE, 0, &found));
    CHECK_EQ(found, m.span);
    CHECK_EQ(span_owner(state_of(&m)), self->owner);
}

TEST(slab, hints_are_followed_from_slab_to_slab)
{
    struct made first = make_slab(64), m = first;
    struct instance *self = &m.heap->instance;
    uint64_t spans[4] = {m.span}, found;
    for (unsigned i = 0; i < 4; i++) {
        if (i != 0)
            CHECK_EQ(create(self, m.class, &spans[i]), 0);
        m.span = spans[i];
        allocate_bit(&m, 0);
        CHECK(i == 0 || spans[i - 1] < spans[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        slab_release(self, spans[i], m.class, i != 1);
    CHECK(slab_find_hinted(self, m.class, ALPS_ANY_NODE, spans[1], &found));
    CHECK_EQ(found, spans[2]);
    CHECK(slab_find_hinted(self, m.class, ALPS_ANY_NODE, spans[2], &found));
    CHECK_EQ(found, spans[3]);
    /* From beyond the last one to the first. */
    CHECK(slab_find_hinted(self, m.class, ALPS_ANY_NODE, spans[3] + 1, &found));
    CHECK_EQ(found, spans[0]);
    CHECK(!slab_find_hinted(self, m.class, ALPS_ANY_NODE, spans[2], &found));
    slab_hint(self, spans[1], m.class);
    CHECK(slab_find_hinted(self, m.class, ALPS_ANY_NODE, m.l->span_count - 1, &found));
    CHECK_EQ(found, spans[1]);
    inside_check(m.heap);
}

TEST(slab, without_a_hint_the_scan_finds_them)
{
    struct made m = make_slab(64);
    struct instance *self = &m.heap->instance;
    for (unsigned i = 0; i < 1024; i++)
        allocate_bit(&m, i);
    slab_release(self, m.span, m.class, false);
    fam_or(&layout_released(m.l, m.span)->words[3], 1); /* freed by somebody who died then */
    uint64_t found;
    CHECK(!slab_find_hinted(self, m.class, ALPS_ANY_NODE, 0, &found));
    CHECK(slab_find_any(self, m.class, ALPS_ANY_NODE, &found));
    CHECK_EQ(found, m.span);
}

TEST(slab, a_generation_takes_over_only_what_is_permanent_or_empty)
{
    struct made m = make_slab(64);
    struct instance *self = &m.heap->instance;
    struct layout_record *record = layout_record(m.l, m.span);
    alps_heap_t *other = inside_open(m.l->region.files[0].path, 0);
    uint64_t allocated[SLAB_WORDS_MAX];
    bool committed;

    allocate_bit(&m, 3);
    slab_fold(m.l, m.span, m.class, allocated);
    CHECK(!slab_claim_generation(&other->instance, m.span, m.class, allocated, &committed));
    CHECK_EQ(record_generation(record), self->generation_index);

    CHECK_ERR(alps_commit(m.heap, self->generation), 0);
    CHECK(slab_claim_generation(&other->instance, m.span, m.class, allocated, &committed));
    CHECK(committed);
    CHECK_EQ(record_generation(record), other->instance.generation_index);
    CHECK_EQ(fam_load(&slab_committed(m.l, m.span, m.class)[0]), 1 << 3);

    /* A stale bit of C (S4), as a crash between A and C leaves it, does not survive. */
    fam_or(&slab_committed(m.l, m.span, m.class)[0], 1 << 9);
    CHECK(slab_claim_generation(&other->instance, m.span, m.class, allocated, &committed));
    CHECK_EQ(fam_load(&slab_committed(m.l, m.span, m.class)[0]), 1 << 3);
    CHECK_ERR(alps_heap_close(other), 0);
}

TEST(slab, locate_knows_blocks_and_refuses_the_rest)
{
    struct made m = make_slab(5000);
    struct slab_place place;
    uint64_t base = slab_base(m.l, m.span, m.class), size = slab_classes[m.class].size;
    for (uint64_t bytes = 0; bytes < SPAN_SIZE; bytes++) {
        int rc = slab_locate(m.l, base + bytes, &place);
        bool block = bytes % size == 0 && bytes / size < slab_classes[m.class].blocks;
        CHECK(rc == (block ? 0 : -EINVAL));
        CHECK(!block ||
              (place.span == m.span && place.index == bytes / size && place.size == size));
    }
    uint64_t outside[] = {1,
                          4096,
                          m.l->data_offset - 1,
                          m.l->region.length,
                          layout_span_offset(m.l, m.l->span_count),
                          UINT64_MAX,
                          UINT64_MAX - 7};
    for (unsigned i = 0; i < sizeof outside / sizeof outside[0]; i++)
        CHECK_ERR(slab_locate(m.l, outside[i], &place), -EINVAL);
    slab_destroy(&m.heap->instance, m.span, m.class);
    CHECK_ERR(slab_locate(m.l, base + size, &place), -EALREADY);
    CHECK_ERR(slab_locate(m.l, base + size + 8, &place), -EINVAL);
}

/* Reading a hole of a file in memory would take a page. */
TEST(slab, nothing_is_read_where_nothing_was_ever_used)
{
    struct made m = make_slab(5000);
    struct slab_place place;
    int fd = m.l->region.files[0].fd;
    struct stat before, after;
    CHECK_EQ(fstat(fd, &before), 0);
    for (uint64_t span = 0; span < m.l->span_count; span++)
        if (!layout_span_known(m.l, span)) {
            CHECK_ERR(slab_locate(m.l, layout_span_offset(m.l, span), &place), -EINVAL);
            CHECK_ERR(alps_free(m.heap, layout_span_offset(m.l, span) + 64), -EINVAL);
        }
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(m.heap, &stats), 0);
    inside_check(m.heap);
    CHECK_EQ(fstat(fd, &after), 0);
    CHECK_EQ(after.st_blocks, before.st_blocks);
}
