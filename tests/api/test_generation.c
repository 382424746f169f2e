/* Generations: what bulk free, commit and recovery do to exactly which blocks; what a walk shows.
 * */
#include <alps/alps.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "blocks.h"
#include "test.h"

/* Allocates blocks of all sizes with contents. */
static void allocate(alps_heap_t *heap, struct test_rng *rng, unsigned count, alps_gen_t generation,
                     struct blocks *blocks)
{
    for (unsigned i = 0; i < count; i++) {
        size_t size = rng_size(rng, 1 * MIB);
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        blocks_add(blocks, block_begin(heap, NULL, p, size, test_rng_next(rng), generation));
    }
}

/* Frees some of them, by any handle. */
static void free_some(alps_heap_t *heap, struct test_rng *rng, size_t count, struct blocks *blocks)
{
    for (size_t i = 0; i < count; i++) {
        struct block block = blocks_take(blocks, test_rng_below(rng, blocks->count));
        block_end(heap, NULL, &block);
        CHECK_ERR(alps_free(heap, block.ptr), 0);
    }
}

static void verify(alps_heap_t *heap, const struct blocks *blocks)
{
    for (size_t i = 0; i < blocks->count; i++)
        block_verify(heap, &blocks->items[i]);
}

/* Sets the generation that is expected of all. */
static void expect_generation(struct blocks *blocks, alps_gen_t generation)
{
    for (size_t i = 0; i < blocks->count; i++)
        blocks->items[i].generation = generation;
}

/* The heap has the blocks of these lists and no others. */
static void expect_lists(alps_heap_t *heap, const struct blocks *a, const struct blocks *b)
{
    struct blocks all = {0};
    blocks_append(&all, a);
    if (b != NULL)
        blocks_append(&all, b);
    blocks_expect(heap, &all);
    verify(heap, &all);
    blocks_clear(&all);
}

TEST(bulk_free, releases_its_generation_and_nothing_else)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 1 * GIB);
    struct test_rng rng = test_rng(1);
    enum { GENERATIONS = 6 };
    struct blocks lists[GENERATIONS] = {0};
    alps_gen_t generations[GENERATIONS];
    /* Overlapping openings, so that slabs and spans lie side by side. */
    alps_heap_t *heaps[GENERATIONS], *keeper = heap_open(path);
    for (unsigned i = 0; i < GENERATIONS; i++) {
        heaps[i] = heap_open(path);
        generations[i] = alps_heap_generation(heaps[i]);
    }
    for (unsigned round = 0; round < blocks_scaled(20); round++)
        for (unsigned i = 0; i < GENERATIONS; i++) {
            allocate(heaps[i], &rng, 10, generations[i], &lists[i]);
            free_some(heaps[(i + round) % GENERATIONS], &rng, 3, &lists[i]);
        }
    for (unsigned i = 0; i < GENERATIONS; i++) {
        CHECK_ERR(alps_bulk_free(keeper, generations[i]), -EBUSY);
        CHECK_ERR(alps_heap_close(heaps[i]), 0);
    }
    static const unsigned order[GENERATIONS] = {3, 0, 5, 1, 4, 2};
    for (unsigned k = 0; k <= GENERATIONS; k++) {
        struct blocks rest = {0};
        for (unsigned j = k; j < GENERATIONS; j++)
            blocks_append(&rest, &lists[order[j]]);
        expect_lists(keeper, &rest, NULL);
        blocks_clear(&rest);
        if (k == GENERATIONS)
            break;
        CHECK_ERR(alps_bulk_free(keeper, generations[order[k]]), 0);
        CHECK_ERR(alps_bulk_free(keeper, generations[order[k]]), -ENOENT);
        blocks_clear(&lists[order[k]]);
    }
    CHECK_EQ(blocks_stats(keeper).live_blocks, 0);
    /* All of the heap can be had again. */
    alps_ptr_t p = alps_malloc(keeper, 900 * MIB, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(keeper, p), 0);
    CHECK_ERR(alps_heap_close(keeper), 0);
}

TEST(commit, of_a_closed_generation_makes_its_blocks_permanent)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 512 * MIB);
    struct test_rng rng = test_rng(1);
    struct blocks committed = {0}, later = {0};
    alps_heap_t *heap = heap_open(path);
    alps_gen_t generation = alps_heap_generation(heap);
    allocate(heap, &rng, 300, generation, &committed);
    CHECK_ERR(alps_heap_close(heap), 0);

    heap = heap_open(path);
    expect_lists(heap, &committed, NULL);
    CHECK_ERR(alps_commit(heap, generation), 0);
    int rc = alps_commit(heap, generation);
    CHECK_ERR(rc, 0); /* twice is no error */
    expect_generation(&committed, ALPS_PERMANENT);
    expect_lists(heap, &committed, NULL);
    rc = alps_bulk_free(heap, generation);
    CHECK(rc == 0 || rc == -ENOENT);
    expect_lists(heap, &committed, NULL);

    /* Others use the gaps of the same slabs, and are freed without them. */
    for (int round = 0; round < 4; round++) {
        free_some(heap, &rng, 20, &committed);
        alps_gen_t own = alps_heap_generation(heap);
        allocate(heap, &rng, 200, own, &later);
        expect_lists(heap, &committed, &later);
        CHECK_ERR(alps_heap_close(heap), 0);
        heap = heap_open(path);
        free_some(heap, &rng, 20, &later);
        free_some(heap, &rng, 10, &committed);
        CHECK_ERR(alps_bulk_free(heap, own), 0);
        blocks_clear(&later);
        expect_lists(heap, &committed, NULL);
    }
    heap_free_all(heap, &committed);
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(commit, of_the_own_generation_holds_for_later_blocks_too)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 512 * MIB);
    struct test_rng rng = test_rng(1);
    struct blocks blocks = {0};
    alps_heap_t *heap = heap_open(path), *other = heap_open(path);
    alps_gen_t generation = alps_heap_generation(heap);
    allocate(heap, &rng, 100, generation, &blocks);
    expect_lists(heap, &blocks, NULL);
    CHECK_ERR(alps_commit(other, generation), -EBUSY);
    CHECK_ERR(alps_commit(heap, generation), 0);
    CHECK_ERR(alps_commit(heap, generation), 0);
    CHECK_ERR(alps_commit(heap, ALPS_PERMANENT), 0);
    expect_generation(&blocks, ALPS_PERMANENT);
    expect_lists(heap, &blocks, NULL);
    allocate(heap, &rng, 100, ALPS_PERMANENT, &blocks);
    free_some(heap, &rng, 50, &blocks);
    expect_lists(other, &blocks, NULL);
    CHECK_ERR(alps_heap_close(heap), 0);
    int rc = alps_bulk_free(other, generation);
    CHECK(rc == 0 || rc == -ENOENT);
    expect_lists(other, &blocks, NULL);
    heap_free_all(other, &blocks);
    CHECK_ERR(alps_heap_close(other), 0);
}

TEST(commit, permanent_openings_allocate_permanent_blocks)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 512 * MIB);
    struct test_rng rng = test_rng(1);
    struct blocks permanent = {0}, others = {0};
    alps_heap_t *heap = heap_open_with(path, ALPS_OPEN_PERMANENT), *other = heap_open(path);
    alps_gen_t generation = alps_heap_generation(other);
    CHECK_EQ(alps_heap_generation(heap), ALPS_PERMANENT);
    for (unsigned i = 0; i < 20; i++) {
        allocate(heap, &rng, 10, ALPS_PERMANENT, &permanent);
        allocate(other, &rng, 10, generation, &others);
        free_some(other, &rng, 3, &permanent);
        free_some(heap, &rng, 3, &others);
    }
    expect_lists(heap, &permanent, &others);
    CHECK_ERR(alps_heap_close(other), 0);
    CHECK_ERR(alps_bulk_free(heap, generation), 0);
    expect_lists(heap, &permanent, NULL);
    blocks_clear(&others);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = heap_open(path);
    expect_lists(heap, &permanent, NULL);
    heap_free_all(heap, &permanent);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* ---- children that are killed ---- */

struct ward {
    const char *path;
    alps_gen_t generation;
    struct block *blocks; /* shared: what it has allocated */
    unsigned count;       /* of blocks */
    unsigned flags;       /* of its opening */
    unsigned stream;      /* of random numbers */
    bool commit;
    int ready; /* written to when it is done */
};

static void allocate_and_wait(void *context)
{
    struct ward *ward = context;
    struct test_rng rng = test_rng(ward->stream);
    struct blocks blocks = {0};
    alps_heap_t *heap = heap_open_with(ward->path, ward->flags);
    ward->generation = alps_heap_generation(heap);
    allocate(heap, &rng, ward->count / 2, ward->generation, &blocks);
    if (ward->commit)
        CHECK_ERR(alps_commit(heap, ward->generation), 0);
    allocate(heap, &rng, ward->count / 2, ward->generation, &blocks);
    if (ward->commit)
        expect_generation(&blocks, ALPS_PERMANENT);
    memcpy(ward->blocks, blocks.items, ward->count * sizeof *ward->blocks);
    CHECK_EQ(write(ward->ready, "x", 1), 1);
    for (;;)
        pause();
}

enum { WARDS = 4, WARD_BLOCKS = 100 };

/* Starts children that allocate, kills them when they have, and appends what they had. */
static void lose_children(const char *path, unsigned flags, bool commit, struct blocks *blocks,
                          alps_gen_t *generations)
{
    size_t length = WARDS * (sizeof(struct ward) + WARD_BLOCKS * sizeof(struct block));
    struct ward *wards = blocks_shared(length);
    struct block *journal = (struct block *)(void *)(wards + WARDS);
    pid_t children[WARDS];
    for (unsigned i = 0; i < WARDS; i++) {
        int ready[2];
        char byte;
        CHECK_EQ(pipe(ready), 0);
        wards[i] = (struct ward){.path = path,
                                 .blocks = journal + i * WARD_BLOCKS,
                                 .count = WARD_BLOCKS,
                                 .flags = flags,
                                 .stream = 100 + i,
                                 .commit = commit,
                                 .ready = ready[1]};
        children[i] = test_fork(allocate_and_wait, &wards[i]);
        CHECK_EQ(read(ready[0], &byte, 1), 1);
        CHECK_EQ(close(ready[0]), 0);
        CHECK_EQ(close(ready[1]), 0);
    }
    for (unsigned i = 0; i < WARDS; i++) {
        CHECK_EQ(kill(children[i], SIGKILL), 0);
        test_join_killed(children[i], SIGKILL);
        generations[i] = wards[i].generation;
        for (unsigned j = 0; j < WARD_BLOCKS; j++)
            blocks_add(blocks, wards[i].blocks[j]);
    }
    blocks_unshare(wards, length);
}

static struct alps_recovery expect_recovery(alps_heap_t *heap, const alps_gen_t *expected,
                                            unsigned count)
{
    alps_gen_t found[WARDS + 1];
    struct alps_recovery report = {
        .struct_size = sizeof report, .generations = found, .capacity = WARDS + 1};
    CHECK_ERR(alps_recover(heap, &report), 0);
    CHECK_EQ(report.count, count);
    for (unsigned i = 0; i < count; i++) {
        unsigned times = 0;
        for (unsigned j = 0; j < count; j++)
            times += found[j] == expected[i];
        CHECK_EQ(times, expected[i] == ALPS_PERMANENT ? count : 1);
    }
    return report;
}

TEST(recover, reports_the_generations_of_killed_children_and_keeps_their_blocks)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 1 * GIB);
    alps_heap_t *heap = heap_open(path), *other = heap_open(path);
    struct test_rng rng = test_rng(1);
    struct blocks own = {0}, lost = {0};
    allocate(heap, &rng, 100, alps_heap_generation(heap), &own);
    alps_gen_t generations[WARDS];
    lose_children(path, 0, false, &lost, generations);
    expect_lists(heap, &own, &lost);
    CHECK_EQ(blocks_stats(heap).instances, 2);
    CHECK_EQ(blocks_stats(heap).dead_instances, WARDS);

    struct alps_recovery report = expect_recovery(heap, generations, WARDS);
    CHECK_EQ(report.live, 2);
    CHECK(report.zones >= 1);
    CHECK_EQ(blocks_stats(heap).dead_instances, 0);
    expect_lists(heap, &own, &lost);
    expect_recovery(heap, NULL, 0);
    expect_recovery(other, NULL, 0);
    CHECK_ERR(alps_recover(heap, NULL), 0);

    /* One generation after the other is bulk-freed, some of its blocks freed before. */
    free_some(other, &rng, 100, &lost);
    for (unsigned i = 0; i < WARDS; i++) {
        CHECK_ERR(alps_bulk_free(i % 2 == 0 ? heap : other, generations[i]), 0);
        for (size_t j = lost.count; j-- > 0;)
            if (lost.items[j].generation == generations[i])
                blocks_take(&lost, j);
        expect_lists(heap, &own, &lost);
    }
    CHECK_EQ(lost.count, 0);
    expect_lists(other, &own, NULL);
    heap_free_all(heap, &own);
    blocks_clear(&lost);
    CHECK_ERR(alps_heap_close(other), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* bulk_free and commit take the dead in themselves. */
TEST(recover, is_not_needed_before_a_bulk_free_or_a_commit)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 1 * GIB);
    alps_heap_t *heap = heap_open(path);
    struct blocks lost = {0}, kept = {0};
    alps_gen_t generations[WARDS];
    lose_children(path, 0, false, &lost, generations);
    CHECK_ERR(alps_commit(heap, generations[2]), 0);
    for (unsigned i = 0; i < WARDS; i++)
        if (i != 2)
            CHECK_ERR(alps_bulk_free(heap, generations[i]), 0);
    for (size_t j = 0; j < lost.count; j++)
        if (lost.items[j].generation == generations[2])
            blocks_add(&kept, lost.items[j]);
    expect_generation(&kept, ALPS_PERMANENT);
    expect_lists(heap, &kept, NULL);
    CHECK_EQ(kept.count, WARD_BLOCKS);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = heap_open(path);
    expect_lists(heap, &kept, NULL);
    heap_free_all(heap, &kept);
    blocks_clear(&lost);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(recover, the_next_opening_takes_in_the_dead)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 1 * GIB);
    struct blocks lost = {0};
    alps_gen_t generations[WARDS];
    lose_children(path, 0, false, &lost, generations);
    alps_heap_t *heap = heap_open(path);
    CHECK_EQ(blocks_stats(heap).instances, 1);
    CHECK_EQ(blocks_stats(heap).dead_instances, 0);
    expect_recovery(heap, NULL, 0);
    expect_lists(heap, &lost, NULL);
    /* Known, closed generations. */
    for (unsigned i = 0; i < WARDS; i++)
        CHECK_ERR(alps_bulk_free(heap, generations[i]), 0);
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    blocks_clear(&lost);
}

TEST(recover, committed_blocks_survive_the_end_of_their_process)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 1 * GIB);
    alps_heap_t *heap = heap_open(path);
    struct blocks lost = {0};
    alps_gen_t generations[WARDS];
    lose_children(path, 0, true, &lost, generations);
    expect_recovery(heap, generations, WARDS);
    for (unsigned i = 0; i < WARDS; i++) {
        int rc = alps_bulk_free(heap, generations[i]);
        CHECK(rc == 0 || rc == -ENOENT);
    }
    expect_lists(heap, &lost, NULL);
    heap_free_all(heap, &lost);

    /* Those of permanent openings likewise. */
    lose_children(path, ALPS_OPEN_PERMANENT, false, &lost, generations);
    expect_recovery(heap, generations, WARDS);
    expect_lists(heap, &lost, NULL);
    heap_free_all(heap, &lost);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(recover, counts_more_than_it_has_room_for)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 1 * GIB);
    alps_heap_t *heap = heap_open(path);
    struct blocks lost = {0};
    alps_gen_t generations[WARDS], found[2] = {0, 12345};
    lose_children(path, 0, false, &lost, generations);
    struct alps_recovery report = {
        .struct_size = sizeof report, .generations = found, .capacity = 1};
    CHECK_ERR(alps_recover(heap, &report), 0);
    CHECK_EQ(report.count, WARDS);
    CHECK(found[0] != 0);
    CHECK_EQ(found[1], 12345);
    blocks_clear(&lost);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* ---- walks ---- */

struct tally {
    unsigned visits, stop_at, open, committed, self, alive;
    alps_gen_t generation;
    bool found;
};

static int stop_at_block(const struct alps_block *block, void *context)
{
    struct tally *tally = context;
    (void)block;
    return ++tally->visits == tally->stop_at ? 4321 : 0;
}

static int tally_generation(const struct alps_generation *generation, void *context)
{
    struct tally *tally = context;
    tally->open += generation->open != 0;
    tally->committed += generation->committed != 0;
    tally->found |= generation->generation == tally->generation;
    return ++tally->visits == tally->stop_at ? -77 : 0;
}

static int tally_instance(const struct alps_instance *instance, void *context)
{
    struct tally *tally = context;
    tally->self += instance->self != 0;
    tally->alive += instance->alive != 0;
    if (instance->self)
        CHECK_EQ(instance->generation, tally->generation);
    if (instance->alive)
        CHECK_EQ(instance->pid, getpid());
    return ++tally->visits == tally->stop_at ? 55 : 0;
}

TEST(walk, stops_when_the_visitor_says_so)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 0);
    alps_heap_t *heap = heap_open(path);
    struct blocks blocks = {0};
    struct test_rng rng = test_rng(1);
    allocate(heap, &rng, 50, alps_heap_generation(heap), &blocks);
    for (unsigned stop = 1; stop <= 50; stop++) {
        struct tally tally = {.stop_at = stop};
        CHECK_EQ(alps_heap_walk(heap, stop_at_block, &tally), 4321);
        CHECK_EQ(tally.visits, stop);
    }
    struct tally tally = {.stop_at = 51};
    CHECK_EQ(alps_heap_walk(heap, stop_at_block, &tally), 0);
    CHECK_EQ(tally.visits, 50);
    heap_free_all(heap, &blocks);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(walk, shows_instances_and_generations)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 512 * MIB);
    struct blocks lost = {0};
    alps_heap_t *heap = heap_open(path), *other = heap_open(path);
    alps_heap_t *readonly = heap_open_with(path, ALPS_OPEN_READONLY);
    alps_gen_t generations[WARDS], own = alps_heap_generation(heap);
    lose_children(path, 0, false, &lost, generations);
    struct tally tally = {.generation = own};
    CHECK_ERR(alps_instance_walk(heap, tally_instance, &tally), 0);
    CHECK_EQ(tally.visits, 2 + WARDS);
    CHECK_EQ(tally.alive, 2);
    CHECK_EQ(tally.self, 1);
    tally = (struct tally){.stop_at = 2, .generation = own};
    CHECK_EQ(alps_instance_walk(heap, tally_instance, &tally), 55);
    CHECK_EQ(tally.visits, 2);
    tally = (struct tally){.generation = ALPS_PERMANENT};
    CHECK_ERR(alps_instance_walk(readonly, tally_instance, &tally), 0);
    CHECK_EQ(tally.visits, 2 + WARDS);
    CHECK_EQ(tally.self, 0);

    tally = (struct tally){.generation = generations[1]};
    CHECK_ERR(alps_generation_walk(heap, tally_generation, &tally), 0);
    CHECK_EQ(tally.open, 2 + WARDS); /* the dead ones are not recovered */
    CHECK_EQ(tally.committed, 0);
    CHECK(tally.found);
    CHECK_ERR(alps_recover(heap, NULL), 0);
    CHECK_ERR(alps_commit(heap, generations[1]), 0);
    CHECK_ERR(alps_bulk_free(heap, generations[2]), 0);
    tally = (struct tally){.generation = generations[2]};
    CHECK_ERR(alps_generation_walk(heap, tally_generation, &tally), 0);
    CHECK_EQ(tally.open, 2);
    CHECK(!tally.found);
    CHECK(tally.committed <= 1);
    tally = (struct tally){.stop_at = 1};
    CHECK_EQ(alps_generation_walk(readonly, tally_generation, &tally), -77);
    CHECK_EQ(tally.visits, 1);
    CHECK_ERR(alps_heap_close(readonly), 0);
    CHECK_ERR(alps_heap_close(other), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    blocks_clear(&lost);
}
