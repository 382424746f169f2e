/* Starting, ranges, failures; and the mode spin, as far as tests may look at it: what is counted,
 * not how long it takes (emu-validate measures that). */
#include <emu/emu.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#define FAR_BYTES ((size_t)4 << 20)

static char *map_far(void)
{
    char *far = mmap(NULL, FAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(far != MAP_FAILED);
    return far;
}

static struct emu_options options_of(enum emu_mode mode, const char *profile)
{
    return (struct emu_options){
        .struct_size = sizeof(struct emu_options), .mode = mode, .profile = profile};
}

static void start(enum emu_mode mode, const char *profile)
{
    const struct emu_options options = options_of(mode, profile);
    CHECK_ERR(emu_start(&options), 0);
}

TEST(emu, nothing_happens_without_one)
{
    char *far = map_far();
    emu_read(far, 8);
    emu_fence();
    emu_stop();
    CHECK_STR(emu_describe(), "off");
    CHECK_ERR(emu_add(far, 64, 0), -EINVAL);
    CHECK_ERR(emu_remove(far), -EINVAL);
    CHECK_ERR(emu_device_of(far), -EINVAL);
    CHECK_ERR(emu_kill_at(1), -EINVAL);
    CHECK_ERR(emu_lose(0, 1), -EINVAL);
    CHECK_ERR(emu_power_track(far, 64, test_heap_path()), -EINVAL);
    const uint64_t before = emu_clock_ns();
    emu_compute(1000000000);
    CHECK_LE(before, emu_clock_ns());
    start(EMU_OFF, NULL);
    CHECK_STR(emu_describe(), "off");
    struct emu_counts c;
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_READ], 0);
}

TEST(emu, wrong_options_are_told)
{
    struct emu_options o = options_of(EMU_SPIN, NULL);
    CHECK_ERR(emu_start(&o), -EINVAL);
    CHECK_STR(emu_error_detail(), "the mode spin needs a profile");
    o = options_of((enum emu_mode)17, "cxl-slow");
    CHECK_ERR(emu_start(&o), -EINVAL);
    o = options_of(EMU_VIRTUAL, "cxl-slow");
    o.host = 1;
    CHECK_ERR(emu_start(&o), -EINVAL);
    o.hosts = EMU_HOSTS_MAX + 1;
    CHECK_ERR(emu_start(&o), -EINVAL);
    o = options_of(EMU_VIRTUAL, "nothing");
    CHECK_ERR(emu_start(&o), -ENOENT);
    o.struct_size = 3;
    CHECK_ERR(emu_start(&o), -EINVAL);
    start(EMU_VIRTUAL, "cxl-slow");
    o = options_of(EMU_VIRTUAL, "cxl-slow");
    CHECK_ERR(emu_start(&o), -EBUSY);
    emu_stop();
    start(EMU_VIRTUAL, "cxl-slow");
    emu_stop();
}

TEST(emu, the_environment_says_what_to_start)
{
    CHECK_ERR(emu_start(NULL), 0);
    CHECK_STR(emu_describe(), "off");
    setenv("EMU_MODE", "virtual", 1);
    CHECK_ERR(emu_start(NULL), -EINVAL);
    setenv("EMU_PROFILE", "cxl-switch", 1);
    CHECK_ERR(emu_start(NULL), 0);
    CHECK_STR(emu_describe(), "virtual cxl-switch, read 750 ns");
    emu_stop();
    static const char *const bad[][2] = {{"EMU_HOST", "x"},      {"EMU_HOST", "7"},
                                         {"EMU_HOSTS", "-1"},    {"EMU_HOSTS", "99999"},
                                         {"EMU_BASE_NS", "12x"}, {"EMU_MODE", "fast"}};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv(bad[i][0], bad[i][1], 1);
        CHECK_ERR(emu_start(NULL), -EINVAL);
        CHECK(strstr(emu_error_detail(), bad[i][1]) != NULL);
        unsetenv(bad[i][0]);
    }
}

TEST(emu, ranges_are_far_and_others_are_not)
{
    char *far = map_far();
    start(EMU_VIRTUAL, "cxl-switch");
    CHECK_ERR(emu_add(far, 0, 0), -EINVAL);
    CHECK_ERR(emu_add(NULL, 64, 0), -EINVAL);
    CHECK_ERR(emu_add(far, UINT64_MAX, 0), -EINVAL);
    CHECK_ERR(emu_add(far + 4096, 4096, 0), 0);
    CHECK_ERR(emu_add(far, 4097, 0), -EINVAL);
    CHECK_ERR(emu_add(far + 8191, 10, 0), -EINVAL);
    CHECK_ERR(emu_add(far + 4200, 10, 0), -EINVAL);
    CHECK_ERR(emu_add(far, 4096, 8192), 0);
    CHECK_ERR(emu_add(far + 8192, 4096, 4096), 0);
    CHECK_ERR(emu_device_of(far), 0);
    CHECK_ERR(emu_device_of(far + 8192), 1); /* two devices, 4 KiB by turns */
    CHECK_ERR(emu_device_of(far + 12288), -EINVAL);
    CHECK_ERR(emu_remove(far + 1), -ENOENT);
    CHECK_ERR(emu_remove(far), 0);
    CHECK_ERR(emu_device_of(far), -EINVAL);
    CHECK_ERR(emu_device_of(far + 4096), 0);
    CHECK_ERR(emu_remove(far + 4096), 0);
    CHECK_ERR(emu_remove(far + 8192), 0);
    for (unsigned i = 0; i < 64; i++)
        CHECK_ERR(emu_add(far + i * 64, 64, 0), 0);
    CHECK_ERR(emu_add(far + 64 * 64, 64, 0), -ENOSPC);
    emu_stop();
}

TEST(emu, spin_touches_and_counts)
{
    char *far = map_far();
    struct emu_options o = options_of(EMU_SPIN, "rdma");
    o.base_ns = 200;
    CHECK_ERR(emu_start(&o), 0);
    CHECK(strstr(emu_describe(), "spin rdma, read 3000 ns, base 200") != NULL);
    CHECK_ERR(emu_add(far, FAR_BYTES, 0), 0);
    emu_read(far, FAR_BYTES);
    emu_write(far + 100, 1000);
    emu_atomic(far);
    emu_flush(far + 63, 2);
    emu_fence();
    struct emu_counts c;
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_READ], FAR_BYTES / 64);
    CHECK_EQ(c.accesses[EMU_WRITE], 17);
    CHECK_EQ(c.accesses[EMU_ATOMIC], 1);
    CHECK_EQ(c.accesses[EMU_FLUSH], 2);
    CHECK_EQ(c.fences, 1);
    CHECK_LE(c.misses[EMU_READ], c.accesses[EMU_READ]);
    emu_stop();
}

TEST(emu, the_environment_says_what_the_memory_takes)
{
    const struct emu_options spin = {
        .struct_size = sizeof spin, .mode = EMU_SPIN, .profile = "cxl-switch"};
    setenv("EMU_BASE_NS", "123", 1);
    CHECK_ERR(emu_start(&spin), 0);
    CHECK(strstr(emu_describe(), "base 123.0 ns") != NULL);
    emu_stop();
    setenv("EMU_BASE_NS", "0", 1);
    CHECK_ERR(emu_start(&spin), -EINVAL);
}

TEST(emu, spin_cannot_be_faster_than_the_machine)
{
    struct emu_options o = options_of(EMU_SPIN, "cxl-direct");
    o.base_ns = 240;
    CHECK_ERR(emu_start(&o), -ERANGE);
    CHECK(strstr(emu_error_detail(), "290 ns is the least") != NULL);
    CHECK_STR(emu_describe(), "off");
}

/* Processes of a share measure once: the second has the first one's figures. */
static void start_shared(void *path)
{
    struct emu_options o = options_of(EMU_SPIN, "machine-fam");
    o.share = path;
    CHECK_ERR(emu_start(&o), 0);
    CHECK(strstr(emu_describe(), "base 321.0 ns") != NULL);
    emu_stop();
}

TEST(emu, processes_of_a_share_have_one_calibration)
{
    const char *path = test_heap_path();
    struct emu_options o = options_of(EMU_SPIN, "machine-fam");
    o.share = path;
    o.base_ns = 321;
    CHECK_ERR(emu_start(&o), 0);
    pid_t children[3];
    emu_stop();
    for (int i = 0; i < 3; i++)
        children[i] = test_fork(start_shared, (void *)(uintptr_t)path);
    for (int i = 0; i < 3; i++)
        test_join(children[i]);
    CHECK_EQ(chmod(path, 0400), 0);
}

static void die_at_7(void *far)
{
    CHECK_ERR(emu_kill_at(7), 0);
    for (int i = 0; i < 6; i++) {
        emu_read((char *)far + i * 64, 8);
        ((volatile char *)far)[i] = 1;
    }
    emu_flush(far, 8);
    ((volatile char *)far)[6] = 1; /* not reached */
}

TEST(emu, a_process_dies_at_its_nth_access)
{
    char *far = map_far();
    start(EMU_VIRTUAL, "cxl-slow");
    CHECK_ERR(emu_add(far, FAR_BYTES, 0), 0);
    test_join_killed(test_fork(die_at_7, far), SIGKILL);
    CHECK_EQ(far[5], 1);
    CHECK_EQ(far[6], 0);
    CHECK_ERR(emu_kill_at(1), 0);
    CHECK_ERR(emu_kill_at(0), 0);
    emu_read(far, 8);
    emu_stop();
}

static sigjmp_buf after_bus_error;
static void *volatile bus_error_at;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    bus_error_at = info->si_addr;
    siglongjmp(after_bus_error, 1);
}

static void lose_device_1(void *unused)
{
    (void)unused;
    CHECK_ERR(emu_lose(1, 1), 0);
}

static void read_lost(void *far)
{
    signal(SIGBUS, SIG_DFL); /* AddressSanitizer has a handler */
    emu_read((char *)far + 4096, 8);
}

TEST(emu, a_lost_device_gives_bus_errors_to_all_and_the_others_go_on)
{
    char *far = map_far();
    start(EMU_VIRTUAL, "cxl-switch");
    CHECK_ERR(emu_add(far, FAR_BYTES, 0), 0);
    CHECK_ERR(emu_lose(2, 1), -EINVAL);
    test_join(test_fork(lose_device_1, NULL)); /* by another process */
    emu_read(far + 8, 8);
    test_join_killed(test_fork(read_lost, far), SIGBUS);
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_bus_error;
    sigaction(SIGBUS, &action, NULL);
    if (sigsetjmp(after_bus_error, 1) == 0) {
        emu_write(far + 4000, 200);
        CHECK(0);
    }
    CHECK_EQ(bus_error_at, (void *)(far + 4096));
    CHECK_ERR(emu_lose(1, 0), 0);
    emu_write(far + 4000, 200);
    emu_stop();
}

static void *read_some(void *far)
{
    for (int i = 0; i < 1000; i++)
        emu_read((char *)far + i * 64, 8);
    return NULL;
}

static void count_in_child(void *far)
{
    struct emu_counts c;
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_READ], 0);
    read_some(far);
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_READ], 1000);
    emu_stop();
}

static char *far_of_destructor;

static void read_last(void *unused)
{
    (void)unused;
    emu_read(far_of_destructor, 8);
}

static void *leave_it_to_a_destructor(void *key)
{
    emu_read(far_of_destructor, 8);
    pthread_setspecific(*(pthread_key_t *)key, key);
    return NULL;
}

/* The emulator's own destructor may have run by then: keys made later are destroyed later. */
TEST(emu, destructors_of_threads_may_still_access)
{
    char *far = far_of_destructor = map_far();
    pthread_key_t key;
    pthread_t thread;
    struct emu_counts c;
    start(EMU_VIRTUAL, "cxl-slow");
    CHECK_ERR(emu_add(far, FAR_BYTES, 0), 0);
    CHECK_EQ(pthread_key_create(&key, read_last), 0);
    CHECK_EQ(pthread_create(&thread, NULL, leave_it_to_a_destructor, &key), 0);
    pthread_join(thread, NULL);
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_READ], 2);
    emu_stop();
}

TEST(emu, threads_are_counted_and_a_child_counts_anew)
{
    char *far = map_far();
    start(EMU_VIRTUAL, "cxl-slow");
    CHECK_ERR(emu_add(far, FAR_BYTES, 0), 0);
    pthread_t threads[4];
    struct emu_counts c;
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, read_some, far), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    read_some(far);
    test_join(test_fork(count_in_child, far));
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_READ], 5000);
    emu_stop();
    start(EMU_VIRTUAL, "cxl-slow");
    emu_count(&c);
    CHECK_EQ(c.accesses[EMU_READ], 0);
    emu_stop();
}
