/* Many nodes that share one heap, simulated by one thread.
 *
 * Each node is an opening of the heap, played by an agent of the emulator on a host of its own:
 * with its own link to the memory, processor's cache and clock. All run at once: at each access of
 * the library to shared memory the node with the least clock goes on, so accesses take effect in
 * the order of the emulated time, and a run is the same each time and on every machine. (Only a
 * node that reads what its cache has may be a little ahead.)
 *
 * What the emulator knows nothing of is added here: a line can be handed to one writer at a time. A
 * processor that fetches a line to change it has it from the beginning of the fetch to its end, and
 * whoever wants it meanwhile waits for his turn. */
#ifndef BENCH_SIMULATION_H
#define BENCH_SIMULATION_H

#include <stdint.h>

#include "heap.h"

/* Parts of the layout that accesses are counted by. */
enum sim_region {
    SIM_SUPER, /* the part that is written once */
    SIM_NEXT_GENERATION,
    SIM_ROOT_LOCK,
    SIM_SLOTS_USED,
    SIM_GENERATIONS,
    SIM_SLOT_STATES,
    SIM_ROOTS,
    SIM_ZONES,
    SIM_SLOTS,
    SIM_STATES,
    SIM_RECORDS,
    SIM_RELEASED,
    SIM_DATA,
    SIM_REGIONS
};
extern const char *const sim_region_names[SIM_REGIONS];

struct sim_figures {
    uint64_t reads, writes, atomics, misses;
    uint64_t ns;        /* that these accesses took */
    uint64_t waited_ns; /* of it, until other nodes had got the same line */
};

/* What a phase came to. */
struct sim_phase {
    uint64_t elapsed_ns; /* from its beginning to the end of the last node */
    uint64_t ns;         /* of all nodes together */
    uint64_t queued_ns;  /* of it, on links and devices */
    struct sim_figures regions[SIM_REGIONS];
    enum sim_region hot; /* where the line is that was on its way to writers for the longest time */
    uint64_t hot_offset; /* of the line in the heap */
    uint64_t hot_ns;
};

/* Simulates so many nodes on a profile; they will open the heap in this file, which is there. */
int sim_start(const char *profile, const char *path, unsigned nodes);
void sim_stop(void);

/* Has nodes 0 .. count - 1 do something at the same time; the dead do nothing. 0, or -1 if any of
 * them returned something else. */
int sim_run(int (*act)(unsigned node), unsigned count, struct sim_phase *phase);

/* A node dies: it does nothing any more, and its locks are gone. */
void sim_kill(unsigned node);

/* The heap for looking at it, outside of the simulation. */
alps_heap_t *sim_observer(void);

#endif
