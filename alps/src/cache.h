/* What a thread keeps in DRAM: the slabs it holds, with copies of their bitmaps. */
#ifndef ALPS_CACHE_H
#define ALPS_CACHE_H

#include <pthread.h>

#include "slab.h"

struct cache;
struct cache_bin;

/* A slab held by a thread. */
struct cache_slab {
    uint64_t span;
    uint64_t state; /* the span's, as long as the slab is held */
    unsigned word;  /* of A, that was allocated from last */
    unsigned reach; /* blocks from here on are not allocated */
    struct cache_bin *bin;
    struct cache_list *list;            /* of the bin; NULL: current */
    struct cache_slab *previous, *next; /* in the list, or in the list of unused ones */
    uint32_t class;
    bool has_committed;                      /* some bit of C is set */
    _Alignas(64) struct alps_fast_slab fast; /* last: the copy of A is behind it */
};

struct cache_list {
    struct cache_slab *first, *last; /* the oldest first */
};

struct cache_bin {
    struct alps_fast_bin *fast; /* of the set */
    struct cache_slab *current; /* that the word is of; NULL: there is no word */
    struct cache_list partial;  /* others, to be allocated from in turn */
    struct cache_list full;     /* found full when their turn came */
    uint64_t looked;            /* for hinted slabs, up to this span */
};

/* Blocks on a bin's stack: an odd number of cache lines, so that the stacks do not meet in the same
 * sets of a processor's cache. */
#define CACHE_STACK 66u

/* The slabs for one placement wish: anywhere, or a node. */
struct cache_set {
    _Alignas(64) struct alps_fast_bin fast[SLAB_CLASSES];
    struct cache_bin bins[SLAB_CLASSES];
    int node;
    struct alps_fast_block stacks[SLAB_CLASSES][CACHE_STACK];
};

struct cache {
    struct cache_set anywhere; /* what most allocations need */
    struct cache_pool *pool;
    struct cache_set **nodes;     /* by index of the pool's node list; made on demand */
    struct cache *next;           /* in the pool's list */
    unsigned number;              /* among the pool's */
    uint64_t thread;              /* identity of the thread, 0: unused */
    struct alps_fast_thread *tls; /* of that thread */
    struct alps_fast_slab **map;  /* by offset / SPAN_SIZE: the slab if this thread holds it */
    struct cache_slab *unused[2]; /* records to use again, of few and of many words */
    uint64_t kept_spans;          /* of the slabs in lists */
    uint64_t keep_spans;          /* that they may have */
    bool keeps_full;              /* the thread has freed blocks, or others have by R */
    char *chunk, *chunk_end;      /* memory for new ones */
};

/* All caches of one open heap. */
struct cache_pool {
    /* The open heap. Of one that several kernels share the byte behind: so every call comes to the
     * library, which looks whether the instance is still taken for alive. */
    const void *handle;
    struct instance *instance;
    struct cache *caches;
    struct cache_pool *next; /* in the list of open pools */
    int *nodes;              /* distinct nodes that zones are placed on */
    unsigned node_count;
    bool forked;          /* this is a child's copy: not to be used */
    pthread_mutex_t lock; /* of the list of caches */
    unsigned threads;     /* that have a cache */
    uint64_t map_length;  /* of a cache's map */
    void *memory;         /* list of mappings for caches and records */
};

#define CACHE_NO_HANDLE ((const void *)-1) /* none is there, and NULL is no heap */

int cache_pool_open(struct cache_pool *pool, const void *handle, struct instance *instance);

/* Forgets all caches; what they held stays owned by the instance. */
void cache_pool_close(struct cache_pool *pool);

/* Registers the handlers of fork and of threads' ends now, not with the first pool. */
void cache_register_handlers(void);

/* In a forked child that has a copy of the heap of its own: the pool is open again, without caches
 * and for another instance. */
void cache_pool_reopen(struct cache_pool *pool);

/* The calling thread's caches, in all pools, let go of all they hold, and are other threads'. */
void cache_thread_end(void);

/* After the heap has moved to another address. */
void cache_pool_moved(struct cache_pool *pool);

/* The calling thread's cache; NULL without memory for it (a detail text is set). */
struct cache *cache_get_slow(struct cache_pool *pool);

static inline struct cache *cache_get(struct cache_pool *pool)
{
    return alps_fast_is_current(pool->handle) ? alps_fast_thread_0.cache : cache_get_slow(pool);
}

/* The set for a node hint; the one for anywhere if the heap has nothing on that node, or no memory
 * for a set of its own. */
struct cache_set *cache_set_for(struct cache *cache, int node);

/* Makes the word of an empty bin one with a free block, in the current slab or another one that is
 * held; false if there is none. */
bool cache_next_word(struct cache *cache, struct cache_bin *bin);

/* The same, with slabs that are not held yet, too. -ENOMEM: none to be had. any: also look where no
 * hint points. */
int cache_refill(struct cache *cache, struct cache_set *set, unsigned class, bool any);

/* Gives back held slabs that turn out empty. */
void cache_shrink(struct cache *cache);

/* Holds an unowned slab, found in that state, so that frees into it are local. NULL if it is not of
 * this instance's generation, if somebody else was faster, or if the thread has another slab of
 * that class to allocate from. */
struct cache_slab *cache_adopt(struct cache *cache, uint64_t span, uint64_t state);

/* The copy of a word of A. */
static inline uint64_t *cache_mirror(struct cache_slab *slab, unsigned w)
{
    return &alps_fast_copies(&slab->fast)[w].bits;
}

static inline const struct slab_class *cache_class(const struct cache_slab *slab)
{
    return &slab_classes[slab->class];
}

/* The slab that the calling thread holds at an offset, or NULL; its cache is the current one. */
static inline struct cache_slab *cache_find(uint64_t offset)
{
    char *fast = (char *)alps_fast_find_slab(offset);
    return fast == NULL ? NULL
                        : (struct cache_slab *)(void *)(fast - offsetof(struct cache_slab, fast));
}

/* Finds a block of a slab that the calling thread holds; its cache is the current one. false: not a
 * block in use. */
bool cache_locate(struct cache_slab *slab, alps_ptr_t block, struct slab_place *place);

/* Frees one. false: not a block in use. */
bool cache_give(struct cache_slab *slab, alps_ptr_t block);

#endif
