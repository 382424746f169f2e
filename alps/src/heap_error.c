/* Texts for people. */
#include <alps/alps.h>

#include <errno.h>
#include <string.h>

#include "error.h"

const char *alps_strerror(int error)
{
    switch (error < 0 ? -error : error) {
    case 0:
        return "success";
    case EINVAL:
        return "invalid argument";
    case EALREADY:
        return "the block has been freed already";
    case ENOMEM:
        return "out of memory";
    case EMEDIUMTYPE:
        return "not an ALPS heap";
    case EPROTONOSUPPORT:
        return "a heap of a layout this library cannot use";
    case EUCLEAN:
        return "the heap is damaged";
    case EFBIG:
        return "the heap is larger than this process can map";
    case EBUSY:
        return "in use";
    case EUSERS:
        return "all instance slots are in use";
    case ENOSPC:
        return "a table of the heap is full";
    case ENOENT:
        return "no such file, generation or root";
    case EROFS:
        return "the heap was opened read-only";
    case ESTALE:
        return "this opening of the heap was declared dead";
    case ECHILD:
        return "the handle belongs to the parent process";
    default: {
        static _Thread_local char text[128];
        return strerror_r(error < 0 ? -error : error, text, sizeof text);
    }
    }
}

const char *alps_error_detail(void)
{
    return error_detail();
}

#define STRING(x) #x
#define VERSION(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)

const char *alps_version(void)
{
    return VERSION(ALPS_VERSION_MAJOR, ALPS_VERSION_MINOR, ALPS_VERSION_PATCH);
}
