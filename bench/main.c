/* alps-bench: the classic workloads of allocators over a table of backends, in one run.
 *
 * On each workload every backend first plays a part of a round in which all contents are checked,
 * then one in which its memory is looked at, and then the timed rounds. There the backends take
 * turns round by round, each round starting with another one, so that what else the machine does
 * hits them alike; what is compared is the rounds' medians. The latencies of single calls come from
 * rounds of their own, since timing a call takes as long as the call.
 *
 * On emulated memory nothing is timed: ALPS alone plays the checked part and the rounds, in which
 * its accesses are counted. */
#include <alps/alps.h>
#include <emu/emu.h>
#include <emu/launch.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"
#include "harness/clock.h"
#include "harness/options.h"
#include "harness/progress.h"
#include "harness/record.h"
#include "harness/stats.h"
#include "team.h"
#include "trace.h"

#define BACKENDS_MAX 16
#define THREADS_MAX 256
#define ROUNDS_MAX 1000
#define SCALE_MAX 1e4
#define NO_CHOICE UINT_MAX
#define VERIFIED_PART 16                   /* the checked round has 1/16 of the pairs */
#define ROUNDS_A_LATENCY 4                 /* timed rounds for one in which calls are timed */
#define LIMIT_NS (BH_NS_PER_S / 4)         /* of a round, if nothing else is said */
#define RESULT_SHOWN 9                     /* fields of a result that are in the table */
#define RESULT_MAX 23                      /* and in all, without counters */
#define EMULATED_SHOWN (TEAM_ACCESSES + 2) /* fields of emulated accesses that are in the table */
#define EMULATED_MAX (TEAM_ACCESSES + 4)   /* and in all */
#define LIVE_MIN (UINT64_C(1) << 20)       /* bytes below which memory held says nothing */

enum { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2 };

static const char *const clock_names[] = {"wall", "cpu", NULL};
static const char *backend_names[BACKENDS_MAX + 1];
static const char *workload_names[WORKLOAD_COUNT + 1];

/* The command line, with its defaults. */
static uint64_t chosen_backends = UINT64_MAX;
static uint64_t chosen_workloads = UINT64_MAX;
static unsigned reference = NO_CHOICE;
static uint64_t threads = 1;
static uint64_t processes = 1;
static double scale = 1;
static uint64_t rounds = 7;
static uint64_t limit_ns = LIMIT_NS;
static const char *trace_path; /* NULL: the one that comes with the program */
static uint64_t seed = 1;
static unsigned clock_choice = TEAM_CLOCK_WALL;
static const char *profile; /* NULL: the memory is as it is */
static const char *heap_path;
static uint64_t heap_bytes = UINT64_C(2) << 30;
static const char *json_path;
static const char *csv_path;
static bool counts, spoils, list, help, version;

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
     .help = "threads of each process (default 1)",
     .min = 1,
     .max = THREADS_MAX},
    {.name = "processes",
     .letter = 'p',
     .kind = BH_OPTION_COUNT,
     .value = &processes,
     .argument = "N",
     .help = "processes, on one heap where the backend can (default 1)",
     .min = 1,
     .max = TEAM_PROCESSES_MAX},
    {.name = "scale",
     .kind = BH_OPTION_REAL,
     .value = &scale,
     .argument = "X",
     .help = "work of a round (default 1: tens of milliseconds)"},
    {.name = "limit",
     .kind = BH_OPTION_DURATION,
     .value = &limit_ns,
     .argument = "TIME",
     .help = "a backend that takes longer for a round does less in it (default 250ms)",
     .min = BH_NS_PER_MS},
    {.name = "trace",
     .kind = BH_OPTION_TEXT,
     .value = &trace_path,
     .argument = "FILE",
     .help = "what the workload trace plays (default: the one that comes with it)"},
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
     .help = "file for heaps that lie in one, removed again (default: in /dev/shm)"},
    {.name = "heap-size",
     .kind = BH_OPTION_SIZE,
     .value = &heap_bytes,
     .argument = "SIZE",
     .help = "size of heaps that have one, taken as it is used (default 2G)",
     .min = 1},
    {.name = "emu",
     .kind = BH_OPTION_TEXT,
     .value = &profile,
     .argument = "PROFILE",
     .help = "count accesses to emulated memory (emu-topology --profiles), by alps or alps-to"},
    {.name = "counters",
     .kind = BH_OPTION_FLAG,
     .value = &counts,
     .help = "read hardware counters, as perf does (in JSON and CSV)"},
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
    {.name = "inject-corruption",
     .kind = BH_OPTION_FLAG,
     .value = &spoils,
     .help = "for tests: spoil a byte, so that the run fails"},
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

/* A backend on the workload under way. */
struct contender {
    struct team *team; /* NULL: it does not take part, or no more */
    uint64_t pairs;    /* of a thread in a round */
    struct measurement rounds[ROUNDS_MAX];
    struct memory memory;
    bh_hist_t malloc_ns, free_ns;
};

/* A run, and what it has found. */
struct bench {
    bh_writer_t details; /* JSON and CSV */
    bh_writer_t lines;   /* the table */
    bh_progress_t progress;
    uint64_t rounds_done;
    struct trace trace;
    unsigned backend_count;
    bool failed;
    struct contender contenders[BACKENDS_MAX];
    double ratios[BACKENDS_MAX][WORKLOAD_COUNT]; /* against the reference; NaN: none */
};

static bool chosen(uint64_t set, unsigned index)
{
    return (set >> index & 1) != 0;
}

static void report_failure(struct bench *bench, unsigned backend, unsigned workload,
                           const char *problem)
{
    bh_progress_clear(&bench->progress);
    fprintf(stderr, "alps-bench: %s: %s: %s\n", backend_names[backend], workload_names[workload],
            problem);
    bench->failed = true;
}

/* The trace that comes with the program, found from where that lies. */
static const char *own_trace(void)
{
    static char path[PATH_MAX + sizeof "/" BENCH_TRACE];

    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
    path[length < 0 ? 0 : length] = '\0';
    char *name = strrchr(path, '/');
    strcpy(name == NULL ? path : name + 1, BENCH_TRACE);
    return path;
}

/* Plays a round; a backend that fails takes no part any more. */
static bool play(struct bench *bench, unsigned backend, unsigned workload, enum flavour flavour,
                 uint64_t round, uint64_t pairs)
{
    struct contender *contender = &bench->contenders[backend];
    const char *problem = team_play(contender->team, flavour, round, pairs);

    if (problem == NULL)
        return true;
    report_failure(bench, backend, workload, problem);
    team_stop(contender->team);
    contender->team = NULL;
    return false;
}

/* How long a thread took for the round that was played. */
static double round_ns(const struct bench *bench, unsigned backend)
{
    const struct team *team = bench->contenders[backend].team;
    const struct measurement measured = team_measurement(team);

    return (double)measured.pairs / measured.pairs_per_s * (double)BH_NS_PER_S;
}

/* Starts a backend, checks that it loses nothing, weighs it, and finds out how fast it is. */
static void start(struct bench *bench, unsigned backend, unsigned workload)
{
    struct contender *contender = &bench->contenders[backend];
    char path[PATH_MAX];
    const char *problem;

    contender->team = NULL;
    if (!chosen(chosen_backends, backend))
        return;
    if (heap_path != NULL)
        snprintf(path, sizeof path, "%s", heap_path);
    else
        snprintf(path, sizeof path, "/dev/shm/alps-bench-%ld", (long)getpid());
    const struct team_plan plan = {
        .backend = backends[backend],
        .workload = workload,
        .processes = (unsigned)processes,
        .threads = (unsigned)threads,
        .slots = workload == WORKLOAD_trace ? bench->trace.slots : workloads[workload].slots,
        .seed = seed,
        .clock = clock_choice,
        .trace = bench->trace.operations,
        .trace_length = bench->trace.count,
        .config = {.path = path, .heap_bytes = heap_bytes},
        .counts = counts,
        .spoils = spoils,
    };
    if (team_refuses(&plan) != NULL)
        return;
    contender->team = team_start(&plan, &problem);
    if (contender->team == NULL) {
        report_failure(bench, backend, workload, problem);
        return;
    }
    contender->pairs = (uint64_t)ceil(scale * (double)workloads[workload].pairs);
    memset(&contender->malloc_ns, 0, sizeof contender->malloc_ns);
    memset(&contender->free_ns, 0, sizeof contender->free_ns);
    const uint64_t part = contender->pairs / VERIFIED_PART;
    if (profile != NULL) {
        play(bench, backend, workload, VERIFIED, 0, part);
        return;
    }
    if (!play(bench, backend, workload, MEMORY, 0, contender->pairs / 4))
        return;
    contender->memory = team_memory(contender->team);
    if (!play(bench, backend, workload, VERIFIED, 0, part) ||
        !play(bench, backend, workload, TIMED, 0, part))
        return;
    const double estimate_ns = round_ns(bench, backend) * VERIFIED_PART;
    if (estimate_ns > (double)limit_ns)
        contender->pairs =
            (uint64_t)ceil((double)contender->pairs * (double)limit_ns / estimate_ns);
}

/* Does the timed rounds of all backends on a workload. */
static void play_rounds(struct bench *bench, unsigned workload)
{
    for (uint64_t round = 0; round < rounds; round++) {
        for (unsigned turn = 0; turn < bench->backend_count; turn++) {
            const unsigned b = (unsigned)((round + turn) % bench->backend_count);
            struct contender *contender = &bench->contenders[b];
            if (contender->team == NULL)
                continue;
            bh_progress_update(&bench->progress, bench->rounds_done, workload_names[workload]);
            if (!play(bench, b, workload, TIMED, round, contender->pairs))
                continue;
            contender->rounds[round] = team_measurement(contender->team);
            if (profile == NULL && round % ROUNDS_A_LATENCY == 0 &&
                play(bench, b, workload, LATENCY, round, contender->pairs))
                team_latencies(contender->team, &contender->malloc_ns, &contender->free_ns);
        }
        bench->rounds_done++;
    }
}

/* Median over the rounds of how much faster than the reference a backend was in the same round. */
static double speed_ratio(const struct bench *bench, unsigned backend)
{
    double ratios[ROUNDS_MAX];

    if (reference == NO_CHOICE || bench->contenders[reference].team == NULL)
        return NAN;
    for (uint64_t round = 0; round < rounds; round++)
        ratios[round] = bench->contenders[reference].rounds[round].ns_per_pair /
                        bench->contenders[backend].rounds[round].ns_per_pair;
    return bh_stats(ratios, rounds).median;
}

static double quantile(const bh_hist_t *hist, double fraction)
{
    return bh_hist_count(hist) == 0 ? NAN : (double)bh_hist_quantile(hist, fraction);
}

static double per_live(const struct memory *memory, uint64_t bytes)
{
    return memory->live < LIVE_MIN ? NAN : (double)bytes / (double)memory->live;
}

static void report(struct bench *bench, unsigned backend, unsigned workload)
{
    const struct contender *contender = &bench->contenders[backend];
    const struct memory *memory = &contender->memory;
    double ns[ROUNDS_MAX], throughput[ROUNDS_MAX], faults[ROUNDS_MAX];

    for (uint64_t round = 0; round < rounds; round++) {
        const struct measurement *measured = &contender->rounds[round];
        ns[round] = measured->ns_per_pair;
        throughput[round] = measured->pairs_per_s / 1e6;
        faults[round] = measured->faults * 1000 / (double)measured->pairs;
    }
    const bh_stats_t stats = bh_stats(ns, rounds);
    const double ratio = speed_ratio(bench, backend);
    bench->ratios[backend][workload] = ratio;
    bh_field_t fields[RESULT_MAX + BH_COUNTERS] = {
        bh_text("workload", workload_names[workload]),
        bh_text("backend", backend_names[backend]),
        bh_real("ns_per_pair", stats.median, 2),
        bh_real("ns_iqr", bh_stats_iqr(&stats), 2),
        bh_real("mpairs_per_s", bh_stats(throughput, rounds).median, 2),
        bh_real("ratio", ratio, 3),
        bh_real("malloc_p99_ns", quantile(&contender->malloc_ns, 0.99), 0),
        bh_real("malloc_p999_ns", quantile(&contender->malloc_ns, 0.999), 0),
        bh_real("held_per_live", per_live(memory, memory->held), 2),
        /* What follows is not in the table. */
        bh_real("malloc_p50_ns", quantile(&contender->malloc_ns, 0.5), 0),
        bh_real("malloc_max_ns", quantile(&contender->malloc_ns, 1), 0),
        bh_real("free_p50_ns", quantile(&contender->free_ns, 0.5), 0),
        bh_real("free_p99_ns", quantile(&contender->free_ns, 0.99), 0),
        bh_real("free_p999_ns", quantile(&contender->free_ns, 0.999), 0),
        bh_real("free_max_ns", quantile(&contender->free_ns, 1), 0),
        bh_count("live_bytes", memory->live),
        bh_count("held_bytes", memory->held),
        bh_count("kept_bytes", memory->kept),
        bh_real("kept_per_live", per_live(memory, memory->kept), 2),
        bh_real("faults_per_1000", bh_stats(faults, rounds).median, 2),
        bh_count("processes", processes),
        bh_count("threads", team_threads(contender->team)),
        bh_count("pairs", contender->rounds[0].pairs),
    };
    for (unsigned c = 0; c < BH_COUNTERS; c++) {
        double values[ROUNDS_MAX];
        for (uint64_t round = 0; round < rounds; round++)
            values[round] =
                contender->rounds[round].counters[c] / (double)contender->rounds[round].pairs;
        fields[RESULT_MAX + c] =
            bh_real(bh_counter_names[c], counts ? bh_stats(values, rounds).median : NAN, 3);
    }
    bh_write(&bench->lines, "result", fields, RESULT_SHOWN);
    bh_write(&bench->details, "result", fields, RESULT_MAX + BH_COUNTERS);
}

/* What a pair asks emulated memory for. There is no time in it but the emulator's, so that it is
 * the same wherever it is counted. */
static void report_emulated(struct bench *bench, unsigned backend, unsigned workload)
{
    const struct contender *contender = &bench->contenders[backend];
    bh_field_t fields[EMULATED_MAX];
    size_t count = 0;

    fields[count++] = bh_text("workload", workload_names[workload]);
    fields[count++] = bh_count("pairs", contender->rounds[0].pairs);
    for (unsigned a = 0; a < TEAM_ACCESSES; a++) {
        double values[ROUNDS_MAX];
        for (uint64_t round = 0; round < rounds; round++)
            values[round] =
                contender->rounds[round].accesses[a] / (double)contender->rounds[round].pairs;
        fields[count++] = bh_real(team_access_names[a], bh_stats(values, rounds).median, 4);
    }
    /* What follows is not in the table. */
    fields[count++] = bh_count("processes", processes);
    fields[count++] = bh_count("threads", team_threads(contender->team));
    bh_write(&bench->lines, "emulated", fields, EMULATED_SHOWN);
    bh_write(&bench->details, "emulated", fields, count);
}

/* NULL, or why it cannot be started. */
static const char *start_emulator(void)
{
    const struct emu_options emulator = {
        .struct_size = sizeof emulator,
        .mode = EMU_VIRTUAL,
        .profile = profile,
    };

    return profile == NULL || emu_start(&emulator) == 0 ? NULL : emu_error_detail();
}

static void stop_emulator(void)
{
    if (profile != NULL)
        emu_stop();
}

static void run_workload(struct bench *bench, unsigned workload)
{
    /* Each has an emulator of its own, and finds no caches and queues as others have left them. */
    const char *failure = start_emulator();
    if (failure != NULL) {
        fprintf(stderr, "alps-bench: %s: %s\n", workload_names[workload], failure);
        bench->failed = true;
        return;
    }
    for (unsigned b = 0; b < bench->backend_count; b++)
        start(bench, b, workload);
    play_rounds(bench, workload);
    bh_progress_clear(&bench->progress);
    for (unsigned b = 0; b < bench->backend_count; b++) {
        if (bench->contenders[b].team == NULL)
            continue;
        if (profile == NULL)
            report(bench, b, workload);
        else
            report_emulated(bench, b, workload);
    }
    for (unsigned b = 0; b < bench->backend_count; b++) {
        struct contender *contender = &bench->contenders[b];
        const char *problem = contender->team == NULL ? NULL : team_stop(contender->team);
        if (problem != NULL)
            report_failure(bench, b, workload, problem);
    }
    stop_emulator();
}

/* Each backend's speed against the reference: a line for each workload, and one for all. */
static void report_summary(struct bench *bench)
{
    bh_field_t fields[BACKENDS_MAX + 1];
    double ratios[BACKENDS_MAX][WORKLOAD_COUNT];
    size_t done[BACKENDS_MAX] = {0};

    for (unsigned w = 0; w <= WORKLOAD_COUNT; w++) {
        size_t count = 0;
        if (w < WORKLOAD_COUNT && !chosen(chosen_workloads, w))
            continue;
        fields[count++] = bh_text("ratio", w < WORKLOAD_COUNT ? workload_names[w] : "geomean");
        for (unsigned b = 0; b < bench->backend_count; b++) {
            if (!chosen(chosen_backends, b))
                continue;
            double ratio =
                w < WORKLOAD_COUNT ? bench->ratios[b][w] : bh_geometric_mean(ratios[b], done[b]);
            if (w < WORKLOAD_COUNT && !isnan(ratio))
                ratios[b][done[b]++] = ratio;
            fields[count++] = bh_real(backend_names[b], ratio, 2);
        }
        bh_write(&bench->lines, "summary", fields, count);
        bh_write(&bench->details, "summary", fields, count);
    }
}

static void describe_run(struct bench *bench, int argc, char **argv)
{
    bh_field_t extra[BACKENDS_MAX + 8] = {
        bh_count("processes", processes),
        bh_count("threads", threads),
        bh_real("scale", scale, 4),
        bh_count("rounds", rounds),
        bh_count("seed", seed),
        bh_text("clock", profile == NULL ? clock_names[clock_choice] : "virtual"),
        bh_text("emulation", emu_describe()),
        bh_text("reference", reference == NO_CHOICE ? "none" : backend_names[reference]),
    };
    size_t count = 8;

    for (unsigned b = 0; b < bench->backend_count; b++) {
        if (chosen(chosen_backends, b))
            extra[count++] = bh_text(backends[b]->name, backends[b]->version());
    }
    bh_write_machine(&bench->lines, "alps-bench", alps_version(), argc, argv, extra, count);
    bh_write_machine(&bench->details, "alps-bench", alps_version(), argc, argv, extra, count);
}

static void run_all(struct bench *bench)
{
    const uint64_t all = chosen_workloads & ((UINT64_C(1) << WORKLOAD_COUNT) - 1);

    for (unsigned b = 0; b < BACKENDS_MAX; b++) {
        for (unsigned w = 0; w < WORKLOAD_COUNT; w++)
            bench->ratios[b][w] = NAN;
    }
    bh_progress_start(&bench->progress, rounds * (unsigned)__builtin_popcountll(all));
    for (unsigned w = 0; w < WORKLOAD_COUNT; w++) {
        if (chosen(chosen_workloads, w))
            run_workload(bench, w);
    }
    if (reference != NO_CHOICE)
        report_summary(bench);
}

static void print_list(void)
{
    puts("backends:");
    for (unsigned b = 0; backends[b] != NULL; b++)
        printf("  %-14s %s\n", backends[b]->name, backends[b]->version());
    puts("workloads:");
    for (unsigned w = 0; w < WORKLOAD_COUNT; w++)
        printf("  %-14s %s\n", workloads[w].name, workloads[w].description);
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

/* The same for a run on emulated memory, which only ALPS accesses. */
static const char *settle_emulation(void)
{
    uint64_t able = 0;

    if (counts || clock_choice != TEAM_CLOCK_WALL || limit_ns != LIMIT_NS || reference != NO_CHOICE)
        return "--emu counts accesses by one backend, and takes no --clock, --counters, --limit or "
               "--reference";
    for (unsigned b = 0; backends[b] != NULL; b++) {
        const bool is_alps = strcmp(backends[b]->name, "alps") == 0;
        if (is_alps && chosen_backends == UINT64_MAX)
            chosen_backends = UINT64_C(1) << b;
        if (is_alps || strcmp(backends[b]->name, "alps-to") == 0)
            able |= UINT64_C(1) << b;
    }
    if ((chosen_backends & ~able) != 0 || (chosen_backends & (chosen_backends - 1)) != 0)
        return "--emu takes the backend alps, or alps-to, alone: others make no accesses to "
               "emulated memory";
    return emu_launch_check(profile);
}

/* NULL, or what is wrong with the command line as a whole. */
static const char *settle_options(void)
{
    if (!(scale > 0 && scale <= SCALE_MAX))
        return "--scale must be more than 0 and at most 10000";
    if (profile != NULL)
        return settle_emulation();
    if (reference != NO_CHOICE && !chosen(chosen_backends, reference))
        return "--reference must be among --backends";
    for (unsigned b = 0; reference == NO_CHOICE && backends[b] != NULL; b++) {
        if (chosen(chosen_backends, b) && strcmp(backends[b]->name, "mimalloc") == 0)
            reference = b;
    }
    return NULL;
}

static void warn_without_counters(void)
{
    bh_counters_t counters;

    if (bh_counters_open(&counters) == 0)
        fprintf(stderr, "alps-bench: no hardware counters here: %s\n", strerror(errno));
    bh_counters_close(&counters);
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
    if (profile != NULL && (problem = emu_launch(argv)) != NULL) {
        fprintf(stderr, "alps-bench: %s\n", problem);
        return EXIT_FAIL;
    }
    if ((problem = start_emulator()) != NULL) {
        fprintf(stderr, "alps-bench: %s\n", problem);
        return EXIT_USAGE;
    }
    if (chosen(chosen_workloads, WORKLOAD_trace) &&
        trace_read(trace_path == NULL ? own_trace() : trace_path, &bench.trace, error) != 0) {
        fprintf(stderr, "alps-bench: %s\n", error);
        return EXIT_USAGE;
    }
    if (bh_writer_open(&bench.details, json_path, csv_path, NULL, &path) != 0) {
        fprintf(stderr, "alps-bench: %s: %s\n", path, strerror(errno));
        return EXIT_FAIL;
    }
    bench.lines.table = stdout;
    if (counts)
        warn_without_counters();
    while (backends[bench.backend_count] != NULL)
        bench.backend_count++;
    describe_run(&bench, argc, argv);
    stop_emulator();
    run_all(&bench);
    trace_free(&bench.trace);
    if (bh_writer_close(&bench.details) != 0) {
        fputs("alps-bench: not all results could be written\n", stderr);
        bench.failed = true;
    }
    printf("RESULT: %s\n", bench.failed ? "FAIL" : "PASS");
    return bench.failed ? EXIT_FAIL : EXIT_PASS;
}
