/* Links and memory devices as servers with a rate, shared by all processes of an emulated machine,
 * and the lines of memory that processors hold. */
#ifndef EMU_MODEL_H
#define EMU_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "profile.h"

#define LINE 64

struct model;

/* Opens the shared state in a file, made if it is not there, or for NULL in memory that only
 * processes forked later share. window_ps, below 268 us, is the time over which bandwidth is
 * accounted. All processes must have the same profile: -EINVAL otherwise. hosts: how many the state
 * has room for. Until model_opened, other processes that open the same file wait: for the notes. */
int model_open(struct model **model, const struct profile *profile, const char *path,
               unsigned hosts, uint64_t window_ps);
void model_opened(struct model *model);
void model_close(struct model *model);

/* Memory device that holds a position, and how many bytes from there on. */
unsigned model_device(const struct model *model, uint64_t position, uint64_t *rest);

/* What one transfer comes to. */
struct model_cost {
    uint64_t latency_ps; /* of one access, as loaded as the device is now */
    uint64_t service_ps; /* in which the narrowest part of the path moves the bytes */
    uint64_t queue_ps;   /* until its turn came */
};

/* Takes a transfer's share of the path between a host and a device at the time now. outward: the
 * bytes go to the device. */
struct model_cost model_transfer(struct model *model, unsigned host, unsigned device,
                                 enum emu_access access, bool outward, uint64_t bytes,
                                 uint64_t now_ps);

/* The lines that processors hold: who wrote a line last, and how often it changed hands. A copy in
 * a processor's cache is good while the stamp is the one it was fetched with. agent is not 0. */
uint64_t model_stamp(struct model *model, uint64_t line);
uint64_t model_fetch(struct model *model, uint64_t line, unsigned agent);
uint64_t model_own(struct model *model, uint64_t line, unsigned agent, bool *had_it);

/* A number that no other thread of the emulated machine has. */
unsigned model_new_agent(struct model *model);

/* A device that is gone stays so until it is put back. */
int model_lose(struct model *model, unsigned device, bool lost);
bool model_is_lost(const struct model *model, unsigned device);
bool model_any_lost(const struct model *model);

/* Measurements that the first process made for all: 0 if there is none yet. */
double model_note(const struct model *model, unsigned index);
void model_set_note(struct model *model, unsigned index, double value);
#define MODEL_NOTES 16

#endif
