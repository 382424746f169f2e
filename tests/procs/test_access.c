/* A process is killed at each of its accesses to shared metadata, one after the other.
 *
 * A victim runs a script that has every function that changes a heap, and is killed just before its
 * n-th change of shared memory (between two changes the heap is the same, whatever is read). It
 * notes what it does in a journal outside of the heap. A survivor then allocates and frees at once,
 * recovers, checks all invariants, compares the heap block by block with the journal, finishes what
 * was begun, frees the generations of the dead, compares again, frees all, and finds the heap as
 * empty and as whole as a new one. Nested: who recovers is killed at its m-th change, too. */
#include <alps/alps.h>
#include <alps/hooks.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "heap.h"
#include "test.h"

/* ---- killed at the n-th change, or halted at the n-th access ---- */

struct trigger {
    uint64_t at;      /* 0: never */
    uint64_t halt_at; /* 0: never */
    uint64_t changes, accesses;
    int halted[2], go[2]; /* pipes: it has halted; it may go on */
};

static void wait_for_byte(int fd)
{
    char byte;
    CHECK_EQ(read(fd, &byte, 1), 1);
}

static uint64_t change(void *context, enum alps_fam_op op, uint64_t *word, uint64_t *expected,
                       uint64_t value)
{
    struct trigger *trigger = context;
    if (++trigger->accesses == trigger->halt_at) {
        CHECK_EQ(write(trigger->halted[1], "", 1), 1);
        wait_for_byte(trigger->go[0]);
    }
    if (op != ALPS_FAM_LOAD && ++trigger->changes == trigger->at)
        raise(SIGKILL);
    return alps_fam_perform(op, word, expected, value);
}

/* ---- the journal ---- */

enum { CELLS = 200, GENERATIONS = 8, LARGEST = 1500000 };

/* What a cell stands for, and what the heap may have of it. */
enum state {
    NONE,       /* no block */
    ALLOCATING, /* a block whose pointer nobody knows, or none */
    HERE,       /* a block */
    FREEING,    /* the block or none */
    MOVING,     /* realloc: the old block, a new one that nobody knows, or both */
    PUBLISHING, /* in the hands of malloc_to or free_from: the word says which */
};

struct cell {
    enum state state;
    struct block block;
};

/* What was to be done with a generation. */
enum fate { OPEN, BEGUN, FREED, COMMITTED };

struct journal {
    struct cell cells[CELLS];
    struct {
        alps_gen_t number;
        enum fate fate, wanted;
    } generations[GENERATIONS];
    alps_ptr_t roots[2];        /* before and after the call of alps_root_set in progress */
    uint64_t changes, accesses; /* of the whole script */
    uint64_t recovery_changes;
};

/* Generations, as indices of the journal. */
enum { SURVIVOR, GHOST, TO_FREE, TO_COMMIT, VICTIM, SECOND };

struct run {
    const char *path;
    struct journal *journal;
    struct trigger trigger;
    alps_heap_t *heap, *second; /* of the process */
    alps_heap_t *of_parent;     /* the copy that a child has no use for */
    alps_ptr_t word;            /* offset of the published word */
    int ready[2], go[2];        /* pipes: the recoverer is ready; it shall recover */
    bool fill;                  /* fill the heap in the end */
};

static unsigned new_cell(struct run *r)
{
    for (unsigned i = 0; i < CELLS; i++)
        if (r->journal->cells[i].state == NONE)
            return i;
    test_fail(__FILE__, __LINE__, "the journal is full");
}

static void fill(alps_heap_t *heap, struct cell *cell, alps_ptr_t p, size_t size)
{
    cell->block = (struct block){.ptr = p,
                                 .size = size < 4096 ? size : 4096,
                                 .usable = alps_usable_size(heap, p),
                                 .seed = p ^ size,
                                 .generation = alps_heap_generation(heap)};
    CHECK(cell->block.usable >= size);
    blocks_fill(alps_deref(heap, p), cell->block.size, cell->block.seed);
    cell->state = HERE;
}

static unsigned get(struct run *r, alps_heap_t *heap, size_t size)
{
    unsigned i = new_cell(r);
    struct cell *cell = &r->journal->cells[i];
    cell->state = ALLOCATING;
    alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    fill(heap, cell, p, size);
    return i;
}

static void put(struct run *r, alps_heap_t *heap, unsigned i)
{
    struct cell *cell = &r->journal->cells[i];
    CHECK_EQ(cell->state, HERE);
    block_end(heap, NULL, &cell->block);
    cell->state = FREEING;
    CHECK_ERR(alps_free(heap, cell->block.ptr), 0);
    cell->state = NONE;
}

/* ---- the script ---- */

static void allocate_and_free(struct run *r)
{
    alps_heap_t *heap = r->heap;
    static const size_t sizes[] = {64, 64, 16, 5000, 20000, 300000, LARGEST, 1000, 64};
    unsigned cells[9];
    for (unsigned i = 0; i < 9; i++)
        cells[i] = get(r, heap, sizes[i]);
    for (unsigned i = 1; i < 7; i++)
        put(r, heap, cells[i]);

    struct cell *cell = &r->journal->cells[new_cell(r)];
    cell->state = ALLOCATING;
    alps_ptr_t p = alps_calloc(heap, 25, 4, ALPS_ANY_NODE);
    CHECK_EQ(blocks_not_zero(alps_deref(heap, p), 100), 100);
    fill(heap, cell, p, 100);
    static const size_t alignments[] = {4096, 262144};
    for (unsigned i = 0; i < 2; i++) {
        cell = &r->journal->cells[new_cell(r)];
        cell->state = ALLOCATING;
        p = alps_aligned_alloc(heap, alignments[i], 700, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL && p % alignments[i] == 0);
        fill(heap, cell, p, 700);
    }
    static const size_t resized[] = {60, 3000, 500000, 64};
    cell = &r->journal->cells[cells[0]];
    for (unsigned i = 0; i < 4; i++) {
        cell->state = MOVING;
        p = alps_realloc(heap, cell->block.ptr, resized[i]);
        CHECK(p != ALPS_NULL);
        fill(heap, cell, p, resized[i]);
    }
}

/* Every block of others whose generation is this one; all but some, or all. */
static void free_of_others(struct run *r, unsigned generation, bool all)
{
    alps_gen_t number = r->journal->generations[generation].number;
    for (unsigned i = 0, k = 0; i < CELLS; i++) {
        struct cell *cell = &r->journal->cells[i];
        if (cell->state == HERE && cell->block.generation == number && (k++ % 3 != 0 || all) &&
            cell->block.ptr / 4096 != r->word / 4096)
            put(r, r->heap, i);
    }
}

static void fill_slabs(struct run *r)
{
    /* More than a slab of blocks; freed from both ends; what is left is freed through another
     * handle; folded when the first one runs short. */
    unsigned cells[70];
    for (unsigned i = 0; i < 70; i++)
        cells[i] = get(r, r->heap, 1024);
    for (unsigned i = 0; i < 20; i++)
        put(r, r->heap, cells[i]);
    for (unsigned i = 20; i < 69; i++)
        put(r, r->second, cells[i]);
    for (unsigned i = 0; i < 60; i++)
        cells[i] = get(r, r->heap, 1024);
    for (unsigned i = 0; i < 60; i++)
        put(r, i % 2 == 0 ? r->second : r->heap, cells[i]);
    CHECK_ERR(alps_heap_trim(r->heap), 0);
}

/* Runs come into the reserve, are joined and cut there, and taken by another instance, which the
 * owner finds out. */
static void keep_in_reserve(struct run *r)
{
    static const unsigned order[] = {0, 2, 1};
    unsigned cells[4];
    r->heap->instance.reserve_max = 100;
    for (unsigned i = 0; i < 4; i++)
        cells[i] = get(r, r->heap, 500000);
    for (unsigned i = 0; i < 3; i++)
        put(r, r->heap, cells[order[i]]);
    cells[0] = get(r, r->heap, 900000);
    cells[1] = get(r, r->heap, 500000);
    put(r, r->heap, cells[0]);
    CHECK_ERR(alps_heap_trim(r->second), 0);
    cells[0] = get(r, r->heap, 600000);
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            put(r, r->heap, cells[i]);
}

/* In slabs of permanent blocks, which others may allocate from later. */
static const size_t shared_sizes[] = {64, 80, 96, 112, 128, 144};

static void free_of_second(struct run *r)
{
    unsigned cells[6][12];
    for (unsigned i = 0; i < 6 * 12; i++)
        cells[i / 12][i % 12] = get(r, r->second, shared_sizes[i / 12]);
    for (unsigned i = 0; i < 6 * 8; i++)
        put(r, r->heap, cells[i / 8][i % 8]);
    CHECK_ERR(alps_heap_trim(r->second), 0);
    for (unsigned i = 0; i < 6 * 4; i++)
        put(r, r->second, cells[i / 4][8 + i % 4]);
}

static void publish(struct run *r)
{
    static const size_t sizes[] = {64, 9000, 200000};
    alps_ptr_t *word = alps_deref(r->heap, r->word);
    for (unsigned i = 0; i < 6; i++) {
        struct cell *cell = &r->journal->cells[new_cell(r)];
        size_t size = sizes[i % 3];
        cell->block = (struct block){.size = size};
        cell->state = PUBLISHING;
        alps_ptr_t p = alps_malloc_to(r->heap, word, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL && *word == p);
        /* By the handle that allocated it, and by another. */
        CHECK_ERR(alps_free_from(i < 3 ? r->heap : r->second,
                                 alps_deref(i < 3 ? r->heap : r->second, r->word)),
                  0);
        CHECK_EQ(*word, ALPS_NULL);
        cell->state = NONE;
    }
}

static void set_root(struct run *r, alps_ptr_t p)
{
    r->journal->roots[1] = p;
    CHECK_ERR(alps_root_set(r->heap, "root", p), 0);
    r->journal->roots[0] = p;
}

static void decide(struct run *r, alps_heap_t *heap, unsigned generation, enum fate fate)
{
    r->journal->generations[generation].wanted = fate;
    r->journal->generations[generation].fate = BEGUN;
    alps_gen_t number = r->journal->generations[generation].number;
    CHECK_ERR(fate == FREED ? alps_bulk_free(heap, number) : alps_commit(heap, number), 0);
    r->journal->generations[generation].fate = fate;
    for (unsigned i = 0; i < CELLS; i++) {
        struct cell *cell = &r->journal->cells[i];
        if (fate == FREED && cell->state == HERE && cell->block.generation == number)
            cell->state = NONE;
    }
}

static void script(void *context)
{
    struct run *r = context;
    struct journal *journal = r->journal;
    alps_fam_set_hook(change, &r->trigger);
    r->of_parent = r->heap;
    r->heap = heap_open(r->path);
    journal->generations[VICTIM].number = alps_heap_generation(r->heap);
    r->second = heap_open(r->path);
    journal->generations[SECOND].number = alps_heap_generation(r->second);
    allocate_and_free(r);
    free_of_others(r, SURVIVOR, false);
    free_of_others(r, TO_COMMIT, false);
    fill_slabs(r);
    keep_in_reserve(r);
    publish(r);
    set_root(r, r->word);
    set_root(r, r->word + 64);
    set_root(r, ALPS_NULL);
    decide(r, r->heap, TO_FREE, FREED);
    get(r, r->heap, 64);
    decide(r, r->heap, TO_COMMIT, COMMITTED);
    get(r, r->heap, 300);
    get(r, r->second, 64);
    decide(r, r->second, SECOND, COMMITTED);
    free_of_second(r);
    free_of_others(r, TO_COMMIT, true);
    free_of_others(r, GHOST, true);
    CHECK_ERR(alps_heap_grow(r->heap, 24 * MIB), 0);
    CHECK_ERR(alps_heap_remap(r->heap, NULL), 0);
    struct alps_recovery report = {.struct_size = sizeof report};
    CHECK_ERR(alps_recover(r->heap, &report), 0);
    get(r, r->heap, 2000);
    CHECK_ERR(alps_heap_close(r->second), 0);
    CHECK_ERR(alps_heap_close(r->heap), 0);
    journal->changes = r->trigger.changes;
    journal->accesses = r->trigger.accesses;
}

/* ---- the heap before ---- */

static void leave_blocks(struct run *r, unsigned generation)
{
    static const size_t sizes[] = {64, 64, 48, 300, 300, 3000, 30000, 300000};
    alps_heap_t *heap = heap_open(r->path);
    r->journal->generations[generation].number = alps_heap_generation(heap);
    for (unsigned i = 0; i < 8; i++)
        get(r, heap, sizes[i]);
    if (generation == SURVIVOR)
        r->heap = heap;
    else
        CHECK_ERR(alps_heap_close(heap), 0);
}

static void haunt(void *context)
{
    struct run *r = context;
    alps_heap_t *heap = heap_open(r->path);
    r->journal->generations[GHOST].number = alps_heap_generation(heap);
    for (unsigned i = 0; i < 3; i++)
        get(r, heap, (size_t)40 << (5 * i));
    raise(SIGKILL);
}

static void set_up(struct run *r)
{
    struct alps_create_options options = blocks_options(16 * MIB, 32 * MIB);
    options.zone_size = MIB; /* the largest block spans zones */
    CHECK_ERR(alps_heap_create(r->path, &options), 0);
    leave_blocks(r, TO_FREE);
    leave_blocks(r, TO_COMMIT);
    leave_blocks(r, SURVIVOR);
    r->word = alps_calloc(r->heap, 16, sizeof(alps_ptr_t), ALPS_ANY_NODE);
    CHECK(r->word != ALPS_NULL);
    test_join_killed(test_fork(haunt, r), SIGKILL);
}

/* ---- the heap afterwards ---- */

static void use(alps_heap_t *heap)
{
    static const size_t sizes[] = {64, 300, 1024, 5000, 300000};
    for (unsigned i = 0; i < 5; i++) {
        alps_ptr_t p = alps_malloc(heap, sizes[i], ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        CHECK_ERR(alps_free(heap, p), 0);
    }
}

/* More blocks than the survivor's own slabs have: those that the dead left are taken over, and what
 * is allocated there is as good as elsewhere. */
static void allocate_more(alps_heap_t *heap)
{
    enum { COUNT = 3600 };
    static const size_t sizes[] = {64, 300, 1024};
    static alps_ptr_t blocks[COUNT];
    uint64_t before = blocks_stats(heap).live_blocks;
    for (unsigned i = 0; i < COUNT; i++) {
        size_t size = i < 120 ? shared_sizes[i % 6] : sizes[i % 3];
        blocks[i] = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(blocks[i] != ALPS_NULL);
    }
    CHECK_EQ(blocks_stats(heap).live_blocks, before + COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
    CHECK_EQ(blocks_stats(heap).live_blocks, before);
}

static bool is_of(const struct run *r, const struct block *block, unsigned generation)
{
    return block->generation == r->journal->generations[generation].number;
}

/* Compares the heap with the journal: every block that must be there is, with its contents;
 * besides, only what may be. Blocks that turn out to be gone leave the journal. Returns how many
 * blocks nobody knows. */
static unsigned compare(struct run *r)
{
    struct journal *journal = r->journal;
    struct blocks found = blocks_walk(r->heap);
    bool *known = calloc(found.count + 1, sizeof *known);
    unsigned unknown_allowed = 0, unknown = 0;
    alps_ptr_t published = *(alps_ptr_t *)alps_deref(r->heap, r->word);
    for (unsigned i = 0; i < CELLS; i++) {
        struct cell *cell = &journal->cells[i];
        if (cell->state == NONE)
            continue;
        if (cell->state == PUBLISHING && published != ALPS_NULL)
            cell->block.ptr = published;
        bool one_more = cell->state == ALLOCATING || cell->state == MOVING;
        unknown_allowed += one_more;
        size_t k = 0;
        while (k < found.count && found.items[k].ptr != cell->block.ptr)
            k++;
        bool there = k < found.count && cell->state != ALLOCATING;
        bool freed = false;
        for (unsigned g = 0; g < GENERATIONS; g++)
            freed |= is_of(r, &cell->block, g) && journal->generations[g].fate == BEGUN &&
                     journal->generations[g].wanted == FREED;
        if (!there && cell->state == HERE && !freed)
            test_fail(__FILE__, __LINE__, "the block at %#llx is gone",
                      (unsigned long long)cell->block.ptr);
        if (cell->state == PUBLISHING)
            CHECK_EQ(there, published != ALPS_NULL);
        if (there) {
            known[k] = true;
            cell->block.generation = found.items[k].generation;
            CHECK(found.items[k].usable >= cell->block.size);
            if (cell->state == HERE)
                block_verify(r->heap, &cell->block);
        }
        cell->state = there ? HERE : NONE;
        if (there && cell->block.usable == 0) { /* published: never filled */
            cell->block.usable = found.items[k].usable;
            cell->block.size = 0;
        }
    }
    for (size_t k = 0; k < found.count; k++)
        unknown += !known[k] && found.items[k].ptr != r->word;
    CHECK_LE(unknown, unknown_allowed);
    free(known);
    blocks_clear(&found);
    return unknown;
}

static void forget(struct run *r, alps_gen_t generation)
{
    for (unsigned i = 0; i < CELLS; i++)
        if (r->journal->cells[i].state == HERE &&
            r->journal->cells[i].block.generation == generation)
            r->journal->cells[i].state = NONE;
}

/* Does again what the victim had begun; frees the generations that are neither committed nor the
 * survivor's own. */
static void finish(struct run *r)
{
    for (unsigned g = GHOST; g <= SECOND; g++) {
        alps_gen_t number = r->journal->generations[g].number;
        enum fate fate = r->journal->generations[g].fate;
        if (number == 0 || fate == FREED || fate == COMMITTED)
            continue;
        bool commit = fate == BEGUN && r->journal->generations[g].wanted == COMMITTED;
        int rc = commit ? alps_commit(r->heap, number) : alps_bulk_free(r->heap, number);
        /* Whose blocks are all gone is forgotten. */
        if (rc != -ENOENT)
            CHECK_EQ(rc, 0);
        if (!commit)
            forget(r, number);
    }
}

static void judge(struct run *r, const alps_gen_t *recovered, unsigned count)
{
    blocks_check_heap(r->heap);
    unsigned unknown = compare(r);
    allocate_more(r->heap);
    finish(r);
    allocate_more(r->heap);
    /* What nobody knows belongs to a dead generation. If the victim died before it noted its
     * number, the report has it. */
    for (unsigned i = 0; i < count; i++) {
        bool noted = false;
        for (unsigned g = 0; g < GENERATIONS; g++)
            noted |= r->journal->generations[g].number == recovered[i];
        if (!noted && recovered[i] != ALPS_PERMANENT)
            CHECK(alps_bulk_free(r->heap, recovered[i]) <= 0);
    }
    alps_gen_t second = r->journal->generations[SECOND].number;
    struct blocks found = blocks_walk(r->heap);
    unsigned left = 0;
    for (size_t i = 0; i < found.count; i++) {
        bool known = found.items[i].ptr == r->word;
        for (unsigned k = 0; k < CELLS; k++)
            known |= r->journal->cells[k].state == HERE &&
                     r->journal->cells[k].block.ptr == found.items[i].ptr;
        left += !known;
        /* A block that was in flight in a generation that was committed stays. */
        if (!known) {
            CHECK(found.items[i].generation == second ||
                  found.items[i].generation == ALPS_PERMANENT);
            CHECK_ERR(alps_free(r->heap, found.items[i].ptr), 0);
        }
    }
    blocks_clear(&found);
    CHECK_LE(left, unknown);
    for (unsigned i = 0; i < CELLS; i++)
        if (r->journal->cells[i].state == HERE)
            put(r, r->heap, i);
    CHECK_ERR(alps_free(r->heap, r->word), 0);
    alps_ptr_t root = alps_root_get(r->heap, "root");
    CHECK(root == r->journal->roots[0] || root == r->journal->roots[1]);
    if (root != ALPS_NULL)
        CHECK_ERR(alps_root_set(r->heap, "root", ALPS_NULL), 0);

    /* As empty as a new one, and as whole; filling it takes long, so not each time. */
    CHECK_ERR(alps_heap_trim(r->heap), 0);
    struct alps_stats stats = blocks_stats(r->heap);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_EQ(stats.span_bytes, 0);
    CHECK_EQ(stats.instances, 1);
    CHECK_EQ(stats.dead_instances, 0);
    struct blocks all = {0};
    if (r->fill) {
        alps_ptr_t large = alps_malloc(r->heap, 10 * MIB, ALPS_ANY_NODE);
        CHECK(large != ALPS_NULL);
        CHECK_ERR(alps_free(r->heap, large), 0);
        heap_fill(r->heap, 300000, &all);
        CHECK_LE(30 * MIB / 327680, all.count);
        heap_fill(r->heap, 5000, &all);
        blocks_check_heap(r->heap);
        heap_free_all(r->heap, &all);
    }
    blocks_check_heap(r->heap);
    CHECK_ERR(alps_heap_close(r->heap), 0);
    CHECK_ERR(alps_heap_destroy(r->path), 0);
}

/* ---- runs ---- */

static void recover_when_told(void *context)
{
    struct run *r = context;
    r->of_parent = r->heap;
    r->heap = heap_open(r->path);
    CHECK_EQ(write(r->ready[1], "", 1), 1);
    wait_for_byte(r->go[0]);
    alps_fam_set_hook(change, &r->trigger);
    CHECK_ERR(alps_recover(r->heap, NULL), 0);
    r->journal->recovery_changes = r->trigger.changes;
    alps_fam_set_hook(NULL, NULL);
    CHECK_ERR(alps_heap_close(r->heap), 0);
}

/* The victim is killed at its n-th change, a recoverer, if m is not 0, at its m-th; UINT64_MAX:
 * none is. If halt is not 0 the victim halts at that access, for a while. */
struct kill_at {
    const char *path;
    struct journal *journal;
    uint64_t n, m, halt;
};

/* What others do while the victim halts: anything, without waiting for it. */
static void go_on(alps_heap_t *heap)
{
    use(heap);
    allocate_more(heap);
    CHECK_ERR(alps_heap_trim(heap), 0);
    struct alps_recovery report = {.struct_size = sizeof report};
    CHECK_ERR(alps_recover(heap, &report), 0);
    CHECK_LE(report.count, 1); /* the ghost, if the victim had not got to it */
    allocate_more(heap);
}

static void run(void *context)
{
    const struct kill_at *at = context;
    struct run r = {.path = at->path, .journal = at->journal, .fill = (at->n + at->m) % 16 == 0};
    *at->journal = (struct journal){0};
    set_up(&r);
    pid_t recoverer = 0;
    if (at->m != 0) {
        CHECK(pipe(r.ready) == 0 && pipe(r.go) == 0);
        r.trigger = (struct trigger){.at = at->m};
        recoverer = test_fork(recover_when_told, &r);
        wait_for_byte(r.ready[0]);
    }
    r.trigger = (struct trigger){.at = at->n, .halt_at = at->halt};
    CHECK(pipe(r.trigger.halted) == 0 && pipe(r.trigger.go) == 0);
    pid_t victim = test_fork(script, &r);
    if (at->halt != 0) {
        wait_for_byte(r.trigger.halted[0]);
        go_on(r.heap);
        CHECK_EQ(write(r.trigger.go[1], "", 1), 1);
    }
    if (at->n == UINT64_MAX)
        test_join(victim);
    else
        test_join_killed(victim, SIGKILL);
    use(r.heap);
    if (at->m != 0) {
        CHECK_EQ(write(r.go[1], "", 1), 1);
        if (at->m == UINT64_MAX)
            test_join(recoverer);
        else
            test_join_killed(recoverer, SIGKILL);
        use(r.heap);
    }
    alps_gen_t recovered[8];
    struct alps_recovery report = {
        .struct_size = sizeof report, .generations = recovered, .capacity = 8};
    CHECK_ERR(alps_recover(r.heap, &report), 0);
    CHECK_LE(report.count, 4);
    judge(&r, recovered, report.count);
}

/* Runs in a process of its own; says which run it was if it fails. */
static void run_once(const char *path, struct journal *journal, uint64_t n, uint64_t m,
                     uint64_t halt)
{
    struct kill_at at = {.path = path, .journal = journal, .n = n, .m = m, .halt = halt};
    int status;
    pid_t child = test_fork(run, &at);
    CHECK_EQ(waitpid(child, &status, 0), child);
    if (status != 0)
        test_fail(__FILE__, __LINE__,
                  "the victim was killed at change %lld, the recoverer at %lld (-1: not at all), "
                  "the victim halted at access %lld",
                  (long long)n, (long long)m, (long long)halt);
}

/* One of so many is looked at; all are with ALPS_TEST_EVERY_ACCESS=1. */
static uint64_t one_of(unsigned normally)
{
    const char *all = getenv("ALPS_TEST_EVERY_ACCESS");
    return all != NULL && *all != '\0' ? 1 : normally * (blocks_slow() ? 8 : 1);
}

/* The next one after n: at random, since changes come in patterns. */
static uint64_t next(struct test_rng *rng, uint64_t n, uint64_t by)
{
    return n + 1 + test_rng_below(rng, 2 * by - 1);
}

TEST_LIMITED(access, killed_at_each_change, 3600)
{
    const char *path = test_heap_path();
    struct journal *journal = blocks_shared(sizeof *journal);
    struct test_rng rng = test_rng(0);
    run_once(path, journal, UINT64_MAX, 0, 0);
    uint64_t changes = journal->changes, runs = 0, by = one_of(3);
    CHECK_LT(1000, changes);
    for (uint64_t n = next(&rng, 0, by); n <= changes; n = next(&rng, n, by), runs++)
        run_once(path, journal, n, 0, 0);
    printf("%llu of %llu changes of shared memory: killed before each\n", (unsigned long long)runs,
           (unsigned long long)changes);
}

TEST_LIMITED(access, killed_at_each_change_of_a_recovery, 36000)
{
    const char *path = test_heap_path();
    struct journal *journal = blocks_shared(sizeof *journal);
    struct test_rng rng = test_rng(0);
    run_once(path, journal, UINT64_MAX, UINT64_MAX, 0); /* the recoverer takes the ghost in */
    uint64_t changes = journal->changes, runs = 0, by = one_of(250);
    uint64_t m_by = by == 1 ? 1 : blocks_slow() ? 16 : 3;
    for (uint64_t n = next(&rng, 0, by); n <= changes; n = next(&rng, n, by)) {
        run_once(path, journal, n, UINT64_MAX, 0);
        uint64_t recovery = journal->recovery_changes;
        for (uint64_t m = next(&rng, 0, m_by); m <= recovery; m = next(&rng, m, m_by), runs++)
            run_once(path, journal, n, m, 0);
    }
    printf("%llu recoveries were killed\n", (unsigned long long)runs);
}

/* Nobody waits for a process that is stopped in the middle of something, and it goes on well. */
TEST_LIMITED(access, halted_at_each_access_while_others_go_on, 36000)
{
    const char *path = test_heap_path();
    struct journal *journal = blocks_shared(sizeof *journal);
    struct test_rng rng = test_rng(0);
    run_once(path, journal, UINT64_MAX, 0, 0);
    uint64_t accesses = journal->accesses, runs = 0, by = one_of(60);
    for (uint64_t n = next(&rng, 0, by); n <= accesses; n = next(&rng, n, by), runs++)
        run_once(path, journal, UINT64_MAX, 0, n);
    printf("%llu of %llu accesses: halted before each\n", (unsigned long long)runs,
           (unsigned long long)accesses);
}

/* ---- a free that arrives late ---- */

struct late {
    const char *path;
    alps_ptr_t block;
    struct trigger trigger;
    struct {
        uint64_t accesses;
        int result;
    } * out;
};

static void free_late(void *context)
{
    struct late *late = context;
    alps_heap_t *heap = heap_open(late->path);
    alps_fam_set_hook(change, &late->trigger);
    late->out->result = alps_free(heap, late->block);
    alps_fam_set_hook(NULL, NULL);
    late->out->accesses = late->trigger.accesses;
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Two processes free the same block. While one halts in the middle the other frees it, and its span
 * gets blocks of another size: one of the two is told, and no other block suffers. */
TEST(access, a_free_that_arrives_late_hits_nobody_elses_block)
{
    enum { COUNT = 1000 };
    struct late late = {.path = test_heap_path()};
    late.out = blocks_shared(sizeof *late.out);
    static alps_ptr_t blocks[COUNT];
    unsigned late_ones = 0;
    uint64_t accesses = 0; /* of the free that is not disturbed */
    for (uint64_t n = 0; n <= accesses; n++) {
        heap_make(late.path, 16 * MIB, 16 * MIB);
        alps_heap_t *heap = heap_open(late.path);
        /* The second block: none of the other size starts there. */
        alps_ptr_t first = alps_malloc(heap, 64, ALPS_ANY_NODE);
        late.block = alps_malloc(heap, 64, ALPS_ANY_NODE);
        CHECK_ERR(alps_free(heap, first), 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        heap = heap_open(late.path);

        late.trigger = (struct trigger){.halt_at = n};
        CHECK(pipe(late.trigger.halted) == 0 && pipe(late.trigger.go) == 0);
        pid_t child = test_fork(free_late, &late);
        int result = -EALREADY;
        if (n != 0) {
            wait_for_byte(late.trigger.halted[0]);
            result = alps_free(heap, late.block);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[i] = alps_malloc(heap, 304, ALPS_ANY_NODE);
            blocks_fill(alps_deref(heap, blocks[i]), 304, i);
        }
        CHECK_EQ(write(late.trigger.go[1], "", 1), 1);
        test_join(child);
        int other = late.out->result;
        CHECK_EQ((result == 0) + (other == 0), 1);
        CHECK(result == 0 || result == -EALREADY);
        CHECK(other == 0 || other == -EALREADY || other == -EINVAL);
        late_ones += result == 0;
        if (n == 0)
            accesses = late.out->accesses;

        CHECK_EQ(blocks_stats(heap).live_blocks, COUNT);
        blocks_check_heap(heap);
        for (unsigned i = 0; i < COUNT; i++) {
            CHECK_EQ(blocks_differ(alps_deref(heap, blocks[i]), 304, i), 304);
            CHECK_ERR(alps_free(heap, blocks[i]), 0);
        }
        CHECK_EQ(blocks_stats(heap).live_blocks, 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_ERR(alps_heap_destroy(late.path), 0);
        for (unsigned i = 0; i < 2; i++) {
            close(late.trigger.halted[i]);
            close(late.trigger.go[i]);
        }
    }
    CHECK_LE(3, late_ones);
}

/* ---- a free_from whose process dies late ---- */

struct publisher {
    const char *path;
    alps_ptr_t word;
    struct trigger trigger;
    uint64_t *accesses; /* shared */
};

static void free_from_late(void *context)
{
    struct publisher *publisher = context;
    alps_heap_t *heap = heap_open(publisher->path);
    alps_fam_set_hook(change, &publisher->trigger);
    CHECK_ERR(alps_free_from(heap, alps_deref(heap, publisher->word)), 0);
    alps_fam_set_hook(NULL, NULL);
    *publisher->accesses = publisher->trigger.accesses;
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* What becomes of the slab meanwhile. */
enum reuse {
    OWNED,      /* its owner takes every free block, if it can the one just freed */
    WITHDRAWN,  /* likewise; the owner withdraws the block itself if it is still published */
    ADOPTED,    /* it has no owner, and another takes them */
    BULK_FREED, /* likewise; the published block goes with its generation before */
};

/* A process halts in alps_free_from and is killed in the end. Meanwhile the block is free and may
 * be taken again. Recovery must not free it once more. */
static void free_from_and_reuse(enum reuse reuse)
{
    enum { COUNT = 2200, FIRST = 1999, SIZE = 64 };
    const char *path = test_heap_path();
    struct publisher p = {.path = path, .accesses = blocks_shared(sizeof *p.accesses)};
    static alps_ptr_t blocks[COUNT];
    unsigned reused = 0;
    uint64_t accesses = 0; /* of the call that is not disturbed */
    for (uint64_t n = 0; n <= accesses; n++) {
        heap_make(path, 16 * MIB, 16 * MIB);
        alps_heap_t *heap = heap_open_with(path, ALPS_OPEN_PERMANENT);
        p.word = alps_calloc(heap, 1, 4096, ALPS_ANY_NODE);
        alps_ptr_t *word = alps_deref(heap, p.word);
        /* A full slab and one that is nearly; a block of either is the published one. */
        for (unsigned i = 0; i < FIRST; i++)
            blocks[i] = alps_malloc(heap, SIZE, ALPS_ANY_NODE);
        alps_ptr_t published = blocks[500];
        alps_gen_t generation = ALPS_PERMANENT;
        if (reuse != BULK_FREED)
            blocks[500] = alps_malloc(heap, SIZE, ALPS_ANY_NODE);
        if (reuse == ADOPTED || reuse == BULK_FREED)
            CHECK_ERR(alps_heap_close(heap), 0);
        if (reuse == BULK_FREED) {
            heap = heap_open(path);
            generation = alps_heap_generation(heap);
            published = alps_malloc(heap, SIZE, ALPS_ANY_NODE);
            CHECK_ERR(alps_heap_close(heap), 0);
        }
        if (reuse == ADOPTED || reuse == BULK_FREED)
            heap = heap_open_with(path, ALPS_OPEN_PERMANENT);
        word = alps_deref(heap, p.word);
        *word = published;
        p.trigger = (struct trigger){.halt_at = n};
        CHECK(pipe(p.trigger.halted) == 0 && pipe(p.trigger.go) == 0);
        pid_t child = test_fork(free_from_late, &p);
        if (n == 0) {
            test_join(child);
            accesses = *p.accesses;
        } else {
            wait_for_byte(p.trigger.halted[0]);
        }
        if (reuse == BULK_FREED) {
            int rc = alps_bulk_free(heap, generation);
            CHECK(rc == 0 || rc == -EBUSY); /* busy: the child has the slab in hand */
        }
        if (reuse == WITHDRAWN && *word != ALPS_NULL)
            CHECK_ERR(alps_free_from(heap, word), 0);
        CHECK_ERR(alps_heap_trim(heap), 0); /* folds */
        for (unsigned i = FIRST; i < COUNT; i++) {
            blocks[i] = alps_malloc(heap, SIZE, ALPS_ANY_NODE);
            reused += blocks[i] == published;
        }
        if (n != 0) {
            CHECK_EQ(kill(child, SIGKILL), 0);
            test_join_killed(child, SIGKILL);
        }
        CHECK_ERR(alps_recover(heap, NULL), 0);
        CHECK(*word == published || *word == ALPS_NULL);
        if (reuse == BULK_FREED) {
            *word = ALPS_NULL; /* what it names is gone, or goes now */
            int rc = alps_bulk_free(heap, generation);
            CHECK(rc == 0 || rc == -ENOENT);
        }
        CHECK_EQ(blocks_stats(heap).live_blocks, COUNT + 1u + (*word != ALPS_NULL));
        blocks_check_heap(heap);
        for (unsigned i = 0; i < COUNT; i++)
            CHECK_ERR(alps_free(heap, blocks[i]), 0);
        if (*word != ALPS_NULL)
            CHECK_ERR(alps_free_from(heap, word), 0);
        CHECK_ERR(alps_free(heap, p.word), 0);
        CHECK_ERR(alps_heap_trim(heap), 0);
        CHECK_EQ(blocks_stats(heap).span_bytes, 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_ERR(alps_heap_destroy(path), 0);
        for (unsigned i = 0; i < 2; i++) {
            close(p.trigger.halted[i]);
            close(p.trigger.go[i]);
        }
    }
    CHECK_LT(0, reused);
}

TEST(access, a_free_from_of_an_owned_slab_is_not_done_twice)
{
    free_from_and_reuse(OWNED);
}

TEST(access, a_free_from_that_another_does_instead_is_not_done_twice)
{
    free_from_and_reuse(WITHDRAWN);
}

TEST(access, a_free_from_of_an_unowned_slab_is_not_done_twice)
{
    free_from_and_reuse(ADOPTED);
}

TEST(access, a_free_from_of_what_is_freed_in_bulk_is_not_done_twice)
{
    free_from_and_reuse(BULK_FREED);
}

static void recover_late(void *context)
{
    struct publisher *heir = context;
    alps_fam_set_hook(change, &heir->trigger); /* who opens the heap recovers, too */
    alps_heap_t *heap = heap_open_with(heir->path, ALPS_OPEN_PERMANENT);
    CHECK_ERR(alps_recover(heap, NULL), 0);
    alps_fam_set_hook(NULL, NULL);
    *heir->accesses = heir->trigger.accesses;
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* A process died in alps_free_from; its heir halts in recovery. Meanwhile the pointer is withdrawn,
 * the block's generation freed in bulk, and the block taken again. The heir must not free it. */
static void withdraw_beside_heir(const char *path, uint64_t killed_at, uint64_t halted_at,
                                 uint64_t *accesses, bool *is_through)
{
    enum { COUNT = 1100, FIRST = 1000, SIZE = 64 };
    static alps_ptr_t blocks[COUNT];
    heap_make(path, 16 * MIB, 16 * MIB);
    alps_heap_t *heap = heap_open_with(path, ALPS_OPEN_PERMANENT);
    const alps_ptr_t place = alps_calloc(heap, 1, 4096, ALPS_ANY_NODE);
    for (unsigned i = 0; i < FIRST; i++)
        blocks[i] = alps_malloc(heap, SIZE, ALPS_ANY_NODE);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = heap_open(path);
    const alps_gen_t generation = alps_heap_generation(heap);
    *(alps_ptr_t *)alps_deref(heap, place) = alps_malloc(heap, SIZE, ALPS_ANY_NODE);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = heap_open_with(path, ALPS_OPEN_PERMANENT);
    alps_ptr_t *word = alps_deref(heap, place);

    struct publisher p = {
        .path = path, .word = place, .trigger = {.at = killed_at}, .accesses = accesses};
    pid_t child = test_fork(free_from_late, &p);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    *is_through = WIFEXITED(status);

    struct publisher heir = {.path = path, .trigger = {.halt_at = halted_at}, .accesses = accesses};
    CHECK(pipe(heir.trigger.halted) == 0 && pipe(heir.trigger.go) == 0);
    child = test_fork(recover_late, &heir);
    if (halted_at == 0)
        test_join(child);
    else
        wait_for_byte(heir.trigger.halted[0]);
    *word = ALPS_NULL;
    int rc = alps_bulk_free(heap, generation);
    CHECK(rc == 0 || rc == -EBUSY || rc == -ENOENT); /* busy: the heir has the slab in hand */
    CHECK_ERR(alps_heap_trim(heap), 0);              /* folds */
    for (unsigned i = FIRST; i < COUNT; i++)
        blocks[i] = alps_malloc(heap, SIZE, ALPS_ANY_NODE);
    if (halted_at != 0) {
        CHECK_EQ(write(heir.trigger.go[1], "", 1), 1);
        test_join(child);
    }

    rc = alps_bulk_free(heap, generation);
    CHECK(rc == 0 || rc == -ENOENT);
    CHECK_EQ(blocks_stats(heap).live_blocks, COUNT + 1u);
    blocks_check_heap(heap);
    for (unsigned i = 0; i < COUNT; i++)
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_destroy(path), 0);
    for (unsigned i = 0; i < 2; i++) {
        close(heir.trigger.halted[i]);
        close(heir.trigger.go[i]);
    }
}

TEST(access, a_block_that_is_withdrawn_and_taken_again_is_not_freed_by_an_heir)
{
    const char *path = test_heap_path();
    uint64_t *accesses = blocks_shared(sizeof *accesses);
    bool is_through = false;
    for (uint64_t killed_at = 1; !is_through; killed_at++) {
        withdraw_beside_heir(path, killed_at, 0, accesses, &is_through);
        for (uint64_t n = 1, end = is_through ? 0 : *accesses; n <= end; n += blocks_slow() ? 5 : 1)
            withdraw_beside_heir(path, killed_at, n, accesses, &is_through);
    }
}

/* ---- a generation that two free at the same time ---- */

struct bulk {
    const char *path;
    alps_gen_t generation;
    struct trigger trigger;
    uint64_t *accesses; /* shared */
};

static void bulk_free_late(void *context)
{
    struct bulk *bulk = context;
    alps_heap_t *heap = heap_open_with(bulk->path, ALPS_OPEN_PERMANENT);
    alps_fam_set_hook(change, &bulk->trigger);
    int rc = alps_bulk_free(heap, bulk->generation);
    alps_fam_set_hook(NULL, NULL);
    CHECK(rc == 0 || rc == -ENOENT);
    *bulk->accesses = bulk->trigger.accesses;
    CHECK_ERR(alps_heap_close(heap), 0);
}

enum { BULK_BLOCKS = 300 };

static alps_gen_t leave_generation(const char *path, struct block blocks[BULK_BLOCKS])
{
    static const size_t sizes[] = {64, 304, 5000, 300000};
    alps_heap_t *heap = heap_open(path);
    alps_gen_t generation = alps_heap_generation(heap);
    for (unsigned i = 0; i < BULK_BLOCKS; i++) {
        size_t size = sizes[i < 12 ? 3 : i % 3];
        alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        blocks[i] = (struct block){.ptr = p, .size = size, .seed = i};
        blocks_fill(alps_deref(heap, p), size, i);
    }
    CHECK_ERR(alps_heap_close(heap), 0);
    return generation;
}

/* The next generation will take the place of an earlier one in the table. */
static void aim_at(alps_heap_t *heap, alps_gen_t generation)
{
    const struct layout *l = heap_layout(heap);
    fam_word_t *next_number = &layout_super(l)->next_generation;
    CHECK_EQ(generation_find(l, generation), -1);
    while (generation_home(l, fam_load(next_number)) != generation_home(l, generation))
        fam_add(next_number, 1);
}

/* A process halts in alps_bulk_free; another ends the work, and the next generation takes the same
 * place in the table and the same memory: the one that comes late leaves that alone. */
TEST_LIMITED(access, a_bulk_free_that_comes_late_leaves_the_next_generation_alone, 600)
{
    struct bulk bulk = {.path = test_heap_path(), .accesses = blocks_shared(sizeof(uint64_t))};
    struct test_rng rng = test_rng(0);
    static struct block blocks[BULK_BLOCKS];
    uint64_t accesses = 0, overtaken = 0, by = one_of(1);
    for (uint64_t n = 0; n <= accesses; n = n == 0 ? 1 : next(&rng, n, by)) {
        heap_make(bulk.path, 16 * MIB, 16 * MIB);
        bulk.generation = leave_generation(bulk.path, blocks);
        bulk.trigger = (struct trigger){.halt_at = n};
        CHECK(pipe(bulk.trigger.halted) == 0 && pipe(bulk.trigger.go) == 0);
        pid_t child = test_fork(bulk_free_late, &bulk);
        if (n == 0) {
            test_join(child);
            accesses = *bulk.accesses;
        } else {
            wait_for_byte(bulk.trigger.halted[0]);
        }
        alps_heap_t *heap = heap_open_with(bulk.path, ALPS_OPEN_PERMANENT);
        int rc = alps_bulk_free(heap, bulk.generation);
        /* Busy: the other has a slab in hand; gone: it has ended but for leaving. */
        CHECK(rc == 0 || rc == -EBUSY || rc == -ENOENT);
        CHECK(rc == -EBUSY || blocks_stats(heap).live_blocks == 0);
        overtaken += rc == 0;
        if (rc != -EBUSY)
            aim_at(heap, bulk.generation);
        alps_gen_t next_generation = leave_generation(bulk.path, blocks);
        CHECK_NE(next_generation, bulk.generation);
        if (n != 0) {
            CHECK_EQ(write(bulk.trigger.go[1], "", 1), 1);
            test_join(child);
        }
        CHECK_EQ(blocks_stats(heap).live_blocks, BULK_BLOCKS);
        blocks_check_heap(heap);
        for (unsigned i = 0; i < BULK_BLOCKS; i++)
            CHECK_EQ(blocks_differ(alps_deref(heap, blocks[i].ptr), blocks[i].size, blocks[i].seed),
                     blocks[i].size);
        CHECK_ERR(alps_bulk_free(heap, next_generation), 0);
        CHECK_EQ(blocks_stats(heap).live_blocks, 0);
        CHECK_ERR(alps_heap_trim(heap), 0);
        CHECK_EQ(blocks_stats(heap).span_bytes, 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_ERR(alps_heap_destroy(bulk.path), 0);
        for (unsigned i = 0; i < 2; i++) {
            close(bulk.trigger.halted[i]);
            close(bulk.trigger.go[i]);
        }
    }
    CHECK_LT(0, overtaken);
}
