/* The region layer: mapping, backing memory, locks. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "region.h"
#include "test.h"

static void make(struct region *region, const char *path, uint64_t bytes)
{
    int fd = region_create_file(path, 0600);
    CHECK_LE(0, fd);
    CHECK_EQ(ftruncate(fd, (off_t)bytes), 0);
    CHECK_ERR(region_init(region, &path, &fd, 1, false), 0);
    region->files[0].length = bytes;
    CHECK_ERR(region_map(region, bytes, NULL), 0);
}

static uint64_t held(const struct region *region)
{
    uint64_t length, bytes;
    CHECK_ERR(region_file_size(&region->files[0], &length, &bytes), 0);
    return bytes;
}

TEST(region, base_is_aligned_and_hint_is_honoured)
{
    struct region region;
    make(&region, test_heap_path(), 4 * MIB);
    CHECK_EQ((uintptr_t)region.base % REGION_ALIGNMENT, 0);

    /* An address that was free a moment ago. */
    char *there = mmap(NULL, 8 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(there, 8 * MIB);
    there = (char *)align_up((uintptr_t)there, REGION_ALIGNMENT);
    memset(region.base, 7, 100);
    CHECK_ERR(region_remap(&region, there), 0);
    CHECK_EQ(region.base, there);
    CHECK_EQ(region.base[99], 7);

    /* A hint that is taken: somewhere else, and nothing of the old mapping is overwritten. */
    CHECK_ERR(region_remap(&region, there), 0);
    CHECK_NE(region.base, there);
    CHECK_EQ(region.base[99], 7);
    region_destroy(&region);
}

TEST(region, several_files_are_one_range)
{
    const char *paths[3];
    int fds[3];
    for (int i = 0; i < 3; i++) {
        paths[i] = test_heap_path();
        fds[i] = region_create_file(paths[i], 0600);
        CHECK_EQ(ftruncate(fds[i], 2 * (off_t)MIB), 0);
    }
    struct region region;
    CHECK_ERR(region_init(&region, paths, fds, 3, false), 0);
    for (unsigned i = 0; i < 3; i++) {
        region.files[i].start = i * MIB;
        region.files[i].length = MIB;
        region.files[i].skip = i == 0 ? 0 : MIB;
    }
    CHECK_ERR(region_map(&region, 4 * MIB, NULL), 0);
    CHECK_ERR(region_back(&region, MIB - 4096, MIB + 8192), 0); /* over two borders */
    memset(region.base, 1, 3 * MIB);
    char c;
    CHECK_EQ(pread(fds[1], &c, 1, MIB), 1);
    CHECK_EQ(c, 1);
    CHECK_EQ(pread(fds[1], &c, 1, MIB - 1), 1);
    CHECK_EQ(c, 0);
    region_destroy(&region);
}

TEST(region, back_takes_memory_and_punch_gives_it_back)
{
    struct region region;
    make(&region, test_heap_path(), 4 * MIB);
    uint64_t before = held(&region);
    CHECK_ERR(region_back(&region, MIB, MIB), 0);
    CHECK_LE(before + MIB, held(&region));
    memset(region.base + MIB, 0xff, MIB);
    CHECK_ERR(region_punch(&region, MIB, MIB), 0);
    CHECK_LE(held(&region), before);
    CHECK_EQ(region.base[MIB + 5], 0);
    region_destroy(&region);
}

TEST(region, back_extends_the_file_and_never_cuts_it)
{
    const char *path = test_heap_path();
    struct region region;
    make(&region, path, MIB);
    region.files[0].length = 4 * MIB;
    CHECK_ERR(region_back(&region, 3 * MIB - 4096, 4096), 0);
    struct stat status;
    CHECK_EQ(stat(path, &status), 0);
    CHECK_EQ(status.st_size, 3 * MIB);
    CHECK_ERR(region_back(&region, MIB, 4096), 0);
    CHECK_EQ(stat(path, &status), 0);
    CHECK_EQ(status.st_size, 3 * MIB);
    region_destroy(&region);
}

TEST(region, creation_follows_no_link_and_overwrites_nothing)
{
    const char *target = test_heap_path(), *link = test_heap_path();
    CHECK_EQ(symlink(target, link), 0);
    CHECK_EQ(region_create_file(link, 0600), -EEXIST);
    CHECK_EQ(access(target, F_OK), -1);
    int fd = region_create_file(target, 0640);
    CHECK_LE(0, fd);
    struct stat status;
    CHECK_EQ(fstat(fd, &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0640);
    close(fd);
    CHECK_EQ(region_create_file(target, 0600), -EEXIST);
}

static void open_again(struct region *region, const char *path)
{
    int fd = region_open_file(path, false);
    CHECK_LE(0, fd);
    CHECK_ERR(region_init(region, &path, &fd, 1, false), 0);
}

TEST(region, locks_exclude_other_openings_also_in_one_process)
{
    const char *path = test_heap_path();
    struct region a, b;
    make(&a, path, MIB);
    open_again(&b, path);
    CHECK_ERR(region_lock(&a, 5, true), 0);
    CHECK_ERR(region_lock(&b, 5, true), -EBUSY);
    CHECK_EQ(region_lock_held(&b, 5), 1);
    CHECK_EQ(region_lock_held(&b, 6), 0);
    CHECK_ERR(region_lock(&a, REGION_GATE, false), 0);
    CHECK_ERR(region_lock(&b, REGION_GATE, false), 0);
    CHECK_ERR(region_lock(&b, REGION_GATE, true), -EBUSY);
    region_unlock(&a, 5);
    CHECK_ERR(region_lock(&b, 5, true), 0);
    region_destroy(&a);
    CHECK_ERR(region_lock(&b, REGION_GATE, true), 0);
    region_destroy(&b);
}

struct victim {
    const char *path;
    int ready[2];
    int grandchild[2];
};

static void hold_and_wait(void *context)
{
    struct victim *v = context;
    struct region region;
    open_again(&region, v->path);
    region.files[0].length = MIB;
    CHECK_ERR(region_map(&region, MIB, NULL), 0);
    CHECK_ERR(region_lock(&region, 9, true), 0);
    pid_t child = fork();
    if (child == 0) { /* outlives its parent, with the mapping, without the descriptors */
        region_forget_files(&region);
        CHECK_EQ(write(v->grandchild[1], "x", 1), 1);
        pause();
    }
    char c;
    CHECK_EQ(read(v->grandchild[0], &c, 1), 1);
    CHECK_EQ(write(v->ready[1], "x", 1), 1);
    pause();
}

TEST(region, a_lock_dies_with_its_process_though_a_forked_child_lives)
{
    struct victim v = {.path = test_heap_path()};
    struct region region;
    make(&region, v.path, MIB);
    CHECK_EQ(pipe(v.ready), 0);
    CHECK_EQ(pipe(v.grandchild), 0);
    pid_t child = test_fork(hold_and_wait, &v);
    char c;
    CHECK_EQ(read(v.ready[0], &c, 1), 1);
    CHECK_EQ(region_lock_held(&region, 9), 1);
    kill(child, SIGKILL);
    test_join_killed(child, SIGKILL);
    CHECK_EQ(region_lock_held(&region, 9), 0);
    region_destroy(&region);
}
