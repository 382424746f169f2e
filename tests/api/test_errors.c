/* Every function's errors: bad arguments, bad blocks, read-only handles, handles of the parent
 * process. What a refused call leaves behind is looked at as well: nothing. */
#include <alps/alps.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "test.h"

static int visit_block(const struct alps_block *block, void *context)
{
    (void)block, (void)context;
    return 0;
}

static int visit_root(const char *name, alps_ptr_t p, void *context)
{
    (void)name, (void)p, (void)context;
    return 0;
}

static int visit_instance(const struct alps_instance *instance, void *context)
{
    (void)instance, (void)context;
    return 0;
}

static int visit_generation(const struct alps_generation *generation, void *context)
{
    (void)generation, (void)context;
    return 0;
}

/* All functions that change the heap, with good arguments: block and cell are blocks, *cell holds
 * other. */
static void expect_writes_refused(alps_heap_t *heap, alps_ptr_t block, alps_ptr_t cell,
                                  alps_ptr_t *where, int error)
{
    struct alps_recovery recovery = {.struct_size = sizeof recovery};
    alps_ptr_t moving = block;
    CHECK_ERRNO(alps_malloc(heap, 100, ALPS_ANY_NODE), error);
    CHECK_ERRNO(alps_malloc(heap, 100000, 0), error);
    CHECK_ERRNO(alps_malloc(heap, 10000000, ALPS_ANY_NODE), error);
    CHECK_ERRNO(alps_calloc(heap, 10, 10, ALPS_ANY_NODE), error);
    CHECK_ERRNO(alps_aligned_alloc(heap, 64, 100, ALPS_ANY_NODE), error);
    CHECK_ERRNO(alps_realloc(heap, ALPS_NULL, 100), error);
    CHECK_ERRNO(alps_realloc(heap, block, 50), error);
    CHECK_ERRNO(alps_realloc(heap, block, 100000), error);
    CHECK_ERR(alps_free(heap, block), -error);
    CHECK_ERR(alps_free(heap, cell), -error);
    CHECK_ERRNO(alps_malloc_to(heap, where, 100, ALPS_ANY_NODE), error);
    CHECK_ERR(alps_free_from(heap, where), -error);
    CHECK_ERR(alps_bulk_free(heap, 12345), -error);
    CHECK_ERR(alps_commit(heap, 12345), -error);
    CHECK_ERR(alps_recover(heap, &recovery), -error);
    CHECK_ERR(alps_recover(heap, NULL), -error);
    CHECK_ERR(alps_root_set(heap, "root", block), -error);
    CHECK_ERR(alps_root_set(heap, "root", ALPS_NULL), -error);
    CHECK_ERR(alps_migrate(heap, &moving, 0), -error);
    CHECK_EQ(moving, block);
    CHECK_ERR(alps_heap_grow(heap, 64 * MIB), -error);
    CHECK_ERR(alps_heap_trim(heap), -error);
}

/* The others. */
static void expect_reads_refused(alps_heap_t *heap, alps_ptr_t block, int error)
{
    struct alps_stats stats = {.struct_size = sizeof stats};
    struct alps_check check = {.struct_size = sizeof check};
    CHECK_ERRNO(alps_usable_size(heap, block), error);
    CHECK_ERRNO(alps_root_get(heap, "root"), error);
    CHECK_ERR(alps_root_walk(heap, visit_root, NULL), -error);
    CHECK_ERR(alps_block_node(heap, block), -error);
    CHECK_ERR(alps_heap_stats(heap, &stats), -error);
    CHECK_ERR(alps_heap_walk(heap, visit_block, NULL), -error);
    CHECK_ERR(alps_heap_check(heap, &check), -error);
    CHECK_ERR(alps_heap_check(heap, NULL), -error);
    CHECK_ERR(alps_instance_walk(heap, visit_instance, NULL), -error);
    CHECK_ERR(alps_generation_walk(heap, visit_generation, NULL), -error);
    CHECK_ERR(alps_heap_remap(heap, NULL), -error);
}

struct fixture {
    const char *path;
    alps_heap_t *heap;
    alps_ptr_t block, cell; /* cell is a block whose first word names a third */
    struct blocks expected;
};

static struct fixture fixture_make(void)
{
    struct fixture f = {.path = test_heap_path()};
    heap_make(f.path, 32 * MIB, 128 * MIB);
    f.heap = heap_open(f.path);
    f.block = alps_malloc(f.heap, 100, ALPS_ANY_NODE);
    f.cell = alps_calloc(f.heap, 1, 64, ALPS_ANY_NODE);
    CHECK(f.block != ALPS_NULL && f.cell != ALPS_NULL);
    CHECK(alps_malloc_to(f.heap, alps_deref(f.heap, f.cell), 200, ALPS_ANY_NODE) != ALPS_NULL);
    CHECK_ERR(alps_root_set(f.heap, "root", f.block), 0);
    f.expected = blocks_walk(f.heap);
    CHECK_EQ(f.expected.count, 3);
    return f;
}

/* Nothing has changed, and the heap works. */
static void fixture_end(struct fixture *f)
{
    blocks_expect(f->heap, &f->expected);
    CHECK_EQ(alps_root_get(f->heap, "root"), f->block);
    alps_ptr_t p = alps_malloc(f->heap, 100, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(f->heap, p), 0);
    CHECK_ERR(alps_free_from(f->heap, alps_deref(f->heap, f->cell)), 0);
    CHECK_ERR(alps_free(f->heap, f->cell), 0);
    CHECK_ERR(alps_free(f->heap, f->block), 0);
    CHECK_EQ(blocks_stats(f->heap).live_blocks, 0);
    blocks_check_heap(f->heap);
    blocks_clear(&f->expected);
    CHECK_ERR(alps_heap_close(f->heap), 0);
}

TEST(errors, no_heap_is_einval)
{
    alps_ptr_t word = ALPS_NULL;
    expect_writes_refused(NULL, 4096, 8192, &word, EINVAL);
    expect_reads_refused(NULL, 4096, EINVAL);
    CHECK_EQ(alps_heap_generation(NULL), ALPS_PERMANENT);
}

TEST(errors, a_read_only_handle_is_erofs)
{
    struct fixture f = fixture_make();
    alps_heap_t *heap = heap_open_with(f.path, ALPS_OPEN_READONLY);
    for (int round = 0; round < 2; round++) {
        expect_writes_refused(heap, f.block, f.cell, alps_deref(heap, f.cell), EROFS);
        CHECK(strstr(alps_error_detail(), f.path) != NULL);
        /* Looking is allowed. */
        struct alps_stats stats = {.struct_size = sizeof stats};
        CHECK_EQ(alps_usable_size(heap, f.block), alps_usable_size(f.heap, f.block));
        CHECK_EQ(alps_root_get(heap, "root"), f.block);
        CHECK_ERR(alps_root_walk(heap, visit_root, NULL), 0);
        CHECK_ERR(alps_heap_stats(heap, &stats), 0);
        CHECK_EQ(stats.live_blocks, 3);
        CHECK_ERR(alps_instance_walk(heap, visit_instance, NULL), 0);
        CHECK_ERR(alps_generation_walk(heap, visit_generation, NULL), 0);
        CHECK_EQ(alps_block_node(heap, f.block), alps_block_node(f.heap, f.block));
        blocks_expect(heap, &f.expected);
        CHECK_ERR(alps_heap_remap(heap, NULL), 0);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
    fixture_end(&f);
}

static void use_in_child(void *context)
{
    struct fixture *f = context;
    for (int round = 0; round < 2; round++) {
        expect_writes_refused(f->heap, f->block, f->cell, alps_deref(f->heap, f->cell), ECHILD);
        CHECK(strstr(alps_error_detail(), f->path) != NULL);
        expect_reads_refused(f->heap, f->block, ECHILD);
    }
    /* It opens the heap itself. */
    alps_heap_t *heap = heap_open(f->path);
    CHECK_EQ(blocks_stats(heap).instances, 2);
    CHECK(alps_heap_generation(heap) > alps_heap_generation(f->heap));
    alps_ptr_t p = alps_malloc(heap, 100, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(heap, p), 0);
    expect_writes_refused(f->heap, f->block, f->cell, alps_deref(f->heap, f->cell), ECHILD);
    CHECK_ERR(alps_heap_close(heap), 0);
    /* To close the parent's handle is refused, or does the parent no harm. */
    int rc = alps_heap_close(f->heap);
    CHECK(rc == 0 || rc == -ECHILD);
}

TEST(errors, the_parents_handle_is_echild)
{
    struct fixture f = fixture_make();
    /* With a warm cache: the child finds what the parent's threads had. */
    for (int i = 0; i < 100; i++) {
        alps_ptr_t p = alps_malloc(f.heap, 100, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        CHECK_ERR(alps_free(f.heap, p), 0);
    }
    for (int i = 0; i < 3; i++) {
        test_join(test_fork(use_in_child, &f));
        CHECK_EQ(blocks_stats(f.heap).instances, 1); /* the parent's lock is still its */
        CHECK_ERR(alps_heap_destroy(f.path), -EBUSY);
        alps_ptr_t p = alps_malloc(f.heap, 100, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        CHECK_ERR(alps_free(f.heap, p), 0);
    }
    fixture_end(&f);
}

/* The kernel tells the dead from the living by a lock that fork hands on to the child. */
TEST(errors, a_child_does_not_keep_its_dead_parent_alive)
{
    struct fixture f = fixture_make();
    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        alps_heap_t *heap = NULL;
        if (alps_heap_open(f.path, NULL, &heap) != 0 ||
            alps_malloc(heap, 100, ALPS_ANY_NODE) == ALPS_NULL)
            _exit(1);
        pid_t child = fork();
        if (child == 0) {
            pid_t self = getpid();
            if (write(pipes[1], &self, sizeof self) != sizeof self)
                _exit(1);
            pause();
            _exit(1);
        }
        pause();
        _exit(1);
    }
    pid_t child = 0;
    CHECK_EQ(read(pipes[0], &child, sizeof child), sizeof child);
    CHECK_EQ(blocks_stats(f.heap).instances, 2);
    CHECK_EQ(kill(parent, SIGKILL), 0);
    CHECK_EQ(waitpid(parent, NULL, 0), parent);
    struct alps_recovery recovery = {.struct_size = sizeof recovery};
    CHECK_ERR(alps_recover(f.heap, &recovery), 0);
    CHECK_EQ(recovery.count, 1);
    CHECK_EQ(recovery.live, 1);
    CHECK_EQ(kill(child, 0), 0);
    CHECK_EQ(kill(child, SIGKILL), 0);
    struct blocks found = blocks_walk(f.heap);
    CHECK_EQ(found.count, 4);
    for (size_t i = 0; i < found.count; i++)
        if (found.items[i].generation != alps_heap_generation(f.heap))
            CHECK_ERR(alps_free(f.heap, found.items[i].ptr), 0);
    blocks_clear(&found);
    fixture_end(&f);
}

TEST(errors, nodes_sizes_and_alignments_out_of_range)
{
    struct fixture f = fixture_make();
    alps_heap_t *heap = f.heap;
    alps_ptr_t *word = (alps_ptr_t *)alps_deref(heap, f.cell) + 1;
    static const int nodes[] = {-2, -1000, ALPS_NODE_MAX + 1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        CHECK_ERRNO(alps_malloc(heap, 100, nodes[i]), EINVAL);
        CHECK_ERRNO(alps_malloc(heap, 1000000, nodes[i]), EINVAL);
        CHECK_ERRNO(alps_calloc(heap, 1, 100, nodes[i]), EINVAL);
        CHECK_ERRNO(alps_aligned_alloc(heap, 64, 100, nodes[i]), EINVAL);
        CHECK_ERRNO(alps_malloc_to(heap, word, 100, nodes[i]), EINVAL);
        CHECK_ERR(alps_migrate(heap, &f.block, nodes[i]), -EINVAL);
    }
    CHECK_ERR(alps_migrate(heap, &f.block, ALPS_ANY_NODE), -EINVAL);
    static const size_t alignments[] = {
        0, 3, 17, 48, 4097, 2 * ALPS_ALIGNMENT_MAX, (size_t)1 << 63, SIZE_MAX};
    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++)
        CHECK_ERRNO(alps_aligned_alloc(heap, alignments[i], 100, ALPS_ANY_NODE), EINVAL);

    static const size_t sizes[] = {1 * GIB,       TIB,          (size_t)1 << 62,  SIZE_MAX / 2 + 1,
                                   SIZE_MAX - 15, SIZE_MAX - 1, SIZE_MAX - 65535, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK_ERRNO(alps_malloc(heap, sizes[i], ALPS_ANY_NODE), ENOMEM);
        CHECK_ERRNO(alps_calloc(heap, 1, sizes[i], ALPS_ANY_NODE), ENOMEM);
        CHECK_ERRNO(alps_calloc(heap, sizes[i], 1, ALPS_ANY_NODE), ENOMEM);
        CHECK_ERRNO(alps_calloc(heap, sizes[i], SIZE_MAX, ALPS_ANY_NODE), ENOMEM);
        CHECK_ERRNO(alps_realloc(heap, f.block, sizes[i]), ENOMEM);
        CHECK_ERRNO(alps_malloc_to(heap, word, sizes[i], ALPS_ANY_NODE), ENOMEM);
        for (size_t alignment = 1; alignment <= ALPS_ALIGNMENT_MAX; alignment *= 1024)
            CHECK_ERRNO(alps_aligned_alloc(heap, alignment, sizes[i], ALPS_ANY_NODE), ENOMEM);
    }
    CHECK_ERRNO(alps_calloc(heap, (size_t)1 << 32, (size_t)1 << 32, ALPS_ANY_NODE), ENOMEM);
    CHECK_ERRNO(alps_calloc(heap, ((size_t)1 << 32) + 1, (size_t)1 << 32, ALPS_ANY_NODE), ENOMEM);
    CHECK_EQ(*word, ALPS_NULL);
    CHECK_ERR(alps_heap_grow(heap, GIB), -ENOMEM);
    CHECK_ERR(alps_heap_grow(heap, 1), 0);
    fixture_end(&f);
}

/* Offsets at which no block starts: refused by everything that takes a block. */
static void expect_no_block(alps_heap_t *heap, alps_ptr_t p)
{
    alps_ptr_t moving = p;
    CHECK_ERR(alps_free(heap, p), -EINVAL);
    CHECK_ERRNO(alps_usable_size(heap, p), EINVAL);
    CHECK_ERRNO(alps_realloc(heap, p, 10), EINVAL);
    CHECK_ERRNO(alps_realloc(heap, p, 1000000), EINVAL);
    CHECK_ERR(alps_migrate(heap, &moving, 0), -EINVAL);
    CHECK_EQ(moving, p);
    CHECK_ERR(alps_block_node(heap, p), -EINVAL);
}

TEST(errors, an_offset_at_which_no_block_starts_is_einval)
{
    struct fixture f = fixture_make();
    alps_heap_t *heap = f.heap, *other = heap_open(f.path);
    uint64_t capacity = blocks_stats(heap).capacity;
    static const size_t sizes[] = {16, 100, 1000, 10000, 100000, 3000000};
    for (unsigned i = 0; i < 6; i++) {
        alps_ptr_t p = alps_malloc(heap, sizes[i], ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        size_t usable = alps_usable_size(heap, p);
        static const size_t inside[] = {1, 2, 8, 15, 16, 64, 4096, 65536, 131072, 2097152};
        for (unsigned j = 0; j < 10; j++)
            if (inside[j] < usable) {
                expect_no_block(heap, p + inside[j]);
                expect_no_block(other, p + inside[j]);
            }
        expect_no_block(heap, p + usable - 1);
        expect_no_block(other, p + usable - 1);
        expect_no_block(heap, p - 1);
        CHECK_EQ(alps_usable_size(heap, p), usable);
        CHECK_ERR(alps_free(heap, p), 0);
    }
    const alps_ptr_t offsets[] = {1,
                                  8,
                                  16,
                                  4096,
                                  65536,
                                  capacity - 16,
                                  capacity,
                                  capacity + 4096,
                                  TIB,
                                  UINT64_MAX,
                                  UINT64_MAX - 15,
                                  UINT64_MAX / 2 + 1,
                                  (alps_ptr_t)(uintptr_t)&f,
                                  (alps_ptr_t)0 - 65536};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        expect_no_block(heap, offsets[i]);
        expect_no_block(other, offsets[i]);
    }
    CHECK_ERR(alps_free(heap, ALPS_NULL), 0);
    CHECK_ERRNO(alps_usable_size(heap, ALPS_NULL), EINVAL);
    CHECK_ERR(alps_block_node(heap, ALPS_NULL), -EINVAL);
    /* Every offset of the heap in steps that hit all sorts of metadata. */
    struct test_rng rng = test_rng(1);
    for (unsigned i = 0; i < blocks_scaled(200000); i++) {
        alps_ptr_t p = test_rng_below(&rng, capacity);
        bool block = false;
        for (size_t j = 0; j < f.expected.count; j++)
            block = block || f.expected.items[j].ptr == p;
        if (block)
            continue;
        int rc = alps_free(i % 2 == 0 ? heap : other, p);
        CHECK(p == ALPS_NULL || rc == -EINVAL || rc == -EALREADY);
    }
    CHECK_ERR(alps_heap_close(other), 0);
    fixture_end(&f);
}

/* A block freed before and not used again since. */
TEST(errors, a_double_free_is_ealready)
{
    struct fixture f = fixture_make();
    alps_heap_t *heap = f.heap, *other = heap_open(f.path);
    static const size_t sizes[] = {1, 16, 64, 100, 1000, 5000, 40000, 200000, 1000000, 9000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int by = 0; by < 3; by++) { /* owner twice; another twice; owner, then another */
            alps_heap_t *first = by == 1 ? other : heap, *second = by == 0 ? heap : other;
            /* A neighbour keeps the span in use. */
            alps_ptr_t p = alps_malloc(heap, sizes[i], ALPS_ANY_NODE);
            alps_ptr_t neighbour = alps_malloc(heap, sizes[i], ALPS_ANY_NODE);
            CHECK(p != ALPS_NULL && neighbour != ALPS_NULL);
            CHECK_ERR(alps_free(first, p), 0);
            CHECK_ERR(alps_free(second, p), -EALREADY);
            CHECK(strstr(alps_error_detail(), f.path) != NULL);
            CHECK_ERR(alps_free(second, p), -EALREADY);
            CHECK_ERRNO(alps_usable_size(second, p), EINVAL);
            errno = 0;
            CHECK_EQ(alps_realloc(second, p, 2 * sizes[i]), ALPS_NULL);
            CHECK(errno == EINVAL || errno == EALREADY);
            CHECK_EQ(alps_usable_size(heap, neighbour), alps_usable_size(other, neighbour));
            CHECK_ERR(alps_free(first, neighbour), 0);
        }
    CHECK_ERR(alps_heap_close(other), 0);
    fixture_end(&f);
}

/* The last block of a span: the span may be gone, but it was a block. */
TEST(errors, a_double_free_of_the_only_block_is_refused)
{
    const char *path = test_heap_path();
    heap_make(path, 32 * MIB, 0);
    alps_heap_t *heap = heap_open(path), *other = heap_open(path);
    static const size_t sizes[] = {16, 64, 1000, 5000, 40000, 200000, 1000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int by = 0; by < 3; by++) { /* as above */
            alps_ptr_t p = alps_malloc(heap, sizes[i], ALPS_ANY_NODE);
            CHECK(p != ALPS_NULL);
            CHECK_ERR(alps_free(by == 1 ? other : heap, p), 0);
            CHECK_ERR(alps_free(by == 0 ? heap : other, p), -EALREADY);
        }
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(other), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(errors, publishing_needs_a_word_of_the_heap)
{
    struct fixture f = fixture_make();
    alps_heap_t *heap = f.heap;
    char *inside = alps_deref(heap, f.cell);
    alps_ptr_t outside = f.block, *words[] = {NULL, &outside, (alps_ptr_t *)(void *)(inside + 1),
                                              (alps_ptr_t *)(void *)(inside + 4)};
    for (unsigned i = 0; i < 4; i++) {
        CHECK_ERRNO(alps_malloc_to(heap, words[i], 100, ALPS_ANY_NODE), EINVAL);
        CHECK_ERR(alps_free_from(heap, words[i]), -EINVAL);
    }
    CHECK_EQ(outside, f.block);
    alps_ptr_t *word = (alps_ptr_t *)(void *)inside + 1;
    CHECK_EQ(*word, ALPS_NULL);
    CHECK_ERR(alps_free_from(heap, word), -ENOENT);
    /* What the word holds must be a block, and stays there if it is none. */
    *word = f.block + 1;
    CHECK_ERR(alps_free_from(heap, word), -EINVAL);
    CHECK_EQ(*word, f.block + 1);
    alps_ptr_t p = alps_malloc(heap, 100, ALPS_ANY_NODE);
    CHECK_ERR(alps_free(heap, p), 0);
    *word = p;
    CHECK_ERR(alps_free_from(heap, word), -EALREADY);
    *word = ALPS_NULL;
    fixture_end(&f);
}

TEST(errors, generations_that_cannot_be_freed_or_committed)
{
    struct fixture f = fixture_make();
    alps_heap_t *other = heap_open(f.path);
    alps_gen_t own = alps_heap_generation(f.heap), others = alps_heap_generation(other);
    CHECK_ERR(alps_bulk_free(f.heap, ALPS_PERMANENT), -EINVAL);
    CHECK_ERR(alps_bulk_free(f.heap, own), -EBUSY);
    CHECK_ERR(alps_bulk_free(f.heap, others), -EBUSY);
    CHECK_ERR(alps_commit(f.heap, others), -EBUSY);
    static const alps_gen_t none[] = {1000000, UINT64_MAX, (uint64_t)1 << 40, (uint64_t)1 << 63};
    for (unsigned i = 0; i < 4; i++) {
        CHECK_ERR(alps_bulk_free(f.heap, none[i]), -ENOENT);
        CHECK_ERR(alps_commit(f.heap, none[i]), -ENOENT);
    }
    CHECK_ERR(alps_heap_close(other), 0);
    CHECK_ERR(alps_bulk_free(f.heap, others), -ENOENT); /* it had no blocks */
    CHECK_ERR(alps_commit(f.heap, others), -ENOENT);
    fixture_end(&f);
}

TEST(errors, missing_places_for_results)
{
    struct fixture f = fixture_make();
    alps_heap_t *heap = f.heap;
    struct alps_stats no_stats = {.struct_size = 0}, big_stats = {.struct_size = SIZE_MAX};
    struct alps_recovery no_recovery = {.struct_size = 0};
    struct alps_check no_check = {.struct_size = 0};
    CHECK_ERR(alps_heap_stats(heap, NULL), -EINVAL);
    CHECK_ERR(alps_heap_stats(heap, &no_stats), -EINVAL);
    CHECK_ERR(alps_heap_stats(heap, &big_stats), -EINVAL);
    CHECK_ERR(alps_recover(heap, &no_recovery), -EINVAL);
    CHECK_ERR(alps_heap_check(heap, &no_check), -EINVAL);
    CHECK_ERR(alps_heap_walk(heap, NULL, NULL), -EINVAL);
    CHECK_ERR(alps_root_walk(heap, NULL, NULL), -EINVAL);
    CHECK_ERR(alps_instance_walk(heap, NULL, NULL), -EINVAL);
    CHECK_ERR(alps_generation_walk(heap, NULL, NULL), -EINVAL);
    CHECK_ERR(alps_migrate(heap, NULL, 0), -EINVAL);
    CHECK_ERR(alps_heap_remap(heap, (void *)(uintptr_t)(((uint64_t)1 << 40) + 4096)), -EINVAL);
    fixture_end(&f);
}

/* A caller built when the struct had fewer fields gets those, and nothing past them is written. */
TEST(errors, shorter_structs_are_filled_only_so_far)
{
    struct fixture f = fixture_make();
    struct alps_stats stats;
    memset(&stats, 0xa5, sizeof stats);
    stats.struct_size = offsetof(struct alps_stats, metadata_bytes);
    CHECK_ERR(alps_heap_stats(f.heap, &stats), 0);
    CHECK_EQ(stats.live_blocks, 3);
    CHECK_EQ(stats.metadata_bytes, UINT64_C(0xa5a5a5a5a5a5a5a5));
    CHECK_EQ(stats.layout_version, 0xa5a5a5a5u);
    fixture_end(&f);
}
