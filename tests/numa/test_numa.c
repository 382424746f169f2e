/* Placement on real NUMA nodes: nodes 0 to 3, two of them without CPUs. To be run where they are,
 * as in the guest of test_guest.sh. */
#include <alps/alps.h>
#include <emu/topology.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "blocks.h"
#include "test.h"

static const int all_nodes[] = {0, 1, 2, 3};

static alps_heap_t *heap_on(const int *nodes, unsigned count, uint64_t size)
{
    const char *path = test_heap_path();
    alps_heap_t *heap;
    struct alps_create_options options = blocks_options(size, 0);
    options.zone_size = 4 * MIB;
    options.nodes = nodes;
    options.node_count = count;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
    return heap;
}

static alps_ptr_t filled(alps_heap_t *heap, size_t size, int node)
{
    alps_ptr_t p = alps_malloc(heap, size, node);
    CHECK_NE(p, ALPS_NULL);
    blocks_fill(alps_deref(heap, p), size, size);
    return p;
}

TEST(numa, the_machine_is_seen_and_planned_for)
{
    struct emu_topology *t;
    struct emu_plan plan;
    CHECK_ERR(emu_topology_read(NULL, &t), 0);
    CHECK_EQ(t->count, 4);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_EQ(t->nodes[i].number, i);
        CHECK_EQ(t->nodes[i].cpus > 0, i < 2);
        CHECK(t->cost[EMU_BY_DISTANCES][0][i] >= 10);
    }
    CHECK_ERR(emu_plan_make(t, NULL, &plan), 0);
    CHECK_EQ(plan.remote, 1);
    CHECK_EQ(plan.compute_count, 2);
    for (unsigned i = 0; i < plan.far_count; i++)
        CHECK_LE(2, plan.far[i]); /* memory without CPUs */
    emu_topology_free(t);
}

TEST(numa, pages_lie_where_they_are_placed)
{
    const size_t bytes = 8 * MIB;
    static const int two_three[] = {2, 3};
    struct emu_placement where;
    for (int node = 0; node < 4; node++) {
        char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CHECK_ERR(emu_place(p, bytes, &node, 1), 0);
        CHECK_ERR(emu_verify(p, bytes, &node, 1, &where), 0);
        CHECK_EQ(where.misplaced, 0);
        const int other = (node + 1) % 4;
        CHECK_ERR(emu_verify(p, bytes, &other, 1, &where), 0);
        CHECK_EQ(where.misplaced, where.pages);
        CHECK_EQ(where.first_misplaced_node, node);
        munmap(p, bytes);
    }
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_ERR(emu_place(p, bytes, two_three, 2), 0);
    CHECK_ERR(emu_verify(p, bytes, two_three, 2, &where), 0);
    CHECK_EQ(where.misplaced, 0);
    CHECK_EQ(where.on_node[0], where.on_node[1]);
}

static int check_node(const struct alps_node *node, void *context)
{
    ++*(unsigned *)context;
    CHECK_NE(node->node, ALPS_ANY_NODE);
    CHECK_LT(0, node->zones);
    CHECK_EQ(node->misplaced, 0);
    return 0;
}

TEST(numa, a_hint_is_obeyed_for_every_size)
{
    alps_heap_t *heap = heap_on(all_nodes, 4, 128 * MIB);
    for (int node = 0; node < 4; node++)
        for (size_t size = 16; size < 3 * MIB; size = size * 7 / 2) {
            alps_ptr_t p = filled(heap, size, node);
            CHECK_EQ(alps_block_node(heap, p), node);
            CHECK_EQ(alps_block_node(heap, p + 0), node);
            alps_ptr_t q = alps_realloc(heap, p, size * 2); /* stays on its node */
            CHECK_NE(q, ALPS_NULL);
            CHECK_EQ(alps_block_node(heap, q), node);
        }
    unsigned nodes = 0;
    CHECK_ERR(alps_node_walk(heap, 1, check_node, &nodes), 0);
    CHECK_EQ(nodes, 4);
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Another process that maps the heap and touches memory first obeys, too. */
static void allocate_there(void *path)
{
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
    for (int node = 0; node < 4; node++) {
        alps_ptr_t p = filled(heap, 2 * MIB, node);
        CHECK_EQ(alps_block_node(heap, p), node);
        CHECK_EQ(alps_block_node(heap, p), node);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(numa, other_processes_obey_the_placement)
{
    const char *path = test_heap_path();
    struct alps_create_options options = blocks_options(64 * MIB, 0);
    options.zone_size = 4 * MIB;
    options.nodes = all_nodes;
    options.node_count = 4;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    test_join(test_fork(allocate_there, (void *)(uintptr_t)path));
    alps_heap_t *heap;
    unsigned nodes = 0;
    CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
    CHECK_ERR(alps_node_walk(heap, 1, check_node, &nodes), 0);
    CHECK_EQ(nodes, 4);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(numa, a_full_node_falls_back_to_others)
{
    static const int two[] = {0, 3};
    alps_heap_t *heap = heap_on(two, 2, 32 * MIB);
    unsigned there = 0, elsewhere = 0;
    alps_ptr_t p;
    while ((p = alps_malloc(heap, 1000000, 3)) != ALPS_NULL) {
        memset(alps_deref(heap, p), 1, 1000000);
        if (alps_block_node(heap, p) == 3)
            there++;
        else
            elsewhere++;
    }
    CHECK_EQ(errno, ENOMEM);
    CHECK_LT(8, there);
    CHECK_LT(8, elsewhere);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = heap_on(two, 2, 32 * MIB); /* a hint at a node that the heap has nothing on */
    p = filled(heap, 100, 1);
    CHECK_NE(alps_block_node(heap, p), 1);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(numa, blocks_migrate_with_their_contents)
{
    alps_heap_t *heap = heap_on(all_nodes, 4, 128 * MIB);
    static const size_t sizes[] = {16, 100, 5000, 300000, 3000000};
    for (unsigned s = 0; s < 5; s++) {
        alps_ptr_t p = filled(heap, sizes[s], 0), before;
        for (int node = 3; node >= 0; node--) {
            before = p;
            CHECK_ERR(alps_migrate(heap, &p, node), 0);
            CHECK_NE(p, before);
            CHECK_EQ(alps_block_node(heap, p), node);
            CHECK_EQ(blocks_differ(alps_deref(heap, p), sizes[s], sizes[s]), sizes[s]);
            CHECK(alps_free(heap, before) < 0);
        }
        before = p;
        CHECK_ERR(alps_migrate(heap, &p, 0), 0);
        CHECK_EQ(p, before);
        CHECK_ERR(alps_free(heap, p), 0);
    }
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(numa, migrating_to_a_full_node_changes_nothing)
{
    static const int two[] = {0, 2};
    alps_heap_t *heap = heap_on(two, 2, 32 * MIB);
    alps_ptr_t moving = filled(heap, 1000000, 0), p;
    while ((p = alps_malloc(heap, 1000000, 2)) != ALPS_NULL && alps_block_node(heap, p) == 2)
        continue;
    const uint64_t live = blocks_stats(heap).live_blocks;
    p = moving;
    CHECK_ERR(alps_migrate(heap, &moving, 2), -ENOMEM);
    CHECK_EQ(moving, p);
    CHECK_EQ(blocks_differ(alps_deref(heap, p), 1000000, 1000000), 1000000);
    CHECK_EQ(blocks_stats(heap).live_blocks, live);
    CHECK_ERR(alps_migrate(heap, &moving, 3), -ENODEV);
    CHECK_ERR(alps_heap_close(heap), 0);
}
