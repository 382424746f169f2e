/* Moving this process's mapping, and blocks between NUMA nodes. */
#include "heap.h"

#include <errno.h>
#include <string.h>

#include "error.h"

int alps_heap_remap(alps_heap_t *heap, void *hint)
{
    int rc = heap_may_read(heap);
    if (rc == 0 && (uintptr_t)hint % REGION_ALIGNMENT != 0)
        rc = error_set(EINVAL, "hint %p is not a multiple of 2 MiB", hint);
    if (rc != 0)
        return rc;
    struct region *region = &heap_layout(heap)->region;
    rc = region_remap(region, hint);
    if (rc != 0)
        return rc == -EFBIG ? -ENOMEM : rc;
    heap->base.base = region->base;
    heap_place_moved(heap);
    if (!heap->readonly)
        cache_pool_moved(&heap->pool);
    return 0;
}

int alps_block_node(alps_heap_t *heap, alps_ptr_t block)
{
    struct slab_place place;
    int rc = heap_may_read(heap);
    if (rc == 0)
        rc = slab_locate(heap_layout(heap), block, &place);
    if (rc == -EALREADY)
        rc = -EINVAL;
    return rc != 0 ? rc : region_node_of(&heap_layout(heap)->region, block);
}

int alps_migrate(alps_heap_t *heap, alps_ptr_t *block, int node)
{
    int rc = heap_may_write(heap);
    if (rc == 0 && block == NULL)
        rc = error_set(EINVAL, "block is NULL");
    if (rc == 0 && (node < 0 || node > ALPS_NODE_MAX))
        rc = error_set(EINVAL, "node %d is no node to migrate to", node);
    if (rc != 0)
        return rc;
    int present = alps_block_node(heap, *block);
    if (present < 0 || present == node)
        return present < 0 ? present : 0;
    unsigned i = 0;
    while (i < heap->pool.node_count && heap->pool.nodes[i] != node)
        i++;
    if (i == heap->pool.node_count)
        return error_set(ENODEV, "%s: no zone of this heap is placed on node %d", heap_name(heap),
                         node);
    size_t size = alps_usable_size(heap, *block);
    if (size == 0)
        return -errno;
    alps_ptr_t moved;
    rc = heap_alloc(heap, size, 16, node, NULL, &moved);
    if (rc != 0)
        return rc;
    if (heap_zone_node(heap, moved) != node) {
        heap_free(heap, moved);
        return error_set(ENOMEM, "%s: no room for %zu bytes on node %d", heap_name(heap), size,
                         node);
    }
    memcpy(alps_deref(heap, moved), alps_deref(heap, *block), size);
    rc = heap_free(heap, *block);
    if (rc != 0) {
        heap_free(heap, moved); /* somebody freed the block meanwhile */
        return rc;
    }
    *block = moved;
    return 0;
}
