/* The tcmalloc of gperftools. */
#include <gperftools/tcmalloc.h>

#define BACKEND_MALLOC tc_malloc
#define BACKEND_FREE tc_free
#include "backends/pointers.inc"

static const char *tcmalloc_version(void)
{
    return TC_VERSION_STRING;
}

const struct backend backend_tcmalloc = {
    .name = "tcmalloc",
    .version = tcmalloc_version,
    .programs = programs,
};
