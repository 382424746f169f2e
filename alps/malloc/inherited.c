/* Blocks that a forked child has from its parent, where the heap is in a file.
 *
 * Idea: a file's memory is shared: after a fork each process would see what the other writes into
 * its blocks. So before it, in the handler that comes last of all, the parent's blocks are copied
 * into memory of the process, which the kernel copies on write; the child moves that to where the
 * heap was, and its pointers are good. Its own new blocks come from another opening of the heap.
 * The parent drops the copy.
 *
 * Whoever forks has taken the locks of what its other threads change and its child uses, or the
 * child could not use it anyway; so what counts stands still while it is copied, and blocks that
 * come or go meanwhile are nobody's in the child.
 *
 * Before the child's handlers run, its libc resets the locks of streams that the parent's threads
 * may have held; where streams are blocks of the heap, these would be the parent's locks. So libc
 * sees no streams then, and that is done here, in the copy. It also clears what the threads had in
 * arrays of thread-specific data, made by calloc(32, 16): see there.
 *
 * A table of the copied blocks, in ascending order, tells the child their sizes and which of them
 * it has freed. Freed ones are not used again, but large ones give their pages back. A child's
 * child has the copies of both. */
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((uintptr_t)4096)
#define FREED ((uint64_t)1 << 63)

struct block {
    uint64_t offset;
    uint64_t size; /* FREED: it was */
};

/* A heap that some ancestor had, as it was when that forked. */
struct range {
    struct range *next;
    char *base;
    uint64_t length;
    uint64_t count, room;
    struct block blocks[];
};

static struct range *ranges;

/* From before a fork to after it. */
static struct range *staged;
static char *copy;
static uint64_t copy_length;

/* ---- streams: names that glibc exports, and declares to nobody ---- */

extern FILE *_IO_list_all; /* linked by _chain */
void _IO_list_lock(void);
void _IO_list_unlock(void);
void _IO_list_resetlock(void);

#define STREAM_HAS_NO_LOCK 0x8000 /* in _flags */
#define STREAM_LOCK_BYTES 16      /* two ints and an owner */

static FILE *streams;

static void hide_streams(void)
{
    _IO_list_lock();
    streams = _IO_list_all;
    _IO_list_all = NULL;
}

static void show_streams_in_parent(void)
{
    _IO_list_all = streams;
    _IO_list_unlock();
}

static void show_streams_in_child(void)
{
    _IO_list_all = streams;
    _IO_list_resetlock();
    for (FILE *stream = streams; stream != NULL; stream = stream->_chain)
        if ((stream->_flags & STREAM_HAS_NO_LOCK) == 0)
            memset(stream->_lock, 0, STREAM_LOCK_BYTES);
}

/* ---- around a fork ---- */

static void *map(size_t length)
{
    void *p = mmap(NULL, length, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static size_t bytes_of(uint64_t room)
{
    return sizeof(struct range) + room * sizeof(struct block);
}

static bool make_room(void)
{
    if (staged->count < staged->room)
        return true;
    const uint64_t room = staged->room * 2;
    void *p = mremap(staged, bytes_of(staged->room), bytes_of(room), MREMAP_MAYMOVE);
    if (p == MAP_FAILED)
        return false;
    staged = (struct range *)p;
    staged->room = room;
    return true;
}

static int copy_block(const struct alps_block *block, void *generation)
{
    if (block->generation != *(const alps_gen_t *)generation)
        return 0;
    if (!make_room())
        return -ENOMEM;
    staged->blocks[staged->count++] = (struct block){block->ptr, block->size};
    memcpy(copy + block->ptr, staged->base + block->ptr, block->size);
    return 0;
}

static void drop(void)
{
    if (copy != NULL)
        munmap(copy, copy_length);
    if (staged != NULL)
        munmap(staged, bytes_of(staged->room));
    copy = NULL;
    staged = NULL;
}

void inherited_stage(alps_heap_t *heap, char *base, uint64_t length)
{
    const uint64_t room = 4096;
    alps_gen_t generation = alps_heap_generation(heap);
    copy = (char *)map(length);
    copy_length = length;
    staged = (struct range *)map(bytes_of(room));
    if (staged != NULL)
        *staged = (struct range){.base = base, .length = length, .room = room};
    if (copy == NULL || staged == NULL || alps_heap_walk(heap, copy_block, &generation) != 0)
        drop();
    hide_streams();
}

void inherited_drop(void)
{
    drop();
    show_streams_in_parent();
}

bool inherited_take(void)
{
    if (copy == NULL || mremap(copy, copy_length, copy_length, MREMAP_MAYMOVE | MREMAP_FIXED,
                               staged->base) != staged->base)
        return false;
    show_streams_in_child();
    staged->next = ranges;
    ranges = staged;
    copy = NULL;
    staged = NULL;
    return true;
}

/* ---- in the child ---- */

static int find(const void *address, struct range **range, struct block **found)
{
    for (struct range *r = ranges; r != NULL; r = r->next) {
        const uint64_t offset = (uintptr_t)address - (uintptr_t)r->base;
        if (offset >= r->length)
            continue;
        uint64_t low = 0, high = r->count;
        while (low < high) {
            const uint64_t middle = low + (high - low) / 2;
            if (r->blocks[middle].offset < offset)
                low = middle + 1;
            else
                high = middle;
        }
        if (low == r->count || r->blocks[low].offset != offset)
            return -EINVAL;
        *range = r;
        *found = &r->blocks[low];
        return 0;
    }
    return INHERITED_NOT;
}

int inherited_free(void *address)
{
    struct range *range;
    struct block *block;
    int rc = find(address, &range, &block);
    if (rc != 0)
        return rc;
    const uint64_t size = __atomic_fetch_or(&block->size, FREED, __ATOMIC_ACQ_REL);
    if ((size & FREED) != 0)
        return -EALREADY;
    const uint64_t first = (block->offset + PAGE - 1) & ~(PAGE - 1);
    const uint64_t end = (block->offset + size) & ~(PAGE - 1);
    if (first < end)
        madvise(range->base + first, end - first, MADV_DONTNEED);
    return 0;
}

int inherited_size(const void *address, size_t *size)
{
    struct range *range;
    struct block *block;
    int rc = find(address, &range, &block);
    if (rc == 0) {
        *size = __atomic_load_n(&block->size, __ATOMIC_ACQUIRE);
        if ((*size & FREED) != 0)
            rc = -EALREADY;
    }
    return rc;
}
