/* A small test runner. An executable is one or more files of cases; main is in test.c.
 *
 *     #include "test.h"
 *
 *     TEST(slab, full_slab_is_let_go)     // suite and claim; run as slab.full_slab_is_let_go
 *     {
 *         const char *path = test_heap_path();
 *         CHECK_ERR(alps_heap_create(path, NULL), 0);
 *         CHECK_EQ(alps_usable_size(heap, block), 64);
 *     }
 *
 * Each case runs in a process of its own, so one that crashes, hangs or leaves threads behind is
 * one failure and no more. When it ends, its children are killed and its files are removed.
 *
 *     test_slab [--seed N] [--timeout SECONDS] [--list] [CASE...]
 *
 * CASE is a name or a pattern such as 'slab.*'. The seed is printed; the same seed gives a case the
 * same numbers whatever runs beside it. --timeout replaces the limits of all cases; 0 means none
 * (for a debugger). Exit code: 0 all passed, 1 something failed, 2 wrong arguments, 77 everything
 * was skipped. Each skipped case prints "skipped NAME: reason"; the last line is
 * "N passed, N failed, N skipped".
 *
 * A failed check prints where and what, and ends the process it happens in at once: the case if
 * that is the case's own process (from any thread), else the child, whose test_join then fails.
 * A case must not use SIGALRM (its limit) and must not change its process group.
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- cases ---- */

#define TEST(suite, name) TEST_LIMITED(suite, name, 60)

/* A case that may take longer (or shorter) than 60 seconds. */
#define TEST_LIMITED(suite, name, limit_seconds)                                                   \
    static void test_##suite##_##name(void);                                                       \
    __attribute__((constructor)) static void test_register_##suite##_##name(void)                  \
    {                                                                                              \
        static struct test_case self = {#suite "." #name, test_##suite##_##name, limit_seconds,    \
                                        NULL};                                                     \
        test_register(&self);                                                                      \
    }                                                                                              \
    static void test_##suite##_##name(void)

/* Ends the case as skipped; a printf format and its arguments. Only in the case's own process. */
#define SKIP(...) test_skip(__VA_ARGS__)

/* ---- checks ---- */

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : test_fail(__FILE__, __LINE__, "CHECK(%s)", #condition))

/* Integers of any types, compared by value (-1 is not UINT64_MAX), or pointers. Print both. */
#define CHECK_EQ(a, b) TEST_COMPARE(TEST_EQ, #a, #b, a, b)
#define CHECK_NE(a, b) TEST_COMPARE(TEST_NE, #a, #b, a, b)
#define CHECK_LE(a, b) TEST_COMPARE(TEST_LE, #a, #b, a, b)
#define CHECK_LT(a, b) TEST_COMPARE(TEST_LT, #a, #b, a, b)

#define CHECK_STR(a, b) test_compare_strings(__FILE__, __LINE__, #a, #b, a, b)

/* A call that returns 0 or a negative errno value: CHECK_ERR(alps_free(heap, p), -EINVAL). */
#define CHECK_ERR(call, expected) test_error(__FILE__, __LINE__, #call, call, expected)

/* A call that returns 0 or NULL and sets errno: CHECK_ERRNO(alps_malloc(heap, 1, -9), EINVAL). */
#define CHECK_ERRNO(call, expected)                                                                \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call) == 0);                                                                        \
        test_error(__FILE__, __LINE__, #call, -errno, -(expected));                                \
    } while (0)

/* ---- random numbers ---- */

/* What the case's generators start from: made of the seed and the case's name. */
uint64_t test_seed(void);

/* A generator (splitmix64); give each thread and process a stream of its own. */
struct test_rng {
    uint64_t state;
};
struct test_rng test_rng(uint64_t stream);
uint64_t test_rng_next(struct test_rng *rng);                  /* any 64 bits */
uint64_t test_rng_below(struct test_rng *rng, uint64_t limit); /* 0 .. limit - 1 */

/* ---- files ---- */

/* A path where nothing is yet, another one at each call, in any thread or process of the case; it
 * lies in test_directory(). At most 256 a process. Valid until the case ends. */
const char *test_heap_path(void);

/* The case's directory, empty when it starts: under $ALPS_TEST_DIR, by default under /dev/shm. */
const char *test_directory(void);

/* ---- processes ---- */

/* Starts a child that calls body and exits with 0. */
pid_t test_fork(void (*body)(void *context), void *context);

/* Wait for a child; the check fails unless it has exited with 0, or was killed by that signal. */
#define test_join(child) test_join_at(__FILE__, __LINE__, child, 0)
#define test_join_killed(child, signal) test_join_at(__FILE__, __LINE__, child, signal)

/* ---- behind the macros ---- */

struct test_case {
    const char *name;
    void (*body)(void);
    unsigned limit_seconds;
    struct test_case *next;
};
void test_register(struct test_case *test);

__attribute__((noreturn, format(printf, 3, 4))) void test_fail(const char *file, int line,
                                                               const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void test_skip(const char *format, ...);
void test_error(const char *file, int line, const char *call, int got, int expected);
void test_compare_strings(const char *file, int line, const char *a_text, const char *b_text,
                          const char *a, const char *b);
void test_join_at(const char *file, int line, pid_t child, int signal);

struct test_value {
    bool negative; /* bits is then an int64_t */
    uint64_t bits;
};
enum test_relation { TEST_EQ, TEST_NE, TEST_LE, TEST_LT };
void test_compare(const char *file, int line, enum test_relation relation, const char *a_text,
                  const char *b_text, struct test_value a, struct test_value b);

static inline struct test_value test_value_signed(int64_t value)
{
    return (struct test_value){value < 0, (uint64_t)value};
}
static inline struct test_value test_value_unsigned(uint64_t value)
{
    return (struct test_value){false, value};
}
static inline struct test_value test_value_pointer(const volatile void *value)
{
    return (struct test_value){false, (uintptr_t)value};
}

/* clang-format off */
#define TEST_VALUE(x)                                                                              \
    _Generic((x),                                                                                  \
        char: test_value_signed,                                                                   \
        signed char: test_value_signed,                                                            \
        short: test_value_signed,                                                                  \
        int: test_value_signed,                                                                    \
        long: test_value_signed,                                                                   \
        long long: test_value_signed,                                                              \
        bool: test_value_unsigned,                                                                 \
        unsigned char: test_value_unsigned,                                                        \
        unsigned short: test_value_unsigned,                                                       \
        unsigned int: test_value_unsigned,                                                         \
        unsigned long: test_value_unsigned,                                                        \
        unsigned long long: test_value_unsigned,                                                   \
        default: test_value_pointer)(x)
/* clang-format on */

#define TEST_COMPARE(relation, a_text, b_text, a, b)                                               \
    test_compare(__FILE__, __LINE__, relation, a_text, b_text, TEST_VALUE(a), TEST_VALUE(b))

#endif
