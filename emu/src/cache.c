#include "cache.h"

#include <stdlib.h>
#include <string.h>

#include "model.h"

struct cache *cache_new(uint64_t bytes, unsigned ways)
{
    const uint64_t lines = bytes / LINE;
    struct cache *cache = calloc(1, sizeof *cache + lines * sizeof(struct cache_line));
    if (cache != NULL) {
        cache->set_mask = lines / ways - 1;
        cache->ways = ways;
    }
    return cache;
}

static struct cache_line *set_of(struct cache *cache, uint64_t line)
{
    return &cache->lines[(line & cache->set_mask) * cache->ways];
}

static void move_to_front(struct cache_line *set, unsigned i)
{
    struct cache_line moved = set[i];
    memmove(set + 1, set, i * sizeof *set);
    set[0] = moved;
}

struct cache_line *cache_find(struct cache *cache, uint64_t line)
{
    struct cache_line *set = set_of(cache, line);
    for (unsigned i = 0; i < cache->ways; i++)
        if (set[i].line == line + 1) {
            if (i > 0)
                move_to_front(set, i);
            return set;
        }
    return NULL;
}

struct cache_line *cache_insert(struct cache *cache, uint64_t line, struct cache_line *evicted)
{
    struct cache_line *set = set_of(cache, line);
    *evicted = set[cache->ways - 1];
    move_to_front(set, cache->ways - 1);
    set[0] = (struct cache_line){.line = line + 1};
    return set;
}
