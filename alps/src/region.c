/* Files, mapping, backing memory, locks.
 *
 * Idea: the region is a range of addresses reserved whole at opening, in which each file is mapped
 * up to the heap's capacity, also beyond the file's present end. Growth then needs no new mapping:
 * once a process extends the file, the pages are there for all.
 *
 * Memory is secured by fallocate before anything in it is used, so that a full file system gives an
 * error here and never SIGBUS later. fallocate only ever extends a file, so two processes that grow
 * it at once cannot cut each other's part off.
 *
 * A DAX device is memory of a fixed length that can be mapped and nothing else. Its kernel tells of
 * its size, and holds locks on it as on a file, which other kernels do not see.
 *
 * A file on hugetlbfs has pages of 2 MiB: it is as long as a number of them, cannot be written but
 * by a mapping, and chunks that are smaller cannot be given back.
 *
 * An anonymous region has no file. Its memory comes as it is touched, as that of any process, and a
 * forked child has a copy-on-write copy of all of it.
 */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base.h"
#include "error.h"
#include "fam.h"

#define LOCK_OFFSET ((off_t)1 << 62)

/* A number that the kernel tells of a DAX device, or 0. */
static uint64_t device_number(dev_t device, const char *name)
{
    char path[96];
    unsigned long long number = 0;
    snprintf(path, sizeof path, "/sys/dev/char/%u:%u/%s", major(device), minor(device), name);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu", &number) != 1)
        number = 0;
    fclose(f);
    return number;
}

static int check_device(const char *path, dev_t device)
{
    uint64_t alignment = device_number(device, "align");
    if (alignment == 0 || device_number(device, "size") == 0)
        return error_set(EMEDIUMTYPE, "%s: a device, but not of memory (DAX)", path);
    if (alignment > REGION_ALIGNMENT)
        return error_set(EINVAL,
                         "%s: is mapped by %llu bytes at a time: make the device with an alignment "
                         "of 2 MiB",
                         path, (unsigned long long)alignment);
    return 0;
}

bool region_is_device(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISCHR(status.st_mode);
}

static bool is_device(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode);
}

/* Bytes of a huge page if the file consists of such, or 0. */
static uint64_t huge_page(int fd)
{
    struct statfs system;
    return fstatfs(fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC ? (uint64_t)system.f_bsize
                                                                         : 0;
}

static int check_huge_page(const char *path, int fd)
{
    if (huge_page(fd) <= REGION_ALIGNMENT)
        return 0;
    return error_set(EINVAL, "%s: has pages of %llu bytes: mount hugetlbfs with pagesize=2M", path,
                     (unsigned long long)huge_page(fd));
}

/* The address of some bytes of a file that can only be mapped, or NULL. */
static char *map_window(int fd, size_t length, uint64_t offset, int protection)
{
    const uint64_t start = offset & ~(REGION_ALIGNMENT - 1);
    char *p = mmap(NULL, align_up(offset + length, REGION_ALIGNMENT) - start, protection,
                   MAP_SHARED, fd, (off_t)start);
    return p == MAP_FAILED ? NULL : p + (offset - start);
}

static void unmap_window(char *address, size_t length, uint64_t offset)
{
    const uint64_t skipped = offset & (REGION_ALIGNMENT - 1);
    munmap(address - skipped, align_up(skipped + length, REGION_ALIGNMENT));
}

ssize_t region_read(int fd, void *bytes, size_t length, uint64_t offset)
{
    if (!is_device(fd)) {
        ssize_t n = pread(fd, bytes, length, (off_t)offset);
        return n < 0 ? -errno : n;
    }
    char *window = map_window(fd, length, offset, PROT_READ);
    if (window == NULL)
        return -errno;
    memcpy(bytes, window, length);
    unmap_window(window, length, offset);
    return (ssize_t)length;
}

ssize_t region_write(int fd, const void *bytes, size_t length, uint64_t offset)
{
    if (!is_device(fd) && huge_page(fd) == 0) {
        ssize_t n = pwrite(fd, bytes, length, (off_t)offset);
        return n < 0 ? -errno : n;
    }
    char *window = map_window(fd, length, offset, PROT_READ | PROT_WRITE);
    if (window == NULL)
        return -errno;
    memcpy(window, bytes, length);
    unmap_window(window, length, offset);
    return (ssize_t)length;
}

int region_open_file(const char *path, bool readonly)
{
    int fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_system(errno == EISDIR ? EMEDIUMTYPE : errno, "%s: cannot be opened%s", path,
                            readonly ? "" : " for reading and writing");
    struct stat status;
    int rc = 0;
    if (fstat(fd, &status) != 0)
        rc = error_system(errno, "%s: fstat", path);
    else if (S_ISCHR(status.st_mode))
        rc = check_device(path, status.st_rdev);
    else if (!S_ISREG(status.st_mode))
        rc = error_set(EMEDIUMTYPE, "%s: neither a regular file nor a DAX device", path);
    else
        rc = check_huge_page(path, fd);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    return fd;
}

int region_create_file(const char *path, unsigned mode)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_system(errno, "%s: cannot be created", path);
    int rc = check_huge_page(path, fd);
    if (rc == 0 && fchmod(fd, (mode_t)mode) != 0)
        rc = error_system(errno, "%s: fchmod %o", path, mode);
    if (rc != 0) {
        unlink(path);
        close(fd);
        return rc;
    }
    return fd;
}

int region_init(struct region *region, const char *const *paths, const int *fds,
                unsigned file_count, bool readonly)
{
    *region = (struct region){.lock_fd = -1, .readonly = readonly};
    region->files = calloc(file_count, sizeof *region->files);
    if (region->files == NULL) {
        for (unsigned i = 0; i < file_count; i++)
            close(fds[i]);
        return error_set(ENOMEM, "no memory for the list of files");
    }
    region->file_count = file_count;
    for (unsigned i = 0; i < file_count; i++) {
        region->files[i].fd = fds[i];
        region->huge_pages |= huge_page(fds[i]) != 0;
    }
    for (unsigned i = 0; i < file_count; i++) {
        region->files[i].path = strdup(paths[i]);
        if (region->files[i].path == NULL) {
            region_destroy(region);
            return error_set(ENOMEM, "no memory for the list of files");
        }
    }

    /* By way of /proc the very file that fds[0] is open on, whatever its name means by now. */
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fds[0]);
    region->lock_fd = open(self, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (region->lock_fd < 0) {
        int rc = error_system(errno, "%s: cannot be opened again for its locks", paths[0]);
        region_destroy(region);
        return rc;
    }
    return 0;
}

int region_init_anonymous(struct region *region, const char *name)
{
    *region = (struct region){.lock_fd = -1, .anonymous = true};
    region->files = calloc(1, sizeof *region->files);
    char *path = strdup(name);
    if (region->files == NULL || path == NULL) {
        free(region->files);
        free(path);
        return error_set(ENOMEM, "no memory for the list of files");
    }
    region->file_count = 1;
    region->files[0] = (struct region_file){.path = path, .fd = -1};
    return 0;
}

/* Reserves length bytes of addresses at a multiple of REGION_ALIGNMENT; NULL if there are none. */
static char *reserve(uint64_t length, void *hint)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (hint != NULL) {
        void *p = mmap(hint, length, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == hint)
            return p;
        if (p != MAP_FAILED)
            munmap(p, length);
    }
    uint64_t slack = length + REGION_ALIGNMENT;
    char *p = mmap(NULL, slack, PROT_NONE, flags, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    uint64_t head = align_up((uintptr_t)p, REGION_ALIGNMENT) - (uintptr_t)p;
    if (head != 0)
        munmap(p, head);
    if (slack - head != length)
        munmap(p + head + length, slack - head - length);
    return p + head;
}

/* Whether a mapped file is memory itself: then lines that are written back are where they stay. */
static bool is_memory(int fd)
{
    struct statfs system;
    return is_device(fd) || huge_page(fd) != 0 ||
           (fstatfs(fd, &system) == 0 && system.f_type == TMPFS_MAGIC);
}

/* Of a file in place no more is mapped than there is: hugetlbfs would make it longer. */
static int limit_mapping(struct region_file *f)
{
    uint64_t length = 0, held;
    int rc = region_file_size(f, &length, &held);
    if (rc == 0)
        f->length = min_u64(f->length, max_u64(length, f->skip) - f->skip);
    return rc;
}

/* Maps the files into addresses reserved for them. */
static int map_files(struct region *region, char *base)
{
    int protection = PROT_READ | (region->readonly ? 0 : PROT_WRITE);
    for (unsigned i = 0; i < region->file_count; i++) {
        struct region_file *f = &region->files[i];
        void *p = MAP_FAILED;
        if (huge_page(f->fd) != 0 && f->start % REGION_ALIGNMENT != 0)
            return error_set(
                EINVAL,
                "%s: has pages of 2 MiB: several such files need a capacity of 128 MiB "
                "and zones of 2 MiB, or more",
                f->path);
        int rc = region->in_place ? limit_mapping(f) : 0;
        if (rc != 0)
            return rc;
        if (region->anonymous)
            p = mmap(base + f->start, f->length, protection,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (region->durable) /* DAX file systems keep their own tables up to date then */
            p = mmap(base + f->start, f->length, protection,
                     MAP_SHARED_VALIDATE | MAP_SYNC | MAP_FIXED | MAP_NORESERVE, f->fd,
                     (off_t)f->skip);
        if (region->durable && p == MAP_FAILED && !is_memory(f->fd))
            region->sync_file = true;
        if (p == MAP_FAILED && !region->anonymous)
            p = mmap(base + f->start, f->length, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                     f->fd, (off_t)f->skip);
        if (p == MAP_FAILED)
            return error_system(errno, "%s: cannot map %llu bytes", f->path,
                                (unsigned long long)f->length);
    }
    return 0;
}

int region_map(struct region *region, uint64_t length, void *hint)
{
    char *base = reserve(length, hint);
    if (base == NULL)
        return error_set(EFBIG, "%s: this process has no %llu bytes of addresses to map it",
                         region->files[0].path, (unsigned long long)length);
    int rc = map_files(region, base);
    if (rc != 0) {
        munmap(base, length);
        return rc;
    }
    region->base = base;
    region->length = length;
    fam_mapped(base, length, region->files[0].fd);
    return 0;
}

int region_remap(struct region *region, void *hint)
{
    char *old = region->base;
    int rc = region_map(region, region->length, hint);
    if (rc != 0)
        return rc;
    fam_unmapped(old, region->length);
    munmap(old, region->length);
    return 0;
}

void region_destroy(struct region *region)
{
    if (region->base != NULL) {
        fam_unmapped(region->base, region->length);
        munmap(region->base, region->length);
    }
    for (unsigned i = 0; i < region->file_count; i++) {
        if (region->files[i].fd >= 0)
            close(region->files[i].fd);
        free(region->files[i].path);
    }
    free(region->files);
    /* Last: while the locks are held nobody takes this opening for gone. */
    if (region->lock_fd >= 0)
        close(region->lock_fd);
    *region = (struct region){.lock_fd = -1};
}

void region_forget_files(struct region *region)
{
    if (region->anonymous)
        return;
    for (unsigned i = 0; i < region->file_count; i++) {
        close(region->files[i].fd);
        region->files[i].fd = -1;
    }
    close(region->lock_fd);
    region->lock_fd = -1;
}

/* Calls fallocate for the part of a range in each file. */
static int allocate_range(struct region *region, uint64_t offset, uint64_t length, int mode)
{
    NOT_CANCELLED;
    for (unsigned i = 0; i < region->file_count; i++) {
        struct region_file *f = &region->files[i];
        uint64_t from = max_u64(offset, f->start);
        uint64_t to = min_u64(offset + length, f->start + f->length);
        if (from >= to)
            continue;
        int rc;
        do
            rc = fallocate(f->fd, mode, (off_t)(f->skip + from - f->start), (off_t)(to - from));
        while (rc != 0 && errno == EINTR);
        if (rc == 0 || errno == ENODEV) /* a device: its memory is all there */
            continue;
        if (errno == EOPNOTSUPP && mode == 0)
            rc = posix_fallocate(f->fd, (off_t)(f->skip + from - f->start), (off_t)(to - from));
        else
            rc = errno;
        if (rc == 0)
            continue;
        if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG)
            rc = ENOMEM;
        return error_system(rc, "%s: no memory for %llu bytes behind it", f->path,
                            (unsigned long long)(to - from));
    }
    return 0;
}

int region_set_length(const struct region_file *file, uint64_t length)
{
    const uint64_t page = huge_page(file->fd);
    if (ftruncate(file->fd, (off_t)(page == 0 ? length : align_up(length, page))) != 0)
        return error_system(errno, "%s: cannot be given its size", file->path);
    return 0;
}

int region_back(struct region *region, uint64_t offset, uint64_t length)
{
    return region->anonymous ? 0 : allocate_range(region, offset, length, 0);
}

int region_punch(struct region *region, uint64_t offset, uint64_t length)
{
    if (region_keeps(region))
        return -EOPNOTSUPP;
    if (region->anonymous)
        return madvise(region->base + offset, length, MADV_DONTNEED) == 0 ? 0 : -errno;
    return allocate_range(region, offset, length, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

int region_sync(const struct region *region)
{
    NOT_CANCELLED;
    for (unsigned i = 0; i < region->file_count && region->sync_file; i++)
        if (fdatasync(region->files[i].fd) != 0)
            return error_system(errno, "%s: cannot be synced", region->files[i].path);
    return 0;
}

int region_file_size(const struct region_file *file, uint64_t *length, uint64_t *held)
{
    struct stat status;
    if (file->fd < 0) { /* anonymous: what is held nobody knows */
        *length = file->length;
        *held = 0;
        return 0;
    }
    if (fstat(file->fd, &status) != 0)
        return error_system(errno, "%s: fstat", file->path);
    if (S_ISCHR(status.st_mode)) {
        *length = *held = device_number(status.st_rdev, "size");
        return 0;
    }
    *length = (uint64_t)status.st_size;
    *held = (uint64_t)status.st_blocks * 512;
    return 0;
}

static struct flock lock_range(unsigned number, short type)
{
    return (struct flock){
        .l_type = type, .l_whence = SEEK_SET, .l_start = LOCK_OFFSET + number, .l_len = 1};
}

int region_lock(struct region *region, unsigned number, bool exclusive)
{
    if (region->anonymous)
        return 0;
    struct flock lock = lock_range(number, exclusive ? F_WRLCK : F_RDLCK);
    if (fcntl(region->lock_fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return -EBUSY;
    return error_system(errno, "%s: cannot be locked", region->files[0].path);
}

void region_unlock(struct region *region, unsigned number)
{
    if (region->anonymous)
        return;
    struct flock lock = lock_range(number, F_UNLCK);
    fcntl(region->lock_fd, F_OFD_SETLK, &lock);
}

int region_lock_held(struct region *region, unsigned number)
{
    if (region->anonymous)
        return 0;
    struct flock lock = lock_range(number, F_WRLCK);
    if (fcntl(region->lock_fd, F_OFD_GETLK, &lock) != 0)
        return error_system(errno, "%s: cannot ask for its locks", region->files[0].path);
    return lock.l_type != F_UNLCK;
}
