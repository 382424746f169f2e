/* Named roots. */
#include <alps/alps.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "blocks.h"
#include "test.h"

static const char *name_of(unsigned i)
{
    static char name[ALPS_ROOT_NAME_MAX + 1];
    snprintf(name, sizeof name, "root/%u", i);
    return name;
}

struct seen {
    alps_heap_t *heap;
    unsigned count, stop_at;
};

static int see(const char *name, alps_ptr_t p, void *context)
{
    struct seen *seen = context;
    CHECK(p != ALPS_NULL);
    CHECK_EQ(alps_root_get(seen->heap, name), p);
    return ++seen->count == seen->stop_at ? 99 : 0;
}

static void expect_count(alps_heap_t *heap, unsigned count)
{
    struct seen seen = {.heap = heap};
    CHECK_ERR(alps_root_walk(heap, see, &seen), 0);
    CHECK_EQ(seen.count, count);
    CHECK_EQ(blocks_stats(heap).roots, count);
}

TEST(root, a_thousand_names_are_set_changed_removed_and_kept)
{
    enum { COUNT = 1000 };
    const char *path = test_heap_path();
    heap_make(path, 32 * MIB, 0);
    alps_heap_t *heap = heap_open(path);
    expect_count(heap, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK_ERRNO(alps_root_get(heap, name_of(i)), ENOENT);
        CHECK_ERR(alps_root_set(heap, name_of(i), 1000 + i), 0);
        CHECK_EQ(alps_root_get(heap, name_of(i)), 1000 + i);
    }
    expect_count(heap, COUNT);
    CHECK_ERR(alps_heap_close(heap), 0);

    heap = heap_open(path);
    expect_count(heap, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK_EQ(alps_root_get(heap, name_of(i)), 1000 + i);
        CHECK_ERR(alps_root_set(heap, name_of(i), 5000 + i), 0);
    }
    expect_count(heap, COUNT);
    for (unsigned i = 0; i < COUNT; i += 3)
        CHECK_ERR(alps_root_set(heap, name_of(i), ALPS_NULL), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        if (i % 3 != 0) {
            CHECK_EQ(alps_root_get(heap, name_of(i)), 5000 + i);
            continue;
        }
        CHECK_ERRNO(alps_root_get(heap, name_of(i)), ENOENT);
        CHECK_ERR(alps_root_set(heap, name_of(i), ALPS_NULL), -ENOENT);
    }
    expect_count(heap, COUNT - (COUNT + 2) / 3);
    struct seen seen = {.heap = heap, .stop_at = 5};
    CHECK_EQ(alps_root_walk(heap, see, &seen), 99);
    CHECK_EQ(seen.count, 5);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(root, the_table_holds_as_many_as_it_says)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 0);
    alps_heap_t *heap = heap_open(path);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < ALPS_ROOT_MAX; i++)
            CHECK_ERR(alps_root_set(heap, name_of(i), i + 1), 0);
        CHECK_ERR(alps_root_set(heap, "one more", 1), -ENOSPC);
        CHECK(strstr(alps_error_detail(), path) != NULL);
        CHECK_ERRNO(alps_root_get(heap, "one more"), ENOENT);
        CHECK_ERR(alps_root_set(heap, name_of(77), 12), 0); /* a change needs no room */
        CHECK_ERR(alps_root_set(heap, name_of(500), ALPS_NULL), 0);
        CHECK_ERR(alps_root_set(heap, "one more", 1), 0);
        CHECK_ERR(alps_root_set(heap, name_of(500), 1), -ENOSPC);
        expect_count(heap, ALPS_ROOT_MAX);
        CHECK_ERR(alps_root_set(heap, "one more", ALPS_NULL), 0);
        for (unsigned i = 0; i < ALPS_ROOT_MAX; i++)
            if (i != 500)
                CHECK_ERR(alps_root_set(heap, name_of(i), ALPS_NULL), 0);
        expect_count(heap, 0);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(root, names_of_every_length)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 0);
    alps_heap_t *heap = heap_open(path);
    char name[ALPS_ROOT_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[ALPS_ROOT_NAME_MAX + 1] = '\0'; /* one too long */
    CHECK_ERR(alps_root_set(heap, name, 1), -EINVAL);
    CHECK_ERRNO(alps_root_get(heap, name), EINVAL);
    CHECK_ERR(alps_root_set(heap, "", 1), -EINVAL);
    CHECK_ERRNO(alps_root_get(heap, ""), EINVAL);
    CHECK_ERR(alps_root_set(heap, NULL, 1), -EINVAL);
    CHECK_ERRNO(alps_root_get(heap, NULL), EINVAL);
    for (unsigned length = ALPS_ROOT_NAME_MAX; length > 0; length--) {
        name[length] = '\0'; /* each is the beginning of the one before */
        CHECK_ERR(alps_root_set(heap, name, 100 + length), 0);
    }
    for (unsigned length = 1; length <= ALPS_ROOT_NAME_MAX; length++) {
        memset(name, 'n', length);
        name[length] = '\0';
        CHECK_EQ(alps_root_get(heap, name), 100 + length);
    }
    CHECK_ERR(alps_root_set(heap, "n\xff\x80\xc3 \n", 7), 0); /* bytes, not characters */
    CHECK_EQ(alps_root_get(heap, "n\xff\x80\xc3 \n"), 7);
    CHECK_ERR(alps_root_set(heap, "largest", UINT64_MAX), 0);
    CHECK_EQ(alps_root_get(heap, "largest"), UINT64_MAX);
    expect_count(heap, ALPS_ROOT_NAME_MAX + 2);
    CHECK_ERR(alps_heap_close(heap), 0);
}

struct worker {
    const char *path;
    unsigned index;
    unsigned rounds;
};

enum { WORKERS = 4, NAMES = 50 };

/* Sets, reads and removes names of its own, beside others; one name is everybody's. */
static void set_own_names(void *context)
{
    struct worker *w = context;
    alps_heap_t *heap = heap_open(w->path);
    for (unsigned round = 1; round <= w->rounds; round++)
        for (unsigned i = 0; i < NAMES; i++) {
            unsigned name = w->index * NAMES + i;
            alps_ptr_t value = ((alps_ptr_t)round << 32) + name + 1;
            if (round % 5 == 0)
                CHECK_ERR(alps_root_set(heap, name_of(name), ALPS_NULL), 0);
            CHECK_ERR(alps_root_set(heap, name_of(name), value), 0);
            CHECK_EQ(alps_root_get(heap, name_of(name)), value);
            alps_ptr_t theirs = alps_root_get(heap, "everybody");
            CHECK(theirs >= 1 && theirs <= WORKERS + 1);
            CHECK_ERR(alps_root_set(heap, "everybody", w->index + 1), 0);
        }
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(root, many_processes_set_different_names)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 0);
    alps_heap_t *heap = heap_open(path);
    CHECK_ERR(alps_root_set(heap, "everybody", WORKERS + 1), 0);
    struct worker workers[WORKERS];
    pid_t children[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){path, i, blocks_scaled(400) + 1};
        children[i] = test_fork(set_own_names, &workers[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        test_join(children[i]);
    for (unsigned i = 0; i < WORKERS * NAMES; i++)
        CHECK_EQ(alps_root_get(heap, name_of(i)), ((alps_ptr_t)workers[0].rounds << 32) + i + 1);
    expect_count(heap, WORKERS * NAMES + 1);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}
