/* What lies where in a heap's files. doc/format.md shows the same byte by byte.
 *
 * File 0:  superblock | generations | states of the slots | roots | zones | instances | paths |
 *          metadata of all zones | data
 * File k:  part header, 2 MiB | data
 *
 * In memory the data of file k follows that of file k - 1, so the data area is one row of spans of
 * 64 KiB, and an extent may cross zones and files. All metadata lies apart from the blocks, in
 * front of the data, for the whole capacity (the file is sparse); chunk by chunk it is backed with
 * memory before the first span there is used. The one exception: slabs of blocks under 64 bytes
 * keep their bitmaps A and C at the start of their span.
 */
#ifndef ALPS_LAYOUT_H
#define ALPS_LAYOUT_H

#include <alps/alps.h>

#include "base.h"
#include "fam.h"
#include "region.h"

#define LAYOUT_MAGIC UINT64_C(0x0a70616568737061)      /* "apsheap\n" */
#define LAYOUT_PART_MAGIC UINT64_C(0x0a74726170737061) /* "apspart\n" */
#define LAYOUT_VERSION 5u
#define LAYOUT_BYTE_ORDER 0x01020304u

#define SPAN_SHIFT 16u
#define SPAN_SIZE ((uint64_t)1 << SPAN_SHIFT)

#define LAYOUT_ZONE_MAX 16384u     /* zones in a heap */
#define LAYOUT_INSTANCE_MAX 16383u /* a span's state has 14 bits for its owner */
#define LAYOUT_GENERATION_MIN                                                                      \
    4096u /* that a heap can know at a time, or more, for each instance: */
#define LAYOUT_GENERATIONS_EACH 4u
#define LAYOUT_INTENT_MAX 16u /* alps_malloc_to and alps_free_from at a time, per instance */
#define LAYOUT_PATH_MAX 1024u
#define LAYOUT_HOST_NAME 64u
#define LAYOUT_PART_SKIP ((uint64_t)2 << 20) /* bytes before the data in files 1.. */
#define LAYOUT_LINE 128u                     /* single-writer and shared words are this far apart */
/* A zone says by chunks what memory it has: 64, or as many as make 128 KiB each, up to 256. */
#define LAYOUT_CHUNK_WORDS 4u /* of a bitmap over them */
#define LAYOUT_CHUNK_SIZE (128 * KIB)
#define LAYOUT_PAGE (4 * KIB) /* what a span's memory is counted in */
#define SPAN_PAGES (SPAN_SIZE / LAYOUT_PAGE)

#define LAYOUT_SIZE_MIN (16 * MIB)
#define LAYOUT_CAPACITY_MAX (16 * TIB)
#define LAYOUT_ZONE_SIZE_MIN (1 * MIB)
#define LAYOUT_ZONE_SIZE_MAX (4 * GIB)

/* Features. */
#define LAYOUT_DURABLE ((uint64_t)1) /* the heap survives power failures */
#define LAYOUT_IN_PLACE                                                                            \
    ((uint64_t)2)                   /* in memory that was there before and stays: never cut, never
                                         extended, no holes, not zero where nothing was written */
#define LAYOUT_SHARED ((uint64_t)4) /* several kernels have it open */
#define LAYOUT_FEATURES (LAYOUT_DURABLE | LAYOUT_IN_PLACE | LAYOUT_SHARED)

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

/* Byte 0 of file 0. Written once at creation, magic last, except for the words at the end. */
struct layout_super {
    uint64_t magic;
    uint32_t version;
    uint32_t byte_order;
    uint64_t uuid[2];
    uint64_t checksum;  /* of the bytes up to reserved, with this field as 0 */
    uint64_t features;  /* LAYOUT_DURABLE ... */
    uint64_t created_s; /* seconds since 1970 */
    uint64_t size;      /* as asked at creation */
    uint64_t capacity;
    uint64_t zone_size;
    uint64_t file_spans; /* spans in each file, at capacity */
    uint32_t span_shift;
    uint32_t file_count;
    uint32_t file_zones; /* zones in each file, the last one perhaps not whole */
    uint32_t zone_count; /* file_zones * file_count */
    uint32_t instance_count;
    uint32_t generation_count;
    uint32_t root_count;
    uint32_t intent_count;
    uint64_t generations_offset;
    uint64_t slot_states_offset;
    uint64_t roots_offset;
    uint64_t zones_offset;
    uint64_t instances_offset;
    uint64_t instance_stride;
    uint64_t paths_offset;
    uint64_t meta_offset;
    uint64_t meta_stride; /* metadata of one zone */
    uint64_t data_offset;
    uint64_t reserved[231];
    fam_word_t next_generation; /* byte 2048 */
    uint64_t pad1[15];
    fam_word_t root_lock; /* owner bits of the instance that changes the roots, or 0 */
    uint64_t pad2[15];
    fam_word_t formatting; /* 1 while alps_heap_format is at work or was killed there */
    uint64_t pad3[15];
    fam_word_t boot; /* durable heaps: the kernel that last made sure that the tables are whole */
    uint64_t pad4[15];
    fam_word_t slots_used; /* instance slots that were ever in use: all below it, perhaps */
    uint64_t pad5[15];
    uint64_t reserved2[176];
};
_Static_assert(sizeof(struct layout_super) == 4096, "the superblock is a page");
_Static_assert(offsetof(struct layout_super, next_generation) == 2048, "");

/* Byte 0 of files 1... */
struct layout_part {
    uint64_t magic;
    uint32_t version;
    uint32_t byte_order;
    uint64_t uuid[2]; /* of the heap */
    uint32_t index;
    uint32_t file_count;
    uint64_t checksum; /* with this field as 0 */
};
_Static_assert(sizeof(struct layout_part) == 48, "");

struct layout_root {
    fam_word_t state; /* version << 8 | used */
    fam_word_t ptr;
    fam_word_t name[8]; /* 63 bytes and a NUL, as bytes in memory order */
    uint64_t reserved[6];
};
_Static_assert(sizeof(struct layout_root) == LAYOUT_LINE, "");

struct layout_zone {
    fam_word_t spans; /* spans that exist by now, from the zone's start */
    fam_word_t node;  /* NUMA node + 1, or 0 if not placed */
    fam_word_t meta;  /* 1: the state words of all its spans are backed by memory */
    uint64_t reserved;
    fam_word_t recorded[LAYOUT_CHUNK_WORDS]; /* bit i: the records and R of chunk i are, too */
    fam_word_t releases;                     /* counts the times that spans became free */
    fam_word_t longest; /* hint: low half of releases << 32 | longest free run seen by then */
    uint64_t reserved2[2];
    fam_word_t backed[LAYOUT_CHUNK_WORDS]; /* bit i: all spans of chunk i that exist are, too */
};
_Static_assert(sizeof(struct layout_zone) == LAYOUT_LINE, "");

struct layout_intent {
    fam_word_t op;
    fam_word_t where;       /* offset of the pointer */
    fam_word_t block;       /* offset of the block */
    fam_word_t incarnation; /* of the block's span */
    uint64_t reserved[12];
};
_Static_assert(sizeof(struct layout_intent) == LAYOUT_LINE, "");

/* An instance: this, then two bitmaps over the zones (touched, hinted), each of whole lines. One
 * more slot than there are instances is nobody's: hints about permanent slabs are left there. The
 * slots' states lie in a row elsewhere: who looks for the dead, or for a free slot, reads those. */
struct layout_slot {
    fam_word_t generation; /* its number; 0: none, or permanent. From here: written by the owner */
    fam_word_t pid;
    fam_word_t start_time; /* of the process, in clock ticks since boot */
    fam_word_t kernel[2];  /* host and boot, as the state has them in short */
    fam_word_t heartbeat;  /* when it last gave a sign: seconds since 1970 by its own clock */
    fam_word_t host_name[LAYOUT_HOST_NAME / 8]; /* its beginning, with a NUL, for people */
    uint64_t reserved2[2];
    fam_word_t hinted_classes[2]; /* bit c: an unowned slab of class c may have free blocks.
                                     From here: set by anyone */
    uint64_t reserved3[14];
    struct layout_intent intents[LAYOUT_INTENT_MAX];
};
_Static_assert(sizeof(struct layout_slot) == (2 + LAYOUT_INTENT_MAX) * LAYOUT_LINE, "");

/* ---- a slot's state: status | heirs << 4 | incarnation << 8 | host << 16 | boot << 40 ----
 *
 * Changed by CAS, by who holds the lock on its own kernel.
 * Host and boot are those of the kernel on which the instance, or in SLOT_RECOVERING its heir,
 * runs: 24 bits each of layout_slot.kernel; both are 0 in SLOT_FREE. heirs counts takeovers.
 * SLOT_DECLARED: somebody who knows has said of it that it is dead. */
enum slot_status { SLOT_FREE = 0, SLOT_LIVE = 1, SLOT_RECOVERING = 2, SLOT_DECLARED = 3 };

static inline enum slot_status slot_status(uint64_t state)
{
    return (enum slot_status)(state & 15);
}
static inline unsigned slot_heirs(uint64_t state)
{
    return (unsigned)(state >> 4) & 15;
}
static inline uint32_t slot_incarnation(uint64_t state)
{
    return (uint32_t)(state >> 8) & 255;
}
static inline uint64_t slot_kernel(uint64_t state)
{
    return state >> 16;
}
static inline uint64_t slot_word(enum slot_status status, unsigned heirs, uint32_t incarnation,
                                 uint64_t kernel)
{
    return (uint64_t)status | (uint64_t)(heirs & 15) << 4 | (uint64_t)(incarnation & 255) << 8 |
           kernel << 16;
}

/* What the holder of a span writes: the bitmaps A and C (64 bits a word) and the header. */
struct layout_record {
    fam_word_t allocated[16];
    fam_word_t committed[16];
    fam_word_t incarnation; /* counts the uses of this span as a slab or the start of an extent */
    fam_word_t generation;  /* index in the table of generations | incarnation << 32 */
    fam_word_t length;      /* spans of the slab or extent that starts here */
    fam_word_t last_state;  /* of a free span: what it was, to tell a double free */
    fam_word_t backed; /* of any span: LAYOUT_PAGEs from its start that have memory behind them */
    uint64_t reserved[11];
};
_Static_assert(sizeof(struct layout_record) == 3 * LAYOUT_LINE, "");

static inline uint64_t record_generation(const struct layout_record *record)
{
    return fam_load_acquire(&record->generation) & UINT32_MAX;
}
static inline void record_set_generation(struct layout_record *record, uint64_t index)
{
    fam_store_release(&record->generation, index | fam_load(&record->incarnation) << 32);
}

/* What others write: the bitmap R, 32 bits a word below the incarnation. */
struct layout_released {
    fam_word_t words[127];
    fam_word_t free_from; /* slab's incarnation << 32 | 1: some were freed by alps_free_from */
};
_Static_assert(sizeof(struct layout_released) == 1024, "");

#pragma GCC diagnostic pop

#define LAYOUT_SPAN_META                                                                           \
    (sizeof(fam_word_t) + sizeof(struct layout_record) + sizeof(struct layout_released))

/* ---- the state word of a span ----
 * bits 0..2 kind, 3..9 class, 10..23 owner's slot + 1 or 0, 24..31 owner's incarnation (or flags if
 * there is no owner), 32..63 incarnation, or for SPAN_TAIL the distance to the first span. With
 * SPAN_RESERVED bits 4..9 and 32..63 are a number that tells one time in reserve from another. */
enum span_kind {
    SPAN_FREE = 0,    /* the whole word is 0 */
    SPAN_CLAIMED = 1, /* first span of a run in the making or being given back, by its owner */
    SPAN_TAIL = 2,    /* belongs to what starts distance spans before */
    SPAN_SLAB = 3,    /* slab of a class, owned by an instance or by nobody */
    SPAN_EXTENT = 4   /* first span of an extent */
};

#define SPAN_OWNER_SHIFT 10u
#define SPAN_OWNER_MASK ((uint64_t)0x3fffff << SPAN_OWNER_SHIFT)
#define SPAN_RESERVED                                                                              \
    ((uint64_t)1 << 3) /* claimed run: in its owner's reserve, for anyone to take */
#define SPAN_HINTED ((uint64_t)1 << 24) /* unowned slab: a hint was left that it has free blocks */

static inline enum span_kind span_kind(uint64_t state)
{
    return (enum span_kind)(state & 7);
}
static inline unsigned span_class(uint64_t state)
{
    return (unsigned)(state >> 3) & 127;
}
/* The owner as its bits in place; 0 means nobody, whatever the flags. */
static inline uint64_t span_owner(uint64_t state)
{
    return (state & ((uint64_t)0x3fff << SPAN_OWNER_SHIFT)) == 0 ? 0 : state & SPAN_OWNER_MASK;
}
static inline uint32_t span_incarnation(uint64_t state)
{
    return (uint32_t)(state >> 32);
}
static inline uint64_t span_distance(uint64_t state)
{
    return state >> 32;
}
static inline uint64_t span_claimed(uint64_t owner)
{
    return SPAN_CLAIMED | owner;
}
static inline uint64_t span_reserved(uint64_t owner, uint64_t number)
{
    return SPAN_CLAIMED | SPAN_RESERVED | owner | (number & 63) << 4 | number >> 6 << 32;
}
static inline bool span_is_reserved(uint64_t state)
{
    return span_kind(state) == SPAN_CLAIMED && (state & SPAN_RESERVED) != 0;
}
static inline uint64_t span_tail(uint64_t distance)
{
    return SPAN_TAIL | distance << 32;
}
static inline uint64_t span_slab(unsigned class, uint64_t owner, uint32_t incarnation)
{
    return SPAN_SLAB | (uint64_t) class << 3 | owner | (uint64_t)incarnation << 32;
}
static inline uint64_t span_extent(uint32_t incarnation)
{
    return SPAN_EXTENT | (uint64_t)incarnation << 32;
}
/* Owner bits of an instance: its slot and the low bits of the slot's incarnation. */
static inline uint64_t span_owner_bits(unsigned slot, uint32_t incarnation)
{
    return ((uint64_t)(slot + 1) | (uint64_t)(incarnation & 255) << 14) << SPAN_OWNER_SHIFT;
}
static inline unsigned span_owner_slot(uint64_t owner)
{
    return (unsigned)(owner >> SPAN_OWNER_SHIFT & 0x3fff) - 1;
}

/* ---- a word of the generation table: number << 24 | slot << 8 | flags; 0 is an empty entry ----
 * */
#define GENERATION_USED ((uint64_t)1)
#define GENERATION_OPEN ((uint64_t)2)
#define GENERATION_COMMITTED ((uint64_t)4)
#define GENERATION_FREEING ((uint64_t)8) /* alps_bulk_free has begun */
#define GENERATION_NUMBER_MAX (((uint64_t)1 << 40) - 1)

static inline uint64_t generation_word(alps_gen_t number, unsigned slot, uint64_t flags)
{
    return number << 24 | (uint64_t)slot << 8 | flags;
}
static inline alps_gen_t generation_number(uint64_t word)
{
    return word >> 24;
}
static inline unsigned generation_slot(uint64_t word)
{
    return (unsigned)(word >> 8) & 0xffff;
}

/* ---- the mapped heap ---- */

struct layout {
    struct region region;
    uint64_t data_offset;
    uint64_t span_count; /* of the address range: zone_count whole zones */
    uint64_t file_spans;
    uint64_t zone_spans;
    unsigned zone_shift; /* log2 of zone_spans */
    unsigned zone_count;
    unsigned file_zones;
    unsigned zone_words; /* words of a bitmap over the zones */
    unsigned instance_count;
    unsigned generation_count;
    unsigned root_count;
    uint64_t slot_states_offset;
    uint64_t roots_offset;
    uint64_t zones_offset;
    uint64_t instances_offset;
    uint64_t instance_stride;
    uint64_t meta_offset;
    uint64_t meta_stride;
    uint64_t chunk_shift; /* log2 of the spans in a chunk of a zone */
    bool durable;
    bool shared; /* by several kernels */
};

/* ---- durability: for heaps that have it; nothing otherwise ----
 *
 * What must be there before something else is flushed, and then waited for. */
void layout_wait(const struct layout *layout);

static inline void layout_flush(const struct layout *l, const fam_word_t *word)
{
    if (UNLIKELY(l->durable))
        fam_flush(word);
}
static inline void layout_fence(const struct layout *l)
{
    if (UNLIKELY(l->durable))
        layout_wait(l);
}
static inline void layout_persist(const struct layout *l, const fam_word_t *word)
{
    layout_flush(l, word);
    layout_fence(l);
}
/* Flushes words in a row. */
static inline void layout_flush_words(const struct layout *l, const fam_word_t *words,
                                      uint64_t count)
{
    if (LIKELY(!l->durable) || count == 0)
        return;
    const fam_word_t *last = words + count - 1;
    for (; words < last; words += 64 / sizeof *words)
        fam_flush(words);
    fam_flush(last);
}

static inline void *layout_at(const struct layout *l, uint64_t offset)
{
    return l->region.base + offset;
}
static inline struct layout_super *layout_super(const struct layout *l)
{
    return layout_at(l, 0);
}
static inline fam_word_t *layout_generation(const struct layout *l, uint64_t index)
{
    return (fam_word_t *)layout_at(l, sizeof(struct layout_super)) + index;
}
static inline struct layout_root *layout_root(const struct layout *l, unsigned index)
{
    return (struct layout_root *)layout_at(l, l->roots_offset) + index;
}
static inline struct layout_zone *layout_zone(const struct layout *l, uint64_t zone)
{
    return (struct layout_zone *)layout_at(l, l->zones_offset) + zone;
}
static inline struct layout_slot *layout_slot(const struct layout *l, unsigned slot)
{
    return layout_at(l, l->instances_offset + slot * l->instance_stride);
}
/* See slot_word. */
static inline fam_word_t *layout_slot_state(const struct layout *l, unsigned slot)
{
    return (fam_word_t *)layout_at(l, l->slot_states_offset) + slot;
}
/* Slots from this one on are free and were never used. */
static inline unsigned layout_slots_used(const struct layout *l)
{
    return (unsigned)min_u64(fam_load_acquire(&layout_super(l)->slots_used), l->instance_count);
}
/* Bitmaps over the zones: those that an instance ever claimed or owned something in ... */
static inline fam_word_t *layout_touched(const struct layout *l, struct layout_slot *slot)
{
    (void)l;
    return (fam_word_t *)(slot + 1);
}
/* ... and those where one of its unowned slabs got free blocks. */
static inline fam_word_t *layout_hinted(const struct layout *l, struct layout_slot *slot)
{
    return layout_touched(l, slot) + l->zone_words;
}

static inline uint64_t layout_zone_of(const struct layout *l, uint64_t span)
{
    return span >> l->zone_shift;
}
static inline char *layout_meta(const struct layout *l, uint64_t span)
{
    return layout_at(l, l->meta_offset + (span >> l->zone_shift) * l->meta_stride);
}
static inline fam_word_t *layout_state(const struct layout *l, uint64_t span)
{
    return (fam_word_t *)(void *)layout_meta(l, span) + (span & (l->zone_spans - 1));
}
static inline struct layout_record *layout_record(const struct layout *l, uint64_t span)
{
    char *records =
        layout_meta(l, span) + align_up(l->zone_spans * sizeof(fam_word_t), LAYOUT_LINE);
    return (struct layout_record *)(void *)records + (span & (l->zone_spans - 1));
}
static inline struct layout_released *layout_released(const struct layout *l, uint64_t span)
{
    char *records =
        layout_meta(l, span) + align_up(l->zone_spans * sizeof(fam_word_t), LAYOUT_LINE);
    return (struct layout_released *)(void *)(records +
                                              l->zone_spans * sizeof(struct layout_record)) +
           (span & (l->zone_spans - 1));
}
static inline uint64_t layout_span_offset(const struct layout *l, uint64_t span)
{
    return l->data_offset + (span << SPAN_SHIFT);
}
/* Span of an offset; span_count or more if the offset lies outside the data. */
static inline uint64_t layout_span_of(const struct layout *l, uint64_t offset)
{
    return (offset - l->data_offset) >> SPAN_SHIFT;
}
/* Spans that a zone may come to have. */
static inline uint64_t layout_zone_limit(const struct layout *l, uint64_t zone)
{
    uint64_t first = (zone % l->file_zones) << l->zone_shift;
    return first >= l->file_spans ? 0 : min_u64(l->zone_spans, l->file_spans - first);
}
/* Spans of a zone whose states can be read; 0 if it was never used. */
static inline uint64_t layout_zone_spans(const struct layout *l, uint64_t zone)
{
    const struct layout_zone *z = layout_zone(l, zone);
    if (fam_load_acquire(&z->meta) == 0)
        return 0;
    return min_u64(fam_load(&z->spans), l->zone_spans);
}

/* Spans that exist, in all zones; counts until there are enough. */
static inline uint64_t layout_present(const struct layout *l, uint64_t enough)
{
    uint64_t spans = 0;
    for (uint64_t zone = 0; zone < l->zone_count && spans < enough; zone++)
        spans += fam_load(&layout_zone(l, zone)->spans);
    return min_u64(spans, enough);
}

/* A span's chunk in its zone, and its bit in the words that tell what is backed of it. */
static inline uint64_t layout_chunk(const struct layout *l, uint64_t span)
{
    return (span & (l->zone_spans - 1)) >> l->chunk_shift;
}
static inline uint64_t layout_chunk_bit(const struct layout *l, uint64_t span)
{
    return (uint64_t)1 << (layout_chunk(l, span) & 63);
}
static inline fam_word_t *layout_recorded(const struct layout *l, uint64_t span)
{
    return &layout_zone(l, layout_zone_of(l, span))->recorded[layout_chunk(l, span) >> 6];
}
static inline fam_word_t *layout_backed(const struct layout *l, uint64_t span)
{
    return &layout_zone(l, layout_zone_of(l, span))->backed[layout_chunk(l, span) >> 6];
}
/* Whether there is memory behind the records of a span's chunk. */
static inline bool layout_is_recorded(const struct layout *l, uint64_t span)
{
    return (fam_load_acquire(layout_recorded(l, span)) & layout_chunk_bit(l, span)) != 0;
}
/* Whether all metadata of a span can be read: it exists, and its chunk was used. */
static inline bool layout_span_known(const struct layout *l, uint64_t span)
{
    return span < l->span_count && layout_is_recorded(l, span) &&
           (span & (l->zone_spans - 1)) < fam_load(&layout_zone(l, layout_zone_of(l, span))->spans);
}
/* Whether there is memory behind the first bytes of a span. */
static inline bool layout_span_backed(const struct layout *l, uint64_t span, uint64_t bytes)
{
    return (fam_load_acquire(layout_backed(l, span)) & layout_chunk_bit(l, span)) != 0 ||
           (layout_span_known(l, span) &&
            bytes <= fam_load_acquire(&layout_record(l, span)->backed) * LAYOUT_PAGE);
}

/* State of a span, SPAN_FREE if nothing is known of it. */
static inline uint64_t layout_span_state(const struct layout *l, uint64_t span)
{
    return layout_span_known(l, span) ? fam_load_acquire(layout_state(l, span)) : SPAN_FREE;
}

/* Creates the files of a heap. */
int layout_create(const char *const *paths, unsigned count,
                  const struct alps_create_options *options);

/* Makes a heap in memory of this process alone and maps it; hint is an address or NULL. */
int layout_create_private(struct layout *l, const struct alps_create_options *options, void *hint);

/* How a heap is opened. */
enum layout_access {
    LAYOUT_READ,     /* shared with others, for reading */
    LAYOUT_WRITE,    /* shared with others */
    LAYOUT_EXCLUSIVE /* with nobody else: to format or destroy it; a half-formatted one is good */
};

/* Maps an existing heap after checking everything that the superblock says. */
int layout_open(struct layout *l, const char *const *paths, unsigned count, void *map_hint,
                enum layout_access access);
void layout_close(struct layout *l);

/* Empties a heap opened with LAYOUT_EXCLUSIVE. */
int layout_format(struct layout *l);

/* Removes the files of a heap opened with LAYOUT_EXCLUSIVE; of one in place, what says that it is
 * one. */
int layout_remove(struct layout *l);

/* Paths of all files, as recorded in the heap whose first file this is: sets *paths to an array of
 * *count strings in one piece of memory that the caller frees. */
int layout_paths(const char *path, char ***paths, unsigned *count);

/* Present size in bytes as the user counts it (management included), and spans for such a size. */
uint64_t layout_size_of_spans(const struct layout *l, uint64_t spans);
uint64_t layout_spans_of_size(const struct layout *l, uint64_t size);

/* Makes spans exist: raises a zone's number of spans, with the file long enough before. */
int layout_extend_zone(struct layout *l, uint64_t zone, uint64_t spans);

/* Secures the memory behind the metadata of a run of spans, if that was not done yet. */
int layout_back_meta(struct layout *l, uint64_t first, uint64_t count);

/* Secures the memory behind the first bytes of a run that the caller has claimed, as far as that
 * was not done yet. */
int layout_back(struct layout *l, uint64_t first, uint64_t bytes);

#endif
