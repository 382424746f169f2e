/* Recorded calls of a program: doc/trace.md has the format. */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "harness/options.h"
#include "workload.h"

struct trace {
    struct trace_operation *operations; /* NULL: none was read */
    uint64_t count;
    uint32_t slots; /* that they need */
};

/* Reads a file into a trace of zeros, to be given back by trace_free. What the program has not
 * freed is freed at the end. 0, or -1 and what is wrong. */
int trace_read(const char *path, struct trace *trace, char error[BH_ERROR_MAX]);
void trace_free(struct trace *trace);

#endif
