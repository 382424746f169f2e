/* Word i of a pattern is key + i * STEP: one addition a word, and as STEP is odd, no two words of a
 * pattern are alike. Keys are hashes, so patterns have nothing to do with each other. */
#include "harness/pattern.h"

#include <string.h>

#include "harness/random.h"

#define WORD sizeof(uint64_t)
#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t pattern_key(uint64_t seed, uint64_t owner, uint64_t serial)
{
    return bh_mix64(bh_mix64(bh_mix64(seed + STEP) + owner) + serial);
}

/* Offset of the first byte in which a and b differ, size if none does. */
static size_t first_difference(const unsigned char *a, const void *b, size_t size)
{
    const unsigned char *other = b;
    size_t i = 0;

    while (i < size && a[i] == other[i])
        i++;
    return i;
}

void bh_pattern_fill(void *buffer, size_t size, uint64_t seed, uint64_t owner, uint64_t serial)
{
    unsigned char *bytes = buffer;
    uint64_t word = pattern_key(seed, owner, serial);
    size_t i;

    for (i = 0; size - i >= WORD; i += WORD, word += STEP)
        memcpy(bytes + i, &word, WORD);
    memcpy(bytes + i, &word, size - i);
}

size_t bh_pattern_verify(const void *buffer, size_t size, uint64_t seed, uint64_t owner,
                         uint64_t serial)
{
    const unsigned char *bytes = buffer;
    uint64_t word = pattern_key(seed, owner, serial);
    size_t i;

    for (i = 0; size - i >= WORD; i += WORD, word += STEP) {
        if (memcmp(bytes + i, &word, WORD) != 0)
            return i + first_difference(bytes + i, &word, WORD);
    }
    size_t same = first_difference(bytes + i, &word, size - i);
    return same == size - i ? BH_PATTERN_OK : i + same;
}
