/* muster: dispatches like git. What every pod needs is built in; the rest are programs of their own
 * beside this one, so that PID 1 stays small. */
#include "muster/core/version.h"
#include "muster/launcher/cmd.h"
#include "muster/launcher/exitcode.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* NULL: the program muster-<name> */
    const char *help;
} commands[] = {
    {"run", cmd_run, "start the ranks of a training job on this node, and look after them"},
    {"env", cmd_env, "show which world the environment means"},
    {"status", cmd_status, "show the jobs that run on this node"},
    {"bench", NULL, "measure collectives"},
    {"ckpt", NULL, "list, show and verify checkpoints"},
    {"data", NULL, "index, list and verify datasets"},
    {"help", cmd_help, "show this list, or the help of a command"},
    {"version", cmd_version, "show the version"},
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static void list_commands(FILE *out)
{
    fprintf(out, "usage: muster COMMAND [ARGS]\n\ncommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\nA user of one node needs no flag: muster run -- ./train\n"
                 "muster COMMAND --help shows a command's options.\n");
}

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
    int code = exitcode_of_exec(errno);
    fprintf(stderr, "muster: cannot run %s: %s; install it beside muster or in PATH\n", program,
            strerror(errno));
    return code;
}

static int run(const struct command *command, int argc, char **argv)
{
    return command->run ? command->run(argc, argv) : exec_program(command->name, argv);
}

static int unknown(const char *name)
{
    fprintf(stderr, "muster: unknown command %s\n", name);
    list_commands(stderr);
    return EXITCODE_USAGE;
}

static int cmd_help(int argc, char **argv)
{
    char help_flag[] = "--help";
    char *args[] = {argc > 1 ? argv[1] : NULL, help_flag, NULL};
    const struct command *command = argc > 1 ? find(argv[1]) : NULL;

    if (argc > 1 && !command)
        return unknown(argv[1]);
    if (command && command->run != cmd_help && command->run != cmd_version)
        return run(command, 2, args);
    list_commands(stdout);
    return EXITCODE_OK;
}

static int cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("muster %s\n", MUSTER_VERSION);
#ifdef MUSTER_STATIC
    printf("static: names are resolved by resolv.conf and hosts, without nsswitch\n");
#endif
    return EXITCODE_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        list_commands(stderr);
        return EXITCODE_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    const struct command *command = find(name);
    return command ? run(command, argc - 1, argv + 1) : unknown(name);
}
