/* The threads that run a workload, round by round. */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include <stdint.h>

#include "backend.h"

enum team_clock { TEAM_CLOCK_WALL, TEAM_CLOCK_CPU };

struct team;

/* Starts threads, rounded up to whole groups, that do as many pairs each in a round. NULL and errno
 * if there is no memory for them. */
struct team *team_start(const struct workload *workload, unsigned threads, uint64_t pairs,
                        uint64_t seed, enum team_clock clock);
void team_stop(struct team *team);

unsigned team_threads(const struct team *team);

/* What a round was like. */
struct measurement {
    uint64_t pairs;     /* of all threads */
    double ns_per_pair; /* times of all threads, by the team's clock, over pairs */
    double pairs_per_s; /* pairs over the time that passed for the slowest thread */
};

/* Both run a round: all do the same work whatever the backend. NULL, or what went wrong; the text
 * is good until the next round. */
const char *team_measure(struct team *team, const struct backend *backend, uint64_t round,
                         struct measurement *measurement);

/* Does a part of the work, and checks all contents. */
const char *team_verify(struct team *team, const struct backend *backend);

#endif
