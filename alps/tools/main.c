/* alps: the command-line tool for heaps. It sees no more of the library than its public header. */
#include "commands.h"
#include "options.h"
#include "report.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The longest misspelling that a suggestion is looked for. */
#define NAME_MAX_LENGTH 32

static const struct command {
    const char *name;
    const char *summary;
    int (*run)(const struct arguments *arguments);
    unsigned options;  /* allowed, besides --json and --help */
    unsigned required; /* of those */
    bool program;      /* instead of files there is a program, with its arguments */
    bool one_file;     /* one file stands for all files of the heap */
    const char *help;
    const char *examples;
} commands[] = {
    {.name = "create",
     .summary = "make a new heap",
     .run = command_create,
     .options = OPTION_BIT(OPTION_SIZE) | OPTION_BIT(OPTION_CAPACITY) |
                OPTION_BIT(OPTION_ZONE_SIZE) | OPTION_BIT(OPTION_MODE) | OPTION_BIT(OPTION_NODES) |
                OPTION_BIT(OPTION_INSTANCES) | OPTION_BIT(OPTION_DURABLE) |
                OPTION_BIT(OPTION_IN_PLACE) | OPTION_BIT(OPTION_SHARED),
     .help =
         "Makes a heap in a new file: in /dev/shm, on hugetlbfs or DAX, or a plain file; or on\n"
         "a device such as /dev/dax0.0, all of it unless the sizes say otherwise.\n"
         "Memory is taken as it is used, not now. With several files each holds an equal\n"
         "share; all are needed later, in the same order. The default size is 64M, the\n"
         "smallest 16M, the largest capacity 16T.\n",
     .examples = "  alps create /dev/shm/heap\n"
                 "  alps create --shared /dev/dax0.0\n"
                 "  alps create --size 1G --capacity 64G --mode 0660 /dev/shm/heap\n"
                 "  alps create -s 8G -n 0-3 /mnt/fam0/heap /mnt/fam1/heap\n"},
    {.name = "info",
     .summary = "sizes, zones, files, instances, generations",
     .run = command_info,
     .help = "Tells how the heap is made, who has it open, and which generations it knows.\n",
     .examples = "  alps info /dev/shm/heap\n"
                 "  alps info --json /dev/shm/heap | jq '.instances[] | select(.alive | not)'\n"},
    {.name = "stat",
     .summary = "how much is in use, once or again and again",
     .run = command_stat,
     .options = OPTION_BIT(OPTION_WATCH),
     .help = "Counts blocks and bytes: exact on a quiet heap. With --watch the figures are\n"
             "refreshed in place on a terminal, and appended line by line elsewhere; that\n"
             "ends with success at an interrupt (Ctrl-C), or when nobody reads the output\n"
             "any more.\n",
     .examples = "  alps stat /dev/shm/heap\n"
                 "  alps stat --watch 0.5 /dev/shm/heap\n"
                 "  alps stat --watch --json /dev/shm/heap >> heap.log\n"},
    {.name = "check",
     .summary = "verify every invariant of the heap",
     .run = command_check,
     .help = "Verifies the heap's layout and exits with 3 if it is damaged. It changes\n"
             "nothing. Exact on a quiet heap; beside running writers it reports what stays\n"
             "wrong when it looks again.\n",
     .examples = "  alps check /dev/shm/heap\n"
                 "  alps check --json /dev/shm/heap | jq -r .first\n"},
    {.name = "walk",
     .summary = "list the blocks, and sum them up by generation",
     .run = command_walk,
     .options =
         OPTION_BIT(OPTION_GENERATION) | OPTION_BIT(OPTION_MIN_SIZE) | OPTION_BIT(OPTION_LIMIT),
     .help = "Lists the allocated blocks by ascending offset, then a summary by generation\n"
             "of all blocks that the filters let through. Generation 0 is that of the\n"
             "permanent blocks.\n",
     .examples = "  alps walk --limit 20 /dev/shm/heap\n"
                 "  alps walk --generation 5 --limit 0 /dev/shm/heap\n"
                 "  alps walk --min-size 1M --json /dev/shm/heap\n"},
    {.name = "roots",
     .summary = "list the named roots",
     .run = command_roots,
     .help = "Lists the roots by name, with the size of the block that each leads to.\n",
     .examples = "  alps roots /dev/shm/heap\n"},
    {.name = "nodes",
     .summary = "what lies on which NUMA node, looked at page by page",
     .run = command_nodes,
     .help = "Sums up zones and blocks by the NUMA node that zones are placed on, and looks\n"
             "where each page in use really lies. Exits with 1 if one is on another node.\n",
     .examples = "  alps nodes /dev/shm/heap\n"
                 "  alps nodes --json /dev/shm/heap | jq .misplaced\n"},
    {.name = "recover",
     .summary = "take in the instances that died",
     .run = command_recover,
     .help = "Gives back what dead instances held. Their blocks stay allocated under their\n"
             "generations, which are listed: free them with `alps bulk-free`, or keep them\n"
             "with `alps commit`. Live instances go on meanwhile. Opening a heap for writing\n"
             "recovers the dead by itself.\n",
     .examples = "  alps recover /dev/shm/heap\n"},
    {.name = "bulk-free",
     .summary = "free every block of a generation",
     .run = command_bulk_free,
     .options = OPTION_BIT(OPTION_GENERATION) | OPTION_BIT(OPTION_CLOSED),
     .help = "Frees every block of the generations and nothing else: permanent blocks stay.\n"
             "A generation that a live instance has open is refused. `alps walk -g N --limit\n"
             "0` tells beforehand what would go.\n",
     .examples = "  alps bulk-free --generation 5 /dev/shm/heap\n"
                 "  alps bulk-free -g 5,7-9 /dev/shm/heap\n"
                 "  alps bulk-free --closed /dev/shm/heap\n"},
    {.name = "commit",
     .summary = "make the blocks of a generation permanent",
     .run = command_commit,
     .options = OPTION_BIT(OPTION_GENERATION) | OPTION_BIT(OPTION_CLOSED),
     .help = "Makes the blocks of the generations permanent: no bulk-free frees them then. A\n"
             "generation that a live instance has open is refused.\n",
     .examples = "  alps commit --generation 5 /dev/shm/heap\n"},
    {.name = "declare-dead",
     .summary = "say that the process of a generation, or a host, is dead",
     .run = command_declare_dead,
     .options = OPTION_BIT(OPTION_GENERATION) | OPTION_BIT(OPTION_HOST) | OPTION_BIT(OPTION_YES),
     .help = "For processes of other hosts on memory that several hosts share: that they died\n"
             "is not seen here. Refused for a process of this host, where it is seen. Whoever\n"
             "is declared dead should be dead and stay so: a process that was only stopped is\n"
             "told so by its next call of the library, but it still does what it was doing, and\n"
             "its own writing to its blocks is not stopped. Asks for confirmation; --yes where\n"
             "nobody can be asked.\n",
     .examples = "  alps declare-dead --generation 5 --yes /dev/dax0.0\n"
                 "  alps declare-dead --host node2 --yes /dev/dax0.0\n"},
    {.name = "grow",
     .summary = "give the heap more memory",
     .run = command_grow,
     .options = OPTION_BIT(OPTION_SIZE),
     .required = OPTION_BIT(OPTION_SIZE),
     .help = "Grows the heap to at least SIZE, within its capacity, while others go on using\n"
             "it. Allocation does this by itself when the heap is short. A smaller size\n"
             "changes nothing.\n",
     .examples = "  alps grow --size 4G /dev/shm/heap\n"},
    {.name = "trim",
     .summary = "give free memory back to the file system",
     .run = command_trim,
     .help = "Gives free memory back to the file system. It is taken again when needed.\n",
     .examples = "  alps trim /dev/shm/heap\n"},
    {.name = "format",
     .summary = "empty the heap",
     .run = command_format,
     .options = OPTION_BIT(OPTION_YES),
     .one_file = true,
     .help = "Removes every block, root and generation; the sizes stay. FILE is any file of\n"
             "the heap. Refused while anyone has the heap open. Asks for confirmation;\n"
             "without a terminal to ask, --yes is needed.\n",
     .examples = "  alps format /dev/shm/heap\n"
                 "  alps format --yes /dev/shm/heap\n"},
    {.name = "destroy",
     .summary = "remove the heap and its files",
     .run = command_destroy,
     .options = OPTION_BIT(OPTION_YES),
     .one_file = true,
     .help = "Removes all files of the heap; FILE is the first of them. A file that is no\n"
             "heap is refused, and so is a heap that anyone has open. Asks for confirmation;\n"
             "without a terminal to ask, --yes is needed.\n",
     .examples = "  alps destroy /dev/shm/heap\n"
                 "  alps destroy --yes /dev/shm/heap\n"},
    {.name = "run",
     .summary = "run a program whose malloc is on a heap",
     .run = command_run,
     .options = OPTION_BIT(OPTION_HEAP) | OPTION_BIT(OPTION_SIZE),
     .program = true,
     .help = "Runs a program, and all that it starts, with libalps-malloc.so loaded first: its\n"
             "malloc, and what is made of that, such as C++'s new, are on a heap. Exit codes are\n"
             "the program's; 125: the heap cannot be used, 126: the program cannot be run, 127:\n"
             "there is none of that name. SIZE is the most that a new heap may grow to.\n",
     .examples = "  alps run -- sort big.txt\n"
                 "  alps run --heap /dev/shm/heap --size 16G -- redis-server --port 7000\n"},
};

/* What the caller had chosen. */
static void (*sigpipe_before)(int);

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

/* Characters to insert, remove or replace to make b of a (Levenshtein), b being short. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t length = strlen(b);
    size_t row[NAME_MAX_LENGTH + 1];

    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j + 1] = best < diagonal + 1 ? best : diagonal + 1;
        }
    }
    return row[length];
}

static int unknown_command(const char *name)
{
    const struct command *nearest = NULL;
    size_t least = 3; /* farther than two slips is no misspelling */

    for (size_t i = 0; i < COMMAND_COUNT && strlen(name) <= NAME_MAX_LENGTH; i++) {
        size_t distance = edit_distance(commands[i].name, name);
        if (distance < least && distance < strlen(name)) {
            least = distance;
            nearest = &commands[i];
        }
    }
    if (nearest != NULL)
        return usage_error(NULL, "unknown command '%s': do you mean '%s'?", name, nearest->name);
    return usage_error(NULL, "unknown command '%s'", name);
}

static void print_help(FILE *out)
{
    fputs("Usage: alps COMMAND [OPTIONS] FILE...\n"
          "\n"
          "Makes, examines and cleans up ALPS heaps: shared memory that several processes\n"
          "allocate from. The files of a heap over several files are given in the order of\n"
          "its creation.\n"
          "\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-12s  %s\n", commands[i].name, commands[i].summary);
    fputs(
        "\n"
        "`alps help COMMAND` or `alps COMMAND --help` tells more; `alps --version` the version.\n"
        "\n"
        "Sizes are bytes, or numbers with K, M, G, T, P, E (powers of 1024), such as 64M or 2GiB.\n"
        "\n"
        "Exit codes:\n"
        "  0  success\n"
        "  1  the operation failed\n"
        "  2  the command line, or a value in it, is wrong\n"
        "  3  the heap is damaged\n"
        "  4  busy: the heap or the generation is open, or all instance slots are taken\n"
        "\n"
        "Examples:\n"
        "  alps create --size 1G --capacity 16G /dev/shm/heap\n"
        "  alps stat --watch /dev/shm/heap\n"
        "  alps recover /dev/shm/heap && alps bulk-free --generation 5 /dev/shm/heap\n",
        out);
}

static unsigned options_of(const struct command *command)
{
    return command->options | OPTION_BIT(OPTION_HELP) |
           (command->program ? 0 : OPTION_BIT(OPTION_JSON));
}

static void print_command_help(const struct command *command)
{
    printf("Usage: alps %s", command->name);
    options_describe_required(stdout, command->required);
    printf(" [OPTIONS] %s\n\n%s\nOptions:\n",
           command->program    ? "[--] PROGRAM [ARGUMENT]..."
           : command->one_file ? "FILE"
                               : "FILE...",
           command->help);
    options_describe(stdout, options_of(command));
    printf("\nExamples:\n%s\nExit codes and sizes are explained by `alps --help`.\n",
           command->examples);
}

static int run_command(const struct command *command, int argc, char **argv)
{
    static struct arguments arguments; /* large */

    int status = arguments_parse(&arguments, argc, argv, options_of(command), command->program);
    if (status != STATUS_OK)
        return status;
    if (option_given(&arguments, OPTION_HELP)) {
        print_command_help(command);
        return STATUS_OK;
    }
    for (int id = 0; id < OPTION_COUNT; id++) {
        if ((command->required & ~arguments.given & OPTION_BIT(id)) != 0)
            return usage_error(command->name, "%s is needed", option_text((enum option_id)id));
    }
    if (arguments.file_count == 0)
        return usage_error(command->name, "no %s is given", command->program ? "PROGRAM" : "FILE");
    if (command->program) {
        signal(SIGPIPE, sigpipe_before); /* which the program would keep */
        return command->run(&arguments);
    }
    if (command->one_file && arguments.file_count > 1)
        return usage_error(command->name, "%s: one FILE stands for all files of its heap",
                           arguments.files[1]);
    if (arguments.file_count > ALPS_FILE_MAX)
        return usage_error(command->name, "%u files are given, a heap has at most %d",
                           arguments.file_count, ALPS_FILE_MAX);
    return command->run(&arguments);
}

static int help(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return STATUS_OK;
    }
    const struct command *command = find_command(argv[1]);
    if (command == NULL)
        return unknown_command(argv[1]);
    print_command_help(command);
    return STATUS_OK;
}

static int dispatch(int argc, char **argv)
{
    const char *name = argv[0];

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(argc, argv);
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("alps %s\n", alps_version());
        return STATUS_OK;
    }
    if (name[0] == '-')
        return usage_error(NULL, "unknown option %s", name);
    const struct command *command = find_command(name);
    return command == NULL ? unknown_command(name) : run_command(command, argc, argv);
}

/* A standard stream that the caller closed would give its number to the heap's file, and a report
 * would be written into the heap. The stand-ins fail when they are used. */
static void occupy_standard_streams(void)
{
    for (int descriptor = 0; descriptor <= STDERR_FILENO; descriptor++) {
        if (fcntl(descriptor, F_GETFD) < 0)
            (void)!open("/dev/null",
                        (descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    }
}

int main(int argc, char **argv)
{
    occupy_standard_streams();
    /* A reader that leaves early must not kill this process: it may be an instance of the heap. */
    sigpipe_before = signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return STATUS_USAGE;
    }
    return output_finish(find_command(argv[1]) == NULL ? NULL : argv[1],
                         dispatch(argc - 1, argv + 1));
}
