/* The heap library with the emulator inside: its accesses to metadata are charged, and its heaps
 * are far. CTest sets the environment: virtual, cxl-slow. */
#include <alps/alps.h>
#include <emu/emu.h>

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
