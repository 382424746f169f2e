/* malloc and free of one library among those in this program: by their names alone they would be
 * what some library has put in place of all the others' (mimalloc does). */
#ifndef BENCH_FOUND_H
#define BENCH_FOUND_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

static struct {
    void *(*malloc)(size_t size);
    void (*free)(void *block);
} found;

/* NULL, or what is wrong. */
static const char *find_in(const char *library)
{
    static char text[80];
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);

    if (handle != NULL) {
        found.malloc = (void *(*)(size_t))(uintptr_t)dlsym(handle, "malloc");
        found.free = (void (*)(void *))(uintptr_t)dlsym(handle, "free");
    }
    if (found.malloc != NULL && found.free != NULL)
        return NULL;
    snprintf(text, sizeof text, "no malloc and free of %s in this process", library);
    return text;
}

#endif
