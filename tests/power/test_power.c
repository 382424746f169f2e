/* Durable heaps and power failures.
 *
 * A process works on a durable heap by a script, and tells in a journal outside of the heap what it
 * is about to do and what it has done. At its n-th access to shared metadata (flushes and fences
 * count) the power fails: it is killed, and what the emulator's image says was durable, with none,
 * some or all of the other lines written back by chance, is what is found after the next boot. Then
 * the heap must be sound; what was committed must be there with its contents, what was freed and
 * committed must be gone, what was not committed must go with a bulk free, and nothing else may be
 * there. CTest sets the environment: virtual, cxl-slow. ALPS_POWER_RUNS: how many n are tried. */
#include <alps/alps.h>
#include <emu/emu.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "test.h"

#define ENTRIES_MAX 4000
#define PLACES 32
#define ROOT "pointers; the name is longer than what one line of it holds"

enum fate {
    LOOSE,   /* of a generation that is not committed */
    PENDING, /* being committed: all of these are there, or none is */
    MUST,    /* committed */
    MAY,     /* being freed, or allocated since the last commit */
    GONE
};

struct journal {
    unsigned count;
    struct entry {
        alps_ptr_t p;
        size_t size;
        enum fate fate;
    } entries[ENTRIES_MAX];
    alps_ptr_t places; /* a block of pointers, also a root; 0: not yet */
    int places_are_committed, root_is_set;
    struct place {
        enum { EMPTY, CHANGING, FULL } state;
        alps_ptr_t block; /* that it has, or had */
    } place[PLACES];
    int permanent_at_once; /* what is allocated may stay */
    int finished;
    uint64_t accesses;
};

static struct journal *journal;
static const char *heap_path, *image_path, *before_path, *found_path;

/* ---- the script ---- */

/* Of a large block only its beginning has contents: what is at stake is the tables. */
static size_t written(size_t size)
{
    return size < 200 ? size : 200;
}

static void add_block(alps_heap_t *heap, size_t size, enum fate fate)
{
    struct entry *e = &journal->entries[journal->count];
    const alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
    CHECK_NE(p, ALPS_NULL);
    CHECK_LT(journal->count, ENTRIES_MAX - 1);
    *e = (struct entry){p, size, fate};
    blocks_fill(alps_deref(heap, p), written(size), p);
    CHECK_ERR(alps_persist(heap, alps_deref(heap, p), written(size)), 0);
    journal->count++;
}

static void add_blocks(alps_heap_t *heap, unsigned count, struct test_rng *rng, enum fate fate)
{
    static const size_t most[] = {64, 64, 200, 200, 2000, 20000, 100000};
    for (unsigned i = 0; i < count; i++)
        add_block(heap, 1 + test_rng_below(rng, most[test_rng_below(rng, 7)]), fate);
}

/* Frees blocks of a fate, one in so many. */
static void free_blocks(alps_heap_t *heap, enum fate fate, unsigned one_in, struct test_rng *rng)
{
    for (unsigned i = 0; i < journal->count; i++) {
        struct entry *e = &journal->entries[i];
        if (e->fate != fate || test_rng_below(rng, one_in) != 0)
            continue;
        e->fate = MAY;
        CHECK_ERR(alps_free(heap, e->p), 0);
        e->size = 0; /* freed: gone with the next commit */
    }
}

static void commit_generation(alps_heap_t *heap, alps_gen_t generation)
{
    for (unsigned i = 0; i < journal->count; i++)
        if (journal->entries[i].fate == LOOSE)
            journal->entries[i].fate = PENDING;
    CHECK_ERR(alps_commit(heap, generation), 0);
    for (unsigned i = 0; i < journal->count; i++) {
        struct entry *e = &journal->entries[i];
        if (e->fate == PENDING)
            e->fate = MUST;
        else if (e->fate == MAY)
            e->fate = e->size == 0 ? GONE : MUST;
    }
}

static void commit(alps_heap_t *heap)
{
    commit_generation(heap, alps_heap_generation(heap));
}

static alps_heap_t *open_heap(unsigned flags)
{
    const struct alps_open_options o = {.struct_size = sizeof o, .flags = flags};
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open(heap_path, &o, &heap), 0);
    return heap;
}

static alps_ptr_t *place_of(alps_heap_t *heap, unsigned i)
{
    return (alps_ptr_t *)alps_deref(heap, journal->places) + i;
}

static void fill_places(alps_heap_t *heap, unsigned from, unsigned to, size_t size)
{
    for (unsigned i = from; i < to; i++) {
        struct place *p = &journal->place[i];
        p->state = CHANGING;
        p->block = alps_malloc_to(heap, place_of(heap, i), size, ALPS_ANY_NODE);
        CHECK_NE(p->block, ALPS_NULL);
        p->state = FULL;
    }
}

static void empty_places(alps_heap_t *heap, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        journal->place[i].state = CHANGING;
        CHECK_ERR(alps_free_from(heap, place_of(heap, i)), 0);
        journal->place[i].state = EMPTY;
    }
}

static void drop_loose(void)
{
    for (unsigned i = 0; i < journal->count; i++)
        if (journal->entries[i].fate == LOOSE)
            journal->entries[i].fate = GONE;
}

static void script(void)
{
    struct test_rng rng = test_rng(7);

    /* Committed, then some of it freed, and more allocated. */
    alps_heap_t *heap = open_heap(0);
    add_blocks(heap, 120, &rng, LOOSE);
    const alps_ptr_t places = alps_calloc(heap, PLACES, sizeof(alps_ptr_t), ALPS_ANY_NODE);
    CHECK_ERR(alps_persist(heap, alps_deref(heap, places), PLACES * sizeof(alps_ptr_t)), 0);
    journal->places = places;
    commit(heap);
    journal->places_are_committed = 1;
    CHECK_ERR(alps_root_set(heap, ROOT, places), 0);
    journal->root_is_set = 1;
    journal->permanent_at_once = 1;
    free_blocks(heap, MUST, 4, &rng);
    commit(heap);
    add_blocks(heap, 60, &rng, MAY);
    commit(heap);
    journal->permanent_at_once = 0;
    CHECK_ERR(alps_heap_close(heap), 0);

    /* Not committed, with frees of what is; what one call does whole. */
    heap = open_heap(0);
    const alps_gen_t loose = alps_heap_generation(heap);
    add_blocks(heap, 120, &rng, LOOSE);
    free_blocks(heap, MUST, 4, &rng);
    free_blocks(heap, LOOSE, 4, &rng);
    fill_places(heap, 0, 12, 100);
    fill_places(heap, 12, 16, 500000);
    empty_places(heap, 4, 14);
    fill_places(heap, 6, 9, 30);
    add_blocks(heap, 60, &rng, LOOSE);
    empty_places(heap, 0, 4);
    empty_places(heap, 6, 9);
    empty_places(heap, 14, 16);
    CHECK_ERR(alps_heap_close(heap), 0);

    /* Permanent, in the room that a bulk free left. */
    heap = open_heap(ALPS_OPEN_PERMANENT);
    journal->permanent_at_once = 1;
    CHECK_ERR(alps_bulk_free(heap, loose), 0);
    drop_loose();
    add_blocks(heap, 150, &rng, MAY);
    commit(heap);
    free_blocks(heap, MUST, 3, &rng);
    commit(heap);
    add_blocks(heap, 50, &rng, MAY);
    commit(heap);
    journal->permanent_at_once = 0;
    CHECK_ERR(alps_heap_close(heap), 0);

    /* A generation that shares slabs with all that, committed by the next one. */
    heap = open_heap(0);
    const alps_gen_t late = alps_heap_generation(heap);
    add_blocks(heap, 100, &rng, LOOSE);
    free_blocks(heap, LOOSE, 5, &rng);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = open_heap(0);
    commit_generation(heap, late);
    add_blocks(heap, 30, &rng, LOOSE);
    free_blocks(heap, MUST, 10, &rng);
    journal->root_is_set = 0; /* from the call on it may be gone */
    CHECK_ERR(alps_root_set(heap, ROOT, ALPS_NULL), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Frees in slabs that nobody has are durable with the commit of who freed. */
static void frees_in_slabs_of_nobody(void)
{
    struct test_rng rng = test_rng(8);
    alps_heap_t *heap = open_heap(0);
    add_blocks(heap, 200, &rng, LOOSE);
    commit(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = open_heap(ALPS_OPEN_PERMANENT);
    free_blocks(heap, MUST, 2, &rng);
    commit(heap);
}

static void (*the_script)(void) = script;

static void run_script(void *n)
{
    struct emu_counts c;
    setenv("EMU_POWER", image_path, 1);
    setenv("ALPS_BOOT_ID", "before the failure", 1);
    CHECK_ERR(emu_kill_at(*(uint64_t *)n), 0);
    the_script();
    emu_kill_at(0);
    emu_count(&c);
    journal->accesses = c.fences;
    for (unsigned i = 0; i < EMU_ACCESSES; i++)
        journal->accesses += c.accesses[i];
    journal->finished = 1;
    kill(getpid(), SIGKILL); /* the end is as good a moment as any */
}

/* ---- after the next boot ---- */

struct found {
    unsigned unknown;
    unsigned char there[ENTRIES_MAX];
    bool places;
};

static struct entry *entry_of(alps_ptr_t p)
{
    for (unsigned i = journal->count; i-- > 0;) /* the youngest at that address */
        if (journal->entries[i].p == p)
            return &journal->entries[i];
    return NULL;
}

static int find_block(const struct alps_block *block, void *context)
{
    struct found *found = context;
    const struct entry *e = entry_of(block->ptr);
    if (block->ptr == journal->places && journal->places != ALPS_NULL) {
        found->places = true;
        return 0;
    }
    if (e == NULL)
        found->unknown++;
    else
        found->there[e - journal->entries] = 1;
    return 0;
}

static int is_at(const struct alps_block *block, void *p)
{
    return block->ptr == *(alps_ptr_t *)p;
}

/* What one call does whole is done or not. */
static void check_places(alps_heap_t *heap)
{
    for (unsigned i = 0; i < PLACES && journal->places_are_committed; i++) {
        const struct place *p = &journal->place[i];
        alps_ptr_t now = *place_of(heap, i);
        if (p->state == EMPTY)
            CHECK_EQ(now, ALPS_NULL);
        if (p->state == FULL)
            CHECK_EQ(now, p->block);
        if (now != ALPS_NULL)
            CHECK_EQ(alps_heap_walk(heap, is_at, &now), 1);
    }
}

struct generations {
    unsigned count;
    alps_gen_t numbers[64];
};

static int note_loose(const struct alps_generation *g, void *context)
{
    struct generations *all = context;
    CHECK_EQ(g->open && g->generation != all->numbers[0], 0);
    if (!g->open && !g->committed)
        all->numbers[++all->count] = g->generation;
    return 0;
}

static void check_found(struct found *found, alps_heap_t *heap)
{
    unsigned pending = 0, pending_there = 0;
    for (unsigned i = 0; i < journal->count; i++) {
        const struct entry *e = &journal->entries[i];
        const bool there = found->there[i] != 0;
        if (entry_of(e->p) != e)
            continue; /* its place was used again */
        if (e->fate == GONE && there && journal->permanent_at_once) {
            found->unknown++; /* allocated again, and not yet told */
            continue;
        }
        if ((e->fate == MUST && !there) || ((e->fate == GONE || e->fate == LOOSE) && there))
            test_fail(__FILE__, __LINE__, "block %u of %u, %llu (%zu bytes), of fate %d: %s", i,
                      journal->count, (unsigned long long)e->p, e->size, (int)e->fate,
                      there ? "is there" : "is not there");
        pending += e->fate == PENDING;
        pending_there += e->fate == PENDING && there;
        if (there && e->size != 0) {
            CHECK_LE(e->size, alps_usable_size(heap, e->p));
            CHECK_EQ(blocks_differ(alps_deref(heap, e->p), written(e->size), e->p),
                     written(e->size));
        }
    }
    CHECK(pending_there == 0 || pending_there == pending);
    CHECK_LE(found->unknown, journal->permanent_at_once ? 1 : 0);
    if (journal->places_are_committed)
        CHECK(found->places);
}

static void check_heap(void *unused)
{
    (void)unused;
    static struct found found;
    struct alps_check report = {.struct_size = sizeof report};
    alps_heap_t *heap;
    emu_stop();
    unsetenv("EMU_POWER");
    setenv("ALPS_BOOT_ID", "after it", 1);
    CHECK_ERR(alps_heap_open(found_path, NULL, &heap), 0);
    if (alps_heap_check(heap, &report) != 0)
        test_fail(__FILE__, __LINE__, "%s", report.first);
    check_places(heap);
    const alps_ptr_t root = alps_root_get(heap, ROOT);
    if (journal->root_is_set)
        CHECK_EQ(root, journal->places);
    struct generations loose = {.numbers = {alps_heap_generation(heap)}};
    CHECK_ERR(alps_generation_walk(heap, note_loose, &loose), 0);
    for (unsigned i = 1; i <= loose.count; i++)
        CHECK_ERR(alps_bulk_free(heap, loose.numbers[i]), 0);
    CHECK_ERR(alps_heap_walk(heap, find_block, &found), 0);
    check_found(&found, heap);
    if (alps_heap_check(heap, &report) != 0)
        test_fail(__FILE__, __LINE__, "%s", report.first);

    /* And it goes on. */
    const uint64_t live = blocks_stats(heap).live_blocks;
    for (size_t size = 16; size < 600000; size *= 3)
        for (unsigned i = 0; i < 20 && alps_malloc(heap, size, ALPS_ANY_NODE) != ALPS_NULL; i++)
            continue;
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    const alps_gen_t mine = alps_heap_generation(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_open(found_path, NULL, &heap), 0);
    const int rc = alps_bulk_free(heap, mine);
    CHECK(rc == 0 || rc == -ENOENT);
    CHECK_EQ(blocks_stats(heap).live_blocks, live);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* ---- runs ---- */

static void copy_file(const char *from, const char *to)
{
    static char buffer[1 << 20];
    const int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n;
    CHECK(in >= 0 && out >= 0);
    while ((n = read(in, buffer, sizeof buffer)) > 0)
        CHECK_EQ(write(out, buffer, (size_t)n), n);
    CHECK_EQ(n, 0);
    close(in);
    close(out);
}

static void fail_at(uint64_t n, uint64_t seed)
{
    static const unsigned percents[] = {0, 50, 100};
    memset(journal, 0, sizeof *journal);
    copy_file(before_path, heap_path);
    unlink(image_path);
    test_join_killed(test_fork(run_script, &n), SIGKILL);
    CHECK_ERR(emu_power_cut(image_path), 0);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_ERR(
            emu_power_restore(image_path, before_path, heap_path, found_path, percents[i], seed),
            0);
        const pid_t child = test_fork(check_heap, NULL);
        int status;
        CHECK_EQ(waitpid(child, &status, 0), child);
        if (status != 0)
            test_fail(__FILE__, __LINE__,
                      "after a failure at access %llu, with %u %% of the other lines: status %x",
                      (unsigned long long)n, percents[i], (unsigned)status);
    }
}

static void set_up(void)
{
    journal =
        mmap(NULL, sizeof *journal, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(journal != MAP_FAILED);
    heap_path = test_heap_path();
    image_path = test_heap_path();
    before_path = test_heap_path();
    found_path = test_heap_path();
    setenv("ALPS_HOST_ID", "one and the same", 1);
    struct alps_create_options options = blocks_options(32 * MIB, 0);
    options.flags = ALPS_CREATE_DURABLE;
    options.max_instances = 64;
    CHECK_ERR(alps_heap_create(before_path, &options), 0);
}

TEST(power, a_failure_at_the_end_leaves_what_was_committed)
{
    set_up();
    fail_at(0, 1);
    CHECK_EQ(journal->finished, 1);
}

TEST(power, a_failure_at_the_end_leaves_what_was_freed)
{
    set_up();
    the_script = frees_in_slabs_of_nobody;
    fail_at(0, 1);
    CHECK_EQ(journal->finished, 1);
}

TEST(power, only_durable_heaps_are_made_durable)
{
    char near[8];
    alps_heap_t *heap;
    struct alps_stats stats = {.struct_size = sizeof stats};
    struct alps_create_options options = blocks_options(16 * MIB, 0);
    options.flags = ALPS_CREATE_SHARED << 1;
    CHECK_ERR(alps_heap_create(test_heap_path(), &options), -EINVAL);
    for (unsigned durable = 0; durable < 2; durable++) {
        const char *path = test_heap_path();
        struct emu_counts before, after;
        options.flags = durable ? ALPS_CREATE_DURABLE : 0;
        CHECK_ERR(alps_heap_create(path, &options), 0);
        emu_count(&before);
        CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
        CHECK_ERR(alps_heap_stats(heap, &stats), 0);
        CHECK_EQ(stats.durable, durable);
        const alps_ptr_t p = alps_malloc(heap, 1000, ALPS_ANY_NODE);
        CHECK_ERR(alps_persist(heap, alps_deref(heap, p), 1000), 0);
        CHECK_ERR(alps_persist(heap, alps_deref(heap, p), 0), 0);
        CHECK_ERR(alps_persist(heap, alps_deref(heap, p), SIZE_MAX), -EINVAL);
        CHECK_ERR(alps_persist(heap, near, sizeof near), -EINVAL);
        CHECK_ERR(alps_commit(heap, alps_heap_generation(heap)), 0);
        emu_count(&after);
        CHECK_EQ(after.accesses[EMU_FLUSH] > before.accesses[EMU_FLUSH], durable);
        CHECK_EQ(after.fences > before.fences, durable);
        /* Nothing of it on the fast path. */
        CHECK_ERR(alps_free(heap, alps_malloc(heap, 64, ALPS_ANY_NODE)), 0);
        emu_count(&before);
        for (int i = 0; i < 100; i++)
            CHECK_ERR(alps_free(heap, alps_malloc(heap, 64, ALPS_ANY_NODE)), 0);
        emu_count(&after);
        CHECK_EQ(after.accesses[EMU_FLUSH], before.accesses[EMU_FLUSH]);
        CHECK_EQ(after.fences, before.fences);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_ERR(alps_heap_format(path), 0);
        CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
        CHECK_ERR(alps_heap_stats(heap, &stats), 0);
        CHECK_EQ(stats.durable, durable);
        CHECK_ERR(alps_heap_close(heap), 0);
    }
}

/* On a file system that is no memory, the files are synced. */
TEST(power, plain_files_can_be_durable)
{
    char path[64] = "/tmp/alps-test-power.XXXXXX";
    const int fd = mkstemp(path);
    CHECK_LE(0, fd);
    close(fd);
    unlink(path);
    alps_heap_t *heap;
    struct alps_create_options options = blocks_options(16 * MIB, 0);
    options.flags = ALPS_CREATE_DURABLE;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
    const alps_ptr_t p = alps_malloc(heap, 1000, ALPS_ANY_NODE);
    CHECK_ERR(alps_persist(heap, alps_deref(heap, p), 1000), 0);
    CHECK_ERR(alps_root_set(heap, "p", p), 0);
    CHECK_ERR(alps_commit(heap, alps_heap_generation(heap)), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_destroy(path), 0);
}

/* Several who open a heap for the first time after a boot: one of them makes it whole. */
static void open_after_boot(void *path)
{
    alps_heap_t *heap;
    emu_stop();
    setenv("ALPS_BOOT_ID", "another boot", 1);
    for (int i = 0; i < 10; i++) {
        CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
        CHECK_NE(alps_malloc(heap, 100, ALPS_ANY_NODE), ALPS_NULL);
        CHECK_ERR(alps_heap_close(heap), 0);
    }
}

TEST(power, many_may_open_a_heap_after_a_boot)
{
    pid_t children[6];
    set_up();
    for (int i = 0; i < 6; i++)
        children[i] = test_fork(open_after_boot, (void *)(uintptr_t)before_path);
    for (int i = 0; i < 6; i++)
        test_join(children[i]);
    alps_heap_t *heap;
    setenv("ALPS_BOOT_ID", "another boot", 1);
    CHECK_ERR(alps_heap_open(before_path, NULL, &heap), 0);
    CHECK_EQ(blocks_stats(heap).live_blocks, 60);
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST_LIMITED(power, a_failure_at_any_access_leaves_what_was_committed, 3000)
{
    const char *wanted = getenv("ALPS_POWER_RUNS");
    const unsigned runs = wanted != NULL ? (unsigned)atoi(wanted) : 60;
    struct test_rng rng = test_rng(1);
    set_up();
    fail_at(0, 1);
    const uint64_t accesses = journal->accesses;
    unsigned finished = 0;
    for (unsigned i = 0; i < runs; i++) {
        fail_at(1 + test_rng_below(&rng, accesses), test_rng_next(&rng));
        finished += journal->finished != 0;
    }
    printf("%u failures at random ones of %llu accesses, %u after the last\n", runs,
           (unsigned long long)accesses, finished);
    CHECK_LT(finished, runs / 4 + 1);
}

/* ---- several processes ---- */

#define WORKERS 3

static struct journal *journals[WORKERS];

/* Opens, allocates, commits, frees, again and again, until the power fails. */
static void work(void *number)
{
    const unsigned w = *(const unsigned *)number;
    struct test_rng rng = test_rng(100 + w);
    journal = journals[w];
    setenv("EMU_POWER", image_path, 1);
    setenv("ALPS_BOOT_ID", "before the failure", 1);
    while (journal->count < ENTRIES_MAX - 100) {
        alps_heap_t *heap = open_heap(0);
        for (unsigned i = 0; i < 3; i++) {
            add_blocks(heap, 10, &rng, LOOSE);
            commit(heap);
            free_blocks(heap, MUST, 3, &rng);
            commit(heap);
            if (test_rng_below(&rng, 3) == 0)
                break;
        }
        CHECK_ERR(alps_heap_close(heap), 0);
    }
    for (;;)
        pause();
}

/* Whether an entry of some journal may explain a block. */
static bool is_explained(alps_ptr_t p)
{
    for (unsigned w = 0; w < WORKERS; w++)
        for (unsigned i = 0; i < journals[w]->count; i++)
            if (journals[w]->entries[i].p == p && journals[w]->entries[i].fate != GONE)
                return true;
    return false;
}

struct all_found {
    unsigned count, unknown;
    alps_ptr_t there[WORKERS * ENTRIES_MAX];
};

static int note_block(const struct alps_block *block, void *context)
{
    struct all_found *found = context;
    found->there[found->count++] = block->ptr;
    found->unknown += !is_explained(block->ptr);
    return 0;
}

static bool has(const struct all_found *found, alps_ptr_t p)
{
    for (unsigned i = 0; i < found->count; i++)
        if (found->there[i] == p)
            return true;
    return false;
}

static void check_work(void *unused)
{
    (void)unused;
    static struct all_found found;
    struct alps_check report = {.struct_size = sizeof report};
    alps_heap_t *heap;
    emu_stop();
    unsetenv("EMU_POWER");
    setenv("ALPS_BOOT_ID", "after it", 1);
    CHECK_ERR(alps_heap_open(found_path, NULL, &heap), 0);
    if (alps_heap_check(heap, &report) != 0)
        test_fail(__FILE__, __LINE__, "%s", report.first);
    struct generations loose = {.numbers = {alps_heap_generation(heap)}};
    CHECK_ERR(alps_generation_walk(heap, note_loose, &loose), 0);
    for (unsigned i = 1; i <= loose.count; i++)
        CHECK_ERR(alps_bulk_free(heap, loose.numbers[i]), 0);
    CHECK_ERR(alps_heap_walk(heap, note_block, &found), 0);
    for (unsigned w = 0; w < WORKERS; w++)
        for (unsigned i = 0; i < journals[w]->count; i++) {
            const struct entry *e = &journals[w]->entries[i];
            if (e->fate != MUST)
                continue;
            if (!has(&found, e->p))
                test_fail(__FILE__, __LINE__, "block %u of worker %u, %llu, is not there", i, w,
                          (unsigned long long)e->p);
            CHECK_EQ(blocks_differ(alps_deref(heap, e->p), written(e->size), e->p),
                     written(e->size));
        }
    CHECK_LE(found.unknown, WORKERS); /* allocated, and not yet told */
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST_LIMITED(power, processes_that_fail_together_leave_what_they_committed, 120)
{
    static const unsigned numbers[WORKERS] = {0, 1, 2}, percents[] = {0, 50, 100};
    struct test_rng rng = test_rng(1);
    set_up();
    for (unsigned w = 0; w < WORKERS; w++) {
        journals[w] =
            mmap(NULL, sizeof *journal, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CHECK(journals[w] != MAP_FAILED);
    }
    for (unsigned run = 0; run < 20; run++) {
        pid_t children[WORKERS];
        copy_file(before_path, heap_path);
        unlink(image_path);
        for (unsigned w = 0; w < WORKERS; w++) {
            memset(journals[w], 0, sizeof *journals[w]);
            children[w] = test_fork(work, (void *)(uintptr_t)&numbers[w]);
        }
        while (access(image_path, F_OK) != 0)
            usleep(1000);
        usleep((useconds_t)(2000 + test_rng_below(&rng, 30000)));
        CHECK_ERR(emu_power_cut(image_path), 0);
        for (unsigned w = 0; w < WORKERS; w++)
            kill(children[w], SIGKILL);
        for (unsigned w = 0; w < WORKERS; w++)
            test_join_killed(children[w], SIGKILL);
        for (unsigned i = 0; i < 3; i++) {
            CHECK_ERR(emu_power_restore(image_path, before_path, heap_path, found_path, percents[i],
                                        test_rng_next(&rng)),
                      0);
            test_join(test_fork(check_work, NULL));
        }
    }
}

/* The image: what was flushed and fenced, and nothing else. */
TEST(power, the_image_has_what_was_flushed_and_fenced)
{
    const char *now = test_heap_path(), *was = test_heap_path(), *result = test_heap_path();
    const char *image = test_heap_path();
    char *p, found[4096];
    const int fd = open(now, O_RDWR | O_CREAT, 0600);
    CHECK_EQ(ftruncate(fd, 4096), 0);
    copy_file(now, was);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK_ERR(emu_power_track(p, 4095, image), -EINVAL);
    CHECK_ERR(emu_add(p, 4096, 0), 0);
    CHECK_ERR(emu_power_track(p, 4096, image), 0);
    strcpy(p, "fenced");
    emu_flush(p, 8);
    emu_fence();
    strcpy(p, "changed");
    strcpy(p + 64, "fenced, too");
    emu_flush(p + 64, 8);
    emu_fence();
    strcpy(p + 128, "not fenced");
    emu_flush(p + 128, 8);
    strcpy(p + 192, "not flushed");
    CHECK_ERR(emu_power_cut(image), 0);
    for (unsigned percent = 0; percent <= 100; percent += 100) {
        CHECK_ERR(emu_power_restore(image, was, now, result, percent, 1), 0);
        FILE *file = fopen(result, "r");
        CHECK_EQ(fread(found, 1, sizeof found, file), sizeof found);
        fclose(file);
        CHECK_STR(found, percent == 0 ? "fenced" : "changed");
        CHECK_STR(found + 64, "fenced, too");
        CHECK_STR(found + 128, percent == 0 ? "" : "not fenced");
        CHECK_STR(found + 192, percent == 0 ? "" : "not flushed");
    }
    CHECK_ERR(emu_power_track(p, 2048, image), -EINVAL);
    CHECK_ERR(emu_power_cut("/nowhere/at/all"), -ENOENT);
    CHECK_ERR(emu_power_restore(image, "/nowhere/at/all", now, result, 0, 1), -ENOENT);
    CHECK_ERR(emu_power_cut(was), -EINVAL);
}
