/* The public handle, and what the heap_*.c files share. */
#ifndef ALPS_HEAP_H
#define ALPS_HEAP_H

#include <alps/alps.h>

#include "cache.h"

struct alps_heap {
    struct alps_heap_base base; /* first: alps_deref reads it */
    struct cache_pool pool;     /* not open if read-only */
    struct instance instance;
    bool readonly;
    pthread_mutex_t recovery; /* one thread of this handle recovers at a time: the locks of dead
                                 slots are held by the handle, not by the thread */
    uint64_t touched[LAYOUT_ZONE_MAX / 64];
    struct heap_place *place; /* where alps_heap_at finds it */
};

static inline struct layout *heap_layout(alps_heap_t *heap)
{
    return &heap->instance.layout;
}
static inline const char *heap_name(const alps_heap_t *heap)
{
    return heap->instance.layout.region.files[0].path;
}

/* May this process call this handle (to write)? 0, -EINVAL, -ECHILD, -EROFS. */
int heap_may_read(const alps_heap_t *heap);
int heap_may_write(const alps_heap_t *heap);

/* Whether the calling thread used this heap last, so that its cache is at hand; and, where several
 * kernels share the heap, nobody has declared this instance dead. */
static inline bool heap_is_current(const alps_heap_t *heap)
{
    return heap != NULL && alps_fast_is_current(heap->pool.handle) &&
           (!heap->instance.layout.shared || LIKELY(!instance_is_lost(&heap->instance)));
}

/* alps_heap_at knows the handle, by its base. */
int heap_place_add(alps_heap_t *heap);
void heap_place_moved(alps_heap_t *heap);
void heap_place_remove(alps_heap_t *heap);

/* Allocates; any alignment. intent may be NULL. */
int heap_alloc(alps_heap_t *heap, uint64_t size, uint64_t alignment, int node,
               struct layout_intent *intent, alps_ptr_t *block);

/* Frees. */
int heap_free(alps_heap_t *heap, alps_ptr_t block);

/* Node that the zone of an offset is placed on, or ALPS_ANY_NODE. */
int heap_zone_node(const alps_heap_t *heap, alps_ptr_t p);

/* In paranoid builds: verifies what lies at an offset, and the calling thread's copy of it; ends
 * the process if something is wrong. */
#if ALPS_PARANOID
void heap_verify(alps_heap_t *heap, alps_ptr_t p);
#else
static inline void heap_verify(alps_heap_t *heap, alps_ptr_t p)
{
    (void)heap, (void)p;
}
#endif

/* Takes a slot and a generation; makes room for them if there is none. */
int heap_join(alps_heap_t *heap, bool permanent);

/* A handle whose layout is open knows where the heap is, and has no slot yet. */
void heap_mapped(alps_heap_t *heap);

/* Makes it one to allocate by. */
int heap_start(alps_heap_t *heap, bool permanent);

/* Makes and opens a heap in memory of this process alone, which no other process sees; of its
 * options, size and capacity (both alike), zone_size and max_instances count. A forked child has a
 * copy of it, copy-on-write, and the handle is refused there (ECHILD) until heap_private_inherit:
 * that takes the parent's instance there for dead, and its blocks become permanent. The calling
 * thread must have been in no call of the library when it forked; others may. */
int heap_private_open(const struct alps_create_options *options, void *hint, alps_heap_t **heap);
int heap_private_inherit(alps_heap_t *heap);

/* Recovers the dead instances. before_join: the handle has no slot yet. */
int heap_recover(alps_heap_t *heap, bool before_join, struct alps_recovery *report);

/* Gives back what the instance still owns, which nothing else of this process uses any more.
 * Returns true if spans carry its generation afterwards. */
bool heap_settle(struct instance *instance, struct alps_recovery *report);

/* Opening a durable heap: makes whole what a power failure has left, if there was one. */
int heap_make_whole(alps_heap_t *heap);

/* Empties entries of the table of generations that nothing needs. */
void heap_collect_generations(alps_heap_t *heap);

#endif
