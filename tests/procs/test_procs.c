/* Processes that free each other's blocks.
 *
 * Each process has a mailbox, a block of the heap that the others find by a root: slots in which a
 * sender leaves a block, and from which the mailbox's owner takes it. What a process holds and what
 * lies in the mailboxes is known to a journal outside the heap; at the end, the heap must have just
 * these blocks. */
#include <alps/alps.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "blocks.h"
#include "test.h"

enum { PROCESSES = 4, SLOTS = 64, HELD_MAX = 2000 };

/* A slot of a mailbox. letter: 0 empty, 1 being written or read, 2 full. */
struct slot {
    uint64_t letter;
    alps_ptr_t block;
    uint64_t size, seed, generation;
};

struct mailbox {
    struct slot slots[SLOTS];
};

/* Shared by the processes, outside of the heap. */
struct ledger {
    struct shadow shadow;
    unsigned waiting; /* processes that have done their work */
    struct {
        alps_gen_t generation;
        unsigned refused, done, received;
        unsigned count;
        struct block held[HELD_MAX];
    } processes[PROCESSES];
};

struct worker {
    const char *path;
    struct ledger *ledger;
    unsigned index, rounds, target;
    uint64_t largest;
    alps_heap_t *heap;
    struct test_rng rng;
    struct blocks blocks;
};

static const char *mailbox_name(unsigned index)
{
    static char name[32];
    snprintf(name, sizeof name, "mailbox of %u", index);
    return name;
}

static struct mailbox *mailbox_of(alps_heap_t *heap, unsigned index)
{
    alps_ptr_t p = alps_root_get(heap, mailbox_name(index));
    CHECK(p != ALPS_NULL);
    return alps_deref(heap, p);
}

/* Moves a slot's letter from one state to the next, if it is there. */
static bool step(struct slot *slot, uint64_t from, uint64_t to)
{
    return __atomic_compare_exchange_n(&slot->letter, &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

static void send_block(struct worker *w)
{
    struct mailbox *to = mailbox_of(w->heap, (unsigned)test_rng_below(&w->rng, PROCESSES));
    struct slot *slot = &to->slots[test_rng_below(&w->rng, SLOTS)];
    if (!step(slot, 0, 1))
        return;
    struct block block = blocks_take(&w->blocks, test_rng_below(&w->rng, w->blocks.count));
    slot->block = block.ptr;
    slot->size = block.size;
    slot->seed = block.seed;
    slot->generation = block.generation;
    CHECK(step(slot, 1, 2));
}

static void receive_blocks(struct worker *w)
{
    struct mailbox *from = mailbox_of(w->heap, w->index);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &from->slots[i];
        if (!step(slot, 2, 1))
            continue;
        struct block block = {slot->block, slot->size, alps_usable_size(w->heap, slot->block),
                              slot->seed, slot->generation};
        CHECK(step(slot, 1, 0));
        CHECK(block.usable >= block.size);
        block_verify(w->heap, &block);
        blocks_add(&w->blocks, block);
        w->ledger->processes[w->index].received++;
    }
}

static void allocate(struct worker *w)
{
    size_t size = rng_size(&w->rng, w->largest);
    alps_ptr_t p = alps_malloc(w->heap, size, ALPS_ANY_NODE);
    if (p == ALPS_NULL) {
        CHECK_EQ(errno, ENOMEM);
        w->ledger->processes[w->index].refused++;
        return;
    }
    w->ledger->processes[w->index].done++;
    blocks_add(&w->blocks, block_begin(w->heap, &w->ledger->shadow, p, size, test_rng_next(&w->rng),
                                       alps_heap_generation(w->heap)));
}

static void release(struct worker *w)
{
    struct block block = blocks_take(&w->blocks, test_rng_below(&w->rng, w->blocks.count));
    CHECK_EQ(alps_usable_size(w->heap, block.ptr), block.usable);
    block_end(w->heap, &w->ledger->shadow, &block);
    CHECK_ERR(alps_free(w->heap, block.ptr), 0);
}

static void work(void *context)
{
    struct worker *w = context;
    w->heap = heap_open(w->path);
    w->rng = test_rng(1 + w->index);
    w->ledger->processes[w->index].generation = alps_heap_generation(w->heap);
    for (unsigned round = 0; round < w->rounds; round++) {
        size_t count = w->blocks.count;
        unsigned roll = (unsigned)test_rng_below(&w->rng, 64);
        if (roll == 0)
            receive_blocks(w);
        else if (count == 0 || (count < w->target && roll < 34))
            allocate(w);
        else if (roll < 50)
            send_block(w);
        else
            release(w);
        if (rng_chance(&w->rng, 5000))
            CHECK_ERR(alps_heap_remap(w->heap, NULL), 0);
        if (rng_chance(&w->rng, 5000))
            blocks_check_heap(w->heap);
    }
    for (size_t i = 0; i < w->blocks.count; i++)
        block_verify(w->heap, &w->blocks.items[i]);
    w->ledger->processes[w->index].count = (unsigned)w->blocks.count;
    CHECK(w->blocks.count <= HELD_MAX);
    if (w->blocks.count != 0)
        memcpy(w->ledger->processes[w->index].held, w->blocks.items,
               w->blocks.count * sizeof *w->blocks.items);
    CHECK_ERR(alps_heap_close(w->heap), 0);
}

/* What the journals and the mailboxes say that there is. */
static struct blocks expected_blocks(alps_heap_t *heap, const struct ledger *ledger)
{
    struct blocks all = {0};
    for (unsigned i = 0; i < PROCESSES; i++) {
        for (unsigned j = 0; j < ledger->processes[i].count; j++)
            blocks_add(&all, ledger->processes[i].held[j]);
        struct mailbox *mailbox = mailbox_of(heap, i);
        for (unsigned j = 0; j < SLOTS; j++) {
            const struct slot *slot = &mailbox->slots[j];
            CHECK(slot->letter == 0 || slot->letter == 2);
            if (slot->letter == 2)
                blocks_add(&all, (struct block){slot->block, slot->size,
                                                alps_usable_size(heap, slot->block), slot->seed,
                                                slot->generation});
        }
        alps_ptr_t p = alps_ref(heap, mailbox);
        blocks_add(&all, (struct block){.ptr = p,
                                        .usable = alps_usable_size(heap, p),
                                        .generation = ALPS_PERMANENT});
    }
    return all;
}

static void run(uint64_t size, uint64_t capacity, uint64_t largest, unsigned target,
                unsigned rounds)
{
    const char *path = test_heap_path();
    heap_make(path, size, capacity);
    alps_heap_t *heap = heap_open_with(path, ALPS_OPEN_PERMANENT);
    struct ledger *ledger = blocks_shared(sizeof *ledger);
    ledger->shadow = shadow_make(capacity + 64 * MIB);
    for (unsigned i = 0; i < PROCESSES; i++) {
        alps_ptr_t p = alps_calloc(heap, 1, sizeof(struct mailbox), ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        CHECK(shadow_claim(&ledger->shadow, p, alps_usable_size(heap, p)));
        CHECK_ERR(alps_root_set(heap, mailbox_name(i), p), 0);
    }
    struct worker workers[PROCESSES];
    pid_t children[PROCESSES];
    for (unsigned i = 0; i < PROCESSES; i++) {
        workers[i] = (struct worker){.path = path,
                                     .ledger = ledger,
                                     .index = i,
                                     .rounds = rounds,
                                     .target = target,
                                     .largest = largest};
        children[i] = test_fork(work, &workers[i]);
    }
    unsigned refused = 0, done = 0, received = 0;
    for (unsigned i = 0; i < PROCESSES; i++) {
        test_join(children[i]);
        refused += ledger->processes[i].refused;
        done += ledger->processes[i].done;
        received += ledger->processes[i].received;
    }
    CHECK(done > refused);
    CHECK(rounds < 5000 || received > 100);

    struct blocks all = expected_blocks(heap, ledger);
    blocks_expect(heap, &all);
    for (size_t i = 0; i < all.count; i++)
        if (all.items[i].generation != ALPS_PERMANENT)
            block_verify(heap, &all.items[i]);

    /* One generation after the other goes; the mailboxes are permanent. */
    for (unsigned i = 0; i < PROCESSES; i++) {
        alps_gen_t generation = ledger->processes[i].generation;
        int rc = alps_bulk_free(heap, generation);
        CHECK(rc == 0 || rc == -ENOENT); /* nothing was left of it */
        for (size_t j = all.count; j-- > 0;)
            if (all.items[j].generation == generation)
                blocks_take(&all, j);
        blocks_expect(heap, &all);
    }
    CHECK_EQ(all.count, PROCESSES);
    heap_free_all(heap, &all);
    CHECK_ERR(alps_heap_close(heap), 0);

    heap = heap_open(path);
    CHECK_EQ(blocks_stats(heap).span_bytes, 0);
    alps_ptr_t p = alps_malloc(heap, blocks_stats(heap).usable_bytes / 10 * 9, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(heap, p), 0);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    shadow_free(&ledger->shadow);
    blocks_unshare(ledger, sizeof *ledger);
}

TEST(procs, free_each_others_small_blocks)
{
    run(64 * MIB, 256 * MIB, 4096, 1500, blocks_scaled(200000));
}

TEST(procs, free_each_others_blocks_of_all_sizes)
{
    run(64 * MIB, 512 * MIB, 2 * MIB, 300, blocks_scaled(40000));
}

TEST(procs, meet_a_full_heap)
{
    run(16 * MIB, 32 * MIB, 1 * MIB, 200, blocks_scaled(40000));
}
