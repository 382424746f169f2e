/* The allocators under test.
 *
 * A backend's file defines
 *
 *     typedef ... block_t;                           what a program stores: a pointer, an offset
 *     static inline block_t backend_malloc(size_t size);
 *     static inline void *backend_address(block_t block);
 *     static inline bool backend_free(block_t block);
 *
 * includes "workloads/instantiate.inc", which compiles every workload for it, and defines its
 * struct backend, which is declared at the end of this header and listed in backends/table.c. */
#ifndef BENCH_BACKEND_H
#define BENCH_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "workload.h"

struct backend_config {
    const char *heap_path; /* file for the heap of backends that have one; must not exist */
    uint64_t heap_bytes;
};

typedef void workload_run(struct worker *worker);

struct backend {
    const char *name;
    const char *(*version)(void);

    /* The functions below return NULL, or what is wrong; the text is good until the next call. All
     * but version may be NULL: nothing to do. */
    const char *(*open)(const struct backend_config *config);
    const char *(*check)(void); /* when every block is freed: is everything as it should be? */
    const char *(*close)(void);

    workload_run *const *timed;    /* by workload */
    workload_run *const *verified; /* the same, with every block filled, and checked in full */
};

extern const struct backend backend_alps, backend_alps_calls, backend_glibc, backend_mimalloc;

/* Those in this build; NULL ends them. */
extern const struct backend *const backends[];

#endif
