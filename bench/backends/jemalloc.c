/* jemalloc, by the names that programs use; they are looked up in its library, since malloc may be
 * what another library linked into this program has put in its place. */
#include <dlfcn.h>
#include <jemalloc/jemalloc.h>
#include <stddef.h>

#include "backend.h"

typedef void *block_t;

static void *(*jemalloc_malloc)(size_t size);
static void (*jemalloc_free)(void *block);

static inline block_t backend_malloc(size_t size)
{
    return jemalloc_malloc(size);
}

static inline void *backend_address(block_t block)
{
    return block;
}

static inline bool backend_free(block_t block)
{
    jemalloc_free(block);
    return true;
}

#include "workloads/instantiate.inc"

static const char *jemalloc_version(void)
{
    static char text[16];

    snprintf(text, sizeof text, "%d.%d.%d", JEMALLOC_VERSION_MAJOR, JEMALLOC_VERSION_MINOR,
             JEMALLOC_VERSION_BUGFIX);
    return text;
}

static const char *jemalloc_backend_open(const struct backend_config *config)
{
    void *library = dlopen("libjemalloc.so.2", RTLD_LAZY | RTLD_NOLOAD);

    (void)config;
    if (library == NULL)
        return "no libjemalloc.so.2 in this process";
    jemalloc_malloc = (void *(*)(size_t))(uintptr_t)dlsym(library, "malloc");
    jemalloc_free = (void (*)(void *))(uintptr_t)dlsym(library, "free");
    return jemalloc_malloc == NULL || jemalloc_free == NULL ? "no malloc in libjemalloc.so.2"
                                                            : NULL;
}

const struct backend backend_jemalloc = {
    .name = "jemalloc",
    .version = jemalloc_version,
    .open = jemalloc_backend_open,
    .programs = programs,
};
