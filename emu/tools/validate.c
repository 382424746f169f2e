/* emu-validate: what the emulator produced against what was asked of it.
 *
 * Each measurement runs in processes of its own, with a profile made for it: dependent reads over
 * latencies and sizes; bandwidth of one and of several processes on a link; latency beside a load,
 * against the profile's curve, for three mixes; a profile that adds nothing against no emulator;
 * and the mode virtual against itself. On a machine too busy to measure on it reports nothing. */
#include <emu/emu.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/clock.h"
#include "harness/options.h"
#include "harness/progress.h"
#include "harness/record.h"
#include "harness/stats.h"

enum { EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_BUSY = 77 };
#define ROUNDS_MAX 101u
#define WORKERS_MAX 64u
#define RUNS 40u /* of 1000 reads, in a measurement of latency */

static bh_list_t targets = {6, {250, 300, 500, 1000, 2000, 4000}};
static bh_list_t sizes = {3, {64 << 20, 256 << 20, 1024 << 20}};
static bh_list_t rates = {3, {2, 5, 10}};
static bh_list_t loads = {4, {0, 30, 60, 90}};
static uint64_t rounds = 5, duration_ns = 200 * 1000 * 1000, processes = 2;
static const char *json_path, *csv_path;
static bool help, version, anyway;

static const bh_option_t options[] = {
    {.name = "targets",
     .letter = 't',
     .kind = BH_OPTION_COUNTS,
     .value = &targets,
     .argument = "LIST",
     .help = "latencies asked for, ns (default 250,300,500,1000,2000,4000)",
     .min = 1,
     .max = 1000000},
    {.name = "sizes",
     .letter = 's',
     .kind = BH_OPTION_SIZES,
     .value = &sizes,
     .argument = "LIST",
     .help = "memory read at random, powers of two (default 64M,256M,1G)",
     .min = 1 << 20,
     .max = (uint64_t)1 << 36},
    {.name = "rates",
     .letter = 'b',
     .kind = BH_OPTION_COUNTS,
     .value = &rates,
     .argument = "LIST",
     .help = "bandwidths of a link, GB/s (default 2,5,10)",
     .min = 1,
     .max = 1000},
    {.name = "loads",
     .letter = 'l',
     .kind = BH_OPTION_COUNTS,
     .value = &loads,
     .argument = "LIST",
     .help = "load of a device beside which latency is measured, % (default 0,30,60,90)",
     .max = 95},
    {.name = "processes",
     .letter = 'p',
     .kind = BH_OPTION_COUNT,
     .value = &processes,
     .argument = "N",
     .help = "processes on a link, besides one alone (default 2)",
     .min = 1,
     .max = WORKERS_MAX},
    {.name = "duration",
     .letter = 'd',
     .kind = BH_OPTION_DURATION,
     .value = &duration_ns,
     .argument = "TIME",
     .help = "of a measurement of bandwidth (default 200ms)",
     .min = 1000 * 1000},
    {.name = "rounds",
     .letter = 'r',
     .kind = BH_OPTION_COUNT,
     .value = &rounds,
     .argument = "N",
     .help = "rounds, of which medians are taken (default 5)",
     .min = 1,
     .max = ROUNDS_MAX},
    {.name = "anyway",
     .kind = BH_OPTION_FLAG,
     .value = &anyway,
     .help = "report also on a machine too busy to measure on"},
    {.name = "json",
     .kind = BH_OPTION_TEXT,
     .value = &json_path,
     .argument = "FILE",
     .help = "write results as JSON lines, - for standard output"},
    {.name = "csv",
     .kind = BH_OPTION_TEXT,
     .value = &csv_path,
     .argument = "FILE",
     .help = "write results as CSV, - for standard output"},
    {.name = "version", .kind = BH_OPTION_FLAG, .value = &version, .help = "print the version"},
    {.name = "help",
     .letter = 'h',
     .kind = BH_OPTION_FLAG,
     .value = &help,
     .help = "print this help"},
    {.name = NULL},
};

/* What the processes of one measurement share. */
struct shared {
    double result[WORKERS_MAX]; /* NaN: failed */
    double base_ns;             /* of this machine, over 256 MiB: what all emulators start from */
    unsigned discarded;
    unsigned together, ready; /* workers that start at the same time */
    int over;                 /* the one that measures is done */
    char error[512];
};

static struct shared *shared;
static char directory[64], profile_path[96], share_path[96];
static bh_writer_t writer;
static bh_progress_t progress;
static uint64_t steps_done;
static bool outside;

/* ---- processes ---- */

static double fail(const char *what, const char *why)
{
    snprintf(shared->error, sizeof shared->error, "%s: %s", what, why);
    return (double)NAN;
}

/* A profile for the measurement to come. */
static bool write_profile(const char *text)
{
    FILE *file = fopen(profile_path, "w");
    if (file != NULL && fputs(text, file) >= 0 && fclose(file) == 0)
        return true;
    fail(profile_path, strerror(errno));
    return false;
}

struct worker {
    unsigned index;
    enum emu_mode mode; /* EMU_OFF: none */
    double (*work)(const struct worker *worker);
    uint64_t bytes;  /* of memory */
    double rate;     /* bytes/ns that a load is to have */
    unsigned writes; /* of 2 accesses of a load */
};

/* Each worker has a processor of its own, as far as they go. */
static void bind_worker(unsigned index)
{
    cpu_set_t allowed, own;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    unsigned skip = index % (unsigned)CPU_COUNT(&allowed);
    unsigned cpu = 0;
    while (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
        cpu++;
    CPU_ZERO(&own);
    CPU_SET(cpu, &own);
    sched_setaffinity(0, sizeof own, &own);
}

static double work(const struct worker *w)
{
    bind_worker(w->index);
    const struct emu_options o = {.struct_size = sizeof o,
                                  .mode = w->mode,
                                  .profile = profile_path,
                                  .share = share_path,
                                  .base_ns = shared->base_ns};
    if (emu_start(&o) != 0)
        return fail("emulator", emu_error_detail());
    return w->work(w);
}

/* Runs workers at the same time and waits for all; false if one failed. */
static bool run_workers(struct worker *workers, unsigned count)
{
    pid_t children[WORKERS_MAX];
    bool good = true;
    bh_progress_update(&progress, ++steps_done, NULL);
    shared->together = count;
    shared->ready = 0;
    shared->over = 0;
    fflush(NULL);
    for (unsigned i = 0; i < count; i++) {
        workers[i].index = i;
        shared->result[i] = (double)NAN;
        children[i] = fork();
        if (children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            shared->result[i] = work(&workers[i]);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < count; i++)
        good = children[i] > 0 && waitpid(children[i], NULL, 0) == children[i] &&
               !isnan(shared->result[i]) && good;
    unlink(share_path);
    return good;
}

static void wait_for_others(void)
{
    const struct timespec nap = {0, 100 * 1000};
    __atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < shared->together)
        nanosleep(&nap, NULL);
}

/* Ticks, since it was last asked, that others took of this virtual machine's processors. */
static uint64_t stolen_ticks(void)
{
    static uint64_t before;
    uint64_t stolen = 0;
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL || fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &stolen) != 1)
        stolen = 0;
    if (file != NULL)
        fclose(file);
    const uint64_t since = stolen - before;
    before = stolen;
    return since;
}

static void write_result(const char *test, const char *series, const char *unit, double parameter,
                         double asked, double got, double promised)
{
    const double error = 100 * (got - asked) / asked;
    const bool within = isnan(promised) || fabs(error) <= promised;
    const bh_field_t fields[] = {
        bh_text("test", test),
        bh_text("series", series),
        bh_text("unit", unit),
        bh_real("parameter", parameter, 0),
        bh_real("asked", asked, 2),
        bh_real("got", got, 2),
        bh_real("error_percent", error, 2),
        bh_real("promised_percent", promised, 0),
        bh_text("verdict", isnan(promised) ? "-"
                           : within        ? "within"
                                           : "OUTSIDE"),
    };
    outside = outside || !within;
    bh_progress_clear(&progress);
    bh_write(&writer, "validation", fields, sizeof fields / sizeof fields[0]);
}

/* What cannot be done here is left out, and that is said. */
static void leave_out(const char *test, double asked)
{
    bh_progress_clear(&progress);
    fprintf(stderr, "left out: %s of %.0f: %s\n", test, asked, shared->error);
}

/* ---- latency ---- */

static double chase(const struct worker *w)
{
    struct emu_chase c = {.struct_size = sizeof c,
                          .bytes = w->bytes,
                          .node = -1,
                          .far = w->mode != EMU_OFF,
                          .runs = RUNS};
    wait_for_others();
    const int rc = emu_chase_run(&c);
    __atomic_store_n(&shared->over, 1, __ATOMIC_SEQ_CST);
    if (rc != 0)
        return fail("reads", emu_error_detail());
    shared->discarded = c.discarded;
    return c.discarded > RUNS / 4 ? fail("reads", "too many of them were interrupted")
                                  : c.median_ns;
}

/* The gate: what dependent reads take on this machine, and whether that is the same each time. */
static int look_at_machine(void)
{
    double values[ROUNDS_MAX];
    unsigned discarded = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        struct worker w = {.work = chase, .bytes = 256 << 20};
        if (!run_workers(&w, 1))
            return EXIT_BUSY;
        values[i] = shared->result[0];
        discarded += shared->discarded;
    }
    const bh_stats_t s = bh_stats(values, rounds);
    const double spread = bh_stats_iqr(&s) / s.median;
    shared->base_ns = s.median;
    if (spread <= 0.1 && discarded <= RUNS / 4 * rounds)
        return EXIT_PASS;
    snprintf(shared->error, sizeof shared->error,
             "this machine is too busy to measure on: its own latency is %.0f ns with a spread of "
             "%.0f %% between rounds, and %u of %" PRIu64 " runs were interrupted",
             s.median, 100 * spread, discarded, RUNS * rounds);
    return EXIT_BUSY;
}

/* What the machine takes itself over so many bytes; NaN if it cannot be measured. */
static double base_of(uint64_t bytes)
{
    double values[ROUNDS_MAX];
    for (uint64_t i = 0; i < rounds; i++) {
        struct worker w = {.work = chase, .bytes = bytes};
        if (!run_workers(&w, 1))
            return (double)NAN;
        values[i] = shared->result[0];
    }
    return bh_stats(values, rounds).median;
}

/* Promised is 3 % from 300 ns on, and 5 % from 50 ns above what the machine takes itself on. */
static double promised_for(double target, double base)
{
    return target < base + 50 ? (double)NAN : target < 300 ? 5 : 3;
}

static void validate_latency(double target, uint64_t bytes, double base)
{
    double values[ROUNDS_MAX];
    char text[128], what[64];
    bool good = true;
    snprintf(text, sizeof text, "[memory m]\nread = %.0f ns\n", target);
    snprintf(what, sizeof what, "%" PRIu64 " MiB", bytes >> 20);
    for (uint64_t i = 0; i < rounds && good; i++) {
        struct worker w = {.mode = EMU_SPIN, .work = chase, .bytes = bytes};
        good = write_profile(text) && run_workers(&w, 1);
        values[i] = shared->result[0];
    }
    if (good)
        write_result("latency", what, "ns", target, target, bh_stats(values, rounds).median,
                     promised_for(target, base));
    else
        leave_out("latency", target);
}

/* A profile that adds nothing beside no emulator, by turns in one process: what emulation costs. */
static void validate_sham(void)
{
    double own[4 * ROUNDS_MAX], sham[4 * ROUNDS_MAX];
    const uint64_t turns = 4 * rounds; /* the difference is small */
    const struct emu_options o = {.struct_size = sizeof o,
                                  .mode = EMU_SPIN,
                                  .profile = profile_path,
                                  .base_ns = shared->base_ns};
    const struct worker w = {.bytes = 256 << 20};
    const struct worker w_far = {.mode = EMU_SPIN, .bytes = 256 << 20};
    bool good = write_profile("[memory own]\n");
    shared->together = 1;
    for (uint64_t i = 0; i < turns && good; i++) {
        bh_progress_update(&progress, ++steps_done, NULL);
        own[i] = chase(&w);
        good = emu_start(&o) == 0;
        sham[i] = good ? chase(&w_far) : fail("emulator", emu_error_detail());
        emu_stop();
        good = good && !isnan(own[i]) && !isnan(sham[i]);
    }
    if (good)
        write_result("sham", "256 MiB", "ns", bh_stats(own, turns).median,
                     bh_stats(own, turns).median, bh_stats(sham, turns).median, 2);
    else
        leave_out("sham", 0);
}

/* ---- bandwidth ---- */

static char *far_memory(const struct worker *w)
{
    char *memory = mmap(NULL, w->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || emu_add(memory, w->bytes, w->bytes * w->index) != 0)
        return NULL;
    for (uint64_t i = 0; i < w->bytes; i += 4096)
        memory[i] = 0;
    return memory;
}

/* Reads as fast as it goes; returns bytes/ns over the link. */
static double stream(const struct worker *w)
{
    const size_t piece = 16384;
    char *memory = far_memory(w);
    if (memory == NULL)
        return fail("bandwidth", "no memory");
    wait_for_others();
    const uint64_t start = bh_clock_ns(), end = start + duration_ns;
    uint64_t now = start;
    for (size_t at = 0; now < end; at = (at + piece) % w->bytes) {
        emu_read(memory + at, piece);
        now = bh_clock_ns();
    }
    struct emu_counts c;
    emu_count(&c);
    return (double)c.bytes_read / (double)(now - start);
}

/* Bytes/ns that so many processes read together over a link of that rate; NaN: not measured. */
static double bandwidth_of(double rate, unsigned count)
{
    double sums[ROUNDS_MAX];
    char text[160];
    bool good = true;
    snprintf(text, sizeof text,
             "parallelism = 256\n[link l]\nbandwidth = %.0f GB/s\n[memory m]\nread = 400 ns\n",
             rate);
    for (uint64_t i = 0; i < rounds && good; i++) {
        struct worker workers[WORKERS_MAX];
        for (unsigned j = 0; j < count; j++)
            workers[j] = (struct worker){.mode = EMU_SPIN, .work = stream, .bytes = 128 << 20};
        good = write_profile(text) && run_workers(workers, count);
        sums[i] = 0;
        for (unsigned j = 0; j < count; j++)
            sums[i] += shared->result[j];
    }
    return good ? bh_stats(sums, rounds).median : (double)NAN;
}

/* Promised is 5 %, where the machine itself could do half as much again. */
static void validate_bandwidth(unsigned count)
{
    char what[64];
    snprintf(what, sizeof what, "%u process%s", count, count == 1 ? "" : "es");
    const double most = bandwidth_of(1000, count);
    write_result("native", what, "GB/s", count, (double)NAN, most, (double)NAN);
    for (size_t r = 0; r < rates.count; r++) {
        const double rate = (double)rates.items[r], got = bandwidth_of(rate, count);
        if (isnan(got))
            leave_out("bandwidth", rate);
        else
            write_result("bandwidth", what, "GB/s", rate, rate, got,
                         most > 1.5 * rate ? 5 : (double)NAN);
    }
}

/* ---- latency beside a load ---- */

/* The device of these measurements: bytes/ns by the share of reads, and latency by utilisation. */
#define LOADED_NS 600
static double rate_at(double reads)
{
    return 1 + reads;
}
static double factor_at(double utilisation)
{
    return utilisation <= 0.5 ? 1 + 0.4 * utilisation : 1.2 + 2 * (utilisation - 0.5);
}

/* Accesses random places at its rate until the other worker has measured. */
static double load(const struct worker *w)
{
    const size_t piece = 4096;
    char *memory = far_memory(w);
    if (memory == NULL)
        return fail("load", "no memory");
    wait_for_others();
    uint64_t x = 1, n = 0;
    double due = (double)bh_clock_ns();
    while (!__atomic_load_n(&shared->over, __ATOMIC_RELAXED)) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const size_t at = (size_t)(x >> 33) % (w->bytes / piece) * piece;
        if (n++ % 2 < w->writes)
            emu_write(memory + at, piece);
        else
            emu_read(memory + at, piece);
        due += (double)piece / w->rate;
        while ((double)bh_clock_ns() < due)
            continue;
    }
    return 0;
}

/* writes: of 2 accesses. Each fetches its lines, and a write writes them back, too. The reads that
 * are measured are a load as well, which was there at calibration. */
static void validate_loaded(unsigned percent, unsigned writes)
{
    const double traffic = 1 + writes / 2.0, reads = 1 / traffic, utilisation = percent / 100.0;
    const double own = 64 / (LOADED_NS * factor_at(utilisation)) / rate_at(reads);
    double values[ROUNDS_MAX];
    char text[256], what[64];
    bool good = true;
    snprintf(text, sizeof text,
             "parallelism = 64\n[memory m]\nread = %d ns\n"
             "bandwidth = %.0f GB/s at 0 %% reads, %.0f GB/s at 100 %% reads\n"
             "loaded = %.1f at 0 %%, %.1f at 50 %%, %.1f at 100 %%\n",
             LOADED_NS, rate_at(0), rate_at(1), factor_at(0), factor_at(0.5), factor_at(1));
    snprintf(what, sizeof what, "%.0f %% reads", 100 * reads);
    for (uint64_t i = 0; i < rounds && good; i++) {
        struct worker workers[] = {
            {.mode = EMU_SPIN, .work = chase, .bytes = 256 << 20},
            {.mode = EMU_SPIN,
             .work = load,
             .bytes = 128 << 20,
             .rate = utilisation * rate_at(reads) / traffic,
             .writes = writes},
        };
        good = write_profile(text) && run_workers(workers, percent == 0 ? 1 : 2);
        values[i] = shared->result[0];
    }
    if (good)
        write_result("loaded", what, "ns", percent,
                     LOADED_NS * factor_at(utilisation + own) / factor_at(own),
                     bh_stats(values, rounds).median, (double)NAN);
    else
        leave_out("loaded", percent);
}

/* ---- virtual ---- */

/* Accesses of all kinds; returns the clock. */
static double some_of_all(const struct worker *w)
{
    char *memory = far_memory(w);
    uint64_t x = 1;
    if (memory == NULL)
        return fail("virtual", "no memory");
    for (int i = 0; i < 300000; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const size_t at = (size_t)(x >> 33) % (w->bytes - 4096) & ~(size_t)7;
        if (x >> 62 == 0)
            emu_write(memory + at, x >> 20 & 1023);
        else if (x >> 62 == 1)
            emu_atomic(memory + at);
        else
            emu_read(memory + at, x >> 20 & 4095);
    }
    return (double)emu_clock_ns();
}

static void validate_virtual(void)
{
    double clocks[2];
    bool good = write_profile("[link l]\nlatency = 100 ns\nbandwidth = 4 GB/s\n"
                              "[memory m]\nread = 400 ns\ncount = 2\nbandwidth = 3 GB/s\n");
    for (int i = 0; i < 2 && good; i++) {
        struct worker w = {.mode = EMU_VIRTUAL, .work = some_of_all, .bytes = 64 << 20};
        good = run_workers(&w, 1);
        clocks[i] = shared->result[0];
    }
    if (good)
        write_result("virtual", "twice the same run", "ns", 0, clocks[0], clocks[1], 0);
    else
        leave_out("virtual", 0);
}

/* ---- all ---- */

static void validate_all(void)
{
    for (size_t s = 0; s < sizes.count; s++) {
        const double base = base_of(sizes.items[s]);
        char what[64];
        snprintf(what, sizeof what, "%" PRIu64 " MiB", sizes.items[s] >> 20);
        write_result("native", what, "ns", (double)(sizes.items[s] >> 20), (double)NAN, base,
                     (double)NAN);
        for (size_t t = 0; t < targets.count; t++)
            validate_latency((double)targets.items[t], sizes.items[s], base);
    }
    validate_sham();
    validate_bandwidth(1);
    if (processes > 1)
        validate_bandwidth((unsigned)processes);
    for (unsigned writes = 0; writes <= 2; writes++)
        for (size_t l = 0; l < loads.count; l++)
            validate_loaded((unsigned)loads.items[l], writes);
    validate_virtual();
}

static int validate(int argc, char **argv)
{
    const char *problem;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        fputs("emu-validate: no memory\n", stderr);
        return EXIT_FAIL;
    }
    if (bh_writer_open(&writer, json_path, csv_path, stdout, &problem) != 0) {
        fprintf(stderr, "emu-validate: %s: %s\n", problem, strerror(errno));
        return EXIT_FAIL;
    }
    stolen_ticks();
    bh_progress_start(&progress, rounds * (1 + (1 + targets.count) * sizes.count + 2 +
                                           2 * rates.count + 3 * loads.count) +
                                     2);
    const int gate = look_at_machine();
    if (gate != EXIT_PASS && !anyway) {
        bh_progress_clear(&progress);
        fprintf(stderr, "emu-validate: %s\n", shared->error);
        bh_writer_close(&writer);
        return gate;
    }
    const bh_field_t extra[] = {bh_real("base_ns", shared->base_ns, 1), bh_count("rounds", rounds)};
    bh_write_machine(&writer, "emu-validate", EMU_VERSION, argc, argv, extra, 2);
    validate_all();
    bh_progress_clear(&progress);
    if (bh_writer_close(&writer) != 0) {
        fputs("emu-validate: the results cannot be written\n", stderr);
        return EXIT_FAIL;
    }
    printf("RESULT: %s\n", outside ? "FAIL" : "PASS");
    return outside ? EXIT_FAIL : EXIT_PASS;
}

int main(int argc, char **argv)
{
    char error[BH_ERROR_MAX];
    if (bh_options_parse(options, argc, argv, error) != 0) {
        fprintf(stderr, "emu-validate: %s\nTry emu-validate --help.\n", error);
        return EXIT_USAGE;
    }
    if (help) {
        puts("usage: emu-validate [OPTION]...\n"
             "Measures what the emulator produces on this machine against what is asked of it.\n");
        bh_options_describe(options, stdout);
        puts("\nExit status: 0 all promises kept, 1 one was not or something went wrong,\n"
             "2 wrong usage, 77 the machine is too busy to measure on.");
        return EXIT_PASS;
    }
    if (version) {
        puts("emu-validate " EMU_VERSION);
        return EXIT_PASS;
    }
    snprintf(directory, sizeof directory, "/tmp/emu-validate.XXXXXX");
    if (mkdtemp(directory) == NULL) {
        fprintf(stderr, "emu-validate: %s: %s\n", directory, strerror(errno));
        return EXIT_FAIL;
    }
    snprintf(profile_path, sizeof profile_path, "%s/asked.profile", directory);
    snprintf(share_path, sizeof share_path, "%s/share", directory);
    const int status = validate(argc, argv);
    unlink(profile_path);
    rmdir(directory);
    return status;
}
