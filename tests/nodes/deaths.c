/* Processes of several nodes work on one heap while nodes die; and a judge who compares what the
 * dead have left with a journal.
 *
 *   node_deaths prepare SEATS SEED   makes the journal, and in the heap the table
 *   node_deaths work FIRST COUNT     processes on so many seats, until they are told to end
 *   node_deaths await SEAT...        until each of these seats has gone on with its work
 *   node_deaths judge                recovers, compares, frees the generations of the dead
 *   node_deaths end                  tells all to end
 *
 * Idea: the journal lies in the shared memory behind the heap. It has a cell for each block;
 * whoever does something to a block takes its cell first. Cells of odd numbers have a place in the
 * heap's table, and their blocks come by alps_malloc_to and go by alps_free_from; so the place says
 * what became of a block in the hands of the dead. The others come by alps_malloc and go by
 * alps_free: what a process was told before it died is in its cell; of an alps_malloc that had not
 * returned there may be one block, and a block that was being freed is there or not.
 *
 *   state of a cell                 who may change it
 *   EMPTY, FULL                     anyone, by a CAS that names who takes it
 *   ALLOCATING, LOOKING, FREEING    the seat named; if it is dead, the judge
 *   CLEARING                        the judge, also one who comes after him
 *
 * The judge has everybody stand still while he compares, and go on while he frees in bulk. A seat
 * is dead if its generation is open no more. He may die as well: his successor starts anew, and
 * knows by the seats which generations he may find half freed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <alps/alps.h>

#include "harness/clock.h"
#include "harness/pattern.h"
#include "harness/random.h"

#define DEVICE "/dev/dax0.0"
#define JOURNAL_AT ((off_t)224 << 20) /* the heap ends before */
#define JOURNAL_MAGIC UINT64_C(0x73687461656473)
#define SEATS_MAX 64
#define CELLS 600
#define BLOCK_MAX 65536
#define PATIENCE_NS (100 * BH_NS_PER_S)
#define NAP_NS (200 * (long)BH_NS_PER_US)
#define STEPS_AWAITED 20

enum kind { EMPTY, FULL, ALLOCATING, LOOKING, FREEING, CLEARING };

struct cell {
    uint64_t state; /* kind | seat << 8 */
    alps_ptr_t ptr; /* from here: written by who has it in hand; ALPS_NULL while it is not known */
    uint64_t size;
    uint64_t filled; /* 0 after a death between allocation and filling */
    uint64_t owner, serial;
    alps_gen_t generation;
    uint64_t unused;
};

struct seat {
    alps_gen_t generation; /* of who works there, or is dead and not judged; 0: nobody */
    alps_gen_t ending;     /* being freed in bulk; 0: none */
    uint64_t doubts;       /* 1: died in alps_malloc, and may have a block that no cell has */
    uint64_t steps, still; /* still: the judge's wish that it has heard last */
    uint64_t serial;       /* of the next contents */
    char problem[208];
};

static struct journal {
    uint64_t magic, seed, seats;
    uint64_t still; /* not 0: stand still, and say that number */
    uint64_t wishes, ends;
    alps_ptr_t table;
    uint64_t unused;
    struct seat seat[SEATS_MAX];
    struct cell cell[CELLS];
} * journal;

static alps_heap_t *heap;
static alps_ptr_t *places;

static __attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static enum kind kind_of(uint64_t state)
{
    return (enum kind)(state & 255);
}

static bool take(struct cell *cell, enum kind from, enum kind to, uint64_t seat)
{
    uint64_t expected = from;
    return __atomic_compare_exchange_n(&cell->state, &expected, to | seat << 8, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* To be called by who has the cell in hand. */
static void empty(struct cell *cell)
{
    store(&cell->ptr, ALPS_NULL);
    store(&cell->state, EMPTY);
}

static bool has_place(uint64_t index)
{
    return index % 2 != 0;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
}

static void map_journal(void)
{
    const size_t unit = 2 << 20, length = (sizeof *journal + unit - 1) / unit * unit;
    const int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fail("%s: %s", DEVICE, strerror(errno));
    journal = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, JOURNAL_AT);
    if (journal == MAP_FAILED)
        fail("cannot map the journal: %s", strerror(errno));
    close(fd);
}

static void open_heap(unsigned flags)
{
    const struct alps_open_options options = {.struct_size = sizeof options, .flags = flags};
    if (alps_heap_open(DEVICE, &options, &heap) != 0)
        fail("cannot open the heap: %s", alps_error_detail());
    places = alps_deref(heap, journal->table);
}

static void prepare(uint64_t seats, uint64_t seed)
{
    if (seats > SEATS_MAX)
        fail("at most %d seats", SEATS_MAX);
    memset(journal, 0, sizeof *journal);
    open_heap(ALPS_OPEN_PERMANENT);
    journal->seats = seats;
    journal->seed = seed;
    journal->table = alps_calloc(heap, CELLS, sizeof *places, ALPS_ANY_NODE);
    if (journal->table == ALPS_NULL)
        fail("no room for the table: %s", alps_error_detail());
    store(&journal->magic, JOURNAL_MAGIC);
    if (alps_heap_close(heap) != 0)
        fail("cannot close the heap: %s", alps_error_detail());
}

/* ---- a worker ------------------------------------------------------------------------------- */

static struct seat *own;

static __attribute__((noreturn, format(printf, 1, 2))) void give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(own->problem, sizeof own->problem, format, arguments);
    va_end(arguments);
    fail("seat %td: %s", own - journal->seat, own->problem);
}

static void allocate(struct cell *cell, alps_ptr_t *place, uint64_t size)
{
    cell->filled = 0;
    cell->owner = (uint64_t)(own - journal->seat);
    cell->serial = own->serial++;
    store(&cell->generation, own->generation);
    alps_ptr_t ptr = place != NULL ? alps_malloc_to(heap, place, size, ALPS_ANY_NODE)
                                   : alps_malloc(heap, size, ALPS_ANY_NODE);
    if (ptr == ALPS_NULL)
        give_up("no block of %" PRIu64 " bytes: %s", size, alps_error_detail());
    store(&cell->ptr, ptr);
    cell->size = alps_usable_size(heap, ptr);
    if (cell->size < size)
        give_up("block 0x%" PRIx64 " has %" PRIu64 " bytes of %" PRIu64, ptr, cell->size, size);
    bh_pattern_fill(alps_deref(heap, ptr), cell->size, journal->seed, cell->owner, cell->serial);
    cell->filled = 1;
    store(&cell->state, FULL);
}

/* Where the contents are wrong; BH_PATTERN_OK: nowhere. */
static size_t wrong_byte(const struct cell *cell)
{
    return !cell->filled ? BH_PATTERN_OK
                         : bh_pattern_verify(alps_deref(heap, cell->ptr), cell->size, journal->seed,
                                             cell->owner, cell->serial);
}

static void look(struct cell *cell, alps_ptr_t *place, bool to_free)
{
    const size_t wrong = wrong_byte(cell);
    if (wrong != BH_PATTERN_OK)
        give_up("block 0x%" PRIx64 " of %" PRIu64 " bytes: byte %zu is wrong", cell->ptr,
                cell->size, wrong);
    if (!to_free) {
        store(&cell->state, FULL);
        return;
    }
    store(&cell->state, FREEING | (uint64_t)(own - journal->seat) << 8);
    if ((place != NULL ? alps_free_from(heap, place) : alps_free(heap, cell->ptr)) != 0)
        give_up("cannot free block 0x%" PRIx64 ": %s", cell->ptr, alps_error_detail());
    empty(cell);
}

static void work(uint64_t number)
{
    bh_rng_t rng;
    own = &journal->seat[number];
    if (own->generation != 0)
        fail("seat %" PRIu64 " is still to be judged", number);
    open_heap(0);
    bh_rng_seed(&rng, journal->seed ^ alps_heap_generation(heap), number);
    own->problem[0] = '\0';
    store(&own->generation, alps_heap_generation(heap));
    while (load(&journal->ends) == 0) {
        const uint64_t wish = load(&journal->still);
        if (wish != 0) {
            store(&own->still, wish);
            nap();
            continue;
        }
        const uint64_t index = bh_rng_below(&rng, CELLS);
        struct cell *cell = &journal->cell[index];
        alps_ptr_t *place = has_place(index) ? &places[index] : NULL;
        if (take(cell, EMPTY, ALLOCATING, number))
            allocate(cell, place, bh_rng_log_uniform(&rng, 16, BLOCK_MAX));
        else if (take(cell, FULL, LOOKING, number))
            look(cell, place, bh_rng_below(&rng, 2) == 0);
        store(&own->steps, own->steps + 1);
    }
    if (alps_heap_close(heap) != 0)
        give_up("cannot close the heap: %s", alps_error_detail());
}

static void work_all(uint64_t first, uint64_t count)
{
    int status;
    bool well = true;

    for (uint64_t i = 0; i < count; i++) {
        const pid_t child = fork();
        if (child < 0)
            fail("fork: %s", strerror(errno));
        if (child == 0) {
            work(first + i);
            exit(EXIT_SUCCESS);
        }
    }
    while (wait(&status) > 0)
        well &= status == 0;
    exit(well ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Without opening the heap, which would take in the dead. */
static void await_steps(char **seats)
{
    const uint64_t deadline_ns = bh_clock_ns() + PATIENCE_NS;
    uint64_t before[SEATS_MAX];

    for (uint64_t i = 0; i < SEATS_MAX; i++)
        before[i] = load(&journal->seat[i].steps);
    for (; *seats != NULL; seats++) {
        const uint64_t number = strtoull(*seats, NULL, 10);
        struct seat *seat = &journal->seat[number];
        while (load(&seat->steps) < before[number] + STEPS_AWAITED) {
            if (seat->problem[0] != '\0' || bh_clock_ns() > deadline_ns)
                fail("seat %" PRIu64 " does not go on: %s", number, seat->problem);
            nap();
        }
    }
}

/* ---- the judge ------------------------------------------------------------------------------ */

static struct alps_block found[2 * CELLS];
static size_t found_count;
static bool is_dead[SEATS_MAX];

static int note_open(const struct alps_generation *generation, void *unused)
{
    (void)unused;
    for (uint64_t i = 0; i < journal->seats && generation->open; i++)
        if (journal->seat[i].generation == generation->generation)
            is_dead[i] = false;
    return 0;
}

/* Who is dead is so for all of this judgement. */
static unsigned find_dead(void)
{
    unsigned count = 0;
    for (uint64_t i = 0; i < journal->seats; i++)
        is_dead[i] = load(&journal->seat[i].generation) != 0;
    if (alps_generation_walk(heap, note_open, NULL) != 0)
        fail("no generations: %s", alps_error_detail());
    for (uint64_t i = 0; i < journal->seats; i++) {
        if (journal->seat[i].problem[0] != '\0')
            fail("seat %" PRIu64 ": %s", i, journal->seat[i].problem);
        count += is_dead[i];
    }
    return count;
}

static void stand_still(void)
{
    const uint64_t deadline_ns = bh_clock_ns() + PATIENCE_NS;
    const uint64_t wish = __atomic_add_fetch(&journal->wishes, 1, __ATOMIC_SEQ_CST);

    store(&journal->still, wish);
    for (uint64_t i = 0; i < journal->seats; i++)
        while (load(&journal->seat[i].generation) != 0 && !is_dead[i] &&
               load(&journal->seat[i].still) != wish) {
            if (bh_clock_ns() > deadline_ns)
                fail("seat %" PRIu64 " does not stand still: %s", i, journal->seat[i].problem);
            nap();
        }
}

static void go_on(void)
{
    store(&journal->still, 0);
}

static bool is_ending(alps_gen_t generation)
{
    for (uint64_t i = 0; i < journal->seats; i++)
        if (generation != ALPS_PERMANENT && journal->seat[i].ending == generation)
            return true;
    return false;
}

/* The judge has the cell in hand; its block will be freed in bulk, or is another's. */
static void clear(uint64_t index, bool will_be_freed)
{
    struct cell *cell = &journal->cell[index];

    if (!will_be_freed) {
        store(&cell->state, FULL);
        return;
    }
    store(&places[index], ALPS_NULL);
    empty(cell);
}

/* A cell in the hands of the dead becomes full or empty, where that can be told; else it stays. */
static void settle(uint64_t index)
{
    struct cell *cell = &journal->cell[index];
    const enum kind kind = kind_of(cell->state);

    if (kind == EMPTY || kind == FULL)
        return;
    if (kind == CLEARING) {
        clear(index, is_ending(cell->generation));
        return;
    }
    const uint64_t seat = cell->state >> 8;
    if (!is_dead[seat])
        fail("cell %" PRIu64 " is in the hands of seat %" PRIu64 ", who stands still", index, seat);
    if (has_place(index)) {
        if (kind == LOOKING && places[index] != cell->ptr)
            fail("block 0x%" PRIx64 " is published as 0x%" PRIx64, cell->ptr, places[index]);
        cell->ptr = places[index];
    } else if (kind == FREEING) {
        return;
    } else if (cell->ptr == ALPS_NULL) {
        journal->seat[seat].doubts = 1;
    }
    if (kind == ALLOCATING)
        cell->filled = 0;
    if (cell->ptr != ALPS_NULL)
        cell->size = alps_usable_size(heap, cell->ptr);
    cell->state = cell->ptr == ALPS_NULL ? EMPTY : FULL;
}

static int note_block(const struct alps_block *block, void *unused)
{
    (void)unused;
    if (found_count == sizeof found / sizeof found[0])
        fail("more blocks than there are cells");
    found[found_count++] = *block;
    return 0;
}

static struct alps_block *find(alps_ptr_t ptr)
{
    for (size_t low = 0, high = found_count; low < high;) {
        const size_t middle = (low + high) / 2;
        if (found[middle].ptr == ptr)
            return found[middle].size == 0 ? NULL : &found[middle];
        if (found[middle].ptr < ptr)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The heap has this block; nobody else may have it. */
static void claim(alps_ptr_t ptr, uint64_t size, alps_gen_t generation)
{
    struct alps_block *block = find(ptr);
    if (block == NULL)
        fail("block 0x%" PRIx64 " of %" PRIu64 " bytes and generation %" PRIu64 " is gone", ptr,
             size, generation);
    if (block->size != size || block->generation != generation)
        fail("block 0x%" PRIx64 " has %zu bytes and generation %" PRIu64 ", not %" PRIu64
             " and %" PRIu64,
             ptr, block->size, block->generation, size, generation);
    block->size = 0;
}

/* Whether a block that no cell has may be there. At most one for each that died in alps_malloc. */
static bool may_be(const struct alps_block *block, uint64_t *doubts)
{
    for (uint64_t i = 0; i < journal->seats; i++)
        if (doubts[i] > 0 && journal->seat[i].generation == block->generation) {
            doubts[i]--;
            return true;
        }
    return is_ending(block->generation);
}

/* While all stand still: the heap has the blocks that the journal has, with their contents, and no
 * others. Returns how many there are of the dead. */
static unsigned compare(void)
{
    struct alps_check report = {.struct_size = sizeof report};
    uint64_t doubts[SEATS_MAX];
    unsigned count = 0;

    if (alps_heap_check(heap, &report) != 0)
        fail("heap check: %" PRIu64 " problems, the first: %s", report.problems, report.first);
    found_count = 0;
    if (alps_heap_walk(heap, note_block, NULL) != 0)
        fail("walk: %s", alps_error_detail());
    claim(journal->table, alps_usable_size(heap, journal->table), ALPS_PERMANENT);
    for (uint64_t i = 0; i < CELLS; i++) {
        struct cell *cell = &journal->cell[i];
        settle(i);
        if (has_place(i) && places[i] != (cell->state == FULL ? cell->ptr : ALPS_NULL))
            fail("place %" PRIu64 " holds 0x%" PRIx64 ", the journal 0x%" PRIx64
                 " in state %" PRIu64,
                 i, places[i], cell->ptr, cell->state);
        if (cell->state != FULL)
            continue;
        claim(cell->ptr, cell->size, cell->generation);
        const size_t wrong = wrong_byte(cell);
        if (wrong != BH_PATTERN_OK)
            fail("block 0x%" PRIx64 " of %" PRIu64 " bytes: byte %zu is wrong", cell->ptr,
                 cell->size, wrong);
        for (uint64_t s = 0; s < journal->seats; s++)
            count += is_dead[s] && cell->generation == journal->seat[s].generation;
    }
    for (uint64_t i = 0; i < CELLS; i++) { /* being freed by the dead */
        struct cell *cell = &journal->cell[i];
        if (kind_of(cell->state) != FREEING)
            continue;
        const struct alps_block *block = find(cell->ptr);
        if (block == NULL || block->generation != cell->generation) {
            empty(cell);
            continue;
        }
        claim(cell->ptr, cell->size, cell->generation);
        cell->state = FULL;
    }
    for (uint64_t i = 0; i < journal->seats; i++)
        doubts[i] = journal->seat[i].doubts;
    for (size_t i = 0; i < found_count; i++)
        if (found[i].size != 0 && !may_be(&found[i], doubts))
            fail("block 0x%" PRIx64 " of %zu bytes and generation %" PRIu64 " belongs to nobody",
                 found[i].ptr, found[i].size, found[i].generation);
    return count;
}

/* Takes all blocks of a dead generation out of the hands of the others, while they work. */
static void sweep(alps_gen_t generation)
{
    const uint64_t deadline_ns = bh_clock_ns() + PATIENCE_NS;

    for (uint64_t i = 0; i < CELLS; i++) {
        struct cell *cell = &journal->cell[i];
        while (load(&cell->generation) == generation && kind_of(load(&cell->state)) != EMPTY) {
            if (!take(cell, FULL, CLEARING, 0)) {
                if (bh_clock_ns() > deadline_ns)
                    fail("nobody lets go of cell %" PRIu64, i);
                nap();
                continue;
            }
            clear(i, cell->generation == generation);
        }
    }
}

static void free_generation(struct seat *seat)
{
    store(&seat->ending, seat->generation);
    sweep(seat->generation);
    for (int time = 0; time < 2; time++) {
        const int error = alps_bulk_free(heap, seat->generation);
        if (error != 0 && error != -ENOENT)
            fail("cannot free generation %" PRIu64 ": %s", seat->generation, alps_error_detail());
    }
    store(&seat->generation, 0);
}

static void judge(void)
{
    open_heap(ALPS_OPEN_PERMANENT);
    if (alps_recover(heap, NULL) != 0)
        fail("cannot recover: %s", alps_error_detail());
    const unsigned dead = find_dead();
    stand_still();
    const unsigned blocks = compare();
    go_on();
    for (uint64_t i = 0; i < journal->seats; i++)
        if (is_dead[i])
            free_generation(&journal->seat[i]);
    stand_still();
    for (uint64_t i = 0; i < journal->seats; i++)
        if (journal->seat[i].generation == 0)
            journal->seat[i].ending = journal->seat[i].doubts = 0;
    compare();
    go_on();
    printf("%u dead seats, %u blocks of theirs\n", dead, blocks);
    if (alps_heap_close(heap) != 0)
        fail("cannot close the heap: %s", alps_error_detail());
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    const uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    const uint64_t second = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;

    map_journal();
    if (strcmp(command, "prepare") == 0)
        prepare(first, second);
    else if (journal->magic != JOURNAL_MAGIC)
        fail("there is no journal");
    else if (strcmp(command, "work") == 0)
        work_all(first, second);
    else if (strcmp(command, "await") == 0)
        await_steps(argv + 2);
    else if (strcmp(command, "judge") == 0)
        judge();
    else if (strcmp(command, "end") == 0)
        store(&journal->ends, 1);
    else
        fail("unknown command '%s'", command);
    return EXIT_SUCCESS;
}
