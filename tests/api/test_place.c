/* Heaps in the place of what was in files before, as on devices: of a length that stays, and in
 * memory that is not zero. Heaps in other memory than tmpfs. */
#include <alps/alps.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "blocks.h"
#include "test.h"

static struct alps_create_options in_place = {.struct_size = sizeof in_place,
                                              .flags = ALPS_CREATE_IN_PLACE};

/* A file full of what a heap must not take for its own. */
static const char *make_file(uint64_t bytes)
{
    const char *path = test_heap_path();
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, (off_t)bytes), 0);
    void *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(all != MAP_FAILED);
    memset(all, 0xa5, bytes);
    CHECK_EQ(munmap(all, bytes), 0);
    close(fd);
    return path;
}

static uint64_t file_length(const char *path)
{
    struct stat status;
    CHECK_EQ(stat(path, &status), 0);
    return (uint64_t)status.st_size;
}

static alps_heap_t *open_heap(const char *path)
{
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    return heap;
}

/* Fills the heap with blocks of all sizes, frees some, fills it again; every byte is checked. How
 * many bytes of spans were in use. */
static uint64_t use(alps_heap_t *heap)
{
    struct test_rng rng = test_rng(1);
    struct blocks blocks = {0};
    uint64_t most = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t largest = 2 * MIB; largest >= 16;) {
            size_t size = largest == 64 * KIB ? largest : rng_size(&rng, largest);
            alps_ptr_t p = alps_malloc(heap, size, ALPS_ANY_NODE);
            if (p == ALPS_NULL) {
                largest /= 2;
                continue;
            }
            blocks_add(&blocks, block_begin(heap, NULL, p, size, test_rng_next(&rng),
                                            alps_heap_generation(heap)));
        }
        CHECK_EQ(errno, ENOMEM);
        struct alps_stats stats = {.struct_size = sizeof stats};
        CHECK_ERR(alps_heap_stats(heap, &stats), 0);
        most = stats.span_bytes > most ? stats.span_bytes : most;
        blocks_expect(heap, &blocks);
        CHECK_ERR(alps_heap_check(heap, NULL), 0);
        while (blocks.count > (round < 2 ? 50 : 0)) {
            struct block block = blocks_take(&blocks, test_rng_below(&rng, blocks.count));
            block_end(heap, NULL, &block);
            CHECK_ERR(alps_free(heap, block.ptr), 0);
        }
    }
    blocks_clear(&blocks);
    CHECK_ERR(alps_heap_trim(heap), 0);
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    return most;
}

TEST(place, a_heap_takes_all_of_a_file_and_leaves_it_when_it_is_destroyed)
{
    const char *path = make_file(40 * MIB + 12345);
    CHECK_ERR(alps_heap_create(path, NULL), -EEXIST);
    CHECK_ERR(alps_heap_create(path, &in_place), 0);
    alps_heap_t *heap = open_heap(path);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.in_place, 1);
    CHECK_EQ(stats.shared, 0);
    CHECK_EQ(stats.size, stats.capacity);
    CHECK_LE(stats.size, 40 * MIB);
    CHECK_LE(36 * MIB, stats.size);
    CHECK_LE(30 * MIB, use(heap));
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_EQ(file_length(path), 40 * MIB + 12345);

    heap = open_heap(path);
    CHECK_NE(alps_malloc(heap, 100, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_ERR(alps_heap_destroy(path), -EBUSY);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_format(path), 0);
    heap = open_heap(path);
    CHECK_LE(30 * MIB, use(heap));
    CHECK_ERR(alps_heap_close(heap), 0);

    CHECK_ERR(alps_heap_create(path, &in_place), -EEXIST);
    CHECK_ERR(alps_heap_destroy(path), 0);
    CHECK_EQ(file_length(path), 40 * MIB + 12345);
    CHECK_ERR(alps_heap_open(path, NULL, &heap), -EMEDIUMTYPE);
    CHECK_ERR(alps_heap_create(path, &in_place), 0);
}

TEST(place, a_heap_in_place_grows_up_to_the_end_of_its_file)
{
    const char *path = make_file(64 * MIB);
    struct alps_create_options options = in_place;
    options.size = 16 * MIB;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    alps_heap_t *heap = open_heap(path);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_LE(stats.size, 16 * MIB);
    CHECK_LE(58 * MIB, stats.capacity);
    CHECK_LE(50 * MIB, use(heap));
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.size, stats.capacity);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_EQ(file_length(path), 64 * MIB);
}

TEST(place, several_files_in_place)
{
    const char *paths[] = {make_file(32 * MIB), make_file(48 * MIB), make_file(32 * MIB)};
    CHECK_ERR(alps_heap_create_files(paths, 3, &in_place), 0);
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open_files(paths, 3, NULL, &heap), 0);
    CHECK_LE(70 * MIB, use(heap));
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_create(paths[1], &in_place), -EEXIST); /* a part of a heap */
    CHECK_ERR(alps_heap_destroy(paths[0]), 0);
    CHECK_ERR(alps_heap_create(paths[1], &in_place), 0);
    CHECK_EQ(file_length(paths[1]), 48 * MIB);
}

/* Many openings at once, on durable and on shared heaps too. */
TEST(place, durable_and_shared)
{
    const char *path = make_file(32 * MIB);
    struct alps_create_options options = in_place;
    options.flags |= ALPS_CREATE_DURABLE | ALPS_CREATE_SHARED;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    alps_heap_t *heap = open_heap(path), *other = open_heap(path);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.in_place, 1);
    CHECK_EQ(stats.shared, 1);
    CHECK_EQ(stats.durable, 1);
    use(heap);
    use(other);
    CHECK_ERR(alps_heap_close(other), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(place, what_cannot_be_is_refused_and_changes_nothing)
{
    const char *path = make_file(32 * MIB), *small = make_file(8 * MIB), *none = test_heap_path();
    struct alps_create_options options = in_place;
    CHECK_ERR(alps_heap_create(none, &in_place), -ENOENT);
    CHECK_ERR(alps_heap_create(small, &in_place), -EINVAL);
    CHECK_ERR(alps_heap_create(make_file(MIB), &in_place), -EINVAL);
    CHECK_ERR(alps_heap_create("/dev/shm", &in_place), -EMEDIUMTYPE);
    CHECK_ERR(alps_heap_create("/dev/zero", NULL), -EMEDIUMTYPE);
    CHECK_ERR(alps_heap_create("/dev/null", &in_place), -EMEDIUMTYPE);
    options.capacity = 64 * MIB;
    CHECK_ERR(alps_heap_create(path, &options), -EINVAL);
    options.capacity = 0;
    options.size = 32 * MIB; /* with nothing left for what is beside the blocks */
    CHECK_ERR(alps_heap_create(path, &options), -EINVAL);
    options.size = 0;
    options.zone_size = MIB;
    CHECK_ERR(alps_heap_create(path, &options), -EINVAL);
    options.zone_size = 0;
    options.nodes = (int[]){0};
    options.node_count = 1;
    CHECK_ERR(alps_heap_create(path, &options), -EINVAL);
    const char *both[] = {path, small};
    CHECK_ERR(alps_heap_create_files(both, 2, &in_place), -EINVAL);

    int fd = open(path, O_RDONLY);
    unsigned char byte[3];
    CHECK_EQ(pread(fd, byte, 1, 0), 1);
    CHECK_EQ(pread(fd, byte + 1, 1, MIB), 1);
    CHECK_EQ(pread(fd, byte + 2, 1, 32 * MIB - 1), 1);
    CHECK_EQ(byte[0] & byte[1] & byte[2], 0xa5);
    close(fd);
    CHECK_EQ(file_length(path), 32 * MIB);
}

/* ---- memory without a name ---- */

/* What two processes share besides the socket: the list of blocks that one has made for the other,
 * without their addresses. */
struct handover {
    int sockets[2]; /* of who makes the memory, and of who receives it */
    unsigned count;
    struct block blocks[200];
};

/* The socket of this process; the other one is the other's. */
static int take_socket(struct handover *handover, int mine)
{
    close(handover->sockets[!mine]);
    return handover->sockets[mine];
}

static void send_descriptor(int socket, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof fd)];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    CHECK_EQ(sendmsg(socket,
                     &(struct msghdr){.msg_iov = &(struct iovec){"", 1},
                                      .msg_iovlen = 1,
                                      .msg_control = &control,
                                      .msg_controllen = sizeof control},
                     0),
             1);
}

static int receive_descriptor(int socket)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    int fd;
    struct msghdr message = {.msg_iov = &(struct iovec){&byte, 1},
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    CHECK_EQ(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), 1);
    CHECK_EQ(control.header.cmsg_type, SCM_RIGHTS);
    CHECK_EQ(control.header.cmsg_len, CMSG_LEN(sizeof fd));
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    return fd;
}

/* Opens the heap in the memory of a descriptor, by this process's own number, and closes that. */
static alps_heap_t *open_descriptor(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    alps_heap_t *heap = open_heap(path);
    close(fd);
    return heap;
}

/* Blocks with contents, noted in the list. */
static void make_blocks(alps_heap_t *heap, struct handover *handover, uint64_t stream)
{
    struct test_rng rng = test_rng(stream);
    const unsigned most = sizeof handover->blocks / sizeof *handover->blocks;
    for (handover->count = 0; handover->count < most; handover->count++) {
        const size_t size = rng_size(&rng, 256 * KIB);
        handover->blocks[handover->count] =
            block_begin(heap, NULL, alps_malloc(heap, size, ALPS_ANY_NODE), size,
                        test_rng_next(&rng), alps_heap_generation(heap));
    }
}

/* The heap has these blocks and no others. */
static void expect_blocks(alps_heap_t *heap, const struct handover *handover)
{
    struct blocks blocks = {0};
    for (unsigned i = 0; i < handover->count; i++) {
        block_verify(heap, &handover->blocks[i]);
        blocks_add(&blocks, handover->blocks[i]);
    }
    blocks_expect(heap, &blocks);
    blocks_clear(&blocks);
}

static void receive_heap(void *context)
{
    struct handover *handover = context;
    const int socket = take_socket(handover, 1);
    alps_heap_t *heap = open_descriptor(receive_descriptor(socket));
    expect_blocks(heap, handover);
    CHECK_EQ(alps_root_get(heap, "first"), handover->blocks[0].ptr);
    for (unsigned i = 0; i < handover->count; i++)
        CHECK_ERR(alps_free(heap, handover->blocks[i].ptr), 0);
    make_blocks(heap, handover, 2);
    CHECK_EQ(write(socket, "", 1), 1);
    pause();
}

TEST(memory, a_memfd_is_handed_over_by_a_socket)
{
    struct handover *handover = blocks_shared(sizeof *handover);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, handover->sockets), 0);
    const pid_t other = test_fork(receive_heap, handover);
    const int socket = take_socket(handover, 0);

    const int fd = memfd_create("heap", MFD_CLOEXEC);
    CHECK(fd >= 0);
    const int sent = dup(fd); /* open_descriptor closes its own */
    CHECK(sent >= 0);
    CHECK_EQ(ftruncate(fd, 64 * MIB), 0);
    char path[32], byte;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK_ERR(alps_heap_create(path, &in_place), 0);
    alps_heap_t *heap = open_descriptor(fd);
    make_blocks(heap, handover, 1);
    CHECK_ERR(alps_root_set(heap, "first", handover->blocks[0].ptr), 0);
    send_descriptor(socket, sent);
    close(sent);

    CHECK_EQ(read(socket, &byte, 1), 1);
    CHECK_EQ(kill(other, SIGKILL), 0);
    test_join_killed(other, SIGKILL);
    alps_gen_t generation;
    struct alps_recovery report = {
        .struct_size = sizeof report, .generations = &generation, .capacity = 1};
    CHECK_ERR(alps_recover(heap, &report), 0);
    CHECK_EQ(report.count, 1);
    CHECK_EQ(report.live, 1);
    CHECK_EQ(generation, handover->blocks[0].generation);
    expect_blocks(heap, handover);
    CHECK_ERR(alps_bulk_free(heap, generation), 0);
    CHECK_LE(50 * MIB, use(heap)); /* all of it can be had again */
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* ---- files that are no memory ---- */

/* A heap on a file system in the working directory that is not memory itself, where there is one;
 * what names it from now on. Its file has no other name, so that nothing is left of it. */
static const char *make_plain(const struct alps_create_options *options)
{
    static char path[64];
    struct statfs system;
    CHECK_EQ(statfs(".", &system), 0);
    if (system.f_type == TMPFS_MAGIC || system.f_type == HUGETLBFS_MAGIC)
        SKIP("the working directory is in memory");
    snprintf(path, sizeof path, "alps-test.%d", (int)getpid());
    CHECK_ERR(alps_heap_create(path, options), 0);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(unlink(path), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

TEST(memory, a_plain_file)
{
    const struct alps_create_options options = blocks_options(16 * MIB, 64 * MIB);
    const char *path = make_plain(&options);
    alps_heap_t *heap = open_heap(path);
    CHECK_EQ(blocks_stats(heap).in_place, 0);
    CHECK_LE(50 * MIB, use(heap));
    const alps_ptr_t p = alps_malloc(heap, 3 * MIB, ALPS_ANY_NODE);
    const struct block block =
        block_begin(heap, NULL, p, 3 * MIB, test_seed(), alps_heap_generation(heap));
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = open_heap(path);
    block_end(heap, NULL, &block);
    CHECK_ERR(alps_free(heap, p), 0);
    CHECK_EQ(blocks_stats(heap).live_blocks, 0);
    CHECK_ERR(alps_heap_trim(heap), 0);
    CHECK_LE(blocks_stats(heap).file_bytes, 16 * MIB);
    CHECK_ERR(alps_heap_close(heap), 0);
}

struct durable {
    const char *path;
    struct handover made;
};

static void commit_blocks(void *context)
{
    struct durable *durable = context;
    struct handover *made = &durable->made;
    alps_heap_t *heap = open_heap(durable->path);
    CHECK_EQ(blocks_stats(heap).durable, 1);
    CHECK_LE(50 * MIB, use(heap));
    make_blocks(heap, made, 1);
    for (unsigned i = 0; i < made->count; i++)
        CHECK_ERR(alps_persist(heap, alps_deref(heap, made->blocks[i].ptr), made->blocks[i].size),
                  0);
    CHECK_ERR(alps_root_set(heap, "first", made->blocks[0].ptr), 0);
    CHECK_ERR(alps_commit(heap, alps_heap_generation(heap)), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* The kernel that last made sure that a durable heap is whole (doc/format.md). */
static uint64_t made_whole_by(const char *path)
{
    uint64_t word;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(pread(fd, &word, sizeof word, 2432), (ssize_t)sizeof word);
    close(fd);
    return word;
}

/* Committed by one process; the next one comes after a boot, and makes the heap whole. */
TEST(memory, a_plain_file_that_is_durable)
{
    struct alps_create_options options = blocks_options(16 * MIB, 64 * MIB);
    options.flags = ALPS_CREATE_DURABLE;
    struct durable *durable = blocks_shared(sizeof *durable);
    durable->path = make_plain(&options);
    test_join(test_fork(commit_blocks, durable));
    const uint64_t before = made_whole_by(durable->path);

    setenv("ALPS_BOOT_ID", "another boot", 1);
    alps_heap_t *heap = open_heap(durable->path);
    CHECK_NE(made_whole_by(durable->path), before);
    for (unsigned i = 0; i < durable->made.count; i++)
        durable->made.blocks[i].generation = ALPS_PERMANENT;
    expect_blocks(heap, &durable->made);
    CHECK_EQ(alps_root_get(heap, "first"), durable->made.blocks[0].ptr);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* ---- pages of 2 MiB ---- */

/* Skips unless the heaps of tests lie on hugetlbfs. */
static void want_huge_pages(void)
{
    char path[4096];
    struct statfs system;
    snprintf(path, sizeof path, "%s", test_heap_path());
    CHECK_EQ(statfs(dirname(path), &system), 0);
    if (system.f_type != HUGETLBFS_MAGIC)
        SKIP("ALPS_TEST_DIR names no directory on hugetlbfs");
    CHECK_EQ(system.f_bsize, 2 * MIB);
}

TEST(hugetlb, a_heap_takes_pages_as_it_is_used_and_keeps_them)
{
    want_huge_pages();
    const char *path = test_heap_path();
    const struct alps_create_options options = {
        .struct_size = sizeof options, .size = 20 * MIB, .capacity = 50 * MIB};
    CHECK_ERR(alps_heap_create(path, &options), 0);
    alps_heap_t *heap = open_heap(path);
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_EQ(stats.in_place, 0);
    CHECK_LE(stats.file_bytes, 6 * MIB);
    CHECK_LE(45 * MIB, use(heap));
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_LE(45 * MIB, stats.file_bytes); /* trimmed in vain: chunks are smaller than pages */
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_EQ(file_length(path) % (2 * MIB), 0);
    CHECK_ERR(alps_heap_format(path), 0);
    heap = open_heap(path);
    CHECK_LE(45 * MIB, use(heap));
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_destroy(path), 0);
    CHECK_EQ(access(path, F_OK), -1);
}

TEST(hugetlb, a_heap_larger_than_all_pages_fills_up)
{
    want_huge_pages();
    const char *path = test_heap_path();
    const struct alps_create_options options = {.struct_size = sizeof options, .size = 64 * GIB};
    CHECK_ERR(alps_heap_create(path, &options), 0);
    alps_heap_t *heap = open_heap(path);
    use(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_destroy(path), 0);
}

TEST(hugetlb, several_files_and_what_cannot_be)
{
    want_huge_pages();
    const char *paths[] = {test_heap_path(), test_heap_path()};
    struct alps_create_options options = {
        .struct_size = sizeof options, .size = 128 * MIB, .nodes = (int[]){0}, .node_count = 1};
    CHECK_ERR(alps_heap_create_files(paths, 2, &options), -EOPNOTSUPP);
    options.nodes = NULL;
    options.node_count = 0;
    options.size = 64 * MIB; /* its files would not begin with a page of their own */
    CHECK_ERR(alps_heap_create_files(paths, 2, &options), -EINVAL);
    CHECK_EQ(access(paths[0], F_OK), -1);
    options.size = 128 * MIB;
    CHECK_ERR(alps_heap_create_files(paths, 2, &options), 0);
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open_files(paths, 2, NULL, &heap), 0);
    use(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_destroy(paths[0]), 0);
}
