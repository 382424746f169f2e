/* What the programs share that measure ALPS alone: processes that have a heap open, and rounds. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <alps/alps.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "harness/record.h"
#include "harness/stats.h"

enum { EXIT_PASS, EXIT_FAIL, EXIT_USAGE };
#define GIB ((uint64_t)1 << 30)
#define ROUNDS_MAX 1000u

/* Says what went wrong; -1. */
int fail(const char *what, int error);

/* Starts a process that dies with this one; 0 in the child. */
pid_t start(void);

/* Starts a process that opens the heap and allocates blocks, and waits until it has them. It keeps
 * the heap open until it is killed. -1 if that fails. */
pid_t start_owner(const char *path, uint64_t blocks, size_t block_size, alps_gen_t *generation);
void kill_owner(pid_t owner);

/* Statistics of a field, a double, of each of count structs of that size. */
bh_stats_t stats_of(const void *structs, uint64_t count, size_t size, size_t offset);

/* Closes the results and prints the last line; the exit status. A result of 0 is good. */
int finish(bh_writer_t *writer, int result);

#endif
