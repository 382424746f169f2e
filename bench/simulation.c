#include "simulation.h"

#include <alps/hooks.h>
#include <emu/emu.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "common.h"

#define LINE 64
#define STACK ((size_t)256 << 10)
#define AHEAD_NS 50u /* that a node may be whose processor's cache has all that it reads */

const char *const sim_region_names[SIM_REGIONS] = {
    "superblock", "next_generation", "root_lock", "slots_used", "generations", "slot_states",
    "roots",      "zones",           "slots",     "states",     "records",     "R",
    "data"};

struct sim_node {
    unsigned index;
    bool dead;
    uint64_t clock; /* ns */
    struct emu_agent *agent;
    struct emu_counts counts;     /* after its last access */
    char *base;                   /* of its mapping; NULL: none */
    struct alps_fast_thread fast; /* what the library keeps for a thread, while others run */
    ucontext_t context;
};

/* A line of the tables. */
struct line {
    uint64_t until;   /* a writer has it then */
    uint64_t busy_ns; /* that it was on its way to writers, in this phase */
    unsigned phase;
};

static struct {
    alps_heap_t *observer;
    const struct layout *layout;
    unsigned count;
    struct sim_node *nodes;
    struct line *lines;
    char *stacks;
    struct sim_node *running; /* NULL: outside of the simulation */
    ucontext_t outside;
    unsigned *locks;         /* on the heap's file: node + 1, or 0 */
    struct sim_node **queue; /* a binary heap of those that wait to go on, the first one first */
    unsigned queued;
    int (*act)(unsigned node);
    struct sim_phase *phase;
    unsigned phases;
    bool failed;
} sim;

/* ---- whose turn it is ---- */

static bool is_before(const struct sim_node *a, const struct sim_node *b)
{
    return a->clock < b->clock || (a->clock == b->clock && a->index < b->index);
}

static void put(unsigned at, struct sim_node *n)
{
    for (; at > 0 && is_before(n, sim.queue[(at - 1) / 2]); at = (at - 1) / 2)
        sim.queue[at] = sim.queue[(at - 1) / 2];
    sim.queue[at] = n;
}

/* The first one, in whose place another one comes. */
static struct sim_node *exchange(struct sim_node *n)
{
    struct sim_node *first = sim.queue[0];
    unsigned at = 0, child;
    while ((child = 2 * at + 1) < sim.queued) {
        if (child + 1 < sim.queued && is_before(sim.queue[child + 1], sim.queue[child]))
            child++;
        if (is_before(n, sim.queue[child]))
            break;
        sim.queue[at] = sim.queue[child];
        at = child;
    }
    sim.queue[at] = n;
    return first;
}

static struct sim_node *next_node(void)
{
    if (sim.queued == 0)
        return NULL;
    struct sim_node *last = sim.queue[--sim.queued];
    return sim.queued == 0 ? last : exchange(last);
}

/* Goes on as another node, or, with NULL, outside. Returns when it is this one's turn again. */
static void go_on(struct sim_node *next, ucontext_t *from)
{
    if (sim.running != NULL)
        sim.running->fast = alps_fast_thread_0;
    sim.running = next;
    if (next != NULL) {
        alps_fast_thread_0 = next->fast;
        emu_become(next->agent);
    }
    swapcontext(from, next == NULL ? &sim.outside : &next->context);
}

/* ---- accesses ---- */

static enum sim_region region_of(uint64_t offset)
{
    const struct layout *l = sim.layout;
    static const struct {
        size_t offset;
        enum sim_region region;
    } words[] = {{offsetof(struct layout_super, next_generation), SIM_NEXT_GENERATION},
                 {offsetof(struct layout_super, root_lock), SIM_ROOT_LOCK},
                 {offsetof(struct layout_super, slots_used), SIM_SLOTS_USED}};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (offset == words[i].offset)
            return words[i].region;
    const char *base = layout_at(l, 0);
    if (offset < (uint64_t)((char *)layout_generation(l, 0) - base))
        return SIM_SUPER;
    if (offset < l->slot_states_offset)
        return SIM_GENERATIONS;
    if (offset < l->roots_offset)
        return SIM_SLOT_STATES;
    if (offset < l->zones_offset)
        return SIM_ROOTS;
    if (offset < l->instances_offset)
        return SIM_ZONES;
    if (offset < l->meta_offset)
        return SIM_SLOTS;
    if (offset >= l->data_offset)
        return SIM_DATA;
    const uint64_t zone = (offset - l->meta_offset) / l->meta_stride;
    const uint64_t span = zone << l->zone_shift;
    if (offset < (uint64_t)((char *)layout_record(l, span) - base))
        return SIM_STATES;
    return offset < (uint64_t)((char *)layout_released(l, span) - base) ? SIM_RECORDS
                                                                        : SIM_RELEASED;
}

/* The line is on its way to a writer for so long. */
static void hand_over(struct line *line, enum sim_region region, uint64_t offset, uint64_t ns)
{
    if (line->phase != sim.phases) {
        line->phase = sim.phases;
        line->busy_ns = 0;
    }
    line->busy_ns += ns;
    if (line->busy_ns > sim.phase->hot_ns) {
        sim.phase->hot_ns = line->busy_ns;
        sim.phase->hot = region;
        sim.phase->hot_offset = offset / LINE * LINE;
    }
}

/* Charges an access; whether it had to go to the memory. */
static bool charge(struct sim_node *n, enum alps_fam_op op, uint64_t offset)
{
    const enum sim_region region = region_of(offset);
    struct sim_figures *figures = &sim.phase->regions[region];
    struct line *line = offset < sim.layout->data_offset ? &sim.lines[offset / LINE] : NULL;
    const void *word = layout_at(sim.layout, offset); /* all nodes' mappings are one memory */
    const uint64_t before = n->clock;
    if (line != NULL)
        emu_wait_until(line->until);
    const uint64_t begin = emu_clock_ns();
    struct emu_counts now;
    if (op == ALPS_FAM_LOAD)
        emu_read(word, sizeof(fam_word_t));
    else if (op == ALPS_FAM_STORE)
        emu_write(word, sizeof(fam_word_t));
    else if (op == ALPS_FAM_FLUSH)
        emu_flush(word, sizeof(fam_word_t));
    else
        emu_atomic(word);
    n->clock = emu_clock_ns();
    emu_agent_count(n->agent, &now);
    uint64_t missed = 0;
    for (unsigned i = EMU_READ; i <= EMU_ATOMIC; i++)
        missed += now.misses[i] - n->counts.misses[i];
    sim.phase->queued_ns += now.queued_ns - n->counts.queued_ns;
    n->counts = now;
    if (missed != 0 && op != ALPS_FAM_LOAD && line != NULL) {
        line->until = n->clock;
        hand_over(line, region, offset, n->clock - begin);
    }
    figures->reads += op == ALPS_FAM_LOAD;
    figures->writes += op == ALPS_FAM_STORE;
    figures->atomics += op >= ALPS_FAM_CAS && op <= ALPS_FAM_ADD;
    figures->misses += missed;
    figures->ns += n->clock - before;
    figures->waited_ns += begin - before;
    return missed != 0;
}

static uint64_t access_hook(void *context, enum alps_fam_op op, uint64_t *word, uint64_t *expected,
                            uint64_t value)
{
    (void)context;
    struct sim_node *n = sim.running;
    if (n != NULL && op == ALPS_FAM_FENCE) {
        emu_fence();
        n->clock = emu_clock_ns();
    } else if (n != NULL && n->base != NULL) {
        const bool missed = charge(n, op, (uint64_t)((char *)word - n->base));
        const bool may_be_ahead = op == ALPS_FAM_LOAD && !missed;
        if (sim.queued != 0 && is_before(sim.queue[0], n) &&
            !(may_be_ahead && n->clock - sim.queue[0]->clock < AHEAD_NS))
            go_on(exchange(n), &n->context);
    }
    return alps_fam_perform(op, word, expected, value);
}

static void map_hook(void *context, const void *base, uint64_t length, uint64_t position,
                     int mapped)
{
    (void)context, (void)length, (void)position;
    if (sim.running != NULL)
        sim.running->base = mapped ? (char *)(uintptr_t)base : NULL;
}

/* ---- locks ---- */

/* The linker puts these in the place of region_lock and region_unlock: for each lock the kernel
 * would look through all that are held on the file. What is no slot's lock only keeps strangers
 * out. */
int __real_region_lock(struct region *region, unsigned number, bool exclusive);
int __wrap_region_lock(struct region *region, unsigned number, bool exclusive);
int __wrap_region_lock(struct region *region, unsigned number, bool exclusive)
{
    if (sim.running == NULL)
        return __real_region_lock(region, number, exclusive);
    if (number < REGION_FIRST_LOCK)
        return 0;
    unsigned *holder = &sim.locks[number - REGION_FIRST_LOCK];
    if (*holder != 0 && *holder != sim.running->index + 1)
        return -EBUSY;
    *holder = sim.running->index + 1;
    return 0;
}

void __real_region_unlock(struct region *region, unsigned number);
void __wrap_region_unlock(struct region *region, unsigned number);
void __wrap_region_unlock(struct region *region, unsigned number)
{
    if (sim.running == NULL)
        __real_region_unlock(region, number);
    else if (number >= REGION_FIRST_LOCK)
        sim.locks[number - REGION_FIRST_LOCK] = 0;
}

/* ---- the whole ---- */

static int no_memory(void)
{
    sim_stop();
    return fail("no memory for the simulation", -ENOMEM);
}

int sim_start(const char *profile, const char *path, unsigned nodes)
{
    const struct alps_open_options readonly = {.struct_size = sizeof readonly,
                                               .flags = ALPS_OPEN_READONLY};
    const struct emu_options emulator = {
        .struct_size = sizeof emulator, .mode = EMU_VIRTUAL, .profile = profile, .hosts = nodes};
    memset(&sim, 0, sizeof sim);
    int error = alps_heap_open(path, &readonly, &sim.observer);
    if (error != 0)
        return fail("the heap cannot be opened", error);
    const struct region *region = &heap_layout(sim.observer)->region;
    sim.layout = heap_layout(sim.observer);
    error = emu_start(&emulator);
    if (error == 0)
        error = emu_add(region->base, region->length, 0);
    if (error != 0) {
        fprintf(stderr, "%s\n", emu_error_detail());
        sim_stop();
        return fail("the emulator cannot be started", error);
    }
    sim.nodes = calloc(nodes, sizeof *sim.nodes);
    sim.queue = calloc(nodes, sizeof(struct sim_node *));
    sim.lines = calloc(sim.layout->data_offset / LINE, sizeof *sim.lines);
    sim.locks = calloc(sim.layout->instance_count, sizeof *sim.locks);
    sim.stacks = mmap(NULL, nodes * STACK, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sim.nodes == NULL || sim.queue == NULL || sim.lines == NULL || sim.locks == NULL ||
        sim.stacks == MAP_FAILED)
        return no_memory();
    for (; sim.count < nodes; sim.count++) {
        struct sim_node *n = &sim.nodes[sim.count];
        n->index = sim.count;
        n->fast.handle = CACHE_NO_HANDLE;
        if (emu_agent_new(sim.count, &n->agent) != 0)
            return no_memory();
    }
    alps_fam_set_hook(access_hook, NULL);
    alps_fam_set_map_hook(map_hook, NULL);
    return 0;
}

void sim_stop(void)
{
    alps_fam_set_hook(NULL, NULL);
    alps_fam_set_map_hook(NULL, NULL);
    emu_stop();
    if (sim.stacks != NULL && sim.stacks != MAP_FAILED)
        munmap(sim.stacks, sim.count * STACK);
    free(sim.nodes);
    free(sim.queue);
    free(sim.lines);
    free(sim.locks);
    alps_heap_close(sim.observer);
    memset(&sim, 0, sizeof sim);
}

static void play(void)
{
    struct sim_node *n = sim.running;
    if (sim.act(n->index) != 0)
        sim.failed = true;
    go_on(next_node(), &n->context);
}

/* Not inline: compilers think that getcontext may return twice. */
static __attribute__((noinline)) void prepare(struct sim_node *n)
{
    getcontext(&n->context);
    n->context.uc_stack.ss_sp = sim.stacks + n->index * STACK;
    n->context.uc_stack.ss_size = STACK;
    makecontext(&n->context, play, 0);
}

int sim_run(int (*act)(unsigned node), unsigned count, struct sim_phase *phase)
{
    uint64_t begin = 0;
    for (unsigned i = 0; i < sim.count; i++)
        begin = max_u64(begin, sim.nodes[i].clock);
    *phase = (struct sim_phase){0};
    sim.phase = phase;
    sim.phases++;
    sim.act = act;
    sim.failed = false;
    struct alps_fast_thread fast = alps_fast_thread_0;
    for (unsigned i = 0; i < count; i++) {
        struct sim_node *n = &sim.nodes[i];
        if (n->dead)
            continue;
        emu_become(n->agent);
        emu_wait_until(begin);
        n->clock = begin;
        prepare(n);
        put(sim.queued++, n);
    }
    go_on(next_node(), &sim.outside);
    alps_fast_thread_0 = fast;
    emu_become(NULL);
    for (unsigned i = 0; i < count; i++)
        if (!sim.nodes[i].dead) {
            phase->ns += sim.nodes[i].clock - begin;
            phase->elapsed_ns = max_u64(phase->elapsed_ns, sim.nodes[i].clock - begin);
        }
    return sim.failed ? -1 : 0;
}

void sim_kill(unsigned node)
{
    sim.nodes[node].dead = true;
    for (unsigned i = 0; i < sim.layout->instance_count; i++)
        if (sim.locks[i] == node + 1)
            sim.locks[i] = 0;
}

alps_heap_t *sim_observer(void)
{
    return sim.observer;
}
