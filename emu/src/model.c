/* Bandwidth, queues and shared lines.
 *
 * Idea. A link, or a memory device, moves so many bytes in a window of time (10 us of virtual or
 * 100 us of real time) and no more. Each has a ring of windows in shared memory; a transfer takes
 * what it needs from the window of its time, and what does not fit there from the next ones. When
 * its last byte has found a place is known at once, so nobody waits for anybody, and it does not
 * matter in which order transfers of different times come: processes whose virtual clocks are apart
 * share a link as they would side by side. What a window's beginning has left unused can be used
 * until its end, so a process that was held up by the scheduler catches up within a window.
 *
 * A transfer takes time, not bytes: how long a byte takes depends on the share of reads, which the
 * windows count, too. How long an idle access takes grows with the utilisation of the window before
 * by the profile's curve.
 *
 * Invariants. M1: a window's time is never taken beyond its length, by compare-and-swap. M2: a
 * window belongs to the time in its tag; whoever comes with a later time takes it over, and whoever
 * comes with an earlier time than the ring remembers waits for nobody.
 *
 * Crash. Every change is one atomic operation on one word; a process killed between two leaves
 * counts that are off by one transfer, for one window. */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

#define RING 65536u       /* windows remembered */
#define DIRECTORY_BITS 22 /* of lines told apart */
#define DEVICES_MAX 1024u
#define MAGIC UINT64_C(0x31756d65736c7061)

/* Time taken, in ps, in the low bits of taken; the number of the window above. */
#define TIME_BITS 28
#define TIME_MASK (((uint64_t)1 << TIME_BITS) - 1)

struct window {
    uint64_t taken;
    uint32_t reads, writes; /* lines */
};

struct server {
    struct window ring[RING];
};

/* The shared file; servers follow. */
struct shared {
    uint64_t magic, profile, window_ps, hosts;
    uint64_t agents;
    uint64_t lost_count;
    uint64_t notes[MODEL_NOTES];
    unsigned char lost[DEVICES_MAX];
    uint64_t directory[1u << DIRECTORY_BITS];
    struct server servers[];
};

struct model {
    struct profile profile;
    struct shared *shared;
    size_t length;
    int fd; /* of the file, locked, until model_opened; else -1 */
    unsigned device_count;
    unsigned char device_memory[DEVICES_MAX]; /* kind of each device */
    unsigned link_first[PROFILE_LINKS_MAX];   /* server of a link, of host 0 */
    unsigned device_first;                    /* server of device 0 */
};

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* ---- opening ---- */

static uint64_t hash(const void *data, size_t bytes)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    return h;
}

static int map_shared(struct model *m, const char *path, int fd, unsigned hosts, uint64_t window_ps)
{
    struct stat status;
    if (fd >= 0 && flock(fd, LOCK_EX) != 0) /* one at a time sets it up */
        return emu_fail_system(errno, "%s: cannot be locked", path);
    if (fd >= 0 && fstat(fd, &status) != 0)
        return emu_fail_system(errno, "%s", path);
    bool is_new = fd < 0 || status.st_size == 0;
    if (!is_new && status.st_size != (off_t)m->length)
        return emu_fail(EINVAL, "%s: is no state of the emulator with profile %s", path,
                        m->profile.name);
    if (fd >= 0 && is_new && ftruncate(fd, (off_t)m->length) != 0)
        return emu_fail_system(errno, "%s", path);
    void *p = mmap(NULL, m->length, PROT_READ | PROT_WRITE,
                   fd >= 0 ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED)
        return emu_fail_system(errno, "the emulator's state cannot be mapped");
    m->shared = p;
    struct shared *s = m->shared;
    uint64_t profile = hash(&m->profile, sizeof m->profile);
    if (s->magic == 0) { /* new, or whoever made it died */
        s->profile = profile;
        s->window_ps = window_ps;
        s->hosts = hosts;
        s->agents = 1;
        s->magic = MAGIC;
    } else if (s->magic != MAGIC || s->profile != profile || s->window_ps != window_ps ||
               s->hosts != hosts) {
        return emu_fail(EINVAL,
                        "%s: is the state of an emulator with another profile, mode or number of "
                        "hosts",
                        path);
    }
    return 0;
}

int model_open(struct model **model, const struct profile *profile, const char *path,
               unsigned hosts, uint64_t window_ps)
{
    struct model *m = calloc(1, sizeof *m);
    if (m == NULL)
        return emu_fail(ENOMEM, "no memory for the emulator's state");
    m->profile = *profile;
    unsigned servers = 0;
    for (unsigned i = 0; i < profile->link_count; i++) {
        m->link_first[i] = servers;
        servers += profile->links[i].each_host ? hosts : 1;
    }
    m->device_first = servers;
    for (unsigned i = 0; i < profile->memory_count; i++)
        for (uint64_t j = 0; j < profile->memories[i].count; j++)
            m->device_memory[m->device_count++] = (unsigned char)i;
    servers += m->device_count;
    m->length = sizeof(struct shared) + servers * sizeof(struct server);

    int rc = 0;
    m->fd = -1;
    if (path != NULL) {
        /* No file that others put in the way; a descriptor of our own is a link, too. */
        const bool inherited = strncmp(path, "/proc/self/fd/", strlen("/proc/self/fd/")) == 0;
        m->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (inherited ? 0 : O_NOFOLLOW), 0600);
        if (m->fd < 0)
            rc = emu_fail_system(errno, "%s", path);
    }
    if (rc == 0)
        rc = map_shared(m, path, m->fd, hosts, window_ps);
    if (rc != 0)
        model_close(m);
    else
        *model = m;
    return rc;
}

void model_opened(struct model *m)
{
    if (m->fd >= 0) {
        flock(m->fd, LOCK_UN); /* the mapping keeps the opening, and would keep the lock */
        close(m->fd);
    }
    m->fd = -1;
}

void model_close(struct model *m)
{
    model_opened(m);
    if (m->shared != NULL)
        munmap(m->shared, m->length);
    free(m);
}

/* ---- bandwidth ---- */

unsigned model_device(const struct model *m, uint64_t position, uint64_t *rest)
{
    *rest = m->device_count == 1 ? UINT64_MAX
                                 : m->profile.interleave - position % m->profile.interleave;
    return (unsigned)(position / m->profile.interleave % m->device_count);
}

/* The window of a time, taken over if it was of an earlier one; NULL if it is of a later one. */
static struct window *window_at(struct server *server, uint64_t number)
{
    const uint64_t tag = number << TIME_BITS;
    struct window *w = &server->ring[number % RING];
    uint64_t taken = load(&w->taken);
    while ((taken & ~TIME_MASK) != tag) {
        if ((int64_t)((taken & ~TIME_MASK) - tag) > 0)
            return NULL;
        if (__atomic_compare_exchange_n(&w->taken, &taken, tag, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            __atomic_store_n(&w->reads, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&w->writes, 0, __ATOMIC_RELAXED);
            break;
        }
    }
    return w;
}

/* Takes up to wanted ps of a window; returns how much, and where in the window it ends. */
static uint64_t take_time(struct window *w, uint64_t number, uint64_t length, uint64_t wanted,
                          uint64_t *end)
{
    const uint64_t tag = number << TIME_BITS;
    uint64_t taken = load(&w->taken), part;
    do {
        if ((taken & ~TIME_MASK) != tag || (taken & TIME_MASK) >= length)
            return 0;
        part = length - (taken & TIME_MASK);
        if (part > wanted)
            part = wanted;
    } while (!__atomic_compare_exchange_n(&w->taken, &taken, taken + part, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    *end = (taken & TIME_MASK) + part;
    return part;
}

/* Share of reads lately, with this transfer; counts it. */
static double count_mix(struct server *server, uint64_t number, bool read, uint64_t bytes)
{
    const uint32_t lines = (uint32_t)((bytes + LINE - 1) / LINE);
    struct window *w = window_at(server, number);
    if (w == NULL)
        return read ? 1 : 0;
    __atomic_fetch_add(read ? &w->reads : &w->writes, lines, __ATOMIC_RELAXED);
    double reads = __atomic_load_n(&w->reads, __ATOMIC_RELAXED);
    double writes = __atomic_load_n(&w->writes, __ATOMIC_RELAXED);
    const struct window *before = &server->ring[(number - 1) % RING];
    if (load(&before->taken) >> TIME_BITS == ((number - 1) & (UINT64_MAX >> TIME_BITS))) {
        reads += __atomic_load_n(&before->reads, __ATOMIC_RELAXED);
        writes += __atomic_load_n(&before->writes, __ATOMIC_RELAXED);
    }
    return reads / (reads + writes);
}

/* Queues a transfer; returns how long it waits, and *service how long it takes. */
static uint64_t reserve(struct model *m, unsigned index, const struct curve *bandwidth, bool read,
                        uint64_t bytes, uint64_t now, uint64_t *service)
{
    if (bandwidth->count == 0 || bytes == 0)
        return 0;
    struct server *server = &m->shared->servers[index];
    const uint64_t length = m->shared->window_ps;
    uint64_t number = now / length;
    const double rate = bandwidth->count == 1
                            ? bandwidth->points[0].y
                            : curve_at(bandwidth, count_mix(server, number, read, bytes));
    const uint64_t needed = (uint64_t)((double)bytes * 1000 / rate);
    uint64_t left = needed, finish = now + needed;
    if (needed > *service)
        *service = needed;
    while (left > 0) {
        struct window *w = window_at(server, number);
        if (w == NULL)
            break; /* too long ago: M2 */
        uint64_t end, part = take_time(w, number, length, left, &end);
        left -= part;
        if (part > 0 && number * length + end > finish)
            finish = number * length + end;
        number++;
    }
    return finish - now - needed;
}

/* How busy the server was in the window before. */
static double utilisation(const struct model *m, unsigned index, uint64_t now)
{
    const uint64_t number = now / m->shared->window_ps - 1;
    const uint64_t taken = load(&m->shared->servers[index].ring[number % RING].taken);
    if (taken >> TIME_BITS != (number & (UINT64_MAX >> TIME_BITS)))
        return 0;
    return (double)(taken & TIME_MASK) / (double)m->shared->window_ps;
}

struct model_cost model_transfer(struct model *m, unsigned host, unsigned device,
                                 enum emu_access access, bool outward, uint64_t bytes, uint64_t now)
{
    const unsigned kind = m->device_memory[device];
    const struct profile_memory *memory = &m->profile.memories[kind];
    struct model_cost cost = {profile_latency_ps(&m->profile, kind, access), 0, 0};
    if (bytes != 0 && bytes < memory->grain)
        bytes = memory->grain;
    if (memory->loaded.count > 0)
        cost.latency_ps =
            (uint64_t)((double)cost.latency_ps *
                       curve_at(&memory->loaded, utilisation(m, m->device_first + device, now)));
    for (unsigned i = 0; i < memory->path_length; i++) {
        const struct profile_link *link = &m->profile.links[memory->path[i]];
        const unsigned server = m->link_first[memory->path[i]] + (link->each_host ? host : 0);
        cost.queue_ps += reserve(m, server, &link->bandwidth, !outward, bytes, now + cost.queue_ps,
                                 &cost.service_ps);
    }
    cost.queue_ps += reserve(m, m->device_first + device, &memory->bandwidth, !outward, bytes,
                             now + cost.queue_ps, &cost.service_ps);
    return cost;
}

/* ---- lines ---- */

/* A word of the directory: who owns the line (0: nobody) in the upper 16 bits, how often it
 * changed hands below. Lines that meet in a word seem to be one, as if they shared a set. */
#define OWNER_SHIFT 48
#define STAMP_MASK (((uint64_t)1 << OWNER_SHIFT) - 1)

static uint64_t *directory_word(struct model *m, uint64_t line)
{
    /* Of lines in a row no two meet, and the words of such are in a row, too: few pages. */
    const uint64_t stretch = (line >> DIRECTORY_BITS) * UINT64_C(0x9e3779b97f4a7c15);
    return &m->shared->directory[(line + (stretch >> 32)) & ((1u << DIRECTORY_BITS) - 1)];
}

uint64_t model_stamp(struct model *m, uint64_t line)
{
    return load(directory_word(m, line)) & STAMP_MASK;
}

uint64_t model_fetch(struct model *m, uint64_t line, unsigned agent)
{
    uint64_t *word = directory_word(m, line), now = load(word);
    while (now >> OWNER_SHIFT != 0 && now >> OWNER_SHIFT != agent)
        if (__atomic_compare_exchange_n(word, &now, now & STAMP_MASK, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            break;
    return now & STAMP_MASK;
}

uint64_t model_own(struct model *m, uint64_t line, unsigned agent, bool *had_it)
{
    uint64_t *word = directory_word(m, line), now = load(word), next;
    *had_it = now >> OWNER_SHIFT == agent;
    if (*had_it)
        return now & STAMP_MASK;
    do
        next = (uint64_t)agent << OWNER_SHIFT | ((now + 1) & STAMP_MASK);
    while (
        !__atomic_compare_exchange_n(word, &now, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return next & STAMP_MASK;
}

unsigned model_new_agent(struct model *m)
{
    return (unsigned)(__atomic_fetch_add(&m->shared->agents, 1, __ATOMIC_RELAXED) % 65535) + 1;
}

/* ---- lost devices, notes ---- */

int model_lose(struct model *m, unsigned device, bool lost)
{
    if (device >= m->device_count)
        return emu_fail(EINVAL, "profile %s has no memory device %u, but %u from 0",
                        m->profile.name, device, m->device_count);
    if (__atomic_exchange_n(&m->shared->lost[device], lost, __ATOMIC_SEQ_CST) != lost)
        __atomic_fetch_add(&m->shared->lost_count, lost ? 1 : (uint64_t)-1, __ATOMIC_SEQ_CST);
    return 0;
}

bool model_is_lost(const struct model *m, unsigned device)
{
    return __atomic_load_n(&m->shared->lost[device], __ATOMIC_RELAXED) != 0;
}

bool model_any_lost(const struct model *m)
{
    return load(&m->shared->lost_count) != 0;
}

double model_note(const struct model *m, unsigned index)
{
    uint64_t bits = load(&m->shared->notes[index]);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void model_set_note(struct model *m, unsigned index, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    __atomic_store_n(&m->shared->notes[index], bits, __ATOMIC_RELAXED);
}
