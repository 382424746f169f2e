/* alps run: starts a program with libalps-malloc.so. */
#include "commands.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libalps-malloc.so"

/* As of env, nohup and shells. */
#define STATUS_NO_START 125
#define STATUS_CANNOT_RUN 126
#define STATUS_NOT_FOUND 127

static int say(const char *what, const char *why, int status)
{
    fprintf(stderr, "alps: run: %s: %s\n", what, why);
    return status;
}

/* Finds the library where the tool was built, or installed, wherever that is now. */
static bool find_library(char found[PATH_MAX])
{
    static const char *const places[] = {ALPS_RUN_PLACES};
    char self[PATH_MAX], path[2 * PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    self[length < 0 ? 0 : length] = '\0';
    char *name = strrchr(self, '/');
    if (name == NULL)
        return false;
    *name = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%s/%s/" LIBRARY, self, places[i]);
        if (realpath(path, found) != NULL)
            return true;
    }
    return false;
}

static void set(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        exit(say(name, strerror(errno), STATUS_NO_START));
}

/* The library comes before what is to be loaded first anyway. */
static void set_preload(const char *library)
{
    const char *before = getenv("LD_PRELOAD");
    const size_t bytes = strlen(library) + 2 + (before == NULL ? 0 : strlen(before));
    char *list = malloc(bytes);

    if (list == NULL)
        exit(say("LD_PRELOAD", strerror(ENOMEM), STATUS_NO_START));
    const bool more = before != NULL && *before != '\0';
    snprintf(list, bytes, "%s%s%s", library, more ? ":" : "", more ? before : "");
    set("LD_PRELOAD", list);
    free(list);
}

int command_run(const struct arguments *a)
{
    char library[PATH_MAX], size[24];

    if (!find_library(library))
        return say(LIBRARY, "is neither where the tool was built nor where it was installed",
                   STATUS_NO_START);
    if (strpbrk(library, " :") != NULL)
        return say(library, "LD_PRELOAD takes no path with a blank or a colon", STATUS_NO_START);
    set_preload(library);
    if (option_given(a, OPTION_HEAP))
        set("ALPS_MALLOC_HEAP", a->heap);
    snprintf(size, sizeof size, "%" PRIu64, a->size);
    if (option_given(a, OPTION_SIZE))
        set("ALPS_MALLOC_SIZE", size);
    execvp(a->files[0], (char *const *)(uintptr_t)a->files);
    return say(a->files[0], strerror(errno),
               errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN);
}
