/* memkind's kind for persistent memory: jemalloc on a file of each process. */
#include <libgen.h>
#include <memkind.h>
#include <stdlib.h>
#include <string.h>

static struct memkind *kind;

#define BACKEND_MALLOC(size) memkind_malloc(kind, size)
#define BACKEND_FREE(block) memkind_free(kind, block)
#include "backends/pointers.inc"

static const char *memkind_failure(int error)
{
    static char text[MEMKIND_ERROR_MESSAGE_SIZE];

    memkind_error_message(error, text, sizeof text);
    return error == MEMKIND_SUCCESS ? NULL : text;
}

static const char *memkind_backend_version(void)
{
    static char text[24];
    int version = memkind_get_version(); /* 1014000 is 1.14.0 */

    snprintf(text, sizeof text, "%d.%d.%d", version / 1000000, version / 1000 % 1000,
             version % 1000);
    return text;
}

static const char *memkind_backend_open(const struct backend_config *config)
{
    char path[4096];

    snprintf(path, sizeof path, "%s", config->path);
    /* With several arenas, its default, memkind 1.14 crashes in every other run by two threads with
     * blocks of many sizes. */
    setenv("MEMKIND_ARENA_NUM_PER_KIND", "1", 1);
    return memkind_failure(memkind_create_pmem(dirname(path), config->heap_bytes, &kind));
}

static const char *memkind_backend_close(void)
{
    return memkind_failure(memkind_destroy_kind(kind));
}

const struct backend backend_memkind = {
    .name = "memkind",
    .version = memkind_backend_version,
    .open = memkind_backend_open,
    .close = memkind_backend_close,
    .programs = programs,
};
