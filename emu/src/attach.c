/* libalps-emu: the heap library with the emulator inside.
 *
 * A program that is linked with libalps and loads this library first (LD_PRELOAD) has every access
 * of the library to shared metadata charged, and the heaps it maps are far memory for its own
 * accesses. Without EMU_MODE in the environment it costs no more than the calls. EMU_POWER names
 * the image of what would survive a power failure, for programs with one heap. */
#include <alps/hooks.h>
#include <emu/emu.h>

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t access_hook(void *context, enum alps_fam_op op, uint64_t *word, uint64_t *expected,
                            uint64_t value)
{
    (void)context;
    switch (op) {
    case ALPS_FAM_LOAD:
        emu_read(word, sizeof *word);
        break;
    case ALPS_FAM_STORE:
        emu_write(word, sizeof *word);
        break;
    case ALPS_FAM_FLUSH:
        emu_flush(word, sizeof *word);
        break;
    case ALPS_FAM_FENCE:
        emu_fence();
        break;
    default:
        emu_atomic(word);
    }
    return alps_fam_perform(op, word, expected, value);
}

static void map_hook(void *context, const void *base, uint64_t length, uint64_t position,
                     int mapped)
{
    (void)context;
    const char *image = getenv("EMU_POWER");
    if (!mapped) {
        emu_remove(base);
        return;
    }
    emu_add(base, length, position); /* with more heaps than ranges, some are near */
    if (image != NULL && emu_power_track(base, length, image) != 0) {
        fprintf(stderr, "emulator: %s\n", emu_error_detail());
        _exit(2);
    }
}

__attribute__((constructor)) static void attach(void)
{
    emu_start_early();
    alps_fam_set_map_hook(map_hook, NULL);
    alps_fam_set_hook(access_hook, NULL);
}
