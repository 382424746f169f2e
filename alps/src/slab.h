/* Small and middle blocks: slabs, their bitmaps A (allocated), R (released by others) and C
 * (committed), shared by all processes. */
#ifndef ALPS_SLAB_H
#define ALPS_SLAB_H

#include "extent.h"

#define ALPS_FAST_STORE(word, bits) fam_store((fam_word_t *)(void *)(word), bits)
#define ALPS_FAST_INLINE static inline
#include <alps/fast.h>

#define SLAB_CLASSES 93u
#define SLAB_SIZE_MAX 466032u /* larger blocks are extents */
#define SLAB_WORDS_MAX 63u    /* of a bitmap of 64 bits a word */

struct slab_class {
    uint32_t size;    /* bytes of a block, a multiple of 16 */
    uint32_t blocks;  /* in a slab */
    uint32_t spans;   /* of a slab */
    uint32_t first;   /* bytes before block 0: the bitmaps A and C of the smallest blocks */
    uint32_t words;   /* of a bitmap of 64 bits a word */
    uint32_t shift;   /* size = odd << shift */
    uint64_t inverse; /* of that odd number, modulo 2^64: for alps_fast_index */
};

extern const struct slab_class slab_classes[SLAB_CLASSES];

/* The smallest class whose blocks have at least size bytes; size <= SLAB_SIZE_MAX. */
unsigned slab_class_of(uint64_t size);

/* The same, with blocks at multiples of alignment (a power of two up to SPAN_SIZE); SLAB_CLASSES if
 * there is none. */
unsigned slab_class_aligned(uint64_t size, uint64_t alignment);

static inline uint64_t slab_base(const struct layout *l, uint64_t span, unsigned class)
{
    return layout_span_offset(l, span) + slab_classes[class].first;
}

/* The bitmaps A and C of a slab. Bits of A past the last block are set. */
static inline fam_word_t *slab_allocated(const struct layout *l, uint64_t span, unsigned class)
{
    return slab_classes[class].first == 0 ? layout_record(l, span)->allocated
                                          : layout_at(l, layout_span_offset(l, span));
}
static inline fam_word_t *slab_committed(const struct layout *l, uint64_t span, unsigned class)
{
    return slab_classes[class].first == 0
               ? layout_record(l, span)->committed
               : slab_allocated(l, span, class) + slab_classes[class].words;
}

/* Bits of word w of a bitmap that stand for blocks. */
static inline uint64_t slab_word_mask(const struct slab_class *c, unsigned w)
{
    unsigned bits = c->blocks - w * 64;
    return bits >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << bits) - 1;
}

/* Word w of R, as 64 bits. */
static inline uint64_t slab_released(const struct layout *l, uint64_t span, unsigned w)
{
    const fam_word_t *r = &layout_released(l, span)->words[2 * w];
    return (fam_load_acquire(r) & UINT32_MAX) | fam_load_acquire(r + 1) << 32;
}

/* Blocks in use by word w: A and not R. */
static inline uint64_t slab_live(const struct layout *l, uint64_t span, unsigned class, unsigned w)
{
    uint64_t a = fam_load_acquire(&slab_allocated(l, span, class)[w]);
    return a & ~slab_released(l, span, w) & slab_word_mask(&slab_classes[class], w);
}

/* The blocks up to the last one in use, by A. */
unsigned slab_reach(const struct slab_class *c, const uint64_t *allocated);

/* The first bytes of a slab that need memory behind them: those up to the last block in use. */
uint64_t slab_backed_bytes(const struct layout *l, uint64_t span, unsigned class);

/* Frees blocks of word w of an owned slab as others do: by R, for the next fold. */
void slab_release_blocks(const struct layout *l, uint64_t span, unsigned w, uint64_t blocks);

/* The same for one block, for good when it returns. */
static inline void slab_release_block(const struct layout *l, uint64_t span, uint64_t index)
{
    slab_release_blocks(l, span, (unsigned)(index / 64), (uint64_t)1 << (index % 64));
    layout_fence(l);
}

/* True if others have freed blocks since the last fold. */
bool slab_any_released(const struct layout *l, uint64_t span, unsigned class);

bool slab_is_empty(const struct layout *l, uint64_t span, unsigned class);

/* In durable heaps: flushes A, C and R. */
void slab_flush(const struct layout *l, uint64_t span, unsigned class);

/* Makes a new slab, owned by the instance, with memory behind its first blocks. */
int slab_create(struct instance *instance, unsigned class, unsigned blocks, int node,
                uint64_t *span);

/* Secures the memory behind a slab's first blocks, before one of them is handed out. */
int slab_back(struct layout *l, uint64_t span, unsigned class, unsigned blocks);

/* Takes over a slab owned by nobody, found in that state. */
bool slab_own(struct instance *instance, uint64_t span, uint64_t state);

/* ---- by the owner's holder alone ---- */

/* Folds R into A and clears R; afterwards allocated[] holds A, padding included. Returns the number
 * of bits set. Blocks that alps_free_from is about to free are left as they are, with A set: free,
 * but not to be used again. */
unsigned slab_fold(const struct layout *l, uint64_t span, unsigned class, uint64_t *allocated);

/* Clears the bits of C of free blocks in a folded slab. Returns true if any bit is left. */
bool slab_trim_committed(const struct layout *l, uint64_t span, unsigned class,
                         const uint64_t *allocated);

/* Prepares a folded slab for allocation by the instance: settles C and takes the slab into the
 * instance's generation. false if blocks of another generation are in the way. committed: set if
 * any bit of C is set afterwards. */
bool slab_claim_generation(struct instance *instance, uint64_t span, unsigned class,
                           const uint64_t *allocated, bool *committed);

/* Lets go of a slab: nobody owns it then. hinted: it has free blocks, say so. */
void slab_release(struct instance *instance, uint64_t span, unsigned class, bool hinted);

/* Gives the spans of a slab without blocks back. */
void slab_destroy(struct instance *instance, uint64_t span, unsigned class);

/* Folds an owned slab and destroys it if it is empty, else lets go of it. Returns the number of
 * blocks in use. */
unsigned slab_settle(struct instance *instance, uint64_t span, unsigned class);

/* ---- by anyone ---- */

/* To be called before an intent to free a block of this slab is noted: tells those who fold to look
 * for it. */
void slab_announce_free(const struct layout *l, uint64_t span, uint64_t state);

/* Frees block number index of a slab found in that state, by R. 0, -EALREADY, or -EAGAIN if the
 * slab has been recycled meanwhile: look again. May destroy an empty slab that nobody owns. */
int slab_remote_free(struct instance *instance, uint64_t span, uint64_t state, uint64_t index);

/* Frees a large block, or one of a slab that an instance owns, in a zone where this one has been
 * before. false: it is not that simple, or there is no such block. */
bool slab_free_simple(struct instance *instance, alps_ptr_t block);

/* Leaves a hint that an unowned slab may have free blocks, unless it has one. */
void slab_hint(struct instance *instance, uint64_t span, unsigned class);

/* Finds an unowned hinted slab of a class that the instance may allocate from by its generation,
 * the next one from a span on, and owns it. false if there is none, by the hints. */
bool slab_find_hinted(struct instance *instance, unsigned class, int node, uint64_t from,
                      uint64_t *span);

/* The same without hints: looks at all slabs. */
bool slab_find_any(struct instance *instance, unsigned class, int node, uint64_t *span);

/* True if the entry's blocks are permanent. */
static inline bool generation_committed(const struct layout *l, uint64_t index)
{
    return index < l->generation_count &&
           (fam_load_acquire(layout_generation(l, index)) & GENERATION_COMMITTED) != 0;
}

/* ---- where a pointer points ---- */

struct slab_place {
    uint64_t span;  /* first span of the slab or extent */
    uint64_t state; /* its state word */
    uint64_t index; /* of the block in a slab */
    uint64_t size;  /* usable bytes of the block */
};

/* Finds the block that starts at p. 0; -EALREADY if one did and was freed; -EINVAL if not; a detail
 * text is set. Whether a block of a slab is in use is not looked at. */
int slab_locate(const struct layout *l, alps_ptr_t p, struct slab_place *place);

#endif
