/* Writing lines back to the memory, as the processor at hand does it best. */
#include "fam.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

enum { UNKNOWN, CLFLUSH, CLFLUSHOPT, CLWB };

/* Found once: cpuid takes microseconds in a virtual machine. */
static int best_instruction(void)
{
    static int found = UNKNOWN; /* DRAM: any thread finds the same */
    int best = __atomic_load_n(&found, __ATOMIC_RELAXED);
    if (best != UNKNOWN)
        return best;
    unsigned a, b = 0, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        b = 0;
    best = (b >> 24 & 1) != 0 ? CLWB : (b >> 23 & 1) != 0 ? CLFLUSHOPT : CLFLUSH;
    __atomic_store_n(&found, best, __ATOMIC_RELAXED);
    return best;
}

__attribute__((target("clwb"))) static void clwb(const void *p)
{
    _mm_clwb((void *)(uintptr_t)p);
}

__attribute__((target("clflushopt"))) static void clflushopt(const void *p)
{
    _mm_clflushopt((void *)(uintptr_t)p);
}

bool fam_can_write_back(void)
{
    return true;
}

void fam_write_back(const void *address)
{
    switch (best_instruction()) {
    case CLWB:
        clwb(address);
        break;
    case CLFLUSHOPT:
        clflushopt(address);
        break;
    default:
        _mm_clflush(address);
    }
}

void fam_wait(void)
{
    _mm_sfence();
}

#else

bool fam_can_write_back(void)
{
    return false;
}

void fam_write_back(const void *address)
{
    (void)address;
}

void fam_wait(void)
{
}

#endif
