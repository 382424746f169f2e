/* The emulator's interface: starting, ranges, threads, and the way of an access to its mode.
 *
 * Ranges are a sorted array that is replaced as a whole, so that lookups take no lock; arrays that
 * were replaced are kept until the emulator stops, since somebody may still be looking. A thread's
 * state is made at its first access and found by a thread-local pointer; the number of the start
 * beside it tells whether it is of this emulator or of an earlier one. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "state.h"
#include "tsc.h"

#define RANGES_MAX 64
#define PIECE_MAX ((size_t)64 << 10)

struct ranges {
    struct ranges *before;
    unsigned count;
    struct range {
        uintptr_t address;
        uint64_t length, position;
    } ranges[];
};

int emu_running;
static struct emulator *emulator;
static const struct mode *mode; /* NULL: accesses cost nothing */
static struct ranges *ranges;
static uint64_t kill_countdown; /* accesses until this process ends; 0: never */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* ranges, threads, starting */
static struct thread *threads;
static struct emu_counts ended; /* of threads that are gone */
static unsigned starts;
static pthread_key_t thread_key;
static _Thread_local struct thread *self;
static _Thread_local unsigned self_start;

/* ---- threads ---- */

static void add_counts(struct emu_counts *sum, const struct emu_counts *counts)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counts;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

static void free_thread(struct thread *t)
{
    if (mode != NULL && mode->stop_thread != NULL)
        mode->stop_thread(t);
    free(t->flushed.lines);
    free(t);
}

static void thread_ended(void *value)
{
    struct thread *t = value;
    self = NULL; /* other destructors may still access far memory */
    pthread_mutex_lock(&lock);
    struct thread **link = &threads; /* if the emulator has stopped, it is no longer there */
    while (*link != NULL && *link != t)
        link = &(*link)->next;
    if (*link != NULL) {
        *link = t->next;
        add_counts(&ended, &t->counts);
        free_thread(t);
    }
    pthread_mutex_unlock(&lock);
}

/* A new thread's state; NULL if there is no memory for it. */
static struct thread *new_thread(unsigned host)
{
    struct thread *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->agent = model_new_agent(emulator->model);
    t->host = host;
    if (mode != NULL && mode->start_thread != NULL && mode->start_thread(emulator, t) != 0) {
        free(t);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    t->next = threads;
    threads = t;
    pthread_mutex_unlock(&lock);
    return t;
}

/* The calling thread's state; NULL if there is no memory for it. */
static struct thread *this_thread(void)
{
    if (self != NULL && self_start == starts)
        return self;
    struct thread *t = new_thread(emulator->host);
    if (t == NULL)
        return NULL;
    pthread_setspecific(thread_key, t);
    self_start = starts;
    self = t;
    return t;
}

/* A forked child has the one thread, which is another agent than the parent's. */
static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void in_child(void)
{
    if (emulator != NULL) {
        for (struct thread *t = threads, *next; t != NULL; t = next) {
            next = t->next;
            if (t != self)
                free_thread(t);
        }
        threads = self_start == starts ? self : NULL;
        memset(&ended, 0, sizeof ended);
        if (threads != NULL) {
            self->next = NULL;
            self->agent = model_new_agent(emulator->model);
            memset(&self->counts, 0, sizeof self->counts);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- starting and stopping ---- */

static void make_key(void)
{
    pthread_key_create(&thread_key, thread_ended);
    pthread_atfork(before_fork, in_parent, in_child);
}

static const char *const mode_names[] = {"off", "numa", "spin", "virtual", "epoch"};

static int read_number(const char *name, unsigned most, unsigned *number)
{
    const char *text = getenv(name);
    if (text == NULL)
        return 0;
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n > most)
        return emu_fail(EINVAL, "%s=%s: a number from 0 to %u is wanted", name, text, most);
    *number = (unsigned)n;
    return 0;
}

/* What the environment says of the memory as it is; 0 if it says nothing. */
static int read_base(double *base_ns)
{
    const char *text = getenv("EMU_BASE_NS");
    char *end;
    if (text == NULL)
        return 0;
    *base_ns = strtod(text, &end);
    if (end == text || *end != '\0' || !(*base_ns > 0 && *base_ns < 1e6))
        return emu_fail(EINVAL, "EMU_BASE_NS=%s: nanoseconds are wanted", text);
    return 0;
}

static int read_environment(struct emu_options *o)
{
    memset(o, 0, sizeof *o);
    o->struct_size = sizeof *o;
    const char *text = getenv("EMU_MODE");
    unsigned i = EMU_OFF;
    while (text != NULL && i <= EMU_EPOCH && strcmp(mode_names[i], text) != 0)
        i++;
    if (i > EMU_EPOCH)
        return emu_fail(EINVAL, "EMU_MODE=%s: off, numa, spin, virtual or epoch is wanted", text);
    o->mode = (enum emu_mode)i;
    o->profile = getenv("EMU_PROFILE");
    o->share = getenv("EMU_SHARE");
    int rc = read_number("EMU_HOSTS", EMU_HOSTS_MAX, &o->hosts);
    if (rc == 0)
        rc = read_number("EMU_HOST", EMU_HOSTS_MAX - 1, &o->host);
    return rc;
}

static int check_options(const struct emu_options *o)
{
    if (o->struct_size != sizeof *o)
        return emu_fail(EINVAL, "struct_size is not sizeof(struct emu_options)");
    if ((unsigned)o->mode > EMU_EPOCH)
        return emu_fail(EINVAL, "mode %d is none", (int)o->mode);
    const unsigned hosts = o->hosts == 0 ? 1 : o->hosts;
    if (hosts > EMU_HOSTS_MAX || o->host >= hosts)
        return emu_fail(EINVAL, "host %u of %u hosts: there is no such host", o->host, hosts);
    if (o->profile == NULL && o->mode != EMU_NUMA && o->mode != EMU_OFF)
        return emu_fail(EINVAL, "the mode %s needs a profile", mode_names[o->mode]);
    return 0;
}

static void describe(struct emulator *e)
{
    const struct profile *p = &e->profile;
    size_t length = 0;
    length += (size_t)snprintf(e->text, sizeof e->text, "%s", mode_names[e->mode]);
    if (e->mode == EMU_NUMA)
        return;
    length += (size_t)snprintf(e->text + length, sizeof e->text - length, " %s, read %.0f ns",
                               p->name, (double)profile_latency_ps(p, 0, EMU_READ) / 1000);
    if (e->base_ns > 0)
        snprintf(e->text + length, sizeof e->text - length, ", base %.1f ns", e->base_ns);
}

static int start(struct emulator *e, const struct emu_options *o)
{
    static const struct mode *const modes[] = {NULL, NULL, &mode_spin, &mode_virtual, &mode_epoch};
    e->mode = o->mode;
    e->host = o->host;
    e->hosts = o->hosts == 0 ? 1 : o->hosts;
    e->base_ns = o->base_ns;
    int rc = e->base_ns == 0 ? read_base(&e->base_ns) : 0;
    if (rc != 0)
        return rc;
    rc = o->mode == EMU_NUMA ? profile_parse(&e->profile, "numa", "[memory node]\n")
                             : profile_load(&e->profile, o->profile);
    if (rc == 0)
        rc = model_open(&e->model, &e->profile, o->share, e->hosts,
                        o->mode == EMU_VIRTUAL ? 10u * 1000 * 1000 : 100u * 1000 * 1000);
    mode = modes[o->mode];
    if (rc == 0 && mode != NULL && mode->start != NULL)
        rc = mode->start(e);
    if (rc != 0)
        return rc;
    starts++;
    memset(&ended, 0, sizeof ended);
    emu_running = mode != NULL;
    if (mode != NULL && mode->calibrate != NULL)
        rc = mode->calibrate(e);
    if (self != NULL && self_start == starts)
        memset(&self->counts, 0, sizeof self->counts);
    return rc;
}

/* Frees what there is of it. */
static void stop(void)
{
    emu_running = 0;
    pthread_mutex_lock(&lock);
    for (struct thread *t = threads, *next; t != NULL; t = next) {
        next = t->next;
        free_thread(t);
    }
    threads = NULL;
    self = NULL;
    for (struct ranges *r = ranges, *before; r != NULL; r = before) {
        before = r->before;
        free(r);
    }
    ranges = NULL;
    kill_countdown = 0;
    mode = NULL;
    power_stop();
    pthread_mutex_unlock(&lock);
    pthread_setspecific(thread_key, NULL);
    if (emulator->model != NULL)
        model_close(emulator->model);
    free(emulator);
    emulator = NULL;
}

int emu_start(const struct emu_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct emu_options from_environment;
    int rc = 0;
    if (options == NULL) {
        rc = read_environment(&from_environment);
        options = &from_environment;
    }
    if (rc == 0)
        rc = check_options(options);
    if (rc != 0 || options->mode == EMU_OFF)
        return rc;
    if (emulator != NULL)
        return emu_fail(EBUSY, "an emulator is started already");
    pthread_once(&once, make_key);
    emulator = calloc(1, sizeof *emulator);
    if (emulator == NULL)
        return emu_fail(ENOMEM, "no memory for the emulator");
    rc = start(emulator, options);
    if (rc != 0) {
        stop();
        return rc;
    }
    describe(emulator);
    model_opened(emulator->model);
    return 0;
}

void emu_start_early(void)
{
    if (emulator != NULL || emu_start(NULL) == 0)
        return;
    fprintf(stderr, "emulator: %s\n", emu_error_detail());
    _exit(2);
}

void emu_stop(void)
{
    if (emulator != NULL)
        stop();
}

const char *emu_describe(void)
{
    return emulator == NULL ? "off" : emulator->text;
}

/* ---- ranges ---- */

static int not_started(void)
{
    return emu_fail(EINVAL, "no emulator is started");
}

/* A new array from the present one with room for so many; the caller has the lock. */
static struct ranges *copy_ranges(unsigned room)
{
    struct ranges *copy = calloc(1, sizeof *copy + room * sizeof(struct range));
    if (copy == NULL)
        return NULL;
    copy->before = ranges;
    if (ranges != NULL) {
        copy->count = ranges->count;
        memcpy(copy->ranges, ranges->ranges, ranges->count * sizeof(struct range));
    }
    return copy;
}

static int add_range(uintptr_t address, uint64_t length, uint64_t position)
{
    const unsigned present = ranges == NULL ? 0 : ranges->count;
    unsigned i = 0;
    while (i < present && ranges->ranges[i].address < address)
        i++;
    if ((i > 0 && address - ranges->ranges[i - 1].address < ranges->ranges[i - 1].length) ||
        (i < present && ranges->ranges[i].address - address < length))
        return emu_fail(EINVAL, "the range overlaps one that is far already");
    if (present == RANGES_MAX)
        return emu_fail(ENOSPC, "there are %d ranges already", RANGES_MAX);
    struct ranges *copy = copy_ranges(present + 1);
    if (copy == NULL)
        return emu_fail(ENOMEM, "no memory for one more range");
    memmove(&copy->ranges[i + 1], &copy->ranges[i], (present - i) * sizeof(struct range));
    copy->ranges[i] = (struct range){address, length, position};
    copy->count = present + 1;
    __atomic_store_n(&ranges, copy, __ATOMIC_RELEASE);
    return 0;
}

int emu_add(const void *address, uint64_t length, uint64_t position)
{
    if (emulator == NULL)
        return not_started();
    if (address == NULL || length == 0 || (uintptr_t)address + length < (uintptr_t)address)
        return emu_fail(EINVAL, "the range is empty or too long");
    pthread_mutex_lock(&lock);
    int rc = add_range((uintptr_t)address, length, position);
    pthread_mutex_unlock(&lock);
    return rc;
}

int emu_remove(const void *address)
{
    if (emulator == NULL)
        return not_started();
    int rc = -ENOENT;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; ranges != NULL && i < ranges->count; i++) {
        if (ranges->ranges[i].address != (uintptr_t)address)
            continue;
        struct ranges *copy = copy_ranges(ranges->count);
        rc = copy == NULL ? -ENOMEM : 0;
        if (copy == NULL)
            break;
        copy->count--;
        memmove(&copy->ranges[i], &copy->ranges[i + 1], (copy->count - i) * sizeof(struct range));
        __atomic_store_n(&ranges, copy, __ATOMIC_RELEASE);
        break;
    }
    pthread_mutex_unlock(&lock);
    return rc == 0 ? 0 : emu_fail(-rc, rc == -ENOENT ? "no range begins there" : "no memory");
}

/* Shortens [*address, *address + *length) to its first part that is all far or all near; returns
 * the range, or NULL for near. */
static const struct range *find(uintptr_t address, size_t *length)
{
    const struct ranges *all = __atomic_load_n(&ranges, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; all != NULL && i < all->count; i++) {
        const struct range *r = &all->ranges[i];
        if (address < r->address) {
            if (r->address - address < *length)
                *length = r->address - address;
            return NULL;
        }
        const uint64_t offset = address - r->address;
        if (offset < r->length) {
            if (r->length - offset < *length)
                *length = r->length - offset;
            return r;
        }
    }
    return NULL;
}

int emu_device_of(const void *address)
{
    size_t length = 1;
    const struct range *r = emulator == NULL ? NULL : find((uintptr_t)address, &length);
    if (r == NULL)
        return emu_fail(EINVAL, "the address is not far");
    uint64_t rest;
    return (int)model_device(emulator->model, (uintptr_t)address - r->address + r->position, &rest);
}

/* ---- accesses ---- */

static void die_if_due(void)
{
    if (__atomic_load_n(&kill_countdown, __ATOMIC_RELAXED) != 0 &&
        __atomic_fetch_sub(&kill_countdown, 1, __ATOMIC_RELAXED) == 1)
        kill(getpid(), SIGKILL);
}

/* As the kernel tells of memory that is gone. */
static void raise_bus_error(const char *address)
{
    siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_ADRERR};
    info.si_addr = (void *)(uintptr_t)address;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info);
}

static void charge_piece(struct thread *t, const struct piece *p)
{
    die_if_due();
    if (model_any_lost(emulator->model) && model_is_lost(emulator->model, p->device))
        raise_bus_error(p->address);
    count(&t->counts.accesses[p->access], lines_of(p->position, p->length));
    if (p->access == EMU_FLUSH && power_is_tracked())
        power_flush(&t->flushed, p->address, p->length);
    if (mode != NULL)
        mode->charge(emulator, t, p);
}

void emu_charge(enum emu_access access, const void *address, size_t length)
{
    const char *at = address;
    while (length > 0) {
        size_t part = length;
        const struct range *r = find((uintptr_t)at, &part);
        if (r != NULL) {
            struct thread *t = this_thread();
            if (t == NULL)
                return;
            const uint64_t position = (uintptr_t)at - r->address + r->position;
            uint64_t most;
            const unsigned device = model_device(emulator->model, position, &most);
            if (most > PIECE_MAX)
                most = PIECE_MAX;
            if (part > most)
                part = most;
            const struct piece piece = {access, at, position, part, device};
            charge_piece(t, &piece);
        }
        at += part;
        length -= part;
    }
}

void emu_charge_fence(void)
{
    struct thread *t = this_thread();
    if (t == NULL)
        return;
    die_if_due();
    count(&t->counts.fences, 1);
    if (power_is_tracked())
        power_fence(&t->flushed);
    if (mode != NULL && mode->fence != NULL)
        mode->fence(emulator, t);
}

void emu_copy(void *to, const void *from, size_t length)
{
    emu_read(from, length);
    emu_write(to, length);
    memcpy(to, from, length);
}

/* ---- time and figures ---- */

uint64_t emu_clock_ns(void)
{
    if (emulator == NULL || emulator->mode != EMU_VIRTUAL)
        return tsc_clock_ns(CLOCK_MONOTONIC);
    const struct thread *t = this_thread();
    return t == NULL ? 0 : t->clock_ps / 1000;
}

void emu_compute(uint64_t ns)
{
    if (emulator != NULL && emulator->mode == EMU_VIRTUAL && this_thread() != NULL)
        self->clock_ps += ns * 1000;
}

void emu_wait_until(uint64_t clock_ns)
{
    if (emulator != NULL && emulator->mode == EMU_VIRTUAL && this_thread() != NULL &&
        self->clock_ps < clock_ns * 1000)
        self->clock_ps = clock_ns * 1000;
}

void emu_count(struct emu_counts *counts)
{
    pthread_mutex_lock(&lock);
    *counts = ended;
    for (const struct thread *t = threads; t != NULL; t = t->next)
        add_counts(counts, &t->counts);
    pthread_mutex_unlock(&lock);
    counts->charged_ns /= 1000; /* kept in ps */
    counts->queued_ns /= 1000;
}

/* ---- agents ---- */

int emu_agent_new(unsigned host, struct emu_agent **agent)
{
    if (emulator == NULL)
        return not_started();
    if (host >= emulator->hosts)
        return emu_fail(EINVAL, "host %u of %u hosts: there is no such host", host,
                        emulator->hosts);
    struct thread *t = new_thread(host);
    if (t == NULL)
        return emu_fail(ENOMEM, "no memory for one more agent");
    *agent = (struct emu_agent *)t;
    return 0;
}

struct emu_agent *emu_become(struct emu_agent *agent)
{
    struct thread *before = self_start == starts ? self : NULL;
    self = (struct thread *)agent;
    self_start = starts;
    return (struct emu_agent *)before;
}

void emu_agent_count(const struct emu_agent *agent, struct emu_counts *counts)
{
    *counts = ((const struct thread *)agent)->counts;
    counts->charged_ns /= 1000; /* kept in ps */
    counts->queued_ns /= 1000;
}

/* ---- failures ---- */

int emu_kill_at(uint64_t n)
{
    if (emulator == NULL)
        return not_started();
    __atomic_store_n(&kill_countdown, n, __ATOMIC_RELAXED);
    emu_running = mode != NULL || n != 0;
    return 0;
}

int emu_lose(unsigned device, int lost)
{
    if (emulator == NULL)
        return not_started();
    int rc = model_lose(emulator->model, device, lost != 0);
    if (rc == 0)
        emu_running = 1;
    return rc;
}

int emu_power_track(const void *address, uint64_t length, const char *path)
{
    if (emulator == NULL)
        return not_started();
    int rc = power_track(address, length, path);
    if (rc == 0)
        emu_running = 1;
    return rc;
}
