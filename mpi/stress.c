/* alps-mpi-stress: ranks allocate from one heap, read and free each other's blocks, and check
 * every byte.
 *
 * Idea: each rank has a working set of blocks, all filled with patterns of their own. Who gets the
 * blocks that go is the workload: the rank itself (private), the next one (neighbour), the odd one
 * of two, which allocates nothing (pairs), or all others (all-to-all, and with large blocks large).
 * A round:
 *
 *   1. Churn: free what is doomed and allocate as many blocks anew, one by one in turn, in all
 *      ranks at once. So mallocs meet the frees of others in the same slabs.
 *   2. Fill the new blocks.
 *   3. Retire a random half. Its pointers are published: dealt out by message to the ranks of the
 *      domain that the workload says, in equal shares.
 *   4. Verify: each rank its whole working set, and what was published to it.
 *   5. Doom what was retired, in random order. With all-to-all some blocks are freed by their
 *      owner, some by the rank that they were published to: both sides tell which from a hash of
 *      the block, without a word. The frees are the next round's.
 *
 * All ranks agree before step 1 that nothing is wrong, which also keeps frees away from readers,
 * and on its end, which keeps the other steps out of the time that it takes.
 *
 * Reading the clock costs as much as a malloc. So rounds take turns: in even ones the churn is
 * timed as a whole, from the first rank that begins to the last that ends; in odd ones each call is
 * timed. The throughput is that of the median round, so that a rank kept off its processor does not
 * decide it; the latencies show how often that happens. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <emu/emu.h>

#include "driver.h"
#include "emulation.h"
#include "harness/clock.h"
#include "harness/histogram.h"
#include "harness/pattern.h"
#include "harness/random.h"
#include "harness/stats.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (KIB * KIB)
#define LARGE_ONE_IN 256 /* blocks that may be larger than --max-size */

/* The workload large. */
#define LARGE_MIN MIB
#define LARGE_MAX (16 * MIB)
#define LARGE_BLOCKS 1000 /* it has one block for so many of --blocks */

#define CLASSES_MAX 256   /* lines of a file of sizes */
#define STEPS_A_DECADE 10 /* of the latencies' curves */

enum workload { ALL_TO_ALL, PRIVATE, NEIGHBOUR, PAIRS, LARGE, WORKLOADS };
static const char *const workload_names[] = {"all-to-all", "private", "neighbour",
                                             "pairs",      "large",   NULL};
enum hints { HINTS_NONE, HINTS_OWN, HINTS_MIXED };
static const char *const hint_names[] = {"none", "own", "mixed", NULL};

static uint64_t workloads = 1 << ALL_TO_ALL;
static unsigned hints;
static const char *sizes_file;

static uint64_t blocks = 10000;
static uint64_t min_size = 16;
static uint64_t max_size = 4 * KIB;
static uint64_t large_size = KIB * KIB;
static uint64_t remote_frees = 50;

/* What sizes_file says: blocks of least..most bytes, in below of the total weight. */
static struct size_class {
    uint64_t least, most, below;
} classes[CLASSES_MAX];
static size_t class_count;

static const bh_option_t options[] = {
    {.name = "workload",
     .letter = 'w',
     .kind = BH_OPTION_CHOICES,
     .value = &workloads,
     .argument = "LIST",
     .help = "all-to-all, private, neighbour, pairs, large (default all-to-all)",
     .choices = workload_names},
    {.name = "blocks",
     .letter = 'b',
     .kind = BH_OPTION_COUNT,
     .value = &blocks,
     .argument = "N",
     .help = "working set of each rank (default 10000)",
     .min = 2,
     .max = 4000000},
    {.name = "min-size",
     .kind = BH_OPTION_SIZE,
     .value = &min_size,
     .argument = "SIZE",
     .help = "smallest block (default 16)",
     .min = 1},
    {.name = "max-size",
     .kind = BH_OPTION_SIZE,
     .value = &max_size,
     .argument = "SIZE",
     .help = "largest block but for one in 256; small ones are more (default 4K)",
     .min = 1},
    {.name = "large-size",
     .kind = BH_OPTION_SIZE,
     .value = &large_size,
     .argument = "SIZE",
     .help = "largest of the one in 256 (default 1M)",
     .min = 1},
    {.name = "sizes",
     .kind = BH_OPTION_TEXT,
     .value = &sizes_file,
     .argument = "FILE",
     .help = "sizes of blocks instead: lines of SIZE WEIGHT or SIZE-SIZE WEIGHT"},
    {.name = "hints",
     .kind = BH_OPTION_CHOICE,
     .value = &hints,
     .argument = "KIND",
     .help = "node hints: none, own (of each rank), mixed; of the heap's (default none)",
     .choices = hint_names},
    {.name = "remote-frees",
     .kind = BH_OPTION_COUNT,
     .value = &remote_frees,
     .argument = "PERCENT",
     .help = "frees of all-to-all and large by another than the owner (default 50)",
     .max = 100},
    {.name = NULL},
};

/* One allocated block: what its contents follow from. Sent as it is, by number of words. */
struct block {
    alps_ptr_t ptr; /* ALPS_NULL: not allocated yet, or it could not be */
    uint64_t size;
    uint64_t owner; /* rank */
    uint64_t serial;
    int64_t node; /* wanted */
};
#define BLOCK_WORDS ((int)(sizeof(struct block) / sizeof(uint64_t)))

/* What a rank measures in a repetition. Nothing but words, so that MPI can add them up. */
struct measures {
    bh_hist_t malloc_ns;
    bh_hist_t free_ns;
    uint64_t mallocs;
    uint64_t frees;
    uint64_t remote_frees;
    uint64_t verified_bytes;
    uint64_t hinted; /* blocks asked for on a node */
    uint64_t placed; /* of these, that are there */
};
#define MEASURES_WORDS ((int)(sizeof(struct measures) / sizeof(uint64_t)))

/* What goes to each rank of the domain, or comes from it: words, and where they begin. */
struct deal {
    int *counts, *offsets;
    size_t blocks; /* in all */
};

struct stress {
    struct driver_group *group;
    enum workload workload;
    bh_rng_t rng;
    uint64_t serial;   /* of the next block */
    struct block *set; /* the working set: set_count blocks, the last fresh_count to be had yet */
    struct block *retired;   /* of this rank, by the rank they go to: out.blocks */
    struct block *published; /* by others to this rank: in.blocks */
    struct deal out, in;
    alps_ptr_t *doomed; /* what this rank frees next */
    size_t set_count, fresh_count, doomed_count;
    struct measures *mine;
    uint64_t rounds;     /* played in all */
    bh_hist_t *churn_ns; /* of this repetition's even rounds */
};

/* Results of the repetitions of a group, on rank 0. */
struct results {
    struct measures *all; /* of all ranks, in one repetition */
    bh_hist_t *malloc_ns; /* of all repetitions */
    bh_hist_t *free_ns;
    double *mops;
};

/* ---- a round ------------------------------------------------------------------------------- */

static uint64_t draw_size(struct stress *s)
{
    if (s->workload == LARGE)
        return bh_rng_log_uniform(&s->rng, LARGE_MIN, LARGE_MAX);
    if (class_count > 0) {
        const uint64_t at = bh_rng_below(&s->rng, classes[class_count - 1].below);
        const struct size_class *class = classes;
        while (at >= class->below)
            class ++;
        return bh_rng_between(&s->rng, class->least, class->most);
    }
    if (large_size > max_size && bh_rng_below(&s->rng, LARGE_ONE_IN) == 0)
        return bh_rng_log_uniform(&s->rng, max_size, large_size);
    return bh_rng_log_uniform(&s->rng, min_size, max_size);
}

static int draw_node(struct stress *s)
{
    const bh_list_t *nodes = &driver_options.nodes;

    if (hints == HINTS_NONE)
        return ALPS_ANY_NODE;
    return (int)nodes->items[hints == HINTS_OWN ? (size_t)s->group->rank % nodes->count
                                                : bh_rng_below(&s->rng, nodes->count)];
}

/* Makes a place in the working set ready for a new block. */
static void renew(struct stress *s, struct block *block)
{
    *block = (struct block){
        .ptr = ALPS_NULL,
        .size = draw_size(s),
        .owner = (uint64_t)s->group->rank,
        .serial = s->serial++,
        .node = draw_node(s),
    };
}

static bool times_each_call(const struct stress *s)
{
    return s->rounds % 2 == 1;
}

static void free_block(struct stress *s, alps_ptr_t ptr, bool timed)
{
    uint64_t start_ns = timed ? driver_clock_ns() : 0;
    int error = alps_free(s->group->heap, ptr);

    if (timed)
        bh_hist_record(&s->mine->free_ns, driver_clock_ns() - start_ns);
    if (error != 0)
        driver_note(s->group, DRIVER_FAIL, "cannot free block 0x%" PRIx64 ": %s (%s)", ptr,
                    alps_strerror(error), alps_error_detail());
}

static void allocate_block(struct stress *s, struct block *block, bool timed)
{
    uint64_t start_ns = timed ? driver_clock_ns() : 0;

    block->ptr = alps_malloc(s->group->heap, block->size, (int)block->node);
    if (timed)
        bh_hist_record(&s->mine->malloc_ns, driver_clock_ns() - start_ns);
    if (block->ptr == ALPS_NULL)
        driver_note(s->group, DRIVER_FAIL, "no block of %" PRIu64 " bytes: %s", block->size,
                    alps_error_detail());
}

/* Step 1. */
static void churn(struct stress *s)
{
    struct block *fresh = s->set + s->set_count - s->fresh_count;
    const bool timed = times_each_call(s);

    for (size_t i = 0; i < s->fresh_count || i < s->doomed_count; i++) {
        if (i < s->doomed_count)
            free_block(s, s->doomed[i], timed);
        if (i < s->fresh_count)
            allocate_block(s, &fresh[i], timed);
    }
    s->mine->mallocs += s->fresh_count;
    s->mine->frees += s->doomed_count;
}

/* Ends step 1 for all ranks. They learn whether rank 0 wants this round to be the last. */
static void settle(struct stress *s, uint64_t start_ns, bool *last)
{
    /* The maximum of a negated start is the earliest one. */
    int64_t words[] = {-(int64_t)start_ns, (int64_t)driver_clock_ns(), *last};

    driver_max(s->group, words, 3);
    emu_wait_until((uint64_t)words[1]);
    if (!times_each_call(s))
        bh_hist_record(s->churn_ns, (uint64_t)(words[0] + words[1]));
    *last = words[2] != 0;
}

/* Step 2. Whole blocks: what was asked for and what the allocator gave beyond that. */
static void fill(struct stress *s)
{
    for (size_t i = s->set_count - s->fresh_count; i < s->set_count; i++) {
        struct block *block = &s->set[i];
        size_t usable = alps_usable_size(s->group->heap, block->ptr);
        if (block->ptr == ALPS_NULL)
            continue;
        if (usable < block->size)
            driver_note(s->group, DRIVER_FAIL,
                        "block 0x%" PRIx64 " has %zu usable bytes of %" PRIu64, block->ptr, usable,
                        block->size);
        block->size = usable;
        if (block->node != ALPS_ANY_NODE) {
            s->mine->hinted++;
            s->mine->placed += alps_block_node(s->group->heap, block->ptr) == block->node;
        }
        emu_write(alps_deref(s->group->heap, block->ptr), block->size);
        bh_pattern_fill(alps_deref(s->group->heap, block->ptr), block->size, driver_options.seed,
                        block->owner, block->serial);
    }
}

/* Step 3: blocks taken at random make way for fresh ones. */
static void retire(struct stress *s)
{
    size_t kept = s->set_count - s->out.blocks;

    for (size_t last = s->set_count; last > kept; last--) {
        struct block *chosen = &s->set[bh_rng_below(&s->rng, last)];
        s->retired[last - 1 - kept] = *chosen;
        *chosen = s->set[last - 1];
        renew(s, &s->set[last - 1]);
    }
    s->fresh_count = s->out.blocks;
}

static void publish(struct stress *s)
{
    MPI_Request request;

    MPI_Ialltoallv(s->retired, s->out.counts, s->out.offsets, MPI_UINT64_T, s->published,
                   s->in.counts, s->in.offsets, MPI_UINT64_T, s->group->domain, &request);
    driver_wait(s->group, &request);
    if (!driver_options.inject_corruption || s->rounds > 0 || s->in.blocks == 0 ||
        s->group->rank != s->group->ranks - 1)
        return;
    unsigned char *bytes = alps_deref(s->group->heap, s->published[0].ptr);
    if (bytes != NULL)
        bytes[s->published[0].size / 2] ^= 1;
}

/* Step 4. */
static void verify(struct stress *s, const struct block *list, size_t count)
{
    for (const struct block *block = list; block < list + count; block++) {
        const unsigned char *bytes = alps_deref(s->group->heap, block->ptr);
        if (bytes == NULL)
            continue;
        emu_read(bytes, block->size);
        size_t wrong =
            bh_pattern_verify(bytes, block->size, driver_options.seed, block->owner, block->serial);
        if (wrong != BH_PATTERN_OK)
            driver_note(s->group, DRIVER_FAIL,
                        "block 0x%" PRIx64 " of rank %" PRIu64 " (its number %" PRIu64 ", %" PRIu64
                        " bytes): byte %zu is wrong, 0x%02x",
                        block->ptr, block->owner, block->serial, block->size, wrong, bytes[wrong]);
        s->mine->verified_bytes += block->size;
    }
}

/* Whether the rank that a block was published to frees it. */
static bool is_given(const struct stress *s, const struct block *block)
{
    if (s->workload == NEIGHBOUR || s->workload == PAIRS)
        return true;
    return bh_mix64(bh_mix64(driver_options.seed + block->owner) + block->serial) % 100 <
           remote_frees;
}

/* Step 5. */
static void doom(struct stress *s)
{
    const uint64_t rank = (uint64_t)s->group->rank;

    s->doomed_count = 0;
    for (size_t i = 0; i < s->out.blocks; i++)
        if (!is_given(s, &s->retired[i]))
            s->doomed[s->doomed_count++] = s->retired[i].ptr;
    for (size_t i = 0; i < s->in.blocks; i++) {
        if (!is_given(s, &s->published[i]))
            continue;
        s->doomed[s->doomed_count++] = s->published[i].ptr;
        s->mine->remote_frees += s->published[i].owner != rank;
    }
    for (size_t left = s->doomed_count; left > 1; left--) {
        alps_ptr_t *other = &s->doomed[bh_rng_below(&s->rng, left)];
        alps_ptr_t last = s->doomed[left - 1];
        s->doomed[left - 1] = *other;
        *other = last;
    }
}

/* False, in all ranks, if one had failed before. last: on rank 0 whether this is to be the last
 * round, and then on all. */
static bool play_round(struct stress *s, bool *last)
{
    if (!driver_agree(s->group))
        return false;
    uint64_t start_ns = driver_clock_ns();
    churn(s);
    settle(s, start_ns, last);
    fill(s);
    retire(s);
    publish(s);
    verify(s, s->set, s->set_count - s->fresh_count);
    verify(s, s->retired, s->out.blocks);
    verify(s, s->published, s->in.blocks);
    doom(s);
    s->rounds++;
    return true;
}

/* ---- a repetition -------------------------------------------------------------------------- */

static void write_repetition(const struct stress *s, const struct measures *all, uint64_t rounds,
                             uint64_t elapsed_ns, double mops)
{
    const bh_field_t fields[] = {
        bh_text("workload", workload_names[s->workload]),
        bh_count("ranks", (uint64_t)s->group->ranks),
        bh_count("domains", (uint64_t)s->group->domains),
        bh_count("repetition", s->group->repetitions),
        bh_count("rounds", rounds),
        bh_real("seconds", (double)elapsed_ns / (double)BH_NS_PER_S, 3),
        bh_count("mallocs", all->mallocs),
        bh_count("frees", all->frees),
        bh_count("remote_frees", all->remote_frees),
        bh_count("hinted", all->hinted),
        bh_count("placed", all->placed),
        bh_count("verified_bytes", all->verified_bytes),
        bh_real("mops_per_s", mops, 3),
        bh_count("malloc_p50_ns", bh_hist_quantile(&all->malloc_ns, 0.5)),
        bh_count("malloc_p99_ns", bh_hist_quantile(&all->malloc_ns, 0.99)),
        bh_count("malloc_p999_ns", bh_hist_quantile(&all->malloc_ns, 0.999)),
        bh_count("malloc_max_ns", bh_hist_max(&all->malloc_ns)),
        bh_count("free_p50_ns", bh_hist_quantile(&all->free_ns, 0.5)),
        bh_count("free_p99_ns", bh_hist_quantile(&all->free_ns, 0.99)),
        bh_count("free_p999_ns", bh_hist_quantile(&all->free_ns, 0.999)),
        bh_count("free_max_ns", bh_hist_max(&all->free_ns)),
    };

    driver_write_detail("repetition", fields, sizeof fields / sizeof fields[0]);
}

/* False, in all ranks, if one has failed. */
static bool repeat(struct stress *s, struct results *results)
{
    uint64_t rounds = 0;
    bool last;

    memset(s->mine, 0, sizeof *s->mine);
    memset(s->churn_ns, 0, sizeof *s->churn_ns);
    driver_begin(s->group);
    do {
        last = driver_is_over(s->group, ++rounds);
        if (!play_round(s, &last))
            return false;
    } while (!last);
    if (!driver_agree(s->group))
        return false;
    uint64_t elapsed_ns = driver_clock_ns() - s->group->start_ns;
    MPI_Reduce(s->mine, results->all, MEASURES_WORDS, MPI_UINT64_T, MPI_SUM, 0, s->group->comm);
    if (s->group->rank != 0)
        return true;
    double calls = (double)(results->all->mallocs + results->all->frees) / (double)rounds;
    double mops = calls * 1e3 / (double)bh_hist_quantile(s->churn_ns, 0.5);
    write_repetition(s, results->all, rounds, elapsed_ns, mops);
    results->mops[s->group->repetitions - 1] = mops;
    bh_hist_merge(results->malloc_ns, &results->all->malloc_ns);
    bh_hist_merge(results->free_ns, &results->all->free_ns);
    return true;
}

/* ---- a group ------------------------------------------------------------------------------- */

static void write_line(const struct stress *s, const struct results *results)
{
    const bh_stats_t mops = bh_stats(results->mops, driver_options.repeat);
    const bh_field_t fields[] = {
        bh_text("workload", workload_names[s->workload]),
        bh_count("ranks", (uint64_t)s->group->ranks),
        bh_count("domains", (uint64_t)s->group->domains),
        bh_real("mops_per_s", mops.median, 3),
        bh_real("mops_min", mops.min, 3),
        bh_real("mops_max", mops.max, 3),
        bh_count("malloc_p50_ns", bh_hist_quantile(results->malloc_ns, 0.5)),
        bh_count("malloc_p99_ns", bh_hist_quantile(results->malloc_ns, 0.99)),
        bh_count("malloc_p999_ns", bh_hist_quantile(results->malloc_ns, 0.999)),
        bh_count("malloc_max_ns", bh_hist_max(results->malloc_ns)),
        bh_count("free_p50_ns", bh_hist_quantile(results->free_ns, 0.5)),
        bh_count("free_p99_ns", bh_hist_quantile(results->free_ns, 0.99)),
        bh_count("free_p999_ns", bh_hist_quantile(results->free_ns, 0.999)),
        bh_count("free_max_ns", bh_hist_max(results->free_ns)),
    };

    driver_write_line("summary", fields, sizeof fields / sizeof fields[0]);
}

/* A curve: the quantiles that 1 in 1, 1 in 1.26, 1 in 1.58 ... calls exceed. */
static void write_latencies(const struct stress *s, const char *call, const bh_hist_t *hist)
{
    for (int step = 1; pow(10, step / (double)STEPS_A_DECADE) < (double)bh_hist_count(hist);
         step++) {
        const double quantile = 1 - pow(10, -step / (double)STEPS_A_DECADE);
        const bh_field_t fields[] = {
            bh_text("workload", workload_names[s->workload]),
            bh_count("ranks", (uint64_t)s->group->ranks),
            bh_text("call", call),
            bh_real("quantile", quantile, 9),
            bh_count("ns", bh_hist_quantile(hist, quantile)),
        };
        driver_write_detail("latency", fields, sizeof fields / sizeof fields[0]);
    }
}

/* Frees what is doomed, and what else this rank has. */
static void drain(struct stress *s)
{
    for (size_t i = 0; i < s->doomed_count; i++)
        free_block(s, s->doomed[i], false);
    for (size_t i = 0; i < s->set_count - s->fresh_count; i++)
        free_block(s, s->set[i].ptr, false);
}

static void play(struct stress *s, struct results *results)
{
    bool last = false;

    for (size_t i = 0; i < s->set_count; i++)
        renew(s, &s->set[i]);
    for (uint64_t i = 0; i < driver_options.warmup; i++) {
        if (!play_round(s, &last))
            return;
    }
    for (uint64_t i = 0; i < driver_options.repeat; i++) {
        if (!repeat(s, results))
            return;
    }
    drain(s);
    if (!driver_agree(s->group))
        return;
    if (s->group->domain_rank == 0)
        driver_inspect(s->group, 0);
    if (s->group->rank == 0) {
        write_line(s, results);
        write_latencies(s, "malloc", results->malloc_ns);
        write_latencies(s, "free", results->free_ns);
    }
    driver_agree(s->group);
}

/* How many blocks of a round go from one rank of the domain to another. */
static size_t share(const struct stress *s, int from, int to)
{
    const int ranks = s->group->domain_ranks;
    const uint64_t all = s->workload == LARGE ? blocks / LARGE_BLOCKS : blocks;
    const size_t half = all < 2 ? 1 : all / 2;
    int heir = from;

    if (s->workload == ALL_TO_ALL || s->workload == LARGE) {
        const size_t others = ranks == 1 ? 1 : (size_t)ranks - 1;
        return from == to && ranks > 1 ? 0 : half < others ? 1 : half / others;
    }
    if (s->workload == NEIGHBOUR)
        heir = (from + 1) % ranks;
    if (s->workload == PAIRS) {
        if (from % 2 == 1)
            return 0;
        heir = from + 1 < ranks ? from + 1 : from;
    }
    return to == heir ? half : 0;
}

static void add_share(struct deal *deal, int rank, size_t count)
{
    deal->counts[rank] = (int)count * BLOCK_WORDS;
    deal->offsets[rank] = (int)deal->blocks * BLOCK_WORDS;
    deal->blocks += count;
}

static void run_workload(struct driver_group *group, enum workload workload)
{
    const size_t ranks = (size_t)group->domain_ranks;
    struct stress s = {.group = group, .workload = workload};
    struct results results;

    group->repetitions = 0;
    bh_rng_seed(&s.rng, driver_options.seed, (uint64_t)group->rank);
    s.out = (struct deal){driver_alloc(ranks, sizeof(int)), driver_alloc(ranks, sizeof(int)), 0};
    s.in = (struct deal){driver_alloc(ranks, sizeof(int)), driver_alloc(ranks, sizeof(int)), 0};
    for (int rank = 0; rank < group->domain_ranks; rank++) {
        add_share(&s.out, rank, share(&s, group->domain_rank, rank));
        add_share(&s.in, rank, share(&s, rank, group->domain_rank));
    }
    s.set_count = s.fresh_count = 2 * s.out.blocks;
    s.set = driver_alloc(s.set_count + 1, sizeof *s.set);
    s.retired = driver_alloc(s.out.blocks + 1, sizeof *s.retired);
    s.published = driver_alloc(s.in.blocks + 1, sizeof *s.published);
    s.doomed = driver_alloc(s.out.blocks + s.in.blocks + 1, sizeof *s.doomed);
    s.mine = driver_alloc(1, sizeof *s.mine);
    s.churn_ns = driver_alloc(1, sizeof *s.churn_ns);
    results.all = driver_alloc(1, sizeof *results.all);
    results.malloc_ns = driver_alloc(1, sizeof *results.malloc_ns);
    results.free_ns = driver_alloc(1, sizeof *results.free_ns);
    results.mops = driver_alloc(driver_options.repeat, sizeof *results.mops);

    play(&s, &results);

    free(results.mops);
    free(results.free_ns);
    free(results.malloc_ns);
    free(results.all);
    free(s.churn_ns);
    free(s.mine);
    free(s.doomed);
    free(s.published);
    free(s.retired);
    free(s.set);
    free(s.in.offsets);
    free(s.in.counts);
    free(s.out.offsets);
    free(s.out.counts);
}

static void run(struct driver_group *group)
{
    for (int i = 0; i < WORKLOADS; i++)
        if ((workloads >> i & 1) != 0 && driver_agree(group))
            run_workload(group, (enum workload)i);
}

/* ---- the program --------------------------------------------------------------------------- */

/* The file of sizes into classes. NULL, or what is wrong. */
static const char *read_sizes(void)
{
    static char error[BH_ERROR_MAX];
    char line[256], first[64], second[64], rest[2];
    uint64_t total = 0, weight;
    FILE *file = fopen(sizes_file, "re");

    if (file == NULL) {
        snprintf(error, sizeof error, "--sizes %s: %s", sizes_file, strerror(errno));
        return error;
    }
    const char *problem = NULL;
    unsigned number = 0;
    while (problem == NULL && fgets(line, sizeof line, file) != NULL) {
        number++;
        line[strcspn(line, "#\r\n")] = '\0';
        const int words = sscanf(line, "%63s %63s %1s", first, second, rest);
        if (words <= 0)
            continue;
        struct size_class *class = &classes[class_count];
        char *dash = strchr(first, '-');
        if (dash != NULL)
            *dash = '\0';
        problem = words != 2                   ? "SIZE WEIGHT or SIZE-SIZE WEIGHT is wanted"
                  : class_count == CLASSES_MAX ? "there are too many lines"
                                               : bh_parse_size(first, &class->least);
        if (problem == NULL)
            problem = bh_parse_size(dash == NULL ? first : dash + 1, &class->most);
        if (problem == NULL)
            problem = bh_parse_count(second, &weight);
        if (problem == NULL && (class->least == 0 || class->least > class->most))
            problem = "sizes are at least 1, and the smaller one comes first";
        if (problem == NULL && (weight == 0 || weight > UINT32_MAX))
            problem = "a weight is a number from 1 to 4294967295";
        if (problem != NULL)
            break;
        total += weight;
        classes[class_count++].below = total;
    }
    if (problem != NULL)
        snprintf(error, sizeof error, "%s:%u: %s", sizes_file, number, problem);
    else if (ferror(file) || class_count == 0)
        snprintf(error, sizeof error, "--sizes %s: no sizes in it", sizes_file);
    fclose(file);
    return problem != NULL || class_count == 0 ? error : NULL;
}

static unsigned runs(void)
{
    return (unsigned)__builtin_popcountll(workloads);
}

static const char *check_options(void)
{
    if (hints != HINTS_NONE && driver_options.nodes.count == 0 &&
        emulation_options.mode != EMULATION_NUMA)
        return "--hints needs --nodes or --emu-mode numa";
    const char *problem = sizes_file == NULL ? NULL : read_sizes();
    if (problem != NULL)
        return problem;
    return min_size > max_size ? "--min-size is larger than --max-size" : NULL;
}

static size_t describe(bh_field_t *fields)
{
    size_t count = 0;

    fields[count++] = bh_count("blocks", blocks);
    fields[count++] = bh_count("min_size", min_size);
    fields[count++] = bh_count("max_size", max_size);
    fields[count++] = bh_count("large_size", large_size);
    fields[count++] = bh_count("remote_frees_percent", remote_frees);
    fields[count++] = bh_text("sizes", sizes_file == NULL ? "-" : sizes_file);
    fields[count++] = bh_text("hints", hint_names[hints]);
    return count;
}

static const struct driver_program program = {
    .name = "alps-mpi-stress",
    .purpose =
        "Ranks allocate from one heap, read and free each other's blocks, and check every byte.",
    .options = options,
    .check_options = check_options,
    .runs = runs,
    .describe = describe,
    .run = run,
};

int main(int argc, char **argv)
{
    return driver_main(&program, argc, argv);
}
