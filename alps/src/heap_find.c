/* Which heap of this process an address lies in.
 *
 * A list in DRAM of the places where heaps are mapped. Containers ask it at each allocation, so
 * looking takes no lock, nor does the list: a place once made stays in it for the next heap, and
 * what is in it changes under a version, odd meanwhile. Who looks leaves out what just changes: the
 * heap that it is looking for is open, and does not.
 *
 * Nothing of it is in the heap; a forked child finds its parent's handles, which refuse all calls.
 */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>

#include "error.h"

struct heap_place {
    struct heap_place *next;
    alps_heap_t *heap; /* NULL: unused */
    uint64_t version;
    uintptr_t base;
    uint64_t length;
};

static struct heap_place *places;

static void set_range(struct heap_place *place, const void *base, uint64_t length)
{
    /* Each comes after what is before it. */
    __atomic_store_n(&place->version, place->version + 1, __ATOMIC_RELAXED); /* DRAM: */
    __atomic_store_n(&place->base, (uintptr_t)base, __ATOMIC_RELEASE);       /* DRAM: */
    __atomic_store_n(&place->length, length, __ATOMIC_RELEASE);              /* DRAM: */
    __atomic_store_n(&place->version, place->version + 1, __ATOMIC_RELEASE); /* DRAM: */
}

static bool take(struct heap_place *place, alps_heap_t *heap)
{
    alps_heap_t *none = NULL;
    return __atomic_compare_exchange_n(&place->heap, &none, heap, false, /* DRAM: */
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

int heap_place_add(alps_heap_t *heap)
{
    struct heap_place *place = __atomic_load_n(&places, __ATOMIC_ACQUIRE); /* DRAM: */
    while (place != NULL && !take(place, heap))
        place = place->next;
    if (place == NULL) {
        place = calloc(1, sizeof *place);
        if (place == NULL)
            return error_set(ENOMEM, "no memory for the handle");
        place->heap = heap;
        place->next = __atomic_load_n(&places, __ATOMIC_RELAXED);               /* DRAM: */
        while (!__atomic_compare_exchange_n(&places, &place->next, place, true, /* DRAM: */
                                            __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            ;
    }
    heap->place = place;
    heap_place_moved(heap);
    return 0;
}

void heap_place_moved(alps_heap_t *heap)
{
    set_range(heap->place, heap->base.base, heap->base.length);
}

void heap_place_remove(alps_heap_t *heap)
{
    if (heap->place == NULL)
        return;
    set_range(heap->place, NULL, 0);
    __atomic_store_n(&heap->place->heap, NULL, __ATOMIC_RELEASE); /* DRAM: */
}

alps_heap_t *alps_heap_at(const void *address)
{
    struct heap_place *place = __atomic_load_n(&places, __ATOMIC_ACQUIRE); /* DRAM: */
    for (; place != NULL; place = place->next) {
        uint64_t version = __atomic_load_n(&place->version, __ATOMIC_ACQUIRE); /* DRAM: */
        uintptr_t base = __atomic_load_n(&place->base, __ATOMIC_ACQUIRE);      /* DRAM: */
        uint64_t length = __atomic_load_n(&place->length, __ATOMIC_ACQUIRE);   /* DRAM: */
        alps_heap_t *heap = __atomic_load_n(&place->heap, __ATOMIC_ACQUIRE);   /* DRAM: */
        if ((uintptr_t)address - base < length && version % 2 == 0 &&
            __atomic_load_n(&place->version, __ATOMIC_RELAXED) == version) /* DRAM: */
            return heap;
    }
    return NULL;
}
