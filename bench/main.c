/* alps-bench: the classic workloads of allocators over a table of backends, in one run.
 *
 * The backends take turns round by round, each round starting with another one, so that what else
 * the machine does hits them alike; what is compared is the rounds' medians. */
#include <alps/alps.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"
#include "harness/options.h"
#include "harness/progress.h"
#include "harness/record.h"
#include "harness/stats.h"
#include "team.h"

#define BACKENDS_MAX 16
#define THREADS_MAX 256
#define ROUNDS_MAX 1000
#define SCALE_MAX 1e4
#define NO_CHOICE UINT_MAX

enum { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2 };

static const char *const clock_names[] = {"wall", "cpu", NULL};
static const char *backend_names[BACKENDS_MAX + 1];
static const char *workload_names[WORKLOAD_COUNT + 1];

/* The command line, with its defaults. */
static uint64_t chosen_backends = UINT64_MAX;
static uint64_t chosen_workloads = UINT64_MAX;
static unsigned reference = NO_CHOICE;
static uint64_t threads = 1;
static double scale = 1;
static uint64_t rounds = 7;
static uint64_t seed = 1;
static unsigned clock_choice = TEAM_CLOCK_WALL;
static const char *heap_path;
static uint64_t heap_bytes = UINT64_C(2) << 30;
static const char *json_path;
static const char *csv_path;
static bool list, help, version;

static const bh_option_t options[] = {
    {.name = "backends",
     .letter = 'b',
     .kind = BH_OPTION_CHOICES,
     .value = &chosen_backends,
     .argument = "LIST",
     .help = "allocators to run (default: all)",
     .choices = backend_names},
    {.name = "workloads",
     .letter = 'w',
     .kind = BH_OPTION_CHOICES,
     .value = &chosen_workloads,
     .argument = "LIST",
     .help = "workloads to run (default: all)",
     .choices = workload_names},
    {.name = "reference",
     .letter = 'r',
     .kind = BH_OPTION_CHOICE,
     .value = &reference,
     .argument = "NAME",
     .help = "backend that the others are compared with (default: mimalloc if it runs)",
     .choices = backend_names},
    {.name = "threads",
     .letter = 't',
     .kind = BH_OPTION_COUNT,
     .value = &threads,
     .argument = "N",
     .help = "threads (default 1; cross takes an even number)",
     .min = 1,
     .max = THREADS_MAX},
    {.name = "scale",
     .kind = BH_OPTION_REAL,
     .value = &scale,
     .argument = "X",
     .help = "work of a round (default 1: tens of milliseconds)"},
    {.name = "rounds",
     .kind = BH_OPTION_COUNT,
     .value = &rounds,
     .argument = "N",
     .help = "rounds to take the median of (default 7)",
     .min = 1,
     .max = ROUNDS_MAX},
    {.name = "seed",
     .kind = BH_OPTION_COUNT,
     .value = &seed,
     .argument = "N",
     .help = "of what is random (default 1)"},
    {.name = "clock",
     .kind = BH_OPTION_CHOICE,
     .value = &clock_choice,
     .argument = "NAME",
     .help = "wall (default), or cpu: leaves out waiting, and what other programs took",
     .choices = clock_names},
    {.name = "heap",
     .kind = BH_OPTION_TEXT,
     .value = &heap_path,
     .argument = "FILE",
     .help = "file for the ALPS heap, removed again (default: in /dev/shm)"},
    {.name = "heap-size",
     .kind = BH_OPTION_SIZE,
     .value = &heap_bytes,
     .argument = "SIZE",
     .help = "size of the ALPS heap, taken as it is used (default 2G)",
     .min = 1},
    {.name = "json",
     .kind = BH_OPTION_TEXT,
     .value = &json_path,
     .argument = "FILE",
     .help = "write the results as JSON lines (- for stdout)"},
    {.name = "csv",
     .kind = BH_OPTION_TEXT,
     .value = &csv_path,
     .argument = "FILE",
     .help = "write the results as CSV (- for stdout)"},
    {.name = "list",
     .letter = 'l',
     .kind = BH_OPTION_FLAG,
     .value = &list,
     .help = "list the backends and the workloads"},
    {.name = "help",
     .letter = 'h',
     .kind = BH_OPTION_FLAG,
     .value = &help,
     .help = "print this help"},
    {.name = "version",
     .letter = 'V',
     .kind = BH_OPTION_FLAG,
     .value = &version,
     .help = "print the version"},
    {.name = NULL},
};

/* A run, and what it has found. */
struct bench {
    bh_writer_t writer;
    bh_progress_t progress;
    uint64_t rounds_done;
    bool failed[BACKENDS_MAX];                             /* broken, and left out from then on */
    struct measurement measured[BACKENDS_MAX][ROUNDS_MAX]; /* on the workload under way */
    double ratios[BACKENDS_MAX][WORKLOAD_COUNT];           /* against the reference; NaN: none */
};

static bool chosen(uint64_t set, unsigned index)
{
    return (set >> index & 1) != 0;
}

static bool runs(const struct bench *bench, unsigned backend)
{
    return chosen(chosen_backends, backend) && !bench->failed[backend];
}

static void report_failure(struct bench *bench, unsigned backend, const char *where,
                           const char *problem)
{
    bh_progress_clear(&bench->progress);
    fprintf(stderr, "alps-bench: %s: %s: %s\n", backend_names[backend], where, problem);
    bench->failed[backend] = true;
}

/* Does every round of every backend on a workload. */
static void play(struct bench *bench, struct team *team, const char *name)
{
    for (unsigned b = 0; backends[b] != NULL; b++) {
        if (!runs(bench, b))
            continue;
        const char *problem = team_verify(team, backends[b]);
        if (problem != NULL)
            report_failure(bench, b, name, problem);
    }
    unsigned count = 0;
    while (backends[count] != NULL)
        count++;
    for (uint64_t round = 0; round < rounds; round++) {
        for (unsigned turn = 0; turn < count; turn++) {
            unsigned b = (unsigned)((round + turn) % count);
            if (!runs(bench, b))
                continue;
            bh_progress_update(&bench->progress, bench->rounds_done, name);
            const char *problem =
                team_measure(team, backends[b], round, &bench->measured[b][round]);
            if (problem != NULL)
                report_failure(bench, b, name, problem);
        }
        bench->rounds_done++;
    }
}

/* Median over the rounds of how much faster than the reference a backend was in the same round. */
static double speed_ratio(const struct bench *bench, unsigned backend)
{
    double ratios[ROUNDS_MAX];

    if (reference == NO_CHOICE || bench->failed[reference])
        return NAN;
    for (uint64_t round = 0; round < rounds; round++)
        ratios[round] = bench->measured[reference][round].ns_per_pair /
                        bench->measured[backend][round].ns_per_pair;
    return bh_stats(ratios, rounds).median;
}

static void report_workload(struct bench *bench, const struct team *team, unsigned workload)
{
    for (unsigned b = 0; backends[b] != NULL; b++) {
        double ns[ROUNDS_MAX];
        double throughput[ROUNDS_MAX];
        const struct measurement *measured = bench->measured[b];
        if (!runs(bench, b))
            continue;
        for (uint64_t round = 0; round < rounds; round++) {
            ns[round] = measured[round].ns_per_pair;
            throughput[round] = measured[round].pairs_per_s / 1e6;
        }
        bh_stats_t stats = bh_stats(ns, rounds);
        bench->ratios[b][workload] = speed_ratio(bench, b);
        const bh_field_t fields[] = {
            bh_text("workload", workloads[workload].name),
            bh_text("backend", backends[b]->name),
            bh_count("threads", team_threads(team)),
            bh_count("pairs", measured[0].pairs),
            bh_real("ns_per_pair", stats.median, 2),
            bh_real("ns_iqr", bh_stats_iqr(&stats), 2),
            bh_real("mpairs_per_s", bh_stats(throughput, rounds).median, 2),
            bh_real("ratio", bench->ratios[b][workload], 2),
        };
        bh_write(&bench->writer, "result", fields, sizeof fields / sizeof fields[0]);
    }
}

/* 0, or -1 if there are no threads to be had. */
static int run_workload(struct bench *bench, unsigned workload)
{
    const struct workload *w = &workloads[workload];
    uint64_t pairs = (uint64_t)ceil(scale * (double)w->pairs);

    struct team *team = team_start(w, (unsigned)threads, pairs, seed, clock_choice);
    if (team == NULL) {
        fprintf(stderr, "alps-bench: cannot start the threads: %s\n", strerror(errno));
        return -1;
    }
    play(bench, team, w->name);
    bh_progress_clear(&bench->progress);
    report_workload(bench, team, workload);
    team_stop(team);
    for (unsigned b = 0; backends[b] != NULL; b++) {
        const char *problem =
            runs(bench, b) && backends[b]->check != NULL ? backends[b]->check() : NULL;
        if (problem != NULL)
            report_failure(bench, b, w->name, problem);
    }
    return 0;
}

/* Each backend's speed against the reference in all workloads. */
static void report_summary(struct bench *bench)
{
    if (reference == NO_CHOICE)
        return;
    for (unsigned b = 0; backends[b] != NULL; b++) {
        bh_field_t fields[WORKLOAD_COUNT + 2];
        double ratios[WORKLOAD_COUNT];
        size_t count = 0;
        if (!chosen(chosen_backends, b))
            continue;
        fields[0] = bh_text("ratio", backends[b]->name);
        for (unsigned w = 0; w < WORKLOAD_COUNT; w++) {
            if (!chosen(chosen_workloads, w))
                continue;
            ratios[count++] = bench->ratios[b][w];
            fields[count] = bh_real(workloads[w].name, bench->ratios[b][w], 2);
        }
        fields[count + 1] = bh_real("geomean", bh_geometric_mean(ratios, count), 2);
        bh_write(&bench->writer, "summary", fields, count + 2);
    }
}

static void open_backends(struct bench *bench)
{
    char default_path[64];

    snprintf(default_path, sizeof default_path, "/dev/shm/alps-bench-%ld", (long)getpid());
    const struct backend_config config = {
        .heap_path = heap_path == NULL ? default_path : heap_path,
        .heap_bytes = heap_bytes,
    };
    for (unsigned b = 0; backends[b] != NULL; b++) {
        const char *problem =
            runs(bench, b) && backends[b]->open != NULL ? backends[b]->open(&config) : NULL;
        if (problem != NULL)
            report_failure(bench, b, "start", problem);
    }
}

static void close_backends(struct bench *bench)
{
    for (unsigned b = 0; backends[b] != NULL; b++) {
        const char *problem =
            runs(bench, b) && backends[b]->close != NULL ? backends[b]->close() : NULL;
        if (problem != NULL)
            report_failure(bench, b, "end", problem);
    }
}

static void describe_run(struct bench *bench, int argc, char **argv)
{
    bh_field_t extra[BACKENDS_MAX + 5] = {
        bh_count("threads", threads),
        bh_real("scale", scale, 4),
        bh_count("rounds", rounds),
        bh_count("seed", seed),
        bh_text("clock", clock_names[clock_choice]),
    };
    size_t count = 5;

    for (unsigned b = 0; backends[b] != NULL; b++) {
        if (chosen(chosen_backends, b))
            extra[count++] = bh_text(backends[b]->name, backends[b]->version());
    }
    bh_write_machine(&bench->writer, "alps-bench", alps_version(), argc, argv, extra, count);
}

/* 0, or -1 if the run came to no end. */
static int run_all(struct bench *bench)
{
    int result = 0;

    for (unsigned b = 0; b < BACKENDS_MAX; b++) {
        for (unsigned w = 0; w < WORKLOAD_COUNT; w++)
            bench->ratios[b][w] = NAN;
    }
    bh_progress_start(&bench->progress,
                      rounds * (unsigned)__builtin_popcountll(
                                   chosen_workloads & ((UINT64_C(1) << WORKLOAD_COUNT) - 1)));
    open_backends(bench);
    for (unsigned w = 0; w < WORKLOAD_COUNT && result == 0; w++) {
        if (chosen(chosen_workloads, w))
            result = run_workload(bench, w);
    }
    close_backends(bench);
    if (result == 0)
        report_summary(bench);
    return result;
}

static void print_list(void)
{
    puts("backends:");
    for (unsigned b = 0; backends[b] != NULL; b++)
        printf("  %-12s %s\n", backends[b]->name, backends[b]->version());
    puts("workloads:");
    for (unsigned w = 0; w < WORKLOAD_COUNT; w++)
        printf("  %-12s %s\n", workloads[w].name, workloads[w].description);
}

static void print_help(void)
{
    puts("usage: alps-bench [OPTION]...\n"
         "Measures allocators on the same workloads, and checks that no block loses a byte.\n");
    bh_options_describe(options, stdout);
    puts("\nExit status: 0 all well, 1 an allocator failed or a result could not be written,\n"
         "2 wrong usage.");
}

static void name_choices(void)
{
    for (unsigned b = 0; backends[b] != NULL; b++)
        backend_names[b] = backends[b]->name;
    for (unsigned w = 0; w < WORKLOAD_COUNT; w++)
        workload_names[w] = workloads[w].name;
}

/* NULL, or what is wrong with the command line as a whole. */
static const char *settle_options(void)
{
    if (!(scale > 0 && scale <= SCALE_MAX))
        return "--scale must be more than 0 and at most 10000";
    if (reference != NO_CHOICE && !chosen(chosen_backends, reference))
        return "--reference must be among --backends";
    for (unsigned b = 0; reference == NO_CHOICE && backends[b] != NULL; b++) {
        if (chosen(chosen_backends, b) && strcmp(backends[b]->name, "mimalloc") == 0)
            reference = b;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    char error[BH_ERROR_MAX];
    const char *problem = error;
    const char *path;

    name_choices();
    if (bh_options_parse(options, argc, argv, error) != 0 || (problem = settle_options()) != NULL) {
        fprintf(stderr, "alps-bench: %s\nTry alps-bench --help.\n", problem);
        return EXIT_USAGE;
    }
    if (help || version || list) {
        if (help)
            print_help();
        else if (version)
            printf("alps-bench %s\n", alps_version());
        else
            print_list();
        return EXIT_PASS;
    }
    if (bh_writer_open(&bench.writer, json_path, csv_path, stdout, &path) != 0) {
        fprintf(stderr, "alps-bench: %s: %s\n", path, strerror(errno));
        return EXIT_FAIL;
    }
    describe_run(&bench, argc, argv);
    bool passed = run_all(&bench) == 0;
    for (unsigned b = 0; b < BACKENDS_MAX; b++)
        passed &= !bench.failed[b];
    if (bh_writer_close(&bench.writer) != 0) {
        fputs("alps-bench: not all results could be written\n", stderr);
        passed = false;
    }
    printf("RESULT: %s\n", passed ? "PASS" : "FAIL");
    return passed ? EXIT_PASS : EXIT_FAIL;
}
