/* Collectives as calls of NCCL: on device memory as they are, on host memory in rounds. */
#include "muster/comm/nccl.h"

#include "muster/core/err.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* ---- one call of the library ----------------------------------------------------------------- */

static bool find_type(enum mst_dtype dtype, ncclDataType_t *ret_type)
{
    switch (dtype) {
    case MST_I8: *ret_type = ncclInt8; return true;
    case MST_U8: *ret_type = ncclUint8; return true;
    case MST_I32: *ret_type = ncclInt32; return true;
    case MST_U32: *ret_type = ncclUint32; return true;
    case MST_I64: *ret_type = ncclInt64; return true;
    case MST_U64: *ret_type = ncclUint64; return true;
    case MST_F16: *ret_type = ncclFloat16; return true;
    case MST_BF16: *ret_type = ncclBfloat16; return true;
    case MST_F32: *ret_type = ncclFloat32; return true;
    case MST_F64: *ret_type = ncclFloat64; return true;
    default: return false;
    }
}

static bool reduces(const struct signature_desc *desc)
{
    return desc->coll == MST_COLL_ALLREDUCE || desc->coll == MST_COLL_REDUCE_SCATTER;
}

static ncclRedOp_t find_op(enum mst_op op)
{
    switch (op) {
    case MST_MIN: return ncclMin;
    case MST_MAX: return ncclMax;
    case MST_AVG: return ncclAvg;
    default: assert(op == MST_SUM); return ncclSum;
    }
}

static ncclResult_t enqueue(struct nccl *nccl, const struct signature_desc *desc, const void *in,
                            void *out, size_t count)
{
    const struct nccl_library *library = nccl->library;
    void *stream = mst_gpu_queue_native(nccl->queue);
    size_t bytes = count * mst_dtype_size(desc->dtype);
    ncclRedOp_t op = find_op(desc->op);
    ncclDataType_t type = ncclUint8;
    (void)find_type(desc->dtype, &type); /* what reduces was asked for; the others move bytes */
    switch (desc->coll) {
    case MST_COLL_ALLREDUCE:
        return library->ncclAllReduce(in, out, count, type, op, nccl->comm, stream);
    case MST_COLL_REDUCE_SCATTER:
        return library->ncclReduceScatter(in, out, count, type, op, nccl->comm, stream);
    case MST_COLL_ALLGATHER:
        return library->ncclAllGather(in, out, bytes, ncclUint8, nccl->comm, stream);
    default:
        assert(desc->coll == MST_COLL_BROADCAST);
        return library->ncclBroadcast(out, out, bytes, ncclUint8, (int)desc->root, nccl->comm,
                                      stream);
    }
}

/* Puts one collective of `count` elements per rank into the queue. */
static int put(struct nccl *nccl, const struct signature_desc *desc, const void *in, void *out,
               size_t count, uint64_t deadline_ns)
{
    int rc = nccl_check_gpu(nccl, mst_gpu_use(nccl->gpu), "device");
    if (rc == 0)
        rc = nccl_check(nccl, enqueue(nccl, desc, in, out, count), "collective");
    return rc < 0 ? rc : nccl_settle(nccl, deadline_ns);
}

/* ---- host memory ----------------------------------------------------------------------------- */

/* A round: `count` elements per rank, those from `first` on. In the stage every collective is in
 * place, so that it needs no second one. */
struct round {
    const struct comm_call *call;
    size_t first, count, elem_size;
    uint32_t in_blocks, out_blocks; /* of `count` elements each */
    uint32_t in_at, out_at;         /* their first block's place in the stage */
};

static struct round plan(const struct nccl *nccl, const struct comm_call *call)
{
    bool gathers = call->desc.coll == MST_COLL_ALLGATHER;
    bool scatters = call->desc.coll == MST_COLL_REDUCE_SCATTER;
    bool sends = call->desc.coll != MST_COLL_BROADCAST || call->desc.root == nccl->rank;
    return (struct round){
        .call = call,
        .elem_size = mst_dtype_size(call->desc.dtype),
        .in_blocks = scatters ? nccl->size
                     : sends  ? 1
                              : 0,
        .out_blocks = gathers ? nccl->size : 1,
        .in_at = gathers ? nccl->rank : 0,
        .out_at = scatters ? nccl->rank : 0,
    };
}

static char *stage(const struct round *round, const struct mst_span *span, uint32_t block)
{
    return (char *)span->data + block * round->count * round->elem_size;
}

/* Where block `block` of this round is in the caller's buffer. */
static size_t offset(const struct round *round, uint32_t block)
{
    return (block * (size_t)round->call->desc.count + round->first) * round->elem_size;
}

static int run_round(struct nccl *nccl, const struct round *round, uint64_t deadline_ns)
{
    const struct comm_call *call = round->call;
    const char *in = call->in ? call->in : call->out;
    size_t bytes = round->count * round->elem_size;
    char *device_in = stage(round, &nccl->device, round->in_at);
    char *device_out = stage(round, &nccl->device, round->out_at);
    for (uint32_t b = 0; b < round->in_blocks; b++)
        memcpy(stage(round, &nccl->pinned, round->in_at + b), in + offset(round, b), bytes);
    int rc = mst_gpu_copy(nccl->queue, device_in, stage(round, &nccl->pinned, round->in_at),
                          round->in_blocks * bytes);
    rc = nccl_check_gpu(nccl, rc, "copy to the device");
    if (rc == 0)
        rc = put(nccl, &call->desc, device_in, device_out, round->count, deadline_ns);
    if (rc == 0)
        rc = nccl_check_gpu(nccl,
                            mst_gpu_copy(nccl->queue, stage(round, &nccl->pinned, round->out_at),
                                         device_out, round->out_blocks * bytes),
                            "copy from the device");
    if (rc == 0)
        rc = nccl_finish(nccl, deadline_ns);
    for (uint32_t b = 0; b < round->out_blocks && rc == 0; b++)
        memcpy((char *)call->out + offset(round, b), stage(round, &nccl->pinned, round->out_at + b),
               bytes);
    return rc;
}

static int run_staged(struct nccl *nccl, const struct comm_call *call, uint64_t deadline_ns)
{
    struct round round = plan(nccl, call);
    uint32_t blocks = round.in_blocks > round.out_blocks ? round.in_blocks : round.out_blocks;
    size_t most = NCCL_STAGE_BYTES / blocks / round.elem_size;
    int rc = 0;
    for (size_t done = 0; done < call->desc.count && rc == 0; done += round.count) {
        size_t left = call->desc.count - done;
        round.first = done;
        round.count = left < most ? left : most;
        rc = run_round(nccl, &round, deadline_ns);
    }
    return rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool is_on_device(const struct nccl *nccl, const void *address)
{
    return address && mst_gpu_mem(nccl->gpu, address) == MST_MEM_DEVICE;
}

int nccl_accept(const struct comm_backend *backend, const struct comm_call *call)
{
    const struct nccl *nccl = (const struct nccl *)backend;
    ncclDataType_t type;
    if (reduces(&call->desc) && !find_type(call->desc.dtype, &type))
        return -ENOTSUP;
    bool on_device = is_on_device(nccl, call->out);
    bool mixed = call->in && is_on_device(nccl, call->in) != on_device;
    return call->desc.count > 0 && (mixed || (call->queue && !on_device)) ? -EINVAL : 0;
}

int nccl_collective(struct nccl *nccl, const struct comm_call *call, uint64_t deadline_ns)
{
    if (call->desc.coll == MST_COLL_BARRIER || call->desc.count == 0)
        return 0;
    if (!is_on_device(nccl, call->out))
        return run_staged(nccl, call, deadline_ns);
    int rc = put(nccl, &call->desc, call->in, call->out, call->desc.count, deadline_ns);
    return rc < 0 ? rc : nccl_finish(nccl, deadline_ns);
}
