/* Profiles: what a fabric-attached memory costs, read from a text file (emu/README.md has the
 * format). Times are picoseconds. */
#ifndef EMU_PROFILE_H
#define EMU_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include <emu/emu.h>

#define PROFILE_NAME_MAX 32
#define PROFILE_TEXT_MAX 256
#define PROFILE_MEMORIES_MAX 64
#define PROFILE_LINKS_MAX 32
#define PROFILE_POINTS_MAX 16

/* A function given by points, by ascending x: straight between them, level outside. */
struct curve {
    unsigned count;
    struct curve_point {
        double x, y;
    } points[PROFILE_POINTS_MAX];
};

/* One kind of memory device. */
struct profile_memory {
    char name[PROFILE_NAME_MAX];
    uint64_t read_ps, write_ps, atomic_ps; /* idle latency of one access, without the links; 0 of
                                              all: what the machine's own memory has */
    uint64_t flush_ps;                     /* until a flushed line is safe */
    uint64_t grain;                        /* bytes that any access takes of the bandwidth */
    uint64_t count;                        /* devices of this kind, side by side */
    struct curve bandwidth;                /* bytes/ns over the share of reads; none: no limit */
    struct curve loaded;                   /* latency / idle latency over utilisation; none: 1 */
    unsigned path_length;
    unsigned char path[PROFILE_LINKS_MAX]; /* links between a host and the device */
};

struct profile_link {
    char name[PROFILE_NAME_MAX];
    bool each_host; /* every host has one; otherwise all share it */
    uint64_t latency_ps;
    struct curve bandwidth;
};

struct profile {
    char name[PROFILE_NAME_MAX];
    char title[PROFILE_TEXT_MAX], source[PROFILE_TEXT_MAX];
    bool coherent;        /* processors may cache what others write */
    uint64_t parallelism; /* lines that a processor fetches at the same time */
    uint64_t interleave;  /* bytes that lie together on one device */
    uint64_t fence_ps;
    uint64_t cache_bytes, cache_ways, hit_ps; /* the processor's cache, for the mode virtual */
    unsigned memory_count, link_count;
    struct profile_memory memories[PROFILE_MEMORIES_MAX];
    struct profile_link links[PROFILE_LINKS_MAX];
};

/* The profiles that come with the emulator, by name; the last has name NULL. */
extern const struct profile_builtin {
    const char *name, *text;
} profile_builtins[];

/* Reads a profile: a file if name has a '/', otherwise one of those. 0, or -errno: -EINVAL with
 * file, line and column for a bad one. */
int profile_load(struct profile *profile, const char *name);

/* The same from text; where is the name that errors give. */
int profile_parse(struct profile *profile, const char *where, const char *text);

/* Latency of an idle access over all of the path. */
uint64_t profile_latency_ps(const struct profile *profile, unsigned memory, enum emu_access access);

double curve_at(const struct curve *curve, double x);

#endif
