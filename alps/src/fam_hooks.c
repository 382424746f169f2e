/* The hooked flavour of fam.h. */
#include <alps/hooks.h>

#include <stddef.h>

#include "fam.h"

static alps_fam_hook installed;
static void *installed_context;

void alps_fam_set_hook(alps_fam_hook hook, void *context)
{
    installed_context = context;
    installed = hook;
}

uint64_t alps_fam_perform(enum alps_fam_op op, uint64_t *word, uint64_t *expected, uint64_t value)
{
    switch (op) {
    case ALPS_FAM_LOAD:
        return __atomic_load_n(word, __ATOMIC_SEQ_CST);
    case ALPS_FAM_STORE:
        __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
        return 0;
    case ALPS_FAM_CAS:
        return __atomic_compare_exchange_n(word, expected, value, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    case ALPS_FAM_OR:
        return __atomic_fetch_or(word, value, __ATOMIC_SEQ_CST);
    case ALPS_FAM_AND:
        return __atomic_fetch_and(word, value, __ATOMIC_SEQ_CST);
    case ALPS_FAM_ADD:
        return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
    case ALPS_FAM_OPS:
        break;
    }
    return 0;
}

uint64_t fam_hooked(enum alps_fam_op op, fam_word_t *word, uint64_t *expected, uint64_t value)
{
    if (installed == NULL)
        return alps_fam_perform(op, &word->raw, expected, value);
    return installed(installed_context, op, &word->raw, expected, value);
}
