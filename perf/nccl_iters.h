/* nccl_iters: how the iterations of one measurement spread (-I 1). */
#ifndef MUSTER_PERF_NCCL_ITERS_H
#define MUSTER_PERF_NCCL_ITERS_H

#include <stddef.h>
#include <stdint.h>

struct nccl_iters {
    size_t iter_count; /* >= 1 */
    uint32_t rank_count;
    const double *rank_us;  /* rank_count * iter_count: rank 0's iterations, rank 1's, … */
    const double *times_us; /* of each iteration the slowest rank's */
    double min_us, max_us, avg_us, p50_us, p95_us, p99_us, stdev_us;
    double cv_pct; /* standard deviation over mean, per cent */
};

/* Fills the rest of *iters from its counts and rank_us. `times_us` (iter_count) becomes its
 * times_us, `scratch` (iter_count) is overwritten; rank_us and times_us are borrowed for as long as
 * *iters is used. Percentiles are nearest ranks, as in nccl-tests. Never fails. */
void nccl_iters_summarise(struct nccl_iters *iters, double *times_us, double *scratch);

#endif
