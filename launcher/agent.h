/* Agent: the process that stands for a node. Sets up, runs the one poll loop, takes down. */
#ifndef MUSTER_LAUNCHER_AGENT_H
#define MUSTER_LAUNCHER_AGENT_H

struct opts;

/* Runs the job's part of this node to its end and returns the exit code. Must be called from the
 * main thread of a process without others. Blocks all signals and leaves them blocked. */
int agent_run(const struct opts *opts);

#endif
