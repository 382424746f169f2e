/* The extent layer: runs of spans. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "inside.h"

/* Without a reserve, so that what is released is free. */
static alps_heap_t *small_heap(void)
{
    alps_heap_t *heap = inside_open(inside_create(32 * MIB, 32 * MIB, 4 * MIB), 0);
    heap->instance.reserve_max = 0;
    return heap;
}

static uint64_t claim(alps_heap_t *heap, uint64_t count, uint64_t modulus)
{
    uint64_t first;
    CHECK_ERR(
        extent_claim(&heap->instance, count, count << SPAN_SHIFT, modulus, ALPS_ANY_NODE, &first),
        0);
    return first;
}

static uint64_t free_spans(alps_heap_t *heap)
{
    const struct layout *l = heap_layout(heap);
    uint64_t count = 0;
    for (uint64_t zone = 0; zone < l->zone_count; zone++)
        for (uint64_t i = 0; i < fam_load(&layout_zone(l, zone)->spans); i++)
            count += layout_span_state(l, (zone << l->zone_shift) + i) == SPAN_FREE;
    return count;
}

TEST(extent, a_claimed_run_is_one_head_and_tails)
{
    alps_heap_t *heap = small_heap();
    uint64_t before = free_spans(heap), first = claim(heap, 5, 1);
    CHECK_EQ(inside_state(heap, first), span_claimed(heap->instance.owner));
    for (uint64_t i = 1; i < 5; i++)
        CHECK_EQ(inside_state(heap, first + i), span_tail(i));
    CHECK_EQ(extent_claimed_length(heap_layout(heap), first), 5);
    CHECK_EQ(free_spans(heap), before - 5);
    inside_check(heap);
    extent_release(&heap->instance, first, 5);
    CHECK_EQ(free_spans(heap), before);
}

TEST(extent, runs_do_not_overlap_and_all_spans_can_be_had)
{
    alps_heap_t *heap = small_heap();
    uint64_t spans = free_spans(heap), taken = 0, first;
    for (uint64_t count = 7; count > 0; count--)
        while (inside_claim(&heap->instance, count, &first) == 0)
            taken += count;
    CHECK_EQ(taken, spans);
    CHECK_EQ(free_spans(heap), 0);
    inside_check(heap);
}

TEST(extent, a_run_crosses_zones)
{
    alps_heap_t *heap = small_heap();
    const struct layout *l = heap_layout(heap);
    uint64_t count = 3 * l->zone_spans + 7, first = claim(heap, count, 1);
    CHECK_LT(layout_zone_of(l, first), layout_zone_of(l, first + count - 1) - 1);
    inside_check(heap);
    extent_release(&heap->instance, first, count);

    /* Also when no zone alone is free from its start. */
    uint64_t single[8];
    for (uint64_t zone = 0; zone < l->zone_count; zone++) {
        inside_forget_hints(heap);
        heap->instance.cursor.value = zone << l->zone_shift;
        single[zone] = claim(heap, 1, 1);
        CHECK_EQ(single[zone], zone << l->zone_shift);
    }
    uint64_t middle = 3;
    extent_release(&heap->instance, single[middle], 1);
    count = l->zone_spans + 3;
    first = claim(heap, count, 1);
    CHECK_EQ(layout_zone_of(l, first), middle - 1);
    inside_check(heap);
}

static unsigned reserved_runs(const alps_heap_t *heap)
{
    unsigned count = 0;
    for (unsigned i = 0; i < INSTANCE_SHARDS; i++)
        count += heap->instance.shards[i].reserve.count;
    return count;
}

/* Spans in reserve, of which others have taken none: a run is claimed, followed by tails, the first
 * ones of which are its own; and they are in no two runs. */
static uint64_t reserved_spans(alps_heap_t *heap)
{
    const struct layout *l = heap_layout(heap);
    const struct instance *self = &heap->instance;
    bool *seen = calloc(l->span_count, sizeof *seen);
    uint64_t count = 0;
    for (unsigned s = 0; s < INSTANCE_SHARDS; s++) {
        const struct instance_shard *shard = &self->shards[s];
        uint64_t here = 0;
        for (unsigned i = 0; i < shard->reserve.count; i++) {
            const struct instance_run *run = &shard->reserve.runs[i];
            CHECK_EQ(inside_state(heap, run->first), run->state);
            CHECK(span_is_reserved(run->state));
            CHECK_EQ(span_owner(run->state), self->owner);
            CHECK_EQ(extent_claimed_length(l, run->first), run->length);
            CHECK_LE(1, run->tailed);
            CHECK_LE(run->tailed, run->length);
            CHECK_LE(run->backed, run->length);
            for (uint64_t k = 0; k < run->length; k++) {
                CHECK(!seen[run->first + k]);
                seen[run->first + k] = true;
                if (k < run->backed)
                    CHECK(layout_span_backed(l, run->first + k, SPAN_SIZE));
                if (k != 0 && k < run->tailed)
                    CHECK_EQ(inside_state(heap, run->first + k), span_tail(k));
            }
            here += run->length;
        }
        CHECK_EQ(here, shard->reserve_spans);
        CHECK_LE(here, self->reserve_max);
        count += here;
    }
    free(seen);
    return count;
}

TEST(extent, what_is_released_stays_in_reserve_until_it_is_shrunk)
{
    alps_heap_t *heap = small_heap();
    alps_heap_t *other = inside_open(heap_name(heap), 0);
    struct instance *self = &heap->instance;
    uint64_t all = free_spans(heap), first = claim(heap, 10, 1), fixed = claim(heap, 1, 1);
    self->reserve_max = 12;
    extent_release(self, first, 10);
    CHECK_EQ(reserved_spans(heap), 10);
    CHECK_EQ(free_spans(heap), all - 11);
    inside_check(heap);

    /* Claimed from its start, released next to what is left. */
    CHECK_EQ(claim(heap, 4, 1), first);
    CHECK_EQ(extent_claimed_length(heap_layout(heap), first), 4);
    CHECK_EQ(reserved_spans(heap), 6);
    extent_release(self, first, 4);
    CHECK_EQ(reserved_runs(heap), 1);
    CHECK_EQ(reserved_spans(heap), 10);

    /* What is more than the reserve may have is free at once. */
    uint64_t second = claim(heap, 11, 1);
    extent_release(self, second, 11);
    CHECK_EQ(reserved_spans(heap), 10);
    CHECK_EQ(free_spans(heap), all - 11);

    /* Nobody else gets what is in reserve, and all of it once it is given back. */
    CHECK_EQ(inside_claim(&other->instance, all - 1, &second), -ENOMEM);
    extent_shrink(self);
    CHECK_EQ(reserved_spans(heap), 0);
    extent_release(self, fixed, 1);
    extent_shrink(self);
    CHECK_EQ(free_spans(heap), all);
    inside_check(heap);
}

/* Also of instances that were alone when they came. */
TEST(extent, a_quarter_of_the_heap_is_in_reserve_at_most)
{
    enum { INSTANCES = 12 };
    alps_heap_t *heaps[INSTANCES];
    const char *path = inside_create(32 * MIB, 32 * MIB, 4 * MIB);
    for (unsigned count = 1; count <= INSTANCES; count++) {
        heaps[count - 1] = inside_open(path, 0);
        const uint64_t all = free_spans(heaps[0]);
        uint64_t reserved = 0;
        for (unsigned i = 0; i < count; i++) {
            uint64_t runs[64];
            for (unsigned k = 0; k < 64; k++)
                runs[k] = claim(heaps[i], 4, 1);
            for (unsigned k = 0; k < 64; k++)
                extent_release(&heaps[i]->instance, runs[k], 4);
            reserved += reserved_spans(heaps[i]);
        }
        CHECK_LE(reserved, all / 4 + 1);
        CHECK_LE(all / 16, reserved);
        for (unsigned i = 0; i < count; i++) {
            extent_shrink(&heaps[i]->instance);
            inside_forget_hints(
                heaps[i]); /* it looks for free spans next, and so at who is there */
        }
    }
    inside_check(heaps[0]);
}

TEST(extent, of_equal_runs_the_one_freed_last_is_used_again)
{
    alps_heap_t *heap = small_heap();
    struct instance *self = &heap->instance;
    self->reserve_max = 100;
    uint64_t runs[3];
    for (unsigned i = 0; i < 3; i++) {
        runs[i] = claim(heap, 4, 1);
        claim(heap, 1, 1);
    }
    for (unsigned last = 0; last < 3; last++) {
        for (unsigned i = 1; i <= 3; i++)
            extent_release(self, runs[(last + i) % 3], 4);
        CHECK_EQ(claim(heap, 4, 1), runs[last]);
        CHECK_EQ(claim(heap, 4, 1), runs[(last + 2) % 3]);
        CHECK_EQ(claim(heap, 4, 1), runs[(last + 1) % 3]);
    }
    inside_check(heap);
}

TEST(extent, the_reserve_keeps_the_longest_runs)
{
    alps_heap_t *heap = small_heap();
    struct instance *self = &heap->instance;
    enum { RUNS = INSTANCE_RUNS + 20 };
    uint64_t all = free_spans(heap), firsts[RUNS], between[RUNS];
    for (unsigned i = 0; i < RUNS; i++) {
        firsts[i] = claim(heap, 1 + i % 3, 1);
        between[i] = claim(heap, 1, 1);
    }
    self->reserve_max = 400;
    for (unsigned i = 0; i < RUNS; i++)
        extent_release(self, firsts[i], 1 + i % 3);
    CHECK_EQ(reserved_runs(heap), INSTANCE_RUNS);
    uint64_t shortest = 400, longest = 0;
    for (unsigned s = 0; s < INSTANCE_SHARDS; s++)
        for (unsigned i = 0; i < self->shards[s].reserve.count; i++)
            shortest = min_u64(shortest, self->shards[s].reserve.runs[i].length);
    for (unsigned i = 0; i < RUNS; i++)
        if (inside_state(heap, firsts[i]) == SPAN_FREE)
            longest = max_u64(longest, 1 + i % 3);
    CHECK_NE(longest, 0);
    CHECK_LE(longest, shortest);
    CHECK_EQ(reserved_spans(heap) + free_spans(heap) + RUNS, all);
    inside_check(heap);
    for (unsigned i = 0; i < RUNS; i++)
        extent_release(self, between[i], 1);
    CHECK_EQ(reserved_spans(heap) + free_spans(heap), all);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(extent, a_run_in_reserve_is_cut_and_joined)
{
    alps_heap_t *heap = small_heap();
    struct instance *self = &heap->instance;
    uint64_t all = free_spans(heap), first = claim(heap, 12, 1), b = claim(heap, 5, 1);
    uint64_t c = claim(heap, 3, 1), fixed = claim(heap, 1, 1);
    self->reserve_max = 400;
    CHECK_EQ(b, first + 12);
    CHECK_EQ(c, b + 5);
    /* To the left, to the right, and between two. */
    extent_release(self, first, 12);
    extent_release(self, c, 3);
    CHECK_EQ(reserved_runs(heap), 2);
    extent_release(self, b, 5);
    CHECK_EQ(reserved_runs(heap), 1);
    CHECK_EQ(reserved_spans(heap), 20);
    inside_check(heap);
    /* Over the borders of what came together, and out of the middle of it. */
    CHECK_EQ(claim(heap, 14, 1), first);
    CHECK_EQ(extent_claimed_length(heap_layout(heap), first), 14);
    for (uint64_t k = 1; k < 14; k++)
        CHECK_EQ(inside_state(heap, first + k), span_tail(k));
    CHECK_EQ(claim(heap, 4, 1), first + 14);
    for (uint64_t k = 1; k < 4; k++)
        CHECK_EQ(inside_state(heap, first + 14 + k), span_tail(k));
    CHECK_EQ(reserved_spans(heap), 2);
    inside_check(heap);
    extent_release(self, first, 14);
    extent_release(self, first + 14, 4);
    extent_release(self, fixed, 1);
    extent_shrink(self);
    CHECK_EQ(free_spans(heap), all);
}

TEST(extent, others_may_take_what_is_in_reserve)
{
    alps_heap_t *heap = small_heap();
    alps_heap_t *other = inside_open(heap_name(heap), 0);
    struct instance *self = &heap->instance;
    uint64_t all = free_spans(heap), count = heap_layout(heap)->zone_spans + 7, first;
    self->reserve_max = 400;
    extent_release(self, claim(heap, count, 1), count);
    CHECK_EQ(reserved_spans(heap), count);
    CHECK_EQ(inside_claim(&other->instance, all - 1, &first), -ENOMEM);
    CHECK_EQ(extent_shrink_all(&other->instance), count);
    CHECK_EQ(extent_shrink_all(&other->instance), 0);
    CHECK_EQ(free_spans(heap), all);
    first = claim(other, all - 1, 1);
    /* What is noted of it is not true any more. */
    uint64_t second;
    CHECK_EQ(inside_claim(self, 2, &second), -ENOMEM);
    CHECK_EQ(reserved_runs(heap), 0);
    extent_give_back(&other->instance, first, all - 1);
    inside_check(heap);
}

/* Several instances on a heap that is too small for them, by one thread or by several: nobody gets
 * what another one has. */
enum { RIVALS = 3, RIVAL_RUNS = 40 };
struct rival {
    alps_heap_t *heap;
    uint8_t *taken; /* by span */
    struct test_rng rng;
    uint64_t firsts[RIVAL_RUNS], counts[RIVAL_RUNS];
    unsigned held;
};

static void rival_mark(struct rival *r, uint64_t first, uint64_t count, uint8_t before)
{
    for (uint64_t k = 0; k < count; k++)
        CHECK_EQ(__atomic_exchange_n(&r->taken[first + k], !before, __ATOMIC_RELAXED), before);
}

static void rival_release(struct rival *r)
{
    unsigned k = (unsigned)test_rng_below(&r->rng, r->held);
    rival_mark(r, r->firsts[k], r->counts[k], 1);
    extent_release(&r->heap->instance, r->firsts[k], r->counts[k]);
    r->held--;
    r->firsts[k] = r->firsts[r->held];
    r->counts[k] = r->counts[r->held];
}

static void rival_step(struct rival *r)
{
    struct instance *self = &r->heap->instance;
    uint64_t count = 1 + test_rng_below(&r->rng, 30), first;
    if (r->held == RIVAL_RUNS || (r->held != 0 && test_rng_below(&r->rng, 2) == 0)) {
        rival_release(r);
    } else if (inside_claim(self, count, &first) == 0) {
        rival_mark(r, first, count, 0);
        r->firsts[r->held] = first;
        r->counts[r->held++] = count;
    } else if (test_rng_below(&r->rng, 4) == 0) {
        extent_shrink(self);
    } else {
        extent_shrink_all(self);
    }
}

static void rivals_open(struct rival *rivals, alps_heap_t *heap)
{
    uint8_t *taken = calloc(heap_layout(heap)->span_count, 1);
    for (unsigned i = 0; i < RIVALS; i++) {
        rivals[i] = (struct rival){.taken = taken, .rng = test_rng(i)};
        rivals[i].heap = i == 0 ? heap : inside_open(heap_name(heap), 0);
        rivals[i].heap->instance.reserve_max = 100;
    }
}

static void rivals_close(struct rival *rivals, uint64_t all)
{
    alps_heap_t *heap = rivals[0].heap;
    for (unsigned i = 0; i < RIVALS; i++) {
        while (rivals[i].held != 0)
            rival_release(&rivals[i]);
        extent_shrink(&rivals[i].heap->instance);
    }
    inside_check(heap);
    CHECK_EQ(free_spans(heap), all);
    free(rivals[0].taken);
    for (unsigned i = 0; i < RIVALS; i++)
        CHECK_ERR(alps_heap_close(rivals[i].heap), 0);
}

TEST(extent, rivals_by_turns)
{
    alps_heap_t *heap = small_heap();
    uint64_t all = free_spans(heap);
    struct rival rivals[RIVALS];
    rivals_open(rivals, heap);
    for (unsigned i = 0; i < 60000; i++) {
        rival_step(&rivals[test_rng_below(&rivals[0].rng, RIVALS)]);
        if (i % 1000 == 0)
            inside_check(heap);
    }
    rivals_close(rivals, all);
}

static void *rival_live(void *argument)
{
    for (unsigned i = 0; i < 30000; i++)
        rival_step(argument);
    return NULL;
}

TEST(extent, rivals_at_a_time)
{
    alps_heap_t *heap = small_heap();
    uint64_t all = free_spans(heap);
    struct rival rivals[RIVALS];
    pthread_t threads[RIVALS];
    rivals_open(rivals, heap);
    for (unsigned i = 0; i < RIVALS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, rival_live, &rivals[i]), 0);
    for (unsigned i = 0; i < RIVALS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    rivals_close(rivals, all);
}

enum { TEAM = 8 };
struct team {
    alps_heap_t *heap;
    pthread_barrier_t start, end;
};

static void *claim_with_others(void *context)
{
    struct team *team = context;
    pthread_barrier_wait(&team->start);
    uint64_t first = claim(team->heap, 1, 1);
    pthread_barrier_wait(&team->end); /* all are there until all have a shard */
    extent_give_back(&team->heap->instance, first, 1);
    return NULL;
}

TEST(extent, threads_that_come_at_a_time_have_shards_of_their_own)
{
    struct team team = {.heap = small_heap()};
    const struct instance_shard *shards = team.heap->instance.shards;
    CHECK_EQ(pthread_barrier_init(&team.start, NULL, TEAM), 0);
    CHECK_EQ(pthread_barrier_init(&team.end, NULL, TEAM), 0);
    for (unsigned round = 0; round < 2000; round++) {
        uint64_t before[INSTANCE_SHARDS];
        for (unsigned i = 0; i < INSTANCE_SHARDS; i++)
            before[i] = shards[i].claims;
        pthread_t threads[TEAM];
        for (unsigned i = 0; i < TEAM; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, claim_with_others, &team), 0);
        for (unsigned i = 0; i < TEAM; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        for (unsigned i = 0; i < INSTANCE_SHARDS; i++)
            CHECK_LE(shards[i].claims, before[i] + 1);
    }
    inside_check(team.heap);
    pthread_barrier_destroy(&team.start);
    pthread_barrier_destroy(&team.end);
    CHECK_ERR(alps_heap_close(team.heap), 0);
}

static void reserve_and_die(void *context)
{
    alps_heap_t *heap = inside_open(context, 0);
    heap->instance.reserve_max = 100;
    /* Across the border of two zones, of which only the first was touched by the claim. */
    uint64_t count = heap_layout(heap)->zone_spans + 7;
    extent_release(&heap->instance, claim(heap, count, 1), count);
    CHECK_EQ(reserved_spans(heap), count);
    raise(SIGKILL);
}

TEST(extent, the_heir_gives_the_reserve_back)
{
    alps_heap_t *heap = small_heap();
    uint64_t all = free_spans(heap);
    char path[256];
    snprintf(path, sizeof path, "%s", heap_name(heap));
    test_join_killed(test_fork(reserve_and_die, path), SIGKILL);
    CHECK_EQ(free_spans(heap), all - heap_layout(heap)->zone_spans - 7);
    struct alps_recovery report = {.struct_size = sizeof report};
    CHECK_ERR(alps_recover(heap, &report), 0);
    CHECK_EQ(free_spans(heap), all);
    inside_check(heap);
}

TEST(extent, alignment_is_of_the_offset)
{
    alps_heap_t *heap = small_heap();
    claim(heap, 1, 1);
    for (uint64_t modulus = 2; modulus <= 128; modulus *= 2) {
        uint64_t first = claim(heap, 1, modulus);
        CHECK_EQ(layout_span_offset(heap_layout(heap), first) % (modulus * SPAN_SIZE), 0);
    }
}

TEST(extent, a_stale_hint_never_hides_a_run)
{
    alps_heap_t *heap = small_heap();
    struct test_rng rng = test_rng(0);
    uint64_t firsts[512], counts[512], held = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t count = 1 + test_rng_below(&rng, 40), first;
        if (held < 512 && test_rng_below(&rng, 2) == 0) {
            int rc = inside_claim(&heap->instance, count, &first);
            if (rc == 0) {
                firsts[held] = first;
                counts[held++] = count;
                continue;
            }
            CHECK_EQ(rc, -ENOMEM);
            /* Then there really is none: look at every span. */
            const struct layout *l = heap_layout(heap);
            uint64_t run = 0;
            for (uint64_t span = 0; span < l->span_count; span++) {
                bool exists = (span & (l->zone_spans - 1)) <
                              fam_load(&layout_zone(l, layout_zone_of(l, span))->spans);
                run = exists && layout_span_state(l, span) == SPAN_FREE ? run + 1 : 0;
                CHECK(run < count);
            }
        } else if (held > 0) {
            uint64_t k = test_rng_below(&rng, held);
            extent_release(&heap->instance, firsts[k], counts[k]);
            firsts[k] = firsts[--held];
            counts[k] = counts[held];
        }
    }
    inside_check(heap);
}

TEST(extent, memory_is_behind_what_is_claimed_and_trimmed_when_free)
{
    const char *path = inside_create(64 * MIB, 64 * MIB, 8 * MIB);
    alps_heap_t *heap = inside_open(path, 0);
    const struct layout *l = heap_layout(heap);
    struct stat before, during, after;
    CHECK_EQ(stat(path, &before), 0);
    uint64_t count = 40 * MIB / SPAN_SIZE, first = claim(heap, count, 1);
    CHECK_EQ(stat(path, &during), 0);
    CHECK_LE(before.st_blocks * 512 + 40 * (int64_t)MIB, during.st_blocks * 512);
    extent_release(&heap->instance, first, count);
    for (uint64_t zone = 0; zone < l->zone_count; zone++)
        extent_trim(&heap->instance, zone);
    CHECK_EQ(stat(path, &after), 0);
    CHECK_LE(after.st_blocks * 512, before.st_blocks * 512 + 2 * (int64_t)MIB);
    CHECK_EQ(free_spans(heap), l->file_spans);
    inside_check(heap);

    /* Of a zone in use the free chunks go. */
    first = claim(heap, 1, 1);
    uint64_t zone = layout_zone_of(l, first);
    uint64_t more = claim(heap, l->zone_spans - 1, 1);
    extent_release(&heap->instance, more, l->zone_spans - 1);
    extent_trim(&heap->instance, zone);
    uint64_t chunk = (first & (l->zone_spans - 1)) >> l->chunk_shift;
    CHECK_EQ(fam_load(&layout_zone(l, zone)->backed[0]), (uint64_t)1 << chunk);
}

TEST(extent, what_comes_to_a_chunk_finds_its_memory_there)
{
    const char *path = inside_create(61 * MIB, 1024 * MIB, 512 * MIB);
    alps_heap_t *heap = inside_open(path, 0);
    const struct layout *l = heap_layout(heap);
    uint64_t chunk = (uint64_t)1 << l->chunk_shift, spans = fam_load(&layout_zone(l, 0)->spans);
    CHECK_NE(spans % chunk, 0);
    CHECK_EQ(claim(heap, spans, 1), 0);
    extent_release(&heap->instance, 0, spans);

    /* Another process may make the rest of the last chunk exist, and use it, while this one holds
     * the part that it knows: trimming must leave that chunk alone. */
    extent_trim(&heap->instance, 0);
    CHECK_EQ(fam_load(&layout_zone(l, 0)->backed[0]), (uint64_t)1 << (spans / chunk));
    struct stat before, after;
    CHECK_EQ(stat(path, &before), 0);
    uint64_t rest = chunk - spans % chunk;
    CHECK_ERR(layout_extend_zone(heap_layout(heap), 0, spans + rest), 0);
    CHECK_EQ(stat(path, &after), 0);
    CHECK_EQ((uint64_t)(after.st_blocks - before.st_blocks) * 512, rest * SPAN_SIZE);
    extent_trim(&heap->instance, 0);
    CHECK_EQ(fam_load(&layout_zone(l, 0)->backed[0]), 0);
    inside_check(heap);
}

TEST(extent, blocks_of_their_own_spans)
{
    alps_heap_t *heap = small_heap();
    struct instance *self = &heap->instance;
    alps_ptr_t block;
    CHECK_ERR(extent_alloc(self, 3 * SPAN_SIZE + 1, 16, ALPS_ANY_NODE, NULL, &block), 0);
    uint64_t span = layout_span_of(heap_layout(heap), block), state = inside_state(heap, span);
    CHECK_EQ(span_kind(state), SPAN_EXTENT);
    CHECK_EQ(extent_length(heap_layout(heap), span), 4);
    inside_check(heap);
    CHECK_EQ(extent_free(self, span, state), 0);
    CHECK_EQ(extent_free(self, span, state), -EALREADY);
    /* The same span again: the old state is not mistaken for the new one. */
    self->cursor.value = span;
    CHECK_ERR(extent_alloc(self, 3 * SPAN_SIZE + 1, 16, ALPS_ANY_NODE, NULL, &block), 0);
    CHECK_EQ(layout_span_of(heap_layout(heap), block), span);
    CHECK_EQ(extent_free(self, span, state), -EALREADY);
    CHECK_EQ(alps_free(heap, block), 0);
}

TEST(extent, growth_adds_a_row_and_stops_at_the_capacity)
{
    alps_heap_t *heap = inside_open(inside_create(16 * MIB, 128 * MIB, 4 * MIB), 0);
    CHECK_LT(free_spans(heap), 900);
    CHECK_ERR(extent_grow(&heap->instance, 900), 0);
    claim(heap, 900, 1);
    CHECK_ERR(extent_grow(&heap->instance, 100000), -ENOMEM);
    while (extent_grow(&heap->instance, 1) == 0)
        ;
    CHECK_EQ(free_spans(heap), heap_layout(heap)->file_spans - 900);
    inside_check(heap);
}
