/* Idea: the drivers are linked with the library that people run, and start themselves again with
 * libalps-emu to be emulated. The emulator itself is started only when the ranks that share memory
 * have found each other, since they share its queues as well. */
#include "emulation.h"

#include <errno.h>
#include <inttypes.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <emu/emu.h>
#include <emu/launch.h>
#include <emu/topology.h>

struct emulation_options emulation_options;
const char *const emulation_modes[] = {"spin", "virtual", "numa", NULL};

static bool is_wanted(void)
{
    return emulation_options.profile != NULL && emulation_options.mode != EMULATION_NUMA;
}

const char *emulation_check(void)
{
    const char *profile = emulation_options.profile;

    if (profile == NULL)
        return emulation_options.mode == EMULATION_VIRTUAL ? "--emu-mode virtual needs --emu"
                                                           : NULL;
    if (emulation_options.mode == EMULATION_NUMA)
        return "--emu-mode numa has the memory of this machine, and takes no --emu";
    return emu_launch_check(profile);
}

const char *emulation_load(char **argv)
{
    return is_wanted() ? emu_launch(argv) : NULL;
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
