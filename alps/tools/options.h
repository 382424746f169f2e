/* The command line: options, sizes, lists. */
#ifndef ALPS_TOOL_OPTIONS_H
#define ALPS_TOOL_OPTIONS_H

#include <alps/alps.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum option_id {
    OPTION_SIZE,
    OPTION_CAPACITY,
    OPTION_ZONE_SIZE,
    OPTION_MODE,
    OPTION_NODES,
    OPTION_INSTANCES,
    OPTION_DURABLE,
    OPTION_IN_PLACE,
    OPTION_SHARED,
    OPTION_HOST,
    OPTION_HEAP,
    OPTION_GENERATION,
    OPTION_CLOSED,
    OPTION_MIN_SIZE,
    OPTION_LIMIT,
    OPTION_WATCH,
    OPTION_YES,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_COUNT
};

/* A set of options is a sum of these. */
#define OPTION_BIT(id) (1u << (id))

#define NUMBER_LIST_MAX (ALPS_NODE_MAX + 1)

struct number_list {
    unsigned count;
    uint64_t items[NUMBER_LIST_MAX];
};

/* A parsed command line. A value counts only if its option is in given. */
struct arguments {
    const char *command;
    const char *const *files;
    unsigned file_count;
    unsigned given; /* set of options */
    uint64_t size;
    uint64_t capacity;
    uint64_t zone_size;
    uint64_t min_size;
    uint64_t limit;
    uint64_t max_instances;
    unsigned mode;
    int interval; /* milliseconds */
    const char *host;
    const char *heap;
    struct number_list nodes;
    struct number_list generations;
};

static inline bool option_given(const struct arguments *arguments, enum option_id id)
{
    return (arguments->given & OPTION_BIT(id)) != 0;
}

/* Parses argv, whose first entry is the command's name, and takes allowed options only. program:
 * the first argument that is none is a program; what follows is for that. Returns STATUS_OK, or
 * STATUS_USAGE after telling the user what is wrong. */
int arguments_parse(struct arguments *arguments, int argc, char **argv, unsigned allowed,
                    bool program);

/* Prints the options of a set, one a line, for a help text. */
void options_describe(FILE *out, unsigned set);

/* Prints the options of a set in one line, as in " --size SIZE". */
void options_describe_required(FILE *out, unsigned set);

/* "--size" for OPTION_SIZE. */
const char *option_text(enum option_id id);

bool number_list_contains(const struct number_list *list, uint64_t number);

#endif
