/* Error codes with a text per thread that says what exactly was wrong. Slow paths only. */
#ifndef ALPS_ERROR_H
#define ALPS_ERROR_H

/* Sets the calling thread's detail and returns -code, so that a caller can write
 * `return error_set(EINVAL, "...", ...)`. code is a positive errno value. */
int error_set(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* For a failed system call: detail "format: strerror(code)". */
int error_system(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* The calling thread's detail; "" if none was set. */
const char *error_detail(void);

#endif
