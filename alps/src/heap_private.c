/* Heaps in memory of one process alone.
 *
 * Idea: the same heap, without a file: nobody else can open it, so no lock is needed, and the
 * memory comes as it is touched. A fork gives the child a copy of everything, as it was at one
 * moment. In that copy all that the parent's threads were doing has stopped at some instruction,
 * for ever: it is a heap whose only instance was killed. So the child recovers it, as any heap is
 * recovered, and goes on in it as another instance with a generation of its own.
 *
 * Of the copied DRAM nothing is trusted but what fork's handlers had locked (cache.c): the list of
 * mappings, to give them back. */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>

#include "error.h"

int heap_private_open(const struct alps_create_options *options, void *hint, alps_heap_t **result)
{
    NOT_CANCELLED;
    alps_heap_t *heap = calloc(1, sizeof *heap);
    if (heap == NULL)
        return error_set(ENOMEM, "no memory for the handle");
    struct layout *l = heap_layout(heap);
    int rc = layout_create_private(l, options, hint);
    if (rc != 0) {
        free(heap);
        return rc;
    }
    heap_mapped(heap);
    rc = heap_start(heap, false);
    if (rc != 0) {
        pthread_mutex_destroy(&heap->recovery);
        layout_close(l);
        free(heap);
        return rc;
    }
    *result = heap;
    return 0;
}

int heap_private_inherit(alps_heap_t *heap)
{
    NOT_CANCELLED;
    struct instance *instance = &heap->instance;
    if (!heap->pool.forked)
        return 0;
    extent_close(instance);
    const struct instance parent = *instance;
    *instance = (struct instance){
        .layout = parent.layout, .slot = parent.layout.instance_count, .cursor = parent.cursor};
    for (size_t i = 0; i < sizeof heap->touched / sizeof heap->touched[0]; i++)
        heap->touched[i] = 0;
    pthread_mutex_init(&heap->recovery, NULL);
    int rc = heap_join(heap, false);
    if (rc == 0)
        rc = extent_open(instance);
    if (rc != 0)
        return rc;
    cache_pool_reopen(&heap->pool);
    rc = alps_commit(heap, parent.generation);
    return rc == -ENOENT ? 0 : rc; /* it had no blocks */
}
