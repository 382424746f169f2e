/* An emulator of fabric-attached memory on a commodity host.
 *
 * The model
 * ---------
 * A program has some of its memory far away: in devices behind links and switches, with a latency
 * and a bandwidth of their own. A profile says what that costs (emu-topology --profiles lists those
 * that come with the emulator). The program names the ranges of its addresses that are far
 * (emu_add), and tells of its accesses there (emu_read, emu_write, ...; or a compiler does, see
 * emu/README.md). In the mode
 *
 *   numa     nothing is added: the far memory is a remote NUMA node, placed there by the user;
 *   spin     each access takes as long as the profile says, in real time;
 *   virtual  nothing waits: each thread has a clock that accesses advance, with a model of the
 *            processor's cache;
 *   epoch    stalls counted by the processor become delays, where it has such counters.
 *
 * Bandwidth and queues are shared by all processes that name the same share. Nothing at all happens
 * while no emulator is started, so the same program runs on real memory of that kind.
 *
 * Errors
 * ------
 * Functions that return int return 0 or a negative errno value; emu_error_detail() says more.
 *
 * Threads, fork, crashes
 * ----------------------
 * emu_start and emu_stop while no other thread uses the emulator; all else from any thread. A
 * forked child goes on with the parent's emulator, with clocks as they were. Nothing is safe in a
 * signal handler. A process killed anywhere leaves the shared state as good as it was; the file of
 * the share is its users' to remove.
 */
#ifndef EMU_EMU_H
#define EMU_EMU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define EMU_API __attribute__((visibility("default")))
#else
#define EMU_API
#endif

#define EMU_VERSION "0.1.0"

#define EMU_HOSTS_MAX 16384 /* of the emulated machine */

enum emu_mode { EMU_OFF, EMU_NUMA, EMU_SPIN, EMU_VIRTUAL, EMU_EPOCH };

struct emu_options {
    size_t struct_size;  /* sizeof(struct emu_options) */
    enum emu_mode mode;  /* EMU_OFF: emu_start does nothing */
    const char *profile; /* name of one that comes with the emulator, or a file's path with a '/';
                             not needed for EMU_NUMA */
    const char *share;   /* file for what processes share, made if it is not there, or
                             /proc/self/fd/N for an open one; NULL: this process and those it
                             forks */
    unsigned host;       /* which host of the emulated machine this process is on */
    unsigned hosts;      /* how many there are, the same for all processes; 0: 1 */
    double base_ns;      /* latency of the memory as it is, for EMU_SPIN; 0: EMU_BASE_NS of the
                            environment, or measure it */
};

/* Starts the emulator for this process. options NULL: from the environment,
 *   EMU_MODE     off, numa, spin, virtual or epoch; none is "off"
 *   EMU_PROFILE  a name or a path
 *   EMU_SHARE    a path
 *   EMU_HOST, EMU_HOSTS, EMU_BASE_NS  numbers
 * The first process of a share measures the machine for all, some 0.5 s for EMU_SPIN.
 * Errors: EBUSY (started already; or too busy to measure), EINVAL (options, profile, share of
 * another profile), ENOENT (no such profile), ENOMEM, ENODEV (EMU_EPOCH: the processor's counters
 * cannot be used), ERANGE (EMU_SPIN: the memory is slower than what is to be emulated), other. */
EMU_API int emu_start(const struct emu_options *options);

/* For libraries that start the emulator before main, as libalps-emu does: what the environment
 * says, unless one is started. Whoever asked for an emulator does not want to go on without: on an
 * error it is printed and the process ends with exit code 2. */
EMU_API void emu_start_early(void);

/* Ends it; all ranges are forgotten. Nothing if it is not started. */
EMU_API void emu_stop(void);

/* What went wrong in this thread's last failing call. */
EMU_API const char *emu_error_detail(void);

/* One line that says what is emulated: mode, profile, measured base. "off" if nothing is. Valid
 * until emu_stop. */
EMU_API const char *emu_describe(void);

/* A profile that comes with the emulator. The texts are the library's. */
struct emu_profile_info {
    const char *name, *text; /* text: of its file */
    char title[256], source[256];
    double read_ns; /* of the first memory, idle; 0: what the machine has */
};

/* Tells of the index-th profile that comes with the emulator; -ENOENT after the last. */
EMU_API int emu_profile_get(unsigned index, struct emu_profile_info *info);

/* Makes a range of addresses far. position: where it lies in the far memory, in bytes; processes
 * that share memory give the same. Errors: EINVAL (not started, empty, overlaps another range),
 * ENOMEM, ENOSPC (more than 64 ranges). */
EMU_API int emu_add(const void *address, uint64_t length, uint64_t position);

/* Forgets a range, by its address. ENOENT if there is none. */
EMU_API int emu_remove(const void *address);

/* ---- accesses ------------------------------------------------------------------------------ */

enum emu_access { EMU_READ, EMU_WRITE, EMU_ATOMIC, EMU_FLUSH, EMU_ACCESSES };

/* Private: what the functions below call while an emulator runs. */
extern EMU_API int emu_running;
EMU_API void emu_charge(enum emu_access access, const void *address, size_t length);
EMU_API void emu_charge_fence(void);

/* To be called right before reading (or writing) length bytes at an address. What is not far costs
 * nothing. In the mode spin the bytes are touched. Independent accesses within one call overlap as
 * far as the profile's parallelism goes; those of different calls do not. */
static inline void emu_read(const void *address, size_t length)
{
    if (emu_running)
        emu_charge(EMU_READ, address, length);
}
static inline void emu_write(const void *address, size_t length)
{
    if (emu_running)
        emu_charge(EMU_WRITE, address, length);
}

/* Before an atomic read-modify-write of the word at address. */
static inline void emu_atomic(const void *address)
{
    if (emu_running)
        emu_charge(EMU_ATOMIC, address, 8);
}

/* After the instructions that flush (write back) these bytes, and after the fence that waits for
 * all flushes of this thread. */
static inline void emu_flush(const void *address, size_t length)
{
    if (emu_running)
        emu_charge(EMU_FLUSH, address, length);
}
static inline void emu_fence(void)
{
    if (emu_running)
        emu_charge_fence();
}

/* memcpy with the costs of both sides. */
EMU_API void emu_copy(void *to, const void *from, size_t length);

/* ---- time ---------------------------------------------------------------------------------- */

/* This thread's time in ns: its clock with EMU_VIRTUAL, where it starts at 0, otherwise
 * CLOCK_MONOTONIC. */
EMU_API uint64_t emu_clock_ns(void);

/* Says, with EMU_VIRTUAL, that the thread computed for so long, or has waited until that time
 * (after a barrier: the latest clock of those who met). Otherwise nothing: time passes by itself.
 */
EMU_API void emu_compute(uint64_t ns);
EMU_API void emu_wait_until(uint64_t clock_ns);

/* ---- figures ------------------------------------------------------------------------------- */

struct emu_counts {
    uint64_t accesses[EMU_ACCESSES]; /* lines accessed in far memory, by kind */
    uint64_t misses[EMU_ACCESSES];   /* of these, not held by the processor's cache */
    uint64_t fences;
    uint64_t bytes_read, bytes_written; /* moved over the links */
    uint64_t charged_ns;                /* time that accesses took */
    uint64_t queued_ns;                 /* of it, waiting for others' transfers */
};

/* Sums over the threads of this process since emu_start. */
EMU_API void emu_count(struct emu_counts *counts);

/* ---- agents: threads of the emulated machine that one thread plays --------------------------- */

/* With EMU_VIRTUAL a thread may play others, on any of the emulated hosts: an agent has a clock, a
 * processor's cache and figures of its own, and all are part of emu_count. It lives until emu_stop.
 * Who plays them in the order of their clocks simulates all of them at once, and gets the same
 * figures in each run. Errors: EINVAL (not started, no such host), ENOMEM. */
struct emu_agent;
EMU_API int emu_agent_new(unsigned host, struct emu_agent **agent);

/* From now on what the calling thread does is done by that agent. Returns who did it before, to be
 * given back in the end; NULL is the thread itself as long as it has accessed nothing. */
EMU_API struct emu_agent *emu_become(struct emu_agent *agent);

/* The figures of one agent. */
EMU_API void emu_agent_count(const struct emu_agent *agent, struct emu_counts *counts);

/* What a read that misses the caches takes: dependent reads of random lines, by this thread, in
 * runs of 1000. Runs during which the thread had no processor for a while are left out. */
struct emu_chase {
    size_t struct_size; /* sizeof(struct emu_chase) */
    uint64_t bytes;     /* of a buffer made for it: a power of two, much more than the caches */
    int node;           /* where it lies; -1: anywhere */
    int far;            /* 1: it is far memory of the emulator; 0: as the machine is */
    unsigned runs;      /* 1 to 2000 */
    double median_ns, lower_quartile_ns, upper_quartile_ns; /* out: of the runs, a read each */
    unsigned discarded;                                     /* out: runs left out */
};
EMU_API int emu_chase_run(struct emu_chase *chase);

/* ---- failures ------------------------------------------------------------------------------ */

/* Ends this process by SIGKILL right before its n-th access to far memory from now (n from 1), of
 * any kind, flushes and fences included; 0: never. */
EMU_API int emu_kill_at(uint64_t n);

/* Takes a memory device of the profile away (they are numbered from 0, in the order of the file),
 * or puts it back with what it held. Every process of the share gets SIGBUS from its next charged
 * access to it, as from memory that is gone; with EMU_NUMA only this process and those it forks,
 * since the others' accesses are not charged. EINVAL if there is no such device. */
EMU_API int emu_lose(unsigned device, int lost);

/* The device that a far address is on; -EINVAL if the address is not far. */
EMU_API int emu_device_of(const void *address);

/* ---- power failures ------------------------------------------------------------------------ */

/* Keeps an image of a range (whole lines of 64 bytes) in a file, made if it is not there: what each
 * line held when it was flushed, once a fence has come. One range a process; processes that track
 * the same memory name the same file. Its end is emu_stop, or another range.
 * Errors: EINVAL (not started, range, an image of another range), other. */
EMU_API int emu_power_track(const void *address, uint64_t length, const char *path);

/* The power fails: fences block from now on, in every process, and when this returns the image
 * changes no more. The caller kills the processes. Needs no emulator. */
EMU_API int emu_power_cut(const char *path);

/* What a file that was tracked from its start may hold after the failure: before is a copy from
 * when tracking began, now the file as the killed processes left it. Each line that was not durable
 * is written back nevertheless with a chance of percent. Writes the file result. */
EMU_API int emu_power_restore(const char *path, const char *before, const char *now,
                              const char *result, unsigned percent, uint64_t seed);

#ifdef __cplusplus
}
#endif

#endif
