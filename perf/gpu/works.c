#include "muster/perf/gpu/works.h"

#define BLOCK_BYTES (16 * MST_GPU_CRC_BYTES)

#define CASTS(name, dtype)                                                                         \
    static int to_##name(struct rig *rig, const struct works_view *view)                           \
    {                                                                                              \
        return mst_gpu_cast(rig->queue, view->at[1], dtype, view->at[0], MST_F32, view->count);    \
    }                                                                                              \
    static int from_##name(struct rig *rig, const struct works_view *view)                         \
    {                                                                                              \
        return mst_gpu_cast(rig->queue, view->at[1], MST_F32, view->at[0], dtype, view->count);    \
    }
CASTS(bf16, MST_BF16)
CASTS(f16, MST_F16)
CASTS(f8e4m3, MST_F8E4M3)
CASTS(f8e5m2, MST_F8E5M2)

static int sum_of_two(struct rig *rig, const struct works_view *view, enum mst_dtype dtype)
{
    const void *in[] = {view->at[0], view->at[1]};
    return mst_gpu_sum(rig->queue, view->at[2], in, 2, dtype, view->count);
}

static int sum_f32(struct rig *rig, const struct works_view *view)
{
    return sum_of_two(rig, view, MST_F32);
}

static int sum_bf16(struct rig *rig, const struct works_view *view)
{
    return sum_of_two(rig, view, MST_BF16);
}

/* Both halves of three buffers. */
static int sum_of_six(struct rig *rig, const struct works_view *view)
{
    const void *in[6];
    size_t half = view->count / 2;
    for (size_t n = 0; n < 6; n++)
        in[n] = view->at[n / 2] + n % 2 * half * sizeof(float);
    return mst_gpu_sum(rig->queue, view->at[3], in, 6, MST_F32, half);
}

static int sgd(struct rig *rig, const struct works_view *view)
{
    struct mst_gpu_sgd step = {.params = (float *)(void *)view->at[0],
                               .momentum = (float *)(void *)view->at[1],
                               .grads = (float *)(void *)view->at[2],
                               .count = view->count,
                               .grad_scale = 0.125F,
                               .momentum_decay = 0.9F,
                               .lr = 0.01F};
    return mst_gpu_sgd(rig->queue, &step);
}

static int adamw(struct rig *rig, const struct works_view *view)
{
    struct mst_gpu_adamw step = {.params = (float *)(void *)view->at[0],
                                 .means = (float *)(void *)view->at[1],
                                 .squares = (float *)(void *)view->at[2],
                                 .grads = (float *)(void *)view->at[3],
                                 .count = view->count,
                                 .step = 7,
                                 .grad_scale = 0.125F,
                                 .lr = 0.001F,
                                 .mean_decay = 0.9F,
                                 .square_decay = 0.999F,
                                 .epsilon = 1e-8F,
                                 .weight_decay = 0.01F};
    return mst_gpu_adamw(rig->queue, &step);
}

static int crc32c(struct rig *rig, const struct works_view *view)
{
    uint32_t *sums = (uint32_t *)(void *)view->at[1];
    return mst_gpu_crc32c(rig->queue, sums, view->at[0], view->count * sizeof(float), BLOCK_BYTES);
}

#define FLOATS                                                                                     \
    {                                                                                              \
        MST_F32, MST_F32, MST_F32, MST_F32                                                         \
    }
#define SECOND(dtype)                                                                              \
    {                                                                                              \
        MST_F32, dtype, MST_F32, MST_F32                                                           \
    }
#define THIRD(dtype)                                                                               \
    {                                                                                              \
        MST_F32, MST_F32, dtype, MST_F32                                                           \
    }

const struct work works[] = {
    {"cast f32 to bf16", to_bf16, SECOND(MST_BF16), 6, false},
    {"cast f32 to f16", to_f16, SECOND(MST_F16), 6, false},
    {"cast f32 to f8e4m3", to_f8e4m3, SECOND(MST_F8E4M3), 5, false},
    {"cast f32 to f8e5m2", to_f8e5m2, SECOND(MST_F8E5M2), 5, false},
    {"cast bf16 to f32", from_bf16, FLOATS, 6, false},
    {"cast f16 to f32", from_f16, FLOATS, 6, false},
    {"cast f8e4m3 to f32", from_f8e4m3, FLOATS, 5, false},
    {"cast f8e5m2 to f32", from_f8e5m2, FLOATS, 5, false},
    {"sum of 2 f32", sum_f32, FLOATS, 12, false},
    {"sum of 2 bf16", sum_bf16, THIRD(MST_BF16), 6, false},
    {"sum of 6 f32", sum_of_six, FLOATS, 14, false},
    {"SGD", sgd, FLOATS, 20, false},
    {"AdamW", adamw, FLOATS, 28, false},
    {"CRC-32C", crc32c, SECOND(MST_U32), 4, true},
};

const size_t works_count = sizeof works / sizeof works[0];
