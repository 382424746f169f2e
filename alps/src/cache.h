/* What a thread keeps in DRAM: the slabs it holds, with copies of their bitmaps. */
#ifndef ALPS_CACHE_H
#define ALPS_CACHE_H

#include <pthread.h>

#include "slab.h"

struct cache;
struct cache_bin;

/* A slab held by a thread. Never unmapped while the pool is open: other threads may read owner. */
struct cache_slab {
    struct cache *owner;    /* DRAM: the holder, if its frees need nothing but A; else NULL */
    uint64_t base;          /* offset of block 0 */
    uint64_t bytes;         /* of all blocks */
    uint64_t reciprocal;    /* for slab_index */
    fam_word_t *allocated;  /* A, in the heap */
    uint32_t size;          /* of a block */
    uint32_t used;          /* blocks whose bit in A is set */
    uint32_t word;          /* word of free that is allocated from */
    uint32_t words;
    struct cache_bin *bin;
    struct cache *holder;   /* DRAM: */
    struct cache_slab *previous, *next; /* in the bin's list, or the list of unused ones */
    uint64_t span;
    uint32_t class;
    bool has_committed;     /* some bit of C is set */
    uint64_t free[];        /* not A, padding clear */
};

struct cache_bin {
    struct cache_slab *current; /* allocated from; CACHE_NO_SLAB if none */
    struct cache_slab *first, *last; /* others with free blocks, the latest first */
    uint32_t count;                  /* of those */
};

/* The slabs for one placement wish: anywhere, or a node. */
struct cache_set {
    struct cache_bin bins[SLAB_CLASSES];
    int node;
};

struct cache {
    struct cache_set anywhere;
    struct cache_pool *pool;
    struct cache_set **nodes;  /* by index of the pool's node list; made on demand */
    struct cache *next;        /* in the pool's list */
    uint64_t thread;           /* identity of the thread, 0: unused */
    struct cache_slab *unused[2]; /* records to use again, of few and of many words */
    char *chunk, *chunk_end;      /* memory for new ones */
};

#define CACHE_NO_SERIAL UINT64_MAX /* no thread has a cache of such a pool */

/* All caches of one open heap. */
struct cache_pool {
    uint64_t serial;             /* of this opening in this process; never used twice */
    struct instance *instance;
    struct cache_slab **map;     /* DRAM: by span: who of this process holds it */
    struct cache *caches;
    struct cache_pool *next;     /* in the list of open pools */
    int *nodes;                  /* distinct nodes that zones are placed on */
    unsigned node_count;
    bool forked;                 /* this is a child's copy: not to be used */
    pthread_mutex_t lock;        /* of the list of caches */
    void *memory;                /* list of mappings for caches and records */
};

/* Stands for no slab: no free block in its only word. */
extern char cache_no_slab_memory[];
#define CACHE_NO_SLAB ((struct cache_slab *)(void *)cache_no_slab_memory)

/* The calling thread's cache of the pool it used last. */
struct cache_tls {
    uint64_t serial;
    struct cache *cache;
};
extern _Thread_local struct cache_tls cache_tls
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

int cache_pool_open(struct cache_pool *pool, struct instance *instance);

/* Forgets all caches; what they held stays owned by the instance. */
void cache_pool_close(struct cache_pool *pool);

/* After the heap has moved to another address. */
void cache_pool_moved(struct cache_pool *pool);

/* The calling thread's cache; NULL without memory for it (a detail text is set). */
struct cache *cache_get_slow(struct cache_pool *pool);

static inline struct cache *cache_get(struct cache_pool *pool)
{
    return LIKELY(cache_tls.serial == pool->serial) ? cache_tls.cache : cache_get_slow(pool);
}

/* The set for a node hint; the one for anywhere if the heap has nothing on that node, or no memory
 * for a set of its own. */
struct cache_set *cache_set_for(struct cache *cache, int node);

/* Gets the current slab of a bin to have a free block in its current word. -ENOMEM: none to be
 * had. any: also look where no hint points. */
int cache_refill(struct cache *cache, struct cache_set *set, unsigned class, bool any);

/* Gives back held slabs that turn out empty. */
void cache_shrink(struct cache *cache);

/* Holds an unowned slab of this instance's generation, found in that state, so that frees into it
 * are local. NULL if that did not work. */
struct cache_slab *cache_adopt(struct cache *cache, uint64_t span, uint64_t state);

/* The slab has become empty by a free and is not a current one: gives it back. */
void cache_emptied(struct cache *cache, struct cache_slab *slab);

/* Takes a block; the current word has one. */
static inline alps_ptr_t cache_take(struct cache_slab *slab, struct layout_intent *intent)
{
    uint32_t w = slab->word;
    uint64_t free = slab->free[w];
    alps_ptr_t block = slab->base + (uint64_t)(w * 64 + lowest_bit(free)) * slab->size;
    free &= free - 1;
    slab->free[w] = free;
    slab->used++;
    if (intent != NULL) {
        fam_store(&intent->block, block);
        fam_store_release(&intent->op, INTENT_MALLOC);
    }
    fam_store(&slab->allocated[w], ~free);
    return block;
}

/* Slab of this process that a span belongs to, perhaps held by another thread; or NULL. */
static inline struct cache_slab *cache_find(const struct cache_pool *pool, uint64_t span)
{
    return __atomic_load_n(&pool->map[span], __ATOMIC_ACQUIRE); /* DRAM: */
}

enum { CACHE_FREED, CACHE_NOT_A_BLOCK, CACHE_FREED_BEFORE };

/* Frees a block of a slab that the calling thread holds. */
static inline int cache_give(struct cache *cache, struct cache_slab *slab, alps_ptr_t block)
{
    uint64_t bytes = block - slab->base;
    uint64_t index = slab_index(slab->reciprocal, bytes);
    if (UNLIKELY(bytes >= slab->bytes || index * slab->size != bytes))
        return CACHE_NOT_A_BLOCK;
    uint64_t w = index >> 6, bit = (uint64_t)1 << (index & 63);
    uint64_t free = slab->free[w];
    if (UNLIKELY((free & bit) != 0))
        return CACHE_FREED_BEFORE;
    free |= bit;
    slab->free[w] = free;
    fam_store(&slab->allocated[w], ~free);
    if (UNLIKELY(--slab->used == 0) && slab->bin->current != slab)
        cache_emptied(cache, slab);
    return CACHE_FREED;
}

/* True if the calling thread holds the slab, whatever is committed in it. */
static inline bool cache_holds(const struct cache *cache, const struct cache_slab *slab)
{
    return slab != NULL && __atomic_load_n(&slab->holder, __ATOMIC_RELAXED) /* DRAM: */ == cache;
}

/* The same as cache_give also if some blocks are committed. */
int cache_give_any(struct cache *cache, struct cache_slab *slab, alps_ptr_t block);

#endif
