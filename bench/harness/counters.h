/* Hardware counters of the calling thread and the threads that it starts, by perf_event_open. A
 * machine may have none, or not let users read them: then the values are NaN. */
#ifndef BH_COUNTERS_H
#define BH_COUNTERS_H

enum {
    BH_INSTRUCTIONS,
    BH_CYCLES,
    BH_CACHE_MISSES, /* of the last level */
    BH_TLB_MISSES,   /* of loads */
    BH_BRANCH_MISSES,
    BH_COUNTERS
};

extern const char *const bh_counter_names[BH_COUNTERS];

typedef struct bh_counters {
    int fds[BH_COUNTERS]; /* -1: there is no such counter */
} bh_counters_t;

/* How many there are. If it is 0, errno says why. */
int bh_counters_open(bh_counters_t *counters);
void bh_counters_close(bh_counters_t *counters);

/* Between the two, events of user space are counted. Where the machine has too few counters, they
 * take turns, and the values are estimates for the whole time. */
void bh_counters_start(const bh_counters_t *counters);
void bh_counters_stop(const bh_counters_t *counters, double values[BH_COUNTERS]);

#endif
