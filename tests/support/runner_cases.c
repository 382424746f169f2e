/* Cases that pass, fail, crash, hang and skip, for runner.sh. */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void return_at_once(void *context)
{
    (void)context;
}

static void kill_itself(void *context)
{
    (void)context;
    kill(getpid(), SIGKILL);
}

static void fail_a_check(void *context)
{
    (void)context;
    CHECK(false);
}

static void wait_forever(void *context)
{
    (void)context;
    for (;;)
        pause();
}

static void make_file(void)
{
    const char *path = test_heap_path();
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK_LE(0, file);
    close(file);
    printf("made %s\n", path);
}

TEST(good, checks_hold)
{
    uint64_t large = UINT64_MAX;
    CHECK(true);
    CHECK_EQ(1, 1ul);
    CHECK_EQ(&large, (void *)&large);
    CHECK_NE(-1, large);
    CHECK_LT(-2, -1);
    CHECK_LT(-1, large);
    CHECK_LE(large, large);
    CHECK_STR("text", "text");
    CHECK_ERR(-EINVAL, -EINVAL);
    errno = EBUSY;
    CHECK_ERRNO((errno = ENOENT, (void *)NULL), ENOENT);
}

TEST(good, children_are_waited_for)
{
    test_join(test_fork(return_at_once, NULL));
    test_join_killed(test_fork(kill_itself, NULL), SIGKILL);
}

TEST(good, paths_differ)
{
    CHECK_NE(test_heap_path(), test_heap_path());
    make_file();
}

TEST(good, random_numbers)
{
    struct test_rng a = test_rng(0), b = test_rng(1);
    CHECK_NE(test_rng_next(&a), test_rng_next(&b));
    CHECK_LT(test_rng_below(&a, 10), 10);
    printf("number %llu\n", (unsigned long long)test_rng_next(&a));
}

TEST(good, leftover_child_is_killed)
{
    printf("left %d\n", (int)test_fork(wait_forever, NULL));
}

TEST(bad, condition)
{
    make_file();
    CHECK(1 + 1 == 3);
}

TEST(bad, signs)
{
    CHECK_EQ(-1, UINT64_MAX);
}

TEST(bad, order)
{
    CHECK_LT(17, 17);
}

TEST(bad, text)
{
    CHECK_STR("one", "two");
}

TEST(bad, error)
{
    CHECK_ERR(-ENOMEM, -EINVAL);
}

TEST(bad, no_error)
{
    CHECK_ERRNO(1, EINVAL);
}

TEST(bad, child_fails)
{
    test_join(test_fork(fail_a_check, NULL));
}

TEST(bad, child_lives)
{
    test_join_killed(test_fork(return_at_once, NULL), SIGKILL);
}

TEST(bad, crash)
{
    make_file();
    kill(getpid(), SIGKILL);
}

TEST(bad, exit)
{
    exit(3);
}

TEST_LIMITED(bad, hang, 1)
{
    wait_forever(NULL);
}

TEST(skipped, because)
{
    SKIP("no %s", "luck");
}
