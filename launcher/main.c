/* muster: dispatches like git. What every pod needs is built in; the rest are programs of their own
 * beside this one, so that PID 1 stays small. */
#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/core/words.h"
#include "muster/launcher/cmd.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/inherited.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/pmix_rank.h"
#include "muster/launcher/program.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUN, ENV, STATUS, BENCH, CKPT, DATA, COMPLETION, HELP, VERSION };

static const struct options completion_options = {
    .program = "muster completion",
    .synopsis = "bash|zsh|fish",
    .about = "Prints what a shell reads to complete the words of muster and its programs:\n"
             ". <(muster completion bash)",
    .operand = "shell",
    .operand_words = options_shells,
    .operands_least = 1,
    .operands_most = 1,
};

static const struct options help_options = {
    .program = "muster help",
    .synopsis = "[COMMAND]",
    .about = "Shows the list of commands, or the help of one.",
    .operands_most = 1,
};

static const struct options version_options = {
    .program = "muster version",
    .about = "Shows the version.",
};

static const struct option_command commands[] = {
    [RUN] = {"run", "start the ranks of a training job on this node, and look after them"},
    [ENV] = {"env", "show which world the environment means"},
    [STATUS] = {"status", "show the jobs that run on this node"},
    [BENCH] = {"bench", "measure collectives"},
    [CKPT] = {"ckpt", "list, show and verify checkpoints"},
    [DATA] = {"data", "index, list and verify datasets"},
    [COMPLETION] = {"completion", "print what bash, zsh or fish reads to complete these words"},
    [HELP] = {"help", "show this list, or the help of a command"},
    [VERSION] = {"version", "show the version"},
    {NULL, NULL},
};

static const struct options *const nested[] = {
    [RUN] = &run_options,       [ENV] = &env_options,
    [STATUS] = &status_options, [COMPLETION] = &completion_options,
    [HELP] = &help_options,     [VERSION] = &version_options};

static const struct options muster_options = {
    .program = "muster",
    .synopsis = "COMMAND [ARGS]",
    .about = "Runs distributed training jobs and looks after them.",
    .commands = commands,
    .nested = nested,
    .operands_most = INT_MAX,
    .stops_at_operand = true,
    .notes = "A user of one node needs no flag: muster run -- ./train\n"
             "muster COMMAND --help shows a command's options.",
};

/* Becomes muster-<name> beside this program, as a build tree and an installation have it; else that
 * in PATH. Returns if there is none, with errno. */
static void exec_beside(const char *name, char **argv)
{
    char beside[PROGRAM_PATH_BYTES], program[64];
    snprintf(program, sizeof program, "muster-%s", name);
    if (program_beside(program, beside))
        execv(beside, argv);
    execvp(program, argv);
}

static int exec_program(const char *name, char **argv)
{
    exec_beside(name, argv);
    int rc = exitcode_of_exec(errno);
    fprintf(stderr, "muster: cannot run muster-%s: %s; install it beside muster or in PATH\n", name,
            mst_err_meaning(errno));
    return rc;
}

/* The words of the other programs, as they tell them; one that is not installed has none. */
static void complete_program(const char *name, const char *shell)
{
    pid_t pid = fork();
    if (pid == 0) {
        char flag[] = "--completion", word[16];
        snprintf(word, sizeof word, "%s", shell);
        exec_beside(name, (char *[]){flag, flag, word, NULL});
        _exit(EXITCODE_NOT_FOUND);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static int complete(int argc, char **argv)
{
    struct mst_err err = {0};
    struct command_line line = options_or_exit(&completion_options, argc, argv, NULL);
    int shell = mst_words_find(options_shells, line.operands[0]);
    if (shell < 0) {
        mst_err_set(&err, -EINVAL, "%.80s: bash, zsh or fish", line.operands[0]);
        return options_answer(&completion_options, -EINVAL, &err);
    }
    options_complete(&muster_options, OPTIONS_BASH + shell, stdout);
    int rc = options_finish(&muster_options, EXIT_SUCCESS);
    for (int command = BENCH; command <= DATA; command++)
        complete_program(commands[command].name, line.operands[0]);
    return rc;
}

static int run(int command, int argc, char **argv);

/* `muster help run` is `muster run --help`. */
static int help(int argc, char **argv)
{
    struct command_line line = options_or_exit(&help_options, argc, argv, NULL);
    if (line.operand_count == 0)
        return options_answer(&muster_options, OPTIONS_HELP, NULL);
    char flag[] = "--help", *args[] = {line.operands[0], flag, NULL};
    struct command_line asked = options_or_exit(&muster_options, argc, argv, NULL);
    return run(asked.command, 2, args);
}

static int version(int argc, char **argv)
{
    (void)options_or_exit(&version_options, argc, argv,
                          NULL); /* there are none: it is over, or not */
    return options_answer(&muster_options, OPTIONS_VERSION, NULL);
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
    case COMPLETION: return complete(argc, argv);
    case HELP: return help(argc, argv);
    case VERSION: return version(argc, argv);
    default: return exec_program(commands[command].name, argv);
    }
}

int main(int argc, char **argv)
{
    struct mst_err err;
    if (argc > 2 && strcmp(argv[1], PMIX_RANK_WORD) == 0)
        return pmix_rank(argv + 2, environ);
    if (inherited_take(&err)) {
        fprintf(stderr, "muster: %s\n", err.text); /* nobody hears it if that is the closed one */
        return EXITCODE_INTERNAL;
    }
    struct command_line line = options_or_exit(&muster_options, argc, argv, NULL);
    return run(line.command, line.operand_count, line.operands);
}
