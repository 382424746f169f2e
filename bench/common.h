/* What the programs share that measure ALPS alone: processes that have a heap open, and rounds. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <alps/alps.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "harness/options.h"
#include "harness/record.h"
#include "harness/stats.h"

enum { EXIT_PASS, EXIT_FAIL, EXIT_USAGE };
#define GIB ((uint64_t)1 << 30)
#define ROUNDS_MAX 1000u

/* The options that all of them have: the last ones of the list of each. */
extern struct common {
    const char *heap, *json, *csv;
    bool help;
} common;
#define COMMON_OPTIONS                                                                             \
    {.name = "heap",                                                                               \
     .kind = BH_OPTION_TEXT,                                                                       \
     .value = &common.heap,                                                                        \
     .argument = "FILE",                                                                           \
     .help = "the heap's file; must not exist (default in /dev/shm)"},                             \
        {.name = "json",                                                                           \
         .kind = BH_OPTION_TEXT,                                                                   \
         .value = &common.json,                                                                    \
         .argument = "FILE",                                                                       \
         .help = "write results as JSON lines, - for standard output"},                            \
        {.name = "csv",                                                                            \
         .kind = BH_OPTION_TEXT,                                                                   \
         .value = &common.csv,                                                                     \
         .argument = "FILE",                                                                       \
         .help = "write results as CSV, - for standard output"},                                   \
        {.name = "help",                                                                           \
         .letter = 'h',                                                                            \
         .kind = BH_OPTION_FLAG,                                                                   \
         .value = &common.help,                                                                    \
         .help = "print this help"},                                                               \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* A program by its name; usage stands before the options in its help, statuses after them. */
struct program {
    const char *name, *usage, *statuses;
    const bh_option_t *options;
};

/* Parses the command line. False if that was all: *status is the exit status then. */
bool common_parse(const struct program *program, int argc, char **argv, int *status);

/* Opens the results; says why if that fails, and returns false. */
bool common_open(const struct program *program, bh_writer_t *writer);

/* The heap's path: that of --heap, or a name of our own. */
const char *common_path(const struct program *program);

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
