/* Allocates until there is no more, frees all, and does it again. Prints how many MiB it had each
 * time. Argument: at most so many MiB. The environment is gone by then. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK 100000u

int main(int argc, char **argv)
{
    clearenv();
    const size_t most = (argc > 1 ? strtoul(argv[1], NULL, 10) : 0) << 20;
    for (unsigned round = 0; round < 2; round++) {
        void **last = NULL, **block;
        size_t count = 0;
        while (count * BLOCK < most && (block = (void **)malloc(BLOCK)) != NULL) {
            *block = last;
            last = block;
            count++;
        }
        if (count * BLOCK < most && errno != ENOMEM) {
            perror("malloc");
            return 1;
        }
        while (last != NULL) {
            block = (void **)*last;
            free(last);
            last = block;
        }
        printf("%zu\n", count * BLOCK >> 20);
    }
    return 0;
}
