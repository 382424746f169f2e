/* Runs of spans.
 *
 * Idea: the state words of the spans are the truth. A run is claimed span by span, each by CAS, in
 * ascending order: the first span becomes SPAN_CLAIMED with the owner's name, the others SPAN_TAIL
 * with their distance from it. It is given back in descending order, the first span last. So
 * between any two steps the run of a claimed span is what follows it without a gap.
 *
 * Invariants
 *   E1 A SPAN_TAIL with distance d belongs to the run that starts d spans before; that span is
 *      SPAN_CLAIMED, SPAN_SLAB or SPAN_EXTENT.
 *   E2 A SPAN_SLAB or SPAN_EXTENT of n spans (record.length) is followed by n - 1 SPAN_TAIL spans
 *      with distances 1 .. n - 1.
 *   E3 Every span that is not SPAN_FREE lies in a chunk whose metadata is backed, every span of a
 *      slab or extent in a chunk that is backed, too.
 *   E4 A span in SPAN_CLAIMED names a slot that is not SLOT_FREE, and its zone is noted as touched
 *      there.
 *   E5 record.incarnation of a first span is the one in its state word, and grows with each use.
 *
 * Concurrency: who moves the first span from SPAN_FREE, or an extent from SPAN_EXTENT, to
 * SPAN_CLAIMED by CAS owns the run until it stores the first span's next state (release).
 *
 * An instance keeps some of what it frees in reserve: runs of spans that are each SPAN_CLAIMED for
 * itself, known in DRAM. A claim from there, and a release to there, takes stores alone. The
 * reserve is a 32nd of the heap at most; it goes back when the instance itself is short of memory,
 * when it trims, and when it closes.
 *
 * Crash, allocation    seen as                        repaired by
 *   killed after
 *   some CAS           SPAN_CLAIMED and some tails     heir: gives the run back
 *   record written     the same                        the same
 *   SPAN_EXTENT        a block of the generation       the one block that was not returned
 * Crash, free
 *   SPAN_CLAIMED       freed                           heir: gives the rest back
 *   some tails free    freed                           the same
 * Crash, to the reserve, from the end of the run on, or from there, from its start on
 *   some spans         a run, and claimed spans after  heir: gives each back
 *
 * Hints: an instance notes in DRAM which runs it gave back, and what was left of runs that it
 * found, and tries the shortest that is long enough; whether it is still free, the claim tells.
 * Only if there is none, the zones are searched. A zone's count of releases, with the longest free
 * run that somebody saw at that count, lets a search pass by. An allocation can only shorten the
 * longest run, so a stale hint errs to the side of looking. A process killed between its release
 * and the count leaves spans that are not looked for until the next release in that zone, which its
 * heir brings about.
 */
#include "extent.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "error.h"

#define AHEAD 256u /* spans looked at beyond those that are claimed, to be noted as free */

struct search {
    uint64_t count;
    uint64_t modulus;
    uint64_t phase;   /* first span = phase modulo modulus */
    bool backed_only; /* there is no more memory: only what is backed already */
};

/* The free run at or after a span, inside a zone. */
struct run {
    uint64_t first, end;
};

/* How many spans a search may skip that has come to one in that state: a large block as a whole. */
static uint64_t occupied(const struct layout *l, uint64_t span, uint64_t state)
{
    if (span_kind(state) != SPAN_EXTENT)
        return 1;
    uint64_t length = fam_load_acquire(&layout_record(l, span)->length);
    /* If the state is still the same, that is the length of this block. */
    return length != 0 && fam_load(layout_state(l, span)) == state ? length : 1;
}

/* Next free run in a zone that starts at or after from; end == first if there is none. What is
 * longer than enough may be cut off there. */
static struct run next_run(const struct layout *l, uint64_t zone, uint64_t from, bool backed_only,
                           uint64_t enough)
{
    const struct layout_zone *z = layout_zone(l, zone);
    uint64_t zone_first = zone << l->zone_shift;
    uint64_t end = zone_first + min_u64(fam_load(&z->spans), l->zone_spans);
    if (fam_load_acquire(&z->meta) == 0) /* never used: all free, but with nothing behind it */
        return backed_only || from >= end ? (struct run){end, end} : (struct run){from, end};

    const fam_word_t *states = layout_state(l, zone_first);
    uint64_t first = from;
    while (first < end) {
        uint64_t state = fam_load_acquire(&states[first - zone_first]);
        if (state == SPAN_FREE && (!backed_only || layout_span_backed(l, first)))
            break;
        first += min_u64(occupied(l, first, state), end - first);
    }
    if (first >= end)
        return (struct run){end, end};
    /* The first span is not looked at again: a run that somebody has just claimed is no reason to
     * take the rest of the zone for full. */
    uint64_t stop = first + 1;
    end = min_u64(end, first + min_u64(enough, end - first));
    for (; stop < end; stop++)
        if (fam_load(&states[stop - zone_first]) != SPAN_FREE ||
            (backed_only && !layout_span_backed(l, stop)))
            break;
    return (struct run){first, stop};
}

static uint64_t align_first(const struct search *s, uint64_t span)
{
    return span + ((s->phase - span) & (s->modulus - 1));
}

void extent_flush_states(const struct layout *l, uint64_t first, uint64_t count)
{
    for (uint64_t end = first + count; l->durable && first < end;) {
        uint64_t next = min_u64(end, ((first >> l->zone_shift) + 1) << l->zone_shift);
        layout_flush_words(l, layout_state(l, first), next - first);
        first = next;
    }
    layout_fence(l);
}

/* Gives back the spans of a run from its end down to its first. */
static void unclaim(struct instance *instance, uint64_t first, uint64_t count)
{
    const struct layout *l = &instance->layout;
    for (uint64_t i = count; i-- > 0;)
        fam_store_release(layout_state(l, first + i), SPAN_FREE);
    extent_flush_states(l, first, count);
}

/* Claims exactly these spans, whether there is memory behind them or not. 0; -EAGAIN if somebody
 * else was faster; -ENOMEM if there is no memory for their metadata. */
static int claim_run(struct instance *instance, uint64_t first, uint64_t count)
{
    struct layout *l = &instance->layout;
    int rc = layout_back_meta(l, first, count);
    if (rc != 0)
        return rc;
    instance_touch(instance, layout_zone_of(l, first));
    for (uint64_t i = 0; i < count; i++) {
        uint64_t expected = SPAN_FREE;
        uint64_t claimed = i == 0 ? span_claimed(instance->owner) : span_tail(i);
        if (!fam_cas(layout_state(l, first + i), &expected, claimed)) {
            unclaim(instance, first, i);
            return -EAGAIN;
        }
    }
    return 0;
}

/* The same, with memory behind them; -ENOMEM if there is none. */
static int claim_backed_run(struct instance *instance, uint64_t first, uint64_t count)
{
    int rc = claim_run(instance, first, count);
    if (rc == 0) {
        rc = layout_back_spans(&instance->layout, first, count);
        if (rc != 0)
            unclaim(instance, first, count);
    }
    return rc;
}

/* From the state word of the span before, or of the span itself to that of the one before: a zone's
 * lie in a row. */
static fam_word_t *next_state(const struct layout *l, uint64_t span, fam_word_t *state)
{
    return (span & (l->zone_spans - 1)) != 0 ? state + 1 : layout_state(l, span);
}
static fam_word_t *state_before(const struct layout *l, uint64_t span, fam_word_t *state)
{
    return (span & (l->zone_spans - 1)) != 0 ? state - 1 : layout_state(l, span - 1);
}

/* ---- the reserve and the hints ---- */

static bool runs_lock(struct instance *instance)
{
    return __atomic_exchange_n(&instance->runs_busy, 1, __ATOMIC_ACQUIRE) == 0; /* DRAM: */
}
static void runs_unlock(struct instance *instance)
{
    __atomic_store_n(&instance->runs_busy, 0, __ATOMIC_RELEASE); /* DRAM: */
}

static void runs_remove(struct instance_runs *r, unsigned i)
{
    r->runs[i] = r->runs[--r->count];
}

/* Adds a run, joined with those next to it. Returns the shortest if there is no room for all, or
 * one of length 0. */
static struct instance_run runs_add(struct instance_runs *r, uint64_t first, uint64_t length)
{
    struct instance_run run = {first, length};
    for (unsigned i = r->count; i-- > 0;) {
        const struct instance_run *other = &r->runs[i];
        if (other->first + other->length != run.first && run.first + run.length != other->first)
            continue;
        run.first = min_u64(run.first, other->first);
        run.length += other->length;
        runs_remove(r, i);
    }
    if (r->count < INSTANCE_RUNS) {
        r->runs[r->count++] = run;
        return (struct instance_run){0, 0};
    }
    unsigned shortest = 0;
    for (unsigned i = 1; i < r->count; i++)
        if (r->runs[i].length < r->runs[shortest].length)
            shortest = i;
    if (run.length <= r->runs[shortest].length)
        return run;
    struct instance_run dropped = r->runs[shortest];
    r->runs[shortest] = run;
    return dropped;
}

/* Removes what lies in a run. */
static void runs_cut(struct instance_runs *r, uint64_t first, uint64_t length)
{
    for (unsigned i = r->count; i-- > 0;) {
        struct instance_run run = r->runs[i];
        if (run.first >= first + length || first >= run.first + run.length)
            continue;
        runs_remove(r, i);
        if (run.first < first)
            runs_add(r, run.first, first - run.first);
        if (run.first + run.length > first + length)
            runs_add(r, first + length, run.first + run.length - first - length);
    }
}

static bool run_is_on(const struct layout *l, uint64_t first, uint64_t count, int node)
{
    uint64_t zone = layout_zone_of(l, first);
    return fam_load(&layout_zone(l, zone)->node) == (uint64_t)node + 1 &&
           layout_zone_of(l, first + count - 1) == zone;
}

/* The shortest run of at least count spans, the first count of them on a node; its index, or
 * r->count. */
static unsigned runs_find(const struct layout *l, const struct instance_runs *r, uint64_t count,
                          int node)
{
    unsigned best = r->count;
    uint64_t least = l->span_count; /* that is left of one; one too short has more than that */
    for (unsigned i = 0; i < r->count; i++) {
        uint64_t left = r->runs[i].length - count;
        if (node >= 0 && !run_is_on(l, r->runs[i].first, count, node))
            continue;
        best = left < least ? i : best;
        least = left < least ? left : least;
    }
    return best;
}

/* Takes spans off the start of a run. */
static uint64_t runs_take(struct instance_runs *r, unsigned i, uint64_t count)
{
    uint64_t first = r->runs[i].first;
    r->runs[i].first += count;
    r->runs[i].length -= count;
    if (r->runs[i].length == 0)
        runs_remove(r, i);
    return first;
}

/* A run from the reserve, or from a hint that is still true. -ENOMEM if there is none. */
static int claim_noted(struct instance *instance, const struct search *s, int node, uint64_t *first)
{
    struct layout *l = &instance->layout;
    struct instance_runs *reserve = &instance->reserve, *hints = &instance->hints;
    if (s->modulus != 1 || s->backed_only || !runs_lock(instance))
        return -ENOMEM;
    int rc = -ENOMEM;
    unsigned i = runs_find(l, reserve, s->count, node);
    if (i < reserve->count) {
        *first = runs_take(reserve, i, s->count);
        instance->reserve_spans -= s->count;
        rc = layout_back_spans(l, *first, s->count);
        fam_word_t *state = layout_state(l, *first);
        for (uint64_t k = 1; k < s->count && rc == 0; k++) {
            state = next_state(l, *first + k, state);
            fam_store_release(state, span_tail(k));
        }
        if (rc != 0)
            unclaim(instance, *first, s->count);
    }
    while (rc != 0 && (i = runs_find(l, hints, s->count, node)) < hints->count) {
        struct instance_run run = hints->runs[i];
        runs_remove(hints, i);
        rc = claim_backed_run(instance, run.first, s->count);
        *first = run.first;
        if (rc == 0 && run.length != s->count)
            runs_add(hints, run.first + s->count, run.length - s->count);
    }
    runs_unlock(instance);
    return rc == 0 ? 0 : -ENOMEM;
}

/* Spans of a run that a search found were claimed: notes what is left of it. */
static void note_rest(struct instance *instance, struct run run, uint64_t first, uint64_t count)
{
    if (!runs_lock(instance))
        return;
    runs_cut(&instance->hints, run.first, run.end - run.first);
    if (run.first < first)
        runs_add(&instance->hints, run.first, first - run.first);
    if (first + count < run.end)
        runs_add(&instance->hints, first + count, run.end - first - count);
    runs_unlock(instance);
}

/* First-fit in one zone. */
static int claim_in_zone(struct instance *instance, const struct search *s, uint64_t zone,
                         uint64_t from, uint64_t *first)
{
    const struct layout *l = &instance->layout;
    struct layout_zone *z = layout_zone(l, zone);
    uint64_t zone_first = zone << l->zone_shift;
    uint64_t exist = min_u64(fam_load(&z->spans), l->zone_spans);
    if (exist < s->count)
        return -ENOMEM;
    uint32_t releases = (uint32_t)fam_load_acquire(&z->releases);
    uint64_t hint = fam_load(&z->longest);
    if (hint != 0 && (uint32_t)(hint >> 32) == releases && (uint32_t)hint < s->count + 1)
        return -ENOMEM;

    uint64_t longest = 0;
    uint64_t at = max_u64(from, zone_first);
    bool whole = at == zone_first;
    for (;;) {
        struct run run = next_run(l, zone, at, s->backed_only, s->count + s->modulus + AHEAD);
        if (run.first == run.end)
            break;
        uint64_t start = align_first(s, run.first);
        if (start + s->count <= run.end) {
            int rc = claim_backed_run(instance, start, s->count);
            if (rc == 0) {
                *first = start;
                note_rest(instance, run, start, s->count);
            }
            if (rc != -EAGAIN)
                return rc;
            whole = false;
            at = start + 1;
            continue;
        }
        longest = max_u64(longest, run.end - run.first);
        at = run.end;
    }
    /* Stored as length + 1, so that no hint is 0. */
    if (whole && !s->backed_only)
        fam_store(&z->longest, (uint64_t)releases << 32 | (longest + 1));
    return -ENOMEM;
}

/* First-fit across zones, for runs that no single zone has. */
static int claim_across(struct instance *instance, const struct search *s, int node,
                        uint64_t *first)
{
    const struct layout *l = &instance->layout;
    uint64_t start = 0, end = 0; /* the run so far: [start, end) */
    for (uint64_t zone = 0; zone < l->zone_count; zone++) {
        const struct layout_zone *z = layout_zone(l, zone);
        uint64_t at = zone << l->zone_shift;
        if (node >= 0 && fam_load(&z->node) != (uint64_t)node + 1)
            continue;
        for (;;) {
            struct run run = next_run(l, zone, at, s->backed_only, s->count + s->modulus);
            if (run.first == run.end)
                break;
            if (run.first != end)
                start = run.first;
            end = run.end;
            uint64_t aligned = align_first(s, start);
            if (aligned + s->count <= end) {
                int rc = claim_backed_run(instance, aligned, s->count);
                if (rc == 0) {
                    *first = aligned;
                    note_rest(instance, (struct run){start, end}, aligned, s->count);
                }
                if (rc != -EAGAIN)
                    return rc;
                start = end;
            }
            at = run.end;
        }
    }
    return -ENOMEM;
}

static int search_zones(struct instance *instance, const struct search *s, int node,
                        uint64_t *first)
{
    const struct layout *l = &instance->layout;
    uint64_t cursor = __atomic_load_n(&instance->cursor, __ATOMIC_RELAXED); /* DRAM: */
    if (cursor >= l->span_count)
        cursor = 0;
    uint64_t home = layout_zone_of(l, cursor);
    int rc = -ENOMEM;
    /* The rest of the zone where the last one was found, then zone by zone from its start. */
    for (uint64_t i = 0; i <= l->zone_count && rc == -ENOMEM; i++) {
        uint64_t zone = i == 0 ? home : (home + i - 1) % l->zone_count;
        if (node >= 0 && fam_load(&layout_zone(l, zone)->node) != (uint64_t)node + 1)
            continue;
        rc = claim_in_zone(instance, s, zone, i == 0 ? cursor : 0, first);
    }
    if (rc == -ENOMEM && s->count > 1)
        rc = claim_across(instance, s, node, first);
    if (rc == 0)
        __atomic_store_n(&instance->cursor, *first + s->count, __ATOMIC_RELAXED); /* DRAM: */
    return rc;
}

int extent_claim(struct instance *instance, uint64_t count, uint64_t modulus, int node,
                 uint64_t *first)
{
    const struct layout *l = &instance->layout;
    instance_beat(instance);
    struct search s = {.count = count, .modulus = modulus};
    s.phase = (0 - (l->data_offset >> SPAN_SHIFT)) & (modulus - 1);
    if (count > l->span_count)
        return error_set(ENOMEM, "%s: %llu bytes are more than the heap's capacity",
                         l->region.files[0].path, (unsigned long long)(count << SPAN_SHIFT));
    int rc = claim_noted(instance, &s, node, first);
    if (rc == -ENOMEM)
        rc = search_zones(instance, &s, node, first);
    if (rc == -ENOMEM) {
        s.backed_only = true;
        rc = search_zones(instance, &s, node, first);
    }
    return rc;
}

uint64_t extent_claimed_length(const struct layout *layout, uint64_t first)
{
    uint64_t count = 1;
    while (layout_span_state(layout, first + count) == span_tail(count))
        count++;
    return count;
}

void extent_give_back(struct instance *instance, uint64_t first, uint64_t count)
{
    const struct layout *l = &instance->layout;
    unclaim(instance, first, count);
    uint64_t last_zone = layout_zone_of(l, first + count - 1);
    for (uint64_t zone = layout_zone_of(l, first); zone <= last_zone; zone++)
        fam_add(&layout_zone(l, zone)->releases, 1);
    /* What was used last is warm, and filling from below keeps the rest of the heap whole. */
    if (first < __atomic_load_n(&instance->cursor, __ATOMIC_RELAXED)) /* DRAM: */
        __atomic_store_n(&instance->cursor, first, __ATOMIC_RELAXED); /* DRAM: */
    if (runs_lock(instance)) {
        runs_add(&instance->hints, first, count);
        runs_unlock(instance);
    }
}

void extent_release(struct instance *instance, uint64_t first, uint64_t count)
{
    const struct layout *l = &instance->layout;
    struct instance_run rest = {first, count};
    if (count <= instance->reserve_max && runs_lock(instance)) {
        if (instance->reserve_spans + count <= instance->reserve_max) {
            uint64_t last_zone = layout_zone_of(l, first + count - 1);
            for (uint64_t zone = layout_zone_of(l, first) + 1; zone <= last_zone; zone++)
                instance_touch(instance, zone);
            fam_word_t *state = layout_state(l, first + count - 1);
            for (uint64_t i = count; i-- > 1;) {
                fam_store_release(state, span_claimed(instance->owner));
                state = state_before(l, first + i, state);
            }
            rest = runs_add(&instance->reserve, first, count);
            instance->reserve_spans += count - rest.length;
        }
        runs_unlock(instance);
    }
    if (rest.length != 0)
        extent_give_back(instance, rest.first, rest.length);
}

void extent_shrink(struct instance *instance)
{
    while (!runs_lock(instance))
        sched_yield();
    struct instance_runs reserve = instance->reserve;
    instance->reserve.count = 0;
    instance->reserve_spans = 0;
    runs_unlock(instance);
    for (unsigned i = 0; i < reserve.count; i++)
        extent_give_back(instance, reserve.runs[i].first, reserve.runs[i].length);
}

uint32_t extent_begin(struct instance *instance, uint64_t first, uint64_t count)
{
    struct layout_record *record = layout_record(&instance->layout, first);
    uint32_t incarnation = (uint32_t)fam_load(&record->incarnation) + 1;
    fam_store(&record->incarnation, incarnation);
    record_set_generation(record, instance->generation_index);
    fam_store(&record->length, count);
    layout_flush(&instance->layout, &record->length);
    return incarnation;
}

int extent_alloc(struct instance *instance, uint64_t size, uint64_t alignment, int node,
                 struct layout_intent *intent, alps_ptr_t *block)
{
    if (size > EXTENT_MAX)
        return error_set(ENOMEM, "%s: %llu bytes are more than a heap can have",
                         instance->layout.region.files[0].path, (unsigned long long)size);
    uint64_t count = (size + SPAN_SIZE - 1) >> SPAN_SHIFT;
    uint64_t modulus = alignment <= SPAN_SIZE ? 1 : alignment >> SPAN_SHIFT;
    uint64_t first;
    int rc = extent_claim(instance, count, modulus, node, &first);
    if (rc != 0)
        return rc;
    uint32_t incarnation = extent_begin(instance, first, count);
    *block = layout_span_offset(&instance->layout, first);
    if (intent != NULL) {
        fam_store(&intent->block, *block);
        fam_store(&intent->incarnation, incarnation);
        fam_store_release(&intent->op, INTENT_MALLOC);
        layout_flush(&instance->layout, &intent->op);
    }
    layout_fence(&instance->layout); /* no state before the record that it tells of */
    fam_store_release(layout_state(&instance->layout, first), span_extent(incarnation));
    extent_flush_states(&instance->layout, first, count);
    return 0;
}

uint64_t extent_length(const struct layout *layout, uint64_t first)
{
    uint64_t length = fam_load(&layout_record(layout, first)->length);
    return length <= layout->span_count - first ? length : 0;
}

int extent_free(struct instance *instance, uint64_t first, uint64_t state)
{
    const struct layout *l = &instance->layout;
    uint64_t count = extent_length(l, first);
    if (count == 0)
        return error_set(EUCLEAN, "%s: damaged: extent at span %llu has no good length",
                         l->region.files[0].path, (unsigned long long)first);
    instance_touch(instance, layout_zone_of(l, first));
    uint64_t expected = state;
    if (!fam_cas(layout_state(l, first), &expected, span_claimed(instance->owner)))
        return -EALREADY;
    fam_store(&layout_record(l, first)->last_state, state);
    extent_release(instance, first, count);
    return 0;
}

/* Free spans in a row right before a span, in the same file. */
static uint64_t free_before(const struct layout *l, uint64_t span)
{
    uint64_t file = (uint64_t)l->file_zones << l->zone_shift, count = 0;
    for (uint64_t first = span / file * file; span - count > first; count++) {
        uint64_t before = span - count - 1;
        const struct layout_zone *z = layout_zone(l, layout_zone_of(l, before));
        if ((before & (l->zone_spans - 1)) >= fam_load(&z->spans) ||
            layout_span_state(l, before) != SPAN_FREE)
            break;
    }
    return count;
}

int extent_grow(struct instance *instance, uint64_t count)
{
    struct layout *l = &instance->layout;
    uint64_t present = 0;
    for (uint64_t zone = 0; zone < l->zone_count; zone++)
        present += fam_load(&layout_zone(l, zone)->spans);

    /* In each file the spans to come are one row. The first place where it is long enough, with
     * what is free right before it. */
    for (uint64_t file = 0; file < l->region.file_count; file++) {
        uint64_t zone = file * l->file_zones, end = zone + l->file_zones, room = 0;
        while (zone < end && fam_load(&layout_zone(l, zone)->spans) == layout_zone_limit(l, zone))
            zone++;
        for (uint64_t z = zone; z < end; z++)
            room += layout_zone_limit(l, z) - fam_load(&layout_zone(l, z)->spans);
        if (zone == end || room == 0)
            continue;
        uint64_t start = (zone << l->zone_shift) + fam_load(&layout_zone(l, zone)->spans);
        uint64_t there = free_before(l, start);
        if (there + room < count)
            continue;
        uint64_t wanted = min_u64(room, max_u64(count > there ? count - there : 1, present / 8));
        for (; wanted != 0 && zone < end; zone++) {
            uint64_t before = fam_load(&layout_zone(l, zone)->spans);
            uint64_t add = min_u64(wanted, layout_zone_limit(l, zone) - before);
            int rc = add == 0 ? 0 : layout_extend_zone(l, zone, before + add);
            if (rc != 0)
                return rc;
            wanted -= add;
        }
        return 0;
    }
    return error_set(ENOMEM, "%s: the heap is full and cannot grow", l->region.files[0].path);
}

bool extent_zone_unused(const struct layout *l, uint64_t zone)
{
    uint64_t first = zone << l->zone_shift;
    struct run run = next_run(l, zone, first, false, l->zone_spans);
    return run.first == first && run.end == first + layout_zone_spans(l, zone);
}

void extent_trim(struct instance *instance, uint64_t zone)
{
    struct layout *l = &instance->layout;
    uint64_t zone_first = zone << l->zone_shift, chunk_spans = (uint64_t)1 << l->chunk_shift;
    uint64_t spans = layout_zone_spans(l, zone);
    if (region_keeps(&l->region))
        return;
    /* The rest of a chunk that exists in part may come and be used at any time. */
    if (spans < layout_zone_limit(l, zone))
        spans &= ~(chunk_spans - 1);
    for (uint64_t at = 0; at < spans; at += chunk_spans) {
        uint64_t first = zone_first + at, count = min_u64(chunk_spans, spans - at);
        if (!layout_span_backed(l, first))
            continue;
        /* Held as a claimed run, so that nobody relies on the memory while it goes. */
        struct run run = next_run(l, zone, first, false, l->zone_spans);
        if (run.first != first || run.end < first + count || claim_run(instance, first, count) != 0)
            continue;
        fam_and(layout_backed(l, first), ~layout_chunk_bit(l, first));
        layout_persist(l, layout_backed(l, first)); /* before the memory goes */
        region_punch(&l->region, layout_span_offset(l, first), count << SPAN_SHIFT);
        extent_give_back(instance, first, count);
    }
}
