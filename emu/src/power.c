/* Power failures.
 *
 * Idea. The image of a range is a file that all processes map: for each line what it held when it
 * was last flushed, once a fence has come after that. A flush copies the line to a list of its
 * thread; the fence puts the list into the image. A failure freezes the image: whoever comes to a
 * fence waits there, before and after it has put its lines, so that nothing is done in the belief
 * that it was durable; then the processes are killed. What a machine might find afterwards is, for
 * each line, what the image has (or, if it never was flushed, what was there at first), or what the
 * line held at the end: caches may have written it back at any time.
 *
 * Invariants. W1: a line's word is sequence << 1 | 1 while somebody writes the line, and no older
 * flush replaces a younger one. W2: appliers counts those who are at it; frozen and appliers 0
 * means that the image does not change any more.
 *
 * Crash: a process killed between W1's two stores leaves one line locked, as if the failure had
 * come then: others leave that line alone after a while. */
#include "power.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <emu/emu.h>

#include "error.h"
#include "model.h"

#define MAGIC UINT64_C(0x72776f7075)
#define PATIENCE 100000

/* The file: this, a word for each line, the lines. */
struct image {
    uint64_t magic, length, frozen, appliers, sequence;
    uint64_t reserved[3];
    uint64_t words[];
};

static struct image *image;
static const char *tracked;
static uint64_t tracked_length;

static size_t image_bytes(uint64_t length)
{
    return sizeof(struct image) + length / LINE * (sizeof(uint64_t) + LINE);
}

static unsigned char *line_of(struct image *i, uint64_t line)
{
    return (unsigned char *)(i->words + i->length / LINE) + line * LINE;
}

/* Maps an image; length 0: the one that is there. */
static int map_image(const char *path, uint64_t length, struct image **result)
{
    struct stat status;
    const int fd = open(path, O_RDWR | O_CLOEXEC | (length != 0 ? O_CREAT : 0), 0600);
    if (fd < 0)
        return emu_fail_system(errno, "%s", path);
    int rc =
        flock(fd, LOCK_EX) != 0 || fstat(fd, &status) != 0 ? emu_fail_system(errno, "%s", path) : 0;
    if (rc == 0 && status.st_size == 0 && length != 0 &&
        ftruncate(fd, (off_t)image_bytes(length)) == 0)
        status.st_size = (off_t)image_bytes(length);
    if (rc == 0 && (size_t)status.st_size < sizeof(struct image))
        rc = emu_fail(EINVAL, "%s: no image of the emulator", path);
    void *p = rc != 0
                  ? MAP_FAILED
                  : mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (rc == 0 && p == MAP_FAILED)
        rc = emu_fail_system(errno, "%s", path);
    if (rc == 0) {
        *result = p;
        if ((*result)->magic == 0 && length != 0) {
            (*result)->length = length;
            (*result)->magic = MAGIC;
        }
        if ((*result)->magic != MAGIC || (size_t)status.st_size != image_bytes((*result)->length) ||
            (length != 0 && (*result)->length != length)) {
            munmap(p, (size_t)status.st_size);
            rc = emu_fail(EINVAL, "%s: no image of such a range", path);
        }
    }
    flock(fd, LOCK_UN);
    close(fd);
    return rc;
}

static void unmap_image(struct image *i)
{
    munmap(i, image_bytes(i->length));
}

/* ---- keeping the image ---- */

int power_track(const void *address, uint64_t length, const char *path)
{
    if ((uintptr_t)address % LINE != 0 || length == 0 || length % LINE != 0)
        return emu_fail(EINVAL, "the range is not one of whole lines");
    power_stop();
    int rc = map_image(path, length, &image);
    if (rc == 0) {
        tracked = address;
        tracked_length = length;
    }
    return rc;
}

bool power_is_tracked(void)
{
    return image != NULL;
}

void power_stop(void)
{
    if (image != NULL)
        unmap_image(image);
    image = NULL;
}

void power_flush(struct power_pending *p, const char *address, size_t length)
{
    if (address < tracked || address + length > tracked + tracked_length)
        return;
    const uint64_t offset = (uint64_t)(address - tracked);
    for (uint64_t line = offset / LINE; line <= (offset + length - 1) / LINE; line++) {
        if (p->count == p->room) {
            const unsigned room = p->room == 0 ? 64 : 2 * p->room;
            struct power_line *lines = realloc(p->lines, room * sizeof *lines);
            if (lines == NULL)
                return; /* not durable, then */
            p->lines = lines;
            p->room = room;
        }
        struct power_line *l = &p->lines[p->count++];
        l->line = line;
        l->sequence = __atomic_add_fetch(&image->sequence, 1, __ATOMIC_SEQ_CST);
        memcpy(l->bytes, tracked + line * LINE, LINE);
    }
}

static void put_line(const struct power_line *l)
{
    uint64_t *word = &image->words[l->line], now = __atomic_load_n(word, __ATOMIC_ACQUIRE);
    for (unsigned tries = 0; now >> 1 < l->sequence; tries++) {
        if ((now & 1) != 0) {
            if (tries == PATIENCE)
                return;
            sched_yield();
            now = __atomic_load_n(word, __ATOMIC_ACQUIRE);
        } else if (__atomic_compare_exchange_n(word, &now, l->sequence << 1 | 1, false,
                                               __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
            memcpy(line_of(image, l->line), l->bytes, LINE);
            __atomic_store_n(word, l->sequence << 1, __ATOMIC_RELEASE);
            return;
        }
    }
}

static void wait_if_frozen(void)
{
    const struct timespec nap = {0, 1000000};
    while (__atomic_load_n(&image->frozen, __ATOMIC_SEQ_CST) != 0)
        nanosleep(&nap, NULL); /* until killed */
}

void power_fence(struct power_pending *p)
{
    for (;;) {
        wait_if_frozen();
        __atomic_add_fetch(&image->appliers, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&image->frozen, __ATOMIC_SEQ_CST) == 0)
            break;
        __atomic_sub_fetch(&image->appliers, 1, __ATOMIC_SEQ_CST);
    }
    for (unsigned i = 0; i < p->count; i++)
        put_line(&p->lines[i]);
    p->count = 0;
    __atomic_sub_fetch(&image->appliers, 1, __ATOMIC_SEQ_CST);
    wait_if_frozen();
}

/* ---- the failure ---- */

int emu_power_cut(const char *path)
{
    const struct timespec nap = {0, 1000000};
    struct image *i;
    int rc = map_image(path, 0, &i);
    if (rc != 0)
        return rc;
    __atomic_store_n(&i->frozen, 1, __ATOMIC_SEQ_CST);
    /* Whoever was killed in the middle will not be done any more. */
    for (int ms = 0; ms < 1000 && __atomic_load_n(&i->appliers, __ATOMIC_SEQ_CST) != 0; ms++)
        nanosleep(&nap, NULL);
    unmap_image(i);
    return 0;
}

static int read_whole(const char *path, unsigned char **bytes, size_t *length)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        if (fd >= 0)
            close(fd);
        return emu_fail_system(errno, "%s", path);
    }
    *length = (size_t)status.st_size;
    *bytes = mmap(NULL, *length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    return *bytes == MAP_FAILED ? emu_fail_system(errno, "%s", path) : 0;
}

static int write_whole(const char *path, const unsigned char *bytes, size_t length)
{
    FILE *file = fopen(path, "we");
    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        return emu_fail_system(errno, "%s", path);
    return 0;
}

int emu_power_restore(const char *path, const char *before, const char *now, const char *result,
                      unsigned percent, uint64_t seed)
{
    struct image *i;
    unsigned char *old, *last;
    size_t old_length, length;
    int rc = map_image(path, 0, &i);
    if (rc != 0)
        return rc;
    rc = read_whole(before, &old, &old_length);
    if (rc == 0)
        rc = read_whole(now, &last, &length);
    for (uint64_t line = 0; rc == 0 && line < length / LINE && line < i->length / LINE; line++) {
        static const unsigned char zeros[LINE];
        const uint64_t at = line * LINE;
        const unsigned char *durable = i->words[line] != 0       ? line_of(i, line)
                                       : at + LINE <= old_length ? old + at
                                                                 : zeros;
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (memcmp(durable, last + at, LINE) != 0 && (seed >> 33) % 100 >= percent)
            memcpy(last + at, durable, LINE);
    }
    if (rc == 0)
        rc = write_whole(result, last, length);
    unmap_image(i);
    if (rc == 0) {
        munmap(old, old_length);
        munmap(last, length);
    }
    return rc;
}
