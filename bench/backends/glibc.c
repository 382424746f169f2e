/* The C library's allocator. */
#include <gnu/libc-version.h>

#include "backends/found.h"

#define BACKEND_MALLOC found.malloc
#define BACKEND_FREE found.free
#include "backends/pointers.inc"

static const char *glibc_backend_open(const struct backend_config *config)
{
    const char *problem = find_in("libc.so.6");

    (void)config;
    /* Its first malloc sets it up, and counts on being the only thread by then. */
    if (problem == NULL)
        found.free(found.malloc(1));
    return problem;
}

const struct backend backend_glibc = {
    .name = "glibc",
    .version = gnu_get_libc_version,
    .open = glibc_backend_open,
    .programs = programs,
};
