/* An MPI job that prints which host each rank is on. The last rank leaves a file in $OUT and ends
 * with the exit code given. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { LENGTH = MPI_MAX_PROCESSOR_NAME };

int main(int argc, char **argv)
{
    char host[LENGTH] = "", path[4096];
    int rank, ranks, length;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Get_processor_name(host, &length);
    char *hosts = calloc((size_t)ranks, LENGTH);
    MPI_Gather(host, LENGTH, MPI_CHAR, hosts, LENGTH, MPI_CHAR, 0, MPI_COMM_WORLD);
    for (int i = 0; rank == 0 && i < ranks; i++)
        printf("rank %d: %s\n", i, hosts + (size_t)i * LENGTH);
    free(hosts);
    if (rank == ranks - 1 && getenv("OUT")) {
        snprintf(path, sizeof path, "%s/last", getenv("OUT"));
        FILE *file = fopen(path, "w");
        if (file) {
            fprintf(file, "%s\n", host);
            fclose(file);
        }
    }
    MPI_Finalize();
    return rank == ranks - 1 && argc > 1 ? atoi(argv[1]) : 0;
}
