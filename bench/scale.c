/* alps-bench-scale: what ALPS costs where many nodes share a heap, by simulation.
 *
 * The nodes open the heap, allocate and free, lose some of their number and recover what those had,
 * close, and open again; each at the same time as all others. What counts is the emulated time that
 * this takes them, and in which part of the layout it goes. The processors' own work takes no time
 * here, and blocks are not touched. */
#include <alps/alps.h>
#include <emu/emu.h>
#include <emu/launch.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"
#include "harness/options.h"
#include "harness/progress.h"
#include "harness/record.h"
#include "simulation.h"

#define EXIT_SKIPPED 77
#define OPS_MAX 512u /* they fit one slab */
#define SMALL 64u
#define LARGE ((size_t)512 << 10)
#define NODE_BYTES (2 * MIB) /* of the heap, for each node */
#define NODE_FILES 2u        /* that an opening needs */
#define NODE_MAPPINGS 10u    /* that an opening and its node need */
#define OTHER_FILES 64u

static bh_list_t node_counts = {5, {1, 16, 256, 1024, 4096}};
static uint64_t ops = 64;
static const char *profile = "cxl-switch";

static const bh_option_t options[] = {
    {.name = "nodes",
     .letter = 'n',
     .kind = BH_OPTION_COUNTS,
     .value = &node_counts,
     .argument = "LIST",
     .help = "nodes that share the heap (default 1,16,256,1024,4096)",
     .min = 1,
     .max = LAYOUT_INSTANCE_MAX},
    {.name = "emu",
     .letter = 'e',
     .kind = BH_OPTION_TEXT,
     .value = &profile,
     .argument = "PROFILE",
     .help = "the emulated memory (default cxl-switch; emu-topology --profiles lists them)"},
    {.name = "ops",
     .letter = 'o',
     .kind = BH_OPTION_COUNT,
     .value = &ops,
     .argument = "N",
     .help = "small blocks of each node (default 64)",
     .min = 1,
     .max = OPS_MAX},
    COMMON_OPTIONS,
};

/* ---- what a node does ---- */

static struct node {
    alps_heap_t *heap;
    alps_ptr_t first, small[OPS_MAX], large;
} * nodes;
static unsigned node_count;
static const char *path;
static alps_gen_t dead_generation;

static int take(struct node *n, size_t size, alps_ptr_t *block)
{
    *block = alps_malloc(n->heap, size, ALPS_ANY_NODE);
    return *block == ALPS_NULL ? fail("alps_malloc", errno) : 0;
}

static int give(struct node *n, alps_ptr_t block)
{
    int error = alps_free(n->heap, block);
    return error == 0 ? 0 : fail("alps_free", error);
}

static int open_heap(unsigned i)
{
    int error = alps_heap_open(path, NULL, &nodes[i].heap);
    return error == 0 ? 0 : fail("alps_heap_open", error);
}

static int close_heap(unsigned i)
{
    int error = alps_heap_close(nodes[i].heap);
    return error == 0 ? 0 : fail("alps_heap_close", error);
}

static int take_first(unsigned i)
{
    return take(&nodes[i], SMALL, &nodes[i].first);
}

static int take_small(unsigned i)
{
    int result = 0;
    for (unsigned k = 0; k < ops && result == 0; k++)
        result = take(&nodes[i], SMALL, &nodes[i].small[k]);
    return result;
}

static int change_own(unsigned i)
{
    struct node *n = &nodes[i];
    int result = 0;
    for (unsigned k = 0; k < ops && result == 0; k++) {
        result = give(n, n->small[k]);
        if (result == 0)
            result = take(n, SMALL, &n->small[k]);
    }
    return result;
}

static int give_neighbours(unsigned i)
{
    const struct node *neighbour = &nodes[(i + 1) % node_count];
    int result = 0;
    for (unsigned k = 0; k < ops && result == 0; k++)
        result = give(&nodes[i], neighbour->small[k]);
    return result;
}

static int take_large(unsigned i)
{
    return take(&nodes[i], LARGE, &nodes[i].large);
}

static int change_large(unsigned i)
{
    struct node *n = &nodes[i];
    int result = 0;
    for (unsigned k = 0; k < ops && result == 0; k++) {
        result = give(n, n->large);
        if (result == 0)
            result = take(n, LARGE, &n->large);
    }
    return result;
}

static int give_large_neighbours(unsigned i)
{
    return give(&nodes[i], nodes[(i + 1) % node_count].large);
}

static int recover(unsigned i)
{
    int error = alps_recover(nodes[i].heap, NULL);
    return error == 0 ? 0 : fail("alps_recover", error);
}

static int free_in_bulk(unsigned i)
{
    int error = alps_bulk_free(nodes[i].heap, dead_generation);
    return error == 0 ? 0 : fail("alps_bulk_free", error);
}

/* ---- phases ---- */

enum who { ALL, PAIRS, FIRST };

/* In this order. Of PAIRS each node needs a neighbour; FIRST is done by node 0, after the last node
 * that lives was killed if kills says so. */
static const struct {
    const char *name;
    int (*act)(unsigned node);
    enum who who;
    bool each; /* small block, that is */
    bool kills;
} phases[] = {
    {"open", open_heap, ALL, false, false},
    {"first", take_first, ALL, false, false},
    {"malloc", take_small, ALL, true, false},
    {"own", change_own, ALL, true, false},
    {"neighbour", give_neighbours, PAIRS, true, false},
    {"large", take_large, ALL, false, false},
    {"large-own", change_large, ALL, true, false},
    {"large-neighbour", give_large_neighbours, PAIRS, false, false},
    {"recover", recover, FIRST, false, true},
    {"recover-all", recover, ALL, false, true},
    {"bulk-free", free_in_bulk, FIRST, false, false},
    {"close", close_heap, ALL, false, false},
    {"reopen", open_heap, ALL, false, false},
};
#define PHASES (sizeof phases / sizeof phases[0])

static void kill_last(unsigned alive)
{
    dead_generation = alps_heap_generation(nodes[alive - 1].heap);
    sim_kill(alive - 1);
}

static void report(bh_writer_t *writer, const char *name, uint64_t count, const struct sim_phase *p)
{
    struct sim_figures sum = {0};
    enum sim_region most = SIM_SUPER;
    const double per_op = 1.0 / (double)count;
    for (enum sim_region r = SIM_SUPER; r < SIM_REGIONS; r++) {
        const struct sim_figures *f = &p->regions[r];
        sum.reads += f->reads;
        sum.writes += f->writes;
        sum.atomics += f->atomics;
        sum.misses += f->misses;
        sum.ns += f->ns;
        sum.waited_ns += f->waited_ns;
        most = f->ns > p->regions[most].ns ? r : most;
    }
    const bool any = sum.ns != 0;
    bh_field_t fields[] = {
        bh_text("phase", name),
        bh_count("nodes", node_count),
        bh_count("ops", count),
        bh_real("ns_per_op", (double)p->ns * per_op, 1),
        bh_real("elapsed_us", 1e-3 * (double)p->elapsed_ns, 1),
        bh_real("reads", (double)sum.reads * per_op, 2),
        bh_real("writes", (double)sum.writes * per_op, 2),
        bh_real("atomics", (double)sum.atomics * per_op, 2),
        bh_real("misses", (double)sum.misses * per_op, 2),
        bh_real("line_wait_ns", (double)sum.waited_ns * per_op, 1),
        bh_real("queue_ns", (double)p->queued_ns * per_op, 1),
        bh_text("most_time", any ? sim_region_names[most] : "-"),
        bh_real("percent", any ? 100 * (double)p->regions[most].ns / (double)sum.ns : 0, 0),
        bh_text("hot_line", p->hot_ns != 0 ? sim_region_names[p->hot] : "-"),
        bh_count("hot_offset", p->hot_offset),
        bh_real("busy_percent", any ? 100 * (double)p->hot_ns / (double)p->elapsed_ns : 0, 0),
    };
    bh_write(writer, "phase", fields, sizeof fields / sizeof fields[0]);
}

static void report_regions(bh_writer_t *writer, const char *name, uint64_t count,
                           const struct sim_phase *p)
{
    const double per_op = 1.0 / (double)count;
    for (enum sim_region r = SIM_SUPER; r < SIM_REGIONS; r++) {
        const struct sim_figures *f = &p->regions[r];
        bh_field_t fields[] = {
            bh_text("phase", name),
            bh_count("nodes", node_count),
            bh_text("region", sim_region_names[r]),
            bh_real("reads", (double)f->reads * per_op, 2),
            bh_real("writes", (double)f->writes * per_op, 2),
            bh_real("atomics", (double)f->atomics * per_op, 2),
            bh_real("misses", (double)f->misses * per_op, 2),
            bh_real("ns", (double)f->ns * per_op, 1),
            bh_real("line_wait_ns", (double)f->waited_ns * per_op, 1),
        };
        if (f->reads + f->writes + f->atomics != 0)
            bh_write(writer, "region", fields, sizeof fields / sizeof fields[0]);
    }
}

static int run_phases(bh_writer_t *writer, bh_progress_t *progress)
{
    struct sim_phase results[PHASES];
    uint64_t counts[PHASES] = {0};
    unsigned alive = node_count;
    for (unsigned i = 0; i < PHASES; i++) {
        bh_progress_update(progress, i, phases[i].name);
        if (node_count == 1 && phases[i].who == PAIRS)
            continue;
        if (alive == 1 && (phases[i].kills || phases[i].act == free_in_bulk))
            continue;
        if (phases[i].kills)
            kill_last(alive--);
        counts[i] = (phases[i].who == FIRST ? 1 : alive) * (phases[i].each ? ops : 1);
        if (sim_run(phases[i].act, phases[i].who == FIRST ? 1 : alive, &results[i]) != 0)
            return -1;
        bh_progress_clear(progress);
        report(writer, phases[i].name, counts[i], &results[i]);
    }
    bh_progress_clear(progress);
    /* Too many for people. */
    FILE *table = writer->table;
    writer->table = NULL;
    for (unsigned i = 0; i < PHASES; i++)
        if (counts[i] != 0)
            report_regions(writer, phases[i].name, counts[i], &results[i]);
    writer->table = table;
    struct sim_phase closing;
    int error = alps_heap_check(sim_observer(), NULL);
    return error != 0 ? fail("the heap is damaged", error) : sim_run(close_heap, alive, &closing);
}

static int run_nodes(bh_writer_t *writer)
{
    const struct alps_create_options create = {.struct_size = sizeof create,
                                               .size = 64 * MIB + node_count * NODE_BYTES,
                                               .max_instances = node_count < 64 ? 64 : node_count};
    bh_progress_t progress;
    nodes = calloc(node_count, sizeof *nodes);
    if (nodes == NULL)
        return fail("no memory for the nodes", -ENOMEM);
    int error = alps_heap_create(path, &create);
    if (error != 0) {
        free(nodes);
        return fail("no heap", error);
    }
    bh_progress_start(&progress, PHASES);
    int result = sim_start(profile, path, node_count);
    if (result == 0) {
        result = run_phases(writer, &progress);
        bh_progress_clear(&progress);
        sim_stop();
    }
    free(nodes);
    error = result == 0 ? alps_heap_destroy(path) : 0;
    if (result != 0)
        unlink(path); /* nodes that failed may have it open */
    return error == 0 ? result : fail("the heap cannot be removed", error);
}

/* ---- limits of this process ---- */

static uint64_t mappings_allowed(void)
{
    char text[32];
    uint64_t count = 0;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file == NULL)
        return 65530;
    if (fgets(text, sizeof text, file) != NULL)
        count = strtoull(text, NULL, 10);
    fclose(file);
    return count;
}

/* Whether this process may have so many nodes; says what to do if not. */
static bool allows(uint64_t count)
{
    struct rlimit files;
    const uint64_t wanted = count * NODE_FILES + OTHER_FILES, mappings = mappings_allowed();
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < wanted) {
        files.rlim_cur = files.rlim_max;
        if (files.rlim_max < wanted || setrlimit(RLIMIT_NOFILE, &files) != 0) {
            fprintf(stderr,
                    "skipped: %" PRIu64 " nodes need %" PRIu64 " open files, and this process may "
                    "have %" PRIu64 "; raise the hard limit (ulimit -Hn, LimitNOFILE)\n",
                    count, wanted, (uint64_t)files.rlim_max);
            return false;
        }
    }
    if (count * NODE_MAPPINGS > mappings) {
        fprintf(stderr,
                "skipped: %" PRIu64 " nodes need %" PRIu64 " mappings, and a process may have "
                "%" PRIu64 "; raise it: sysctl vm.max_map_count=%" PRIu64 "\n",
                count, count * NODE_MAPPINGS, mappings, count * NODE_MAPPINGS);
        return false;
    }
    return true;
}

static const struct program program = {
    .name = "alps-bench-scale",
    .usage =
        "usage: alps-bench-scale [OPTION]...\n"
        "Simulates nodes that share a heap on emulated memory, and says what their operations\n"
        "take, and which part of the heap's tables takes most of it.\n",
    .statuses =
        "\nExit status: 0 all well, 1 something went wrong, 2 wrong usage, 77 this process may\n"
        "not have as many files or mappings as the nodes need.",
    .options = options,
};

int main(int argc, char **argv)
{
    const char *problem;
    bh_writer_t writer;
    int status;

    if (!common_parse(&program, argc, argv, &status))
        return status;
    if ((problem = emu_launch_check(profile)) != NULL) {
        fprintf(stderr, "%s: %s\n", program.name, problem);
        return EXIT_USAGE;
    }
    size_t left = 0;
    for (size_t i = 0; i < node_counts.count; i++)
        if (allows(node_counts.items[i]))
            node_counts.items[left++] = node_counts.items[i];
    if (left == 0)
        return EXIT_SKIPPED;
    if (!common_open(&program, &writer))
        return EXIT_FAIL;
    path = common_path(&program);
    char emulation[256];
    snprintf(emulation, sizeof emulation, "virtual %s", profile);
    const bh_field_t extra[] = {bh_text("emulation", emulation), bh_count("ops_per_node", ops)};
    bh_write_machine(&writer, program.name, alps_version(), argc, argv, extra, 2);
    int result = 0;
    for (size_t i = 0; i < left && result == 0; i++) {
        node_count = (unsigned)node_counts.items[i];
        result = run_nodes(&writer);
    }
    return finish(&writer, result);
}
