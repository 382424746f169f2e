/* Creating, opening, closing, formatting and removing heaps.
 *
 * Crash: an instance killed while it opens or closes has a slot that says so (instance.c); all it
 * owned by then is found through the zones it noted. */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

int heap_may_read(const alps_heap_t *heap)
{
    if (heap == NULL)
        return error_set(EINVAL, "heap is NULL");
    if (heap->pool.forked)
        return error_set(ECHILD, "%s: this handle is the parent process's; open the heap again",
                         heap_name(heap));
    return 0;
}

int heap_may_write(const alps_heap_t *heap)
{
    int rc = heap_may_read(heap);
    if (rc == 0 && heap->readonly)
        rc = error_set(EROFS, "%s: opened with ALPS_OPEN_READONLY", heap_name(heap));
    if (rc == 0 && UNLIKELY(instance_is_lost(&heap->instance)))
        rc = error_set(ESTALE,
                       "%s: somebody has declared this opening of the heap, generation %llu, dead; "
                       "close it, and trust nothing that lies in its blocks",
                       heap_name(heap), (unsigned long long)heap->instance.generation);
    return rc;
}

static int check_paths(const char *const *paths, unsigned count)
{
    if (paths == NULL || count < 1 || count > ALPS_FILE_MAX)
        return error_set(EINVAL, "a heap has from 1 to %d files, not %u", ALPS_FILE_MAX, count);
    for (unsigned i = 0; i < count; i++)
        if (paths[i] == NULL || paths[i][0] == '\0')
            return error_set(EINVAL, "the path of file %u is empty", i + 1);
    return 0;
}

int alps_heap_create(const char *path, const struct alps_create_options *options)
{
    return alps_heap_create_files(&path, 1, options);
}

int alps_heap_create_files(const char *const *paths, unsigned count,
                           const struct alps_create_options *options)
{
    NOT_CANCELLED;
    int rc = check_paths(paths, count);
    return rc != 0 ? rc : layout_create(paths, count, options);
}

int alps_heap_open(const char *path, const struct alps_open_options *options, alps_heap_t **heap)
{
    return alps_heap_open_files(&path, 1, options, heap);
}

static int check_options(const struct alps_open_options *given, struct alps_open_options *o)
{
    *o = (struct alps_open_options){0};
    if (given == NULL)
        return 0;
    if (given->struct_size < offsetof(struct alps_open_options, flags) || given->struct_size > 4096)
        return error_set(EINVAL, "struct_size of the options is %zu", given->struct_size);
    memcpy(o, given, min_u64(given->struct_size, sizeof *o));
    if ((o->flags & ~(ALPS_OPEN_PERMANENT | ALPS_OPEN_READONLY)) != 0)
        return error_set(EINVAL, "unknown flags %x", o->flags);
    if ((uintptr_t)o->map_hint % REGION_ALIGNMENT != 0)
        return error_set(EINVAL, "map_hint %p is not a multiple of 2 MiB", o->map_hint);
    return 0;
}

int heap_join(alps_heap_t *heap, bool permanent)
{
    struct instance *instance = &heap->instance;
    int rc = heap_recover(heap, true, NULL);
    if (rc == 0)
        rc = instance_join(instance, permanent);
    if (rc != 0)
        return rc;
    instance->touched = heap->touched;
    if (!permanent) {
        rc = instance_take_generation(instance);
        if (rc == -ENOSPC) {
            heap_collect_generations(heap);
            rc = instance_take_generation(instance);
        }
    }
    if (rc != 0) {
        heap_settle(instance, NULL);
        instance_leave(instance, true);
    }
    return rc;
}

/* Where to look for free spans first: instances start apart, so that they rarely meet, in zones of
 * their own. If there are more of them than zones, they are spread over a zone's chunks, evenly
 * whatever their number: by multiples of the golden ratio. */
static uint64_t first_cursor(const struct layout *l, unsigned slot)
{
    uint64_t zones = 0;
    for (uint64_t zone = 0; zone < l->file_zones && fam_load(&layout_zone(l, zone)->spans) != 0;
         zone++)
        zones++;
    if (zones == 0)
        return 0;
    uint64_t chunks = l->zone_spans >> l->chunk_shift;
    uint64_t chunk = (slot / zones * UINT64_C(0x9e3779b9) & UINT32_MAX) * chunks >> 32;
    return ((slot % zones) << l->zone_shift) + (chunk << l->chunk_shift);
}

void heap_mapped(alps_heap_t *heap)
{
    const struct layout *l = heap_layout(heap);
    pthread_mutex_init(&heap->recovery, NULL);
    heap->base = (struct alps_heap_base){.base = l->region.base, .length = l->region.length};
    heap->instance.slot = l->instance_count;
}

int heap_start(alps_heap_t *heap, bool permanent)
{
    struct layout *l = heap_layout(heap);
    int rc = heap_join(heap, permanent);
    if (rc != 0)
        return rc;
    heap->instance.cursor.value = first_cursor(l, heap->instance.slot);
    rc = extent_open(&heap->instance);
    if (rc == 0)
        rc = cache_pool_open(&heap->pool, (const char *)heap + l->shared, &heap->instance);
    if (rc != 0) {
        extent_close(&heap->instance);
        instance_leave(&heap->instance, true);
    }
    return rc;
}

int alps_heap_open_files(const char *const *paths, unsigned count,
                         const struct alps_open_options *options, alps_heap_t **result)
{
    NOT_CANCELLED;
    struct alps_open_options o;
    if (result == NULL)
        return error_set(EINVAL, "the place for the handle is NULL");
    *result = NULL;
    int rc = check_paths(paths, count);
    if (rc == 0)
        rc = check_options(options, &o);
    if (rc != 0)
        return rc;
    alps_heap_t *heap = calloc(1, sizeof *heap);
    if (heap == NULL)
        return error_set(ENOMEM, "no memory for the handle");
    struct layout *l = heap_layout(heap);
    heap->readonly = (o.flags & ALPS_OPEN_READONLY) != 0;
    rc = layout_open(l, paths, count, o.map_hint, heap->readonly ? LAYOUT_READ : LAYOUT_WRITE);
    if (rc != 0) {
        free(heap);
        return rc;
    }
    heap_mapped(heap);
    rc = heap_place_add(heap);
    if (rc == 0 && !heap->readonly) {
        rc = heap_make_whole(heap);
        if (rc == 0)
            rc = heap_start(heap, (o.flags & ALPS_OPEN_PERMANENT) != 0);
    }
    if (rc != 0) {
        heap_place_remove(heap);
        pthread_mutex_destroy(&heap->recovery);
        layout_close(l);
        free(heap);
        return rc;
    }
    *result = heap;
    return 0;
}

/* What the instance holds. True if spans carry its generation afterwards. */
static bool give_back(alps_heap_t *heap)
{
    struct instance *instance = &heap->instance;
    const struct layout *l = &instance->layout;
    bool carried = heap_settle(instance, NULL);
    for (uint64_t zone = 0; zone < l->zone_count; zone++)
        if ((heap->touched[zone / 64] >> (zone % 64) & 1) != 0 && extent_zone_unused(l, zone))
            extent_trim(instance, zone);
    return carried;
}

int alps_heap_close(alps_heap_t *heap)
{
    NOT_CANCELLED;
    if (heap == NULL)
        return 0;
    int rc = heap_may_read(heap);
    if (rc != 0)
        return rc;
    if (!heap->readonly) {
        struct instance *instance = &heap->instance;
        cache_pool_close(&heap->pool);
        bool lost = instance_is_lost(instance);
        if (!lost)
            extent_shrink(instance);
        extent_close(instance);
        bool carried = !lost && give_back(heap);
        instance_leave(instance, !carried);
    }
    heap_place_remove(heap);
    pthread_mutex_destroy(&heap->recovery);
    layout_close(heap_layout(heap));
    free(heap);
    return 0;
}

/* The lock that keeps others out is this kernel's. On another one nobody has the heap open for
 * writing, as far as it says; a cut file says nothing. */
static int check_elsewhere(const struct layout *l)
{
    struct instance nobody = {.layout = *l, .slot = l->instance_count};
    uint64_t length, held;
    int rc = region_file_size(&l->region.files[0], &length, &held);
    if (rc != 0 || !l->shared || length < l->meta_offset)
        return rc;
    unsigned slot = instance_find_alive(&nobody);
    if (slot == l->instance_count)
        return 0;
    return error_set(EBUSY,
                     "%s: process %llu of another host has it open; if that is dead, declare it so "
                     "first",
                     l->region.files[0].path,
                     (unsigned long long)fam_load(&layout_slot(l, slot)->pid));
}

/* Opens a heap by the path of its first file for us alone, and does something with it. */
static int exclusively(const char *path, int (*action)(struct layout *l))
{
    NOT_CANCELLED;
    char **paths;
    unsigned count;
    int rc = check_paths(&path, 1);
    if (rc == 0)
        rc = layout_paths(path, &paths, &count);
    if (rc != 0)
        return rc;
    struct layout l;
    rc = layout_open(&l, (const char *const *)paths, count, NULL, LAYOUT_EXCLUSIVE);
    if (rc == 0) {
        rc = check_elsewhere(&l);
        if (rc == 0)
            rc = action(&l);
        layout_close(&l);
    }
    free(paths);
    return rc;
}

int alps_heap_format(const char *path)
{
    return exclusively(path, layout_format);
}

int alps_heap_destroy(const char *path)
{
    return exclusively(path, layout_remove);
}

int alps_heap_grow(alps_heap_t *heap, uint64_t size)
{
    int rc = heap_may_write(heap);
    if (rc != 0)
        return rc;
    struct layout *l = heap_layout(heap);
    for (;;) {
        uint64_t wanted = layout_spans_of_size(l, size);
        if (layout_present(l, wanted) == wanted)
            return 0;
        if (wanted > l->file_spans * l->region.file_count)
            return error_set(ENOMEM, "%s: %llu bytes are more than the heap's capacity",
                             heap_name(heap), (unsigned long long)size);
        rc = extent_grow(&heap->instance, 1);
        if (rc != 0)
            return rc;
    }
}

int alps_heap_trim(alps_heap_t *heap)
{
    int rc = heap_may_write(heap);
    if (rc != 0)
        return rc;
    struct cache *cache = cache_get(&heap->pool);
    if (cache != NULL)
        cache_shrink(cache);
    extent_shrink(&heap->instance);
    extent_shrink_all(&heap->instance);
    const struct layout *l = heap_layout(heap);
    for (uint64_t zone = 0; zone < l->zone_count; zone++)
        extent_trim(&heap->instance, zone);
    return 0;
}

alps_gen_t alps_heap_generation(const alps_heap_t *heap)
{
    return heap == NULL ? ALPS_PERMANENT : heap->instance.generation;
}
