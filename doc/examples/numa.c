/* NUMA placement.
 *
 *     numa FILE [NODE...]
 *
 * The zones of a heap are placed on nodes in turn. Blocks come from the node that the program
 * wants, if there is room, and can be moved to another one; the library looks where each page
 * really is. */
#include <alps/alps.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 64, BYTES = 1 << 20 };

static void fail(const char *what)
{
    fprintf(stderr, "numa: %s: %s\n", what, alps_error_detail());
    exit(1);
}

static int print_node(const struct alps_node *node, void *misplaced)
{
    printf("node %d: %u zones, %llu blocks, %llu bytes; %llu of %llu pages lie elsewhere\n",
           node->node, node->zones, (unsigned long long)node->live_blocks,
           (unsigned long long)node->live_bytes, (unsigned long long)node->misplaced,
           (unsigned long long)node->pages);
    *(int *)misplaced |= node->misplaced != 0;
    return 0;
}

int main(int argc, char **argv)
{
    int nodes[NODES_MAX] = {0}, misplaced = 0;
    unsigned count = argc > 2 ? (unsigned)argc - 2 : 1;
    if (argc < 2 || count > NODES_MAX) {
        fprintf(stderr, "usage: numa FILE [NODE...]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++)
        nodes[i - 2] = atoi(argv[i]);

    struct alps_create_options options = {.struct_size = sizeof options,
                                          .size = (uint64_t)64 << 20,
                                          .zone_size = (uint64_t)8 << 20,
                                          .nodes = nodes,
                                          .node_count = count};
    alps_heap_t *heap;
    if (alps_heap_create(argv[1], &options) != 0 || alps_heap_open(argv[1], NULL, &heap) != 0)
        fail("create");

    for (unsigned i = 0; i < count; i++) {
        alps_ptr_t p = alps_malloc(heap, BYTES, nodes[i]);
        if (p == ALPS_NULL)
            fail("malloc");
        memset(alps_deref(heap, p), 1, BYTES);
        printf("a block for node %d is on node %d\n", nodes[i], alps_block_node(heap, p));
        int next = nodes[(i + 1) % count];
        if (alps_migrate(heap, &p, next) != 0) /* the pointer changes, the contents do not */
            fail("migrate");
        printf("moved to node %d it is on node %d\n", next, alps_block_node(heap, p));
        if (*(char *)alps_deref(heap, p) != 1)
            fail("contents");
    }
    if (alps_node_walk(heap, 1, print_node, &misplaced) != 0)
        fail("walk");
    alps_heap_close(heap);
    alps_heap_destroy(argv[1]);
    return misplaced;
}
