/* Named roots.
 *
 * Idea: a table of entries, looked through from its start. A reader takes no lock: an entry counts
 * while its state says used, and what was read from it is good if the state is the same afterwards.
 * Writers take a lock in the heap, which names its owner: it is taken from a dead one by recovery.
 *
 * Invariants
 *   R1 The name of a used entry ends with a NUL, is not empty, and no two used entries have the
 * same.
 *
 * Crash, new root
 *   killed after    seen as             repaired by
 *   lock            no change           whoever wants the lock: recovery of its owner
 *   name, ptr       no change           nobody: the entry is unused
 *   state used      the new root        nobody
 * A value is changed, and a root removed, by one store.
 */
#include "heap.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "error.h"

#define ROOT_USED ((uint64_t)1)
#define NAME_WORDS 8
#define LOCK_PATIENCE_S 10

struct root_name {
    uint64_t words[NAME_WORDS];
};

static int take_name(const char *name, struct root_name *result)
{
    size_t length = name == NULL ? 0 : strnlen(name, ALPS_ROOT_NAME_MAX + 1);
    if (length == 0 || length > ALPS_ROOT_NAME_MAX)
        return error_set(EINVAL, "the name of a root has from 1 to %d bytes", ALPS_ROOT_NAME_MAX);
    memset(result, 0, sizeof *result);
    memcpy(result->words, name, length);
    return 0;
}

/* A consistent copy of an entry; false if it is not used. */
static bool read_root(const struct layout_root *root, struct root_name *name, alps_ptr_t *p)
{
    for (;;) {
        uint64_t state = fam_load_acquire(&root->state);
        if ((state & ROOT_USED) == 0)
            return false;
        for (unsigned i = 0; i < NAME_WORDS; i++)
            name->words[i] = fam_load_acquire(&root->name[i]);
        *p = fam_load_acquire(&root->ptr);
        if (fam_load_acquire(&root->state) == state)
            return true;
    }
}

/* Index of the entry with a name, or -1. */
static int find_root(const struct layout *l, const struct root_name *name, alps_ptr_t *p)
{
    for (unsigned i = 0; i < l->root_count; i++) {
        struct root_name other;
        if (read_root(layout_root(l, i), &other, p) && memcmp(&other, name, sizeof other) == 0)
            return (int)i;
    }
    return -1;
}

static int lock_roots(alps_heap_t *heap)
{
    fam_word_t *lock = &layout_super(heap_layout(heap))->root_lock;
    for (unsigned tries = 0; tries < LOCK_PATIENCE_S * 1000; tries++) {
        uint64_t holder = 0;
        if (fam_cas(lock, &holder, heap->instance.owner))
            return 0;
        unsigned slot = span_owner_slot(holder);
        if (slot >= heap_layout(heap)->instance_count ||
            instance_alive(&heap->instance, slot) == 0) {
            int rc = heap_recover(heap, false, NULL);
            if (rc != 0)
                return rc;
        }
        if (tries >= 100)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return error_set(EBUSY, "%s: an instance that does not go on holds the table of roots",
                     heap_name(heap));
}

static void unlock_roots(alps_heap_t *heap)
{
    fam_store_release(&layout_super(heap_layout(heap))->root_lock, 0);
}

static uint64_t next_state(const struct layout_root *root, uint64_t used)
{
    return ((fam_load(&root->state) >> 8) + 1) << 8 | used;
}

static int add_root(alps_heap_t *heap, const struct root_name *name, alps_ptr_t p)
{
    const struct layout *l = heap_layout(heap);
    for (unsigned i = 0; i < l->root_count; i++) {
        struct layout_root *root = layout_root(l, i);
        if ((fam_load(&root->state) & ROOT_USED) != 0)
            continue;
        for (unsigned w = 0; w < NAME_WORDS; w++)
            fam_store_release(&root->name[w], name->words[w]);
        fam_store_release(&root->ptr, p);
        layout_flush_words(l, &root->state, sizeof *root / sizeof root->state);
        layout_fence(l);
        fam_store_release(&root->state, next_state(root, ROOT_USED));
        layout_persist(l, &root->state);
        return 0;
    }
    return error_set(ENOSPC, "%s: all %u roots are in use", heap_name(heap), l->root_count);
}

int alps_root_set(alps_heap_t *heap, const char *text, alps_ptr_t p)
{
    NOT_CANCELLED;
    struct root_name name;
    int rc = heap_may_write(heap);
    if (rc == 0)
        rc = take_name(text, &name);
    if (rc == 0)
        rc = lock_roots(heap);
    if (rc != 0)
        return rc;
    const struct layout *l = heap_layout(heap);
    alps_ptr_t before;
    int i = find_root(l, &name, &before);
    if (i >= 0 && p != ALPS_NULL)
        fam_store_release(&layout_root(l, (unsigned)i)->ptr, p);
    else if (i >= 0)
        fam_store_release(&layout_root(l, (unsigned)i)->state,
                          next_state(layout_root(l, (unsigned)i), 0));
    else if (p != ALPS_NULL)
        rc = add_root(heap, &name, p);
    else
        rc = error_set(ENOENT, "%s: there is no root \"%s\"", heap_name(heap), text);
    if (i >= 0)
        layout_persist(l, &layout_root(l, (unsigned)i)->state); /* on one line with the pointer */
    unlock_roots(heap);
    return rc;
}

alps_ptr_t alps_root_get(alps_heap_t *heap, const char *text)
{
    struct root_name name;
    alps_ptr_t p = ALPS_NULL;
    int rc = heap_may_read(heap);
    if (rc == 0)
        rc = take_name(text, &name);
    if (rc == 0 && find_root(heap_layout(heap), &name, &p) < 0)
        rc = error_set(ENOENT, "%s: there is no root \"%s\"", heap_name(heap), text);
    if (rc == 0)
        return p;
    errno = -rc;
    return ALPS_NULL;
}

int alps_root_walk(alps_heap_t *heap, int (*visit)(const char *name, alps_ptr_t p, void *context),
                   void *context)
{
    int rc = heap_may_read(heap);
    if (rc == 0 && visit == NULL)
        rc = error_set(EINVAL, "visit is NULL");
    const struct layout *l = rc == 0 ? heap_layout(heap) : NULL;
    for (unsigned i = 0; rc == 0 && i < l->root_count; i++) {
        struct root_name name;
        alps_ptr_t p;
        if (!read_root(layout_root(l, i), &name, &p))
            continue;
        char text[sizeof name + 1] = {0};
        memcpy(text, &name, sizeof name);
        rc = visit(text, p, context);
    }
    return rc;
}
