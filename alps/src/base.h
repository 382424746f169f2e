/* Small stateless helpers that every layer may use. */
#ifndef ALPS_BASE_H
#define ALPS_BASE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef ALPS_PARANOID
#define ALPS_PARANOID 0
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COLD __attribute__((cold, noinline))

/* Programmer errors only: arguments and bytes from the file are checked and give an error code. */
#ifdef NDEBUG
#define ALPS_ASSERT(condition) ((void)sizeof(condition))
#else
#include <assert.h>
#define ALPS_ASSERT(condition) assert(condition)
#endif

__extension__ typedef unsigned __int128 uint128_t;

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

static inline bool is_power_of_two(uint64_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

/* Next multiple of a power of two. */
static inline uint64_t align_up(uint64_t x, uint64_t alignment)
{
    return (x + alignment - 1) & ~(alignment - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Index of the lowest set bit; x is not 0. */
static inline unsigned lowest_bit(uint64_t x)
{
    return (unsigned)__builtin_ctzll(x);
}

static inline unsigned count_bits(uint64_t x)
{
#ifdef __POPCNT__
    return (unsigned)__builtin_popcountll(x);
#else /* in sums of 2, 4, 8 bits; compilers call a function */
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (unsigned)(x * 0x0101010101010101 >> 56);
#endif
}

/* Between two looks at what another thread is about to change. */
static inline void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__("yield" ::: "memory");
#endif
}

/* FNV-1a; tells apart and finds damage, no defence against malice. */
static inline uint64_t hash_bytes(const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* floor(log2(x)); x is not 0. */
static inline unsigned log2_floor(uint64_t x)
{
    return 63u - (unsigned)__builtin_clzll(x);
}

/* A function that begins with this is no cancellation point, whatever it calls: a thread that ended
 * in the middle of it would leave locks, descriptors, or spans of a living instance behind. */
#define NOT_CANCELLED                                                                              \
    __attribute__((cleanup(cancel_restore), unused)) int cancel_state = cancel_disable()
static inline int cancel_disable(void)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}
static inline void cancel_restore(int *before)
{
    pthread_setcancelstate(*before, NULL);
}

#endif
