/* Reading profiles.
 *
 * A profile is lines "key = value" in sections "[memory NAME]", "[link NAME]", "[cache]", with
 * comments from '#' on. Which keys there are, in which section, and how their values read is one
 * table. Every error names file, line and column, and what would have been right. */
#include "profile.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <emu/emu.h>

#include "error.h"

#define FILE_MAX (256 * 1024)

struct reader {
    struct profile *profile;
    const char *where;
    const char *line; /* start of the present line */
    const char *at;   /* where reading is */
    const char *end;  /* of the present line, comment and blanks cut off */
    unsigned number;
    enum section { TOP, MEMORY, LINK, CACHE } section;
    void *target;       /* the struct that the section fills */
    uint64_t seen;      /* keys of the section that were there */
    const char *opened; /* the section's header, for errors about what is missing */
    unsigned opened_number;
};

/* ---- errors and words ---- */

__attribute__((format(printf, 2, 3))) static int bad(const struct reader *r, const char *format,
                                                     ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return emu_fail(EINVAL, "%s:%u:%d: %s", r->where, r->number, (int)(r->at - r->line) + 1, text);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '/' || c == '%';
}

/* Length of the word that begins here; 0 if none does. */
static int word(const struct reader *r)
{
    int length = 0;
    while (r->at + length < r->end && is_word(r->at[length]))
        length++;
    return length;
}

/* Takes the word if it is the next one. */
static bool take(struct reader *r, const char *wanted)
{
    skip_blanks(r);
    int length = word(r);
    if (length != (int)strlen(wanted) || strncmp(r->at, wanted, (size_t)length) != 0)
        return false;
    r->at += length;
    return true;
}

static bool take_char(struct reader *r, char wanted)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != wanted)
        return false;
    r->at++;
    return true;
}

/* Reads what follows as one word of at most PROFILE_NAME_MAX - 1 bytes. */
static int read_name(struct reader *r, char name[PROFILE_NAME_MAX], const char *of)
{
    skip_blanks(r);
    int length = word(r);
    if (length == 0)
        return bad(r, "a name for the %s is missing", of);
    if (length >= PROFILE_NAME_MAX)
        return bad(r, "a name may have %d characters", PROFILE_NAME_MAX - 1);
    memcpy(name, r->at, (size_t)length);
    name[length] = '\0';
    r->at += length;
    return 0;
}

/* A number without sign: digits, and a fraction. (strtod reads as the locale says.) */
static int read_number(struct reader *r, double *number)
{
    double unit = 1;
    skip_blanks(r);
    const char *start = r->at;
    *number = 0;
    for (bool fraction = false; r->at < r->end; r->at++) {
        if (*r->at == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (*r->at < '0' || *r->at > '9')
            break;
        unit = fraction ? unit * 10 : unit;
        *number = *number * 10 + (*r->at - '0');
    }
    *number /= unit;
    return r->at == start || r->at - start > 18 ? bad(r, "a number is wanted here") : 0;
}

struct unit {
    const char *name;
    double factor;
};

static int read_quantity(struct reader *r, const struct unit *units, double most, double *quantity)
{
    skip_blanks(r);
    const char *start = r->at;
    int rc = read_number(r, quantity);
    if (rc != 0)
        return rc;
    for (const struct unit *u = units; u->name != NULL; u++)
        if (take(r, u->name)) {
            *quantity *= u->factor;
            if (*quantity <= most)
                return 0;
            r->at = start;
            return bad(r, "the value is too large");
        }
    char names[64] = "";
    for (const struct unit *u = units; u->name != NULL; u++) {
        strcat(names, u == units ? "" : ", ");
        strcat(names, u->name);
    }
    return bad(r, "a unit is missing: %s", names);
}

/* ---- values ---- */

static const struct unit times[] = {{"ps", 1}, {"ns", 1e3}, {"us", 1e6}, {NULL, 0}};
static const struct unit rates[] = {{"GB/s", 1}, {"MB/s", 1e-3}, {NULL, 0}}; /* bytes/ns */
static const struct unit sizes[] = {
    {"B", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}, {NULL, 0}};

static int read_time(struct reader *r, void *value)
{
    double ps;
    int rc = read_quantity(r, times, 1e12, &ps);
    if (rc == 0)
        *(uint64_t *)value = (uint64_t)llround(ps);
    return rc;
}

static int read_size(struct reader *r, void *value)
{
    skip_blanks(r);
    const char *start = r->at;
    double bytes;
    int rc = read_quantity(r, sizes, 0x1p50, &bytes);
    if (rc != 0)
        return rc;
    *(uint64_t *)value = (uint64_t)bytes;
    if (bytes >= 64 && (*(uint64_t *)value & (*(uint64_t *)value - 1)) == 0)
        return 0;
    r->at = start;
    return bad(r, "the size is to be a power of two, 64 B or more");
}

static int read_count(struct reader *r, void *value)
{
    skip_blanks(r);
    const char *start = r->at;
    double number = 0;
    int rc = read_number(r, &number);
    if (rc != 0)
        return rc;
    if (number >= 1 && number <= 1024 && number == floor(number)) {
        *(uint64_t *)value = (uint64_t)number;
        return 0;
    }
    r->at = start;
    return bad(r, "a whole number from 1 to 1024 is wanted");
}

static int read_yes(struct reader *r, void *value)
{
    *(bool *)value = take(r, "yes");
    return *(bool *)value || take(r, "no") ? 0 : bad(r, "yes or no is wanted");
}

static int read_scope(struct reader *r, void *value)
{
    *(bool *)value = take(r, "host");
    return *(bool *)value || take(r, "shared") ? 0 : bad(r, "host or shared is wanted");
}

static int read_text(struct reader *r, void *value)
{
    skip_blanks(r);
    size_t length = (size_t)(r->end - r->at);
    if (length == 0)
        return bad(r, "a text is missing");
    if (length >= PROFILE_TEXT_MAX)
        return bad(r, "a text may have %d characters", PROFILE_TEXT_MAX - 1);
    memcpy(value, r->at, length);
    ((char *)value)[length] = '\0';
    r->at = r->end;
    return 0;
}

static int add_point(struct reader *r, struct curve *curve, const char *start, double x, double y)
{
    const char *here = r->at;
    r->at = start;
    if (curve->count == PROFILE_POINTS_MAX)
        return bad(r, "a curve has at most %d points", PROFILE_POINTS_MAX);
    if (x > 1)
        return bad(r, "more than 100 %%");
    if (!(y > 0))
        return bad(r, "0 is no value here");
    for (unsigned i = 0; i < curve->count; i++)
        if (x <= curve->points[i].x)
            return bad(r, "the percentages are to ascend");
    curve->points[curve->count++] = (struct curve_point){x, y};
    r->at = here;
    return 0;
}

/* "29.5 GB/s" or "43.7 GB/s at 67 % reads, 29.5 GB/s at 100 % reads" */
static int read_bandwidth(struct reader *r, void *value)
{
    struct curve *curve = (struct curve *)value;
    curve->count = 0;
    do {
        skip_blanks(r);
        const char *start = r->at;
        double rate, percent = 100;
        int rc = read_quantity(r, rates, 1e6, &rate);
        bool at = rc == 0 && take(r, "at");
        if (at) {
            rc = read_number(r, &percent);
            if (rc == 0 && !take(r, "%"))
                rc = bad(r, "%% is missing");
            if (rc == 0 && !take(r, "reads"))
                rc = bad(r, "\"reads\" is missing");
        }
        if (rc == 0)
            rc = add_point(r, curve, start, percent / 100, rate);
        if (rc != 0)
            return rc;
        if (!at && curve->count > 1)
            return bad(r, "\"at N %% reads\" is missing");
    } while (take_char(r, ','));
    return 0;
}

/* "1 at 0 %, 1.5 at 80 %" */
static int read_loaded(struct reader *r, void *value)
{
    struct curve *curve = (struct curve *)value;
    curve->count = 0;
    do {
        skip_blanks(r);
        const char *start = r->at;
        double factor, percent = 0;
        int rc = read_number(r, &factor);
        if (rc == 0 && !take(r, "at"))
            rc = bad(r, "\"at N %%\" is missing");
        if (rc == 0)
            rc = read_number(r, &percent);
        if (rc == 0 && !take(r, "%"))
            rc = bad(r, "%% is missing");
        if (rc == 0 && factor < 1) {
            r->at = start;
            rc = bad(r, "a loaded memory is no faster than an idle one: 1 or more is wanted");
        }
        if (rc == 0)
            rc = add_point(r, curve, start, percent / 100, factor);
        if (rc != 0)
            return rc;
    } while (take_char(r, ','));
    return 0;
}

static int read_path(struct reader *r, void *value)
{
    struct profile_memory *m = (struct profile_memory *)value;
    m->path_length = 0;
    if (take(r, "none"))
        return 0;
    do {
        skip_blanks(r);
        const char *start = r->at;
        char name[PROFILE_NAME_MAX];
        int rc = read_name(r, name, "link");
        if (rc != 0)
            return rc;
        unsigned i = 0;
        while (i < r->profile->link_count && strcmp(r->profile->links[i].name, name) != 0)
            i++;
        bool known = i < r->profile->link_count;
        if (!known || memchr(m->path, (int)i, m->path_length) != NULL) {
            r->at = start;
            return known ? bad(r, "the path has link %s already", name)
                         : bad(r, "no link %s before this line", name);
        }
        m->path[m->path_length++] = (unsigned char)i;
    } while (take_char(r, ','));
    return 0;
}

/* ---- keys and sections ---- */

static const struct key {
    enum section section;
    const char *name;
    size_t offset;
    int (*read)(struct reader *r, void *value);
} keys[] = {
    {TOP, "title", offsetof(struct profile, title), read_text},
    {TOP, "source", offsetof(struct profile, source), read_text},
    {TOP, "coherent", offsetof(struct profile, coherent), read_yes},
    {TOP, "parallelism", offsetof(struct profile, parallelism), read_count},
    {TOP, "interleave", offsetof(struct profile, interleave), read_size},
    {TOP, "fence", offsetof(struct profile, fence_ps), read_time},
    {MEMORY, "read", offsetof(struct profile_memory, read_ps), read_time},
    {MEMORY, "write", offsetof(struct profile_memory, write_ps), read_time},
    {MEMORY, "atomic", offsetof(struct profile_memory, atomic_ps), read_time},
    {MEMORY, "flush", offsetof(struct profile_memory, flush_ps), read_time},
    {MEMORY, "grain", offsetof(struct profile_memory, grain), read_size},
    {MEMORY, "count", offsetof(struct profile_memory, count), read_count},
    {MEMORY, "bandwidth", offsetof(struct profile_memory, bandwidth), read_bandwidth},
    {MEMORY, "loaded", offsetof(struct profile_memory, loaded), read_loaded},
    {MEMORY, "path", 0, read_path},
    {LINK, "scope", offsetof(struct profile_link, each_host), read_scope},
    {LINK, "latency", offsetof(struct profile_link, latency_ps), read_time},
    {LINK, "bandwidth", offsetof(struct profile_link, bandwidth), read_bandwidth},
    {CACHE, "size", offsetof(struct profile, cache_bytes), read_size},
    {CACHE, "ways", offsetof(struct profile, cache_ways), read_count},
    {CACHE, "hit", offsetof(struct profile, hit_ps), read_time},
};
#define KEYS (sizeof keys / sizeof keys[0])

static bool seen(const struct reader *r, const char *name)
{
    for (unsigned k = 0; k < KEYS; k++)
        if (keys[k].section == r->section && strcmp(keys[k].name, name) == 0)
            return (r->seen >> k & 1) != 0;
    return false;
}

/* What a section leaves out follows from what it says. */
static int close_section(struct reader *r)
{
    struct reader head = *r;
    head.line = head.at = r->opened;
    head.number = r->opened_number;
    if (r->section == LINK)
        return 0;
    if (r->section == CACHE && r->profile->cache_bytes < 64 * r->profile->cache_ways)
        return bad(&head, "the cache has fewer lines than ways");
    if (r->section == CACHE && (r->profile->cache_ways & (r->profile->cache_ways - 1)) != 0)
        return bad(&head, "ways is to be a power of two");
    if (r->section != MEMORY)
        return 0;
    struct profile_memory *m = (struct profile_memory *)r->target;
    if (!seen(r, "read") && (seen(r, "write") || seen(r, "atomic")))
        return bad(&head, "memory %s has no \"read\"", m->name);
    if (!seen(r, "write"))
        m->write_ps = m->read_ps;
    if (!seen(r, "atomic"))
        m->atomic_ps = m->write_ps > m->read_ps ? m->write_ps : m->read_ps;
    if (!seen(r, "flush"))
        m->flush_ps = m->write_ps;
    if (!seen(r, "path"))
        for (unsigned i = 0; i < r->profile->link_count; i++)
            m->path[m->path_length++] = (unsigned char)i;
    return 0;
}

static int open_section(struct reader *r)
{
    struct profile *p = r->profile;
    int rc = close_section(r);
    if (rc != 0)
        return rc;
    r->opened = r->line;
    r->opened_number = r->number;
    r->seen = 0;
    r->at++; /* the bracket */
    char *name = NULL;
    if (take(r, "memory")) {
        if (p->memory_count == PROFILE_MEMORIES_MAX)
            return bad(r, "a profile has at most %d memories", PROFILE_MEMORIES_MAX);
        struct profile_memory *m = &p->memories[p->memory_count++];
        m->grain = 64;
        m->count = 1;
        r->section = MEMORY;
        r->target = m;
        name = m->name;
    } else if (take(r, "link")) {
        if (p->memory_count != 0)
            return bad(r, "links come before the memories they lead to");
        if (p->link_count == PROFILE_LINKS_MAX)
            return bad(r, "a profile has at most %d links", PROFILE_LINKS_MAX);
        r->section = LINK;
        r->target = &p->links[p->link_count++];
        name = p->links[p->link_count - 1].name;
    } else if (take(r, "cache")) {
        r->section = CACHE;
        r->target = p;
    } else {
        return bad(r, "[memory NAME], [link NAME] or [cache] is wanted");
    }
    if (name != NULL) {
        skip_blanks(r);
        const char *start = r->at;
        rc = read_name(r, name, r->section == LINK ? "link" : "memory");
        if (rc != 0)
            return rc;
        r->at = start;
        for (unsigned i = 0; r->section == MEMORY && i + 1 < p->memory_count; i++)
            if (strcmp(p->memories[i].name, name) == 0)
                return bad(r, "there is a memory %s already", name);
        for (unsigned i = 0; r->section == LINK && i + 1 < p->link_count; i++)
            if (strcmp(p->links[i].name, name) == 0)
                return bad(r, "there is a link %s already", name);
        r->at += strlen(name);
    }
    if (!take_char(r, ']'))
        return bad(r, "']' is missing");
    return 0;
}

static int read_key(struct reader *r)
{
    int length = word(r);
    unsigned k = 0;
    while (k < KEYS && !(keys[k].section == r->section && (int)strlen(keys[k].name) == length &&
                         strncmp(keys[k].name, r->at, (size_t)length) == 0))
        k++;
    if (k == KEYS) {
        char names[160] = "";
        for (k = 0; k < KEYS; k++)
            if (keys[k].section == r->section) {
                strcat(names, names[0] == '\0' ? "" : ", ");
                strcat(names, keys[k].name);
            }
        return bad(r, "no such key here; there are: %s", names);
    }
    if ((r->seen >> k & 1) != 0)
        return bad(r, "%s is there already", keys[k].name);
    r->seen |= (uint64_t)1 << k;
    r->at += length;
    if (!take_char(r, '='))
        return bad(r, "'=' is missing");
    return keys[k].read(r, (char *)r->target + keys[k].offset);
}

static int read_line(struct reader *r)
{
    skip_blanks(r);
    if (r->at == r->end)
        return 0;
    int rc = *r->at == '[' ? open_section(r) : read_key(r);
    if (rc != 0)
        return rc;
    skip_blanks(r);
    return r->at == r->end ? 0 : bad(r, "what is this at the end of the line?");
}

int profile_parse(struct profile *profile, const char *where, const char *text)
{
    memset(profile, 0, sizeof *profile);
    profile->coherent = true;
    profile->parallelism = 10;
    profile->interleave = 4096;
    profile->cache_bytes = (uint64_t)2 << 20;
    profile->cache_ways = 16;
    profile->hit_ps = 2000;
    struct reader r = {
        .profile = profile, .where = where, .target = profile, .opened = text, .opened_number = 1};
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        r.line = r.at = line;
        r.number++;
        const char *comment = memchr(line, '#', length);
        r.end = comment != NULL ? comment : line + length;
        while (r.end > line && is_blank(r.end[-1]))
            r.end--;
        int rc = read_line(&r);
        if (rc != 0)
            return rc;
        line += length + (line[length] == '\n');
    }
    int rc = close_section(&r);
    if (rc != 0)
        return rc;
    if (profile->memory_count == 0)
        return emu_fail(EINVAL, "%s: the profile has no [memory NAME]", where);
    uint64_t devices = 0;
    for (unsigned i = 0; i < profile->memory_count; i++)
        devices += profile->memories[i].count;
    if (devices > 1024)
        return emu_fail(EINVAL, "%s: the profile has %" PRIu64 " memory devices, 1024 is the most",
                        where, devices);
    return 0;
}

/* ---- files ---- */

static int read_file(const char *path, char **text)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return emu_fail_system(errno, "profile %s", path);
    char *buffer = malloc(FILE_MAX + 1);
    if (buffer == NULL) {
        fclose(file);
        return emu_fail(ENOMEM, "no memory to read %s", path);
    }
    size_t length = fread(buffer, 1, FILE_MAX + 1, file);
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    int rc = 0;
    if (failed != 0)
        rc = emu_fail_system(failed, "profile %s", path);
    else if (length > FILE_MAX)
        rc = emu_fail(EFBIG, "profile %s: too large for a profile", path);
    else if (memchr(buffer, '\0', length) != NULL)
        rc = emu_fail(EINVAL, "profile %s: not a text", path);
    if (rc != 0) {
        free(buffer);
        return rc;
    }
    buffer[length] = '\0';
    *text = buffer;
    return 0;
}

int profile_load(struct profile *profile, const char *name)
{
    int rc;
    if (strchr(name, '/') == NULL) {
        const struct profile_builtin *b = profile_builtins;
        while (b->name != NULL && strcmp(b->name, name) != 0)
            b++;
        if (b->name == NULL)
            return emu_fail(ENOENT,
                            "there is no profile %s; a file of yours is named with a '/', "
                            "as in ./%s",
                            name, name);
        rc = profile_parse(profile, name, b->text);
    } else {
        char *text = NULL;
        rc = read_file(name, &text);
        if (rc != 0)
            return rc;
        rc = profile_parse(profile, name, text);
        free(text);
        name = strrchr(name, '/') + 1;
    }
    size_t length = strcspn(name, ".");
    if (length >= PROFILE_NAME_MAX)
        length = PROFILE_NAME_MAX - 1;
    memcpy(profile->name, name, length);
    profile->name[length] = '\0';
    return rc;
}

int emu_profile_get(unsigned index, struct emu_profile_info *info)
{
    unsigned i = 0;
    while (i < index && profile_builtins[i].name != NULL)
        i++;
    struct profile *p = malloc(sizeof *p);
    if (p == NULL || profile_builtins[i].name == NULL) {
        free(p);
        return emu_fail(p == NULL ? ENOMEM : ENOENT, "there is no profile %u", index);
    }
    const int rc = profile_load(p, profile_builtins[i].name);
    info->name = profile_builtins[i].name;
    info->text = profile_builtins[i].text;
    snprintf(info->title, sizeof info->title, "%s", p->title);
    snprintf(info->source, sizeof info->source, "%s", p->source);
    info->read_ns = (double)profile_latency_ps(p, 0, EMU_READ) / 1000;
    free(p);
    return rc;
}

uint64_t profile_latency_ps(const struct profile *profile, unsigned memory, enum emu_access access)
{
    const struct profile_memory *m = &profile->memories[memory];
    uint64_t device = access == EMU_READ    ? m->read_ps
                      : access == EMU_WRITE ? m->write_ps
                      : access == EMU_FLUSH ? m->flush_ps
                                            : m->atomic_ps;
    if (device == 0)
        return 0;
    for (unsigned i = 0; i < m->path_length; i++)
        device += profile->links[m->path[i]].latency_ps;
    return device;
}

double curve_at(const struct curve *curve, double x)
{
    const struct curve_point *p = curve->points;
    if (curve->count == 0)
        return 1;
    unsigned i = 0;
    while (i < curve->count && p[i].x < x)
        i++;
    if (i == 0 || i == curve->count)
        return p[i == 0 ? 0 : i - 1].y;
    return p[i - 1].y + (p[i].y - p[i - 1].y) * (x - p[i - 1].x) / (p[i].x - p[i - 1].x);
}
