/* Placement of a region's memory on NUMA nodes, by the kernel's own calls.
 *
 * On tmpfs the policy set here belongs to the file: other processes that touch a page first, and
 * fallocate, obey it. On other file systems it holds for this mapping only; fallocate on hugetlbfs,
 * which takes the pages, does not ask for it. */
#include "region.h"

#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "fam.h"

#define MASK_BITS 1024
#define BATCH 64 /* pages that the kernel is asked about at a time */

int region_node_exists(int node)
{
    if (numa_available() < 0)
        return node == 0;
    return node >= 0 && node <= numa_max_node() &&
           numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node);
}

int region_place(struct region *region, uint64_t offset, uint64_t length, int node)
{
    const unsigned word_bits = 8 * sizeof(unsigned long);
    unsigned long mask[MASK_BITS / (8 * sizeof(unsigned long))];
    memset(mask, 0, sizeof mask);
    mask[(unsigned)node / word_bits] = 1ul << ((unsigned)node % word_bits);
    if (region->huge_pages)
        return error_set(EOPNOTSUPP,
                         "%s: hugetlbfs takes its pages from where they are: reserve them on the "
                         "nodes, and leave out --nodes",
                         region->files[0].path);
    if (mbind(region->base + offset, length, MPOL_BIND, mask, MASK_BITS, 0) == 0)
        return 0;
    if (errno == ENOSYS && node == 0) /* a kernel without NUMA has node 0 alone */
        return 0;
    return error_system(errno, "%s: cannot be placed on NUMA node %d", region->files[0].path, node);
}

int region_verify(struct region *region, uint64_t offset, uint64_t length, int node,
                  uint64_t *pages, uint64_t *misplaced, uint64_t *first)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    for (uint64_t at = offset; at < offset + length;) {
        void *addresses[BATCH];
        int nodes[BATCH];
        unsigned n = 0;
        for (; n < BATCH && at + n * page < offset + length; n++) {
            char *p = region->base + at + n * page;
            fam_load((const fam_word_t *)(const void *)p); /* the kernel tells of touched pages */
            addresses[n] = p;
        }
        if (move_pages(0, n, addresses, NULL, nodes, 0) != 0) {
            if (errno != ENOSYS)
                return error_system(errno, "%s: the kernel does not say where its pages are",
                                    region->files[0].path);
            memset(nodes, 0, sizeof nodes);
        }
        for (unsigned i = 0; i < n; i++)
            if (nodes[i] != node && (*misplaced)++ == 0)
                *first = at + i * page;
        *pages += n;
        at += n * page;
    }
    return 0;
}

int region_node_of(struct region *region, uint64_t offset)
{
    int node = -1;
    if (get_mempolicy(&node, NULL, 0, region->base + offset, MPOL_F_NODE | MPOL_F_ADDR) == 0)
        return node;
    if (errno == ENOSYS)
        return 0;
    return error_system(errno, "%s: cannot find the NUMA node of offset %llu",
                        region->files[0].path, (unsigned long long)offset);
}
