/* The hooks of the emulator's flavour of the library (libalps-emu): every access of the library to
 * shared metadata, and to the words that alps_malloc_to and alps_free_from publish, goes through
 * one function, which may delay it, count it, record it, or end the process instead.
 * The production library has none of this. */
#ifndef ALPS_HOOKS_H
#define ALPS_HOOKS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ALPS_HOOKS_API __attribute__((visibility("default")))
#else
#define ALPS_HOOKS_API
#endif

enum alps_fam_op {
    ALPS_FAM_LOAD,  /* returns *word */
    ALPS_FAM_STORE, /* *word = value */
    ALPS_FAM_CAS,   /* if *word == *expected: *word = value, returns 1; else *expected = *word,
                       returns 0 */
    ALPS_FAM_OR,    /* *word |= value, returns the old one */
    ALPS_FAM_AND,   /* *word &= value, returns the old one */
    ALPS_FAM_ADD,   /* *word += value, returns the old one */
    ALPS_FAM_FLUSH, /* the line of *word is written back, some time before the next fence ends */
    ALPS_FAM_FENCE, /* waits for the flushes of this thread; word is NULL */
    ALPS_FAM_OPS
};

/* Called instead of each access; does it by calling alps_fam_perform at the moment it chooses. May
 * be called by several threads at once. */
typedef uint64_t (*alps_fam_hook)(void *context, enum alps_fam_op op, uint64_t *word,
                                  uint64_t *expected, uint64_t value);

/* Installs a hook for this process; NULL removes it. Not while another thread uses the library. */
ALPS_HOOKS_API void alps_fam_set_hook(alps_fam_hook hook, void *context);

/* Does the access plainly, sequentially consistent. */
ALPS_HOOKS_API uint64_t alps_fam_perform(enum alps_fam_op op, uint64_t *word, uint64_t *expected,
                                         uint64_t value);

/* Called after a heap was mapped, with mapped 1, and before it is unmapped, with 0. position is a
 * number for the heap's first byte that all processes of this kernel have alike, and from which no
 * other heap's range of length bytes overlaps this one. A hook learns of heaps mapped later. */
typedef void (*alps_fam_map_hook)(void *context, const void *base, uint64_t length,
                                  uint64_t position, int mapped);
ALPS_HOOKS_API void alps_fam_set_map_hook(alps_fam_map_hook hook, void *context);

#ifdef __cplusplus
}
#endif

#endif
