/* Slots, generations, liveness.
 *
 * Idea: an instance holds an exclusive open-file-description lock on its slot's number for as long
 * as it lives. The kernel drops it when the process dies, however it dies. So a slot whose state is
 * not SLOT_FREE and whose lock can be had belongs to the dead; who gets the lock is its heir, acts
 * in its name (the state words keep naming the dead owner) and frees the slot. An heir that dies
 * loses the lock and leaves the slot to the next one.
 *
 * Where several kernels share the memory, a lock tells only of processes of the same kernel; the
 * slot's state names the kernel, by host and boot. Of another kernel's instance it is known that it
 * is dead if that host has booted again since, or if somebody who knows says so
 * (instance_declare_dead, which makes it SLOT_DECLARED). Silence proves nothing: a slow process
 * that was taken for dead and wakes up would write over its heir. Heirs on several kernels are told
 * apart by the CAS of the state.
 *
 * Who was declared dead and lives finds that its slot's state is not what it made it
 * (instance_is_lost), and changes nothing any more. It looks as it enters a call, and in long ones
 * now and then; what it had in flight when it was stopped, it still does when it wakes up.
 *
 * Invariants
 *   I1 A slot's state changes by CAS, and on its kernel only under its lock.
 *   I2 A slot with SLOT_FREE has no generation, no intent, and no zone touched; no span names it.
 *   I3 An entry of the generation table with GENERATION_OPEN is named by the slot in it, which
 *      holds the generation's number and is not SLOT_FREE.
 *   I4 A span carries only generations whose entry is used; an entry is emptied only when it is not
 *      open and no span carries it. Spans take up only the generation of a live instance.
 *   I5 A slot from super.slots_used on was never used: all of it is 0. Nobody looks at those.
 *
 * Crash
 *   instance_join   lock | SLOT_LIVE | number | entry       seen as            repaired by
 *   killed after    lock, or a number or slot fetched       free               kernel
 *                          SLOT_LIVE                        dead, no number    heir: frees the slot
 *                                      number               dead, no entry     heir: finds no entry
 *                                               entry       dead, open         heir: closes it
 *   instance_leave goes the other way: entry closed or emptied, slot cleared, SLOT_FREE, unlock.
 */
#include "instance.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

/* Of the intents that threads have in turn, the one it had last: so each comes to have one of its
 * own. No call finds it. */
static __attribute__((tls_model("initial-exec"))) _Thread_local unsigned thread_intent;

static unsigned slot_lock(unsigned slot)
{
    return REGION_FIRST_LOCK + slot;
}

static void become(struct instance *instance, unsigned slot, uint64_t state)
{
    instance->slot = slot;
    instance->state = state;
    instance->owner = span_owner_bits(slot, slot_incarnation(state));
    instance->beat = 0;
}

/* Start time of this process in clock ticks since boot; 0 if unknown. */
static uint64_t process_start_time(void)
{
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    /* The second field, the program's name, may contain anything; the 22nd is the 20th after it. */
    char *p = strrchr(text, ')');
    for (int field = 0; p != NULL && field < 20; field++)
        p = strchr(p + 1, ' ');
    return p == NULL ? 0 : strtoull(p + 1, NULL, 10);
}

/* ---- which kernel this is ---- */

static uint64_t kernel_id[2]; /* of the host, of its boot; 0: not known */
static pthread_once_t kernel_once = PTHREAD_ONCE_INIT;

/* A number for the first line of a file, or for an environment variable if that is set. */
static uint64_t identify(const char *variable, const char *path)
{
    char text[128];
    const char *given = getenv(variable);
    if (given != NULL && *given != '\0')
        return hash_bytes(given, strlen(given));
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fgets(text, sizeof text, f) == NULL)
        text[0] = '\0';
    fclose(f);
    size_t length = strcspn(text, "\n");
    return length < 32 ? 0 : hash_bytes(text, length); /* "uninitialized", for one */
}

static void identify_kernel(void)
{
    kernel_id[0] = identify("ALPS_HOST_ID", "/etc/machine-id");
    kernel_id[1] = identify("ALPS_BOOT_ID", "/proc/sys/kernel/random/boot_id");
}

/* As a slot's state has it. */
static uint64_t in_short(uint64_t host, uint64_t boot)
{
    return (host >> 40) | (boot >> 40) << 24;
}

static uint64_t this_kernel(void)
{
    pthread_once(&kernel_once, identify_kernel);
    return in_short(kernel_id[0], kernel_id[1]);
}

/* The numbers in full make sure of it; who died right after he changed the state wrote none. */
bool instance_is_of_host(const struct layout_slot *slot, uint64_t state, uint64_t host,
                         uint64_t boot)
{
    const uint64_t mask = boot == 0 ? in_short(UINT64_MAX, 0) : UINT64_MAX;
    if (slot_status(state) == SLOT_FREE || (slot_kernel(state) ^ in_short(host, boot)) & mask)
        return false;
    uint64_t its_host = fam_load_acquire(&slot->kernel[0]), its_boot = fam_load(&slot->kernel[1]);
    bool written = in_short(its_host, its_boot) == slot_kernel(state);
    return !written || (its_host == host && (boot == 0 || its_boot == boot));
}

/* Whether a kernel, found in a slot's state, is one of this host before it booted again. */
static bool has_gone(const struct layout *l, unsigned number, uint64_t state)
{
    uint64_t here = this_kernel();
    return kernel_id[0] != 0 && kernel_id[1] != 0 && slot_kernel(state) != here &&
           instance_is_of_host(layout_slot(l, number), state, kernel_id[0], 0) &&
           fam_load_acquire(layout_slot_state(l, number)) == state;
}

static bool is_mine(uint64_t state)
{
    return slot_kernel(state) == this_kernel() && slot_status(state) != SLOT_DECLARED;
}

static void note_kernel(struct layout_slot *slot)
{
    uint64_t name[LAYOUT_HOST_NAME / 8] = {0};
    if (gethostname((char *)name, sizeof name - 1) != 0)
        name[0] = 0;
    for (unsigned i = 0; i < LAYOUT_HOST_NAME / 8; i++)
        fam_store(&slot->host_name[i], name[i]);
    fam_store(&slot->kernel[1], kernel_id[1]);
    fam_store_release(&slot->kernel[0], kernel_id[0]);
}

/* A slot that was never used, for everybody to look at from now on; instance_count: there is none.
 * Who comes at the same time when there are none left raises the number too far. */
static unsigned fresh_slot(const struct layout *l)
{
    fam_word_t *used = &layout_super(l)->slots_used;
    if (fam_load_acquire(used) >= l->instance_count)
        return l->instance_count;
    return (unsigned)min_u64(fam_add(used, 1), l->instance_count);
}

/* Takes a slot if it is free: 1, 0 if it is not, or a negative errno value. */
static int take_slot(struct instance *instance, unsigned number)
{
    struct layout *l = &instance->layout;
    struct layout_slot *slot = layout_slot(l, number);
    fam_word_t *word = layout_slot_state(l, number);
    if (slot_status(fam_load(word)) != SLOT_FREE)
        return 0;
    int rc = region_lock(&l->region, slot_lock(number), true);
    if (rc != 0)
        return rc == -EBUSY ? 0 : rc;
    layout_persist(l, &layout_super(l)->slots_used); /* whoever raised it */
    uint64_t state = fam_load_acquire(word);
    uint64_t live = slot_word(SLOT_LIVE, 0, slot_incarnation(state) + 1, this_kernel());
    if (slot_status(state) != SLOT_FREE || !fam_cas(word, &state, live)) {
        region_unlock(&l->region, slot_lock(number));
        return 0;
    }
    become(instance, number, live);
    note_kernel(slot);
    fam_store(&slot->pid, (uint64_t)getpid());
    fam_store(&slot->start_time, process_start_time());
    instance_beat(instance);
    layout_flush(l, word);
    layout_persist(l, &slot->generation);
    return 1;
}

/* Those who come at the same time begin to look at different slots, by their numbers. */
int instance_join(struct instance *instance, bool permanent)
{
    struct layout *l = &instance->layout;
    fam_word_t *next = &layout_super(l)->next_generation;
    uint64_t number = permanent ? 0 : fam_add(next, 1);
    if (!permanent && (number == 0 || number > GENERATION_NUMBER_MAX))
        return error_set(EUCLEAN, "%s: damaged: the next generation is %llu",
                         l->region.files[0].path, (unsigned long long)number);
    layout_flush(l, next);
    instance->number = number;
    instance->generation = ALPS_PERMANENT;
    instance->generation_index = 0;
    unsigned used = layout_slots_used(l), slot;
    int rc = 0;
    for (unsigned i = 0; i < used && rc == 0; i++)
        rc = take_slot(instance, (unsigned)((number + i) % used));
    while (rc == 0 && (slot = fresh_slot(l)) < l->instance_count)
        rc = take_slot(instance, slot);
    if (rc == 0)
        return error_set(EUSERS, "%s: all %u instance slots are in use", l->region.files[0].path,
                         l->instance_count);
    return rc < 0 ? rc : 0;
}

/* Those of neighbouring numbers lie in different lines, so that instances that come at the same
 * time do not wait for each other. */
unsigned generation_home(const struct layout *layout, alps_gen_t number)
{
    return (unsigned)((number * UINT64_C(0x9e3779b97f4a7c15) >> 32) % layout->generation_count);
}

int instance_take_generation(struct instance *instance)
{
    const struct layout *l = &instance->layout;
    struct layout_slot *slot = layout_slot(l, instance->slot);
    const uint64_t word =
        generation_word(instance->number, instance->slot, GENERATION_USED | GENERATION_OPEN);
    fam_store_release(&slot->generation, instance->number);
    layout_persist(l, &slot->generation);
    unsigned index = generation_home(l, instance->number);
    for (unsigned i = 0; i < l->generation_count; i++) {
        fam_word_t *entry = layout_generation(l, index);
        uint64_t expected = 0;
        if (fam_load(entry) == 0 && fam_cas(entry, &expected, word)) {
            instance->generation = instance->number;
            instance->generation_index = index;
            layout_persist(l, entry); /* before any span carries it */
            return 0;
        }
        index = (index + 1) % l->generation_count;
    }
    return error_set(ENOSPC,
                     "%s: all %u entries of the table of generations are in use; commit or "
                     "bulk-free old generations",
                     l->region.files[0].path, l->generation_count);
}

/* Clears a word; one that is clear is not written, since its line would have to be fetched. */
static void clear(fam_word_t *word)
{
    if (fam_load(word) != 0)
        fam_store(word, 0);
}

void instance_leave(struct instance *instance, bool empty)
{
    struct layout *l = &instance->layout;
    struct layout_slot *slot = layout_slot(l, instance->slot);
    fam_word_t *word = layout_slot_state(l, instance->slot);
    uint64_t state = instance->state;
    if (fam_load_acquire(word) != state) { /* somebody took us for dead */
        region_unlock(&l->region, slot_lock(instance->slot));
        return;
    }
    if (instance->generation_index != 0) {
        fam_word_t *entry = layout_generation(l, instance->generation_index);
        if (empty)
            fam_store_release(entry, 0);
        else
            fam_and(entry, ~GENERATION_OPEN);
        layout_persist(l, entry);
    }
    fam_store(&slot->generation, 0);
    fam_word_t *touched = layout_touched(l, slot), *hinted = layout_hinted(l, slot);
    for (unsigned i = 0; i < l->zone_words; i++) {
        clear(&touched[i]);
        clear(&hinted[i]);
    }
    clear(&slot->hinted_classes[0]);
    clear(&slot->hinted_classes[1]);
    for (unsigned i = 0; i < LAYOUT_INTENT_MAX; i++)
        clear(&slot->intents[i].op);
    fam_cas(word, &state, slot_word(SLOT_FREE, 0, slot_incarnation(state), 0));
    region_unlock(&l->region, slot_lock(instance->slot));
}

int instance_inherit(struct instance *heir, const struct layout *layout, unsigned number)
{
    fam_word_t *word = layout_slot_state(layout, number);
    uint64_t state = fam_load_acquire(word);
    if (slot_status(state) == SLOT_FREE)
        return 0;
    *heir = (struct instance){.layout = *layout};
    struct layout *l = &heir->layout;
    int rc = region_lock(&l->region, slot_lock(number), true);
    if (rc != 0)
        return rc == -EBUSY ? 0 : rc;
    state = fam_load_acquire(word);
    bool dead = slot_status(state) == SLOT_DECLARED ||
                (slot_status(state) != SLOT_FREE && (is_mine(state) || has_gone(l, number, state)));
    uint64_t mine =
        slot_word(SLOT_RECOVERING, slot_heirs(state) + 1, slot_incarnation(state), this_kernel());
    if (!dead || !fam_cas(word, &state, mine)) {
        region_unlock(&l->region, slot_lock(number));
        return 0;
    }
    struct layout_slot *slot = layout_slot(l, number);
    note_kernel(slot);
    become(heir, number, mine);
    heir->generation = fam_load(&slot->generation);
    int64_t index = heir->generation == 0 ? -1 : generation_find(l, heir->generation);
    heir->generation_index = index < 0 ? 0 : (uint64_t)index;
    return 1;
}

int instance_alive(struct instance *instance, unsigned number)
{
    const struct layout *l = &instance->layout;
    if (number == instance->slot)
        return 1;
    uint64_t state = fam_load_acquire(layout_slot_state(l, number));
    if (is_mine(state))
        return region_lock_held(&instance->layout.region, slot_lock(number));
    return slot_status(state) != SLOT_DECLARED && !has_gone(l, number, state);
}

unsigned instance_find_alive(struct instance *instance)
{
    const struct layout *l = &instance->layout;
    for (unsigned i = 0, end = layout_slots_used(l); i < end; i++)
        if (slot_status(fam_load_acquire(layout_slot_state(l, i))) != SLOT_FREE &&
            instance_alive(instance, i) != 0)
            return i;
    return l->instance_count;
}

bool instance_is_alone(const struct instance *instance)
{
    const struct layout *l = &instance->layout;
    for (unsigned i = 0, end = layout_slots_used(l); i < end; i++)
        if (i != instance->slot &&
            slot_status(fam_load_acquire(layout_slot_state(l, i))) != SLOT_FREE)
            return false;
    return true;
}

int instance_declare_dead(struct instance *instance, unsigned number, uint64_t state)
{
    if (number == instance->slot)
        return -EBUSY;
    if (slot_status(state) == SLOT_FREE || slot_status(state) == SLOT_DECLARED)
        return 0;
    if (is_mine(state)) {
        int held = region_lock_held(&instance->layout.region, slot_lock(number));
        return held > 0 ? -EBUSY : held;
    }
    /* If the state has changed, this is not the one that was meant: it left, or has an heir. */
    fam_word_t *word = layout_slot_state(&instance->layout, number);
    if (fam_cas(word, &state, (state & ~(uint64_t)15) | SLOT_DECLARED))
        layout_persist(&instance->layout, word);
    return 0;
}

void instance_beat(struct instance *instance)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    uint64_t seconds = (uint64_t)now.tv_sec;
#if !defined(ALPS_FAM_HOOKS) /* where it would be by the clock how many accesses there are */
    if (__atomic_load_n(&instance->beat, __ATOMIC_RELAXED) == seconds) /* DRAM: */
        return;
#endif
    __atomic_store_n(&instance->beat, seconds, __ATOMIC_RELAXED); /* DRAM: */
    fam_store(&layout_slot(&instance->layout, instance->slot)->heartbeat, seconds);
}

uint64_t instance_silence(const struct layout_slot *slot)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    uint64_t last = fam_load(&slot->heartbeat), seconds = (uint64_t)now.tv_sec;
    return last < seconds ? seconds - last : 0;
}

uint64_t instance_kernel(void)
{
    return this_kernel() | (uint64_t)1 << 63;
}

bool instance_is_remote(const struct layout *layout, unsigned slot)
{
    return slot_kernel(fam_load_acquire(layout_slot_state(layout, slot))) != this_kernel();
}

void instance_touch(struct instance *instance, uint64_t zone)
{
    uint64_t bit = (uint64_t)1 << (zone & 63);
    if (instance_has_touched(instance, zone))
        return;
    struct layout_slot *slot = layout_slot(&instance->layout, instance->slot);
    fam_or(&layout_touched(&instance->layout, slot)[zone >> 6], bit);
    if (instance->touched != NULL)
        __atomic_fetch_or(&instance->touched[zone >> 6], bit, __ATOMIC_RELAXED); /* DRAM: */
}

struct layout_intent *instance_intent(struct instance *instance, unsigned number)
{
    const unsigned shared = LAYOUT_INTENT_MAX - INSTANCE_OWN_INTENTS;
    struct layout_intent *intents = layout_slot(&instance->layout, instance->slot)->intents;
    if (number < INSTANCE_OWN_INTENTS)
        return &intents[number];
    for (unsigned tries = 1;; tries++) {
        uint64_t *taken = &instance->intents[thread_intent].value;
        if (__atomic_load_n(taken, __ATOMIC_RELAXED) == 0 &&      /* DRAM: */
            __atomic_exchange_n(taken, 1, __ATOMIC_ACQUIRE) == 0) /* DRAM: */
            return &intents[INSTANCE_OWN_INTENTS + thread_intent];
        thread_intent = (thread_intent + 1) % shared;
        if (tries % shared == 0)
            sched_yield(); /* all are in use by other threads of this process */
    }
}

void instance_intent_done(struct instance *instance, struct layout_intent *intent)
{
    fam_store_release(&intent->op, INTENT_NONE);
    layout_flush(&instance->layout, &intent->op);
    struct layout_slot *slot = layout_slot(&instance->layout, instance->slot);
    size_t number = (size_t)(intent - slot->intents);
    if (number >= INSTANCE_OWN_INTENTS) {
        uint64_t *taken = &instance->intents[number - INSTANCE_OWN_INTENTS].value;
        __atomic_store_n(taken, 0, __ATOMIC_RELEASE); /* DRAM: */
    }
}

int64_t generation_find(const struct layout *layout, alps_gen_t number)
{
    unsigned index = generation_home(layout, number);
    for (unsigned i = 0; i < layout->generation_count; i++) {
        uint64_t word = fam_load_acquire(layout_generation(layout, index));
        if ((word & GENERATION_USED) != 0 && generation_number(word) == number)
            return index;
        index = (index + 1) % layout->generation_count;
    }
    return -1;
}

unsigned generation_collect(const struct layout *layout, const uint64_t *before,
                            const uint64_t *in_use)
{
    unsigned collected = 0;
    for (unsigned i = 1; i < layout->generation_count; i++) {
        uint64_t word = before[i];
        if (word == 0 || (word & GENERATION_OPEN) != 0 || (in_use[i / 64] >> (i % 64) & 1) != 0)
            continue;
        if (fam_cas(layout_generation(layout, i), &word, 0)) {
            layout_persist(layout, layout_generation(layout, i));
            collected++;
        }
    }
    return collected;
}
