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

/* The library's sources have a store of their own, that the emulator's flavour intercepts. */
#ifndef ALPS_FAST_STORE
#define ALPS_FAST_STORE(word, bits) __atomic_store_n(word, bits, __ATOMIC_RELAXED)
#define ALPS_FAST_INLINE extern inline __attribute__((__gnu_inline__, __always_inline__))
#endif

/* The thread's copy of a word of a slab's bitmap. */
struct alps_fast_copy {
    uint64_t bits;
    uint64_t empty; /* what a free may not make of it here: a word without blocks in use; the bin's
                       word may become so, and has here what no free leaves */
};

/* A slab that a thread holds; the copies of its bitmap's words follow. */
struct alps_fast_slab {
    uint64_t base;       /* offset of block 0 */
    uint64_t inverse;    /* with shift, takes a block's distance from there to its index */
    uint64_t *allocated; /* the bitmap in the heap */
    struct alps_fast_bin *bin;
    uint32_t limit; /* blocks; 0 if a free needs more than the bitmap */
    uint32_t shift;
};

/* A block that was freed. */
struct alps_fast_block {
    uint64_t block;
    struct alps_fast_copy *copy; /* of the word that has its bit */
    uint64_t *allocated;         /* the word in the heap */
    uint64_t index;              /* modulo 64, of the bit */
};

/* Where blocks of a size come from: those that were freed last are on a stack, others are free in
 * one word of a slab's bitmap. */
struct alps_fast_bin {
    struct alps_fast_block *top; /* where the next one goes */
    struct alps_fast_block *bottom, *end;
    uint64_t available;          /* blocks of the word that may be taken */
    struct alps_fast_copy *copy; /* of the word */
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

/* Index of the block that starts so many bytes after block 0, if it is below the slab's number of
 * blocks. Multiplying by an odd number's inverse and rotating both permute the numbers below 2^64,
 * and take index * (odd << shift) to index: nothing else is taken to an index that small. */
ALPS_FAST_INLINE uint64_t alps_fast_index(uint64_t inverse, unsigned shift, uint64_t bytes)
{
    uint64_t product = bytes * inverse;
    return product >> (shift & 63) | product << ((64 - shift) & 63);
}

/* Sets or clears bit index % 64 of *word; returns whether it was set. One instruction, where
 * compilers take five. */
#if defined(__x86_64__) && defined(__GCC_ASM_FLAG_OUTPUTS__)
#define ALPS_FAST_BIT(name, instruction, after)                                                    \
    ALPS_FAST_INLINE int name(uint64_t *word, uint64_t index)                                      \
    {                                                                                              \
        int was_set;                                                                               \
        __asm__(instruction " %2, %0" : "+r"(*word), "=@ccc"(was_set) : "r"(index));               \
        return was_set;                                                                            \
    }
#else
#define ALPS_FAST_BIT(name, instruction, after)                                                    \
    ALPS_FAST_INLINE int name(uint64_t *word, uint64_t index)                                      \
    {                                                                                              \
        uint64_t bit = (uint64_t)1 << (index & 63), before = *word;                                \
        *word = after;                                                                             \
        return (before & bit) != 0;                                                                \
    }
#endif
ALPS_FAST_BIT(alps_fast_set, "btsq", before | bit)
ALPS_FAST_BIT(alps_fast_clear, "btrq", before & ~bit)
#undef ALPS_FAST_BIT

ALPS_FAST_INLINE int alps_fast_is_empty(const struct alps_fast_bin *bin)
{
    return bin->top == bin->bottom && bin->available == 0;
}

/* The block that alps_fast_take takes next; the bin is not empty. */
ALPS_FAST_INLINE uint64_t alps_fast_next(const struct alps_fast_bin *bin)
{
    return ALPS_FAST_LIKELY(bin->top != bin->bottom)
               ? bin->top[-1].block
               : bin->base + (unsigned)__builtin_ctzll(bin->available) * bin->size;
}

ALPS_FAST_INLINE uint64_t alps_fast_take(struct alps_fast_bin *bin)
{
    struct alps_fast_block *top = bin->top;
    uint64_t bits, available, block = alps_fast_next(bin);
    if (ALPS_FAST_LIKELY(top != bin->bottom)) {
        bits = top[-1].copy->bits;
        alps_fast_set(&bits, top[-1].index);
        top[-1].copy->bits = bits;
        ALPS_FAST_STORE(top[-1].allocated, bits);
        bin->top = top - 1;
        return block;
    }
    available = bin->available;
    bits = bin->copy->bits | (available & -available);
    bin->available = available & (available - 1);
    bin->copy->bits = bits;
    ALPS_FAST_STORE(bin->allocated, bits);
    return block;
}

/* The class of a size. What a compiler knows costs nothing: steps of 16 bytes up to 128, then of an
 * eighth of the power of two below. */
ALPS_FAST_INLINE unsigned alps_fast_class(size_t size)
{
    if (__builtin_constant_p(size) && size - 1 < 128)
        return (unsigned)((size - 1) / 16);
    if (__builtin_constant_p(size) && size - 1 < 2048) {
        unsigned power = 63u - (unsigned)__builtin_clzll(size - 1);
        return (power - 7) * 8 + (unsigned)((size - 1) >> (power - 3));
    }
    return alps_fast_thread_0.classes[(size + 15) / 16];
}

/* A bin that has a block of that size, or NULL if there is none here. */
ALPS_FAST_INLINE struct alps_fast_bin *alps_fast_find_bin(const void *handle, size_t size, int node)
{
    struct alps_fast_bin *bin;
    if (!ALPS_FAST_LIKELY(alps_fast_is_current(handle) && size <= ALPS_FAST_SIZE_MAX && node == -1))
        return NULL;
    bin = &alps_fast_thread_0.bins[alps_fast_class(size)];
    return ALPS_FAST_LIKELY(!alps_fast_is_empty(bin)) ? bin : NULL;
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

/* Puts a block that was freed on the stack, if it has room. */
ALPS_FAST_INLINE void alps_fast_push(struct alps_fast_slab *slab, uint64_t block, uint64_t index)
{
    struct alps_fast_bin *bin = slab->bin;
    struct alps_fast_block *top = bin->top;
    if (top == bin->end)
        return;
    /* By itself: compilers store two at once, and a load of either would wait for that. */
    __atomic_store_n(&top->block, block, __ATOMIC_RELAXED);
    top->copy = alps_fast_copies(slab) + index / 64;
    top->allocated = slab->allocated + index / 64;
    top->index = index;
    bin->top = top + 1;
}

/* Frees; 0 if that cannot be done here. */
ALPS_FAST_INLINE int alps_fast_free(const void *handle, uint64_t block)
{
    struct alps_fast_slab *slab;
    struct alps_fast_copy *copy;
    uint64_t index, bits;
    if (!ALPS_FAST_LIKELY(alps_fast_is_current(handle)))
        return 0;
    slab = alps_fast_find_slab(block);
    if (!ALPS_FAST_LIKELY(slab != NULL))
        return 0;
    index = alps_fast_index(slab->inverse, slab->shift, block - slab->base);
    if (!ALPS_FAST_LIKELY(index < slab->limit))
        return 0;
    copy = alps_fast_copies(slab) + index / 64;
    bits = copy->bits;
    if (!ALPS_FAST_LIKELY(alps_fast_clear(&bits, index)))
        return 0;
    if (!ALPS_FAST_LIKELY(bits != copy->empty))
        return 0; /* the slab may go with it */
    copy->bits = bits;
    ALPS_FAST_STORE(&slab->allocated[index / 64], bits);
    alps_fast_push(slab, block, index);
    return 1;
}

#ifdef __cplusplus
}
#endif

#endif
