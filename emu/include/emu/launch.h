/* For programs with an option --emu PROFILE that are linked with libalps, the library without
 * hooks. A static library of its own, emu_launch, beside libemu. */
#ifndef EMU_LAUNCH_H
#define EMU_LAUNCH_H

#ifdef __cplusplus
extern "C" {
#endif

/* NULL, or why --emu cannot be this profile, as far as its name tells. The text is valid until the
 * next call. */
const char *emu_launch_check(const char *profile);

/* Puts libalps-emu in the place of libalps: the program starts itself again with it and the same
 * arguments, once, and without EMU_MODE, so that it is the program that starts the emulator. To be
 * called while there is nothing to lose. NULL when the library is there, or what is wrong. */
const char *emu_launch(char **argv);

#ifdef __cplusplus
}
#endif

#endif
