#include "counters.h"

#include <linux/perf_event.h>
#include <math.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const bh_counter_names[BH_COUNTERS] = {
    [BH_INSTRUCTIONS] = "instructions",   [BH_CYCLES] = "cycles",
    [BH_CACHE_MISSES] = "cache_misses",   [BH_TLB_MISSES] = "tlb_misses",
    [BH_BRANCH_MISSES] = "branch_misses",
};

static const struct event {
    uint32_t type;
    uint64_t config;
} events[BH_COUNTERS] = {
    [BH_INSTRUCTIONS] = {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    [BH_CYCLES] = {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
    [BH_CACHE_MISSES] = {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
    [BH_TLB_MISSES] = {PERF_TYPE_HW_CACHE, PERF_COUNT_HW_CACHE_DTLB |
                                               PERF_COUNT_HW_CACHE_OP_READ << 8 |
                                               PERF_COUNT_HW_CACHE_RESULT_MISS << 16},
    [BH_BRANCH_MISSES] = {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES},
};

int bh_counters_open(bh_counters_t *counters)
{
    int count = 0;

    for (int i = 0; i < BH_COUNTERS; i++) {
        struct perf_event_attr attr = {
            .type = events[i].type,
            .size = sizeof attr,
            .config = events[i].config,
            .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
            .disabled = 1,
            .inherit = 1,
            .exclude_kernel = 1,
            .exclude_hv = 1,
        };
        counters->fds[i] =
            (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
        count += counters->fds[i] >= 0;
    }
    return count;
}

void bh_counters_close(bh_counters_t *counters)
{
    for (int i = 0; i < BH_COUNTERS; i++) {
        if (counters->fds[i] >= 0)
            close(counters->fds[i]);
        counters->fds[i] = -1;
    }
}

void bh_counters_start(const bh_counters_t *counters)
{
    for (int i = 0; i < BH_COUNTERS; i++) {
        if (counters->fds[i] < 0)
            continue;
        ioctl(counters->fds[i], PERF_EVENT_IOC_RESET, 0);
        ioctl(counters->fds[i], PERF_EVENT_IOC_ENABLE, 0);
    }
}

void bh_counters_stop(const bh_counters_t *counters, double values[BH_COUNTERS])
{
    for (int i = 0; i < BH_COUNTERS; i++) {
        if (counters->fds[i] >= 0)
            ioctl(counters->fds[i], PERF_EVENT_IOC_DISABLE, 0);
    }
    for (int i = 0; i < BH_COUNTERS; i++) {
        struct {
            uint64_t value, enabled, running;
        } now;
        values[i] = NAN;
        if (counters->fds[i] >= 0 && read(counters->fds[i], &now, sizeof now) == sizeof now &&
            now.running > 0)
            values[i] = (double)now.value * ((double)now.enabled / (double)now.running);
    }
}
