/* emu-topology: which NUMA nodes this machine has, and which of them would play far memory. */
#include <emu/emu.h>
#include <emu/topology.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/options.h"
#include "harness/record.h"

enum { EXIT_PASS, EXIT_FAIL, EXIT_USAGE };

static const char *from, *json_path, *csv_path, *save_path, *draw_path, *show_profile;
static bh_list_t compute, far;
static bool help, version, measure, far_only, profiles;
static uint64_t verify_bytes;

static const bh_option_t options[] = {
    {.name = "from",
     .kind = BH_OPTION_TEXT,
     .value = &from,
     .argument = "WHAT",
     .help = "another topology: an .xml file of hwloc, or a synthetic one, as \"numa:4 pu:1\""},
    {.name = "compute",
     .kind = BH_OPTION_COUNTS,
     .value = &compute,
     .argument = "LIST",
     .help = "nodes that processes run on (default: chosen)",
     .max = 1023},
    {.name = "far-nodes",
     .kind = BH_OPTION_COUNTS,
     .value = &far,
     .argument = "LIST",
     .help = "nodes that play far memory (default: chosen)",
     .max = 1023},
    {.name = "measure",
     .letter = 'm',
     .kind = BH_OPTION_FLAG,
     .value = &measure,
     .help = "measure the latency of each node from each node with CPUs"},
    {.name = "save",
     .kind = BH_OPTION_TEXT,
     .value = &save_path,
     .argument = "FILE.xml",
     .help = "write the topology with what was measured, for --from or HWLOC_XMLFILE"},
    {.name = "verify",
     .kind = BH_OPTION_SIZE,
     .value = &verify_bytes,
     .argument = "SIZE",
     .help = "place so much memory on the far nodes and look where each page is",
     .min = 4096,
     .max = (uint64_t)1 << 40},
    {.name = "far",
     .kind = BH_OPTION_FLAG,
     .value = &far_only,
     .help = "print only the far nodes, as in alps create --nodes $(emu-topology --far)"},
    {.name = "draw",
     .kind = BH_OPTION_TEXT,
     .value = &draw_path,
     .argument = "FILE",
     .help = "have lstopo draw the topology (.png, .svg, .txt ...)"},
    {.name = "profiles",
     .kind = BH_OPTION_FLAG,
     .value = &profiles,
     .help = "list the emulator's profiles"},
    {.name = "profile",
     .kind = BH_OPTION_TEXT,
     .value = &show_profile,
     .argument = "NAME",
     .help = "print a profile's text, to make one of your own from"},
    {.name = "json",
     .kind = BH_OPTION_TEXT,
     .value = &json_path,
     .argument = "FILE",
     .help = "write it as JSON lines, - for standard output"},
    {.name = "csv",
     .kind = BH_OPTION_TEXT,
     .value = &csv_path,
     .argument = "FILE",
     .help = "write it as CSV, - for standard output"},
    {.name = "version", .kind = BH_OPTION_FLAG, .value = &version, .help = "print the version"},
    {.name = "help",
     .letter = 'h',
     .kind = BH_OPTION_FLAG,
     .value = &help,
     .help = "print this help"},
    {.name = NULL},
};

static int complain(const char *text)
{
    fprintf(stderr, "emu-topology: %s\n", text);
    return EXIT_FAIL;
}

static void list_text(char *text, size_t size, const int *nodes, unsigned count)
{
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < count && length < size; i++)
        length +=
            (size_t)snprintf(text + length, size - length, "%s%d", i == 0 ? "" : ",", nodes[i]);
}

static bool contains(const int *nodes, unsigned count, int node)
{
    for (unsigned i = 0; i < count; i++)
        if (nodes[i] == node)
            return true;
    return false;
}

static double known(double value)
{
    return value > 0 ? value : (double)NAN;
}

static void write_nodes(bh_writer_t *writer, const struct emu_topology *t,
                        const struct emu_plan *plan)
{
    for (unsigned i = 0; i < t->count; i++) {
        const struct emu_node *n = &t->nodes[i];
        const bool is_far = contains(plan->far, plan->far_count, n->number);
        const bool computes = contains(plan->compute, plan->compute_count, n->number);
        const bh_field_t fields[] = {
            bh_count("node", (uint64_t)n->number),
            bh_text("kind", emu_node_kind_name(n->kind)),
            bh_count("cpus", n->cpus),
            bh_real("memory_gib", (double)n->memory_bytes / (1 << 30), 2),
            bh_text("plays", is_far && computes ? "both"
                             : is_far           ? "far"
                             : computes         ? "compute"
                                                : "-"),
        };
        bh_write(writer, "node", fields, sizeof fields / sizeof fields[0]);
    }
    for (unsigned a = 0; a < t->count; a++)
        for (unsigned b = 0; b < t->count; b++) {
            if (t->nodes[a].cpus == 0)
                continue;
            const bh_field_t fields[] = {
                bh_count("from", (uint64_t)t->nodes[a].number),
                bh_count("to", (uint64_t)t->nodes[b].number),
                bh_real("measured_ns", known(t->cost[EMU_BY_MEASUREMENT][a][b]), 1),
                bh_real("attribute_ns", known(t->cost[EMU_BY_ATTRIBUTES][a][b]), 0),
                bh_real("distance", known(t->cost[EMU_BY_DISTANCES][a][b]), 0),
                bh_real("steps", known(t->cost[EMU_BY_TREE][a][b] - 1), 0),
            };
            bh_write(writer, "way", fields, sizeof fields / sizeof fields[0]);
        }
}

static void write_plan(bh_writer_t *writer, const struct emu_plan *plan)
{
    char compute_text[256], far_text[256], cost_text[512];
    size_t length = 0;
    list_text(compute_text, sizeof compute_text, plan->compute, plan->compute_count);
    list_text(far_text, sizeof far_text, plan->far, plan->far_count);
    cost_text[0] = '\0';
    for (unsigned i = 0; i < plan->far_count && length < sizeof cost_text; i++)
        length += (size_t)snprintf(cost_text + length, sizeof cost_text - length, "%s%g",
                                   i == 0 ? "" : ",", plan->cost[i]);
    const bh_field_t fields[] = {
        bh_text("compute", compute_text),
        bh_text("far", far_text),
        bh_text("costs", cost_text),
        bh_text("by", emu_source_name(plan->source)),
        bh_text("remote", plan->remote ? "yes" : "no"),
        bh_text("why", plan->why),
    };
    bh_write(writer, "plan", fields, sizeof fields / sizeof fields[0]);
}

/* Places memory as planned, and says where each page came to lie. */
static int verify(bh_writer_t *writer, const struct emu_plan *plan)
{
    void *memory =
        mmap(NULL, verify_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return complain("no memory to place");
    struct emu_placement where;
    int rc = emu_place(memory, verify_bytes, plan->far, plan->far_count);
    if (rc == 0)
        rc = emu_verify(memory, verify_bytes, plan->far, plan->far_count, &where);
    munmap(memory, verify_bytes);
    if (rc != 0)
        return complain(emu_error_detail());
    for (unsigned i = 0; i < plan->far_count; i++) {
        const bh_field_t fields[] = {
            bh_count("on_node", (uint64_t)plan->far[i]),
            bh_count("pages", where.on_node[i]),
            bh_count("of_pages", where.pages),
        };
        bh_write(writer, "placement", fields, sizeof fields / sizeof fields[0]);
    }
    if (where.misplaced == 0)
        return EXIT_PASS;
    char text[128];
    snprintf(text, sizeof text,
             "%" PRIu64 " of %" PRIu64 " pages are misplaced, the first on node "
             "%d",
             where.misplaced, where.pages, where.first_misplaced_node);
    return complain(text);
}

static int draw(void)
{
    char *const with_input[] = {
        "lstopo", "--force", "--input", (char *)(uintptr_t)from, (char *)(uintptr_t)draw_path,
        NULL};
    char *const plain[] = {"lstopo", "--force", (char *)(uintptr_t)draw_path, NULL};
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const int nowhere = open("/dev/null", O_WRONLY); /* it answers problems with its usage */
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
        execvp("lstopo", from == NULL ? plain : with_input);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return complain("lstopo cannot be run");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return complain("lstopo is not installed (package hwloc)");
    return status == 0 ? EXIT_PASS
                       : complain("lstopo does not draw that: formats it always knows are .svg, "
                                  ".ascii and .xml; the package hwloc-nox knows no other");
}

static int print_profiles(void)
{
    bh_writer_t writer;
    struct emu_profile_info info;
    bh_writer_open(&writer, NULL, NULL, stdout, NULL);
    for (unsigned i = 0; emu_profile_get(i, &info) == 0; i++) {
        if (show_profile == NULL) {
            const bh_field_t fields[] = {
                bh_text("profile", info.name),
                bh_real("read_ns", known(info.read_ns), 0),
                bh_text("title", info.title),
                bh_text("source", info.source),
            };
            bh_write(&writer, "profile", fields, sizeof fields / sizeof fields[0]);
        } else if (strcmp(info.name, show_profile) == 0) {
            fputs(info.text, stdout);
            return EXIT_PASS;
        }
    }
    bh_writer_close(&writer);
    return show_profile == NULL ? EXIT_PASS : complain("there is no such profile");
}

static int topology_of(struct emu_topology **t, struct emu_plan *plan)
{
    int compute_nodes[BH_LIST_MAX], far_nodes[BH_LIST_MAX];
    for (size_t i = 0; i < compute.count; i++)
        compute_nodes[i] = (int)compute.items[i];
    for (size_t i = 0; i < far.count; i++)
        far_nodes[i] = (int)far.items[i];
    const struct emu_plan_request request = {compute_nodes, (unsigned)compute.count, far_nodes,
                                             (unsigned)far.count};
    int rc = emu_topology_read(from, t);
    if (rc == 0 && measure)
        rc = emu_topology_measure(*t);
    if (rc == 0 && save_path != NULL)
        rc = emu_topology_save(*t, save_path);
    return rc == 0 ? emu_plan_make(*t, &request, plan) : rc;
}

static int report(const struct emu_topology *t, const struct emu_plan *plan, int argc, char **argv)
{
    bh_writer_t writer;
    const char *failed;
    if (far_only) {
        char text[256];
        list_text(text, sizeof text, plan->far, plan->far_count);
        return puts(text) < 0 ? complain("standard output cannot be written") : EXIT_PASS;
    }
    if (bh_writer_open(&writer, json_path, csv_path, stdout, &failed) != 0) {
        fprintf(stderr, "emu-topology: %s: %s\n", failed, strerror(errno));
        return EXIT_FAIL;
    }
    const bh_field_t extra[] = {bh_text("topology", from == NULL ? "this machine" : from)};
    bh_write_machine(&writer, "emu-topology", EMU_VERSION, argc, argv, extra, 1);
    write_nodes(&writer, t, plan);
    write_plan(&writer, plan);
    int status = EXIT_PASS;
    if (verify_bytes != 0)
        status = verify(&writer, plan);
    if (bh_writer_close(&writer) != 0)
        status = complain("the results cannot be written");
    return status;
}

int main(int argc, char **argv)
{
    char error[BH_ERROR_MAX];
    if (bh_options_parse(options, argc, argv, error) != 0) {
        fprintf(stderr, "emu-topology: %s\nTry emu-topology --help.\n", error);
        return EXIT_USAGE;
    }
    if (help) {
        puts("usage: emu-topology [OPTION]...\n"
             "Says which NUMA nodes there are, how far they are from each other, and which of "
             "them\nwould play far memory.\n");
        bh_options_describe(options, stdout);
        puts("\nExit status: 0 all well, 1 something went wrong, 2 wrong usage.");
        return EXIT_PASS;
    }
    if (version) {
        puts("emu-topology " EMU_VERSION);
        return EXIT_PASS;
    }
    if (profiles || show_profile != NULL)
        return print_profiles();
    if (from != NULL && (measure || save_path != NULL || verify_bytes != 0)) {
        fputs("emu-topology: --measure, --save and --verify are for this machine, not for --from\n"
              "Try emu-topology --help.\n",
              stderr);
        return EXIT_USAGE;
    }
    struct emu_topology *t = NULL;
    struct emu_plan plan;
    int status =
        topology_of(&t, &plan) == 0 ? report(t, &plan, argc, argv) : complain(emu_error_detail());
    if (status == EXIT_PASS && draw_path != NULL)
        status = draw();
    emu_topology_free(t);
    return status;
}
