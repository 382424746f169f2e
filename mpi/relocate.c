/* alps-mpi-relocate: every rank has the heap at another address, and moves it while the others
 * work; linked structures go from rank to rank, which walk, change, rebuild and free what others
 * have built, and check every byte.
 *
 * Idea: a list, a tree or a graph consists of elements, blocks that point to each other by offsets.
 * In each round every structure is held by another rank of the domain, so no locks are needed. A
 * rank, with each structure that it holds:
 *
 *   1. moves its mapping of the heap, now and then: every address that it knew is wrong afterwards;
 *   2. walks the structure from its head, and verifies links, order and contents;
 *   3. changes it: puts elements in, takes some out, resizes some, which may move them, moves some
 *      to another NUMA node; or frees it all and builds it anew.
 *
 * The heads lie in the heap, found by name. What they must lead to, the number of elements and the
 * sum of their keys' hashes, lies outside of it in memory that the domain shares. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <emu/emu.h>

#include "driver.h"
#include "harness/clock.h"
#include "harness/histogram.h"
#include "harness/pattern.h"
#include "harness/random.h"
#include "harness/stats.h"

#define ROOT "alps-mpi-relocate"
#define CONTENTS_MIN 8
#define CONTENTS_MAX 200
#define EDGES 4
#define REBUILD_ONE_IN 8

static uint64_t structures = 3;
static uint64_t elements = 1000;
static uint64_t changes = 100;
static uint64_t moves = 25;

static const bh_option_t options[] = {
    {.name = "structures",
     .kind = BH_OPTION_COUNT,
     .value = &structures,
     .argument = "N",
     .help = "lists, trees and graphs in turn, for each rank (default 3)",
     .min = 1,
     .max = 10000},
    {.name = "elements",
     .letter = 'b',
     .kind = BH_OPTION_COUNT,
     .value = &elements,
     .argument = "N",
     .help = "blocks that a structure has at first (default 1000)",
     .min = 1,
     .max = 1000000},
    {.name = "changes",
     .kind = BH_OPTION_COUNT,
     .value = &changes,
     .argument = "N",
     .help = "of each structure in a round (default 100)",
     .max = 1000000},
    {.name = "moves",
     .kind = BH_OPTION_COUNT,
     .value = &moves,
     .argument = "PERCENT",
     .help = "walks before which the rank moves its mapping (default 25)",
     .max = 100},
    {.name = NULL},
};

enum kind { LIST, TREE, GRAPH, KINDS };

struct edge {
    alps_ptr_t to;
    uint64_t key; /* of that element */
};

/* link: of a list the next and the previous element, of a tree the left and the right one, of a
 * graph the next in the list of all, which is a list as well. */
struct element {
    uint64_t key, serial, size; /* size: bytes of contents */
    alps_ptr_t link[2];
    struct edge edges[EDGES]; /* of a graph */
    unsigned char contents[];
};

/* What a structure must be, outside of the heap. */
struct expected {
    uint64_t count, sum;
    uint64_t serial; /* of the next element */
};

/* Nothing but words, so that they can be added up. */
struct measures {
    bh_hist_t remap_ns;
    uint64_t walked, walk_ns;
    uint64_t inserted, removed, resized, migrated, rebuilt;
};
#define MEASURES_WORDS ((int)(sizeof(struct measures) / sizeof(uint64_t)))

struct relocate {
    struct driver_group *group;
    bh_rng_t rng;
    uint64_t count; /* structures of the domain */
    struct expected *expected;
    alps_ptr_t *seen; /* elements that the last walk has met */
    size_t seen_count, seen_capacity;
    uint64_t round;
    struct measures *mine;
};

/* A structure in the hands of this rank. */
struct held {
    struct relocate *r;
    uint64_t number;
    enum kind kind;
    struct expected *expected;
    bool failed;
};

/* ---- elements ------------------------------------------------------------------------------- */

static struct element *at(const struct held *h, alps_ptr_t p)
{
    return alps_deref(h->r->group->heap, p);
}

/* Where the structure's head is, at this moment's address. */
static alps_ptr_t *head_of(const struct held *h)
{
    alps_heap_t *heap = h->r->group->heap;
    alps_ptr_t *heads = alps_deref(heap, alps_root_get(heap, ROOT));

    return &heads[h->number];
}

static __attribute__((format(printf, 2, 3))) void fail(struct held *h, const char *format, ...)
{
    static const char *const names[] = {"list", "tree", "graph"};
    char text[DRIVER_PROBLEM_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    h->failed = true;
    driver_note(h->r->group, DRIVER_FAIL, "%s %" PRIu64 ": %s", names[h->kind], h->number, text);
}

static uint64_t key_of(const struct held *h, uint64_t serial)
{
    return bh_mix64(bh_mix64(driver_options.seed + h->number) + serial);
}

static void fill(const struct held *h, struct element *e)
{
    emu_write(e, sizeof *e + e->size);
    bh_pattern_fill(e->contents, e->size, driver_options.seed, h->number, e->serial);
}

/* ALPS_NULL without room. */
static alps_ptr_t new_element(struct held *h)
{
    const uint64_t size = bh_rng_between(&h->r->rng, CONTENTS_MIN, CONTENTS_MAX);
    const alps_ptr_t p =
        alps_malloc(h->r->group->heap, sizeof(struct element) + size, ALPS_ANY_NODE);
    struct element *e = at(h, p);

    if (e == NULL) {
        fail(h, "no room for an element: %s", alps_error_detail());
        return ALPS_NULL;
    }
    const uint64_t serial = h->expected->serial++;
    *e = (struct element){.key = key_of(h, serial), .serial = serial, .size = size};
    fill(h, e);
    h->expected->count++;
    h->expected->sum += bh_mix64(e->key);
    return p;
}

static void free_element(struct held *h, alps_ptr_t p)
{
    h->expected->count--;
    h->expected->sum -= bh_mix64(at(h, p)->key);
    const int error = alps_free(h->r->group->heap, p);
    if (error != 0)
        fail(h, "cannot free element 0x%" PRIx64 ": %s", p, alps_error_detail());
}

/* ---- walking -------------------------------------------------------------------------------- */

/* Visits an element. False if something is wrong. */
static bool visit(struct held *h, alps_ptr_t p, uint64_t *sum)
{
    struct relocate *r = h->r;
    const struct element *e = at(h, p);

    if (r->seen_count == h->expected->count) {
        fail(h, "has more than %" PRIu64 " elements", h->expected->count);
        return false;
    }
    emu_read(e, sizeof *e);
    if (alps_ref(r->group->heap, e) != p || e->key != key_of(h, e->serial) ||
        e->size > alps_usable_size(r->group->heap, p)) {
        fail(h, "0x%" PRIx64 " is no element of it", p);
        return false;
    }
    emu_read(e->contents, e->size);
    const size_t wrong =
        bh_pattern_verify(e->contents, e->size, driver_options.seed, h->number, e->serial);
    if (wrong != BH_PATTERN_OK) {
        fail(h, "element 0x%" PRIx64 ": byte %zu is wrong, 0x%02x", p, wrong, e->contents[wrong]);
        return false;
    }
    for (int i = 0; i < EDGES && h->kind == GRAPH; i++) {
        const struct element *to = at(h, e->edges[i].to);
        if (to == NULL || to->key != e->edges[i].key) {
            fail(h, "edge %d of element 0x%" PRIx64 " leads elsewhere", i, p);
            return false;
        }
    }
    r->seen[r->seen_count++] = p;
    *sum += bh_mix64(e->key);
    return true;
}

static void walk_list(struct held *h, uint64_t *sum)
{
    alps_ptr_t before = ALPS_NULL;

    for (alps_ptr_t p = *head_of(h); p != ALPS_NULL; before = p, p = at(h, p)->link[0]) {
        if (!visit(h, p, sum))
            return;
        if (at(h, p)->link[1] != before)
            fail(h, "element 0x%" PRIx64 " does not point back", p);
    }
}

/* A treap: by the keys a search tree, by their hashes a heap. */
static bool is_above(uint64_t key, uint64_t other)
{
    return bh_mix64(key) > bh_mix64(other);
}

static void walk_tree(struct held *h, alps_ptr_t p, uint64_t least, uint64_t most, uint64_t *sum)
{
    if (p == ALPS_NULL || h->failed || !visit(h, p, sum))
        return;
    const struct element *e = at(h, p);
    if (e->key < least || e->key > most)
        fail(h, "element 0x%" PRIx64 " is out of order", p);
    for (int side = 0; side < 2; side++)
        if (e->link[side] != ALPS_NULL && !is_above(e->key, at(h, e->link[side])->key))
            fail(h, "element 0x%" PRIx64 " is above its parent", e->link[side]);
    walk_tree(h, e->link[0], least, e->key, sum);
    walk_tree(h, e->link[1], e->key, most, sum);
}

static void walk(struct held *h)
{
    struct relocate *r = h->r;
    uint64_t sum = 0;

    if (h->expected->count > r->seen_capacity) {
        r->seen_capacity = 2 * h->expected->count;
        free(r->seen);
        r->seen = driver_alloc(r->seen_capacity, sizeof *r->seen);
    }
    r->seen_count = 0;
    const uint64_t start_ns = driver_clock_ns();
    if (h->kind == TREE)
        walk_tree(h, *head_of(h), 0, UINT64_MAX, &sum);
    else
        walk_list(h, &sum);
    r->mine->walk_ns += driver_clock_ns() - start_ns;
    r->mine->walked += r->seen_count;
    if (!h->failed && (r->seen_count != h->expected->count || sum != h->expected->sum))
        fail(h, "has %zu elements with sum 0x%" PRIx64 ", not %" PRIu64 " with 0x%" PRIx64,
             r->seen_count, sum, h->expected->count, h->expected->sum);
}

/* ---- changing ------------------------------------------------------------------------------- */

/* In a tree, the link that leads to the key, or where it would be put. */
static alps_ptr_t *find(const struct held *h, uint64_t key, bool to_insert)
{
    alps_ptr_t *link = head_of(h);

    while (*link != ALPS_NULL) {
        struct element *e = at(h, *link);
        emu_read(e, sizeof *e);
        if (e->key == key || (to_insert && is_above(key, e->key)))
            break;
        link = &e->link[key > e->key];
    }
    return link;
}

/* Cuts a tree in two: what is below the key, and what is above. */
static void split(const struct held *h, alps_ptr_t tree, uint64_t key, alps_ptr_t *below,
                  alps_ptr_t *above)
{
    while (tree != ALPS_NULL) {
        struct element *e = at(h, tree);
        alps_ptr_t **side = e->key < key ? &below : &above;
        **side = tree;
        *side = &e->link[e->key < key];
        tree = **side;
    }
    *below = *above = ALPS_NULL;
}

static void join(const struct held *h, alps_ptr_t left, alps_ptr_t right, alps_ptr_t *link)
{
    while (left != ALPS_NULL && right != ALPS_NULL) {
        struct element *a = at(h, left), *b = at(h, right);
        if (is_above(a->key, b->key)) {
            *link = left;
            link = &a->link[1];
            left = *link;
        } else {
            *link = right;
            link = &b->link[0];
            right = *link;
        }
    }
    *link = left != ALPS_NULL ? left : right;
}

static alps_ptr_t any(struct held *h)
{
    return h->r->seen[bh_rng_below(&h->r->rng, h->r->seen_count)];
}

/* The neighbours of a list's element point to it. */
static void attach(const struct held *h, alps_ptr_t p)
{
    const struct element *e = at(h, p);

    *(e->link[1] == ALPS_NULL ? head_of(h) : &at(h, e->link[1])->link[0]) = p;
    if (e->link[0] != ALPS_NULL)
        at(h, e->link[0])->link[1] = p;
}

static void aim(struct held *h, struct edge *edge, alps_ptr_t to)
{
    *edge = (struct edge){to, at(h, to)->key};
}

/* All edges to one element lead to another from now on. */
static void redirect(struct held *h, alps_ptr_t from, alps_ptr_t to)
{
    for (size_t i = 0; i < h->r->seen_count && h->kind == GRAPH; i++)
        for (int j = 0; j < EDGES; j++)
            if (at(h, h->r->seen[i])->edges[j].to == from)
                aim(h, &at(h, h->r->seen[i])->edges[j], to);
}

/* Puts a new element in; seen has it, too. */
static void insert(struct held *h)
{
    struct relocate *r = h->r;
    const alps_ptr_t p = new_element(h);
    struct element *e = at(h, p);

    if (e == NULL)
        return;
    if (h->kind == TREE) {
        alps_ptr_t *link = find(h, e->key, true);
        split(h, *link, e->key, &e->link[0], &e->link[1]);
        *link = p;
    } else {
        alps_ptr_t before = r->seen_count == 0 ? ALPS_NULL : any(h);
        e->link[0] = before == ALPS_NULL ? *head_of(h) : at(h, before)->link[0];
        e->link[1] = before;
        attach(h, p);
    }
    for (int i = 0; i < EDGES; i++)
        aim(h, &e->edges[i], r->seen_count == 0 ? p : any(h));
    if (r->seen_count == r->seen_capacity) {
        alps_ptr_t *larger = driver_alloc(2 * r->seen_capacity + 16, sizeof *larger);
        if (r->seen_count > 0)
            memcpy(larger, r->seen, r->seen_count * sizeof *larger);
        free(r->seen);
        r->seen = larger;
        r->seen_capacity = 2 * r->seen_capacity + 16;
    }
    r->seen[r->seen_count++] = p;
    r->mine->inserted++;
}

static void take_out(struct held *h)
{
    struct relocate *r = h->r;
    const size_t index = bh_rng_below(&r->rng, r->seen_count);
    const alps_ptr_t p = r->seen[index];
    const struct element *e = at(h, p);

    if (r->seen_count == 1) /* where would edges lead */
        return;
    r->seen[index] = r->seen[--r->seen_count];
    if (h->kind == TREE) {
        join(h, e->link[0], e->link[1], find(h, e->key, false));
    } else {
        *(e->link[1] == ALPS_NULL ? head_of(h) : &at(h, e->link[1])->link[0]) = e->link[0];
        if (e->link[0] != ALPS_NULL)
            at(h, e->link[0])->link[1] = e->link[1];
        redirect(h, p, any(h));
    }
    free_element(h, p);
    r->mine->removed++;
}

/* Another block has become the element: by realloc, or on another node. */
static void move(struct held *h)
{
    struct relocate *r = h->r;
    const bh_list_t *nodes = &driver_options.nodes;
    const size_t index = bh_rng_below(&r->rng, r->seen_count);
    const alps_ptr_t before = r->seen[index];
    const bool migrates = nodes->count > 0 && bh_rng_below(&r->rng, 2) == 0;
    alps_ptr_t *link = h->kind == TREE ? find(h, at(h, before)->key, false) : NULL;
    alps_ptr_t p = before;

    if (migrates) {
        const int node = (int)nodes->items[bh_rng_below(&r->rng, nodes->count)];
        const int error = alps_migrate(r->group->heap, &p, node);
        if (error != 0) {
            fail(h, "cannot move element 0x%" PRIx64 " to node %d: %s", before, node,
                 alps_error_detail());
            return;
        }
        r->mine->migrated += p != before;
    } else {
        const uint64_t size = bh_rng_between(&r->rng, CONTENTS_MIN, CONTENTS_MAX);
        p = alps_realloc(r->group->heap, before, sizeof(struct element) + size);
        if (p == ALPS_NULL) {
            fail(h, "cannot resize element 0x%" PRIx64 ": %s", before, alps_error_detail());
            return;
        }
        at(h, p)->size = size;
        fill(h, at(h, p));
        r->mine->resized++;
    }
    if (p == before)
        return;
    r->seen[index] = p;
    if (h->kind == TREE)
        *link = p;
    else
        attach(h, p);
    redirect(h, before, p);
}

static void change(struct held *h)
{
    for (uint64_t i = 0; i < changes && !h->failed; i++) {
        const uint64_t what = bh_rng_below(&h->r->rng, 4);
        if (what == 0)
            insert(h);
        else if (what == 1)
            take_out(h);
        else
            move(h);
    }
}

static void free_all(struct held *h)
{
    struct relocate *r = h->r;

    *head_of(h) = ALPS_NULL;
    for (size_t i = 0; i < r->seen_count; i++)
        free_element(h, r->seen[i]);
    r->seen_count = 0;
}

static void build(struct held *h)
{
    h->r->seen_count = 0;
    for (uint64_t i = 0; i < elements && !h->failed; i++)
        insert(h);
}

/* ---- a round -------------------------------------------------------------------------------- */

static void remap(struct relocate *r)
{
    const uint64_t start_ns = bh_clock_ns();
    const int error = alps_heap_remap(r->group->heap, NULL);

    bh_hist_record(&r->mine->remap_ns, bh_clock_ns() - start_ns);
    if (error != 0)
        driver_note(r->group, DRIVER_FAIL, "cannot move the heap: %s", alps_error_detail());
}

/* What this rank does with each structure that it holds. */
static void for_each_held(struct relocate *r, void (*work)(struct held *held))
{
    const uint64_t ranks = (uint64_t)r->group->domain_ranks;

    for (uint64_t i = 0; i < r->count; i++) {
        struct held h = {r, i, (enum kind)(i % structures % KINDS), &r->expected[i], false};
        if ((i / structures + i + r->round) % ranks == (uint64_t)r->group->domain_rank)
            work(&h);
    }
}

static void handle(struct held *h)
{
    if (bh_rng_below(&h->r->rng, 100) < moves)
        remap(h->r);
    walk(h);
    if (h->failed)
        return;
    if (bh_rng_below(&h->r->rng, REBUILD_ONE_IN) != 0) {
        change(h);
        return;
    }
    free_all(h);
    build(h);
    h->r->mine->rebuilt++;
}

static void remove_all(struct held *h)
{
    walk(h);
    if (!h->failed)
        free_all(h);
}

static void spoil(struct held *h)
{
    at(h, *head_of(h))->contents[0] ^= 1;
}

/* False, in all ranks, if one has failed. */
static bool play_round(struct relocate *r)
{
    if (!driver_agree(r->group))
        return false;
    for_each_held(r, handle);
    if (driver_options.inject_corruption)
        for_each_held(r, spoil);
    r->round++;
    return true;
}

/* ---- repetitions ---------------------------------------------------------------------------- */

struct results {
    struct measures *sum; /* of all ranks, in one repetition */
    struct measures *all; /* in all repetitions */
    double *walk_ns;      /* an element */
};

static void write_repetition(const struct relocate *r, struct results *results, uint64_t rounds)
{
    const struct measures *sum = results->sum;
    const double each = sum->walked == 0 ? 0 : (double)sum->walk_ns / (double)sum->walked;

    results->walk_ns[r->group->repetitions - 1] = each;
    for (int i = 0; i < MEASURES_WORDS; i++)
        ((uint64_t *)results->all)[i] += ((const uint64_t *)sum)[i];
    const bh_field_t fields[] = {
        bh_count("ranks", (uint64_t)r->group->ranks),
        bh_count("domains", (uint64_t)r->group->domains),
        bh_count("repetition", r->group->repetitions),
        bh_count("rounds", rounds),
        bh_count("walked", sum->walked),
        bh_real("walk_ns", each, 1),
        bh_count("remaps", bh_hist_count(&sum->remap_ns)),
        bh_count("remap_p50_ns", bh_hist_quantile(&sum->remap_ns, 0.5)),
        bh_count("remap_max_ns", bh_hist_max(&sum->remap_ns)),
        bh_count("inserted", sum->inserted),
        bh_count("removed", sum->removed),
        bh_count("resized", sum->resized),
        bh_count("migrated", sum->migrated),
        bh_count("rebuilt", sum->rebuilt),
    };
    driver_write_detail("repetition", fields, sizeof fields / sizeof fields[0]);
}

static void write_line(const struct relocate *r, struct results *results)
{
    const bh_stats_t walk = bh_stats(results->walk_ns, driver_options.repeat);
    const bh_field_t fields[] = {
        bh_count("ranks", (uint64_t)r->group->ranks),
        bh_count("domains", (uint64_t)r->group->domains),
        bh_real("walk_ns", walk.median, 1),
        bh_real("walk_ns_min", walk.min, 1),
        bh_real("walk_ns_max", walk.max, 1),
        bh_count("remaps", bh_hist_count(&results->all->remap_ns)),
        bh_real("remap_p50_us", (double)bh_hist_quantile(&results->all->remap_ns, 0.5) / 1e3, 1),
        bh_real("remap_max_us", (double)bh_hist_max(&results->all->remap_ns) / 1e3, 1),
        bh_count("inserted", results->all->inserted),
        bh_count("removed", results->all->removed),
        bh_count("resized", results->all->resized),
        bh_count("migrated", results->all->migrated),
        bh_count("rebuilt", results->all->rebuilt),
    };
    driver_write_line("summary", fields, sizeof fields / sizeof fields[0]);
}

/* False, in all ranks, if one has failed. */
static bool repeat(struct relocate *r, struct results *results)
{
    uint64_t rounds = 0;
    bool last;

    memset(r->mine, 0, sizeof *r->mine);
    driver_begin(r->group);
    do {
        last = driver_is_last(r->group, ++rounds);
        if (!play_round(r))
            return false;
    } while (!last);
    if (!driver_agree(r->group))
        return false;
    MPI_Reduce(r->mine, results->sum, MEASURES_WORDS, MPI_UINT64_T, MPI_SUM, 0, r->group->comm);
    if (r->group->rank == 0)
        write_repetition(r, results, rounds);
    return true;
}

static bool make_heads(struct relocate *r)
{
    alps_heap_t *heap = r->group->heap;

    if (r->group->domain_rank == 0) {
        alps_ptr_t heads = alps_calloc(heap, r->count, sizeof(alps_ptr_t), ALPS_ANY_NODE);
        if (heads == ALPS_NULL || alps_root_set(heap, ROOT, heads) != 0)
            driver_note(r->group, DRIVER_FAIL, "no room for the heads: %s", alps_error_detail());
    }
    return driver_agree(r->group);
}

/* All is freed: the heap must be empty. */
static void inspect(struct driver_group *group)
{
    const alps_ptr_t heads = alps_root_get(group->heap, ROOT);

    if (alps_root_set(group->heap, ROOT, ALPS_NULL) != 0 || alps_free(group->heap, heads) != 0)
        driver_note(group, DRIVER_FAIL, "cannot free the heads: %s", alps_error_detail());
    driver_inspect(group, 0);
}

static void play(struct relocate *r, struct results *results)
{
    if (!make_heads(r))
        return;
    for_each_held(r, build);
    for (uint64_t i = 0; i < driver_options.warmup; i++)
        if (!play_round(r))
            return;
    for (uint64_t i = 0; i < driver_options.repeat; i++)
        if (!repeat(r, results))
            return;
    for_each_held(r, remove_all);
    if (!driver_agree(r->group))
        return;
    if (r->group->domain_rank == 0)
        inspect(r->group);
    if (driver_agree(r->group) && r->group->rank == 0)
        write_line(r, results);
}

static size_t shared_size(int ranks)
{
    return structures * (uint64_t)ranks * sizeof(struct expected);
}

static void run(struct driver_group *group)
{
    struct relocate r = {.group = group, .count = structures * (uint64_t)group->domain_ranks};
    struct results results = {0};

    struct driver_share share = {.size = shared_size(group->domain_ranks)};

    if (!driver_share(group, &share))
        return;
    r.expected = share.memory;
    bh_rng_seed(&r.rng, driver_options.seed, (uint64_t)group->rank);
    r.mine = driver_alloc(1, sizeof *r.mine);
    results.sum = driver_alloc(1, sizeof *results.sum);
    results.all = driver_alloc(1, sizeof *results.all);
    results.walk_ns = driver_alloc(driver_options.repeat, sizeof *results.walk_ns);

    play(&r, &results);

    free(results.walk_ns);
    free(results.all);
    free(results.sum);
    free(r.mine);
    free(r.seen);
    driver_unshare(&share);
}

/* ---- the program ---------------------------------------------------------------------------- */

static size_t describe(bh_field_t *fields)
{
    size_t count = 0;

    fields[count++] = bh_count("structures", structures);
    fields[count++] = bh_count("elements", elements);
    fields[count++] = bh_count("changes", changes);
    fields[count++] = bh_count("moves_percent", moves);
    return count;
}

static const struct driver_program program = {
    .name = "alps-mpi-relocate",
    .purpose = "Ranks move the heap while they walk and change each other's linked structures.",
    .options = options,
    .shared_size = shared_size,
    .describe = describe,
    .run = run,
};

int main(int argc, char **argv)
{
    return driver_main(&program, argc, argv);
}
