/* Idea: the drivers are linked with the library that people run, without hooks. To be emulated, a
 * driver starts itself again with libalps-emu before it, which takes the place of that library;
 * the loader finds it where it finds libemu. The emulator itself is started only when the ranks
 * that share memory have found each other, since they share its queues as well. */
#include "emulation.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <emu/emu.h>
#include <emu/topology.h>

#define LIBRARY "libalps-emu.so.0"

struct emulation_options emulation_options;
const char *const emulation_modes[] = {"spin", "virtual", "numa", NULL};

static bool is_wanted(void)
{
    return emulation_options.profile != NULL && emulation_options.mode != EMULATION_NUMA;
}

const char *emulation_check(void)
{
    static char error[BH_ERROR_MAX];
    const char *name = emulation_options.profile;
    struct emu_profile_info info = {0};

    if (name == NULL)
        return emulation_options.mode == EMULATION_VIRTUAL ? "--emu-mode virtual needs --emu"
                                                           : NULL;
    if (emulation_options.mode == EMULATION_NUMA)
        return "--emu-mode numa has the memory of this machine, and takes no --emu";
    if (strchr(name, '/') != NULL) {
        snprintf(error, sizeof error, "--emu %s: %s", name, strerror(ENOENT));
        return access(name, R_OK) == 0 ? NULL : error;
    }
    for (unsigned i = 0; emu_profile_get(i, &info) == 0; i++)
        if (strcmp(info.name, name) == 0)
            return NULL;
    snprintf(error, sizeof error,
             "--emu %s: no such profile; emu-topology --profiles lists them, a file's name has a /",
             name);
    return error;
}

int emulation_load(char **argv, char error[BH_ERROR_MAX])
{
    const char *before = getenv("LD_PRELOAD");
    char libraries[4096];

    if (!is_wanted() || dlsym(RTLD_DEFAULT, "alps_fam_set_hook") != NULL)
        return 0;
    snprintf(error, BH_ERROR_MAX, "--emu needs %s, which the loader does not find", LIBRARY);
    if (before != NULL && strstr(before, LIBRARY) != NULL)
        return -1;
    snprintf(libraries, sizeof libraries, "%s%s%s", LIBRARY, before == NULL ? "" : ":",
             before == NULL ? "" : before);
    setenv("LD_PRELOAD", libraries, 1);
    unsetenv("EMU_MODE"); /* the driver starts the emulator */
    execv("/proc/self/exe", argv);
    snprintf(error, BH_ERROR_MAX, "cannot start with %s: %s", LIBRARY, strerror(errno));
    return -1;
}

const char *emulation_describe(void)
{
    static char text[256];

    if (emulation_options.mode == EMULATION_NUMA)
        return "numa";
    snprintf(text, sizeof text, "%s %s", emulation_modes[emulation_options.mode],
             emulation_options.profile);
    return is_wanted() ? text : "off";
}

int emulation_start(int share_fd, unsigned host, unsigned hosts)
{
    char share[32], number[12], count[12];

    if (!is_wanted())
        return 0;
    snprintf(share, sizeof share, "/proc/self/fd/%d", share_fd);
    const struct emu_options options = {
        .struct_size = sizeof options,
        .mode = emulation_options.mode == EMULATION_VIRTUAL ? EMU_VIRTUAL : EMU_SPIN,
        .profile = emulation_options.profile,
        .share = share,
        .host = host,
        .hosts = hosts,
    };
    int error = emu_start(&options);
    if (error != 0)
        return error;
    snprintf(number, sizeof number, "%u", host);
    snprintf(count, sizeof count, "%u", hosts);
    setenv("EMU_MODE", emulation_modes[emulation_options.mode], 1);
    setenv("EMU_PROFILE", emulation_options.profile, 1);
    setenv("EMU_HOST", number, 1);
    setenv("EMU_HOSTS", count, 1);
    snprintf(share, sizeof share, "/proc/self/fd/%d", EMULATION_FD);
    setenv("EMU_SHARE", share, 1);
    return 0;
}

void emulation_stop(void)
{
    if (is_wanted())
        emu_stop();
}

int emulation_settle_nodes(bh_list_t *nodes, char error[BH_ERROR_MAX])
{
    struct emu_topology *topology;
    struct emu_plan plan;
    struct bitmask *mask;

    if (emulation_options.mode != EMULATION_NUMA)
        return 0;
    if (emu_topology_read(NULL, &topology) != 0) {
        snprintf(error, BH_ERROR_MAX, "%s", emu_error_detail());
        return -1;
    }
    int planned = emu_plan_make(topology, NULL, &plan);
    emu_topology_free(topology);
    if (planned != 0 || !plan.remote) {
        snprintf(error, BH_ERROR_MAX, "--emu-mode numa: no node can play far memory (%s)",
                 planned != 0 ? emu_error_detail() : plan.why);
        return -1;
    }
    if (nodes->count == 0)
        for (unsigned i = 0; i < plan.far_count && i < BH_LIST_MAX; i++)
            nodes->items[nodes->count++] = (uint64_t)plan.far[i];
    mask = numa_allocate_nodemask();
    for (unsigned i = 0; i < plan.compute_count; i++)
        numa_bitmask_setbit(mask, (unsigned)plan.compute[i]);
    int bound = numa_run_on_node_mask(mask);
    numa_free_nodemask(mask);
    if (bound != 0)
        snprintf(error, BH_ERROR_MAX, "cannot run on the nodes that compute: %s", strerror(errno));
    return bound;
}
