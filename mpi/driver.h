/* What the MPI drivers share: the command line, groups of ranks on one heap, emulation, results,
 * the verdict.
 *
 * A driver describes itself in a struct driver_program, and its main is
 *
 *     return driver_main(&program, argc, argv);
 *
 * For each number n of --ranks, driver_main puts the first n ranks in a group, makes a heap that
 * each of them maps at another address, and calls program.run in each. The other ranks sleep
 * meanwhile. Rank 0 is in every group; it alone prints.
 *
 * Ranks that share memory are a domain: they have one heap. With fabric-attached memory that all
 * nodes reach there is one domain; on a cluster without, each node is one, with a heap of its own.
 *
 * Failures: a rank that finds something wrong calls driver_note and goes on to the next collective
 * call that the group makes together, driver_agree for one. There all learn of it and leave. So no
 * rank waits for one that has gone, and all end with the same exit code. */
#ifndef MPI_DRIVER_H
#define MPI_DRIVER_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <alps/alps.h>

#include "harness/options.h"
#include "harness/record.h"

#define DRIVER_PROBLEM_MAX 512

/* From best to worst, so that a group's verdict is the maximum of its ranks'. */
enum driver_verdict { DRIVER_PASS, DRIVER_SKIP, DRIVER_USAGE, DRIVER_FAIL };

/* The options that all drivers have. */
struct driver_options {
    const char *heap;     /* path of the heap; NULL: a name of our own in /dev/shm */
    bool in_place;        /* the heap takes the place of what is there; always on devices */
    uint64_t size;        /* bytes that the heap may grow to; 0 before MPI_Init: by the ranks, or
                             in place all there is */
    bh_list_t nodes;      /* NUMA nodes that the heap's zones lie on; none: anywhere.
                             Before the groups none, too, if --emu-mode numa is to find them */
    bool keep;            /* the heap, and what driver_share gives, stay when all is done */
    bool existing;        /* they are there; they go when all was right. Set by check_options */
    bh_list_t ranks;      /* sizes of the groups */
    uint64_t duration_ns; /* of a repetition, unless iterations is given */
    uint64_t iterations;  /* rounds of a repetition; 0: as many as fit in its time */
    uint64_t warmup;      /* rounds before the first repetition */
    uint64_t repeat;      /* repetitions */
    uint64_t seed;
    bool inject_corruption; /* for tests: the driver spoils a byte */
    const char *json;
    const char *csv;
    bool help;
    bool version;
};
extern struct driver_options driver_options;

struct driver_group {
    MPI_Comm comm;
    int rank, ranks; /* in comm */
    MPI_Comm domain; /* those of comm that share this rank's heap */
    int domain_rank, domain_ranks;
    int domains, domain_index; /* how many domains comm has, and which one this is */
    alps_heap_t *heap;
    int heap_fd; /* the heap's file, for programs that a rank starts: alps_heap_open takes it as
                    /proc/self/fd/N, though it has no name any more */
    int emulation_fd; /* likewise, to be had by them as EMULATION_FD; -1: nothing is emulated */
    bool destroys;    /* this rank destroys the heap, which is in place, when all have closed it */
    int verdict;      /* worst that this rank knows of, enum driver_verdict */
    char problem[DRIVER_PROBLEM_MAX]; /* what this rank has found, or "" */
    uint64_t repetitions;             /* begun in this run */
    uint64_t start_ns; /* of the present repetition, as driver_clock_ns and in real time */
    uint64_t real_start_ns;
};

struct driver_program {
    const char *name;
    const char *purpose;
    const bh_option_t *options;             /* beyond the common ones */
    unsigned (*openings)(void);             /* of the heap by a rank and what it starts; NULL: 1 */
    size_t (*shared_size)(int ranks);       /* of driver_share, at most; NULL: it is not used */
    const char *(*check_options)(void);     /* what is wrong with the options; may be NULL */
    unsigned (*runs)(void);                 /* of --repeat repetitions in a group; NULL: 1 */
    size_t (*describe)(bh_field_t *fields); /* for the record of the machine, at most 8 fields */
    void (*run)(struct driver_group *group);
};

int driver_main(const struct driver_program *program, int argc, char **argv);

/* Notes what is wrong, and how bad that is. A rank's first problem is the one that is reported. */
void driver_note(struct driver_group *group, enum driver_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Time as the ranks have it: simulated time with --emu-mode virtual. */
uint64_t driver_clock_ns(void);
bool driver_is_simulated(void);

/* Completes a collective call of the group. Where ranks outnumber the processors, those that wait
 * sleep: however much they yield, they would keep the others from theirs. */
void driver_wait(const struct driver_group *group, MPI_Request *request);

/* True if no rank of the group has failed. All of them call it; in simulated time all have waited
 * for the last of them. */
bool driver_agree(struct driver_group *group);

/* Zeroed memory, to be given back by free. Without memory the job ends at once. */
void *driver_alloc(size_t count, size_t size);

/* Memory that the ranks of a domain share, outside of the heap. It is the end of a file: of one
 * beside the heap, which has no name any more, or of the heap's own file if that is in place. */
struct driver_share {
    void *memory;
    size_t size;
    int fd;
};

/* Zeroed memory of share->size bytes; what is there of an existing one. False in all ranks of the
 * group if that fails in one. All of them call it; each ends it with driver_unshare. */
bool driver_share(struct driver_group *group, struct driver_share *share);

/* The same memory in a program that a rank starts, by its file. False, and errno, if that fails. */
bool driver_attach(int fd, struct driver_share *share);
void driver_unshare(struct driver_share *share);

/* A repetition begins. */
void driver_begin(struct driver_group *group);

/* On rank 0, whether the repetition ends with its round of this number, from 1; shows the progress.
 * False on the others: what rank 0 says goes. A repetition has two rounds at least. */
bool driver_is_over(struct driver_group *group, uint64_t round);

/* Whether the repetition ends with this round, for all ranks of the group. */
bool driver_is_last(struct driver_group *group, uint64_t round);

/* The largest of each number, in all ranks of the group. */
void driver_max(const struct driver_group *group, int64_t *numbers, int count);

/* While all are quiet, for one rank of each domain: the heap is sound; and has so many blocks. */
void driver_check_heap(struct driver_group *group);
void driver_inspect(struct driver_group *group, uint64_t blocks);

/* For rank 0: a record for JSON and CSV, and one that is a line of the table as well. */
void driver_write_detail(const char *record, const bh_field_t *fields, size_t count);
void driver_write_line(const char *record, const bh_field_t *fields, size_t count);

#endif
