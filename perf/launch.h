/* launch: a benchmark started by hand starts its own ranks. */
#ifndef MUSTER_PERF_LAUNCH_H
#define MUSTER_PERF_LAUNCH_H

#include <stdint.h>

struct mst_err;

/* How many ranks show something on this machine: 2, or 1 where only one core is allowed. */
uint32_t launch_default_nproc(void);

/* Runs this program with the same arguments as `nproc` ranks of `muster run`, and prints what rank
 * 0 prints without the rank in front, so that the table is nccl-tests' table. Blocks until they are
 * done. Returns the exit status of `muster run`; -ENOMEM and errors of pipe and fork with text. */
int launch_ranks(uint32_t nproc, int argc, char *const *argv, struct mst_err *err);

#endif
