#include "test.h"

#include <fnmatch.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SKIPPED 77

static struct test_case *first_case, **last_link = &first_case;
static char directory[200]; /* of the case that runs */
static char *skip_reason;   /* one page shared with the case's process */
static uint64_t case_seed;  /* of the case that runs */
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t case_group; /* process group of the case that runs, or 0 */

void test_register(struct test_case *test)
{
    *last_link = test;
    last_link = &test->next;
}

/* ---- what cases call ---- */

void test_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    flockfile(stdout);
    printf("%s:%d: failed: ", file, line);
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    va_end(arguments);
    _exit(1);
}

void test_skip(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(skip_reason, (size_t)sysconf(_SC_PAGESIZE), format, arguments);
    va_end(arguments);
    fflush(stdout);
    _exit(SKIPPED);
}

static const char *error_name(int error)
{
    const char *name = error <= 0 ? strerrorname_np(-error) : NULL;
    return name == NULL ? "?" : name;
}

void test_error(const char *file, int line, const char *call, int got, int expected)
{
    if (got != expected)
        test_fail(file, line, "%s gives %d (%s), not %d (%s)", call, got, error_name(got), expected,
                  error_name(expected));
}

void test_compare_strings(const char *file, int line, const char *a_text, const char *b_text,
                          const char *a, const char *b)
{
    if (strcmp(a, b) != 0)
        test_fail(file, line, "%s == %s: \"%s\" and \"%s\"", a_text, b_text, a, b);
}

static bool value_less(struct test_value a, struct test_value b)
{
    return a.negative != b.negative ? a.negative : a.bits < b.bits;
}

static const char *value_text(struct test_value value, char text[64])
{
    if (value.negative)
        snprintf(text, 64, "%" PRId64, (int64_t)value.bits);
    else if (value.bits < 10)
        snprintf(text, 64, "%" PRIu64, value.bits);
    else
        snprintf(text, 64, "%" PRIu64 " (0x%" PRIx64 ")", value.bits, value.bits);
    return text;
}

void test_compare(const char *file, int line, enum test_relation relation, const char *a_text,
                  const char *b_text, struct test_value a, struct test_value b)
{
    static const char *const signs[] = {"==", "!=", "<=", "<"};
    bool less = value_less(a, b), greater = value_less(b, a);
    const bool holds[] = {!less && !greater, less || greater, !greater, less};
    char a_value[64], b_value[64];
    if (!holds[relation])
        test_fail(file, line, "%s %s %s: %s and %s", a_text, signs[relation], b_text,
                  value_text(a, a_value), value_text(b, b_value));
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t test_seed(void)
{
    return case_seed;
}

struct test_rng test_rng(uint64_t stream)
{
    return (struct test_rng){mix(case_seed + mix(stream + 1))};
}

uint64_t test_rng_next(struct test_rng *rng)
{
    return mix(rng->state += UINT64_C(0x9e3779b97f4a7c15));
}

uint64_t test_rng_below(struct test_rng *rng, uint64_t limit)
{
    return test_rng_next(rng) % limit;
}

const char *test_directory(void)
{
    return directory;
}

const char *test_heap_path(void)
{
    static char paths[256][256];
    static unsigned used;
    unsigned n = __atomic_fetch_add(&used, 1, __ATOMIC_RELAXED);
    CHECK_LT(n, sizeof paths / sizeof paths[0]);
    snprintf(paths[n], sizeof paths[n], "%s/heap.%d.%u", directory, (int)getpid(), n);
    return paths[n];
}

pid_t test_fork(void (*body)(void *context), void *context)
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body(context);
        exit(0); /* not _exit: sanitizers report there */
    }
    return child;
}

/* "exited with 3", "was killed by SIGSEGV" */
static const char *status_text(int status, char text[64])
{
    if (WIFEXITED(status))
        snprintf(text, 64, "exited with %d", WEXITSTATUS(status));
    else
        snprintf(text, 64, "was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    return text;
}

void test_join_at(const char *file, int line, pid_t child, int signal)
{
    int status;
    char text[64];
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            test_fail(file, line, "no child %d to wait for", (int)child);
    if (signal == 0 ? status != 0 : !WIFSIGNALED(status) || WTERMSIG(status) != signal)
        test_fail(file, line, "child %d %s", (int)child, status_text(status, text));
}

/* ---- the runner ---- */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static void remove_directory(void)
{
    if (nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        printf("%s cannot be removed: %s\n", directory, strerror(errno));
}

static bool make_directory(void)
{
    const char *parent = getenv("ALPS_TEST_DIR");
    if (parent == NULL || *parent == '\0')
        parent = "/dev/shm";
    int length = snprintf(directory, sizeof directory, "%s/alps-test.XXXXXX", parent);
    if (length >= (int)sizeof directory)
        errno = ENAMETOOLONG;
    else if (mkdtemp(directory) != NULL)
        return true;
    fprintf(stderr, "no directory for heaps under %s: %s (ALPS_TEST_DIR names another place)\n",
            parent, strerror(errno));
    return false;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
#define SIGNALS (sizeof signals / sizeof *signals)

/* The runner learns of it when it sees the case end. */
static void interrupt(int signal)
{
    interrupted = signal;
    if (case_group != 0)
        kill(-case_group, SIGKILL);
}

static void handle_signals(void (*handler)(int))
{
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &(struct sigaction){.sa_handler = handler}, NULL);
}

static void block_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaddset(&set, signals[i]);
    sigprocmask(how, &set, NULL);
}

/* Runs a case in a process group of its own, ends what is left of that group, and returns the
 * case's wait status. */
static int run_process(const struct test_case *test, unsigned limit_seconds)
{
    fflush(stdout);
    block_signals(SIG_BLOCK);
    pid_t runner = getpid(), group = fork();
    if (group < 0) {
        block_signals(SIG_UNBLOCK);
        return -1;
    }
    if (group == 0) {
        handle_signals(SIG_DFL);
        setpgid(0, 0);
        block_signals(SIG_UNBLOCK);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != runner)
            _exit(1);
        alarm(limit_seconds);
        test->body();
        exit(0); /* not _exit: sanitizers report there */
    }
    setpgid(group, group);
    case_group = group;
    block_signals(SIG_UNBLOCK);
    if (interrupted)
        kill(-group, SIGKILL);

    siginfo_t info;
    while (waitid(P_PID, (id_t)group, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    case_group = 0; /* its number is free when the case has been waited for */
    kill(-group, SIGKILL);
    int status = 0, child_status;
    pid_t child;
    while ((child = waitpid(-group, &child_status, 0)) > 0 || errno == EINTR)
        if (child == group)
            status = child_status;
    return status;
}

enum outcome { PASSED, FAILED, SKIPPED_CASE, OUTCOMES };

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static enum outcome run_case(const struct test_case *test, uint64_t seed, unsigned limit_seconds)
{
    case_seed = seed;
    for (const char *c = test->name; *c != '\0'; c++)
        case_seed = mix(case_seed + (unsigned char)*c);
    if (!make_directory())
        return FAILED;

    char text[64];
    double start = now_seconds();
    int status = run_process(test, limit_seconds);
    double seconds = now_seconds() - start;
    remove_directory();

    if (status == 0) {
        printf("passed  %s (%.2f s)\n", test->name, seconds);
        return PASSED;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        printf("skipped %s: %s\n", test->name, skip_reason);
        return SKIPPED_CASE;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(text, sizeof text, "takes longer than %u s", limit_seconds);
    else
        status_text(status, text);
    printf("FAILED  %s (%.2f s): %s; again with --seed %" PRIu64 " %s\n", test->name, seconds, text,
           seed, test->name);
    return FAILED;
}

static bool wanted(const struct test_case *test, char *const patterns[])
{
    for (char *const *pattern = patterns; *pattern != NULL; pattern++)
        if (fnmatch(*pattern, test->name, 0) == 0)
            return true;
    return patterns[0] == NULL;
}

static bool parse_number(const char *text, uint64_t limit, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0' && *text != '-' && *number <= limit;
}

int main(int argc, char *argv[])
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"list", no_argument, NULL, 'l'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seed = 0, limit_seconds = 0;
    bool list = false, limited = false, valid = true;
    if (getrandom(&seed, sizeof(uint32_t), 0) < 0)
        perror("getrandom");
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's')
            valid &= parse_number(optarg, UINT64_MAX, &seed);
        else if (option == 't')
            valid &= limited = parse_number(optarg, UINT32_MAX, &limit_seconds);
        else if (option == 'l')
            list = true;
        else
            valid = false;
    }
    if (!valid) {
        fprintf(stderr, "Usage: %s [--seed N] [--timeout SECONDS] [--list] [CASE...]\n", argv[0]);
        return 2;
    }

    setvbuf(stdout, NULL, _IOLBF, 0);
    skip_reason = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (skip_reason == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans of a case come to us: run_process waits for them */
    handle_signals(interrupt);
    if (!list)
        printf("seed %" PRIu64 "\n", seed);

    unsigned counts[OUTCOMES] = {0}, found = 0;
    for (const struct test_case *test = first_case; test != NULL && !interrupted;
         test = test->next) {
        if (!wanted(test, argv + optind))
            continue;
        found++;
        if (list)
            printf("%s\n", test->name);
        else
            counts[run_case(test, seed, limited ? (unsigned)limit_seconds : test->limit_seconds)]++;
    }
    if (interrupted)
        return 128 + interrupted;
    if (found == 0) {
        fprintf(stderr, "%s: no such case\n", argv[0]);
        return 2;
    }
    if (list)
        return 0;
    printf("%u passed, %u failed, %u skipped\n", counts[PASSED], counts[FAILED],
           counts[SKIPPED_CASE]);
    return counts[FAILED] > 0 ? 1 : counts[PASSED] == 0 ? SKIPPED : 0;
}
