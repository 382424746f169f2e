#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char detail[512];

int error_set(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    return -code;
}

int error_system(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);

    char reason[128];
    size_t length = strlen(detail);
    snprintf(detail + length, sizeof detail - length, ": %s",
             strerror_r(code, reason, sizeof reason));
    return -code;
}

const char *error_detail(void)
{
    return detail;
}
