/* Allocating and freeing.
 *
 * The fast paths, inline from cache.h, touch DRAM and store one word of a bitmap A. Everything else
 * is in cold functions: other classes, other nodes, other threads' and other processes' blocks, and
 * a heap that runs short.
 */
#include "heap.h"

#include <errno.h>
#include <string.h>

#include "error.h"

static alps_ptr_t null_with(int rc)
{
    errno = -rc;
    return ALPS_NULL;
}

static int check_node(int node)
{
    if (node < ALPS_ANY_NODE || node > ALPS_NODE_MAX)
        return error_set(EINVAL, "node %d is neither ALPS_ANY_NODE nor a node", node);
    return 0;
}

/* One try: a block of a class, or an extent. */
static int try_alloc(struct cache *cache, struct cache_set *set, unsigned class, uint64_t size,
                     uint64_t alignment, struct layout_intent *intent, bool any, alps_ptr_t *block)
{
    struct instance *instance = cache->pool->instance;
    if (class >= SLAB_CLASSES)
        return extent_alloc(instance, size, alignment, set->node, intent, block);
    struct cache_bin *bin = &set->bins[class];
    if (alps_fast_is_empty(bin->fast)) {
        int rc = cache_refill(cache, set, class, any);
        /* A slab of several spans may not fit any more where a block alone does. */
        if (rc == -ENOMEM && slab_classes[class].spans > 1)
            return extent_alloc(instance, size, alignment, set->node, intent, block);
        if (rc != 0)
            return rc;
    }
    if (intent != NULL) {
        uint64_t next = alps_fast_next(bin->fast);
        fam_store(&intent->incarnation, span_incarnation(cache_find(next)->state));
        fam_store(&intent->block, next);
        fam_store_release(&intent->op, INTENT_MALLOC);
        layout_persist(&instance->layout, &intent->op);
    }
    *block = alps_fast_take(bin->fast);
    return 0;
}

COLD static int alloc_when_short(alps_heap_t *heap, struct cache *cache, unsigned class,
                                 uint64_t size, uint64_t alignment, struct layout_intent *intent,
                                 alps_ptr_t *block)
{
    /* What a slab needs, or, where that is too much, the block alone. */
    uint64_t alone = (size + SPAN_SIZE - 1) >> SPAN_SHIFT;
    if (alignment > SPAN_SIZE)
        alone += (alignment >> SPAN_SHIFT) - 1;
    uint64_t wanted = class < SLAB_CLASSES ? slab_classes[class].spans : alone;
    struct cache_set *set = &cache->anywhere;

    /* What is in reserve goes first: what the cache lets go of then has room there, and counts. */
    uint64_t given = extent_shrink(&heap->instance);
    cache_shrink(cache);
    given += extent_shrink(&heap->instance);
    if (extent_would_grow_by(&heap->instance, given))
        given += extent_shrink_all(&heap->instance);
    /* If that was little, the next time is near, and each time what was kept is gone. */
    if (extent_would_grow_by(&heap->instance, given))
        extent_grow(&heap->instance, wanted);
    int rc = try_alloc(cache, set, class, size, alignment, intent, false, block);
    if (rc == -ENOMEM && extent_shrink_all(&heap->instance) != 0)
        rc = try_alloc(cache, set, class, size, alignment, intent, false, block);
    while (rc == -ENOMEM &&
           (extent_grow(&heap->instance, wanted) == 0 || extent_grow(&heap->instance, alone) == 0))
        rc = try_alloc(cache, set, class, size, alignment, intent, false, block);
    if (rc == -ENOMEM) {
        struct alps_recovery report = {.struct_size = sizeof report};
        if (heap_recover(heap, false, &report) == 0 && report.count != 0)
            rc = try_alloc(cache, set, class, size, alignment, intent, false, block);
    }
    if (rc == -ENOMEM)
        rc = try_alloc(cache, set, class, size, alignment, intent, true, block);
    if (rc == -ENOMEM)
        error_set(ENOMEM, "%s: no room for a block of %llu bytes", heap_name(heap),
                  (unsigned long long)size);
    return rc;
}

int heap_alloc(alps_heap_t *heap, uint64_t size, uint64_t alignment, int node,
               struct layout_intent *intent, alps_ptr_t *block)
{
    struct cache *cache = cache_get(&heap->pool);
    if (cache == NULL)
        return -ENOMEM;
    if (size == 0)
        size = 1;
    unsigned class = SLAB_CLASSES;
    if (alignment > 16)
        class = slab_class_aligned(size, alignment);
    else if (size <= SLAB_SIZE_MAX)
        class = slab_class_of(size);

    struct cache_set *set = node < 0 ? &cache->anywhere : cache_set_for(cache, node);
    int rc = try_alloc(cache, set, class, size, alignment, intent, false, block);
    if (rc == -ENOMEM && set != &cache->anywhere)
        rc = try_alloc(cache, &cache->anywhere, class, size, alignment, intent, false, block);
    if (rc == -ENOMEM)
        rc = alloc_when_short(heap, cache, class, size, alignment, intent, block);
    if (rc == 0)
        heap_verify(heap, *block);
    return rc;
}

COLD static alps_ptr_t malloc_slow(alps_heap_t *heap, size_t size, size_t alignment, int node)
{
    alps_ptr_t block;
    int rc = heap_may_write(heap);
    if (rc == 0)
        rc = check_node(node);
    if (rc == 0)
        rc = heap_alloc(heap, size, alignment, node, NULL, &block);
    return rc == 0 ? block : null_with(rc);
}

/* The current word is full, as every 64th time or so, or the block is of a middle size, or several
 * kernels share the heap. */
static __attribute__((noinline)) alps_ptr_t malloc_next_word(alps_heap_t *heap, size_t size,
                                                             int node)
{
    if (heap_is_current(heap) && size <= SLAB_SIZE_MAX && node == ALPS_ANY_NODE) {
        struct cache *cache = alps_fast_thread_0.cache;
        unsigned class = size <= ALPS_FAST_SIZE_MAX ? alps_fast_class(size) : slab_class_of(size);
        struct cache_bin *bin = &cache->anywhere.bins[class];
        if (!alps_fast_is_empty(bin->fast) || cache_next_word(cache, bin)) {
            alps_ptr_t block = alps_fast_take(bin->fast);
            heap_verify(heap, block);
            return block;
        }
    }
    return malloc_slow(heap, size, 16, node);
}

alps_ptr_t alps_malloc(alps_heap_t *heap, size_t size, int node)
{
    struct alps_fast_bin *bin = alps_fast_find_bin(heap, size, node);
    if (UNLIKELY(bin == NULL))
        return malloc_next_word(heap, size, node);
    alps_ptr_t block = alps_fast_take(bin);
    heap_verify(heap, block);
    return block;
}

alps_ptr_t alps_calloc(alps_heap_t *heap, size_t count, size_t size, int node)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return null_with(
            error_set(ENOMEM, "%zu blocks of %zu bytes are more than fits in size_t", count, size));
    alps_ptr_t block = alps_malloc(heap, bytes, node);
    if (block != ALPS_NULL)
        memset(alps_deref(heap, block), 0, bytes);
    return block;
}

alps_ptr_t alps_aligned_alloc(alps_heap_t *heap, size_t alignment, size_t size, int node)
{
    if (!is_power_of_two(alignment) || alignment > ALPS_ALIGNMENT_MAX)
        return null_with(
            error_set(EINVAL, "alignment %zu is not a power of two up to 1 GiB", alignment));
    return malloc_slow(heap, size, alignment, node);
}

/* ---- freeing ---- */

static int freed_before(const alps_heap_t *heap, alps_ptr_t block)
{
    return error_set(EALREADY, "%s: the block at offset %llu has been freed", heap_name(heap),
                     (unsigned long long)block);
}

static int free_in_slab(struct cache *cache, const struct slab_place *place, alps_ptr_t block)
{
    struct instance *instance = cache->pool->instance;
    struct cache_slab *slab = cache_find(block);
    if (slab == NULL && span_owner(place->state) == 0)
        slab = cache_adopt(cache, place->span, place->state);
    if (slab == NULL)
        return slab_remote_free(instance, place->span, place->state, place->index);
    return cache_give(slab, block) ? 0 : -EALREADY;
}

int heap_free(alps_heap_t *heap, alps_ptr_t block)
{
    struct cache *cache = cache_get(&heap->pool);
    if (cache == NULL)
        return -ENOMEM;
    for (uint64_t before = SPAN_FREE;;) {
        struct slab_place place;
        int rc = slab_locate(heap_layout(heap), block, &place);
        if (rc != 0)
            return rc;
        /* Recycled means another state now; the same again means that R is damaged. */
        if (place.state == before)
            return error_set(EUCLEAN, "%s: damaged: slab at span %llu", heap_name(heap),
                             (unsigned long long)place.span);
        before = place.state;
        rc = span_kind(place.state) == SPAN_EXTENT
                 ? extent_free(&heap->instance, place.span, place.state)
                 : free_in_slab(cache, &place, block);
        if (rc == -EALREADY)
            return freed_before(heap, block);
        if (rc != -EAGAIN) {
            heap_verify(heap, block);
            return rc;
        }
    }
}

static __attribute__((noinline)) int free_slow(alps_heap_t *heap, alps_ptr_t block)
{
    if (heap_is_current(heap)) {
        struct cache_slab *slab = cache_find(block);
        if (slab != NULL ? cache_give(slab, block) : slab_free_simple(&heap->instance, block)) {
            heap_verify(heap, block);
            return 0;
        }
    }
    int rc = heap_may_write(heap);
    return rc != 0 || block == ALPS_NULL ? rc : heap_free(heap, block);
}

int alps_free(alps_heap_t *heap, alps_ptr_t block)
{
    if (UNLIKELY(!alps_fast_free(heap, block)))
        return free_slow(heap, block);
    heap_verify(heap, block);
    return 0;
}

/* ---- the rest ---- */

int heap_zone_node(const alps_heap_t *heap, alps_ptr_t p)
{
    const struct layout *l = &heap->instance.layout;
    return (int)fam_load(&layout_zone(l, layout_zone_of(l, layout_span_of(l, p)))->node) - 1;
}

/* Finds a block that is in use. */
static int find_live(alps_heap_t *heap, alps_ptr_t block, struct slab_place *place)
{
    const struct layout *l = heap_layout(heap);
    int rc = slab_locate(l, block, place);
    if (rc != 0 || span_kind(place->state) == SPAN_EXTENT)
        return rc;
    uint64_t live =
        slab_live(l, place->span, span_class(place->state), (unsigned)(place->index / 64));
    return (live >> (place->index % 64) & 1) != 0 ? 0 : freed_before(heap, block);
}

size_t alps_usable_size(alps_heap_t *heap, alps_ptr_t block)
{
    struct slab_place place;
    int rc = heap_may_read(heap);
    if (rc == 0)
        rc = find_live(heap, block, &place);
    if (rc != 0) {
        errno = rc == -EALREADY ? EINVAL : -rc;
        return 0;
    }
    return place.size;
}

alps_ptr_t alps_realloc(alps_heap_t *heap, alps_ptr_t block, size_t size)
{
    if (block == ALPS_NULL)
        return alps_malloc(heap, size, ALPS_ANY_NODE);
    struct slab_place place;
    int rc = heap_may_write(heap);
    if (rc == 0)
        rc = find_live(heap, block, &place);
    if (rc != 0)
        return null_with(rc);
    /* Stays if it is not too large for it. */
    if (size <= place.size && (size >= place.size / 2 || place.size <= 64))
        return block;
    alps_ptr_t moved;
    rc = heap_alloc(heap, size, 16, heap_zone_node(heap, block), NULL, &moved);
    if (rc != 0)
        return null_with(rc);
    memcpy(alps_deref(heap, moved), alps_deref(heap, block), min_u64(place.size, size));
    rc = heap_free(heap, block);
    if (rc == 0)
        return moved;
    heap_free(heap, moved); /* somebody freed the block meanwhile */
    return null_with(rc);
}

/* The heap word behind a pointer that a caller wants published. */
static int check_where(alps_heap_t *heap, const alps_ptr_t *where)
{
    alps_ptr_t offset = alps_ref(heap, where);
    if (offset < heap_layout(heap)->data_offset || offset % sizeof(fam_word_t) != 0)
        return error_set(EINVAL, "where (%p) is not an aligned pointer in a block of %s",
                         (const void *)where, heap_name(heap));
    return 0;
}

/* In durable heaps: makes the allocation of a block durable, before its pointer is. */
static void flush_block(alps_heap_t *heap, alps_ptr_t block)
{
    const struct layout *l = heap_layout(heap);
    struct slab_place place;
    if (!l->durable || slab_locate(l, block, &place) != 0)
        return;
    if (span_kind(place.state) == SPAN_SLAB)
        layout_flush(l, &slab_allocated(l, place.span, span_class(place.state))[place.index / 64]);
    layout_fence(l);
}

alps_ptr_t alps_malloc_to(alps_heap_t *heap, alps_ptr_t *where, size_t size, int node)
{
    int rc = heap_may_write(heap);
    if (rc == 0)
        rc = check_node(node);
    if (rc == 0)
        rc = check_where(heap, where);
    struct cache *cache = rc == 0 ? cache_get(&heap->pool) : NULL;
    if (cache == NULL)
        return null_with(rc != 0 ? rc : -ENOMEM);
    struct layout_intent *intent = instance_intent(&heap->instance, cache->number);
    alps_ptr_t block = ALPS_NULL;
    fam_store(&intent->where, alps_ref(heap, where));
    rc = heap_alloc(heap, size, 16, node, intent, &block);
    if (rc == 0) {
        flush_block(heap, block);
        fam_store_release((fam_word_t *)where, block);
        layout_persist(heap_layout(heap), (fam_word_t *)where);
    }
    instance_intent_done(&heap->instance, intent);
    return rc == 0 ? block : null_with(rc);
}

int alps_free_from(alps_heap_t *heap, alps_ptr_t *where)
{
    int rc = heap_may_write(heap);
    if (rc == 0)
        rc = check_where(heap, where);
    if (rc != 0)
        return rc;
    fam_word_t *word = (fam_word_t *)where;
    alps_ptr_t block = fam_load_acquire(word);
    if (block == ALPS_NULL)
        return error_set(ENOENT, "%s: where holds ALPS_NULL", heap_name(heap));
    struct cache *cache = cache_get(&heap->pool);
    if (cache == NULL)
        return -ENOMEM;
    struct slab_place place;
    struct cache_slab *held = cache_find(block);
    if (held != NULL && !cache_locate(held, block, &place))
        held = NULL;
    if (held == NULL)
        rc = find_live(heap, block, &place);
    if (rc != 0)
        return rc;
    struct layout_intent *intent = instance_intent(&heap->instance, cache->number);
    fam_store(&intent->where, alps_ref(heap, where));
    fam_store(&intent->block, block);
    fam_store(&intent->incarnation, span_incarnation(place.state));
    /* Announced first: who folds sees an intent that an heir may act upon. */
    if (span_kind(place.state) == SPAN_SLAB)
        slab_announce_free(heap_layout(heap), place.span, place.state);
    fam_store_release(&intent->op, INTENT_FREE);
    layout_persist(heap_layout(heap), &intent->op);
    uint64_t expected = block;
    const bool won = fam_cas(word, &expected, ALPS_NULL);
    layout_persist(heap_layout(heap), word); /* before the block is free */
    if (!won)
        rc = error_set(EBUSY, "%s: somebody else changed where", heap_name(heap));
    else if (span_kind(place.state) == SPAN_EXTENT)
        rc = extent_free(&heap->instance, place.span, place.state);
    else if (held == NULL)
        rc = slab_remote_free(&heap->instance, place.span, place.state, place.index);
    else /* by R, too: who died in here before us may have the same in mind */
        slab_release_block(heap_layout(heap), place.span, place.index);
    instance_intent_done(&heap->instance, intent);
    if (rc == -EALREADY || rc == -EAGAIN)
        rc = 0; /* the heir of such a one was ahead of us */
    heap_verify(heap, block);
    return rc;
}
