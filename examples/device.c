#include "muster/examples/device.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/gpu/gpu.h"

#include <assert.h>
#include <errno.h>

enum { WAIT_MS = 120000 };

int device_open(struct device *device, const char *name, uint32_t local_rank, struct mst_err *err)
{
    struct mst_gpu_opts opts = {
        .backend = name, .device = MST_GPU_BY_RANK, .local_rank = local_rank};
    *device = (struct device){0};
    int rc = mst_gpu_open(&opts, &device->gpu, err);
    if (rc < 0)
        return rc;
    rc = mst_gpu_queue_create(device->gpu, &device->queue);
    return rc < 0 ? mst_err_set(err, rc, "device: %s", device_error(device, rc)) : 0;
}

void device_close(struct device *device)
{
    mst_gpu_queue_destroy(device->queue); /* first: its work uses the memory */
    for (size_t s = 0; s < device->span_count; s++)
        mst_gpu_free(device->gpu, &device->memory[s]);
    mst_gpu_close(device->gpu);
    *device = (struct device){0};
}

int device_alloc(struct device *device, enum mst_mem mem, size_t size_bytes, void **ret_data,
                 struct mst_err *err)
{
    assert(device->span_count < DEVICE_SPANS_MAX);
    struct mst_span *span = &device->memory[device->span_count];
    int rc = mst_gpu_alloc(device->gpu, size_bytes, mem, span);
    if (rc < 0)
        return mst_err_set(err, rc, "%zu bytes for the device: %s", size_bytes,
                           device_error(device, rc));
    device->span_count++;
    *ret_data = span->data;
    return 0;
}

void *device_stream(const struct device *device)
{
    return mst_gpu_queue_native(device->queue);
}

enum mst_mem device_mem(const struct device *device)
{
    return device_stream(device) ? MST_MEM_DEVICE : MST_MEM_HOST;
}

int device_copy(struct device *device, float *to, const float *from, size_t count)
{
    return mst_gpu_copy(device->queue, to, from, count * sizeof *to);
}

int device_wait(struct device *device)
{
    return mst_gpu_queue_wait(device->queue, mst_deadline_ms(WAIT_MS));
}

const char *device_error(const struct device *device, int code)
{
    const char *words = mst_gpu_error(device->gpu);
    if (*words || code != -ENOTSUP)
        return *words ? words : mst_err_meaning(code);
    return "this build has no kernels for GPUs: build it where nvcc is, or give --device host";
}
