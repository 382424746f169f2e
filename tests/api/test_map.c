/* Where a heap lies in memory and in files: mapping hints, remapping, reopening elsewhere, several
 * files. */
#include <alps/alps.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blocks.h"
#include "test.h"

/* Base address of a heap: that of offset 0. */
static char *base_of(const alps_heap_t *heap)
{
    return (char *)alps_deref(heap, 4096) - 4096;
}

static void allocate(alps_heap_t *heap, struct test_rng *rng, unsigned count, struct blocks *blocks)
{
    for (unsigned i = 0; i < count; i++) {
        size_t size = rng_size(rng, 2 * MIB);
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        blocks_add(blocks, block_begin(heap, NULL, p, size, test_rng_next(rng),
                                       alps_heap_generation(heap)));
    }
}

static void free_some(alps_heap_t *heap, struct test_rng *rng, size_t count, struct blocks *blocks)
{
    for (size_t i = 0; i < count; i++) {
        struct block block = blocks_take(blocks, test_rng_below(rng, blocks->count));
        block_end(heap, NULL, &block);
        CHECK_ERR(alps_free(heap, block.ptr), 0);
    }
}

static void verify(alps_heap_t *heap, struct blocks *blocks)
{
    blocks_expect(heap, blocks);
    for (size_t i = 0; i < blocks->count; i++)
        block_verify(heap, &blocks->items[i]);
}

/* An address range that is free now; it stays so in a process with one thread. */
static char *free_range(size_t length)
{
    char *range =
        mmap(NULL, length + 4 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(range != MAP_FAILED);
    CHECK_EQ(munmap(range, length + 4 * MIB), 0);
    return (char *)(((uintptr_t)range + 2 * MIB - 1) & ~(uintptr_t)(2 * MIB - 1));
}

TEST(map, a_hint_is_honoured_if_it_is_free)
{
    const char *path = test_heap_path();
    heap_make(path, 32 * MIB, 256 * MIB);
    char *hint = free_range(300 * MIB);
    struct alps_open_options options = {.struct_size = sizeof options, .map_hint = hint};
    alps_heap_t *heap, *other;
    CHECK_ERR(alps_heap_open(path, &options, &heap), 0);
    CHECK_EQ(base_of(heap), hint);
    CHECK_ERR(alps_heap_open(path, &options, &other), 0); /* taken now: elsewhere */
    CHECK(base_of(other) != hint);
    alps_ptr_t p = alps_malloc(heap, 100, ALPS_ANY_NODE);
    blocks_fill(alps_deref(heap, p), 100, 5);
    CHECK_EQ(blocks_differ(alps_deref(other, p), 100, 5), 100);
    CHECK_ERR(alps_heap_close(other), 0);
    CHECK_EQ(blocks_differ(alps_deref(heap, p), 100, 5), 100);
    CHECK_ERR(alps_heap_close(heap), 0);

    /* Something else lies there, and stays. */
    char *page = mmap(hint + 10 * MIB, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK_EQ(page, hint + 10 * MIB);
    memset(page, 7, 4096);
    CHECK_ERR(alps_heap_open(path, &options, &heap), 0);
    CHECK(base_of(heap) != hint);
    CHECK_ERR(alps_heap_remap(heap, hint), 0);
    CHECK(base_of(heap) != hint);
    CHECK_EQ(blocks_differ(alps_deref(heap, p), 100, 5), 100);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK(page[0] == 7 && page[4095] == 7);
}

TEST(map, an_address_tells_its_handle)
{
    const char *path = test_heap_path();
    heap_make(path, 32 * MIB, 256 * MIB);
    struct alps_open_options readonly = {.struct_size = sizeof readonly,
                                         .flags = ALPS_OPEN_READONLY};
    alps_heap_t *heap = heap_open(path), *other = heap_open(path), *third;
    CHECK_ERR(alps_heap_open(path, &readonly, &third), 0);
    CHECK_EQ(alps_heap_at(base_of(heap)), heap);
    CHECK_EQ(alps_heap_at(base_of(heap) + 256 * MIB - 1), heap);
    CHECK_EQ(alps_heap_at(base_of(other)), other);
    CHECK_EQ(alps_heap_at(base_of(third)), third);
    CHECK(alps_heap_at(&heap) == NULL);
    CHECK(alps_heap_at(NULL) == NULL);

    char *before = base_of(other);
    CHECK_ERR(alps_heap_remap(other, NULL), 0);
    CHECK_EQ(alps_heap_at(base_of(other)), other);
    CHECK(alps_heap_at(before) == NULL);
    char *closed = base_of(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK(alps_heap_at(closed) == NULL);
    CHECK_EQ(alps_heap_at(base_of(other)), other);
    heap = heap_open(path);
    CHECK_EQ(alps_heap_at(base_of(heap)), heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_close(other), 0);
    CHECK_ERR(alps_heap_close(third), 0);
}

TEST(map, remapping_keeps_pointers_and_contents)
{
    const char *path = test_heap_path();
    heap_make(path, 32 * MIB, 512 * MIB);
    struct test_rng rng = test_rng(1);
    struct blocks blocks = {0};
    alps_heap_t *heap = heap_open(path), *other = heap_open(path);
    char *others = base_of(other);
    for (unsigned round = 0; round < 6; round++) {
        allocate(heap, &rng, 60, &blocks);
        char *before = base_of(heap), *hint = round % 2 == 0 ? NULL : free_range(600 * MIB);
        CHECK_ERR(alps_heap_remap(heap, hint), 0);
        CHECK(base_of(heap) != before);
        CHECK(hint == NULL || base_of(heap) == hint);
        CHECK_EQ((uintptr_t)base_of(heap) % (2 * MIB), 0);
        CHECK_EQ(alps_ref(heap, before + 4096), ALPS_NULL);
        CHECK_EQ(alps_ref(heap, base_of(heap) + 4096), 4096);
        CHECK_EQ(base_of(other), others);
        verify(heap, &blocks);
        verify(other, &blocks);
        free_some(heap, &rng, 10, &blocks);
        free_some(other, &rng, 10, &blocks);
        allocate(heap, &rng, 20, &blocks);
        verify(other, &blocks);
    }
    CHECK_ERR(alps_heap_remap(heap, base_of(heap) + 4096), -EINVAL);
    verify(heap, &blocks);
    CHECK_ERR(alps_heap_close(heap), 0);
    verify(other, &blocks);
    heap_free_all(other, &blocks);
    CHECK_ERR(alps_heap_close(other), 0);
}

/* ---- a linked structure, walked by offsets ---- */

struct entry {
    alps_ptr_t next, previous;
    alps_ptr_t payload;
    uint64_t seed, size;
};

static void build(alps_heap_t *heap, unsigned count, struct test_rng *rng)
{
    alps_ptr_t first = ALPS_NULL, last = ALPS_NULL;
    for (unsigned i = 0; i < count; i++) {
        alps_ptr_t at = alps_malloc(heap, sizeof(struct entry), ALPS_ANY_NODE);
        CHECK(at != ALPS_NULL);
        struct entry *entry = alps_deref(heap, at);
        *entry = (struct entry){
            .previous = last, .seed = test_rng_next(rng), .size = rng_size(rng, 100 * KIB)};
        entry->payload = alps_malloc(heap, entry->size, ALPS_ANY_NODE);
        CHECK(entry->payload != ALPS_NULL);
        blocks_fill(alps_deref(heap, entry->payload), entry->size, entry->seed);
        if (last == ALPS_NULL)
            first = at;
        else
            ((struct entry *)alps_deref(heap, last))->next = at;
        last = at;
    }
    CHECK_ERR(alps_root_set(heap, "first", first), 0);
    CHECK_ERR(alps_root_set(heap, "last", last), 0);
}

static unsigned follow(alps_heap_t *heap)
{
    unsigned count = 0;
    alps_ptr_t previous = ALPS_NULL;
    for (alps_ptr_t at = alps_root_get(heap, "first"); at != ALPS_NULL; count++) {
        const struct entry *entry = alps_deref(heap, at);
        CHECK_EQ(entry->previous, previous);
        CHECK_EQ(blocks_differ(alps_deref(heap, entry->payload), entry->size, entry->seed),
                 entry->size);
        previous = at;
        at = entry->next;
    }
    CHECK_EQ(alps_root_get(heap, "last"), previous);
    return count;
}

/* Removes every second entry. */
static unsigned thin(alps_heap_t *heap)
{
    unsigned removed = 0;
    alps_ptr_t at = alps_root_get(heap, "first");
    while (at != ALPS_NULL) {
        struct entry *entry = alps_deref(heap, at);
        alps_ptr_t victim = entry->next;
        if (victim == ALPS_NULL)
            break;
        struct entry *gone = alps_deref(heap, victim);
        entry->next = gone->next;
        if (gone->next != ALPS_NULL)
            ((struct entry *)alps_deref(heap, gone->next))->previous = at;
        else
            CHECK_ERR(alps_root_set(heap, "last", at), 0);
        CHECK_ERR(alps_free(heap, gone->payload), 0);
        CHECK_ERR(alps_free(heap, victim), 0);
        removed++;
        at = entry->next;
    }
    return removed;
}

struct reader {
    const char *path;
    unsigned expected;
    char *elsewhere;
};

static void read_elsewhere(void *context)
{
    struct reader *reader = context;
    struct alps_open_options options = {
        .struct_size = sizeof options, .map_hint = reader->elsewhere, .flags = ALPS_OPEN_READONLY};
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open(reader->path, &options, &heap), 0);
    CHECK_EQ(base_of(heap), reader->elsewhere);
    CHECK_EQ(follow(heap), reader->expected);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(persist, a_linked_structure_is_found_again_at_another_address)
{
    const char *path = test_heap_path();
    heap_make(path, 32 * MIB, 512 * MIB);
    struct test_rng rng = test_rng(1);
    alps_heap_t *heap = heap_open(path);
    unsigned count = 1000;
    build(heap, count, &rng);
    CHECK_EQ(follow(heap), count);
    while (count > 1) {
        char *here = base_of(heap), *keep = NULL;
        CHECK_ERR(alps_heap_close(heap), 0);
        /* The old place is taken, so the heap comes to lie elsewhere. */
        keep =
            mmap(here, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        CHECK_EQ(keep, here);
        heap = heap_open(path);
        CHECK(base_of(heap) != here);
        CHECK_EQ(munmap(keep, 4096), 0);
        CHECK_EQ(follow(heap), count);
        unsigned removed = thin(heap);
        count -= removed;
        CHECK_EQ(follow(heap), count);
        CHECK_EQ(blocks_stats(heap).live_blocks, 2 * count);
        struct reader reader = {path, count, free_range(600 * MIB)};
        test_join(test_fork(read_elsewhere, &reader));
    }
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* ---- several files ---- */

enum { FILES = 5 };

struct files {
    const char *paths[FILES];
    unsigned count;
};

static struct files files_make(unsigned count, uint64_t size, uint64_t capacity)
{
    struct files f = {.count = count};
    for (unsigned i = 0; i < count; i++)
        f.paths[i] = test_heap_path();
    struct alps_create_options options = blocks_options(size, capacity);
    options.mode = 0640;
    CHECK_ERR(alps_heap_create_files(f.paths, count, &options), 0);
    for (unsigned i = 0; i < count; i++) {
        struct stat status;
        CHECK_EQ(stat(f.paths[i], &status), 0);
        CHECK_EQ(status.st_mode & 07777, 0640);
    }
    return f;
}

static alps_heap_t *files_open(const struct files *f)
{
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open_files(f->paths, f->count, NULL, &heap), 0);
    return heap;
}

TEST(files, blocks_of_all_sizes_live_in_one_to_five_files)
{
    for (unsigned count = 1; count <= FILES; count++) {
        struct files f = files_make(count, 64 * MIB, 640 * MIB);
        struct test_rng rng = test_rng(count);
        struct blocks blocks = {0};
        alps_heap_t *heap = files_open(&f), *other = files_open(&f);
        CHECK_EQ(blocks_stats(heap).files, count);
        CHECK(blocks_stats(heap).size >= 60 * MIB && blocks_stats(heap).size <= 64 * MIB);
        CHECK(blocks_stats(heap).capacity >= 600 * MIB);
        allocate(heap, &rng, 500, &blocks);
        static const size_t large[] = {5000000, 20000000, 100000000};
        for (unsigned i = 0; i < 3; i++) {
            alps_ptr_t p = alps_malloc(other, large[i], ALPS_ANY_NODE);
            CHECK(p != ALPS_NULL);
            blocks_add(&blocks, block_begin(heap, NULL, p, large[i], test_rng_next(&rng),
                                            alps_heap_generation(other)));
        }
        verify(other, &blocks);
        CHECK_ERR(alps_heap_remap(heap, NULL), 0);
        verify(heap, &blocks);
        free_some(other, &rng, 100, &blocks);
        CHECK_ERR(alps_heap_close(other), 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        heap = files_open(&f);
        verify(heap, &blocks);
        free_some(heap, &rng, 100, &blocks);
        verify(heap, &blocks);
        heap_free_all(heap, &blocks);
        /* To the last byte: 100,000-byte blocks fill nine tenths of all files. */
        heap_fill(heap, 100000, &blocks);
        CHECK(blocks.count * 100000 > 560 * MIB);
        heap_free_all(heap, &blocks);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_ERR(alps_heap_destroy(f.paths[0]), 0);
        for (unsigned i = 0; i < count; i++)
            CHECK(access(f.paths[i], F_OK) != 0);
    }
}

TEST(files, all_are_needed_in_their_order)
{
    struct files f = files_make(3, 64 * MIB, 0), g = files_make(3, 64 * MIB, 0);
    alps_heap_t *heap = files_open(&f);
    alps_ptr_t p = alps_malloc(heap, 1000, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_heap_close(heap), 0);
    const char *const *a = f.paths, *const *b = g.paths;
    const char *wrong[][4] = {
        {a[0], a[2], a[1], NULL}, {a[1], a[0], a[2], NULL}, {a[2], a[1], a[0], NULL},
        {a[0], a[1], NULL, NULL}, {a[0], NULL, NULL, NULL}, {a[1], NULL, NULL, NULL},
        {a[0], a[1], b[2], NULL}, {b[0], a[1], a[2], NULL}, {a[0], a[1], a[1], NULL},
        {a[0], a[0], a[0], NULL}, {a[0], a[1], a[2], b[2]}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        unsigned count = 0;
        while (count < 4 && wrong[i][count] != NULL)
            count++;
        int rc = alps_heap_open_files(wrong[i], count, NULL, &heap);
        CHECK(rc == -EINVAL || rc == -EMEDIUMTYPE || rc == -EUCLEAN);
        CHECK(alps_error_detail()[0] != '\0');
    }
    /* One is missing, cut off, or something else. */
    const char *aside = test_heap_path();
    CHECK_EQ(rename(a[1], aside), 0);
    CHECK_ERR(alps_heap_open_files(a, 3, NULL, &heap), -ENOENT);
    CHECK(strstr(alps_error_detail(), a[1]) != NULL);
    CHECK_EQ(symlink("/dev/null", a[1]), 0);
    int rc = alps_heap_open_files(a, 3, NULL, &heap);
    CHECK(rc == -EMEDIUMTYPE || rc == -ELOOP || rc == -EUCLEAN);
    CHECK_EQ(unlink(a[1]), 0);
    CHECK_EQ(rename(aside, a[1]), 0);
    struct stat status;
    CHECK_EQ(stat(a[2], &status), 0);
    CHECK_EQ(truncate(a[2], 4096), 0);
    CHECK_ERR(alps_heap_open_files(a, 3, NULL, &heap), -EUCLEAN);
    CHECK(strstr(alps_error_detail(), a[2]) != NULL);
    CHECK_EQ(truncate(a[2], status.st_size), 0);

    heap = files_open(&f);
    CHECK(alps_usable_size(heap, p) >= 1000);
    CHECK_ERR(alps_heap_close(heap), 0);
}
