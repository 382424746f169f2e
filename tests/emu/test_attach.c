/* The heap library with the emulator inside: its accesses to metadata are charged, and its heaps
 * are far. CTest sets the environment: virtual, cxl-slow. */
#include <alps/alps.h>
#include <emu/emu.h>

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

TEST(attach, the_environment_started_an_emulator)
{
    CHECK_STR(emu_describe(), "virtual cxl-slow, read 437 ns");
}

static alps_heap_t *open_heap(const char *path)
{
    alps_heap_t *heap;
    CHECK_ERR(alps_heap_open(path, NULL, &heap), 0);
    return heap;
}

/* alps.h's inline functions must not go past the hooks. */
TEST(attach, a_malloc_and_a_free_are_one_write_each)
{
    const char *path = test_heap_path();
    CHECK_ERR(alps_heap_create(path, NULL), 0);
    alps_heap_t *heap = open_heap(path);
    struct emu_counts before, after;
    CHECK_NE(alps_malloc(heap, 64, ALPS_ANY_NODE), ALPS_NULL);
    emu_count(&before);
    for (int i = 0; i < 100; i++)
        CHECK_ERR(alps_free(heap, alps_malloc(heap, 64, ALPS_ANY_NODE)), 0);
    emu_count(&after);
    CHECK_EQ(after.accesses[EMU_WRITE] - before.accesses[EMU_WRITE], 200);
    CHECK_EQ(after.accesses[EMU_READ], before.accesses[EMU_READ]);
    CHECK_EQ(after.accesses[EMU_ATOMIC], before.accesses[EMU_ATOMIC]);
    CHECK_ERR(alps_heap_close(heap), 0);
}

TEST(attach, heaps_are_far_wherever_they_are_mapped)
{
    const char *path = test_heap_path();
    CHECK_ERR(alps_heap_create(path, NULL), 0);
    alps_heap_t *heap = open_heap(path), *other = open_heap(path);
    alps_ptr_t p = alps_malloc(heap, 100, ALPS_ANY_NODE);
    CHECK_ERR(emu_device_of(alps_deref(heap, p)), 0);
    CHECK_ERR(emu_device_of(alps_deref(other, p)), 0);
    /* The same line of memory, at both addresses: the second is a hit. */
    const uint64_t start = emu_clock_ns();
    emu_read(alps_deref(heap, p), 8);
    CHECK_EQ(emu_clock_ns() - start, 437);
    emu_read(alps_deref(other, p), 8);
    CHECK_EQ(emu_clock_ns() - start, 439);
    const void *was = alps_deref(heap, p);
    CHECK_ERR(alps_heap_remap(heap, NULL), 0);
    CHECK_ERR(emu_device_of(was), -EINVAL);
    CHECK_ERR(emu_device_of(alps_deref(heap, p)), 0);
    was = alps_deref(heap, p);
    CHECK_ERR(alps_heap_close(heap), 0);
    CHECK_ERR(emu_device_of(was), -EINVAL);
    CHECK_ERR(alps_heap_close(other), 0);
}

/* ---- a memory device that goes away ---- */

#define MIB ((uint64_t)1 << 20)
#define BLOCKS 400u

static sigjmp_buf after_bus_error;

static void on_bus_error(int number)
{
    (void)number;
    siglongjmp(after_bus_error, 1);
}

/* Writes a block as a program does; false if its memory is gone. */
static bool try_to_write(alps_heap_t *heap, alps_ptr_t p)
{
    if (sigsetjmp(after_bus_error, 1) != 0)
        return false;
    emu_write(alps_deref(heap, p), 64);
    memset(alps_deref(heap, p), 1, 64);
    return true;
}

static int count_block(const struct alps_block *block, void *context)
{
    (void)block;
    ++*(unsigned *)context;
    return 0;
}

/* The tables lie at the heap's begin: whoever has only blocks on the devices that stay goes on, as
 * the library does with all but the smallest blocks, which have their bitmaps beside them. */
TEST(attach, a_lost_device_takes_its_blocks_and_no_others)
{
    char profile[256];
    snprintf(profile, sizeof profile, "%s/two.profile", test_directory());
    FILE *file = fopen(profile, "w");
    fputs("interleave = 64 MiB\n[memory m]\nread = 300 ns\ncount = 2\n", file);
    fclose(file);
    emu_stop();
    const struct emu_options o = {.struct_size = sizeof o, .mode = EMU_VIRTUAL, .profile = profile};
    CHECK_ERR(emu_start(&o), 0);
    struct alps_create_options options = {.struct_size = sizeof options, .size = 128 * MIB};
    const char *path = test_heap_path();
    alps_ptr_t blocks[BLOCKS];
    unsigned lost = 0, kept = 0, walked = 0;
    CHECK_ERR(alps_heap_create(path, &options), 0);
    alps_heap_t *heap = open_heap(path);
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = alps_malloc(heap, i % 2 == 0 ? 500000 : 64, ALPS_ANY_NODE);
        CHECK_NE(blocks[i], ALPS_NULL);
        CHECK(try_to_write(heap, blocks[i]));
    }
    signal(SIGBUS, on_bus_error);
    CHECK_ERR(emu_lose(1, 1), 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
        const bool gone = emu_device_of(alps_deref(heap, blocks[i])) == 1;
        CHECK_EQ(try_to_write(heap, blocks[i]), !gone);
        lost += gone;
        kept += !gone;
    }
    CHECK_LT(10, lost);
    CHECK_LT(10, kept);
    if (sigsetjmp(after_bus_error, 1) != 0)
        CHECK(0); /* nothing below touches what is gone */
    for (unsigned i = 0; i < BLOCKS; i += 2) {
        CHECK_ERR(alps_free(heap, blocks[i]), 0);
        blocks[i] = alps_malloc(heap, 1000, ALPS_ANY_NODE);
        CHECK_NE(blocks[i], ALPS_NULL);
    }
    CHECK_ERR(alps_heap_walk(heap, count_block, &walked), 0);
    CHECK_EQ(walked, BLOCKS);
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    const alps_gen_t generation = alps_heap_generation(heap);
    CHECK_ERR(alps_heap_close(heap), 0);
    heap = open_heap(path); /* others come, and clean up */
    CHECK_ERR(alps_bulk_free(heap, generation), 0);
    CHECK_ERR(alps_heap_check(heap, NULL), 0);
    CHECK_ERR(alps_heap_close(heap), 0);
}
