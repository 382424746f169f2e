/* Looking at a heap: blocks, counts, instances, generations.
 *
 * Beside running writers all of this is a snapshot: what is read is checked before it is used, so
 * that it is never followed out of the heap. */
#include "heap.h"

#include <errno.h>
#include <string.h>

#include "error.h"

/* The present spans of a zone, as an iteration. */
static bool slab_or_extent(const struct layout *l, uint64_t span, uint64_t *state)
{
    *state = layout_span_state(l, span);
    return (span_kind(*state) == SPAN_SLAB && span_class(*state) < SLAB_CLASSES) ||
           (span_kind(*state) == SPAN_EXTENT && extent_length(l, span) != 0);
}

/* Number of the generation in an entry; ALPS_PERMANENT if its blocks are permanent. */
static alps_gen_t generation_of(const struct layout *l, uint64_t span)
{
    uint64_t index = record_generation(layout_record(l, span));
    if (index >= l->generation_count)
        return ALPS_PERMANENT;
    uint64_t word = fam_load_acquire(layout_generation(l, index));
    return (word & GENERATION_COMMITTED) != 0 ? ALPS_PERMANENT : generation_number(word);
}

/* Bits of C that count: all if the whole slab is permanent. */
static uint64_t permanent_bits(const struct layout *l, uint64_t span, unsigned class, unsigned w,
                               alps_gen_t generation)
{
    return generation == ALPS_PERMANENT ? ~(uint64_t)0
                                        : fam_load_acquire(&slab_committed(l, span, class)[w]);
}

int alps_heap_walk(alps_heap_t *heap, int (*visit)(const struct alps_block *block, void *context),
                   void *context)
{
    int rc = heap_may_read(heap);
    if (rc == 0 && visit == NULL)
        rc = error_set(EINVAL, "visit is NULL");
    if (rc != 0)
        return rc;
    const struct layout *l = heap_layout(heap);
    for (uint64_t zone = 0; zone < l->zone_count; zone++) {
        uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone), state;
        struct alps_block block = {.node = (int)fam_load(&layout_zone(l, zone)->node) - 1};
        for (uint64_t span = first; span < end; span++) {
            if (!slab_or_extent(l, span, &state))
                continue;
            alps_gen_t generation = generation_of(l, span);
            if (span_kind(state) == SPAN_EXTENT) {
                block.ptr = layout_span_offset(l, span);
                block.size = extent_length(l, span) << SPAN_SHIFT;
                block.generation = generation;
                if ((rc = visit(&block, context)) != 0)
                    return rc;
                continue;
            }
            unsigned class = span_class(state);
            const struct slab_class *c = &slab_classes[class];
            for (unsigned w = 0; w < c->words; w++) {
                uint64_t permanent = permanent_bits(l, span, class, w, generation);
                for (uint64_t live = slab_live(l, span, class, w); live != 0; live &= live - 1) {
                    unsigned bit = lowest_bit(live);
                    block.ptr = slab_base(l, span, class) + (uint64_t)(w * 64 + bit) * c->size;
                    block.size = c->size;
                    block.generation = permanent >> bit & 1 ? ALPS_PERMANENT : generation;
                    if ((rc = visit(&block, context)) != 0)
                        return rc;
                }
            }
        }
    }
    return 0;
}

static void count_span(const struct layout *l, uint64_t span, uint64_t state,
                       struct alps_stats *stats)
{
    alps_gen_t generation = generation_of(l, span);
    if (span_kind(state) == SPAN_EXTENT) {
        uint64_t bytes = extent_length(l, span) << SPAN_SHIFT;
        stats->live_blocks++;
        stats->live_bytes += bytes;
        stats->span_bytes += bytes;
        stats->permanent_blocks += generation == ALPS_PERMANENT;
        return;
    }
    unsigned class = span_class(state);
    stats->span_bytes += slab_classes[class].spans * SPAN_SIZE;
    for (unsigned w = 0; w < slab_classes[class].words; w++) {
        uint64_t live = slab_live(l, span, class, w);
        stats->live_blocks += count_bits(live);
        stats->live_bytes += (uint64_t)count_bits(live) * slab_classes[class].size;
        stats->permanent_blocks += count_bits(live & permanent_bits(l, span, class, w, generation));
    }
}

static int count_root(const char *name, alps_ptr_t p, void *context)
{
    (void)name, (void)p;
    ++*(unsigned *)context;
    return 0;
}

int alps_heap_stats(alps_heap_t *heap, struct alps_stats *result)
{
    int rc = heap_may_read(heap);
    if (rc == 0 && (result == NULL || result->struct_size < offsetof(struct alps_stats, capacity) ||
                    result->struct_size > 4096))
        rc = error_set(EINVAL, "stats is NULL or its struct_size is not set");
    if (rc != 0)
        return rc;
    struct layout *l = heap_layout(heap);
    struct alps_stats s = {.struct_size = result->struct_size,
                           .zone_size = l->zone_spans << SPAN_SHIFT,
                           .files = l->region.file_count,
                           .layout_version = LAYOUT_VERSION,
                           .durable = l->durable,
                           .in_place = l->region.in_place,
                           .shared = l->shared};
    uint64_t spans = 0, state;
    for (uint64_t zone = 0; zone < l->zone_count; zone++) {
        uint64_t present = fam_load(&layout_zone(l, zone)->spans);
        spans += present;
        s.zones += present != 0;
        uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone);
        for (uint64_t span = first; span < end; span++)
            if (slab_or_extent(l, span, &state))
                count_span(l, span, state, &s);
    }
    s.size = layout_size_of_spans(l, spans);
    s.capacity = layout_size_of_spans(l, l->file_spans * l->region.file_count);
    s.usable_bytes = spans << SPAN_SHIFT;
    s.metadata_bytes = s.size - s.usable_bytes;
    for (unsigned slot = 0, end = layout_slots_used(l); slot < end; slot++) {
        if (slot_status(fam_load_acquire(layout_slot_state(l, slot))) == SLOT_FREE)
            continue;
        int alive = instance_alive(&heap->instance, slot);
        if (alive < 0)
            return alive;
        s.instances += alive != 0;
        s.dead_instances += alive == 0;
    }
    for (unsigned i = 0; i < l->region.file_count; i++) {
        uint64_t length, held;
        rc = region_file_size(&l->region.files[i], &length, &held);
        if (rc != 0)
            return rc;
        s.file_bytes += held;
    }
    rc = alps_root_walk(heap, count_root, &s.roots);
    memcpy(result, &s, min_u64(s.struct_size, sizeof s));
    return rc;
}

/* A zone's figures into its node's. Runs that cross into other zones count where they start; pages
 * are looked at where they lie. */
static int add_zone(struct layout *l, uint64_t zone, bool verify, struct alps_node *node)
{
    const uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone);
    const uint64_t present = fam_load(&layout_zone(l, zone)->spans);
    struct alps_stats s = {.live_bytes = 0};
    uint64_t state;
    int rc = 0;
    for (uint64_t span = first; span < end && rc == 0; span++) {
        if (slab_or_extent(l, span, &state))
            count_span(l, span, state, &s);
        else if (span_kind(state) != SPAN_TAIL)
            continue;
        if (verify && node->node != ALPS_ANY_NODE)
            rc = region_verify(&l->region, layout_span_offset(l, span), SPAN_SIZE, node->node,
                               &node->pages, &node->misplaced, &node->first_misplaced);
    }
    node->zones += present != 0;
    node->size += present << SPAN_SHIFT;
    node->span_bytes += s.span_bytes;
    node->live_bytes += s.live_bytes;
    node->live_blocks += s.live_blocks;
    return rc;
}

int alps_node_walk(alps_heap_t *heap, int verify,
                   int (*visit)(const struct alps_node *node, void *context), void *context)
{
    int rc = heap_may_read(heap);
    if (rc == 0 && visit == NULL)
        rc = error_set(EINVAL, "visit is NULL");
    if (rc != 0)
        return rc;
    struct layout *l = heap_layout(heap);
    for (int number = ALPS_ANY_NODE; number <= ALPS_NODE_MAX && rc == 0; number++) {
        struct alps_node node = {.node = number};
        for (uint64_t zone = 0; zone < l->zone_count && rc == 0; zone++)
            if (fam_load(&layout_zone(l, zone)->node) == (uint64_t)(number + 1))
                rc = add_zone(l, zone, verify != 0, &node);
        if (rc == 0 && node.zones != 0)
            rc = visit(&node, context);
    }
    return rc;
}

int alps_instance_walk(alps_heap_t *heap,
                       int (*visit)(const struct alps_instance *instance, void *context),
                       void *context)
{
    int rc = heap_may_read(heap);
    if (rc == 0 && visit == NULL)
        rc = error_set(EINVAL, "visit is NULL");
    const struct layout *l = rc == 0 ? heap_layout(heap) : NULL;
    for (unsigned i = 0, end = rc == 0 ? layout_slots_used(l) : 0; rc == 0 && i < end; i++) {
        const struct layout_slot *slot = layout_slot(l, i);
        if (slot_status(fam_load_acquire(layout_slot_state(l, i))) == SLOT_FREE)
            continue;
        struct alps_instance instance = {.slot = i,
                                         .generation = fam_load(&slot->generation),
                                         .pid = fam_load(&slot->pid),
                                         .alive = instance_alive(&heap->instance, i),
                                         .self = i == heap->instance.slot,
                                         .remote = instance_is_remote(l, i),
                                         .silent_seconds = instance_silence(slot),
                                         .host = fam_load_acquire(&slot->kernel[0]),
                                         .boot = fam_load(&slot->kernel[1])};
        for (unsigned w = 0; w < sizeof instance.host_name / 8; w++) {
            uint64_t word = fam_load(&slot->host_name[w]);
            memcpy(instance.host_name + w * sizeof word, &word, sizeof word);
        }
        instance.host_name[sizeof instance.host_name - 1] = '\0';
        rc = instance.alive < 0 ? instance.alive : visit(&instance, context);
    }
    return rc;
}

int alps_generation_walk(alps_heap_t *heap,
                         int (*visit)(const struct alps_generation *generation, void *context),
                         void *context)
{
    int rc = heap_may_read(heap);
    if (rc == 0 && visit == NULL)
        rc = error_set(EINVAL, "visit is NULL");
    const struct layout *l = rc == 0 ? heap_layout(heap) : NULL;
    for (unsigned i = 1; rc == 0 && i < l->generation_count; i++) {
        uint64_t word = fam_load_acquire(layout_generation(l, i));
        if ((word & GENERATION_USED) == 0)
            continue;
        struct alps_generation generation = {.generation = generation_number(word),
                                             .open = (word & GENERATION_OPEN) != 0,
                                             .committed = (word & GENERATION_COMMITTED) != 0};
        rc = visit(&generation, context);
    }
    return rc;
}
