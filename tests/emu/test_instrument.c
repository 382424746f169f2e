/* A program compiled so that its accesses to far memory are charged: exactly those. CTest sets the
 * environment: virtual, cxl-slow. This file is compiled with the compiler's instrumentation, the
 * test runner is not. */
#include <emu/emu.h>

#include <string.h>
#include <sys/mman.h>

#include "test.h"

struct node {
    struct node *next;
    int value;
    char padding[64 - sizeof(struct node *) - sizeof(int)];
};

static struct node *far;
static struct node near[16];

static struct emu_counts counted(void)
{
    struct emu_counts c;
    emu_count(&c);
    return c;
}

static void map_far(void)
{
    far = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(far != MAP_FAILED);
    CHECK_ERR(emu_add(far, 1 << 20, 0), 0);
}

/* volatile: no access is optimised away. */
static __attribute__((noinline)) int work(struct node *memory)
{
    volatile struct node *nodes = memory;
    int sum = 0;
    for (int i = 0; i < 16; i++) {
        nodes[i].next = i < 15 ? &memory[i + 1] : NULL;
        nodes[i].value = i;
    }
    for (volatile struct node *n = nodes; n != NULL; n = n->next)
        sum += n->value;
    return sum;
}

TEST(instrument, loads_and_stores_of_far_memory_are_charged_and_no_others)
{
    map_far();
    CHECK_EQ(work(near), 120);
    CHECK_EQ(counted().accesses[EMU_READ] + counted().accesses[EMU_WRITE], 0);
    CHECK_EQ(emu_clock_ns(), 0);
    CHECK_EQ(work(far), 120);
    CHECK_EQ(counted().accesses[EMU_WRITE], 32);
    CHECK_EQ(counted().accesses[EMU_READ], 32);
    CHECK_EQ(counted().misses[EMU_WRITE], 16);
    CHECK_EQ(counted().misses[EMU_READ], 0);
}

TEST(instrument, atomics_work_and_are_charged)
{
    map_far();
    uint64_t *w = (uint64_t *)(void *)far, expected = 5;
    uint8_t *b = (uint8_t *)(w + 1);
    CHECK_EQ(__atomic_fetch_add(w, 5, __ATOMIC_RELAXED), 0);
    CHECK(__atomic_compare_exchange_n(w, &expected, 9, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    CHECK(!__atomic_compare_exchange_n(w, &expected, 7, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    CHECK_EQ(expected, 9);
    CHECK_EQ(__atomic_exchange_n(w, 12, __ATOMIC_SEQ_CST), 9);
    CHECK_EQ(__atomic_fetch_or(b, 3, __ATOMIC_SEQ_CST), 0);
    CHECK_EQ(__atomic_fetch_and(b, 2, __ATOMIC_SEQ_CST), 3);
    CHECK_EQ(__atomic_fetch_xor(b, 1, __ATOMIC_SEQ_CST), 2);
    CHECK_EQ(__atomic_fetch_sub(b, 1, __ATOMIC_SEQ_CST), 3);
    CHECK_EQ(counted().accesses[EMU_ATOMIC], 8);
    __atomic_store_n(w, 1, __ATOMIC_RELEASE);
    CHECK_EQ(__atomic_load_n(w, __ATOMIC_ACQUIRE), 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    CHECK_EQ(counted().accesses[EMU_ATOMIC], 8);
    CHECK_EQ(counted().accesses[EMU_WRITE], 1);
    CHECK_EQ(counted().accesses[EMU_READ], 1);
}

TEST(instrument, blocks_of_memory_are_charged)
{
    map_far();
    volatile size_t length = 640; /* so that calls are made */
    char *p = (char *)far, here[640];
    memset(p, 7, length);
    CHECK_EQ(counted().accesses[EMU_WRITE], 10);
    memcpy(here, p, length);
    CHECK_EQ(counted().accesses[EMU_READ], 10);
    CHECK_EQ(memcmp(here, p, length), 0);
    CHECK_EQ(counted().accesses[EMU_READ], 20);
    memmove(p + 64, p, length);
    CHECK_EQ(counted().accesses[EMU_READ], 30);
    CHECK_EQ(counted().accesses[EMU_WRITE], 20);
    memcpy(here, here + 320, length / 2);
    CHECK_EQ(counted().accesses[EMU_READ], 30);
    CHECK_EQ(here[0], 7);
}
