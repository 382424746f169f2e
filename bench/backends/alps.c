/* ALPS, on a heap of its own in one file.
 *
 * Compiled three times: as C and C++ programs use it, with what is simple inline; by calls only, as
 * programs in other languages do (alps_calls.c); and by the calls that leave no block without a
 * pointer to it, wherever the program is killed (alps_to.c). For these each thread has a pointer in
 * the heap, into which a block comes, and from which it is freed. */
#include <alps/alps.h>
#include <errno.h>
#include <stdio.h>

#include "backend.h"

typedef alps_ptr_t block_t;

static alps_heap_t *heap;

#ifdef BENCH_TO
#include "alps_to.inc"
#else
#define BLOCKS_OF_OURS 0
static inline block_t backend_malloc(size_t size)
{
    return alps_malloc(heap, size, ALPS_ANY_NODE);
}

static inline bool backend_free(block_t block)
{
    return alps_free(heap, block) == 0;
}
#endif

static inline void *backend_address(block_t block)
{
    return alps_deref(heap, block);
}

#include "workloads/instantiate.inc"

static const char *failure(const char *what, int error)
{
    static char text[400];

    snprintf(text, sizeof text, "%s: %s (%s)", what, alps_strerror(error), alps_error_detail());
    return text;
}

static const char *alps_backend_create(const struct backend_config *config)
{
    const struct alps_create_options options = {
        .struct_size = sizeof options,
        .size = config->heap_bytes,
    };
    int error = alps_heap_create(config->path, &options);

#ifdef BENCH_TO
    if (error == 0)
        error = make_pointers(config->path);
#endif
    return error == 0 ? NULL : failure("cannot create the heap", error);
}

static const char *alps_backend_open(const struct backend_config *config)
{
    int error = alps_heap_open(config->path, NULL, &heap);

#ifdef BENCH_TO
    if (error == 0)
        find_pointers();
#endif
    return error == 0 ? NULL : failure("cannot open the heap", error);
}

static const char *alps_backend_check(void)
{
    static char text[400];
    struct alps_check check = {.struct_size = sizeof check};
    struct alps_stats stats = {.struct_size = sizeof stats};

    int error = alps_heap_check(heap, &check);
    if (error == -EUCLEAN) {
        snprintf(text, sizeof text, "the heap is damaged: %s", check.first);
        return text;
    }
    if (error != 0)
        return failure("cannot check the heap", error);
    error = alps_heap_stats(heap, &stats);
    if (error != 0)
        return failure("cannot count the blocks", error);
    if (stats.live_blocks == BLOCKS_OF_OURS)
        return NULL;
    snprintf(text, sizeof text, "%llu blocks are left though all were freed",
             (unsigned long long)stats.live_blocks - BLOCKS_OF_OURS);
    return text;
}

static const char *alps_backend_close(void)
{
    int error = alps_heap_close(heap);

    heap = NULL;
    return error == 0 ? NULL : failure("cannot close the heap", error);
}

#if defined BENCH_CALLS
const struct backend backend_alps_calls = {
    .name = "alps-calls",
#elif defined BENCH_TO
const struct backend backend_alps_to = {
    .name = "alps-to",
#else
const struct backend backend_alps = {
    .name = "alps",
#endif
    .is_shared = true,
    .version = alps_version,
    .create = alps_backend_create,
    .open = alps_backend_open,
    .check = alps_backend_check,
    .close = alps_backend_close,
    .programs = programs,
};
