#include "muster/ckpt/tool/tool.h"

#include "muster/ckpt/tier.h"
#include "muster/core/cli/options.h"
#include "muster/core/clock.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LS, SHOW, VERIFY };

static const struct option_command commands[] = {
    [LS] = {"ls", "lists the checkpoints under ROOT"},
    [SHOW] = {"show",
              "prints the tensors, files and cursor of one; the newest if no step is named"},
    [VERIFY] = {"verify",
                "reads every byte and compares checksums; names each damaged tensor and block"},
    {NULL, NULL},
};

static int (*const runs[])(const struct tool *) = {
    [LS] = tool_ls, [SHOW] = tool_show, [VERIFY] = tool_verify};

static const struct option answer_options[] = {
    {"json", OPTION_FLAG, OPTION_AT(struct tool, json), .help = "prints JSON"},
    {0},
};

static const struct options ckpt_options = {
    .program = "muster-ckpt",
    .synopsis = "COMMAND ROOT[/step_N] [OPTIONS]",
    .about = "Looks at checkpoints. ROOT is a directory, or a URI: s3://bucket/path, "
             "webhdfs://host:port/path …",
    .notes = "Exit status: 0; 1 damaged, no checkpoint, or ROOT cannot be read; 64 usage. See "
             "muster-ckpt(1).",
    .groups = {{"Options:", answer_options}},
    .commands = commands,
    .operand = "ROOT",
    .operands_least = 2,
    .operands_most = 2,
};

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
    char *query = strstr(uri, "://") ? strchr(uri, '?') : NULL;
    char tail[512] = "", step[ROOT_NAME_MAX];
    if (query)
        snprintf(tail, sizeof tail, "%s", query);
    size_t length = query ? (size_t)(query - uri) : strlen(uri);
    while (length > 1 && uri[length - 1] == '/')
        length--;
    size_t from = length;
    while (from > 0 && uri[from - 1] != '/')
        from--;
    char *name = uri + from;
    if (length - from >= sizeof step)
        return false;
    memcpy(step, name, length - from);
    step[length - from] = '\0';
    if (!root_parse_step(step, ret_step))
        return false;
    char *slash = from > 1 ? name - 1 : name; /* the root of all keeps its slash */
    if (from == 0)
        *slash++ = '.';
    memmove(slash, tail, strlen(tail) + 1);
    return true;
}

/* Where a record is damaged the one before says which steps do not count. */
static int read_owner(struct tool *tool, struct mst_err *err)
{
    struct mst_err fault = {0};
    int rc = tier_read_owner(tool->tier, MST_NEVER, &fault);
    if (rc == -EBADMSG)
        fprintf(
            stderr,
            "muster-ckpt: %s: %s: steps that do not count are known from the record before only\n",
            tool->path, fault.text);
    else if (rc < 0)
        return mst_err_set(err, rc, "%s", fault.text);
    return 0;
}

static int open_target(struct tool *tool, const struct mst_tuning *tuning, struct mst_err *err)
{
    char uri[PATH_MAX];
    if (snprintf(uri, sizeof uri, "%s", tool->path) >= (int)sizeof uri)
        return mst_err_set(err, -ENAMETOOLONG, "the URI is too long");
    uint64_t step = 0;
    bool has_step = split_step(uri, &step);
    struct tier_opts opts = {
        .uri = uri, .read_only = true, .aio = tuning->aio[0] ? tuning->aio : NULL};
    int rc = tier_open(&opts, &tool->tier, err);
    if (rc == 0)
        rc = tool->tier->ops->list(tool->tier, &tool->steps, &tool->step_count, MST_NEVER, err);
    if (rc == 0)
        rc = read_owner(tool, err);
    if (rc < 0 || !has_step)
        return rc;
    for (size_t i = 0; i < tool->step_count; i++)
        if (tool->steps[i] == step) {
            tool->steps[0] = step;
            tool->step_count = 1;
            return 0;
        }
    return mst_err_set(err, -ENOENT, "%s: no such checkpoint", tool->path);
}

static int run(int (*command)(const struct tool *), struct tool *tool)
{
    struct mst_tuning tuning = {0};
    struct mst_err err = {0};
    int status = TOOL_DAMAGED;
    if (world_tuning_from_env(&tuning, &err) < 0) {
        fprintf(stderr, "muster-ckpt: %s\n", err.text);
        return OPTIONS_EXIT_USAGE;
    }
    if (open_target(tool, &tuning, &err) < 0)
        fprintf(stderr, "muster-ckpt: %s\n", err.text);
    else if (tool->step_count == 0)
        fprintf(stderr, "muster-ckpt: %s: no checkpoint here\n", tool->path);
    else
        status = command(tool);
    free(tool->steps);
    tier_close(tool->tier);
    return options_finish(&ckpt_options, status);
}

int main(int argc, char **argv)
{
    struct tool tool = {0};
    struct command_line line = options_or_exit(&ckpt_options, argc, argv, &tool);
    tool.path = line.operands[1];
    return run(runs[line.command], &tool);
}
