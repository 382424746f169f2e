/* The tcmalloc of gperftools. */
#include <gperftools/tcmalloc.h>

#include "backend.h"

typedef void *block_t;

static inline block_t backend_malloc(size_t size)
{
    return tc_malloc(size);
}

static inline void *backend_address(block_t block)
{
    return block;
}

static inline bool backend_free(block_t block)
{
    tc_free(block);
    return true;
}

#include "workloads/instantiate.inc"

static const char *tcmalloc_version(void)
{
    return TC_VERSION_STRING;
}

const struct backend backend_tcmalloc = {
    .name = "tcmalloc",
    .version = tcmalloc_version,
    .programs = programs,
};
