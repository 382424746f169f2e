/* The processes and threads that run a workload on one backend, round by round. */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include <stdint.h>

#include "backend.h"
#include "harness/counters.h"
#include "harness/histogram.h"

#define TEAM_PROCESSES_MAX 64

enum team_clock { TEAM_CLOCK_WALL, TEAM_CLOCK_CPU };

struct team_plan {
    const struct backend *backend;
    unsigned workload; /* its number */
    unsigned processes;
    unsigned threads; /* of each process */
    uint32_t slots;   /* of each thread */
    uint64_t seed;
    enum team_clock clock;
    const struct trace_operation *trace;
    uint64_t trace_length;
    struct backend_config config;
    bool counts; /* hardware counters */
    bool spoils; /* for tests: a byte */
};

struct team;

/* Why a team cannot do what is planned; NULL if it can. */
const char *team_refuses(const struct team_plan *plan);

/* Starts the processes, with an odd number of threads in all rounded up where they work in pairs.
 * NULL and *problem if that fails; the text is good until the next call. */
struct team *team_start(const struct team_plan *plan, const char **problem);

/* Ends the processes, checks the heap if all went well, and frees the team. NULL, or what is wrong.
 */
const char *team_stop(struct team *team);

unsigned team_threads(const struct team *team);

/* What emulated memory is asked for, by this name each. */
#define TEAM_ACCESSES 9
extern const char *const team_access_names[TEAM_ACCESSES];

/* What a round was like. */
struct measurement {
    uint64_t pairs;               /* of all threads */
    double ns_per_pair;           /* times of all threads, by the team's clock, over pairs */
    double pairs_per_s;           /* pairs over the time that passed for the slowest thread */
    double faults;                /* page faults */
    double counters[BH_COUNTERS]; /* of all threads; NaN: not to be had */
    double accesses[TEAM_ACCESSES];
};

struct memory {
    uint64_t live; /* bytes that blocks had at the most */
    uint64_t held; /* bytes of memory that the backend had at the most */
    uint64_t kept; /* that it still has when all blocks are freed */
};

/* Plays a round in which each thread does about so many pairs. NULL, or what went wrong, after
 * which the team can only be stopped; the text is good until then. */
const char *team_play(struct team *team, enum flavour flavour, uint64_t round, uint64_t pairs);

/* Of the round that was played. */
struct measurement team_measurement(const struct team *team);
struct memory team_memory(const struct team *team);
void team_latencies(const struct team *team, bh_hist_t *malloc_ns, bh_hist_t *free_ns);

#endif
