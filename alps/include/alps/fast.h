/* What most calls of alps_malloc and alps_free do, inline in the caller. alps.h includes this;
 * programs do not, and use nothing of it by name.
 *
 * The library publishes here, for each thread, the slabs that the thread holds in the heap it used
 * last. A block is allocated or freed by one store to the slab's bitmap in the heap, after the same
 * change to the thread's copy of it; nothing of the heap is read. Whatever is not as simple as that
 * (another heap or thread, a full slab, its last block, any error) is left to the library.
 *
 * Objects compiled against other structures than the library's must not run: the number at the end
 * of alps_fast_thread_0 changes with them, so such objects do not link. ALPS_NO_INLINE, defined
 * before alps.h, leaves all this out. */
#ifndef ALPS_FAST_H
#define ALPS_FAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ALPS_FAST_LIKELY(x) __builtin_expect(!!(x), 1)

#define ALPS_FAST_SIZE_MAX 32768u
#define ALPS_FAST_FULL UINT64_MAX /* a word without a free block */

/* The library's sources have a store of their own, that the emulator's flavour intercepts. */
#ifndef ALPS_FAST_STORE
#define ALPS_FAST_STORE(word, bits) __atomic_store_n(word, bits, __ATOMIC_RELAXED)
#define ALPS_FAST_INLINE extern inline __attribute__((__gnu_inline__, __always_inline__))
#endif

/* The thread's copy of a word of a slab's bitmap, which is taken without freed. A malloc changes
 * taken and a free freed, so that neither waits for what the other stored: a block that is freed
 * has its bit in both until the library clears them. */
struct alps_fast_copy {
    uint64_t taken;
    uint64_t freed; /* a part of taken */
};

/* A slab that a thread holds; the copy of its bitmap follows. */
struct alps_fast_slab {
    uint64_t base;       /* offset of block 0 */
    uint64_t inverse;    /* with shift, takes a block's distance from there to its index */
    uint64_t used;       /* blocks in use; more while the slab is allocated from */
    uint64_t *allocated; /* the bitmap in the heap */
    uint32_t limit;      /* blocks; 0 if a free needs more than the bitmap */
    uint32_t shift;
};

/* Where blocks of a size come from: the word of a slab's bitmap that is allocated from until it is
 * full. */
struct alps_fast_bin {
    struct alps_fast_copy *copy; /* of that word */
    uint64_t *allocated;         /* the word in the heap */
    uint64_t base;               /* offset of the first block it stands for */
    uint64_t size;               /* of a block */
};

/* A thread's view of the heap that it used last. */
struct alps_fast_thread {
    const void *handle;          /* of that heap */
    struct alps_fast_bin *bins;  /* by class */
    const uint8_t *classes;      /* by (size + 15) / 16 */
    struct alps_fast_slab **map; /* by offset / 64 KiB; NULL: not held by this thread */
    uint64_t map_length;
    void *cache; /* where the library has all this */
};

/* Initial-exec: no call finds it, and it is small enough for libraries that are loaded late. */
#define ALPS_FAST_TLS __attribute__((__tls_model__("initial-exec"))) __thread
extern __attribute__((__visibility__("default")))
ALPS_FAST_TLS struct alps_fast_thread alps_fast_thread_0;

ALPS_FAST_INLINE int alps_fast_is_current(const void *handle)
{
    /* Another thread that closes the heap resets it. */
    return __atomic_load_n(&alps_fast_thread_0.handle, __ATOMIC_RELAXED) == handle;
}

/* The block that alps_fast_take would take; the bin's word has one. */
ALPS_FAST_INLINE uint64_t alps_fast_next(const struct alps_fast_bin *bin)
{
    return bin->base + (uint64_t)(unsigned)__builtin_ctzll(~bin->copy->taken) * bin->size;
}

ALPS_FAST_INLINE uint64_t alps_fast_take(const struct alps_fast_bin *bin)
{
    struct alps_fast_copy *copy = bin->copy;
    uint64_t block = alps_fast_next(bin), taken = copy->taken;
    taken |= taken + 1;
    copy->taken = taken;
    ALPS_FAST_STORE(bin->allocated, taken ^ copy->freed);
    return block;
}

/* Index of the block that starts so many bytes after block 0, if it is below the slab's number of
 * blocks. Multiplying by an odd number's inverse and rotating both permute the numbers below 2^64,
 * and take index * (odd << shift) to index: nothing else is taken to an index that small. */
ALPS_FAST_INLINE uint64_t alps_fast_index(uint64_t inverse, unsigned shift, uint64_t bytes)
{
    uint64_t product = bytes * inverse;
    return product >> (shift & 63) | product << ((64 - shift) & 63);
}

/* Clears bit index % 64 of *word; returns whether it was set. */
ALPS_FAST_INLINE int alps_fast_clear(uint64_t *word, uint64_t index)
{
#if defined(__x86_64__) && defined(__GCC_ASM_FLAG_OUTPUTS__)
    int was_set; /* one instruction, where compilers take five */
    __asm__("btrq %2, %0" : "+r"(*word), "=@ccc"(was_set) : "r"(index));
    return was_set;
#else
    uint64_t bit = (uint64_t)1 << (index & 63), before = *word;
    *word = before & ~bit;
    return (before & bit) != 0;
#endif
}

ALPS_FAST_INLINE unsigned alps_fast_class(size_t size)
{
    return alps_fast_thread_0.classes[(size + 15) / 16];
}

/* A bin with a block of that size, or NULL if there is none here. */
ALPS_FAST_INLINE struct alps_fast_bin *alps_fast_find_bin(const void *handle, size_t size, int node)
{
    struct alps_fast_bin *bin;
    if (!ALPS_FAST_LIKELY(alps_fast_is_current(handle) && size <= ALPS_FAST_SIZE_MAX && node == -1))
        return NULL;
    bin = &alps_fast_thread_0.bins[alps_fast_class(size)];
    return ALPS_FAST_LIKELY(bin->copy->taken != ALPS_FAST_FULL) ? bin : NULL;
}

ALPS_FAST_INLINE struct alps_fast_copy *alps_fast_copies(struct alps_fast_slab *slab)
{
    return (struct alps_fast_copy *)(void *)(slab + 1);
}

/* The slab of the calling thread, in its current heap, at an offset; or NULL. */
ALPS_FAST_INLINE struct alps_fast_slab *alps_fast_find_slab(uint64_t offset)
{
    uint64_t i = offset >> 16;
    return ALPS_FAST_LIKELY(i < alps_fast_thread_0.map_length) ? alps_fast_thread_0.map[i] : NULL;
}

/* Frees; 0 if that cannot be done here. */
ALPS_FAST_INLINE int alps_fast_free(const void *handle, uint64_t block)
{
    struct alps_fast_slab *slab;
    struct alps_fast_copy *copy;
    uint64_t index, taken, bits;
    if (!ALPS_FAST_LIKELY(alps_fast_is_current(handle)))
        return 0;
    slab = alps_fast_find_slab(block);
    if (!ALPS_FAST_LIKELY(slab != NULL))
        return 0;
    index = alps_fast_index(slab->inverse, slab->shift, block - slab->base);
    if (!ALPS_FAST_LIKELY(index < slab->limit))
        return 0;
    copy = alps_fast_copies(slab) + index / 64;
    taken = copy->taken;
    bits = taken ^ copy->freed;
    if (!ALPS_FAST_LIKELY(alps_fast_clear(&bits, index)))
        return 0;
    if (!ALPS_FAST_LIKELY(--slab->used != 0)) {
        slab->used = 1; /* the slab goes with it */
        return 0;
    }
    copy->freed = taken ^ bits;
    ALPS_FAST_STORE(&slab->allocated[index / 64], bits);
    return 1;
}

#ifdef __cplusplus
}
#endif

#endif
