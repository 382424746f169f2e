#define BENCH_CALLS
#ifndef ALPS_NO_INLINE
#define ALPS_NO_INLINE
#endif
#include "alps.c"
