/* muster: dispatches like git. What every pod needs is built in; the rest are programs of their own
 * beside this one, so that PID 1 stays small. */
#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/launcher/cmd.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/inherited.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RUN, ENV, STATUS, BENCH, CKPT, DATA, HELP, VERSION };

static const struct option_command commands[] = {
    [RUN] = {"run", "start the ranks of a training job on this node, and look after them"},
    [ENV] = {"env", "show which world the environment means"},
    [STATUS] = {"status", "show the jobs that run on this node"},
    [BENCH] = {"bench", "measure collectives"},
    [CKPT] = {"ckpt", "list, show and verify checkpoints"},
    [DATA] = {"data", "index, list and verify datasets"},
    [HELP] = {"help", "show this list, or the help of a command"},
    [VERSION] = {"version", "show the version"},
    {NULL, NULL},
};

static const struct options muster_options = {
    .program = "muster",
    .synopsis = "COMMAND [ARGS]",
    .about = "Runs distributed training jobs and looks after them.",
    .commands = commands,
    .operands_most = INT_MAX,
    .stops_at_operand = true,
    .notes = "A user of one node needs no flag: muster run -- ./train\n"
             "muster COMMAND --help shows a command's options.",
};

/* muster-<name> beside this program, as a build tree and an installation have it; else in PATH. */
static int exec_program(const char *name, char **argv)
{
    char beside[PATH_MAX + 64], program[64];
    snprintf(program, sizeof program, "muster-%s", name);
    ssize_t size = readlink("/proc/self/exe", beside, PATH_MAX);
    char *slash = size > 0 ? memrchr(beside, '/', (size_t)size) : NULL;
    if (slash) {
        snprintf(slash + 1, sizeof program, "%s", program);
        execv(beside, argv);
    }
    execvp(program, argv);
    int rc = exitcode_of_exec(errno);
    fprintf(stderr, "muster: cannot run %s: %s; install it beside muster or in PATH\n", program,
            mst_err_meaning(errno));
    return rc;
}

/* Signals are the agent's; every other command is stopped by one, as people expect it. */
static int run(int command, int argc, char **argv)
{
    if (command != RUN)
        inherited_give_back();
    switch (command) {
    case RUN: return cmd_run(argc, argv);
    case ENV: return cmd_env(argc, argv);
    case STATUS: return cmd_status(argc, argv);
    default: return exec_program(commands[command].name, argv);
    }
}

/* `muster help run` is `muster run --help`. */
static int help(int argc, char **argv)
{
    if (argc < 2)
        return options_answer(&muster_options, OPTIONS_HELP, NULL);
    struct command_line line = options_or_exit(&muster_options, argc, argv, NULL);
    char flag[] = "--help", *args[] = {argv[1], flag, NULL};
    if (line.command < HELP)
        return run(line.command, 2, args);
    return options_answer(&muster_options, OPTIONS_HELP, NULL);
}

int main(int argc, char **argv)
{
    struct mst_err err;
    if (inherited_take(&err)) {
        fprintf(stderr, "muster: %s\n", err.text); /* nobody hears it if that is the closed one */
        return EXITCODE_INTERNAL;
    }
    struct command_line line = options_or_exit(&muster_options, argc, argv, NULL);
    if (line.command == HELP)
        return help(line.operand_count, line.operands);
    if (line.command == VERSION)
        return options_answer(&muster_options, OPTIONS_VERSION, NULL);
    return run(line.command, line.operand_count, line.operands);
}
