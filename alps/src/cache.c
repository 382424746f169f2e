/* Per-thread caches.
 *
 * Idea: a thread that holds a slab is the only writer of its bitmap A, so it keeps the same bits in
 * DRAM, allocates and frees there, and stores each changed word through. Neither path reads the
 * heap. Nothing is cached that the heap does not know: killed at any point, the thread leaves A
 * exact, at most with one block whose pointer was not returned.
 *
 * Invariants
 *   C1 A held slab names this instance in its state word, and the map of its holder, and of nobody
 *      else, names its record for each of its spans.
 *   C2 The copy of word w is word w of A.
 *   C3 The slabs in a bin's full list have no free block that has memory behind it. The lists of
 *      all caches, of all processes, have about a quarter of the heap together: what is beyond is
 *      let go, so that processes that idle leave the rest to others, whoever has freed the blocks
 *      there.
 *   C4 What is on a bin's stack, or available in its word, is free, in a slab that is held, and in
 *      one of the two only.
 *
 * What was freed last is allocated first: it is warm in the processor's cache, and what is there
 * need not be looked for. A stack is short; what it has no room for is found in the bitmaps, a word
 * after the other. That begins only when the stack is empty, which gives C4.
 *
 * Blocks come into reach bit by bit, so that memory is neither taken nor touched before it is
 * needed: of a slab, those from slab->reach on have never been allocated since it is held. Words of
 * small blocks are worth turning to if a quarter is free; of large ones, any block is.
 *
 * A slab that has become full goes to the end of the partial list: when its turn comes again some
 * blocks are free, as a rule. Only if none is, it goes to the full list, and the next free moves it
 * back. A slab that has become empty goes back at once, unless it is allocated from.
 *
 * A thread that has not freed anything yet may be one that allocates for others: it lets go of full
 * slabs. Who frees a block there holds the slab then, and frees the others by stores alone. But
 * other processes cannot: from the first slab on that comes back with free blocks the thread keeps
 * them.
 *
 * A thread that ends lets go of all it holds. A forked child forgets the pools: the slabs are the
 * parent's.
 */
#include "cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"

#define FEW_WORDS 16u /* records come in two sizes */
#define KEEP_PART 4u  /* of the heap, all caches may keep */
#define TRIES 16u     /* hinted slabs looked at in a row that turn out full */
#define CHUNK_BYTES (64 * KIB)
#define THRIFTY 256u           /* bytes from which on any free block is taken before a fresh one */
#define LOOKS 8u               /* words looked at for one that is worth it */
#define REACH_BYTES (16 * KIB) /* that come into reach at a time, or more of many small blocks */

ALPS_FAST_TLS struct alps_fast_thread alps_fast_thread_0 = {.handle = CACHE_NO_HANDLE};

#if defined(ALPS_FAM_HOOKS)
/* Programs find none of this there, and call: what is inline in them would escape the hooks. */
#undef alps_fast_thread_0
extern __attribute__((__visibility__("default")))
ALPS_FAST_TLS struct alps_fast_thread alps_fast_thread_0;
ALPS_FAST_TLS struct alps_fast_thread alps_fast_thread_0 = {.handle = CACHE_NO_HANDLE};
#define alps_fast_thread_0 alps_fast_thread_hooked
#endif

static uint8_t fast_classes[ALPS_FAST_SIZE_MAX / 16 + 1]; /* for alps_fast_thread */

static _Thread_local uint64_t thread_identity; /* 0: none yet */
static uint64_t next_identity = 1;             /* DRAM: */

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cache_pool *pools;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- memory of the pool: mapped, linked, given back when the pool closes ---- */

struct mapping {
    struct mapping *next;
    size_t bytes;
};

/* Zeroed memory; the pool's lock is held. */
static void *pool_map(struct cache_pool *pool, size_t bytes)
{
    bytes = align_up(bytes + LAYOUT_LINE, 4096);
    struct mapping *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        return NULL;
    m->next = pool->memory;
    m->bytes = bytes;
    pool->memory = m;
    return (char *)m + LAYOUT_LINE;
}

static void *pool_map_locked(struct cache_pool *pool, size_t bytes)
{
    pthread_mutex_lock(&pool->lock);
    void *p = pool_map(pool, bytes);
    pthread_mutex_unlock(&pool->lock);
    return p;
}

/* ---- records ---- */

/* Fetches one that will be written soon, if there is one. */
static void record_fetch(const struct cache_slab *slab)
{
    if (slab == NULL)
        return;
    __builtin_prefetch(slab, 1);
    __builtin_prefetch(&slab->fast, 1);
    __builtin_prefetch(&slab->fast + 1, 1);
}

static struct cache_slab *record_new(struct cache *cache, unsigned words)
{
    unsigned kind = words > FEW_WORDS;
    struct cache_slab *slab = cache->unused[kind];
    if (slab != NULL) {
        cache->unused[kind] = slab->next;
        record_fetch(slab->next);
        return slab;
    }
    size_t bytes = align_up(offsetof(struct cache_slab, fast) + sizeof slab->fast +
                                (kind ? SLAB_WORDS_MAX : FEW_WORDS) * sizeof(struct alps_fast_copy),
                            64);
    if ((size_t)(cache->chunk_end - cache->chunk) < bytes) {
        char *chunk = pool_map_locked(cache->pool, CHUNK_BYTES - LAYOUT_LINE);
        if (chunk == NULL)
            return NULL;
        cache->chunk = chunk;
        cache->chunk_end = chunk + CHUNK_BYTES - LAYOUT_LINE;
    }
    slab = (struct cache_slab *)(void *)cache->chunk;
    cache->chunk += bytes;
    return slab;
}

static void record_drop(struct cache *cache, struct cache_slab *slab)
{
    unsigned kind = cache_class(slab)->words > FEW_WORDS;
    slab->next = cache->unused[kind];
    cache->unused[kind] = slab;
}

static void set_map(struct cache *cache, const struct cache_slab *slab, struct cache_slab *value)
{
    uint64_t first = slab->fast.base >> SPAN_SHIFT; /* block 0 lies in the first span */
    for (unsigned i = 0; i < cache_class(slab)->spans; i++)
        cache->map[first + i] = value == NULL ? NULL : &value->fast;
}

static void set_mirror(struct cache_slab *slab, const uint64_t *allocated)
{
    for (unsigned w = 0; w < cache_class(slab)->words; w++)
        *cache_mirror(slab, w) = allocated[w];
}

static bool is_current(const struct cache_slab *slab)
{
    return slab->list == NULL;
}

/* Blocks whose bit in A is set. */
static unsigned count_used(struct cache_slab *slab)
{
    unsigned used = 0;
    for (unsigned w = 0; w < cache_class(slab)->words; w++)
        used += count_bits(*cache_mirror(slab, w) & slab_word_mask(cache_class(slab), w));
    return used;
}

/* Word w of A without blocks in use. */
static uint64_t empty_word(const struct cache_slab *slab, unsigned w)
{
    return ~slab_word_mask(cache_class(slab), w);
}

static bool is_empty(struct cache_slab *slab)
{
    for (unsigned w = 0; w < cache_class(slab)->words; w++)
        if (*cache_mirror(slab, w) != empty_word(slab, w))
            return false;
    return true;
}

/* Local frees need nothing but A unless the slab is full or has committed blocks. */
static void set_limit(struct cache_slab *slab, unsigned used)
{
    uint32_t blocks = cache_class(slab)->blocks;
    slab->fast.limit = used == blocks || slab->has_committed ? 0 : blocks;
}

/* Blocks within reach that word w stands for. */
static unsigned count_reached(const struct cache_slab *slab, unsigned w)
{
    return slab->reach <= w * 64 ? 0 : (unsigned)min_u64(slab->reach - w * 64, 64);
}

/* The free ones of them. */
static uint64_t free_bits(struct cache_slab *slab, unsigned w)
{
    unsigned count = count_reached(slab, w);
    return ~*cache_mirror(slab, w) & (count == 64 ? ~(uint64_t)0 : ((uint64_t)1 << count) - 1);
}

/* The bin's word is that no more. */
static void leave_word(struct cache_bin *bin)
{
    if (bin->current != NULL)
        bin->fast->copy->empty = empty_word(bin->current, bin->current->word);
    bin->fast->available = 0;
}

/* Has the bin allocate from a word of its current slab. */
static void set_word(struct cache_slab *slab, unsigned w)
{
    struct alps_fast_bin *fast = slab->bin->fast;
    slab->word = w;
    fast->available = free_bits(slab, w);
    fast->copy = &alps_fast_copies(&slab->fast)[w];
    fast->copy->empty = ~(uint64_t)0;
    fast->allocated = &slab->fast.allocated[w];
    fast->base = slab->fast.base + (uint64_t)w * 64 * fast->size;
}

/* The first word within reach, from the present one on, of which a part is free: any_part or enough
 * to be worth the turn. */
static bool next_word(struct cache_slab *slab, bool any_part, unsigned *word)
{
    unsigned words = (slab->reach + 63) / 64, w = slab->word;
    for (unsigned i = 0; i < words && (any_part || i < LOOKS); i++) {
        uint64_t bits = free_bits(slab, w);
        if (bits != 0 && (any_part || count_bits(bits) * 4 >= count_reached(slab, w))) {
            *word = w;
            return true;
        }
        w = w + 1 < words ? w + 1 : 0;
    }
    return false;
}

/* Blocks that come into reach together, as far as they are of one word. */
static unsigned reach_step(const struct slab_class *c)
{
    return (unsigned)max_u64(REACH_BYTES / c->size, 1);
}

/* Blocks within reach once there are some more. */
static unsigned next_reach(const struct slab_class *c, unsigned reach)
{
    unsigned more = c->spans > 1 ? 0 : reach / 4;
    uint64_t end = reach + max_u64(reach_step(c), more);
    return (unsigned)min_u64(min_u64(end, c->blocks), (reach / 64 + 1) * 64);
}

/* Blocks to have memory for when so many are within reach. */
static unsigned count_backed(const struct slab_class *c, unsigned reach)
{
    unsigned step = reach_step(c);
    return (unsigned)min_u64((reach + step - 1) / step * step, c->blocks);
}

/* Brings some more blocks into reach, with memory behind them; false if all are, or if there is
 * none. */
static bool extend(struct cache *cache, struct cache_slab *slab, unsigned *word)
{
    const struct slab_class *c = cache_class(slab);
    struct layout *l = &cache->pool->instance->layout;
    if (slab->reach == c->blocks)
        return false;
    unsigned reach = next_reach(c, slab->reach);
    if (slab_back(l, slab->span, slab->class, count_backed(c, reach)) != 0)
        return false;
    *word = slab->reach / 64;
    slab->reach = reach;
    return true;
}

/* ---- the bin's lists ---- */

static void list_add(struct cache *cache, struct cache_list *list, struct cache_slab *slab)
{
    cache->kept_spans += cache_class(slab)->spans;
    slab->list = list;
    slab->next = NULL;
    slab->previous = list->last;
    if (list->last != NULL)
        list->last->next = slab;
    else
        list->first = slab;
    list->last = slab;
}

static void list_remove(struct cache *cache, struct cache_slab *slab)
{
    struct cache_list *list = slab->list;
    cache->kept_spans -= cache_class(slab)->spans;
    if (slab->previous != NULL)
        slab->previous->next = slab->next;
    else
        list->first = slab->next;
    if (slab->next != NULL)
        slab->next->previous = slab->previous;
    else
        list->last = slab->previous;
    slab->list = NULL;
}

/* A thread's part of what may be kept, by the processes and threads there are now. */
static void set_keep(struct cache *cache)
{
    struct instance *instance = cache->pool->instance;
    unsigned threads = __atomic_load_n(&cache->pool->threads, __ATOMIC_RELAXED); /* DRAM: */
    uint64_t parts = (uint64_t)layout_slots_used(&instance->layout) * threads;
    uint64_t spans = __atomic_load_n(&instance->spans, __ATOMIC_RELAXED); /* DRAM: */
    cache->keep_spans = spans / KEEP_PART / max_u64(parts, 1);
}

static void add_threads(struct cache_pool *pool, unsigned change)
{
    __atomic_fetch_add(&pool->threads, change, __ATOMIC_RELAXED); /* DRAM: */
}

/* Whether a slab is to leave a list before another one comes. */
static bool list_is_long(const struct cache *cache, const struct cache_list *list, unsigned class)
{
    return cache->kept_spans + slab_classes[class].spans > cache->keep_spans && list->first != NULL;
}

/* ---- holding and letting go ---- */

/* Takes the blocks of a slab off its bin's stack. */
static void unstack(struct cache_slab *slab)
{
    struct alps_fast_bin *fast = slab->bin->fast;
    const struct alps_fast_copy *copies = alps_fast_copies(&slab->fast);
    struct alps_fast_block *to = fast->bottom;
    for (const struct alps_fast_block *from = to; from != fast->top; from++)
        if (from->copy < copies || from->copy >= copies + cache_class(slab)->words)
            *to++ = *from;
    fast->top = to;
}

/* Stops holding what is not on the stack: the record is dropped, the slab still owned. */
static void unhold(struct cache *cache, struct cache_slab *slab)
{
    set_map(cache, slab, NULL);
    record_drop(cache, slab);
}

/* Holds an owned slab with these bits of A; NULL without memory for a record. */
static struct cache_slab *hold(struct cache *cache, struct cache_bin *bin, uint64_t span,
                               unsigned class, const uint64_t *allocated, unsigned used,
                               bool has_committed)
{
    const struct layout *l = &cache->pool->instance->layout;
    const struct slab_class *c = &slab_classes[class];
    struct cache_slab *slab = record_new(cache, c->words);
    if (slab == NULL)
        return NULL;
    slab->span = span;
    slab->state = fam_load(layout_state(l, span));
    slab->class = class;
    slab->bin = bin;
    slab->list = NULL;
    slab->has_committed = has_committed;
    slab->fast = (struct alps_fast_slab){.base = slab_base(l, span, class),
                                         .inverse = c->inverse,
                                         .shift = c->shift,
                                         .bin = bin->fast,
                                         .allocated = &slab_allocated(l, span, class)->raw};
    set_mirror(slab, allocated);
    for (unsigned w = 0; w < c->words; w++)
        alps_fast_copies(&slab->fast)[w].empty = empty_word(slab, w);
    slab->word = 0;
    slab->reach = slab_reach(c, allocated);
    set_limit(slab, used);
    set_map(cache, slab, slab);
    return slab;
}

/* Holds a slab that the instance owns, if the instance may allocate from it and full or not as
 * asked; lets go of it otherwise. */
static struct cache_slab *hold_owned(struct cache *cache, struct cache_bin *bin, uint64_t span,
                                     unsigned class, bool full_is_good)
{
    struct instance *instance = cache->pool->instance;
    uint64_t allocated[SLAB_WORDS_MAX];
    unsigned used = slab_fold(&instance->layout, span, class, allocated);
    bool has_committed, full = used == slab_classes[class].blocks;
    struct cache_slab *slab = NULL;
    if ((full_is_good || !full) &&
        slab_claim_generation(instance, span, class, allocated, &has_committed))
        slab = hold(cache, bin, span, class, allocated, used, has_committed);
    if (slab == NULL)
        slab_release(instance, span, class, !full);
    return slab;
}

/* Folds a held slab; returns the number of blocks in use. */
static unsigned fold_held(struct cache *cache, struct cache_slab *slab)
{
    const struct layout *l = &cache->pool->instance->layout;
    if (!slab_any_released(l, slab->span, slab->class))
        return count_used(slab);
    uint64_t allocated[SLAB_WORDS_MAX];
    unsigned used = slab_fold(l, slab->span, slab->class, allocated);
    if (slab->has_committed)
        slab_trim_committed(l, slab->span, slab->class, allocated);
    set_mirror(slab, allocated);
    set_limit(slab, used);
    return used;
}

/* Gives a held slab without blocks back. */
static void discard(struct cache *cache, struct cache_slab *slab)
{
    unstack(slab);
    unhold(cache, slab);
    slab_destroy(cache->pool->instance, slab->span, slab->class);
}

/* Lets go of a held slab, whatever is in it. */
static void let_go(struct cache *cache, struct cache_slab *slab)
{
    unsigned used = fold_held(cache, slab);
    if (used == 0) {
        discard(cache, slab);
        return;
    }
    const bool full = used == cache_class(slab)->blocks;
    if (!full)
        unstack(slab);
    unhold(cache, slab);
    slab_release(cache->pool->instance, slab->span, slab->class, !full);
}

/* Puts a held slab, not in a list, at the end of one; makes room there before. A full one is let go
 * unless the thread keeps such. */
static void put_into_full(struct cache *cache, struct cache_slab *slab)
{
    struct cache_bin *bin = slab->bin;
    if (!cache->keeps_full) {
        let_go(cache, slab);
        return;
    }
    while (list_is_long(cache, &bin->full, slab->class)) {
        struct cache_slab *oldest = bin->full.first;
        list_remove(cache, oldest);
        unsigned used = fold_held(cache, oldest);
        if (used != 0 && used < cache_class(oldest)->blocks) {
            list_add(cache, &bin->partial, oldest);
        } else {
            let_go(cache, oldest);
        }
    }
    set_limit(slab, cache_class(slab)->blocks);
    list_add(cache, &bin->full, slab);
}

static void put_into_partial(struct cache *cache, struct cache_slab *slab)
{
    struct cache_bin *bin = slab->bin;
    while (list_is_long(cache, &bin->partial, slab->class)) {
        struct cache_slab *oldest = bin->partial.first;
        list_remove(cache, oldest);
        let_go(cache, oldest);
    }
    list_add(cache, &bin->partial, slab);
}

/* Has the bin allocate from a word of a slab that is in no list. */
static void set_current(struct cache_bin *bin, struct cache_slab *slab, unsigned word)
{
    bin->current = slab;
    set_word(slab, word);
}

static void set_no_current(struct cache_bin *bin)
{
    leave_word(bin);
    bin->current = NULL;
}

/* Looks whether others have freed blocks in the full slab whose turn it is; if so, it goes to the
 * partial list. */
static bool find_released(struct cache *cache, struct cache_bin *bin)
{
    struct cache_slab *slab = bin->full.first;
    if (slab == NULL)
        return false;
    const struct layout *l = &cache->pool->instance->layout;
    bool free = slab_any_released(l, slab->span, slab->class) &&
                fold_held(cache, slab) < cache_class(slab)->blocks;
    list_remove(cache, slab);
    list_add(cache, free ? &bin->partial : &bin->full, slab);
    /* What the next two turns need is in no cache of the processor's, as a rule. */
    const struct cache_slab *next = bin->full.first;
    if (next != NULL) {
        record_fetch(next->next);
        __builtin_prefetch(layout_released(l, next->span)->words);
    }
    return free;
}

/* Makes a slab in the partial list the current one. */
static void rotate(struct cache *cache, struct cache_bin *bin, struct cache_slab *slab,
                   unsigned word)
{
    struct cache_slab *before = bin->current;
    list_remove(cache, slab);
    set_no_current(bin);
    if (before != NULL)
        put_into_partial(cache, before);
    set_current(bin, slab, word);
}

/* A word of a slab of which something is free. Before fresh memory of a large slab is used, what
 * others have freed there counts, too. */
static bool any_word(struct cache *cache, struct cache_slab *slab, unsigned *word)
{
    const struct slab_class *c = cache_class(slab);
    return next_word(slab, true, word) ||
           (c->spans > 1 && fold_held(cache, slab) < c->blocks && next_word(slab, true, word));
}

/* One that is worth turning to before fresh blocks are. */
static bool good_word(struct cache *cache, struct cache_slab *slab, unsigned *word)
{
    return cache_class(slab)->size >= THRIFTY ? any_word(cache, slab, word)
                                              : next_word(slab, false, word);
}

bool cache_next_word(struct cache *cache, struct cache_bin *bin)
{
    struct cache_slab *slab = bin->current, *oldest;
    unsigned word, some;
    leave_word(bin);
    if (slab != NULL && good_word(cache, slab, &word)) {
        set_word(slab, word);
        return true;
    }
    while ((oldest = bin->partial.first) != NULL && !any_word(cache, oldest, &some)) {
        if (extend(cache, oldest, &some))
            break;
        list_remove(cache, oldest);
        put_into_full(cache, oldest);
    }
    if (oldest != NULL && good_word(cache, oldest, &word)) {
        rotate(cache, bin, oldest, word);
        return true;
    }
    if (slab != NULL && (extend(cache, slab, &word) || next_word(slab, true, &word))) {
        set_word(slab, word);
        return true;
    }
    if (oldest == NULL)
        return false;
    rotate(cache, bin, oldest, some);
    return true;
}

int cache_refill(struct cache *cache, struct cache_set *set, unsigned class, bool any)
{
    struct instance *instance = cache->pool->instance;
    struct cache_bin *bin = &set->bins[class];
    unsigned word;
    if (cache_next_word(cache, bin))
        return 0;
    struct cache_slab *slab = bin->current;
    if (slab != NULL) {
        fold_held(cache, slab);
        if (cache_next_word(cache, bin))
            return 0;
        set_no_current(bin);
        put_into_full(cache, slab);
    }
    if (find_released(cache, bin) && cache_next_word(cache, bin))
        return 0;
    uint64_t span;
    for (unsigned tries = 0; tries < TRIES; tries++) {
        /* Slab after slab, so that in each some blocks have been freed when its turn comes. */
        if (slab_find_hinted(instance, class, set->node, bin->looked, &span))
            bin->looked = span + 1;
        else if (!any || !slab_find_any(instance, class, set->node, &span))
            break;
        slab = hold_owned(cache, bin, span, class, false);
        cache->keeps_full = true;
        if (slab == NULL)
            continue;
        if (next_word(slab, true, &word) || extend(cache, slab, &word)) {
            set_current(bin, slab, word);
            return 0;
        }
        let_go(cache, slab); /* there is no memory for more of it */
    }
    set_keep(cache);
    const struct slab_class *c = &slab_classes[class];
    const unsigned reach = next_reach(c, 0);
    int rc = slab_create(instance, class, count_backed(c, reach), set->node, &span);
    if (rc != 0)
        return rc;
    uint64_t allocated[SLAB_WORDS_MAX];
    for (unsigned w = 0; w < c->words; w++)
        allocated[w] = ~slab_word_mask(c, w);
    slab = hold(cache, bin, span, class, allocated, 0, false);
    if (slab == NULL) {
        slab_destroy(instance, span, class);
        return error_set(ENOMEM, "no memory for this process's own book-keeping");
    }
    slab->reach = reach;
    set_current(bin, slab, 0);
    return 0;
}

static struct cache_set *next_set(struct cache *cache, unsigned *i)
{
    for (; *i <= cache->pool->node_count; ++*i) {
        struct cache_set *set = *i == 0                ? &cache->anywhere
                                : cache->nodes == NULL ? NULL
                                                       : cache->nodes[*i - 1];
        if (set != NULL) {
            ++*i;
            return set;
        }
    }
    return NULL;
}

/* Gives back what is empty in a list, and moves what is no longer full to the other one. */
static void shrink_list(struct cache *cache, struct cache_list *list)
{
    for (struct cache_slab *slab = list->first, *next; slab != NULL; slab = next) {
        next = slab->next;
        unsigned used = fold_held(cache, slab);
        bool move = list == &slab->bin->full && used < cache_class(slab)->blocks;
        if (used == 0 || move)
            list_remove(cache, slab);
        if (used == 0)
            discard(cache, slab);
        else if (move)
            list_add(cache, &slab->bin->partial, slab);
    }
}

void cache_shrink(struct cache *cache)
{
    struct cache_set *set;
    for (unsigned i = 0; (set = next_set(cache, &i)) != NULL;)
        for (unsigned class = 0; class < SLAB_CLASSES; class += 1) {
            struct cache_bin *bin = &set->bins[class];
            struct cache_slab *slab = bin->current;
            if (slab != NULL && fold_held(cache, slab) == 0) {
                set_no_current(bin);
                discard(cache, slab);
            }
            shrink_list(cache, &bin->partial);
            shrink_list(cache, &bin->full);
        }
}

static void flush_list(struct cache *cache, struct cache_list *list)
{
    while (list->first != NULL) {
        struct cache_slab *slab = list->first;
        list_remove(cache, slab);
        let_go(cache, slab);
    }
}

/* Lets go of all that a cache holds. */
static void cache_flush(struct cache *cache)
{
    struct cache_set *set;
    for (unsigned i = 0; (set = next_set(cache, &i)) != NULL;)
        for (unsigned class = 0; class < SLAB_CLASSES; class += 1) {
            struct cache_bin *bin = &set->bins[class];
            struct cache_slab *slab = bin->current;
            if (slab != NULL) {
                set_no_current(bin);
                let_go(cache, slab);
            }
            flush_list(cache, &bin->partial);
            flush_list(cache, &bin->full);
        }
}

struct cache_slab *cache_adopt(struct cache *cache, uint64_t span, uint64_t state)
{
    unsigned class = span_class(state);
    struct cache_bin *bin = &cache->anywhere.bins[class];
    /* A thread that has blocks to allocate leaves the others to threads that have none. */
    if (bin->partial.first != NULL)
        return NULL;
    struct instance *instance = cache->pool->instance;
    const struct layout_record *record = layout_record(&instance->layout, span);
    if (record_generation(record) != instance->generation_index || !slab_own(instance, span, state))
        return NULL;
    cache->keeps_full = true;
    struct cache_slab *slab = hold_owned(cache, bin, span, class, true);
    if (slab == NULL)
        return NULL;
    if (count_used(slab) == cache_class(slab)->blocks)
        put_into_full(cache, slab);
    else
        put_into_partial(cache, slab);
    return slab;
}

/* Whether a block of a held slab is in use, by the copy of A, and its index. */
static bool find_used(struct cache_slab *slab, alps_ptr_t block, uint64_t *index)
{
    *index = alps_fast_index(slab->fast.inverse, slab->fast.shift, block - slab->fast.base);
    return *index < cache_class(slab)->blocks &&
           (*cache_mirror(slab, (unsigned)(*index / 64)) >> (*index % 64) & 1) != 0;
}

bool cache_locate(struct cache_slab *slab, alps_ptr_t block, struct slab_place *place)
{
    const struct cache *cache = alps_fast_thread_0.cache;
    const struct layout *l = &cache->pool->instance->layout;
    uint64_t index;
    if (!find_used(slab, block, &index))
        return false;
    *place = (struct slab_place){
        .span = slab->span, .state = slab->state, .index = index, .size = cache_class(slab)->size};
    uint64_t r = fam_load_acquire(&layout_released(l, slab->span)->words[index / 32]);
    return (r >> (index % 32) & 1) == 0;
}

bool cache_give(struct cache_slab *slab, alps_ptr_t block)
{
    struct cache *cache = alps_fast_thread_0.cache;
    uint64_t index;
    if (!find_used(slab, block, &index))
        return false;
    unsigned w = (unsigned)(index / 64);
    uint64_t *mirror = cache_mirror(slab, w), bit = (uint64_t)1 << (index % 64);
    *mirror &= ~bit;
    ALPS_FAST_STORE(&slab->fast.allocated[w], *mirror);
    if (slab->has_committed) {
        /* A first, then C: between the two the block is free, which is all that counts. */
        fam_word_t *c = &slab_committed(&cache->pool->instance->layout, slab->span, slab->class)[w];
        fam_store_release(c, fam_load(c) & ~bit);
        layout_persist(&cache->pool->instance->layout, c); /* before it is of a generation again */
    }
    if (!is_current(slab) && is_empty(slab)) {
        list_remove(cache, slab);
        discard(cache, slab);
        return true;
    }
    set_limit(slab, 0);
    alps_fast_push(&slab->fast, block, index);
    if (slab->list == &slab->bin->full) {
        list_remove(cache, slab);
        put_into_partial(cache, slab);
    }
    return true;
}

static void set_up_bins(struct cache_set *set, int node)
{
    set->node = node;
    for (unsigned class = 0; class < SLAB_CLASSES; class += 1) {
        struct cache_bin *bin = &set->bins[class];
        bin->fast = &set->fast[class];
        bin->fast->size = slab_classes[class].size;
        bin->fast->top = bin->fast->bottom = set->stacks[class];
        bin->fast->end = bin->fast->bottom + CACHE_STACK;
        set_no_current(bin);
    }
}

struct cache_set *cache_set_for(struct cache *cache, int node)
{
    struct cache_pool *pool = cache->pool;
    unsigned i = 0;
    while (i < pool->node_count && pool->nodes[i] != node)
        i++;
    /* If all zones are on one node there is nothing to choose. */
    if (i == pool->node_count || pool->node_count == 1)
        return &cache->anywhere;
    if (cache->nodes == NULL)
        cache->nodes = pool_map_locked(pool, pool->node_count * sizeof(struct cache_set *));
    if (cache->nodes == NULL)
        return &cache->anywhere;
    if (cache->nodes[i] == NULL) {
        struct cache_set *set = pool_map_locked(pool, sizeof *set);
        if (set == NULL)
            return &cache->anywhere;
        set_up_bins(set, node);
        cache->nodes[i] = set;
    }
    return cache->nodes[i];
}

/* ---- threads ---- */

/* The calling thread's cache in a pool, if it has one; the pool's lock is held. */
static struct cache *own_cache(struct cache_pool *pool)
{
    for (struct cache *cache = pool->caches; cache != NULL; cache = cache->next)
        if (cache->thread == thread_identity)
            return cache;
    return NULL;
}

void cache_thread_end(void)
{
    pthread_mutex_lock(&pools_lock); /* no pool closes meanwhile */
    for (struct cache_pool *pool = pools; pool != NULL; pool = pool->next) {
        pthread_mutex_lock(&pool->lock);
        struct cache *cache = own_cache(pool);
        pthread_mutex_unlock(&pool->lock);
        if (cache == NULL)
            continue;
        if (!instance_is_lost(pool->instance))
            cache_flush(cache);
        pthread_mutex_lock(&pool->lock);
        cache->thread = 0;
        add_threads(pool, -1u);
        pthread_mutex_unlock(&pool->lock);
    }
    alps_fast_thread_0 = (struct alps_fast_thread){.handle = CACHE_NO_HANDLE};
    pthread_mutex_unlock(&pools_lock);
    extent_thread_end();
}

static void at_thread_exit(void *unused)
{
    (void)unused;
    cache_thread_end();
}

static void before_fork(void)
{
    pthread_mutex_lock(&pools_lock);
    for (struct cache_pool *pool = pools; pool != NULL; pool = pool->next)
        pthread_mutex_lock(&pool->lock); /* its list of mappings is whole in the child */
}

static void after_fork_in_parent(void)
{
    for (struct cache_pool *pool = pools; pool != NULL; pool = pool->next)
        pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pools_lock);
}

static void after_fork_in_child(void)
{
    for (struct cache_pool *pool = pools; pool != NULL; pool = pool->next) {
        pthread_mutex_unlock(&pool->lock);
        pool->forked = true;
        region_forget_files(&pool->instance->layout.region);
    }
    pools = NULL;
    alps_fast_thread_0 = (struct alps_fast_thread){.handle = CACHE_NO_HANDLE};
    pthread_mutex_unlock(&pools_lock);
}

static void set_up(void)
{
    for (unsigned i = 0; i < sizeof fast_classes; i++)
        fast_classes[i] = (uint8_t)slab_class_of(i * 16);
    pthread_key_create(&exit_key, at_thread_exit);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void cache_register_handlers(void)
{
    pthread_once(&once, set_up);
}

/* A cache for one more thread; the pool's lock is held. */
static struct cache *cache_new(struct cache_pool *pool)
{
    struct cache *cache = pool_map(pool, sizeof *cache);
    struct alps_fast_slab **map = pool_map(pool, pool->map_length * sizeof *map);
    if (cache == NULL || map == NULL)
        return NULL;
    cache->map = map;
    cache->pool = pool;
    set_up_bins(&cache->anywhere, ALPS_ANY_NODE);
    cache->next = pool->caches;
    cache->number = cache->next == NULL ? 0 : cache->next->number + 1;
    pool->caches = cache;
    return cache;
}

struct cache *cache_get_slow(struct cache_pool *pool)
{
    if (thread_identity == 0)
        thread_identity = __atomic_fetch_add(&next_identity, 1, __ATOMIC_RELAXED); /* DRAM: */
    pthread_mutex_lock(&pool->lock);
    struct cache *cache = own_cache(pool), *spare = NULL;
    for (struct cache *c = pool->caches; c != NULL && cache == NULL; c = c->next)
        if (c->thread == 0)
            spare = c;
    if (cache == NULL) {
        cache = spare != NULL ? spare : cache_new(pool);
        if (cache != NULL) {
            add_threads(pool, 1);
            set_keep(cache);
            cache->keeps_full = false;
        }
    }
    if (cache != NULL) {
        cache->thread = thread_identity;
        cache->tls = &alps_fast_thread_0;
    }
    pthread_mutex_unlock(&pool->lock);
    if (cache == NULL) {
        error_set(ENOMEM, "no memory for this process's own book-keeping");
        return NULL;
    }
    pthread_setspecific(exit_key, pool);
    __atomic_store_n(&alps_fast_thread_0.handle, pool->handle, __ATOMIC_RELAXED); /* DRAM: */
    alps_fast_thread_0.cache = cache;
    alps_fast_thread_0.bins = cache->anywhere.fast;
    alps_fast_thread_0.classes = fast_classes;
    alps_fast_thread_0.map = cache->map;
    alps_fast_thread_0.map_length = pool->map_length;
    return cache;
}

/* ---- pools ---- */

static int list_nodes(struct cache_pool *pool)
{
    const struct layout *l = &pool->instance->layout;
    pool->nodes = calloc(l->zone_count, sizeof *pool->nodes);
    if (pool->nodes == NULL)
        return error_set(ENOMEM, "no memory for the list of nodes");
    for (unsigned zone = 0; zone < l->zone_count; zone++) {
        int node = (int)fam_load(&layout_zone(l, zone)->node) - 1;
        unsigned i = 0;
        while (i < pool->node_count && pool->nodes[i] != node)
            i++;
        if (i == pool->node_count && node >= 0)
            pool->nodes[pool->node_count++] = node;
    }
    return 0;
}

static void link_pool(struct cache_pool *pool)
{
    pthread_mutex_lock(&pools_lock);
    pool->next = pools;
    pools = pool;
    pthread_mutex_unlock(&pools_lock);
}

static void unmap_all(struct cache_pool *pool)
{
    for (struct mapping *m = pool->memory, *next; m != NULL; m = next) {
        next = m->next;
        munmap(m, m->bytes);
    }
    pool->memory = NULL;
}

int cache_pool_open(struct cache_pool *pool, const void *handle, struct instance *instance)
{
    *pool = (struct cache_pool){.handle = handle,
                                .instance = instance,
                                .map_length = instance->layout.region.length >> SPAN_SHIFT};
    int rc = list_nodes(pool);
    if (rc != 0)
        return rc;
    pthread_mutex_init(&pool->lock, NULL);
    cache_register_handlers();
    link_pool(pool);
    return 0;
}

void cache_pool_reopen(struct cache_pool *pool)
{
    unmap_all(pool);
    pool->caches = NULL;
    pool->threads = 0;
    pool->forked = false;
    link_pool(pool);
}

void cache_pool_close(struct cache_pool *pool)
{
    pthread_mutex_lock(&pools_lock);
    struct cache_pool **link = &pools;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    /* Threads that used it last must not take another pool at its address for this one. */
    for (struct cache *cache = pool->caches; cache != NULL; cache = cache->next) {
        const void *expected = pool->handle;
        if (cache->thread != 0)
            __atomic_compare_exchange_n(&cache->tls->handle, &expected, CACHE_NO_HANDLE, /* DRAM: */
                                        false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&pools_lock);

    unmap_all(pool);
    pthread_mutex_destroy(&pool->lock);
    free(pool->nodes);
}

static void slab_moved(const struct layout *l, struct cache_slab *slab)
{
    slab->fast.allocated = &slab_allocated(l, slab->span, slab->class)->raw;
    if (is_current(slab))
        set_word(slab, slab->word);
}

void cache_pool_moved(struct cache_pool *pool)
{
    const struct layout *l = &pool->instance->layout;
    for (struct cache *cache = pool->caches; cache != NULL; cache = cache->next) {
        struct cache_set *set;
        for (unsigned i = 0; (set = next_set(cache, &i)) != NULL;)
            for (unsigned class = 0; class < SLAB_CLASSES; class += 1) {
                struct cache_bin *bin = &set->bins[class];
                bin->fast->top = bin->fast->bottom;
                if (bin->current != NULL)
                    slab_moved(l, bin->current);
                for (struct cache_slab *slab = bin->partial.first; slab != NULL; slab = slab->next)
                    slab_moved(l, slab);
                for (struct cache_slab *slab = bin->full.first; slab != NULL; slab = slab->next)
                    slab_moved(l, slab);
            }
    }
}
