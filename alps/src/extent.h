/* Runs of spans: claiming and giving back, large blocks, growth, trimming. */
#ifndef ALPS_EXTENT_H
#define ALPS_EXTENT_H

#include "instance.h"

/* Makes place for what the instance's threads note of runs, and lets it go: before, and afterwards,
 * there is no reserve. */
int extent_open(struct instance *instance);
void extent_close(struct instance *instance);

/* What the calling thread has in reserve is another one's from now on. */
void extent_thread_end(void);

#define EXTENT_MAX (LAYOUT_CAPACITY_MAX)

/* Claims count free spans in a row for the instance, with memory behind the first bytes of them.
 * modulus: the offset of the first is to be a multiple of modulus spans. node: only in zones placed
 * there, or ALPS_ANY_NODE. -ENOMEM if there is no such run. */
int extent_claim(struct instance *instance, uint64_t count, uint64_t bytes, uint64_t modulus,
                 int node, uint64_t *first);

/* In durable heaps: makes the states of a run durable. */
void extent_flush_states(const struct layout *layout, uint64_t first, uint64_t count);

/* Gives a run back whose first span this instance has in SPAN_CLAIMED; keeps it in reserve for its
 * next claims as far as reserve_max allows. */
void extent_release(struct instance *instance, uint64_t first, uint64_t count);

/* The same, to all instances in any case. */
void extent_give_back(struct instance *instance, uint64_t first, uint64_t count);

/* Gives the reserve back; returns how many spans. */
uint64_t extent_shrink(struct instance *instance);

/* Takes a run that starts at a claimed span, found in that state, for the instance alone. false if
 * it is another one's, and not in reserve, or somebody else was faster. */
bool extent_take(struct instance *instance, uint64_t first, uint64_t state);

/* Gives back what any instance has in reserve; returns how many spans. */
uint64_t extent_shrink_all(struct instance *instance);

/* Number of spans in the run that starts at a claimed span, as far as it is still there. */
uint64_t extent_claimed_length(const struct layout *layout, uint64_t first);

/* Starts a new use of a claimed run: returns its incarnation. Generation and length are written. */
uint32_t extent_begin(struct instance *instance, uint64_t first, uint64_t count);

/* Allocates a block of its own spans. intent may be NULL. */
int extent_alloc(struct instance *instance, uint64_t size, uint64_t alignment, int node,
                 struct layout_intent *intent, alps_ptr_t *block);

/* Frees the extent that starts at a span, found in that state. -EALREADY if somebody else just
 * did. */
int extent_free(struct instance *instance, uint64_t first, uint64_t state);

/* Spans of an extent or slab that starts here, as the record says; 0 if that is nonsense. */
uint64_t extent_length(const struct layout *layout, uint64_t first);

/* Whether a span lies in the slab or extent that starts at one before it, in that state. */
bool extent_covers(const struct layout *layout, uint64_t first, uint64_t state, uint64_t span);

/* Makes more spans exist, so that with what is free before them count are in a row. -ENOMEM if the
 * capacity does not allow it. */
int extent_grow(struct instance *instance, uint64_t count);

/* Whether the heap can grow, and would by more spans than that. */
bool extent_would_grow_by(const struct instance *instance, uint64_t count);

/* Whether all spans of a zone are free. */
bool extent_zone_unused(const struct layout *l, uint64_t zone);

/* Gives the memory behind free spans of a zone back, chunk by chunk. */
void extent_trim(struct instance *instance, uint64_t zone);

#endif
