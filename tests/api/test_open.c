/* Creating, opening, closing, formatting and destroying heaps, and every way in which that can be
 * refused. */
#include <alps/alps.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blocks.h"
#include "test.h"

/* Size, and so far as asked the permissions, of a file. */
static struct stat status_of(const char *path)
{
    struct stat status;
    CHECK_EQ(stat(path, &status), 0);
    return status;
}

static void write_file(const char *path, const void *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, bytes, length), length);
    CHECK_EQ(close(fd), 0);
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static int try_open(const char *path)
{
    alps_heap_t *heap;
    int rc = alps_heap_open(path, NULL, &heap);
    if (rc == 0)
        CHECK_ERR(alps_heap_close(heap), 0);
    return rc;
}

#define CHECK_DETAIL(path) CHECK(strstr(alps_error_detail(), path) != NULL)

TEST(create, defaults_are_as_documented)
{
    const char *path = test_heap_path();
    CHECK_ERR(alps_heap_create(path, NULL), 0);
    CHECK_EQ(status_of(path).st_mode & 07777, 0600);
    alps_heap_t *heap = heap_open(path);
    struct alps_stats stats = blocks_stats(heap);
    CHECK(stats.size >= 62 * MIB && stats.size <= 66 * MIB);
    CHECK_EQ(stats.capacity, stats.size);
    CHECK_EQ(stats.files, 1);
    CHECK_EQ(stats.instances, 1);
    CHECK_EQ(stats.dead_instances, 0);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_EQ(stats.live_bytes, 0);
    CHECK_EQ(stats.roots, 0);
    CHECK_EQ(stats.usable_bytes + stats.metadata_bytes, stats.size);
    CHECK(stats.usable_bytes > stats.size / 10 * 9);
    CHECK(stats.layout_version >= 1);
    CHECK(stats.file_bytes < 16 * MIB); /* memory is taken as it is used */
    CHECK_EQ((uint64_t)status_of(path).st_blocks * 512, stats.file_bytes);
    CHECK(alps_heap_generation(heap) != ALPS_PERMANENT);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(create, mode_is_as_asked_whatever_the_umask)
{
    static const unsigned modes[] = {0600, 0660, 0666, 0640};
    static const mode_t masks[] = {0, 022, 077, 0777};
    for (unsigned m = 0; m < 4; m++)
        for (unsigned k = 0; k < 4; k++) {
            const char *path = test_heap_path();
            struct alps_create_options options = blocks_options(16 * MIB, 0);
            options.mode = modes[m];
            mode_t before = umask(masks[k]);
            CHECK_ERR(alps_heap_create(path, &options), 0);
            umask(before);
            CHECK_EQ(status_of(path).st_mode & 07777, modes[m]);
            CHECK_ERR(alps_heap_destroy(path), 0);
        }
    const char *path = test_heap_path();
    mode_t before = umask(0777);
    CHECK_ERR(alps_heap_create(path, NULL), 0);
    umask(before);
    CHECK_EQ(status_of(path).st_mode & 07777, 0600);
}

TEST(create, refuses_bad_options_and_leaves_no_file)
{
    const char *path = test_heap_path();
    static const int nodes[] = {0, ALPS_NODE_MAX + 1}, negative[] = {-2};
    const size_t good = sizeof(struct alps_create_options);
    const struct alps_create_options bad[] = {
        {.struct_size = 0},
        {.struct_size = 8},
        {.struct_size = SIZE_MAX},
        {.struct_size = good, .size = 1},
        {.struct_size = good, .size = 16 * MIB - 1},
        {.struct_size = good, .size = 64 * MIB, .capacity = 32 * MIB},
        {.struct_size = good, .size = 64 * MIB, .capacity = 16 * TIB + 1},
        {.struct_size = good, .size = 17 * TIB},
        {.struct_size = good, .size = UINT64_MAX},
        {.struct_size = good, .zone_size = 3 * MIB},
        {.struct_size = good, .zone_size = 512 * KIB},
        {.struct_size = good, .zone_size = 8 * GIB},
        {.struct_size = good, .max_instances = 16384},
        {.struct_size = good, .nodes = NULL, .node_count = 1},
        {.struct_size = good, .nodes = nodes, .node_count = 2},
        {.struct_size = good, .nodes = negative, .node_count = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = alps_heap_create(path, &bad[i]);
        if (rc != -EINVAL)
            fprintf(stderr, "options %zu\n", i);
        CHECK_ERR(rc, -EINVAL);
        CHECK(!exists(path));
    }
}

TEST(create, refuses_bad_paths)
{
    const char *path = test_heap_path(), *two[] = {path, NULL}, *same[] = {path, path};
    const char *many[ALPS_FILE_MAX + 1];
    for (unsigned i = 0; i <= ALPS_FILE_MAX; i++)
        many[i] = path;
    CHECK_ERR(alps_heap_create(NULL, NULL), -EINVAL);
    CHECK_ERR(alps_heap_create("", NULL), -EINVAL);
    CHECK_ERR(alps_heap_create_files(NULL, 1, NULL), -EINVAL);
    CHECK_ERR(alps_heap_create_files(two, 0, NULL), -EINVAL);
    CHECK_ERR(alps_heap_create_files(two, 2, NULL), -EINVAL);
    CHECK_ERR(alps_heap_create_files(many, ALPS_FILE_MAX + 1, NULL), -EINVAL);
    CHECK_ERR(alps_heap_create_files(same, 2, NULL), -EEXIST);
    CHECK(!exists(path));
    char missing[600];
    snprintf(missing, sizeof missing, "%s.none/heap", path);
    CHECK_ERR(alps_heap_create(missing, NULL), -ENOENT);
    CHECK_DETAIL(missing);
}

TEST(create, does_not_touch_a_file_that_exists)
{
    const char *path = test_heap_path(), *other = test_heap_path();
    write_file(path, "precious", 8);
    CHECK_ERR(alps_heap_create(path, NULL), -EEXIST);
    CHECK_DETAIL(path);
    CHECK_EQ(status_of(path).st_size, 8);
    /* One of several: those created before it are removed again. */
    const char *paths[] = {other, path};
    CHECK_ERR(alps_heap_create_files(paths, 2, NULL), -EEXIST);
    CHECK(!exists(other));
    CHECK_EQ(status_of(path).st_size, 8);
    CHECK_EQ(unlink(path), 0);
}

TEST(create, does_not_follow_a_symbolic_link)
{
    const char *path = test_heap_path(), *target = test_heap_path();
    CHECK_EQ(symlink(target, path), 0);
    int rc = alps_heap_create(path, NULL);
    CHECK(rc == -EEXIST || rc == -ELOOP);
    CHECK(!exists(target));
    CHECK(exists(path));
    CHECK_EQ(unlink(path), 0);
}

TEST(open, refuses_bad_arguments)
{
    const char *path = test_heap_path(), *none[] = {NULL};
    heap_make(path, 16 * MIB, 0);
    alps_heap_t *heap;
    const size_t good = sizeof(struct alps_open_options);
    const struct alps_open_options bad[] = {
        {.struct_size = 0},
        {.struct_size = SIZE_MAX},
        {.struct_size = good, .flags = 1u << 30},
        {.struct_size = good, .map_hint = (void *)(uintptr_t)(((uint64_t)1 << 40) + 4096)},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_ERR(alps_heap_open(path, &bad[i], &heap), -EINVAL);
    CHECK_ERR(alps_heap_open(path, NULL, NULL), -EINVAL);
    CHECK_ERR(alps_heap_open(NULL, NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open("", NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open_files(NULL, 1, NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open_files(none, 1, NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open_files(&path, 0, NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open_files(&path, ALPS_FILE_MAX + 1, NULL, &heap), -EINVAL);
    CHECK_EQ(try_open(path), 0);
    CHECK_ERR(alps_heap_close(NULL), 0);
}

/* Every function that takes the path of an existing heap says the same of one that is none. */
static void expect_refused(const char *path, int error)
{
    CHECK_ERR(try_open(path), -error);
    CHECK_DETAIL(path);
    alps_heap_t *heap;
    struct alps_open_options options = {.struct_size = sizeof options, .flags = ALPS_OPEN_READONLY};
    CHECK_ERR(alps_heap_open(path, &options, &heap), -error);
    CHECK_DETAIL(path);
    CHECK_ERR(alps_heap_destroy(path), -error);
    CHECK_DETAIL(path);
    CHECK_ERR(alps_heap_format(path), -error);
    CHECK_DETAIL(path);
}

TEST(open, says_what_is_not_a_heap)
{
    const char *path = test_heap_path();
    expect_refused(path, ENOENT);

    write_file(path, "", 0);
    expect_refused(path, EMEDIUMTYPE);
    CHECK_EQ(status_of(path).st_size, 0);
    CHECK_EQ(unlink(path), 0);

    char *text = malloc(64 * KIB);
    CHECK(text != NULL);
    memset(text, 'x', 64 * KIB);
    for (size_t length = 1; length <= 64 * KIB; length *= 16) {
        write_file(path, text, length);
        expect_refused(path, EMEDIUMTYPE);
        CHECK_EQ(status_of(path).st_size, length);
        CHECK_EQ(unlink(path), 0);
    }
    free(text);

    CHECK_EQ(mkfifo(path, 0600), 0);
    CHECK_ERR(try_open(path), -EMEDIUMTYPE);
    CHECK_ERR(alps_heap_destroy(path), -EMEDIUMTYPE);
    CHECK(exists(path));
    CHECK_EQ(unlink(path), 0);

    CHECK_EQ(mkdir(path, 0700), 0);
    expect_refused(path, EMEDIUMTYPE);
    CHECK_EQ(rmdir(path), 0);
}

/* The names go, the memory stays: who has the heap open misses nothing, others learn which file is
 * not there. */
TEST(open, a_heap_whose_directory_has_gone)
{
    char directory[512], paths[2][600];
    snprintf(directory, sizeof directory, "%s/gone", test_directory());
    for (unsigned i = 0; i < 2; i++)
        snprintf(paths[i], sizeof paths[i], "%s/heap.%u", directory, i);
    const char *const files[] = {paths[0], paths[1]};
    const struct alps_create_options options = blocks_options(32 * MIB, 128 * MIB);
    CHECK_ERR(alps_heap_create_files(files, 2, &options), -ENOENT);
    CHECK_DETAIL(directory);

    CHECK_EQ(mkdir(directory, 0700), 0);
    CHECK_ERR(alps_heap_create_files(files, 2, &options), 0);
    alps_heap_t *heap, *ended;
    CHECK_ERR(alps_heap_open_files(files, 2, NULL, &heap), 0);
    CHECK_ERR(alps_heap_open_files(files, 2, NULL, &ended), 0);
    alps_gen_t generation = alps_heap_generation(ended);
    CHECK(alps_malloc(ended, 1000, ALPS_ANY_NODE) != ALPS_NULL);
    CHECK_ERR(alps_heap_close(ended), 0);
    for (unsigned i = 0; i < 2; i++)
        CHECK_EQ(unlink(paths[i]), 0);
    CHECK_EQ(rmdir(directory), 0);

    alps_heap_t *none = NULL;
    CHECK_ERR(alps_heap_open_files(files, 2, NULL, &none), -ENOENT);
    CHECK_DETAIL(paths[0]);
    CHECK(none == NULL);
    CHECK_ERR(alps_heap_destroy(paths[0]), -ENOENT);
    struct blocks blocks = {0};
    heap_fill(heap, 1 * MIB, &blocks); /* it grows */
    CHECK_LE(64, blocks.count);
    CHECK_ERR(alps_recover(heap, NULL), 0);
    CHECK_ERR(alps_bulk_free(heap, generation), 0);
    CHECK_EQ(blocks_stats(heap).live_blocks, blocks.count);
    blocks_check_heap(heap);
    heap_free_all(heap, &blocks);
    CHECK_ERR(alps_heap_trim(heap), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(open, refuses_a_truncated_heap)
{
    const char *path = test_heap_path();
    heap_make(path, 64 * MIB, 0);
    alps_heap_t *heap = heap_open(path);
    struct blocks blocks = {0};
    heap_fill(heap, 1 * MIB, &blocks);
    CHECK_ERR(alps_heap_close(heap), 0);
    int64_t whole = status_of(path).st_size;
    const int64_t lengths[] = {whole - 1, whole / 2, 1 << 20, 1 << 16, 8192, 4096};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        CHECK_EQ(truncate(path, lengths[i]), 0);
        CHECK_ERR(try_open(path), -EUCLEAN);
        CHECK_DETAIL(path);
        struct alps_open_options options = {.struct_size = sizeof options,
                                            .flags = ALPS_OPEN_READONLY};
        CHECK_ERR(alps_heap_open(path, &options, &heap), -EUCLEAN);
        CHECK(exists(path));
    }
    CHECK_EQ(truncate(path, 100), 0);
    int rc = try_open(path);
    CHECK(rc == -EUCLEAN || rc == -EMEDIUMTYPE);
    CHECK_EQ(unlink(path), 0);
    blocks_clear(&blocks);
}

TEST(open, needs_permission_for_what_it_does)
{
    if (geteuid() != 0)
        SKIP("needs root, to become another user");
    const char *path = test_heap_path();
    struct alps_create_options options = blocks_options(16 * MIB, 0);
    options.mode = 0644;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    CHECK_EQ(chmod(test_directory(), 0711), 0);
    CHECK_EQ(seteuid(65534), 0);
    CHECK_ERR(try_open(path), -EACCES);
    CHECK_DETAIL(path);
    alps_heap_t *heap = heap_open_with(path, ALPS_OPEN_READONLY);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_EQ(seteuid(0), 0);
}

TEST(open, fails_when_addresses_are_limited)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 4 * GIB);
    if (blocks_sanitized())
        SKIP("sanitizers need all addresses");
    struct rlimit before, limit;
    CHECK_EQ(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = 1 * GIB;
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    int rc = try_open(path);
    CHECK(rc == -EFBIG || rc == -ENOMEM);
    CHECK_EQ(setrlimit(RLIMIT_AS, &before), 0);
    CHECK_EQ(try_open(path), 0);
}

TEST(open, every_opening_is_an_instance_with_a_new_generation)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 0);
    alps_gen_t last = ALPS_PERMANENT;
    for (int round = 0; round < 5; round++) {
        alps_heap_t *heaps[5];
        for (unsigned i = 0; i < 5; i++) {
            heaps[i] = heap_open(path);
            CHECK(alps_heap_generation(heaps[i]) > last);
            last = alps_heap_generation(heaps[i]);
            CHECK_EQ(blocks_stats(heaps[i]).instances, i + 1);
        }
        for (unsigned i = 0; i < 5; i++)
            CHECK_ERR(alps_heap_close(heaps[i]), 0);
    }
    alps_heap_t *permanent = heap_open_with(path, ALPS_OPEN_PERMANENT);
    alps_heap_t *readonly = heap_open_with(path, ALPS_OPEN_READONLY);
    CHECK_EQ(alps_heap_generation(permanent), ALPS_PERMANENT);
    CHECK_EQ(alps_heap_generation(readonly), ALPS_PERMANENT);
    CHECK_EQ(blocks_stats(readonly).instances, 1); /* read-only openings take no slot */
    CHECK_ERR(alps_heap_close(permanent), 0);
    CHECK_EQ(blocks_stats(readonly).instances, 0);
    CHECK_ERR(alps_heap_close(readonly), 0);
}

static unsigned count_entries(const char *directory)
{
    unsigned count = 0;
    DIR *d = opendir(directory);
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        count++;
    CHECK_EQ(closedir(d), 0);
    return count;
}

static unsigned count_mappings_of(const char *path)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    char line[4096];
    unsigned count = 0;
    while (fgets(line, sizeof line, maps) != NULL)
        count += strstr(line, path) != NULL;
    CHECK_EQ(fclose(maps), 0);
    return count;
}

TEST(close, leaves_no_descriptor_and_no_mapping)
{
    const char *path = test_heap_path(), *foreign = test_heap_path();
    heap_make(path, 16 * MIB, 64 * MIB);
    write_file(foreign, "foreign", 7);
    CHECK_EQ(try_open(path), 0);
    unsigned before = count_entries("/proc/self/fd");
    for (unsigned i = 0; i < blocks_scaled(200); i++) {
        alps_heap_t *heap = heap_open_with(path, i % 3 == 0 ? ALPS_OPEN_READONLY : 0);
        CHECK(count_mappings_of(path) >= 1);
        if (i % 3 != 0)
            CHECK(alps_malloc(heap, 100, ALPS_ANY_NODE) != ALPS_NULL);
        CHECK_ERR(alps_heap_remap(heap, NULL), 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_ERR(try_open(foreign), -EMEDIUMTYPE);
        CHECK_ERR(alps_heap_create(path, NULL), -EEXIST);
    }
    CHECK_EQ(count_entries("/proc/self/fd"), before);
    CHECK_EQ(count_mappings_of(path), 0);
    CHECK_EQ(unlink(foreign), 0);
}

TEST(open, refuses_more_instances_than_slots)
{
    const char *path = test_heap_path();
    struct alps_create_options options = blocks_options(64 * MIB, 0);
    options.max_instances = 64;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    alps_heap_t *heaps[64], *more;
    for (unsigned i = 0; i < 64; i++)
        heaps[i] = heap_open_with(path, i % 2 == 0 ? 0 : ALPS_OPEN_PERMANENT);
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(alps_heap_open(path, NULL, &more), -EUSERS);
        CHECK_DETAIL(path);
    }
    more = heap_open_with(path, ALPS_OPEN_READONLY);
    CHECK_EQ(blocks_stats(more).instances, 64);
    CHECK_ERR(alps_heap_close(more), 0);
    for (unsigned i = 0; i < 64; i++) { /* all of them work */
        alps_ptr_t p = alps_malloc(heaps[i], 100, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        CHECK_ERR(alps_free(heaps[(i + 1) % 64], p), 0);
    }
    CHECK_ERR(alps_heap_close(heaps[17]), 0);
    heaps[17] = heap_open(path);
    CHECK_ERR(alps_heap_open(path, NULL, &more), -EUSERS);
    for (unsigned i = 0; i < 64; i++)
        CHECK_ERR(alps_heap_close(heaps[i]), 0);
    more = heap_open(path);
    blocks_check_heap(more);
    CHECK_EQ(blocks_stats(more).live_blocks, 0);
    CHECK_ERR(alps_heap_close(more), 0);
}

TEST(open, slots_of_killed_processes_are_used_again)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 0);
    for (unsigned i = 0; i < 80; i++) { /* more than there are slots */
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alps_heap_t *heap = NULL;
            if (alps_heap_open(path, NULL, &heap) == 0 &&
                alps_malloc(heap, 100, ALPS_ANY_NODE) != ALPS_NULL)
                kill(getpid(), SIGKILL);
            _exit(1);
        }
        int status;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    alps_heap_t *heap = heap_open(path);
    struct alps_stats stats = blocks_stats(heap);
    CHECK_EQ(stats.instances, 1);
    CHECK_EQ(stats.dead_instances, 0);
    CHECK_EQ(stats.live_blocks, 80);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* The table of generations knows 4096 or so at a time. A generation leaves it when nothing of it is
 * left. */
TEST(open, refuses_when_the_table_of_generations_is_full)
{
    const char *path = test_heap_path();
    heap_make(path, 512 * MIB, 0);
    alps_heap_t *keeper = heap_open_with(path, ALPS_OPEN_PERMANENT), *heap = NULL;
    alps_gen_t first = 0, second = 0;
    unsigned opened = 0;
    int rc;
    while ((rc = alps_heap_open(path, NULL, &heap)) == 0 && opened < 70000) {
        alps_gen_t generation = alps_heap_generation(heap);
        second = opened == 1 ? generation : second;
        first = opened == 0 ? generation : first;
        CHECK(alps_malloc(heap, 64, ALPS_ANY_NODE) != ALPS_NULL);
        CHECK_ERR(alps_heap_close(heap), 0);
        opened++;
    }
    CHECK_ERR(rc, -ENOSPC);
    CHECK_DETAIL(path);
    CHECK(opened >= 1000);
    CHECK_EQ(blocks_stats(keeper).live_blocks, opened);

    CHECK_ERR(alps_bulk_free(keeper, first), 0);
    heap = heap_open(path);
    CHECK(alps_malloc(heap, 64, ALPS_ANY_NODE) != ALPS_NULL);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_open(path, NULL, &heap), -ENOSPC);

    CHECK_ERR(alps_commit(keeper, second), 0); /* its block needs no entry any more */
    heap = heap_open(path);
    CHECK_EQ(blocks_stats(heap).live_blocks, opened);
    CHECK_EQ(blocks_stats(heap).permanent_blocks, 1);
    blocks_check_heap(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_close(keeper), 0);
}

/* ---- format and destroy ---- */

static void expect_busy(const char *path)
{
    CHECK_ERR(alps_heap_format(path), -EBUSY);
    CHECK_DETAIL(path);
    CHECK_ERR(alps_heap_destroy(path), -EBUSY);
    CHECK_DETAIL(path);
    CHECK(exists(path));
}

TEST(format, is_refused_while_the_heap_is_open)
{
    const char *path = test_heap_path();
    heap_make(path, 16 * MIB, 0);
    static const unsigned flags[] = {0, ALPS_OPEN_PERMANENT, ALPS_OPEN_READONLY};
    for (unsigned i = 0; i < 3; i++) {
        alps_heap_t *heap = heap_open_with(path, flags[i]);
        expect_busy(path);
        alps_heap_t *second = heap_open(path);
        CHECK_ERR(alps_heap_close(heap), 0);
        expect_busy(path);
        alps_ptr_t p = alps_malloc(second, 1000, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        CHECK_ERR(alps_free(second, p), 0);
        CHECK_ERR(alps_heap_close(second), 0);
    }
    /* Another process has it, and dies with it. */
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alps_heap_t *heap;
        char byte = (char)alps_heap_open(path, NULL, &heap);
        if (write(ready[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    char byte;
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    CHECK_EQ(byte, 0);
    expect_busy(path);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_ERR(alps_heap_format(path), 0);
    CHECK_ERR(alps_heap_destroy(path), 0);
    CHECK(!exists(path));
    CHECK_ERR(try_open(path), -ENOENT);
    CHECK_ERR(alps_heap_destroy(path), -ENOENT);
}

TEST(format, empties_the_heap_and_keeps_its_sizes)
{
    const char *path = test_heap_path();
    heap_make(path, 32 * MIB, 128 * MIB);
    alps_heap_t *heap = heap_open(path);
    struct alps_stats fresh = blocks_stats(heap);
    for (int round = 0; round < 3; round++) {
        alps_gen_t generation = alps_heap_generation(heap);
        alps_ptr_t p = alps_malloc(heap, 3 * MIB, ALPS_ANY_NODE);
        CHECK(p != ALPS_NULL);
        memset(alps_deref(heap, p), 0xff, 3 * MIB);
        for (int i = 0; i < 1000; i++)
            CHECK(alps_malloc(heap, (size_t)i * 10, ALPS_ANY_NODE) != ALPS_NULL);
        CHECK_ERR(alps_root_set(heap, "root", p), 0);
        CHECK_ERR(alps_commit(heap, generation), 0);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_ERR(alps_heap_format(path), 0);

        heap = heap_open(path);
        struct alps_stats stats = blocks_stats(heap);
        CHECK_EQ(stats.capacity, fresh.capacity);
        CHECK_EQ(stats.size, fresh.size);
        CHECK_EQ(stats.live_blocks, 0);
        CHECK_EQ(stats.span_bytes, 0);
        CHECK_EQ(stats.roots, 0);
        errno = 0;
        CHECK_EQ(alps_root_get(heap, "root"), ALPS_NULL);
        CHECK_EQ(errno, ENOENT);
        if (alps_heap_generation(heap) != generation)
            CHECK_ERR(alps_commit(heap, generation), -ENOENT);
        blocks_check_heap(heap);
    }
    struct blocks blocks = {0};
    heap_fill(heap, 1 * MIB, &blocks);
    CHECK(blocks.count >= 110 && blocks.count <= 128);
    blocks_clear(&blocks);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(format, takes_the_first_file_of_several_and_destroy_removes_all)
{
    const char *paths[] = {test_heap_path(), test_heap_path(), test_heap_path()};
    struct alps_create_options options = blocks_options(48 * MIB, 0);
    CHECK_ERR(alps_heap_create_files(paths, 3, &options), 0);
    for (unsigned i = 0; i < 3; i++) {
        alps_heap_t *heap;
        CHECK_ERR(alps_heap_open_files(paths, 3, NULL, &heap), 0);
        CHECK_EQ(blocks_stats(heap).live_blocks, 0);
        CHECK(alps_malloc(heap, 100, ALPS_ANY_NODE) != ALPS_NULL);
        CHECK_ERR(alps_heap_format(paths[0]), -EBUSY);
        CHECK_ERR(alps_heap_destroy(paths[0]), -EBUSY);
        CHECK_ERR(alps_heap_close(heap), 0);
        CHECK_ERR(alps_heap_format(paths[i]), i == 0 ? 0 : -EINVAL);
        CHECK_ERR(alps_heap_format(paths[0]), 0);
    }
    CHECK_ERR(alps_heap_destroy(paths[0]), 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK(!exists(paths[i]));
}

/* ---- texts ---- */

static int count_errors_without_text(void)
{
    static const int errors[] = {EINVAL,  EALREADY, ENOMEM, EMEDIUMTYPE, EPROTONOSUPPORT,
                                 EUCLEAN, EFBIG,    EBUSY,  EUSERS,      ENOSPC,
                                 ENOENT,  EROFS,    ECHILD, EACCES,      ENODEV};
    enum { COUNT = sizeof errors / sizeof *errors };
    int missing = 0;
    for (int i = 0; i < COUNT; i++) {
        const char *text = alps_strerror(errors[i]);
        char copy[256];
        CHECK(text != NULL && text[0] != '\0');
        snprintf(copy, sizeof copy, "%s", text);
        missing += strcmp(copy, alps_strerror(-errors[i])) != 0;
        for (int j = 0; j < i; j++)
            missing += strcmp(copy, alps_strerror(errors[j])) == 0;
    }
    return missing;
}

TEST(text, every_error_has_its_own)
{
    CHECK_EQ(count_errors_without_text(), 0);
    CHECK(alps_strerror(0) != NULL);
    CHECK(alps_strerror(123456) != NULL);
    CHECK(alps_error_detail() != NULL);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", ALPS_VERSION_MAJOR, ALPS_VERSION_MINOR,
             ALPS_VERSION_PATCH);
    CHECK(strcmp(alps_version(), version) == 0);
}
