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

enum alps_fam_op {
    ALPS_FAM_LOAD,  /* returns *word */
    ALPS_FAM_STORE, /* *word = value */
    ALPS_FAM_CAS,   /* if *word == *expected: *word = value, returns 1; else *expected = *word,
                       returns 0 */
    ALPS_FAM_OR,    /* *word |= value, returns the old one */
    ALPS_FAM_AND,   /* *word &= value, returns the old one */
    ALPS_FAM_ADD,   /* *word += value, returns the old one */
    ALPS_FAM_OPS
};

/* Called instead of each access; does it by calling alps_fam_perform at the moment it chooses. May
 * be called by several threads at once. */
typedef uint64_t (*alps_fam_hook)(void *context, enum alps_fam_op op, uint64_t *word,
                                  uint64_t *expected, uint64_t value);

/* Installs a hook for this process; NULL removes it. Not while another thread uses the library. */
void alps_fam_set_hook(alps_fam_hook hook, void *context);

/* Does the access plainly, sequentially consistent. */
uint64_t alps_fam_perform(enum alps_fam_op op, uint64_t *word, uint64_t *expected, uint64_t value);

#ifdef __cplusplus
}
#endif

#endif
