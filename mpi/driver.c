/* Idea: everything that can be settled without MPI (help, version, wrong options) is settled before
 * MPI_Init, so it needs no mpirun.
 *
 * The heap has a name only until all ranks have opened it; then rank 0 removes the name, and the
 * kernel takes the memory back when the last rank is gone, however it goes. While there is a name,
 * SIGINT, SIGTERM and SIGHUP remove it. --keep leaves it alone. Likewise with the memory that
 * driver_share gives.
 *
 * A heap in place, as on a device, takes the front of its file; what driver_share gives is the end
 * of it, since memory that all nodes share may be had nowhere else. The file's last bytes say how
 * much that is. The heap is destroyed when all ranks have closed it; a job that is killed leaves
 * it there.
 *
 * Each rank moves the heap to an address of its own, far from where the system puts things and a
 * different distance from every large power of two, so that whatever keeps addresses instead of
 * offsets, or computes with an address, goes wrong in some rank.
 *
 * Domains are found by trial, not by the names of hosts. The first rank that has no heap yet makes
 * one, with a secret in it; every other one without a heap opens the file of that name, if it has
 * one. Those that see the secret add themselves up in the heap; if the maker finds the sum, and
 * they its answer, what one writes reaches the others through memory, and they are a domain. Then
 * the first one of the rest makes the next heap. */
#include "driver.h"
#include "emulation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <emu/emu.h>
#include <emu/topology.h>

#include "harness/clock.h"
#include "harness/progress.h"
#include "harness/random.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define FIRST_SIZE (64 * MIB) /* of a heap that may grow larger */
#define RANK_SIZE (16 * MIB)  /* that a heap may grow to, for each rank */
#define HINTS_START UINT64_C(0x200000000000)
#define HINTS_END UINT64_C(0x500000000000)
#define RANKS_MAX 4096
#define ROUNDS_MIN 2 /* of a repetition, however long they take */
#define DESCRIPTION_MAX 8
#define PROBLEMS_SHOWN 8
#define OPENINGS_MIN 64 /* that the heap has room for */
#define SHARED_SUFFIX ".shared"
#define EMULATION_SUFFIX ".emulation"
#define PROBE_ROOT "alps-mpi-domain"
#define NODES_MAX 64
#define HEAP_SIZE_MIN (16 * MIB)
#define IN_PLACE_ROUNDING (4 * MIB) /* and 1/256: what a heap may take beyond its capacity */
#define SHARED_UNIT (2 * MIB)       /* so that it may lie on hugetlbfs or a device, too */
#define SHARED_MAGIC UINT64_C(0x6572616873697061)
#define SHORT_NAP_NS (20 * (long)BH_NS_PER_US) /* of ranks that wait for their group */
#define LONG_NAP_NS (2 * (long)BH_NS_PER_MS)   /* of ranks outside the group */

static const int exit_codes[] = {
    [DRIVER_PASS] = 0, [DRIVER_SKIP] = 77, [DRIVER_USAGE] = 2, [DRIVER_FAIL] = 1};
static const char *const verdicts[] = {[DRIVER_PASS] = "PASS",
                                       [DRIVER_SKIP] = "SKIP",
                                       [DRIVER_USAGE] = "FAIL",
                                       [DRIVER_FAIL] = "FAIL"};

struct driver_options driver_options = {
    .duration_ns = 2 * BH_NS_PER_S,
    .warmup = 10,
    .repeat = 1,
    .seed = 1,
};

static const bh_option_t common_options[] = {
    {.name = "ranks",
     .letter = 'r',
     .kind = BH_OPTION_COUNTS,
     .value = &driver_options.ranks,
     .argument = "LIST",
     .help = "run with the first so many ranks, one after the other (default: all)",
     .min = 1,
     .max = RANKS_MAX},
    {.name = "duration",
     .letter = 'd',
     .kind = BH_OPTION_DURATION,
     .value = &driver_options.duration_ns,
     .argument = "TIME",
     .help = "time of a repetition (default 2s)",
     .min = BH_NS_PER_MS},
    {.name = "iterations",
     .letter = 'i',
     .kind = BH_OPTION_COUNT,
     .value = &driver_options.iterations,
     .argument = "N",
     .help = "rounds of a repetition, instead of its time",
     .min = ROUNDS_MIN},
    {.name = "warmup",
     .letter = 'x',
     .kind = BH_OPTION_COUNT,
     .value = &driver_options.warmup,
     .argument = "N",
     .help = "rounds before the first repetition (default 10)",
     .min = 1},
    {.name = "repeat",
     .letter = 'n',
     .kind = BH_OPTION_COUNT,
     .value = &driver_options.repeat,
     .argument = "N",
     .help = "repetitions (default 1)",
     .min = 1,
     .max = 1000},
    {.name = "seed",
     .kind = BH_OPTION_COUNT,
     .value = &driver_options.seed,
     .argument = "N",
     .help = "of what is random (default 1)"},
    {.name = "heap",
     .kind = BH_OPTION_TEXT,
     .value = &driver_options.heap,
     .argument = "FILE",
     .help = "file for the heap, which must not exist, or a DAX device (default: in /dev/shm)"},
    {.name = "in-place",
     .kind = BH_OPTION_FLAG,
     .value = &driver_options.in_place,
     .help = "the heap's file exists, and what it holds is lost (devices: always)"},
    {.name = "size",
     .kind = BH_OPTION_SIZE,
     .value = &driver_options.size,
     .argument = "SIZE",
     .help = "size that the heap may grow to (default 1G or 16M a rank; in place all there is)",
     .min = HEAP_SIZE_MIN,
     .max = 16 * TIB},
    {.name = "nodes",
     .kind = BH_OPTION_COUNTS,
     .value = &driver_options.nodes,
     .argument = "LIST",
     .help = "NUMA nodes that the heap's memory lies on, in turn (default: anywhere)",
     .max = NODES_MAX - 1},
    {.name = "keep",
     .kind = BH_OPTION_FLAG,
     .value = &driver_options.keep,
     .help = "leave the heap when all is done"},
    {.name = "emu",
     .kind = BH_OPTION_TEXT,
     .value = &emulation_options.profile,
     .argument = "PROFILE",
     .help = "emulate far memory, each rank on a host of its own (emu-topology --profiles)"},
    {.name = "emu-mode",
     .kind = BH_OPTION_CHOICE,
     .value = &emulation_options.mode,
     .argument = "MODE",
     .help = "spin, virtual (simulated time) or numa (this machine's) (default spin)",
     .choices = emulation_modes},
    {.name = "json",
     .kind = BH_OPTION_TEXT,
     .value = &driver_options.json,
     .argument = "FILE",
     .help = "write all results, those of each repetition too, as JSON lines"},
    {.name = "csv",
     .kind = BH_OPTION_TEXT,
     .value = &driver_options.csv,
     .argument = "FILE",
     .help = "likewise as CSV"},
    {.name = "inject-corruption",
     .kind = BH_OPTION_FLAG,
     .value = &driver_options.inject_corruption,
     .help = "for tests: spoil a byte, so that the run fails"},
    {.name = "help",
     .letter = 'h',
     .kind = BH_OPTION_FLAG,
     .value = &driver_options.help,
     .help = "print this help"},
    {.name = "version",
     .letter = 'V',
     .kind = BH_OPTION_FLAG,
     .value = &driver_options.version,
     .help = "print the version"},
    {.name = NULL},
};

/* What rank 0 writes to. */
static const char *program_name;
static bh_writer_t details; /* JSON and CSV */
static bh_writer_t lines;   /* the table */
static volatile sig_atomic_t is_incomplete;
static bh_progress_t progress;
static uint64_t repetition_work; /* of the progress: rounds or nanoseconds */
static uint64_t work_done;       /* by repetitions that are over */

/* ---- names of files ------------------------------------------------------------------------ */

struct name {
    char path[PATH_MAX];
    volatile sig_atomic_t is_ours; /* to remove */
};
static struct name heap_name, shared_name, emulation_name;

static void remove_name(struct name *name)
{
    if (name->is_ours)
        unlink(name->path);
    name->is_ours = 0;
}

static void write_mark(FILE *file, const char *mark)
{
    if (file != NULL && write(fileno(file), mark, strlen(mark)) < 0)
        return; /* nothing more can be done */
}

/* The handler is reset by then: the signal, once more, ends the process. Every record was flushed,
 * so the streams hold nothing back. */
static void remove_names_and_die(int signal)
{
    remove_name(&heap_name);
    remove_name(&shared_name);
    remove_name(&emulation_name);
    if (is_incomplete) {
        write_mark(details.json, "{\"record\":\"result\",\"verdict\":\"INCOMPLETE\"}\n");
        write_mark(details.csv, "\nrecord,verdict\nresult,INCOMPLETE\n");
        write_mark(stdout, "RESULT: INCOMPLETE\n");
    }
    raise(signal);
}

static void watch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(
            signals[i],
            &(struct sigaction){.sa_handler = remove_names_and_die, .sa_flags = (int)SA_RESETHAND},
            NULL);
}

static int create_heap_file(const char *path, const void *context)
{
    return alps_heap_create(path, context);
}

static int create_shared_file(const char *path, const void *context)
{
    const off_t *size = context;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    int error = ftruncate(fd, *size) != 0 ? -errno : 0;
    close(fd);
    if (error != 0)
        unlink(path);
    return error;
}

/* Signals wait until it is known whether the file is ours. */
static int create_named(struct name *name, int (*create)(const char *path, const void *context),
                        const void *context)
{
    sigset_t all, before;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    int error = create(name->path, context);
    name->is_ours = error == 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* ---- memory --------------------------------------------------------------------------------- */

void *driver_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL) {
        fprintf(stderr, "%s: no memory\n", program_name);
        MPI_Abort(MPI_COMM_WORLD, exit_codes[DRIVER_FAIL]);
    }
    return memory;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

void driver_note(struct driver_group *group, enum driver_verdict verdict, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (group->problem[0] == '\0')
        vsnprintf(group->problem, sizeof group->problem, format, arguments);
    va_end(arguments);
    if (group->verdict < (int)verdict)
        group->verdict = (int)verdict;
}

static void wait_asleep(MPI_Request *request, long nap_ns)
{
    int done = 0;

    MPI_Test(request, &done, MPI_STATUS_IGNORE);
    while (!done) {
        nanosleep(&(struct timespec){.tv_nsec = nap_ns}, NULL);
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
    }
}

void driver_wait(const struct driver_group *group, MPI_Request *request)
{
    if (group->ranks > sysconf(_SC_NPROCESSORS_ONLN))
        wait_asleep(request, SHORT_NAP_NS);
    else
        MPI_Wait(request, MPI_STATUS_IGNORE);
}

uint64_t driver_clock_ns(void)
{
    return emu_clock_ns();
}

bool driver_is_simulated(void)
{
    return emulation_options.profile != NULL && emulation_options.mode == EMULATION_VIRTUAL;
}

static void reduce(const struct driver_group *group, int64_t *numbers, int count, MPI_Op operation)
{
    MPI_Request request;

    MPI_Iallreduce(MPI_IN_PLACE, numbers, count, MPI_INT64_T, operation, group->comm, &request);
    driver_wait(group, &request);
}

void driver_max(const struct driver_group *group, int64_t *numbers, int count)
{
    reduce(group, numbers, count, MPI_MAX);
}

bool driver_agree(struct driver_group *group)
{
    int64_t words[] = {group->verdict, (int64_t)driver_clock_ns()};

    driver_max(group, words, 2);
    group->verdict = (int)words[0];
    emu_wait_until((uint64_t)words[1]);
    return group->verdict == DRIVER_PASS;
}

/* All ranks get what the root has. */
static void spread(const struct driver_group *group, int root, void *bytes, size_t size)
{
    MPI_Request request;

    MPI_Ibcast(bytes, (int)size, MPI_CHAR, root, group->comm, &request);
    driver_wait(group, &request);
}

/* Rank 0 prints what the ranks have found. */
static void report_problems(const struct driver_group *group)
{
    char *all = driver_alloc((size_t)group->ranks, DRIVER_PROBLEM_MAX);
    int found = 0;

    MPI_Gather(group->problem, DRIVER_PROBLEM_MAX, MPI_CHAR, all, DRIVER_PROBLEM_MAX, MPI_CHAR, 0,
               group->comm);
    bh_progress_clear(&progress);
    for (int rank = 0; rank < group->ranks && group->rank == 0; rank++) {
        const char *problem = all + (size_t)rank * DRIVER_PROBLEM_MAX;
        if (problem[0] != '\0' && found++ < PROBLEMS_SHOWN)
            fprintf(stderr, "%s: rank %d of %d: %s\n", program_name, rank, group->ranks, problem);
    }
    if (found > PROBLEMS_SHOWN)
        fprintf(stderr, "%s: and %d more ranks\n", program_name, found - PROBLEMS_SHOWN);
    free(all);
}

/* All ranks get rank 0's verdict. Those that wait for it leave the processors to the others. */
static int share_verdict(int verdict)
{
    MPI_Request request;

    MPI_Ibcast(&verdict, 1, MPI_INT, 0, MPI_COMM_WORLD, &request);
    wait_asleep(&request, LONG_NAP_NS);
    return verdict;
}

/* ---- groups -------------------------------------------------------------------------------- */

/* The path of the heap into heap_name. False if it is too long. */
static bool name_heap(void)
{
    const size_t room = sizeof heap_name.path - sizeof EMULATION_SUFFIX;
    int length;

    if (driver_options.heap != NULL)
        length = snprintf(heap_name.path, room, "%s", driver_options.heap);
    else
        length = snprintf(heap_name.path, room, "/dev/shm/%s.%ld-%llx", program_name,
                          (long)getpid(), (unsigned long long)bh_clock_ns());
    return (size_t)length < room;
}

static void create_heap(const struct driver_program *program, struct driver_group *group)
{
    const unsigned openings =
        (unsigned)group->ranks * (program->openings ? program->openings() : 1);
    const bh_list_t *list = &driver_options.nodes;
    int nodes[BH_LIST_MAX];

    for (size_t i = 0; i < list->count; i++)
        nodes[i] = (int)list->items[i];
    const struct alps_create_options options = {
        .struct_size = sizeof options,
        .size = driver_options.size < FIRST_SIZE ? driver_options.size : FIRST_SIZE,
        .capacity = driver_options.size,
        .max_instances = openings < OPENINGS_MIN ? OPENINGS_MIN : openings,
        .nodes = list->count == 0 ? NULL : nodes,
        .node_count = (unsigned)list->count,
        .flags = driver_options.in_place ? ALPS_CREATE_IN_PLACE | ALPS_CREATE_SHARED : 0,
    };
    if (!name_heap()) {
        driver_note(group, DRIVER_FAIL, "the path of the heap is too long");
        return;
    }
    int error = 0;
    if (driver_options.existing)
        heap_name.is_ours = 1;
    else
        error = create_named(&heap_name, create_heap_file, &options);
    if (error != 0)
        driver_note(group, DRIVER_FAIL, "cannot create the heap: %s (%s)", alps_strerror(error),
                    alps_error_detail());
    group->destroys = driver_options.in_place && error == 0 && !driver_options.keep;
    if (driver_options.keep || driver_options.in_place)
        heap_name.is_ours = 0;
}

/* Lies in the heap, by the name PROBE_ROOT, while a domain is found. */
struct probe {
    uint64_t secret, joined, answer;
};

struct invitation {
    char path[PATH_MAX];
    uint64_t secret;
};

static struct probe *find_probe(const struct driver_group *group)
{
    return alps_deref(group->heap, alps_root_get(group->heap, PROBE_ROOT));
}

/* The leader's part: a heap with a secret. */
static void invite(const struct driver_program *program, struct driver_group *group,
                   struct invitation *invitation)
{
    create_heap(program, group);
    if (group->verdict != DRIVER_PASS)
        return;
    memcpy(invitation->path, heap_name.path, sizeof invitation->path);
    invitation->secret = bh_mix64(bh_clock_ns() ^ ((uint64_t)getpid() << 32));
    int error = alps_heap_open(heap_name.path, NULL, &group->heap);
    alps_ptr_t block =
        error == 0 ? alps_calloc(group->heap, 1, sizeof(struct probe), ALPS_ANY_NODE) : ALPS_NULL;
    if (block == ALPS_NULL || alps_root_set(group->heap, PROBE_ROOT, block) != 0) {
        driver_note(group, DRIVER_FAIL, "cannot use the heap: %s", alps_error_detail());
        return;
    }
    find_probe(group)->secret = invitation->secret;
}

/* Whether the file of that name is that heap. */
static bool accept(struct driver_group *group, const struct invitation *invitation)
{
    int error = alps_heap_open(invitation->path, NULL, &group->heap);
    const struct probe *probe = error == 0 ? find_probe(group) : NULL;

    if (probe != NULL && __atomic_load_n(&probe->secret, __ATOMIC_ACQUIRE) == invitation->secret)
        return true;
    if (error != 0 && error != -ENOENT && !(driver_options.in_place && error == -EMEDIUMTYPE))
        driver_note(group, DRIVER_FAIL, "cannot open the heap: %s (%s)", alps_strerror(error),
                    alps_error_detail());
    alps_heap_close(group->heap);
    group->heap = NULL;
    return false;
}

/* Those who have joined talk through memory. */
static void prove_sharing(struct driver_group *group, const struct invitation *invitation,
                          int leader, bool joined)
{
    struct probe *probe = joined ? find_probe(group) : NULL;

    if (joined)
        __atomic_fetch_add(&probe->joined, 1, __ATOMIC_ACQ_REL);
    int64_t members = joined;
    reduce(group, &members, 1, MPI_SUM);
    if (group->rank == leader &&
        __atomic_load_n(&probe->joined, __ATOMIC_ACQUIRE) == (uint64_t)members)
        __atomic_store_n(&probe->answer, ~invitation->secret, __ATOMIC_RELEASE);
    driver_agree(group);
    if (joined && __atomic_load_n(&probe->answer, __ATOMIC_ACQUIRE) != ~invitation->secret)
        driver_note(group, DRIVER_FAIL,
                    "%s is the same file for several ranks, but what one writes there does not "
                    "reach the others: the heap must lie in memory that they share",
                    invitation->path);
    if (driver_agree(group) && group->rank == leader) {
        alps_ptr_t block = alps_ref(group->heap, probe);
        alps_root_set(group->heap, PROBE_ROOT, ALPS_NULL);
        alps_free(group->heap, block);
        if (!driver_options.existing)
            remove_name(&heap_name);
    }
}

/* Every rank gets a heap, and the ranks that have the same one are a domain. False, in all of them,
 * if that has failed in one. */
static bool find_domains(const struct driver_program *program, struct driver_group *group)
{
    struct invitation invitation = {.secret = 0};
    char problem[BH_ERROR_MAX];

    group->domains = 0;
    if (emulation_settle_nodes(&driver_options.nodes, problem) != 0)
        driver_note(group, DRIVER_SKIP, "%s", problem);
    while (driver_agree(group)) {
        int64_t first = group->heap == NULL ? group->rank : group->ranks;
        reduce(group, &first, 1, MPI_MIN);
        const int leader = (int)first;
        if (leader == group->ranks)
            break;
        const bool waits = group->heap == NULL;
        if (group->rank == leader)
            invite(program, group, &invitation);
        if (!driver_agree(group))
            return false;
        spread(group, leader, &invitation, sizeof invitation);
        bool joined = waits && (group->rank == leader || accept(group, &invitation));
        if (joined) {
            group->domain_index = group->domains;
            memcpy(heap_name.path, invitation.path, sizeof heap_name.path);
            group->heap_fd = open(invitation.path, O_RDWR | O_CLOEXEC);
            if (group->heap_fd < 0)
                driver_note(group, DRIVER_FAIL, "%s: %s", invitation.path, strerror(errno));
        }
        if (!driver_agree(group))
            return false;
        prove_sharing(group, &invitation, leader, joined);
        group->domains++;
    }
    if (group->verdict != DRIVER_PASS)
        return false;
    MPI_Comm_split(group->comm, group->domain_index, group->rank, &group->domain);
    MPI_Comm_rank(group->domain, &group->domain_rank);
    MPI_Comm_size(group->domain, &group->domain_ranks);
    return true;
}

static void *address_wanted(int rank)
{
    uint64_t stride = (driver_options.size + GIB - 1) / GIB * GIB + 2 * MIB;
    uint64_t address = HINTS_START + (uint64_t)rank * stride;

    return address + stride <= HINTS_END ? (void *)(uintptr_t)address : NULL;
}

/* No two ranks may have the heap at the same address: there, raw pointers would work as well. */
static void compare_addresses(struct driver_group *group)
{
    const alps_ptr_t any = 1;
    uint64_t mine = (uint64_t)(uintptr_t)alps_deref(group->heap, any) - any;
    uint64_t *all = driver_alloc((size_t)group->domain_ranks, sizeof *all);

    MPI_Allgather(&mine, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, group->domain);
    for (int rank = 0; rank < group->domain_rank; rank++) {
        if (all[rank] == mine)
            driver_note(group, DRIVER_FAIL, "has the heap at the same address as rank %d, 0x%llx",
                        rank, (unsigned long long)mine);
    }
    free(all);
}

/* A file beside the domain's heap, open in all of its ranks; its name stays. -1 in all ranks of the
 * group if that fails in one. */
static int share_file(struct driver_group *group, struct name *name, const char *suffix,
                      off_t length, bool exists)
{
    int fd = -1;

    stpcpy(stpcpy(name->path, heap_name.path), suffix); /* name_heap left room */
    if (group->domain_rank == 0 && !exists) {
        int error = create_named(name, create_shared_file, &length);
        if (error != 0)
            driver_note(group, DRIVER_FAIL, "cannot create %s: %s", name->path, strerror(-error));
    }
    if (driver_agree(group)) {
        fd = open(name->path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            driver_note(group, DRIVER_FAIL, "cannot open %s: %s", name->path, strerror(errno));
    }
    if (driver_agree(group) || fd < 0)
        return fd;
    close(fd);
    return -1;
}

/* One after the other: the first measures the machine for all, which needs a quiet one. */
static void start_emulation(struct driver_group *group)
{
    group->emulation_fd = share_file(group, &emulation_name, EMULATION_SUFFIX, 0, false);
    remove_name(&emulation_name);
    for (int turn = 0; turn < 2 && driver_agree(group); turn++) {
        if ((group->domain_rank == 0) != (turn == 0))
            continue;
        int error = emulation_start(group->emulation_fd, (unsigned)group->domain_rank,
                                    (unsigned)group->domain_ranks);
        const bool cannot = error == -ERANGE || error == -ENODEV || error == -EBUSY;
        if (error != 0)
            driver_note(group, cannot ? DRIVER_SKIP : DRIVER_FAIL, "cannot emulate: %s",
                        emu_error_detail());
    }
}

/* False, in all ranks, if that has failed in one. */
static bool open_heap(const struct driver_program *program, struct driver_group *group)
{
    if (!find_domains(program, group))
        return false;
    if (emulation_options.profile != NULL)
        start_emulation(group);
    int error = alps_heap_remap(group->heap, address_wanted(group->domain_rank));
    if (error != 0)
        driver_note(group, DRIVER_FAIL, "cannot move the heap: %s (%s)", alps_strerror(error),
                    alps_error_detail());
    compare_addresses(group);
    return driver_agree(group);
}

/* ---- memory outside of the heap -------------------------------------------------------------- */

/* The last bytes of the file that holds shared memory. */
struct share_end {
    uint64_t magic, size;
};

/* Bytes that shared memory takes of its file. */
static uint64_t share_length(uint64_t size)
{
    return (size + sizeof(struct share_end) + SHARED_UNIT - 1) / SHARED_UNIT * SHARED_UNIT;
}

/* Bytes of a file, or of a DAX device, that can be mapped. */
static uint64_t file_length(int fd)
{
    unsigned long long length = 0;
    struct stat status;
    char path[64];

    if (fstat(fd, &status) != 0)
        return 0;
    if (!S_ISCHR(status.st_mode))
        return (uint64_t)status.st_size / SHARED_UNIT * SHARED_UNIT;
    snprintf(path, sizeof path, "/sys/dev/char/%u:%u/size", major(status.st_rdev),
             minor(status.st_rdev));
    FILE *file = fopen(path, "re");
    if (file != NULL && fscanf(file, "%llu", &length) != 1)
        length = 0;
    if (file != NULL)
        fclose(file);
    return length / SHARED_UNIT * SHARED_UNIT;
}

/* Maps the last bytes of a file; length is a multiple of SHARED_UNIT. NULL and errno. */
static char *map_end(int fd, uint64_t length)
{
    const uint64_t all = file_length(fd);

    errno = EINVAL;
    if (length > all)
        return NULL;
    char *memory =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(all - length));
    return memory == MAP_FAILED ? NULL : memory;
}

static struct share_end *end_of(char *memory, uint64_t length)
{
    return (struct share_end *)(void *)(memory + length) - 1;
}

/* Makes shared memory of a size at the end of a file. False and errno. */
static bool make_share(int fd, uint64_t size)
{
    const uint64_t length = share_length(size), all = file_length(fd);
    char *memory = map_end(fd, length);

    if (memory == NULL)
        return false;
    errno = posix_fallocate(fd, (off_t)(all - length), (off_t)length);
    const bool backed = errno == 0 || errno == ENODEV; /* a device is */
    if (backed) {
        memset(memory, 0, length);
        *end_of(memory, length) = (struct share_end){SHARED_MAGIC, size};
    }
    munmap(memory, length);
    return backed;
}

bool driver_attach(int fd, struct driver_share *share)
{
    char *last = map_end(fd, SHARED_UNIT);

    if (last == NULL)
        return false;
    const struct share_end end = *end_of(last, SHARED_UNIT);
    munmap(last, SHARED_UNIT);
    errno = ENOENT;
    if (end.magic != SHARED_MAGIC || end.size > file_length(fd))
        return false;
    *share = (struct driver_share){map_end(fd, share_length(end.size)), end.size, fd};
    return share->memory != NULL;
}

static void remove_share(int fd)
{
    char *last = map_end(fd, SHARED_UNIT);

    if (last == NULL)
        return;
    if (end_of(last, SHARED_UNIT)->magic == SHARED_MAGIC)
        *end_of(last, SHARED_UNIT) = (struct share_end){0};
    munmap(last, SHARED_UNIT);
}

static const char *share_suffix(void)
{
    return driver_options.in_place ? "" : SHARED_SUFFIX;
}

bool driver_share(struct driver_group *group, struct driver_share *share)
{
    const uint64_t size = share->size;

    if (driver_options.in_place)
        share->fd = fcntl(group->heap_fd, F_DUPFD_CLOEXEC, 0);
    else
        share->fd = share_file(group, &shared_name, SHARED_SUFFIX, (off_t)share_length(size),
                               driver_options.existing);
    if (driver_options.keep)
        shared_name.is_ours = 0;
    else if (driver_options.existing && !driver_options.in_place)
        shared_name.is_ours = group->domain_rank == 0;
    else
        remove_name(&shared_name);
    if (!driver_options.existing && group->domain_rank == 0 && share->fd >= 0 &&
        !make_share(share->fd, size))
        driver_note(group, DRIVER_FAIL, "no shared memory at the end of %s%s: %s", heap_name.path,
                    share_suffix(), strerror(errno));
    share->memory = NULL;
    if (driver_agree(group) && !driver_attach(share->fd, share))
        driver_note(group, DRIVER_FAIL, "%s%s has no memory at its end that a job has shared",
                    heap_name.path, share_suffix());
    if (driver_agree(group))
        return true;
    driver_unshare(share);
    return false;
}

void driver_unshare(struct driver_share *share)
{
    if (share->memory != NULL)
        munmap(share->memory, share_length(share->size));
    if (share->fd >= 0)
        close(share->fd);
}

/* ---- a group from its begin to its end ------------------------------------------------------- */

/* The heap in place and what was shared beside it, after the last of its ranks. */
static void destroy_heap(struct driver_group *group)
{
    int error = alps_heap_destroy(heap_name.path);

    if (error != 0)
        driver_note(group, DRIVER_FAIL, "cannot destroy the heap: %s (%s)", alps_strerror(error),
                    alps_error_detail());
    else
        remove_share(group->heap_fd);
}

/* Runs the program in a group of the first ranks. The verdict, as far as this rank knows it. */
static int run_group(const struct driver_program *program, int rank, int ranks)
{
    struct driver_group group = {
        .rank = rank, .ranks = ranks, .domain = MPI_COMM_NULL, .heap_fd = -1, .emulation_fd = -1};

    MPI_Comm_split(MPI_COMM_WORLD, rank < ranks ? 0 : MPI_UNDEFINED, rank, &group.comm);
    if (group.comm == MPI_COMM_NULL)
        return DRIVER_PASS;
    bool opened = open_heap(program, &group);
    if (opened)
        program->run(&group);
    if (driver_options.existing && group.verdict != DRIVER_PASS) /* to be looked at */
        heap_name.is_ours = shared_name.is_ours = group.destroys = false;
    remove_name(&heap_name);
    remove_name(&shared_name);
    int error = alps_heap_close(group.heap);
    if (error != 0)
        driver_note(&group, DRIVER_FAIL, "cannot close the heap: %s (%s)", alps_strerror(error),
                    alps_error_detail());
    driver_agree(&group); /* all have closed it */
    if (group.destroys)
        destroy_heap(&group);
    if (group.heap_fd >= 0)
        close(group.heap_fd);
    emulation_stop();
    if (group.emulation_fd >= 0)
        close(group.emulation_fd);
    if (!driver_agree(&group))
        report_problems(&group);
    if (opened && driver_options.keep && rank == 0)
        printf("# kept: %s\n", heap_name.path);
    if (group.domain != MPI_COMM_NULL)
        MPI_Comm_free(&group.domain);
    MPI_Comm_free(&group.comm);
    return group.verdict;
}

/* ---- repetitions and results --------------------------------------------------------------- */

void driver_begin(struct driver_group *group)
{
    group->repetitions++;
    group->start_ns = driver_clock_ns();
    group->real_start_ns = bh_clock_ns();
}

bool driver_is_over(struct driver_group *group, uint64_t round)
{
    char label[64];

    if (group->rank != 0)
        return false;
    uint64_t done = driver_options.iterations != 0 ? round : bh_clock_ns() - group->real_start_ns;
    bool over = round >= ROUNDS_MIN && done >= repetition_work;
    snprintf(label, sizeof label, "%d rank%s, repetition %llu of %llu", group->ranks,
             group->ranks == 1 ? "" : "s", (unsigned long long)group->repetitions,
             (unsigned long long)driver_options.repeat);
    bh_progress_update(&progress, work_done + (over ? repetition_work : done), label);
    if (over)
        work_done += repetition_work;
    return over;
}

bool driver_is_last(struct driver_group *group, uint64_t round)
{
    unsigned char last = driver_is_over(group, round);

    spread(group, 0, &last, sizeof last);
    return last != 0;
}

void driver_check_heap(struct driver_group *group)
{
    struct alps_check check = {.struct_size = sizeof check};

    int error = alps_heap_check(group->heap, &check);
    if (error != 0)
        driver_note(group, DRIVER_FAIL, "heap check: %s (%llu problems, the first: %s)",
                    alps_strerror(error), (unsigned long long)check.problems, check.first);
}

void driver_inspect(struct driver_group *group, uint64_t blocks)
{
    struct alps_stats stats = {.struct_size = sizeof stats};

    driver_check_heap(group);
    int error = alps_heap_stats(group->heap, &stats);
    if (error != 0)
        driver_note(group, DRIVER_FAIL, "heap statistics: %s (%s)", alps_strerror(error),
                    alps_error_detail());
    else if (stats.live_blocks != blocks)
        driver_note(group, DRIVER_FAIL,
                    "%llu blocks (%llu bytes) are allocated, and it should be %llu",
                    (unsigned long long)stats.live_blocks, (unsigned long long)stats.live_bytes,
                    (unsigned long long)blocks);
}

void driver_write_detail(const char *record, const bh_field_t *fields, size_t count)
{
    bh_write(&details, record, fields, count);
}

void driver_write_line(const char *record, const bh_field_t *fields, size_t count)
{
    bh_progress_clear(&progress);
    bh_write(&details, record, fields, count);
    bh_write(&lines, record, fields, count);
}

/* "Open MPI v4.1.4": what comes before the details of how it was built. */
static void name_mpi_library(char name[MPI_MAX_LIBRARY_VERSION_STRING])
{
    int length;

    MPI_Get_library_version(name, &length);
    name[strcspn(name, ",\r\n")] = '\0';
}

/* "node 0 (DRAM, 2 CPUs), node 1 (CXL, 0 CPUs)" */
static void describe_topology(char *text, size_t size)
{
    struct emu_topology *topology;
    size_t used = 0;

    snprintf(text, size, "unknown");
    if (emu_topology_read(NULL, &topology) != 0)
        return;
    for (unsigned i = 0; i < topology->count && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%snode %d (%s, %u CPUs)",
                             i == 0 ? "" : ", ", topology->nodes[i].number,
                             emu_node_kind_name(topology->nodes[i].kind), topology->nodes[i].cpus);
    emu_topology_free(topology);
}

static void describe_run(const struct driver_program *program, int ranks, int argc, char **argv)
{
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    char topology[BH_ERROR_MAX];
    bh_field_t fields[8 + DESCRIPTION_MAX];
    size_t count = 0;

    name_mpi_library(library);
    describe_topology(topology, sizeof topology);
    fields[count++] = bh_text("mpi", library);
    fields[count++] = bh_count("mpi_ranks", (uint64_t)ranks);
    fields[count++] =
        bh_text("heap", driver_options.heap == NULL ? "/dev/shm" : driver_options.heap);
    fields[count++] = bh_count("heap_bytes", driver_options.size);
    fields[count++] = bh_text("topology", topology);
    fields[count++] = bh_text("emulation", emulation_describe());
    fields[count++] = bh_count("warmup", driver_options.warmup);
    fields[count++] = bh_count("seed", driver_options.seed);
    count += program->describe(fields + count);
    bh_write_machine(&details, program->name, alps_version(), argc, argv, fields, count);
    bh_write_machine(&lines, program->name, alps_version(), argc, argv, fields, count);
}

static int start_output(const struct driver_program *program, int ranks, int argc, char **argv)
{
    const char *path;

    if (bh_writer_open(&lines, NULL, NULL, stdout, &path) != 0 ||
        bh_writer_open(&details, driver_options.json, driver_options.csv, NULL, &path) != 0) {
        fprintf(stderr, "%s: %s: %s\n", program_name, path, strerror(errno));
        return DRIVER_FAIL;
    }
    describe_run(program, ranks, argc, argv);
    is_incomplete = 1;
    repetition_work =
        driver_options.iterations != 0 ? driver_options.iterations : driver_options.duration_ns;
    bh_progress_start(&progress, driver_options.ranks.count * driver_options.repeat *
                                     repetition_work * (program->runs ? program->runs() : 1));
    return DRIVER_PASS;
}

static int finish_output(int verdict)
{
    const bh_field_t result = bh_text("verdict", verdicts[verdict]);

    bh_progress_clear(&progress);
    is_incomplete = 0;
    bh_write(&details, "result", &result, 1);
    if ((bh_writer_close(&details) | bh_writer_close(&lines)) != 0) {
        fprintf(stderr, "%s: not all results could be written\n", program_name);
        verdict = DRIVER_FAIL;
    }
    printf("RESULT: %s\n", verdicts[verdict]);
    fflush(stdout);
    return verdict;
}

/* ---- the command line and the start -------------------------------------------------------- */

/* What mpirun, or Slurm's srun, tells each rank before MPI_Init. */
static const char *const rank_variables[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID",
                                             NULL};
static const char *const local_size_variables[] = {"OMPI_COMM_WORLD_LOCAL_SIZE",
                                                   "SLURM_TASKS_PER_NODE", NULL};

/* The first of them that there is; fallback without a launcher. */
static long launcher_number(const char *const *variables, long fallback)
{
    for (; *variables != NULL; variables++) {
        const char *text = getenv(*variables);
        if (text != NULL)
            return strtol(text, NULL, 10);
    }
    return fallback;
}

static const char *check_options(const struct driver_program *program)
{
    struct stat status;

    if (driver_options.keep && driver_options.ranks.count > 1)
        return "--keep leaves one heap: give one number of --ranks";
    if (driver_options.heap == NULL && driver_options.in_place)
        return "--in-place needs --heap";
    if (driver_options.heap != NULL && stat(driver_options.heap, &status) == 0 &&
        S_ISCHR(status.st_mode))
        driver_options.in_place = true;
    if (driver_options.in_place && driver_options.nodes.count > 0)
        return "memory in place is where it is, and takes no --nodes";
    if (driver_options.in_place &&
        (emulation_options.profile != NULL || emulation_options.mode == EMULATION_NUMA))
        return "memory in place is what it is, and takes no --emu and no --emu-mode numa";
    const char *problem = emulation_check();
    return problem != NULL || program->check_options == NULL ? problem : program->check_options();
}

static void print_help(const struct driver_program *program, const bh_option_t *options)
{
    printf("usage: mpirun [-np N] %s [OPTION]...\n%s\n\n", program->name, program->purpose);
    bh_options_describe(options, stdout);
    puts("\nExit status: 0 all well, 1 a failure, 2 wrong usage, 77 not on this machine.");
}

/* -1 if there is something to run, otherwise the exit code. */
static int parse(const struct driver_program *program, int argc, char **argv)
{
    static bh_option_t options[BH_OPTIONS_MAX + 1];
    char error[BH_ERROR_MAX];
    const char *problem = error;
    bool speaks = launcher_number(rank_variables, 0) == 0;
    size_t count = 0;

    for (const bh_option_t *own = program->options; own->name != NULL; own++)
        options[count++] = *own;
    memcpy(options + count, common_options, sizeof common_options);
    if (bh_options_parse(options, argc, argv, error) != 0 ||
        (!driver_options.help && !driver_options.version &&
         (problem = check_options(program)) != NULL)) {
        if (speaks)
            fprintf(stderr, "%s: %s\nTry %s --help.\n", program->name, problem, program->name);
        return exit_codes[DRIVER_USAGE];
    }
    if (!driver_options.help && !driver_options.version) {
        problem = emulation_load(argv);
        if (problem == NULL)
            return -1;
        if (speaks)
            fprintf(stderr, "%s: %s\n", program->name, problem);
        return exit_codes[DRIVER_FAIL];
    }
    if (speaks && driver_options.help)
        print_help(program, options);
    else if (speaks)
        printf("%s %s\n", program->name, alps_version());
    return exit_codes[DRIVER_PASS];
}

/* Ranks that wait must not spin if there are more of them than processors. mpirun sees to it unless
 * it was told of processors that do not exist. */
static void yield_if_crowded(void)
{
    if (launcher_number(local_size_variables, 1) > sysconf(_SC_NPROCESSORS_ONLN))
        setenv("OMPI_MCA_mpi_yield_when_idle", "1", 1);
}

/* mpirun gives the ranks a pipe for stderr, and no progress would show. If its own is a terminal,
 * rank 0 uses that. */
static void borrow_terminal(void)
{
    char path[64];

    if (launcher_number(rank_variables, -1) != 0)
        return;
    snprintf(path, sizeof path, "/proc/%ld/fd/2", (long)getppid());
    int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (isatty(fd))
        dup2(fd, STDERR_FILENO);
    close(fd);
}

/* In place: what the heap may grow to, beside what the ranks share. 0 where the file is not. */
static uint64_t room_in_place(const struct driver_program *program, int ranks)
{
    const uint64_t shared = program->shared_size ? share_length(program->shared_size(ranks)) : 0;
    int fd = open(driver_options.heap, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    const uint64_t length = file_length(fd), rounding = IN_PLACE_ROUNDING + length / 256;
    close(fd);
    return length < shared + rounding ? 0 : length - shared - rounding;
}

/* A size that --size does not say; in place one that leaves the end to what the ranks share. What
 * rank 0 sees goes: where there is no such device, no file shall be made. */
static int settle_size(const struct driver_program *program, int rank, int ranks)
{
    uint64_t *size = &driver_options.size;
    int in_place = driver_options.in_place;

    MPI_Bcast(&in_place, 1, MPI_INT, 0, MPI_COMM_WORLD);
    driver_options.in_place = in_place != 0;
    if (!driver_options.in_place) {
        if (*size == 0)
            *size = (uint64_t)ranks * RANK_SIZE < GIB ? GIB : (uint64_t)ranks * RANK_SIZE;
        return DRIVER_PASS;
    }
    const uint64_t room = room_in_place(program, ranks);
    if (rank == 0 && !driver_options.existing && access(driver_options.heap, F_OK) == 0 &&
        (room < HEAP_SIZE_MIN || room < *size)) {
        fprintf(stderr, "%s: %s has room for a heap of %llu bytes beside what the ranks share\n",
                program_name, driver_options.heap, (unsigned long long)room);
        return DRIVER_FAIL;
    }
    if (*size == 0)
        *size = room;
    return DRIVER_PASS;
}

/* Takes all ranks if --ranks does not say how many, and a heap that is large enough for them: a
 * rank has slabs of its own in many sizes. */
static int settle_ranks(const struct driver_program *program, int rank, int ranks)
{
    bh_list_t *list = &driver_options.ranks;

    if (list->count == 0)
        *list = (bh_list_t){.count = 1, .items = {(uint64_t)ranks}};
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i] <= (uint64_t)ranks)
            continue;
        if (rank == 0)
            fprintf(stderr, "%s: --ranks %llu: there are only %d; start more by mpirun -np\n",
                    program_name, (unsigned long long)list->items[i], ranks);
        return DRIVER_USAGE;
    }
    return settle_size(program, rank, ranks);
}

int driver_main(const struct driver_program *program, int argc, char **argv)
{
    int rank, ranks, threads;

    int code = parse(program, argc, argv);
    if (code >= 0)
        return code;
    program_name = program->name;
    yield_if_crowded();
    borrow_terminal();
    watch_signals();
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &threads);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);

    int verdict = settle_ranks(program, rank, ranks);
    if (verdict == DRIVER_PASS && rank == 0)
        verdict = start_output(program, ranks, argc, argv);
    verdict = share_verdict(verdict);
    for (size_t i = 0; i < driver_options.ranks.count && verdict == DRIVER_PASS; i++)
        verdict = share_verdict(run_group(program, rank, (int)driver_options.ranks.items[i]));
    if (rank == 0)
        verdict = finish_output(verdict);
    verdict = share_verdict(verdict);
    MPI_Finalize();
    return exit_codes[verdict];
}
