/* alps-bench-recovery: what it takes to take in a process that was killed, and to free or keep what
 * it had.
 *
 * A victim opens the heap, allocates blocks and is killed. Then alps_recover and alps_bulk_free are
 * timed, and alps_commit with a second victim, while a survivor goes on allocating and freeing.
 * After each round the heap must be empty and sound. */
#include <alps/alps.h>

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "harness/clock.h"
#include "harness/options.h"
#include "harness/record.h"

static bh_list_t capacities = {4, {GIB, 16 * GIB, 128 * GIB, 1024 * GIB}};
static bh_list_t block_counts = {5, {1000, 100000, 1000000, 1600000, 10000000}};
static uint64_t block_size = 64, rounds = 5;

static const bh_option_t options[] = {
    {.name = "capacities",
     .letter = 'c',
     .kind = BH_OPTION_SIZES,
     .value = &capacities,
     .argument = "LIST",
     .help = "capacities of the heap (default 1G,16G,128G,1T)",
     .min = 64 << 20},
    {.name = "blocks",
     .letter = 'n',
     .kind = BH_OPTION_COUNTS,
     .value = &block_counts,
     .argument = "LIST",
     .help = "blocks of the victim (default 1000 to 10 million)",
     .min = 1},
    {.name = "block-size",
     .letter = 's',
     .kind = BH_OPTION_SIZE,
     .value = &block_size,
     .argument = "SIZE",
     .help = "bytes of a block (default 64)",
     .min = 1,
     .max = 1 << 20},
    {.name = "rounds",
     .letter = 'r',
     .kind = BH_OPTION_COUNT,
     .value = &rounds,
     .argument = "N",
     .help = "rounds, of which medians are taken (default 5)",
     .min = 1,
     .max = ROUNDS_MAX},
    COMMON_OPTIONS,
};

/* Between the processes of a round. */
struct shared {
    uint64_t operations; /* of the survivor */
    bool stop;
    bool failed;
};

struct round {
    double recover_ms, bulk_free_ms, commit_us, before_mops, during_mops;
    uint64_t zones;
};

static void survive(struct shared *shared, const char *path)
{
    alps_heap_t *heap;
    bool failed = alps_heap_open(path, NULL, &heap) != 0;
    while (!failed && !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
        alps_ptr_t block = alps_malloc(heap, 64, ALPS_ANY_NODE);
        failed = block == ALPS_NULL || alps_free(heap, block) != 0;
        __atomic_store_n(&shared->operations, shared->operations + 2, __ATOMIC_RELAXED);
    }
    shared->failed |= failed;
    _exit(failed || alps_heap_close(heap) != 0 ? EXIT_FAIL : EXIT_PASS);
}

/* A process that allocates the blocks and is killed. Its generation, or 0. */
static alps_gen_t make_victim(const char *path, uint64_t blocks)
{
    alps_gen_t generation;
    pid_t victim = start_owner(path, blocks, block_size, &generation);
    if (victim < 0)
        return 0;
    kill_owner(victim);
    return generation;
}

static int count_committed(const struct alps_block *block, void *context)
{
    *(uint64_t *)context += block->generation == ALPS_PERMANENT;
    return 0;
}

static uint64_t operations(const struct shared *shared)
{
    return __atomic_load_n(&shared->operations, __ATOMIC_RELAXED);
}

/* Kills, recovers, frees and commits once; 0 if all is as it should be. */
static int measure(alps_heap_t *heap, const char *path, uint64_t blocks, struct shared *shared,
                   struct round *round)
{
    struct alps_recovery report = {.struct_size = sizeof report};
    alps_gen_t victim = make_victim(path, blocks);
    if (victim == 0)
        return fail("the victim cannot be made", 0);
    uint64_t before = operations(shared), time = bh_clock_ns();
    usleep(20000);
    round->before_mops =
        1e3 * (double)(operations(shared) - before) / (double)(bh_clock_ns() - time);

    before = operations(shared);
    time = bh_clock_ns();
    int error = alps_recover(heap, &report);
    uint64_t spent = bh_clock_ns() - time;
    round->during_mops = 1e3 * (double)(operations(shared) - before) / (double)spent;
    round->recover_ms = 1e-6 * (double)spent;
    round->zones = report.zones;
    if (error != 0 || report.count != 1)
        return fail("alps_recover does not find the victim", error);

    time = bh_clock_ns();
    error = alps_bulk_free(heap, victim);
    round->bulk_free_ms = 1e-6 * (double)(bh_clock_ns() - time);
    if (error != 0)
        return fail("alps_bulk_free", error);

    victim = make_victim(path, blocks);
    error = victim == 0 ? -EIO : alps_recover(heap, &report);
    if (error != 0)
        return fail("the second victim cannot be recovered", error);
    time = bh_clock_ns();
    error = alps_commit(heap, victim);
    round->commit_us = 1e-3 * (double)(bh_clock_ns() - time);
    uint64_t committed = 0;
    if (error == 0)
        error = alps_heap_walk(heap, count_committed, &committed);
    if (error != 0 || committed != blocks)
        return fail("the blocks that were committed are not all there", error);
    return 0;
}

/* One round on a new heap. */
static int run_round(const char *path, uint64_t capacity, uint64_t blocks, struct round *round)
{
    const struct alps_create_options create = {
        .struct_size = sizeof create, .size = (uint64_t)64 << 20, .capacity = capacity};
    alps_heap_t *heap;
    int error = alps_heap_create(path, &create);
    if (error == 0)
        error = alps_heap_open(path, NULL, &heap);
    if (error != 0)
        return fail("no heap", error);
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return fail("no shared memory", -errno);
    pid_t survivor = start();
    if (survivor == 0)
        survive(shared, path);
    while (survivor > 0 && operations(shared) == 0 && !shared->failed)
        usleep(100);
    int result = measure(heap, path, blocks, shared, round);
    __atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
    int status = 1;
    if (survivor < 0 || waitpid(survivor, &status, 0) != survivor || status != 0)
        result = fail("the survivor has failed", 0);

    struct alps_stats stats = {.struct_size = sizeof stats};
    error = alps_heap_stats(heap, &stats);
    if (result == 0 && (error != 0 || stats.live_blocks != blocks))
        result = fail("the heap has not the blocks it should have", error);
    error = alps_heap_check(heap, NULL);
    if (error != 0)
        result = fail("the heap is damaged", error);
    munmap(shared, sizeof *shared);
    alps_heap_close(heap);
    error = alps_heap_destroy(path);
    return error != 0 ? fail("the heap cannot be removed", error) : result;
}

static double median(const struct round *all, size_t offset)
{
    return stats_of(all, rounds, sizeof *all, offset).median;
}

/* Whether the file system can hold so many blocks twice, with something to spare. */
static bool fits(const char *path, uint64_t capacity, uint64_t blocks)
{
    char directory[4096];
    struct statvfs space;
    uint64_t wanted = (blocks * block_size / 4 * 5 + ((uint64_t)64 << 20)) * 2;
    snprintf(directory, sizeof directory, "%s", path);
    if (statvfs(dirname(directory), &space) != 0)
        return true;
    return wanted < capacity && wanted < (uint64_t)space.f_bavail * space.f_frsize / 10 * 9;
}

static int run_case(bh_writer_t *writer, const char *path, uint64_t capacity, uint64_t blocks)
{
    static struct round all[ROUNDS_MAX];
    for (uint64_t i = 0; i < rounds; i++)
        if (run_round(path, capacity, blocks, &all[i]) != 0) {
            unlink(path);
            return -1;
        }
    double recover = median(all, offsetof(struct round, recover_ms));
    double bulk_free = median(all, offsetof(struct round, bulk_free_ms));
    bh_field_t fields[] = {
        bh_count("capacity_mib", capacity >> 20),
        bh_count("blocks", blocks),
        bh_count("zones", all[0].zones),
        bh_real("recover_ms", recover, 3),
        bh_real("recover_ns_per_block", 1e6 * recover / (double)blocks, 2),
        bh_real("bulk_free_ms", bulk_free, 3),
        bh_real("bulk_free_ns_per_block", 1e6 * bulk_free / (double)blocks, 2),
        bh_real("commit_us", median(all, offsetof(struct round, commit_us)), 2),
        bh_real("survivor_mops_before", median(all, offsetof(struct round, before_mops)), 1),
        bh_real("survivor_mops_during", median(all, offsetof(struct round, during_mops)), 1),
    };
    bh_write(writer, "recovery", fields, sizeof fields / sizeof fields[0]);
    return 0;
}

static const struct program program = {
    .name = "alps-bench-recovery",
    .usage = "usage: alps-bench-recovery [OPTION]...\n"
             "Measures recovery, bulk free and commit after a process was killed.\n",
    .statuses = "\nExit status: 0 all well, 1 something went wrong, 2 wrong usage.",
    .options = options,
};

int main(int argc, char **argv)
{
    bh_writer_t writer;
    int status;

    if (!common_parse(&program, argc, argv, &status))
        return status;
    if (!common_open(&program, &writer))
        return EXIT_FAIL;
    const char *path = common_path(&program);
    const bh_field_t extra[] = {bh_count("block_size", block_size), bh_count("rounds", rounds)};
    bh_write_machine(&writer, program.name, alps_version(), argc, argv, extra, 2);
    int result = 0;
    for (size_t c = 0; c < capacities.count && result == 0; c++)
        for (size_t n = 0; n < block_counts.count && result == 0; n++) {
            if (fits(path, capacities.items[c], block_counts.items[n]))
                result = run_case(&writer, path, capacities.items[c], block_counts.items[n]);
            else
                fprintf(stderr,
                        "skipped: %" PRIu64 " blocks in %" PRIu64 " MiB: no room for them twice\n",
                        block_counts.items[n], capacities.items[c] >> 20);
        }
    return finish(&writer, result);
}
