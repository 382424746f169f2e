/* A writer of JSON, one value after the other, straight to a stream. The caller opens and closes
 * in the right order; commas and escapes are the writer's. key is NULL inside an array. */
#ifndef ALPS_TOOL_JSON_H
#define ALPS_TOOL_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    bool comma; /* a value precedes on this level */
};

void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
void json_end_line(struct json *json); /* after the outermost close: the next object's line */

/* Bytes that are not UTF-8 become U+FFFD: file names and roots may hold anything, JSON may not. */
void json_string(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);

#endif
