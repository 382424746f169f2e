/* The layout layer: what lies where, and what is refused. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "inside.h"

static uint64_t end_of_span_meta(const struct layout *l, uint64_t span)
{
    return (uint64_t)((char *)(layout_released(l, span) + 1) - l->region.base);
}

static void check_geometry(uint64_t size, uint64_t capacity, uint64_t zone_size)
{
    const char *path = inside_create(size, capacity, zone_size);
    alps_heap_t *heap = inside_open(path, 0);
    struct layout *l = heap_layout(heap);
    const struct layout_super *s = layout_super(l);

    /* Areas follow one another. */
    CHECK_LE(s->generations_offset + s->generation_count * 8, s->slot_states_offset);
    CHECK_LE(s->slot_states_offset + s->instance_count * 8, s->roots_offset);
    CHECK_LE(s->roots_offset + s->root_count * sizeof(struct layout_root), s->zones_offset);
    CHECK_LE(s->zones_offset + s->zone_count * sizeof(struct layout_zone), s->instances_offset);
    CHECK_LE(s->instances_offset + (s->instance_count + 1) * s->instance_stride, s->paths_offset);
    CHECK_LE(s->paths_offset, s->meta_offset);
    CHECK_LE(s->meta_offset + s->zone_count * s->meta_stride, s->data_offset);
    CHECK_LE(layout_span_offset(l, l->span_count), l->region.length);
    CHECK_EQ(s->data_offset % SPAN_SIZE, 0);
    CHECK_EQ((char *)layout_generation(l, 0) - l->region.base, (int64_t)s->generations_offset);
    CHECK_EQ((char *)layout_root(l, 0) - l->region.base, (int64_t)s->roots_offset);

    /* Each span's metadata lies inside its zone's, and zones do not overlap. */
    uint64_t probes[] = {0, l->zone_spans - 1, l->zone_spans, l->span_count - 1};
    for (unsigned i = 0; i < 4; i++) {
        uint64_t span = probes[i];
        if (span >= l->span_count)
            continue;
        uint64_t meta = l->meta_offset + layout_zone_of(l, span) * l->meta_stride;
        CHECK_LE(meta, (char *)layout_state(l, span) - l->region.base);
        CHECK_LE((char *)(layout_state(l, span | (l->zone_spans - 1)) + 1),
                 (char *)layout_record(l, span & ~(l->zone_spans - 1)));
        CHECK_EQ((uintptr_t)layout_record(l, span) % LAYOUT_LINE, 0);
        CHECK_EQ((uintptr_t)layout_released(l, span) % LAYOUT_LINE, 0);
        CHECK_LE(end_of_span_meta(l, span), meta + l->meta_stride);
    }
    struct alps_stats stats = {.struct_size = sizeof stats};
    CHECK_ERR(alps_heap_stats(heap, &stats), 0);
    CHECK_LE(stats.size, size);
    CHECK_LE(size - size / 16, stats.size);
    CHECK_LE(stats.capacity, capacity);
    if (size >= 64 * MIB) /* management takes at most 2.5 % beside the tables */
        CHECK_LE((stats.size - stats.usable_bytes - l->meta_offset) * 1000, 25 * stats.size);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_destroy(path), 0);
}

TEST(layout, areas_do_not_overlap)
{
    check_geometry(16 * MIB, 16 * MIB, 0);
    check_geometry(16 * MIB, 16 * MIB, 16 * MIB); /* a zone larger than the data */
    check_geometry(17 * MIB + 12345, 17 * MIB + 12345, MIB);
    check_geometry(64 * MIB, 64 * MIB, 0);
    check_geometry(64 * MIB, GIB, 0);
    check_geometry(256 * MIB, 256 * MIB, 8 * MIB);
    check_geometry(64 * MIB, 100 * GIB, 0);
    check_geometry(GIB, TIB, 0);
    check_geometry(64 * MIB, 8 * TIB, 4 * GIB);
    check_geometry(64 * MIB, 16 * TIB, 0);
}

TEST(layout, a_sparse_terabyte_takes_next_to_nothing)
{
    const char *path = inside_create(64 * MIB, TIB, 0);
    struct stat status;
    CHECK_EQ(stat(path, &status), 0);
    CHECK_LE(status.st_blocks * 512, 16 * (int64_t)MIB);
    alps_heap_t *heap = inside_open(path, 0);
    CHECK_NE(alps_malloc(heap, 100, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_EQ(stat(path, &status), 0);
    CHECK_LE(status.st_blocks * 512, 24 * (int64_t)MIB);
    CHECK_ERR(alps_heap_close(heap), 0);
}

static long page_faults(void)
{
    struct rusage usage;
    CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

/* What is there for later is not looked at: 1024 slots, each on pages of its own; all metadata of a
 * zone. The zones' headers are, 256 pages of them, as a rule several at a time. */
TEST(layout, opening_a_sparse_terabyte_touches_few_pages)
{
    const char *path = inside_create(64 * MIB, TIB, 0);
    struct stat before, after;
    CHECK_EQ(stat(path, &before), 0);
    long faults = page_faults();
    alps_heap_t *heap = inside_open(path, 0);
    CHECK_LE(page_faults() - faults, 256 + 150);
    faults = page_faults();
    CHECK_NE(alps_malloc(heap, 64, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_LE(page_faults() - faults, 50);
    /* A chunk, its metadata, and the states of its zone. */
    CHECK_EQ(stat(path, &after), 0);
    CHECK_LE((after.st_blocks - before.st_blocks) * 512, 640 * (int64_t)KIB);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Opens a heap that is not good; the error code. */
static int open_bad(const char *path)
{
    alps_heap_t *heap;
    int rc = alps_heap_open(path, NULL, &heap);
    CHECK_EQ(heap == NULL, rc != 0);
    if (rc == 0)
        alps_heap_close(heap);
    else
        CHECK(strstr(alps_error_detail(), path) != NULL);
    return rc;
}

static void poke(const char *path, off_t offset, const void *bytes, size_t count)
{
    int fd = open(path, O_RDWR);
    CHECK_LE(0, fd);
    CHECK_EQ(pwrite(fd, bytes, count, offset), (ssize_t)count);
    close(fd);
}

TEST(layout, damage_to_any_byte_of_the_superblock_is_refused)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct layout_super super;
    int fd = open(path, O_RDONLY);
    CHECK_EQ(pread(fd, &super, sizeof super, 0), (ssize_t)sizeof super);
    close(fd);
    for (size_t i = 0; i < offsetof(struct layout_super, next_generation); i++) {
        unsigned char byte = ((unsigned char *)&super)[i], bad = byte ^ 0x10;
        poke(path, (off_t)i, &bad, 1);
        int rc = open_bad(path);
        if (i < sizeof super.magic)
            CHECK_EQ(rc, -EMEDIUMTYPE);
        else if (i < offsetof(struct layout_super, uuid))
            CHECK_EQ(rc, -EPROTONOSUPPORT);
        else
            CHECK_EQ(rc, -EUCLEAN);
        poke(path, (off_t)i, &byte, 1);
    }
    CHECK_EQ(open_bad(path), 0);
}

TEST(layout, another_version_is_named)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    uint32_t version = LAYOUT_VERSION + 1;
    poke(path, offsetof(struct layout_super, version), &version, sizeof version);
    CHECK_EQ(open_bad(path), -EPROTONOSUPPORT);
    char text[64];
    snprintf(text, sizeof text, "layout version %u, this library reads version %u", version,
             LAYOUT_VERSION);
    CHECK(strstr(alps_error_detail(), text) != NULL);
    CHECK_ERR(alps_heap_destroy(path), -EPROTONOSUPPORT);
    CHECK_EQ(access(path, F_OK), 0);
}

TEST(layout, truncated_files_are_refused)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct stat status;
    CHECK_EQ(stat(path, &status), 0);
    for (off_t length = status.st_size - 1; length > 0; length = length * 3 / 4) {
        CHECK_EQ(truncate(path, length), 0);
        int rc = open_bad(path);
        CHECK_EQ(rc, length < 8 ? -EMEDIUMTYPE : -EUCLEAN);
    }
    CHECK_EQ(truncate(path, 0), 0);
    CHECK_EQ(open_bad(path), -EMEDIUMTYPE);
}

TEST(layout, a_zone_larger_than_its_place_is_refused)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    struct layout_super super;
    int fd = open(path, O_RDONLY);
    CHECK_EQ(pread(fd, &super, sizeof super, 0), (ssize_t)sizeof super);
    close(fd);
    uint64_t spans = UINT64_MAX;
    poke(path, (off_t)super.zones_offset, &spans, sizeof spans);
    CHECK_EQ(open_bad(path), -EUCLEAN);

    /* Formatting brings it back, also when the file has been cut besides. */
    CHECK_EQ(truncate(path, 8192), 0);
    CHECK_EQ(open_bad(path), -EUCLEAN);
    CHECK_ERR(alps_heap_format(path), 0);
    alps_heap_t *heap = inside_open(path, 0);
    CHECK_NE(alps_malloc(heap, 10 * MIB, ALPS_ANY_NODE), ALPS_NULL);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

/* Those who come at the same time may raise the number beyond the slots, but not without end. */
TEST(layout, far_more_slots_used_than_there_are_are_refused)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    uint64_t used = 65 + LAYOUT_INSTANCE_MAX;
    poke(path, offsetof(struct layout_super, slots_used), &used, sizeof used);
    CHECK_EQ(open_bad(path), -EUCLEAN);
    used--;
    poke(path, offsetof(struct layout_super, slots_used), &used, sizeof used);
    CHECK_EQ(open_bad(path), 0);
}

TEST(layout, a_zone_that_grows_inside_a_chunk_has_memory_behind_it)
{
    /* Chunks of 8 spans; 16 MiB is no whole number of them. */
    alps_heap_t *heap = inside_open(inside_create(16 * MIB, 128 * MIB, 128 * MIB), 0);
    struct layout *l = heap_layout(heap);
    CHECK_EQ(l->chunk_shift, 3);
    uint64_t first, spans = layout_zone(l, 0)->spans.raw;
    CHECK_NE(spans % 8, 0);
    CHECK_ERR(inside_claim(&heap->instance, spans, &first), 0);
    uint64_t length, before, after;
    CHECK_ERR(region_file_size(&l->region.files[0], &length, &before), 0);
    CHECK_ERR(layout_extend_zone(l, 0, spans + 1), 0);
    CHECK_ERR(inside_claim(&heap->instance, 1, &first), 0);
    CHECK_EQ(first, spans);
    CHECK_ERR(region_file_size(&l->region.files[0], &length, &after), 0);
    CHECK_LE(before + SPAN_SIZE, after);
}

static unsigned asked; /* the kernel for memory */

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    asked++;
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

TEST(layout, records_of_a_run_are_asked_for_at_once)
{
    alps_heap_t *heap = inside_open(inside_create(64 * MIB, 64 * MIB, 0), 0);
    struct layout *l = heap_layout(heap);
    const uint64_t chunk = (uint64_t)1 << l->chunk_shift, part = 16, first = 2 * part + part / 2;
    uint64_t count = 3 * part;
    CHECK_LE(chunk, part);
    CHECK_ERR(layout_back_meta(l, 0, 1), 0);
    CHECK(layout_span_known(l, part - 1) && !layout_span_known(l, part));
    asked = 0;
    CHECK_ERR(layout_back_meta(l, first, count), 0);
    CHECK_EQ(asked, 2); /* records, and what others release */
    CHECK(layout_span_known(l, first) && layout_span_known(l, first + count - 1));
    CHECK(!layout_span_known(l, first - part) && !layout_span_known(l, first + count + part - 1));
    CHECK_ERR(layout_back_meta(l, first, count), 0);
    CHECK_EQ(asked, 2);

    /* Around parts that have theirs, and where only some of a part have. */
    CHECK_ERR(layout_back_meta(l, first - part, count + 2 * part), 0);
    CHECK_EQ(asked, 6);
    CHECK(layout_span_known(l, first - part));
    CHECK(layout_span_known(l, first + count + part - 1));
    fam_and(layout_recorded(l, first), ~layout_chunk_bit(l, first));
    CHECK_ERR(layout_back_meta(l, first + part / 4, 1), 0);
    CHECK_EQ(asked, 8);
    CHECK(layout_span_known(l, first));

    asked = 0;
    count = 8 * chunk;
    CHECK_ERR(layout_back(l, first, (count << SPAN_SHIFT) - 1), 0);
    CHECK_EQ(asked, 8);
    for (uint64_t span = first; span < first + count; span++)
        CHECK(layout_span_backed(l, span, SPAN_SIZE));
    CHECK(!layout_span_backed(l, first - 1, 1) && !layout_span_backed(l, first + count, 1));
    CHECK_ERR(layout_back(l, first, count << SPAN_SHIFT), 0);
    CHECK_EQ(asked, 8);
}

TEST(layout, a_large_chunk_gets_its_memory_part_by_part)
{
    alps_heap_t *heap = inside_open(inside_create(64 * MIB, GIB, GIB), 0);
    struct layout *l = heap_layout(heap);
    const uint64_t chunk = (uint64_t)1 << l->chunk_shift;
    CHECK_EQ(chunk << SPAN_SHIFT, 4 * MIB);
    CHECK_ERR(layout_back_meta(l, 3 * chunk, chunk), 0);
    asked = 0;
    CHECK_ERR(layout_back(l, 3 * chunk, chunk << SPAN_SHIFT), 0);
    CHECK_EQ(asked, 4);
    CHECK_EQ(fam_load(layout_backed(l, 3 * chunk)), layout_chunk_bit(l, 3 * chunk));
}

TEST(layout, interrupted_formatting_is_refused_until_done_again)
{
    const char *path = inside_create(16 * MIB, 16 * MIB, 0);
    alps_heap_t *heap = inside_open(path, ALPS_OPEN_PERMANENT);
    CHECK_NE(alps_malloc(heap, 100000, ALPS_ANY_NODE), ALPS_NULL);
    CHECK_ERR(alps_heap_close(inside_open(path, 0)), 0);
    CHECK_EQ(layout_slots_used(heap_layout(heap)), 2);
    CHECK_ERR(alps_heap_close(heap), 0);
    uint64_t one = 1;
    poke(path, offsetof(struct layout_super, formatting), &one, sizeof one);
    CHECK_EQ(open_bad(path), -EUCLEAN);
    CHECK_ERR(alps_heap_format(path), 0);
    heap = inside_open(path, 0);
    CHECK_EQ(inside_live_blocks(heap), 0);
    CHECK_EQ(layout_slots_used(heap_layout(heap)), 1);
    inside_check(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(layout, parts_of_other_heaps_and_wrong_orders_are_refused)
{
    const char *a[3] = {test_heap_path(), test_heap_path(), test_heap_path()};
    const char *b[3] = {test_heap_path(), test_heap_path(), test_heap_path()};
    CHECK_ERR(alps_heap_create_files(a, 3, NULL), 0);
    CHECK_ERR(alps_heap_create_files(b, 3, NULL), 0);
    alps_heap_t *heap;
    const char *swapped[3] = {a[0], a[2], a[1]}, *mixed[3] = {a[0], a[1], b[2]},
               *reversed[3] = {a[2], a[1], a[0]}, *twice[3] = {a[0], a[0], a[1]};
    CHECK_ERR(alps_heap_open_files(swapped, 3, NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open_files(mixed, 3, NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open_files(reversed, 3, NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open_files(twice, 3, NULL, &heap), -EINVAL);
    CHECK_ERR(alps_heap_open_files(a, 2, NULL, &heap), -EINVAL);
    uint64_t junk = 0;
    poke(b[1], offsetof(struct layout_part, uuid), &junk, sizeof junk);
    CHECK_ERR(alps_heap_open_files(b, 3, NULL, &heap), -EUCLEAN);
    CHECK_ERR(alps_heap_open_files(a, 3, NULL, &heap), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(alps_heap_destroy(a[0]), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(access(a[i], F_OK), -1);
}
