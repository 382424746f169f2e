#include <mimalloc.h>
#include <stdio.h>

#define BACKEND_MALLOC mi_malloc
#define BACKEND_FREE mi_free
#include "backends/pointers.inc"

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
