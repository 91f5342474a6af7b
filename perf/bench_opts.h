/* The command line of one benchmark: nccl-tests' letters and long names, and --nproc. */
#ifndef MUSTER_PERF_BENCH_OPTS_H
#define MUSTER_PERF_BENCH_OPTS_H

#include "muster/comm/comm.h"
#include "muster/core/dtype.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_err;
struct options;

enum bench_average { BENCH_RANK0, BENCH_MEAN, BENCH_MIN, BENCH_MAX };

struct bench_opts {
    uint64_t min_bytes, max_bytes;
    uint64_t step_factor, step_bytes; /* factor 1: sizes grow by step_bytes */
    uint64_t iters, agg_iters, warmup_iters;
    uint64_t check_iters; /* 0 = results are not checked */
    uint64_t average;     /* enum bench_average: which ranks' time is printed */
    uint64_t per_iter;    /* 1 = time every iteration */
    uint64_t threads, devices;
    uint64_t nproc; /* 0 = not given */
    bool all_types, all_ops, all_roots;
    enum mst_dtype dtype;
    enum mst_op op;
    uint64_t root;
    const char *json_path; /* NULL = none */
};

extern const struct options bench_options;

/* argv[0], the collective, is skipped. Strings are borrowed from argv. 0; what else options_parse
 * returns, with *ret_opts as it was. */
int bench_opts_parse(int argc, char **argv, struct bench_opts *ret_opts, struct mst_err *err);

/* The size after `size_bytes`; over max_bytes after the last. */
uint64_t bench_opts_next_size(const struct bench_opts *opts, uint64_t size_bytes);

#endif
