/* The subcommands that are built in: argv[0] is the subcommand's name. Each prints and returns an
 * exit code. */
#ifndef MUSTER_LAUNCHER_CMD_H
#define MUSTER_LAUNCHER_CMD_H

struct options;

extern const struct options status_options;

int cmd_run(int argc, char **argv);
int cmd_env(int argc, char **argv);
int cmd_status(int argc, char **argv);

#endif
