/* The mode spin: accesses take as long as the profile says, in real time.
 *
 * Idea. An access touches its lines, as many at a time as the profile's parallelism says, and times
 * each batch. A batch that took less than half of what the machine's memory takes came from the
 * processor's cache, and there it is left at that. Otherwise the access lasts until the profile's
 * latency, counted from its begin, has passed for each such batch, or until its turn on the links
 * and the device is over. So only the difference to the memory's own latency is waited for.
 *
 * What a wait overshoots (the counter's steps, interrupts) is a debt that later waits pay back, up
 * to some tens of us, so that the mean is right where single accesses cannot be.
 *
 * Calibration, by the first process of a share, is a closed loop: dependent accesses to a large
 * buffer are emulated at the profile's latency, measured from outside, and the difference is
 * subtracted from all waits.
 *
 * A flush cannot be timed: some processors seem to do it at once. It sets a deadline, the latest of
 * which the fence waits for. */
#include "state.h"

#include <errno.h>

#include "chase.h"
#include "error.h"
#include "tsc.h"

/* What the first process measured for all (model_note). */
enum { NOTE_TICKS, NOTE_BASE, NOTE_BIAS, NOTE_DONE };

#define DEBT_MAX_NS 20000
#define BATCH_BYTES 1024
#define AHEAD_NS 1000
#define INTERRUPT_NS 10000 /* no batch of lines takes as long as this */
#define LATE_MAX_NS 100000

static double bias_ns;      /* subtracted from each latency */
static uint64_t miss_ticks; /* lines that take longer were not in the cache */
static uint64_t debt_max_ticks, ahead_ticks, interrupt_ticks, late_max_ticks;
static bool native; /* the profile adds nothing anywhere */

static uint64_t to_ticks(const struct emulator *e, double ns)
{
    return ns > 0 ? (uint64_t)(ns * e->ticks_per_ns) : 0;
}

static uint64_t to_ps(const struct emulator *e, uint64_t ticks)
{
    return (uint64_t)((double)ticks * e->ps_per_tick);
}

/* now: when it was last. */
static void wait_until(struct thread *t, uint64_t deadline, uint64_t now)
{
    if ((int64_t)(deadline - now) <= 0)
        return;
    const uint64_t wait = deadline - now, paid = wait < t->debt ? wait : t->debt;
    deadline -= paid;
    t->debt -= paid;
    while ((int64_t)(deadline - now) > 0)
        now = tsc_now();
    t->debt += now - deadline;
    t->late += now - deadline;
    if (t->debt > debt_max_ticks)
        t->debt = debt_max_ticks;
}

/* Touches lines and returns how many batches of them were not in the cache. */
static uint64_t touch(const struct emulator *e, struct thread *t, const struct piece *p,
                      uint64_t start, uint64_t *now)
{
    const uint64_t lines = lines_of(p->position, p->length), batch = e->profile.parallelism;
    const char *line = p->address - p->position % LINE;
    uint64_t missed = 0;
    for (uint64_t i = 0; i < lines; i++) {
        if (p->access != EMU_READ)
            __builtin_prefetch(line + i * LINE, 1);
        (void)*(const volatile char *)(i == 0 ? p->address : line + i * LINE);
        if (i % batch == batch - 1 || i + 1 == lines) {
            *now = tsc_now();
            missed += *now - start > miss_ticks;
            if (*now - start > interrupt_ticks)
                t->late += *now - start;
            start = *now;
        }
    }
    return missed;
}

/* Takes what the thread has moved since the last time from the path's bandwidth; returns when it is
 * over. Its latencies hold until the next time. Who goes on right after that, or was kept from it
 * by an interrupt, has kept the path busy meanwhile, as processors do that fetch ahead. */
static uint64_t settle(struct emulator *e, struct thread *t, uint64_t start)
{
    const uint64_t now = start;
    if (t->late > late_max_ticks)
        t->late = late_max_ticks;
    if ((int64_t)(start - t->settled) < (int64_t)(ahead_ticks + t->late))
        start = t->settled;
    else
        t->late = 0; /* it had other things to do */
    const uint64_t start_ps = to_ps(e, start);
    struct model_cost cost[EMU_FLUSH];
    uint64_t queue_ps = 0, service_ps = 0;
    for (int access = EMU_READ; access < EMU_FLUSH; access++) {
        cost[access] = model_transfer(e->model, t->host, t->device, (enum emu_access)access, false,
                                      t->unsettled[access], start_ps);
        queue_ps += cost[access].queue_ps;
        service_ps += cost[access].service_ps;
        const double ns = (double)cost[access].latency_ps / 1000;
        t->latency_ticks[access] = ns > 0 ? to_ticks(e, ns - bias_ns) : 0;
        if (access != EMU_READ && t->unsettled[access] != 0) /* written back some time */
            model_transfer(e->model, t->host, t->device, EMU_FLUSH, true, t->unsettled[access],
                           start_ps);
        t->unsettled[access] = 0;
    }
    count(&t->counts.queued_ns, queue_ps);
    t->settled = start + to_ticks(e, (double)(queue_ps + service_ps) / 1000);
    if ((int64_t)(now - t->settled) < (int64_t)t->late) /* what is still to be caught up on */
        t->late = (int64_t)(now - t->settled) > 0 ? now - t->settled : 0;
    return t->settled;
}

static void flush(struct emulator *e, struct thread *t, const struct piece *p)
{
    const double latency =
        (double)model_transfer(e->model, t->host, p->device, EMU_FLUSH, true, 0, 0).latency_ps /
        1000;
    const uint64_t done = tsc_now() + to_ticks(e, latency);
    if (done > t->pending)
        t->pending = done;
}

static void spin_charge(struct emulator *e, struct thread *t, const struct piece *p)
{
    if (native)
        return;
    if (p->access == EMU_FLUSH) {
        flush(e, t, p);
        return;
    }
    const uint64_t start = tsc_now();
    uint64_t now = start;
    const uint64_t batches = touch(e, t, p, start, &now);
    if (batches == 0)
        return;
    uint64_t lines = batches * e->profile.parallelism;
    if (lines > lines_of(p->position, p->length))
        lines = lines_of(p->position, p->length);
    uint64_t end = start; /* when the path has moved what this thread moved lately */
    if (t->device != p->device) {
        settle(e, t, start);
        t->device = p->device;
        t->latency_ticks[EMU_READ] = 0;
    }
    t->unsettled[p->access] += lines * LINE;
    if (t->unsettled[p->access] >= BATCH_BYTES || t->latency_ticks[EMU_READ] == 0)
        end = settle(e, t, start);
    if ((int64_t)(start + t->latency_ticks[p->access] * batches - end) > 0)
        end = start + t->latency_ticks[p->access] * batches;
    wait_until(t, end, now);
    count(&t->counts.misses[p->access], lines);
    count(&t->counts.bytes_read, lines * LINE);
    if (p->access != EMU_READ)
        count(&t->counts.bytes_written, lines * LINE);
    count(&t->counts.charged_ns, to_ps(e, end - start));
}

static void spin_fence(struct emulator *e, struct thread *t)
{
    wait_until(t, t->pending + to_ticks(e, (double)e->profile.fence_ps / 1000), tsc_now());
    t->pending = 0;
}

/* ---- calibration ---- */

/* What the machine's memory takes is the least that can be emulated, and some more. */
static int check_targets(const struct emulator *e)
{
    for (unsigned i = 0; i < e->profile.memory_count; i++) {
        const double read = (double)profile_latency_ps(&e->profile, i, EMU_READ) / 1000;
        if (read != 0 && read < e->base_ns + 50)
            return emu_fail(ERANGE,
                            "profile %s: memory %s is to be read in %.0f ns, which cannot be made "
                            "of this machine's %.0f ns; %.0f ns is the least",
                            e->profile.name, e->profile.memories[i].name, read, e->base_ns,
                            e->base_ns + 50);
    }
    return 0;
}

static int spin_start(struct emulator *e)
{
    native = true;
    for (unsigned i = 0; i < e->profile.memory_count; i++)
        native = native && e->profile.memories[i].read_ps == 0 &&
                 e->profile.memories[i].bandwidth.count == 0;
    if (model_note(e->model, NOTE_DONE) != 0) {
        e->ticks_per_ns = model_note(e->model, NOTE_TICKS);
        e->base_ns = model_note(e->model, NOTE_BASE);
        bias_ns = model_note(e->model, NOTE_BIAS);
    } else {
        e->ticks_per_ns = tsc_calibrate();
        bias_ns = 0;
        if (e->base_ns == 0) {
            struct chase chase;
            struct emu_chase native_chase;
            int rc = chase_open(&chase, CHASE_BYTES, -1);
            if (rc != 0)
                return rc;
            chase_run(&chase, e->ticks_per_ns, CHASE_RUNS, &native_chase);
            e->base_ns = native_chase.median_ns;
            if (native_chase.discarded == CHASE_RUNS)
                rc = emu_fail(EBUSY, "the processors are too busy to measure the memory's own "
                                     "latency; EMU_BASE_NS says it");
            chase_close(&chase);
            if (rc != 0)
                return rc;
        }
    }
    e->ps_per_tick = 1000 / e->ticks_per_ns;
    miss_ticks = to_ticks(e, e->base_ns / 2);
    debt_max_ticks = to_ticks(e, DEBT_MAX_NS);
    ahead_ticks = to_ticks(e, AHEAD_NS);
    interrupt_ticks = to_ticks(e, INTERRUPT_NS);
    late_max_ticks = to_ticks(e, LATE_MAX_NS);
    return check_targets(e);
}

static int spin_calibrate(struct emulator *e)
{
    const double target = (double)profile_latency_ps(&e->profile, 0, EMU_READ) / 1000;
    if (target == 0 || model_note(e->model, NOTE_DONE) != 0)
        return 0;
    struct chase chase;
    struct emu_chase got;
    int rc = chase_open(&chase, CHASE_BYTES, -1);
    if (rc != 0)
        return rc;
    rc = emu_add(chase.buffer, CHASE_BYTES, 0);
    for (int round = 0; round < 3 && rc == 0; round++) {
        chase_run(&chase, e->ticks_per_ns, CHASE_RUNS, &got);
        bias_ns += got.discarded < CHASE_RUNS ? got.median_ns - target : 0;
    }
    if (rc == 0)
        emu_remove(chase.buffer);
    chase_close(&chase);
    if (rc != 0)
        return rc;
    model_set_note(e->model, NOTE_TICKS, e->ticks_per_ns);
    model_set_note(e->model, NOTE_BASE, e->base_ns);
    model_set_note(e->model, NOTE_BIAS, bias_ns);
    model_set_note(e->model, NOTE_DONE, 1);
    return 0;
}

const struct mode mode_spin = {
    .start = spin_start,
    .calibrate = spin_calibrate,
    .charge = spin_charge,
    .fence = spin_fence,
};
