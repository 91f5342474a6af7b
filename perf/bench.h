/* bench: the measuring loop of nccl-tests, over any collective. */
#ifndef MUSTER_PERF_BENCH_H
#define MUSTER_PERF_BENCH_H

#include "muster/perf/bench_opts.h"
#include "muster/perf/collectives.h"

struct mst_err;
struct mst_world;

#define BENCH_WRONG 1 /* it ran, and results were wrong */

/* Runs `coll` over the sizes, types, operations and roots of `opts` on all ranks of `world`, which
 * rank 0 reports. argc and argv are for the record only. Collective; blocks.
 * 0; BENCH_WRONG; errors of kv and comm with text. */
int bench_run(const struct collective *coll, const struct bench_opts *opts,
              const struct mst_world *world, int argc, char *const *argv, struct mst_err *err);

#endif
