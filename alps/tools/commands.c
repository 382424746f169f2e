#include "commands.h"

#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The most that a heap can have open at a time, see alps_create_options. */
#define INSTANCE_MAX 16383

int with_heap(const struct arguments *a, unsigned flags, heap_action *action, void *context)
{
    struct alps_open_options options = {.struct_size = sizeof options, .flags = flags};
    alps_heap_t *heap;

    int code = alps_heap_open_files(a->files, a->file_count, &options, &heap);
    if (code != 0)
        return library_error(a, code, NULL);
    int status = action(a, heap, context);
    code = alps_heap_close(heap);
    if (code != 0 && status == STATUS_OK)
        status = library_error(a, code, NULL);
    return status;
}

int read_stats(const struct arguments *a, alps_heap_t *heap, struct alps_stats *stats)
{
    *stats = (struct alps_stats){.struct_size = sizeof *stats};
    int code = alps_heap_stats(heap, stats);
    return code == 0 ? STATUS_OK : library_error(a, code, NULL);
}

struct json report_open(const struct arguments *a)
{
    struct json json = {.out = stdout};

    json_open(&json, NULL, '{');
    json_open(&json, "files", '[');
    for (unsigned i = 0; i < a->file_count; i++)
        json_string(&json, NULL, a->files[i]);
    json_close(&json, ']');
    return json;
}

void report_close(struct json *json)
{
    json_close(json, '}');
    json_end_line(json);
}

/* "/dev/shm/h: " */
static void print_subject(const struct arguments *a)
{
    print_safely(a->files[0]);
    fputs(": ", stdout);
}

/* ---- create -------------------------------------------------------------------------------- */

static int report_created(const struct arguments *a, alps_heap_t *heap, void *context)
{
    struct alps_stats stats;
    char size[BYTES_TEXT_MAX];
    char capacity[BYTES_TEXT_MAX];
    char zone[BYTES_TEXT_MAX];

    (void)context;
    int status = read_stats(a, heap, &stats);
    if (status != STATUS_OK)
        return status;
    if (option_given(a, OPTION_JSON)) {
        struct json json = report_open(a);
        json_number(&json, "size", stats.size);
        json_number(&json, "capacity", stats.capacity);
        json_number(&json, "zone_size", stats.zone_size);
        json_number(&json, "zones", stats.zones);
        report_close(&json);
        return STATUS_OK;
    }
    print_subject(a);
    printf("created: %s", exact_bytes_text(size, stats.size));
    if (stats.capacity > stats.size)
        printf(", may grow to %s", bytes_text(capacity, stats.capacity));
    printf(", zones of %s\n", bytes_text(zone, stats.zone_size));
    return STATUS_OK;
}

int command_create(const struct arguments *a)
{
    int nodes[NUMBER_LIST_MAX];
    struct alps_create_options options = {
        .struct_size = sizeof options,
        .size = a->size,
        .capacity = a->capacity,
        .zone_size = a->zone_size,
        .mode = a->mode,
        .nodes = a->nodes.count > 0 ? nodes : NULL,
        .node_count = a->nodes.count,
        .flags = (option_given(a, OPTION_DURABLE) ? ALPS_CREATE_DURABLE : 0) |
                 (option_given(a, OPTION_IN_PLACE) ? ALPS_CREATE_IN_PLACE : 0) |
                 (option_given(a, OPTION_SHARED) ? ALPS_CREATE_SHARED : 0),
        .max_instances = (unsigned)a->max_instances,
    };

    for (unsigned i = 0; i < a->nodes.count; i++)
        nodes[i] = (int)a->nodes.items[i];
    int code = alps_heap_create_files(a->files, a->file_count, &options);
    if (code != 0)
        return library_error(a, code, NULL);
    return with_heap(a, ALPS_OPEN_READONLY, report_created, NULL);
}

/* ---- grow, trim ---------------------------------------------------------------------------- */

/* Reports how one of the statistics changed. */
static void report_change(const struct arguments *a, const char *what, const char *key,
                          uint64_t before, uint64_t after)
{
    char text_before[BYTES_TEXT_MAX];
    char text_after[BYTES_TEXT_MAX];

    if (option_given(a, OPTION_JSON)) {
        struct json json = report_open(a);
        json_open(&json, key, '{');
        json_number(&json, "before", before);
        json_number(&json, "after", after);
        json_close(&json, '}');
        report_close(&json);
    } else {
        print_subject(a);
        printf("%s: %s before, %s now\n", what, exact_bytes_text(text_before, before),
               exact_bytes_text(text_after, after));
    }
}

static int grow(const struct arguments *a, alps_heap_t *heap, void *context)
{
    struct alps_stats before;
    struct alps_stats after;

    (void)context;
    int status = read_stats(a, heap, &before);
    if (status != STATUS_OK)
        return status;
    int code = alps_heap_grow(heap, a->size);
    if (code != 0)
        return library_error(a, code, NULL);
    status = read_stats(a, heap, &after);
    if (status == STATUS_OK)
        report_change(a, "size", "size", before.size, after.size);
    return status;
}

int command_grow(const struct arguments *a)
{
    return with_heap(a, ALPS_OPEN_PERMANENT, grow, NULL);
}

static int trim(const struct arguments *a, alps_heap_t *heap, void *context)
{
    struct alps_stats before;
    struct alps_stats after;

    (void)context;
    int status = read_stats(a, heap, &before);
    if (status != STATUS_OK)
        return status;
    int code = alps_heap_trim(heap);
    if (code != 0)
        return library_error(a, code, NULL);
    status = read_stats(a, heap, &after);
    if (status == STATUS_OK)
        report_change(a, "held by the files", "file_bytes", before.file_bytes, after.file_bytes);
    return status;
}

int command_trim(const struct arguments *a)
{
    return with_heap(a, ALPS_OPEN_PERMANENT, trim, NULL);
}

/* ---- recover ------------------------------------------------------------------------------- */

/* Opening a heap for writing takes in the dead already, so they are noted before that. */
struct recovery {
    struct alps_instance dead[INSTANCE_MAX]; /* seen dead, and recovered in the end */
    unsigned count;
    unsigned alive;
    unsigned still_dead;
    /* First what alps_recover answers, then those of the dead whose blocks wait for a decision. */
    alps_gen_t generations[INSTANCE_MAX];
    unsigned generation_count;
};

static int note_dead(const struct alps_instance *instance, void *context)
{
    struct recovery *recovery = context;

    if (!instance->alive && recovery->count < INSTANCE_MAX)
        recovery->dead[recovery->count++] = *instance;
    return 0;
}

static int look_for_dead(const struct arguments *a, alps_heap_t *heap, void *context)
{
    int code = alps_instance_walk(heap, note_dead, context);

    return code == 0 ? STATUS_OK : library_error(a, code, NULL);
}

static bool is_of_dead(const struct recovery *recovery, alps_gen_t generation)
{
    for (unsigned i = 0; i < recovery->count; i++) {
        if (recovery->dead[i].generation == generation)
            return true;
    }
    return false;
}

/* Counts an instance that is there still; one that is dead still was not recovered. */
static int note_remaining(const struct alps_instance *instance, void *context)
{
    struct recovery *recovery = context;

    if (instance->alive) {
        recovery->alive += !instance->self;
        return 0;
    }
    recovery->still_dead++;
    for (unsigned i = 0; i < recovery->count; i++) {
        if (recovery->dead[i].slot == instance->slot &&
            recovery->dead[i].generation == instance->generation) {
            recovery->dead[i] = recovery->dead[--recovery->count];
            break;
        }
    }
    return 0;
}

/* Lists a generation of the dead. One that left no blocks is forgotten by the heap already. */
static int note_generation(const struct alps_generation *generation, void *context)
{
    struct recovery *recovery = context;

    if (!generation->open && !generation->committed &&
        is_of_dead(recovery, generation->generation) && recovery->generation_count < INSTANCE_MAX)
        recovery->generations[recovery->generation_count++] = generation->generation;
    return 0;
}

static void report_recovery(const struct arguments *a, const struct recovery *recovery)
{
    if (option_given(a, OPTION_JSON)) {
        struct json json = report_open(a);
        json_number(&json, "recovered", recovery->count);
        json_open(&json, "generations", '[');
        for (unsigned i = 0; i < recovery->generation_count; i++)
            json_number(&json, NULL, recovery->generations[i]);
        json_close(&json, ']');
        json_number(&json, "alive", recovery->alive);
        json_number(&json, "still_dead", recovery->still_dead);
        report_close(&json);
        return;
    }
    print_subject(a);
    printf("%u dead instance%s recovered, %u alive, %u still dead\n", recovery->count,
           recovery->count == 1 ? "" : "s", recovery->alive, recovery->still_dead);
    for (unsigned i = 0; i < recovery->generation_count; i++)
        printf("  generation %" PRIu64
               " keeps its blocks until `alps bulk-free` or `alps commit`\n",
               recovery->generations[i]);
}

static int recover(const struct arguments *a, alps_heap_t *heap, void *context)
{
    struct recovery *recovery = context;
    struct alps_recovery report = {.struct_size = sizeof report,
                                   .generations = recovery->generations,
                                   .capacity = INSTANCE_MAX};

    int code = alps_recover(heap, &report);
    if (code == 0) {
        /* What died between the first look and now. */
        for (unsigned i = 0; i < report.count && i < report.capacity; i++) {
            if (!is_of_dead(recovery, recovery->generations[i]) && recovery->count < INSTANCE_MAX)
                recovery->dead[recovery->count++] =
                    (struct alps_instance){.generation = recovery->generations[i]};
        }
        code = alps_instance_walk(heap, note_remaining, recovery);
    }
    if (code == 0)
        code = alps_generation_walk(heap, note_generation, recovery);
    if (code != 0)
        return library_error(a, code, NULL);
    report_recovery(a, recovery);
    return STATUS_OK;
}

int command_recover(const struct arguments *a)
{
    static struct recovery recovery;

    int status = with_heap(a, ALPS_OPEN_READONLY, look_for_dead, &recovery);
    return status == STATUS_OK ? with_heap(a, ALPS_OPEN_PERMANENT, recover, &recovery) : status;
}

/* ---- bulk-free, commit --------------------------------------------------------------------- */

/* What is done to generations. */
struct generation_work {
    int (*call)(alps_heap_t *heap, alps_gen_t generation);
    const char *done;
    const char *busy_hint;
};

/* Counts the blocks of one generation. */
struct count {
    alps_gen_t generation;
    uint64_t blocks;
    uint64_t bytes;
};

static int count_block(const struct alps_block *block, void *context)
{
    struct count *count = context;

    if (block->generation == count->generation) {
        count->blocks++;
        count->bytes += block->size;
    }
    return 0;
}

static void report_generation(const struct arguments *a, const struct generation_work *work,
                              const struct count *count)
{
    char bytes[BYTES_TEXT_MAX];

    if (option_given(a, OPTION_JSON)) {
        struct json json = report_open(a);
        json_number(&json, "generation", count->generation);
        json_number(&json, "blocks", count->blocks);
        json_number(&json, "bytes", count->bytes);
        report_close(&json);
    } else {
        print_subject(a);
        printf("generation %" PRIu64 " %s: %" PRIu64 " block%s, %s\n", count->generation,
               work->done, count->blocks, count->blocks == 1 ? "" : "s",
               exact_bytes_text(bytes, count->bytes));
    }
}

/* Generations that nobody has open, the permanent ones left out. */
struct closed {
    alps_gen_t *items;
    unsigned count;
};

static int note_closed(const struct alps_generation *generation, void *context)
{
    struct closed *closed = context;

    if (generation->open || generation->committed)
        return 0;
    alps_gen_t *items = realloc(closed->items, (closed->count + 1) * sizeof *items);
    if (items == NULL)
        return -ENOMEM;
    items[closed->count++] = generation->generation;
    closed->items = items;
    return 0;
}

/* Does the work to every generation of a list, whatever becomes of the others; the first failure is
 * the one that counts. */
static int treat_list(const struct arguments *a, alps_heap_t *heap,
                      const struct generation_work *work, const alps_gen_t *list, unsigned length)
{
    int status = STATUS_OK;

    for (unsigned i = 0; i < length; i++) {
        struct count count = {.generation = list[i]};
        int code = alps_heap_walk(heap, count_block, &count);
        if (code == 0)
            code = work->call(heap, count.generation);
        if (code == 0) {
            report_generation(a, work, &count);
        } else {
            int failure = library_error(a, code,
                                        code == -EBUSY    ? work->busy_hint
                                        : code == -ENOENT ? "`alps info` lists the generations"
                                                          : NULL);
            status = status == STATUS_OK ? failure : status;
        }
    }
    return status;
}

static int treat_generations(const struct arguments *a, alps_heap_t *heap, void *context)
{
    struct closed closed = {.items = NULL};

    if (!option_given(a, OPTION_CLOSED))
        return treat_list(a, heap, context, a->generations.items, a->generations.count);
    int code = alps_generation_walk(heap, note_closed, &closed);
    int status = code != 0 ? library_error(a, code, NULL)
                           : treat_list(a, heap, context, closed.items, closed.count);
    free(closed.items);
    return status;
}

static int command_generations(const struct arguments *a, struct generation_work *work)
{
    if (number_list_contains(&a->generations, ALPS_PERMANENT))
        return usage_error(a->command, "--generation 0: the blocks of generation 0 are permanent");
    return with_heap(a, ALPS_OPEN_PERMANENT, treat_generations, work);
}

/* Of generations in a list, or of all that are closed. */
static int command_of_generations(const struct arguments *a, struct generation_work *work)
{
    if (option_given(a, OPTION_GENERATION) == option_given(a, OPTION_CLOSED))
        return usage_error(a->command, "give either --generation or --closed");
    return command_generations(a, work);
}

int command_bulk_free(const struct arguments *a)
{
    struct generation_work work = {alps_bulk_free, "freed",
                                   "a live instance has this generation open, see `alps info`"};

    return command_of_generations(a, &work);
}

int command_commit(const struct arguments *a)
{
    struct generation_work work = {
        alps_commit, "made permanent",
        "a live instance has this generation open, see `alps info`; it can commit itself"};

    return command_of_generations(a, &work);
}

/* ---- declare-dead, format, destroy ---------------------------------------------------------- */

static const char process_hint[] = "kill the process, then it is known to be dead";

/* STATUS_OK if the user wants it: said so with --yes, or says so now. */
static int confirm(const struct arguments *a, const char *consequence)
{
    char *answer = NULL;
    size_t capacity = 0;

    if (option_given(a, OPTION_YES))
        return STATUS_OK;
    if (!isatty(STDIN_FILENO))
        return usage_error(a->command, "%s: %s: confirm that with --yes", a->files[0], consequence);
    fprintf(stderr, "alps: %s: %s: %s. Go on? [y/N] ", a->command, a->files[0], consequence);
    bool yes = getline(&answer, &capacity, stdin) > 0 &&
               (strcasecmp(answer, "y\n") == 0 || strcasecmp(answer, "yes\n") == 0);
    free(answer);
    if (!yes)
        fprintf(stderr, "alps: %s: %s: nothing was changed\n", a->command, a->files[0]);
    return yes ? STATUS_OK : STATUS_FAILED;
}

/* The processes of a host of a name or, in 16 digits, a number. */
struct host_search {
    const char *wanted;
    uint64_t host;
    uint64_t instances;
    bool ambiguous;
};

static int find_host(const struct alps_instance *instance, void *context)
{
    struct host_search *search = context;
    char number[HOST_TEXT_MAX];

    if (strcmp(instance->host_name, search->wanted) != 0 &&
        strcmp(host_text(number, instance->host), search->wanted) != 0)
        return 0;
    search->ambiguous |= search->instances != 0 && search->host != instance->host;
    search->host = instance->host;
    search->instances++;
    return 0;
}

static int declare_host(const struct arguments *a, alps_heap_t *heap, void *context)
{
    struct host_search search = {.wanted = a->host};
    (void)context;

    int code = alps_instance_walk(heap, find_host, &search);
    if (code == 0 && search.ambiguous)
        return usage_error(a->command,
                           "several hosts have the name %s: give the number, by `alps info --json`",
                           a->host);
    if (code == 0 && search.instances == 0)
        return usage_error(a->command, "%s: no process of host %s has it open", a->files[0],
                           a->host);
    if (code == 0)
        code = alps_declare_host_dead(heap, search.host, 0);
    if (code != 0)
        return library_error(a, code, code == -EBUSY ? process_hint : NULL);
    if (option_given(a, OPTION_JSON)) {
        struct json json = report_open(a);
        json_number(&json, "instances", search.instances);
        report_close(&json);
    } else {
        print_subject(a);
        printf("host %s declared dead with %" PRIu64 " process%s; `alps recover` takes them in\n",
               a->host, search.instances, search.instances == 1 ? "" : "es");
    }
    return STATUS_OK;
}

int command_declare_dead(const struct arguments *a)
{
    struct generation_work work = {alps_declare_dead, "declared dead; `alps recover` takes it in",
                                   process_hint};

    if (option_given(a, OPTION_HOST) == option_given(a, OPTION_GENERATION))
        return usage_error(a->command, "give either --generation or --host");
    int status = confirm(a, "who is declared dead must not go on");
    if (status != STATUS_OK)
        return status;
    return option_given(a, OPTION_HOST) ? with_heap(a, ALPS_OPEN_PERMANENT, declare_host, NULL)
                                        : command_generations(a, &work);
}

static int confirmed(const struct arguments *a, const char *consequence,
                     int (*call)(const char *path), const char *done)
{
    int status = confirm(a, consequence);
    if (status != STATUS_OK)
        return status;
    int code = call(a->files[0]);
    if (code != 0)
        return library_error(a, code,
                             code == -EUCLEAN ? "too damaged for that: remove its files" : NULL);
    if (option_given(a, OPTION_JSON)) {
        struct json json = report_open(a);
        json_bool(&json, done, true);
        report_close(&json);
    } else {
        print_subject(a);
        puts(done);
    }
    return STATUS_OK;
}

int command_format(const struct arguments *a)
{
    return confirmed(a, "every block, root and generation will be lost", alps_heap_format,
                     "formatted");
}

int command_destroy(const struct arguments *a)
{
    return confirmed(a, "the files of this heap will be removed", alps_heap_destroy, "destroyed");
}
