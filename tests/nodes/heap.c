/* What processes of several nodes do with one heap, a step at a time. It is on /dev/dax0.0, or
 * where the environment's HEAP_FILE says.
 *
 *   node_heap fill COUNT   makes blocks with contents, and leaves a table of them as a root
 *   node_heap take         checks the blocks of the table, and frees them all
 *   node_heap grown        fills memory that another node has given to the heap meanwhile
 *   node_heap zombie       has blocks; was declared dead meanwhile, and may do nothing any more
 *
 * The last two say by a file COMMAND.ready in /run/emu-testbed when they have come to "meanwhile",
 * and wait there for a file COMMAND.go. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <alps/alps.h>

#include "harness/pattern.h"
#include "harness/random.h"

#define ROOT "blocks"
#define MIB (UINT64_C(1) << 20)

struct table {
    uint64_t count;
    struct {
        alps_ptr_t ptr;
        uint64_t size;
    } block[];
};

static alps_heap_t *heap;

static __attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (%s)\n", alps_error_detail());
    exit(EXIT_FAILURE);
}

static struct alps_stats stats(void)
{
    struct alps_stats s = {.struct_size = sizeof s};
    if (alps_heap_stats(heap, &s) != 0)
        fail("no statistics");
    return s;
}

static void meanwhile(const char *command)
{
    char path[64];
    snprintf(path, sizeof path, "/run/emu-testbed/%s.ready", command);
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || close(fd) != 0)
        fail("cannot make %s", path);
    snprintf(path, sizeof path, "/run/emu-testbed/%s.go", command);
    while (access(path, F_OK) != 0)
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
}

/* Blocks of least to most bytes. */
static void fill(uint64_t count, uint64_t least, uint64_t most)
{
    const alps_ptr_t p = alps_malloc(
        heap, sizeof(struct table) + count * sizeof((struct table *)0)->block[0], ALPS_ANY_NODE);
    struct table *table = alps_deref(heap, p);
    bh_rng_t rng;

    if (table == NULL)
        fail("no room for the table");
    bh_rng_seed(&rng, 1, count);
    table->count = count;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t size = bh_rng_log_uniform(&rng, least, most);
        table->block[i].size = size;
        table->block[i].ptr = alps_malloc(heap, size, ALPS_ANY_NODE);
        if (table->block[i].ptr == ALPS_NULL)
            fail("no block of %" PRIu64 " bytes", size);
        bh_pattern_fill(alps_deref(heap, table->block[i].ptr), size, 1, i, count);
        if (alps_persist(heap, alps_deref(heap, table->block[i].ptr), size) != 0)
            fail("a block is not durable");
    }
    if (alps_persist(heap, table, sizeof *table + count * sizeof table->block[0]) != 0)
        fail("the table is not durable");
    if (alps_root_set(heap, ROOT, p) != 0)
        fail("no root");
}

static void take(void)
{
    const alps_ptr_t p = alps_root_get(heap, ROOT);
    const struct table *table = alps_deref(heap, p);

    if (table == NULL)
        fail("there are no blocks");
    for (uint64_t i = 0; i < table->count; i++) {
        const alps_ptr_t block = table->block[i].ptr;
        const uint64_t size = table->block[i].size;
        if (bh_pattern_verify(alps_deref(heap, block), size, 1, i, table->count) != BH_PATTERN_OK)
            fail("the contents of block %" PRIu64 " are wrong", i);
        if (alps_free(heap, block) != 0)
            fail("block %" PRIu64 " cannot be freed", i);
        if (alps_free(heap, block) == 0)
            fail("block %" PRIu64 " can be freed twice", i);
    }
    printf("%" PRIu64 " blocks\n", table->count);
    if (alps_root_set(heap, ROOT, ALPS_NULL) != 0 || alps_free(heap, p) != 0)
        fail("the table cannot be freed");
}

static void use_what_another_adds(void)
{
    const uint64_t before = stats().size;
    meanwhile("grown");
    const uint64_t after = stats().size;
    if (after < before + 32 * MIB)
        fail("the heap has %" PRIu64 " bytes, and had %" PRIu64, after, before);
    fill(before / MIB + 8, MIB, MIB); /* more than there was */
    if (stats().size != after)
        fail("the heap has grown here, too");
}

static void expect_stale(const char *call, int error)
{
    if (error != -ESTALE)
        fail("%s gives %d, not ESTALE", call, error);
    if (strstr(alps_error_detail(), "declared") == NULL)
        fail("%s does not say why", call);
}

static int error_of(alps_ptr_t block)
{
    return block != ALPS_NULL ? 0 : -errno;
}

#define STALE(call) expect_stale(#call, call)
#define STALE_BLOCK(call) expect_stale(#call, error_of(call))

static void be_a_zombie(void)
{
    alps_ptr_t small = alps_malloc(heap, 64, ALPS_ANY_NODE);
    const alps_ptr_t large = alps_malloc(heap, 3 * MIB, ALPS_ANY_NODE);
    alps_ptr_t *place = alps_deref(heap, small);

    if (small == ALPS_NULL || large == ALPS_NULL ||
        alps_malloc_to(heap, place, 200, ALPS_ANY_NODE) == ALPS_NULL)
        fail("no blocks");
    printf("generation %" PRIu64 "\n", alps_heap_generation(heap));
    fflush(stdout);
    meanwhile("zombie");
    STALE_BLOCK(alps_malloc(heap, 64, ALPS_ANY_NODE));
    STALE_BLOCK(alps_malloc(heap, 2 * MIB, ALPS_ANY_NODE));
    STALE_BLOCK(alps_calloc(heap, 10, 10, ALPS_ANY_NODE));
    STALE_BLOCK(alps_aligned_alloc(heap, 4096, 100, ALPS_ANY_NODE));
    STALE_BLOCK(alps_realloc(heap, small, 5000));
    STALE_BLOCK(alps_malloc_to(heap, place, 100, ALPS_ANY_NODE));
    STALE(alps_free(heap, small));
    STALE(alps_free(heap, large));
    STALE(alps_free_from(heap, place));
    STALE(alps_bulk_free(heap, 1));
    STALE(alps_commit(heap, alps_heap_generation(heap)));
    STALE(alps_recover(heap, NULL));
    STALE(alps_root_set(heap, ROOT, small));
    STALE(alps_heap_grow(heap, 128 * MIB));
    STALE(alps_heap_trim(heap));
    STALE(alps_migrate(heap, &small, 0));
    STALE(alps_beat(heap));
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    const char *path = getenv("HEAP_FILE");

    if (alps_heap_open(path != NULL ? path : "/dev/dax0.0", NULL, &heap) != 0)
        fail("cannot open the heap");
    if (strcmp(command, "fill") == 0 && argc > 2)
        fill(strtoull(argv[2], NULL, 10), 1, MIB);
    else if (strcmp(command, "take") == 0)
        take();
    else if (strcmp(command, "grown") == 0)
        use_what_another_adds();
    else if (strcmp(command, "zombie") == 0)
        be_a_zombie();
    else
        fail("unknown command '%s'", command);
    if (alps_heap_close(heap) != 0)
        fail("cannot close the heap");
    return EXIT_SUCCESS;
}
