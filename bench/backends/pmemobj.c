/* libpmemobj: each process has a pool of its own, in memory that it is told is persistent, so that
 * it flushes by instructions and not by system calls. A block is its offset in the pool. */
#include <errno.h>
#include <fcntl.h>
#include <libpmemobj.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "backend.h"

typedef uint64_t block_t;

static PMEMobjpool *pool;
static uint64_t pool_id;

static inline block_t backend_malloc(size_t size)
{
    PMEMoid id;

    return pmemobj_alloc(pool, &id, size, 0, NULL, NULL) == 0 ? id.off : 0;
}

static inline void *backend_address(block_t block)
{
    return (char *)pool + block;
}

static inline bool backend_free(block_t block)
{
    PMEMoid id = {.pool_uuid_lo = pool_id, .off = block};

    pmemobj_free(&id);
    return true;
}

#include "workloads/instantiate.inc"

static const char *pmemobj_version(void)
{
    static char text[16];

    snprintf(text, sizeof text, "API %u.%u", PMEMOBJ_MAJOR_VERSION, PMEMOBJ_MINOR_VERSION);
    return text;
}

static const char *pmemobj_backend_open(const struct backend_config *config)
{
    char path[4096];
    PMEMoid id;

    snprintf(path, sizeof path, "%s.%ld", config->path, (long)getpid());
    setenv("PMEM_IS_PMEM_FORCE", "1", 1);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return strerror(errno);
    /* A file that exists is not filled with memory by pmemobj_create. */
    int error = ftruncate(fd, (off_t)config->heap_bytes) == 0 ? 0 : errno;
    close(fd);
    pool = error == 0 ? pmemobj_create(path, "alps-bench", 0, 0600) : NULL;
    unlink(path);
    if (error != 0)
        return strerror(error);
    if (pool == NULL || pmemobj_alloc(pool, &id, 64, 0, NULL, NULL) != 0)
        return pmemobj_errormsg();
    pool_id = id.pool_uuid_lo;
    pmemobj_free(&id);
    return NULL;
}

static const char *pmemobj_backend_close(void)
{
    pmemobj_close(pool);
    return NULL;
}

const struct backend backend_pmemobj = {
    .name = "libpmemobj",
    .version = pmemobj_version,
    .open = pmemobj_backend_open,
    .close = pmemobj_backend_close,
    .programs = programs,
};
