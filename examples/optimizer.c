#include "muster/examples/optimizer.h"

#include "muster/core/err.h"
#include "muster/examples/device.h"
#include "muster/gpu/gpu.h"

static const char *const moments[][OPTIMIZER_MOMENTS] = {
    [OPTIMIZER_SGD] = {"momentum"}, [OPTIMIZER_ADAMW] = {"mean", "square"}};

int optimizer_open(struct optimizer *optimizer, enum optimizer_kind kind, struct device *device,
                   size_t count, struct mst_err *err)
{
    *optimizer = (struct optimizer){.kind = kind, .device = device, .count = count};
    size_t bytes = (2 + OPTIMIZER_MOMENTS) * count * sizeof(float);
    void *memory;
    int rc = device_alloc(device, MST_MEM_DEVICE, bytes, &memory, err);
    if (rc < 0)
        return rc;
    rc = mst_gpu_clear(device->queue, memory, bytes);
    if (rc == 0)
        rc = device_wait(device);
    if (rc < 0)
        return mst_err_set(err, rc, "device: %s", device_error(device, rc));
    optimizer->params = memory;
    optimizer->grads = optimizer->params + count;
    for (size_t m = 0; m < OPTIMIZER_MOMENTS; m++)
        optimizer->moments[m] = optimizer->grads + (1 + m) * count;
    return 0;
}

const char *optimizer_moment(enum optimizer_kind kind, size_t moment)
{
    return moments[kind][moment];
}

static int step_sgd(const struct optimizer *optimizer, float scale, float lr)
{
    struct mst_gpu_sgd sgd = {.params = optimizer->params,
                              .momentum = optimizer->moments[0],
                              .grads = optimizer->grads,
                              .count = optimizer->count,
                              .grad_scale = scale,
                              .momentum_decay = 0.9F,
                              .lr = lr};
    return mst_gpu_sgd(optimizer->device->queue, &sgd);
}

static int step_adamw(const struct optimizer *optimizer, uint64_t step, float scale, float lr)
{
    struct mst_gpu_adamw adamw = {.params = optimizer->params,
                                  .means = optimizer->moments[0],
                                  .squares = optimizer->moments[1],
                                  .grads = optimizer->grads,
                                  .count = optimizer->count,
                                  .step = step,
                                  .grad_scale = scale,
                                  .lr = lr,
                                  .mean_decay = 0.9F,
                                  .square_decay = 0.999F,
                                  .epsilon = 1e-8F,
                                  .weight_decay = 0.01F};
    return mst_gpu_adamw(optimizer->device->queue, &adamw);
}

int optimizer_step(const struct optimizer *optimizer, uint64_t step, float scale, float lr)
{
    return optimizer->kind == OPTIMIZER_SGD ? step_sgd(optimizer, scale, lr)
                                            : step_adamw(optimizer, step, scale, lr);
}
