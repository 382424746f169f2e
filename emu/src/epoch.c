/* The mode epoch: stalls that the processor counts become delays.
 *
 * Idea. Nothing is added to single accesses. Once in a while (an epoch of 1 ms, closed by the
 * first access or fence after it) a thread reads how long the processor waited for memory, and how
 * many of its loads went to another node: that share of the stalls was for far memory. Had it been
 * as slow as the profile says, those stalls would have been longer by the ratio of the latencies,
 * and the thread waits for the difference. This needs far memory on a NUMA node of its own, and a
 * processor whose counters the kernel lets programs read. */
#include "state.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "epoch.h"
#include "error.h"
#include "tsc.h"

#define EPOCH_NS 1000000

enum { STALLED, LOADS, REMOTE, COUNTERS };

struct counters {
    int fds[COUNTERS];
    uint64_t last[COUNTERS], last_ns;
};

static int open_counter(uint32_t type, uint64_t config, int group)
{
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = type;
    attr.config = config;
    attr.exclude_kernel = 1;
    attr.exclude_hv = 1;
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, group, PERF_FLAG_FD_CLOEXEC);
}

static void close_counters(const struct counters *c)
{
    for (int i = 0; i < COUNTERS; i++)
        if (c->fds[i] >= 0)
            close(c->fds[i]);
}

static int open_counters(struct counters *c)
{
    const uint64_t loads = PERF_COUNT_HW_CACHE_NODE | PERF_COUNT_HW_CACHE_OP_READ << 8;
    static const char *const names[] = {"stalled cycles", "loads from memory",
                                        "loads from remote nodes"};
    const struct {
        uint32_t type;
        uint64_t config;
    } events[] = {
        {PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_BACKEND},
        {PERF_TYPE_HW_CACHE, loads | PERF_COUNT_HW_CACHE_RESULT_ACCESS << 16},
        {PERF_TYPE_HW_CACHE, loads | PERF_COUNT_HW_CACHE_RESULT_MISS << 16},
    };
    for (int i = 0; i < COUNTERS; i++)
        c->fds[i] = -1;
    for (int i = 0; i < COUNTERS; i++) {
        c->fds[i] = open_counter(events[i].type, events[i].config, i == 0 ? -1 : c->fds[0]);
        if (c->fds[i] < 0) {
            const int error = errno;
            close_counters(c);
            if (error == EACCES || error == EPERM)
                return emu_fail(ENODEV, "the mode epoch may not read the processor's counters: "
                                        "/proc/sys/kernel/perf_event_paranoid forbids it");
            return emu_fail(ENODEV,
                            "no PMU: this machine does not count %s, which the mode epoch needs; "
                            "use spin or virtual",
                            names[i]);
        }
    }
    return 0;
}

static int epoch_start(struct emulator *e)
{
    struct counters try;
    int rc = open_counters(&try);
    if (rc != 0)
        return rc;
    close_counters(&try);
    e->ticks_per_ns = tsc_calibrate();
    if (e->base_ns == 0)
        return emu_fail(EINVAL, "the mode epoch needs the latency of the far node as it is: "
                                "base_ns, or EMU_BASE_NS");
    return 0;
}

static int epoch_start_thread(struct emulator *e, struct thread *t)
{
    (void)e;
    t->counters = calloc(1, sizeof *t->counters);
    if (t->counters == NULL)
        return emu_fail(ENOMEM, "no memory for counters");
    t->counters->last_ns = tsc_clock_ns(CLOCK_MONOTONIC_RAW);
    return open_counters(t->counters);
}

static void epoch_stop_thread(struct thread *t)
{
    if (t->counters != NULL)
        close_counters(t->counters);
    free(t->counters);
}

double epoch_delay_ns(double stalled_ns, double loads, double remote, double base_ns,
                      double target_ns)
{
    if (loads <= 0 || remote <= 0 || target_ns <= base_ns)
        return 0;
    const double share = remote < loads ? remote / loads : 1;
    return stalled_ns * share * (target_ns - base_ns) / base_ns;
}

/* Closes the epoch if it is over. */
static void end_epoch(struct emulator *e, struct thread *t)
{
    struct counters *c = t->counters;
    if (tsc_clock_ns(CLOCK_MONOTONIC_RAW) - c->last_ns < EPOCH_NS)
        return;
    double passed[COUNTERS];
    for (int i = 0; i < COUNTERS; i++) {
        uint64_t value = 0;
        if (read(c->fds[i], &value, sizeof value) != sizeof value)
            return;
        passed[i] = (double)(value - c->last[i]);
        c->last[i] = value;
    }
    const double delay =
        epoch_delay_ns(passed[STALLED] / e->ticks_per_ns, passed[LOADS], passed[REMOTE], e->base_ns,
                       (double)profile_latency_ps(&e->profile, 0, EMU_READ) / 1000);
    const uint64_t end = tsc_now() + (uint64_t)(delay * e->ticks_per_ns);
    while ((int64_t)(end - tsc_now()) > 0)
        continue;
    count(&t->counts.charged_ns, (uint64_t)(delay * 1000));
    c->last_ns = tsc_clock_ns(CLOCK_MONOTONIC_RAW);
}

static void epoch_charge(struct emulator *e, struct thread *t, const struct piece *p)
{
    (void)p;
    end_epoch(e, t);
}

const struct mode mode_epoch = {
    .start = epoch_start,
    .start_thread = epoch_start_thread,
    .stop_thread = epoch_stop_thread,
    .charge = epoch_charge,
    .fence = end_epoch,
};
