/* Recovery of dead instances, and the same for one that closes.
 *
 * Idea: the heir acts in the name of the dead (instance_inherit). It finishes or undoes the
 * intents, then goes through the zones that the dead had noted: runs in SPAN_CLAIMED go back, slabs
 * are folded and let go, empty ones go back. The blocks stay. Every step leaves a state that the
 * next heir, if this one dies, handles by the same rules.
 */
#include "heap.h"

#include <errno.h>

#include "error.h"

/* Frees a block that an intent names, if it is still the one. */
static void free_block_of_intent(struct instance *instance, alps_ptr_t block, uint64_t incarnation)
{
    const struct layout *l = &instance->layout;
    struct slab_place place;
    if (slab_locate(l, block, &place) != 0 || span_incarnation(place.state) != incarnation)
        return;
    if (span_kind(place.state) == SPAN_EXTENT)
        extent_free(instance, place.span, place.state);
    else
        slab_remote_free(instance, place.span, place.state, place.index);
}

static void settle_intents(struct instance *instance)
{
    const struct layout *l = &instance->layout;
    struct layout_slot *slot = layout_slot(l, instance->slot);
    for (unsigned i = 0; i < LAYOUT_INTENT_MAX; i++) {
        struct layout_intent *intent = &slot->intents[i];
        uint64_t op = fam_load_acquire(&intent->op);
        uint64_t where = fam_load(&intent->where), block = fam_load(&intent->block);
        if (op == INTENT_NONE)
            continue;
        /* Where it is not published (any more) the block is in nobody's hands. */
        uint64_t span = layout_span_of(l, where);
        if (where % sizeof(fam_word_t) == 0 && span < l->span_count &&
            layout_span_state(l, span) != SPAN_FREE &&
            fam_load_acquire(layout_at(l, where)) != block)
            free_block_of_intent(instance, block, fam_load(&intent->incarnation));
        fam_store_release(&intent->op, INTENT_NONE);
    }
}

/* Puts one span of a noted zone in order. Returns true if what starts here carries the instance's
 * generation afterwards. */
static bool settle_span(struct instance *instance, uint64_t span, uint64_t *spans_freed)
{
    const struct layout *l = &instance->layout;
    uint64_t state = fam_load_acquire(layout_state(l, span));
    enum span_kind kind = span_kind(state);
    if (kind == SPAN_CLAIMED && span_owner(state) == instance->owner &&
        extent_take(instance, span, state)) {
        uint64_t count = extent_claimed_length(l, span);
        extent_give_back(instance, span, count);
        *spans_freed += count;
    }
    if (kind != SPAN_SLAB && kind != SPAN_EXTENT)
        return false;
    bool carries = record_generation(layout_record(l, span)) == instance->generation_index;
    unsigned class = span_class(state);
    if (kind == SPAN_SLAB && class < SLAB_CLASSES) {
        bool mine = span_owner(state) == instance->owner;
        /* The dead may have freed its last block, and not got round to giving it back. */
        if (span_owner(state) == 0 && slab_is_empty(l, span, class))
            mine = slab_own(instance, span, state);
        if (mine && slab_settle(instance, span, class) == 0) {
            *spans_freed += slab_classes[class].spans;
            return false;
        }
    }
    return carries;
}

bool heap_settle(struct instance *instance, struct alps_recovery *report)
{
    const struct layout *l = &instance->layout;
    struct layout_slot *slot = layout_slot(l, instance->slot);
    settle_intents(instance);

    const fam_word_t *touched = layout_touched(l, slot);
    uint64_t zones = 0, spans_freed = 0;
    bool carried = false;
    for (unsigned i = 0; i < l->zone_words; i++)
        for (uint64_t bits = fam_load(&touched[i]); bits != 0; bits &= bits - 1) {
            uint64_t zone = i * 64 + lowest_bit(bits);
            if (zone >= l->zone_count)
                break;
            zones++;
            uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone);
            for (uint64_t span = first; span < end && !instance_is_lost(instance); span++)
                carried |= settle_span(instance, span, &spans_freed);
            /* A release that was not counted any more becomes visible to searches. */
            fam_add(&layout_zone(l, zone)->releases, 1);
        }

    uint64_t owner = instance->owner;
    if (fam_load(&layout_super(l)->root_lock) == owner)
        fam_cas(&layout_super(l)->root_lock, &owner, 0);
    if (report != NULL) {
        report->zones += zones;
        report->spans_freed += spans_freed;
    }
    return carried;
}

int heap_recover(alps_heap_t *heap, bool before_join, struct alps_recovery *report)
{
    struct layout *l = heap_layout(heap);
    int rc = 0;
    pthread_mutex_lock(&heap->recovery);
    for (unsigned slot = 0, end = layout_slots_used(l); slot < end && rc >= 0; slot++) {
        if (!before_join && slot == heap->instance.slot)
            continue;
        struct instance heir;
        rc = instance_inherit(&heir, l, slot);
        if (rc == 1) {
            bool carried = heap_settle(&heir, report);
            if (report != NULL) {
                if (report->generations != NULL && report->count < report->capacity)
                    report->generations[report->count] = heir.generation;
                report->count++;
            }
            instance_leave(&heir, !carried);
        } else if (rc == 0 && report != NULL) {
            report->live += slot_status(fam_load(layout_slot_state(l, slot))) != SLOT_FREE;
        }
    }
    pthread_mutex_unlock(&heap->recovery);
    return rc < 0 ? rc : 0;
}

int alps_recover(alps_heap_t *heap, struct alps_recovery *report)
{
    int rc = heap_may_write(heap);
    if (rc != 0)
        return rc;
    if (report == NULL)
        return heap_recover(heap, false, NULL);
    if (report->struct_size < sizeof *report)
        return error_set(EINVAL, "struct_size of the report is %zu", report->struct_size);
    report->count = 0;
    report->live = 1; /* this handle */
    report->zones = 0;
    report->spans_freed = 0;
    return heap_recover(heap, false, report);
}

static int declare_dead(alps_heap_t *heap, unsigned number, uint64_t state)
{
    const struct layout_slot *slot = layout_slot(heap_layout(heap), number);
    int rc = instance_declare_dead(&heap->instance, number, state);
    if (rc == -EBUSY)
        error_set(EBUSY,
                  "%s: process %llu of this host has generation %llu open and is alive; kill it "
                  "instead",
                  heap_name(heap), (unsigned long long)fam_load(&slot->pid),
                  (unsigned long long)fam_load(&slot->generation));
    return rc;
}

int alps_declare_dead(alps_heap_t *heap, alps_gen_t generation)
{
    int rc = heap_may_write(heap);
    if (rc != 0)
        return rc;
    const struct layout *l = heap_layout(heap);
    if (generation == ALPS_PERMANENT)
        return error_set(EINVAL, "%s: generation 0 names no instance", heap_name(heap));
    for (unsigned i = 0, end = layout_slots_used(l); i < end; i++) {
        const struct layout_slot *slot = layout_slot(l, i);
        uint64_t state = fam_load_acquire(layout_slot_state(l, i));
        if (slot_status(state) != SLOT_FREE && fam_load_acquire(&slot->generation) == generation)
            return declare_dead(heap, i, state);
    }
    if (generation_find(l, generation) < 0)
        return error_set(ENOENT, "%s: nothing is known of generation %llu", heap_name(heap),
                         (unsigned long long)generation);
    return 0; /* closed, or taken in already */
}

int alps_beat(alps_heap_t *heap)
{
    int rc = heap_may_write(heap);
    if (rc == 0)
        instance_beat(&heap->instance);
    return rc;
}

int alps_declare_host_dead(alps_heap_t *heap, uint64_t host, uint64_t boot)
{
    int rc = heap_may_write(heap);
    if (rc != 0)
        return rc;
    const struct layout *l = heap_layout(heap);
    unsigned found = 0;
    for (unsigned i = 0, end = layout_slots_used(l); i < end && rc == 0; i++) {
        const struct layout_slot *slot = layout_slot(l, i);
        uint64_t state = fam_load_acquire(layout_slot_state(l, i));
        if (!instance_is_of_host(slot, state, host, boot))
            continue;
        found++;
        rc = declare_dead(heap, i, state);
    }
    if (rc == 0 && found == 0)
        rc = error_set(ENOENT, "%s: no instance is of host %016llx", heap_name(heap),
                       (unsigned long long)host);
    return rc;
}
