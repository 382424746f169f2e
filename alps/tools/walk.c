#include "commands.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a generation has, among the blocks that the filters let through. */
struct tally {
    alps_gen_t generation;
    uint64_t blocks;
    uint64_t bytes;
};

struct walk {
    const struct arguments *arguments;
    struct json *json;     /* NULL: for people */
    struct tally *tallies; /* ascending by generation */
    size_t count;
    size_t capacity;
    size_t last; /* index of the tally found last: neighbours mostly share a generation */
    uint64_t listed;
    bool out_of_memory;
};

/* The tally of a generation, a new one if need be; NULL without memory. */
static struct tally *find_tally(struct walk *walk, alps_gen_t generation)
{
    if (walk->last < walk->count && walk->tallies[walk->last].generation == generation)
        return &walk->tallies[walk->last];

    size_t low = 0;
    size_t high = walk->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (walk->tallies[middle].generation < generation)
            low = middle + 1;
        else
            high = middle;
    }
    walk->last = low;
    if (low < walk->count && walk->tallies[low].generation == generation)
        return &walk->tallies[low];

    if (walk->count == walk->capacity) {
        size_t capacity = walk->capacity == 0 ? 64 : 2 * walk->capacity;
        struct tally *larger = reallocarray(walk->tallies, capacity, sizeof *larger);
        if (larger == NULL)
            return NULL;
        walk->tallies = larger;
        walk->capacity = capacity;
    }
    memmove(&walk->tallies[low + 1], &walk->tallies[low],
            (walk->count - low) * sizeof walk->tallies[0]);
    walk->tallies[low] = (struct tally){.generation = generation};
    walk->count++;
    return &walk->tallies[low];
}

static void list_block(struct walk *walk, const struct alps_block *block)
{
    char generation[BYTES_TEXT_MAX];

    if (walk->json != NULL) {
        json_open(walk->json, NULL, '{');
        json_string(walk->json, "type", "block");
        json_number(walk->json, "offset", block->ptr);
        json_number(walk->json, "size", block->size);
        json_number(walk->json, "generation", block->generation);
        if (block->node == ALPS_ANY_NODE)
            json_null(walk->json, "node");
        else
            json_number(walk->json, "node", (uint64_t)block->node);
        json_close(walk->json, '}');
        json_end_line(walk->json);
        return;
    }
    if (walk->listed == 0)
        printf("%16s  %15s  %12s  %4s\n", "offset", "size", "generation", "node");
    printf("%#16" PRIx64 "  %15zu  %12s  ", block->ptr, block->size,
           generation_text(generation, block->generation));
    if (block->node == ALPS_ANY_NODE)
        puts("   -");
    else
        printf("%4d\n", block->node);
}

static int visit_block(const struct alps_block *block, void *context)
{
    struct walk *walk = context;
    const struct arguments *a = walk->arguments;

    if (block->size < a->min_size || (option_given(a, OPTION_GENERATION) &&
                                      !number_list_contains(&a->generations, block->generation)))
        return 0;
    struct tally *tally = find_tally(walk, block->generation);
    if (tally == NULL) {
        walk->out_of_memory = true;
        return 1;
    }
    tally->blocks++;
    tally->bytes += block->size;
    if (!option_given(a, OPTION_LIMIT) || walk->listed < a->limit) {
        list_block(walk, block);
        walk->listed++;
    }
    return output_failed();
}

static void summarize_line(struct walk *walk, const char *type, const struct tally *tally)
{
    char bytes[BYTES_TEXT_MAX];
    char generation[BYTES_TEXT_MAX];
    bool total = strcmp(type, "total") == 0;

    if (walk->json != NULL) {
        json_open(walk->json, NULL, '{');
        json_string(walk->json, "type", type);
        if (!total)
            json_number(walk->json, "generation", tally->generation);
        json_number(walk->json, "blocks", tally->blocks);
        json_number(walk->json, "bytes", tally->bytes);
        if (total)
            json_number(walk->json, "listed", walk->listed);
        json_close(walk->json, '}');
        json_end_line(walk->json);
    } else {
        printf("%16s  %15" PRIu64 "  %s\n",
               total ? "total" : generation_text(generation, tally->generation), tally->blocks,
               exact_bytes_text(bytes, tally->bytes));
    }
}

static void summarize(struct walk *walk)
{
    struct tally total = {.blocks = 0};

    if (walk->json == NULL)
        printf("%s%16s  %15s  %s\n", walk->listed > 0 ? "\n" : "", "generation", "blocks", "bytes");
    for (size_t i = 0; i < walk->count; i++) {
        summarize_line(walk, "generation", &walk->tallies[i]);
        total.blocks += walk->tallies[i].blocks;
        total.bytes += walk->tallies[i].bytes;
    }
    summarize_line(walk, "total", &total);
    if (walk->json == NULL && walk->listed < total.blocks)
        printf("%" PRIu64 " of %" PRIu64 " blocks listed\n", walk->listed, total.blocks);
}

static int walk_heap(const struct arguments *a, alps_heap_t *heap, void *context)
{
    struct json json = {.out = stdout};
    struct walk walk = {.arguments = a, .json = option_given(a, OPTION_JSON) ? &json : NULL};
    int status = STATUS_OK;

    (void)context;
    int code = alps_heap_walk(heap, visit_block, &walk);
    if (code < 0)
        status = library_error(a, code, NULL);
    else if (walk.out_of_memory)
        status = system_error(a, "the summary", ENOMEM);
    else if (code == 0)
        summarize(&walk);
    free(walk.tallies);
    return status;
}

int command_walk(const struct arguments *a)
{
    return with_heap(a, ALPS_OPEN_READONLY, walk_heap, NULL);
}
