/* Sizes as people write them. */
#ifndef ALPS_TOOL_SIZE_H
#define ALPS_TOOL_SIZE_H

#include <stdint.h>

/* These return NULL, or what is wrong with the text. */

/* Digits at the start of a text, which is moved behind them. */
const char *parse_digits(const char **text, uint64_t *value);

/* Bytes, with K, M, G, T, P or E behind the number. */
const char *parse_size(const char *text, uint64_t *value);
const char *parse_positive_size(const char *text, uint64_t *value);

#endif
