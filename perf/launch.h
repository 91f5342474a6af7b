/* launch: a benchmark started by hand starts its own ranks. */
#ifndef MUSTER_PERF_LAUNCH_H
#define MUSTER_PERF_LAUNCH_H

#include <stdint.h>

struct mst_err;

/* How many ranks show something on this machine: 2, or 1 where only one core is allowed. */
uint32_t launch_default_nproc(void);

/* Replaces this process by `muster run` of itself with the same arguments, `nproc` times. Returns
 * only on failure: a -errno naming the program. */
int launch_ranks(uint32_t nproc, int argc, char *const *argv, struct mst_err *err);

#endif
