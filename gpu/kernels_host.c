/* kernels.cu for a C compiler: CUDA's words redefined, and a launch as loops. */
#include "muster/gpu/kernels_host.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct place {
    uint32_t x;
};

/* Where this thread is in the launch that it runs. */
static _Thread_local struct place threadIdx, blockIdx, blockDim, gridDim;

static inline float as_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t as_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

#define KERNEL static void
#define INLINE static inline
#define ARGS const
#define AS_F32(bits) as_f32(bits)
#define AS_BITS(value) as_bits(value)
#define SQUARE_ROOT(value) sqrtf(value)
#define XOR_INTO(address, value) (*(address) ^= (value))
#define CONSTANT static const
#define UNROLLED

#include "muster/gpu/kernels.cu"

static void run_thread(const struct kernel_launch *launch)
{
    switch (launch->id) {
    case KERNEL_CAST: mst_kernel_cast(launch->args.cast); break;
    case KERNEL_SUM: mst_kernel_sum(launch->args.sum); break;
    case KERNEL_SGD: mst_kernel_sgd(launch->args.sgd); break;
    case KERNEL_ADAMW: mst_kernel_adamw(launch->args.adamw); break;
    default:
        assert(launch->id == KERNEL_CRC32C);
        mst_kernel_crc32c(launch->args.crc32c);
        break;
    }
}

void kernels_run(const struct kernel_launch *launch, uint32_t threads)
{
    blockDim = (struct place){threads};
    gridDim = (struct place){launch->blocks};
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
            run_thread(launch);
}
