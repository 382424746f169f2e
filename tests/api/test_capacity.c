/* How much of a heap blocks can have, what happens when it is full, and how it grows. */
#include <alps/alps.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "test.h"

static void fill_and_free(alps_heap_t *heap, size_t size, unsigned percent)
{
    uint64_t heap_size = blocks_stats(heap).capacity;
    struct blocks blocks = {0};
    heap_fill(heap, size, &blocks);
    if (blocks.count * size < heap_size / 100 * percent)
        fprintf(stderr, "%zu blocks of %zu bytes in a heap of %llu\n", blocks.count, size,
                (unsigned long long)heap_size);
    CHECK_LE(heap_size / 100 * percent, blocks.count * size);
    /* Each is what it says it is, and none overlaps. */
    blocks_expect(heap, &blocks);
    for (size_t i = 1; i < blocks.count; i++)
        CHECK(blocks.items[i].ptr >= blocks.items[i - 1].ptr + size);
    heap_free_all(heap, &blocks);
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
}

/* Nine tenths of a heap go to blocks of one size; when they are freed, another size gets them. */
TEST(capacity, nine_tenths_of_the_heap_go_to_blocks)
{
    const char *path = test_heap_path();
    uint64_t size = blocks_slow() ? 64 * MIB : 256 * MIB;
    heap_make(path, size, 0);
    alps_heap_t *heap = heap_open(path);
    CHECK(blocks_stats(heap).size >= size - 1 * MIB && blocks_stats(heap).size <= size);
    static const size_t sizes[] = {64, 5000, 200000, 64, 200000, 5000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fill_and_free(heap, sizes[i], 90);
        alps_ptr_t p = alps_malloc(heap, size / 256 * 150, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        CHECK_ERR(alps_free(heap, p), 0);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(capacity, a_full_heap_is_usable_again_to_the_same_count)
{
    const char *path = test_heap_path();
    const uint64_t capacity = blocks_slow() ? 16 * MIB : 32 * MIB;
    const unsigned rounds = blocks_scaled(3);
    heap_make(path, 16 * MIB, capacity);
    alps_heap_t *heap = heap_open(path);
    static const size_t sizes[] = {16, 48, 100, 1000, 3000, 20000, 70000, 500000, 3000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct blocks blocks = {0};
        size_t count = heap_fill(heap, sizes[i], &blocks);
        CHECK(count * sizes[i] > capacity / 8 * 5);
        for (unsigned round = 0; round < rounds; round++) {
            for (int again = 0; again < 3; again++)
                CHECK_ERRNO(alps_malloc(heap, sizes[i], ALPS_ANY_NODE), ENOMEM);
            CHECK(strstr(alps_error_detail(), path) != NULL);
            /* One freed is one to be had. */
            struct block one = blocks_take(&blocks, blocks.count / 2);
            CHECK_ERR(alps_free(heap, one.ptr), 0);
            one.ptr = alps_malloc(heap, sizes[i], ALPS_ANY_NODE);
            CHECK(one.ptr != ALPS_NULL);
            blocks_add(&blocks, one);
            heap_free_all(heap, &blocks);
            CHECK_LE(count, heap_fill(heap, sizes[i], &blocks)); /* one more may fit */
        }
        blocks_check_heap(heap);
        heap_free_all(heap, &blocks);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* The same when another handle, with a cache of its own, allocates and frees. */
TEST(capacity, what_one_handle_frees_another_gets)
{
    const char *path = test_heap_path();
    heap_make(path, blocks_slow() ? 16 * MIB : 32 * MIB, 0);
    alps_heap_t *a = heap_open(path), *b = heap_open(path);
    static const size_t sizes[] = {16, 200, 3000, 70000, 1000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct blocks blocks = {0};
        CHECK_ERR(alps_heap_trim(b), 0); /* it may hold on to one slab of each class it used */
        size_t count = heap_fill(a, sizes[i], &blocks);
        CHECK_ERRNO(alps_malloc(b, 2 * MIB, ALPS_ANY_NODE), ENOMEM);
        heap_free_all(b, &blocks);
        CHECK_EQ(blocks_stats(a).live_blocks, 0);
        /* a may hold on to one slab of each class it used, and to its part of what caches keep, an
         * eighth. */
        size_t count_b = heap_fill(b, sizes[i], &blocks);
        CHECK_LE(count - count / 6, count_b);
        blocks_check_heap(b);
        heap_free_all(a, &blocks);
        CHECK_LE(count - count / 6, heap_fill(a, sizes[i], &blocks));
        heap_free_all(a, &blocks);
    }
    CHECK_ERR(alps_heap_close(a), 0);
    blocks_check_heap(b);
    CHECK_ERR(alps_heap_close(b), 0);
}

/* Handles that have freed large blocks idle; the heap is one handle's if it needs it, and trimming
 * reaches what they have. */
TEST(capacity, what_idle_handles_have_freed_is_there_for_others)
{
    enum { HANDLES = 15 };
    const char *path = test_heap_path();
    heap_make(path, 128 * MIB, 0);
    alps_heap_t *handles[HANDLES], *heap = heap_open(path);
    for (unsigned i = 0; i < HANDLES; i++)
        handles[i] = heap_open(path);
    const uint64_t fresh = blocks_stats(heap).file_bytes;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < HANDLES; i++) {
            alps_ptr_t p = alps_malloc(handles[i], 7 * MIB, ALPS_ANY_NODE);
            CHECK(p != ALPS_NULL);
            memset(alps_deref(handles[i], p), 1, 7 * MIB);
            CHECK_ERR(alps_free(handles[i], p), 0);
        }
        if (round == 0) {
            CHECK_LE(fresh + 7 * MIB, blocks_stats(heap).file_bytes);
            CHECK_ERR(alps_heap_trim(heap), 0);
            CHECK_LE(blocks_stats(heap).file_bytes, fresh + 6 * MIB);
            continue;
        }
        alps_ptr_t p = alps_malloc(heap, 115 * MIB, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        blocks_check_heap(heap);
        CHECK_ERR(alps_free(heap, p), 0);
    }
    for (unsigned i = 0; i < HANDLES; i++)
        CHECK_ERR(alps_heap_close(handles[i]), 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* ---- growth ---- */

struct growth {
    const char *path;
    int to_child, from_child; /* each byte sent is a request to look, each answered by a byte */
    int child_reads, child_writes;
};

#define GROWTH_SEED 77

/* Opened the heap while it was small; verifies what the root names, each time it is asked to. */
static void look_at_growth(void *context)
{
    struct growth *g = context;
    close(g->to_child);
    close(g->from_child);
    alps_heap_t *heap = heap_open(g->path);
    char byte = 0;
    CHECK_EQ(write(g->child_writes, &byte, 1), 1);
    while (read(g->child_reads, &byte, 1) == 1) {
        alps_ptr_t p = alps_root_get(heap, "last");
        CHECK(p != ALPS_NULL);
        size_t size = alps_usable_size(heap, p);
        CHECK(size >= 1 * MIB);
        CHECK_EQ(blocks_differ(alps_deref(heap, p), 1 * MIB, GROWTH_SEED), 1 * MIB);
        CHECK_EQ(alps_ref(heap, alps_deref(heap, p)), p);
        CHECK_EQ(write(g->child_writes, &byte, 1), 1);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(growth, is_seen_by_handles_and_processes_that_were_open_before)
{
    int down[2], up[2];
    CHECK_EQ(pipe(down), 0);
    CHECK_EQ(pipe(up), 0);
    struct growth g = {test_heap_path(), down[1], up[0], down[0], up[1]};
    heap_make(g.path, 16 * MIB, 256 * MIB);
    alps_heap_t *early = heap_open(g.path);
    pid_t child = test_fork(look_at_growth, &g);
    CHECK_EQ(close(down[0]), 0);
    CHECK_EQ(close(up[1]), 0);
    char byte;
    CHECK_EQ(read(g.from_child, &byte, 1), 1);

    alps_heap_t *heap = heap_open(g.path);
    CHECK(blocks_stats(heap).size <= 17 * MIB);
    CHECK(blocks_stats(heap).capacity >= 255 * MIB);
    struct blocks blocks = {0};
    alps_ptr_t p;
    while ((p = alps_malloc(heap, 1 * MIB, ALPS_ANY_NODE)) != ALPS_NULL) {
        blocks_fill(alps_deref(heap, p), 1 * MIB, GROWTH_SEED);
        CHECK_EQ(blocks_differ(alps_deref(early, p), 1 * MIB, GROWTH_SEED), 1 * MIB);
        blocks_add(&blocks, (struct block){p, 1 * MIB, alps_usable_size(early, p), GROWTH_SEED,
                                           alps_heap_generation(heap)});
        if (blocks.count % 16 == 0) {
            CHECK_ERR(alps_root_set(heap, "last", p), 0);
            CHECK_EQ(write(g.to_child, "x", 1), 1);
            CHECK_EQ(read(g.from_child, &byte, 1), 1);
        }
    }
    CHECK_EQ(errno, ENOMEM);
    CHECK(blocks.count >= 235);
    CHECK_EQ(blocks_stats(early).size, blocks_stats(early).capacity);
    blocks_expect(early, &blocks);
    blocks_expect(heap, &blocks);
    CHECK_EQ(close(down[1]), 0);
    test_join(child);
    heap_free_all(early, &blocks);
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    CHECK_ERR(alps_heap_close(early), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(growth, can_be_asked_for)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 128 * MIB);
    alps_heap_t *heap = heap_open(path), *other = heap_open(path);
    CHECK_ERR(alps_heap_grow(heap, 1), 0);
    CHECK(blocks_stats(heap).size <= 17 * MIB);
    uint64_t capacity = blocks_stats(heap).capacity;
    for (uint64_t size = 16 * MIB; size <= capacity; size += 13 * MIB) {
        CHECK_ERR(alps_heap_grow(heap, size), 0);
        /* As sizes at creation: whole spans of 64 KiB, at most the size. */
        CHECK_LE(size, blocks_stats(heap).size + 64 * KIB);
        CHECK_EQ(blocks_stats(other).size, blocks_stats(heap).size);
    }
    CHECK_ERR(alps_heap_grow(other, capacity), 0);
    CHECK_EQ(blocks_stats(heap).size, capacity);
    CHECK_ERR(alps_heap_grow(heap, capacity + 1 * MIB), -ENOMEM);
    CHECK_ERR(alps_heap_grow(heap, UINT64_MAX), -ENOMEM);
    CHECK_ERR(alps_heap_grow(heap, 0), 0);
    CHECK_EQ(blocks_stats(heap).size, capacity);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_close(other), 0);
    heap = heap_open(path);
    CHECK_EQ(blocks_stats(heap).size, capacity);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* What is free at the end of the heap counts: only the rest has to be grown. */
TEST(growth, of_a_free_heap_is_enough_for_a_larger_block)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 256 * MIB);
    alps_heap_t *heap = heap_open(path);
    for (uint64_t size = 10 * MIB; size <= 240 * MIB; size += 23 * MIB) {
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        CHECK_ERR(alps_free(heap, p), 0);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Keeps blocks of 512 KiB in reserve, and fills the heap with such that cannot come from there
 * until it has grown. Returns what was free then of the size that it had before. */
static int64_t left_by_growth(unsigned kept, uint64_t capacity)
{
    enum { SIZE = 512 * KIB, ALIGNMENT = 128 * KIB };
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, capacity);
    alps_heap_t *heap = heap_open(path);
    alps_ptr_t blocks[16];
    for (unsigned i = 0; i < kept; i++)
        blocks[i] = alps_malloc(heap, SIZE, ALPS_ANY_NODE);
    for (unsigned i = 0; i < kept; i++)
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
    struct alps_stats first = blocks_stats(heap), now = first;
    while (now.size == first.size) {
        CHECK(alps_aligned_alloc(heap, ALIGNMENT, SIZE, ALPS_ANY_NODE) != ALPS_NULL);
        now = blocks_stats(heap);
    }
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    return (int64_t)(first.usable_bytes - now.span_bytes);
}

/* A heap that got back little when it was short would be so again and again, each time without what
 * it kept: it grows at once. Not so if it could only grow by less than that. */
TEST(growth, comes_when_little_was_kept)
{
    const int64_t block = 512 * KIB;
    CHECK_LE(3 * block, left_by_growth(4, 128 * MIB));
    CHECK_LT(left_by_growth(8, 66 * MIB), block);
    CHECK_LT(left_by_growth(0, 128 * MIB), block);
}

/* Sanitizers leave fewer addresses. */
static void need_addresses(uint64_t length)
{
    void *range = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        SKIP("no %llu bytes of addresses", (unsigned long long)length);
    CHECK_EQ(munmap(range, length), 0);
}

TEST(growth, a_heap_of_a_tebibyte_costs_little)
{
    need_addresses(1 * TIB + GIB);
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 1 * TIB);
    struct stat status;
    CHECK_EQ(stat(path, &status), 0);
    CHECK((uint64_t)status.st_blocks * 512 < 64 * MIB);
    alps_heap_t *heap = heap_open(path);
    CHECK(blocks_stats(heap).capacity >= TIB / 100 * 99);
    struct blocks blocks = {0};
    for (int i = 0; i < 1000; i++) {
        alps_ptr_t p = alps_malloc(heap, 10000, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        blocks_add(&blocks,
                   block_begin(heap, NULL, p, 10000, (uint64_t)i, alps_heap_generation(heap)));
    }
    blocks_expect(heap, &blocks);
    CHECK_EQ(stat(path, &status), 0);
    CHECK((uint64_t)status.st_blocks * 512 < 128 * MIB);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_destroy(path), 0);
    blocks_clear(&blocks);
}

/* The slab of a block has room for dozens; there is memory for what is used of it. */
TEST(growth, a_block_takes_little_more_memory_than_it_has_bytes)
{
    const char *path = test_heap_path();
    heap_make(path, 256 * MIB, 256 * MIB);
    alps_heap_t *heap = heap_open(path);
    alps_ptr_t p[200];
    uint64_t before, bytes = 0;
    unsigned count = 0;
    CHECK_ERR(alps_free(heap, alps_malloc(heap, 1, ALPS_ANY_NODE)), 0); /* the first tables */
    for (size_t size = 16; size < MIB; size += size / 8) {
        before = blocks_stats(heap).file_bytes;
        p[count] = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK_NE(p[count], ALPS_NULL);
        blocks_fill(alps_deref(heap, p[count++]), size, 1);
        CHECK_LE(blocks_stats(heap).file_bytes, before + size + 192 * KIB);
        bytes += size;
    }
    blocks_check_heap(heap);
    before = blocks_stats(heap).file_bytes;
    while (count > 0)
        CHECK_ERR(alps_free(heap, p[--count]), 0);
    CHECK_ERR(alps_heap_trim(heap), 0);
    CHECK_LE(blocks_stats(heap).file_bytes, before - bytes);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(growth, every_capacity_up_to_the_largest_can_be_had)
{
    need_addresses(16 * TIB + GIB);
    for (uint64_t capacity = 16 * MIB; capacity <= 16 * TIB; capacity *= 4)
        for (int less = 0; less < 2; less++) {
            const char *path = test_heap_path();
            uint64_t wanted = less && capacity > 16 * MIB ? capacity - 12345678 : capacity;
            heap_make(path, 16 * MIB, wanted);
            alps_heap_t *heap = heap_open(path);
            CHECK_LE(wanted / 100 * 97, blocks_stats(heap).capacity);
            CHECK_LE(blocks_stats(heap).capacity, wanted);
            alps_ptr_t p = alps_malloc(heap, 100000, ALPS_ANY_NODE);
            CHECK(p != ALPS_NULL);
            CHECK_ERR(alps_free(heap, p), 0);
            blocks_check_heap(heap);
            CHECK_ERR(alps_heap_close(heap), 0);
            CHECK_ERR(alps_heap_destroy(path), 0);
        }
}

/* ---- memory given back ---- */

TEST(trim, gives_memory_back_to_the_file_system)
{
    const char *path = test_heap_path();
    heap_make(path, 128 * MIB, 0);
    alps_heap_t *heap = heap_open(path);
    uint64_t fresh = blocks_stats(heap).file_bytes;
    for (int round = 0; round < 3; round++) {
        struct blocks blocks = {0};
        heap_fill(heap, 100000, &blocks);
        for (size_t i = 0; i < blocks.count; i++)
            blocks_fill(alps_deref(heap, blocks.items[i].ptr), 100000, i);
        CHECK(blocks_stats(heap).file_bytes > 100 * MIB);
        uint64_t seed = blocks.count / 2;
        struct block kept = blocks_take(&blocks, blocks.count / 2);
        size_t size = kept.size;
        heap_free_all(heap, &blocks);
        CHECK_ERR(alps_heap_trim(heap), 0);
        CHECK(blocks_stats(heap).file_bytes < fresh + 64 * MIB);
        CHECK_EQ(alps_usable_size(heap, kept.ptr), kept.usable);
        CHECK_EQ(blocks_differ(alps_deref(heap, kept.ptr), size, seed), size);
        blocks_check_heap(heap);
        CHECK_ERR(alps_free(heap, kept.ptr), 0);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
    struct stat status;
    CHECK_EQ(stat(path, &status), 0);
    CHECK((uint64_t)status.st_blocks * 512 < fresh + 32 * MIB);
}

/* ---- a file system without room ---- */

/* Mounts a file system of that size over the case's directory, seen by this process alone. */
static void mount_small(uint64_t size)
{
    if (geteuid() != 0)
        SKIP("needs root, to mount a small file system");
    char options[64];
    snprintf(options, sizeof options, "size=%llu", (unsigned long long)size);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", test_directory(), "tmpfs", 0, options) != 0)
        SKIP("no mounts here: %s", strerror(errno));
}

static size_t fill_small(alps_heap_t *heap, size_t size, struct blocks *blocks)
{
    alps_ptr_t p;
    size_t before = blocks->count;
    while ((p = alps_malloc(heap, size, ALPS_ANY_NODE)) != ALPS_NULL)
        blocks_add(blocks, block_begin(heap, NULL, p, size, p, alps_heap_generation(heap)));
    CHECK_EQ(errno, ENOMEM);
    return blocks->count - before;
}

TEST(full, a_file_system_without_room_is_enomem)
{
    mount_small(40 * MIB);
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 256 * MIB);
    alps_heap_t *heap = heap_open(path);
    struct blocks blocks = {0};
    static const size_t sizes[] = {1000000, 100000, 3000, 64, 16};
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            fill_small(heap, sizes[i], &blocks);
            CHECK_ERRNO(alps_calloc(heap, 1, 1 * MIB, ALPS_ANY_NODE), ENOMEM);
            CHECK_ERRNO(alps_realloc(heap, blocks.items[0].ptr, 2000000), ENOMEM);
            blocks_expect(heap, &blocks);
        }
        uint64_t bytes = 0;
        for (size_t i = 0; i < blocks.count; i++) {
            block_verify(heap, &blocks.items[i]);
            bytes += blocks.items[i].size;
        }
        CHECK(bytes > 20 * MIB);
        /* Another instance gets along with what there is. */
        alps_heap_t *other = heap_open(path);
        CHECK_ERRNO(alps_malloc(other, 1 * MIB, ALPS_ANY_NODE), ENOMEM);
        blocks_check_heap(other);
        CHECK_ERR(alps_heap_close(other), 0);
        heap_free_all(heap, &blocks);
        CHECK_ERR(alps_heap_trim(heap), 0);
    }
    alps_ptr_t p = alps_malloc(heap, 16 * MIB, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    blocks_fill(alps_deref(heap, p), 16 * MIB, 1);
    CHECK_ERR(alps_free(heap, p), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Slabs that have begun get no more memory: what there is of them is used to the end, by others,
 * too. */
TEST(full, slabs_stop_growing_where_memory_ends)
{
    const uint64_t room = 24 * MIB;
    mount_small(room);
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 64 * MIB);
    static const size_t sizes[] = {450000, 300000, 100000, 30000, 5000, 2300};
    struct test_rng rng = test_rng(1);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct blocks blocks = {0};
        alps_heap_t *heap = heap_open_with(path, ALPS_OPEN_PERMANENT);
        const size_t count = fill_small(heap, sizes[i], &blocks);
        CHECK_LE(room * 3 / 4, count * sizes[i]);
        blocks_check_heap(heap);
        CHECK_ERR(alps_heap_close(heap), 0);

        heap = heap_open_with(path, ALPS_OPEN_PERMANENT);
        CHECK_EQ(fill_small(heap, sizes[i], &blocks), 0);
        for (size_t k = 0; k < blocks.count; k++)
            if (test_rng_below(&rng, 3) == 0) {
                block_verify(heap, &blocks.items[k]);
                CHECK_ERR(alps_free(heap, blocks.items[k].ptr), 0);
                blocks.items[k--] = blocks.items[--blocks.count];
            }
        CHECK_LT(blocks.count, count);
        CHECK_LE(count * 9 / 10, fill_small(heap, sizes[i], &blocks) + blocks.count);
        for (size_t k = 0; k < blocks.count; k++)
            block_verify(heap, &blocks.items[k]);
        blocks_check_heap(heap);
        heap_free_all(heap, &blocks);
        /* No slab stays behind with what it got. */
        CHECK_ERR(alps_heap_trim(heap), 0);
        const alps_ptr_t p = alps_malloc(heap, room - 3 * MIB / 2, ALPS_ANY_NODE);
        CHECK_NE(p, ALPS_NULL);
        CHECK_ERR(alps_free(heap, p), 0);
        CHECK_ERR(alps_heap_trim(heap), 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        blocks_clear(&blocks);
    }
}

TEST(full, creating_without_room_leaves_no_file)
{
    mount_small(64 * KIB);
    const char *path = test_heap_path();
    struct alps_create_options options = blocks_options(64 * MIB, 64 * GIB);
    int rc = alps_heap_create(path, &options);
    struct stat status;
    if (rc == 0) { /* room for the tables, that is: the first use finds none */
        alps_heap_t *heap = NULL;
        rc = alps_heap_open(path, NULL, &heap);
        if (rc == 0) {
            CHECK_ERRNO(alps_malloc(heap, 100, ALPS_ANY_NODE), ENOMEM);
            CHECK_ERRNO(alps_malloc(heap, 1 * MIB, ALPS_ANY_NODE), ENOMEM);
            blocks_check_heap(heap);
            CHECK_ERR(alps_heap_close(heap), 0);
        } else {
            CHECK_ERR(rc, -ENOMEM);
        }
    } else {
        CHECK_ERR(rc, -ENOMEM);
        CHECK(stat(path, &status) != 0);
    }
}
