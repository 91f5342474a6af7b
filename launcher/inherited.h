/* Inherited: what this process was started with, what of it is believed, and what is handed on.
 *
 *   inherited_take   main's first line: from here on no signal is lost, every child's death is
 *                    told, and no file that is opened becomes the standard output
 *   … the agent …    inherited_hand_on, in the child that becomes a rank
 *   … another …      inherited_give_back, before a command that blocks no signals, or a program
 *                    that takes this process's place
 *
 * The state is the process's, as are signals and limits. One thread. */
#ifndef MUSTER_LAUNCHER_INHERITED_H
#define MUSTER_LAUNCHER_INHERITED_H

#include <stdbool.h>

struct mst_err;

/* Blocks all signals, makes SIGCHLD tell of deaths, and opens /dev/null wherever one of the
 * standard descriptors is closed. 0; errors of open with text. */
int inherited_take(struct mst_err *err);

/* Signals as they were found. */
void inherited_give_back(void);

/* Lets this process have as many descriptors as it may: each rank costs a few. A refusal shows as
 * -EMFILE when it matters. */
void inherited_raise_fd_limit(void);

/* In a child that becomes a rank: the limit of descriptors as it was found, every signal at its
 * default but SIGHUP, SIGINT and SIGQUIT where they were ignored (nohup, a shell's background), and
 * none blocked. `deaf`: what the agent acts on is ignored, too, until the program says
 * otherwise. */
void inherited_hand_on(bool deaf);

#endif
