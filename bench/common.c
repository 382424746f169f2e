#include "common.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct common common;

bool common_parse(const struct program *program, int argc, char **argv, int *status)
{
    char error[BH_ERROR_MAX];

    if (bh_options_parse(program->options, argc, argv, error) != 0) {
        fprintf(stderr, "%s: %s\nTry %s --help.\n", program->name, error, program->name);
        *status = EXIT_USAGE;
        return false;
    }
    if (common.help) {
        puts(program->usage);
        bh_options_describe(program->options, stdout);
        puts(program->statuses);
        *status = EXIT_PASS;
    }
    return !common.help;
}

bool common_open(const struct program *program, bh_writer_t *writer)
{
    const char *failed;

    if (bh_writer_open(writer, common.json, common.csv, stdout, &failed) == 0)
        return true;
    fprintf(stderr, "%s: %s: %s\n", program->name, failed, strerror(errno));
    return false;
}

const char *common_path(const struct program *program)
{
    static char path[64];

    if (common.heap != NULL)
        return common.heap;
    snprintf(path, sizeof path, "/dev/shm/%s-%ld", program->name, (long)getpid());
    return path;
}

int fail(const char *what, int error)
{
    fprintf(stderr, "%s: %s: %s (%s)\n", program_invocation_short_name, what, alps_strerror(error),
            alps_error_detail());
    return -1;
}

pid_t start(void)
{
    pid_t parent = getpid(), child = fork();
    if (child == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
        _exit(EXIT_FAIL);
    return child;
}

pid_t start_owner(const char *path, uint64_t blocks, size_t block_size, alps_gen_t *generation)
{
    int ends[2];
    if (pipe(ends) != 0)
        return -1;
    pid_t child = start();
    if (child == 0) {
        alps_heap_t *heap;
        if (alps_heap_open(path, NULL, &heap) != 0)
            _exit(EXIT_FAIL);
        for (uint64_t i = 0; i < blocks; i++)
            if (alps_malloc(heap, block_size, ALPS_ANY_NODE) == ALPS_NULL)
                _exit(EXIT_FAIL);
        *generation = alps_heap_generation(heap);
        if (write(ends[1], generation, sizeof *generation) == sizeof *generation)
            pause();
        _exit(EXIT_FAIL);
    }
    close(ends[1]);
    if (child > 0 && read(ends[0], generation, sizeof *generation) != sizeof *generation) {
        kill_owner(child);
        child = -1;
    }
    close(ends[0]);
    return child;
}

void kill_owner(pid_t owner)
{
    kill(owner, SIGKILL);
    waitpid(owner, NULL, 0);
}

bh_stats_t stats_of(const void *structs, uint64_t count, size_t size, size_t offset)
{
    double values[ROUNDS_MAX];
    for (uint64_t i = 0; i < count; i++)
        memcpy(&values[i], (const char *)structs + i * size + offset, sizeof values[i]);
    return bh_stats(values, count);
}

int finish(bh_writer_t *writer, int result)
{
    if (bh_writer_close(writer) != 0 && result == 0) {
        fprintf(stderr, "%s: the results cannot be written\n", program_invocation_short_name);
        result = -1;
    }
    printf("RESULT: %s\n", result == 0 ? "PASS" : "FAIL");
    return result == 0 ? EXIT_PASS : EXIT_FAIL;
}
