/* What tests of the allocator share: contents that can be verified, lists of blocks, and a map that
 * tells overlapping blocks. None of it uses more of the library than alps.h. */
#ifndef TESTS_BLOCKS_H
#define TESTS_BLOCKS_H

#include <alps/alps.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

/* Builds with sanitizers, and those and paranoid builds, which are many times slower. */
bool blocks_sanitized(void);
bool blocks_slow(void);

/* Number of rounds of a test that does count of them at its default size: multiplied by the
 * environment's ALPS_TEST_SCALE (a decimal number), and by 1/8 in slow builds. At least 1. */
unsigned blocks_scaled(unsigned count);

bool rng_chance(struct test_rng *rng, unsigned one_in);

/* A size as programs ask for: mostly small, sometimes large, never more than largest, and now and
 * then next to a power of two. */
size_t rng_size(struct test_rng *rng, size_t largest);

/* ---- contents ---- */

void blocks_fill(void *at, size_t size, uint64_t seed);

/* Index of the first byte that blocks_fill with this seed would not have written; size if there is
 * none. */
size_t blocks_differ(const void *at, size_t size, uint64_t seed);

/* Index of the first byte that is not 0; size if there is none. */
size_t blocks_not_zero(const void *at, size_t size);

/* ---- memory that forked processes share: zero at first ---- */

void *blocks_shared(size_t length);
void blocks_unshare(void *memory, size_t length);

/* ---- which bytes are in use ---- */

/* One bit per 16 bytes of the heap, in memory that forked processes share. */
struct shadow {
    uint64_t *words;
    uint64_t bytes; /* of the heap */
};
struct shadow shadow_make(uint64_t heap_bytes);
void shadow_free(struct shadow *shadow);

/* Marks a block as in use. Returns false, with nothing undone, if part of it is in use already. */
bool shadow_claim(struct shadow *shadow, alps_ptr_t ptr, size_t size);

/* The reverse. Returns false if part of it was not in use. */
bool shadow_drop(struct shadow *shadow, alps_ptr_t ptr, size_t size);

/* ---- blocks that a test holds ---- */

struct block {
    alps_ptr_t ptr;
    size_t size;           /* asked for, and filled */
    size_t usable;         /* as alps_usable_size said */
    uint64_t seed;         /* of the contents */
    alps_gen_t generation; /* expected */
};

struct blocks {
    struct block *items;
    size_t count, capacity;
};

void blocks_add(struct blocks *blocks, struct block block);
struct block blocks_take(struct blocks *blocks, size_t index); /* the last one moves to its place */
void blocks_append(struct blocks *blocks, const struct blocks *others);
void blocks_sort(struct blocks *blocks); /* by ptr */
void blocks_clear(struct blocks *blocks);

/* Fills a block just allocated, marks it in shadow (may be NULL), and returns it. Fails the test if
 * its usable size is wrong or it overlaps. */
struct block block_begin(alps_heap_t *heap, struct shadow *shadow, alps_ptr_t ptr, size_t size,
                         uint64_t seed, alps_gen_t generation);

/* Verifies the contents; unmarks the block. To be called just before it is freed. */
void block_end(alps_heap_t *heap, struct shadow *shadow, const struct block *block);

/* Verifies the contents. */
void block_verify(alps_heap_t *heap, const struct block *block);

/* Everything that alps_heap_walk visits: ptr, usable (size is the same) and generation. Fails the
 * test if the blocks do not ascend or overlap. */
struct blocks blocks_walk(alps_heap_t *heap);

/* Fails the test unless the heap has exactly these blocks, with these usable sizes and generations,
 * its statistics say the same and alps_heap_check finds nothing. Sorts them. */
void blocks_expect(alps_heap_t *heap, struct blocks *expected);

/* Fails the test unless alps_heap_check finds nothing. */
void blocks_check_heap(alps_heap_t *heap);

/* ---- heaps ---- */

struct alps_stats blocks_stats(alps_heap_t *heap);

/* Options of a heap that grows from size to capacity. */
struct alps_create_options blocks_options(uint64_t size, uint64_t capacity);

/* Creates a heap, or opens one; the test fails if that does. */
void heap_make(const char *path, uint64_t size, uint64_t capacity);
alps_heap_t *heap_open(const char *path);
alps_heap_t *heap_open_with(const char *path, unsigned flags);

/* Allocates blocks of one size until there is no room, appending them; contents are not filled. */
size_t heap_fill(alps_heap_t *heap, size_t size, struct blocks *blocks);

/* Frees all of them; the list is empty then. */
void heap_free_all(alps_heap_t *heap, struct blocks *blocks);

#endif
