/* Creating, checking and extending the files.
 *
 * A file is foreign input: everything read from the superblock is checked against what this library
 * would have computed for the same parameters, and kept in struct layout; the superblock is not
 * read again for it.
 *
 * What is made in place of something else is the same, but for its memory, which is not zero: all
 * metadata is cleared as the heap is created, for the whole capacity, so that nobody needs to
 * later.
 *
 * Crash: a file under creation has no magic number and is refused. Formatting marks the superblock
 * first and unmarks it last; a heap so marked is refused except for formatting again.
 */
#include "layout.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

#define GATE_PATIENCE_MS 30000u

static uint64_t super_checksum(const struct layout_super *super)
{
    struct layout_super copy = *super;
    copy.magic = 0; /* stored last */
    copy.checksum = 0;
    return hash_bytes(&copy, offsetof(struct layout_super, next_generation));
}

static uint64_t part_checksum(const struct layout_part *part)
{
    struct layout_part copy = *part;
    copy.checksum = 0;
    return hash_bytes(&copy, sizeof copy);
}

/* Bytes of memory that a heap of so many spans takes, the way the user's sizes count. */
static uint64_t size_of_spans(uint64_t tables, uint64_t spans)
{
    return tables + spans * (SPAN_SIZE + LAYOUT_SPAN_META);
}

static uint64_t spans_of_size(uint64_t tables, uint64_t size)
{
    return size < tables ? 0 : (size - tables) / (SPAN_SIZE + LAYOUT_SPAN_META);
}

/* Fills in all that follows from size, capacity, zone_size, file_count and instance_count. */
static void compute_geometry(struct layout_super *s)
{
    uint64_t zone_spans = s->zone_size >> SPAN_SHIFT;
    s->version = LAYOUT_VERSION;
    s->byte_order = LAYOUT_BYTE_ORDER;
    s->span_shift = SPAN_SHIFT;
    s->generation_count = (uint32_t)align_up(
        max_u64(LAYOUT_GENERATION_MIN, (uint64_t)s->instance_count * LAYOUT_GENERATIONS_EACH),
        LAYOUT_LINE / sizeof(fam_word_t));
    s->root_count = ALPS_ROOT_MAX;
    s->intent_count = LAYOUT_INTENT_MAX;

    s->generations_offset = sizeof(struct layout_super);
    s->slot_states_offset = s->generations_offset + s->generation_count * sizeof(fam_word_t);
    s->roots_offset =
        align_up(s->slot_states_offset + s->instance_count * sizeof(fam_word_t), LAYOUT_LINE);
    s->zones_offset = s->roots_offset + ALPS_ROOT_MAX * sizeof(struct layout_root);

    /* How many zones there are depends on the tables' size, which depends on the zones: count with
     * the tables for the most zones the capacity could have. */
    uint64_t most_zones = s->capacity / s->zone_size + s->file_count;
    uint64_t bitmap = align_up((most_zones + 63) / 64 * sizeof(fam_word_t), LAYOUT_LINE);
    s->instance_stride = sizeof(struct layout_slot) + 2 * bitmap;
    s->instances_offset = align_up(s->zones_offset + most_zones * sizeof(struct layout_zone), 4096);
    s->paths_offset =
        align_up(s->instances_offset + (s->instance_count + 1) * s->instance_stride, 4096);
    s->meta_offset =
        align_up(s->paths_offset + (uint64_t)(s->file_count - 1) * LAYOUT_PATH_MAX, 4096);

    s->file_spans = spans_of_size(s->meta_offset, s->capacity) / s->file_count;
    s->file_zones = (uint32_t)((s->file_spans + zone_spans - 1) / zone_spans);
    s->zone_count = s->file_zones * s->file_count;
    s->meta_stride =
        align_up(align_up(zone_spans * sizeof(fam_word_t), LAYOUT_LINE) +
                     zone_spans * (sizeof(struct layout_record) + sizeof(struct layout_released)),
                 4096);
    s->data_offset =
        align_up(s->meta_offset + s->zone_count * s->meta_stride,
                 s->capacity >= 128 * MIB || (s->features & LAYOUT_IN_PLACE) != 0 ? REGION_ALIGNMENT
                                                                                  : SPAN_SIZE);
}

static uint64_t file_length(const struct layout_super *s, unsigned i, uint64_t spans)
{
    return (i == 0 ? s->data_offset : LAYOUT_PART_SKIP) + (spans << SPAN_SHIFT);
}

/* The largest capacity, up to that in s, with which the heap fits into files of a length. False if
 * there is none. */
static bool fit(struct layout_super *s, uint64_t length)
{
    for (;;) {
        compute_geometry(s);
        uint64_t need = file_length(s, 0, s->file_spans);
        if (s->file_count > 1)
            need = max_u64(need, file_length(s, 1, s->file_spans));
        if (need <= length)
            return true;
        uint64_t less = align_up(need - length, SPAN_SIZE) * s->file_count;
        if (s->capacity < less + LAYOUT_SIZE_MIN)
            return false;
        s->capacity -= less;
    }
}

static uint64_t default_zone_size(uint64_t capacity, unsigned files)
{
    uint64_t size = (uint64_t)1 << log2_floor(capacity / 8);
    size = min_u64(max_u64(size, LAYOUT_ZONE_SIZE_MIN), 32 * MIB);
    while (capacity / size + files > LAYOUT_ZONE_MAX)
        size *= 2;
    return size;
}

static int check_options(const char *path, unsigned count, struct alps_create_options *o)
{
    if (o->size == 0)
        o->size = 64 * MIB;
    if (o->size < LAYOUT_SIZE_MIN)
        return error_set(EINVAL, "%s: size %llu is below the minimum of 16 MiB", path,
                         (unsigned long long)o->size);
    if (o->capacity == 0)
        o->capacity = o->size;
    if (o->capacity < o->size)
        return error_set(EINVAL, "%s: capacity %llu is below size %llu", path,
                         (unsigned long long)o->capacity, (unsigned long long)o->size);
    if (o->capacity > LAYOUT_CAPACITY_MAX)
        return error_set(EINVAL, "%s: capacity %llu is above the maximum of 16 TiB", path,
                         (unsigned long long)o->capacity);
    if (o->zone_size == 0)
        o->zone_size = default_zone_size(o->capacity, count);
    if (!is_power_of_two(o->zone_size) || o->zone_size < LAYOUT_ZONE_SIZE_MIN ||
        o->zone_size > LAYOUT_ZONE_SIZE_MAX)
        return error_set(EINVAL, "%s: zone size %llu is not a power of two from 1 MiB to 4 GiB",
                         path, (unsigned long long)o->zone_size);
    if (o->capacity / o->zone_size + count > LAYOUT_ZONE_MAX)
        return error_set(EINVAL,
                         "%s: zones of %llu bytes are too small for capacity %llu: at most "
                         "%u zones",
                         path, (unsigned long long)o->zone_size, (unsigned long long)o->capacity,
                         LAYOUT_ZONE_MAX);
    if (o->mode == 0)
        o->mode = 0600;
    if ((o->mode & ~0777u) != 0 || (o->mode & 0600) != 0600)
        return error_set(EINVAL, "%s: mode %o: permission bits only, the owner must read and write",
                         path, o->mode);
    if (o->max_instances == 0)
        o->max_instances = (unsigned)min_u64(max_u64(o->capacity / MIB, 64), 1024);
    if (o->max_instances < 64 || o->max_instances > LAYOUT_INSTANCE_MAX)
        return error_set(EINVAL, "%s: max_instances %u is not from 64 to %u", path,
                         o->max_instances, LAYOUT_INSTANCE_MAX);
    if ((o->flags & ~(ALPS_CREATE_DURABLE | ALPS_CREATE_IN_PLACE | ALPS_CREATE_SHARED)) != 0)
        return error_set(EINVAL, "%s: unknown flags %x", path, o->flags);
    if ((o->flags & ALPS_CREATE_DURABLE) != 0 && !fam_can_write_back())
        return error_set(EOPNOTSUPP, "%s: this processor cannot write lines back to the memory",
                         path);
    if ((o->flags & ALPS_CREATE_IN_PLACE) != 0 && o->node_count != 0)
        return error_set(EINVAL, "%s: its memory is where it is: no nodes can be chosen", path);
    if ((o->flags & ALPS_CREATE_IN_PLACE) != 0 && o->zone_size < REGION_ALIGNMENT)
        return error_set(EINVAL, "%s: in place, zones have 2 MiB at least", path);
    if ((o->nodes == NULL) != (o->node_count == 0))
        return error_set(EINVAL, "%s: nodes and node_count do not go together", path);
    for (unsigned i = 0; i < o->node_count; i++)
        if (o->nodes[i] < 0 || o->nodes[i] > ALPS_NODE_MAX || !region_node_exists(o->nodes[i]))
            return error_set(EINVAL, "%s: NUMA node %d is not on this machine", path, o->nodes[i]);
    return 0;
}

/* The view that all layers use, from a superblock that has been checked. */
static void set_view(struct layout *l, const struct layout_super *s)
{
    struct region region = l->region;
    *l = (struct layout){
        .region = region,
        .data_offset = s->data_offset,
        .span_count = (uint64_t)s->zone_count * (s->zone_size >> SPAN_SHIFT),
        .file_spans = s->file_spans,
        .zone_spans = s->zone_size >> SPAN_SHIFT,
        .zone_shift = log2_floor(s->zone_size >> SPAN_SHIFT),
        .zone_count = s->zone_count,
        .file_zones = s->file_zones,
        .zone_words =
            (unsigned)((s->instance_stride - sizeof(struct layout_slot)) / 2 / sizeof(fam_word_t)),
        .instance_count = s->instance_count,
        .generation_count = s->generation_count,
        .root_count = s->root_count,
        .slot_states_offset = s->slot_states_offset,
        .roots_offset = s->roots_offset,
        .zones_offset = s->zones_offset,
        .instances_offset = s->instances_offset,
        .instance_stride = s->instance_stride,
        .meta_offset = s->meta_offset,
        .meta_stride = s->meta_stride,
        .durable = (s->features & LAYOUT_DURABLE) != 0,
        .shared = (s->features & LAYOUT_SHARED) != 0,
    };
    const uint64_t most = s->zone_size / 64, least = most / LAYOUT_CHUNK_WORDS;
    const uint64_t chunk = max_u64(min_u64(most, LAYOUT_CHUNK_SIZE), max_u64(least, SPAN_SIZE));
    l->chunk_shift = log2_floor(chunk >> SPAN_SHIFT);
}

static int map_heap(struct layout *l, const struct layout_super *s, void *hint)
{
    struct region *r = &l->region;
    uint64_t file_bytes = s->file_zones * s->zone_size;
    for (unsigned i = 0; i < r->file_count; i++) {
        r->files[i].start = i == 0 ? 0 : s->data_offset + i * file_bytes;
        r->files[i].length = i == 0 ? s->data_offset + file_bytes : file_bytes;
        r->files[i].skip = i == 0 ? 0 : LAYOUT_PART_SKIP;
    }
    set_view(l, s);
    r->durable = l->durable;
    r->in_place = (s->features & LAYOUT_IN_PLACE) != 0;
    return region_map(r, align_up(s->data_offset + r->file_count * file_bytes, REGION_ALIGNMENT),
                      hint);
}

/* Spans that file i of count has when the heap has so many. */
static uint64_t file_share(uint64_t spans, unsigned i, unsigned count)
{
    return spans / count + (i < spans % count ? 1 : 0);
}

static void unlink_all(const char *const *paths, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        unlink(paths[i]);
}

static int write_part(const struct region_file *file, const struct layout_super *s, unsigned index)
{
    struct layout_part part = {.magic = LAYOUT_PART_MAGIC,
                               .version = LAYOUT_VERSION,
                               .byte_order = LAYOUT_BYTE_ORDER,
                               .uuid = {s->uuid[0], s->uuid[1]},
                               .index = index,
                               .file_count = s->file_count};
    part.checksum = part_checksum(&part);
    ssize_t n = region_write(file->fd, &part, sizeof part, 0);
    if (n != (ssize_t)sizeof part)
        return error_system(n < 0 ? (int)-n : ENOMEM, "%s: cannot write its header", file->path);
    return 0;
}

/* Gives each zone the spans that the size at creation stands for. */
static void set_initial_spans(struct layout *l, const struct layout_super *s)
{
    uint64_t spans = spans_of_size(s->meta_offset, s->size);
    for (uint64_t z = 0; z < l->zone_count; z++) {
        uint64_t share = file_share(spans, (unsigned)(z / l->file_zones), s->file_count);
        uint64_t before = (z % l->file_zones) << l->zone_shift;
        uint64_t here = share > before ? min_u64(share - before, layout_zone_limit(l, z)) : 0;
        fam_store(&layout_zone(l, z)->spans, here);
    }
}

/* Fills the tables of a mapped new heap. The magic number is left for the caller. */
static int fill(struct layout *l, const struct layout_super *s, const struct alps_create_options *o)
{
    int rc = region_back(&l->region, 0, l->region.in_place ? s->data_offset : s->meta_offset);
    if (rc != 0)
        return rc;
    struct layout_super *super = layout_super(l);
    if (l->region.in_place)
        memset(super, 0, s->data_offset);
    memcpy((char *)super + sizeof super->magic, (const char *)s + sizeof s->magic,
           offsetof(struct layout_super, next_generation) - sizeof s->magic);
    fam_store(&super->next_generation, 1);
    fam_store(layout_generation(l, 0), GENERATION_USED | GENERATION_COMMITTED);

    set_initial_spans(l, s);
    for (unsigned i = 1; i < s->file_count && rc == 0; i++) {
        char *record = layout_at(l, s->paths_offset + (uint64_t)(i - 1) * LAYOUT_PATH_MAX);
        const char *path = l->region.files[i].path;
        char absolute[PATH_MAX];
        if (realpath(path, absolute) == NULL || strlen(absolute) >= LAYOUT_PATH_MAX)
            return error_set(EINVAL, "%s: its full path is longer than %u bytes", path,
                             LAYOUT_PATH_MAX - 1);
        memcpy(record, absolute, strlen(absolute) + 1);
        rc = write_part(&l->region.files[i], s, i);
    }
    for (uint64_t z = 0; z < l->zone_count && o->node_count != 0 && rc == 0; z++) {
        int node = o->nodes[z % o->node_count];
        fam_store(&layout_zone(l, z)->node, (uint64_t)node + 1);
        rc = region_place(&l->region, l->meta_offset + z * l->meta_stride, l->meta_stride, node);
        if (rc == 0)
            rc = region_place(&l->region, l->data_offset + z * s->zone_size, s->zone_size, node);
    }
    return rc;
}

/* The superblock of a heap in files of a length, or in new ones for length 0. */
static int plan(const char *path, unsigned count, uint64_t length, struct alps_create_options *o,
                struct layout_super *s)
{
    const uint64_t size = o->size, capacity = o->capacity;
    if (length != 0 && capacity == 0)
        o->capacity = min_u64(max_u64(length * count, size), LAYOUT_CAPACITY_MAX);
    if (length != 0 && size == 0)
        o->size = o->capacity;
    int rc = check_options(path, count, o);
    if (rc != 0)
        return rc;
    *s = (struct layout_super){.features =
                                   ((o->flags & ALPS_CREATE_DURABLE) != 0 ? LAYOUT_DURABLE : 0) |
                                   ((o->flags & ALPS_CREATE_IN_PLACE) != 0 ? LAYOUT_IN_PLACE : 0) |
                                   ((o->flags & ALPS_CREATE_SHARED) != 0 ? LAYOUT_SHARED : 0),
                               .created_s = (uint64_t)time(NULL),
                               .size = o->size,
                               .capacity = o->capacity,
                               .zone_size = o->zone_size,
                               .file_count = count,
                               .instance_count = o->max_instances};
    if (getrandom(s->uuid, sizeof s->uuid, 0) != (ssize_t)sizeof s->uuid)
        return error_system(errno, "getrandom");
    bool fits = fit(s, length == 0 ? UINT64_MAX : length) &&
                (capacity == 0 || s->capacity == capacity) && size <= s->capacity;
    s->size = min_u64(s->size, s->capacity);
    if (!fits || spans_of_size(s->meta_offset, s->size) < 16 * count)
        return error_set(
            EINVAL,
            "%s: size %llu and capacity %llu, beside the tables of %u instances and %u files, "
            "leave nothing for blocks or are more than the %llu bytes of a file",
            path, (unsigned long long)o->size, (unsigned long long)o->capacity, s->instance_count,
            count, (unsigned long long)length);
    s->checksum = super_checksum(s);
    return 0;
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

static int create_files(const char *const *paths, unsigned count, unsigned mode, int *fds)
{
    for (unsigned i = 0; i < count; i++) {
        fds[i] = region_create_file(paths[i], mode);
        if (fds[i] < 0) {
            close_all(fds, i);
            unlink_all(paths, i);
            return fds[i];
        }
    }
    return 0;
}

static int open_files(const char *const *paths, unsigned count, bool readonly, int *fds)
{
    for (unsigned i = 0; i < count; i++) {
        fds[i] = region_open_file(paths[i], readonly);
        if (fds[i] < 0) {
            close_all(fds, i);
            return fds[i];
        }
    }
    return 0;
}

/* What of the shortest file can be mapped. */
static int find_length(const struct region *region, uint64_t *length)
{
    *length = UINT64_MAX;
    for (unsigned i = 0; i < region->file_count; i++) {
        uint64_t bytes, held;
        int rc = region_file_size(&region->files[i], &bytes, &held);
        if (rc != 0)
            return rc;
        *length = min_u64(*length, bytes & ~(REGION_ALIGNMENT - 1));
    }
    if (*length == 0)
        return error_set(EINVAL, "%s: there are less than 2 MiB in a file", region->files[0].path);
    return 0;
}

/* What is in the files will be lost: it is not a heap. */
static int check_no_heap(const struct region *region)
{
    for (unsigned i = 0; i < region->file_count; i++) {
        const struct region_file *file = &region->files[i];
        uint64_t magic = 0;
        ssize_t n = region_read(file->fd, &magic, sizeof magic, 0);
        if (n < 0)
            return error_system((int)-n, "%s: cannot be read", file->path);
        if (magic == LAYOUT_MAGIC || magic == LAYOUT_PART_MAGIC)
            return error_set(EEXIST, "%s: holds a heap already, or a part of one; destroy it first",
                             file->path);
    }
    return 0;
}

static int give_lengths(struct layout *l, const struct layout_super *s)
{
    uint64_t spans = spans_of_size(s->meta_offset, s->size);
    for (unsigned i = 0; i < s->file_count; i++) {
        int rc = region_set_length(&l->region.files[i],
                                   file_length(s, i, file_share(spans, i, s->file_count)));
        if (rc != 0)
            return rc;
    }
    return 0;
}

int layout_create(const char *const *paths, unsigned count,
                  const struct alps_create_options *options)
{
    struct alps_create_options o = {0};
    if (options != NULL) {
        if (options->struct_size < offsetof(struct alps_create_options, zone_size) ||
            options->struct_size > 4096)
            return error_set(EINVAL, "struct_size of the options is %zu", options->struct_size);
        memcpy(&o, options, min_u64(options->struct_size, sizeof o));
    }
    for (unsigned i = 0; i < count; i++)
        if (region_is_device(paths[i]))
            o.flags |= ALPS_CREATE_IN_PLACE;
    const bool in_place = (o.flags & ALPS_CREATE_IN_PLACE) != 0;

    struct layout_super s;
    struct layout l = {.region.lock_fd = -1};
    int fds[ALPS_FILE_MAX], rc = 0;
    uint64_t length = 0;
    bool created = false;
    if (in_place) {
        rc = open_files(paths, count, false, fds);
        if (rc == 0)
            rc = region_init(&l.region, paths, fds, count, false);
        if (rc == 0)
            rc = find_length(&l.region, &length);
    }
    if (rc == 0)
        rc = plan(paths[0], count, length, &o, &s);
    if (rc == 0 && !in_place) {
        rc = create_files(paths, count, o.mode, fds);
        created = rc == 0;
        if (created)
            rc = region_init(&l.region, paths, fds, count, false);
    }
    if (rc == 0)
        rc = region_lock(&l.region, REGION_GATE, true);
    if (rc == -EBUSY)
        error_set(EBUSY, "%s: somebody has a heap there open", paths[0]);
    if (rc == 0)
        rc = in_place ? check_no_heap(&l.region) : give_lengths(&l, &s);
    if (rc == 0)
        rc = map_heap(&l, &s, NULL);
    if (rc == 0)
        rc = fill(&l, &s, &o);
    if (rc == 0) {
        fam_word_t *magic = (fam_word_t *)(void *)&layout_super(&l)->magic;
        uint64_t written = in_place ? s.data_offset : s.meta_offset;
        layout_flush_words(&l, magic, written / sizeof *magic);
        layout_fence(&l);
        fam_store_release(magic, LAYOUT_MAGIC);
        layout_persist(&l, magic);
    } else if (created) {
        unlink_all(paths, count);
    }
    layout_close(&l);
    return rc;
}

int layout_create_private(struct layout *l, const struct alps_create_options *options, void *hint)
{
    static const char name[] = "private heap";
    struct alps_create_options o = *options;
    struct layout_super s;
    *l = (struct layout){.region.lock_fd = -1};
    int rc = plan(name, 1, 0, &o, &s);
    if (rc == 0)
        rc = region_init_anonymous(&l->region, name);
    if (rc == 0)
        rc = map_heap(l, &s, hint);
    /* Of the metadata a word is touched here and there. */
    if (rc == 0)
        madvise(l->region.base, l->data_offset, MADV_NOHUGEPAGE);
    if (rc == 0)
        rc = fill(l, &s, &o);
    if (rc == 0)
        layout_super(l)->magic = LAYOUT_MAGIC;
    else
        layout_close(l);
    return rc;
}

/* Reads and checks the superblock of an open file. */
static int read_super(const char *path, int fd, struct layout_super *s)
{
    ssize_t n = region_read(fd, s, sizeof *s, 0);
    if (n < 0)
        return error_system((int)-n, "%s: cannot be read", path);
    if (n >= (ssize_t)sizeof s->magic && s->magic == LAYOUT_PART_MAGIC)
        return error_set(EINVAL, "%s: this is not the first file of its heap", path);
    if (n < (ssize_t)sizeof s->magic || s->magic != LAYOUT_MAGIC)
        return error_set(EMEDIUMTYPE, "%s: not an ALPS heap", path);
    if (n < (ssize_t)sizeof *s)
        return error_set(EUCLEAN, "%s: truncated: %zd bytes", path, n);
    if (s->byte_order != LAYOUT_BYTE_ORDER)
        return error_set(EPROTONOSUPPORT, "%s: written on a machine of another byte order", path);
    if (s->version != LAYOUT_VERSION)
        return error_set(EPROTONOSUPPORT, "%s: layout version %u, this library reads version %u",
                         path, s->version, LAYOUT_VERSION);
    if (s->checksum != super_checksum(s))
        return error_set(EUCLEAN, "%s: damaged: the superblock's checksum is wrong", path);
    if ((s->features & ~LAYOUT_FEATURES) != 0)
        return error_set(EPROTONOSUPPORT, "%s: uses features %llx that this library does not know",
                         path, (unsigned long long)s->features);

    /* A right checksum says that it is what was written; it still must be what we would write. */
    bool sane = s->file_count >= 1 && s->file_count <= ALPS_FILE_MAX &&
                s->capacity <= LAYOUT_CAPACITY_MAX && s->size >= LAYOUT_SIZE_MIN &&
                s->size <= s->capacity && is_power_of_two(s->zone_size) &&
                s->zone_size >= LAYOUT_ZONE_SIZE_MIN && s->zone_size <= LAYOUT_ZONE_SIZE_MAX &&
                s->instance_count >= 1 && s->instance_count <= LAYOUT_INSTANCE_MAX &&
                s->capacity / s->zone_size + s->file_count <= LAYOUT_ZONE_MAX;
    if (sane) {
        struct layout_super computed = *s;
        compute_geometry(&computed);
        sane = memcmp(&computed, s, offsetof(struct layout_super, next_generation)) == 0;
    }
    if (!sane)
        return error_set(EUCLEAN, "%s: damaged: the superblock contradicts itself", path);
    return 0;
}

static int check_part(const struct region_file *file, const struct layout_super *s, unsigned index)
{
    struct layout_part part;
    ssize_t n = region_read(file->fd, &part, sizeof part, 0);
    if (n < 0)
        return error_system((int)-n, "%s: cannot be read", file->path);
    if (n < (ssize_t)sizeof part.magic ||
        (part.magic != LAYOUT_PART_MAGIC && part.magic != LAYOUT_MAGIC))
        return error_set(EMEDIUMTYPE, "%s: not a file of an ALPS heap", file->path);
    if (part.magic == LAYOUT_MAGIC)
        return error_set(EINVAL, "%s: the first file of a heap, given as number %u", file->path,
                         index + 1);
    if (n < (ssize_t)sizeof part || part.checksum != part_checksum(&part))
        return error_set(EUCLEAN, "%s: damaged: its header's checksum is wrong", file->path);
    if (part.uuid[0] != s->uuid[0] || part.uuid[1] != s->uuid[1])
        return error_set(EINVAL, "%s: belongs to another heap", file->path);
    if (part.index != index)
        return error_set(EINVAL, "%s: is file %u of its heap, given as number %u", file->path,
                         part.index + 1, index + 1);
    return 0;
}

/* Checks that a file is as long as its zones say. */
static int check_length(struct layout *l, unsigned index)
{
    const struct region_file *file = &l->region.files[index];
    uint64_t length, held, end = 0, last = 0;
    for (uint64_t k = 0; k < l->file_zones; k++) {
        uint64_t zone = index * (uint64_t)l->file_zones + k;
        uint64_t spans = fam_load_acquire(&layout_zone(l, zone)->spans);
        if (spans > layout_zone_limit(l, zone))
            return error_set(EUCLEAN, "%s: damaged: zone %llu has %llu spans of %llu", file->path,
                             (unsigned long long)zone, (unsigned long long)spans,
                             (unsigned long long)layout_zone_limit(l, zone));
        if (spans != 0) {
            last = zone;
            end = file->skip + layout_span_offset(l, zone << l->zone_shift) - file->start +
                  (spans << SPAN_SHIFT);
        }
    }
    /* Asked for after the zones were read: both may grow meanwhile, the file first. */
    int rc = region_file_size(file, &length, &held);
    if (rc == 0 && length < end)
        rc = error_set(EUCLEAN, "%s: truncated: %llu bytes, zone %llu ends at %llu", file->path,
                       (unsigned long long)length, (unsigned long long)last,
                       (unsigned long long)end);
    return rc;
}

static int check_lengths(struct layout *l)
{
    /* The tables lie in file 0; they are read only once they are known to exist. */
    uint64_t length, held;
    int rc = region_file_size(&l->region.files[0], &length, &held);
    if (rc == 0 && length < l->meta_offset)
        rc = error_set(EUCLEAN, "%s: truncated: %llu bytes, its tables need %llu",
                       l->region.files[0].path, (unsigned long long)length,
                       (unsigned long long)l->meta_offset);
    for (unsigned i = 0; i < l->region.file_count && rc == 0; i++)
        rc = check_length(l, i);
    return rc;
}

int layout_open(struct layout *l, const char *const *paths, unsigned count, void *map_hint,
                enum layout_access access)
{
    *l = (struct layout){.region.lock_fd = -1};
    int fds[ALPS_FILE_MAX];
    int rc = open_files(paths, count, access == LAYOUT_READ, fds);
    if (rc != 0)
        return rc;
    rc = region_init(&l->region, paths, fds, count, access == LAYOUT_READ);
    if (rc != 0)
        return rc;

    struct layout_super s;
    rc = read_super(paths[0], fds[0], &s);
    if (rc == 0 && s.file_count != count)
        rc = error_set(EINVAL, "%s: this heap has %u files, %u were given", paths[0], s.file_count,
                       count);
    for (unsigned i = 1; i < count && rc == 0; i++)
        rc = check_part(&l->region.files[i], &s, i);
    if (rc == 0) {
        const bool patient = access != LAYOUT_EXCLUSIVE && (s.features & LAYOUT_DURABLE) != 0;
        rc = region_lock(&l->region, REGION_GATE, access == LAYOUT_EXCLUSIVE);
        /* Somebody may be making it whole after a boot. */
        for (unsigned ms = 0; rc == -EBUSY && patient && ms < GATE_PATIENCE_MS; ms++) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            rc = region_lock(&l->region, REGION_GATE, false);
        }
        if (rc == -EBUSY)
            error_set(EBUSY,
                      access == LAYOUT_EXCLUSIVE ? "%s: somebody has it open"
                                                 : "%s: is being formatted or destroyed",
                      paths[0]);
    }
    if (rc == 0)
        rc = map_heap(l, &s, map_hint);
    if (rc == 0 && access != LAYOUT_EXCLUSIVE)
        rc = check_lengths(l);
    if (rc == 0 && access != LAYOUT_EXCLUSIVE &&
        fam_load_acquire(&layout_super(l)->formatting) != 0)
        rc = error_set(EUCLEAN, "%s: formatting was interrupted; format it again", paths[0]);
    if (rc == 0 && access != LAYOUT_EXCLUSIVE &&
        fam_load_acquire(&layout_super(l)->slots_used) > l->instance_count + LAYOUT_INSTANCE_MAX)
        rc = error_set(EUCLEAN, "%s: damaged: %llu of %u instance slots were used", paths[0],
                       (unsigned long long)fam_load(&layout_super(l)->slots_used),
                       l->instance_count);
    if (rc != 0)
        layout_close(l);
    return rc;
}

void layout_close(struct layout *l)
{
    region_destroy(&l->region);
}

/* Makes the files as long as the zones say, also where they had been cut. */
static int restore_lengths(struct layout *l)
{
    int rc = 0;
    for (uint64_t zone = 0; zone < l->zone_count && rc == 0; zone++) {
        uint64_t spans = fam_load(&layout_zone(l, zone)->spans);
        if (spans != 0)
            rc = region_back(&l->region,
                             layout_span_offset(l, (zone << l->zone_shift) + spans) - 4096, 4096);
    }
    return rc;
}

int layout_format(struct layout *l)
{
    /* Also a cut file: its tables come back as zeros. */
    int rc = region_back(&l->region, 0, l->meta_offset);
    if (rc != 0)
        return rc;
    struct layout_super *super = layout_super(l);
    fam_store_release(&super->formatting, 1);
    layout_persist(l, &super->formatting);

    /* Generations, slots, roots, then all metadata and data; the zones' sizes and places stay if
     * they make sense, and so does the number of the next generation. */
    uint64_t tables = sizeof(struct layout_super);
    memset(layout_at(l, tables), 0, l->zones_offset - tables);
    bool sane = true;
    for (uint64_t z = 0; z < l->zone_count; z++) {
        struct layout_zone *zone = layout_zone(l, z);
        sane &= fam_load(&zone->spans) <= layout_zone_limit(l, z);
        if (fam_load(&zone->node) > ALPS_NODE_MAX + 1)
            fam_store(&zone->node, 0);
        memset(&zone->meta, 0, sizeof *zone - offsetof(struct layout_zone, meta));
    }
    if (!sane)
        set_initial_spans(l, super);
    memset(layout_at(l, l->instances_offset), 0, (l->instance_count + 1) * l->instance_stride);
    fam_store(layout_generation(l, 0), GENERATION_USED | GENERATION_COMMITTED);
    fam_store(&super->root_lock, 0);
    fam_store(&super->slots_used, 0);
    rc = region_punch(&l->region, l->meta_offset, l->region.length - l->meta_offset);
    if (rc == -EOPNOTSUPP) {
        rc = 0;
        for (uint64_t z = 0; z < l->zone_count && rc == 0; z++)
            if (fam_load(&layout_zone(l, z)->spans) != 0) {
                rc = region_back(&l->region, l->meta_offset + z * l->meta_stride, l->meta_stride);
                fam_word_t *meta = layout_at(l, l->meta_offset + z * l->meta_stride);
                if (rc == 0) {
                    memset(meta, 0, l->meta_stride);
                    layout_flush_words(l, meta, l->meta_stride / sizeof *meta);
                }
            }
    }
    if (rc == 0)
        rc = restore_lengths(l);
    if (rc == 0) {
        layout_flush_words(l, layout_at(l, 0), l->meta_offset / sizeof(fam_word_t));
        layout_fence(l);
        fam_store_release(&super->formatting, 0);
        layout_persist(l, &super->formatting);
    }
    return rc;
}

int layout_remove(struct layout *l)
{
    const struct layout_part nothing = {0};
    /* The first file last: without it the others could not be found any more. */
    for (unsigned i = l->region.file_count; i-- > 0;) {
        const struct region_file *file = &l->region.files[i];
        if (l->region.in_place) {
            ssize_t n = region_write(file->fd, &nothing, sizeof nothing, 0);
            if (n < 0)
                return error_system((int)-n, "%s: cannot be written", file->path);
        } else if (unlink(file->path) != 0) {
            return error_system(errno, "%s: cannot be removed", file->path);
        }
    }
    if (l->region.in_place) {
        fam_word_t *magic = (fam_word_t *)(void *)&layout_super(l)->magic;
        layout_persist(l, magic);
    }
    return 0;
}

int layout_paths(const char *path, char ***paths, unsigned *count)
{
    int fd = region_open_file(path, true);
    if (fd < 0)
        return fd;
    struct layout_super s;
    int rc = read_super(path, fd, &s);
    if (rc == 0) {
        size_t first = strlen(path) + 1;
        size_t bytes =
            s.file_count * sizeof(char *) + first + (s.file_count - 1) * (size_t)LAYOUT_PATH_MAX;
        char **list = calloc(1, bytes);
        if (list == NULL) {
            rc = error_set(ENOMEM, "no memory for the list of files");
        } else {
            char *text = (char *)(list + s.file_count);
            list[0] = memcpy(text, path, first);
            text += first;
            size_t rest = (s.file_count - 1) * (size_t)LAYOUT_PATH_MAX;
            if (region_read(fd, text, rest, s.paths_offset) != (ssize_t)rest)
                rc = error_set(EUCLEAN, "%s: truncated: no list of files", path);
            for (unsigned i = 1; i < s.file_count; i++) {
                list[i] = text + (size_t)(i - 1) * LAYOUT_PATH_MAX;
                list[i][LAYOUT_PATH_MAX - 1] = '\0';
            }
            *paths = list;
            *count = s.file_count;
            if (rc != 0)
                free(list);
        }
    }
    close(fd);
    return rc;
}

void layout_wait(const struct layout *l)
{
    fam_fence();
    region_sync(&l->region);
}

uint64_t layout_size_of_spans(const struct layout *l, uint64_t spans)
{
    return size_of_spans(l->meta_offset, spans);
}

uint64_t layout_spans_of_size(const struct layout *l, uint64_t size)
{
    return spans_of_size(l->meta_offset, size);
}

int layout_extend_zone(struct layout *l, uint64_t zone, uint64_t spans)
{
    struct layout_zone *z = layout_zone(l, zone);
    uint64_t first = zone << l->zone_shift, now = fam_load_acquire(&z->spans);
    while (now < spans) {
        /* One page at the new end makes the file long enough; fallocate never cuts it. */
        uint64_t end = layout_span_offset(l, first + spans);
        int rc = region_back(&l->region, end - 4096, 4096);
        /* A chunk that exists in part may be marked as backed: the rest of it must be. */
        uint64_t chunk = (uint64_t)1 << l->chunk_shift;
        uint64_t rest = min_u64(spans, (now + chunk - 1) & ~(chunk - 1));
        if (rc == 0 && rest > now)
            rc = region_back(&l->region, layout_span_offset(l, first + now),
                             (rest - now) << SPAN_SHIFT);
        if (rc != 0)
            return rc;
        if (fam_cas(&z->spans, &now, spans))
            break;
    }
    layout_persist(l, &z->spans);
    fam_add(&z->releases, 1);
    return 0;
}

static int back_words(struct layout *l, const void *first, uint64_t bytes)
{
    return region_back(&l->region, (uint64_t)((const char *)first - l->region.base), bytes);
}

/* Says that there is memory behind the records of chunks in a row in one zone. */
static void set_recorded(struct layout *l, uint64_t first, uint64_t count)
{
    const uint64_t chunk = (uint64_t)1 << l->chunk_shift;
    for (uint64_t at = first, end = first + count; at < end;) {
        fam_word_t *word = layout_recorded(l, at);
        uint64_t bits = 0;
        for (; at < end && layout_recorded(l, at) == word; at += chunk)
            bits |= layout_chunk_bit(l, at);
        fam_or(word, bits);
        layout_persist(l, word);
    }
}

/* Backs the metadata of chunks in a row in one zone. */
static int back_records(struct layout *l, uint64_t first, uint64_t count)
{
    fam_word_t *meta = &layout_zone(l, layout_zone_of(l, first))->meta;
    int rc;
    if (fam_load_acquire(meta) == 0) {
        rc = back_words(l, layout_meta(l, first), l->zone_spans * sizeof(fam_word_t));
        if (rc != 0)
            return rc;
        fam_store_release(meta, 1);
        layout_persist(l, meta);
    }
    rc = back_words(l, layout_record(l, first), count * sizeof(struct layout_record));
    if (rc == 0)
        rc = back_words(l, layout_released(l, first), count * sizeof(struct layout_released));
    if (rc == 0)
        set_recorded(l, first, count);
    return rc;
}

/* Whether there is memory behind the records of a part of a zone; its bits are in one word. */
static bool part_is_recorded(const struct layout *l, uint64_t first, uint64_t part)
{
    const unsigned chunks = (unsigned)(part >> l->chunk_shift); /* no more than PART_SPANS */
    const uint64_t bits = layout_chunk_bit(l, first) * (((uint64_t)1 << chunks) - 1);
    return (fam_load_acquire(layout_recorded(l, first)) & bits) == bits;
}

/* Chunks may be small: records come by more of them, for which a few pages do. */
#define PART_SPANS 16u

int layout_back_meta(struct layout *l, uint64_t first, uint64_t count)
{
    const uint64_t end = first + count, chunk = (uint64_t)1 << l->chunk_shift;
    const uint64_t part = max_u64(chunk, min_u64(PART_SPANS, l->zone_spans));
    uint64_t spans;
    for (uint64_t at = first & ~(part - 1); at < end; at += spans) {
        spans = part;
        if (part_is_recorded(l, at, part))
            continue;
        /* As many at a time as lack theirs. */
        const uint64_t most = min_u64(l->zone_spans - (at & (l->zone_spans - 1)), end - at);
        while (spans < most && !part_is_recorded(l, at + spans, part))
            spans += part;
        int rc = back_records(l, at, spans);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Chunks in a row, from that of a span on, with memory behind all of them; perhaps more have. */
static unsigned complete_chunks(const struct layout *l, uint64_t span)
{
    uint64_t bits = fam_load_acquire(layout_backed(l, span)) >> (layout_chunk(l, span) & 63);
    return bits == ~(uint64_t)0 ? 64 : (unsigned)__builtin_ctzll(~bits);
}

/* Spans from one on that are in its chunk and exist. */
static uint64_t rest_of_chunk(const struct layout *l, uint64_t span)
{
    const uint64_t chunk = (uint64_t)1 << l->chunk_shift, zone = layout_zone_of(l, span);
    const uint64_t end = (zone << l->zone_shift) + layout_zone_spans(l, zone);
    return min_u64((span | (chunk - 1)) + 1, end) - span;
}

/* Secures the memory behind the first bytes of a run, all in one chunk. */
static int back_in_chunk(struct layout *l, uint64_t first, uint64_t bytes)
{
    const uint64_t chunk_first = first & ~(((uint64_t)1 << l->chunk_shift) - 1);
    const uint64_t offset = layout_span_offset(l, first);
    uint64_t from = 0; /* up to there nothing is missing */
    while (from < bytes) {
        uint64_t there = fam_load(&layout_record(l, first + (from >> SPAN_SHIFT))->backed);
        if (there < SPAN_PAGES) {
            from += there * LAYOUT_PAGE;
            break;
        }
        from += SPAN_SIZE;
    }
    if (from >= bytes)
        return 0;
    int rc = region_back(&l->region, offset + from, bytes - from);
    if (rc != 0)
        return rc;
    for (uint64_t at = from & ~(SPAN_SIZE - 1); at < bytes; at += SPAN_SIZE) {
        fam_word_t *backed = &layout_record(l, first + (at >> SPAN_SHIFT))->backed;
        uint64_t pages = (min_u64(bytes - at, SPAN_SIZE) + LAYOUT_PAGE - 1) / LAYOUT_PAGE;
        fam_store_release(backed, max_u64(pages, fam_load(backed)));
        layout_flush(l, backed);
    }
    /* Of a complete chunk nothing more is asked than its bit. */
    for (uint64_t i = rest_of_chunk(l, chunk_first); i-- > 0;)
        if (fam_load(&layout_record(l, chunk_first + i)->backed) < SPAN_PAGES)
            return 0;
    fam_or(layout_backed(l, first), layout_chunk_bit(l, first));
    layout_flush(l, layout_backed(l, first));
    return 0;
}

/* Memory is asked for in parts: the kernel serves a file's users one by one, and others would wait
 * until there is all of it. */
#define BACK_SPANS (MIB / SPAN_SIZE)

int layout_back(struct layout *l, uint64_t first, uint64_t bytes)
{
    const uint64_t end = first + ((bytes + SPAN_SIZE - 1) >> SPAN_SHIFT);
    const uint64_t chunk = (uint64_t)1 << l->chunk_shift;
    for (uint64_t at = first; at < end;) {
        const uint64_t complete = complete_chunks(l, at);
        if (complete != 0) {
            at = (at & ~(chunk - 1)) + (complete << l->chunk_shift);
            continue;
        }
        const uint64_t count = min_u64(min_u64(rest_of_chunk(l, at), end - at), BACK_SPANS);
        const uint64_t left = bytes - ((at - first) << SPAN_SHIFT);
        int rc = back_in_chunk(l, at, min_u64(count << SPAN_SHIFT, left));
        if (rc != 0)
            return rc;
        at += count;
    }
    return 0;
}
