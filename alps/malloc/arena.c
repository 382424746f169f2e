/* A little memory for who must not call the heap library: libc and the library itself, while the
 * heap opens, and whoever allocates before libc is ready.
 *
 * Idea: static memory, cut from the front; what is freed goes on a list, where the first piece that
 * is large enough is taken as a whole. Few blocks ever live here, and most of them for ever. */
#include "process.h"

#include <pthread.h>
#include <string.h>

#define ARENA_BYTES ((size_t)4 << 20)

/* In front of each block. */
struct piece {
    size_t size;
    struct piece *next; /* in the list of free ones */
};
_Static_assert(sizeof(struct piece) == 16, "blocks are aligned to 16");

static _Alignas(64) char memory[ARENA_BYTES];
static char *end = memory;
static struct piece *unused;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct piece *piece_of(const void *block)
{
    return (struct piece *)((uintptr_t)block - sizeof(struct piece));
}

static char *align(const char *p, size_t alignment)
{
    return (char *)(((uintptr_t)p + alignment - 1) & ~(uintptr_t)(alignment - 1));
}

static struct piece *take_unused(size_t alignment, size_t size)
{
    for (struct piece **link = &unused; *link != NULL; link = &(*link)->next) {
        struct piece *piece = *link;
        if (piece->size < size || (uintptr_t)(piece + 1) % alignment != 0)
            continue;
        *link = piece->next;
        return piece;
    }
    return NULL;
}

void *arena_alloc(size_t alignment, size_t size)
{
    if (size > ARENA_BYTES || alignment > ARENA_BYTES)
        return NULL;
    size = size == 0 ? 16 : (size + 15) & ~(size_t)15;
    pthread_mutex_lock(&lock);
    struct piece *piece = take_unused(alignment, size);
    if (piece == NULL) {
        char *block = align(end + sizeof *piece, alignment);
        if ((size_t)(block - memory) + size <= ARENA_BYTES) {
            piece = piece_of(block);
            piece->size = size;
            end = block + size;
        }
    }
    pthread_mutex_unlock(&lock);
    return piece == NULL ? NULL : memset(piece + 1, 0, piece->size);
}

bool arena_has(const void *block)
{
    return (uintptr_t)block - (uintptr_t)memory < ARENA_BYTES;
}

size_t arena_size(const void *block)
{
    return piece_of(block)->size;
}

void arena_free(void *block)
{
    struct piece *piece = piece_of(block);
    pthread_mutex_lock(&lock);
    piece->next = unused;
    unused = piece;
    pthread_mutex_unlock(&lock);
}

void arena_lock(void)
{
    pthread_mutex_lock(&lock);
}

void arena_unlock(void)
{
    pthread_mutex_unlock(&lock);
}
