/* The instance layer: slots, liveness, generations, intents. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "inside.h"

static uint64_t slot_state(alps_heap_t *heap, unsigned slot)
{
    return fam_load(layout_slot_state(heap_layout(heap), slot));
}

TEST(instance, openings_have_slots_and_generations_of_their_own)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    alps_heap_t *a = inside_open(path, 0), *b = inside_open(path, 0);
    CHECK_NE(a->instance.slot, b->instance.slot);
    CHECK_NE(a->instance.owner, b->instance.owner);
    CHECK_LT(alps_heap_generation(a), alps_heap_generation(b));
    CHECK_EQ(instance_alive(&a->instance, b->instance.slot), 1);
    CHECK_EQ(instance_alive(&a->instance, a->instance.slot), 1);

    /* The slot is used again under another incarnation. */
    unsigned slot = b->instance.slot;
    uint64_t owner = b->instance.owner;
    CHECK_ERR(alps_heap_close(b), 0);
    CHECK_EQ(slot_status(slot_state(a, slot)), SLOT_FREE);
    b = inside_open(path, 0);
    CHECK_EQ(b->instance.slot, slot);
    CHECK_NE(b->instance.owner, owner);
    inside_check(a);
    CHECK_ERR(alps_heap_close(b), 0);
    CHECK_ERR(alps_heap_close(a), 0);
}

/* Whoever dies between saying that it uses a slot and taking it leaves a free one. */
TEST(instance, slots_used_are_known_from_before_on_and_for_good)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    alps_heap_t *a = inside_open(path, 0), *b = inside_open(path, 0);
    const struct layout *l = heap_layout(a);
    CHECK_EQ(layout_slots_used(l), 2);
    CHECK_ERR(alps_heap_close(b), 0);
    CHECK_EQ(layout_slots_used(l), 2);
    CHECK_ERR(alps_heap_close(inside_open(path, 0)), 0);
    CHECK_EQ(layout_slots_used(l), 2);
    fam_store(&layout_super(l)->slots_used, 4);
    inside_check(a);
    b = inside_open(path, 0);
    CHECK_LT(b->instance.slot, 4);
    CHECK_NE(b->instance.slot, a->instance.slot);
    struct alps_recovery report = {.struct_size = sizeof report};
    CHECK_ERR(alps_recover(a, &report), 0);
    CHECK_EQ(report.count, 0);
    CHECK_EQ(report.live, 2);
    CHECK_EQ(layout_slots_used(l), 4);
    CHECK_ERR(alps_heap_close(b), 0);
    CHECK_ERR(alps_heap_close(a), 0);
}

struct pipes {
    const char *path;
    int ready[2];
};

static void open_and_wait(void *context)
{
    struct pipes *p = context;
    alps_heap_t *heap = inside_open(p->path, 0);
    CHECK_EQ(write(p->ready[1], &heap->instance.slot, sizeof heap->instance.slot),
             (ssize_t)sizeof heap->instance.slot);
    pause();
}

TEST(instance, one_heir_inherits_a_dead_one_and_leaves_a_clean_slot)
{
    struct pipes p = {.path = inside_create(16 * MIB, 16 * MIB, 0)};
    CHECK_EQ(pipe(p.ready), 0);
    alps_heap_t *heap = inside_open(p.path, 0), *second = inside_open(p.path, 0);
    const struct layout *l = heap_layout(heap);
    pid_t child = test_fork(open_and_wait, &p);
    unsigned slot;
    CHECK_EQ(read(p.ready[0], &slot, sizeof slot), (ssize_t)sizeof slot);
    struct instance heir, other;
    CHECK_EQ(instance_alive(&heap->instance, slot), 1);
    CHECK_EQ(instance_inherit(&heir, l, slot), 0); /* alive */
    kill(child, SIGKILL);
    test_join_killed(child, SIGKILL);
    CHECK_EQ(instance_alive(&heap->instance, slot), 0);

    uint64_t owner = span_owner_bits(slot, slot_incarnation(slot_state(heap, slot)));
    CHECK_EQ(instance_inherit(&heir, l, slot), 1);
    CHECK_EQ(heir.owner, owner);
    CHECK_EQ(slot_status(slot_state(heap, slot)), SLOT_RECOVERING);
    CHECK_EQ(instance_inherit(&other, heap_layout(second), slot), 0); /* the heir has it */
    instance_leave(&heir, true);
    CHECK_EQ(slot_status(slot_state(heap, slot)), SLOT_FREE);
    CHECK_EQ(instance_inherit(&other, heap_layout(second), slot), 0); /* free */
    CHECK_LT(generation_find(l, heir.generation), 0);
    inside_check(heap);
}

TEST(instance, an_heir_that_dies_is_inherited_too)
{
    struct pipes p = {.path = inside_create(16 * MIB, 16 * MIB, 0)};
    CHECK_EQ(pipe(p.ready), 0);
    alps_heap_t *heap = inside_open(p.path, 0), *second = inside_open(p.path, 0);
    pid_t child = test_fork(open_and_wait, &p);
    unsigned slot;
    CHECK_EQ(read(p.ready[0], &slot, sizeof slot), (ssize_t)sizeof slot);
    kill(child, SIGKILL);
    test_join_killed(child, SIGKILL);
    struct instance heir;
    CHECK_EQ(instance_inherit(&heir, heap_layout(second), slot), 1);
    region_unlock(&heap_layout(second)->region, REGION_FIRST_LOCK + slot); /* as by its death */
    struct alps_recovery report = {.struct_size = sizeof report};
    CHECK_ERR(alps_recover(heap, &report), 0);
    CHECK_EQ(report.count, 1);
    CHECK_EQ(report.live, 2);
    CHECK_EQ(slot_status(slot_state(heap, slot)), SLOT_FREE);
    inside_check(heap);
}

TEST(instance, permanent_openings_take_no_generation)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    alps_heap_t *heap = inside_open(path, ALPS_OPEN_PERMANENT);
    CHECK_EQ(alps_heap_generation(heap), ALPS_PERMANENT);
    CHECK_EQ(heap->instance.generation_index, 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = inside_open(path, 0);
    CHECK_EQ(alps_heap_generation(heap), 1);
}

static void *take_intents(void *context)
{
    struct instance *instance = context;
    for (int i = 0; i < 2000; i++) {
        struct layout_intent *intent = instance_intent(instance, INSTANCE_OWN_INTENTS);
        uint64_t before = fam_add(&intent->where, 1);
        CHECK_EQ(before, 0); /* nobody else has it */
        fam_add(&intent->where, (uint64_t)-1);
        instance_intent_done(instance, intent);
    }
    return NULL;
}

TEST(instance, an_intent_belongs_to_one_thread)
{
    alps_heap_t *heap = inside_open(inside_create(16 * MIB, 16 * MIB, 0), 0);
    pthread_t threads[24]; /* more than there are intents */
    for (int i = 0; i < 24; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, take_intents, &heap->instance), 0);
    for (int i = 0; i < 24; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < LAYOUT_INTENT_MAX - INSTANCE_OWN_INTENTS; i++)
        CHECK_EQ(heap->instance.intents[i].value, 0);
}

struct worker {
    struct instance *instance;
    pthread_barrier_t step;
    struct layout_intent *first, *second;
};

static void *take_intent_twice(void *context)
{
    struct worker *w = context;
    w->first = instance_intent(w->instance, INSTANCE_OWN_INTENTS);
    instance_intent_done(w->instance, w->first);
    pthread_barrier_wait(&w->step);
    pthread_barrier_wait(&w->step);
    w->second = instance_intent(w->instance, INSTANCE_OWN_INTENTS);
    instance_intent_done(w->instance, w->second);
    return NULL;
}

TEST(instance, threads_keep_to_intents_of_their_own)
{
    alps_heap_t *heap = inside_open(inside_create(16 * MIB, 16 * MIB, 0), 0);
    struct worker w = {.instance = &heap->instance};
    CHECK_EQ(pthread_barrier_init(&w.step, NULL, 2), 0);
    struct layout_intent *own = instance_intent(&heap->instance, INSTANCE_OWN_INTENTS);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, take_intent_twice, &w), 0);
    pthread_barrier_wait(&w.step);
    instance_intent_done(&heap->instance, own);
    pthread_barrier_wait(&w.step);
    pthread_join(thread, NULL);
    CHECK(w.first != own);
    CHECK(w.second == w.first);
    CHECK(instance_intent(&heap->instance, INSTANCE_OWN_INTENTS) == own);
    pthread_barrier_destroy(&w.step);
}

static void *malloc_to(void *context)
{
    alps_heap_t *heap = context;
    alps_ptr_t block = alps_malloc(heap, 64, ALPS_ANY_NODE);
    alps_ptr_t *where = alps_deref(heap, block);
    for (int i = 0; i < 3; i++) {
        CHECK_NE(alps_malloc_to(heap, where, 64, ALPS_ANY_NODE), ALPS_NULL);
        CHECK_ERR(alps_free_from(heap, where), 0);
    }
    CHECK_ERR(alps_free(heap, block), 0);
    return NULL;
}

TEST(instance, each_cache_has_an_intent_as_long_as_there_are_some)
{
    alps_heap_t *heap = inside_open(inside_create(64 * MIB, 64 * MIB, 0), 0);
    struct layout_intent *intents = layout_slot(heap_layout(heap), heap->instance.slot)->intents;
    malloc_to(heap);
    malloc_to(heap);
    pthread_t thread;
    for (int i = 0; i < 2; i++) { /* the second one has the first one's cache */
        CHECK_EQ(pthread_create(&thread, NULL, malloc_to, heap), 0);
        pthread_join(thread, NULL);
    }
    for (unsigned i = 0; i < LAYOUT_INTENT_MAX; i++)
        CHECK_EQ(fam_load(&intents[i].block) != 0, i < 2);
    CHECK(instance_intent(&heap->instance, INSTANCE_OWN_INTENTS - 1) ==
          &intents[INSTANCE_OWN_INTENTS - 1]);
    CHECK_LE(&intents[INSTANCE_OWN_INTENTS] - intents,
             instance_intent(&heap->instance, INSTANCE_OWN_INTENTS) - intents);
}

TEST(instance, the_heartbeat_is_written_once_a_second)
{
    alps_heap_t *heap = inside_open(inside_create(16 * MIB, 16 * MIB, 0), 0);
    struct instance *self = &heap->instance;
    fam_word_t *heartbeat = &layout_slot(heap_layout(heap), self->slot)->heartbeat;
    CHECK_EQ(fam_load(heartbeat), self->beat);
    uint64_t before;
    do {
        before = self->beat;
        fam_store(heartbeat, 1);
        instance_beat(self);
    } while (self->beat != before);
    CHECK_EQ(fam_load(heartbeat), 1);
    self->beat--; /* a second later */
    instance_beat(self);
    CHECK_EQ(fam_load(heartbeat), self->beat);
}

TEST(instance, touched_zones_are_noted_once)
{
    alps_heap_t *heap = inside_open(inside_create(64 * MIB, 64 * MIB, MIB), 0);
    struct layout *l = heap_layout(heap);
    struct layout_slot *slot = layout_slot(l, heap->instance.slot);
    instance_touch(&heap->instance, 7);
    instance_touch(&heap->instance, 7);
    CHECK_EQ(fam_load(&layout_touched(l, slot)[0]), 1 << 7);
    CHECK_EQ(heap->touched[0], 1 << 7);
}

/* Leaves a generation with a block behind, or without. */
static void open_close(const char *path, bool with_block)
{
    alps_heap_t *heap = inside_open(path, 0);
    if (with_block)
        CHECK_NE(alps_malloc(heap, 64, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_ERR(alps_heap_close(heap), 0);
}

static int count_generations(const struct alps_generation *generation, void *context)
{
    (void)generation;
    ++*(unsigned *)context;
    return 0;
}

TEST(instance, generations_without_blocks_take_no_entry)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    for (unsigned i = 0; i < LAYOUT_GENERATION_MIN + 10; i++)
        open_close(path, false);
    alps_heap_t *heap = inside_open(path, 0);
    unsigned count = 0;
    CHECK_ERR(alps_generation_walk(heap, count_generations, &count), 0);
    CHECK_EQ(count, 1); /* its own */
    inside_check(heap);
}

TEST(instance, a_full_table_of_generations_is_said_and_emptied_by_commits)
{
    const char *path = inside_create(400 * MIB, 400 * MIB, 0);
    for (unsigned i = 1; i < LAYOUT_GENERATION_MIN; i++)
        open_close(path, true);
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open(path, NULL, &heap), -ENOSPC);
    heap = inside_open(path, ALPS_OPEN_PERMANENT); /* still goes */
    CHECK_EQ(inside_live_blocks(heap), LAYOUT_GENERATION_MIN - 1);
    for (unsigned i = 1; i <= 100; i++)
        CHECK_ERR(alps_commit(heap, i), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = inside_open(path, 0); /* the committed entries are used again */
    inside_check(heap);
    CHECK_EQ(inside_live_blocks(heap), LAYOUT_GENERATION_MIN - 1);
    for (unsigned i = 101; i < LAYOUT_GENERATION_MIN; i++)
        CHECK_ERR(alps_bulk_free(heap, i), 0);
    CHECK_EQ(inside_live_blocks(heap), 100);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.permanent_blocks, 100);
    inside_check(heap);
}

/* All slots but two are taken, as if by processes of another kernel. */
TEST(instance, the_highest_number_of_instances_and_their_generations)
{
    struct alps_create_options options = {
        .struct_size = sizeof options, .size = 128 * MIB, .max_instances = LAYOUT_INSTANCE_MAX};
    const char *path = test_heap_path();
    CHECK_ERR(alps_heap_create(path, &options), 0);
    alps_heap_t *heap = inside_open(path, 0);
    const struct layout *l = heap_layout(heap);
    CHECK_EQ(l->instance_count, LAYOUT_INSTANCE_MAX);
    CHECK_LE(LAYOUT_INSTANCE_MAX * LAYOUT_GENERATIONS_EACH, l->generation_count);
    for (unsigned i = 1; i < LAYOUT_INSTANCE_MAX - 1; i++)
        fam_store(layout_slot_state(l, i), slot_word(SLOT_LIVE, 0, 1, 77));
    fam_store(&layout_super(l)->slots_used, LAYOUT_INSTANCE_MAX - 1);

    alps_heap_t *last = inside_open(path, 0), *none;
    CHECK_EQ(last->instance.slot, LAYOUT_INSTANCE_MAX - 1);
    CHECK_EQ(span_owner_slot(last->instance.owner), LAYOUT_INSTANCE_MAX - 1);
    CHECK_ERR(alps_heap_open(path, NULL, &none), -EUSERS);
    CHECK_ERR(alps_heap_open(path, NULL, &none), -EUSERS);
    alps_ptr_t block = alps_malloc(last, 64, ALPS_ANY_NODE);
    alps_gen_t generation = alps_heap_generation(last);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(last), 0);
    CHECK_EQ(generation_find(l, generation),
             (int64_t)record_generation(
                 layout_record(l, layout_span_of(l, block)))); /* wherever its entry is */
    CHECK_ERR(alps_bulk_free(heap, generation), 0);
    CHECK_LT(generation_find(l, generation), 0);
    last = inside_open(path, 0); /* the slot is free again */
    CHECK_EQ(last->instance.slot, LAYOUT_INSTANCE_MAX - 1);
    CHECK_ERR(alps_heap_close(last), 0);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}
