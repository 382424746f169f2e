#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <emu/emu.h>

static _Thread_local char detail[512];

int emu_fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    return -code;
}

int emu_fail_system(int code, const char *format, ...)
{
    char reason[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    size_t length = strlen(detail);
    snprintf(detail + length, sizeof detail - length, ": %s",
             strerror_r(code, reason, sizeof reason));
    return -code;
}

const char *emu_error_detail(void)
{
    return detail;
}
