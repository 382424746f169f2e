/* Who is alive: slots of the open instances, their generations and intents. */
#ifndef ALPS_INSTANCE_H
#define ALPS_INSTANCE_H

#include "layout.h"

/* Runs of spans; no two of a set overlap. */
#define INSTANCE_RUNS 128u
struct instance_run {
    uint64_t first, length;
    /* Of those in reserve: */
    uint64_t state;  /* of the first span */
    uint64_t tailed; /* spans from the first on that are its tails with the right distance */
    uint64_t backed; /* spans from the first on that are known to have memory behind all of them */
};
struct instance_runs {
    unsigned count;
    struct instance_run runs[INSTANCE_RUNS];
};

/* What a few threads of an instance know of runs (extent.c), in DRAM. */
#define INSTANCE_SHARDS 16u
struct instance_shard {
    _Alignas(LAYOUT_LINE) uint32_t busy; /* a thread is at work on it */
    uint64_t number;                     /* of the run that came into the reserve last */
    uint64_t claims;                     /* by its threads */
    uint64_t searches;                   /* for runs of which none of them knew */
    uint64_t seen[INSTANCE_SHARDS];      /* what claims was when they last looked at each other */
    uint64_t reserve_spans;
    struct instance_runs reserve;
    struct instance_runs hints; /* that were free when we looked last */
};

/* Intents that a thread has for itself, that of its cache's number; the others are had in turn. */
#define INSTANCE_OWN_INTENTS 12u

/* Something in DRAM that threads change often, by itself in a cache line. */
struct instance_line {
    uint64_t value;
    uint64_t rest[LAYOUT_LINE / 8 - 1];
};

struct instance {
    struct layout layout;
    unsigned slot;
    uint64_t state;            /* of the slot, as long as it is ours */
    uint64_t owner;            /* bits of this instance in state words */
    alps_gen_t number;         /* of the generation that it may begin */
    uint64_t generation_index; /* entry in the table of generations; 0 is permanent */
    alps_gen_t generation;
    uint64_t *touched;             /* DRAM copy of the slot's bitmap; NULL: look there */
    uint64_t beat;                 /* DRAM copy of the slot's heartbeat */
    struct instance_shard *shards; /* DRAM: INSTANCE_SHARDS, or NULL */
    uint64_t spans;                /* that exist, as far as is known, of 8 GiB at most */
    uint64_t parts;                /* that what is for all is cut into, as far as is known */
    uint64_t reserve_max;          /* spans in the reserve of each shard */
    struct instance_line cursor;   /* DRAM: span to look at first for a free one; a hint */
    struct instance_line intents[LAYOUT_INTENT_MAX - INSTANCE_OWN_INTENTS]; /* DRAM: 1: in use */
};

/* Takes a slot and, unless it is to be permanent, a number; what is allocated is permanent until
 * instance_take_generation. The instance's layout is open. -EUSERS: no free slot. */
int instance_join(struct instance *instance, bool permanent);

/* Begins the generation of that number. -ENOSPC: no free entry in the table. */
int instance_take_generation(struct instance *instance);

/* Gives the slot back. empty: no span carries the generation any more. */
void instance_leave(struct instance *instance, bool empty);

/* Makes heir act as the instance of another slot that has died: 1 if it did and the slot is now
 * locked for the caller, 0 if the slot is free or alive, or a negative errno value. The caller puts
 * everything in order and calls instance_leave(heir). */
int instance_inherit(struct instance *heir, const struct layout *layout, unsigned slot);

/* 1: the slot is in use and its instance alive, as far as this kernel can know; 0: dead; negative:
 * error. */
int instance_alive(struct instance *instance, unsigned slot);

/* The first slot whose instance may be alive, here or elsewhere; instance_count: there is none. */
unsigned instance_find_alive(struct instance *instance);

/* Whether no other slot is in use. */
bool instance_is_alone(const struct instance *instance);

/* Takes the instance that has a slot in that state for dead from now on. 0 also if it is dead or
 * gone anyway; -EBUSY if it runs on this kernel and is alive. */
int instance_declare_dead(struct instance *instance, unsigned slot, uint64_t state);

/* Whether somebody else has declared this instance dead: then nothing of the heap is its own any
 * more, and it must change nothing. Reads one line, which changes as its neighbours come and go. */
static inline bool instance_is_lost(const struct instance *instance)
{
    return fam_load_acquire(layout_slot_state(&instance->layout, instance->slot)) !=
           instance->state;
}

/* Whether the slot in that state is that of an instance on a host, of this boot or, for 0, any. */
bool instance_is_of_host(const struct layout_slot *slot, uint64_t state, uint64_t host,
                         uint64_t boot);

/* A sign of life, now and then, for people who look whether an instance of another kernel is
 * still there. */
void instance_beat(struct instance *instance);

/* Seconds since the last one; whether the slot's instance runs on another kernel. */
uint64_t instance_silence(const struct layout_slot *slot);
bool instance_is_remote(const struct layout *layout, unsigned slot);

/* A number for this host and its present boot; never 0. */
uint64_t instance_kernel(void);

/* Notes that this instance is about to claim or own something in a zone; recovery looks only into
 * zones that are noted. */
void instance_touch(struct instance *instance, uint64_t zone);

/* Whether that was done before, as far as is known in DRAM. */
static inline bool instance_has_touched(const struct instance *instance, uint64_t zone)
{
    if (instance->touched == NULL)
        return false;
    uint64_t bits = __atomic_load_n(&instance->touched[zone >> 6], __ATOMIC_RELAXED); /* DRAM: */
    return (bits >> (zone & 63) & 1) != 0;
}

/* An intent line for the calling thread, given back by instance_intent_done. number: of its
 * cache. */
struct layout_intent *instance_intent(struct instance *instance, unsigned number);
void instance_intent_done(struct instance *instance, struct layout_intent *intent);

/* What an intent says. */
enum intent_op { INTENT_NONE = 0, INTENT_MALLOC = 1, INTENT_FREE = 2 };

/* Index of the entry where a generation is looked for first; where it is, or -1. */
unsigned generation_home(const struct layout *layout, alps_gen_t number);
int64_t generation_find(const struct layout *layout, alps_gen_t number);

/* Empties entries of generations that are not open and that no span carries, by in_use, a bitmap of
 * the indices that spans carry, read after the words in before. Returns how many. */
unsigned generation_collect(const struct layout *layout, const uint64_t *before,
                            const uint64_t *in_use);

#endif
