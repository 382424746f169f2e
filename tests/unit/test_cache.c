/* The cache layer: what threads hold, and that they let go of it. */
#include <pthread.h>

#include "inside.h"

#define SLAB_BLOCKS 1024 /* of 64 bytes */

static uint64_t span_of(alps_heap_t *heap, alps_ptr_t p)
{
    return layout_span_of(heap_layout(heap), p);
}

static alps_ptr_t get(alps_heap_t *heap, size_t size)
{
    alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
    CHECK_NE(p, ALPS_NULL);
    return p;
}

static alps_heap_t *new_heap(void)
{
    return inside_open(inside_create(32 * MIB, 32 * MIB, 0), 0);
}

TEST(cache, the_mirror_is_the_bitmap)
{
    alps_heap_t *heap = new_heap();
    struct test_rng rng = test_rng(0);
    alps_ptr_t blocks[3000] = {0};
    for (int i = 0; i < 60000; i++) {
        unsigned k = (unsigned)test_rng_below(&rng, 3000);
        if (blocks[k] != ALPS_NULL)
            CHECK_ERR(alps_free(heap, blocks[k]), 0);
        blocks[k] = blocks[k] != ALPS_NULL ? ALPS_NULL : get(heap, 1 + test_rng_below(&rng, 300));
        if (i % 100 != 0 || blocks[k] == ALPS_NULL)
            continue;
        struct cache_slab *slab = cache_find(blocks[k]);
        CHECK(slab != NULL);
        for (unsigned w = 0; w < cache_class(slab)->words; w++)
            CHECK_EQ(slab->fast.allocated[w], *cache_mirror(slab, w));
        const struct alps_fast_bin *bin = slab->fast.bin;
        for (const struct alps_fast_block *b = bin->bottom; b != bin->top; b++)
            CHECK_EQ(b->copy->bits >> (b->index & 63) & 1, 0);
    }
    inside_check(heap);
}

TEST(cache, an_idle_process_pins_little_that_others_free)
{
    alps_heap_t *idle = new_heap();
    alps_heap_t *other = inside_open(heap_name(idle), 0);
    enum { COUNT = 300 * SLAB_BLOCKS };
    static alps_ptr_t blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = get(idle, 64);
    for (unsigned i = 0; i < COUNT; i++)
        CHECK_ERR(alps_free(other, blocks[i]), 0);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(other, &stats), 0);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_LE(stats.span_bytes, 300 * SPAN_SIZE / 10);
    inside_check(other);
}

/* Slabs 0..2 are full, 3 is allocated from. */
static alps_ptr_t of_main[4 * SLAB_BLOCKS];

static void *free_slab_0(void *context)
{
    alps_heap_t *heap = context;
    for (unsigned i = 0; i < SLAB_BLOCKS; i++) {
        CHECK_ERR(alps_free(heap, of_main[i]), 0);
        CHECK_EQ(cache_find(of_main[i]) != NULL, i + 1 != SLAB_BLOCKS);
    }
    return NULL;
}

TEST(cache, a_thread_that_only_allocates_keeps_no_full_slabs)
{
    alps_heap_t *heap = new_heap();
    for (unsigned i = 0; i < 4 * SLAB_BLOCKS; i++)
        of_main[i] = get(heap, 64);
    const uint64_t owner = heap->instance.owner;
    uint64_t spans[4];
    for (unsigned i = 0; i < 4; i++) {
        spans[i] = span_of(heap, of_main[i * SLAB_BLOCKS]);
        CHECK_EQ(span_owner(inside_state(heap, spans[i])), i == 3 ? owner : 0);
    }
    /* Another thread holds the slab of which it frees a block, and gives it back with the last. */
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, free_slab_0, heap), 0);
    pthread_join(thread, NULL);
    CHECK_NE(span_kind(inside_state(heap, spans[0])), SPAN_SLAB);

    /* Once the thread frees it keeps them. */
    CHECK_ERR(alps_free(heap, of_main[SLAB_BLOCKS]), 0);
    CHECK_EQ(span_owner(inside_state(heap, spans[1])), owner);
    of_main[SLAB_BLOCKS] = get(heap, 64);
    CHECK_EQ(span_of(heap, of_main[SLAB_BLOCKS]), spans[1]);
    for (unsigned i = 0; i < 2 * SLAB_BLOCKS; i++)
        get(heap, 64);
    CHECK_EQ(span_owner(inside_state(heap, spans[1])), owner);
    CHECK_EQ(span_owner(inside_state(heap, spans[2])), 0);
    CHECK_EQ(span_owner(inside_state(heap, spans[3])), owner);
    inside_check(heap);
}

/* Whoever has blocks of a size to allocate leaves the slabs of others alone. */
static void *free_in_slabs_0_and_1(void *context)
{
    alps_heap_t *heap = context;
    CHECK_ERR(alps_free(heap, of_main[0]), 0);
    CHECK(cache_find(of_main[0]) != NULL);
    CHECK_ERR(alps_free(heap, of_main[SLAB_BLOCKS]), 0);
    CHECK_EQ(cache_find(of_main[SLAB_BLOCKS]), NULL);
    CHECK_ERR(alps_free(heap, of_main[SLAB_BLOCKS]), -EALREADY);
    return NULL;
}

TEST(cache, threads_leave_each_other_slabs_with_free_blocks)
{
    alps_heap_t *heap = new_heap();
    for (unsigned i = 0; i < 4 * SLAB_BLOCKS; i++)
        of_main[i] = get(heap, 64);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, free_in_slabs_0_and_1, heap), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(inside_live_blocks(heap), 4 * SLAB_BLOCKS - 2);
    /* The other one is found by those who look for free blocks. */
    CHECK_EQ(get(heap, 64), of_main[0]);
    CHECK_EQ(get(heap, 64), of_main[SLAB_BLOCKS]);
    inside_check(heap);
}

TEST(cache, what_others_free_in_large_slabs_is_used_before_fresh_memory)
{
    enum { COUNT = 20, SIZE = 20000 };
    alps_heap_t *heap = new_heap();
    alps_heap_t *other = inside_open(heap_name(heap), 0);
    alps_ptr_t blocks[COUNT], highest = 0;
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[i] = get(heap, SIZE);
            CHECK(round < 2 || blocks[i] <= highest); /* somewhat more than COUNT are in reach */
            highest = max_u64(highest, blocks[i]);
        }
        for (unsigned i = 0; i < COUNT; i++)
            CHECK_ERR(alps_free(other, blocks[i]), 0);
    }
    inside_check(heap);
}

static uint64_t owned_spans(alps_heap_t *heap)
{
    uint64_t owned = 0;
    for (uint64_t span = 0; span < heap_layout(heap)->span_count; span++)
        owned += span_owner(layout_span_state(heap_layout(heap), span)) == heap->instance.owner &&
                 span_kind(layout_span_state(heap_layout(heap), span)) == SPAN_SLAB;
    return owned;
}

static void *halve(void *context)
{
    alps_heap_t *heap = context;
    get(heap, 64);
    const struct cache *cache = alps_fast_thread_0.cache;
    CHECK_EQ(cache->keep_spans, heap->instance.spans / 8);
    return NULL;
}

/* All caches of all processes together keep a quarter of the heap. */
TEST(cache, threads_and_processes_share_what_caches_keep)
{
    alps_heap_t *heap = new_heap();
    const uint64_t spans = heap->instance.spans, quarter = spans / 4;
    static alps_ptr_t blocks[200 * SLAB_BLOCKS];
    struct test_rng rng = test_rng(0);
    CHECK_LE(spans, 512);
    CHECK_LE(480, spans);
    for (unsigned i = 0; i < 100 * SLAB_BLOCKS; i++) {
        blocks[i] = get(heap, 64);
        if (i == SLAB_BLOCKS) { /* from the first free on it keeps full slabs, and takes this one */
            CHECK_ERR(alps_free(heap, blocks[0]), 0);
            blocks[0] = get(heap, 64);
        }
    }
    /* They are within the quarter: every block is one of the thread's own. */
    for (unsigned i = 0; i < 100 * SLAB_BLOCKS; i++) {
        const unsigned k = (unsigned)test_rng_below(&rng, 100 * SLAB_BLOCKS);
        CHECK(cache_find(blocks[k]) != NULL);
        CHECK_ERR(alps_free(heap, blocks[k]), 0);
        blocks[k] = get(heap, 64);
    }
    for (unsigned i = 100 * SLAB_BLOCKS; i < 200 * SLAB_BLOCKS; i++)
        blocks[i] = get(heap, 64);
    CHECK_LE(owned_spans(heap), quarter + 1);
    CHECK_LE(quarter, owned_spans(heap));

    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, halve, heap), 0);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < SLAB_BLOCKS; i++) /* comes to another slab, and looks again */
        get(heap, 64);
    const struct cache *cache = alps_fast_thread_0.cache;
    CHECK_EQ(cache->keep_spans, quarter);

    /* With another process there, one more slab is reason to let go of half of what there is. */
    inside_open(heap_name(heap), 0);
    for (unsigned i = 0; i < 2 * SLAB_BLOCKS; i++)
        get(heap, 64);
    CHECK_LE(owned_spans(heap), quarter / 2 + 2);
    inside_check(heap);
}

static void *allocate_and_end(void *context)
{
    alps_heap_t *heap = context;
    for (unsigned i = 0; i < 5000; i++) {
        alps_ptr_t p = get(heap, 100 + i % 3000);
        if (i % 3 != 0)
            CHECK_ERR(alps_free(heap, p), 0);
    }
    return NULL;
}

TEST(cache, a_thread_that_ends_owns_nothing)
{
    alps_heap_t *heap = new_heap();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, allocate_and_end, heap), 0);
    pthread_join(thread, NULL);
    extent_shrink(&heap->instance);
    const struct layout *l = heap_layout(heap);
    for (uint64_t span = 0; span < l->span_count; span++) {
        uint64_t state = layout_span_state(l, span);
        CHECK(span_kind(state) != SPAN_SLAB || span_owner(state) == 0);
        CHECK_NE(span_kind(state), SPAN_CLAIMED);
    }
    CHECK_EQ(inside_live_blocks(heap), 1667);
    inside_check(heap);

    /* The next thread goes on in the same slabs, and takes over the cache. */
    struct cache *first = heap->pool.caches;
    struct alps_stats before = {.struct_size = sizeof before}, after = before;
    alps_heap_stats(heap, &before);
    CHECK_EQ(pthread_create(&thread, NULL, allocate_and_end, heap), 0);
    pthread_join(thread, NULL);
    alps_heap_stats(heap, &after);
    CHECK_LT(after.span_bytes, 2 * before.span_bytes);
    CHECK_EQ(heap->pool.caches, first);
    CHECK_EQ(first->next, NULL);
}

TEST(cache, shrinking_keeps_what_is_in_use_and_ends)
{
    alps_heap_t *heap = new_heap();
    static alps_ptr_t blocks[10 * SLAB_BLOCKS];
    for (unsigned i = 0; i < 10 * SLAB_BLOCKS; i++)
        blocks[i] = get(heap, 64);
    for (unsigned i = 0; i < 10 * SLAB_BLOCKS; i += 2) /* all partial */
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
    CHECK_ERR(alps_heap_trim(heap), 0);
    CHECK_EQ(inside_live_blocks(heap), 5 * SLAB_BLOCKS);
    for (unsigned i = 1; i < 10 * SLAB_BLOCKS; i += 2)
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
    CHECK_ERR(alps_heap_trim(heap), 0);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.span_bytes, 0);
    inside_check(heap);
}

TEST(cache, freeing_into_an_unowned_slab_adopts_it)
{
    alps_heap_t *heap = new_heap();
    static alps_ptr_t blocks[200 * SLAB_BLOCKS];
    for (unsigned i = 0; i < 200 * SLAB_BLOCKS; i++)
        blocks[i] = get(heap, 64);
    unsigned k = 0;
    while (cache_find(blocks[k]) != NULL) /* the thread has let go of most, but not of all */
        CHECK_LT(++k, 200 * SLAB_BLOCKS);
    uint64_t span = span_of(heap, blocks[k]);
    CHECK_EQ(span_owner(inside_state(heap, span)), 0);
    CHECK_ERR(alps_free(heap, blocks[k]), 0);
    CHECK_EQ(span_owner(inside_state(heap, span)), heap->instance.owner);
    CHECK(cache_find(blocks[k]) != NULL);
    CHECK_ERR(alps_free(heap, blocks[k]), -EALREADY);
    CHECK_ERR(alps_free(heap, blocks[k + 1] + 8), -EINVAL);
    for (unsigned i = 0; i < 200 * SLAB_BLOCKS; i++)
        if (i != k)
            CHECK_ERR(alps_free(heap, blocks[i]), 0);
    CHECK_EQ(inside_live_blocks(heap), 0);
    inside_check(heap);
}

TEST(cache, a_freed_permanent_block_comes_back_with_the_new_generation)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    alps_heap_t *heap = inside_open(path, ALPS_OPEN_PERMANENT);
    alps_ptr_t kept = get(heap, 64), by_owner = get(heap, 64), by_other = get(heap, 64);
    CHECK_ERR(alps_heap_close(heap), 0);

    heap = inside_open(path, 0);
    alps_heap_t *other = inside_open(path, 0);
    alps_gen_t generation = alps_heap_generation(heap);
    slab_hint(&heap->instance, span_of(heap, kept), slab_class_of(64));
    alps_ptr_t mine = get(heap, 64); /* in the same slab: permanent blocks share it */
    CHECK_EQ(span_of(heap, mine), span_of(heap, kept));
    CHECK_ERR(alps_free(heap, by_owner), 0);
    CHECK_ERR(alps_free(heap, by_owner), -EALREADY);
    CHECK_ERR(alps_free(other, by_other), 0);
    unsigned again = 0;
    for (unsigned i = 0; i < SLAB_BLOCKS; i++) {
        alps_ptr_t p = get(heap, 64);
        again += p == by_owner || p == by_other;
    }
    CHECK_EQ(again, 2);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_bulk_free(other, generation), 0);
    CHECK_EQ(inside_live_blocks(other), 1);
    CHECK_EQ(alps_usable_size(other, kept), 64);
    inside_check(other);
}

TEST(cache, a_handle_at_the_address_of_a_closed_one_is_another)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    alps_ptr_t last = ALPS_NULL;
    for (int i = 0; i < 20; i++) {
        alps_heap_t *heap = inside_open(path, 0);
        last = get(heap, 64);
        if (i % 2 == 0)
            CHECK_ERR(alps_free(heap, last), 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_EQ(alps_fast_thread_0.handle, CACHE_NO_HANDLE);
    }
    alps_heap_t *heap = inside_open(path, 0);
    CHECK_EQ(inside_live_blocks(heap), 10);
    inside_check(heap);
}

TEST(cache, two_heaps_in_turn)
{
    alps_heap_t *a = new_heap(), *b = new_heap();
    alps_ptr_t pa[100], pb[100];
    for (int i = 0; i < 100; i++) {
        pa[i] = get(a, 64);
        pb[i] = get(b, 64);
    }
    for (int i = 0; i < 100; i++) {
        CHECK_ERR(alps_free(a, pa[i]), 0);
        CHECK_ERR(alps_free(b, pb[i]), 0);
    }
    CHECK_EQ(a->pool.caches->next, NULL); /* no new cache at each change */
    inside_check(a);
    inside_check(b);
}
