/* Buffers, the timed loop, the check of results, and the loops over sizes, types and roots. */
#include "muster/perf/bench.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/world/world.h"
#include "muster/perf/report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALIGN_BYTES 4096
#define POISON 0x5a /* what `recv` holds before a call: never a right result by accident */

struct bench {
    const struct collective *coll;
    const struct bench_opts *opts;
    const struct mst_world *world;
    struct mst_comm *comm;
    void *send, *recv; /* max_bytes each */
    uint64_t seed;     /* rises with every fill, alike on all ranks */
    /* With --per_iter_timing: iters doubles each but rank_us, which has them for every rank. The
     * two halves of a row are printed together, so each has its own. */
    double *own_us, *scratch;
    struct {
        double *rank_us, *times_us;
        struct nccl_iters iters;
    } half[2];
    struct report report;
};

/* The text of a failed collective: what was called, and what comm says about it. */
static int call_failed(const struct bench *bench, const struct call *call, int rc,
                       struct mst_err *err)
{
    const char *cause = mst_comm_error(bench->comm);
    return mst_err_set(err, rc, "%s of %zu %s: %s", bench->coll->name, call->count,
                       nccl_type_name(call->dtype), cause[0] ? cause : mst_err_meaning(rc));
}

static int agree_failed(const struct bench *bench, int rc, struct mst_err *err)
{
    const char *cause = mst_comm_error(bench->comm);
    return mst_err_set(err, rc, "between measurements: %s", cause[0] ? cause : mst_err_meaning(rc));
}

static void fill(struct bench *bench, struct call *call)
{
    size_t bytes = collective_elems(bench->coll, call) * mst_dtype_size(call->dtype);
    memset(bench->recv, POISON, bytes);
    call->seed = bench->seed++;
    bench->coll->fill(call);
}

static int run_times(const struct bench *bench, const struct call *call, uint64_t times,
                     struct mst_err *err)
{
    for (uint64_t i = 0; i < times; i++) {
        int rc = bench->coll->run(call);
        if (rc < 0)
            return call_failed(bench, call, rc, err);
    }
    return 0;
}

/* One time out of all ranks' times, as --average says. */
static int agree_time(const struct bench *bench, double *seconds, struct mst_err *err)
{
    static const enum mst_op ops[] = {
        [BENCH_MEAN] = MST_AVG, [BENCH_MIN] = MST_MIN, [BENCH_MAX] = MST_MAX};
    int rc = bench->opts->average == BENCH_RANK0
                 ? mst_comm_broadcast(bench->comm, seconds, 1, MST_F64, 0, NULL)
                 : mst_comm_allreduce(bench->comm, seconds, seconds, 1, MST_F64,
                                      ops[bench->opts->average], NULL);
    return rc < 0 ? agree_failed(bench, rc, err) : 0;
}

/* The timed loop. No barriers inside, so that ranks may run ahead of one another as they do in
 * training. */
static int run_timed(struct bench *bench, const struct call *call, double *ret_seconds,
                     struct mst_err *err)
{
    uint64_t start_ns = mst_now_ns(), last_ns = start_ns;
    for (uint64_t i = 0; i < bench->opts->iters; i++) {
        int rc = run_times(bench, call, bench->opts->agg_iters, err);
        if (rc < 0)
            return rc;
        if (bench->own_us) {
            uint64_t now_ns = mst_now_ns();
            bench->own_us[i] = (double)(now_ns - last_ns) / 1e3 / (double)bench->opts->agg_iters;
            last_ns = now_ns;
        }
    }
    double calls = (double)bench->opts->iters * (double)bench->opts->agg_iters;
    *ret_seconds = (double)(mst_now_ns() - start_ns) / (double)MST_NS_PER_S / calls;
    return 0;
}

/* Seconds of one call. The first, untimed, brings in pages and connections. */
static int time_call(struct bench *bench, struct call *call, double *ret_seconds,
                     struct mst_err *err)
{
    fill(bench, call);
    int rc = run_times(bench, call, 1, err);
    if (rc < 0)
        return rc;
    rc = mst_comm_barrier(bench->comm, NULL);
    if (rc < 0)
        return agree_failed(bench, rc, err);
    rc = run_timed(bench, call, ret_seconds, err);
    return rc < 0 ? rc : agree_time(bench, ret_seconds, err);
}

/* Every rank's iterations to every rank. */
static int gather_iters(struct bench *bench, bool in_place, const struct nccl_iters **ret_iters,
                        struct mst_err *err)
{
    if (!bench->own_us)
        return 0;
    size_t count = (size_t)bench->opts->iters;
    double *rank_us = bench->half[in_place].rank_us;
    int rc = mst_comm_allgather(bench->comm, bench->own_us, rank_us, count, MST_F64, NULL);
    if (rc < 0)
        return agree_failed(bench, rc, err);
    struct nccl_iters *iters = &bench->half[in_place].iters;
    *iters = (struct nccl_iters){
        .iter_count = count, .rank_count = mst_world_size(bench->world), .rank_us = rank_us};
    nccl_iters_summarise(iters, bench->half[in_place].times_us, bench->scratch);
    *ret_iters = iters;
    return 0;
}

/* Wrong elements of all ranks, from the first checked iteration that has any. */
static int check_call(struct bench *bench, struct call *call, uint64_t *ret_wrong_count,
                      struct mst_err *err)
{
    int64_t wrong_count = 0;
    for (uint64_t i = 0; i < bench->opts->check_iters && wrong_count == 0; i++) {
        fill(bench, call);
        int rc = run_times(bench, call, 1, err);
        if (rc < 0)
            return rc;
        wrong_count = (int64_t)bench->coll->wrong(call);
        rc = mst_comm_allreduce(bench->comm, &wrong_count, &wrong_count, 1, MST_I64, MST_SUM, NULL);
        if (rc < 0)
            return agree_failed(bench, rc, err);
    }
    *ret_wrong_count = (uint64_t)wrong_count;
    return 0;
}

static int measure(struct bench *bench, struct call *call, bool in_place,
                   struct nccl_timing *ret_timing, struct mst_err *err)
{
    double seconds = 0;
    struct nccl_timing timing = {0};
    call->in_place = in_place;
    collective_place(bench->coll, call, bench->send, bench->recv);
    int rc = time_call(bench, call, &seconds, err);
    if (rc == 0)
        rc = gather_iters(bench, in_place, &timing.iters, err);
    if (rc == 0)
        rc = check_call(bench, call, &timing.wrong_count, err);
    if (rc < 0)
        return rc;
    size_t bytes = collective_elems(bench->coll, call) * mst_dtype_size(call->dtype);
    timing.time_us = seconds * 1e6;
    timing.alg_bw = (double)bytes / 1e9 / seconds;
    timing.bus_bw = timing.alg_bw * collective_bus_ratio(bench->coll, call->size);
    *ret_timing = timing;
    return 0;
}

static int run_size(struct bench *bench, struct call *call, uint64_t size_bytes,
                    struct mst_err *err)
{
    call->count = collective_count(bench->coll, size_bytes, call->dtype, call->size);
    struct nccl_row row = {
        .size_bytes = collective_elems(bench->coll, call) * mst_dtype_size(call->dtype),
        .count = call->count,
        .type = nccl_type_name(call->dtype),
        .op = bench->coll->reduces ? nccl_op_name(call->op) : "none",
        .root = bench->coll->rooted ? (int)call->root : -1,
        .checked = bench->opts->check_iters > 0,
    };
    int rc = measure(bench, call, false, &row.out_of_place, err);
    if (rc == 0)
        rc = measure(bench, call, true, &row.in_place, err);
    return rc == 0 ? report_row(&bench->report, &row, err) : rc;
}

static int warm_up(struct bench *bench, struct call *call, struct mst_err *err)
{
    call->in_place = false;
    for (uint64_t size = bench->opts->min_bytes; size <= bench->opts->max_bytes;
         size = size > 0 ? size * 2 : 1) {
        call->count = collective_count(bench->coll, size, call->dtype, call->size);
        collective_place(bench->coll, call, bench->send, bench->recv);
        int rc = run_times(bench, call, bench->opts->warmup_iters, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int run_sizes(struct bench *bench, struct call *call, struct mst_err *err)
{
    int rc = warm_up(bench, call, err);
    for (uint64_t size = bench->opts->min_bytes; rc == 0 && size <= bench->opts->max_bytes;
         size = bench_opts_next_size(bench->opts, size))
        rc = run_size(bench, call, size, err);
    return rc;
}

static int run_roots(struct bench *bench, struct call *call, struct mst_err *err)
{
    bool all = bench->coll->rooted && bench->opts->all_roots;
    uint32_t end = all ? call->size : (uint32_t)bench->opts->root + 1;
    int rc = 0;
    for (call->root = all ? 0 : end - 1; rc == 0 && call->root < end; call->root++)
        rc = run_sizes(bench, call, err);
    return rc;
}

static int run_ops(struct bench *bench, struct call *call, struct mst_err *err)
{
    call->op = bench->opts->op;
    if (!bench->coll->reduces || !bench->opts->all_ops)
        return run_roots(bench, call, err);
    int rc = 0;
    for (size_t i = 0; rc == 0 && nccl_op_at(i, &call->op); i++)
        rc = run_roots(bench, call, err);
    return rc;
}

static int run_types(struct bench *bench, struct mst_err *err)
{
    struct call call = {
        .comm = bench->comm,
        .rank = mst_world_rank(bench->world),
        .size = mst_world_size(bench->world),
        .dtype = bench->opts->dtype,
    };
    if (!bench->opts->all_types)
        return run_ops(bench, &call, err);
    int rc = 0;
    for (size_t i = 0; rc == 0 && nccl_type_at(i, &call.dtype); i++)
        rc = run_ops(bench, &call, err);
    return rc;
}

/* Who takes part, gathered from all ranks as whole words. */
static int report_ranks(struct bench *bench, struct mst_err *err)
{
    const struct mst_world *world = bench->world;
    struct nccl_device *devices = calloc(mst_world_size(world), sizeof(*devices));
    if (!devices)
        return mst_err_set(err, -ENOMEM, "no memory for %" PRIu32 " ranks", mst_world_size(world));
    struct nccl_device *own = &devices[mst_world_rank(world)];
    *own = (struct nccl_device){.rank = (int32_t)mst_world_rank(world),
                                .pid = (int32_t)getpid(),
                                .device = (int32_t)mst_world_local_rank(world),
                                .info = "cpu"};
    (void)gethostname(own->host, sizeof(own->host) - 1); /* empty if the name is longer */
    static_assert(sizeof(*own) % sizeof(int32_t) == 0, "sent as words");
    int rc = mst_comm_allgather(bench->comm, own, devices, sizeof(*own) / sizeof(int32_t), MST_I32,
                                NULL);
    if (rc < 0)
        rc = agree_failed(bench, rc, err);
    else
        rc = report_devices(&bench->report, devices, mst_world_size(world), err);
    free(devices);
    return rc;
}

static int check_root(const struct bench *bench, struct mst_err *err)
{
    if (bench->opts->root < mst_world_size(bench->world))
        return 0;
    return mst_err_set(err, -EINVAL, "--root %" PRIu64 ": there are %" PRIu32 " ranks",
                       bench->opts->root, mst_world_size(bench->world));
}

/* Both buffers are written here, so that no timed call takes page faults for them. */
static int make_buffers(struct bench *bench, struct mst_err *err)
{
    size_t bytes = (bench->opts->max_bytes / ALIGN_BYTES + 1) * ALIGN_BYTES;
    bench->send = aligned_alloc(ALIGN_BYTES, bytes);
    bench->recv = aligned_alloc(ALIGN_BYTES, bytes);
    if (!bench->send || !bench->recv)
        return mst_err_set(err, -ENOMEM, "no memory for two buffers of --maxbytes %" PRIu64,
                           bench->opts->max_bytes);
    memset(bench->send, 0, bytes);
    memset(bench->recv, 0, bytes);
    return 0;
}

static int make_iter_logs(struct bench *bench, struct mst_err *err)
{
    size_t count = (size_t)bench->opts->iters, total = count * mst_world_size(bench->world);
    if (!bench->opts->per_iter)
        return 0;
    bench->own_us = calloc(count, sizeof(double));
    bench->scratch = calloc(count, sizeof(double));
    bool made = bench->own_us && bench->scratch;
    for (int i = 0; i < 2; i++) {
        bench->half[i].rank_us = calloc(total, sizeof(double));
        bench->half[i].times_us = calloc(count, sizeof(double));
        made = made && bench->half[i].rank_us && bench->half[i].times_us;
    }
    return made ? 0 : mst_err_set(err, -ENOMEM, "no memory to log %zu times: lower --iters", total);
}

static struct nccl_config config_of(const struct collective *coll, const struct bench_opts *opts)
{
    return (struct nccl_config){
        .program = coll->program,
        .min_bytes = opts->min_bytes,
        .max_bytes = opts->max_bytes,
        .step_factor = opts->step_factor,
        .step_bytes = opts->step_bytes,
        .iters = opts->iters,
        .agg_iters = opts->agg_iters,
        .warmup_iters = opts->warmup_iters,
        .check_iters = opts->check_iters,
        .per_iter = opts->per_iter != 0,
    };
}

static int bench_open(struct bench *bench, int argc, char *const *argv, struct mst_err *err)
{
    struct nccl_config config = config_of(bench->coll, bench->opts);
    struct report_opts report = {.json_path = bench->opts->json_path, .argc = argc, .argv = argv};
    int rc = check_root(bench, err);
    if (rc == 0)
        rc = make_buffers(bench, err);
    if (rc == 0)
        rc = make_iter_logs(bench, err);
    if (rc == 0)
        rc = mst_comm_join(bench->world, NULL, &bench->comm, err);
    if (rc == 0)
        rc = report_open(&bench->report, mst_world_rank(bench->world), &config, &report, err);
    return rc;
}

static void bench_close(struct bench *bench)
{
    report_discard(&bench->report);
    mst_comm_destroy(bench->comm);
    free(bench->send);
    free(bench->recv);
    free(bench->own_us);
    free(bench->scratch);
    for (int i = 0; i < 2; i++) {
        free(bench->half[i].rank_us);
        free(bench->half[i].times_us);
    }
}

int bench_run(const struct collective *coll, const struct bench_opts *opts,
              const struct mst_world *world, int argc, char *const *argv, struct mst_err *err)
{
    struct bench bench = {.coll = coll, .opts = opts, .world = world};
    int rc = bench_open(&bench, argc, argv, err);
    if (rc == 0)
        rc = report_ranks(&bench, err);
    if (rc == 0)
        rc = run_types(&bench, err);
    if (rc == 0)
        rc = report_close(&bench.report, err);
    if (rc == 0 && bench.report.summary.wrong_row_count > 0)
        rc = BENCH_WRONG;
    bench_close(&bench);
    return rc;
}
