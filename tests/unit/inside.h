/* What the tests of the layers share: heaps seen from inside. */
#ifndef TESTS_UNIT_INSIDE_H
#define TESTS_UNIT_INSIDE_H

#include "heap.h"
#include "test.h"

/* Creates a heap of these sizes in a new file and returns its path. */
static inline const char *inside_create(uint64_t size, uint64_t capacity, uint64_t zone_size)
{
    const char *path = test_heap_path();
    struct alps_create_options options = {
        .struct_size = sizeof options, .size = size, .capacity = capacity, .zone_size = zone_size};
    CHECK_ERR(alps_heap_create(path, &options), 0);
    return path;
}

/* Creates a heap that several kernels may have open. */
static inline const char *inside_create_shared(void)
{
    const char *path = test_heap_path();
    struct alps_create_options options = {
        .struct_size = sizeof options, .size = 16 * MIB, .flags = ALPS_CREATE_SHARED};
    CHECK_ERR(alps_heap_create(path, &options), 0);
    return path;
}

static inline alps_heap_t *inside_open(const char *path, unsigned flags)
{
    struct alps_open_options options = {.struct_size = sizeof options, .flags = flags};
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open(path, &options, &heap), 0);
    return heap;
}

static inline void inside_check(alps_heap_t *heap)
{
    struct alps_check check = {.struct_size = sizeof check};
    alps_heap_check(heap, &check);
    CHECK_STR(check.first, "");
}

static inline uint64_t inside_live_blocks(alps_heap_t *heap)
{
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    return stats.live_blocks;
}

static inline uint64_t inside_state(alps_heap_t *heap, uint64_t span)
{
    return fam_load(layout_state(heap_layout(heap), span));
}

/* Claims spans with memory behind all of them. */
static inline int inside_claim(struct instance *instance, uint64_t count, uint64_t *first)
{
    return extent_claim(instance, count, count << SPAN_SHIFT, 1, ALPS_ANY_NODE, first);
}

/* Has the instance search for spans. */
static inline void inside_forget_hints(alps_heap_t *heap)
{
    for (unsigned i = 0; i < INSTANCE_SHARDS; i++)
        heap->instance.shards[i].hints.count = 0;
}

#endif
