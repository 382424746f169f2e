/* Durable heaps: what a power failure leaves, made whole.
 *
 * Idea. A power failure loses what was in processors' caches: each line of the tables is as it was
 * at some time since it was last flushed, and no two lines need to be of the same time. While the
 * heap runs, only what must be there before something else is flushed: what a state tells of before
 * the state, A before R, R or C before the generation, everything of a generation before it is
 * committed. So what is committed is whole; what is not may be anything, and is sorted out here:
 *
 *   - a run whose tails are not all there, whose incarnation is not its record's, or whose
 *     generation nobody knows, was being made or freed: it is free; of a slab, permanent blocks
 *     stay;
 *   - what was claimed, and tails without a run, are free;
 *   - slabs belong to nobody; each word of R has the slab's incarnation;
 *   - hints say nothing, and are looked up again.
 *
 * A generation that was not committed stays uncommitted: its blocks are there or not, and a bulk
 * free takes them. Instances are all dead by then, and recovered like others (heap_recover.c).
 *
 * This is done by the first one who opens the heap for writing on a kernel that has booted since,
 * alone; not while an instance may be alive on another kernel: there was no power failure then.
 *
 * Crash: every step is right by itself, and super.boot is set last: the next one starts over. */
#include "heap.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

#define PATIENCE_S 30

static void put(const struct layout *l, fam_word_t *word, uint64_t value)
{
    if (fam_load(word) == value)
        return;
    fam_store_release(word, value);
    layout_flush(l, word);
}

/* ---- runs ---- */

/* Whether all tails of a run are there. */
static bool is_whole(const struct layout *l, uint64_t first, uint64_t count)
{
    if (count == 0 || count > l->span_count - first)
        return false;
    for (uint64_t i = 1; i < count; i++)
        if (layout_span_state(l, first + i) != span_tail(i))
            return false;
    return true;
}

static bool is_known(const struct layout *l, uint64_t generation)
{
    return generation < l->generation_count &&
           (fam_load(layout_generation(l, generation)) & GENERATION_USED) != 0;
}

/* Puts a whole slab in order; false if nothing of it stays. */
static bool mend_slab(const struct layout *l, uint64_t span, uint64_t state)
{
    const unsigned class = span_class(state);
    const struct slab_class *c = &slab_classes[class];
    struct layout_record *record = layout_record(l, span);
    const uint64_t incarnation = span_incarnation(state);
    fam_word_t *a = slab_allocated(l, span, class), *committed = slab_committed(l, span, class);
    fam_word_t *r = layout_released(l, span)->words;
    for (unsigned w = 0; w < 2 * c->words; w++)
        if (fam_load(&r[w]) >> 32 != incarnation)
            put(l, &r[w], incarnation << 32);
    const bool known = is_known(l, record_generation(record));
    uint64_t live = 0;
    for (unsigned w = 0; w < c->words; w++) {
        const uint64_t mask = slab_word_mask(c, w), permanent = fam_load(&committed[w]) & mask;
        put(l, &committed[w], permanent);
        put(l, &a[w], known ? fam_load(&a[w]) | ~mask : permanent | ~mask);
        put(l, &r[2 * w], fam_load(&r[2 * w]) & (incarnation << 32 | (mask & UINT32_MAX)));
        put(l, &r[2 * w + 1], fam_load(&r[2 * w + 1]) & (incarnation << 32 | mask >> 32));
        live |= slab_live(l, span, class, w);
    }
    if (live == 0)
        return false;
    const uint64_t generation = known ? record_generation(record) : 0;
    layout_fence(l); /* A, before its blocks may become permanent */
    put(l, &record->generation, generation | incarnation << 32);
    put(l, layout_state(l, span), span_slab(class, 0, (uint32_t)incarnation));
    return true;
}

/* Spans of the run that starts here, once it is in order; 0 if there is none. */
static uint64_t mend_run(const struct layout *l, uint64_t span)
{
    const uint64_t state = layout_span_state(l, span);
    const struct layout_record *record = layout_record(l, span);
    const bool slab = span_kind(state) == SPAN_SLAB && span_class(state) < SLAB_CLASSES;
    if (!slab && span_kind(state) != SPAN_EXTENT)
        return 0;
    const uint64_t count = fam_load(&record->length);
    if ((slab && count != slab_classes[span_class(state)].spans) ||
        (uint32_t)fam_load(&record->incarnation) != span_incarnation(state) ||
        !is_whole(l, span, count))
        return 0;
    if (slab)
        return mend_slab(l, span, state) ? count : 0;
    if (!is_known(l, record_generation(record)))
        return 0;
    put(l, layout_state(l, span), span_extent(span_incarnation(state)));
    return count;
}

static int mend_spans(struct layout *l)
{
    uint64_t end = 0; /* of the run before */
    int rc = 0;
    for (uint64_t zone = 0; zone < l->zone_count && rc == 0; zone++) {
        struct layout_zone *z = layout_zone(l, zone);
        const uint64_t first = zone << l->zone_shift;
        const uint64_t stop = first + layout_zone_spans(l, zone);
        put(l, &z->longest, 0);
        for (uint64_t span = first; span < stop && rc == 0; span++) {
            if (span < end || layout_span_state(l, span) == SPAN_FREE)
                continue;
            const uint64_t count = mend_run(l, span), state = layout_span_state(l, span);
            if (count == 0)
                put(l, layout_state(l, span), SPAN_FREE);
            else if (span_kind(state) == SPAN_SLAB)
                rc = layout_back(l, span, slab_backed_bytes(l, span, span_class(state)));
            else
                rc = layout_back(l, span, count << SPAN_SHIFT);
            end = span + count;
        }
    }
    return rc;
}

/* ---- the rest ---- */

/* Which zones a dead instance had touched is not known any more: all. */
static void touch_all(const struct layout *l, struct layout_slot *slot)
{
    fam_word_t *touched = layout_touched(l, slot);
    for (uint64_t zone = 0; zone < l->zone_count; zone++)
        if (fam_load(&layout_zone(l, zone)->meta) != 0)
            put(l, &touched[zone / 64], fam_load(&touched[zone / 64]) | (uint64_t)1 << zone % 64);
}

/* Slots that are free hold nothing; a generation is open only if its slot says so. */
static void mend_slots(const struct layout *l)
{
    for (unsigned i = 0; i <= l->instance_count; i++) {
        struct layout_slot *slot = layout_slot(l, i);
        if (i < l->instance_count && slot_status(fam_load(layout_slot_state(l, i))) != SLOT_FREE) {
            touch_all(l, slot);
            continue;
        }
        put(l, &slot->generation, 0);
        for (unsigned k = 0; k < LAYOUT_INTENT_MAX; k++)
            put(l, &slot->intents[k].op, INTENT_NONE);
        for (unsigned w = 0; w < l->zone_words; w++) {
            put(l, &layout_touched(l, slot)[w], 0);
            put(l, &layout_hinted(l, slot)[w], 0);
        }
        put(l, &slot->hinted_classes[0], 0);
        put(l, &slot->hinted_classes[1], 0);
    }
    struct layout_super *super = layout_super(l);
    for (unsigned i = 1; i < l->generation_count; i++) {
        fam_word_t *entry = layout_generation(l, i);
        const uint64_t word = fam_load(entry);
        const unsigned slot = generation_slot(word);
        if ((word & GENERATION_USED) == 0) {
            put(l, entry, 0);
            continue;
        }
        if ((word & GENERATION_OPEN) != 0 &&
            (slot >= l->instance_count ||
             slot_status(fam_load(layout_slot_state(l, slot))) == SLOT_FREE ||
             fam_load(&layout_slot(l, slot)->generation) != generation_number(word)))
            put(l, entry, word & ~GENERATION_OPEN);
        if (fam_load(&super->next_generation) <= generation_number(word))
            put(l, &super->next_generation, generation_number(word) + 1);
    }
    put(l, &super->root_lock, 0);
}

/* Then there was no power failure. */
static bool anybody_lives(struct instance *instance)
{
    return instance_find_alive(instance) < instance->layout.instance_count;
}

static int mend(struct instance *instance)
{
    struct layout *l = &instance->layout;
    mend_slots(l);
    int rc = mend_spans(l);
    if (rc == 0) {
        layout_fence(l);
        fam_store_release(&layout_super(l)->boot, instance_kernel());
        layout_persist(l, &layout_super(l)->boot);
    }
    return rc;
}

int heap_make_whole(alps_heap_t *heap)
{
    struct layout *l = heap_layout(heap);
    fam_word_t *boot = &layout_super(l)->boot;
    const struct timespec nap = {0, 1000000 + getpid() % 1000 * 1000};
    if (!l->durable)
        return 0;
    for (unsigned tries = 0; tries < PATIENCE_S * 500; tries++) {
        if (fam_load_acquire(boot) == instance_kernel() || anybody_lives(&heap->instance))
            return 0;
        int rc = region_lock(&l->region, REGION_GATE, true);
        if (rc == 0) {
            if (fam_load_acquire(boot) != instance_kernel() && !anybody_lives(&heap->instance))
                rc = mend(&heap->instance);
            region_lock(&l->region, REGION_GATE, false);
            return rc;
        }
        if (rc != -EBUSY)
            return rc;
        /* Others are at the same point, or have it open already: let one of them have it alone. */
        region_unlock(&l->region, REGION_GATE);
        nanosleep(&nap, NULL);
        while (region_lock(&l->region, REGION_GATE, false) == -EBUSY)
            nanosleep(&nap, NULL);
    }
    return error_set(EBUSY,
                     "%s: somebody has it open for reading and keeps it from being made "
                     "whole after this host's boot",
                     heap_name(heap));
}

int alps_persist(alps_heap_t *heap, const void *address, size_t length)
{
    int rc = heap_may_read(heap);
    if (rc != 0)
        return rc;
    const struct layout *l = heap_layout(heap);
    const alps_ptr_t start = alps_ref(heap, address);
    if (start == ALPS_NULL || length > heap->base.length - start)
        return error_set(EINVAL, "%s: %zu bytes at %p do not lie in it", heap_name(heap), length,
                         address);
    if (!l->durable || length == 0)
        return 0;
    const uint64_t first = start & ~(uint64_t)63, end = start + length;
    layout_flush_words(l, layout_at(l, first), (end - first + 7) / 8);
    fam_fence();
    return region_sync(&l->region);
}
