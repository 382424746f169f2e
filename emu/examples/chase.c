/* What a dependent read of far memory takes, with the emulator that the environment asks for:
 *
 *     EMU_MODE=virtual EMU_PROFILE=cxl-switch chase
 */
#include <emu/emu.h>

#include <stdio.h>
#include <stdlib.h>

static size_t *next_of(char *far, size_t line)
{
    return (size_t *)(void *)(far + line * 64);
}

int main(void)
{
    const size_t bytes = (size_t)256 << 20, lines = bytes / 64;
    const int steps = 100000;
    char *far = calloc(1, bytes);
    if (far == NULL || emu_start(NULL) != 0) {
        fprintf(stderr, "chase: %s\n", far == NULL ? "no memory" : emu_error_detail());
        return 1;
    }
    emu_add(far, bytes, 0); /* has no effect without an emulator */

    /* One cycle through all lines in random order (Sattolo's shuffle). */
    for (size_t i = 0; i < lines; i++)
        *next_of(far, i) = i;
    uint64_t x = 1;
    for (size_t i = lines - 1; i > 0; i--) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        const size_t other = (size_t)(x >> 33) % i, kept = *next_of(far, i);
        *next_of(far, i) = *next_of(far, other);
        *next_of(far, other) = kept;
    }
    const uint64_t start = emu_clock_ns();
    size_t here = 0;
    for (int i = 0; i < steps; i++) {
        emu_read(next_of(far, here), sizeof(size_t));
        here = *next_of(far, here);
    }
    printf("%s: %.1f ns a read\n", emu_describe(), (double)(emu_clock_ns() - start) / steps);
    emu_stop();
    free(far);
    return here >= lines; /* so that the walk is not optimised away */
}
