/* Who is taken for dead where several kernels share the memory. Other kernels are played by
 * processes with another ALPS_HOST_ID and ALPS_BOOT_ID. */
#include "inside.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "instance.h"

/* A process of another kernel. */
struct actor {
    const char *path, *host, *boot;
    int go[2], done[2]; /* pipes */
    pid_t pid;
    struct { /* shared with the case */
        alps_gen_t generation;
    } * out;
};

static void be(void *context)
{
    struct actor *actor = context;
    char byte;
    CHECK_EQ(setenv("ALPS_HOST_ID", actor->host, 1), 0);
    CHECK_EQ(setenv("ALPS_BOOT_ID", actor->boot, 1), 0);
    CHECK_EQ(read(actor->go[0], &byte, 1), 1);
    alps_heap_t *heap = inside_open(actor->path, 0);
    actor->out->generation = alps_heap_generation(heap);
    CHECK_NE(alps_malloc(heap, 100, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_EQ(write(actor->done[1], "", 1), 1);
    for (;;)
        pause();
}

/* To be called before this process opens a heap: a process knows its kernel once and for all. */
static struct actor *actor_make(const char *path, const char *host, const char *boot)
{
    static struct actor actors[4];
    static unsigned count;
    struct actor *actor = &actors[count++];
    *actor = (struct actor){.path = path,
                            .host = host,
                            .boot = boot,
                            .out = mmap(NULL, sizeof *actor->out, PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    CHECK(actor->out != MAP_FAILED);
    CHECK(pipe(actor->go) == 0 && pipe(actor->done) == 0);
    actor->pid = test_fork(be, actor);
    return actor;
}

/* Lets it open the heap and act. */
static void actor_run(struct actor *actor)
{
    char byte;
    CHECK_EQ(write(actor->go[1], "", 1), 1);
    CHECK_EQ(read(actor->done[0], &byte, 1), 1);
}

static void actor_kill(struct actor *actor)
{
    CHECK_EQ(kill(actor->pid, SIGKILL), 0);
    test_join_killed(actor->pid, SIGKILL);
}

static unsigned recover(alps_heap_t *heap)
{
    struct alps_recovery report = {.struct_size = sizeof report};
    CHECK_ERR(alps_recover(heap, &report), 0);
    return report.count;
}

static int find_remote(const struct alps_instance *instance, void *context)
{
    if (instance->remote)
        *(struct alps_instance *)context = *instance;
    return 0;
}

static struct alps_instance remote_instance(alps_heap_t *heap)
{
    struct alps_instance instance = {.alive = -1};
    CHECK_ERR(alps_instance_walk(heap, find_remote, &instance), 0);
    return instance;
}

TEST(kernels, a_process_of_another_is_dead_when_it_is_said_to_be)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct actor *other = actor_make(path, "other host", "boot 1");
    struct actor *later = actor_make(path, "other host", "boot 1");
    alps_heap_t *heap = inside_open(path, 0);
    actor_run(other);
    struct alps_instance seen = remote_instance(heap);
    CHECK_EQ(seen.alive, 1);
    CHECK_EQ(seen.generation, other->out->generation);
    CHECK_LE(seen.silent_seconds, 60);

    actor_kill(other);
    CHECK_EQ(recover(heap), 0);
    CHECK_ERR(alps_bulk_free(heap, seen.generation), -EBUSY);
    CHECK_ERR(alps_declare_dead(heap, seen.generation), 0);
    CHECK_EQ(remote_instance(heap).alive, 0);
    CHECK_ERR(alps_declare_dead(heap, seen.generation), 0);
    CHECK_EQ(recover(heap), 1);
    CHECK_ERR(alps_declare_dead(heap, seen.generation), 0); /* its block is still known */
    CHECK_ERR(alps_bulk_free(heap, seen.generation), 0);
    CHECK_ERR(alps_declare_dead(heap, seen.generation), -ENOENT);
    inside_check(heap);

    /* The next one in that slot is another. */
    actor_run(later);
    CHECK_EQ(remote_instance(heap).slot, seen.slot);
    CHECK_EQ(remote_instance(heap).alive, 1);
    CHECK_EQ(recover(heap), 0);
    CHECK_EQ(inside_live_blocks(heap), 1);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(kernels, those_of_a_host_that_booted_again_are_dead)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct actor *before = actor_make(path, "host", "boot 1");
    struct actor *elsewhere = actor_make(path, "host 2", "boot 1");
    struct actor *after = actor_make(path, "host", "boot 2");
    alps_heap_t *heap = inside_open(path, 0);
    actor_run(before);
    actor_run(elsewhere);
    actor_kill(before);
    CHECK_EQ(recover(heap), 0);
    actor_run(after); /* takes the dead in as it opens the heap */
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.instances, 3);
    CHECK_ERR(alps_bulk_free(heap, before->out->generation), 0);
    CHECK_ERR(alps_bulk_free(heap, elsewhere->out->generation), -EBUSY);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Killed right after the slot was taken, before it said in full on which kernel. */
TEST(kernels, who_died_as_he_joined_is_dead_after_a_boot_as_well)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct actor *before = actor_make(path, "host", "boot 1");
    struct actor *after = actor_make(path, "host", "boot 2");
    alps_heap_t *heap = inside_open(path, 0);
    actor_run(before);
    struct layout_slot *slot = layout_slot(heap_layout(heap), remote_instance(heap).slot);
    actor_kill(before);
    fam_store(&slot->kernel[0], 0);
    fam_store(&slot->kernel[1], 0);
    CHECK_EQ(recover(heap), 0); /* of this host nobody has booted again */
    actor_run(after);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.instances, 2);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(kernels, an_heir_on_another_kernel_that_dies_is_declared_dead_as_well)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct actor *first = actor_make(path, "host 1", "boot");
    struct actor *second = actor_make(path, "host 2", "boot");
    alps_heap_t *heap = inside_open(path, 0);
    actor_run(first);
    actor_kill(first);
    struct alps_instance dead = remote_instance(heap);
    CHECK_ERR(alps_declare_dead(heap, dead.generation), 0);

    /* As if a process of a third host had taken it over, and died. */
    struct layout_slot *slot = layout_slot(heap_layout(heap), dead.slot);
    uint64_t state = fam_load(&slot->state);
    CHECK(fam_cas(&slot->state, &state,
                  slot_word(SLOT_RECOVERING, slot_heirs(state) + 1, slot_incarnation(state), 77)));
    CHECK_EQ(recover(heap), 0);
    actor_run(second);
    CHECK_EQ(slot_status(fam_load(&slot->state)), SLOT_RECOVERING);
    CHECK_ERR(alps_bulk_free(heap, dead.generation), -EBUSY);
    CHECK_ERR(alps_declare_dead(heap, dead.generation), 0);
    CHECK_EQ(recover(heap), 1);
    CHECK_ERR(alps_bulk_free(heap, dead.generation), 0);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(kernels, declarations_that_make_no_sense_are_refused)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    alps_heap_t *heap = inside_open(path, 0), *neighbour = inside_open(path, 0);
    CHECK_ERR(alps_declare_dead(heap, alps_heap_generation(heap)), -EBUSY);
    CHECK_ERR(alps_declare_dead(heap, alps_heap_generation(neighbour)), -EBUSY);
    CHECK_ERR(alps_declare_dead(heap, ALPS_PERMANENT), -EINVAL);
    CHECK_ERR(alps_declare_dead(heap, 12345), -ENOENT);
    CHECK_ERR(alps_declare_dead(NULL, 1), -EINVAL);
    alps_heap_t *reader = inside_open(path, ALPS_OPEN_READONLY);
    CHECK_ERR(alps_declare_dead(reader, 1), -EROFS);
    CHECK_EQ(recover(heap), 0);
    CHECK_ERR(alps_heap_close(reader), 0);
    CHECK_ERR(alps_heap_close(neighbour), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Somebody who was wrongly taken for dead closes: what is his heir's is left alone. */
TEST(kernels, who_was_taken_for_dead_does_not_free_the_slot)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    alps_heap_t *heap = inside_open(path, 0), *other = inside_open(path, 0);
    struct layout_slot *slot = layout_slot(heap_layout(other), heap->instance.slot);
    uint64_t state = fam_load(&slot->state);
    uint64_t taken = slot_word(SLOT_RECOVERING, 1, slot_incarnation(state), 77);
    CHECK(fam_cas(&slot->state, &state, taken));
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_EQ(fam_load(&slot->state), taken);
    CHECK_NE(alps_malloc(other, 64, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_ERR(alps_heap_close(other), 0);
}
