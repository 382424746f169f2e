/* Which NUMA nodes of a machine play the far memory, and putting memory there.
 *
 *     struct emu_topology *topology;
 *     struct emu_plan plan;
 *     emu_topology_read(NULL, &topology);               what hwloc finds on this machine
 *     emu_plan_make(topology, NULL, &plan);             which nodes are near, which are far
 *     emu_place(address, length, plan.far, plan.far_count);
 *
 * Functions that return int return 0 or a negative errno value; emu_error_detail() says more. */
#ifndef EMU_TOPOLOGY_H
#define EMU_TOPOLOGY_H

#include <emu/emu.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EMU_NODES_MAX 64

enum emu_node_kind {
    EMU_NODE_DRAM, /* ordinary memory, or the firmware does not say what it is */
    EMU_NODE_HBM,  /* high-bandwidth memory of the processor's own package */
    EMU_NODE_CXL,  /* memory behind a CXL device */
    EMU_NODE_DAX,  /* persistent or specific-purpose memory that the kernel made a node of */
};

struct emu_node {
    int number; /* the kernel's number of the node */
    enum emu_node_kind kind;
    unsigned cpus;         /* processing units that belong to it; 0: memory alone */
    uint64_t memory_bytes; /* 0: not known */
};

/* What is known about the ways between nodes, the most trusted first. */
enum emu_source {
    EMU_BY_CONFIGURATION, /* the user said which nodes */
    EMU_BY_MEASUREMENT,   /* latency, ns: emu_topology_measure, or kept in an XML file */
    EMU_BY_ATTRIBUTES,    /* latency, ns, as the firmware says */
    EMU_BY_DISTANCES,     /* the firmware's relative distances */
    EMU_BY_TREE,          /* steps in hwloc's tree */
    EMU_BY_ORDER,         /* nothing is known: the order of their numbers */
    EMU_SOURCES
};

struct emu_topology {
    unsigned count;
    struct emu_node nodes[EMU_NODES_MAX]; /* by ascending number */
    /* cost[source][from][to], by index in nodes; 0: not known */
    double cost[EMU_SOURCES][EMU_NODES_MAX][EMU_NODES_MAX];
    int this_machine; /* 1: memory can be placed and measured */
};

/* Reads a topology: NULL for this machine (HWLOC_XMLFILE and HWLOC_SYNTHETIC in the environment
 * count), a file that ends with ".xml", or hwloc's description of a synthetic one, such as
 * "numa:4 core:2 pu:1". The caller frees it with emu_topology_free. */
EMU_API int emu_topology_read(const char *from, struct emu_topology **topology);
EMU_API void emu_topology_free(struct emu_topology *topology);

/* Measures the latency of each node's memory from each node with CPUs, by dependent reads; about
 * 1 s a pair. Errors: EINVAL (not of this machine), EBUSY (the processors are),
 * ENOMEM, other. */
EMU_API int emu_topology_measure(struct emu_topology *topology);

/* Writes this machine's topology to an XML file for hwloc, with what was measured: a topology that
 * is read from there has it. */
EMU_API int emu_topology_save(const struct emu_topology *topology, const char *path);

/* What the user wants of a plan; counts of 0: to be chosen. */
struct emu_plan_request {
    const int *compute; /* numbers of the nodes that processes run on */
    unsigned compute_count;
    const int *far; /* numbers of the nodes that play far memory */
    unsigned far_count;
};

struct emu_plan {
    int compute[EMU_NODES_MAX];
    unsigned compute_count;
    int far[EMU_NODES_MAX]; /* the order in which zones of a heap take turns */
    unsigned far_count;
    double cost[EMU_NODES_MAX]; /* of each far node from the nearest compute node; 0: not known */
    enum emu_source source;     /* where the costs are from, or the choice */
    int remote;                 /* 0: the far nodes are compute nodes as well */
    char why[256];              /* for people */
};

/* Chooses the nodes; request NULL: all by itself. Memory without CPUs is far, HBM never is; where
 * all nodes have CPUs the ones farthest from the first node are, and those near it compute; the
 * only node is both. Looks at nothing but its arguments.
 * Errors: EINVAL (a node that is not there, or without CPUs where it should compute). */
EMU_API int emu_plan_make(const struct emu_topology *topology,
                          const struct emu_plan_request *request, struct emu_plan *plan);

/* Names for people. */
EMU_API const char *emu_node_kind_name(enum emu_node_kind kind);
EMU_API const char *emu_source_name(enum emu_source source);

/* Puts memory that nobody has touched yet on nodes, page by page in turn, and nowhere else. On
 * tmpfs this belongs to the file, so other processes that touch it first obey.
 * Errors: EINVAL (no such node, address not at a page), other. */
EMU_API int emu_place(void *address, uint64_t length, const int *nodes, unsigned count);

/* Where the pages of a range are, of those that are there; all of them are read first. */
struct emu_placement {
    uint64_t pages;                  /* in the range */
    uint64_t misplaced;              /* not on one of the nodes wanted */
    uint64_t on_node[EMU_NODES_MAX]; /* by index in the nodes wanted */
    const void *first_misplaced;     /* NULL: none */
    int first_misplaced_node;        /* where that page is instead */
};

/* Verifies page by page where memory is. 0 also if some pages are misplaced. */
EMU_API int emu_verify(const void *address, uint64_t length, const int *nodes, unsigned count,
                       struct emu_placement *placement);

#ifdef __cplusplus
}
#endif

#endif
