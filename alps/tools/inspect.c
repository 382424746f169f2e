#include "commands.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void print_title(const struct arguments *a)
{
    print_safely(a->files[0]);
    putchar('\n');
}

static void print_bytes(const char *label, uint64_t bytes)
{
    char text[BYTES_TEXT_MAX];

    printf("  %-12s %s\n", label, exact_bytes_text(text, bytes));
}

static void print_count(const char *label, uint64_t count)
{
    printf("  %-12s %" PRIu64 "\n", label, count);
}

static void print_instance_counts(const struct alps_stats *stats)
{
    printf("  %-12s %u alive, %u dead%s\n", "instances", stats->instances, stats->dead_instances,
           stats->dead_instances > 0 ? " (`alps recover` takes them in)" : "");
}

/* ---- info ---------------------------------------------------------------------------------- */

/* The lists of `info`, printed as they are walked. */
struct listing {
    struct json *json; /* NULL: for people */
    bool begun;        /* the heading is printed */
};

static int list_instance(const struct alps_instance *instance, void *context)
{
    struct listing *listing = context;
    char text[BYTES_TEXT_MAX], host[HOST_TEXT_MAX], boot[HOST_TEXT_MAX];

    if (listing->json != NULL) {
        json_open(listing->json, NULL, '{');
        json_number(listing->json, "slot", instance->slot);
        json_number(listing->json, "generation", instance->generation);
        json_number(listing->json, "pid", instance->pid);
        json_bool(listing->json, "alive", instance->alive != 0);
        json_bool(listing->json, "remote", instance->remote != 0);
        json_number(listing->json, "silent_seconds", instance->silent_seconds);
        json_string(listing->json, "host", host_text(host, instance->host));
        json_string(listing->json, "boot", host_text(boot, instance->boot));
        json_string(listing->json, "host_name", instance->host_name);
        json_close(listing->json, '}');
    } else {
        if (!listing->begun)
            printf("    %4s  %20s  %10s  %s\n", "slot", "generation", "pid", "state");
        listing->begun = true;
        printf("    %4u  %20s  %10" PRIu64 "  %s", instance->slot,
               generation_text(text, instance->generation), instance->pid,
               instance->alive ? "alive" : "dead");
        if (instance->remote) {
            printf(", on host ");
            print_safely(instance->host_name);
            printf(", silent for %" PRIu64 " s", instance->silent_seconds);
        }
        printf("\n");
    }
    return output_failed();
}

static int list_generation(const struct alps_generation *generation, void *context)
{
    struct listing *listing = context;

    if (listing->json != NULL) {
        json_open(listing->json, NULL, '{');
        json_number(listing->json, "generation", generation->generation);
        json_bool(listing->json, "open", generation->open != 0);
        json_bool(listing->json, "committed", generation->committed != 0);
        json_close(listing->json, '}');
    } else {
        if (!listing->begun)
            printf("  generations\n    %20s  %-4s  %s\n", "generation", "open", "committed");
        listing->begun = true;
        printf("    %20" PRIu64 "  %-4s  %s\n", generation->generation,
               generation->open ? "yes" : "no", generation->committed ? "yes" : "no");
    }
    return output_failed();
}

static int info_as_json(const struct arguments *a, alps_heap_t *heap,
                        const struct alps_stats *stats)
{
    struct json json = report_open(a);
    struct listing listing = {.json = &json};

    json_number(&json, "layout_version", stats->layout_version);
    json_bool(&json, "durable", stats->durable != 0);
    json_bool(&json, "in_place", stats->in_place != 0);
    json_bool(&json, "shared", stats->shared != 0);
    json_number(&json, "size", stats->size);
    json_number(&json, "capacity", stats->capacity);
    json_number(&json, "metadata_bytes", stats->metadata_bytes);
    json_number(&json, "usable_bytes", stats->usable_bytes);
    json_number(&json, "file_bytes", stats->file_bytes);
    json_number(&json, "zone_size", stats->zone_size);
    json_number(&json, "zones", stats->zones);
    json_number(&json, "file_count", stats->files);
    json_number(&json, "roots", stats->roots);
    json_open(&json, "instances", '[');
    int code = alps_instance_walk(heap, list_instance, &listing);
    json_close(&json, ']');
    json_open(&json, "generations", '[');
    if (code == 0)
        code = alps_generation_walk(heap, list_generation, &listing);
    json_close(&json, ']');
    report_close(&json);
    return code;
}

static int info_as_text(const struct arguments *a, alps_heap_t *heap,
                        const struct alps_stats *stats)
{
    struct listing instances = {.json = NULL};
    struct listing generations = {.json = NULL};
    char text[BYTES_TEXT_MAX];

    print_title(a);
    print_count("layout", stats->layout_version);
    printf("  %-12s %s\n", "durable", stats->durable ? "yes" : "no");
    printf("  %-12s %s\n", "in place", stats->in_place ? "yes" : "no");
    printf("  %-12s %s\n", "shared", stats->shared ? "by several hosts" : "no");
    print_bytes("size", stats->size);
    print_bytes("capacity", stats->capacity);
    print_bytes("management", stats->metadata_bytes);
    print_bytes("usable", stats->usable_bytes);
    print_bytes("held now", stats->file_bytes);
    printf("  %-12s %u of %s\n", "zones", stats->zones, bytes_text(text, stats->zone_size));
    print_count("files", stats->files);
    for (unsigned i = 0; i < a->file_count && a->file_count > 1; i++) {
        printf("    %2u  ", i);
        print_safely(a->files[i]);
        putchar('\n');
    }
    print_count("roots", stats->roots);
    print_instance_counts(stats);
    int code = alps_instance_walk(heap, list_instance, &instances);
    if (code == 0)
        code = alps_generation_walk(heap, list_generation, &generations);
    return code;
}

static int info(const struct arguments *a, alps_heap_t *heap, void *context)
{
    struct alps_stats stats;

    (void)context;
    int status = read_stats(a, heap, &stats);
    if (status != STATUS_OK)
        return status;
    int code = option_given(a, OPTION_JSON) ? info_as_json(a, heap, &stats)
                                            : info_as_text(a, heap, &stats);
    return code < 0 ? library_error(a, code, NULL) : STATUS_OK;
}

int command_info(const struct arguments *a)
{
    return with_heap(a, ALPS_OPEN_READONLY, info, NULL);
}

/* ---- stat ---------------------------------------------------------------------------------- */

static void stat_as_json(const struct arguments *a, const struct alps_stats *stats)
{
    struct timespec now;
    struct tm utc;
    char seconds[32];
    char stamp[48];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp, sizeof stamp, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);

    struct json json = report_open(a);
    json_string(&json, "time", stamp);
    json_number(&json, "size", stats->size);
    json_number(&json, "capacity", stats->capacity);
    json_number(&json, "metadata_bytes", stats->metadata_bytes);
    json_number(&json, "usable_bytes", stats->usable_bytes);
    json_number(&json, "span_bytes", stats->span_bytes);
    json_number(&json, "live_bytes", stats->live_bytes);
    json_number(&json, "live_blocks", stats->live_blocks);
    json_number(&json, "permanent_blocks", stats->permanent_blocks);
    json_number(&json, "file_bytes", stats->file_bytes);
    json_number(&json, "zones", stats->zones);
    json_number(&json, "roots", stats->roots);
    json_number(&json, "instances", stats->instances);
    json_number(&json, "dead_instances", stats->dead_instances);
    report_close(&json);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

static void stat_as_text(const struct arguments *a, const struct alps_stats *stats)
{
    char text[BYTES_TEXT_MAX];

    print_title(a);
    print_bytes("size", stats->size);
    print_bytes("capacity", stats->capacity);
    print_bytes("management", stats->metadata_bytes);
    print_bytes("usable", stats->usable_bytes);
    print_bytes("in spans", stats->span_bytes);
    printf("  %-12s %s, %.1f %% of usable\n", "in blocks",
           exact_bytes_text(text, stats->live_bytes),
           percent(stats->live_bytes, stats->usable_bytes));
    printf("  %-12s %" PRIu64 ", %" PRIu64 " permanent\n", "blocks", stats->live_blocks,
           stats->permanent_blocks);
    print_bytes("held now", stats->file_bytes);
    print_count("zones", stats->zones);
    print_count("roots", stats->roots);
    print_instance_counts(stats);
}

/* One line of a watch that no terminal shows. */
static void stat_as_row(const struct alps_stats *stats, bool heading)
{
    time_t now = time(NULL);
    struct tm local;
    char clock[16];

    if (heading)
        printf("%-8s %16s %12s %16s %16s %16s %5s %5s\n", "time", "live_bytes", "blocks",
               "span_bytes", "size", "file_bytes", "alive", "dead");
    localtime_r(&now, &local);
    strftime(clock, sizeof clock, "%H:%M:%S", &local);
    printf("%-8s %16" PRIu64 " %12" PRIu64 " %16" PRIu64 " %16" PRIu64 " %16" PRIu64 " %5u %5u\n",
           clock, stats->live_bytes, stats->live_blocks, stats->span_bytes, stats->size,
           stats->file_bytes, stats->instances, stats->dead_instances);
}

/* Readable when a signal asked the watch to end. */
static int end_event;

static void ask_to_end(int signal_number)
{
    static volatile sig_atomic_t times;
    int saved = errno;

    times++;
    if (times >= 3) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    (void)!write(end_event, &(uint64_t){1}, sizeof(uint64_t));
    errno = saved;
}

/* Prints the statistics again and again, until a signal asks to end or nobody reads any more. */
static int watch(const struct arguments *a, alps_heap_t *heap)
{
    bool json = option_given(a, OPTION_JSON);
    bool terminal = !json && isatty(STDOUT_FILENO);
    struct pollfd events[] = {{.fd = end_event, .events = POLLIN}, {.fd = STDOUT_FILENO}};

    for (bool first = true;; first = false) {
        struct alps_stats stats;
        int status = read_stats(a, heap, &stats);
        if (status != STATUS_OK)
            return status;
        if (json) {
            stat_as_json(a, &stats);
        } else if (terminal) {
            fputs("\033[H\033[J", stdout); /* home, clear what follows */
            stat_as_text(a, &stats);
        } else {
            stat_as_row(&stats, first);
        }
        if (!output_flush()) {
            output_abandon();
            return STATUS_OK;
        }
        if (poll(events, 2, a->interval) != 0)
            return STATUS_OK;
    }
}

static int start_watch(const struct arguments *a, alps_heap_t *heap)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    /* Without SA_RESTART a signal interrupts a write to a terminal that is stopped; one that comes
     * just before it does not, and therefore the third signal kills: timeout(1) sends two. */
    struct sigaction action = {.sa_handler = ask_to_end};

    end_event = eventfd(0, EFD_CLOEXEC);
    if (end_event < 0)
        return system_error(a, "eventfd", errno);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction present;
        /* A signal that the parent had ignored (nohup) stays ignored. */
        if (sigaction(signals[i], NULL, &present) == 0 && present.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    return watch(a, heap);
}

static int stat_once(const struct arguments *a, alps_heap_t *heap)
{
    struct alps_stats stats;

    int status = read_stats(a, heap, &stats);
    if (status != STATUS_OK)
        return status;
    if (option_given(a, OPTION_JSON))
        stat_as_json(a, &stats);
    else
        stat_as_text(a, &stats);
    return STATUS_OK;
}

static int stat_heap(const struct arguments *a, alps_heap_t *heap, void *context)
{
    (void)context;
    return option_given(a, OPTION_WATCH) ? start_watch(a, heap) : stat_once(a, heap);
}

int command_stat(const struct arguments *a)
{
    return with_heap(a, ALPS_OPEN_READONLY, stat_heap, NULL);
}

/* ---- check --------------------------------------------------------------------------------- */

int command_check(const struct arguments *a)
{
    struct alps_check report = {.struct_size = sizeof report};
    struct alps_open_options options = {.struct_size = sizeof options, .flags = ALPS_OPEN_READONLY};
    alps_heap_t *heap;

    /* A heap too damaged to be opened is a result of the check too. */
    int code = alps_heap_open_files(a->files, a->file_count, &options, &heap);
    if (code == 0) {
        code = alps_heap_check(heap, &report);
        int status = code == 0 || code == -EUCLEAN ? STATUS_OK : library_error(a, code, NULL);
        alps_heap_close(heap);
        if (status != STATUS_OK)
            return status;
    } else if (code == -EUCLEAN) {
        report.problems = 1;
        snprintf(report.first, sizeof report.first, "%s", message_detail(a));
    } else {
        return library_error(a, code, NULL);
    }

    if (option_given(a, OPTION_JSON)) {
        struct json json = report_open(a);
        json_bool(&json, "clean", code == 0);
        json_number(&json, "problems", report.problems);
        if (code == 0)
            json_null(&json, "first");
        else
            json_string(&json, "first", report.first);
        report_close(&json);
    } else {
        print_safely(a->files[0]);
        if (code == 0) {
            puts(": clean");
        } else {
            printf(": damaged: %" PRIu64 " problem%s, first: ", report.problems,
                   report.problems == 1 ? "" : "s");
            print_safely(report.first);
            putchar('\n');
        }
    }
    return code == 0 ? STATUS_OK : STATUS_DAMAGED;
}

/* ---- roots --------------------------------------------------------------------------------- */

struct root {
    char name[ALPS_ROOT_NAME_MAX + 1];
    alps_ptr_t ptr;
};

struct root_list {
    unsigned count;
    struct root items[ALPS_ROOT_MAX];
};

static int collect_root(const char *name, alps_ptr_t p, void *context)
{
    struct root_list *list = context;

    if (list->count == ALPS_ROOT_MAX)
        return 1;
    snprintf(list->items[list->count].name, sizeof list->items[0].name, "%s", name);
    list->items[list->count].ptr = p;
    list->count++;
    return 0;
}

static int compare_roots(const void *left, const void *right)
{
    return strcmp(((const struct root *)left)->name, ((const struct root *)right)->name);
}

static int roots(const struct arguments *a, alps_heap_t *heap, void *context)
{
    static struct root_list list;

    (void)context;
    int code = alps_root_walk(heap, collect_root, &list);
    if (code < 0)
        return library_error(a, code, NULL);
    qsort(list.items, list.count, sizeof list.items[0], compare_roots);

    /* The size tells a root that is sound from one that dangles or points into a block. */
    if (option_given(a, OPTION_JSON)) {
        struct json json = report_open(a);
        json_open(&json, "roots", '[');
        for (unsigned i = 0; i < list.count; i++) {
            size_t size = alps_usable_size(heap, list.items[i].ptr);
            json_open(&json, NULL, '{');
            json_string(&json, "name", list.items[i].name);
            json_number(&json, "offset", list.items[i].ptr);
            if (size == 0)
                json_null(&json, "size");
            else
                json_number(&json, "size", size);
            json_close(&json, '}');
        }
        json_close(&json, ']');
        report_close(&json);
        return STATUS_OK;
    }
    if (list.count > 0)
        printf("%16s  %15s  %s\n", "offset", "size", "name");
    for (unsigned i = 0; i < list.count; i++) {
        size_t size = alps_usable_size(heap, list.items[i].ptr);
        printf("%#16" PRIx64 "  ", list.items[i].ptr);
        if (size == 0)
            printf("%15s  ", "no block");
        else
            printf("%15zu  ", size);
        print_safely(list.items[i].name);
        putchar('\n');
    }
    return STATUS_OK;
}

int command_roots(const struct arguments *a)
{
    return with_heap(a, ALPS_OPEN_READONLY, roots, NULL);
}

/* ---- nodes --------------------------------------------------------------------------------- */

struct node_list {
    struct json *json; /* NULL: text */
    uint64_t misplaced;
};

static int list_node(const struct alps_node *node, void *context)
{
    struct node_list *list = context;
    list->misplaced += node->misplaced;
    if (list->json == NULL) {
        char name[16];
        snprintf(name, sizeof name, node->node == ALPS_ANY_NODE ? "any" : "%d", node->node);
        printf("  %4s  %6u %16" PRIu64 " %16" PRIu64 " %16" PRIu64 " %12" PRIu64 " %10" PRIu64
               " %10" PRIu64 "\n",
               name, node->zones, node->size, node->span_bytes, node->live_bytes, node->live_blocks,
               node->pages, node->misplaced);
        return 0;
    }
    json_open(list->json, NULL, '{');
    if (node->node == ALPS_ANY_NODE)
        json_null(list->json, "node");
    else
        json_number(list->json, "node", (uint64_t)node->node);
    json_number(list->json, "zones", node->zones);
    json_number(list->json, "size", node->size);
    json_number(list->json, "span_bytes", node->span_bytes);
    json_number(list->json, "live_bytes", node->live_bytes);
    json_number(list->json, "live_blocks", node->live_blocks);
    json_number(list->json, "pages", node->pages);
    json_number(list->json, "misplaced", node->misplaced);
    json_close(list->json, '}');
    return 0;
}

static int nodes(const struct arguments *a, alps_heap_t *heap, void *context)
{
    (void)context;
    struct node_list list = {NULL, 0};
    struct json json;
    int code;
    if (option_given(a, OPTION_JSON)) {
        json = report_open(a);
        json_open(&json, "nodes", '[');
        list.json = &json;
        code = alps_node_walk(heap, 1, list_node, &list);
        json_close(&json, ']');
        json_number(&json, "misplaced", list.misplaced);
        report_close(&json);
    } else {
        print_title(a);
        printf("  %4s  %6s %16s %16s %16s %12s %10s %10s\n", "node", "zones", "size", "span_bytes",
               "live_bytes", "blocks", "pages", "misplaced");
        code = alps_node_walk(heap, 1, list_node, &list);
    }
    if (code != 0)
        return library_error(a, code, NULL);
    return list.misplaced == 0 ? STATUS_OK : STATUS_FAILED;
}

int command_nodes(const struct arguments *a)
{
    return with_heap(a, ALPS_OPEN_READONLY, nodes, NULL);
}
