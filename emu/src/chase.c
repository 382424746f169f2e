#include "chase.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <emu/topology.h>

#include "error.h"
#include "model.h"
#include "tsc.h"

#define STEPS 1000 /* in a run */
#define RUNS_MAX 2000
#define BUSY 0.99 /* a run during which the thread had less of a processor does not count */

int chase_open(struct chase *c, uint64_t bytes, int node)
{
    *c = (struct chase){.lines = bytes / LINE};
    c->buffer = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->buffer == MAP_FAILED)
        return emu_fail_system(errno, "no memory to measure its latency");
    const int rc = node < 0 ? 0 : emu_place(c->buffer, bytes, &node, 1);
    if (rc != 0) {
        munmap(c->buffer, bytes);
        return rc;
    }
    for (uint64_t i = 0; i < bytes; i += 4096)
        c->buffer[i] = 0; /* pages of their own, not the page of zeros */
    return 0;
}

void chase_close(struct chase *c)
{
    munmap(c->buffer, c->lines * LINE);
}

/* The next line: each once in a full period, scattered by an odd factor. */
static const char *step(struct chase *c)
{
    c->line = c->line * 5 + 12347;
    return c->buffer + (c->line * UINT64_C(0x9e3779b97f4a7c15) >> 20) % c->lines * LINE;
}

/* Lines of earlier walks must not be hits. */
static void drop_from_cache(struct chase *c)
{
#if defined(__x86_64__)
    const size_t here = c->line;
    for (unsigned i = 0; i < STEPS; i++)
        __builtin_ia32_clflush(step(c));
    __builtin_ia32_mfence();
    c->line = here;
#else
    (void)c;
#endif
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void chase_run(struct chase *c, double ticks_per_ns, unsigned runs, struct emu_chase *result)
{
    double ns[RUNS_MAX];
    unsigned kept = 0, done = 0;
    for (; done < runs; done++) {
        drop_from_cache(c);
        const uint64_t cpu = tsc_clock_ns(CLOCK_THREAD_CPUTIME_ID), start = tsc_now();
        for (int i = 0; i < STEPS; i++) {
            const char *p = step(c);
            emu_read(p, 8);
            c->line += *(const volatile unsigned char *)p; /* 0 */
        }
        const double wall = (double)(tsc_now() - start) / ticks_per_ns;
        if ((double)(tsc_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) >= BUSY * wall)
            ns[kept++] = wall / STEPS;
    }
    result->discarded = runs - kept;
    if (kept == 0)
        ns[kept++] = 0;
    qsort(ns, kept, sizeof ns[0], ascending);
    result->median_ns = ns[kept / 2];
    result->lower_quartile_ns = ns[kept / 4];
    result->upper_quartile_ns = ns[kept - 1 - kept / 4];
}

int emu_chase_run(struct emu_chase *c)
{
    if (c->struct_size != sizeof *c)
        return emu_fail(EINVAL, "struct_size is not sizeof(struct emu_chase)");
    if (c->runs == 0 || c->runs > RUNS_MAX || c->bytes < 4096 || (c->bytes & (c->bytes - 1)) != 0)
        return emu_fail(EINVAL, "1 to %d runs, over a power of two of bytes, are possible",
                        RUNS_MAX);
    struct chase chase;
    int rc = chase_open(&chase, c->bytes, c->node);
    if (rc != 0)
        return rc;
    rc = c->far ? emu_add(chase.buffer, c->bytes, 0) : 0;
    if (rc == 0) {
        chase_run(&chase, tsc_calibrate(), c->runs, c);
        if (c->far)
            emu_remove(chase.buffer);
    }
    chase_close(&chase);
    return rc;
}
