/* fill: opens a heap, allocates blocks in it, and prints its generation, for the tool's tests.
 *
 * fill [-n COUNT] [-s SIZE] [-r ROOT] [-d ROOT] [-p] [-w] [-k] FILE...
 *   -n COUNT  blocks to allocate (default 1)
 *   -s SIZE   bytes of each (default 64)
 *   -r ROOT   bind this name to the last block
 *   -d ROOT   bind this name to an offset inside the last block
 *   -p        open it for permanent blocks
 *   -w        stay until standard input ends
 *   -k        end by SIGKILL instead of closing the heap
 */
#include <alps/alps.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int fail(const char *what, int code)
{
    fprintf(stderr, "fill: %s: %s: %s\n", what, alps_strerror(code), alps_error_detail());
    return 1;
}

int main(int argc, char **argv)
{
    struct alps_open_options options = {.struct_size = sizeof options};
    unsigned long count = 1;
    size_t size = 64;
    const char *root = NULL;
    const char *dangling = NULL;
    int wait_for_end = 0;
    int kill_self = 0;
    int option;

    while ((option = getopt(argc, argv, "n:s:r:d:pwk")) != -1) {
        switch (option) {
        case 'n':
            count = strtoul(optarg, NULL, 10);
            break;
        case 's':
            size = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            root = optarg;
            break;
        case 'd':
            dangling = optarg;
            break;
        case 'p':
            options.flags |= ALPS_OPEN_PERMANENT;
            break;
        case 'w':
            wait_for_end = 1;
            break;
        case 'k':
            kill_self = 1;
            break;
        default:
            return 2;
        }
    }

    alps_heap_t *heap;
    int code = alps_heap_open_files((const char *const *)argv + optind, (unsigned)(argc - optind),
                                    &options, &heap);
    if (code != 0)
        return fail("open", code);

    alps_ptr_t block = ALPS_NULL;
    for (unsigned long i = 0; i < count; i++) {
        block = alps_calloc(heap, 1, size, ALPS_ANY_NODE);
        if (block == ALPS_NULL) {
            perror("fill: calloc");
            return 1;
        }
    }
    if (root != NULL && (code = alps_root_set(heap, root, block)) != 0)
        return fail("root", code);
    if (dangling != NULL && (code = alps_root_set(heap, dangling, block + 8)) != 0)
        return fail("root", code);
    printf("%" PRIu64 "\n", alps_heap_generation(heap));
    fflush(stdout);

    while (wait_for_end && getchar() != EOF)
        ;
    if (kill_self)
        raise(SIGKILL);
    code = alps_heap_close(heap);
    return code == 0 ? 0 : fail("close", code);
}
