/* The mode virtual: nothing waits, each thread has a clock.
 *
 * Idea. An access looks its lines up in a model of the processor's cache. What is there costs a
 * hit; what is not is fetched over the path to its device: the latency of as many rounds as the
 * processor's parallelism leaves, or the time that the bytes take if that is longer, after the time
 * that the transfer waits for others on the path. A write makes the line the writer's own, and
 * copies that others have become worthless; dirty lines that leave the cache take bandwidth, and
 * nobody waits for them.
 *
 * Lines, sets and devices follow from positions in far memory, never from addresses, and all
 * arithmetic is in whole ps: one process with one thread gets the same figures wherever it runs.
 *
 * Where the machine is not coherent, what one word says counts only if it comes from the memory:
 * single words are never held by the cache, only longer accesses are. */
#include "state.h"

#include <errno.h>
#include <stdlib.h>

#include "error.h"

static int virtual_start(struct emulator *e)
{
    for (unsigned i = 0; i < e->profile.memory_count; i++)
        if (e->profile.memories[i].read_ps == 0)
            return emu_fail(EINVAL,
                            "profile %s: memory %s has no latency of its own, which the mode "
                            "virtual needs",
                            e->profile.name, e->profile.memories[i].name);
    return 0;
}

static int virtual_start_thread(struct emulator *e, struct thread *t)
{
    t->cache = cache_new(e->profile.cache_bytes, (unsigned)e->profile.cache_ways);
    return t->cache == NULL ? emu_fail(ENOMEM, "no memory for the model of a cache") : 0;
}

static void write_back(struct emulator *e, struct thread *t, uint64_t line)
{
    uint64_t rest;
    const unsigned device = model_device(e->model, line * LINE, &rest);
    model_transfer(e->model, t->host, device, EMU_FLUSH, true, LINE, t->clock_ps);
    count(&t->counts.bytes_written, LINE);
}

/* Whether the cache has the line as the access needs it; afterwards it has. */
static bool hit(struct emulator *e, struct thread *t, uint64_t line, bool write)
{
    struct cache_line *held = cache_find(t->cache, line), evicted;
    uint64_t stamp = model_stamp(e->model, line);
    bool good = held != NULL && held->stamp == stamp;
    if (held == NULL) {
        held = cache_insert(t->cache, line, &evicted);
        if (evicted.dirty)
            write_back(e, t, evicted.line - 1);
    } else if (!good) {
        held->dirty = false; /* another processor has written it since */
    }
    if (write) {
        bool owned;
        held->stamp = model_own(e->model, line, t->agent, &owned);
        held->dirty = true;
        good = good && owned;
    } else if (!good) {
        held->stamp = model_fetch(e->model, line, t->agent);
    }
    return good;
}

/* Flushing starts now and is waited for by the fence. */
static void flush(struct emulator *e, struct thread *t, const struct piece *p)
{
    const uint64_t first = p->position / LINE, lines = lines_of(p->position, p->length);
    uint64_t dirty = 0;
    for (uint64_t line = first; line < first + lines; line++) {
        struct cache_line *held = cache_find(t->cache, line);
        dirty += held != NULL && held->dirty;
        if (held != NULL)
            held->dirty = false;
    }
    count(&t->counts.misses[EMU_FLUSH], dirty);
    t->clock_ps += e->profile.hit_ps * lines;
    count(&t->counts.charged_ns, e->profile.hit_ps * lines);
    if (dirty == 0)
        return;
    struct model_cost cost =
        model_transfer(e->model, t->host, p->device, EMU_FLUSH, true, dirty * LINE, t->clock_ps);
    count(&t->counts.bytes_written, dirty * LINE);
    const uint64_t done = t->clock_ps + cost.latency_ps + cost.queue_ps + cost.service_ps;
    if (done > t->pending)
        t->pending = done;
}

static void virtual_charge(struct emulator *e, struct thread *t, const struct piece *p)
{
    if (p->access == EMU_FLUSH) {
        flush(e, t, p);
        return;
    }
    const uint64_t first = p->position / LINE, lines = lines_of(p->position, p->length);
    const bool cached = e->profile.coherent || (p->length > 8 && p->access != EMU_ATOMIC);
    uint64_t missed = 0;
    for (uint64_t line = first; line < first + lines; line++)
        missed += !cached || !hit(e, t, line, p->access != EMU_READ);
    t->clock_ps += e->profile.hit_ps * (lines - missed);
    count(&t->counts.charged_ns, e->profile.hit_ps * (lines - missed));
    if (missed == 0)
        return;
    const bool outward = !cached && p->access != EMU_READ; /* otherwise lines are fetched */
    const struct model_cost cost = model_transfer(e->model, t->host, p->device, p->access, outward,
                                                  missed * LINE, t->clock_ps);
    const uint64_t parallelism = e->profile.parallelism;
    uint64_t took = cost.latency_ps * ((missed + parallelism - 1) / parallelism);
    if (cost.service_ps > took)
        took = cost.service_ps;
    t->clock_ps += took + cost.queue_ps;
    count(&t->counts.misses[p->access], missed);
    count(outward ? &t->counts.bytes_written : &t->counts.bytes_read, missed * LINE);
    count(&t->counts.charged_ns, took + cost.queue_ps);
    count(&t->counts.queued_ns, cost.queue_ps);
}

static void virtual_fence(struct emulator *e, struct thread *t)
{
    const uint64_t before = t->clock_ps;
    if (t->pending > t->clock_ps)
        t->clock_ps = t->pending;
    t->clock_ps += e->profile.fence_ps;
    count(&t->counts.charged_ns, t->clock_ps - before);
}

static void virtual_stop_thread(struct thread *t)
{
    free(t->cache);
}

const struct mode mode_virtual = {
    .start = virtual_start,
    .start_thread = virtual_start_thread,
    .stop_thread = virtual_stop_thread,
    .charge = virtual_charge,
    .fence = virtual_fence,
};
