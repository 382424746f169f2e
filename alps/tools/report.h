/* What the tool says: exit codes, messages of errors, readable values, the state of stdout. */
#ifndef ALPS_TOOL_REPORT_H
#define ALPS_TOOL_REPORT_H

#include "options.h"

#include <stdbool.h>
#include <stdint.h>

/* Exit codes, as `alps --help` documents them. */
enum status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_DAMAGED = 3,
    STATUS_BUSY = 4,
};

/* Says on stderr what is wrong with the command line; command may be NULL. Returns STATUS_USAGE. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* alps_error_detail without the name of the first file, which every message begins with anyway. */
const char *message_detail(const struct arguments *arguments);

/* Says on stderr what the library refused, why, and what to do (hint, or NULL for the usual one).
 * code is the library's, negative or positive. Returns the exit code for it. */
int library_error(const struct arguments *arguments, int code, const char *hint);

/* Says on stderr that a call other than the library's failed. Returns STATUS_FAILED. */
int system_error(const struct arguments *arguments, const char *what, int code);

#define BYTES_TEXT_MAX 64

/* "1.5 MiB" */
const char *bytes_text(char text[BYTES_TEXT_MAX], uint64_t bytes);

/* "1.5 MiB (1572864 bytes)" */
const char *exact_bytes_text(char text[BYTES_TEXT_MAX], uint64_t bytes);

/* "permanent", or the number. */
const char *generation_text(char text[BYTES_TEXT_MAX], alps_gen_t generation);

#define HOST_TEXT_MAX 17

/* The number of a host, or of its boot, in 16 digits. */
const char *host_text(char text[HOST_TEXT_MAX], uint64_t number);

/* Prints text with its control characters as \xNN: a name must not steer the terminal. */
void print_safely(const char *text);

/* Whether writing to stdout has failed. */
bool output_failed(void);

/* Flushes stdout; false if it failed. */
bool output_flush(void);

/* After a failure that is the normal end of endless output, as the reader left or a signal came:
 * forgets the failure and what was not written. Other failures stay. */
void output_abandon(void);

/* The end of stdout: status, or if it was STATUS_OK and not everything could be written, what
 * that means. A reader who left early needs no message. command may be NULL. */
int output_finish(const char *command, int status);

#endif
