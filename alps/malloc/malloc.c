/* libalps-malloc.so: malloc and its kin of an unmodified program, on an ALPS heap.
 *
 *     LD_PRELOAD=libalps-malloc.so PROGRAM         or: alps run -- PROGRAM
 *
 * Idea: a block's address is the heap's base plus its offset. malloc and free are the inline paths
 * of alps/fast.h and one addition or subtraction; everything else is in the cold functions here,
 * each between process_enter and process_leave. The heap opens at the first call (process.c), with
 * libc's allocations for that from an arena (arena.c).
 *
 * Not here: strdup, fopen and the like call malloc by its name, and so do C++'s new and delete,
 * which libstdc++ makes of malloc, free and the new_handler.
 *
 * What C leaves open is as glibc has it, since that is what programs were tried with: malloc(0) is
 * a block, realloc(p, 0) frees p, memalign takes the next power of two. A pointer that is no block,
 * or was freed before, ends the program with a message: there is no other way to tell. */
#include "process.h"

#include <alps/fast.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))
#define COLD __attribute__((noinline, cold))
#define MIN_ALIGNMENT ((size_t)16)
#define PAGE ((size_t)4096)

/* A private heap's blocks from this size on get their pages from the kernel again, zeroed, where
 * they are to be zero, and give them back as they are freed. */
#define LARGE ((size_t)8 << 20)

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

/* The pages that lie in a block as a whole become zero, and take no memory; false if not. */
static bool empty_pages(char *block, size_t size)
{
    return size >= LARGE && process_heap_is_private() &&
           madvise(block, size & ~(PAGE - 1), MADV_DONTNEED) == 0;
}

static COLD void *allocate(size_t size, size_t alignment)
{
    if (size > PTRDIFF_MAX || alignment > ALPS_ALIGNMENT_MAX)
        return no_memory();
    if (!process_enter()) {
        void *block = arena_alloc(alignment, size);
        return block != NULL ? block : no_memory();
    }
    const int error = errno;
    alps_ptr_t block = alignment <= MIN_ALIGNMENT
                           ? alps_malloc(process_heap, size, ALPS_ANY_NODE)
                           : alps_aligned_alloc(process_heap, alignment, size, ALPS_ANY_NODE);
    /* Beyond 2 MiB the base may be aligned less. */
    if (block != ALPS_NULL && ((uintptr_t)process_base + block) % alignment != 0) {
        alps_free(process_heap, block);
        block = ALPS_NULL;
    }
    process_leave();
    if (block == ALPS_NULL)
        return no_memory();
    errno = error;
    return process_base + block;
}

/* ---- blocks that are given ---- */

static alps_ptr_t offset_of(const void *block)
{
    return process_heap == NULL ? ALPS_NULL : alps_ref(process_heap, block);
}

static COLD __attribute__((noreturn)) void misused(const char *function, const void *block, int rc)
{
    if (rc == -EALREADY)
        process_die(PROCESS_ABORT, "%s(%p): this block has been freed already", function, block);
    if (rc == -EINVAL)
        process_die(PROCESS_ABORT,
                    "%s(%p): not the start of a block that this program's malloc has returned",
                    function, block);
    process_die(PROCESS_ABORT, "%s(%p): %s", function, block, alps_error_detail());
}

static COLD void release(void *block)
{
    const int error = errno;
    if (block == NULL)
        return;
    const int inherited = inherited_free(block);
    if (inherited < 0)
        misused("free", block, inherited);
    if (arena_has(block)) {
        arena_free(block);
    } else if (inherited == INHERITED_NOT && process_enter()) {
        const alps_ptr_t offset = offset_of(block);
        int rc = offset == ALPS_NULL ? -EINVAL : 0;
        if (rc == 0) {
            const size_t size = alps_usable_size(process_heap, offset);
            if (size >= LARGE)
                empty_pages((char *)block, size);
            rc = alps_free(process_heap, offset);
        }
        process_leave();
        if (rc != 0)
            misused("free", block, rc);
    }
    errno = error;
}

static size_t size_of(const char *function, const void *block)
{
    if (arena_has(block))
        return arena_size(block);
    size_t size = 0;
    const int inherited = inherited_size(block, &size);
    if (inherited < 0)
        misused(function, block, inherited);
    if (inherited == INHERITED_NOT && process_enter()) {
        const alps_ptr_t offset = offset_of(block);
        const int error = errno;
        if (offset != ALPS_NULL)
            size = alps_usable_size(process_heap, offset);
        errno = error;
        process_leave();
        if (size == 0)
            misused(function, block, -EINVAL);
    }
    return size;
}

/* ---- what programs call ---- */

EXPORT void *malloc(size_t size)
{
    struct alps_fast_bin *bin = alps_fast_find_bin(process_heap, size, ALPS_ANY_NODE);
    if (ALPS_FAST_LIKELY(bin != NULL))
        return process_base + alps_fast_take(bin);
    return allocate(size, MIN_ALIGNMENT);
}

EXPORT void free(void *block)
{
    if (!ALPS_FAST_LIKELY(alps_fast_free(process_heap, (uintptr_t)block - (uintptr_t)process_base)))
        release(block);
}

/* A forked child's libc clears those of the parent's other threads, before any handler runs: they
 * must not lie in shared memory. */
static COLD void *thread_specific_array(size_t bytes)
{
    const bool is_shared = process_heap != NULL && !process_heap_is_private();
    return is_shared ? arena_alloc(MIN_ALIGNMENT, bytes) : NULL;
}

EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return no_memory();
    void *block = count == 32 && size == 16 ? thread_specific_array(bytes) : NULL;
    if (block == NULL)
        block = malloc(bytes);
    if (block == NULL)
        return NULL;
    if (!empty_pages((char *)block, bytes))
        return memset(block, 0, bytes);
    memset((char *)block + (bytes & ~(PAGE - 1)), 0, bytes & (PAGE - 1));
    return block;
}

EXPORT void *realloc(void *block, size_t size)
{
    if (block == NULL)
        return malloc(size);
    if (size == 0) {
        free(block);
        return NULL;
    }
    if (size > PTRDIFF_MAX)
        return no_memory();
    const alps_ptr_t offset = offset_of(block);
    if (offset == ALPS_NULL || !process_enter()) {
        const size_t before = size_of("realloc", block);
        void *moved = malloc(size);
        if (moved == NULL)
            return NULL;
        memcpy(moved, block, before < size ? before : size);
        free(block);
        return moved;
    }
    const int error = errno;
    const alps_ptr_t moved = alps_realloc(process_heap, offset, size);
    const int result = errno;
    process_leave();
    if (moved == ALPS_NULL && result != ENOMEM)
        misused("realloc", block, -result);
    if (moved == ALPS_NULL)
        return no_memory();
    errno = error;
    return process_base + moved;
}

EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return no_memory();
    return realloc(block, bytes);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    size_t power = MIN_ALIGNMENT;
    while (power < alignment && power <= ALPS_ALIGNMENT_MAX)
        power *= 2;
    return power == MIN_ALIGNMENT ? malloc(size) : allocate(size, power);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

EXPORT int posix_memalign(void **result, size_t alignment, size_t size)
{
    const int error = errno;
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0)
        return EINVAL;
    void *block = memalign(alignment, size);
    errno = error;
    if (block == NULL)
        return ENOMEM;
    *result = block;
    return 0;
}

EXPORT void *valloc(size_t size)
{
    return memalign(PAGE, size);
}

EXPORT void *pvalloc(size_t size)
{
    if (size > PTRDIFF_MAX)
        return no_memory();
    return memalign(PAGE, (size + PAGE - 1) & ~(PAGE - 1));
}

EXPORT size_t malloc_usable_size(void *block)
{
    return block == NULL ? 0 : size_of("malloc_usable_size", block);
}

EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    int rc = -EAGAIN;
    if (process_enter()) {
        rc = alps_heap_trim(process_heap);
        process_leave();
    }
    return rc == 0;
}

/* There is nothing to choose. */
EXPORT int mallopt(int parameter, int value)
{
    (void)parameter, (void)value;
    return 1;
}

static int add_block(const struct alps_block *block, void *context)
{
    struct mallinfo2 *info = (struct mallinfo2 *)context;
    if (process_heap_is_private() || block->generation == alps_heap_generation(process_heap))
        info->uordblks += block->size;
    return 0;
}

/* Bytes in use, and no more of it. */
EXPORT struct mallinfo2 mallinfo2(void)
{
    struct mallinfo2 info = {0};
    if (process_enter()) {
        alps_heap_walk(process_heap, add_block, &info);
        process_leave();
    }
    info.arena = info.uordblks;
    return info;
}

EXPORT struct mallinfo mallinfo(void)
{
    const size_t used = mallinfo2().uordblks;
    const int shown = used > INT32_MAX ? INT32_MAX : (int)used;
    return (struct mallinfo){.arena = shown, .uordblks = shown};
}
