/* A crash, and its clean-up.
 *
 *     crash FILE
 *
 * A worker fills a list in the heap and is killed in the middle. Its generation tells its blocks
 * from all others: they are freed with one call. A second one commits what it has made before it is
 * killed: that stays. */
#include <alps/alps.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
    fprintf(stderr, "crash: %s: %s\n", what, alps_error_detail());
    exit(1);
}

static unsigned long long live_blocks(alps_heap_t *heap)
{
    struct alps_stats stats = {.struct_size = sizeof stats};
    if (alps_heap_stats(heap, &stats) != 0)
        fail("stats");
    return stats.live_blocks;
}

/* Allocates, and never comes to an end. */
static void worker(const char *path, int ready, int commits)
{
    alps_heap_t *heap;
    if (alps_heap_open(path, NULL, &heap) != 0)
        fail("open");
    for (unsigned i = 0;; i++) {
        alps_malloc(heap, 100, ALPS_ANY_NODE);
        if (i == 1000) {
            if (commits)
                alps_commit(heap, alps_heap_generation(heap));
            if (write(ready, "", 1) != 1)
                _exit(1);
            pause();
        }
    }
}

static void kill_a_worker(const char *path, int commits)
{
    int ready[2];
    char byte;
    if (pipe(ready) != 0)
        fail("pipe");
    pid_t child = fork();
    if (child == 0)
        worker(path, ready[1], commits);
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        exit(1); /* it has said why */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
}

/* Takes in who died, and frees what they left. */
static void clean_up(alps_heap_t *heap)
{
    alps_gen_t dead[16];
    struct alps_recovery report = {
        .struct_size = sizeof report, .generations = dead, .capacity = 16};
    if (alps_recover(heap, &report) != 0)
        fail("recover");
    printf("%u died and left %llu blocks\n", report.count, live_blocks(heap));
    for (unsigned i = 0; i < report.count; i++)
        if (alps_bulk_free(heap, dead[i]) != 0)
            fail("bulk free");
    printf("%llu are left\n", live_blocks(heap));
}

int main(int argc, char **argv)
{
    alps_heap_t *heap;
    if (argc != 2) {
        fprintf(stderr, "usage: crash FILE\n");
        return 2;
    }
    if (alps_heap_create(argv[1], NULL) != 0 || alps_heap_open(argv[1], NULL, &heap) != 0)
        fail("create");
    kill_a_worker(argv[1], 0);
    clean_up(heap);
    int good = live_blocks(heap) == 0;
    kill_a_worker(argv[1], 1);
    clean_up(heap);
    good &= live_blocks(heap) == 1001 && alps_heap_check(heap, NULL) == 0;
    alps_heap_close(heap);
    alps_heap_destroy(argv[1]);
    return !good;
}
