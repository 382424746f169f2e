#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int code;
    const char *hint;
} hints[] = {
    {EACCES, "see the permissions of the file and of its directory"},
    {EBUSY, "`alps info` lists who has it open; try again when they have closed it"},
    {EEXIST, "choose another name, or remove that heap with `alps destroy`"},
    {EFBIG, "raise the limit of the address space, see ulimit -v"},
    {EMEDIUMTYPE, "heaps are made by `alps create`"},
    {ENOENT, "see the name, or make a heap with `alps create`"},
    {EPROTONOSUPPORT, "use the version of alps that made it"},
    {EUCLEAN, "`alps format` can empty it if its header is sound; its blocks are lost then"},
    {EUSERS, "try again when a process has closed it; `alps create --instances` sets how many may"},
};

static const char *find_hint(int code)
{
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (hints[i].code == code)
            return hints[i].hint;
    }
    return NULL;
}

static int status_of(int code)
{
    switch (code) {
    case EINVAL:
        return STATUS_USAGE;
    case EUCLEAN:
        return STATUS_DAMAGED;
    case EBUSY:
    case EUSERS:
        return STATUS_BUSY;
    default:
        return STATUS_FAILED;
    }
}

int usage_error(const char *command, const char *format, ...)
{
    va_list values;

    fputs("alps: ", stderr);
    if (command != NULL)
        fprintf(stderr, "%s: ", command);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    if (command != NULL)
        fprintf(stderr, " (see `alps help %s`)\n", command);
    else
        fputs(" (see `alps --help`)\n", stderr);
    return STATUS_USAGE;
}

const char *message_detail(const struct arguments *arguments)
{
    const char *file = arguments->files[0];
    const char *detail = alps_error_detail();
    size_t length = strlen(file);

    if (strncmp(detail, file, length) == 0 && strncmp(detail + length, ": ", 2) == 0)
        detail += length + 2;
    return detail;
}

int library_error(const struct arguments *arguments, int code, const char *hint)
{
    const char *detail = message_detail(arguments);

    code = abs(code);
    if (hint == NULL)
        hint = find_hint(code);
    fprintf(stderr, "alps: %s: %s: %s", arguments->command, arguments->files[0],
            alps_strerror(code));
    if (*detail != '\0')
        fprintf(stderr, ": %s", detail);
    if (hint != NULL)
        fprintf(stderr, " (%s)", hint);
    fputc('\n', stderr);
    return status_of(code);
}

int system_error(const struct arguments *arguments, const char *what, int code)
{
    fprintf(stderr, "alps: %s: %s: %s\n", arguments->command, what, strerror(code));
    return STATUS_FAILED;
}

const char *bytes_text(char text[BYTES_TEXT_MAX], uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    int unit = -1;
    uint64_t tenths;

    if (bytes < 1024) {
        snprintf(text, BYTES_TEXT_MAX, "%" PRIu64 " B", bytes);
        return text;
    }
    /* Rounded from the exact value at each step, so that 1023.96 KiB comes out as 1.0 MiB. */
    do {
        unit++;
        uint64_t scale = UINT64_C(1) << (10 * (unit + 1));
        uint64_t rest = bytes % scale;
        tenths = bytes / scale * 10 + (rest / (scale / 1024) * 10 + 512) / 1024;
    } while (tenths >= 10240);
    if (bytes % (UINT64_C(1) << (10 * (unit + 1))) == 0)
        snprintf(text, BYTES_TEXT_MAX, "%" PRIu64 " %ciB", tenths / 10, units[unit]);
    else
        snprintf(text, BYTES_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " %ciB", tenths / 10, tenths % 10,
                 units[unit]);
    return text;
}

const char *exact_bytes_text(char text[BYTES_TEXT_MAX], uint64_t bytes)
{
    bytes_text(text, bytes);
    if (bytes >= 1024) {
        size_t length = strlen(text);
        snprintf(text + length, BYTES_TEXT_MAX - length, " (%" PRIu64 " bytes)", bytes);
    }
    return text;
}

const char *generation_text(char text[BYTES_TEXT_MAX], alps_gen_t generation)
{
    if (generation == ALPS_PERMANENT)
        snprintf(text, BYTES_TEXT_MAX, "permanent");
    else
        snprintf(text, BYTES_TEXT_MAX, "%" PRIu64, generation);
    return text;
}

const char *host_text(char text[HOST_TEXT_MAX], uint64_t number)
{
    snprintf(text, HOST_TEXT_MAX, "%016" PRIx64, number);
    return text;
}

void print_safely(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f || c == '\\')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

/* errno of the first failure of stdout. */
static int output_error;

bool output_failed(void)
{
    if (output_error == 0 && ferror(stdout))
        output_error = errno;
    return output_error != 0;
}

bool output_flush(void)
{
    if (output_error == 0 && fflush(stdout) != 0)
        output_error = errno;
    return !output_failed();
}

void output_abandon(void)
{
    if (output_error == EPIPE || output_error == EINTR) {
        __fpurge(stdout);
        clearerr(stdout);
        output_error = 0;
    }
}

int output_finish(const char *command, int status)
{
    if (output_flush())
        return status;
    if (output_error != EPIPE)
        fprintf(stderr, "alps: %s%sstandard output: %s\n", command == NULL ? "" : command,
                command == NULL ? "" : ": ", strerror(output_error));
    return status == STATUS_OK ? STATUS_FAILED : status;
}
