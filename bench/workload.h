/* The workloads: what each is, and what its code is given.
 *
 * A workload's code is a template (workloads/<id>.inc), compiled for each backend, so that nothing
 * but the allocator's own call stands between a loop and the allocator. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/histogram.h"
#include "harness/random.h"

/* X(id, name, slots, posts, batch, pairs, kind, description)
 *   slots   blocks that a thread has at most at a time
 *   posts   parcels of a thread that are under way to another at most, of batch blocks each
 *   pairs   blocks that a thread allocates and frees in a round at scale 1
 *   kind    ALONE: threads know nothing of each other; PAIRS: two work together, their number is
 *           rounded up; ALL: blocks go from any thread to any other */
#define WORKLOADS(X)                                                                               \
    X(pair, "pair", 1, 0, 0, 4000000, ALONE, "64 B: allocate one, free it")                        \
    X(lifo, "lifo", 1000, 0, 0, 4000000, ALONE, "64 B: allocate 1,000, free the last first")       \
    X(fifo, "fifo", 1000, 0, 0, 4000000, ALONE, "64 B: keep 1,000, replace the oldest")            \
    X(random, "random", 10000, 0, 0, 4000000, ALONE,                                               \
      "64 B: allocate 10,000, free in random order")                                               \
    X(threadtest, "threadtest", 100000, 0, 0, 4000000, ALONE,                                      \
      "64 B: allocate 100,000, free in the same order")                                            \
    X(sh6bench, "sh6bench", 2000, 0, 0, 2000000, ALONE,                                            \
      "64..400 B: runs of equal blocks, freed in several orders")                                  \
    X(larson, "larson", 5000, 0, 0, 2000000, ALONE,                                                \
      "8..1000 B: replace one of 5,000; threads end, and leave theirs to new ones")                \
    X(small, "small", 10000, 0, 0, 2000000, ALONE, "16..1039 B: replace one of 10,000")            \
    X(many, "many", 200000, 0, 0, 1000000, ALONE, "16..1039 B: replace one of 200,000")            \
    X(mixed, "mixed", 10000, 0, 0, 1000000, ALONE,                                                 \
      "16 B..32 KiB, each doubling as likely: replace one of 10,000")                              \
    X(large, "large", 32, 0, 0, 10000, ALONE, "64 KiB..4 MiB: replace one of 32")                  \
    X(prodcon, "prodcon", 4096, 0, 0, 2000000, PAIRS, "64 B: one thread allocates, one frees")     \
    X(xmalloc, "xmalloc", 120, 20, 120, 1000000, ALL,                                              \
      "8..768 B: parcels of 120 blocks, freed by any thread")                                      \
    X(mstress, "mstress", 10000, 256, 1, 1000000, ALL,                                             \
      "8 B..64 KiB: some kept long, some given to other threads; threads end")                     \
    X(rptest, "rptest", 1100, 10, 100, 1000000, ALL,                                               \
      "8..16000 B: replace 100 of 1,000; every other 100 are freed by another thread")             \
    X(scratch, "cache-scratch", 1, 1, 1, 20000, ALL,                                               \
      "8 B: first given by one thread to all, replaced, each written 2,000 times")                 \
    X(thrash, "cache-thrash", 1, 0, 0, 20000, ALONE, "8 B: allocate, write 2,000 times, free")     \
    X(kvload, "kv-load", 20000, 0, 0, 20000, ALONE, "store 20,000 records of 1 KiB (YCSB load)")   \
    X(kva, "kv-a", 20000, 0, 0, 200000, ALONE, "half reads, half updates of 20,000 (YCSB A)")      \
    X(kvd, "kv-d", 40000, 0, 0, 200000, ALONE, "95 % reads of the latest, 5 % inserts (YCSB D)")   \
    X(trace, "trace", 1, 0, 0, 500000, ALONE, "what a program did (--trace)")

#define WORKLOAD_ID(id, ...) WORKLOAD_##id,
enum { WORKLOADS(WORKLOAD_ID) WORKLOAD_COUNT };

enum team_kind { ALONE, PAIRS, ALL };

struct workload {
    const char *name;
    uint32_t slots, posts, batch;
    uint64_t pairs;
    enum team_kind kind;
    const char *description;
};

extern const struct workload workloads[WORKLOAD_COUNT];

/* How a workload is compiled and run.
 *
 *   TIMED     a block's first 8 bytes are written
 *   VERIFIED  all of it is, and is read before it is freed
 *   LATENCY   as timed; each call is timed
 *   MEMORY    all pages of a block are written; what is live and what is held is looked at now and
 *             then */
enum flavour { TIMED, VERIFIED, LATENCY, MEMORY, FLAVOURS };

/* What is known of a block, in the flavours VERIFIED and MEMORY. */
struct mark {
    uint64_t size;
    uint64_t owner;
    uint64_t serial;
};

/* From the first to the second thread of a pair: the slots numbered below sent (modulo slots) hold
 * blocks, those below received are free again. */
struct ring {
    _Alignas(128) uint64_t sent;
    _Alignas(128) uint64_t received;
    _Alignas(128) bool stopped; /* one side failed, the other need not wait */
};

/* A parcel of blocks on the way from one thread to whichever fetches it. */
enum post_state { POST_EMPTY, POST_BUSY, POST_FULL };
struct post {
    _Alignas(128) uint32_t state;
    uint32_t count;
    void *blocks; /* room for the batch of the workload */
    struct mark *marks;
};

/* What a traced program did: took a block of size bytes into a slot, or, if size is 0, gave it
 * back. */
struct trace_operation {
    uint32_t slot;
    uint32_t size;
};

/* One thread, as a workload sees it in one round. */
struct worker {
    unsigned index, threads;
    uint64_t seed;
    uint64_t pairs;        /* to do: a multiple of slot_count */
    uint32_t slot_count;   /* of the arrays below */
    void *slots;           /* the blocks, as the backend names them; all null at first */
    struct mark *marks;    /* what they hold */
    const uint32_t *order; /* a permutation of the slots */
    struct ring *ring;     /* between the threads of a pair, who have one set of slots and marks */
    struct post *posts;    /* of all threads; its own begin at index * posts of the workload */
    uint32_t post_count;
    const struct trace_operation *trace;
    uint64_t trace_length;
    bh_rng_t rng;
    bh_zipf_t zipf;
    uint64_t serial;                  /* number of the next block */
    uint64_t checksum;                /* of what was read */
    uint64_t helper_cpu_ns;           /* of threads that it started */
    bh_hist_t *malloc_ns, *free_ns;   /* in the flavour LATENCY */
    int64_t live;                     /* in the flavour MEMORY: bytes allocated less bytes freed */
    uint64_t calls, sample_calls;     /* mallocs so far, and between two samples */
    void (*sample)(struct worker *w); /* looks at what is live and what is held */
    bool spoils;                      /* for tests: a byte, in the flavour VERIFIED */
    char problem[160];                /* what went wrong first; "" if nothing did */
};

typedef void workload_run(struct worker *worker);

/* A workload in a flavour. Only run is timed; all threads are done with it when the first begins
 * the teardown. */
struct program {
    workload_run *setup, *run, *teardown;
};

#endif
