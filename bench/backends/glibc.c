/* The C library's allocator. It is looked up in the C library itself: malloc, by whatever name, may
 * be what a library linked into this program has put in its place (mimalloc does). */
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stddef.h>

#include "backend.h"

typedef void *block_t;

static void *(*libc_malloc)(size_t size);
static void (*libc_free)(void *block);

static inline block_t backend_malloc(size_t size)
{
    return libc_malloc(size);
}

static inline void *backend_address(block_t block)
{
    return block;
}

static inline bool backend_free(block_t block)
{
    libc_free(block);
    return true;
}

#include "workloads/instantiate.inc"

static const char *glibc_backend_open(const struct backend_config *config)
{
    void *library = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);

    (void)config;
    if (library == NULL)
        return "no libc.so.6 in this process";
    libc_malloc = (void *(*)(size_t))(uintptr_t)dlsym(library, "malloc");
    libc_free = (void (*)(void *))(uintptr_t)dlsym(library, "free");
    if (libc_malloc == NULL || libc_free == NULL)
        return "no malloc in libc.so.6";
    /* Its first malloc sets it up, and counts on being the only thread by then. */
    libc_free(libc_malloc(1));
    return NULL;
}

const struct backend backend_glibc = {
    .name = "glibc",
    .version = gnu_get_libc_version,
    .open = glibc_backend_open,
    .programs = programs,
};
