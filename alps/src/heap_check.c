/* Verifies the invariants that the layers state, under the numbers they have there (and in
 * doc/format.md).
 *
 * Beside running writers a state may be seen in the middle of a change. What looks wrong is looked
 * at again several times, with the processor given away in between; only what stays wrong counts.
 * */
#include "heap.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"

#define LOOKS 20
#define PATIENCE                                                                                   \
    8 /* after so many problems it is damage, not a change in progress: one look each */

struct finding {
    char text[200]; /* empty: nothing wrong */
};

static bool wrong(struct finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(struct finding *f, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(f->text, sizeof f->text, format, arguments);
    va_end(arguments);
    return true;
}

typedef unsigned long long ull;

static bool owner_wrong(const struct layout *l, uint64_t span, uint64_t state, struct finding *f)
{
    uint64_t owner = span_owner(state);
    unsigned slot = span_owner_slot(owner);
    if (slot >= l->instance_count)
        return wrong(f, "E4: span %llu names slot %u of %u", (ull)span, slot, l->instance_count);
    struct layout_slot *s = layout_slot(l, slot);
    uint64_t slot_state = fam_load_acquire(layout_slot_state(l, slot));
    if (slot_status(slot_state) == SLOT_FREE ||
        span_owner_bits(slot, slot_incarnation(slot_state)) != owner)
        return wrong(f, "I2: span %llu names slot %u, which another or no instance has", (ull)span,
                     slot);
    uint64_t zone = layout_zone_of(l, span);
    if ((fam_load(&layout_touched(l, s)[zone / 64]) >> (zone % 64) & 1) == 0)
        return wrong(f, "E4: span %llu of slot %u lies in zone %llu, which it has not noted",
                     (ull)span, slot, (ull)zone);
    return false;
}

/* E2, E3, E5, I4 of what starts at a span and has length spans. */
/* bytes: what needs memory behind it. */
static bool run_wrong(const struct layout *l, uint64_t span, uint64_t state, uint64_t length,
                      uint64_t bytes, struct finding *f)
{
    const struct layout_record *record = layout_record(l, span);
    if (fam_load(&record->length) != length || length == 0 || length > l->span_count - span)
        return wrong(f, "E2: span %llu has length %llu", (ull)span, (ull)fam_load(&record->length));
    if (fam_load(&record->incarnation) != span_incarnation(state))
        return wrong(f, "E5: span %llu has incarnation %llu, its record %llu", (ull)span,
                     (ull)span_incarnation(state), (ull)fam_load(&record->incarnation));
    uint64_t generation = record_generation(record);
    if (generation >= l->generation_count ||
        (fam_load_acquire(layout_generation(l, generation)) & GENERATION_USED) == 0)
        return wrong(f, "I4: span %llu carries entry %llu of the generations, which is not used",
                     (ull)span, (ull)generation);
    for (uint64_t i = 0; i < length; i++) {
        uint64_t at = span + i;
        if (i != 0 && layout_span_state(l, at) != span_tail(i))
            return wrong(f, "E2: span %llu is not a tail of span %llu", (ull)at, (ull)span);
        const uint64_t begin = i << SPAN_SHIFT;
        if (begin < bytes && !layout_span_backed(l, at, min_u64(bytes - begin, SPAN_SIZE)))
            return wrong(f, "E3: span %llu has no memory behind it", (ull)at);
    }
    return false;
}

static bool slab_wrong(const struct layout *l, uint64_t span, uint64_t state, struct finding *f)
{
    unsigned class = span_class(state);
    if (class >= SLAB_CLASSES)
        return wrong(f, "E2: span %llu has class %u of %u", (ull)span, class, SLAB_CLASSES);
    const struct slab_class *c = &slab_classes[class];
    if (run_wrong(l, span, state, c->spans, slab_backed_bytes(l, span, class), f))
        return true;
    if (span_owner(state) != 0 && owner_wrong(l, span, state, f))
        return true;
    for (unsigned w = 0; w < c->words; w++) {
        uint64_t padding = ~slab_word_mask(c, w);
        if ((fam_load(&slab_allocated(l, span, class)[w]) & padding) != padding)
            return wrong(f, "S5: span %llu has padding clear in word %u of A", (ull)span, w);
        if ((slab_released(l, span, w) & padding) != 0)
            return wrong(f, "S5: span %llu has padding set in word %u of R", (ull)span, w);
        if ((fam_load(&slab_committed(l, span, class)[w]) & padding) != 0)
            return wrong(f, "S5: span %llu has padding set in word %u of C", (ull)span, w);
        for (unsigned half = 0; half < 2; half++)
            if (fam_load(&layout_released(l, span)->words[2 * w + half]) >> 32 !=
                span_incarnation(state))
                return wrong(f, "S3: span %llu has another incarnation in word %u of R", (ull)span,
                             2 * w + half);
    }
    return false;
}

/* Whether a tail is part of a slab or an extent. */
static bool is_inside(const struct layout *l, uint64_t span, uint64_t state)
{
    uint64_t distance = span_distance(state);
    if (distance == 0 || distance > span)
        return false;
    return extent_covers(l, span - distance, layout_span_state(l, span - distance), span);
}

/* E1. A claimed run goes on as long as there are tails, whatever their distances. */
static bool tail_wrong(const struct layout *l, uint64_t span, uint64_t state, struct finding *f)
{
    if (is_inside(l, span, state))
        return false;
    uint64_t before = span == 0 ? SPAN_FREE : layout_span_state(l, span - 1);
    if (span_kind(before) == SPAN_CLAIMED ||
        (span_kind(before) == SPAN_TAIL && !is_inside(l, span - 1, before)))
        return false;
    return wrong(f, "E1: span %llu is a tail, at distance %llu, of nothing that is there",
                 (ull)span, (ull)span_distance(state));
}

/* Looks once at a span. */
static bool span_wrong(const struct layout *l, uint64_t span, struct finding *f)
{
    uint64_t state = fam_load_acquire(layout_state(l, span));
    if (state != SPAN_FREE && !layout_span_known(l, span))
        return wrong(f, "E3: span %llu has no memory behind its metadata", (ull)span);
    switch (span_kind(state)) {
    case SPAN_FREE:
        return state != 0 &&
               wrong(f, "E1: span %llu is free with state %llx", (ull)span, (ull)state);
    case SPAN_CLAIMED:
        return owner_wrong(l, span, state, f);
    case SPAN_TAIL:
        return tail_wrong(l, span, state, f);
    case SPAN_SLAB:
        return slab_wrong(l, span, state, f);
    case SPAN_EXTENT:
        return run_wrong(l, span, state, extent_length(l, span),
                         extent_length(l, span) << SPAN_SHIFT, f);
    default:
        return wrong(f, "E1: span %llu has the unknown state %llx", (ull)span, (ull)state);
    }
}

static bool zone_wrong(const struct layout *l, uint64_t zone, struct finding *f)
{
    const struct layout_zone *z = layout_zone(l, zone);
    if (fam_load(&z->spans) > layout_zone_limit(l, zone))
        return wrong(f, "Z1: zone %llu has %llu spans of %llu", (ull)zone, (ull)fam_load(&z->spans),
                     (ull)layout_zone_limit(l, zone));
    /* Each is set before the one that is read before it. */
    const uint64_t chunks = l->zone_spans >> l->chunk_shift;
    for (uint64_t w = 0; w < LAYOUT_CHUNK_WORDS; w++) {
        uint64_t backed = fam_load_acquire(&z->backed[w]);
        uint64_t recorded = fam_load_acquire(&z->recorded[w]);
        uint64_t meta = fam_load(&z->meta);
        uint64_t here = chunks <= 64 * w ? 0 : min_u64(chunks - 64 * w, 64);
        if ((backed & ~recorded) != 0 || (here < 64 && recorded >> here != 0) || meta > 1 ||
            (recorded != 0 && meta == 0))
            return wrong(f, "Z1: zone %llu has the marks %llx, %llx and %llx", (ull)zone, (ull)meta,
                         (ull)recorded, (ull)backed);
    }
    if (fam_load(&z->node) > ALPS_NODE_MAX + 1)
        return wrong(f, "Z1: zone %llu lies on node %lld", (ull)zone,
                     (long long)fam_load(&z->node) - 1);
    return false;
}

static bool slot_wrong(const struct layout *l, uint64_t index, struct finding *f)
{
    struct layout_slot *slot = layout_slot(l, (unsigned)index);
    const fam_word_t *word = layout_slot_state(l, (unsigned)index);
    uint64_t state = fam_load_acquire(word);
    if (slot_status(state) > SLOT_DECLARED)
        return wrong(f, "I1: slot %llu has the unknown state %llx", (ull)index, (ull)state);
    if (state != 0 && index >= layout_slots_used(l))
        return wrong(f, "I5: slot %llu of %u that were used has the state %llx", (ull)index,
                     layout_slots_used(l), (ull)state);
    bool clean = fam_load(&slot->generation) == 0;
    for (unsigned i = 0; i < LAYOUT_INTENT_MAX; i++) {
        uint64_t op = fam_load(&slot->intents[i].op);
        if (op > INTENT_FREE)
            return wrong(f, "I2: slot %llu has an unknown intent %llu", (ull)index, (ull)op);
        clean &= op == INTENT_NONE;
    }
    for (unsigned i = 0; i < l->zone_words; i++)
        clean &= fam_load(&layout_touched(l, slot)[i]) == 0;
    if (slot_status(state) == SLOT_FREE && !clean && fam_load_acquire(word) == state)
        return wrong(f, "I2: slot %llu is free but not clean", (ull)index);
    return false;
}

static bool generation_wrong(const struct layout *l, uint64_t index, struct finding *f)
{
    uint64_t word = fam_load_acquire(layout_generation(l, index));
    if (index == 0)
        return word != (GENERATION_USED | GENERATION_COMMITTED) &&
               wrong(f, "I4: entry 0 of the generations is %llx", (ull)word);
    if (word == 0)
        return false;
    uint64_t next = fam_load(&layout_super(l)->next_generation);
    if ((word & GENERATION_USED) == 0 || generation_number(word) == 0 ||
        generation_number(word) >= next)
        return wrong(f, "I4: entry %llu of the generations is %llx, the next number %llu",
                     (ull)index, (ull)word, (ull)next);
    if ((word & GENERATION_OPEN) == 0)
        return false;
    unsigned slot = generation_slot(word);
    if (slot >= l->instance_count ||
        slot_status(fam_load_acquire(layout_slot_state(l, slot))) == SLOT_FREE ||
        fam_load(&layout_slot(l, slot)->generation) != generation_number(word))
        return wrong(f, "I3: generation %llu is open in slot %u, which has another or none",
                     (ull)generation_number(word), slot);
    return false;
}

static bool root_wrong(const struct layout *l, uint64_t index, struct finding *f)
{
    const struct layout_root *root = layout_root(l, (unsigned)index);
    if ((fam_load_acquire(&root->state) & 255) == 0)
        return false;
    char name[ALPS_ROOT_NAME_MAX + 1], other[ALPS_ROOT_NAME_MAX + 1];
    _Static_assert(sizeof name == sizeof root->name, "");
    for (unsigned w = 0; w < sizeof name / 8; w++)
        memcpy(name + 8 * w, &(uint64_t){fam_load_acquire(&root->name[w])}, 8);
    if (name[0] == '\0' || name[sizeof name - 1] != '\0')
        return wrong(f, "R1: root %llu has no good name", (ull)index);
    for (unsigned i = 0; i < index; i++) {
        const struct layout_root *before = layout_root(l, i);
        if ((fam_load_acquire(&before->state) & 255) == 0)
            continue;
        for (unsigned w = 0; w < sizeof other / 8; w++)
            memcpy(other + 8 * w, &(uint64_t){fam_load_acquire(&before->name[w])}, 8);
        if (memcmp(name, other, sizeof name) == 0)
            return wrong(f, "R1: roots %u and %llu have the same name", i, (ull)index);
    }
    return false;
}

/* Looks until it is right, or often enough. */
static void look(const struct layout *l, uint64_t index,
                 bool (*is_wrong)(const struct layout *l, uint64_t index, struct finding *f),
                 struct alps_check *check)
{
    struct finding f = {""};
    for (int i = 0; i < (check->problems < PATIENCE ? LOOKS : 1); i++) {
        if (!is_wrong(l, index, &f))
            return;
        if (i < LOOKS / 2)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    if (check->problems++ == 0)
        snprintf(check->first, sizeof check->first, "%s", f.text);
}

#if ALPS_PARANOID
static void mirror_verify(struct cache_slab *slab, struct alps_check *check)
{
    struct finding f = {""};
    const struct alps_fast_bin *bin = slab->fast.bin;
    for (unsigned w = 0; w < cache_class(slab)->words; w++) {
        uint64_t allocated = slab->fast.allocated[w];
        if (allocated != *cache_mirror(slab, w))
            wrong(&f, "C2: word %u of the slab at span %llu is %llx, its copy %llx", w,
                  (ull)slab->span, (ull)allocated, (ull)*cache_mirror(slab, w));
    }
    for (const struct alps_fast_block *b = bin->bottom; b != bin->top; b++)
        if ((b->copy->bits >> (b->index & 63) & 1) != 0)
            wrong(&f, "C4: the block at offset %llu is to be allocated, and is in use",
                  (ull)b->block);
    if (bin->available != 0 && (bin->available & bin->copy->bits) != 0)
        wrong(&f, "C4: blocks of the word at offset %llu are to be allocated, and are in use",
              (ull)bin->base);
    if (f.text[0] != '\0' && check->problems++ == 0)
        snprintf(check->first, sizeof check->first, "%s", f.text);
}

void heap_verify(alps_heap_t *heap, alps_ptr_t p)
{
    const struct layout *l = heap_layout(heap);
    uint64_t span = layout_span_of(l, p);
    if (!layout_span_known(l, span))
        return;
    struct alps_check check = {.struct_size = sizeof check};
    look(l, span, span_wrong, &check);
    struct cache_slab *slab = alps_fast_is_current(heap) ? cache_find(p) : NULL;
    if (slab != NULL)
        mirror_verify(slab, &check);
    if (check.problems != 0) {
        fprintf(stderr, "%s: after a call for %#llx: %s\n", heap_name(heap), (ull)p, check.first);
        abort();
    }
}
#endif

int alps_heap_check(alps_heap_t *heap, struct alps_check *report)
{
    NOT_CANCELLED;
    int rc = heap_may_read(heap);
    if (rc == 0 && report != NULL && report->struct_size < sizeof *report)
        rc = error_set(EINVAL, "struct_size of the report is %zu", report->struct_size);
    if (rc != 0)
        return rc;
    const struct layout *l = heap_layout(heap);
    struct alps_check check = {.struct_size = sizeof check};
    for (uint64_t i = 0; i < l->generation_count; i++)
        look(l, i, generation_wrong, &check);
    for (uint64_t i = 0; i < l->root_count; i++)
        look(l, i, root_wrong, &check);
    for (uint64_t i = 0; i < l->instance_count; i++)
        look(l, i, slot_wrong, &check);
    for (uint64_t zone = 0; zone < l->zone_count; zone++) {
        look(l, zone, zone_wrong, &check);
        uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone);
        for (uint64_t span = first; span < end; span++)
            look(l, span, span_wrong, &check);
    }
    if (report != NULL) {
        report->problems = check.problems;
        memcpy(report->first, check.first, sizeof report->first);
    }
    if (check.problems == 0)
        return 0;
    return error_set(EUCLEAN, "%s: %llu violations, the first: %s", heap_name(heap),
                     (ull)check.problems, check.first);
}
