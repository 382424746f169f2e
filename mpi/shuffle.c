/* alps-mpi-shuffle: all ranks write key-value records for all ranks, and each reads those that are
 * for it: the step between map and reduce. Once through the heap, where nothing but pointers is
 * handed over, and once by MPI_Alltoallv.
 *
 * Idea: a rank's input is a list of keys and lengths, drawn once. A round, through the heap:
 *
 *   map       each record is written into the present chunk, a block of the heap, of the rank that
 *             its key belongs to; full chunks are linked
 *   exchange  the first chunk of each partition is handed over, by MPI_Alltoall
 *   reduce    each rank reads the chunks in place, and frees them
 *
 * Then the same records by messages: counted, written into one buffer in the order of the ranks,
 * sent by MPI_Alltoallv, and read from the buffer where they arrive.
 *
 * With a partition goes, beside the heap, how many records it has and the sum of their hashes; a
 * record's contents follow from its writer, the round and its number, so that what is left of
 * another round does not pass. Ranks of other domains get their records by messages in both cases.
 *
 * Time is taken from the first rank that begins to the last that ends. In simulated time, messages
 * take none: there is no result for them. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <emu/emu.h>

#include "driver.h"
#include "harness/clock.h"
#include "harness/random.h"
#include "harness/stats.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (KIB * KIB)
#define WORD sizeof(uint64_t)
#define STEP UINT64_C(0x9e3779b97f4a7c15)

static bh_list_t record_sizes = {.count = 4, .items = {64, 256, KIB, 4 * KIB}};
static uint64_t bytes = 16 * MIB;
static uint64_t chunk_size = 64 * KIB;
static uint64_t keys = 100000;
static double skew;
static bool vary;

static const bh_option_t options[] = {
    {.name = "record-size",
     .letter = 'm',
     .kind = BH_OPTION_SIZES,
     .value = &record_sizes,
     .argument = "LIST",
     .help = "bytes of a record, key and length included (default 64,256,1K,4K)",
     .min = 24,
     .max = MIB},
    {.name = "bytes",
     .letter = 'b',
     .kind = BH_OPTION_SIZE,
     .value = &bytes,
     .argument = "SIZE",
     .help = "records that each rank writes in a round (default 16M)",
     .min = KIB,
     .max = 512 * MIB},
    {.name = "chunk",
     .kind = BH_OPTION_SIZE,
     .value = &chunk_size,
     .argument = "SIZE",
     .help = "blocks of the heap that records are written in (default 64K)",
     .min = 64,
     .max = 64 * MIB},
    {.name = "keys",
     .kind = BH_OPTION_COUNT,
     .value = &keys,
     .argument = "N",
     .help = "different keys (default 100000)",
     .min = 1,
     .max = 100000000},
    {.name = "skew",
     .kind = BH_OPTION_REAL,
     .value = &skew,
     .argument = "X",
     .help = "of the keys, by Zipf's law: 0 none, 0.99 much (default 0)"},
    {.name = "vary",
     .kind = BH_OPTION_FLAG,
     .value = &vary,
     .help = "lengths from half to one and a half of --record-size"},
    {.name = NULL},
};

struct record {
    uint64_t key;
    uint64_t words; /* of the value */
    uint64_t value[];
};
#define HEADER_WORDS (sizeof(struct record) / WORD)

struct chunk {
    alps_ptr_t next;
    uint64_t used; /* bytes of records */
    unsigned char records[];
};

struct input {
    uint64_t key;
    uint32_t words; /* of the whole record */
    uint32_t to;    /* rank */
};

/* What one rank has for another, sent as it is. */
struct partition {
    alps_ptr_t first; /* chunk; ALPS_NULL: the records come by message, or there are none */
    uint64_t records;
    uint64_t hash;  /* sum over the records */
    uint64_t words; /* by message */
};
#define PARTITION_WORDS ((int)(sizeof(struct partition) / WORD))

enum way { HEAP, MESSAGES, WAYS };
enum phase { MAP, EXCHANGE, REDUCE, PHASES };

struct shuffle {
    struct driver_group *group;
    uint64_t record_size;
    struct input *input;
    size_t records;
    uint64_t input_bytes;
    bool *is_near; /* for each rank: of this domain */
    struct partition *out, *in;
    struct chunk **chunk; /* for each rank: the one being written */
    uint64_t *send, *receive;
    size_t send_capacity, receive_capacity; /* words */
    int *send_counts, *send_offsets, *receive_counts, *receive_offsets;
    uint64_t round;
    uint64_t total_ns[WAYS], phase_ns[WAYS][PHASES]; /* of this repetition */
};

/* ---- records -------------------------------------------------------------------------------- */

/* Writes a record, and adds it to its partition. */
static void write_record(const struct shuffle *s, size_t number, struct record *to,
                         struct partition *partition)
{
    const struct input *input = &s->input[number];
    uint64_t word = bh_mix64(bh_mix64(driver_options.seed + (uint64_t)s->group->rank) +
                             (s->round << 32) + number);
    uint64_t hash = input->key;

    to->key = input->key;
    to->words = input->words - HEADER_WORDS;
    for (uint64_t i = 0; i < to->words; i++, word += STEP) {
        to->value[i] = word;
        hash = hash * 31 + word;
    }
    partition->records++;
    partition->hash += bh_mix64(hash);
}

/* Reads size bytes of records. False if they do not end there. */
static bool read_records(const unsigned char *at, uint64_t size, struct partition *found)
{
    while (size >= sizeof(struct record)) {
        const struct record *record = (const void *)at;
        const uint64_t words = HEADER_WORDS + record->words;
        if (record->words > size / WORD || words * WORD > size)
            return false;
        uint64_t hash = record->key;
        for (uint64_t i = 0; i < record->words; i++)
            hash = hash * 31 + record->value[i];
        found->records++;
        found->hash += bh_mix64(hash);
        at += words * WORD;
        size -= words * WORD;
    }
    return size == 0;
}

/* ---- through the heap ----------------------------------------------------------------------- */

static bool add_chunk(struct shuffle *s, uint32_t to, uint64_t room)
{
    const uint64_t size = sizeof(struct chunk) + room;
    alps_ptr_t block =
        alps_malloc(s->group->heap, size < chunk_size ? chunk_size : size, ALPS_ANY_NODE);
    struct chunk *chunk = alps_deref(s->group->heap, block);

    if (chunk == NULL) {
        driver_note(s->group, DRIVER_FAIL, "no chunk of %" PRIu64 " bytes: %s",
                    size < chunk_size ? chunk_size : size, alps_error_detail());
        return false;
    }
    emu_write(chunk, sizeof *chunk);
    chunk->next = s->out[to].first;
    chunk->used = 0;
    s->out[to].first = block;
    s->chunk[to] = chunk;
    return true;
}

/* Without room the rest is left out, which the verdict tells. */
static void map_to_heap(struct shuffle *s)
{
    for (size_t i = 0; i < s->records; i++) {
        const struct input *input = &s->input[i];
        const uint64_t size = input->words * WORD;
        struct chunk *chunk = s->chunk[input->to];
        if (!s->is_near[input->to])
            continue;
        if ((chunk == NULL || sizeof *chunk + chunk->used + size > chunk_size) &&
            !add_chunk(s, input->to, size))
            return;
        chunk = s->chunk[input->to];
        struct record *record = (void *)(chunk->records + chunk->used);
        emu_write(record, size);
        write_record(s, i, record, &s->out[input->to]);
        chunk->used += size;
    }
}

static void reduce_in_place(struct shuffle *s, int from, struct partition *found)
{
    alps_ptr_t block = s->in[from].first;

    while (block != ALPS_NULL) {
        struct chunk *chunk = alps_deref(s->group->heap, block);
        emu_read(chunk, sizeof *chunk);
        emu_read(chunk->records, chunk->used);
        if (!read_records(chunk->records, chunk->used, found))
            driver_note(s->group, DRIVER_FAIL, "chunk 0x%" PRIx64 " of rank %d is damaged", block,
                        from);
        const alps_ptr_t next = chunk->next;
        const int error = alps_free(s->group->heap, block);
        if (error != 0) {
            driver_note(s->group, DRIVER_FAIL, "cannot free chunk 0x%" PRIx64 " of rank %d: %s",
                        block, from, alps_error_detail());
            return;
        }
        block = next;
    }
}

/* ---- by messages ---------------------------------------------------------------------------- */

static void reserve(uint64_t **buffer, size_t *capacity, size_t words)
{
    if (words <= *capacity)
        return;
    free(*buffer);
    *buffer = driver_alloc(words, WORD);
    *capacity = words;
}

/* Records for ranks that get them by message: all, or those of other domains. */
static void map_to_buffer(struct shuffle *s, bool all)
{
    const int ranks = s->group->ranks;
    size_t words = 0;

    for (size_t i = 0; i < s->records; i++)
        if (all || !s->is_near[s->input[i].to])
            s->out[s->input[i].to].words += s->input[i].words;
    for (int rank = 0; rank < ranks; rank++) {
        s->send_counts[rank] = (int)s->out[rank].words;
        s->send_offsets[rank] = (int)words;
        words += s->out[rank].words;
    }
    reserve(&s->send, &s->send_capacity, words);
    for (size_t i = 0; i < s->records; i++) {
        const uint32_t to = s->input[i].to;
        if (!all && s->is_near[to])
            continue;
        write_record(s, i, (void *)(s->send + s->send_offsets[to]), &s->out[to]);
        s->send_offsets[to] += (int)s->input[i].words;
    }
    for (int rank = 0; rank < ranks; rank++)
        s->send_offsets[rank] -= s->send_counts[rank];
}

static void send_records(struct shuffle *s)
{
    MPI_Request request;
    size_t words = 0;

    for (int rank = 0; rank < s->group->ranks; rank++) {
        s->receive_counts[rank] = (int)s->in[rank].words;
        s->receive_offsets[rank] = (int)words;
        words += s->in[rank].words;
    }
    reserve(&s->receive, &s->receive_capacity, words);
    MPI_Ialltoallv(s->send, s->send_counts, s->send_offsets, MPI_UINT64_T, s->receive,
                   s->receive_counts, s->receive_offsets, MPI_UINT64_T, s->group->comm, &request);
    driver_wait(s->group, &request);
}

/* ---- a round -------------------------------------------------------------------------------- */

static void spoil(struct shuffle *s)
{
    for (int from = 0; from < s->group->ranks; from++) {
        struct chunk *chunk = alps_deref(s->group->heap, s->in[from].first);
        if (chunk != NULL) {
            chunk->records[chunk->used / 2] ^= 1;
            return;
        }
    }
}

static void exchange(struct shuffle *s, enum way way)
{
    MPI_Request request;

    MPI_Ialltoall(s->out, PARTITION_WORDS, MPI_UINT64_T, s->in, PARTITION_WORDS, MPI_UINT64_T,
                  s->group->comm, &request);
    driver_wait(s->group, &request);
    if (way == MESSAGES || s->group->domains > 1)
        send_records(s);
    if (driver_is_simulated()) /* nobody has a message before it was sent */
        driver_agree(s->group);
}

static void reduce(struct shuffle *s)
{
    for (int from = 0; from < s->group->ranks; from++) {
        const struct partition *in = &s->in[from];
        struct partition found = {0};
        reduce_in_place(s, from, &found);
        if (in->words > 0 && !read_records((const void *)(s->receive + s->receive_offsets[from]),
                                           in->words * WORD, &found))
            driver_note(s->group, DRIVER_FAIL, "the message of rank %d is damaged", from);
        if (found.records != in->records || found.hash != in->hash)
            driver_note(s->group, DRIVER_FAIL,
                        "of rank %d there are %" PRIu64 " records with sum 0x%" PRIx64
                        ", not %" PRIu64 " with 0x%" PRIx64,
                        from, found.records, found.hash, in->records, in->hash);
    }
}

/* False, in all ranks, if one has failed. */
static bool play(struct shuffle *s, enum way way)
{
    const size_t ranks = (size_t)s->group->ranks;
    uint64_t at[PHASES + 1];

    memset(s->out, 0, ranks * sizeof *s->out);
    memset(s->chunk, 0, ranks * sizeof *s->chunk);
    if (!driver_agree(s->group))
        return false;
    at[MAP] = driver_clock_ns();
    if (way == HEAP)
        map_to_heap(s);
    if (way == MESSAGES || s->group->domains > 1)
        map_to_buffer(s, way == MESSAGES);
    at[EXCHANGE] = driver_clock_ns();
    exchange(s, way);
    at[REDUCE] = driver_clock_ns();
    if (driver_options.inject_corruption && way == HEAP && s->group->rank == 0)
        spoil(s);
    reduce(s);
    at[PHASES] = driver_clock_ns();

    /* The maximum of a negated start is the earliest one. */
    int64_t words[PHASES + 2] = {-(int64_t)at[MAP], (int64_t)at[PHASES]};
    for (int phase = 0; phase < PHASES; phase++)
        words[2 + phase] = (int64_t)(at[phase + 1] - at[phase]);
    driver_max(s->group, words, PHASES + 2);
    s->total_ns[way] += (uint64_t)(words[0] + words[1]);
    for (int phase = 0; phase < PHASES; phase++)
        s->phase_ns[way][phase] += (uint64_t)words[2 + phase];
    return driver_agree(s->group);
}

/* ---- a repetition --------------------------------------------------------------------------- */

/* Results of the repetitions, on rank 0: MB/s. */
struct results {
    double *rate[WAYS], *ratio;
};

static void write_repetition(const struct shuffle *s, struct results *results, uint64_t rounds,
                             uint64_t all_bytes)
{
    static const char *const names[WAYS] = {"heap", "messages"};
    const uint64_t at = s->group->repetitions - 1;

    for (int way = 0; way < WAYS; way++) {
        const bool none = way == MESSAGES && driver_is_simulated();
        results->rate[way][at] =
            none ? NAN : (double)all_bytes * (double)rounds * 1e3 / (double)s->total_ns[way];
        const double each = 1e6 * (double)rounds;
        const bh_field_t fields[] = {
            bh_count("ranks", (uint64_t)s->group->ranks),
            bh_count("domains", (uint64_t)s->group->domains),
            bh_count("record_bytes", s->record_size),
            bh_count("repetition", s->group->repetitions),
            bh_text("way", names[way]),
            bh_count("rounds", rounds),
            bh_count("round_bytes", all_bytes),
            bh_real("mb_per_s", results->rate[way][at], 1),
            bh_real("map_ms", none ? NAN : (double)s->phase_ns[way][MAP] / each, 3),
            bh_real("exchange_ms", none ? NAN : (double)s->phase_ns[way][EXCHANGE] / each, 3),
            bh_real("reduce_ms", none ? NAN : (double)s->phase_ns[way][REDUCE] / each, 3),
        };
        driver_write_detail("repetition", fields, sizeof fields / sizeof fields[0]);
    }
    results->ratio[at] = results->rate[HEAP][at] / results->rate[MESSAGES][at];
}

/* False, in all ranks, if one has failed. */
static bool repeat(struct shuffle *s, struct results *results)
{
    uint64_t rounds = 0, all_bytes = s->input_bytes;
    bool last;

    memset(s->total_ns, 0, sizeof s->total_ns);
    memset(s->phase_ns, 0, sizeof s->phase_ns);
    driver_begin(s->group);
    do {
        last = driver_is_last(s->group, ++rounds);
        for (enum way way = 0; way < WAYS; way++, s->round++)
            if (!play(s, way))
                return false;
    } while (!last);
    MPI_Allreduce(MPI_IN_PLACE, &all_bytes, 1, MPI_UINT64_T, MPI_SUM, s->group->comm);
    if (s->group->rank == 0)
        write_repetition(s, results, rounds, all_bytes);
    return true;
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void write_line(const struct shuffle *s, struct results *results)
{
    const bool both = !driver_is_simulated();
    const bh_stats_t heap = bh_stats(results->rate[HEAP], driver_options.repeat),
                     none = {.median = NAN, .min = NAN, .max = NAN},
                     messages =
                         both ? bh_stats(results->rate[MESSAGES], driver_options.repeat) : none,
                     ratio = both ? bh_stats(results->ratio, driver_options.repeat) : none;
    const bh_field_t fields[] = {
        bh_count("ranks", (uint64_t)s->group->ranks),
        bh_count("domains", (uint64_t)s->group->domains),
        bh_count("record_bytes", s->record_size),
        bh_real("heap_mb_per_s", heap.median, 1),
        bh_real("heap_min", heap.min, 1),
        bh_real("heap_max", heap.max, 1),
        bh_real("messages_mb_per_s", messages.median, 1),
        bh_real("messages_min", messages.min, 1),
        bh_real("messages_max", messages.max, 1),
        bh_real("ratio", ratio.median, 2),
    };
    driver_write_line("summary", fields, sizeof fields / sizeof fields[0]);
}

static void draw_input(struct shuffle *s, const bh_zipf_t *zipf)
{
    const uint64_t most = s->record_size / WORD;
    bh_rng_t rng;

    bh_rng_seed(&rng, driver_options.seed, (uint64_t)s->group->rank);
    s->records = bytes / s->record_size == 0 ? 1 : bytes / s->record_size;
    s->input = driver_alloc(s->records, sizeof *s->input);
    for (size_t i = 0; i < s->records; i++) {
        struct input *input = &s->input[i];
        uint64_t words = vary ? bh_rng_between(&rng, most / 2, most + most / 2) : most;
        words = words < HEADER_WORDS + 1 ? HEADER_WORDS + 1 : words;
        input->key = bh_zipf_draw(zipf, &rng);
        input->words = (uint32_t)words;
        input->to = (uint32_t)(bh_mix64(input->key + 1) % (uint64_t)s->group->ranks);
        s->input_bytes += words * WORD;
    }
}

static void run_size(struct driver_group *group, uint64_t record_size, const bh_zipf_t *zipf)
{
    const size_t ranks = (size_t)group->ranks;
    struct shuffle s = {.group = group, .record_size = record_size};
    struct results results;
    int *domain_of = driver_alloc(ranks, sizeof *domain_of);
    bool good = true;

    group->repetitions = 0;
    draw_input(&s, zipf);
    s.is_near = driver_alloc(ranks, sizeof *s.is_near);
    s.out = driver_alloc(ranks, sizeof *s.out);
    s.in = driver_alloc(ranks, sizeof *s.in);
    s.chunk = driver_alloc(ranks, sizeof(struct chunk *));
    s.send_counts = driver_alloc(4 * ranks, sizeof *s.send_counts);
    s.send_offsets = s.send_counts + ranks;
    s.receive_counts = s.send_offsets + ranks;
    s.receive_offsets = s.receive_counts + ranks;
    results.rate[HEAP] = driver_alloc(3 * driver_options.repeat, sizeof(double));
    results.rate[MESSAGES] = results.rate[HEAP] + driver_options.repeat;
    results.ratio = results.rate[MESSAGES] + driver_options.repeat;
    MPI_Allgather(&group->domain_index, 1, MPI_INT, domain_of, 1, MPI_INT, group->comm);
    for (size_t rank = 0; rank < ranks; rank++)
        s.is_near[rank] = domain_of[rank] == group->domain_index;

    for (uint64_t i = 0; i < driver_options.warmup && good; i++)
        for (enum way way = 0; way < WAYS && good; way++, s.round++)
            good = play(&s, way);
    for (uint64_t i = 0; i < driver_options.repeat && good; i++)
        good = repeat(&s, &results);
    if (good && group->domain_rank == 0)
        driver_inspect(group, 0); /* all chunks were freed */
    if (driver_agree(group) && group->rank == 0)
        write_line(&s, &results);

    free(results.rate[HEAP]);
    free(s.receive);
    free(s.send);
    free(s.send_counts);
    free((void *)s.chunk);
    free(s.in);
    free(s.out);
    free(s.is_near);
    free(s.input);
    free(domain_of);
}

static void run(struct driver_group *group)
{
    bh_zipf_t zipf;

    bh_zipf_start(&zipf, keys, skew);
    for (size_t i = 0; i < record_sizes.count; i++)
        if (driver_agree(group))
            run_size(group, record_sizes.items[i], &zipf);
}

/* ---- the program ---------------------------------------------------------------------------- */

static unsigned runs(void)
{
    return (unsigned)record_sizes.count;
}

static const char *check_options(void)
{
    for (size_t i = 0; i < record_sizes.count; i++)
        if (record_sizes.items[i] % WORD != 0)
            return "--record-size: records are multiples of 8 bytes";
    return skew < 0 || skew >= 1 ? "--skew is at least 0 and less than 1" : NULL;
}

static size_t describe(bh_field_t *fields)
{
    size_t count = 0;

    fields[count++] = bh_count("bytes", bytes);
    fields[count++] = bh_count("chunk", chunk_size);
    fields[count++] = bh_count("keys", keys);
    fields[count++] = bh_real("skew", skew, 2);
    fields[count++] = bh_text("lengths", vary ? "0.5 to 1.5 of record_bytes" : "record_bytes");
    return count;
}

static const struct driver_program program = {
    .name = "alps-mpi-shuffle",
    .purpose = "Ranks shuffle records through the heap, by pointers, and by MPI_Alltoallv.",
    .options = options,
    .check_options = check_options,
    .runs = runs,
    .describe = describe,
    .run = run,
};

int main(int argc, char **argv)
{
    return driver_main(&program, argc, argv);
}
