#include "size.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

const char *parse_digits(const char **text, uint64_t *value)
{
    const char *s = *text;
    uint64_t result = 0;

    if (*s < '0' || *s > '9')
        return "not a number";
    for (; *s >= '0' && *s <= '9'; s++) {
        if (__builtin_mul_overflow(result, 10u, &result) ||
            __builtin_add_overflow(result, (uint64_t)(*s - '0'), &result))
            return "too large";
    }
    *text = s;
    *value = result;
    return NULL;
}

const char *parse_size(const char *text, uint64_t *value)
{
    static const char units[] = "kmgtpe";
    static const char no_size[] =
        "not a size: give a number of bytes, or a number with K, M, G, T, P or E";
    unsigned shift = 0;

    const char *problem = parse_digits(&text, value);
    if (problem != NULL)
        return *text >= '0' && *text <= '9' ? problem : no_size;
    if (*text != '\0') {
        const char *unit = strchr(units, *text | 0x20);
        if (unit != NULL) {
            shift = 10 * (unsigned)(unit - units + 1);
            text++;
        }
        if (*text != '\0' && strcasecmp(text, "b") != 0 &&
            (shift == 0 || strcasecmp(text, "ib") != 0))
            return no_size;
    }
    if (*value > UINT64_MAX >> shift)
        return "too large: the largest size is 2^64-1 bytes";
    *value <<= shift;
    return NULL;
}

const char *parse_positive_size(const char *text, uint64_t *value)
{
    const char *problem = parse_size(text, value);

    return problem == NULL && *value == 0 ? "must be more than 0" : problem;
}
