#include "blocks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#define GRANULE 16u

bool blocks_sanitized(void)
{
#if defined(SANITIZED)
    return true;
#else
    return false;
#endif
}

bool blocks_slow(void)
{
#ifdef ALPS_PARANOID
    return true;
#else
    return blocks_sanitized();
#endif
}

unsigned blocks_scaled(unsigned count)
{
    double scale = blocks_slow() ? 0.125 : 1;
    const char *wanted = getenv("ALPS_TEST_SCALE");
    if (wanted != NULL)
        scale *= strtod(wanted, NULL);
    double scaled = count * scale;
    return scaled < 1 ? 1 : scaled > 4e9 ? 4000000000u : (unsigned)scaled;
}

bool rng_chance(struct test_rng *rng, unsigned one_in)
{
    return test_rng_next(rng) % one_in == 0;
}

size_t rng_size(struct test_rng *rng, size_t largest)
{
    uint64_t limit;
    switch (test_rng_below(rng, 16)) {
    default: /* 9 in 16 */
        limit = 256;
        break;
    case 9:
    case 10:
    case 11:
        limit = 4096;
        break;
    case 12:
    case 13:
        limit = 64 * KIB;
        break;
    case 14: { /* a power of two or next to it */
        uint64_t size = ((uint64_t)1 << test_rng_below(rng, 22)) + test_rng_below(rng, 3) - 1;
        return size == 0 || size > largest ? 1 : size;
    }
    case 15:
        limit = rng_chance(rng, 8) ? largest : 512 * KIB;
        break;
    }
    return 1 + test_rng_below(rng, limit < largest ? limit : largest);
}

/* ---- contents: word i is seed + (i + 1) * a large odd number ---- */

#define STEP UINT64_C(0x9e3779b97f4a7c15)

void blocks_fill(void *at, size_t size, uint64_t seed)
{
    char *to = at;
    size_t words = size / 8;
    uint64_t word = seed;
    for (size_t i = 0; i < words; i++) {
        word += STEP;
        memcpy(to + 8 * i, &word, 8);
    }
    word += STEP;
    memcpy(to + 8 * words, &word, size % 8);
}

size_t blocks_differ(const void *at, size_t size, uint64_t seed)
{
    const char *from = at;
    uint64_t word = seed;
    for (size_t i = 0; i < size; i += 8) {
        size_t length = size - i < 8 ? size - i : 8;
        uint64_t found = 0;
        word += STEP;
        memcpy(&found, from + i, length);
        if (length == 8 ? found == word : memcmp(&found, &word, length) == 0)
            continue;
        for (size_t j = 0; j < length; j++)
            if (((const char *)&found)[j] != ((const char *)&word)[j])
                return i + j;
    }
    return size;
}

size_t blocks_not_zero(const void *at, size_t size)
{
    const char *from = at;
    for (size_t i = 0; i < size; i++)
        if (from[i] != 0)
            return i;
    return size;
}

void *blocks_shared(size_t length)
{
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

void blocks_unshare(void *memory, size_t length)
{
    CHECK_EQ(munmap(memory, length), 0);
}

/* ---- shadow ---- */

static size_t shadow_length(uint64_t heap_bytes)
{
    return (size_t)(heap_bytes / GRANULE / 8 + 8);
}

struct shadow shadow_make(uint64_t heap_bytes)
{
    return (struct shadow){blocks_shared(shadow_length(heap_bytes)), heap_bytes};
}

void shadow_free(struct shadow *shadow)
{
    blocks_unshare(shadow->words, shadow_length(shadow->bytes));
    shadow->words = NULL;
}

/* Sets or clears the bits of a block; false if one of them was so before. */
static bool shadow_mark(struct shadow *shadow, alps_ptr_t ptr, size_t size, bool set)
{
    uint64_t first = ptr / GRANULE, end = (ptr + size + GRANULE - 1) / GRANULE;
    bool clean = true;
    while (first < end) {
        uint64_t bit = first % 64, count = end - first < 64 - bit ? end - first : 64 - bit;
        uint64_t mask = (count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1) << bit;
        uint64_t *word = &shadow->words[first / 64];
        uint64_t before = set ? __atomic_fetch_or(word, mask, __ATOMIC_RELAXED)
                              : __atomic_fetch_and(word, ~mask, __ATOMIC_RELAXED);
        clean = clean && (before & mask) == (set ? 0 : mask);
        first += count;
    }
    return clean;
}

bool shadow_claim(struct shadow *shadow, alps_ptr_t ptr, size_t size)
{
    CHECK(ptr < shadow->bytes && size <= shadow->bytes - ptr);
    return shadow_mark(shadow, ptr, size, true);
}

bool shadow_drop(struct shadow *shadow, alps_ptr_t ptr, size_t size)
{
    return shadow_mark(shadow, ptr, size, false);
}

/* ---- lists ---- */

void blocks_add(struct blocks *blocks, struct block block)
{
    if (blocks->count == blocks->capacity) {
        size_t capacity = blocks->capacity == 0 ? 64 : 2 * blocks->capacity;
        struct block *items = realloc(blocks->items, capacity * sizeof *items);
        CHECK(items != NULL);
        blocks->items = items;
        blocks->capacity = capacity;
    }
    blocks->items[blocks->count++] = block;
}

struct block blocks_take(struct blocks *blocks, size_t index)
{
    CHECK(index < blocks->count);
    struct block block = blocks->items[index];
    blocks->items[index] = blocks->items[--blocks->count];
    return block;
}

void blocks_append(struct blocks *blocks, const struct blocks *others)
{
    for (size_t i = 0; i < others->count; i++)
        blocks_add(blocks, others->items[i]);
}

static int by_ptr(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    return (x->ptr > y->ptr) - (x->ptr < y->ptr);
}

void blocks_sort(struct blocks *blocks)
{
    if (blocks->count != 0)
        qsort(blocks->items, blocks->count, sizeof *blocks->items, by_ptr);
}

void blocks_clear(struct blocks *blocks)
{
    free(blocks->items);
    *blocks = (struct blocks){0};
}

struct block block_begin(alps_heap_t *heap, struct shadow *shadow, alps_ptr_t ptr, size_t size,
                         uint64_t seed, alps_gen_t generation)
{
    struct block block = {ptr, size, alps_usable_size(heap, ptr), seed, generation};
    CHECK(ptr != ALPS_NULL && ptr % 16 == 0);
    CHECK(block.usable >= size && block.usable >= 1);
    CHECK(shadow == NULL || shadow_claim(shadow, ptr, block.usable));
    blocks_fill(alps_deref(heap, ptr), size, seed);
    return block;
}

void block_verify(alps_heap_t *heap, const struct block *block)
{
    CHECK_EQ(blocks_differ(alps_deref(heap, block->ptr), block->size, block->seed), block->size);
}

void block_end(alps_heap_t *heap, struct shadow *shadow, const struct block *block)
{
    block_verify(heap, block);
    CHECK(shadow == NULL || shadow_drop(shadow, block->ptr, block->usable));
}

/* ---- what the library says ---- */

static int add_visited(const struct alps_block *found, void *context)
{
    struct blocks *blocks = context;
    if (blocks->count != 0) {
        const struct block *last = &blocks->items[blocks->count - 1];
        CHECK(found->ptr >= last->ptr + last->usable);
    }
    blocks_add(blocks, (struct block){.ptr = found->ptr,
                                      .size = found->size,
                                      .usable = found->size,
                                      .generation = found->generation});
    return 0;
}

struct blocks blocks_walk(alps_heap_t *heap)
{
    struct blocks found = {0};
    CHECK_ERR(alps_heap_walk(heap, add_visited, &found), 0);
    return found;
}

void blocks_check_heap(alps_heap_t *heap)
{
    struct alps_check report = {.struct_size = sizeof report};
    int rc = alps_heap_check(heap, &report);
    if (rc != 0)
        fprintf(stderr, "alps_heap_check: %d, %" PRIu64 " problems, first: %.256s\n", rc,
                report.problems, report.first);
    CHECK_EQ(rc, 0);
    CHECK_EQ(report.problems, 0);
}

struct alps_stats blocks_stats(alps_heap_t *heap)
{
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    return stats;
}

/* Names the first block in which two sorted lists differ. */
static void print_difference(const struct blocks *found, const struct blocks *expected)
{
    size_t i = 0;
    while (i < found->count && i < expected->count &&
           found->items[i].ptr == expected->items[i].ptr &&
           found->items[i].usable == expected->items[i].usable &&
           found->items[i].generation == expected->items[i].generation)
        i++;
    fprintf(stderr, "the heap has %zu blocks, expected are %zu\n", found->count, expected->count);
    const struct blocks *lists[] = {found, expected};
    for (int j = 0; j < 2; j++)
        if (i < lists[j]->count)
            fprintf(stderr, "%s: block %zu is %#" PRIx64 ", %zu bytes, generation %" PRIu64 "\n",
                    j == 0 ? "found" : "expected", i, lists[j]->items[i].ptr,
                    lists[j]->items[i].usable, lists[j]->items[i].generation);
}

static bool same(const struct blocks *a, const struct blocks *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (a->items[i].ptr != b->items[i].ptr || a->items[i].usable != b->items[i].usable ||
            a->items[i].generation != b->items[i].generation)
            return false;
    return a->count == b->count;
}

void blocks_expect(alps_heap_t *heap, struct blocks *expected)
{
    struct blocks found = blocks_walk(heap);
    blocks_sort(expected);
    bool equal = same(&found, expected);
    if (!equal)
        print_difference(&found, expected);
    CHECK(equal);

    struct alps_stats stats = blocks_stats(heap);
    uint64_t bytes = 0, permanent = 0;
    for (size_t i = 0; i < found.count; i++) {
        bytes += found.items[i].usable;
        permanent += found.items[i].generation == ALPS_PERMANENT;
    }
    CHECK_EQ(stats.live_blocks, found.count);
    CHECK_EQ(stats.live_bytes, bytes);
    CHECK_EQ(stats.permanent_blocks, permanent);
    CHECK(stats.span_bytes >= bytes && stats.usable_bytes >= stats.span_bytes);
    blocks_check_heap(heap);
    blocks_clear(&found);
}

/* ---- heaps ---- */

struct alps_create_options blocks_options(uint64_t size, uint64_t capacity)
{
    return (struct alps_create_options){
        .struct_size = sizeof(struct alps_create_options), .size = size, .capacity = capacity};
}

static void print_detail(int rc)
{
    if (rc != 0)
        fprintf(stderr, "%s: %s\n", alps_strerror(rc), alps_error_detail());
}

void heap_make(const char *path, uint64_t size, uint64_t capacity)
{
    struct alps_create_options options = blocks_options(size, capacity);
    int rc = alps_heap_create(path, &options);
    print_detail(rc);
    CHECK_EQ(rc, 0);
}

alps_heap_t *heap_open_with(const char *path, unsigned flags)
{
    alps_heap_t *heap = NULL;
    struct alps_open_options options = {.struct_size = sizeof options, .flags = flags};
    int rc = alps_heap_open(path, &options, &heap);
    print_detail(rc);
    CHECK_EQ(rc, 0);
    CHECK(heap != NULL);
    return heap;
}

alps_heap_t *heap_open(const char *path)
{
    return heap_open_with(path, 0);
}

size_t heap_fill(alps_heap_t *heap, size_t size, struct blocks *blocks)
{
    size_t count = 0;
    alps_ptr_t ptr;
    alps_gen_t generation = alps_heap_generation(heap);
    while ((ptr = alps_malloc(heap, size, ALPS_ANY_NODE)) != ALPS_NULL) {
        blocks_add(blocks, (struct block){.ptr = ptr,
                                          .size = size,
                                          .usable = alps_usable_size(heap, ptr),
                                          .generation = generation});
        count++;
    }
    CHECK_EQ(errno, ENOMEM);
    return count;
}

void heap_free_all(alps_heap_t *heap, struct blocks *blocks)
{
    for (size_t i = 0; i < blocks->count; i++)
        CHECK_ERR(alps_free(heap, blocks->items[i].ptr), 0);
    blocks_clear(blocks);
}
