/* Choosing nodes: a topology in, a plan out, and nothing else looked at. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

#include <emu/topology.h>

/* Nodes whose cost is at least this share of the highest count as equally far. */
#define AS_FAR 0.9

const char *emu_node_kind_name(enum emu_node_kind kind)
{
    static const char *const names[] = {"DRAM", "HBM", "CXL", "DAX"};
    return names[kind];
}

const char *emu_source_name(enum emu_source source)
{
    static const char *const names[] = {"configuration", "measurement", "memory attributes",
                                        "distances",     "tree",        "order"};
    return names[source];
}

static int index_of(const struct emu_topology *t, int number)
{
    for (unsigned i = 0; i < t->count; i++)
        if (t->nodes[i].number == number)
            return (int)i;
    return -1;
}

/* Cost of a node from the nearest of some; 0 if none is known. */
static double cost_from(const struct emu_topology *t, enum emu_source source, const unsigned *from,
                        unsigned from_count, unsigned to)
{
    double least = 0;
    for (unsigned i = 0; i < from_count; i++) {
        const double cost = t->cost[source][from[i]][to];
        if (cost > 0 && (least == 0 || cost < least))
            least = cost;
    }
    return least;
}

/* The most trusted source that knows the cost of all of some nodes from some. */
static enum emu_source best_source(const struct emu_topology *t, const unsigned *from,
                                   unsigned from_count, const unsigned *to, unsigned to_count)
{
    for (unsigned s = EMU_BY_MEASUREMENT; s < EMU_BY_ORDER; s++) {
        unsigned known = 0;
        while (known < to_count &&
               cost_from(t, (enum emu_source)s, from, from_count, to[known]) > 0)
            known++;
        if (known == to_count)
            return (enum emu_source)s;
    }
    return EMU_BY_ORDER;
}

static int check_request(const struct emu_topology *t, const struct emu_plan_request *r)
{
    for (unsigned i = 0; i < r->compute_count; i++) {
        const int node = index_of(t, r->compute[i]);
        if (node < 0)
            return emu_fail(EINVAL, "there is no node %d to compute on", r->compute[i]);
        if (t->nodes[node].cpus == 0)
            return emu_fail(EINVAL, "node %d has no CPUs to compute on", r->compute[i]);
    }
    for (unsigned i = 0; i < r->far_count; i++)
        if (index_of(t, r->far[i]) < 0)
            return emu_fail(EINVAL, "there is no node %d to be far", r->far[i]);
    if (r->compute_count > EMU_NODES_MAX || r->far_count > EMU_NODES_MAX)
        return emu_fail(EINVAL, "a plan has at most %d nodes", EMU_NODES_MAX);
    return 0;
}

struct choice {
    unsigned compute[EMU_NODES_MAX], far[EMU_NODES_MAX];
    unsigned compute_count, far_count;
    enum emu_source source; /* of the costs */
};

static void choose_compute(const struct emu_topology *t, const struct emu_plan_request *r,
                           struct choice *c)
{
    for (unsigned i = 0; i < r->compute_count; i++)
        c->compute[c->compute_count++] = (unsigned)index_of(t, r->compute[i]);
    for (unsigned i = 0; r->compute_count == 0 && i < t->count; i++)
        if (t->nodes[i].cpus > 0)
            c->compute[c->compute_count++] = i;
}

static bool computes(const struct choice *c, unsigned node)
{
    for (unsigned i = 0; i < c->compute_count; i++)
        if (c->compute[i] == node)
            return true;
    return false;
}

/* Leaves the far nodes that are the farthest, or nearly; those of unknown cost stay as well. */
static void keep_farthest(const struct emu_topology *t, struct choice *c)
{
    double most = 0, costs[EMU_NODES_MAX];
    unsigned kept = 0;
    const enum emu_source source =
        best_source(t, c->compute, c->compute_count, c->far, c->far_count);
    c->source = source;
    for (unsigned i = 0; i < c->far_count; i++) {
        costs[i] = cost_from(t, source, c->compute, c->compute_count, c->far[i]);
        most = costs[i] > most ? costs[i] : most;
    }
    for (unsigned i = 0; i < c->far_count; i++)
        if (costs[i] >= AS_FAR * most)
            c->far[kept++] = c->far[i];
    c->far_count = kept;
}

/* All nodes have CPUs and may compute: the first one and those nearer to it than half-way to the
 * farthest do. */
static void split_by_distance(const struct emu_topology *t, struct choice *c, char why[256])
{
    const unsigned first = c->compute[0];
    const enum emu_source source = best_source(t, &first, 1, c->compute, c->compute_count);
    double least = t->cost[source][first][first], most = least;
    for (unsigned i = 0; i < c->compute_count; i++) {
        const double cost = t->cost[source][first][c->compute[i]];
        most = cost > most ? cost : most;
    }
    unsigned near = 0;
    c->source = source;
    for (unsigned i = 0; i < c->compute_count; i++) {
        const unsigned node = c->compute[i];
        const double cost = t->cost[source][first][node];
        if (node == first || cost < (least + most) / 2)
            c->compute[near++] = node;
        else if (cost >= AS_FAR * most)
            c->far[c->far_count++] = node;
    }
    c->compute_count = near;
    snprintf(why, 256, "all nodes have CPUs: the farthest from node %d are far",
             t->nodes[first].number);
}

static void choose_far(const struct emu_topology *t, const struct emu_plan_request *r,
                       struct choice *c, char why[256])
{
    for (unsigned i = 0; i < r->far_count; i++)
        c->far[c->far_count++] = (unsigned)index_of(t, r->far[i]);
    c->source = best_source(t, c->compute, c->compute_count, c->far, c->far_count);
    if (r->far_count > 0) {
        snprintf(why, 256, "far nodes as configured");
        return;
    }
    for (unsigned i = 0; i < t->count; i++)
        if (t->nodes[i].cpus == 0 && t->nodes[i].kind != EMU_NODE_HBM)
            c->far[c->far_count++] = i;
    if (c->far_count > 0) {
        snprintf(why, 256, "memory without CPUs is far");
        keep_farthest(t, c);
        return;
    }
    if (r->compute_count > 0) {
        for (unsigned i = 0; i < t->count; i++)
            if (!computes(c, i) && t->nodes[i].kind != EMU_NODE_HBM)
                c->far[c->far_count++] = i;
        snprintf(why, 256, "the farthest from where processes run are far");
        keep_farthest(t, c);
    } else if (c->compute_count > 1) {
        split_by_distance(t, c, why);
    }
    if (c->far_count == 0) {
        c->far[c->far_count++] = c->compute[0];
        c->source = best_source(t, c->compute, 1, c->far, 1);
        snprintf(why, 256,
                 "there is no other node: node %d is both, and only emulation makes it "
                 "far",
                 t->nodes[c->compute[0]].number);
    }
}

/* By descending cost, then by ascending number. */
static void order_far(struct emu_plan *p)
{
    for (unsigned i = 1; i < p->far_count; i++)
        for (unsigned j = i; j > 0 && p->cost[j] > p->cost[j - 1]; j--) {
            const double cost = p->cost[j];
            const int node = p->far[j];
            p->cost[j] = p->cost[j - 1];
            p->far[j] = p->far[j - 1];
            p->cost[j - 1] = cost;
            p->far[j - 1] = node;
        }
}

int emu_plan_make(const struct emu_topology *t, const struct emu_plan_request *request,
                  struct emu_plan *p)
{
    static const struct emu_plan_request nothing = {NULL, 0, NULL, 0};
    struct choice c = {.compute_count = 0};
    const struct emu_plan_request *r = request == NULL ? &nothing : request;
    memset(p, 0, sizeof *p);
    int rc = check_request(t, r);
    if (rc != 0)
        return rc;
    choose_compute(t, r, &c);
    if (c.compute_count == 0)
        return emu_fail(EINVAL, "no node has CPUs");
    choose_far(t, r, &c, p->why);
    p->source = r->far_count > 0 ? EMU_BY_CONFIGURATION : c.source;
    for (unsigned i = 0; i < c.compute_count; i++)
        p->compute[p->compute_count++] = t->nodes[c.compute[i]].number;
    p->remote = 1;
    for (unsigned i = 0; i < c.far_count; i++) {
        p->far[p->far_count++] = t->nodes[c.far[i]].number;
        p->cost[i] = cost_from(t, c.source, c.compute, c.compute_count, c.far[i]);
        if (computes(&c, c.far[i]))
            p->remote = 0;
    }
    if (r->far_count == 0)
        order_far(p);
    return 0;
}
