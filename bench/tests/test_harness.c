#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/clock.h"
#include "harness/counters.h"
#include "harness/histogram.h"
#include "harness/options.h"
#include "harness/pattern.h"
#include "harness/random.h"
#include "harness/record.h"
#include "harness/stats.h"
#include "test.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- clock ---- */

TEST(clock, advances)
{
    uint64_t wall_ns = bh_clock_ns();
    uint64_t thread_ns = bh_clock_thread_ns();

    while (bh_clock_thread_ns() == thread_ns)
        ;
    CHECK(bh_clock_ns() > wall_ns);
}

/* ---- random ---- */

TEST(random, repeats_by_seed_and_stream)
{
    bh_rng_t a, b, other_seed, other_stream;
    unsigned same_seed = 0, same_stream = 0;

    bh_rng_seed(&a, 1, 2);
    bh_rng_seed(&b, 1, 2);
    bh_rng_seed(&other_seed, 2, 2);
    bh_rng_seed(&other_stream, 1, 3);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t x = bh_rng_next(&a);
        CHECK_EQ(x, bh_rng_next(&b));
        same_seed += x == bh_rng_next(&other_seed);
        same_stream += x == bh_rng_next(&other_stream);
    }
    CHECK_EQ(same_seed, 0);
    CHECK_EQ(same_stream, 0);
}

TEST(random, bounded_numbers_stay_in_bounds_and_reach_them)
{
    unsigned seen[7] = {0};
    bh_rng_t rng;

    bh_rng_seed(&rng, test_seed(), 0);
    for (unsigned i = 0; i < 70000; i++) {
        uint64_t x = bh_rng_between(&rng, 10, 16);
        double unit = bh_rng_unit(&rng);
        CHECK(x >= 10 && x <= 16);
        CHECK(unit >= 0 && unit < 1);
        seen[x - 10]++;
    }
    for (unsigned i = 0; i < 7; i++)
        CHECK(seen[i] > 9500 && seen[i] < 10500);
    CHECK_EQ(bh_rng_below(&rng, 1), 0);
    CHECK_EQ(bh_rng_between(&rng, UINT64_MAX, UINT64_MAX), UINT64_MAX);
    bh_rng_between(&rng, 0, UINT64_MAX);
}

TEST(random, log_uniform_doublings_are_equally_likely)
{
    uint64_t in_doubling[10] = {0};
    bh_rng_t rng;

    bh_rng_seed(&rng, test_seed(), 0);
    for (int i = 0; i < 100000; i++) {
        uint64_t x = bh_rng_log_uniform(&rng, 16, 16 * 1024 - 1);
        CHECK(x >= 16 && x < 16 * 1024);
        in_doubling[63 - __builtin_clzll(x) - 4]++;
    }
    for (int i = 0; i < 10; i++)
        CHECK(in_doubling[i] > 9000 && in_doubling[i] < 11000);
    CHECK_EQ(bh_rng_log_uniform(&rng, 7, 7), 7);
    CHECK_LE(1, bh_rng_log_uniform(&rng, 1, UINT64_MAX));
}

TEST(random, zipf_draws_as_often_as_it_should)
{
    static const double skews[] = {0, 0.5, 0.99};

    for (size_t i = 0; i < COUNT_OF(skews); i++) {
        enum { NUMBERS = 100, DRAWS = 200000 };
        uint64_t drawn[NUMBERS] = {0};
        double all = 0;
        bh_zipf_t zipf;
        bh_rng_t rng;
        bh_zipf_start(&zipf, NUMBERS, skews[i]);
        bh_rng_seed(&rng, 1, i);
        for (int j = 0; j < DRAWS; j++) {
            uint64_t number = bh_zipf_draw(&zipf, &rng);
            CHECK_LT(number, (uint64_t)NUMBERS);
            drawn[number]++;
        }
        for (int j = 0; j < NUMBERS; j++)
            all += pow(j + 1, -skews[i]);
        CHECK(fabs((double)drawn[0] / DRAWS - 1 / all) < 0.005);
        CHECK(fabs((double)drawn[1] / DRAWS - pow(2, -skews[i]) / all) < 0.005);
        /* The rest is an approximation: its halves are within 3 %. */
        double half = 0, wanted = 0;
        for (int j = 2; j < 20; j++) {
            half += (double)drawn[j] / DRAWS;
            wanted += pow(j + 1, -skews[i]) / all;
        }
        CHECK(fabs(half - wanted) < 0.03);
    }
    for (uint64_t count = 1; count < 4; count++) {
        bh_zipf_t zipf;
        bh_rng_t rng;
        bh_zipf_start(&zipf, count, 0.9);
        bh_rng_seed(&rng, 1, count);
        for (int j = 0; j < 1000; j++)
            CHECK_LT(bh_zipf_draw(&zipf, &rng), count);
    }
}

TEST(random, permutation_has_every_number_once)
{
    uint32_t order[1000];
    bool seen[1000] = {false};
    unsigned in_place = 0;
    bh_rng_t rng;

    bh_rng_seed(&rng, test_seed(), 0);
    bh_rng_permutation(&rng, order, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(order[i] < 1000 && !seen[order[i]]);
        seen[order[i]] = true;
        in_place += order[i] == i;
    }
    CHECK(in_place < 10);
}

/* ---- histogram ---- */

static int compare_values(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* value is what the histogram may say where the data say exact. */
static bool close_enough(uint64_t value, uint64_t exact)
{
    return value >= exact && value - exact <= exact / 64;
}

TEST(histogram, quantiles_match_sorted_data)
{
    static const double fractions[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    static bh_hist_t hist;
    bh_rng_t rng;

    bh_rng_seed(&rng, test_seed(), 0);
    for (unsigned magnitude = 1; magnitude <= 64; magnitude++) {
        memset(&hist, 0, sizeof hist);
        for (size_t i = 0; i < COUNT; i++) {
            /* Bits left differ from value to value: all magnitudes up to this one. */
            values[i] = bh_rng_next(&rng) >> (64 - magnitude) >> bh_rng_below(&rng, magnitude);
            bh_hist_record(&hist, values[i]);
        }
        qsort(values, COUNT, sizeof values[0], compare_values);
        CHECK_EQ(bh_hist_count(&hist), COUNT);
        CHECK(close_enough(bh_hist_max(&hist), values[COUNT - 1]));
        for (size_t f = 0; f < COUNT_OF(fractions); f++) {
            size_t rank = (size_t)ceil(fractions[f] * COUNT);
            uint64_t exact = values[rank == 0 ? 0 : rank - 1];
            CHECK(close_enough(bh_hist_quantile(&hist, fractions[f]), exact));
        }
    }
}

TEST(histogram, has_a_bucket_for_every_value)
{
    CHECK_EQ(bh_hist_bucket(0), 0);
    CHECK_EQ(bh_hist_bucket(UINT64_MAX), BH_HIST_BUCKETS - 1);
    for (unsigned shift = 0; shift < 64; shift++) {
        uint64_t power = UINT64_C(1) << shift;
        CHECK_EQ(bh_hist_bucket(power), bh_hist_bucket(power - 1) + 1);
    }
}

TEST(histogram, merges_by_addition)
{
    static bh_hist_t a, b, both, words;
    bh_rng_t rng;

    bh_rng_seed(&rng, test_seed(), 0);
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t value = bh_rng_next(&rng) >> bh_rng_below(&rng, 64);
        bh_hist_record(i % 3 == 0 ? &a : &b, value);
        bh_hist_record(&both, value);
    }
    for (unsigned i = 0; i < BH_HIST_WORDS; i++)
        ((uint64_t *)&words)[i] = ((uint64_t *)&a)[i] + ((uint64_t *)&b)[i];
    bh_hist_merge(&a, &b);
    CHECK(memcmp(&a, &both, sizeof both) == 0);
    CHECK(memcmp(&words, &both, sizeof both) == 0);
}

TEST(histogram, empty_says_0)
{
    static bh_hist_t hist;

    CHECK_EQ(bh_hist_count(&hist), 0);
    CHECK_EQ(bh_hist_max(&hist), 0);
    CHECK_EQ(bh_hist_quantile(&hist, 0.5), 0);
    CHECK(bh_hist_mean(&hist) == 0);
    bh_hist_record(&hist, 10);
    bh_hist_record(&hist, 40);
    CHECK(bh_hist_mean(&hist) == 25);
}

/* ---- stats ---- */

static bool nearly(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

TEST(stats, of_known_data)
{
    double values[] = {4, 1, 3, 2};
    bh_stats_t stats = bh_stats(values, 4);

    CHECK_EQ(stats.count, 4);
    CHECK(stats.min == 1 && stats.max == 4);
    CHECK(nearly(stats.lower_quartile, 1.75) && nearly(stats.upper_quartile, 3.25));
    CHECK(nearly(stats.median, 2.5) && nearly(stats.mean, 2.5));
    CHECK(nearly(stats.deviation, sqrt(5.0 / 3)));
    CHECK(nearly(bh_stats_iqr(&stats), 1.5));
}

TEST(stats, of_one_value_and_of_none)
{
    double value = 7;
    bh_stats_t stats = bh_stats(&value, 1);

    CHECK(stats.min == 7 && stats.median == 7 && stats.upper_quartile == 7 && stats.max == 7);
    CHECK(stats.mean == 7 && stats.deviation == 0);
    stats = bh_stats(NULL, 0);
    CHECK_EQ(stats.count, 0);
    CHECK(stats.median == 0);
}

TEST(stats, geometric_mean)
{
    CHECK(nearly(bh_geometric_mean((double[]){0.5, 2, 8}, 3), 2));
    CHECK(isnan(bh_geometric_mean((double[]){1, 0}, 2)));
    CHECK(isnan(bh_geometric_mean(NULL, 0)));
}

/* ---- pattern ---- */

TEST(pattern, one_flipped_bit_is_found_wherever_it_is)
{
    unsigned char buffer[8 + 80];

    for (size_t start = 0; start < 8; start++) {
        for (size_t size = 1; size <= 80; size++) {
            unsigned char *block = buffer + start;
            bh_pattern_fill(block, size, 1, 2, 3);
            CHECK_EQ(bh_pattern_verify(block, size, 1, 2, 3), BH_PATTERN_OK);
            for (size_t bit = 0; bit < size * 8; bit++) {
                block[bit / 8] ^= (unsigned char)(1 << bit % 8);
                CHECK_EQ(bh_pattern_verify(block, size, 1, 2, 3), bit / 8);
                block[bit / 8] ^= (unsigned char)(1 << bit % 8);
            }
        }
    }
}

TEST(pattern, fills_its_bytes_and_no_others)
{
    unsigned char buffer[66];

    for (size_t size = 0; size <= 64; size++) {
        memset(buffer, 0xa5, sizeof buffer);
        bh_pattern_fill(buffer + 1, size, 1, 2, 3);
        CHECK_EQ(buffer[0], 0xa5);
        for (size_t i = 1 + size; i < sizeof buffer; i++)
            CHECK_EQ(buffer[i], 0xa5);
    }
}

TEST(pattern, another_blocks_contents_are_found)
{
    unsigned char buffer[64];

    bh_pattern_fill(buffer, sizeof buffer, 1, 2, 3);
    CHECK(bh_pattern_verify(buffer, sizeof buffer, 2, 2, 3) < 8);
    CHECK(bh_pattern_verify(buffer, sizeof buffer, 1, 3, 3) < 8);
    CHECK(bh_pattern_verify(buffer, sizeof buffer, 1, 2, 4) < 8);
    CHECK(bh_pattern_verify(buffer, sizeof buffer, 1, 3, 2) < 8);
    memmove(buffer, buffer + 8, sizeof buffer - 8);
    CHECK(bh_pattern_verify(buffer, sizeof buffer, 1, 2, 3) < 8);
    CHECK_EQ(bh_pattern_verify(buffer, 0, 1, 2, 3), BH_PATTERN_OK);
}

/* ---- options ---- */

struct parsed {
    const char *text;
    uint64_t value;
};

TEST(options, sizes)
{
    static const struct parsed good[] = {
        {"0", 0},
        {"4096", 4096},
        {"64K", 65536},
        {"64k", 65536},
        {"1MiB", 1 << 20},
        {"1mb", 1 << 20},
        {"12B", 12},
        {"2G", UINT64_C(2) << 30},
        {"3t", UINT64_C(3) << 40},
        {"15E", UINT64_C(15) << 60},
        {"18446744073709551615", UINT64_MAX},
    };
    static const char *const bad[] = {
        "",
        "K",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.5G",
        "1KK",
        "1iB",
        "1x",
        "0x10",
        "1KiBs",
        "16E",
        "18446744073709551616",
        "99999999999999999999999",
        "17179869184G",
    };
    uint64_t value;

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        CHECK(bh_parse_size(good[i].text, &value) == NULL);
        CHECK_EQ(value, good[i].value);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(bh_parse_size(bad[i], &value) != NULL);
}

TEST(options, durations)
{
    static const struct parsed good[] = {
        {"2s", 2 * BH_NS_PER_S},
        {"2", 2 * BH_NS_PER_S},
        {"500ms", 500 * BH_NS_PER_MS},
        {"10us", 10 * BH_NS_PER_US},
        {"80ns", 80},
        {"1.5m", 90 * BH_NS_PER_S},
        {"0.25s", 250 * BH_NS_PER_MS},
        {"2h", 7200 * BH_NS_PER_S},
        {"0", 0},
        {"1.000001s", 1000001 * BH_NS_PER_US},
    };
    static const char *const bad[] = {
        "",    "s",    "-1s",  ".5s",        "1.s",          "1.5.5s",   "2S",
        "2 s", "2sec", "1e3s", "1.0000001s", "18446744074s", "6000000h", "99999999999999999999ns",
    };
    uint64_t value;

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        CHECK(bh_parse_duration(good[i].text, &value) == NULL);
        CHECK_EQ(value, good[i].value);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(bh_parse_duration(bad[i], &value) != NULL);
}

TEST(options, numbers)
{
    static const char *const bad_counts[] = {
        "", "x", "1x", "-1", "1.0", "1K", " 1", "1e3", "18446744073709551616"};
    static const char *const bad_reals[] = {"", "x", "1x", "inf", "nan", "0x1", " 1", "1e999", "."};
    uint64_t count;
    double real;

    CHECK(bh_parse_count("18446744073709551615", &count) == NULL);
    CHECK_EQ(count, UINT64_MAX);
    CHECK(bh_parse_real("-2.5e-1", &real) == NULL);
    CHECK(real == -0.25);
    for (size_t i = 0; i < COUNT_OF(bad_counts); i++)
        CHECK(bh_parse_count(bad_counts[i], &count) != NULL);
    for (size_t i = 0; i < COUNT_OF(bad_reals); i++)
        CHECK(bh_parse_real(bad_reals[i], &real) != NULL);
}

/* What a command line sets, and a table with one option of each kind. */
static struct {
    bool flag;
    uint64_t count, size_bytes, duration_ns, set;
    double real;
    const char *text;
    bh_list_t counts, sizes;
    unsigned choice;
} given;

static const char *const colours[] = {"red", "green", "blue", NULL};
static const bh_option_t table[] = {
    {.name = "flag", .letter = 'f', .kind = BH_OPTION_FLAG, .value = &given.flag, .help = "a flag"},
    {.name = "count",
     .letter = 'c',
     .kind = BH_OPTION_COUNT,
     .value = &given.count,
     .argument = "N",
     .help = "a count",
     .min = 1,
     .max = 64},
    {.name = "size", .kind = BH_OPTION_SIZE, .value = &given.size_bytes, .min = 16},
    {.name = "duration", .kind = BH_OPTION_DURATION, .value = &given.duration_ns, .min = 1000},
    {.name = "real", .kind = BH_OPTION_REAL, .value = &given.real},
    {.name = "text", .kind = BH_OPTION_TEXT, .value = &given.text},
    {.name = "numbers", .kind = BH_OPTION_COUNTS, .value = &given.counts, .min = 1, .max = 64},
    {.name = "blocks", .kind = BH_OPTION_SIZES, .value = &given.sizes},
    {.name = "colour", .kind = BH_OPTION_CHOICE, .value = &given.choice, .choices = colours},
    {.name = "palette", .kind = BH_OPTION_CHOICES, .value = &given.set, .choices = colours},
    {.name = NULL},
};

/* Parses a command line of words; error is what bh_options_parse made of it. */
static int parse(const char *line, char error[BH_ERROR_MAX])
{
    static char words[256];
    char *argv[32] = {"prog"};
    int argc = 1;

    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    error[0] = '\0';
    return bh_options_parse(table, argc, argv, error);
}

TEST(options, every_kind_is_taken)
{
    char error[BH_ERROR_MAX];

    CHECK_EQ(parse("-fc 8 --size=2M --duration 5ms --real 0.5 --text x,y --numbers 1,2,4 "
                   "--blocks 64,4K --colour blue --palette red,blue",
                   error),
             0);
    CHECK(given.flag);
    CHECK_EQ(given.count, 8);
    CHECK_EQ(given.size_bytes, 2 << 20);
    CHECK_EQ(given.duration_ns, 5 * BH_NS_PER_MS);
    CHECK(given.real == 0.5);
    CHECK_STR(given.text, "x,y");
    CHECK_EQ(given.counts.count, 3);
    CHECK_EQ(given.counts.items[2], 4);
    CHECK_EQ(given.sizes.count, 2);
    CHECK_EQ(given.sizes.items[1], 4096);
    CHECK_EQ(given.choice, 2);
    CHECK_EQ(given.set, 5);
    CHECK_EQ(parse("--count 9 --numbers 7", error), 0);
    CHECK_EQ(given.count, 9);
    CHECK_EQ(given.counts.count, 1);
    CHECK(given.flag);
}

TEST(options, errors_name_the_option_and_the_value)
{
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"--count x", "--count x: not a number"},
        {"--count 4x", "--count 4x: not a whole number"},
        {"--count 0", "--count 0: must be from 1 to 64"},
        {"-c 65", "--count 65: must be from 1 to 64"},
        {"--size 8", "--size 8: must be at least 16"},
        {"--size 16E", "--size 16E: too large"},
        {"--duration 1ns", "--duration 1ns: must be at least 1000 ns"},
        {"--numbers 1,,2", "--numbers : not a number"},
        {"--numbers 1,65", "--numbers 65: must be from 1 to 64"},
        {"--colour pink", "--colour pink: unknown; there are red, green, blue"},
        {"--palette red,pink", "--palette pink: unknown; there are red, green, blue"},
        {"--count", "--count needs a value"},
        {"-c", "--count needs a value"},
        {"--flag=1", "--flag takes no value"},
        {"--nothing", "unknown or ambiguous option --nothing"},
        {"-x", "unknown option -x"},
        {"-f more", "unexpected argument more"},
    };
    char error[BH_ERROR_MAX];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQ(parse(cases[i].line, error), -1);
        CHECK_STR(error, cases[i].error);
    }
}

TEST(options, lists_have_a_limit)
{
    char error[BH_ERROR_MAX];
    char line[3 * BH_LIST_MAX + 16] = "--numbers 1";

    for (unsigned i = 1; i < BH_LIST_MAX; i++)
        strcat(line, ",1");
    CHECK_EQ(parse(line, error), 0);
    CHECK_EQ(given.counts.count, BH_LIST_MAX);
    strcat(line, ",1");
    CHECK_EQ(parse(line, error), -1);
}

TEST(options, description_has_a_line_each)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    bh_options_describe(table, out);
    fclose(out);
    CHECK(strstr(text, "  -f, --flag                 a flag\n") == text);
    CHECK(strstr(text, "  -c, --count N              a count\n") != NULL);
    free(text);
}

/* ---- record ---- */

/* A writer to memory. */
struct capture {
    bh_writer_t writer;
    char *json, *csv, *table;
    size_t sizes[3];
};

static void capture_start(struct capture *c)
{
    memset(c, 0, sizeof *c);
    c->writer.json = open_memstream(&c->json, &c->sizes[0]);
    c->writer.csv = open_memstream(&c->csv, &c->sizes[1]);
    c->writer.table = open_memstream(&c->table, &c->sizes[2]);
}

static void capture_end(struct capture *c)
{
    FILE *out = c->writer.table;

    CHECK_EQ(bh_writer_close(&c->writer), 0);
    fclose(out);
}

static void capture_free(struct capture *c)
{
    free(c->json);
    free(c->csv);
    free(c->table);
}

TEST(record, all_forms_say_the_same)
{
    struct capture c;
    const bh_field_t first[] = {bh_text("test", "pair"), bh_count("ranks", UINT64_MAX),
                                bh_real("ns", 9.8125, 2)};
    const bh_field_t second[] = {bh_text("test", "a long name of a test"), bh_count("ranks", 4),
                                 bh_real("ns", NAN, 2)};

    capture_start(&c);
    bh_write(&c.writer, "result", first, 3);
    bh_write(&c.writer, "result", second, 3);
    capture_end(&c);
    CHECK_STR(c.json, "{\"record\":\"result\",\"test\":\"pair\",\"ranks\":18446744073709551615,"
                      "\"ns\":9.8125}\n"
                      "{\"record\":\"result\",\"test\":\"a long name of a test\",\"ranks\":4,"
                      "\"ns\":null}\n");
    CHECK_STR(c.csv, "record,test,ranks,ns\nresult,pair,18446744073709551615,9.81\n"
                     "result,a long name of a test,4,\n");
    CHECK_STR(c.table, "# test                   ranks          ns\n"
                       "  pair              18446744073709551615        9.81\n"
                       "  a long name of a test           4           -\n");
    capture_free(&c);
}

TEST(record, other_names_start_a_new_header)
{
    struct capture c;

    capture_start(&c);
    bh_write(&c.writer, "one", (bh_field_t[]){bh_count("a", 1), bh_count("b", 2)}, 2);
    bh_write(&c.writer, "two", (bh_field_t[]){bh_count("a", 3)}, 1);
    bh_write(&c.writer, "two", (bh_field_t[]){bh_count("a", 4)}, 1);
    capture_end(&c);
    CHECK_STR(c.csv, "record,a,b\none,1,2\n\nrecord,a\ntwo,3\ntwo,4\n");
    capture_free(&c);
}

TEST(record, texts_are_escaped)
{
    struct capture c;
    const bh_field_t field =
        bh_text("na\"me", "q\" b\\ n\n t\t e\x1b \xc3\xa9 bad\xff\xc3 \xed\xa0\x80,");

    capture_start(&c);
    bh_write(&c.writer, "r", &field, 1);
    capture_end(&c);
    CHECK_STR(c.json,
              "{\"record\":\"r\",\"na\\\"me\":\"q\\\" b\\\\ n\\u000a t\\u0009 e\\u001b \xc3\xa9 "
              "bad\\ufffd\\ufffd \\ufffd\\ufffd\\ufffd,\"}\n");
    CHECK_STR(c.csv, "record,\"na\"\"me\"\n"
                     "r,\"q\"\" b\\ n\n t\t e\x1b \xc3\xa9 bad\xff\xc3 \xed\xa0\x80,\"\n");
    CHECK(strchr(strchr(c.table, '\n') + 1, '\n')[1] == '\0'); /* header and one line */
    capture_free(&c);
}

TEST(record, csv_quotes_only_what_needs_it)
{
    static const struct {
        const char *text, *csv;
    } cases[] = {
        {"plain", "plain"}, {"", ""},         {"in side", "in side"}, {"a,b", "\"a,b\""},
        {" a", "\" a\""},   {"a ", "\"a \""}, {"#a", "\"#a\""},       {"a\rb", "\"a\rb\""},
        {"\"", "\"\"\"\""},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct capture c;
        const bh_field_t field = bh_text("x", cases[i].text);
        capture_start(&c);
        bh_write(&c.writer, "r", &field, 1);
        capture_end(&c);
        char line[64];
        snprintf(line, sizeof line, "record,x\nr,%s\n", cases[i].csv);
        CHECK_STR(c.csv, line);
        capture_free(&c);
    }
}

TEST(record, numbers_keep_their_digits_in_json)
{
    static const double values[] = {0.1, 1e300, -DBL_MAX, DBL_MIN, 123456789.123456789, INFINITY};

    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct capture c;
        const bh_field_t field = bh_real("x", values[i], 3);
        capture_start(&c);
        bh_write(&c.writer, "r", &field, 1);
        capture_end(&c);
        const char *digits = strstr(c.json, "\"x\":") + 4;
        CHECK(isinf(values[i]) ? strcmp(digits, "null}\n") == 0
                               : strtod(digits, NULL) == values[i]);
        capture_free(&c);
    }
}

TEST(record, machine_is_described)
{
    char *argv[] = {"prog", "--text", "two\nlines", NULL};
    const bh_field_t extra = bh_count("ranks", 8);
    struct capture c;

    capture_start(&c);
    bh_write_machine(&c.writer, "prog", "1.2.3", 3, argv, &extra, 1);
    bh_write(&c.writer, "result", (bh_field_t[]){bh_count("a", 1)}, 1);
    capture_end(&c);
    CHECK(strncmp(c.json, "{\"record\":\"machine\",\"program\":\"prog\",\"version\":\"1.2.3\",",
                  53) == 0);
    CHECK(strstr(c.json, "\"command_line\":\"prog --text two\\u000alines\"") != NULL);
    CHECK(strstr(c.json, "\"kernel\":\"Linux ") != NULL);
    CHECK(strstr(c.json, "\"cores\":0") == NULL);
    CHECK(strstr(c.json, "\"ranks\":8}\n") != NULL);
    CHECK(strstr(c.csv, "# command_line: prog --text two lines\n") != NULL);
    CHECK(strstr(c.csv, "# ranks: 8\nrecord,a\nresult,1\n") != NULL);
    CHECK(strstr(c.table, "# ranks: 8\n# ") != NULL);
    capture_free(&c);
}

TEST(record, failures_are_reported)
{
    bh_writer_t writer;
    const char *failed = NULL;

    CHECK_EQ(bh_writer_open(&writer, NULL, "/nowhere/at/all", NULL, &failed), -1);
    CHECK_EQ(errno, ENOENT);
    CHECK(failed != NULL && strcmp(failed, "/nowhere/at/all") == 0);
    CHECK_EQ(bh_writer_open(&writer, "/dev/full", NULL, NULL, NULL), 0);
    bh_write(&writer, "r", (bh_field_t[]){bh_count("a", 1)}, 1);
    CHECK_EQ(bh_writer_close(&writer), -1);
}

TEST(counters, count_what_is_done)
{
    bh_counters_t counters;
    double few[BH_COUNTERS], many[BH_COUNTERS];

    if (bh_counters_open(&counters) == 0 || counters.fds[BH_INSTRUCTIONS] < 0)
        SKIP("no hardware counters: %s", strerror(errno));
    bh_counters_start(&counters);
    bh_counters_stop(&counters, few);
    bh_counters_start(&counters);
    for (volatile unsigned i = 0; i < 1000000; i++)
        ;
    bh_counters_stop(&counters, many);
    bh_counters_close(&counters);
    CHECK(few[BH_INSTRUCTIONS] < 100000);
    CHECK(many[BH_INSTRUCTIONS] >= 1000000);
}
