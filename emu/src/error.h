/* What went wrong in the calling thread's last failing call: emu_error_detail(). */
#ifndef EMU_ERROR_H
#define EMU_ERROR_H

/* Keeps the text and returns -code. */
__attribute__((format(printf, 2, 3))) int emu_fail(int code, const char *format, ...);

/* The same with what the system says of code after it. */
__attribute__((format(printf, 2, 3))) int emu_fail_system(int code, const char *format, ...);

#endif
