#include "muster/perf/bench_opts.h"

#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/perf/nccl_format.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define BYTES_MAX 0x1p42
#define COUNT_MAX 1e9
#define RANK_MAX 4096
#define ROOT_ALL -1 /* the first word */

struct words {
    const char *type, *op;
    int64_t root;
    struct bench_opts opts;
};

#define PLACE(field) OPTION_AT(struct words, field)

static const char *const root_words[] = {"all", NULL};

/* As in nccl-tests; --nproc has no letter, since `muster run` has none either. */
static const struct option test_options[] = {
    {"minbytes", OPTION_SIZE, PLACE(opts.min_bytes), .letter = 'b', .value = "SIZE",
     .most = BYTES_MAX, .help = "first size (8); K, M and G are powers of 1024"},
    {"maxbytes", OPTION_SIZE, PLACE(opts.max_bytes), .letter = 'e', .value = "SIZE",
     .most = BYTES_MAX, .help = "last size (64M)"},
    {"stepfactor", OPTION_COUNT, PLACE(opts.step_factor), .letter = 'f', .value = "N", .least = 1,
     .most = 1 << 20, .help = "multiply the size by N (4)"},
    {"stepbytes", OPTION_SIZE, PLACE(opts.step_bytes), .letter = 'i', .value = "SIZE", .least = 1,
     .most = BYTES_MAX, .help = "or add SIZE (1M)"},
    {"iters", OPTION_COUNT, PLACE(opts.iters), .letter = 'n', .value = "N", .least = 1,
     .most = COUNT_MAX, .help = "timed iterations (20)"},
    {"warmup_iters", OPTION_COUNT, PLACE(opts.warmup_iters), .letter = 'w', .value = "N",
     .most = COUNT_MAX, .help = "untimed iterations of every size beforehand (5)"},
    {"agg_iters", OPTION_COUNT, PLACE(opts.agg_iters), .letter = 'm', .value = "N", .least = 1,
     .most = COUNT_MAX, .help = "calls per iteration (1)"},
    {"check", OPTION_COUNT, PLACE(opts.check_iters), .letter = 'c', .value = "N", .most = COUNT_MAX,
     .help = "checked iterations after the timing; 0 = none (1)"},
    {"average", OPTION_COUNT, PLACE(opts.average), .letter = 'a', .value = "0|1|2|3",
     .least = BENCH_RANK0, .most = BENCH_MAX,
     .help = "time of rank 0, mean, minimum, maximum of ranks (1)"},
    {"per_iter_timing", OPTION_COUNT, PLACE(opts.per_iter), .letter = 'I', .value = "0|1",
     .most = 1, .help = "also tell how iterations spread (0)"},
    {"datatype", OPTION_TEXT, PLACE(type), .letter = 'd', .value = "TYPE|all",
     .words = nccl_type_words, .help = "int32 int64 half float double bfloat16 (float)"},
    {"op", OPTION_TEXT, PLACE(op), .letter = 'o', .value = "OP|all", .words = nccl_op_words,
     .help = "sum max min avg (sum)"},
    {"root", OPTION_COUNT, PLACE(root), .letter = 'r', .value = "RANK|all", .most = RANK_MAX - 1,
     .words = root_words, .help = "of broadcast (0)"},
    {"output_file", OPTION_TEXT, PLACE(opts.json_path), .letter = 'J', .value = "FILE",
     .help = "also write the results as JSON"},
    {"nthreads", OPTION_COUNT, PLACE(opts.threads), .letter = 't', .value = "1", .least = 1,
     .most = 1, .help = "accepted: a rank is one thread"},
    {"ngpus", OPTION_COUNT, PLACE(opts.devices), .letter = 'g', .value = "1", .least = 1, .most = 1,
     .help = "accepted: a rank is one device"},
    {"nproc", OPTION_COUNT, PLACE(opts.nproc), .value = "N", .least = 1, .most = RANK_MAX,
     .help = "ranks, when not started by a launcher (2, or 1 on one core)"},
    {0},
};

const struct options bench_options = {
    .program = "muster-bench",
    .synopsis = "COLLECTIVE [OPTIONS]",
    .about = "Times one collective as nccl-tests does, and checks its results: allreduce, "
             "reduce_scatter, allgather or broadcast.",
    .groups = {{"Options, as in nccl-tests (default):", test_options}},
    .notes = "Exit status: 0; 1 results were wrong, or a collective failed; 64 usage. See "
             "muster-bench(1).",
};

/* Each is one of nccl_format's words. */
static void settle_words(const struct words *words, struct bench_opts *opts)
{
    opts->all_types = strcmp(words->type, "all") == 0;
    opts->all_ops = strcmp(words->op, "all") == 0;
    int rc = opts->all_types ? 0 : nccl_type_parse(words->type, &opts->dtype);
    if (rc == 0 && !opts->all_ops)
        rc = nccl_op_parse(words->op, &opts->op);
    assert(rc == 0);
    opts->all_roots = words->root == ROOT_ALL;
    opts->root = opts->all_roots ? 0 : (uint64_t)words->root;
}

/* What was not given depends on what was. */
static int settle_sizes(struct bench_opts *opts, struct mst_err *err)
{
    if (opts->step_factor == 0)
        opts->step_factor = opts->step_bytes > 0 ? 1 : 4;
    if (opts->step_bytes == 0)
        opts->step_bytes = UINT64_C(1) << 20;
    if (opts->min_bytes > opts->max_bytes)
        return mst_err_set(err, -EINVAL,
                           "--minbytes %" PRIu64 " is over --maxbytes %" PRIu64 ": swap them",
                           opts->min_bytes, opts->max_bytes);
    return 0;
}

int bench_opts_parse(int argc, char **argv, struct bench_opts *ret_opts, struct mst_err *err)
{
    struct bench_opts defaults = {
        .min_bytes = 8,
        .max_bytes = UINT64_C(64) << 20,
        .iters = 20,
        .warmup_iters = 5,
        .agg_iters = 1,
        .check_iters = 1,
        .average = BENCH_MEAN,
        .threads = 1,
        .devices = 1,
    };
    struct words words = {.type = "float", .op = "sum", .opts = defaults};
    struct command_line line;
    int rc = options_parse(&bench_options, argc, argv, &words, &line, err);
    if (rc)
        return rc;
    settle_words(&words, &words.opts);
    rc = settle_sizes(&words.opts, err);
    if (rc == 0)
        *ret_opts = words.opts;
    return rc;
}

uint64_t bench_opts_next_size(const struct bench_opts *opts, uint64_t size_bytes)
{
    if (opts->step_factor == 1)
        return size_bytes + opts->step_bytes;
    return size_bytes > 0 ? size_bytes * opts->step_factor : 1;
}
