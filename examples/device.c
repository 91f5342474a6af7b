/* Gradients on a device, while they are summed. */
#include "muster/examples/device.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/gpu/gpu.h"

#include <errno.h>
#include <stdlib.h>

enum { WAIT_MS = 120000 };

struct device {
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue;
    struct mst_gpu_event *copied;
    struct mst_span copy;
};

static int make_parts(struct device *device, size_t count, struct mst_err *err)
{
    int rc = mst_gpu_alloc(device->gpu, count * sizeof(float), MST_MEM_DEVICE, &device->copy);
    if (rc == 0)
        rc = mst_gpu_queue_create(device->gpu, &device->queue);
    if (rc == 0)
        rc = mst_gpu_event_create(device->gpu, &device->copied);
    return rc < 0 ? mst_err_set(err, rc, "device: %s", mst_gpu_error(device->gpu)) : 0;
}

int device_open(const char *name, uint32_t local_rank, size_t count, struct device **ret_device,
                struct mst_err *err)
{
    *ret_device = NULL;
    if (!name)
        return 0;
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        return mst_err_set(err, -ENOMEM, "no memory for a device");
    struct mst_gpu_opts opts = {
        .backend = name, .device = MST_GPU_BY_RANK, .local_rank = local_rank};
    int rc = mst_gpu_open(&opts, &device->gpu, err);
    if (rc == 0)
        rc = make_parts(device, count, err);
    if (rc < 0) {
        device_close(device);
        return rc;
    }
    *ret_device = device;
    return 0;
}

void device_close(struct device *device)
{
    if (!device)
        return;
    mst_gpu_event_destroy(device->copied);
    mst_gpu_queue_destroy(device->queue);
    if (device->gpu)
        mst_gpu_free(device->gpu, &device->copy);
    mst_gpu_close(device->gpu);
    free(device);
}

float *device_place(const struct device *device, float *floats, size_t at)
{
    return (device ? (float *)device->copy.data : floats) + at;
}

static int copy(struct device *device, void *to, const void *from, size_t count)
{
    int rc = mst_gpu_copy(device->queue, to, from, count * sizeof(float));
    if (rc == 0)
        rc = mst_gpu_event_record(device->copied, device->queue);
    if (rc == 0)
        rc = mst_gpu_event_wait(device->copied, mst_deadline_ms(WAIT_MS));
    return rc;
}

int device_put(struct device *device, const float *floats, size_t at, size_t count)
{
    return device ? copy(device, (float *)device->copy.data + at, floats + at, count) : 0;
}

int device_get(struct device *device, float *floats, size_t at, size_t count)
{
    return device ? copy(device, floats + at, (float *)device->copy.data + at, count) : 0;
}

const char *device_error(const struct device *device)
{
    return device ? mst_gpu_error(device->gpu) : "";
}
