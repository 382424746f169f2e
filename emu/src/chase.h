/* Dependent reads of random lines of a buffer too large for caches: what a miss takes. */
#ifndef EMU_CHASE_H
#define EMU_CHASE_H

#include <stddef.h>
#include <stdint.h>

#include <emu/emu.h>

#define CHASE_BYTES ((uint64_t)256 << 20) /* address translations miss as well */
#define CHASE_RUNS 21

struct chase {
    char *buffer;
    size_t lines, line; /* how many there are, a power of two; where it is */
};

/* node: where the buffer lies, -1: anywhere. */
int chase_open(struct chase *chase, uint64_t bytes, int node);
void chase_close(struct chase *chase);

/* Reads on, runs of 1000 lines, emulated if the buffer is far. */
void chase_run(struct chase *chase, double ticks_per_ns, unsigned runs, struct emu_chase *result);

#endif
