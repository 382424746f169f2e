/* What the modes see of a running emulator. */
#ifndef EMU_STATE_H
#define EMU_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <emu/emu.h>

#include "cache.h"
#include "model.h"
#include "power.h"

struct emulator {
    enum emu_mode mode;
    struct profile profile;
    struct model *model;
    unsigned host, hosts; /* this process's, and how many there are */
    double base_ns;
    double ticks_per_ns, ps_per_tick; /* of the time stamp counter */
    char text[256];
};

/* A thread that has accessed far memory. Its own, but for the counts, which others read (times in
 * them are ps). */
struct thread {
    struct thread *next;
    unsigned agent;
    unsigned host;     /* that it is on */
    uint64_t clock_ps; /* virtual time */
    uint64_t pending;  /* when the last flush is done: ps of the clock, or ticks */

    /* EMU_SPIN */
    uint64_t debt;                     /* ticks waited too long so far */
    unsigned device;                   /* the one accessed last */
    uint64_t latency_ticks[EMU_FLUSH]; /* its latencies at present; 0: not known yet */
    uint64_t unsettled[EMU_FLUSH];     /* bytes not yet taken from its bandwidth */
    uint64_t late;                     /* ticks that interrupts took lately */
    uint64_t settled;                  /* when the path has moved what was taken */

    struct cache *cache;       /* EMU_VIRTUAL */
    struct counters *counters; /* EMU_EPOCH */
    struct emu_counts counts;
    struct power_pending flushed;
};

/* One piece of an access: within one range, at most 64 KiB, and within one device. */
struct piece {
    enum emu_access access;
    const char *address;
    uint64_t position;
    size_t length;
    unsigned device;
};

/* What a mode is. Functions may be NULL. */
struct mode {
    int (*start)(struct emulator *emulator);
    int (*calibrate)(struct emulator *emulator); /* accesses can be charged */
    int (*start_thread)(struct emulator *emulator, struct thread *thread);
    void (*stop_thread)(struct thread *thread);
    void (*charge)(struct emulator *emulator, struct thread *thread, const struct piece *piece);
    void (*fence)(struct emulator *emulator, struct thread *thread);
};

extern const struct mode mode_spin, mode_virtual, mode_epoch;

/* The number of lines that bytes touch. */
static inline uint64_t lines_of(uint64_t position, uint64_t length)
{
    return (position + length - 1) / LINE - position / LINE + 1;
}

static inline void count(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

#endif
