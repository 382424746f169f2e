/* What survives a power failure: the emulator's side of emu_power_track. */
#ifndef EMU_POWER_H
#define EMU_POWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lines that a thread has flushed and not fenced yet. */
struct power_pending {
    unsigned count, room;
    struct power_line {
        uint64_t line, sequence;
        unsigned char bytes[64];
    } * lines;
};

int power_track(const void *address, uint64_t length, const char *path);
bool power_is_tracked(void);
void power_flush(struct power_pending *pending, const char *address, size_t length);
void power_fence(struct power_pending *pending);
void power_stop(void);

#endif
