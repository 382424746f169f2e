/* Time stamps that cost little: what comes before is done when they are read. */
#ifndef EMU_TSC_H
#define EMU_TSC_H

#include <stdint.h>
#include <time.h>

static inline uint64_t tsc_clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t tsc_now(void)
{
#if defined(__x86_64__)
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
#else
    return tsc_clock_ns(CLOCK_MONOTONIC_RAW);
#endif
}

/* Ticks of tsc_now per ns. Takes 10 ms. */
double tsc_calibrate(void);

#endif
