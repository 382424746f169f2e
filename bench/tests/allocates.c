/* Calls all that the recorder of traces records, with sizes that can be told from others. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(void *block)
{
    if (block == NULL)
        abort();
    memset(block, 1, malloc_usable_size(block));
}

static void *churn(void *argument)
{
    for (int i = 0; i < 1000; i++) {
        void *block = malloc(888);
        check(block);
        free(block);
    }
    return argument;
}

int main(void)
{
    pthread_t threads[4];
    void *aligned = NULL;

    char *block = calloc(1, 12345);
    for (int i = 0; i < 12345; i++)
        if (block[i] != 0)
            abort();
    block = realloc(block, 23456);
    check(block);
    block = realloc(block, 345);
    check(block);
    free(block);
    if (posix_memalign(&aligned, 3, 8) == 0 || posix_memalign(&aligned, 64, 4444) != 0)
        abort();
    check(aligned);
    free(aligned);
    aligned = aligned_alloc(128, 5555);
    check(aligned);
    free(aligned);
    aligned = memalign(4096, 6666);
    check(aligned);
    free(aligned);
    free(NULL);
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, churn, NULL) != 0)
            abort();
    pid_t child = fork();
    if (child == 0) {
        void *theirs = malloc(7777);
        check(theirs);
        free(theirs);
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return status;
}
