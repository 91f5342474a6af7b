/* The source of the loops. A file that defines REDUCE_TABLE, REDUCE_NAME and REDUCE_USABLE and
 * includes this becomes an instruction set: reduce_<isa>.c, compiled with that set's flags. There
 * are no intrinsics: the compiler vectorises, and the arithmetic stays the same everywhere. */
#include "muster/comm/reduce_isa.h"

#include <string.h>

/* The arrays of a loop are apart or the same, never shifted: an element depends on no other. */
#if defined(__clang__)
#define EACH(n) _Pragma("clang loop vectorize(assume_safety)") for (size_t j = 0; j < (n); j++)
#else
#define EACH(n) _Pragma("GCC ivdep") for (size_t j = 0; j < (n); j++)
#endif

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float widen_bf16(uint16_t half)
{
    return float_of((uint32_t)half << 16);
}

/* Integer arithmetic, because vcvtneps2bf16 flushes subnormals and other processors would not. */
static inline uint16_t narrow_bf16(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    uint32_t quiet = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

/* Moves exponent and fraction to binary32's places and corrects the bias by 112: twice for Inf and
 * NaN; for subnormals by subtracting the leading one that an exponent of 1 gives them. */
static inline float widen_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half & 0x7c00;
    uint32_t normal = ((uint32_t)(half & 0x7fff) << 13) + (112U << 23);
    uint32_t special = normal + (112U << 23);
    uint32_t subnormal = bits_of(float_of(normal + (1U << 23)) - 0x1p-14F);
    uint32_t bits = exponent == 0x7c00 ? special : normal;
    bits = exponent == 0 ? subnormal : bits;
    return float_of(bits | sign);
}

/* Normal results round by an integer addition whose carry runs into the exponent; subnormal ones by
 * adding 0.5, whose last place is that of a binary16 subnormal. */
static inline uint16_t narrow_f16(float value)
{
    uint32_t bits = bits_of(value) & 0x7fffffff;
    uint32_t sign = bits_of(value) >> 16 & 0x8000;
    uint32_t normal = (bits - (112U << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
    uint32_t subnormal = bits_of(float_of(bits) + 0.5F) - bits_of(0.5F);
    uint32_t half = bits < 113U << 23 ? subnormal : normal;
    half = bits >= 143U << 23 ? 0x7c00 : half;
    half = bits > 0x7f800000 ? 0x7e00 | (bits >> 13 & 0x3ff) : half;
    return (uint16_t)(half | sign);
}

/* Unsigned arithmetic wraps where signed arithmetic would be undefined. */
#define SUM(type, carrier, a, b) ((type)((carrier)(a) + (carrier)(b)))
/* The first NaN wins, then the smaller (larger), then the first. */
#define MIN(type, carrier, a, b) ((((a) != (a)) | ((a) <= (b))) ? (a) : (b))
#define MAX(type, carrier, a, b) ((((a) != (a)) | ((a) >= (b))) ? (a) : (b))

#define COMBINE(name, OP, type, carrier)                                                           \
    static void name(void *dst, const void *a, const void *b, size_t n)                            \
    {                                                                                              \
        type *to = dst;                                                                            \
        const type *x = a, *y = b;                                                                 \
        EACH(n)                                                                                    \
        to[j] = OP(type, carrier, x[j], y[j]);                                                     \
    }

#define COMBINES(tag, type, carrier)                                                               \
    COMBINE(sum_##tag, SUM, type, carrier)                                                         \
    COMBINE(min_##tag, MIN, type, carrier)                                                         \
    COMBINE(max_##tag, MAX, type, carrier)

/* Integers divide in 64 bits, towards zero. */
#define SCALE_INT(tag, type, wide)                                                                 \
    static void scale_##tag(void *dst, size_t n, uint32_t divisor)                                 \
    {                                                                                              \
        type *to = dst;                                                                            \
        for (size_t j = 0; j < n; j++)                                                             \
            to[j] = (type)((wide)to[j] / (wide)divisor);                                           \
    }

#define SCALE_FLOAT(tag, type)                                                                     \
    static void scale_##tag(void *dst, size_t n, uint32_t divisor)                                 \
    {                                                                                              \
        type *to = dst;                                                                            \
        const type factor = 1 / (type)divisor;                                                     \
        EACH(n)                                                                                    \
        to[j] = to[j] * factor;                                                                    \
    }

#define ACCUMULATE(name, OP, WIDEN)                                                                \
    static void name(float *dst, const uint16_t *in, size_t n)                                     \
    {                                                                                              \
        EACH(n)                                                                                    \
        {                                                                                          \
            float other = WIDEN(in[j]);                                                            \
            dst[j] = OP(float, float, dst[j], other);                                              \
        }                                                                                          \
    }

#define HALF(tag)                                                                                  \
    static void widen_all_##tag(float *dst, const uint16_t *in, size_t n)                          \
    {                                                                                              \
        EACH(n)                                                                                    \
        dst[j] = widen_##tag(in[j]);                                                               \
    }                                                                                              \
    static void narrow_all_##tag(uint16_t *dst, const float *in, size_t n)                         \
    {                                                                                              \
        EACH(n)                                                                                    \
        dst[j] = narrow_##tag(in[j]);                                                              \
    }                                                                                              \
    ACCUMULATE(sum_##tag, SUM, widen_##tag)                                                        \
    ACCUMULATE(min_##tag, MIN, widen_##tag)                                                        \
    ACCUMULATE(max_##tag, MAX, widen_##tag)

COMBINES(i8, int8_t, uint8_t)
COMBINES(u8, uint8_t, uint8_t)
COMBINES(i16, int16_t, uint16_t)
COMBINES(u16, uint16_t, uint16_t)
COMBINES(i32, int32_t, uint32_t)
COMBINES(u32, uint32_t, uint32_t)
COMBINES(i64, int64_t, uint64_t)
COMBINES(u64, uint64_t, uint64_t)
COMBINES(f32, float, float)
COMBINES(f64, double, double)

SCALE_INT(i8, int8_t, int64_t)
SCALE_INT(u8, uint8_t, uint64_t)
SCALE_INT(i16, int16_t, int64_t)
SCALE_INT(u16, uint16_t, uint64_t)
SCALE_INT(i32, int32_t, int64_t)
SCALE_INT(u32, uint32_t, uint64_t)
SCALE_INT(i64, int64_t, int64_t)
SCALE_INT(u64, uint64_t, uint64_t)
SCALE_FLOAT(f32, float)
SCALE_FLOAT(f64, double)

HALF(f16)
HALF(bf16)

/* clang-format off */
#define COMBINE_ROW(tag) {sum_##tag, min_##tag, max_##tag}
#define HALF_ROW(tag) {widen_all_##tag, narrow_all_##tag, {sum_##tag, min_##tag, max_##tag}}

const struct reduce_isa REDUCE_TABLE = {
    .name = REDUCE_NAME,
    .usable = REDUCE_USABLE,
    .combine = {
        [MST_I8] = COMBINE_ROW(i8), [MST_U8] = COMBINE_ROW(u8),
        [MST_I16] = COMBINE_ROW(i16), [MST_U16] = COMBINE_ROW(u16),
        [MST_I32] = COMBINE_ROW(i32), [MST_U32] = COMBINE_ROW(u32),
        [MST_I64] = COMBINE_ROW(i64), [MST_U64] = COMBINE_ROW(u64),
        [MST_F16] = COMBINE_ROW(f32), [MST_BF16] = COMBINE_ROW(f32),
        [MST_F32] = COMBINE_ROW(f32), [MST_F64] = COMBINE_ROW(f64),
    },
    .scale = {
        [MST_I8] = scale_i8, [MST_U8] = scale_u8, [MST_I16] = scale_i16, [MST_U16] = scale_u16,
        [MST_I32] = scale_i32, [MST_U32] = scale_u32, [MST_I64] = scale_i64, [MST_U64] = scale_u64,
        [MST_F16] = scale_f32, [MST_BF16] = scale_f32, [MST_F32] = scale_f32,
        [MST_F64] = scale_f64,
    },
    .half = {[MST_F16] = HALF_ROW(f16), [MST_BF16] = HALF_ROW(bf16)},
};
/* clang-format on */
