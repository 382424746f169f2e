#include <mimalloc.h>
#include <stdio.h>

#include "backend.h"

typedef void *block_t;

static inline block_t backend_malloc(size_t size)
{
    return mi_malloc(size);
}

static inline void *backend_address(block_t block)
{
    return block;
}

static inline bool backend_free(block_t block)
{
    mi_free(block);
    return true;
}

#include "workloads/instantiate.inc"

static const char *mimalloc_version(void)
{
    static char text[16];
    int version = mi_version(); /* 209 is 2.0.9 */

    snprintf(text, sizeof text, "%d.%d.%d", version / 100, version / 10 % 10, version % 10);
    return text;
}

const struct backend backend_mimalloc = {
    .name = "mimalloc",
    .version = mimalloc_version,
    .programs = programs,
};
