/* Writes the machines of tests/emu/topologies, by hand when one is added:
 *
 *     write_topologies tests/emu/topologies
 *
 * Each is hwloc's description of a kind of machine, with the distances and latencies that such
 * machines show, exported as hwloc exports a real one. qemu-*.xml are recorded. */
#include <hwloc.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct machine {
    const char *name, *synthetic;
    unsigned nodes;
    unsigned distances[8][8]; /* all 0: none */
    const char *kinds[8];     /* subtypes; "NVM" becomes what Linux says of persistent memory */
    unsigned latencies[8];    /* from the best initiator, as Linux has it; 0: none */
} machines[] = {
    {.name = "one-node", .synthetic = "numa:1 core:4 pu:2", .nodes = 1},
    {.name = "two-sockets",
     .synthetic = "pack:2 [numa(memory=64GB)] core:4 pu:2",
     .nodes = 2,
     .distances = {{10, 21}, {21, 10}}},
    {.name = "four-sockets-ring",
     .synthetic = "pack:4 [numa(memory=64GB)] core:2 pu:1",
     .nodes = 4,
     .distances = {{10, 21, 31, 21}, {21, 10, 21, 31}, {31, 21, 10, 21}, {21, 31, 21, 10}}},
    {.name = "two-sockets-cxl", /* an expander at each socket: nodes 1 and 3 */
     .synthetic = "pack:2 [numa(memory=64GB)] [numa(memory=128GB)] core:4 pu:2",
     .nodes = 4,
     .distances = {{10, 14, 21, 24}, {14, 10, 24, 26}, {21, 24, 10, 14}, {24, 26, 14, 10}},
     .kinds = {NULL, "CXL", NULL, "CXL"},
     .latencies = {100, 250, 100, 250}},
    {.name = "hbm-flat", /* four quarters of a package, each with DDR and HBM */
     .synthetic = "pack:1 group:4 [numa(memory=32GB)] [numa(memory=16GB)] core:2 pu:1",
     .nodes = 8,
     .distances = {{10, 13, 12, 14, 12, 14, 12, 14},
                   {13, 10, 14, 14, 14, 14, 14, 14},
                   {12, 14, 10, 13, 12, 14, 12, 14},
                   {14, 14, 13, 10, 14, 14, 14, 14},
                   {12, 14, 12, 14, 10, 13, 12, 14},
                   {14, 14, 14, 14, 13, 10, 14, 14},
                   {12, 14, 12, 14, 12, 14, 10, 13},
                   {14, 14, 14, 14, 14, 14, 13, 10}},
     .kinds = {NULL, "HBM", NULL, "HBM", NULL, "HBM", NULL, "HBM"}},
    {.name = "two-sockets-snc2",
     .synthetic = "pack:2 group:2 [numa(memory=32GB)] core:2 pu:2",
     .nodes = 4,
     .distances = {{10, 12, 20, 20}, {12, 10, 20, 20}, {20, 20, 10, 12}, {20, 20, 12, 10}}},
    {.name = "persistent-and-cxl", /* one socket with both; the persistent one is the slower */
     .synthetic = "pack:1 [numa(memory=64GB)] [numa(memory=512GB)] [numa(memory=128GB)] core:4 "
                  "pu:1",
     .nodes = 3,
     .distances = {{10, 17, 17}, {17, 10, 28}, {17, 28, 10}},
     .kinds = {NULL, "NVM", "CXL"},
     .latencies = {100, 350, 250}},
};

static void check(int failed, const char *what)
{
    if (failed) {
        perror(what);
        exit(1);
    }
}

static void add_distances(hwloc_topology_t h, const struct machine *m)
{
    hwloc_obj_t objects[8];
    hwloc_uint64_t values[64];
    for (unsigned i = 0; i < m->nodes; i++) {
        objects[i] = hwloc_get_obj_by_type(h, HWLOC_OBJ_NUMANODE, i);
        for (unsigned j = 0; j < m->nodes; j++)
            values[i * m->nodes + j] = m->distances[i][j];
    }
    hwloc_distances_add_handle_t d = hwloc_distances_add_create(
        h, "NUMALatency", HWLOC_DISTANCES_KIND_FROM_OS | HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0);
    check(d == NULL, "distances");
    check(hwloc_distances_add_values(h, d, m->nodes, objects, values, 0) != 0, "distances");
    check(hwloc_distances_add_commit(h, d, 0) != 0, "distances");
}

static void write_machine(const struct machine *m, const char *directory)
{
    hwloc_topology_t h;
    char path[1024];
    check(hwloc_topology_init(&h) != 0, "hwloc");
    check(hwloc_topology_set_synthetic(h, m->synthetic) != 0, m->synthetic);
    check(hwloc_topology_load(h) != 0, "hwloc");
    if (m->distances[0][0] != 0)
        add_distances(h, m);
    for (unsigned i = 0; i < m->nodes; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(h, HWLOC_OBJ_NUMANODE, i);
        if (m->kinds[i] != NULL && strcmp(m->kinds[i], "NVM") == 0)
            hwloc_obj_add_info(node, "DAXType", "NVM");
        else if (m->kinds[i] != NULL)
            node->subtype = strdup(m->kinds[i]);
        if (m->latencies[i] == 0)
            continue;
        struct hwloc_location initiator = {.type = HWLOC_LOCATION_TYPE_CPUSET};
        initiator.location.cpuset = node->cpuset;
        check(hwloc_memattr_set_value(h, HWLOC_MEMATTR_ID_LATENCY, node, &initiator, 0,
                                      m->latencies[i]) != 0,
              "attribute");
    }
    snprintf(path, sizeof path, "%s/%s.xml", directory, m->name);
    check(hwloc_topology_export_xml(h, path, 0) != 0, path);
    hwloc_topology_destroy(h);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: write_topologies DIRECTORY\n", stderr);
        return 2;
    }
    for (unsigned i = 0; i < sizeof machines / sizeof machines[0]; i++)
        write_machine(&machines[i], argv[1]);
    return 0;
}
