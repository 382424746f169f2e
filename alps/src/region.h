/* The files of a heap as one range of addresses: mapping, backing memory, locks, placement. */
#ifndef ALPS_REGION_H
#define ALPS_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REGION_ALIGNMENT ((uint64_t)2 << 20) /* of the base address */

struct region_file {
    char *path;
    int fd;          /* of the mapping and of fallocate */
    uint64_t start;  /* offset in the region of the first byte mapped from this file */
    uint64_t length; /* bytes mapped from it; may reach beyond the file's end (growth) */
    uint64_t skip;   /* offset in the file of that first byte */
};

struct region {
    char *base;
    uint64_t length; /* multiple of REGION_ALIGNMENT */
    unsigned file_count;
    struct region_file *files;
    int lock_fd; /* an opening of files[0] of its own, never mapped: a mapping would keep the locks
                    of a closed descriptor alive */
    bool readonly;
    bool in_place;   /* the files are as long as they are, and keep their memory */
    bool huge_pages; /* a file on hugetlbfs is among them */
    bool anonymous;  /* there are no files: memory of this process, of which a forked child has a
                        copy; never remapped */
    bool durable;    /* what is written is to survive a power failure; set before region_map */
    bool sync_file;  /* and the processor's instructions do not do that: the files must be synced */
};

/* Opens an existing file, which must be a regular file or a DAX device. Returns a descriptor or a
 * negative errno value. */
int region_open_file(const char *path, bool readonly);

/* Whether there is a device of that name. */
bool region_is_device(const char *path);

/* Reads or writes bytes of a file that are not mapped yet. Returns how many, as pread does, or a
 * negative errno value. */
ssize_t region_read(int fd, void *bytes, size_t length, uint64_t offset);
ssize_t region_write(int fd, const void *bytes, size_t length, uint64_t offset);

/* Creates a file that must not exist. Returns a descriptor or a negative errno value. */
int region_create_file(const char *path, unsigned mode);

/* Prepares a region of file_count files with paths copied and the descriptors taken over; nothing
 * is mapped yet. On failure the descriptors are closed. */
int region_init(struct region *region, const char *const *paths, const int *fds,
                unsigned file_count, bool readonly);

/* Prepares a region of so much memory without a file; name is for messages. */
int region_init_anonymous(struct region *region, const char *name);

/* Maps all files (their start, length and skip are set) at hint or anywhere. */
int region_map(struct region *region, uint64_t length, void *hint);

/* Maps the region once more, elsewhere than now, and drops the old mapping. */
int region_remap(struct region *region, void *hint);

/* Unmaps, closes, frees. */
void region_destroy(struct region *region);

/* Makes sure that [offset, offset + length) is backed by memory, so that touching it cannot fault;
 * extends a file that ends before. -ENOMEM if there is none left. */
int region_back(struct region *region, uint64_t offset, uint64_t length);

/* The length of a new file. */
int region_set_length(const struct region_file *file, uint64_t length);

/* Whether the files keep the memory that they have. */
static inline bool region_keeps(const struct region *region)
{
    return region->in_place || region->huge_pages;
}

/* Gives the memory behind [offset, offset + length) back; it reads as zero then. -EOPNOTSUPP if the
 * files keep theirs. */
int region_punch(struct region *region, uint64_t offset, uint64_t length);

/* Makes what was written to the region durable where it takes the file system for that. */
int region_sync(const struct region *region);

/* Bytes that a file has, as its length and as memory held. */
int region_file_size(const struct region_file *file, uint64_t *length, uint64_t *held);

/* Locks: bytes of the first file, far beyond its end, as open-file-description locks. The kernel
 * drops them when the process dies, however it dies. Without a file there is nobody else: each can
 * be had. REGION_GATE is held shared by everyone who
 * has the heap open, exclusively by who formats or destroys it; the others belong to the layers
 * above. */
#define REGION_GATE 0u
#define REGION_FIRST_LOCK 1u

/* 0, or -EBUSY if somebody else's lock conflicts, or another negative errno value. */
int region_lock(struct region *region, unsigned number, bool exclusive);
void region_unlock(struct region *region, unsigned number);

/* 1 if an opening of the file other than this one holds the lock, 0 if none does. */
int region_lock_held(struct region *region, unsigned number);

/* In a forked child: drops the descriptors, so that the child does not keep the parent's locks. */
void region_forget_files(struct region *region);

/* ---- placement on NUMA nodes (region_place.c) ---- */

/* 1 if this machine has the NUMA node, 0 if not. */
int region_node_exists(int node);

/* Asks for the memory of a range, not touched before, to come from a node. */
int region_place(struct region *region, uint64_t offset, uint64_t length, int node);

/* Counts the pages of a range, and those on another node; touches them. *first is the offset of the
 * first such page if there was none before (*misplaced 0). */
int region_verify(struct region *region, uint64_t offset, uint64_t length, int node,
                  uint64_t *pages, uint64_t *misplaced, uint64_t *first);

/* Node that the page at offset is on (it is touched), or a negative errno value. */
int region_node_of(struct region *region, uint64_t offset);

#endif
