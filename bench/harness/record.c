#include "harness/record.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "harness/random.h"

#define NUMBER_MAX 400 /* characters of the longest double in %.17g or %.9f, and some */
#define DECIMALS_MAX 17
#define TEXT_WIDTH 16 /* of a column, at least */
#define NUMBER_WIDTH 10
#define MACHINE_FIELDS 10
#define EXTRA_MAX 32

/* Length in bytes of the UTF-8 character at text; 0 if there is none. */
static size_t utf8_length(const unsigned char *text)
{
    unsigned char first = text[0];
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if ((first >= 0x80 && first < 0xc2) || first > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates, and beyond U+10FFFF. */
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

/* Bytes that are not UTF-8 become U+FFFD: a command line may hold anything, JSON may not. */
static void write_json_text(FILE *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    fputc('"', out);
    while (*s != '\0') {
        size_t length = utf8_length(s);
        if (length == 0)
            fputs("\\ufffd", out);
        else if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(out, "\\u%04x", *s);
        else
            fwrite(s, 1, length, out);
        s += length == 0 ? 1 : length;
    }
    fputc('"', out);
}

static void write_csv_text(FILE *out, const char *text)
{
    size_t length = strlen(text);
    bool plain = strpbrk(text, "\",\r\n") == NULL && text[0] != '#' && text[0] != ' ' &&
                 (length == 0 || text[length - 1] != ' ');

    if (plain) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* A text that stays in its line and, as a cell of a table, in its column. */
static void write_line_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
}

static void write_json(FILE *out, const char *record, const bh_field_t *fields, size_t count)
{
    fputs("{\"record\":", out);
    write_json_text(out, record);
    for (const bh_field_t *field = fields; field < fields + count; field++) {
        fputc(',', out);
        write_json_text(out, field->name);
        fputc(':', out);
        if (field->kind == BH_FIELD_TEXT)
            write_json_text(out, field->text);
        else if (field->kind == BH_FIELD_COUNT)
            fprintf(out, "%llu", (unsigned long long)field->count);
        else if (isfinite(field->real.value))
            fprintf(out, "%.17g", field->real.value);
        else
            fputs("null", out);
    }
    fputs("}\n", out);
}

/* The digits of a number, for the table and CSV; nothing stands for no value. */
static const char *number_text(const bh_field_t *field, const char *nothing, char text[NUMBER_MAX])
{
    if (field->kind == BH_FIELD_COUNT)
        snprintf(text, NUMBER_MAX, "%llu", (unsigned long long)field->count);
    else if (isfinite(field->real.value))
        snprintf(text, NUMBER_MAX, "%.*f",
                 field->real.decimals < DECIMALS_MAX ? field->real.decimals : DECIMALS_MAX,
                 field->real.value);
    else
        return nothing;
    return text;
}

static void write_csv(FILE *out, const char *record, const bh_field_t *fields, size_t count,
                      bool header)
{
    char number[NUMBER_MAX];

    if (header) {
        fputs("record", out);
        for (size_t i = 0; i < count; i++) {
            fputc(',', out);
            write_csv_text(out, fields[i].name);
        }
        fputc('\n', out);
    }
    write_csv_text(out, record);
    for (size_t i = 0; i < count; i++) {
        fputc(',', out);
        if (fields[i].kind == BH_FIELD_TEXT)
            write_csv_text(out, fields[i].text);
        else
            fputs(number_text(&fields[i], "", number), out);
    }
    fputc('\n', out);
}

static int column_width(const bh_field_t *field)
{
    int least = field->kind == BH_FIELD_TEXT ? TEXT_WIDTH : NUMBER_WIDTH;
    int name = (int)strlen(field->name);

    return name > least ? name : least;
}

/* Texts are aligned to the left, numbers to the right. */
static void write_cell(FILE *out, const bh_field_t *field, const char *text, bool last)
{
    int padding = column_width(field) - (int)strlen(text);

    if (field->kind != BH_FIELD_TEXT)
        fprintf(out, "%*s", padding > 0 ? padding : 0, "");
    write_line_text(out, text);
    if (field->kind == BH_FIELD_TEXT && !last)
        fprintf(out, "%*s", padding > 0 ? padding : 0, "");
    fputs(last ? "\n" : "  ", out);
}

static void write_table(FILE *out, const bh_field_t *fields, size_t count, bool header)
{
    char number[NUMBER_MAX];

    if (header) {
        fputs("# ", out);
        for (size_t i = 0; i < count; i++)
            write_cell(out, &fields[i], fields[i].name, i + 1 == count);
    }
    fputs("  ", out);
    for (size_t i = 0; i < count; i++) {
        const char *text =
            fields[i].kind == BH_FIELD_TEXT ? fields[i].text : number_text(&fields[i], "-", number);
        write_cell(out, &fields[i], text, i + 1 == count);
    }
}

/* What describes the run: a line a field, in CSV and table alike. */
static void write_comments(FILE *out, const bh_field_t *fields, size_t count)
{
    char number[NUMBER_MAX];

    for (const bh_field_t *field = fields; field < fields + count; field++) {
        fprintf(out, "# %s: ", field->name);
        write_line_text(out, field->kind == BH_FIELD_TEXT ? field->text
                                                          : number_text(field, "-", number));
        fputc('\n', out);
    }
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = bh_mix64(hash + (unsigned char)*text);
    return bh_mix64(hash + 256); /* so that "ab", "c" is not "a", "bc" */
}

static int open_output(const char *path, FILE **file)
{
    if (path == NULL)
        return 0;
    *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    return *file == NULL ? -1 : 0;
}

int bh_writer_open(bh_writer_t *writer, const char *json_path, const char *csv_path, FILE *table,
                   const char **failed)
{
    const char *path = json_path;

    *writer = (bh_writer_t){.table = table};
    if (open_output(json_path, &writer->json) == 0) {
        path = csv_path;
        if (open_output(csv_path, &writer->csv) == 0)
            return 0;
    }
    if (failed != NULL)
        *failed = path;
    return -1;
}

void bh_write(bh_writer_t *writer, const char *record, const bh_field_t *fields, size_t count)
{
    uint64_t names = hash_text(count, record);

    for (size_t i = 0; i < count; i++)
        names = hash_text(names, fields[i].name);
    bool header = !writer->started || names != writer->names;
    bool gap = header && writer->started;
    writer->started = true;
    writer->names = names;

    if (writer->json != NULL) {
        write_json(writer->json, record, fields, count);
        fflush(writer->json);
    }
    if (writer->csv != NULL) {
        fputs(gap ? "\n" : "", writer->csv);
        write_csv(writer->csv, record, fields, count, header);
        fflush(writer->csv);
    }
    if (writer->table != NULL) {
        fputs(gap ? "\n" : "", writer->table);
        write_table(writer->table, fields, count, header);
        fflush(writer->table);
    }
}

/* The value of the first line of a file in /proc that starts with key, after the colon. */
static void read_proc(const char *path, const char *key, char *value, size_t value_size)
{
    char line[512];
    FILE *file = fopen(path, "re");

    snprintf(value, value_size, "unknown");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL || strncmp(line, key, strlen(key)) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(value, value_size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    fclose(file);
}

static void join_arguments(int argc, char *const *argv, char *line, size_t line_size)
{
    size_t used = 0;

    line[0] = '\0';
    for (int i = 0; i < argc && used < line_size; i++)
        used += (size_t)snprintf(line + used, line_size - used, "%s%s", i == 0 ? "" : " ", argv[i]);
}

static uint64_t usable_cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint64_t)CPU_COUNT(&set);
    return (uint64_t)sysconf(_SC_NPROCESSORS_ONLN); /* more processors than cpu_set_t knows */
}

void bh_write_machine(bh_writer_t *writer, const char *program, const char *version, int argc,
                      char *const *argv, const bh_field_t *extra, size_t extra_count)
{
    bh_field_t fields[MACHINE_FIELDS + EXTRA_MAX];
    char command_line[4096];
    char kernel[sizeof(struct utsname)];
    char cpu_model[128];
    char date[32];
    struct utsname system;
    struct tm utc;
    time_t now = time(NULL);
    size_t count = 0;

    uname(&system);
    snprintf(kernel, sizeof kernel, "%s %s %s", system.sysname, system.release, system.machine);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    join_arguments(argc, argv, command_line, sizeof command_line);
    read_proc("/proc/cpuinfo", "model name", cpu_model, sizeof cpu_model);

    fields[count++] = bh_text("program", program);
    fields[count++] = bh_text("version", version);
    fields[count++] = bh_text("command_line", command_line);
    fields[count++] = bh_text("date", date);
    fields[count++] = bh_text("host", system.nodename);
    fields[count++] = bh_text("kernel", kernel);
    fields[count++] = bh_text("cpu_model", cpu_model);
    fields[count++] = bh_count("cores", usable_cores());
    fields[count++] = bh_count("memory_bytes",
                               (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
    fields[count++] = bh_text("compiler", __VERSION__);
    for (size_t i = 0; i < extra_count && i < EXTRA_MAX; i++)
        fields[count++] = extra[i];

    if (writer->json != NULL) {
        write_json(writer->json, "machine", fields, count);
        fflush(writer->json);
    }
    if (writer->csv != NULL)
        write_comments(writer->csv, fields, count);
    if (writer->table != NULL)
        write_comments(writer->table, fields, count);
}

static int close_output(FILE *file)
{
    if (file == NULL)
        return 0;
    int failed = fflush(file) != 0 || ferror(file);
    if (file != stdout)
        failed |= fclose(file) != 0;
    return failed ? -1 : 0;
}

int bh_writer_close(bh_writer_t *writer)
{
    int failed = close_output(writer->json) | close_output(writer->csv);

    if (writer->table != NULL)
        failed |= fflush(writer->table) != 0 || ferror(writer->table) ? -1 : 0;
    *writer = (bh_writer_t){.table = NULL};
    return failed;
}
