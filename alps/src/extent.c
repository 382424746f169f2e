/* Runs of spans.
 *
 * Idea: the state words of the spans are the truth. A run is claimed span by span, each by CAS, in
 * ascending order: the first span becomes SPAN_CLAIMED with the owner's name, the others SPAN_TAIL
 * with their distance from it. It is given back in descending order, the first span last. So
 * between any two steps the run of a claimed span is what follows it without a gap.
 *
 * Invariants
 *   E1 A SPAN_TAIL belongs to the nearest span before it that is none. That is SPAN_CLAIMED, or it
 *      is SPAN_SLAB or SPAN_EXTENT, and the tail is one of those in E2.
 *   E2 A SPAN_SLAB or SPAN_EXTENT of n spans (record.length) is followed by n - 1 SPAN_TAIL spans
 *      with distances 1 .. n - 1.
 *   E3 Every span that is not SPAN_FREE lies in a chunk whose metadata is backed. Backed, too, is
 *      all of an extent, and of a slab what comes before the end of the last block that was ever
 *      allocated there.
 *   E4 A span in SPAN_CLAIMED names a slot that is not SLOT_FREE, and its zone is noted as touched
 *      there.
 *   E5 record.incarnation of a first span is the one in its state word, and grows with each use.
 *
 * Concurrency: who moves the first span from SPAN_FREE, an extent from SPAN_EXTENT, or a run in
 * reserve from SPAN_RESERVED, to SPAN_CLAIMED by CAS owns the run until it stores the first span's
 * next state (release).
 *
 * An instance keeps what it frees in reserve: claimed runs that it knows in DRAM, and whose first
 * span says that anyone may take them (SPAN_RESERVED). Its own next claims come from there, by one
 * CAS and a store for each tail that has another distance; the rest of a run stays, with a first
 * span of its own. Runs next to each other are joined, when one comes, by a CAS and a store. Others
 * take what is in reserve when they are short of memory; who finds that one has been taken forgets
 * it. Each time in reserve has a number in the state word, so nobody takes a run for what it was
 * when it started there before. The tails of claimed runs need not have the right distances, since
 * nobody looks at them before the first span is that of a slab or an extent.
 *
 * Threads keep the runs that they free in shards, so that they rarely wait for each other, and
 * large blocks of different threads stay apart. A new thread takes over the shard of one that has
 * ended, and what is in a shard of which nothing is claimed is everybody's.
 *
 * Crash, allocation    seen as                        repaired by
 *   killed after
 *   some CAS           SPAN_CLAIMED and some tails     heir: gives the run back
 *   record written     the same                        the same
 *   SPAN_EXTENT        a block of the generation       the one block that was not returned
 * Crash, free
 *   SPAN_CLAIMED       freed                           heir: gives the rest back
 *   some tails free    freed                           the same
 *   SPAN_RESERVED      freed                           the same, unless others have taken it
 * Crash, from the reserve, or joining there: claimed runs, each as long as its tails go on.
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
#include <sys/mman.h>

#include "error.h"

#define LOCK_TRIES 256u      /* for a shard */
#define RESERVE_PART 4u      /* of the heap may be in reserve in all, half of that in a shard ... */
#define SPANS_ENOUGH 131072u /* ... and of a heap of more than 8 GiB no more */
#define GROWTH_PART 8u       /* of the heap at a time */
#define LOOK_AT_SIZE 16u     /* of the heap, each so many searches */
#define AHEAD 256u /* spans looked at beyond those that are claimed, to be noted as free */

/* Of the thread's shard, from 1 on; 0: none yet. No call finds it. */
static __attribute__((tls_model("initial-exec"))) _Thread_local unsigned thread_shard;

struct search {
    uint64_t count;
    uint64_t bytes; /* at the start, that need memory behind them */
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

/* Bytes of each span that there must be memory behind already. */
static uint64_t bytes_needed(const struct search *s)
{
    return s->backed_only ? min_u64(s->bytes, SPAN_SIZE) : 0;
}

/* Next free run in a zone that starts at or after from, with memory behind the first bytes of each
 * span; end == first if there is none. What is longer than enough may be cut off there. */
static struct run next_run(const struct layout *l, uint64_t zone, uint64_t from, uint64_t bytes,
                           uint64_t enough)
{
    const struct layout_zone *z = layout_zone(l, zone);
    uint64_t zone_first = zone << l->zone_shift;
    uint64_t end = zone_first + min_u64(fam_load(&z->spans), l->zone_spans);
    if (fam_load_acquire(&z->meta) == 0) /* never used: all free, but with nothing behind it */
        return bytes != 0 || from >= end ? (struct run){end, end} : (struct run){from, end};

    const fam_word_t *states = layout_state(l, zone_first);
    uint64_t first = from;
    while (first < end) {
        uint64_t state = fam_load_acquire(&states[first - zone_first]);
        if (state == SPAN_FREE && (bytes == 0 || layout_span_backed(l, first, bytes)))
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
            (bytes != 0 && !layout_span_backed(l, stop, bytes)))
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

/* The same, with memory behind what is to have some; -ENOMEM if there is none. */
static int claim_backed_run(struct instance *instance, const struct search *s, uint64_t first)
{
    int rc = claim_run(instance, first, s->count);
    if (rc == 0) {
        rc = layout_back(&instance->layout, first, s->bytes);
        if (rc != 0)
            unclaim(instance, first, s->count);
    }
    return rc;
}

/* ---- the reserve and the hints ---- */

static unsigned users[INSTANCE_SHARDS]; /* threads of this process that have a shard */

static unsigned shard_users(unsigned shard)
{
    return __atomic_load_n(&users[shard], __ATOMIC_RELAXED); /* DRAM: */
}

/* What there is for each, by the heap's size and the processes and threads that there are now. The
 * size stands in each zone's header, where others change words: look it up, or take what is known.
 */
static void set_shares(struct instance *instance, bool look)
{
    const struct layout *l = &instance->layout;
    uint64_t known = __atomic_load_n(&instance->spans, __ATOMIC_RELAXED); /* DRAM: */
    uint64_t spans = look ? layout_present(l, SPANS_ENOUGH) : known, parts = 0;
    for (unsigned i = 0; i < INSTANCE_SHARDS; i++)
        parts += shard_users(i) != 0;
    parts = max_u64(parts * layout_slots_used(l), 2);
    /* All threads read these: they are written only when they change. */
    if (spans == known && parts == __atomic_load_n(&instance->parts, __ATOMIC_RELAXED)) /* DRAM: */
        return;
    uint64_t reserve_max = l->durable ? 0 : spans / RESERVE_PART / parts;
    __atomic_store_n(&instance->spans, spans, __ATOMIC_RELAXED);             /* DRAM: */
    __atomic_store_n(&instance->parts, parts, __ATOMIC_RELAXED);             /* DRAM: */
    __atomic_store_n(&instance->reserve_max, reserve_max, __ATOMIC_RELAXED); /* DRAM: */
}

/* The one that the fewest threads have, so that they rarely meet: also of threads that come at the
 * same time. */
static unsigned own_shard(void)
{
    while (thread_shard == 0) {
        unsigned best = 0, least = shard_users(0);
        for (unsigned i = 1; i < INSTANCE_SHARDS && least != 0; i++)
            if (shard_users(i) < least) {
                best = i;
                least = shard_users(i);
            }
        if (__atomic_compare_exchange_n(&users[best], &least, least + 1, false, /* DRAM: */
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            thread_shard = best + 1;
    }
    return thread_shard - 1;
}

/* Before a search: looks the size up now and then. */
static void look_at_shares(struct instance *instance)
{
    if (instance->shards == NULL)
        return;
    uint64_t *searches = &instance->shards[own_shard()].searches;
    uint64_t count = __atomic_load_n(searches, __ATOMIC_RELAXED) + 1; /* DRAM: */
    __atomic_store_n(searches, count, __ATOMIC_RELAXED);              /* DRAM: */
    set_shares(instance, count % LOOK_AT_SIZE == 0);
}

void extent_thread_end(void)
{
    if (thread_shard != 0)
        __atomic_fetch_sub(&users[thread_shard - 1], 1, __ATOMIC_RELAXED); /* DRAM: */
    thread_shard = 0;
}

/* What it protects takes less than a microsecond; but who has it may have been stopped. */
static bool shard_lock(struct instance_shard *shard)
{
    for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
        if (__atomic_exchange_n(&shard->busy, 1, __ATOMIC_ACQUIRE) == 0) /* DRAM: */
            return true;
        spin_pause();
    }
    return false;
}
static void shard_unlock(struct instance_shard *shard)
{
    __atomic_store_n(&shard->busy, 0, __ATOMIC_RELEASE); /* DRAM: */
}

/* The calling thread's shard, locked; NULL if there is none, or if it is busy. */
static struct instance_shard *shard_get(const struct instance *instance)
{
    struct instance_shard *shard = instance->shards == NULL ? NULL : &instance->shards[own_shard()];
    return shard != NULL && shard_lock(shard) ? shard : NULL;
}

static void runs_remove(struct instance_runs *r, unsigned i)
{
    r->runs[i] = r->runs[--r->count];
}

static unsigned runs_shortest(const struct instance_runs *r)
{
    unsigned shortest = 0;
    for (unsigned i = 1; i < r->count; i++)
        if (r->runs[i].length < r->runs[shortest].length)
            shortest = i;
    return shortest;
}

/* Notes a run, joined with those next to it. If there is no room for all, the shortest is
 * forgotten. */
static void hints_add(struct instance_runs *r, uint64_t first, uint64_t length)
{
    for (unsigned i = r->count; i-- > 0;) {
        const struct instance_run other = r->runs[i];
        if (other.first + other.length != first && first + length != other.first)
            continue;
        first = min_u64(first, other.first);
        length += other.length;
        runs_remove(r, i);
    }
    const struct instance_run run = {.first = first, .length = length};
    unsigned shortest;
    if (r->count < INSTANCE_RUNS)
        r->runs[r->count++] = run;
    else if (r->runs[shortest = runs_shortest(r)].length < length)
        r->runs[shortest] = run;
}

/* Forgets what lies in a run. */
static void hints_cut(struct instance_runs *r, uint64_t first, uint64_t length)
{
    for (unsigned i = r->count; i-- > 0;) {
        struct instance_run run = r->runs[i];
        if (run.first >= first + length || first >= run.first + run.length)
            continue;
        runs_remove(r, i);
        if (run.first < first)
            hints_add(r, run.first, first - run.first);
        if (run.first + run.length > first + length)
            hints_add(r, first + length, run.first + run.length - first - length);
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
        best = left <= least ? i : best;
        least = left <= least ? left : least;
    }
    return best;
}

/* Fetches what a slab of one span there will read and change first, if the next one takes the run
 * that would do best now: there are many of those, and little of it is in a processor's cache. */
static void fetch_next(const struct layout *l, const struct instance_runs *r)
{
    unsigned i = runs_find(l, r, 1, ALPS_ANY_NODE);
    if (i == r->count)
        return;
    const uint64_t first = r->runs[i].first;
    const struct layout_record *record = layout_record(l, first);
    fam_prepare(layout_state(l, first));
    fam_prepare(&record->incarnation);
    fam_prepare(record->allocated);
    fam_prepare(record->committed);
    fam_prepare(layout_released(l, first)->words);
}

static void set_reserve_spans(struct instance_shard *shard, uint64_t spans)
{
    __atomic_store_n(&shard->reserve_spans, spans, __ATOMIC_RELAXED); /* DRAM: */
}

/* Takes a run off the reserve, and gives its first span a state; false if others have taken it. */
static bool reserve_take(const struct layout *l, struct instance_shard *shard, unsigned i,
                         uint64_t state, struct instance_run *run)
{
    *run = shard->reserve.runs[i];
    runs_remove(&shard->reserve, i);
    set_reserve_spans(shard, shard->reserve_spans - run->length);
    uint64_t expected = run->state;
    return fam_cas(layout_state(l, run->first), &expected, state);
}

/* Puts a claimed run there. */
static void reserve_put(const struct instance *instance, struct instance_shard *shard,
                        struct instance_run run)
{
    /* Another number each time, in whichever shard: who finds an old one has an old idea of the
     * run, too. */
    uint64_t number = ++shard->number * INSTANCE_SHARDS + (uint64_t)(shard - instance->shards);
    run.state = span_reserved(instance->owner, number);
    fam_store_release(layout_state(&instance->layout, run.first), run.state);
    shard->reserve.runs[shard->reserve.count++] = run;
    set_reserve_spans(shard, shard->reserve_spans + run.length);
}

/* Puts a claimed run there, joined with those next to it. Returns the shortest, claimed, if there
 * is no room for all, or one of length 0. */
static struct instance_run reserve_add(const struct instance *instance,
                                       struct instance_shard *shard, struct instance_run run)
{
    const struct layout *l = &instance->layout;
    const uint64_t claimed = span_claimed(instance->owner);
    struct instance_run other;
    for (unsigned i = shard->reserve.count; i-- > 0;) {
        const struct instance_run *near = &shard->reserve.runs[i];
        if (near->first + near->length == run.first) {
            if (!reserve_take(l, shard, i, claimed, &other))
                continue;
            fam_store_release(layout_state(l, run.first), span_tail(other.length));
            other.tailed += other.tailed == other.length;
            other.backed += other.backed == other.length ? run.backed : 0;
            other.length += run.length;
            run = other;
        } else if (run.first + run.length == near->first) {
            if (!reserve_take(l, shard, i, span_tail(run.length), &other))
                continue;
            run.backed += run.backed == run.length ? other.backed : 0;
            run.length += other.length;
        }
    }
    other.length = 0;
    if (shard->reserve.count == INSTANCE_RUNS) {
        unsigned shortest = runs_shortest(&shard->reserve);
        if (run.length <= shard->reserve.runs[shortest].length)
            return run;
        if (!reserve_take(l, shard, shortest, claimed, &other))
            other.length = 0;
    }
    reserve_put(instance, shard, run);
    return other;
}

/* A run from a shard's reserve. -ENOMEM if there is none. */
static int claim_reserved(struct instance *instance, struct instance_shard *shard,
                          const struct search *s, int node, uint64_t *first)
{
    struct layout *l = &instance->layout;
    const uint64_t count = s->count;
    struct instance_runs *reserve = &shard->reserve;
    struct instance_run run;
    unsigned i;
    bool found = false;
    if (__atomic_load_n(&shard->reserve_spans, __ATOMIC_RELAXED) < count || /* DRAM: */
        !shard_lock(shard))
        return -ENOMEM;
    while (!found && (i = runs_find(l, reserve, count, node)) < reserve->count)
        found = reserve_take(l, shard, i, span_claimed(instance->owner), &run);
    if (found && run.length > count)
        reserve_put(instance, shard,
                    (struct instance_run){.first = run.first + count,
                                          .length = run.length - count,
                                          .tailed = 1,
                                          .backed = run.backed - min_u64(run.backed, count)});
    if (count == 1)
        fetch_next(l, reserve);
    shard_unlock(shard);
    if (!found)
        return -ENOMEM;
    for (uint64_t k = run.tailed; k < count; k++)
        fam_store_release(layout_state(l, run.first + k), span_tail(k));
    *first = run.first;
    /* Slabs leave a part of their spans as it was. What is known is not looked up: the zone's words
     * are others', too. */
    int rc = run.backed >= count ? 0 : layout_back(l, run.first, s->bytes);
    if (rc != 0)
        extent_give_back(instance, run.first, count);
    return rc;
}

/* A run from one of a shard's hints that is still true. -ENOMEM if there is none. */
static int claim_hinted(struct instance *instance, struct instance_shard *shard,
                        const struct search *s, int node, uint64_t *first)
{
    const uint64_t count = s->count;
    struct instance_runs *hints = &shard->hints;
    while (shard_lock(shard)) {
        unsigned i = runs_find(&instance->layout, hints, count, node);
        struct instance_run run = {.length = 0};
        if (i < hints->count) {
            run = hints->runs[i];
            runs_remove(hints, i);
            if (run.length > count)
                hints_add(hints, run.first + count, run.length - count);
        }
        if (count == 1)
            fetch_next(&instance->layout, hints);
        shard_unlock(shard);
        if (run.length == 0)
            break;
        *first = run.first;
        if (claim_backed_run(instance, s, run.first) == 0)
            return 0;
    }
    return -ENOMEM;
}

static uint64_t count_claims(const struct instance_shard *shard)
{
    return __atomic_load_n(&shard->claims, __ATOMIC_RELAXED); /* DRAM: */
}

/* A run that the thread knows of, or one in reserve where nobody has claimed anything since this
 * thread last looked there: of threads that have ended, or free more than they allocate. In what
 * other threads use, its blocks would part runs that belong together. */
static int claim_noted(struct instance *instance, const struct search *s, int node, uint64_t *first)
{
    if (instance->shards == NULL)
        return -ENOMEM;
    struct instance_shard *own = &instance->shards[own_shard()];
    __atomic_store_n(&own->claims, count_claims(own) + 1, __ATOMIC_RELAXED); /* DRAM: */
    int rc = claim_reserved(instance, own, s, node, first);
    for (unsigned i = 0; i < INSTANCE_SHARDS && rc != 0; i++) {
        struct instance_shard *shard = &instance->shards[i];
        uint64_t claims = count_claims(shard);
        uint64_t before = __atomic_load_n(&own->seen[i], __ATOMIC_RELAXED); /* DRAM: */
        if (before != claims)
            __atomic_store_n(&own->seen[i], claims, __ATOMIC_RELAXED); /* DRAM: */
        else
            rc = claim_reserved(instance, shard, s, node, first);
    }
    return rc == 0 ? 0 : claim_hinted(instance, own, s, node, first);
}

/* Claims what a search found. The next one begins behind it, also while this one waits for memory,
 * so that threads do not all go for the same spans. */
static int claim_found(struct instance *instance, const struct search *s, uint64_t first)
{
    __atomic_store_n(&instance->cursor.value, first + s->count, __ATOMIC_RELAXED); /* DRAM: */
    return claim_backed_run(instance, s, first);
}

/* Spans of a run that a search found were claimed: notes what is left of it. */
static void note_rest(struct instance *instance, struct run run, uint64_t first, uint64_t count)
{
    struct instance_shard *shard = shard_get(instance);
    if (shard == NULL)
        return;
    hints_cut(&shard->hints, run.first, run.end - run.first);
    if (run.first < first)
        hints_add(&shard->hints, run.first, first - run.first);
    if (first + count < run.end)
        hints_add(&shard->hints, first + count, run.end - first - count);
    shard_unlock(shard);
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
        struct run run = next_run(l, zone, at, bytes_needed(s), s->count + s->modulus + AHEAD);
        if (run.first == run.end)
            break;
        uint64_t start = align_first(s, run.first);
        if (start + s->count <= run.end) {
            int rc = claim_found(instance, s, start);
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
            struct run run = next_run(l, zone, at, bytes_needed(s), s->count + s->modulus);
            if (run.first == run.end)
                break;
            if (run.first != end)
                start = run.first;
            end = run.end;
            uint64_t aligned = align_first(s, start);
            if (aligned + s->count <= end) {
                int rc = claim_found(instance, s, aligned);
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
    uint64_t cursor = __atomic_load_n(&instance->cursor.value, __ATOMIC_RELAXED); /* DRAM: */
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
    return rc;
}

int extent_claim(struct instance *instance, uint64_t count, uint64_t bytes, uint64_t modulus,
                 int node, uint64_t *first)
{
    const struct layout *l = &instance->layout;
    instance_beat(instance);
    struct search s = {.count = count, .bytes = bytes, .modulus = modulus};
    s.phase = (0 - (l->data_offset >> SPAN_SHIFT)) & (modulus - 1);
    if (count > l->span_count)
        return error_set(ENOMEM, "%s: %llu bytes are more than the heap's capacity",
                         l->region.files[0].path, (unsigned long long)(count << SPAN_SHIFT));
    int rc = modulus == 1 ? claim_noted(instance, &s, node, first) : -ENOMEM;
    if (rc == -ENOMEM) {
        look_at_shares(instance);
        rc = search_zones(instance, &s, node, first);
    }
    if (rc == -ENOMEM) {
        s.backed_only = true;
        rc = search_zones(instance, &s, node, first);
    }
    return rc;
}

uint64_t extent_claimed_length(const struct layout *layout, uint64_t first)
{
    uint64_t count = 1;
    while (first + count < layout->span_count &&
           span_kind(layout_span_state(layout, first + count)) == SPAN_TAIL)
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
    if (first < __atomic_load_n(&instance->cursor.value, __ATOMIC_RELAXED)) /* DRAM: */
        __atomic_store_n(&instance->cursor.value, first, __ATOMIC_RELAXED); /* DRAM: */
    struct instance_shard *shard = shard_get(instance);
    if (shard != NULL) {
        hints_add(&shard->hints, first, count);
        shard_unlock(shard);
    }
}

static void release(struct instance *instance, uint64_t first, uint64_t count, uint64_t backed)
{
    const struct layout *l = &instance->layout;
    struct instance_run rest = {.first = first, .length = count, .tailed = count, .backed = backed};
    uint64_t most = __atomic_load_n(&instance->reserve_max, __ATOMIC_RELAXED); /* DRAM: */
    struct instance_shard *shard = count <= most ? shard_get(instance) : NULL;
    if (shard != NULL) {
        if (shard->reserve_spans + count <= most) {
            uint64_t last_zone = layout_zone_of(l, first + count - 1);
            for (uint64_t zone = layout_zone_of(l, first) + 1; zone <= last_zone; zone++)
                instance_touch(instance, zone);
            rest = reserve_add(instance, shard, rest);
        }
        shard_unlock(shard);
    }
    if (rest.length != 0)
        extent_give_back(instance, rest.first, rest.length);
}

void extent_release(struct instance *instance, uint64_t first, uint64_t count)
{
    release(instance, first, count, 0);
}

int extent_open(struct instance *instance)
{
    void *shards = mmap(NULL, INSTANCE_SHARDS * sizeof *instance->shards, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (shards == MAP_FAILED)
        return error_set(ENOMEM, "no memory for this process's own book-keeping");
    instance->shards = shards;
    set_shares(instance, true);
    return 0;
}

void extent_close(struct instance *instance)
{
    if (instance->shards != NULL)
        munmap(instance->shards, INSTANCE_SHARDS * sizeof *instance->shards);
    instance->shards = NULL;
    instance->reserve_max = 0;
}

bool extent_take(struct instance *instance, uint64_t first, uint64_t state)
{
    uint64_t claimed = span_claimed(instance->owner);
    if (!span_is_reserved(state))
        return state == claimed;
    instance_touch(instance, layout_zone_of(&instance->layout, first));
    return fam_cas(layout_state(&instance->layout, first), &state, claimed);
}

uint64_t extent_shrink(struct instance *instance)
{
    uint64_t given = 0;
    for (unsigned k = 0; k < INSTANCE_SHARDS && instance->shards != NULL; k++) {
        struct instance_shard *shard = &instance->shards[k];
        while (!shard_lock(shard))
            sched_yield();
        struct instance_runs reserve = shard->reserve;
        shard->reserve.count = 0;
        set_reserve_spans(shard, 0);
        shard_unlock(shard);
        for (unsigned i = 0; i < reserve.count; i++) {
            const struct instance_run *run = &reserve.runs[i];
            if (!extent_take(instance, run->first, run->state))
                continue;
            extent_give_back(instance, run->first, run->length);
            given += run->length;
        }
    }
    return given;
}

uint64_t extent_shrink_all(struct instance *instance)
{
    const struct layout *l = &instance->layout;
    uint64_t taken = 0;
    if (instance_is_alone(instance))
        return 0;
    for (uint64_t zone = 0; zone < l->zone_count; zone++) {
        uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone);
        for (uint64_t span = first; span < end; span++) {
            uint64_t state = layout_span_state(l, span);
            if (!span_is_reserved(state) || !extent_take(instance, span, state))
                continue;
            uint64_t count = extent_claimed_length(l, span);
            extent_give_back(instance, span, count);
            taken += count;
        }
    }
    return taken;
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
    int rc = extent_claim(instance, count, count << SPAN_SHIFT, modulus, node, &first);
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

bool extent_covers(const struct layout *layout, uint64_t first, uint64_t state, uint64_t span)
{
    return (span_kind(state) == SPAN_SLAB || span_kind(state) == SPAN_EXTENT) &&
           span - first < extent_length(layout, first);
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
    release(instance, first, count, count);
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
    uint64_t present = layout_present(l, l->span_count);

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
        uint64_t wanted =
            min_u64(room, max_u64(count > there ? count - there : 1, present / GROWTH_PART));
        for (; wanted != 0 && zone < end; zone++) {
            uint64_t before = fam_load(&layout_zone(l, zone)->spans);
            uint64_t add = min_u64(wanted, layout_zone_limit(l, zone) - before);
            int rc = add == 0 ? 0 : layout_extend_zone(l, zone, before + add);
            if (rc != 0)
                return rc;
            wanted -= add;
        }
        set_shares(instance, true);
        return 0;
    }
    return error_set(ENOMEM, "%s: the heap is full and cannot grow", l->region.files[0].path);
}

bool extent_would_grow_by(const struct instance *instance, uint64_t count)
{
    const struct layout *l = &instance->layout;
    uint64_t present = layout_present(l, l->span_count);
    uint64_t room = l->file_spans * l->region.file_count - present;
    return count < min_u64(room, present / GROWTH_PART);
}

bool extent_zone_unused(const struct layout *l, uint64_t zone)
{
    uint64_t first = zone << l->zone_shift;
    struct run run = next_run(l, zone, first, 0, l->zone_spans);
    return run.first == first && run.end == first + layout_zone_spans(l, zone);
}

/* Whether there is memory behind some span of a chunk. */
static bool has_memory(const struct layout *l, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (layout_span_backed(l, first + i, 1))
            return true;
    return false;
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
        if (!has_memory(l, first, count))
            continue;
        /* Held as a claimed run, so that nobody relies on the memory while it goes. */
        struct run run = next_run(l, zone, first, 0, l->zone_spans);
        if (run.first != first || run.end < first + count || claim_run(instance, first, count) != 0)
            continue;
        fam_and(layout_backed(l, first), ~layout_chunk_bit(l, first));
        layout_flush(l, layout_backed(l, first));
        for (uint64_t i = 0; i < count; i++) {
            fam_store(&layout_record(l, first + i)->backed, 0);
            layout_flush(l, &layout_record(l, first + i)->backed);
        }
        layout_fence(l); /* before the memory goes */
        region_punch(&l->region, layout_span_offset(l, first), count << SPAN_SHIFT);
        extent_give_back(instance, first, count);
    }
}
