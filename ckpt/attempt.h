/* Attempt: one save from snapshot to verdict, run by the worker of each rank along commit.h;
 * attempt.c tells its life.
 *
 * Ranks meet in the key-value table, under ckpt/<attempt>/<step>/: each sets vote/<rank>, rank 0
 * sets verdict. Blocks until it has ended; waits for others at most until the deadline. */
#ifndef MUSTER_CKPT_ATTEMPT_H
#define MUSTER_CKPT_ATTEMPT_H

#include "muster/ckpt/pruner.h"
#include "muster/ckpt/shard.h"
#include "muster/ckpt/site.h"
#include "muster/core/err.h"

struct attempt_job {
    uint64_t step;
    uint8_t cursor[MST_CKPT_CURSOR_MAX];
    size_t cursor_bytes;
    uint64_t previous_step; /* of this worker, or MST_CKPT_NONE */
    bool follows_failure;   /* that one failed */
    struct mst_err failure; /* code not 0: there is no snapshot; the vote says why */
};

/* 0: committed on all ranks, and rank 0's `pruner` knows; otherwise the code and the text in
 * *ret_failure, the same on all ranks that could be reached: nothing of the step stays but, at
 * worst, a temporary directory. */
int attempt_run(const struct site *site, struct shard *shard, const struct attempt_job *job,
                struct pruner *pruner, struct mst_err *ret_failure);

#endif
