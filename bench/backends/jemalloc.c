#include <jemalloc/jemalloc.h>

#include "backends/found.h"

#define BACKEND_MALLOC found.malloc
#define BACKEND_FREE found.free
#include "backends/pointers.inc"

static const char *jemalloc_version(void)
{
    static char text[16];

    snprintf(text, sizeof text, "%d.%d.%d", JEMALLOC_VERSION_MAJOR, JEMALLOC_VERSION_MINOR,
             JEMALLOC_VERSION_BUGFIX);
    return text;
}

static const char *jemalloc_backend_open(const struct backend_config *config)
{
    (void)config;
    return find_in("libjemalloc.so.2");
}

const struct backend backend_jemalloc = {
    .name = "jemalloc",
    .version = jemalloc_version,
    .open = jemalloc_backend_open,
    .programs = programs,
};
