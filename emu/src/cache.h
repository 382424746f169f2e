/* A processor's cache, for the mode virtual: which lines a thread holds. */
#ifndef EMU_CACHE_H
#define EMU_CACHE_H

#include <stdbool.h>
#include <stdint.h>

/* Lines in sets, the one used last first. */
struct cache {
    uint64_t set_mask;
    unsigned ways;
    struct cache_line {
        uint64_t line;  /* number of the line + 1; 0: nothing */
        uint64_t stamp; /* which state of the line this is: model_stamp() */
        bool dirty;
    } lines[];
};

/* NULL if there is no memory. ways is a power of two. */
struct cache *cache_new(uint64_t bytes, unsigned ways);

/* The line, which is now the one used last; NULL if it is not held. */
struct cache_line *cache_find(struct cache *cache, uint64_t line);

/* Takes a line in, as the one used last. *evicted is the line that had to go; its line is 0 if none
 * had. */
struct cache_line *cache_insert(struct cache *cache, uint64_t line, struct cache_line *evicted);

#endif
