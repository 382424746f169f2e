/* The workloads: what each is, and what its code is given.
 *
 * A workload's code is a template (workloads/<name>.inc), compiled once for each backend, so that
 * nothing but the allocator's own call stands between a loop and the allocator. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/random.h"

/* X(name, slots, pairs, group, description)
 *   slots  blocks that a thread has at most at a time
 *   pairs  blocks that a thread allocates and frees in a round at scale 1
 *   group  threads that work together: their number is rounded up to a multiple */
#define WORKLOADS(X)                                                                               \
    X(pair, 1, 4000000, 1, "64 B: allocate one, free it")                                          \
    X(lifo, 1000, 4000000, 1, "64 B: allocate 1,000, free the last first")                         \
    X(fifo, 1000, 4000000, 1, "64 B: keep 1,000, free the oldest, allocate another")               \
    X(random, 10000, 4000000, 1, "64 B: allocate 10,000, free in random order")                    \
    X(threadtest, 100000, 4000000, 1, "64 B: allocate 100,000, free in the same order")            \
    X(mixed, 10000, 2000000, 1, "16..1039 B: replace one of 10,000 at random")                     \
    X(large, 32, 10000, 1, "64 KiB..4 MiB: replace one of 32 at random")                           \
    X(cross, 4096, 2000000, 2, "64 B: one thread allocates, another frees")

#define WORKLOAD_ID(name, ...) WORKLOAD_##name,
enum { WORKLOADS(WORKLOAD_ID) WORKLOAD_COUNT };

struct workload {
    const char *name;
    uint32_t slots;
    uint64_t pairs;
    unsigned group;
    const char *description;
};

extern const struct workload workloads[WORKLOAD_COUNT];

/* What a block was filled with. */
struct mark {
    uint64_t size;
    uint64_t owner;
    uint64_t serial;
};

#define RING_BATCH 64 /* blocks handed over at once */

/* From the first to the second thread of a group: the slots numbered below sent (modulo slots) hold
 * blocks, those below received are free again. */
struct ring {
    _Alignas(128) uint64_t sent;
    _Alignas(128) uint64_t received;
    _Alignas(128) bool stopped; /* one side failed, the other need not wait */
};

/* One thread, as a workload sees it in one round. */
struct worker {
    unsigned index;
    uint64_t seed;
    uint64_t pairs;        /* to do: a multiple of slot_count */
    uint32_t slot_count;   /* of the arrays below */
    void *slots;           /* the blocks, as the backend names them; all null at first */
    struct mark *marks;    /* what they hold, if verifying */
    const uint32_t *order; /* a permutation of the slots */
    struct ring *ring;     /* between the threads of a group, who have one set of slots and marks */
    bh_rng_t rng;
    uint64_t serial;   /* number of the next block */
    char problem[160]; /* what went wrong first; "" if nothing did */
};

#endif
