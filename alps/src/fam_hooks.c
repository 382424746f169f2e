/* The hooked flavour of fam.h. */
#include <alps/hooks.h>

#include <stddef.h>
#include <sys/stat.h>

#include "base.h"
#include "fam.h"

static alps_fam_hook installed;
static void *installed_context;
static alps_fam_map_hook installed_map;
static void *installed_map_context;

void alps_fam_set_hook(alps_fam_hook hook, void *context)
{
    installed_context = context;
    installed = hook;
}

void alps_fam_set_map_hook(alps_fam_map_hook hook, void *context)
{
    installed_map_context = context;
    installed_map = hook;
}

/* A number for the heap's first byte that all processes of this kernel have alike; others are
 * 16 TiB or more away, but for one in a million. */
static uint64_t position_of(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return 0;
    const uint64_t identity[] = {status.st_dev, status.st_ino};
    return hash_bytes(identity, sizeof identity) << 44;
}

void fam_mapped(const void *base, uint64_t length, int fd)
{
    if (installed_map != NULL)
        installed_map(installed_map_context, base, length, position_of(fd), 1);
}

void fam_unmapped(const void *base, uint64_t length)
{
    if (installed_map != NULL)
        installed_map(installed_map_context, base, length, 0, 0);
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
    case ALPS_FAM_FLUSH:
        fam_write_back(word);
        return 0;
    case ALPS_FAM_FENCE:
        fam_wait();
        return 0;
    case ALPS_FAM_OPS:
        break;
    }
    return 0;
}

uint64_t fam_hooked(enum alps_fam_op op, fam_word_t *word, uint64_t *expected, uint64_t value)
{
    uint64_t *raw = word == NULL ? NULL : &word->raw;
    if (installed == NULL)
        return alps_fam_perform(op, raw, expected, value);
    return installed(installed_context, op, raw, expected, value);
}
