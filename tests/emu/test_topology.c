/* Which nodes a plan chooses, on machines of many kinds; and placing memory, as far as this machine
 * has nodes for it. */
#include <emu/topology.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

static void text_of(char text[64], const int *nodes, unsigned count)
{
    text[0] = '\0';
    for (unsigned i = 0; i < count; i++)
        sprintf(text + strlen(text), "%s%d", i == 0 ? "" : ",", nodes[i]);
}

static struct emu_topology *read_machine(const char *from)
{
    char path[1024];
    struct emu_topology *t;
    snprintf(path, sizeof path, "%s/%s.xml", getenv("ALPS_TOPOLOGIES"), from);
    CHECK_ERR(emu_topology_read(strchr(from, ':') != NULL ? from : path, &t), 0);
    return t;
}

static void expect_plan(const struct emu_topology *t, const struct emu_plan_request *request,
                        const char *compute, const char *far, enum emu_source source)
{
    struct emu_plan plan;
    char text[64];
    CHECK_ERR(emu_plan_make(t, request, &plan), 0);
    text_of(text, plan.compute, plan.compute_count);
    CHECK_STR(text, compute);
    text_of(text, plan.far, plan.far_count);
    CHECK_STR(text, far);
    CHECK_EQ(plan.source, source);
    CHECK_NE(plan.why[0], '\0');
}

TEST(topology, each_kind_of_machine_has_its_plan)
{
    static const struct {
        const char *machine, *compute, *far;
        enum emu_source source;
        int remote;
    } cases[] = {
        {"one-node", "0", "0", EMU_BY_TREE, 0},
        {"two-sockets", "0", "1", EMU_BY_DISTANCES, 1},
        {"four-sockets-ring", "0", "2", EMU_BY_DISTANCES, 1},
        {"two-sockets-cxl", "0,2", "1,3", EMU_BY_ATTRIBUTES, 1},
        {"hbm-flat", "0", "2,4,6", EMU_BY_DISTANCES, 1},
        {"two-sockets-snc2", "0,1", "2,3", EMU_BY_DISTANCES, 1},
        {"persistent-and-cxl", "0", "1", EMU_BY_ATTRIBUTES, 1},
        {"qemu-four-nodes", "0,1", "2,3", EMU_BY_ATTRIBUTES, 1},
        {"numa:1 core:2 pu:1", "0", "0", EMU_BY_TREE, 0},
        {"numa:4 core:2 pu:1", "0", "1,2,3", EMU_BY_TREE, 1},
        {"pack:2 numa:2 core:2 pu:1", "0", "2,3", EMU_BY_TREE, 1},
        {"pack:1 [numa(memory=1GB)] [numa(memory=1GB)] core:2 pu:1", "0", "1", EMU_BY_TREE, 1},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct emu_topology *t = read_machine(cases[i].machine);
        struct emu_plan plan;
        expect_plan(t, NULL, cases[i].compute, cases[i].far, cases[i].source);
        CHECK_ERR(emu_plan_make(t, NULL, &plan), 0);
        CHECK_EQ(plan.remote, cases[i].remote);
        CHECK_EQ(t->this_machine, 0);
        CHECK_ERR(emu_topology_measure(t), -EINVAL);
        emu_topology_free(t);
    }
}

TEST(topology, kinds_and_cpus_are_read)
{
    struct emu_topology *t = read_machine("hbm-flat");
    CHECK_EQ(t->count, 8);
    for (unsigned i = 0; i < 8; i++) {
        CHECK_EQ(t->nodes[i].number, i);
        CHECK_EQ(t->nodes[i].kind, i % 2 == 0 ? EMU_NODE_DRAM : EMU_NODE_HBM);
        CHECK_EQ(t->nodes[i].cpus, i % 2 == 0 ? 2 : 0);
        CHECK_LE((uint64_t)16000 << 20, t->nodes[i].memory_bytes * 2);
    }
    emu_topology_free(t);
    t = read_machine("persistent-and-cxl");
    CHECK_EQ(t->nodes[1].kind, EMU_NODE_DAX);
    CHECK_EQ(t->nodes[2].kind, EMU_NODE_CXL);
    CHECK(t->cost[EMU_BY_ATTRIBUTES][0][1] == 350);
    CHECK(t->cost[EMU_BY_DISTANCES][1][2] == 28);
    emu_topology_free(t);
}

TEST(topology, what_the_user_says_counts_most)
{
    struct emu_topology *t = read_machine("two-sockets-cxl");
    static const int two[] = {2}, cxl[] = {3, 1}, nine[] = {9}, one[] = {1};
    const struct emu_plan_request on_2 = {two, 1, NULL, 0}, to_3_1 = {NULL, 0, cxl, 2};
    expect_plan(t, &on_2, "2", "1", EMU_BY_DISTANCES); /* of 1 there is no attribute from 2 */
    expect_plan(t, &to_3_1, "0,2", "3,1", EMU_BY_CONFIGURATION);
    const struct emu_plan_request bad[] = {
        {nine, 1, NULL, 0}, {NULL, 0, nine, 1}, {one, 1, NULL, 0}};
    struct emu_plan plan;
    for (unsigned i = 0; i < 3; i++)
        CHECK_ERR(emu_plan_make(t, &bad[i], &plan), -EINVAL);
    CHECK_STR(emu_error_detail(), "node 1 has no CPUs to compute on");
    emu_topology_free(t);
    t = read_machine("four-sockets-ring");
    static const int one_and_two[] = {1, 2};
    const struct emu_plan_request on_1_2 = {one_and_two, 2, NULL, 0};
    expect_plan(t, &on_1_2, "1,2", "0,3", EMU_BY_DISTANCES);
    emu_topology_free(t);
}

TEST(topology, the_most_trusted_source_decides)
{
    struct emu_topology *t = read_machine("persistent-and-cxl");
    t->cost[EMU_BY_MEASUREMENT][0][1] = 200; /* measured: the persistent one is not the slower */
    expect_plan(t, NULL, "0", "1", EMU_BY_ATTRIBUTES); /* a half-known source does not count */
    t->cost[EMU_BY_MEASUREMENT][0][2] = 500;
    expect_plan(t, NULL, "0", "2", EMU_BY_MEASUREMENT);
    memset(t->cost, 0, sizeof t->cost); /* nothing known: all of it */
    expect_plan(t, NULL, "0", "1,2", EMU_BY_ORDER);
    for (unsigned i = 0; i < t->count; i++)
        t->nodes[i].cpus = 0;
    struct emu_plan plan;
    CHECK_ERR(emu_plan_make(t, NULL, &plan), -EINVAL);
    emu_topology_free(t);
    t = read_machine("two-sockets-snc2");
    memset(t->cost, 0, sizeof t->cost);
    expect_plan(t, NULL, "0", "1,2,3", EMU_BY_ORDER);
    emu_topology_free(t);
}

TEST(topology, what_cannot_be_read_is_told)
{
    struct emu_topology *t;
    CHECK_ERR(emu_topology_read("/nowhere/at/all.xml", &t), -ENOENT);
    CHECK(strstr(emu_error_detail(), "/nowhere/at/all.xml") != NULL);
    CHECK_ERR(emu_topology_read("seven dwarfs", &t), -EINVAL);
    CHECK(strstr(emu_error_detail(), "seven dwarfs") != NULL);
    char path[256];
    snprintf(path, sizeof path, "%s/bad.xml", test_directory());
    FILE *file = fopen(path, "w");
    fputs("<topology><object", file);
    fclose(file);
    CHECK(emu_topology_read(path, &t) < 0);
}

TEST_LIMITED(topology, measurements_are_kept_in_a_file, 120)
{
    struct emu_topology *t, *again;
    char path[256];
    snprintf(path, sizeof path, "%s/saved.xml", test_directory());
    CHECK_ERR(emu_topology_read(NULL, &t), 0);
    CHECK_EQ(t->this_machine, 1);
    CHECK_LE(1, t->count);
    const int rc = emu_topology_measure(t);
    if (rc == -EBUSY)
        SKIP("%s", emu_error_detail());
    CHECK_ERR(rc, 0);
    CHECK(t->cost[EMU_BY_MEASUREMENT][0][0] > 0);
    CHECK_ERR(emu_topology_save(t, path), 0);
    CHECK_ERR(emu_topology_read(path, &again), 0);
    CHECK_EQ(again->count, t->count);
    const double difference =
        again->cost[EMU_BY_MEASUREMENT][0][0] - t->cost[EMU_BY_MEASUREMENT][0][0];
    CHECK(difference <= 0.5 && difference >= -0.5);
    CHECK(emu_topology_save(t, "/nowhere/at/all.xml") < 0);
    emu_topology_free(t);
    emu_topology_free(again);
}

TEST(topology, memory_is_placed_and_verified_page_by_page)
{
    const size_t bytes = (size_t)3 << 20;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    static const int zero[] = {0}, absent[] = {1000}, negative[] = {-1};
    struct emu_placement where;
    CHECK_ERR(emu_place(p, bytes, absent, 1), -EINVAL);
    CHECK_STR(emu_error_detail(), "there is no node 1000 on this machine");
    CHECK_ERR(emu_place(p, bytes, negative, 1), -EINVAL);
    CHECK_ERR(emu_place(p, bytes, zero, 0), -EINVAL);
    CHECK_ERR(emu_place(p + 1, bytes - 4096, zero, 1), -EINVAL);
    CHECK_ERR(emu_place(p, bytes, zero, 1), 0);
    CHECK_ERR(emu_verify(p, bytes, zero, 1, &where), 0);
    CHECK_EQ(where.pages, bytes / (size_t)sysconf(_SC_PAGESIZE));
    CHECK_EQ(where.misplaced, 0);
    CHECK_EQ(where.on_node[0], where.pages);
    CHECK_ERR(emu_verify(p, bytes, absent, 1, &where), 0);
    CHECK_EQ(where.misplaced, where.pages);
    CHECK_EQ(where.first_misplaced, (const void *)p);
    CHECK_EQ(where.first_misplaced_node, 0);
    CHECK_ERR(emu_verify(p + 8, bytes, zero, 1, &where), -EINVAL);
}
