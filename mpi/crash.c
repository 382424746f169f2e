/* alps-mpi-crash: worker processes of all ranks are killed at random while the others go on; the
 * job recovers, frees in bulk or commits what the dead leave, and compares the heap with a journal.
 *
 * Idea: Open MPI ends a job of which a rank dies, so a rank is a supervisor, and the victims are
 * programs that it starts: this one with --worker, which knows nothing of MPI. They allocate,
 * verify and free on one heap, each other's blocks too.
 *
 * The journal lies outside of the heap, in memory that all share. It has a cell for each block; in
 * the heap lies a table with a place for each cell. Blocks come by alps_malloc_to, which publishes
 * them in the place, and go by alps_free_from. So whenever a worker is killed, the place says
 * whether the block is there: nothing is ever in doubt, and the heap must have exactly the blocks
 * that the journal has.
 *
 *   state of a cell                 who may change it
 *   EMPTY, FULL                     anyone, by a CAS that names who takes it
 *   ALLOCATING, LOOKING, FREEING    the worker named; if it was killed, its rank, by the place
 *   CLEARING                        the rank named
 *
 * A round, in each rank: it kills one of its workers; puts the cells in order that the worker had
 * in hand; waits until the others have done something, so that nobody waits for the dead; recovers;
 * and bulk-frees the generation of the dead or commits it; then another worker takes its seat. A
 * repetition ends with the death of all workers, as if the job had crashed: one rank recovers them
 * all (where nodes share the memory, those of each node), and the heap is compared block by block
 * and byte by byte, before their generations are freed and after.
 *
 * With --keep a job leaves heap and journal. If all of it is killed, another job, with --recover,
 * takes them over, and ends the same way. What the ranks of the first had in hand, a generation
 * half way through bulk free or commit, the journal says too. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"
#include "emulation.h"
#include "harness/clock.h"
#include "harness/histogram.h"
#include "harness/pattern.h"
#include "harness/random.h"
#include "harness/stats.h"

#define KIB (UINT64_C(1) << 10)
#define WORKERS_MAX 64
#define SEATS_MAX 4000 /* of all ranks, each an instance of the heap */
#define FREE_ONE_IN 2  /* looks at a block that end in its being freed */
#define PATIENCE_NS (30 * BH_NS_PER_S)
#define NAP_NS (20 * (long)BH_NS_PER_US)

static uint64_t workers = 2;
static uint64_t blocks = 2000;
static uint64_t min_size = 16;
static uint64_t max_size = 64 * KIB;
static uint64_t interval_ns = 20 * BH_NS_PER_MS;
static uint64_t commits = 25;
static bool recovers;
static bool inject_leak;

static const bh_option_t options[] = {
    {.name = "workers",
     .letter = 'w',
     .kind = BH_OPTION_COUNT,
     .value = &workers,
     .argument = "N",
     .help = "worker processes of each rank (default 2)",
     .min = 1,
     .max = WORKERS_MAX},
    {.name = "blocks",
     .letter = 'b',
     .kind = BH_OPTION_COUNT,
     .value = &blocks,
     .argument = "N",
     .help = "places for blocks, of each rank (default 2000)",
     .min = 1,
     .max = 1000000},
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
     .help = "largest block; small ones are more (default 64K)",
     .min = 1},
    {.name = "kill-interval",
     .letter = 'k',
     .kind = BH_OPTION_DURATION,
     .value = &interval_ns,
     .argument = "TIME",
     .help = "mean time before each kill of a rank (default 20ms)",
     .min = 1},
    {.name = "commit",
     .kind = BH_OPTION_COUNT,
     .value = &commits,
     .argument = "PERCENT",
     .help = "dead generations that are committed, not freed (default 25)",
     .max = 100},
    {.name = "recover",
     .kind = BH_OPTION_FLAG,
     .value = &recovers,
     .help = "recover the --heap that a killed job with --keep has left, and compare it"},
    {.name = "inject-leak",
     .kind = BH_OPTION_FLAG,
     .value = &inject_leak,
     .help = "for tests: lose a block, so that the run fails"},
    {.name = NULL},
};

/* ---- the journal ---------------------------------------------------------------------------- */

enum cell_kind { EMPTY, FULL, ALLOCATING, LOOKING, FREEING, CLEARING };

/* Who has a cell in hand: a seat and how often it was taken, or a rank. */
struct cell {
    uint64_t state;  /* kind | seat << 8 | run << 32 */
    alps_ptr_t ptr;  /* from here: written by who has it in hand */
    uint64_t size;   /* usable bytes, all filled if filled is set */
    uint64_t filled; /* 0 after a death between allocation and filling */
    uint64_t serial; /* of the contents, with the seat that filled them */
    uint64_t owner;
    alps_gen_t generation; /* ALPS_PERMANENT once it was committed */
    uint64_t unused;
};

/* The present worker of a seat, and all before. */
struct seat {
    uint64_t steps;        /* cells changed or looked at */
    alps_gen_t generation; /* 0: has not opened the heap yet */
    uint64_t refused;      /* no room in the heap */
    alps_gen_t ending;     /* being freed in bulk or committed; 0: none */
    uint64_t unused[4];
    char problem[192];
};

struct journal {
    uint64_t magic, seed, seats, cells, min_size, max_size;
    alps_ptr_t places;
    alps_gen_t generation; /* of places */
    struct seat seat[];
};
#define JOURNAL_MAGIC UINT64_C(0x6c616e72756f6a31)

static struct cell *cell_at(struct journal *journal, uint64_t index)
{
    return (struct cell *)(void *)&journal->seat[journal->seats] + index;
}

static size_t journal_size(uint64_t seats, uint64_t cells)
{
    return sizeof(struct journal) + seats * sizeof(struct seat) + cells * sizeof(struct cell);
}

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static uint64_t state_word(enum cell_kind kind, uint64_t seat, uint64_t run)
{
    return (uint64_t)kind | seat << 8 | run << 32;
}

static enum cell_kind kind_of(uint64_t state)
{
    return (enum cell_kind)(state & 255);
}

static bool take(struct cell *cell, enum cell_kind from, uint64_t to)
{
    uint64_t expected = state_word(from, 0, 0);

    return __atomic_compare_exchange_n(&cell->state, &expected, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

static void put(struct cell *cell, enum cell_kind kind)
{
    store(&cell->state, state_word(kind, 0, 0));
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
}

/* ---- a worker ------------------------------------------------------------------------------- */

struct worker {
    struct journal *journal;
    struct seat *seat;
    uint64_t number, run;
    alps_heap_t *heap;
    alps_ptr_t *places;
    bh_rng_t rng;
    uint64_t serial;
};

static __attribute__((noreturn, format(printf, 2, 3))) void give_up(struct worker *w,
                                                                    const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(w->seat->problem, sizeof w->seat->problem, format, arguments);
    va_end(arguments);
    _exit(EXIT_FAILURE);
}

static void allocate(struct worker *w, struct cell *cell, alps_ptr_t *place)
{
    uint64_t size = bh_rng_log_uniform(&w->rng, w->journal->min_size, w->journal->max_size);

    cell->ptr = ALPS_NULL;
    cell->filled = 0;
    cell->owner = w->number;
    cell->serial = w->run << 32 | w->serial++;
    store(&cell->generation, w->seat->generation);
    alps_ptr_t ptr = alps_malloc_to(w->heap, place, size, ALPS_ANY_NODE);
    if (ptr == ALPS_NULL) {
        if (errno != ENOMEM)
            give_up(w, "alps_malloc_to: %s", alps_error_detail());
        w->seat->refused++;
        put(cell, EMPTY);
        return;
    }
    cell->ptr = ptr;
    cell->size = alps_usable_size(w->heap, ptr);
    if (cell->size < size || *place != ptr)
        give_up(w, "block 0x%" PRIx64 " has %" PRIu64 " usable bytes of %" PRIu64, ptr, cell->size,
                size);
    bh_pattern_fill(alps_deref(w->heap, ptr), cell->size, w->journal->seed, cell->owner,
                    cell->serial);
    cell->filled = 1;
    put(cell, FULL);
}

static void look(struct worker *w, struct cell *cell, alps_ptr_t *place)
{
    size_t wrong = BH_PATTERN_OK;

    if (*place != cell->ptr)
        give_up(w, "block 0x%" PRIx64 " is published as 0x%" PRIx64, cell->ptr, *place);
    if (cell->filled)
        wrong = bh_pattern_verify(alps_deref(w->heap, cell->ptr), cell->size, w->journal->seed,
                                  cell->owner, cell->serial);
    if (wrong != BH_PATTERN_OK)
        give_up(w, "block 0x%" PRIx64 " of %" PRIu64 " bytes: byte %zu is wrong", cell->ptr,
                cell->size, wrong);
    if (bh_rng_below(&w->rng, FREE_ONE_IN) != 0) {
        put(cell, FULL);
        return;
    }
    store(&cell->state, state_word(FREEING, w->number, w->run));
    int error = alps_free_from(w->heap, place);
    if (error != 0)
        give_up(w, "alps_free_from of block 0x%" PRIx64 ": %s", cell->ptr, alps_error_detail());
    put(cell, EMPTY);
}

static bool parse_number(const char *text, uint64_t *number)
{
    return bh_parse_count(text, number) == NULL;
}

/* --worker HEAP_FD JOURNAL_FD SEAT RUN: works until it is killed. */
static int work(char **arguments)
{
    uint64_t heap_fd, journal_fd;
    struct driver_share share;
    struct worker w = {0};

    if (!parse_number(arguments[0], &heap_fd) || !parse_number(arguments[1], &journal_fd) ||
        !parse_number(arguments[2], &w.number) || !parse_number(arguments[3], &w.run) ||
        !driver_attach((int)journal_fd, &share) || share.size < journal_size(w.number + 1, 0)) {
        fputs("alps-mpi-crash: --worker is for its own use\n", stderr);
        return 2;
    }
    w.journal = share.memory;
    w.seat = &w.journal->seat[w.number];
    bh_rng_seed(&w.rng, w.journal->seed, w.run << 32 | (w.number + 1));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", (int)heap_fd);
    if (alps_heap_open(path, NULL, &w.heap) != 0)
        give_up(&w, "cannot open the heap: %s", alps_error_detail());
    w.places = alps_deref(w.heap, w.journal->places);
    store(&w.seat->generation, alps_heap_generation(w.heap));
    for (;;) {
        uint64_t index = bh_rng_below(&w.rng, w.journal->cells);
        struct cell *cell = cell_at(w.journal, index);
        if (take(cell, EMPTY, state_word(ALLOCATING, w.number, w.run)))
            allocate(&w, cell, &w.places[index]);
        else if (take(cell, FULL, state_word(LOOKING, w.number, w.run)))
            look(&w, cell, &w.places[index]);
        store(&w.seat->steps, w.seat->steps + 1);
    }
}

/* ---- a rank --------------------------------------------------------------------------------- */

/* What a rank measures in a repetition. Nothing but words, so that MPI can add them up. */
struct measures {
    bh_hist_t recovery_ns;
    bh_hist_t bulk_free_ns;
    uint64_t kills;
    uint64_t freed;                           /* blocks, in bulk */
    uint64_t committed;                       /* blocks */
    uint64_t between_ns, between_steps;       /* of all workers, while a rank waits to kill */
    uint64_t recovering_ns, recovering_steps; /* of the survivors, while a rank recovers */
    uint64_t job_recovery_ns, job_recovered;  /* instances, after the death of all */
    uint64_t compared;                        /* blocks */
};
#define MEASURES_WORDS ((int)(sizeof(struct measures) / sizeof(uint64_t)))

/* What the survivors of rank 0's kills do around each: a thread looks at all workers' steps four
 * times in a ms, and keeps the last samples. When a kill lies WINDOW_AFTER back, the steps of all
 * but the victim's seat in each ms go into that ms's histogram. */
#define SAMPLES 256
#define SAMPLE_NAP_NS (250 * (long)BH_NS_PER_US)
#define BINS_BEFORE 10
#define BINS_AFTER 30
#define BINS (BINS_BEFORE + BINS_AFTER)
#define BIN_NS BH_NS_PER_MS

struct sample {
    uint64_t ns, all, own[WORKERS_MAX]; /* steps */
};

struct timeline {
    pthread_t thread;
    bool runs, ends;
    uint64_t kill_ns, victim; /* 0: none that is to be looked at */
    uint64_t taken;
    struct sample samples[SAMPLES];
    bh_hist_t bins[BINS]; /* steps in a ms */
};

struct crash {
    struct driver_group *group;
    struct timeline *timeline; /* of rank 0 */
    struct journal *journal;
    struct driver_share share; /* the journal's memory */
    alps_ptr_t *places;
    bh_rng_t rng;
    uint64_t first_seat; /* of this rank, workers in all */
    pid_t *pids;         /* 0: nobody */
    uint64_t *runs;      /* workers started on each seat */
    struct measures *mine;
};

static struct seat *seat_of(const struct crash *c, uint64_t worker)
{
    return &c->journal->seat[c->first_seat + worker];
}

/* In the child: nothing but system calls, since MPI has threads. */
static __attribute__((noreturn)) void become_worker(const struct crash *c, pid_t parent,
                                                    char *const *arguments)
{
    enum { HEAP = 3, JOURNAL, LAST = EMULATION_FD };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int heap = fcntl(c->group->heap_fd, F_DUPFD, 16);
    int journal = fcntl(c->share.fd, F_DUPFD, 16);
    int emulation = fcntl(c->group->emulation_fd, F_DUPFD, 16); /* -1: nothing is emulated */
    if (getppid() == parent && dup2(heap, HEAP) == HEAP && dup2(journal, JOURNAL) == JOURNAL &&
        (emulation < 0 || dup2(emulation, EMULATION_FD) == EMULATION_FD) &&
        close_range(emulation < 0 ? JOURNAL + 1 : LAST + 1, ~0U, 0) == 0)
        execv("/proc/self/exe", arguments);
    _exit(EXIT_FAILURE);
}

static void start_worker(struct crash *c, uint64_t worker)
{
    struct seat *seat = seat_of(c, worker);
    char number[24], run[24];
    char *const arguments[] = {(char[]){"alps-mpi-crash"},
                               (char[]){"--worker"},
                               (char[]){"3"},
                               (char[]){"4"},
                               number,
                               run,
                               NULL};
    pid_t parent = getpid();

    c->runs[worker]++;
    store(&seat->generation, ALPS_PERMANENT);
    snprintf(number, sizeof number, "%" PRIu64, c->first_seat + worker);
    snprintf(run, sizeof run, "%" PRIu64, c->runs[worker]);
    pid_t pid = fork();
    if (pid == 0)
        become_worker(c, parent, arguments);
    if (pid < 0)
        driver_note(c->group, DRIVER_FAIL, "cannot start a worker: %s", strerror(errno));
    c->pids[worker] = pid < 0 ? 0 : pid;
}

/* A cell that a dead process had in hand becomes full or empty, as its place says. */
static void settle(struct crash *c, uint64_t index)
{
    struct cell *cell = cell_at(c->journal, index);
    alps_ptr_t published = load(&c->places[index]);

    if (published == ALPS_NULL) {
        put(cell, EMPTY);
        return;
    }
    cell->ptr = published;
    cell->size = alps_usable_size(c->group->heap, published);
    put(cell, FULL);
}

/* The cells that a dead worker had in hand become full or empty, as their places say. At once
 * after the death: others may wait for them. */
static void settle_cells(struct crash *c, uint64_t worker)
{
    const uint64_t holder = state_word(0, c->first_seat + worker, c->runs[worker]);

    for (uint64_t i = 0; i < c->journal->cells; i++) {
        struct cell *cell = cell_at(c->journal, i);
        uint64_t state = load(&cell->state);
        if (kind_of(state) < ALLOCATING || kind_of(state) == CLEARING ||
            (state & ~UINT64_C(255)) != holder)
            continue;
        alps_ptr_t published = load(&c->places[i]);
        if (kind_of(state) != ALLOCATING && published != ALPS_NULL && published != cell->ptr)
            driver_note(c->group, DRIVER_FAIL,
                        "block 0x%" PRIx64 " of a dead worker is published as 0x%" PRIx64,
                        cell->ptr, published);
        settle(c, i);
    }
}

/* A worker that has ended has found something wrong, unless we killed it. */
static void reap(struct crash *c, uint64_t worker, int flags)
{
    int status;

    if (c->pids[worker] == 0 || waitpid(c->pids[worker], &status, flags) != c->pids[worker])
        return;
    c->pids[worker] = 0;
    settle_cells(c, worker);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return;
    const char *problem = seat_of(c, worker)->problem;
    if (WIFSIGNALED(status))
        driver_note(c->group, DRIVER_FAIL, "a worker was ended by signal %d", WTERMSIG(status));
    else
        driver_note(c->group, DRIVER_FAIL, "a worker has given up: %s",
                    problem[0] != '\0' ? problem : "it could not be started");
}

static void kill_worker(struct crash *c, uint64_t worker)
{
    reap(c, worker, WNOHANG);
    if (c->pids[worker] == 0)
        return;
    kill(c->pids[worker], SIGKILL);
    reap(c, worker, 0);
}

/* Steps of all workers but those of this seat. */
static uint64_t steps_of_others(const struct crash *c, uint64_t seat)
{
    uint64_t steps = 0;

    for (uint64_t i = 0; i < c->journal->seats; i++)
        steps += i == seat ? 0 : load(&c->journal->seat[i].steps);
    return steps;
}

/* Takes every block of a dead generation out of the workers' hands; then, to commit it, makes them
 * permanent; else removes them from journal and table. Returns how many there are. */
static uint64_t sweep(struct crash *c, alps_gen_t generation, bool commit)
{
    const uint64_t mine = state_word(CLEARING, c->first_seat, 0);
    const uint64_t deadline_ns = bh_clock_ns() + PATIENCE_NS;
    uint64_t count = 0;

    for (uint64_t i = 0; i < c->journal->cells; i++) {
        struct cell *cell = cell_at(c->journal, i);
        while (load(&cell->generation) == generation && kind_of(load(&cell->state)) != EMPTY) {
            if (!take(cell, FULL, mine)) {
                if (bh_clock_ns() > deadline_ns) {
                    driver_note(c->group, DRIVER_FAIL,
                                "nobody lets go of block 0x%" PRIx64 " in state 0x%" PRIx64,
                                cell->ptr, load(&cell->state));
                    return count;
                }
                nap();
                continue;
            }
            if (cell->generation != generation) {
                put(cell, FULL);
                break;
            }
            count++;
            if (commit) {
                store(&cell->generation, ALPS_PERMANENT);
                put(cell, FULL);
            } else {
                store(&c->places[i], ALPS_NULL);
                put(cell, EMPTY);
            }
            break;
        }
    }
    return count;
}

/* Decides about the blocks of a dead worker, and does it. */
static void end_generation(struct crash *c, uint64_t worker)
{
    const alps_gen_t generation = load(&seat_of(c, worker)->generation);
    const uint64_t deadline_ns = bh_clock_ns() + PATIENCE_NS;
    const bool commit = bh_rng_below(&c->rng, 100) < commits;
    int error;

    if (generation == ALPS_PERMANENT)
        return; /* it had not opened the heap */
    store(&seat_of(c, worker)->ending, generation);
    if (!commit)
        c->mine->freed += sweep(c, generation, false);
    do {
        uint64_t start_ns = driver_clock_ns();
        error = commit ? alps_commit(c->group->heap, generation)
                       : alps_bulk_free(c->group->heap, generation);
        if (error == 0 && !commit)
            bh_hist_record(&c->mine->bulk_free_ns, driver_clock_ns() - start_ns);
        if (error == -EBUSY) /* another rank is at its recovery */
            nap();
    } while (error == -EBUSY && bh_clock_ns() < deadline_ns);
    /* Nothing is known any more of a generation without blocks. */
    if (error != 0 && error != -ENOENT)
        driver_note(c->group, DRIVER_FAIL, "cannot %s generation %" PRIu64 ": %s (%s)",
                    commit ? "commit" : "free", generation, alps_strerror(error),
                    alps_error_detail());
    if (commit)
        c->mine->committed += sweep(c, generation, true);
    store(&seat_of(c, worker)->ending, ALPS_PERMANENT);
}

static struct alps_recovery recover(struct crash *c)
{
    struct alps_recovery report = {.struct_size = sizeof report};
    int error = alps_recover(c->group->heap, &report);

    if (error != 0)
        driver_note(c->group, DRIVER_FAIL, "cannot recover: %s (%s)", alps_strerror(error),
                    alps_error_detail());
    return report;
}

/* Somebody does something while a dead instance lies about. */
static void await_others(struct crash *c, uint64_t seat)
{
    const uint64_t deadline_ns = bh_clock_ns() + PATIENCE_NS;
    const uint64_t before = steps_of_others(c, seat);

    if (c->journal->seats == 1)
        return;
    while (steps_of_others(c, seat) == before) {
        if (bh_clock_ns() > deadline_ns) {
            driver_note(c->group, DRIVER_FAIL, "the others wait for a dead worker");
            return;
        }
        nap();
    }
}

/* ---- the time line -------------------------------------------------------------------------- */

/* Steps of all but the victim up to a moment, between two samples; false if none were taken then.
 */
static bool steps_at(const struct timeline *t, uint64_t ns, double *steps)
{
    const uint64_t oldest = t->taken > SAMPLES ? t->taken - SAMPLES : 0;

    for (uint64_t i = t->taken - 1; i > oldest; i--) {
        const struct sample *a = &t->samples[(i - 1) % SAMPLES], *b = &t->samples[i % SAMPLES];
        if (a->ns > ns || b->ns <= ns)
            continue;
        const double before = (double)(a->all - a->own[t->victim]),
                     after = (double)(b->all - b->own[t->victim]);
        *steps = before + (after - before) * (double)(ns - a->ns) / (double)(b->ns - a->ns);
        return true;
    }
    return false;
}

static void fold_samples(struct timeline *t)
{
    double edges[BINS + 1];

    for (uint64_t i = 0; i <= BINS; i++)
        if (!steps_at(t, t->kill_ns - (BINS_BEFORE - i) * BIN_NS, &edges[i]))
            return; /* this thread had no processor, or it was right after the start */
    for (int i = 0; i < BINS; i++)
        bh_hist_record(&t->bins[i], (uint64_t)(edges[i + 1] - edges[i]));
}

static void *sample(void *argument)
{
    struct crash *c = argument;
    struct timeline *t = c->timeline;

    while (!__atomic_load_n(&t->ends, __ATOMIC_ACQUIRE)) {
        struct sample *s = &t->samples[t->taken++ % SAMPLES];
        s->all = 0;
        for (uint64_t i = 0; i < c->journal->seats; i++)
            s->all += load(&c->journal->seat[i].steps);
        for (uint64_t i = 0; i < workers; i++)
            s->own[i] = load(&seat_of(c, i)->steps);
        s->ns = bh_clock_ns();
        uint64_t kill_ns = load(&t->kill_ns);
        if (kill_ns != 0 && s->ns > kill_ns + BINS_AFTER * BIN_NS) {
            fold_samples(t);
            store(&t->kill_ns, 0);
        }
        nanosleep(&(struct timespec){.tv_nsec = SAMPLE_NAP_NS}, NULL);
    }
    return NULL;
}

static void start_timeline(struct crash *c)
{
    c->timeline = driver_alloc(1, sizeof *c->timeline);
    c->timeline->runs = c->group->rank == 0 && !driver_is_simulated() &&
                        pthread_create(&c->timeline->thread, NULL, sample, c) == 0;
}

static void end_timeline(struct crash *c)
{
    __atomic_store_n(&c->timeline->ends, true, __ATOMIC_RELEASE);
    if (c->timeline->runs)
        pthread_join(c->timeline->thread, NULL);
    free(c->timeline);
}

static void watch_kill(struct crash *c, uint64_t worker)
{
    if (load(&c->timeline->kill_ns) != 0)
        return; /* the one before is still being looked at */
    c->timeline->victim = worker;
    store(&c->timeline->kill_ns, bh_clock_ns());
}

static void write_timeline(const struct crash *c)
{
    for (int i = 0; i < BINS && bh_hist_count(&c->timeline->bins[i]) > 0; i++) {
        const bh_hist_t *bin = &c->timeline->bins[i];
        const bh_field_t fields[] = {
            bh_count("ranks", (uint64_t)c->group->ranks),
            bh_real("offset_ms", i - BINS_BEFORE + 0.5, 1),
            bh_count("kills", bh_hist_count(bin)),
            bh_real("mops", (double)bh_hist_quantile(bin, 0.5) / 1e3, 3),
            bh_real("mops_lower", (double)bh_hist_quantile(bin, 0.25) / 1e3, 3),
            bh_real("mops_upper", (double)bh_hist_quantile(bin, 0.75) / 1e3, 3),
        };
        driver_write_detail("timeline", fields, sizeof fields / sizeof fields[0]);
    }
}

/* ---- a round -------------------------------------------------------------------------------- */

/* False, in all ranks, if one has failed. */
static bool play_round(struct crash *c)
{
    if (!driver_agree(c->group))
        return false;
    const uint64_t worker = bh_rng_below(&c->rng, workers), seat = c->first_seat + worker;
    const uint64_t wait_ns = bh_rng_below(&c->rng, 2 * interval_ns);
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / BH_NS_PER_S),
                            .tv_nsec = (long)(wait_ns % BH_NS_PER_S)};

    uint64_t start_ns = bh_clock_ns(), steps = steps_of_others(c, c->journal->seats);
    nanosleep(&wait, NULL);
    c->mine->between_steps += steps_of_others(c, c->journal->seats) - steps;
    c->mine->between_ns += bh_clock_ns() - start_ns;

    watch_kill(c, worker);
    kill_worker(c, worker);
    c->mine->kills++;
    await_others(c, seat);

    steps = steps_of_others(c, seat);
    start_ns = driver_clock_ns();
    const unsigned recovered = recover(c).count;
    uint64_t elapsed_ns = driver_clock_ns() - start_ns;
    if (recovered > 0) { /* by us: others recover as well, and so does who opens the heap */
        bh_hist_record(&c->mine->recovery_ns, elapsed_ns / recovered);
        c->mine->recovering_steps += steps_of_others(c, seat) - steps;
        c->mine->recovering_ns += elapsed_ns;
    }
    end_generation(c, worker);
    for (uint64_t i = 0; i < workers; i++)
        reap(c, i, WNOHANG);
    start_worker(c, worker);
    return true;
}

/* ---- the comparison ------------------------------------------------------------------------- */

struct block {
    alps_ptr_t ptr;
    uint64_t size;
    alps_gen_t generation;
};

struct block_list {
    struct block *items;
    size_t count, capacity;
};

static void add(struct block_list *list, struct block block)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity * 2 + 1024;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        if (list->items == NULL) {
            fputs("alps-mpi-crash: no memory\n", stderr);
            MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
        }
    }
    list->items[list->count++] = block;
}

static int by_ptr(const void *a, const void *b)
{
    const struct block *first = a, *second = b;

    return first->ptr < second->ptr ? -1 : first->ptr > second->ptr;
}

static int visit(const struct alps_block *block, void *list)
{
    add(list, (struct block){block->ptr, block->size, block->generation});
    return 0;
}

/* Whether a job was killed while it freed or committed this generation. */
static bool is_ending(const struct crash *c, alps_gen_t generation)
{
    for (uint64_t i = 0; i < c->journal->seats && generation != ALPS_PERMANENT; i++)
        if (c->journal->seat[i].ending == generation)
            return true;
    return false;
}

/* On the domain's first rank, while nobody works: the heap has exactly the blocks of the journal,
 * and the table. */
static void compare(struct crash *c)
{
    struct driver_group *group = c->group;
    struct block_list found = {0}, known = {0};
    size_t f = 0, k = 0;

    driver_check_heap(group);
    for (uint64_t i = 0; i < c->journal->cells; i++) {
        const struct cell *cell = cell_at(c->journal, i);
        enum cell_kind kind = kind_of(cell->state);
        if (kind == FULL)
            add(&known, (struct block){cell->ptr, cell->size, cell->generation});
        if (kind > FULL || c->places[i] != (kind == FULL ? cell->ptr : ALPS_NULL))
            driver_note(group, DRIVER_FAIL,
                        "place %" PRIu64 " holds 0x%" PRIx64 ", the journal has 0x%" PRIx64
                        " in state %u",
                        i, c->places[i], cell->ptr, (unsigned)kind);
    }
    add(&known,
        (struct block){c->journal->places, alps_usable_size(group->heap, c->journal->places),
                       c->journal->generation});
    c->mine->compared += known.count;
    qsort(known.items, known.count, sizeof *known.items, by_ptr);
    alps_heap_walk(group->heap, visit, &found);
    while (f < found.count || k < known.count) {
        const struct block *a = &found.items[f], *b = &known.items[k];
        if (k == known.count || (f < found.count && a->ptr < b->ptr)) {
            if (!is_ending(c, a->generation))
                driver_note(group, DRIVER_FAIL,
                            "block 0x%" PRIx64 " of %" PRIu64 " bytes and generation %" PRIu64
                            " belongs to nobody",
                            a->ptr, a->size, a->generation);
            f++;
        } else if (f == found.count || b->ptr < a->ptr) {
            driver_note(group, DRIVER_FAIL,
                        "block 0x%" PRIx64 " of %" PRIu64 " bytes and generation %" PRIu64
                        " is gone",
                        b->ptr, b->size, b->generation);
            k++;
        } else {
            if (a->size != b->size || (a->generation != b->generation &&
                                       !(is_ending(c, b->generation) && a->generation == 0)))
                driver_note(group, DRIVER_FAIL,
                            "block 0x%" PRIx64 " has %" PRIu64 " bytes and generation %" PRIu64
                            ", not %" PRIu64 " and %" PRIu64,
                            a->ptr, a->size, a->generation, b->size, b->generation);
            f++;
            k++;
        }
    }
    free(found.items);
    free(known.items);
}

/* Each rank has a share of the blocks to read. */
static void verify(struct crash *c)
{
    for (uint64_t i = (uint64_t)c->group->domain_rank; i < c->journal->cells;
         i += (uint64_t)c->group->domain_ranks) {
        const struct cell *cell = cell_at(c->journal, i);
        if (kind_of(cell->state) != FULL || !cell->filled)
            continue;
        unsigned char *bytes = alps_deref(c->group->heap, cell->ptr);
        if (driver_options.inject_corruption)
            bytes[cell->size / 2] ^= 1;
        size_t wrong =
            bh_pattern_verify(bytes, cell->size, c->journal->seed, cell->owner, cell->serial);
        if (wrong != BH_PATTERN_OK)
            driver_note(c->group, DRIVER_FAIL,
                        "block 0x%" PRIx64 " of %" PRIu64 " bytes: byte %zu is wrong, 0x%02x",
                        cell->ptr, cell->size, wrong, bytes[wrong]);
    }
}

/* While nobody works: blocks and contents. False, in all ranks, if something is wrong. */
static bool examine(struct crash *c)
{
    if (c->group->domain_rank == 0)
        compare(c);
    if (!driver_agree(c->group))
        return false;
    verify(c);
    return driver_agree(c->group);
}

/* All workers die. False, in all ranks, if one has failed. */
static bool crash_job(struct crash *c)
{
    for (uint64_t i = 0; i < workers; i++)
        kill_worker(c, i);
    /* One rank does it; the others find work where they run on other kernels. */
    for (int turn = 0; turn < 2; turn++) {
        if (!driver_agree(c->group))
            return false;
        if ((c->group->domain_rank == 0) != (turn == 0))
            continue;
        uint64_t start_ns = driver_clock_ns();
        c->mine->job_recovered = recover(c).count;
        if (c->mine->job_recovered > 0)
            c->mine->job_recovery_ns = driver_clock_ns() - start_ns;
    }
    if (c->group->domain_rank == 0 && inject_leak)
        alps_malloc(c->group->heap, 100, ALPS_ANY_NODE);
    for (int pass = 0; pass < 2; pass++) {
        if (!driver_agree(c->group) || !examine(c))
            return false;
        for (uint64_t i = 0; i < workers && pass == 0; i++)
            end_generation(c, i);
    }
    return true;
}

/* ---- a repetition --------------------------------------------------------------------------- */

/* Results of the repetitions of a group, on rank 0. */
struct results {
    struct measures *sum; /* of all ranks, in one repetition */
    bh_hist_t *recovery_ns, *bulk_free_ns;
    double *between, *recovering, *job; /* Mops/s, Mops/s, ms */
    uint64_t kills, freed, committed;
};

/* In simulated time each worker has a clock of its own, and there is no such rate. */
static double rate(uint64_t steps, uint64_t ns)
{
    if (driver_is_simulated())
        return NAN;
    return ns == 0 ? 0 : (double)steps * 1e3 / (double)ns;
}

static void write_repetition(const struct crash *c, struct results *results, uint64_t elapsed_ns)
{
    const struct measures *sum = results->sum;
    const uint64_t at = c->group->repetitions - 1;

    results->between[at] = rate(sum->between_steps, sum->between_ns);
    results->recovering[at] = rate(sum->recovering_steps, sum->recovering_ns);
    results->job[at] = (double)sum->job_recovery_ns / BH_NS_PER_MS;
    results->kills += sum->kills;
    results->freed += sum->freed;
    results->committed += sum->committed;
    bh_hist_merge(results->recovery_ns, &sum->recovery_ns);
    bh_hist_merge(results->bulk_free_ns, &sum->bulk_free_ns);
    const bh_field_t fields[] = {
        bh_count("ranks", (uint64_t)c->group->ranks),
        bh_count("domains", (uint64_t)c->group->domains),
        bh_count("repetition", c->group->repetitions),
        bh_real("seconds", (double)elapsed_ns / (double)BH_NS_PER_S, 3),
        bh_count("kills", sum->kills),
        bh_count("recoveries", bh_hist_count(&sum->recovery_ns)),
        bh_count("recovery_p50_ns", bh_hist_quantile(&sum->recovery_ns, 0.5)),
        bh_count("recovery_p99_ns", bh_hist_quantile(&sum->recovery_ns, 0.99)),
        bh_count("recovery_max_ns", bh_hist_max(&sum->recovery_ns)),
        bh_count("bulk_frees", bh_hist_count(&sum->bulk_free_ns)),
        bh_count("bulk_free_p50_ns", bh_hist_quantile(&sum->bulk_free_ns, 0.5)),
        bh_count("bulk_free_max_ns", bh_hist_max(&sum->bulk_free_ns)),
        bh_count("blocks_freed", sum->freed),
        bh_count("blocks_committed", sum->committed),
        bh_real("mops_per_s", results->between[at], 3),
        bh_real("mops_recovering", results->recovering[at], 3),
        bh_count("job_instances", sum->job_recovered),
        bh_real("job_recovery_ms", results->job[at], 3),
    };
    driver_write_detail("repetition", fields, sizeof fields / sizeof fields[0]);
}

/* False, in all ranks, if one has failed. */
static bool repeat(struct crash *c, struct results *results)
{
    uint64_t round = 0;
    bool last;

    memset(c->mine, 0, sizeof *c->mine);
    driver_begin(c->group);
    do {
        last = driver_is_last(c->group, ++round);
        if (!play_round(c))
            return false;
    } while (!last);
    if (!crash_job(c))
        return false;
    uint64_t elapsed_ns = bh_clock_ns() - c->group->start_ns;
    MPI_Reduce(c->mine, results->sum, MEASURES_WORDS, MPI_UINT64_T, MPI_SUM, 0, c->group->comm);
    if (c->group->rank == 0)
        write_repetition(c, results, elapsed_ns);
    for (uint64_t i = 0; i < workers; i++)
        start_worker(c, i);
    return true;
}

/* ---- a group -------------------------------------------------------------------------------- */

static double median(double *values)
{
    return isnan(values[0]) ? NAN : bh_stats(values, driver_options.repeat).median;
}

static void write_line(const struct crash *c, struct results *results)
{
    const bh_field_t fields[] = {
        bh_count("ranks", (uint64_t)c->group->ranks),
        bh_count("domains", (uint64_t)c->group->domains),
        bh_count("kills", results->kills),
        bh_count("recoveries", bh_hist_count(results->recovery_ns)),
        bh_real("recovery_p50_us", (double)bh_hist_quantile(results->recovery_ns, 0.5) / 1e3, 1),
        bh_real("recovery_p99_us", (double)bh_hist_quantile(results->recovery_ns, 0.99) / 1e3, 1),
        bh_real("bulk_free_p50_us", (double)bh_hist_quantile(results->bulk_free_ns, 0.5) / 1e3, 1),
        bh_count("blocks_freed", results->freed),
        bh_count("blocks_committed", results->committed),
        bh_real("mops_per_s", median(results->between), 3),
        bh_real("mops_recovering", median(results->recovering), 3),
        bh_real("job_recovery_ms", median(results->job), 3),
    };

    driver_write_line("summary", fields, sizeof fields / sizeof fields[0]);
}

/* Frees what is left. */
static void drain(struct crash *c)
{
    for (uint64_t i = (uint64_t)c->group->domain_rank; i < c->journal->cells;
         i += (uint64_t)c->group->domain_ranks) {
        int error = kind_of(cell_at(c->journal, i)->state) == FULL
                        ? alps_free_from(c->group->heap, &c->places[i])
                        : 0;
        if (error != 0)
            driver_note(c->group, DRIVER_FAIL, "cannot free block 0x%" PRIx64 ": %s (%s)",
                        cell_at(c->journal, i)->ptr, alps_strerror(error), alps_error_detail());
        put(cell_at(c->journal, i), EMPTY);
    }
}

static void play(struct crash *c, struct results *results)
{
    for (uint64_t i = 0; i < workers; i++)
        start_worker(c, i);
    for (uint64_t i = 0; i < driver_options.warmup; i++)
        if (!play_round(c))
            return;
    for (uint64_t i = 0; i < driver_options.repeat; i++)
        if (!repeat(c, results))
            return;
    if (!crash_job(c))
        return;
    drain(c);
    if (!driver_agree(c->group))
        return;
    if (c->group->domain_rank == 0)
        compare(c); /* the table is left */
    if (c->group->rank == 0) {
        write_line(c, results);
        write_timeline(c);
    }
    driver_agree(c->group);
}

/* The domain's first rank makes the table, and tells the others where. */
static bool make_places(struct crash *c)
{
    alps_ptr_t places = ALPS_NULL;

    if (c->group->domain_rank == 0) {
        places = alps_calloc(c->group->heap, c->journal->cells, sizeof places, ALPS_ANY_NODE);
        if (places == ALPS_NULL)
            driver_note(c->group, DRIVER_FAIL, "no room for the table: %s", alps_error_detail());
        c->journal->places = places;
        c->journal->generation = alps_heap_generation(c->group->heap);
        store(&c->journal->magic, JOURNAL_MAGIC);
    }
    if (!driver_agree(c->group))
        return false;
    c->places = alps_deref(c->group->heap, c->journal->places);
    return true;
}

/* ---- after the death of another job ---------------------------------------------------------- */

/* What everybody had in hand becomes full or empty, as the places say. A rank that was clearing
 * has taken away the place and not yet the cell, or neither. */
static void settle_all(struct crash *c)
{
    for (uint64_t i = 0; i < c->journal->cells; i++)
        if (kind_of(cell_at(c->journal, i)->state) > FULL)
            settle(c, i);
}

/* Frees in bulk whatever is neither open nor committed. */
static int free_generation(const struct alps_generation *generation, void *context)
{
    struct block_list *list = context;

    if (!generation->open && !generation->committed)
        add(list, (struct block){.generation = generation->generation});
    return 0;
}

static void free_generations(struct crash *c)
{
    struct block_list list = {0};

    alps_generation_walk(c->group->heap, free_generation, &list);
    for (size_t i = 0; i < list.count; i++) {
        c->mine->freed += sweep(c, list.items[i].generation, false);
        int error = alps_bulk_free(c->group->heap, list.items[i].generation);
        if (error != 0 && error != -ENOENT)
            driver_note(c->group, DRIVER_FAIL, "cannot free generation %" PRIu64 ": %s",
                        list.items[i].generation, alps_error_detail());
    }
    c->mine->job_recovered = list.count;
    free(list.items);
    for (uint64_t i = 0; i < c->journal->cells; i++) /* those that were committed, half known */
        if (is_ending(c, cell_at(c->journal, i)->generation))
            cell_at(c->journal, i)->generation = ALPS_PERMANENT;
    for (uint64_t i = 0; i < c->journal->seats; i++)
        c->journal->seat[i].ending = ALPS_PERMANENT;
}

/* Opening the heap has taken in most of the dead. Each rank takes in those of its kernel. */
static void take_in(struct crash *c)
{
    recover(c);
    if (!driver_agree(c->group) || c->group->domain_rank != 0)
        return;
    const struct alps_recovery report = recover(c);
    if (report.live > (unsigned)c->group->domain_ranks)
        driver_note(c->group, DRIVER_FAIL,
                    "%u processes of another job still have the heap open: wait for their end, or "
                    "declare those dead (alps declare-dead) whose host is gone",
                    report.live - (unsigned)c->group->domain_ranks);
    if (inject_leak)
        alps_malloc(c->group->heap, 100, ALPS_ANY_NODE);
}

static void write_takeover(const struct crash *c, const struct measures *sum)
{
    const bh_field_t fields[] = {
        bh_count("ranks", (uint64_t)c->group->ranks),
        bh_count("domains", (uint64_t)c->group->domains),
        bh_count("blocks_compared", sum->compared),
        bh_count("generations_freed", sum->job_recovered),
        bh_count("blocks_freed", sum->freed),
    };
    driver_write_line("recovered", fields, sizeof fields / sizeof fields[0]);
}

/* The heap is compared before the dead generations are freed, after it, and when it is empty. */
static void take_over(struct driver_group *group)
{
    struct crash c = {.group = group};

    if (!driver_share(group, &c.share))
        return;
    c.journal = c.share.memory;
    struct measures *sum = driver_alloc(1, sizeof *sum);
    c.mine = driver_alloc(1, sizeof *c.mine);
    if (c.share.size < sizeof *c.journal || c.journal->magic != JOURNAL_MAGIC ||
        c.journal->seats > SEATS_MAX || c.journal->cells > c.share.size / sizeof(struct cell) ||
        journal_size(c.journal->seats, c.journal->cells) > c.share.size ||
        alps_usable_size(group->heap, c.journal->places) < c.journal->cells * sizeof(alps_ptr_t))
        driver_note(group, DRIVER_FAIL,
                    "beside the heap lies no journal of this driver, or the "
                    "job died before it had begun");
    if (driver_agree(group)) {
        c.places = alps_deref(group->heap, c.journal->places);
        take_in(&c);
        if (group->domain_rank == 0)
            settle_all(&c);
        for (int pass = 0; pass < 3 && driver_agree(group); pass++) {
            if (!examine(&c))
                break;
            if (pass == 0 && group->domain_rank == 0) {
                if (alps_commit(group->heap, c.journal->generation) != 0) /* only the places */
                    driver_note(group, DRIVER_FAIL, "cannot commit: %s", alps_error_detail());
                c.journal->generation = ALPS_PERMANENT;
                free_generations(&c);
            }
            if (pass == 1)
                drain(&c);
        }
        MPI_Reduce(c.mine, sum, MEASURES_WORDS, MPI_UINT64_T, MPI_SUM, 0, group->comm);
        if (driver_agree(group) && group->rank == 0)
            write_takeover(&c, sum);
    }
    free(c.mine);
    free(sum);
    driver_unshare(&c.share);
}

static size_t shared_size(int ranks)
{
    return journal_size(workers * (uint64_t)ranks, blocks * (uint64_t)ranks);
}

static void run(struct driver_group *group)
{
    if (recovers) {
        take_over(group);
        return;
    }
    const uint64_t seats = workers * (uint64_t)group->domain_ranks,
                   cells = blocks * (uint64_t)group->domain_ranks;
    struct crash c = {.group = group, .first_seat = workers * (uint64_t)group->domain_rank};
    struct results results = {0};

    c.share.size = shared_size(group->domain_ranks);
    if (!driver_share(group, &c.share))
        return;
    c.journal = c.share.memory;
    if (group->domain_rank == 0) {
        c.journal->seed = driver_options.seed;
        c.journal->cells = cells;
        c.journal->min_size = min_size;
        c.journal->max_size = max_size;
        c.journal->seats = seats;
    }
    bh_rng_seed(&c.rng, driver_options.seed, (uint64_t)group->rank);
    c.pids = driver_alloc(workers, sizeof *c.pids);
    c.runs = driver_alloc(workers, sizeof *c.runs);
    c.mine = driver_alloc(1, sizeof *c.mine);
    results.sum = driver_alloc(1, sizeof *results.sum);
    results.recovery_ns = driver_alloc(1, sizeof *results.recovery_ns);
    results.bulk_free_ns = driver_alloc(1, sizeof *results.bulk_free_ns);
    results.between = driver_alloc(driver_options.repeat, sizeof *results.between);
    results.recovering = driver_alloc(driver_options.repeat, sizeof *results.recovering);
    results.job = driver_alloc(driver_options.repeat, sizeof *results.job);

    start_timeline(&c);
    if (driver_agree(group) && make_places(&c))
        play(&c, &results);
    end_timeline(&c);

    for (uint64_t i = 0; i < workers; i++)
        kill_worker(&c, i);
    if (driver_agree(group) && group->domain_rank == 0)
        alps_free(group->heap, c.journal->places);
    free(results.job);
    free(results.recovering);
    free(results.between);
    free(results.bulk_free_ns);
    free(results.recovery_ns);
    free(results.sum);
    free(c.mine);
    free(c.runs);
    free(c.pids);
    driver_unshare(&c.share);
}

/* ---- the program ---------------------------------------------------------------------------- */

static unsigned openings(void)
{
    return (unsigned)workers + 1;
}

static const char *check_options(void)
{
    driver_options.existing = recovers;
    if (recovers && driver_options.heap == NULL)
        return "--recover needs --heap";
    if (recovers && driver_options.ranks.count > 1)
        return "--recover has one heap: give one number of --ranks";
    for (size_t i = 0; i < driver_options.ranks.count; i++)
        if (driver_options.ranks.items[i] * (workers + 1) > SEATS_MAX)
            return "there are more than 4000 processes: give fewer --workers";
    return min_size > max_size ? "--min-size is larger than --max-size" : NULL;
}

static size_t describe(bh_field_t *fields)
{
    size_t count = 0;

    fields[count++] = bh_count("workers", workers);
    fields[count++] = bh_count("blocks", blocks);
    fields[count++] = bh_count("min_size", min_size);
    fields[count++] = bh_count("max_size", max_size);
    fields[count++] = bh_count("kill_interval_ns", interval_ns);
    fields[count++] = bh_count("commit_percent", commits);
    return count;
}

static const struct driver_program program = {
    .name = "alps-mpi-crash",
    .purpose = "Worker processes are killed at random; the job recovers, and compares every block.",
    .options = options,
    .openings = openings,
    .shared_size = shared_size,
    .check_options = check_options,
    .describe = describe,
    .run = run,
};

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--worker") == 0)
        return work(argv + 2);
    return driver_main(&program, argc, argv);
}
