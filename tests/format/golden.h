/* The golden heaps: a heap file without its holes, and what is in it.
 *
 * A packed file is a text line "ALPS-GOLDEN LENGTH\n" and then, for each page that is not all zero,
 * its offset (8 bytes) and its 4096 bytes. */
#ifndef TESTS_FORMAT_GOLDEN_H
#define TESTS_FORMAT_GOLDEN_H

#include <alps/alps.h>

/* What a golden heap holds: a permanent list of GOLDEN_NODES nodes from root "list", and one more
 * block for each size, in a closed generation that root "generation" points to the number of. */
#define GOLDEN_NODES 50
#define GOLDEN_SIZES 6
extern const size_t golden_sizes[GOLDEN_SIZES];

struct golden_node {
    alps_ptr_t next;
    uint64_t number;
};

/* 0, or -1 with a message on stderr. */
int golden_pack(const char *heap_path, const char *packed_path);
int golden_unpack(const char *packed_path, const char *heap_path);

#endif
