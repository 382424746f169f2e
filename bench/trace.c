/* The file numbers blocks in the order of their allocation; here they get slots, and those that are
 * free again are used first, so that a trace needs as many as it has blocks at a time. */
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_SLOT UINT32_MAX
#define SIZE_MAX_TRACED (UINT32_MAX - 1)

struct reader {
    const char *path;
    unsigned long line;
    char *error;
    struct trace *trace;
    size_t room;     /* of the operations */
    uint32_t *slots; /* of each block; NO_SLOT: it was freed */
    uint64_t blocks; /* so far */
    size_t blocks_room;
    uint32_t *free_slots;
    size_t free_count, free_room;
};

static int refuse(struct reader *r, const char *what)
{
    snprintf(r->error, BH_ERROR_MAX, "%s:%lu: %s", r->path, r->line, what);
    return -1;
}

/* Makes room for one more of the items. 0, or -1. */
static int reserve(struct reader *r, void *items, size_t size, size_t used, size_t *room)
{
    void *old, *bigger;

    if (used < *room)
        return 0;
    memcpy(&old, items, sizeof old);
    const size_t wanted = *room == 0 ? 1024 : *room * 2;
    bigger = realloc(old, wanted * size);
    if (bigger == NULL)
        return refuse(r, "no memory");
    memcpy(items, &bigger, sizeof bigger);
    *room = wanted;
    return 0;
}

static int append(struct reader *r, uint32_t slot, uint32_t size)
{
    struct trace *trace = r->trace;

    if (reserve(r, &trace->operations, sizeof *trace->operations, trace->count, &r->room) != 0)
        return -1;
    trace->operations[trace->count++] = (struct trace_operation){.slot = slot, .size = size};
    return 0;
}

static int add_malloc(struct reader *r, uint64_t size)
{
    if (size > SIZE_MAX_TRACED)
        return refuse(r, "the block is too large");
    if (reserve(r, &r->slots, sizeof *r->slots, r->blocks, &r->blocks_room) != 0)
        return -1;
    const uint32_t slot = r->free_count > 0 ? r->free_slots[--r->free_count] : r->trace->slots++;
    r->slots[r->blocks++] = slot;
    return append(r, slot, size == 0 ? 1 : (uint32_t)size);
}

static int add_free(struct reader *r, uint64_t block)
{
    if (block >= r->blocks)
        return refuse(r, "there is no such block yet");
    if (r->slots[block] == NO_SLOT)
        return refuse(r, "the block was freed before");
    if (reserve(r, &r->free_slots, sizeof *r->free_slots, r->free_count, &r->free_room) != 0)
        return -1;
    const uint32_t slot = r->slots[block];
    r->free_slots[r->free_count++] = slot;
    r->slots[block] = NO_SLOT;
    return append(r, slot, 0);
}

/* Numbers after the first character: as many as there are, at most two; -1 if it is something else.
 */
static int numbers(const char *text, uint64_t values[2])
{
    int count = 0;

    while (*text == ' ')
        text++;
    while (*text != '\0') {
        char *end;
        errno = 0;
        if (count == 2 || *text < '0' || *text > '9')
            return -1;
        values[count++] = strtoull(text, &end, 10);
        if (errno != 0 || (*end != ' ' && *end != '\0'))
            return -1;
        for (text = end; *text == ' '; text++)
            ;
    }
    return count;
}

static int read_line(struct reader *r, const char *line)
{
    uint64_t values[2];
    const int count = line[0] == '\0' || line[0] == '#' ? 0 : numbers(line + 1, values);

    switch (line[0]) {
    case '\0':
    case '#':
        return 0;
    case '+':
        return count == 1 ? add_malloc(r, values[0]) : refuse(r, "+ SIZE is wanted");
    case '-':
        return count == 1 ? add_free(r, values[0]) : refuse(r, "- BLOCK is wanted");
    case '=': /* as realloc does if it cannot stay in place */
        if (count != 2)
            return refuse(r, "= BLOCK SIZE is wanted");
        return add_malloc(r, values[1]) != 0 ? -1 : add_free(r, values[0]);
    default:
        return refuse(r, "a line begins with +, -, = or #");
    }
}

static int read_lines(struct reader *r, FILE *file)
{
    char line[128];

    while (fgets(line, sizeof line, file) != NULL) {
        r->line++;
        char *end = strchr(line, '\n');
        if (end == NULL && !feof(file) && line[0] != '#')
            return refuse(r, "the line is too long");
        if (end != NULL)
            *end = '\0';
        for (int c = end == NULL ? ' ' : '\n'; c != '\n' && c != EOF;)
            c = getc(file); /* the rest of a comment */
        if (read_line(r, line) != 0)
            return -1;
    }
    if (ferror(file))
        return refuse(r, strerror(errno));
    for (uint64_t block = 0; block < r->blocks; block++) {
        if (r->slots[block] != NO_SLOT && add_free(r, block) != 0)
            return -1;
    }
    return r->blocks == 0 ? refuse(r, "no blocks in it") : 0;
}

int trace_read(const char *path, struct trace *trace, char error[BH_ERROR_MAX])
{
    struct reader r = {.path = path, .error = error, .trace = trace};
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        snprintf(error, BH_ERROR_MAX, "%s: %s", path, strerror(errno));
        return -1;
    }
    const int result = read_lines(&r, file);
    fclose(file);
    free(r.slots);
    free(r.free_slots);
    if (result != 0)
        trace_free(trace);
    return result;
}

void trace_free(struct trace *trace)
{
    free(trace->operations);
    *trace = (struct trace){.operations = NULL};
}
