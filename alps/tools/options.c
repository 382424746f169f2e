#include "options.h"

#include "report.h"
#include "size.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Values of getopt_long for options without a letter; letters lie below. */
#define LONG_ONLY 256

#define INTERVAL_DEFAULT 1000
#define INTERVAL_MIN_SECONDS 0.01
#define INTERVAL_MAX_SECONDS 86400.0

static const struct {
    const char *text; /* the long name, with its dashes */
    char letter;      /* 0: none */
    int has_value;    /* as getopt_long has it */
    const char *usage;
    const char *help;
} option_table[OPTION_COUNT] = {
    [OPTION_SIZE] = {"--size", 's', required_argument, " SIZE",
                     "bytes of memory, management included, such as 64M or 2G"},
    [OPTION_CAPACITY] = {"--capacity", 'c', required_argument, " SIZE",
                         "bytes that the heap may grow to (default: no growth)"},
    [OPTION_ZONE_SIZE] = {"--zone-size", 0, required_argument, " SIZE",
                          "bytes of a zone, a power of two (default: by capacity)"},
    [OPTION_MODE] = {"--mode", 'm', required_argument, " OCTAL",
                     "permissions of the file (default: 0600)"},
    [OPTION_NODES] = {"--nodes", 'n', required_argument, " LIST",
                      "NUMA nodes for the zones, in turn, such as 0,1 or 0-3"},
    [OPTION_INSTANCES] = {"--instances", 'i', required_argument, " N",
                          "openings for writing at the same time (default: by capacity)"},
    [OPTION_DURABLE] = {"--durable", 'd', no_argument, "", "the heap survives power failures"},
    [OPTION_IN_PLACE] = {"--in-place", 0, no_argument, "",
                         "in files that exist, whose contents are lost (devices: always)"},
    [OPTION_SHARED] = {"--shared", 0, no_argument, "", "several hosts will have the heap open"},
    [OPTION_HOST] = {"--host", 0, required_argument, " HOST",
                     "all processes of a host, by the name or number that `alps info` shows"},
    [OPTION_HEAP] = {"--heap", 0, required_argument, " FILE",
                     "a heap in this file, made if it is not there (default: a private one)"},
    [OPTION_GENERATION] = {"--generation", 'g', required_argument, " LIST",
                           "the generations meant, such as 5 or 3,7-9"},
    [OPTION_CLOSED] = {"--closed", 0, no_argument, "",
                       "all generations that nobody has open and that are not permanent"},
    [OPTION_MIN_SIZE] = {"--min-size", 0, required_argument, " SIZE",
                         "only blocks of at least so many bytes"},
    [OPTION_LIMIT] = {"--limit", 0, required_argument, " N",
                      "list at most N blocks (0: the summary alone)"},
    [OPTION_WATCH] = {"--watch", 'w', optional_argument, " [SECONDS]",
                      "repeat every SECONDS (default: 1) until interrupted"},
    [OPTION_YES] = {"--yes", 'y', no_argument, "", "do not ask for confirmation"},
    [OPTION_JSON] = {"--json", 'j', no_argument, "", "print JSON, one object a line"},
    [OPTION_HELP] = {"--help", 'h', no_argument, "", "print this help"},
};

/* The parsers below, like those in size.h, return NULL, or what is wrong with the text. */

static const char *parse_number(const char *text, uint64_t *value)
{
    const char *problem = parse_digits(&text, value);

    return problem == NULL && *text != '\0' ? "not a number" : problem;
}

static const char *parse_instances(const char *text, uint64_t *value)
{
    const char *problem = parse_number(text, value);

    if (problem == NULL && (*value == 0 || *value > UINT32_MAX))
        return *value == 0 ? "must be more than 0" : "too large";
    return problem;
}

static const char *parse_mode(const char *text, unsigned *mode)
{
    static const char no_mode[] = "not a file mode: give three or four octal digits, such as 0660";

    if (*text == '\0' || strlen(text) > 4 || text[strspn(text, "01234567")] != '\0')
        return no_mode;
    *mode = (unsigned)strtoul(text, NULL, 8);
    if (*mode > 0777)
        return "only permissions (up to 0777) can be set";
    return *mode == 0 ? "must be more than 0" : NULL;
}

static const char *parse_seconds(const char *text, int *milliseconds)
{
    char *end;

    /* strtod alone would take "inf", "0x1p3" and leading blanks. */
    if (*text == '\0' || text[strspn(text, "0123456789.")] != '\0')
        return "not a number of seconds";
    double seconds = strtod(text, &end);
    if (*end != '\0')
        return "not a number of seconds";
    if (seconds < INTERVAL_MIN_SECONDS || seconds > INTERVAL_MAX_SECONDS)
        return "must be from 0.01 to 86400 seconds";
    *milliseconds = (int)(seconds * 1000 + 0.5);
    return NULL;
}

/* A list of numbers up to max and ranges of them: 0,1 or 3,7-9. */
static const char *parse_list(const char *text, uint64_t max, struct number_list *list)
{
    static const char no_list[] = "not a list: give numbers and ranges, such as 0,1 or 3,7-9";

    list->count = 0;
    for (;;) {
        uint64_t first;
        const char *problem = parse_digits(&text, &first);
        uint64_t last = first;
        if (problem == NULL && *text == '-') {
            text++;
            problem = parse_digits(&text, &last);
        }
        if (problem != NULL || (*text != ',' && *text != '\0'))
            return *text >= '0' && *text <= '9' ? problem : no_list;
        if (first > last)
            return "a range must ascend";
        if (last > max)
            return "a number is too large";
        if (last - first >= NUMBER_LIST_MAX - list->count)
            return "too many numbers";
        for (uint64_t i = 0; i <= last - first; i++)
            list->items[list->count++] = first + i;
        if (*text++ == '\0')
            return NULL;
    }
}

static const char *parse_value(struct arguments *a, enum option_id id, const char *text)
{
    switch (id) {
    case OPTION_SIZE:
        return parse_positive_size(text, &a->size);
    case OPTION_CAPACITY:
        return parse_positive_size(text, &a->capacity);
    case OPTION_ZONE_SIZE:
        return parse_positive_size(text, &a->zone_size);
    case OPTION_MODE:
        return parse_mode(text, &a->mode);
    case OPTION_NODES:
        return parse_list(text, ALPS_NODE_MAX, &a->nodes);
    case OPTION_INSTANCES:
        return parse_instances(text, &a->max_instances);
    case OPTION_HOST:
        a->host = text;
        return *text == '\0' ? "empty" : NULL;
    case OPTION_HEAP:
        a->heap = text;
        return *text == '\0' ? "empty" : NULL;
    case OPTION_GENERATION:
        return parse_list(text, UINT64_MAX, &a->generations);
    case OPTION_MIN_SIZE:
        return parse_size(text, &a->min_size);
    case OPTION_LIMIT:
        return parse_number(text, &a->limit);
    case OPTION_WATCH:
        return parse_seconds(text, &a->interval);
    default:
        return NULL;
    }
}

/* The form of the allowed options that getopt_long wants. */
struct getopt_tables {
    char letters[3 + 3 * OPTION_COUNT];
    struct option longs[OPTION_COUNT + 1];
};

static void fill_tables(struct getopt_tables *tables, unsigned allowed, bool program)
{
    char *letter = tables->letters;
    struct option *entry = tables->longs;

    if (program)
        *letter++ = '+'; /* its arguments are not looked at */
    *letter++ = ':';     /* a missing value is told apart, and nothing is printed */
    for (int id = 0; id < OPTION_COUNT; id++) {
        if ((allowed & OPTION_BIT(id)) == 0)
            continue;
        *entry++ = (struct option){.name = option_table[id].text + 2,
                                   .has_arg = option_table[id].has_value,
                                   .val = LONG_ONLY + id};
        if (option_table[id].letter != 0) {
            *letter++ = option_table[id].letter;
            for (int i = 0; i < option_table[id].has_value; i++)
                *letter++ = ':';
        }
    }
    *letter = '\0';
    *entry = (struct option){.name = NULL};
}

/* The option that a value of getopt_long stands for; OPTION_COUNT if none. */
static enum option_id find_option(int value)
{
    if (value >= LONG_ONLY)
        return (enum option_id)(value - LONG_ONLY);
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (value != 0 && option_table[id].letter == value)
            return (enum option_id)id;
    }
    return OPTION_COUNT;
}

const char *option_text(enum option_id id)
{
    return option_table[id].text;
}

/* Says why getopt_long answered '?' to text. */
static int refuse_option(const char *command, const char *text)
{
    if (optopt >= LONG_ONLY)
        return usage_error(command, "%s takes no value", option_text(find_option(optopt)));
    if (optopt != 0)
        return usage_error(command, "unknown option -%c", optopt);
    return usage_error(command, "unknown or ambiguous option %s", text);
}

int arguments_parse(struct arguments *arguments, int argc, char **argv, unsigned allowed,
                    bool program)
{
    struct getopt_tables tables;
    int value;

    *arguments = (struct arguments){.command = argv[0], .interval = INTERVAL_DEFAULT};
    fill_tables(&tables, allowed, program);
    optind = 1;
    while ((value = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) != -1) {
        if (value == '?')
            return refuse_option(arguments->command, argv[optind - 1]);
        if (value == ':')
            return usage_error(arguments->command, "%s needs a value",
                               option_text(find_option(optopt)));

        enum option_id id = find_option(value);
        const char *text = optarg;
        int ignored;
        /* getopt_long knows optional values only as --watch=2; a number that follows is one too,
         * as nobody calls a heap 2. */
        if (id == OPTION_WATCH && text == NULL && optind < argc &&
            parse_seconds(argv[optind], &ignored) == NULL)
            text = argv[optind++];
        const char *problem = text == NULL ? NULL : parse_value(arguments, id, text);
        if (problem != NULL)
            return usage_error(arguments->command, "%s %s: %s", option_table[id].text, text,
                               problem);
        arguments->given |= OPTION_BIT(id);
    }
    arguments->files = (const char *const *)argv + optind;
    arguments->file_count = (unsigned)(argc - optind);
    return STATUS_OK;
}

void options_describe(FILE *out, unsigned set)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        char left[40];
        if ((set & OPTION_BIT(id)) == 0)
            continue;
        if (option_table[id].letter != 0)
            snprintf(left, sizeof left, "-%c, %s%s", option_table[id].letter, option_table[id].text,
                     option_table[id].usage);
        else
            snprintf(left, sizeof left, "    %s%s", option_table[id].text, option_table[id].usage);
        fprintf(out, "  %-25s  %s\n", left, option_table[id].help);
    }
}

void options_describe_required(FILE *out, unsigned set)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        if ((set & OPTION_BIT(id)) != 0)
            fprintf(out, " %s%s", option_table[id].text, option_table[id].usage);
    }
}

bool number_list_contains(const struct number_list *list, uint64_t number)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (list->items[i] == number)
            return true;
    }
    return false;
}
