/* The only way to touch shared metadata.
 *
 * Shared words have a type of their own, so that a plain assignment to one does not compile. The
 * name of an operation says its order: nothing means relaxed, acquire and release as in C11, the
 * read-modify-write operations are sequentially consistent. Single words are all there is: an
 * invariant that spans two words must hold between any two of these calls (a process may be killed
 * there).
 *
 * With ALPS_FAM_HOOKS (the emulator's flavour) each operation is a call through a hook; without,
 * each is the plain instruction.
 */
#ifndef ALPS_FAM_H
#define ALPS_FAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fam_word {
    uint64_t raw;
} fam_word_t;

_Static_assert(sizeof(fam_word_t) == 8, "a shared word is 8 bytes");

/* What fam_flush and fam_fence do: write a line back to the memory, and wait for all that this
 * thread has written back. Not every processor has that. */
bool fam_can_write_back(void);
void fam_write_back(const void *address);
void fam_wait(void);

#if defined(ALPS_FAM_HOOKS)

#include <alps/hooks.h>

uint64_t fam_hooked(enum alps_fam_op op, fam_word_t *word, uint64_t *expected, uint64_t value);

/* A heap with this first file was mapped, or is about to be unmapped: see alps_fam_set_map_hook. */
void fam_mapped(const void *base, uint64_t length, int fd);
void fam_unmapped(const void *base, uint64_t length);

static inline uint64_t fam_load(const fam_word_t *w)
{
    return fam_hooked(ALPS_FAM_LOAD, (fam_word_t *)(uintptr_t)w, NULL, 0);
}
static inline uint64_t fam_load_acquire(const fam_word_t *w)
{
    return fam_load(w);
}
static inline void fam_store(fam_word_t *w, uint64_t value)
{
    fam_hooked(ALPS_FAM_STORE, w, NULL, value);
}
static inline void fam_store_release(fam_word_t *w, uint64_t value)
{
    fam_store(w, value);
}
static inline bool fam_cas(fam_word_t *w, uint64_t *expected, uint64_t desired)
{
    return fam_hooked(ALPS_FAM_CAS, w, expected, desired) != 0;
}
static inline uint64_t fam_or(fam_word_t *w, uint64_t bits)
{
    return fam_hooked(ALPS_FAM_OR, w, NULL, bits);
}
static inline uint64_t fam_and(fam_word_t *w, uint64_t bits)
{
    return fam_hooked(ALPS_FAM_AND, w, NULL, bits);
}
static inline uint64_t fam_add(fam_word_t *w, uint64_t addend)
{
    return fam_hooked(ALPS_FAM_ADD, w, NULL, addend);
}
static inline void fam_flush(const fam_word_t *w)
{
    fam_hooked(ALPS_FAM_FLUSH, (fam_word_t *)(uintptr_t)w, NULL, 0);
}
static inline void fam_fence(void)
{
    fam_hooked(ALPS_FAM_FENCE, NULL, NULL, 0);
}
static inline void fam_prepare(const fam_word_t *w)
{
    (void)w;
}

#else

static inline uint64_t fam_load(const fam_word_t *w)
{
    return __atomic_load_n(&w->raw, __ATOMIC_RELAXED);
}
static inline uint64_t fam_load_acquire(const fam_word_t *w)
{
    return __atomic_load_n(&w->raw, __ATOMIC_ACQUIRE);
}
static inline void fam_store(fam_word_t *w, uint64_t value)
{
    __atomic_store_n(&w->raw, value, __ATOMIC_RELAXED);
}
static inline void fam_store_release(fam_word_t *w, uint64_t value)
{
    __atomic_store_n(&w->raw, value, __ATOMIC_RELEASE);
}
/* Compares and swaps; on failure *expected becomes what was there. */
static inline bool fam_cas(fam_word_t *w, uint64_t *expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(&w->raw, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}
/* These three return the value before. */
static inline uint64_t fam_or(fam_word_t *w, uint64_t bits)
{
    return __atomic_fetch_or(&w->raw, bits, __ATOMIC_SEQ_CST);
}
static inline uint64_t fam_and(fam_word_t *w, uint64_t bits)
{
    return __atomic_fetch_and(&w->raw, bits, __ATOMIC_SEQ_CST);
}
static inline uint64_t fam_add(fam_word_t *w, uint64_t addend)
{
    return __atomic_fetch_add(&w->raw, addend, __ATOMIC_SEQ_CST);
}
/* Writes the word's line back; it is there once the next fence of this thread is over. */
static inline void fam_flush(const fam_word_t *w)
{
    fam_write_back(w);
}
static inline void fam_fence(void)
{
    fam_wait();
}
/* Says that the word will be changed soon; it is no access. */
static inline void fam_prepare(const fam_word_t *w)
{
#if defined(__x86_64__)
    /* As a builtin it would fetch the line for reading, and the change would fetch it again. */
    __asm__ volatile("prefetchw %0" : : "m"(w->raw));
#else
    __builtin_prefetch(&w->raw, 1);
#endif
}
static inline void fam_mapped(const void *base, uint64_t length, int fd)
{
    (void)base, (void)length, (void)fd;
}
static inline void fam_unmapped(const void *base, uint64_t length)
{
    (void)base, (void)length;
}

#endif

#endif
