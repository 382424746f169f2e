/* Who is taken for dead where several kernels share the memory. Other kernels are played by
 * processes with another ALPS_HOST_ID and ALPS_BOOT_ID. */
#include "inside.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "instance.h"

/* A process of another kernel. */
struct actor {
    const char *path, *host, *boot;
    unsigned flags;                                      /* of its opening of the heap */
    void (*part)(struct actor *self, alps_heap_t *heap); /* what it does then */
    int go[2], done[2];                                  /* pipes */
    pid_t pid;
    struct { /* shared with the case */
        alps_gen_t generation;
    } * out;
};

/* In the actor: until it is let go on. */
static void wait_for_go(struct actor *self)
{
    char byte;
    CHECK_EQ(read(self->go[0], &byte, 1), 1);
}

static void say_done(struct actor *self)
{
    CHECK_EQ(write(self->done[1], "", 1), 1);
}

static void be(void *context)
{
    struct actor *self = context;
    CHECK_EQ(setenv("ALPS_HOST_ID", self->host, 1), 0);
    CHECK_EQ(setenv("ALPS_BOOT_ID", self->boot, 1), 0);
    wait_for_go(self);
    alps_heap_t *heap = inside_open(self->path, self->flags);
    self->out->generation = alps_heap_generation(heap);
    self->part(self, heap);
}

/* The part of who is killed. */
static void allocate_and_pause(struct actor *self, alps_heap_t *heap)
{
    CHECK_NE(alps_malloc(heap, 100, ALPS_ANY_NODE), ALPS_NULL);
    say_done(self);
    for (;;)
        pause();
}

/* To be called before this process opens a heap: a process knows its kernel once and for all. */
static struct actor *actor_cast(struct actor role)
{
    static struct actor actors[8];
    static unsigned count;
    struct actor *actor = &actors[count++];
    *actor = role;
    actor->out =
        mmap(NULL, sizeof *actor->out, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(actor->out != MAP_FAILED);
    CHECK(pipe(actor->go) == 0 && pipe(actor->done) == 0);
    actor->pid = test_fork(be, actor);
    return actor;
}

static struct actor *actor_make(const char *path, const char *host, const char *boot)
{
    return actor_cast(
        (struct actor){.path = path, .host = host, .boot = boot, .part = allocate_and_pause});
}

/* Lets it open the heap and act. */
static void actor_run(struct actor *actor)
{
    char byte;
    CHECK_EQ(write(actor->go[1], "", 1), 1);
    CHECK_EQ(read(actor->done[0], &byte, 1), 1);
}

/* Lets it act to its end. */
static void actor_finish(struct actor *actor)
{
    CHECK_EQ(write(actor->go[1], "", 1), 1);
    test_join(actor->pid);
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
    fam_word_t *word = layout_slot_state(heap_layout(heap), dead.slot);
    uint64_t state = fam_load(word);
    CHECK(fam_cas(word, &state,
                  slot_word(SLOT_RECOVERING, slot_heirs(state) + 1, slot_incarnation(state), 77)));
    CHECK_EQ(recover(heap), 0);
    actor_run(second);
    CHECK_EQ(slot_status(fam_load(word)), SLOT_RECOVERING);
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
    fam_word_t *word = layout_slot_state(heap_layout(other), heap->instance.slot);
    uint64_t state = fam_load(word);
    uint64_t taken = slot_word(SLOT_RECOVERING, 1, slot_incarnation(state), 77);
    CHECK(fam_cas(word, &state, taken));
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_EQ(fam_load(word), taken);
    CHECK_NE(alps_malloc(other, 64, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_ERR(alps_heap_close(other), 0);
}

/* ---- all that is of a host ---- */

TEST(kernels, a_host_is_declared_dead_with_all_that_is_of_it)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct actor *first = actor_make(path, "host", "boot 1");
    struct actor *permanent = actor_cast((struct actor){.path = path,
                                                        .host = "host",
                                                        .boot = "boot 1",
                                                        .flags = ALPS_OPEN_PERMANENT,
                                                        .part = allocate_and_pause});
    struct actor *elsewhere = actor_make(path, "other host", "boot 1");
    alps_heap_t *heap = inside_open(path, 0);
    actor_run(first);
    struct alps_instance seen = remote_instance(heap);
    CHECK_NE(seen.host, 0);
    CHECK_NE(seen.boot, 0);
    char name[64] = "";
    CHECK_EQ(gethostname(name, sizeof name - 1), 0);
    CHECK_STR(seen.host_name, name);
    actor_run(permanent);
    actor_run(elsewhere);
    actor_kill(first);
    actor_kill(permanent);
    /* As if it had died before it wrote all of its kernel. */
    fam_store(&layout_slot(heap_layout(heap), seen.slot)->kernel[0], 0);

    CHECK_ERR(alps_declare_host_dead(heap, seen.host, ~seen.boot), -ENOENT);
    CHECK_ERR(alps_declare_host_dead(heap, 12345, 0), -ENOENT);
    CHECK_EQ(recover(heap), 0);
    CHECK_ERR(alps_declare_host_dead(heap, seen.host, seen.boot), 0);
    CHECK_ERR(alps_declare_host_dead(heap, seen.host, 0), 0); /* once more */
    CHECK_EQ(recover(heap), 2);
    CHECK_ERR(alps_declare_host_dead(heap, seen.host, 0), -ENOENT);
    CHECK_ERR(alps_bulk_free(heap, first->out->generation), 0);
    CHECK_ERR(alps_bulk_free(heap, elsewhere->out->generation), -EBUSY);
    CHECK_EQ(inside_live_blocks(heap), 2);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

static int find_self(const struct alps_instance *instance, void *context)
{
    if (instance->self)
        *(struct alps_instance *)context = *instance;
    return 0;
}

TEST(kernels, the_own_host_cannot_be_declared_dead)
{
    alps_heap_t *heap = inside_open(inside_create(16 * MIB, 16 * MIB, 0), 0);
    struct alps_instance self = {.self = 0};
    CHECK_ERR(alps_instance_walk(heap, find_self, &self), 0);
    CHECK_EQ(self.self, 1);
    if (self.host == 0)
        SKIP("this machine has no /etc/machine-id");
    CHECK_ERR(alps_declare_host_dead(heap, self.host, 0), -EBUSY);
    CHECK_ERR(alps_beat(heap), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* ---- a zombie: taken for dead while it was only stopped ---- */

#define REFUSED(call) CHECK_ERR(call, -ESTALE)
#define REFUSED_BLOCK(call) (errno = 0, CHECK_EQ(call, ALPS_NULL), CHECK_EQ(errno, ESTALE))

static pthread_barrier_t meeting;

/* A thread that holds slabs between two meetings. */
static void *hold_slabs(void *heap)
{
    for (unsigned i = 0; i < 100; i++)
        CHECK_NE(alps_malloc(heap, 48, ALPS_ANY_NODE), ALPS_NULL);
    pthread_barrier_wait(&meeting);
    pthread_barrier_wait(&meeting);
    return NULL;
}

/* Every call that could change the heap, with blocks that were its own. */
static void try_everything(alps_heap_t *heap, alps_ptr_t small, alps_ptr_t large, alps_ptr_t *place)
{
    REFUSED_BLOCK(alps_malloc(heap, 64, ALPS_ANY_NODE));
    REFUSED_BLOCK(alps_malloc(heap, 64, 0));
    REFUSED_BLOCK(alps_malloc(heap, MIB, ALPS_ANY_NODE));
    REFUSED_BLOCK(alps_calloc(heap, 10, 10, ALPS_ANY_NODE));
    REFUSED_BLOCK(alps_aligned_alloc(heap, 4096, 100, ALPS_ANY_NODE));
    REFUSED_BLOCK(alps_realloc(heap, small, 5000));
    REFUSED_BLOCK(alps_malloc_to(heap, place, 100, ALPS_ANY_NODE));
    REFUSED(alps_free(heap, small));
    REFUSED(alps_free(heap, large));
    REFUSED(alps_free_from(heap, place));
    REFUSED(alps_bulk_free(heap, 1));
    REFUSED(alps_commit(heap, alps_heap_generation(heap)));
    REFUSED(alps_recover(heap, NULL));
    REFUSED(alps_declare_dead(heap, 1));
    REFUSED(alps_declare_host_dead(heap, 1, 1));
    REFUSED(alps_root_set(heap, "zombie", small));
    REFUSED(alps_heap_grow(heap, 16 * MIB));
    REFUSED(alps_heap_trim(heap));
    REFUSED(alps_migrate(heap, &small, 0));
    REFUSED(alps_beat(heap));
    CHECK(strstr(alps_error_detail(), "has declared this opening") != NULL);
}

/* It has slabs in hand, in two threads; what it does then leaves every byte of the heap as it is,
 * also as the thread ends, and as it closes the heap. */
static void wake_up_late(struct actor *self, alps_heap_t *heap)
{
    /* Locks of another kernel are not seen here. */
    region_unlock(&heap_layout(heap)->region, REGION_FIRST_LOCK + heap->instance.slot);
    alps_ptr_t small = ALPS_NULL, large = alps_malloc(heap, 3 * MIB, ALPS_ANY_NODE);
    for (unsigned i = 0; i < 60; i++)
        CHECK_NE(small = alps_malloc(heap, 64, ALPS_ANY_NODE), ALPS_NULL);
    alps_ptr_t *place = alps_deref(heap, small);
    CHECK_NE(alps_malloc_to(heap, place, 200, ALPS_ANY_NODE), ALPS_NULL);
    pthread_t thread;
    pthread_barrier_init(&meeting, NULL, 2);
    CHECK_EQ(pthread_create(&thread, NULL, hold_slabs, heap), 0);
    pthread_barrier_wait(&meeting);
    say_done(self);
    wait_for_go(self);

    int fd = open(self->path, O_RDONLY);
    struct stat status;
    CHECK_EQ(fstat(fd, &status), 0);
    const size_t bytes = (size_t)status.st_size;
    const char *now = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    char *before = malloc(bytes);
    CHECK(now != MAP_FAILED && before != NULL);
    memcpy(before, now, bytes);
    try_everything(heap, small, large, place);
    pthread_barrier_wait(&meeting); /* the thread ends */
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_EQ(memcmp(before, now, bytes), 0);
    free(before);
}

TEST(kernels, a_zombie_finds_out_at_its_next_call_and_changes_nothing)
{
    const char *path = inside_create_shared();
    struct actor *zombie = actor_cast(
        (struct actor){.path = path, .host = "its host", .boot = "boot", .part = wake_up_late});
    alps_heap_t *heap = inside_open(path, 0);
    actor_run(zombie);
    CHECK_ERR(alps_declare_dead(heap, zombie->out->generation), 0);
    CHECK_EQ(recover(heap), 1);
    CHECK_ERR(alps_bulk_free(heap, zombie->out->generation), 0);
    CHECK_EQ(inside_live_blocks(heap), 0);
    for (unsigned i = 0; i < 1000; i++) /* what was its own is others' now */
        CHECK_NE(alps_malloc(heap, 64, ALPS_ANY_NODE), ALPS_NULL);
    actor_finish(zombie);
    CHECK_EQ(inside_live_blocks(heap), 1000);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Also in a heap that was not made for several kernels, if it looks. */
static void beat_in_vain(struct actor *self, alps_heap_t *heap)
{
    CHECK_ERR(alps_beat(heap), 0);
    CHECK_NE(alps_malloc(heap, 100, ALPS_ANY_NODE), ALPS_NULL);
    say_done(self);
    wait_for_go(self);
    REFUSED(alps_beat(heap));
    REFUSED_BLOCK(alps_malloc(heap, MIB, ALPS_ANY_NODE));
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(kernels, a_zombie_finds_out_before_an_heir_has_come)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct actor *zombie = actor_cast(
        (struct actor){.path = path, .host = "its host", .boot = "boot", .part = beat_in_vain});
    alps_heap_t *heap = inside_open(path, 0);
    actor_run(zombie);
    CHECK_ERR(alps_declare_dead(heap, zombie->out->generation), 0);
    actor_finish(zombie);
    CHECK_EQ(remote_instance(heap).alive, 0);
    CHECK_EQ(recover(heap), 1);
    CHECK_EQ(inside_live_blocks(heap), 1);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(kernels, a_heap_that_another_host_has_open_is_neither_formatted_nor_destroyed)
{
    const char *path = inside_create_shared();
    struct actor *other = actor_make(path, "other host", "boot");
    alps_heap_t *heap = inside_open(path, 0);
    actor_run(other);
    CHECK_ERR(alps_heap_close(heap), 0);
    actor_kill(other); /* its locks are gone, as if they had been another kernel's */
    CHECK_ERR(alps_heap_format(path), -EBUSY);
    CHECK_ERR(alps_heap_destroy(path), -EBUSY);
    heap = inside_open(path, 0);
    CHECK_ERR(alps_declare_dead(heap, other->out->generation), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_format(path), 0);
    CHECK_ERR(alps_heap_destroy(path), 0);
}
