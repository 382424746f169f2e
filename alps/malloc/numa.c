/* What the heap library has from libnuma, for a library that asks for no node: it would be a file
 * more to load, and a look into /sys, for each program that starts. ENOSYS is what a kernel without
 * NUMA says. */
#include <errno.h>
#include <numa.h>
#include <numaif.h>

struct bitmask *numa_all_nodes_ptr;

int numa_available(void)
{
    return -1;
}

int numa_max_node(void)
{
    return 0;
}

int numa_bitmask_isbitset(const struct bitmask *mask, unsigned bit)
{
    (void)mask;
    return bit == 0;
}

static long not_here(void)
{
    errno = ENOSYS;
    return -1;
}

long mbind(void *start, unsigned long length, int mode, const unsigned long *nodes,
           unsigned long max_node, unsigned flags)
{
    (void)start, (void)length, (void)mode, (void)nodes, (void)max_node, (void)flags;
    return not_here();
}

long move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status,
                int flags)
{
    (void)pid, (void)count, (void)pages, (void)nodes, (void)status, (void)flags;
    return not_here();
}

long get_mempolicy(int *mode, unsigned long *nodes, unsigned long max_node, void *address,
                   unsigned flags)
{
    (void)mode, (void)nodes, (void)max_node, (void)address, (void)flags;
    return not_here();
}
