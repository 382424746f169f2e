/* What hwloc knows about a machine's NUMA nodes, and what can be measured of them.
 *
 * hwloc gives a node without CPUs the CPUs of the place it is attached to. So whether it has CPUs
 * of its own is asked of libnuma on this machine; of another one, the first ordinary node among
 * those with the same CPUs has them, and the others have none. */
#include <emu/topology.h>

#include <errno.h>
#include <hwloc.h>
#include <numa.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "chase.h"
#include "error.h"

#define MEASURED "EmuLatency" /* the memory attribute that keeps what was measured */

/* ---- reading ---- */

static int hwloc_failed(const char *what)
{
    return emu_fail_system(errno == 0 ? EINVAL : errno, "hwloc: %s", what);
}

static int load(const char *from, hwloc_topology_t *topology)
{
    hwloc_topology_t h;
    if (hwloc_topology_init(&h) != 0)
        return hwloc_failed("cannot be set up");
    errno = 0;
    int rc = 0;
    if (from != NULL) {
        const size_t length = strlen(from);
        const bool xml = length > 4 && strcmp(from + length - 4, ".xml") == 0;
        if (xml && hwloc_topology_set_xml(h, from) != 0)
            rc = hwloc_failed(from);
        else if (!xml && hwloc_topology_set_synthetic(h, from) != 0)
            rc = emu_fail(EINVAL,
                          "\"%s\" is neither a file that ends with .xml nor a description as "
                          "hwloc has it",
                          from);
    }
    if (rc == 0 && hwloc_topology_load(h) != 0)
        rc = hwloc_failed(from == NULL ? "this machine" : from);
    if (rc != 0)
        hwloc_topology_destroy(h);
    else
        *topology = h;
    return rc;
}

static enum emu_node_kind kind_of(hwloc_obj_t node)
{
    const char *type = node->subtype == NULL ? "" : node->subtype;
    if (strcasecmp(type, "HBM") == 0 || strcasecmp(type, "MCDRAM") == 0)
        return EMU_NODE_HBM;
    if (strncasecmp(type, "CXL", 3) == 0 || hwloc_obj_get_info_by_name(node, "CXLDevice") != NULL)
        return EMU_NODE_CXL;
    if (strcasecmp(type, "NVM") == 0 || strcasecmp(type, "SPM") == 0 ||
        hwloc_obj_get_info_by_name(node, "DAXType") != NULL ||
        hwloc_obj_get_info_by_name(node, "DAXDevice") != NULL)
        return EMU_NODE_DAX;
    return EMU_NODE_DRAM;
}

static unsigned own_cpus(hwloc_topology_t h, hwloc_obj_t node)
{
    if (hwloc_topology_is_thissystem(h) && numa_available() >= 0) {
        struct bitmask *cpus = numa_allocate_cpumask();
        const unsigned count = cpus != NULL && numa_node_to_cpus((int)node->os_index, cpus) == 0
                                   ? numa_bitmask_weight(cpus)
                                   : 0;
        if (cpus != NULL)
            numa_free_cpumask(cpus);
        return count;
    }
    if (hwloc_bitmap_iszero(node->cpuset))
        return 0;
    hwloc_obj_t other = NULL;
    const bool plain = kind_of(node) == EMU_NODE_DRAM;
    while ((other = hwloc_get_next_obj_by_type(h, HWLOC_OBJ_NUMANODE, other)) != NULL) {
        if (other == node || !hwloc_bitmap_isequal(other->cpuset, node->cpuset))
            continue;
        const bool other_plain = kind_of(other) == EMU_NODE_DRAM;
        if ((other_plain && !plain) || (other_plain == plain && other->os_index < node->os_index))
            return 0;
    }
    return (unsigned)hwloc_bitmap_weight(node->cpuset);
}

static hwloc_obj_t object_of(hwloc_topology_t h, int number)
{
    return hwloc_get_numanode_obj_by_os_index(h, (unsigned)number);
}

/* Values of a memory attribute, for the pairs that have one. */
static void read_attribute(hwloc_topology_t h, hwloc_memattr_id_t attribute, struct emu_topology *t,
                           enum emu_source source)
{
    for (unsigned from = 0; from < t->count; from++) {
        if (t->nodes[from].cpus == 0)
            continue;
        struct hwloc_location initiator = {.type = HWLOC_LOCATION_TYPE_CPUSET};
        initiator.location.cpuset = object_of(h, t->nodes[from].number)->cpuset;
        for (unsigned to = 0; to < t->count; to++) {
            hwloc_uint64_t value;
            if (t->cost[source][from][to] == 0 &&
                hwloc_memattr_get_value(h, attribute, object_of(h, t->nodes[to].number), &initiator,
                                        0, &value) == 0)
                t->cost[source][from][to] = (double)value;
        }
    }
}

static void read_distances(hwloc_topology_t h, struct emu_topology *t)
{
    struct hwloc_distances_s *d;
    unsigned n = 1;
    if (hwloc_distances_get_by_name(h, "NUMALatency", &n, &d, 0) != 0 || n == 0)
        return;
    for (unsigned from = 0; from < t->count; from++)
        for (unsigned to = 0; to < t->count; to++) {
            hwloc_uint64_t there, back;
            if (hwloc_distances_obj_pair_values(d, object_of(h, t->nodes[from].number),
                                                object_of(h, t->nodes[to].number), &there,
                                                &back) == 0)
                t->cost[EMU_BY_DISTANCES][from][to] = (double)there;
        }
    hwloc_distances_release(h, d);
}

/* Steps up and down between where two nodes are attached, and one more, so that 0 stays free. */
static double steps(hwloc_topology_t h, hwloc_obj_t a, hwloc_obj_t b)
{
    while (hwloc_obj_type_is_memory(a->type))
        a = a->parent;
    while (hwloc_obj_type_is_memory(b->type))
        b = b->parent;
    const hwloc_obj_t common = hwloc_get_common_ancestor_obj(h, a, b);
    return 1 + (a->depth - common->depth) + (b->depth - common->depth);
}

static void read_all(hwloc_topology_t h, struct emu_topology *t)
{
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(h, HWLOC_OBJ_NUMANODE, node)) != NULL &&
           t->count < EMU_NODES_MAX) {
        unsigned i = t->count++;
        for (; i > 0 && t->nodes[i - 1].number > (int)node->os_index; i--)
            t->nodes[i] = t->nodes[i - 1];
        t->nodes[i] = (struct emu_node){(int)node->os_index, kind_of(node), own_cpus(h, node),
                                        node->attr->numanode.local_memory};
    }
    t->this_machine = hwloc_topology_is_thissystem(h);
    for (unsigned from = 0; from < t->count; from++)
        for (unsigned to = 0; to < t->count; to++)
            t->cost[EMU_BY_TREE][from][to] =
                steps(h, object_of(h, t->nodes[from].number), object_of(h, t->nodes[to].number));
    read_distances(h, t);
    read_attribute(h, HWLOC_MEMATTR_ID_READ_LATENCY, t, EMU_BY_ATTRIBUTES);
    read_attribute(h, HWLOC_MEMATTR_ID_LATENCY, t, EMU_BY_ATTRIBUTES);
    hwloc_memattr_id_t measured;
    if (hwloc_memattr_get_by_name(h, MEASURED, &measured) == 0)
        read_attribute(h, measured, t, EMU_BY_MEASUREMENT);
}

int emu_topology_read(const char *from, struct emu_topology **topology)
{
    hwloc_topology_t h;
    int rc = load(from, &h);
    if (rc != 0)
        return rc;
    struct emu_topology *t = calloc(1, sizeof *t);
    if (t == NULL) {
        hwloc_topology_destroy(h);
        return emu_fail(ENOMEM, "no memory for a topology");
    }
    read_all(h, t);
    hwloc_topology_destroy(h);
    *topology = t;
    return 0;
}

void emu_topology_free(struct emu_topology *topology)
{
    free(topology);
}

/* ---- measuring ---- */

struct measurement {
    int from, to;
    int rc;
    double ns;
    char detail[256];
};

/* In a thread of its own, since it binds itself. */
static void *measure(void *argument)
{
    struct measurement *m = argument;
    struct emu_chase chase = {
        .struct_size = sizeof chase, .bytes = CHASE_BYTES, .node = m->to, .runs = CHASE_RUNS};
    m->rc = numa_run_on_node(m->from) == 0
                ? 0
                : emu_fail_system(errno, "cannot run on node %d", m->from);
    if (m->rc == 0)
        m->rc = emu_chase_run(&chase);
    if (m->rc == 0 && chase.discarded == CHASE_RUNS)
        m->rc = emu_fail(EBUSY, "the processors are too busy to measure on");
    m->ns = chase.median_ns;
    if (m->rc != 0)
        snprintf(m->detail, sizeof m->detail, "%s", emu_error_detail());
    return NULL;
}

int emu_topology_measure(struct emu_topology *t)
{
    if (!t->this_machine)
        return emu_fail(EINVAL, "only this machine's own topology can be measured");
    for (unsigned from = 0; from < t->count; from++)
        for (unsigned to = 0; to < t->count && t->nodes[from].cpus > 0; to++) {
            struct measurement m = {.from = t->nodes[from].number, .to = t->nodes[to].number};
            pthread_t thread;
            const int error = pthread_create(&thread, NULL, measure, &m);
            if (error != 0)
                return emu_fail_system(error, "no thread to measure with");
            pthread_join(thread, NULL);
            if (m.rc != 0)
                return emu_fail(-m.rc, "%s", m.detail);
            t->cost[EMU_BY_MEASUREMENT][from][to] = m.ns;
        }
    return 0;
}

int emu_topology_save(const struct emu_topology *t, const char *path)
{
    hwloc_topology_t h;
    hwloc_memattr_id_t measured;
    int rc = load(NULL, &h);
    if (rc != 0)
        return rc;
    if (hwloc_memattr_get_by_name(h, MEASURED, &measured) != 0 &&
        hwloc_memattr_register(h, MEASURED,
                               HWLOC_MEMATTR_FLAG_LOWER_FIRST | HWLOC_MEMATTR_FLAG_NEED_INITIATOR,
                               &measured) != 0)
        rc = hwloc_failed("no attribute for measurements");
    for (unsigned from = 0; from < t->count && rc == 0; from++)
        for (unsigned to = 0; to < t->count && rc == 0; to++) {
            const double ns = t->cost[EMU_BY_MEASUREMENT][from][to];
            const hwloc_obj_t a = object_of(h, t->nodes[from].number);
            const hwloc_obj_t b = object_of(h, t->nodes[to].number);
            if (ns <= 0 || a == NULL || b == NULL)
                continue;
            struct hwloc_location initiator = {.type = HWLOC_LOCATION_TYPE_CPUSET};
            initiator.location.cpuset = a->cpuset;
            if (hwloc_memattr_set_value(h, measured, b, &initiator, 0,
                                        (hwloc_uint64_t)(ns + 0.5)) != 0)
                rc = hwloc_failed("a measurement cannot be kept");
        }
    errno = 0;
    if (rc == 0 && hwloc_topology_export_xml(h, path, 0) != 0)
        rc = emu_fail_system(errno == 0 ? EIO : errno, "%s: cannot be written", path);
    hwloc_topology_destroy(h);
    return rc;
}
