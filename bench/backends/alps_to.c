#define BENCH_TO
#include "alps.c"
