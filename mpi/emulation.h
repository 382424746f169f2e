/* Far memory that is not there: the options --emu and --emu-mode of the drivers. */
#ifndef MPI_EMULATION_H
#define MPI_EMULATION_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/options.h"

enum { EMULATION_SPIN, EMULATION_VIRTUAL, EMULATION_NUMA };

struct emulation_options {
    const char *profile; /* NULL: no emulation, unless the mode is numa */
    unsigned mode;
};
extern struct emulation_options emulation_options;
extern const char *const emulation_modes[];

/* NULL, or what is wrong with the options. */
const char *emulation_check(void);

/* Before MPI_Init: emu_launch, if there is something to emulate. */
const char *emulation_load(char **argv);

/* What is emulated, in a few words; "off". The text is valid until the next call. */
const char *emulation_describe(void);

#define EMULATION_FD 5 /* where programs that a rank starts must have the share_fd below */

/* Starts the emulator on host number host of hosts, for this process and the programs that it
 * starts. share_fd is the file of those that share the memory. Nothing if there is nothing to
 * emulate. 0, or what emu_start returns. */
int emulation_start(int share_fd, unsigned host, unsigned hosts);
void emulation_stop(void);

/* In the mode numa: binds the process to the nodes that compute; nodes that are not given become
 * those that play far memory. 0, or -1 and a text. */
int emulation_settle_nodes(bh_list_t *nodes, char error[BH_ERROR_MAX]);

#endif
