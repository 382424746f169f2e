/* Idea: a program whose first library is libalps-emu is emulated, and the loader finds that library
 * where it finds libemu; so the program is executed again with LD_PRELOAD. */
#include <emu/launch.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <emu/emu.h>

#define LIBRARY "libalps-emu.so.0"

const char *emu_launch_check(const char *profile)
{
    static char problem[512];
    struct emu_profile_info info = {0};

    if (strchr(profile, '/') != NULL) {
        if (access(profile, R_OK) == 0)
            return NULL;
        snprintf(problem, sizeof problem, "--emu %s: %s", profile, strerror(errno));
        return problem;
    }
    for (unsigned i = 0; emu_profile_get(i, &info) == 0; i++)
        if (strcmp(info.name, profile) == 0)
            return NULL;
    snprintf(problem, sizeof problem,
             "--emu %s: no such profile; emu-topology --profiles lists them, a file's name has a /",
             profile);
    return problem;
}

const char *emu_launch(char **argv)
{
    static char problem[128];
    const char *before = getenv("LD_PRELOAD");
    char libraries[4096];

    if (dlsym(RTLD_DEFAULT, "alps_fam_set_hook") != NULL)
        return NULL;
    if (before != NULL && strstr(before, LIBRARY) != NULL)
        return "--emu needs " LIBRARY ", which the loader does not find";
    snprintf(libraries, sizeof libraries, "%s%s%s", LIBRARY, before == NULL ? "" : ":",
             before == NULL ? "" : before);
    setenv("LD_PRELOAD", libraries, 1);
    unsetenv("EMU_MODE"); /* the program starts the emulator */
    execv("/proc/self/exe", argv);
    snprintf(problem, sizeof problem, "cannot start with %s: %s", LIBRARY, strerror(errno));
    return problem;
}
