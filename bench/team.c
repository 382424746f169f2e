/* Idea: a team is a mapping that its processes share: what the round is about, the threads' state,
 * and their arrays, none of which comes from an allocator under test. The program that measures
 * leads: it sets the next step, wakes all threads and waits until the last is done; so the steps of
 * a round (get ready, setup, run, teardown) are the same for all. It looks now and then whether the
 * processes live, so an allocator that crashes ends its own team and nothing else.
 *
 * Each backend has processes of its own: backends do not mix, and what one holds can be told from
 * the size of its processes. */
#include "team.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <emu/emu.h>

#include "harness/clock.h"

#define SAMPLES 64 /* looks at the memory in a round */
#define LINE 128

enum step {
    STEP_OPEN,
    STEP_READY,
    STEP_SETUP,
    STEP_BEFORE,
    STEP_RUN,
    STEP_AFTER,
    STEP_WEIGH,
    STEP_TEARDOWN,
    STEP_CLOSE,
    STEP_EXIT,
};

struct member {
    _Alignas(LINE) struct worker worker;
    struct team *team;
    pthread_t thread;
    uint32_t *order;
    uint64_t wall_ns; /* of the last run */
    uint64_t cpu_ns;
    bh_counters_t counters;
    double counted[BH_COUNTERS];
    bh_hist_t malloc_ns, free_ns;
};

/* Bytes of memory. */
struct footprint {
    uint64_t all;
    uint64_t shared; /* mapped from files in memory, that is: a heap's file is one */
};

struct process {
    _Alignas(LINE) pid_t pid;
    bool is_there;
    uint64_t faults;                  /* of the last run */
    struct footprint base;            /* before there are blocks */
    struct footprint held;            /* beyond that, when last looked at */
    uint64_t accesses[TEAM_ACCESSES]; /* of the last run */
    char problem[400];
};

struct team {
    struct team_plan plan;
    const struct workload *workload;
    unsigned threads; /* of all processes */
    size_t bytes;     /* of the mapping */

    /* The round under way. */
    enum flavour flavour;
    uint64_t round, pairs;
    uint32_t slots; /* in use */
    enum step step;
    _Alignas(LINE) uint32_t turn; /* number of the step; threads wait for the next one */
    _Alignas(LINE) uint32_t idle; /* threads that are done with it */
    _Alignas(LINE) uint64_t live_max, held_max;
    int heap;           /* opening of the heap's file, or -1 */
    uint64_t heap_base; /* bytes that the file has before there are blocks */
    uint64_t clock_ns;  /* of emulated memory: the latest of the threads' */

    struct process processes[TEAM_PROCESSES_MAX];
    struct member *members;
    bool has_failed;
    char text[600]; /* the last problem */
};

/* ---- memory held ---------------------------------------------------------------------------- */

static uint64_t above(uint64_t value, uint64_t base)
{
    return value < base ? 0 : value - base;
}

/* What this process has, its share of what it shares, less what the system may take away at any
 * time. */
static struct footprint process_footprint(void)
{
    struct footprint footprint = {0};
    unsigned long long kib;
    char line[128];
    FILE *file = fopen("/proc/self/smaps_rollup", "re");

    if (file == NULL)
        return footprint;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "Pss: %llu kB", &kib) == 1)
            footprint.all += kib << 10;
        else if (sscanf(line, "Pss_Shmem: %llu kB", &kib) == 1)
            footprint.shared = kib << 10;
        else if (sscanf(line, "LazyFree: %llu kB", &kib) == 1)
            footprint.all = above(footprint.all, kib << 10);
    }
    fclose(file);
    return footprint;
}

static uint64_t heap_file_bytes(const struct team *team)
{
    struct stat status;

    return team->heap >= 0 && fstat(team->heap, &status) == 0 ? (uint64_t)status.st_blocks * 512
                                                              : 0;
}

/* What the processes have got, and what the heap's file has got that none of them has touched: the
 * system has set it aside all the same. */
static uint64_t team_held(const struct team *team)
{
    uint64_t all = 0, shared = 0;

    for (unsigned i = 0; i < team->plan.processes; i++) {
        all += __atomic_load_n(&team->processes[i].held.all, __ATOMIC_RELAXED);
        shared += __atomic_load_n(&team->processes[i].held.shared, __ATOMIC_RELAXED);
    }
    return all + above(above(heap_file_bytes(team), team->heap_base), shared);
}

static void raise_to(uint64_t *most, uint64_t value)
{
    uint64_t before = __atomic_load_n(most, __ATOMIC_RELAXED);

    while (before < value && !__atomic_compare_exchange_n(most, &before, value, false,
                                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static void weigh(struct team *team, struct process *process)
{
    const struct footprint now = process_footprint();
    int64_t live = 0;

    __atomic_store_n(&process->held.all, above(now.all, process->base.all), __ATOMIC_RELAXED);
    __atomic_store_n(&process->held.shared, above(now.shared, process->base.shared),
                     __ATOMIC_RELAXED);
    for (unsigned i = 0; i < team->threads; i++)
        live += __atomic_load_n(&team->members[i].worker.live, __ATOMIC_RELAXED);
    raise_to(&team->held_max, team_held(team));
    raise_to(&team->live_max, live < 0 ? 0 : (uint64_t)live);
}

static struct process *process_of(const struct member *member)
{
    return &member->team->processes[member->worker.index / member->team->plan.threads];
}

static void sample(struct worker *worker)
{
    struct member *member = (struct member *)worker; /* its first field */

    weigh(member->team, process_of(member));
}

/* ---- threads -------------------------------------------------------------------------------- */

static void futex_wait(const uint32_t *word, uint32_t value, const struct timespec *patience)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, patience, NULL, 0);
}

static void futex_wake(const uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static bool leads_pair(const struct member *member)
{
    return member->team->workload->kind != PAIRS || member->worker.index % 2 == 0;
}

static void get_ready(struct member *member)
{
    const struct team *team = member->team;
    struct worker *w = &member->worker;

    w->pairs = team->pairs;
    w->slot_count = team->slots;
    w->serial = 0;
    w->live = 0;
    w->calls = 0;
    w->sample_calls = team->pairs / SAMPLES + 1;
    w->helper_cpu_ns = 0;
    w->problem[0] = '\0';
    bh_rng_seed(&w->rng, team->plan.seed, team->round * team->threads + w->index);
    bh_rng_permutation(&w->rng, member->order, w->slot_count);
    memset(&member->malloc_ns, 0, sizeof member->malloc_ns);
    memset(&member->free_ns, 0, sizeof member->free_ns);
    if (leads_pair(member)) {
        memset(w->slots, 0, w->slot_count * sizeof(uint64_t));
        *w->ring = (struct ring){.stopped = false};
    }
}

static uint64_t faults_of_process(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

const char *const team_access_names[TEAM_ACCESSES] = {
    "reads",   "read_misses", "writes",     "write_misses", "atomics",
    "flushes", "fences",      "link_bytes", "virtual_ns",
};

/* Those of this process so far. */
static void count_accesses(uint64_t accesses[TEAM_ACCESSES])
{
    struct emu_counts counts;

    emu_count(&counts);
    const uint64_t now[TEAM_ACCESSES] = {
        counts.accesses[EMU_READ],
        counts.misses[EMU_READ],
        counts.accesses[EMU_WRITE],
        counts.misses[EMU_WRITE],
        counts.accesses[EMU_ATOMIC],
        counts.accesses[EMU_FLUSH],
        counts.fences,
        counts.bytes_read + counts.bytes_written,
        counts.charged_ns,
    };
    memcpy(accesses, now, sizeof now);
}

static void look_before_run(struct process *process)
{
    process->faults = faults_of_process();
    count_accesses(process->accesses);
}

static void look_after_run(struct process *process)
{
    uint64_t now[TEAM_ACCESSES];

    process->faults = faults_of_process() - process->faults;
    count_accesses(now);
    for (unsigned a = 0; a < TEAM_ACCESSES; a++)
        process->accesses[a] = now[a] - process->accesses[a];
}

static void run_timed(struct member *member, workload_run *run)
{
    if (member->team->plan.counts)
        bh_counters_start(&member->counters);
    const uint64_t wall_start_ns = bh_clock_ns();
    const uint64_t cpu_start_ns = bh_clock_thread_ns();

    run(&member->worker);
    member->cpu_ns = bh_clock_thread_ns() - cpu_start_ns + member->worker.helper_cpu_ns;
    member->wall_ns = bh_clock_ns() - wall_start_ns;
    if (member->team->plan.counts)
        bh_counters_stop(&member->counters, member->counted);
}

static const char *call(const char *(*function)(const struct backend_config *config),
                        const struct backend_config *config)
{
    return function == NULL ? NULL : function(config);
}

static void note(struct process *process, const char *problem)
{
    if (problem != NULL && process->problem[0] == '\0')
        snprintf(process->problem, sizeof process->problem, "%s", problem);
}

/* What is done once in a process, by its first thread. */
static void do_step_of_process(struct team *team, struct process *process)
{
    const struct backend *backend = team->plan.backend;

    switch (team->step) {
    case STEP_OPEN:
        note(process, call(backend->open, &team->plan.config));
        break;
    case STEP_READY:
        if (team->flavour == MEMORY) {
            process->held = (struct footprint){0};
            process->base = process_footprint();
            if (process == team->processes)
                team->heap_base = heap_file_bytes(team);
        }
        break;
    case STEP_BEFORE:
        look_before_run(process);
        break;
    case STEP_AFTER:
        look_after_run(process);
        break;
    case STEP_WEIGH:
        if (team->flavour == MEMORY)
            weigh(team, process);
        break;
    case STEP_CLOSE:
        if (process == team->processes && backend->check != NULL)
            note(process, backend->check());
        if (process->problem[0] == '\0' && backend->close != NULL)
            note(process, backend->close());
        break;
    default:
        break;
    }
}

static void do_step(struct member *member)
{
    struct team *team = member->team;
    const struct program *program =
        &team->plan.backend->programs[team->plan.workload][team->flavour];

    if (member->worker.index % team->plan.threads == 0)
        do_step_of_process(team, process_of(member));
    switch (team->step) {
    case STEP_OPEN:
        if (team->plan.counts)
            bh_counters_open(&member->counters);
        break;
    case STEP_READY:
        get_ready(member);
        break;
    case STEP_SETUP:
        program->setup(&member->worker);
        break;
    case STEP_RUN:
        run_timed(member, program->run);
        break;
    case STEP_TEARDOWN:
        program->teardown(&member->worker);
        break;
    default:
        break;
    }
}

static void *member_main(void *argument)
{
    struct member *member = argument;
    struct team *team = member->team;
    uint32_t turn = 0;

    for (;;) {
        while (__atomic_load_n(&team->turn, __ATOMIC_ACQUIRE) == turn)
            futex_wait(&team->turn, turn, NULL);
        turn++;
        /* What the others of this process did before comes by the leader, in another one; this says
         * so to tools that see only this one. */
        (void)__atomic_load_n(&team->idle, __ATOMIC_ACQUIRE);
        if (team->step == STEP_EXIT)
            return NULL;
        emu_wait_until(__atomic_load_n(&team->clock_ns, __ATOMIC_RELAXED));
        do_step(member);
        raise_to(&team->clock_ns, emu_clock_ns());
        if (__atomic_add_fetch(&team->idle, 1, __ATOMIC_ACQ_REL) == team->threads)
            futex_wake(&team->idle);
    }
}

_Noreturn static void process_main(struct team *team, unsigned number)
{
    struct member *members = &team->members[number * team->plan.threads];

    for (unsigned i = 1; i < team->plan.threads; i++) {
        if (pthread_create(&members[i].thread, NULL, member_main, &members[i]) != 0)
            _exit(EXIT_FAILURE);
    }
    member_main(members);
    for (unsigned i = 1; i < team->plan.threads; i++)
        pthread_join(members[i].thread, NULL);
    _exit(EXIT_SUCCESS);
}

/* ---- what the leader does ------------------------------------------------------------------- */

/* What ended a process, if one has; NULL if all live. */
static const char *look_for_the_dead(struct team *team)
{
    const char *problem = NULL;
    int status;

    for (unsigned i = 0; i < team->plan.processes; i++) {
        struct process *process = &team->processes[i];
        if (!process->is_there || waitpid(process->pid, &status, WNOHANG) != process->pid)
            continue;
        process->is_there = false;
        if (WIFSIGNALED(status))
            snprintf(team->text, sizeof team->text, "killed by signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
        else
            snprintf(team->text, sizeof team->text, "a process has ended with exit code %d",
                     WEXITSTATUS(status));
        problem = team->text;
    }
    return problem;
}

static void announce(struct team *team, enum step step)
{
    team->step = step;
    __atomic_store_n(&team->idle, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&team->turn, 1, __ATOMIC_RELEASE);
    futex_wake(&team->turn);
}

/* Has all threads do the step; NULL, or what went wrong. */
static const char *lead(struct team *team, enum step step)
{
    const struct timespec patience = {.tv_nsec = 100 * (long)BH_NS_PER_MS};
    uint32_t idle;

    announce(team, step);
    while ((idle = __atomic_load_n(&team->idle, __ATOMIC_ACQUIRE)) != team->threads) {
        futex_wait(&team->idle, idle, &patience);
        if (__atomic_load_n(&team->idle, __ATOMIC_ACQUIRE) == team->threads)
            break;
        const char *problem = look_for_the_dead(team);
        if (problem != NULL)
            return problem;
    }
    for (unsigned i = 0; i < team->plan.processes; i++) {
        if (team->processes[i].problem[0] != '\0')
            return team->processes[i].problem;
    }
    for (unsigned i = 0; i < team->threads; i++) {
        if (team->members[i].worker.problem[0] != '\0')
            return team->members[i].worker.problem;
    }
    return NULL;
}

/* A part of the mapping; NULL as base only counts. */
struct cursor {
    char *base;
    size_t used;
};

static void *carve(struct cursor *cursor, size_t count, size_t size)
{
    void *memory = cursor->base == NULL ? NULL : cursor->base + cursor->used;

    cursor->used += (count * size + LINE - 1) / LINE * LINE;
    return memory;
}

/* Lays everything out; with a base of NULL it only finds out how large it is. */
static size_t lay_out(const struct team_plan *plan, unsigned threads, char *base)
{
    const struct workload *workload = &workloads[plan->workload];
    const uint32_t slots = plan->slots;
    struct cursor cursor = {.base = base};
    struct team *team = carve(&cursor, 1, sizeof *team);
    struct member *members = carve(&cursor, threads, sizeof *members);
    struct post *posts = carve(&cursor, (size_t)threads * workload->posts, sizeof *posts);

    if (team != NULL)
        *team = (struct team){
            .plan = *plan, .workload = workload, .threads = threads, .members = members};
    for (uint32_t i = 0; i < threads * workload->posts; i++) {
        void *blocks = carve(&cursor, workload->batch, sizeof(uint64_t));
        struct mark *marks = carve(&cursor, workload->batch, sizeof *marks);
        if (team != NULL)
            posts[i] = (struct post){.blocks = blocks, .marks = marks};
    }
    for (unsigned i = 0; i < threads; i++) {
        struct ring *ring = carve(&cursor, 1, sizeof *ring);
        uint64_t *own_slots = carve(&cursor, slots, sizeof *own_slots);
        struct mark *marks = carve(&cursor, slots, sizeof *marks);
        uint32_t *order = carve(&cursor, slots, sizeof *order);
        if (team == NULL)
            continue;
        struct member *member = &members[i];
        *member = (struct member){
            .team = team,
            .order = order,
            .worker = {.index = i,
                       .threads = threads,
                       .seed = plan->seed,
                       .slots = own_slots,
                       .marks = marks,
                       .order = order,
                       .ring = ring,
                       .posts = posts,
                       .post_count = threads * workload->posts,
                       .trace = plan->trace,
                       .trace_length = plan->trace_length,
                       .malloc_ns = &member->malloc_ns,
                       .free_ns = &member->free_ns,
                       .sample = sample,
                       .spoils = plan->spoils && i == 0},
        };
        if (!leads_pair(member)) {
            member->worker.ring = members[i - 1].worker.ring;
            member->worker.slots = members[i - 1].worker.slots;
            member->worker.marks = members[i - 1].worker.marks;
        }
    }
    return cursor.used;
}

/* In the same process, blocks can go from thread to thread whatever the backend. */
const char *team_refuses(const struct team_plan *plan)
{
    const enum team_kind kind = workloads[plan->workload].kind;
    const bool crosses =
        plan->processes > 1 && (kind == ALL || (kind == PAIRS && plan->threads % 2 != 0));

    return crosses && !plan->backend->is_shared ? "processes cannot free each other's blocks"
                                                : NULL;
}

static const char *start_processes(struct team *team)
{
    for (unsigned i = 0; i < team->plan.processes; i++) {
        fflush(NULL);
        const pid_t leader = getpid();
        const pid_t pid = fork();
        if (pid < 0)
            return strerror(errno);
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != leader)
                _exit(EXIT_FAILURE);
            process_main(team, i);
        }
        team->processes[i].pid = pid;
        team->processes[i].is_there = true;
    }
    return NULL;
}

struct team *team_start(const struct team_plan *plan, const char **problem)
{
    static char text[600];
    struct team_plan settled = *plan;
    unsigned threads = plan->processes * plan->threads;

    if (workloads[plan->workload].kind == PAIRS && threads % 2 != 0) {
        settled.threads++;
        threads = settled.processes * settled.threads;
    }
    const size_t bytes = lay_out(&settled, threads, NULL);
    char *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        *problem = strerror(errno);
        return NULL;
    }
    lay_out(&settled, threads, memory);
    struct team *team = (struct team *)(void *)memory;
    team->bytes = bytes;

    *problem = call(plan->backend->create, &plan->config);
    team->heap = open(plan->config.path, O_RDONLY | O_CLOEXEC);
    if (*problem == NULL)
        *problem = start_processes(team);
    if (*problem == NULL)
        *problem = lead(team, STEP_OPEN);
    unlink(plan->config.path); /* a killed run leaves nothing */
    if (*problem == NULL)
        return team;
    team->has_failed = true;
    snprintf(text, sizeof text, "%s", *problem);
    *problem = text;
    team_stop(team);
    return NULL;
}

const char *team_stop(struct team *team)
{
    static char text[600];
    const char *problem = team->has_failed ? NULL : lead(team, STEP_CLOSE);

    if (problem != NULL)
        snprintf(text, sizeof text, "%s", problem);
    /* Only when all have closed the heap may one end: until then, one that ends has failed. */
    const bool all_well = !team->has_failed && problem == NULL;
    if (all_well)
        announce(team, STEP_EXIT);
    for (unsigned i = 0; i < team->plan.processes; i++) {
        struct process *process = &team->processes[i];
        if (!process->is_there)
            continue;
        if (!all_well)
            kill(process->pid, SIGKILL);
        while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (team->heap >= 0)
        close(team->heap);
    munmap(team, team->bytes);
    return problem == NULL ? NULL : text;
}

unsigned team_threads(const struct team *team)
{
    return team->threads;
}

/* As many pairs, but at least one, as fill the slots a whole number of times. */
static void plan_round(struct team *team, uint64_t pairs)
{
    const uint64_t at_least = pairs == 0 ? 1 : pairs;

    team->slots = at_least < team->plan.slots ? (uint32_t)at_least : team->plan.slots;
    team->pairs = at_least - at_least % team->slots;
}

const char *team_play(struct team *team, enum flavour flavour, uint64_t round, uint64_t pairs)
{
    static const enum step steps[] = {STEP_READY, STEP_SETUP, STEP_BEFORE,   STEP_RUN,
                                      STEP_AFTER, STEP_WEIGH, STEP_TEARDOWN, STEP_WEIGH};
    const char *problem = NULL;

    team->flavour = flavour;
    team->round = round;
    team->live_max = team->held_max = 0;
    plan_round(team, pairs);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && problem == NULL; i++)
        problem = lead(team, steps[i]);
    team->has_failed = problem != NULL;
    return problem;
}

struct measurement team_measurement(const struct team *team)
{
    const unsigned members = team->workload->kind == PAIRS ? 2 : 1;
    const uint64_t pairs = team->pairs * (team->threads / members);
    uint64_t sum_ns = 0, slowest_ns = 1, faults = 0;

    for (unsigned i = 0; i < team->threads; i++) {
        const struct member *member = &team->members[i];
        sum_ns += team->plan.clock == TEAM_CLOCK_CPU ? member->cpu_ns : member->wall_ns;
        slowest_ns = member->wall_ns > slowest_ns ? member->wall_ns : slowest_ns;
    }
    for (unsigned i = 0; i < team->plan.processes; i++)
        faults += team->processes[i].faults;
    struct measurement measured = {
        .pairs = pairs,
        .ns_per_pair = (double)sum_ns / (double)pairs,
        .pairs_per_s = (double)pairs * (double)BH_NS_PER_S / (double)slowest_ns,
        .faults = (double)faults,
    };
    for (unsigned c = 0; c < BH_COUNTERS; c++) {
        measured.counters[c] = team->plan.counts ? 0 : NAN;
        for (unsigned i = 0; i < team->threads && team->plan.counts; i++)
            measured.counters[c] += team->members[i].counted[c];
    }
    for (unsigned a = 0; a < TEAM_ACCESSES; a++) {
        for (unsigned i = 0; i < team->plan.processes; i++)
            measured.accesses[a] += (double)team->processes[i].accesses[a];
    }
    return measured;
}

struct memory team_memory(const struct team *team)
{
    return (struct memory){.live = team->live_max, .held = team->held_max, .kept = team_held(team)};
}

void team_latencies(const struct team *team, bh_hist_t *malloc_ns, bh_hist_t *free_ns)
{
    for (unsigned i = 0; i < team->threads; i++) {
        bh_hist_merge(malloc_ns, &team->members[i].malloc_ns);
        bh_hist_merge(free_ns, &team->members[i].free_ns);
    }
}
