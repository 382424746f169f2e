/* Writes the golden heap of the present layout version: write_golden PACKED-FILE. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden.h"

static void must(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, alps_strerror(rc), alps_error_detail());
    exit(1);
}

static void fill(const char *path)
{
    alps_heap_t *heap;
    struct alps_open_options permanent = {.struct_size = sizeof permanent,
                                          .flags = ALPS_OPEN_PERMANENT};
    must(alps_heap_open(path, &permanent, &heap), "open");
    alps_ptr_t next = ALPS_NULL;
    for (uint64_t i = GOLDEN_NODES; i > 0; i--) {
        alps_ptr_t p = alps_malloc(heap, sizeof(struct golden_node), ALPS_ANY_NODE);
        struct golden_node *node = alps_deref(heap, p);
        *node = (struct golden_node){.next = next, .number = i};
        next = p;
    }
    must(alps_root_set(heap, "list", next), "root");
    alps_ptr_t number = alps_malloc(heap, sizeof(alps_gen_t), ALPS_ANY_NODE);
    must(alps_root_set(heap, "generation", number), "root");
    must(alps_heap_close(heap), "close");

    must(alps_heap_open(path, NULL, &heap), "open");
    alps_gen_t generation = alps_heap_generation(heap);
    memcpy(alps_deref(heap, number), &generation, sizeof generation);
    for (unsigned i = 0; i < GOLDEN_SIZES; i++) {
        alps_ptr_t p = alps_malloc(heap, golden_sizes[i], ALPS_ANY_NODE);
        memset(alps_deref(heap, p), 0, golden_sizes[i]);
        *(char *)alps_deref(heap, p) = (char)('a' + i);
    }
    must(alps_heap_close(heap), "close");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: write_golden PACKED-FILE\n");
        return 2;
    }
    char path[] = "/dev/shm/alps-golden-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) {
        perror(path);
        return 1;
    }
    close(fd);
    unlink(path);
    struct alps_create_options options = {
        .struct_size = sizeof options, .size = 16u << 20, .capacity = 64u << 20};
    must(alps_heap_create(path, &options), "create");
    fill(path);
    int rc = golden_pack(path, argv[1]);
    unlink(path);
    return rc == 0 ? 0 : 1;
}
