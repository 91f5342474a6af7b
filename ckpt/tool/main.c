#include "muster/ckpt/tool/tool.h"

#include "muster/ckpt/tier.h"
#include "muster/core/clock.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    "  ROOT    a directory, or a URI: s3://bucket/path, webhdfs://host:port/path …\n"
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

/* Splits "ROOT/step_N[?QUERY]"; any other text is a root. A plain path has no query. */
static bool split_step(char *uri, uint64_t *ret_step)
{
    char *query = strstr(uri, "://") ? strchr(uri, '?') : NULL, *slash, *name;
    char tail[512] = "", step[ROOT_NAME_MAX];
    size_t length = query ? (size_t)(query - uri) : strlen(uri), from;
    if (query)
        snprintf(tail, sizeof tail, "%s", query);
    while (length > 1 && uri[length - 1] == '/')
        length--;
    for (from = length; from > 0 && uri[from - 1] != '/';)
        from--;
    name = uri + from;
    if (length - from >= sizeof step)
        return false;
    memcpy(step, name, length - from);
    step[length - from] = '\0';
    if (!root_parse_step(step, ret_step))
        return false;
    slash = from > 1 ? name - 1 : name; /* the root of all keeps its slash */
    if (from == 0)
        *slash++ = '.';
    memmove(slash, tail, strlen(tail) + 1);
    return true;
}

static int open_tier(struct tool *tool, const char *uri, struct mst_err *err)
{
    struct mst_tuning tuning = {0};
    struct tier_opts opts = {.uri = uri, .read_only = true};
    int r = world_tuning_from_env(&tuning, err);
    if (r < 0)
        return r;
    opts.aio = tuning.aio[0] ? tuning.aio : NULL;
    return tier_open(&opts, &tool->tier, err);
}

static int open_target(struct tool *tool, struct mst_err *err)
{
    char uri[PATH_MAX];
    uint64_t step = 0;
    bool has_step;
    int r;
    if (snprintf(uri, sizeof uri, "%s", tool->path) >= (int)sizeof uri)
        return mst_err_set(err, -ENAMETOOLONG, "the URI is too long");
    has_step = split_step(uri, &step);
    r = open_tier(tool, uri, err);
    if (r == 0)
        r = tool->tier->ops->list(tool->tier, &tool->steps, &tool->step_count, MST_NEVER, err);
    if (r < 0 || !has_step)
        return r;
    for (size_t i = 0; i < tool->step_count; i++)
        if (tool->steps[i] == step) {
            tool->steps[0] = step;
            tool->step_count = 1;
            return 0;
        }
    return mst_err_set(err, -ENOENT, "%s: no such checkpoint", tool->path);
}

static int run(const struct command *command, struct tool *tool)
{
    struct mst_err err = {0};
    int status = TOOL_DAMAGED;
    if (open_target(tool, &err) < 0)
        fprintf(stderr, "muster-ckpt: %s\n", err.text);
    else
        status = command->run(tool);
    free(tool->steps);
    tier_close(tool->tier);
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
    struct tool tool = {0};
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
