/* Boost.Interprocess for C. */
#ifndef BENCH_BOOST_H
#define BENCH_BOOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* NULL, or what is wrong; the text is good until the next call. */
const char *boost_create(const char *path, uint64_t bytes);
const char *boost_open(const char *path);
const char *boost_check(void);
void boost_close(void);

/* Blocks are named by their distance from the start of the mapping; 0: no memory. */
uint64_t boost_malloc(size_t size);
void *boost_address(uint64_t block);
void boost_free(uint64_t block);

const char *boost_version(void);

#ifdef __cplusplus
}
#endif

#endif
