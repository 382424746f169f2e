/* Processes are killed at any moment while others go on.
 *
 * What a process does to blocks it notes in a journal outside of the heap, before and after, so
 * that at any moment at most one block of each thread is in doubt. A supervisor kills processes
 * when they have made some more steps, and starts others in their place. At the end the heap must
 * have every block of which the journal is sure, and besides at most the ones in doubt. */
#include <alps/alps.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "blocks.h"
#include "test.h"

enum { WORKERS = 4, CELLS = 512, GENERATIONS = 512, THREADS_MAX = 8 };

/* A cell of the journal is one block, or none. A process that wants to change it takes it from
 * EMPTY or FULL; one that it dies with stays as it is. */
enum state { EMPTY, ALLOCATING, FULL, FREEING, LOOKING };

struct cell {
    uint64_t state;
    uint64_t worker; /* that has it in hand: index of a process ever started, + 1 */
    struct block block;
};

struct journal {
    struct cell cells[CELLS];
    uint64_t steps[GENERATIONS]; /* of each process ever started */
    alps_gen_t generations[GENERATIONS];
    uint64_t allocated, freed, refused;
};

struct worker {
    const char *path;
    struct journal *journal;
    unsigned index; /* of a process ever started */
    uint64_t largest;
    bool publish; /* by alps_malloc_to and alps_free_from: words of a block that a root names */
    unsigned threads;
    alps_heap_t *heap;
    alps_ptr_t *words;
    uint64_t threads_begun;
};

static bool take(struct cell *cell, uint64_t from, uint64_t to, unsigned worker)
{
    if (!__atomic_compare_exchange_n(&cell->state, &from, to, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return false;
    __atomic_store_n(&cell->worker, worker + 1, __ATOMIC_RELEASE);
    return true;
}

static void put(struct cell *cell, uint64_t state)
{
    __atomic_store_n(&cell->state, state, __ATOMIC_RELEASE);
}

static void set_ptr(struct cell *cell, alps_ptr_t ptr)
{
    __atomic_store_n(&cell->block.ptr, ptr, __ATOMIC_RELEASE);
}

static void count(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void allocate(struct worker *w, alps_heap_t *heap, struct cell *cell, alps_ptr_t *word,
                     struct test_rng *rng)
{
    size_t size = rng_size(rng, w->largest);
    cell->block = (struct block){
        .size = size, .seed = test_rng_next(rng), .generation = alps_heap_generation(heap)};
    alps_ptr_t p = w->publish ? alps_malloc_to(heap, word, size, ALPS_ANY_NODE)
                              : alps_malloc(heap, size, ALPS_ANY_NODE);
    if (p == ALPS_NULL) {
        CHECK_EQ(errno, ENOMEM);
        count(&w->journal->refused);
        put(cell, EMPTY);
        return;
    }
    set_ptr(cell, p);
    cell->block.usable = alps_usable_size(heap, p);
    CHECK(cell->block.usable >= size);
    blocks_fill(alps_deref(heap, p), size, cell->block.seed);
    count(&w->journal->allocated);
    put(cell, FULL);
}

static void *change_cells(void *context)
{
    struct worker *w = context;
    struct journal *journal = w->journal;
    alps_heap_t *heap = w->heap;
    alps_ptr_t *words = w->words;
    uint64_t thread = __atomic_fetch_add(&w->threads_begun, 1, __ATOMIC_RELAXED);
    struct test_rng rng = test_rng(1000 + w->index * THREADS_MAX + thread);
    for (;;) {
        uint64_t i = test_rng_below(&rng, CELLS);
        struct cell *cell = &journal->cells[i];
        alps_ptr_t *word = w->publish ? words + i : NULL;
        if (take(cell, EMPTY, ALLOCATING, w->index)) {
            allocate(w, heap, cell, word, &rng);
        } else if (take(cell, FULL, LOOKING, w->index)) {
            CHECK(word == NULL || *word == cell->block.ptr);
            CHECK_EQ(alps_usable_size(heap, cell->block.ptr), cell->block.usable);
            block_verify(heap, &cell->block);
            if (rng_chance(&rng, 4)) {
                put(cell, FULL);
            } else {
                put(cell, FREEING);
                CHECK_ERR(
                    w->publish ? alps_free_from(heap, word) : alps_free(heap, cell->block.ptr), 0);
                set_ptr(cell, ALPS_NULL);
                count(&journal->freed);
                put(cell, EMPTY);
            }
        }
        count(&journal->steps[w->index]);
    }
    return NULL;
}

static void work(void *context)
{
    struct worker *w = context;
    w->heap = heap_open(w->path);
    w->journal->generations[w->index] = alps_heap_generation(w->heap);
    if (w->publish)
        w->words = alps_deref(w->heap, alps_root_get(w->heap, "words"));
    for (unsigned i = 1; i < w->threads; i++) {
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, change_cells, w), 0);
    }
    change_cells(w);
}

struct arena {
    const char *path;
    struct journal *journal;
    uint64_t largest;
    bool publish;
    unsigned threads; /* of each process */
    unsigned started;
    pid_t children[WORKERS];
    unsigned indices[WORKERS];
    struct worker workers[WORKERS];
    alps_heap_t *heap;
    struct blocks own;
};

static void start(struct arena *a, unsigned at)
{
    CHECK(a->started < GENERATIONS);
    a->indices[at] = a->started++;
    a->workers[at] = (struct worker){.path = a->path,
                                     .journal = a->journal,
                                     .index = a->indices[at],
                                     .largest = a->largest,
                                     .publish = a->publish,
                                     .threads = a->threads};
    a->children[at] = test_fork(work, &a->workers[at]);
}

static uint64_t steps_of(struct arena *a, unsigned at)
{
    return __atomic_load_n(&a->journal->steps[a->indices[at]], __ATOMIC_ACQUIRE);
}

static void end(struct arena *a, unsigned at)
{
    CHECK_EQ(kill(a->children[at], SIGKILL), 0);
    test_join_killed(a->children[at], SIGKILL);
}

/* Waits until a process has made so many more steps, so that nobody waits for the dead. */
static void await_steps(struct arena *a, unsigned at, uint64_t more)
{
    uint64_t wanted = steps_of(a, at) + more;
    while (steps_of(a, at) < wanted)
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

struct verdict {
    unsigned sure, doubtful, extra;
};

/* Compares the heap with the journal. Nobody changes either now. Puts the blocks that the heap has
 * into found. */
static struct verdict judge(struct arena *a, struct blocks *found, alps_ptr_t table)
{
    struct verdict verdict = {0};
    struct blocks known = {0};
    *found = blocks_walk(a->heap);
    for (unsigned i = 0; i < CELLS; i++) {
        struct cell *cell = &a->journal->cells[i];
        if (cell->state == FULL || cell->state == LOOKING) {
            blocks_add(&known, cell->block);
            block_verify(a->heap, &cell->block);
            CHECK_EQ(alps_usable_size(a->heap, cell->block.ptr), cell->block.usable);
        } else if (cell->state == ALLOCATING && cell->block.ptr != ALPS_NULL) {
            /* The allocation had returned. */
            cell->block.usable = alps_usable_size(a->heap, cell->block.ptr);
            CHECK(cell->block.usable >= cell->block.size);
            blocks_add(&known, cell->block);
        } else if (cell->state == FREEING || cell->state == ALLOCATING) {
            verdict.doubtful++;
        }
    }
    blocks_append(&known, &a->own);
    if (table != ALPS_NULL)
        blocks_add(&known, (struct block){.ptr = table,
                                          .usable = alps_usable_size(a->heap, table),
                                          .generation = ALPS_PERMANENT});
    blocks_sort(&known);
    size_t k = 0;
    for (size_t i = 0; i < found->count; i++) {
        if (k < known.count && known.items[k].ptr == found->items[i].ptr) {
            CHECK_EQ(found->items[i].usable, known.items[k].usable);
            CHECK_EQ(found->items[i].generation, known.items[k].generation);
            k++;
        } else {
            verdict.extra++;
        }
    }
    if (k != known.count)
        printf("block %#llx of generation %llu is missing\n",
               (unsigned long long)known.items[k].ptr,
               (unsigned long long)known.items[k].generation);
    CHECK_EQ(k, known.count);
    verdict.sure = (unsigned)known.count;
    blocks_clear(&known);
    return verdict;
}

static void run(uint64_t size, uint64_t capacity, uint64_t largest, bool publish, unsigned threads,
                unsigned kills, unsigned steps)
{
    struct arena a = {.path = test_heap_path(),
                      .journal = blocks_shared(sizeof *a.journal),
                      .largest = largest,
                      .publish = publish,
                      .threads = threads};
    struct test_rng rng = test_rng(1);
    heap_make(a.path, size, capacity);
    alps_heap_t *permanent = heap_open_with(a.path, ALPS_OPEN_PERMANENT);
    alps_ptr_t table = ALPS_NULL;
    if (publish) {
        table = alps_calloc(permanent, CELLS, sizeof(alps_ptr_t), ALPS_ANY_NODE);
        CHECK(table != ALPS_NULL);
        CHECK_ERR(alps_root_set(permanent, "words", table), 0);
    }
    CHECK_ERR(alps_heap_close(permanent), 0);
    a.heap = heap_open(a.path);
    alps_gen_t own = alps_heap_generation(a.heap);
    for (unsigned i = 0; i < 100; i++) { /* the supervisor has blocks, too */
        size_t bytes = rng_size(&rng, 10000);
        alps_ptr_t p = alps_malloc(a.heap, bytes, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        blocks_add(&a.own, block_begin(a.heap, NULL, p, bytes, test_rng_next(&rng), own));
    }

    for (unsigned i = 0; i < WORKERS; i++)
        start(&a, i);
    alps_gen_t recovered[GENERATIONS];
    unsigned recovered_count = 0;
    for (unsigned i = 0; i < kills; i++) {
        unsigned victim = (unsigned)test_rng_below(&rng, WORKERS);
        await_steps(&a, victim, 1 + test_rng_below(&rng, steps));
        end(&a, victim);
        /* The others go on, whether or not somebody recovers the dead. */
        await_steps(&a, (victim + 1) % WORKERS, 10);
        if (rng_chance(&rng, 2)) {
            struct alps_recovery report = {.struct_size = sizeof report,
                                           .generations = recovered + recovered_count,
                                           .capacity = GENERATIONS - recovered_count};
            CHECK_ERR(alps_recover(a.heap, &report), 0);
            CHECK(report.live >= 2); /* us and the one just waited for; another may be opening */
            recovered_count += report.count;
        }
        if (rng_chance(&rng, 8))
            blocks_check_heap(a.heap);
        start(&a, victim);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        await_steps(&a, i, 10);
        end(&a, i);
    }
    struct alps_recovery report = {.struct_size = sizeof report};
    CHECK_ERR(alps_recover(a.heap, &report), 0);
    CHECK_EQ(report.live, 1);
    for (unsigned i = 0; i < recovered_count; i++) { /* each is one of ours */
        unsigned times = 0;
        for (unsigned j = 0; j < a.started; j++)
            times += a.journal->generations[j] == recovered[i];
        CHECK(times <= 1);
    }
    CHECK_EQ(blocks_stats(a.heap).instances, 1);
    CHECK_EQ(blocks_stats(a.heap).dead_instances, 0);
    blocks_check_heap(a.heap);

    struct blocks found;
    if (publish) { /* the words are the truth, and there is no doubt */
        const alps_ptr_t *words = alps_deref(a.heap, table);
        for (unsigned i = 0; i < CELLS; i++) {
            struct cell *cell = &a.journal->cells[i];
            if (cell->state == EMPTY)
                CHECK_EQ(words[i], ALPS_NULL);
            if (cell->state == FULL || cell->state == LOOKING ||
                (cell->state == ALLOCATING && cell->block.ptr != ALPS_NULL))
                CHECK_EQ(words[i], cell->block.ptr);
            /* In doubt: the word says which; judge() must find just that. */
            if ((cell->state == ALLOCATING && cell->block.ptr == ALPS_NULL) ||
                cell->state == FREEING) {
                set_ptr(cell, words[i]);
                put(cell, words[i] == ALPS_NULL ? EMPTY : ALLOCATING);
            }
        }
    }
    struct verdict verdict = judge(&a, &found, table);
    printf("%llu allocations, %llu frees, %llu refused, %u kills; %u blocks, %u in doubt, %u of "
           "them there\n",
           (unsigned long long)a.journal->allocated, (unsigned long long)a.journal->freed,
           (unsigned long long)a.journal->refused, kills + WORKERS, verdict.sure, verdict.doubtful,
           verdict.extra);
    CHECK_LE(verdict.extra, verdict.doubtful);
    CHECK_LE(verdict.doubtful, (kills + WORKERS) * threads);
    CHECK(!publish || verdict.doubtful == 0);

    /* bulk_free of each dead generation leaves exactly the others. */
    for (unsigned i = 0; i < a.started; i++) {
        int rc = alps_bulk_free(a.heap, a.journal->generations[i]);
        CHECK(rc == 0 || rc == -ENOENT);
        for (size_t j = found.count; j-- > 0;)
            if (found.items[j].generation == a.journal->generations[i])
                blocks_take(&found, j);
        if (i % 8 == 0 || i + 1 == a.started)
            blocks_expect(a.heap, &found);
    }
    for (size_t i = 0; i < a.own.count; i++)
        block_verify(a.heap, &a.own.items[i]);
    CHECK_EQ(found.count, a.own.count + (publish ? 1 : 0));
    heap_free_all(a.heap, &found);
    CHECK_ERR(alps_heap_close(a.heap), 0);
    /* Nothing is lost for good. */
    a.heap = heap_open(a.path);
    CHECK_EQ(blocks_stats(a.heap).span_bytes, 0);
    alps_ptr_t p = alps_malloc(a.heap, blocks_stats(a.heap).usable_bytes / 10 * 9, ALPS_ANY_NODE);
    CHECK(p != ALPS_NULL);
    CHECK_ERR(alps_free(a.heap, p), 0);
    CHECK_ERR(alps_heap_close(a.heap), 0);
    blocks_clear(&a.own);
    blocks_unshare(a.journal, sizeof *a.journal);
}

TEST(kill, small_blocks)
{
    run(64 * MIB, 64 * MIB, 2000, false, 1, blocks_scaled(150), 1500);
}

TEST(kill, blocks_of_all_sizes)
{
    run(64 * MIB, 512 * MIB, 2 * MIB, false, 1, blocks_scaled(100), 300);
}

TEST(kill, a_heap_that_is_full_and_grows)
{
    run(16 * MIB, 48 * MIB, 1 * MIB, false, 1, blocks_scaled(100), 300);
}

TEST(kill, published_small_blocks_are_never_in_doubt)
{
    run(64 * MIB, 64 * MIB, 2000, true, 1, blocks_scaled(150), 1500);
}

TEST(kill, published_blocks_of_all_sizes_are_never_in_doubt)
{
    run(64 * MIB, 512 * MIB, 2 * MIB, true, 1, blocks_scaled(100), 300);
}

TEST(kill, processes_with_threads)
{
    run(64 * MIB, 512 * MIB, 100 * KIB, false, 4, blocks_scaled(40), 1000);
}

TEST(kill, processes_with_threads_that_publish)
{
    run(64 * MIB, 512 * MIB, 100 * KIB, true, 4, blocks_scaled(40), 1000);
}
