/* The instrumented mode: a program compiled with -fsanitize=thread, and linked with this instead of
 * ThreadSanitizer's run-time library, has its accesses to far memory charged.
 *
 * The compiler puts a call before each load and store, and one in place of each atomic operation.
 * Here they look whether the address is far, which emu_charge does, and do nothing else. Calls of
 * memcpy and its like are compiled as they are; the linker's --wrap turns those of the program into
 * the ones below. What is charged is what the program does: libraries it uses are not compiled that
 * way. */
#include <emu/emu.h>

#include <stdbool.h>
#include <string.h>

/* The names are the compiler's. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#if defined(__clang__)
#pragma GCC diagnostic ignored "-Watomic-alignment"
#endif

void __tsan_init(void)
{
}
void __tsan_func_entry(void *caller)
{
    (void)caller;
}
void __tsan_func_exit(void)
{
}

__attribute__((constructor)) static void start(void)
{
    emu_start_early();
}

#define ACCESSES(prefix, size)                                                                     \
    void __tsan_##prefix##read##size(void *p)                                                      \
    {                                                                                              \
        emu_read(p, size);                                                                         \
    }                                                                                              \
    void __tsan_##prefix##write##size(void *p)                                                     \
    {                                                                                              \
        emu_write(p, size);                                                                        \
    }                                                                                              \
    void __tsan_##prefix##read_write##size(void *p)                                                \
    {                                                                                              \
        emu_write(p, size);                                                                        \
    }
#define ALL_ACCESSES(prefix)                                                                       \
    ACCESSES(prefix, 1)                                                                            \
    ACCESSES(prefix, 2)                                                                            \
    ACCESSES(prefix, 4)                                                                            \
    ACCESSES(prefix, 8)                                                                            \
    ACCESSES(prefix, 16)
ALL_ACCESSES()
ALL_ACCESSES(unaligned_)
ALL_ACCESSES(volatile_)
ALL_ACCESSES(unaligned_volatile_)

void __tsan_read_range(void *p, unsigned long size)
{
    emu_read(p, size);
}
void __tsan_write_range(void *p, unsigned long size)
{
    emu_write(p, size);
}
void __tsan_vptr_read(void **p)
{
    emu_read(p, sizeof *p);
}
void __tsan_vptr_update(void **p, void *value)
{
    (void)value;
    emu_write(p, sizeof *p);
}

/* ---- atomics: done here, in the strongest order ---- */

static void charge_atomic(const volatile void *p)
{
    emu_atomic((const void *)(uintptr_t)p);
}

#define ATOMIC_FETCH(bits, type, name, operation)                                                  \
    type __tsan_atomic##bits##_fetch_##name(volatile type *p, type value, int order)               \
    {                                                                                              \
        (void)order;                                                                               \
        charge_atomic(p);                                                                          \
        return operation(p, value, __ATOMIC_SEQ_CST);                                              \
    }
#define ATOMIC_EXCHANGE(bits, type, strength, weak)                                                \
    int __tsan_atomic##bits##_compare_exchange_##strength(volatile type *p, type *expected,        \
                                                          type desired, int order, int fail_order) \
    {                                                                                              \
        (void)order;                                                                               \
        (void)fail_order;                                                                          \
        charge_atomic(p);                                                                          \
        return __atomic_compare_exchange_n(p, expected, desired, weak, __ATOMIC_SEQ_CST,           \
                                           __ATOMIC_SEQ_CST);                                      \
    }
#define ATOMICS(bits, type)                                                                        \
    type __tsan_atomic##bits##_load(const volatile type *p, int order)                             \
    {                                                                                              \
        (void)order;                                                                               \
        emu_read((const void *)(uintptr_t)p, sizeof *p);                                           \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                               \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile type *p, type value, int order)                      \
    {                                                                                              \
        (void)order;                                                                               \
        emu_write((const void *)(uintptr_t)p, sizeof *p);                                          \
        __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                              \
    }                                                                                              \
    type __tsan_atomic##bits##_exchange(volatile type *p, type value, int order)                   \
    {                                                                                              \
        (void)order;                                                                               \
        charge_atomic(p);                                                                          \
        return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                    \
    }                                                                                              \
    ATOMIC_FETCH(bits, type, add, __atomic_fetch_add)                                              \
    ATOMIC_FETCH(bits, type, sub, __atomic_fetch_sub)                                              \
    ATOMIC_FETCH(bits, type, and, __atomic_fetch_and)                                              \
    ATOMIC_FETCH(bits, type, or, __atomic_fetch_or)                                                \
    ATOMIC_FETCH(bits, type, xor, __atomic_fetch_xor)                                              \
    ATOMIC_FETCH(bits, type, nand, __atomic_fetch_nand)                                            \
    ATOMIC_EXCHANGE(bits, type, strong, false)                                                     \
    ATOMIC_EXCHANGE(bits, type, weak, true)                                                        \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *p, type expected, type desired, \
                                                    int order, int fail_order)                     \
    {                                                                                              \
        __tsan_atomic##bits##_compare_exchange_strong(p, &expected, desired, order, fail_order);   \
        return expected;                                                                           \
    }

ATOMICS(8, unsigned char)
ATOMICS(16, unsigned short)
ATOMICS(32, unsigned)
ATOMICS(64, unsigned long)

void __tsan_atomic_thread_fence(int order)
{
    (void)order;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* ---- blocks of memory ---- */

void *__real_memcpy(void *to, const void *from, size_t length);
void *__real_memmove(void *to, const void *from, size_t length);
void *__real_memset(void *to, int value, size_t length);
int __real_memcmp(const void *a, const void *b, size_t length);

void *__wrap_memcpy(void *to, const void *from, size_t length)
{
    emu_read(from, length);
    emu_write(to, length);
    return __real_memcpy(to, from, length);
}
void *__wrap_memmove(void *to, const void *from, size_t length)
{
    emu_read(from, length);
    emu_write(to, length);
    return __real_memmove(to, from, length);
}
void *__wrap_memset(void *to, int value, size_t length)
{
    emu_write(to, length);
    return __real_memset(to, value, length);
}
int __wrap_memcmp(const void *a, const void *b, size_t length)
{
    emu_read(a, length);
    emu_read(b, length);
    return __real_memcmp(a, b, length);
}

/* What newer compilers call instead. */
void *__tsan_memcpy(void *to, const void *from, size_t length)
{
    return __wrap_memcpy(to, from, length);
}
void *__tsan_memmove(void *to, const void *from, size_t length)
{
    return __wrap_memmove(to, from, length);
}
void *__tsan_memset(void *to, int value, size_t length)
{
    return __wrap_memset(to, value, length);
}
