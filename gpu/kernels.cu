/* The kernels, in the part of C that nvcc and a C compiler share: nvcc builds them for the device,
 * kernels_host.c for the host, and the tests run the latter with any shape of a launch.
 *
 * Each element is touched by one thread, whatever the number of blocks, and nothing is shared
 * between threads. All are bound by memory: the conversions are integer code and not the device's
 * instructions, so that every device and the host give the same bits. */
#include "muster/gpu/kernels.h"

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void
#define INLINE static __device__ __forceinline__
#define ARGS const __grid_constant__
#define AS_F32(bits) __uint_as_float(bits)
#define AS_BITS(value) __float_as_uint(value)
#endif

/* What a thread moves at once where the addresses allow it. */
struct __attribute__((aligned(16))) word16 {
    uint32_t words[4];
};

/* ---- conversions ----------------------------------------------------------------------------- */

/* Drops the low `shift` bits (1 … 31), to nearest even. */
INLINE uint32_t round_off(uint32_t value, uint32_t shift)
{
    uint32_t half = 1U << (shift - 1), even = value >> shift & 1;
    return (value + half - 1 + even) >> shift;
}

INLINE uint16_t bf16_of(float value)
{
    uint32_t bits = AS_BITS(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* a NaN, whose fraction must not become 0 */
    return (uint16_t)round_off(bits, 16);
}

INLINE uint16_t f16_of(float value)
{
    uint32_t bits = AS_BITS(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x1ff));
    if (size >= 0x477ff000) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (size >= 0x38800000) /* 2^-14: normal; the exponent's bias goes from 127 to 15 */
        return (uint16_t)(sign | round_off(size - (112U << 23), 13));
    if (size < 0x33000000) /* below half of the smallest, 2^-24 */
        return (uint16_t)sign;
    return (uint16_t)(sign | round_off((size & 0x7fffff) | 0x800000, 126 - (size >> 23)));
}

INLINE float f32_of_bf16(uint16_t half)
{
    return AS_F32((uint32_t)half << 16);
}

INLINE float f32_of_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, size = half & 0x7fff;
    if (size >= 0x7c00) /* infinity and NaN */
        return AS_F32(sign | 0x7f800000 | (size & 0x3ff) << 13);
    if (size >= 0x400)
        return AS_F32(sign | ((size << 13) + (112U << 23)));
    float magnitude = (float)size * 0x1p-24F; /* exact */
    return AS_F32(sign | AS_BITS(magnitude));
}

INLINE float load(const void *in, enum kernel_type type, size_t i)
{
    if (type == KERNEL_F32)
        return ((const float *)in)[i];
    uint16_t half = ((const uint16_t *)in)[i];
    return type == KERNEL_F16 ? f32_of_f16(half) : f32_of_bf16(half);
}

INLINE void store(void *out, enum kernel_type type, size_t i, float value)
{
    if (type == KERNEL_F32)
        ((float *)out)[i] = value;
    else
        ((uint16_t *)out)[i] = type == KERNEL_F16 ? f16_of(value) : bf16_of(value);
}

/* ---- kernels --------------------------------------------------------------------------------- */

INLINE size_t first_item(void)
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

INLINE size_t item_stride(void)
{
    return (size_t)gridDim.x * blockDim.x;
}

INLINE void copy_part(char *to, const char *from, size_t bytes)
{
    size_t wide = ((uintptr_t)to | (uintptr_t)from) % 16 == 0 ? bytes / 16 : 0;
    for (size_t i = first_item(); i < wide; i += item_stride())
        ((struct word16 *)to)[i] = ((const struct word16 *)from)[i];
    for (size_t i = wide * 16 + first_item(); i < bytes; i += item_stride())
        to[i] = from[i];
}

KERNEL mst_kernel_pack(ARGS struct kernel_parts args)
{
    for (uint32_t p = blockIdx.y; p < args.part_count; p += gridDim.y)
        copy_part(args.packed + args.parts[p].packed_at, args.parts[p].data, args.parts[p].bytes);
}

KERNEL mst_kernel_unpack(ARGS struct kernel_parts args)
{
    for (uint32_t p = blockIdx.y; p < args.part_count; p += gridDim.y)
        copy_part(args.parts[p].data, args.packed + args.parts[p].packed_at, args.parts[p].bytes);
}

KERNEL mst_kernel_cast(ARGS struct kernel_cast args)
{
    for (size_t i = first_item(); i < args.count; i += item_stride())
        store(args.out, args.out_type, i, load(args.in, args.in_type, i));
}

KERNEL mst_kernel_sum(ARGS struct kernel_sum args)
{
    for (size_t i = first_item(); i < args.count; i += item_stride()) {
        float sum = load(args.in[0], args.type, i);
        for (uint32_t n = 1; n < args.in_count; n++)
            sum += load(args.in[n], args.type, i);
        store(args.out, args.type, i, sum);
    }
}
