/* alps-bench-open: what it takes to create and to open a heap, by its capacity, and how much of it
 * is management.
 *
 * Each opening is timed in a process that has not mapped the heap before, up to its first block:
 * once when nobody has the heap open, once while another process has. Then heaps are filled with
 * blocks of one size each, and what their files hold besides the blocks' memory is set against the
 * heap. */
#include <alps/alps.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "harness/clock.h"
#include "harness/options.h"
#include "harness/record.h"

static bh_list_t capacities = {5, {GIB, 16 * GIB, 256 * GIB, 1024 * GIB, 16384 * GIB}};
static bh_list_t block_sizes = {7, {16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10}};
static uint64_t filled_bytes = 256 << 20, rounds = 15;

static const bh_option_t options[] = {
    {.name = "capacities",
     .letter = 'c',
     .kind = BH_OPTION_SIZES,
     .value = &capacities,
     .argument = "LIST",
     .help = "capacities of the heaps that are opened (default 1G,16G,256G,1T,16T)",
     .min = 64 << 20,
     .max = 16384 * GIB},
    {.name = "block-sizes",
     .letter = 's',
     .kind = BH_OPTION_SIZES,
     .value = &block_sizes,
     .argument = "LIST",
     .help = "blocks that heaps are filled with (default 16,64,256,1K,4K,16K,64K)",
     .min = 1,
     .max = 1 << 20},
    {.name = "filled",
     .letter = 'f',
     .kind = BH_OPTION_SIZE,
     .value = &filled_bytes,
     .argument = "SIZE",
     .help = "size of the heaps that are filled (default 256M)",
     .min = 16 << 20},
    {.name = "rounds",
     .letter = 'r',
     .kind = BH_OPTION_COUNT,
     .value = &rounds,
     .argument = "N",
     .help = "rounds, of which medians are taken (default 15)",
     .min = 1,
     .max = ROUNDS_MAX},
    COMMON_OPTIONS,
};

/* What a process took to open the heap and to allocate its first block. */
struct opening {
    double open_us, malloc_us, both_us;
};

struct round {
    double create_us;
    uint64_t created_bytes; /* that the file holds then */
    struct opening alone, shared;
};

/* Opens the heap in a new process; result lies in memory that it shares. */
static int time_opening(const char *path, struct opening *result)
{
    pid_t child = start();
    if (child == 0) {
        alps_heap_t *heap;
        uint64_t begin = bh_clock_ns();
        int error = alps_heap_open(path, NULL, &heap);
        uint64_t opened = bh_clock_ns();
        if (error != 0)
            _exit(fail("alps_heap_open", error) != 0);
        alps_ptr_t block = alps_malloc(heap, 64, ALPS_ANY_NODE);
        uint64_t end = bh_clock_ns();
        if (block == ALPS_NULL)
            _exit(fail("alps_malloc", errno) != 0);
        *result = (struct opening){.open_us = 1e-3 * (double)(opened - begin),
                                   .malloc_us = 1e-3 * (double)(end - opened),
                                   .both_us = 1e-3 * (double)(end - begin)};
        _exit(alps_free(heap, block) != 0 || alps_heap_close(heap) != 0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return fail("the process that opens the heap has failed", 0);
    return 0;
}

/* One round on the heap, which is there. */
static int open_heap(const char *path, struct round *round)
{
    struct stat file;
    alps_gen_t generation;
    if (stat(path, &file) != 0)
        return fail(path, -errno);
    round->created_bytes = (uint64_t)file.st_blocks * 512;
    if (time_opening(path, &round->alone) != 0)
        return -1;
    pid_t owner = start_owner(path, 1, 64, &generation);
    if (owner < 0)
        return fail("no process that has the heap open", 0);
    int result = time_opening(path, &round->shared);
    kill_owner(owner);
    return result;
}

static bh_stats_t field_of(const struct round *all, size_t offset)
{
    return stats_of(all, rounds, sizeof *all, offset);
}

/* The rounds of one capacity, in memory shared with the processes that open the heap. */
static int run_capacity(bh_writer_t *writer, const char *path, uint64_t capacity, struct round *all)
{
    const struct alps_create_options create = {
        .struct_size = sizeof create, .size = (uint64_t)64 << 20, .capacity = capacity};
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t begin = bh_clock_ns();
        int error = alps_heap_create(path, &create);
        all[i].create_us = 1e-3 * (double)(bh_clock_ns() - begin);
        if (i == 0 && (error == -EFBIG || error == -ENOSPC || error == -ENOMEM)) {
            fprintf(stderr, "skipped: a capacity of %" PRIu64 " MiB: %s (%s)\n", capacity >> 20,
                    alps_strerror(error), alps_error_detail());
            return 0;
        }
        if (error != 0)
            return fail("no heap", error);
        int result = open_heap(path, &all[i]);
        error = alps_heap_destroy(path);
        if (error != 0)
            result = fail("the heap cannot be removed", error);
        if (result != 0)
            return result;
    }
    bh_stats_t create_us = field_of(all, offsetof(struct round, create_us));
    bh_stats_t open_us = field_of(all, offsetof(struct round, alone.open_us));
    bh_stats_t malloc_us = field_of(all, offsetof(struct round, alone.malloc_us));
    bh_stats_t both_us = field_of(all, offsetof(struct round, alone.both_us));
    bh_stats_t shared_us = field_of(all, offsetof(struct round, shared.both_us));
    bh_field_t fields[] = {
        bh_count("capacity_mib", capacity >> 20),
        bh_count("created_kib", all[0].created_bytes >> 10),
        bh_real("create_us", create_us.median, 1),
        bh_real("create_iqr", bh_stats_iqr(&create_us), 1),
        bh_real("open_us", open_us.median, 1),
        bh_real("open_iqr", bh_stats_iqr(&open_us), 1),
        bh_real("malloc_us", malloc_us.median, 1),
        bh_real("malloc_iqr", bh_stats_iqr(&malloc_us), 1),
        bh_real("both_us", both_us.median, 1),
        bh_real("both_iqr", bh_stats_iqr(&both_us), 1),
        bh_real("shared_us", shared_us.median, 1),
        bh_real("shared_iqr", bh_stats_iqr(&shared_us), 1),
    };
    bh_write(writer, "open", fields, sizeof fields / sizeof fields[0]);
    return 0;
}

/* Fills the heap with blocks, and says what it holds then. */
static int fill(alps_heap_t *heap, uint64_t block_size, struct alps_stats *stats)
{
    while (alps_malloc(heap, block_size, ALPS_ANY_NODE) != ALPS_NULL)
        ;
    if (errno != ENOMEM)
        return fail("the heap cannot be filled", errno);
    int error = alps_heap_check(heap, NULL);
    if (error != 0)
        return fail("the heap is damaged", error);
    error = alps_heap_stats(heap, stats);
    return error == 0 ? 0 : fail("alps_heap_stats", error);
}

static int run_filled(bh_writer_t *writer, const char *path, uint64_t block_size)
{
    const struct alps_create_options create = {.struct_size = sizeof create, .size = filled_bytes};
    struct alps_stats stats = {.struct_size = sizeof stats};
    alps_heap_t *heap;
    int error = alps_heap_create(path, &create);
    if (error == 0)
        error = alps_heap_open(path, NULL, &heap);
    if (error != 0)
        return fail("no heap to fill", error);
    int result = fill(heap, block_size, &stats);
    alps_heap_close(heap);
    error = alps_heap_destroy(path);
    if (error != 0)
        result = fail("the heap cannot be removed", error);
    if (result != 0)
        return result;
    uint64_t metadata = stats.file_bytes - stats.span_bytes;
    bh_field_t fields[] = {
        bh_count("block_bytes", block_size),
        bh_count("blocks", stats.live_blocks),
        bh_count("heap_kib", stats.size >> 10),
        bh_count("spans_kib", stats.span_bytes >> 10),
        bh_count("metadata_kib", metadata >> 10),
        bh_real("metadata_percent", 100 * (double)metadata / (double)stats.size, 3),
    };
    bh_write(writer, "metadata", fields, sizeof fields / sizeof fields[0]);
    return 0;
}

static int run(bh_writer_t *writer, const char *path)
{
    size_t length = rounds * sizeof(struct round);
    struct round *all =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return fail("no shared memory", -errno);
    int result = 0;
    for (size_t i = 0; i < capacities.count && result == 0; i++)
        result = run_capacity(writer, path, capacities.items[i], all);
    munmap(all, length);
    for (size_t i = 0; i < block_sizes.count && result == 0; i++)
        result = run_filled(writer, path, block_sizes.items[i]);
    return result;
}

static const struct program program = {
    .name = "alps-bench-open",
    .usage = "usage: alps-bench-open [OPTION]...\n"
             "Measures creating and opening heaps, and how much of a heap is management.\n",
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
    const bh_field_t extra[] = {bh_count("rounds", rounds)};
    bh_write_machine(&writer, program.name, alps_version(), argc, argv, extra, 1);
    return finish(&writer, run(&writer, common_path(&program)));
}
