#include "team.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/clock.h"

#define VERIFIED_PART 16 /* verifying does 1/16 of the pairs */

struct member {
    _Alignas(128) struct worker worker;
    struct team *team;
    uint32_t *order;
    uint64_t wall_ns; /* of the last round */
    uint64_t cpu_ns;
    pthread_t thread;
};

struct team {
    const struct workload *workload;
    unsigned threads;
    uint64_t pairs; /* of a thread, in a timed round */
    uint64_t seed;
    enum team_clock clock;
    pthread_barrier_t barrier;
    size_t bytes; /* of the mapping that holds the team */

    /* The round under way. */
    workload_run *run; /* NULL: the team is to end */
    uint64_t round;
    uint64_t round_pairs; /* of a thread */
    uint32_t round_slots; /* in use */

    struct member members[];
};

/* As many pairs, but at least one, as fill the slots a whole number of times. */
static void plan_round(struct team *team, uint64_t pairs)
{
    uint64_t at_least = pairs == 0 ? 1 : pairs;
    uint32_t slots = team->workload->slots;

    team->round_slots = at_least < slots ? (uint32_t)at_least : slots;
    team->round_pairs = at_least - at_least % team->round_slots;
}

static bool leads_group(const struct member *member)
{
    return member->worker.index % member->team->workload->group == 0;
}

static void prepare(struct member *member)
{
    const struct team *team = member->team;
    struct worker *w = &member->worker;

    w->pairs = team->round_pairs;
    w->slot_count = team->round_slots;
    w->serial = 0;
    w->problem[0] = '\0';
    bh_rng_seed(&w->rng, team->seed, team->round * team->threads + w->index);
    bh_rng_permutation(&w->rng, member->order, w->slot_count);
    if (leads_group(member)) {
        memset(w->slots, 0, w->slot_count * sizeof(uint64_t));
        *w->ring = (struct ring){.stopped = false};
    }
}

static void *member_main(void *argument)
{
    struct member *member = argument;
    struct team *team = member->team;

    for (;;) {
        pthread_barrier_wait(&team->barrier); /* the round is planned */
        if (team->run == NULL)
            return NULL;
        prepare(member);
        pthread_barrier_wait(&team->barrier); /* all are prepared */
        uint64_t wall_start_ns = bh_clock_ns();
        uint64_t cpu_start_ns = bh_clock_thread_ns();
        team->run(&member->worker);
        member->cpu_ns = bh_clock_thread_ns() - cpu_start_ns;
        member->wall_ns = bh_clock_ns() - wall_start_ns;
        pthread_barrier_wait(&team->barrier); /* all are done */
    }
}

static const char *play_round(struct team *team, workload_run *run, uint64_t round, uint64_t pairs)
{
    team->run = run;
    team->round = round;
    plan_round(team, pairs);
    for (unsigned i = 0; i < 3; i++)
        pthread_barrier_wait(&team->barrier);
    for (unsigned i = 0; i < team->threads; i++) {
        if (team->members[i].worker.problem[0] != '\0')
            return team->members[i].worker.problem;
    }
    return NULL;
}

/* Memory for one thread of each array, from the mapping and not from an allocator under test. */
struct arrays {
    _Alignas(128) struct ring ring;
    char bytes[];
};

static size_t arrays_bytes(const struct workload *workload)
{
    size_t bytes = sizeof(struct arrays) +
                   workload->slots * (sizeof(uint64_t) + sizeof(struct mark) + sizeof(uint32_t));

    return (bytes + 127) & ~(size_t)127;
}

static void hand_out(struct member *member, struct arrays *arrays)
{
    uint32_t slots = member->team->workload->slots;
    struct worker *w = &member->worker;

    w->ring = &arrays->ring;
    w->slots = arrays->bytes;
    w->marks = (struct mark *)(void *)(arrays->bytes + slots * sizeof(uint64_t));
    member->order = (uint32_t *)(void *)(w->marks + slots);
    w->order = member->order;
}

/* The threads of a group share what their first one has, but for the order. */
static void share(struct member *member, const struct member *leader)
{
    member->worker.ring = leader->worker.ring;
    member->worker.slots = leader->worker.slots;
    member->worker.marks = leader->worker.marks;
}

struct team *team_start(const struct workload *workload, unsigned threads, uint64_t pairs,
                        uint64_t seed, enum team_clock clock)
{
    unsigned group = workload->group;
    unsigned whole = (threads + group - 1) / group * group;
    size_t team_bytes = sizeof(struct team) + whole * sizeof(struct member);
    size_t bytes = team_bytes + whole * arrays_bytes(workload);

    struct team *team =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (team == MAP_FAILED)
        return NULL;
    team->workload = workload;
    team->threads = whole;
    team->pairs = pairs;
    team->seed = seed;
    team->clock = clock;
    team->bytes = bytes;
    pthread_barrier_init(&team->barrier, NULL, whole + 1);
    for (unsigned i = 0; i < whole; i++) {
        struct member *member = &team->members[i];
        member->team = team;
        member->worker.index = i;
        member->worker.seed = seed;
        hand_out(member,
                 (struct arrays *)(void *)((char *)team + team_bytes + i * arrays_bytes(workload)));
        share(member, &team->members[i - i % group]);
    }
    for (unsigned i = 0; i < whole; i++) {
        int error = pthread_create(&team->members[i].thread, NULL, member_main, &team->members[i]);
        if (error != 0) {
            errno = error;
            return NULL; /* those that run wait for ever: the program is about to end */
        }
    }
    return team;
}

void team_stop(struct team *team)
{
    team->run = NULL;
    pthread_barrier_wait(&team->barrier);
    for (unsigned i = 0; i < team->threads; i++)
        pthread_join(team->members[i].thread, NULL);
    pthread_barrier_destroy(&team->barrier);
    munmap(team, team->bytes);
}

unsigned team_threads(const struct team *team)
{
    return team->threads;
}

const char *team_measure(struct team *team, const struct backend *backend, uint64_t round,
                         struct measurement *measurement)
{
    workload_run *run = backend->timed[team->workload - workloads];
    uint64_t sum_ns = 0;
    uint64_t slowest_ns = 0;

    const char *problem = play_round(team, run, round, team->pairs);
    for (unsigned i = 0; i < team->threads; i++) {
        const struct member *member = &team->members[i];
        sum_ns += team->clock == TEAM_CLOCK_CPU ? member->cpu_ns : member->wall_ns;
        slowest_ns = member->wall_ns > slowest_ns ? member->wall_ns : slowest_ns;
    }
    uint64_t pairs = team->round_pairs * (team->threads / team->workload->group);
    *measurement = (struct measurement){
        .pairs = pairs,
        .ns_per_pair = (double)sum_ns / (double)pairs,
        .pairs_per_s = (double)pairs * (double)BH_NS_PER_S / (double)slowest_ns,
    };
    return problem;
}

const char *team_verify(struct team *team, const struct backend *backend)
{
    workload_run *run = backend->verified[team->workload - workloads];

    return play_round(team, run, 0, team->pairs / VERIFIED_PART);
}
