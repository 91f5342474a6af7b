#include "ckpt/tool/tool.h"

#include "ckpt/root.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *name;
    int (*run)(const struct tool *tool);
};

static const struct command commands[] = {
    {"ls", tool_ls}, {"show", tool_show}, {"verify", tool_verify}, {NULL, NULL}};

static const char usage_text[] =
    "usage: muster ckpt ls     ROOT [--json]\n"
    "       muster ckpt show   ROOT[/step_N] [--json]\n"
    "       muster ckpt verify ROOT[/step_N] [--json]\n"
    "\n"
    "  ls      lists the checkpoints under ROOT\n"
    "  show    prints the tensors, files and cursor of one; the newest if no step is named\n"
    "  verify  reads every byte and compares checksums; names each damaged tensor and block\n"
    "\n"
    "  --json  prints JSON\n"
    "  --help  prints this\n"
    "\n"
    "Exit status: 0; 1 damaged, or no checkpoint; 2 usage. See muster-ckpt(1).\n";

static int fail_usage(const char *text, const char *what)
{
    fprintf(stderr, "muster-ckpt: %s%s; try muster ckpt --help\n", text, what);
    return TOOL_USAGE;
}

uint64_t tool_total_bytes(const struct manifest *manifest)
{
    uint64_t total = 0;
    for (uint32_t r = 0; r < manifest->world_size; r++)
        total += manifest->files[r].size_bytes;
    return total;
}

const char *tool_format_bytes(uint64_t size_bytes, char text[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double size = (double)size_bytes;
    size_t unit = 0;
    while (size >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        size /= 1024;
        unit++;
    }
    snprintf(text, 16, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
    return text;
}

/* Splits "ROOT/step_N"; any other path is a root. */
static bool split_step(char *path, uint64_t *ret_step)
{
    char canonical[ROOT_NAME_MAX], *slash, *name;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    slash = strrchr(path, '/');
    name = slash ? slash + 1 : path;
    if (strncmp(name, "step_", 5) != 0)
        return false;
    *ret_step = strtoull(name + 5, NULL, 10);
    root_step_name(canonical, *ret_step);
    if (strcmp(name, canonical) != 0)
        return false;
    if (!slash)
        memcpy(path, ".", 2);
    else if (slash == path)
        path[1] = '\0';
    else
        *slash = '\0';
    return true;
}

static int open_target(struct tool *tool)
{
    char path[PATH_MAX];
    uint64_t step = 0;
    bool has_step;
    int r;
    if (snprintf(path, sizeof path, "%s", tool->path) >= (int)sizeof path)
        return -ENAMETOOLONG;
    has_step = split_step(path, &step);
    tool->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = tool->root_fd < 0 ? -errno : root_list(tool->root_fd, &tool->steps, &tool->step_count);
    if (r < 0 || !has_step)
        return r;
    for (size_t i = 0; i < tool->step_count; i++)
        if (tool->steps[i] == step) {
            tool->steps[0] = step;
            tool->step_count = 1;
            return 0;
        }
    return -ENOENT;
}

static int run(const struct command *command, struct tool *tool)
{
    int status = TOOL_DAMAGED, r = open_target(tool);
    if (r < 0)
        fprintf(stderr, "muster-ckpt: %s: %s\n", tool->path, strerror(-r));
    else
        status = command->run(tool);
    free(tool->steps);
    if (tool->root_fd >= 0)
        close(tool->root_fd);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "muster-ckpt: cannot write the answer: %s\n", strerror(errno));
        return TOOL_DAMAGED;
    }
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct tool tool = {.root_fd = -1};
    const struct command *command = commands;
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage_text, stdout);
            return 0;
        }
        if (option != 'j')
            return fail_usage("unknown option ", argv[optind - 1]);
        tool.json = true;
    }
    if (optind == argc)
        return fail_usage("no subcommand", "");
    while (command->name && strcmp(command->name, argv[optind]) != 0)
        command++;
    if (!command->name)
        return fail_usage("unknown subcommand ", argv[optind]);
    if (argc - optind != 2)
        return fail_usage(command->name, ": exactly one ROOT is needed");
    tool.path = argv[optind + 1];
    return run(command, &tool);
}
