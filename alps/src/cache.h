/* What a thread keeps in DRAM: the slabs it holds, with copies of their bitmaps. */
#ifndef ALPS_CACHE_H
#define ALPS_CACHE_H

#include <pthread.h>

#include "slab.h"

struct cache;
struct cache_bin;

/* A slab held by a thread. */
struct cache_slab {
    uint64_t base;       /* offset of block 0 */
    uint64_t reciprocal; /* for slab_index; 0 if a free needs more than A (full, or some blocks are
                               committed): no block is found then */
    fam_word_t *allocated; /* A, in the heap */
    uint64_t word;         /* word that is allocated from next */
    uint64_t flip; /* word ^ flip follows it: two in turn, so that an allocation need not wait
                               for the last one's store to the same word */
    uint64_t size; /* of a block */
    uint64_t blocks;
    uint32_t used; /* blocks whose bit in A is set */
    uint32_t words;
    uint32_t class;
    struct cache_bin *bin;
    struct cache_list *list;            /* of the bin; NULL: current */
    struct cache_slab *previous, *next; /* in the list, or in the list of unused ones */
    uint64_t span;
    bool has_committed; /* some bit of C is set */
    uint64_t mirror[];  /* of A */
};

struct cache_list {
    struct cache_slab *first, *last; /* the oldest first */
    uint32_t count;
};

struct cache_bin {
    struct cache_slab *current; /* allocated from; CACHE_NO_SLAB if none */
    struct cache_list partial;  /* others with free blocks */
    struct cache_list full;     /* found full not long ago: many a block is freed soon */
};

/* The slabs for one placement wish: anywhere, or a node. */
struct cache_set {
    struct cache_bin bins[SLAB_CLASSES];
    int node;
};

struct cache {
    /* Current slabs of anywhere's bins, by (size + 15) / 16: what most allocations need. */
    struct cache_slab *small[SLAB_SMALL_MAX / 16 + 1];
    struct cache_set anywhere;
    struct cache_pool *pool;
    struct cache_set **nodes;     /* by index of the pool's node list; made on demand */
    struct cache *next;           /* in the pool's list */
    uint64_t thread;              /* identity of the thread, 0: unused */
    struct cache_tls *tls;        /* of that thread */
    struct cache_slab **map;      /* by offset / SPAN_SIZE: the slab if this thread holds it */
    struct cache_slab *unused[2]; /* records to use again, of few and of many words */
    char *chunk, *chunk_end;      /* memory for new ones */
};

/* All caches of one open heap. */
struct cache_pool {
    struct instance *instance;
    struct cache *caches;
    struct cache_pool *next; /* in the list of open pools */
    int *nodes;              /* distinct nodes that zones are placed on */
    unsigned node_count;
    bool forked;          /* this is a child's copy: not to be used */
    pthread_mutex_t lock; /* of the list of caches */
    uint64_t map_length;  /* of a cache's map */
    uint32_t keep_spans;  /* how much each list of a bin holds */
    void *memory;         /* list of mappings for caches and records */
};

/* Stands for no slab: its only word is full. */
extern char cache_no_slab_memory[];
#define CACHE_NO_SLAB ((struct cache_slab *)(void *)cache_no_slab_memory)

#define CACHE_FULL UINT64_MAX /* a word of A without a free block */

/* The calling thread's cache of the pool it used last; CACHE_NO_POOL: none. */
struct cache_tls {
    const struct cache_pool *pool;
    struct cache *cache;
    struct cache_slab **map; /* the cache's */
    uint64_t map_length;
};
#define CACHE_NO_POOL ((const struct cache_pool *)-1) /* no handle is there, and NULL is none */
extern _Thread_local struct cache_tls cache_tls
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

int cache_pool_open(struct cache_pool *pool, struct instance *instance);

/* Forgets all caches; what they held stays owned by the instance. */
void cache_pool_close(struct cache_pool *pool);

/* After the heap has moved to another address. */
void cache_pool_moved(struct cache_pool *pool);

/* The calling thread's cache; NULL without memory for it (a detail text is set). */
struct cache *cache_get_slow(struct cache_pool *pool);

/* True if cache_tls.cache is the calling thread's cache of the pool at this address. */
static inline bool cache_is_current(uintptr_t pool)
{
    return (uintptr_t)__atomic_load_n(&cache_tls.pool, __ATOMIC_RELAXED) /* DRAM: */ == pool;
}

static inline struct cache *cache_get(struct cache_pool *pool)
{
    return LIKELY(cache_is_current((uintptr_t)pool)) ? cache_tls.cache : cache_get_slow(pool);
}

/* The set for a node hint; the one for anywhere if the heap has nothing on that node, or no memory
 * for a set of its own. */
struct cache_set *cache_set_for(struct cache *cache, int node);

/* Makes the current word of a slab one with a free block; false if there is none. */
bool cache_next_word(struct cache_slab *slab);

/* Gets the current slab of a bin to have a free block in its current word. -ENOMEM: none to be
 * had. any: also look where no hint points. */
int cache_refill(struct cache *cache, struct cache_set *set, unsigned class, bool any);

/* Gives back held slabs that turn out empty. */
void cache_shrink(struct cache *cache);

/* Holds an unowned slab of this instance's generation, found in that state, so that frees into it
 * are local. NULL if that did not work, or if enough is held. */
struct cache_slab *cache_adopt(struct cache *cache, uint64_t span, uint64_t state);

/* The slab has become empty by a free and is not a current one: gives it back. */
void cache_emptied(struct cache *cache, struct cache_slab *slab);

/* Takes a block; the current word has one. */
static inline alps_ptr_t cache_take(struct cache_slab *slab, struct layout_intent *intent)
{
    uint64_t w = slab->word;
    uint64_t bits = slab->mirror[w];
    alps_ptr_t block = slab->base + (w * 64 + lowest_bit(~bits)) * slab->size;
    bits |= bits + 1;
    slab->mirror[w] = bits;
    slab->word = w ^ slab->flip;
    slab->used++;
    if (intent != NULL) {
        fam_store(&intent->block, block);
        fam_store_release(&intent->op, INTENT_MALLOC);
    }
    fam_store(&slab->allocated[w], bits);
    return block;
}

/* The slab that the calling thread holds at an offset, or NULL; its cache is the current one. */
static inline struct cache_slab *cache_find(uint64_t offset)
{
    uint64_t i = offset >> SPAN_SHIFT;
    return LIKELY(i < cache_tls.map_length) ? cache_tls.map[i] : NULL;
}

/* Frees a block of a slab that the calling thread holds; its cache is the current one. false if
 * that cannot be done here: it is not a block in use, or some blocks are committed. */
static inline bool cache_give(struct cache_slab *slab, alps_ptr_t block)
{
    uint64_t index;
    if (UNLIKELY(!slab_index(slab->reciprocal, slab->blocks, block - slab->base, &index)))
        return false;
    uint64_t w = index >> 6;
    uint64_t bits = slab->mirror[w];
    if (UNLIKELY(!clear_bit(&bits, index)))
        return false;
    slab->mirror[w] = bits;
    fam_store(&slab->allocated[w], bits);
    if (UNLIKELY(--slab->used == 0) && slab->list != NULL)
        cache_emptied(cache_tls.cache, slab);
    return true;
}

/* The same for any held slab. false: not a block in use. */
bool cache_give_any(struct cache_slab *slab, alps_ptr_t block);

#endif
