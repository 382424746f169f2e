/* Boost.Interprocess: a managed mapped file. */
#include "boost.h"

#include "backend.h"

typedef uint64_t block_t;

static inline block_t backend_malloc(size_t size)
{
    return boost_malloc(size);
}

static inline void *backend_address(block_t block)
{
    return boost_address(block);
}

static inline bool backend_free(block_t block)
{
    boost_free(block);
    return true;
}

#include "workloads/instantiate.inc"

static const char *boost_backend_create(const struct backend_config *config)
{
    return boost_create(config->path, config->heap_bytes);
}

static const char *boost_backend_open(const struct backend_config *config)
{
    return boost_open(config->path);
}

static const char *boost_backend_close(void)
{
    boost_close();
    return NULL;
}

const struct backend backend_boost = {
    .name = "boost",
    .is_shared = true,
    .version = boost_version,
    .create = boost_backend_create,
    .open = boost_backend_open,
    .check = boost_check,
    .close = boost_backend_close,
    .programs = programs,
};
