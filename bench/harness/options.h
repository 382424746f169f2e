/* The command line, from one table of options:
 *
 *     static uint64_t threads = 1;
 *     static bool help;
 *     static const bh_option_t options[] = {
 *         {.name = "threads", .letter = 't', .kind = BH_OPTION_COUNT, .value = &threads,
 *          .argument = "N", .help = "threads (default 1)", .min = 1, .max = 64},
 *         {.name = "help", .letter = 'h', .kind = BH_OPTION_FLAG, .value = &help,
 *          .help = "print this help"},
 *         {.name = NULL},
 *     };
 *     char error[BH_ERROR_MAX];
 *
 *     if (bh_options_parse(options, argc, argv, error) != 0) {
 *         fprintf(stderr, "prog: %s\n", error);
 *         return 2;
 *     }
 *
 * What is not given keeps its value. Nonsense, overflow and values out of range are errors, and the
 * text names the option, the value and what is wrong with it. */
#ifndef BH_OPTIONS_H
#define BH_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BH_ERROR_MAX 512
#define BH_OPTIONS_MAX 64
#define BH_LIST_MAX 64

typedef struct bh_list {
    size_t count;
    uint64_t items[BH_LIST_MAX];
} bh_list_t;

/* The form of an option's text, and what its value points to. */
typedef enum bh_option_kind {
    BH_OPTION_FLAG,     /* bool: takes no text, becomes true */
    BH_OPTION_COUNT,    /* uint64_t: 1000 */
    BH_OPTION_SIZE,     /* uint64_t, bytes: 4096, 64K, 2G, 1MiB; units are powers of 1024 */
    BH_OPTION_DURATION, /* uint64_t, ns: 80ns, 10us, 500ms, 2s, 3m, 1.5h; seconds without unit */
    BH_OPTION_REAL,     /* double: 0.25 */
    BH_OPTION_TEXT,     /* const char *: anything */
    BH_OPTION_COUNTS,   /* bh_list_t: 1,2,4 */
    BH_OPTION_SIZES,    /* bh_list_t: 64,4K,1M */
    BH_OPTION_CHOICE,   /* unsigned: index of one of choices, by name */
    BH_OPTION_CHOICES,  /* uint64_t: a set, bit i for choices[i]: red,blue */
} bh_option_kind_t;

typedef struct bh_option {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* short form, 0: none */
    bh_option_kind_t kind;
    void *value;
    const char *argument; /* what the help calls the value, NULL for a flag */
    const char *help;
    uint64_t min, max;          /* of counts, sizes, durations; max 0: no limit */
    const char *const *choices; /* ends with NULL; at most 64 */
} bh_option_t;

/* 0, or -1 with a text in error. Anything but options is an error. */
int bh_options_parse(const bh_option_t *options, int argc, char **argv, char error[BH_ERROR_MAX]);

/* Prints the table for a help text, one option a line. */
void bh_options_describe(const bh_option_t *options, FILE *out);

/* Single values: NULL, or what is wrong with the text. */
const char *bh_parse_count(const char *text, uint64_t *count);
const char *bh_parse_size(const char *text, uint64_t *size_bytes);
const char *bh_parse_duration(const char *text, uint64_t *duration_ns);
const char *bh_parse_real(const char *text, double *real);

#endif
