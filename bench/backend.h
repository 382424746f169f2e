/* The allocators under test.
 *
 * A backend's file defines
 *
 *     typedef ... block_t;                           what a program stores, 8 bytes: a pointer, an
 *                                                    offset; 0 is none
 *     static inline block_t backend_malloc(size_t size);
 *     static inline void *backend_address(block_t block);
 *     static inline bool backend_free(block_t block);
 *
 * includes "workloads/instantiate.inc", which compiles every workload for it, and defines its
 * struct backend, which is declared at the end of this header and listed in backends/table.c.
 *
 * Each workload has a fresh heap: create is called before there are processes, the rest in each of
 * them. */
#ifndef BENCH_BACKEND_H
#define BENCH_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "workload.h"

struct backend_config {
    const char *path;    /* for a heap's file; there is none. Removed when all processes are open */
    uint64_t heap_bytes; /* that it has room for */
};

struct backend {
    const char *name;
    bool is_shared; /* processes have one heap, and a block may be freed by any of them */
    const char *(*version)(void);

    /* The functions below return NULL, or what is wrong; the text is good until the next call. All
     * may be NULL: nothing to do. */
    const char *(*create)(const struct backend_config *config);
    const char *(*open)(const struct backend_config *config);
    const char *(*check)(void); /* by one when every block is freed: is all as it should be? */
    const char *(*close)(void);

    const struct program (*programs)[FLAVOURS]; /* by workload */
};

/* Those in this build; NULL ends them. */
extern const struct backend *const backends[];

#endif
