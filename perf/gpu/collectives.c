/* collectives: comm's nccl back end with this machine's NCCL in a world of one, in which every
 * collective gives what went in: each of them in place and out of it, of memory of the device and
 * of the host; then how a communicator ends.
 *
 *   collectives NCCL BYTES     the library, "libnccl.so.2" for the dynamic linker's; of the copies
 *                              that keep a stream busy */
#include "muster/comm/comm.h"
#include "muster/core/clock.h"
#include "muster/core/symbols.h"
#include "muster/core/world/world.h"
#include "muster/perf/drivers/stopwatch.h"
#include "muster/perf/gpu/rig.h"
#include "muster/perf/gpu/row.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT ((size_t)100003)
#define BYTES (COUNT * 8)
#define LONG_REPEATS 200
#define TIMES 100
#define DEFAULT_STREAM ((void *)1)

static struct {
    struct mst_world *world;
    struct mst_comm *comm;
    struct rig rig;
    struct mst_span in, out;           /* of the device */
    struct mst_span host_in, host_out; /* pinned */
    struct mst_span long_in, long_out; /* long_bytes each */
    size_t long_bytes;
    struct mst_req *watched;
} all;

/* What is asked of the driver itself. */
static struct {
    int (*cuStreamBeginCapture_v2)(void *stream, int mode);
    int (*cuStreamEndCapture)(void *stream, void **ret_graph);
} driver;

static const enum mst_dtype dtypes[] = {MST_I8,  MST_U8,  MST_I32,  MST_U32, MST_I64,
                                        MST_U64, MST_F16, MST_BF16, MST_F32, MST_F64};
#define DTYPES (sizeof dtypes / sizeof dtypes[0])

/* Stands for all forms in a world of one: `out` is `in` where it is in place. */
typedef int (*collective_fn)(const void *in, void *out, enum mst_dtype dtype, enum mst_op op,
                             const struct mst_call *call);

static int allreduce(const void *in, void *out, enum mst_dtype dtype, enum mst_op op,
                     const struct mst_call *call)
{
    return mst_comm_allreduce(all.comm, in, out, COUNT, dtype, op, call);
}

static int reduce_scatter(const void *in, void *out, enum mst_dtype dtype, enum mst_op op,
                          const struct mst_call *call)
{
    return mst_comm_reduce_scatter(all.comm, in, out, COUNT, dtype, op, call);
}

static int allgather(const void *in, void *out, enum mst_dtype dtype, enum mst_op op,
                     const struct mst_call *call)
{
    (void)op;
    return mst_comm_allgather(all.comm, in, out, COUNT, dtype, call);
}

/* It has one buffer, which is the one that the result is looked for in. */
static int broadcast(const void *in, void *out, enum mst_dtype dtype, enum mst_op op,
                     const struct mst_call *call)
{
    (void)op;
    if (in != out && rig_copy(&all.rig, out, in, BYTES) < 0)
        return -EIO;
    return mst_comm_broadcast(all.comm, out, COUNT, dtype, 0, call);
}

/* ---- results --------------------------------------------------------------------------------- */

/* Bytes below 64 are a number in every type, and none is a NaN. */
static char byte_at(size_t i)
{
    return (char)((i * 7 + i / 61) % 64);
}

static int prepare(void)
{
    char *bytes = all.host_in.data;
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = byte_at(i);
    memset(all.host_out.data, 0x7f, BYTES);
    int rc = rig_copy(&all.rig, all.in.data, bytes, BYTES);
    return rc == 0 ? rig_copy(&all.rig, all.out.data, all.host_out.data, BYTES) : rc;
}

static bool is_expected(const void *out, size_t bytes)
{
    static char got[BYTES];
    if (rig_copy(&all.rig, got, out, bytes) < 0)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (got[i] != byte_at(i))
            return false;
    return true;
}

static bool try_one(collective_fn run, enum mst_dtype dtype, enum mst_op op, bool on_host,
                    bool in_place)
{
    if (prepare() < 0)
        return false;
    const void *in = on_host ? all.host_in.data : all.in.data;
    void *out = on_host ? all.host_out.data : all.out.data;
    if (in_place)
        out = on_host ? all.host_in.data : all.in.data;
    return run(in, out, dtype, op, NULL) == 0 && is_expected(out, COUNT * mst_dtype_size(dtype));
}

static void check_all(const char *what, collective_fn run, size_t op_count)
{
    for (size_t t = 0; t < DTYPES; t++) {
        for (unsigned form = 0; form < 4 * op_count; form++) {
            if (try_one(run, dtypes[t], (enum mst_op)(form / 4), form & 1, form & 2))
                continue;
            char words[256];
            (void)snprintf(words, sizeof words, "%s, %s memory, %s: %s", mst_dtype_name(dtypes[t]),
                           form & 1 ? "host" : "device", form & 2 ? "in place" : "out of place",
                           mst_comm_error(all.comm));
            row_check(what, false, words);
            return;
        }
    }
    char words[64];
    (void)snprintf(words, sizeof words, "%zu types, %zu ops, 4 forms", DTYPES, op_count);
    row_print(&(struct row){.what = what, .words = words});
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void check(const char *what, bool is_right)
{
    row_check(what, is_right, mst_comm_error(all.comm));
}

static bool starts(void)
{
    struct mst_req *req = NULL;
    struct mst_call call = MST_CALL_INIT;
    call.ret_req = &req;
    return prepare() == 0 && allreduce(all.in.data, all.out.data, MST_F32, MST_SUM, &call) == 0 &&
           mst_req_wait(req) == 0 && is_expected(all.out.data, COUNT * sizeof(float));
}

static int put_long(void)
{
    int rc = 0;
    for (int i = 0; i < LONG_REPEATS && rc == 0; i++)
        rc = mst_gpu_copy(all.rig.queue, all.long_out.data, all.long_in.data, all.long_bytes);
    return rc;
}

/* After what the stream holds, which makes the input. */
static bool follows_stream(void)
{
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(all.rig.queue);
    return prepare() == 0 && mst_gpu_clear(all.rig.queue, all.in.data, BYTES) == 0 &&
           put_long() == 0 &&
           mst_gpu_copy(all.rig.queue, all.in.data, all.host_in.data, BYTES) == 0 &&
           allreduce(all.in.data, all.out.data, MST_F32, MST_SUM, &call) == 0 &&
           is_expected(all.out.data, COUNT * sizeof(float));
}

static bool takes_default_stream(void)
{
    struct mst_call call = MST_CALL_INIT;
    call.queue = DEFAULT_STREAM;
    call.enqueue = 1;
    return prepare() == 0 && allreduce(all.in.data, all.out.data, MST_F32, MST_SUM, &call) == 0 &&
           mst_comm_barrier(all.comm, NULL) == 0 &&
           is_expected(all.out.data, COUNT * sizeof(float));
}

/* Runs `inside` while a queue is captured in the mode in which the driver forbids every thread what
 * a graph would not see. */
static bool captures(struct mst_gpu_queue *queue, bool (*inside)(void))
{
    void *stream = mst_gpu_queue_native(queue), *graph = NULL;
    if (mst_gpu_enter(all.rig.gpu) < 0)
        return false;
    bool right = driver.cuStreamBeginCapture_v2(stream, 0) == 0;
    mst_gpu_leave(all.rig.gpu);
    right = right && inside();
    if (mst_gpu_enter(all.rig.gpu) < 0)
        return false;
    right = driver.cuStreamEndCapture(stream, &graph) == 0 && right; /* an empty graph, for good */
    mst_gpu_leave(all.rig.gpu);
    return right;
}

static bool is_refused(void)
{
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(all.rig.queue);
    return allreduce(all.in.data, all.out.data, MST_F32, MST_SUM, &call) == -ENOTSUP &&
           mst_comm_barrier(all.comm, NULL) == 0;
}

/* The watchdog asks for what was enqueued before. */
static bool ends_watched(void)
{
    return mst_req_wait(all.watched) == 0;
}

static bool spoils_no_capture(void)
{
    struct mst_gpu_queue *other = NULL;
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(all.rig.queue);
    call.enqueue = 1;
    call.ret_req = &all.watched;
    bool right = prepare() == 0 && mst_gpu_queue_create(all.rig.gpu, &other) == 0 &&
                 put_long() == 0 &&
                 allreduce(all.in.data, all.out.data, MST_F32, MST_SUM, &call) == 0 &&
                 captures(other, ends_watched) && is_expected(all.out.data, COUNT * sizeof(float));
    mst_gpu_queue_destroy(other);
    return right;
}

static void check_captures(void)
{
    static const char *const names[] = {"cuStreamBeginCapture_v2", "cuStreamEndCapture"};
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    bool has = library && !mst_symbols_find(library, names, 2, &driver);
    check("a stream that is captured is refused", has && captures(all.rig.queue, is_refused));
    check("a capture beside what is watched is not spoilt", has && spoils_no_capture());
}

static void time_calls(void)
{
    int rc = 0;
    double began_s = stopwatch_s();
    for (int i = 0; i < TIMES && rc == 0; i++)
        rc = mst_comm_allreduce(all.comm, all.in.data, all.out.data, 1, MST_F32, MST_SUM, NULL);
    row_print(&(struct row){.result = rc == 0 ? ROW_RIGHT : ROW_WRONG,
                            .what = "a blocking allreduce of 4 bytes",
                            .figure = (stopwatch_s() - began_s) / TIMES * 1e6,
                            .unit = "us"});
}

/* ---- ends ------------------------------------------------------------------------------------ */

static int open_comm(struct mst_err *err)
{
    struct mst_comm_opts opts = MST_COMM_OPTS_INIT;
    opts.backend = "nccl";
    opts.timeout_ms = 60000;
    return mst_comm_join(all.world, &opts, &all.comm, err);
}

static void close_comm(void)
{
    mst_comm_destroy(all.comm);
    all.comm = NULL;
}

/* What the stream holds takes longer than the deadline: the call ends, and the communicator. */
static bool ends_by_deadline(void)
{
    struct mst_call call = MST_CALL_INIT;
    call.queue = mst_gpu_queue_native(all.rig.queue);
    if (put_long() < 0)
        return false;
    call.deadline_ns = mst_now_ns() + 1000000;
    return allreduce(all.in.data, all.out.data, MST_F32, MST_SUM, &call) == -ETIMEDOUT &&
           allreduce(all.in.data, all.out.data, MST_F32, MST_SUM, NULL) == -ETIMEDOUT;
}

static bool ends_by_abort(void)
{
    mst_comm_abort(all.comm);
    return allreduce(all.in.data, all.out.data, MST_F32, MST_SUM, NULL) == -ECONNRESET;
}

/* Then another is made, which works. */
static void check_end(const char *what, bool (*end)(void))
{
    struct mst_err err = {0};
    bool right = end();
    check(what, right);
    double began_s = stopwatch_s();
    close_comm();
    double took_ms = (stopwatch_s() - began_s) * 1e3;
    (void)rig_wait(&all.rig); /* an error shows below */
    right = open_comm(&err) == 0;
    row_print(&(struct row){.result = right ? ROW_RIGHT : ROW_WRONG,
                            .what = "its destroy, and the next communicator",
                            .figure = took_ms,
                            .unit = "ms",
                            .words = right ? NULL : err.text});
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void tell_version(const char *path)
{
    struct {
        int (*ncclGetVersion)(int *ret_version);
    } nccl;
    static const char *const names[] = {"ncclGetVersion"};
    int version = 0;
    char words[64] = "not told";
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    bool right = library && !mst_symbols_find(library, names, 1, &nccl) &&
                 nccl.ncclGetVersion(&version) == 0;
    if (right)
        (void)snprintf(words, sizeof words, "%d.%d.%d", version / 10000, version / 100 % 100,
                       version % 100);
    row_print(
        &(struct row){.result = right ? ROW_RIGHT : ROW_WRONG, .what = "NCCL", .words = words});
}

static int open_all(struct mst_err *err)
{
    const struct {
        struct mst_span *span;
        size_t bytes;
        enum mst_mem mem;
    } wanted[] = {
        {&all.in, BYTES, MST_MEM_DEVICE},
        {&all.out, BYTES, MST_MEM_DEVICE},
        {&all.host_in, BYTES, MST_MEM_PINNED},
        {&all.host_out, BYTES, MST_MEM_PINNED},
        {&all.long_in, all.long_bytes, MST_MEM_DEVICE},
        {&all.long_out, all.long_bytes, MST_MEM_DEVICE},
    };
    int rc = mst_world_from_env(&all.world, err);
    if (rc == 0)
        rc = rig_open(&all.rig, "cuda", err);
    if (rc == 0)
        rc = open_comm(err);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0] && rc == 0; i++) {
        rc = mst_gpu_alloc(all.rig.gpu, wanted[i].bytes, wanted[i].mem, wanted[i].span);
        if (rc < 0)
            (void)mst_err_set(err, rc, "%s", rig_error(&all.rig));
    }
    return rc;
}

static void close_all(void)
{
    struct mst_span *spans[] = {&all.in,       &all.out,     &all.host_in,
                                &all.host_out, &all.long_in, &all.long_out};
    close_comm();
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++)
        mst_gpu_free(all.rig.gpu, spans[i]);
    rig_close(&all.rig);
    mst_world_destroy(all.world);
}

int main(int argc, char **argv)
{
    struct mst_err err = {0};
    char *end = NULL;
    all.long_bytes = argc == 3 ? strtoul(argv[2], &end, 10) : 0;
    if (all.long_bytes == 0 || *end) {
        fprintf(stderr, "usage: collectives NCCL BYTES\n");
        return 64;
    }
    tell_version(argv[1]);
    if (open_all(&err) < 0) {
        fprintf(stderr, "collectives: %s\n", err.text);
        return 1;
    }
    row_print(&(struct row){.what = "card", .words = mst_gpu_name(all.rig.gpu)});
    check_all("allreduce", allreduce, MST_OP_COUNT);
    check_all("reduce_scatter", reduce_scatter, MST_OP_COUNT);
    check_all("allgather", allgather, 1);
    check_all("broadcast", broadcast, 1);
    check("barrier", mst_comm_barrier(all.comm, NULL) == 0);
    check("a started allreduce", starts());
    check("an allreduce follows the stream of its call", follows_stream());
    check("an allreduce is enqueued on the default stream", takes_default_stream());
    check_captures();
    time_calls();
    check_end("a call ends by its deadline", ends_by_deadline);
    check_end("a call ends by an abort", ends_by_abort);
    close_all();
    return 0;
}
