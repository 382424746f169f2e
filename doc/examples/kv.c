/* A store of keys and values in a heap, with readers in other processes.
 *
 *     kv FILE put KEY VALUE | get KEY | delete KEY
 *
 * One writer at a time, by a mutex that outlives its owner; readers take no lock and never wait.
 * The memory of a freed entry can still be read, it only means nothing: so they look afterwards
 * whether an entry was taken out meanwhile, and begin again then.
 *
 * Killed anywhere, a writer leaves the store whole: an entry is allocated into a place of the store
 * (alps_malloc_to), and one store of a pointer puts it into its chain, or takes it out. */
#include <alps/alps.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

struct entry {
    alps_ptr_t next;
    char key[64], value[184];
};

struct store {
    pthread_mutex_t writers;
    unsigned long removals;
    alps_ptr_t spare; /* the entry that is being put into a chain, or taken out */
    unsigned spare_bucket;
    alps_ptr_t buckets[BUCKETS];
};

static alps_heap_t *heap;
static struct store *store;

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "kv: %s: %s\n", what, detail);
    exit(1);
}

static void open_store(const char *path)
{
    struct alps_open_options options = {.struct_size = sizeof options,
                                        .flags = ALPS_OPEN_PERMANENT};
    int rc = alps_heap_create(path, NULL);
    if (rc == -EEXIST)
        rc = 0;
    if (rc != 0 || alps_heap_open(path, &options, &heap) != 0)
        fail(path, alps_error_detail());
    alps_ptr_t p = alps_root_get(heap, "store");
    if (p == ALPS_NULL) { /* the first one makes it */
        pthread_mutexattr_t shared;
        p = alps_calloc(heap, 1, sizeof *store, ALPS_ANY_NODE);
        if (p == ALPS_NULL)
            fail("store", alps_error_detail());
        pthread_mutexattr_init(&shared);
        pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&((struct store *)alps_deref(heap, p))->writers, &shared);
        if (alps_root_set(heap, "store", p) != 0)
            fail("store", alps_error_detail());
    }
    store = alps_deref(heap, p);
}

static unsigned bucket_of(const char *key)
{
    unsigned hash = 5381;
    for (const char *c = key; *c != '\0'; c++)
        hash = hash * 33 + (unsigned char)*c;
    return hash % BUCKETS;
}

static void set_pointer(alps_ptr_t *where, alps_ptr_t p)
{
    __atomic_store_n(where, p, __ATOMIC_RELEASE);
}

/* Frees the spare entry, which is in no chain any more. */
static void free_spare(void)
{
    __atomic_add_fetch(&store->removals, 1, __ATOMIC_SEQ_CST); /* before it is somebody else's */
    alps_free_from(heap, &store->spare);
}

static void begin_writing(void)
{
    if (pthread_mutex_lock(&store->writers) == EOWNERDEAD)
        pthread_mutex_consistent(&store->writers);
    if (store->spare == ALPS_NULL)
        return;
    /* A writer died. Its entry is in the chain, or nobody's. */
    alps_ptr_t p = store->buckets[store->spare_bucket];
    while (p != ALPS_NULL && p != store->spare)
        p = ((struct entry *)alps_deref(heap, p))->next;
    if (p == ALPS_NULL)
        free_spare();
    store->spare = ALPS_NULL;
}

/* Takes all entries of a key out of its chain, from a place in it on; returns how many. */
static int take_out(alps_ptr_t *where, const char *key)
{
    int count = 0;
    struct entry *entry;
    while ((entry = alps_deref(heap, *where)) != NULL) {
        if (strcmp(entry->key, key) != 0) {
            where = &entry->next;
            continue;
        }
        store->spare_bucket = bucket_of(key);
        set_pointer(&store->spare, *where);
        set_pointer(where, entry->next);
        free_spare();
        count++;
    }
    return count;
}

static void put(const char *key, const char *value)
{
    alps_ptr_t *bucket = &store->buckets[bucket_of(key)];
    store->spare_bucket = bucket_of(key);
    if (alps_malloc_to(heap, &store->spare, sizeof(struct entry), ALPS_ANY_NODE) == ALPS_NULL)
        fail("put", alps_error_detail());
    struct entry *entry = alps_deref(heap, store->spare);
    snprintf(entry->key, sizeof entry->key, "%s", key);
    snprintf(entry->value, sizeof entry->value, "%s", value);
    entry->next = *bucket;
    set_pointer(bucket, store->spare); /* from now on it is what readers find */
    set_pointer(&store->spare, ALPS_NULL);
    take_out(&entry->next, key);
}

/* Copies the entry of a key; 0 if there is none. */
static int get(const char *key, struct entry *copy)
{
    unsigned long removals, now;
    do {
        now = removals = __atomic_load_n(&store->removals, __ATOMIC_ACQUIRE);
        alps_ptr_t p = __atomic_load_n(&store->buckets[bucket_of(key)], __ATOMIC_ACQUIRE);
        for (; p != ALPS_NULL && now == removals; p = copy->next) {
            memcpy(copy, alps_deref(heap, p), sizeof *copy);
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            now = __atomic_load_n(&store->removals, __ATOMIC_RELAXED);
            if (now == removals && strcmp(copy->key, key) == 0)
                return 1;
        }
    } while (now != removals);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != (argc > 2 && strcmp(argv[2], "put") == 0 ? 5 : 4)) {
        fprintf(stderr, "usage: kv FILE put KEY VALUE | get KEY | delete KEY\n");
        return 2;
    }
    open_store(argv[1]);
    struct entry entry;
    int found = 1;
    if (strcmp(argv[2], "get") == 0) {
        found = get(argv[3], &entry);
        if (found)
            puts(entry.value);
    } else {
        begin_writing();
        if (argc == 5)
            put(argv[3], argv[4]);
        else
            found = take_out(&store->buckets[bucket_of(argv[3])], argv[3]) > 0;
        pthread_mutex_unlock(&store->writers);
    }
    alps_heap_close(heap);
    return !found;
}
