#include "muster/examples/gradients.h"

#include "muster/comm/comm.h"
#include "muster/examples/device.h"
#include "muster/gpu/gpu.h"

#include <assert.h>

static const enum mst_dtype dtypes[] = {
    [GRADIENTS_F32] = MST_F32, [GRADIENTS_BF16] = MST_BF16, [GRADIENTS_F16] = MST_F16};

int gradients_open(struct gradients *gradients, enum gradients_type type, size_t part_count,
                   struct mst_err *err)
{
    static_assert(GRADIENTS_PARTS_MAX <= MST_GPU_SUM_MAX, "one kernel adds up all parts");
    assert(part_count >= 1 && part_count <= GRADIENTS_PARTS_MAX);
    size_t count = gradients->count;
    size_t parts = part_count > 1 ? part_count * count * sizeof(float) : 0;
    size_t wire = type != GRADIENTS_F32 ? count * mst_dtype_size(dtypes[type]) : 0;
    void *memory = NULL;
    gradients->dtype = dtypes[type];
    gradients->part_count = part_count;
    gradients->parts = gradients->sums;
    if (parts + wire == 0)
        return 0;
    int rc = device_alloc(gradients->device, MST_MEM_DEVICE, parts + wire, &memory, err);
    if (rc < 0)
        return rc;
    if (parts > 0)
        gradients->parts = memory;
    if (wire > 0)
        gradients->wire = (char *)memory + parts;
    return 0;
}

int gradients_put(struct gradients *gradients, size_t part, size_t at, const float *from,
                  size_t count)
{
    return device_copy(gradients->device, gradients->parts + part * gradients->count + at, from,
                       count);
}

static int add_parts(const struct gradients *gradients, size_t at, size_t count)
{
    const void *in[GRADIENTS_PARTS_MAX];
    for (size_t p = 0; p < gradients->part_count; p++)
        in[p] = gradients->parts + p * gradients->count + at;
    return mst_gpu_sum(gradients->device->queue, gradients->sums + at, in, gradients->part_count,
                       MST_F32, count);
}

int gradients_reduce(struct gradients *gradients, size_t at, size_t count)
{
    struct device *device = gradients->device;
    struct mst_call call = MST_CALL_INIT;
    void *travels = gradients->sums + at;
    int rc = gradients->part_count > 1 ? add_parts(gradients, at, count) : 0;
    if (rc == 0 && gradients->wire) {
        travels = gradients->wire + at * mst_dtype_size(gradients->dtype);
        rc = mst_gpu_cast(device->queue, travels, gradients->dtype, gradients->sums + at, MST_F32,
                          count);
    }
    call.queue = device_stream(device);
    call.enqueue = call.queue != NULL;
    if (rc == 0 && !call.queue) {
        assert(gradients->req_count < GRADIENTS_BUCKETS_MAX);
        call.ret_req = &gradients->reqs[gradients->req_count];
        rc = device_wait(device);
    }
    if (rc == 0)
        rc = mst_comm_allreduce(gradients->comm, travels, travels, count, gradients->dtype, MST_SUM,
                                &call);
    if (rc == 0 && call.ret_req)
        gradients->req_count++;
    return rc;
}

int gradients_end(struct gradients *gradients, int rc)
{
    for (size_t r = 0; r < gradients->req_count; r++) {
        int waited = mst_req_wait(gradients->reqs[r]);
        if (rc >= 0)
            rc = waited;
    }
    gradients->req_count = 0;
    return rc < 0 || !gradients->wire
               ? rc
               : mst_gpu_cast(gradients->device->queue, gradients->sums, MST_F32, gradients->wire,
                              gradients->dtype, gradients->count);
}
