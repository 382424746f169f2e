/* A line on stderr that says how far a run is and how long it will still take; nothing at all if
 * stderr is not a terminal. */
#ifndef BH_PROGRESS_H
#define BH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct bh_progress {
    uint64_t total;
    uint64_t start_ns;
    uint64_t shown_ns; /* when the line was last drawn */
    bool visible;
} bh_progress_t;

/* total: the units of work (rounds, bytes, nanoseconds) that make the whole. */
void bh_progress_start(bh_progress_t *progress, uint64_t total);

/* done of total are done, and label (NULL: nothing) is under way. Cheap: draws ten times a second
 * at most. */
void bh_progress_update(bh_progress_t *progress, uint64_t done, const char *label);

/* Removes the line. Call it before printing anything else; the next update draws it again. */
void bh_progress_clear(bh_progress_t *progress);

#endif
