#include "harness/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * BH_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t bh_clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t bh_clock_thread_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}
