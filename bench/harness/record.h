/* Results, written from one list of named fields in up to three forms:
 *
 *   JSON lines   one object a line, its first member "record" names its kind
 *   CSV          a header line, then a line a record, its kind in the first column; the run is
 *                described before, after "# "
 *   table        for people: aligned columns under a header that starts with "# "
 *
 * A record whose names differ from the one before starts a new header, after an empty line, in CSV
 * and table. Every record is flushed at once, so what was written survives a killed run.
 *
 *     bh_writer_t writer;
 *     const char *path;
 *     if (bh_writer_open(&writer, json_path, csv_path, stdout, &path) != 0) ...
 *     bh_write_machine(&writer, "prog", "0.1.0", argc, argv, NULL, 0);
 *     bh_field_t fields[] = {bh_text("test", "pair"), bh_count("ranks", 4),
 *                            bh_real("ns", 9.81, 2)};
 *     bh_write(&writer, "result", fields, 3);
 *     if (bh_writer_close(&writer) != 0) ...
 */
#ifndef BH_RECORD_H
#define BH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct bh_field {
    const char *name;
    enum { BH_FIELD_TEXT, BH_FIELD_COUNT, BH_FIELD_REAL } kind;
    union {
        const char *text;
        uint64_t count;
        struct {
            double value;
            int decimals; /* in the table and CSV; JSON has all digits */
        } real;
    };
} bh_field_t;

static inline bh_field_t bh_text(const char *name, const char *text)
{
    return (bh_field_t){.name = name, .kind = BH_FIELD_TEXT, .text = text};
}

static inline bh_field_t bh_count(const char *name, uint64_t count)
{
    return (bh_field_t){.name = name, .kind = BH_FIELD_COUNT, .count = count};
}

/* NaN and infinity stand for no value: null in JSON, nothing in CSV, "-" in the table. */
static inline bh_field_t bh_real(const char *name, double value, int decimals)
{
    return (bh_field_t){.name = name, .kind = BH_FIELD_REAL, .real = {value, decimals}};
}

/* Where records go. */
typedef struct bh_writer {
    FILE *json, *csv, *table; /* NULL: not wanted */
    uint64_t names;           /* hash of the last record's kind and names */
    bool started;             /* a record was written */
} bh_writer_t;

/* Opens the files; a NULL path or table leaves that form out, "-" is stdout. 0, or -1 with errno,
 * and *failed (if not NULL) is the path. table stays the caller's. */
int bh_writer_open(bh_writer_t *writer, const char *json_path, const char *csv_path, FILE *table,
                   const char **failed);

void bh_write(bh_writer_t *writer, const char *record, const bh_field_t *fields, size_t count);

/* Writes the record "machine": program, version, command line, date, host, kernel, processor, cores
 * (those this process may use), memory, and the fields in extra. */
void bh_write_machine(bh_writer_t *writer, const char *program, const char *version, int argc,
                      char *const *argv, const bh_field_t *extra, size_t extra_count);

/* 0, or -1 if anything could not be written (disk full). */
int bh_writer_close(bh_writer_t *writer);

#endif
