/* Contents that tell whose they are: every byte follows from (seed, owner, serial) and its offset.
 * A block that is overwritten, moved, mixed up with another or stale does not verify. */
#ifndef BH_PATTERN_H
#define BH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#define BH_PATTERN_OK SIZE_MAX

/* Writes size bytes. Any size, any alignment. */
void bh_pattern_fill(void *buffer, size_t size, uint64_t seed, uint64_t owner, uint64_t serial);

/* Reads them all: BH_PATTERN_OK, or the offset of the first byte that is wrong. */
size_t bh_pattern_verify(const void *buffer, size_t size, uint64_t seed, uint64_t owner,
                         uint64_t serial);

#endif
