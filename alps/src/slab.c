/* Slabs.
 *
 * Idea: a slab is a run of spans cut into equal blocks, with a bit for each in three bitmaps. A is
 * written by one holder (a thread of the owning instance) with plain stores; everybody else frees
 * by setting the block's bit in R by CAS. The holder folds R into A when it runs short.
 *
 * Invariants
 *   S1 A block is free if and only if its bit in A is clear or its bit in R is set.
 *   S2 A block is handed out only while its bit in R is clear (unless somebody freed it twice).
 *   S3 Each word of R holds the slab's incarnation in its high half, as the state word does.
 *   S4 A block in use is permanent if and only if its bit in C is set or the generation of its slab
 *      is committed (generation 0 is). A free block of a slab that is allocated from has its bit in
 *      C clear.
 *   S5 Bits of A past the last block are set, those of R and C are clear.
 *   S6 Only the holder writes A, C and the record, and only while the state word names its
 *      instance; a slab that names nobody has no holder.
 *
 * States of the first span's word, and who moves them on
 *
 *   FREE --extent_claim--> CLAIMED(s) --slab_create--> SLAB(s) --slab_release--> SLAB(nobody)
 *     ^                        ^                        |  ^                          |
 *     '----extent_release------'------slab_destroy------'  '-----slab_own (CAS)-------'
 *
 * A block that alps_free_from frees may be freed a second time by the heir of who died in it. So it
 * is freed by R even by its owner, and not handed out before the intent is gone: a fold leaves it,
 * free but with its bit in A set. What is recycled as a whole is protected by the incarnation.
 *
 * Concurrency: slab_release stores with release order what slab_own's CAS acquires. A free by
 * another compares the incarnation in the very word that it changes, so one that arrives after the
 * slab was recycled changes nothing.
 *
 * Crash, slab_fold of one block (S1 holds throughout)
 *   killed after     A R   seen as   repaired by
 *   start            1 1   free      nobody
 *   A cleared        0 1   free      nobody: an adopter clears R before it allocates
 *   R cleared        0 0   free      nobody
 *
 * Crash, slab_claim_generation, from a generation g to h
 *   some words of C    g committed: permanent by g; else C only lost bits of free blocks
 *   generation := h    C alone says what is permanent, and is complete
 */
#include "slab.h"

#include <errno.h>

#include "error.h"

/* Inverse of an odd number modulo 2^64: it is its own inverse modulo 8, and each step of Newton's
 * doubles the number of bits that are right. */
#define INVERT_STEP(odd, x) ((x) * (2 - (uint64_t)(odd) * (x)))
#define INVERT_6(odd) INVERT_STEP(odd, (uint64_t)(odd))
#define INVERT_12(odd) INVERT_STEP(odd, INVERT_6(odd))
#define INVERT_24(odd) INVERT_STEP(odd, INVERT_12(odd))
#define INVERT_48(odd) INVERT_STEP(odd, INVERT_24(odd))
#define INVERT(odd) INVERT_STEP(odd, INVERT_48(odd))

#define CLASS(size_, blocks_, spans_, first_)                                                      \
    {                                                                                              \
        .size = size_, .blocks = blocks_, .spans = spans_, .first = first_,                        \
        .words = (blocks_ + 63) / 64, .shift = __builtin_ctz(size_),                               \
        .inverse = INVERT(size_ >> __builtin_ctz(size_))                                           \
    }

/* Steps of 16 bytes up to 128, of an eighth of the power of two below up to 2048; then what an
 * equal division of 1, 4, 16, 32 or 64 spans gives, so that little is left over at the end of a
 * slab. No class is more than 8/7 of the one before. Slabs have some dozens of blocks where that is
 * possible, so that they seldom come and go. */
const struct slab_class slab_classes[SLAB_CLASSES] = {
    /* clang-format off */
    CLASS(16, 4032, 1, 1024), CLASS(32, 2032, 1, 512), CLASS(48, 1357, 1, 384),
    CLASS(64, 1024, 1, 0), CLASS(80, 819, 1, 0), CLASS(96, 682, 1, 0), CLASS(112, 585, 1, 0),
    CLASS(128, 512, 1, 0), CLASS(144, 455, 1, 0), CLASS(160, 409, 1, 0), CLASS(176, 372, 1, 0),
    CLASS(192, 341, 1, 0), CLASS(208, 315, 1, 0), CLASS(224, 292, 1, 0), CLASS(240, 273, 1, 0),
    CLASS(256, 256, 1, 0), CLASS(288, 227, 1, 0), CLASS(320, 204, 1, 0), CLASS(352, 186, 1, 0),
    CLASS(384, 170, 1, 0), CLASS(416, 157, 1, 0), CLASS(448, 146, 1, 0), CLASS(480, 136, 1, 0),
    CLASS(512, 128, 1, 0), CLASS(576, 113, 1, 0), CLASS(640, 102, 1, 0), CLASS(704, 93, 1, 0),
    CLASS(768, 85, 1, 0), CLASS(832, 78, 1, 0), CLASS(896, 73, 1, 0), CLASS(960, 68, 1, 0),
    CLASS(1024, 64, 1, 0), CLASS(1152, 56, 1, 0), CLASS(1280, 51, 1, 0), CLASS(1408, 46, 1, 0),
    CLASS(1536, 42, 1, 0), CLASS(1664, 39, 1, 0), CLASS(1792, 36, 1, 0), CLASS(1920, 34, 1, 0),
    CLASS(2048, 32, 1, 0), CLASS(2256, 116, 4, 0), CLASS(2512, 104, 4, 0), CLASS(2848, 92, 4, 0),
    CLASS(3120, 84, 4, 0), CLASS(3440, 76, 4, 0), CLASS(3840, 68, 4, 0), CLASS(4096, 64, 4, 0),
    CLASS(4672, 56, 4, 0), CLASS(5040, 52, 4, 0), CLASS(5456, 48, 4, 0), CLASS(5952, 44, 4, 0),
    CLASS(6544, 40, 4, 0), CLASS(7280, 36, 4, 0), CLASS(8192, 32, 4, 0), CLASS(9360, 28, 4, 0),
    CLASS(10480, 100, 16, 0), CLASS(11904, 88, 16, 0), CLASS(13104, 80, 16, 0),
    CLASS(14560, 72, 16, 0), CLASS(16384, 64, 16, 0), CLASS(18720, 56, 16, 0),
    CLASS(20160, 52, 16, 0), CLASS(21840, 48, 16, 0), CLASS(23824, 44, 16, 0),
    CLASS(26208, 40, 16, 0), CLASS(29120, 36, 16, 0), CLASS(32768, 32, 16, 0),
    CLASS(37440, 28, 16, 0),
    CLASS(41936, 25, 16, 0), CLASS(47648, 22, 16, 0), CLASS(52416, 20, 16, 0),
    CLASS(58240, 18, 16, 0), CLASS(65536, 16, 16, 0), CLASS(74896, 14, 16, 0),
    CLASS(80656, 13, 16, 0), CLASS(87376, 12, 16, 0), CLASS(95312, 11, 16, 0),
    CLASS(104848, 10, 16, 0), CLASS(116496, 9, 16, 0), CLASS(131072, 8, 16, 0),
    CLASS(149792, 7, 16, 0), CLASS(161312, 13, 32, 0), CLASS(174752, 12, 32, 0),
    CLASS(190640, 11, 32, 0), CLASS(209712, 10, 32, 0), CLASS(233008, 9, 32, 0),
    CLASS(262144, 8, 32, 0), CLASS(299584, 7, 32, 0), CLASS(322624, 13, 64, 0),
    CLASS(349520, 12, 64, 0), CLASS(381296, 11, 64, 0), CLASS(419424, 10, 64, 0),
    CLASS(466032, 9, 64, 0),
    /* clang-format on */
};

/* The class of 16 bytes, and the first one of each power of two after it. */
static const uint8_t first_class[] = {0, 1, 2, 4, 8, 16, 24, 32, 40, 47, 54, 60, 67, 73, 80, 87};

unsigned slab_class_of(uint64_t size)
{
    /* No more than eight from the first one. */
    unsigned class = first_class[60 - __builtin_clzll((size - (size != 0)) | 8)];
    while (slab_classes[class].size < size)
        class += 1;
    return class;
}

unsigned slab_class_aligned(uint64_t size, uint64_t alignment)
{
    if (size > SLAB_SIZE_MAX || alignment > SPAN_SIZE)
        return SLAB_CLASSES;
    unsigned class = slab_class_of(max_u64(size, alignment));
    while (class < SLAB_CLASSES &&
           ((slab_classes[class].size | slab_classes[class].first) & (alignment - 1)) != 0)
        class += 1;
    return class;
}

bool slab_any_released(const struct layout *l, uint64_t span, unsigned class)
{
    for (unsigned w = 0; w < slab_classes[class].words; w++)
        if (slab_released(l, span, w) != 0)
            return true;
    return false;
}

void slab_release_blocks(const struct layout *l, uint64_t span, unsigned w, uint64_t blocks)
{
    fam_word_t *r = &layout_released(l, span)->words[2 * w];
    if ((blocks & UINT32_MAX) != 0)
        fam_or(&r[0], blocks & UINT32_MAX);
    if (blocks >> 32 != 0)
        fam_or(&r[1], blocks >> 32);
    layout_flush_words(l, r, 2);
}

bool slab_is_empty(const struct layout *l, uint64_t span, unsigned class)
{
    for (unsigned w = 0; w < slab_classes[class].words; w++)
        if (slab_live(l, span, class, w) != 0)
            return false;
    return true;
}

void slab_flush(const struct layout *l, uint64_t span, unsigned class)
{
    const uint64_t words = slab_classes[class].words;
    layout_flush_words(l, slab_allocated(l, span, class), words);
    layout_flush_words(l, slab_committed(l, span, class), words);
    layout_flush_words(l, layout_released(l, span)->words, 2 * words);
}

unsigned slab_reach(const struct slab_class *c, const uint64_t *allocated)
{
    for (unsigned w = c->words; w-- > 0;) {
        uint64_t bits = allocated[w] & slab_word_mask(c, w);
        if (bits != 0)
            return w * 64 + 64 - (unsigned)__builtin_clzll(bits);
    }
    return 0;
}

/* Bytes from the start of a slab to the end of the first blocks. */
static uint64_t bytes_of(const struct slab_class *c, unsigned blocks)
{
    return c->first + (uint64_t)blocks * c->size;
}

uint64_t slab_backed_bytes(const struct layout *l, uint64_t span, unsigned class)
{
    const struct slab_class *c = &slab_classes[class];
    uint64_t allocated[SLAB_WORDS_MAX];
    if (!layout_span_backed(l, span, c->first)) /* A may lie there */
        return c->first;
    for (unsigned w = 0; w < c->words; w++)
        allocated[w] = fam_load_acquire(&slab_allocated(l, span, class)[w]);
    return bytes_of(c, slab_reach(c, allocated));
}

int slab_back(struct layout *l, uint64_t span, unsigned class, unsigned blocks)
{
    return layout_back(l, span, bytes_of(&slab_classes[class], blocks));
}

int slab_create(struct instance *instance, unsigned class, unsigned blocks, int node,
                uint64_t *span)
{
    const struct layout *l = &instance->layout;
    const struct slab_class *c = &slab_classes[class];
    int rc = extent_claim(instance, c->spans, bytes_of(c, blocks), 1, node, span);
    if (rc != 0)
        return rc;
    uint32_t incarnation = extent_begin(instance, *span, c->spans);
    fam_word_t *a = slab_allocated(l, *span, class), *committed = slab_committed(l, *span, class);
    fam_word_t *r = layout_released(l, *span)->words;
    for (unsigned w = 0; w < c->words; w++) {
        fam_store(&a[w], ~slab_word_mask(c, w));
        fam_store(&committed[w], 0);
        fam_store(&r[2 * w], (uint64_t)incarnation << 32);
        fam_store(&r[2 * w + 1], (uint64_t)incarnation << 32);
    }
    slab_flush(l, *span, class);
    layout_fence(l); /* no state before what it tells of */
    fam_store_release(layout_state(l, *span), span_slab(class, instance->owner, incarnation));
    extent_flush_states(l, *span, c->spans);
    return 0;
}

bool slab_own(struct instance *instance, uint64_t span, uint64_t state)
{
    const struct layout *l = &instance->layout;
    instance_beat(instance);
    instance_touch(instance, layout_zone_of(l, span));
    return fam_cas(layout_state(l, span), &state,
                   span_slab(span_class(state), instance->owner, span_incarnation(state)));
}

void slab_announce_free(const struct layout *l, uint64_t span, uint64_t state)
{
    fam_word_t *word = &layout_released(l, span)->free_from;
    uint64_t announced = (uint64_t)span_incarnation(state) << 32 | 1;
    if (fam_load(word) != announced)
        fam_store(word, announced);
}

/* Blocks of a slab that alps_free_from is about to free, or has just freed, somewhere: an heir may
 * free them once more. */
static bool find_intents(const struct layout *l, uint64_t span, unsigned class, uint64_t *blocks)
{
    const struct slab_class *c = &slab_classes[class];
    uint64_t incarnation = span_incarnation(fam_load(layout_state(l, span)));
    if (fam_load_acquire(&layout_released(l, span)->free_from) != (incarnation << 32 | 1))
        return false;
    bool any = false;
    for (unsigned i = 0, end = layout_slots_used(l); i < end; i++) {
        struct layout_slot *slot = layout_slot(l, i);
        if (slot_status(fam_load_acquire(layout_slot_state(l, i))) == SLOT_FREE)
            continue;
        for (unsigned k = 0; k < LAYOUT_INTENT_MAX; k++) {
            if (fam_load_acquire(&slot->intents[k].op) != INTENT_FREE)
                continue;
            uint64_t index =
                alps_fast_index(c->inverse, c->shift,
                                fam_load(&slot->intents[k].block) - slab_base(l, span, class));
            if (index < c->blocks) {
                blocks[index / 64] |= (uint64_t)1 << (index % 64);
                any = true;
            }
        }
    }
    return any;
}

unsigned slab_fold(const struct layout *l, uint64_t span, unsigned class, uint64_t *allocated)
{
    const struct slab_class *c = &slab_classes[class];
    fam_word_t *a = slab_allocated(l, span, class);
    fam_word_t *r = layout_released(l, span)->words;
    uint64_t released[SLAB_WORDS_MAX], held[SLAB_WORDS_MAX] = {0}, any = 0;
    unsigned used = 0;
    /* R is read before the intents: what is set in it was announced before. */
    for (unsigned w = 0; w < c->words; w++)
        any |= released[w] = slab_released(l, span, w);
    if (any != 0)
        find_intents(l, span, class, held);
    /* First A, then R: see the table above. */
    for (unsigned w = 0; w < c->words; w++) {
        uint64_t before = fam_load(&a[w]), fold = released[w] & ~held[w];
        uint64_t bits = (before & ~fold) | (released[w] & held[w]);
        if (bits != before)
            fam_store_release(&a[w], bits);
        allocated[w] = bits;
        used += count_bits(bits & slab_word_mask(c, w));
    }
    if (any == 0)
        return used;
    layout_flush_words(l, a, c->words);
    layout_fence(l);
    for (unsigned w = 0; w < c->words; w++) {
        uint64_t fold = released[w] & ~held[w];
        if (fold != 0) {
            fam_and(&r[2 * w], ~(fold & UINT32_MAX));
            fam_and(&r[2 * w + 1], ~(fold >> 32));
        }
    }
    layout_flush_words(l, r, 2 * (uint64_t)c->words); /* before any of them is allocated again */
    layout_fence(l);
    return used;
}

bool slab_trim_committed(const struct layout *l, uint64_t span, unsigned class,
                         const uint64_t *allocated)
{
    const struct slab_class *c = &slab_classes[class];
    fam_word_t *committed = slab_committed(l, span, class);
    bool any = false, changed = false;
    for (unsigned w = 0; w < c->words; w++) {
        uint64_t before = fam_load(&committed[w]);
        uint64_t after = before & allocated[w] & slab_word_mask(c, w);
        if (after != before)
            fam_store_release(&committed[w], after);
        changed |= after != before;
        any |= after != 0;
    }
    if (changed) { /* before a block that was permanent is one of a generation */
        layout_flush_words(l, committed, c->words);
        layout_fence(l);
    }
    return any;
}

bool slab_claim_generation(struct instance *instance, uint64_t span, unsigned class,
                           const uint64_t *allocated, bool *committed)
{
    const struct layout *l = &instance->layout;
    const struct slab_class *c = &slab_classes[class];
    struct layout_record *record = layout_record(l, span);
    fam_word_t *bits = slab_committed(l, span, class);
    uint64_t from = record_generation(record), to = instance->generation_index;
    *committed = false;
    if (from == 0 && to == 0)
        return true; /* all blocks are permanent, C says nothing */

    if (from != to && generation_committed(l, from)) {
        for (unsigned w = 0; w < c->words; w++) {
            fam_store_release(&bits[w], allocated[w] & slab_word_mask(c, w));
            *committed |= (allocated[w] & slab_word_mask(c, w)) != 0;
        }
        layout_flush_words(l, bits, c->words);
        layout_fence(l);
    } else {
        for (unsigned w = 0; w < c->words && from != to; w++)
            if ((allocated[w] & slab_word_mask(c, w) & ~fam_load(&bits[w])) != 0)
                return false;
        *committed = slab_trim_committed(l, span, class, allocated);
    }
    if (from != to) {
        record_set_generation(record, to);
        layout_persist(l, &record->generation);
    }
    return true;
}

/* Instance slot whose searchers look for this slab; -1 if nobody may allocate from it. */
static int64_t hint_board(const struct layout *l, uint64_t span)
{
    uint64_t index = record_generation(layout_record(l, span));
    if (index >= l->generation_count)
        return -1;
    uint64_t word = fam_load_acquire(layout_generation(l, index));
    if ((word & GENERATION_COMMITTED) != 0)
        return l->instance_count;
    if ((word & GENERATION_OPEN) != 0 && generation_slot(word) < l->instance_count)
        return generation_slot(word);
    return -1;
}

static void set_bit(fam_word_t *words, uint64_t bit)
{
    uint64_t mask = (uint64_t)1 << (bit & 63);
    if ((fam_load(&words[bit >> 6]) & mask) == 0)
        fam_or(&words[bit >> 6], mask);
}

/* Tells the board about an unowned slab whose state says SPAN_HINTED. */
static void post_hint(const struct layout *l, uint64_t span, unsigned class)
{
    int64_t board = hint_board(l, span);
    if (board < 0)
        return;
    struct layout_slot *slot = layout_slot(l, (unsigned)board);
    set_bit(layout_hinted(l, slot), layout_zone_of(l, span));
    set_bit(slot->hinted_classes, class);
}

void slab_hint(struct instance *instance, uint64_t span, unsigned class)
{
    const struct layout *l = &instance->layout;
    uint64_t state = fam_load_acquire(layout_state(l, span));
    while (span_kind(state) == SPAN_SLAB && span_class(state) == class && span_owner(state) == 0 &&
           (state & SPAN_HINTED) == 0)
        if (fam_cas(layout_state(l, span), &state, state | SPAN_HINTED)) {
            post_hint(l, span, class);
            return;
        }
}

void slab_release(struct instance *instance, uint64_t span, unsigned class, bool hinted)
{
    const struct layout *l = &instance->layout;
    uint32_t incarnation = span_incarnation(fam_load(layout_state(l, span)));
    /* By CAS for its order: R is looked at after it. Nobody else changes an owned slab's state. */
    uint64_t state = span_slab(class, instance->owner, incarnation);
    fam_cas(layout_state(l, span), &state,
            span_slab(class, 0, incarnation) | (hinted ? SPAN_HINTED : 0));
    if (hinted)
        post_hint(l, span, class);
    /* Somebody who freed a block since the fold saw an owner and left it at that. */
    if (!slab_any_released(l, span, class))
        return;
    state = fam_load_acquire(layout_state(l, span));
    if ((state & ~SPAN_HINTED) == span_slab(class, 0, incarnation) &&
        slab_is_empty(l, span, class) && slab_own(instance, span, state))
        slab_settle(instance, span, class);
    else
        slab_hint(instance, span, class);
}

void slab_destroy(struct instance *instance, uint64_t span, unsigned class)
{
    const struct layout *l = &instance->layout;
    uint64_t state = fam_load(layout_state(l, span));
    for (unsigned i = 0; i < slab_classes[class].spans; i++)
        fam_store(&layout_record(l, span + i)->last_state, i == 0 ? state : span_tail(i));
    fam_store_release(layout_state(l, span), span_claimed(instance->owner));
    extent_release(instance, span, slab_classes[class].spans);
}

unsigned slab_settle(struct instance *instance, uint64_t span, unsigned class)
{
    const struct layout *l = &instance->layout;
    uint64_t allocated[SLAB_WORDS_MAX];
    if (slab_is_empty(l, span, class)) {
        slab_destroy(instance, span, class);
        return 0;
    }
    unsigned used = slab_fold(l, span, class, allocated);
    if (used == 0)
        slab_destroy(instance, span, class);
    else
        slab_release(instance, span, class, used < slab_classes[class].blocks);
    return used;
}

/* What a pointer would be in a run that starts at a span with this state. */
static bool place_in(const struct layout *l, uint64_t first, uint64_t state, alps_ptr_t p,
                     struct slab_place *place)
{
    *place = (struct slab_place){.span = first, .state = state};
    if (span_kind(state) == SPAN_EXTENT) {
        place->size = extent_length(l, first) << SPAN_SHIFT;
        return p == layout_span_offset(l, first);
    }
    if (span_kind(state) != SPAN_SLAB || span_class(state) >= SLAB_CLASSES)
        return false;
    const struct slab_class *c = &slab_classes[span_class(state)];
    place->size = c->size;
    place->index =
        alps_fast_index(c->inverse, c->shift, p - slab_base(l, first, span_class(state)));
    return place->index < c->blocks;
}

int slab_remote_free(struct instance *instance, uint64_t span, uint64_t state, uint64_t index)
{
    const struct layout *l = &instance->layout;
    unsigned class = span_class(state);
    fam_word_t *word = &layout_released(l, span)->words[index >> 5];
    uint64_t bit = (uint64_t)1 << (index & 31);
    fam_prepare(word);
    uint64_t a = fam_load_acquire(&slab_allocated(l, span, class)[index >> 6]);
    uint64_t a_half = index & 32 ? a >> 32 : a & UINT32_MAX;
    uint64_t r = fam_load_acquire(word);
    /* If we die before we have given an empty slab back, our heir looks here. */
    instance_touch(instance, layout_zone_of(l, span));
    do {
        if (r >> 32 != span_incarnation(state))
            return -EAGAIN;
        if ((r & bit) != 0 || (a_half & bit) == 0)
            return -EALREADY;
    } while (!fam_cas(word, &r, r | bit));
    layout_persist(l, word);

    /* The owner finds it when it folds. A slab without one gets a hint; or, if this was the last
     * block of the word and of the slab, goes back to the free spans. */
    state = fam_load_acquire(layout_state(l, span));
    if (span_kind(state) != SPAN_SLAB || span_class(state) != class || span_owner(state) != 0)
        return 0;
    uint64_t mask = slab_word_mask(&slab_classes[class], (unsigned)(index >> 6));
    uint64_t mask_half = index & 32 ? mask >> 32 : mask & UINT32_MAX;
    if ((a_half & mask_half & ~(r | bit)) == 0 && slab_is_empty(l, span, class) &&
        slab_own(instance, span, state))
        slab_settle(instance, span, class);
    else if ((state & SPAN_HINTED) == 0)
        slab_hint(instance, span, class);
    return 0;
}

bool slab_free_simple(struct instance *instance, alps_ptr_t block)
{
    const struct layout *l = &instance->layout;
    uint64_t span = layout_span_of(l, block);
    if (span >= l->span_count || !instance_has_touched(instance, layout_zone_of(l, span)))
        return false;
    uint64_t state = fam_load_acquire(layout_state(l, span));
    if (span_kind(state) == SPAN_EXTENT)
        return block == layout_span_offset(l, span) && extent_free(instance, span, state) == 0;
    if (span_kind(state) == SPAN_TAIL && span_distance(state) <= (span & (l->zone_spans - 1))) {
        span -= span_distance(state);
        state = fam_load_acquire(layout_state(l, span));
    }
    struct slab_place place;
    return span_kind(state) == SPAN_SLAB && span_owner(state) != 0 &&
           place_in(l, span, state, block, &place) &&
           slab_remote_free(instance, span, state, place.index) == 0;
}

/* Owns an unowned slab in a state if the instance may allocate from it. */
static bool own_if_usable(struct instance *instance, uint64_t span, uint64_t state)
{
    uint64_t generation = record_generation(layout_record(&instance->layout, span));
    if (generation != instance->generation_index &&
        !generation_committed(&instance->layout, generation))
        return false;
    return slab_own(instance, span, state);
}

static bool unowned_slab(uint64_t state, unsigned class)
{
    return span_kind(state) == SPAN_SLAB && span_class(state) == class && span_owner(state) == 0;
}

static bool on_node(const struct layout *l, uint64_t zone, int node)
{
    return node < 0 || fam_load(&layout_zone(l, zone)->node) == (uint64_t)node + 1;
}

/* Looks through a zone, from a span on, for a hinted slab of a class; clears the zone's hint if it
 * has none at all. */
static bool find_hinted_in_zone(struct instance *instance, fam_word_t *hinted, uint64_t zone,
                                uint64_t from, unsigned class, uint64_t *found)
{
    const struct layout *l = &instance->layout;
    uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone);
    bool any = from > first;
    for (uint64_t span = max_u64(first, from); span < end; span++) {
        uint64_t state = fam_load_acquire(layout_state(l, span));
        if (span_kind(state) != SPAN_SLAB || span_owner(state) != 0 || (state & SPAN_HINTED) == 0)
            continue;
        any = true;
        if (span_class(state) == class && own_if_usable(instance, span, state)) {
            *found = span;
            return true;
        }
    }
    if (!any)
        fam_and(hinted, ~((uint64_t)1 << (zone & 63)));
    return false;
}

/* From the zone of a span on to the heap's end. */
static bool find_on_board_from(struct instance *instance, fam_word_t *hinted, uint64_t from,
                               unsigned class, int node, uint64_t *found)
{
    const struct layout *l = &instance->layout;
    uint64_t start = layout_zone_of(l, from), first_bit = start & 63;
    for (uint64_t i = start >> 6; i < l->zone_words; i++, first_bit = 0)
        for (uint64_t zones = fam_load(&hinted[i]) >> first_bit << first_bit; zones != 0;
             zones &= zones - 1) {
            uint64_t zone = i * 64 + lowest_bit(zones);
            if (zone < l->zone_count && on_node(l, zone, node) &&
                find_hinted_in_zone(instance, &hinted[i], zone, from, class, found))
                return true;
        }
    return false;
}

static bool find_on_board(struct instance *instance, unsigned board, unsigned class, int node,
                          uint64_t from, uint64_t *found)
{
    struct layout_slot *slot = layout_slot(&instance->layout, board);
    fam_word_t *classes = &slot->hinted_classes[class >> 6];
    fam_word_t *hinted = layout_hinted(&instance->layout, slot);
    uint64_t bit = (uint64_t)1 << (class & 63);
    if ((fam_load(classes) & bit) == 0)
        return false;
    /* Cleared first: a hint that comes while we look is not lost. */
    fam_and(classes, ~bit);
    if (!find_on_board_from(instance, hinted, from, class, node, found) &&
        (from == 0 || !find_on_board_from(instance, hinted, 0, class, node, found)))
        return false;
    fam_or(classes, bit); /* there may be more */
    return true;
}

bool slab_find_hinted(struct instance *instance, unsigned class, int node, uint64_t from,
                      uint64_t *span)
{
    return find_on_board(instance, instance->slot, class, node, from, span) ||
           find_on_board(instance, instance->layout.instance_count, class, node, from, span);
}

bool slab_find_any(struct instance *instance, unsigned class, int node, uint64_t *found)
{
    const struct layout *l = &instance->layout;
    for (uint64_t zone = 0; zone < l->zone_count; zone++) {
        if (!on_node(l, zone, node))
            continue;
        uint64_t first = zone << l->zone_shift, end = first + layout_zone_spans(l, zone);
        for (uint64_t span = first; span < end; span++) {
            uint64_t state = fam_load_acquire(layout_state(l, span));
            if (!unowned_slab(state, class))
                continue;
            bool space = false;
            for (unsigned w = 0; w < slab_classes[class].words && !space; w++)
                space = slab_live(l, span, class, w) != slab_word_mask(&slab_classes[class], w);
            if (space && own_if_usable(instance, span, state)) {
                *found = span;
                return true;
            }
        }
    }
    return false;
}

int slab_locate(const struct layout *l, alps_ptr_t p, struct slab_place *place)
{
    uint64_t span = layout_span_of(l, p);
    if (span >= l->span_count)
        return error_set(EINVAL, "%s: offset %llu lies outside the blocks", l->region.files[0].path,
                         (unsigned long long)p);
    uint64_t state = layout_span_state(l, span);
    uint64_t first = span;
    if (span_kind(state) == SPAN_TAIL && span_distance(state) <= span) {
        first = span - span_distance(state);
        state = layout_span_state(l, first);
    }
    if (place_in(l, first, state, p, place)) {
        if (place->size != 0)
            return 0;
        return error_set(EUCLEAN, "%s: damaged: extent at span %llu has no good length",
                         l->region.files[0].path, (unsigned long long)first);
    }
    /* A tail of a claimed run may have the distance of what it was before. */
    if (!extent_covers(l, first, state, span) && layout_span_known(l, span)) {
        /* Nothing is there any more, or yet: was there a block? */
        first = span;
        state = fam_load(&layout_record(l, span)->last_state);
        if (span_kind(state) == SPAN_TAIL && span_distance(state) <= span) {
            first = span - span_distance(state);
            if (layout_span_known(l, first))
                state = fam_load(&layout_record(l, first)->last_state);
        }
        if (place_in(l, first, state, p, place))
            return error_set(EALREADY, "%s: the block at offset %llu has been freed",
                             l->region.files[0].path, (unsigned long long)p);
    }
    return error_set(EINVAL, "%s: no block starts at offset %llu", l->region.files[0].path,
                     (unsigned long long)p);
}
