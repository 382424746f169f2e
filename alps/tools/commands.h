/* The commands. Each gets a parsed command line with at least one file and returns an exit code. */
#ifndef ALPS_TOOL_COMMANDS_H
#define ALPS_TOOL_COMMANDS_H

#include "json.h"
#include "options.h"

#include <alps/alps.h>

/* commands.c: those that change a heap */
int command_create(const struct arguments *arguments);
int command_grow(const struct arguments *arguments);
int command_trim(const struct arguments *arguments);
int command_recover(const struct arguments *arguments);
int command_bulk_free(const struct arguments *arguments);
int command_commit(const struct arguments *arguments);
int command_declare_dead(const struct arguments *arguments);
int command_format(const struct arguments *arguments);
int command_destroy(const struct arguments *arguments);

/* inspect.c: those that look at it */
int command_info(const struct arguments *arguments);
int command_stat(const struct arguments *arguments);
int command_check(const struct arguments *arguments);
int command_roots(const struct arguments *arguments);
int command_nodes(const struct arguments *arguments);
int command_run(const struct arguments *arguments);  /* run.c: the files are a program */
int command_walk(const struct arguments *arguments); /* walk.c */

/* Opens the heap with ALPS_OPEN_ flags, has action work on it, and closes it. Returns an exit
 * code: action's, unless opening or closing failed. */
typedef int heap_action(const struct arguments *arguments, alps_heap_t *heap, void *context);
int with_heap(const struct arguments *arguments, unsigned flags, heap_action *action,
              void *context);

/* Fills stats; returns an exit code. */
int read_stats(const struct arguments *arguments, alps_heap_t *heap, struct alps_stats *stats);

/* Begins a line of JSON for stdout: an object, and in it the files; report_close ends it. */
struct json report_open(const struct arguments *arguments);
void report_close(struct json *json);

#endif
