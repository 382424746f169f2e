/* The time stamp counter against CLOCK_MONOTONIC_RAW: both are read at the two ends of 10 ms, the
 * counter before and after the clock, and the tightest of some tries counts. */
#include "tsc.h"

struct pair {
    uint64_t ticks, ns;
};

static struct pair read_both(void)
{
    struct pair best = {0, 0};
    uint64_t width = UINT64_MAX;
    for (int i = 0; i < 32; i++) {
        uint64_t before = tsc_now(), ns = tsc_clock_ns(CLOCK_MONOTONIC_RAW), after = tsc_now();
        if (after - before < width) {
            width = after - before;
            best = (struct pair){before + width / 2, ns};
        }
    }
    return best;
}

double tsc_calibrate(void)
{
    struct pair start = read_both(), end;
    do
        end = read_both();
    while (end.ns - start.ns < 10 * 1000 * 1000);
    return (double)(end.ticks - start.ticks) / (double)(end.ns - start.ns);
}
