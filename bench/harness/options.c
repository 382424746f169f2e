#include "harness/options.h"

#include <assert.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "harness/clock.h"

#define LONG_ONLY 256 /* what getopt_long returns for option i is LONG_ONLY + i */
#define FRACTION_DIGITS_MAX 6

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *parse_digits(const char **text, uint64_t *value)
{
    *value = 0;
    if (!is_digit(**text))
        return "not a number";
    for (; is_digit(**text); ++*text) {
        if (__builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, (uint64_t)(**text - '0'), value))
            return "too large";
    }
    return NULL;
}

const char *bh_parse_count(const char *text, uint64_t *count)
{
    const char *problem = parse_digits(&text, count);

    return problem == NULL && *text != '\0' ? "not a whole number" : problem;
}

const char *bh_parse_size(const char *text, uint64_t *size_bytes)
{
    static const char no_size[] = "not a size such as 4096, 64K, 16M or 2G";
    static const char units[] = "kmgtpe";
    unsigned shift = 0;

    if (!is_digit(*text))
        return no_size;
    const char *problem = parse_digits(&text, size_bytes);
    if (problem != NULL)
        return problem;
    const char *unit = *text == '\0' ? NULL : strchr(units, *text | 0x20);
    if (unit != NULL) {
        shift = 10 * (unsigned)(unit - units + 1);
        text++;
    }
    if (*text != '\0' && strcasecmp(text, "b") != 0 &&
        (unit == NULL || strcasecmp(text, "ib") != 0))
        return no_size;
    if (*size_bytes > UINT64_MAX >> shift)
        return "too large";
    *size_bytes <<= shift;
    return NULL;
}

const char *bh_parse_duration(const char *text, uint64_t *duration_ns)
{
    static const char no_duration[] = "not a duration such as 500ms, 2s or 1.5m";
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {
        {"ns", 1},          {"us", BH_NS_PER_US},    {"ms", BH_NS_PER_MS},
        {"s", BH_NS_PER_S}, {"m", 60 * BH_NS_PER_S}, {"h", 3600 * BH_NS_PER_S},
        {"", BH_NS_PER_S},
    };
    uint64_t fraction = 0;
    uint64_t fraction_unit = 1;

    if (!is_digit(*text))
        return no_duration;
    const char *problem = parse_digits(&text, duration_ns);
    if (problem != NULL)
        return problem;
    if (*text == '.') {
        const char *digits = ++text;
        if (parse_digits(&text, &fraction) != NULL || text - digits > FRACTION_DIGITS_MAX)
            return no_duration;
        while (digits++ < text)
            fraction_unit *= 10;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(*duration_ns, units[i].ns, duration_ns) ||
            __builtin_add_overflow(*duration_ns, fraction * units[i].ns / fraction_unit,
                                   duration_ns))
            return "too large";
        return NULL;
    }
    return no_duration;
}

const char *bh_parse_real(const char *text, double *real)
{
    char *end;

    /* strtod alone takes "inf", "0x1p3" and leading blanks too. */
    if (*text == '\0' || text[strspn(text, "0123456789.eE+-")] != '\0')
        return "not a number";
    *real = strtod(text, &end);
    if (*end != '\0')
        return "not a number";
    return *real - *real == 0 ? NULL : "too large";
}

/* Parses a value of one of the kinds that have a range. */
static const char *parse_ranged(bh_option_kind_t kind, const char *text, uint64_t *value)
{
    switch (kind) {
    case BH_OPTION_SIZE:
    case BH_OPTION_SIZES:
        return bh_parse_size(text, value);
    case BH_OPTION_DURATION:
        return bh_parse_duration(text, value);
    default:
        return bh_parse_count(text, value);
    }
}

/* The functions below write the whole error and return -1, or return 0. */

static int refuse(const bh_option_t *option, const char *text, const char *problem, char *error)
{
    snprintf(error, BH_ERROR_MAX, "--%s %s: %s", option->name, text, problem);
    return -1;
}

static int take_ranged(const bh_option_t *option, const char *text, uint64_t *value, char *error)
{
    uint64_t parsed;
    char range[80];

    const char *problem = parse_ranged(option->kind, text, &parsed);
    if (problem != NULL)
        return refuse(option, text, problem, error);
    if (parsed < option->min || (option->max != 0 && parsed > option->max)) {
        const char *unit = option->kind == BH_OPTION_DURATION ? " ns" : "";
        if (option->max == 0)
            snprintf(range, sizeof range, "must be at least %llu%s",
                     (unsigned long long)option->min, unit);
        else
            snprintf(range, sizeof range, "must be from %llu to %llu%s",
                     (unsigned long long)option->min, (unsigned long long)option->max, unit);
        return refuse(option, text, range, error);
    }
    *value = parsed;
    return 0;
}

static int take_choice(const bh_option_t *option, const char *text, unsigned *index, char *error)
{
    char problem[BH_ERROR_MAX / 2] = "unknown; there are";

    for (unsigned i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *index = i;
            return 0;
        }
        size_t used = strlen(problem);
        snprintf(problem + used, sizeof problem - used, "%s %s", i == 0 ? "" : ",",
                 option->choices[i]);
    }
    return refuse(option, text, problem, error);
}

/* Takes one item of a list. */
static int take_item(const bh_option_t *option, const char *text, void *value, char *error)
{
    if (option->kind == BH_OPTION_CHOICES) {
        uint64_t *set = value;
        unsigned index = 0;
        if (take_choice(option, text, &index, error) != 0)
            return -1;
        *set |= UINT64_C(1) << index;
        return 0;
    }
    bh_list_t *list = value;
    if (list->count == BH_LIST_MAX)
        return refuse(option, text, "too many items", error);
    return take_ranged(option, text, &list->items[list->count++], error);
}

/* Takes a list into *value, which holds nothing yet. */
static int take_list(const bh_option_t *option, const char *text, void *value, char *error)
{
    for (;;) {
        char item[64];
        size_t length = strcspn(text, ",");
        if (length >= sizeof item)
            return refuse(option, text, "too long", error);
        memcpy(item, text, length);
        item[length] = '\0';
        if (take_item(option, item, value, error) != 0)
            return -1;
        if (text[length] == '\0')
            return 0;
        text += length + 1;
    }
}

static int take_value(const bh_option_t *option, const char *text, char *error)
{
    bh_list_t list = {.count = 0};
    uint64_t set = 0;

    switch (option->kind) {
    case BH_OPTION_FLAG:
        *(bool *)option->value = true;
        return 0;
    case BH_OPTION_COUNT:
    case BH_OPTION_SIZE:
    case BH_OPTION_DURATION:
        return take_ranged(option, text, option->value, error);
    case BH_OPTION_REAL: {
        const char *problem = bh_parse_real(text, option->value);
        return problem == NULL ? 0 : refuse(option, text, problem, error);
    }
    case BH_OPTION_TEXT:
        *(const char **)option->value = text;
        return 0;
    case BH_OPTION_COUNTS:
    case BH_OPTION_SIZES:
        if (take_list(option, text, &list, error) != 0)
            return -1;
        *(bh_list_t *)option->value = list;
        return 0;
    case BH_OPTION_CHOICE:
        return take_choice(option, text, option->value, error);
    case BH_OPTION_CHOICES:
        if (take_list(option, text, &set, error) != 0)
            return -1;
        *(uint64_t *)option->value = set;
        return 0;
    }
    return 0;
}

/* The form of the table that getopt_long wants. */
struct getopt_tables {
    char letters[2 + 2 * BH_OPTIONS_MAX];
    struct option longs[BH_OPTIONS_MAX + 1];
};

static void fill_tables(struct getopt_tables *tables, const bh_option_t *options)
{
    char *letter = tables->letters;
    int i;

    *letter++ = ':'; /* print nothing, and tell a missing value from an unknown option */
    for (i = 0; options[i].name != NULL; i++) {
        assert(i < BH_OPTIONS_MAX);
        bool has_value = options[i].kind != BH_OPTION_FLAG;
        tables->longs[i] = (struct option){
            .name = options[i].name,
            .has_arg = has_value ? required_argument : no_argument,
            .val = LONG_ONLY + i,
        };
        if (options[i].letter != 0) {
            *letter++ = options[i].letter;
            if (has_value)
                *letter++ = ':';
        }
    }
    *letter = '\0';
    tables->longs[i] = (struct option){.name = NULL};
}

/* The option that a value of getopt_long stands for; NULL if none. */
static const bh_option_t *find_option(const bh_option_t *options, int value)
{
    if (value >= LONG_ONLY)
        return &options[value - LONG_ONLY];
    for (const bh_option_t *option = options; option->name != NULL; option++) {
        if (value != 0 && option->letter == value)
            return option;
    }
    return NULL;
}

int bh_options_parse(const bh_option_t *options, int argc, char **argv, char error[BH_ERROR_MAX])
{
    struct getopt_tables tables;
    int value;

    fill_tables(&tables, options);
    optind = 0; /* makes getopt_long start afresh, so that this can be called again */
    while ((value = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) != -1) {
        bool refused = value == '?' || value == ':';
        const bh_option_t *option = find_option(options, refused ? optopt : value);
        if (option == NULL && optopt != 0)
            snprintf(error, BH_ERROR_MAX, "unknown option -%c", optopt);
        else if (option == NULL)
            snprintf(error, BH_ERROR_MAX, "unknown or ambiguous option %s", argv[optind - 1]);
        else if (refused)
            snprintf(error, BH_ERROR_MAX, "--%s %s", option->name,
                     value == ':' ? "needs a value" : "takes no value");
        else if (take_value(option, optarg, error) == 0)
            continue;
        return -1;
    }
    if (optind < argc) {
        snprintf(error, BH_ERROR_MAX, "unexpected argument %s", argv[optind]);
        return -1;
    }
    return 0;
}

void bh_options_describe(const bh_option_t *options, FILE *out)
{
    for (const bh_option_t *option = options; option->name != NULL; option++) {
        char left[48];
        char letter[5] = "    ";
        if (option->letter != 0)
            snprintf(letter, sizeof letter, "-%c, ", option->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, option->name,
                 option->argument == NULL ? "" : option->argument);
        fprintf(out, "  %-26s %s\n", left, option->help);
    }
}
