/* Heaps written by released versions still open, at any address, with all that is in them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "golden.h"
#include "test.h"

static int count_block(const struct alps_block *block, void *context)
{
    ++*(unsigned *)context;
    (void)block;
    return 0;
}

static void check_version(int version)
{
    char packed[256];
    snprintf(packed, sizeof packed, "%s/v%d.alps", GOLDEN_DIR, version);
    const char *path = test_heap_path();
    CHECK_EQ(golden_unpack(packed, path), 0);
    alps_heap_t *heap;
    int rc = alps_heap_open(path, NULL, &heap);
    struct alps_stats stats = {.struct_size = sizeof stats};
    if (rc == -EPROTONOSUPPORT) { /* politely refused: it says which version it is */
        char text[32];
        snprintf(text, sizeof text, "layout version %d", version);
        CHECK(strstr(alps_error_detail(), text) != NULL);
        return;
    }
    CHECK_ERR(rc, 0);
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.live_blocks, GOLDEN_NODES + 1 + GOLDEN_SIZES);
    CHECK_EQ(stats.permanent_blocks, GOLDEN_NODES + 1);
    CHECK_ERR(alps_heap_check(heap, NULL), 0);

    for (int move = 0; move < 2; move++) {
        uint64_t number = 1;
        alps_ptr_t p = alps_root_get(heap, "list");
        for (; p != ALPS_NULL; number++) {
            const struct golden_node *node = alps_deref(heap, p);
            CHECK_EQ(node->number, number);
            p = node->next;
        }
        CHECK_EQ(number, GOLDEN_NODES + 1);
        CHECK_ERR(alps_heap_remap(heap, NULL), 0);
    }
    alps_gen_t generation;
    memcpy(&generation, alps_deref(heap, alps_root_get(heap, "generation")), sizeof generation);
    CHECK_ERR(alps_bulk_free(heap, generation), 0);
    unsigned blocks = 0;
    CHECK_ERR(alps_heap_walk(heap, count_block, &blocks), 0);
    CHECK_EQ(blocks, GOLDEN_NODES + 1);
    CHECK_NE(alps_malloc(heap, 40u << 20, ALPS_ANY_NODE), ALPS_NULL); /* it grows */
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(format, version_1_opens_or_is_refused_politely)
{
    check_version(1);
}

TEST(format, version_2_opens_or_is_refused_politely)
{
    check_version(2);
}

TEST(format, version_3_opens_or_is_refused_politely)
{
    check_version(3);
}

TEST(format, version_4_opens_or_is_refused_politely)
{
    check_version(4);
}

/* The present version has its golden heap, and it opens. */
TEST(format, the_present_version_has_a_golden_heap_that_opens)
{
    const char *path = test_heap_path();
    CHECK_ERR(alps_heap_create(path, NULL), 0);
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_ERR(alps_heap_close(heap), 0);

    char packed[256];
    snprintf(packed, sizeof packed, "%s/v%u.alps", GOLDEN_DIR, stats.layout_version);
    path = test_heap_path();
    CHECK_EQ(golden_unpack(packed, path), 0);
    CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}
