#include "backend.h"

const struct backend *const backends[] = {
    &backend_alps,     &backend_alps_calls,
#ifdef BENCH_WITH_MIMALLOC
    &backend_mimalloc,
#endif
    &backend_glibc,    NULL,
};
