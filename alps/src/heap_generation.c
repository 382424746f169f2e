/* Generations: bulk free, commit, and emptying the table.
 *
 * The status of a generation is one word of the table, so a commit is one atomic operation. Spans
 * carry the index of the entry; those of a committed generation are brought up to date (C := A,
 * generation 0) whenever somebody has them in hand, before anything else is allocated from them.
 *
 * Entry:  0 --instance--> OPEN --close or recovery--> closed --bulk_free--> FREEING --> 0
 *                          |                            |
 *                          '--commit--> COMMITTED <-----'   (with or without OPEN)
 *
 * Crash, bulk_free: an entry in FREEING is freed further by whoever calls bulk_free again. What is
 * freed is freed block by block or word by word; what is not yet carries the generation still.
 */
#include "heap.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "error.h"

/* Calls visit for the first span of every slab and extent that carries a generation, or, with
 * index < 0, for every one. */
static void for_each_run(const struct layout *l, int64_t index,
                         void (*visit)(void *context, uint64_t span, uint64_t state), void *context)
{
    for (uint64_t zone = 0; zone < l->zone_count; zone++) {
        uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone);
        for (uint64_t span = first; span < end; span++) {
            uint64_t state = fam_load_acquire(layout_state(l, span));
            if (span_kind(state) != SPAN_SLAB && span_kind(state) != SPAN_EXTENT)
                continue;
            if (index < 0 || record_generation(layout_record(l, span)) == (uint64_t)index)
                visit(context, span, state);
        }
    }
}

struct bulk {
    struct instance *instance;
    uint64_t index;   /* of the entry */
    uint64_t word;    /* what the entry says as long as the generation is being freed */
    uint64_t skipped; /* runs that somebody had in hand */
};

/* Frees the uncommitted blocks of an owned slab of the generation; what stays is permanent. It does
 * so by R, as others free: an heir who frees one of them once more finds that it is free. */
static void free_slab(struct instance *instance, uint64_t span, unsigned class)
{
    const struct layout *l = &instance->layout;
    const struct slab_class *c = &slab_classes[class];
    const fam_word_t *committed = slab_committed(l, span, class);
    uint64_t drop[SLAB_WORDS_MAX], left = 0;
    for (unsigned w = 0; w < c->words; w++) {
        uint64_t live = slab_live(l, span, class, w), keep = live & fam_load(&committed[w]);
        drop[w] = live & ~keep;
        left |= keep;
    }
    if (left == 0) {
        slab_destroy(instance, span, class);
        return;
    }
    for (unsigned w = 0; w < c->words; w++)
        slab_release_blocks(l, span, w, drop[w]);
    layout_fence(l); /* free, before what is left becomes permanent */
    record_set_generation(layout_record(l, span), 0);
    layout_persist(l, &layout_record(l, span)->generation);
    slab_settle(instance, span, class);
}

/* Somebody else may free the same generation, and be ahead: the entry may already stand for another
 * one. It cannot while a run that carries it is there: so it is looked at after the run's index was
 * read, by the owner, or of the incarnation that extent_free expects. */
static void free_run(void *context, uint64_t span, uint64_t state)
{
    struct bulk *bulk = context;
    const struct layout *l = &bulk->instance->layout;
    const fam_word_t *entry = layout_generation(l, bulk->index);
    if (instance_is_lost(bulk->instance))
        return;
    if (span_kind(state) == SPAN_EXTENT) {
        if (fam_load_acquire(entry) == bulk->word)
            extent_free(bulk->instance, span, state);
    } else if (span_class(state) < SLAB_CLASSES && span_owner(state) == 0 &&
               slab_own(bulk->instance, span, state)) {
        if (record_generation(layout_record(l, span)) == bulk->index &&
            fam_load_acquire(entry) == bulk->word)
            free_slab(bulk->instance, span, span_class(state));
        else
            slab_settle(bulk->instance, span, span_class(state));
    } else {
        bulk->skipped++;
    }
}

/* Finds the entry of a generation that is not open; one that is left by the dead is closed first.
 * */
static int find_closed(alps_heap_t *heap, alps_gen_t number, fam_word_t **entry, uint64_t *word,
                       int64_t *index)
{
    const struct layout *l = heap_layout(heap);
    for (int attempt = 0; attempt < 2; attempt++) {
        *index = generation_find(l, number);
        if (*index < 0)
            return error_set(ENOENT, "%s: nothing is known of generation %llu", heap_name(heap),
                             (unsigned long long)number);
        *entry = layout_generation(l, (uint64_t)*index);
        *word = fam_load_acquire(*entry);
        if ((*word & GENERATION_OPEN) == 0)
            return 0;
        int rc = heap_recover(heap, false, NULL);
        if (rc != 0)
            return rc;
    }
    return error_set(EBUSY, "%s: generation %llu is open", heap_name(heap),
                     (unsigned long long)number);
}

int alps_bulk_free(alps_heap_t *heap, alps_gen_t number)
{
    int rc = heap_may_write(heap);
    if (rc == 0 && number == ALPS_PERMANENT)
        rc = error_set(EINVAL, "%s: generation 0 holds the permanent blocks", heap_name(heap));
    fam_word_t *entry;
    uint64_t word;
    int64_t index;
    if (rc == 0)
        rc = find_closed(heap, number, &entry, &word, &index);
    if (rc != 0)
        return rc;
    do {
        if ((word & GENERATION_COMMITTED) != 0)
            return 0; /* nothing of it is not committed */
        if (generation_number(word) != number)
            return 0; /* somebody else has just freed it */
    } while ((word & GENERATION_FREEING) == 0 && !fam_cas(entry, &word, word | GENERATION_FREEING));
    word |= GENERATION_FREEING;
    for (unsigned attempt = 0; attempt < 1000; attempt++) {
        struct bulk bulk = {.instance = &heap->instance, .index = (uint64_t)index, .word = word};
        for_each_run(heap_layout(heap), index, free_run, &bulk);
        rc = heap_may_write(heap);
        if (rc != 0)
            return rc;
        if (bulk.skipped == 0) {
            if (fam_cas(entry, &word, 0))
                layout_persist(heap_layout(heap), entry);
            return 0;
        }
        if (fam_load_acquire(entry) != word)
            return 0; /* somebody else has freed the rest */
        /* Somebody has a slab in hand for a moment, or died with it. */
        if (attempt == 100 && (rc = heap_recover(heap, false, NULL)) != 0)
            return rc;
        sched_yield();
    }
    return error_set(EBUSY, "%s: another instance holds blocks of generation %llu; try again",
                     heap_name(heap), (unsigned long long)number);
}

static void flush_run(void *context, uint64_t span, uint64_t state)
{
    const struct layout *l = context;
    layout_flush(l, &layout_record(l, span)->length);
    if (span_kind(state) == SPAN_SLAB && span_class(state) < SLAB_CLASSES)
        slab_flush(l, span, span_class(state));
}

/* In durable heaps: makes durable what carries a generation, but for its being committed. The
 * states of runs are durable since they were made. */
static void flush_runs(alps_heap_t *heap, int64_t index)
{
    struct layout *l = heap_layout(heap);
    if (!l->durable)
        return;
    for_each_run(l, index, flush_run, l);
    layout_fence(l);
}

int alps_commit(alps_heap_t *heap, alps_gen_t number)
{
    int rc = heap_may_write(heap);
    if (rc != 0)
        return rc;
    fam_word_t *entry;
    uint64_t word;
    int64_t index;
    if (number == heap->instance.generation) {
        index = (int64_t)heap->instance.generation_index;
        entry = layout_generation(heap_layout(heap), (uint64_t)index);
        flush_runs(heap, index);
        if (number != ALPS_PERMANENT)
            fam_or(entry, GENERATION_COMMITTED);
        layout_persist(heap_layout(heap), entry);
        return region_sync(&heap_layout(heap)->region);
    }
    if (number == ALPS_PERMANENT)
        return 0;
    rc = find_closed(heap, number, &entry, &word, &index);
    if (rc == 0)
        flush_runs(heap, index);
    while (rc == 0 && (word & GENERATION_COMMITTED) == 0) {
        if ((word & GENERATION_FREEING) != 0 || generation_number(word) != number)
            return error_set(ENOENT, "%s: generation %llu is being freed", heap_name(heap),
                             (unsigned long long)number);
        if (fam_cas(entry, &word, word | GENERATION_COMMITTED))
            break;
    }
    if (rc != 0)
        return rc;
    layout_persist(heap_layout(heap), entry);
    return region_sync(&heap_layout(heap)->region);
}

struct collection {
    struct instance *instance;
    uint64_t *in_use; /* a bit for each entry */
};

/* Brings what carries a committed generation up to date; notes what carries another. */
static void collect_run(void *context, uint64_t span, uint64_t state)
{
    struct collection *collection = context;
    struct instance *instance = collection->instance;
    const struct layout *l = &instance->layout;
    fam_word_t *word = &layout_record(l, span)->generation;
    uint64_t expected = fam_load_acquire(word), generation = expected & UINT32_MAX;
    if (generation == 0 || generation >= l->generation_count)
        return;
    if (generation_committed(l, generation)) {
        if (span_kind(state) == SPAN_EXTENT) {
            /* Of this use of the span alone: the next one may carry the entry's next generation. */
            if (fam_cas(word, &expected, expected - generation)) {
                layout_persist(l, word);
                return;
            }
        } else if (span_class(state) < SLAB_CLASSES && span_owner(state) == 0 &&
                   slab_own(instance, span, state)) {
            uint64_t allocated[SLAB_WORDS_MAX];
            bool committed;
            unsigned class = span_class(state);
            slab_fold(l, span, class, allocated);
            slab_claim_generation(instance, span, class, allocated, &committed);
            slab_settle(instance, span, class);
            return;
        }
    }
    collection->in_use[generation / 64] |= (uint64_t)1 << (generation % 64);
}

void heap_collect_generations(alps_heap_t *heap)
{
    const struct layout *l = heap_layout(heap);
    uint64_t *before = calloc(l->generation_count + l->generation_count / 64 + 1, sizeof *before);
    if (before == NULL)
        return;
    struct collection collection = {.instance = &heap->instance,
                                    .in_use = before + l->generation_count};
    for (unsigned i = 0; i < l->generation_count; i++)
        before[i] = fam_load_acquire(layout_generation(l, i));
    for_each_run(l, -1, collect_run, &collection);
    generation_collect(l, before, collection.in_use);
    free(before);
}
