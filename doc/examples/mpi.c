/* Ranks of an MPI job that pass data on by pointers.
 *
 *     mpirun -np 4 mpi FILE
 *
 * Each rank fills a block in the heap and sends its pointer, 8 bytes, around the ring; whoever gets
 * it finds the data in place, wherever it has the heap mapped, and frees it. All ranks are on hosts
 * that share the file's memory. */
#include <alps/alps.h>

#include <mpi.h>
#include <stdio.h>

enum { COUNT = 1 << 16 };

static void fail(const char *what)
{
    fprintf(stderr, "mpi: %s: %s\n", what, alps_error_detail());
    MPI_Abort(MPI_COMM_WORLD, 1);
}

int main(int argc, char **argv)
{
    int rank, ranks;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc != 2) {
        fprintf(stderr, "usage: mpi FILE\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }

    alps_heap_t *heap;
    struct alps_create_options options = {.struct_size = sizeof options,
                                          .capacity = (uint64_t)16 << 30};
    if (rank == 0 && alps_heap_create(argv[1], &options) != 0)
        fail("create");
    MPI_Barrier(MPI_COMM_WORLD);
    if (alps_heap_open(argv[1], NULL, &heap) != 0)
        fail("open");

    alps_ptr_t mine = alps_malloc(heap, COUNT * sizeof(int), ALPS_ANY_NODE), theirs;
    if (mine == ALPS_NULL)
        fail("malloc");
    for (int i = 0; i < COUNT; i++)
        ((int *)alps_deref(heap, mine))[i] = rank;
    MPI_Sendrecv(&mine, 1, MPI_UINT64_T, (rank + 1) % ranks, 0, &theirs, 1, MPI_UINT64_T,
                 (rank + ranks - 1) % ranks, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);

    long sum = 0, total;
    for (int i = 0; i < COUNT; i++)
        sum += ((int *)alps_deref(heap, theirs))[i];
    if (alps_free(heap, theirs) != 0)
        fail("free");
    MPI_Reduce(&sum, &total, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);

    alps_heap_close(heap);
    MPI_Barrier(MPI_COMM_WORLD);
    int good = 1;
    if (rank == 0) {
        good = total == (long)ranks * (ranks - 1) / 2 * COUNT;
        printf("%d ranks: the sum is %s\n", ranks, good ? "right" : "wrong");
        alps_heap_destroy(argv[1]);
    }
    MPI_Finalize();
    return !good;
}
