/* Putting memory on nodes and looking where it is, by the kernel's own calls. */
#include <emu/topology.h>

#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

#define MASK_BITS 1024
#define WORD_BITS (8 * sizeof(unsigned long))
#define BATCH 512 /* pages that the kernel is asked about at a time */

static int make_mask(unsigned long mask[MASK_BITS / WORD_BITS], const int *nodes, unsigned count)
{
    memset(mask, 0, MASK_BITS / 8);
    if (count == 0)
        return emu_fail(EINVAL, "no node to place memory on");
    for (unsigned i = 0; i < count; i++) {
        const int most = numa_available() < 0 ? 0 : numa_max_node();
        if (nodes[i] < 0 || nodes[i] >= MASK_BITS || nodes[i] > most)
            return emu_fail(EINVAL, "there is no node %d on this machine", nodes[i]);
        mask[(unsigned)nodes[i] / WORD_BITS] |= 1ul << ((unsigned)nodes[i] % WORD_BITS);
    }
    return 0;
}

int emu_place(void *address, uint64_t length, const int *nodes, unsigned count)
{
    unsigned long mask[MASK_BITS / WORD_BITS];
    int rc = make_mask(mask, nodes, count);
    if (rc != 0)
        return rc;
    if (mbind(address, length, count == 1 ? MPOL_BIND : MPOL_INTERLEAVE, mask, MASK_BITS, 0) == 0)
        return 0;
    if (errno == ENOSYS && count == 1) /* a kernel without NUMA has node 0 alone */
        return 0;
    return emu_fail_system(errno, "memory cannot be placed on node %d%s", nodes[0],
                           count > 1 ? " and others" : "");
}

static void look_at(struct emu_placement *p, const void *page, int node, const int *nodes,
                    unsigned count)
{
    unsigned i = 0;
    while (i < count && nodes[i] != node)
        i++;
    if (i < count) {
        p->on_node[i]++;
        return;
    }
    if (p->misplaced++ == 0) {
        p->first_misplaced = page;
        p->first_misplaced_node = node;
    }
}

int emu_verify(const void *address, uint64_t length, const int *nodes, unsigned count,
               struct emu_placement *p)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    memset(p, 0, sizeof *p);
    if (count > EMU_NODES_MAX || (uintptr_t)address % page != 0)
        return emu_fail(EINVAL, "too many nodes, or the address is not at a page");
    const char *at = address, *end = at + length;
    while (at < end) {
        void *pages[BATCH];
        int where[BATCH];
        unsigned n = 0;
        for (; n < BATCH && at < end; at += page) {
            (void)*(const volatile char *)at; /* only pages this process has touched are known */
            pages[n++] = (void *)(uintptr_t)at;
        }
        if (move_pages(0, n, pages, NULL, where, 0) != 0) {
            if (errno != ENOSYS)
                return emu_fail_system(errno, "the kernel does not say where pages are");
            memset(where, 0, sizeof where);
        }
        for (unsigned i = 0; i < n; i++)
            look_at(p, pages[i], where[i], nodes, count);
        p->pages += n;
    }
    return 0;
}
