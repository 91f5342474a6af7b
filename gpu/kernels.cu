/* The kernels, in the part of C that nvcc and a C compiler share: nvcc builds them for the device,
 * kernels_host.c for the host, and the tests run the latter with any shape of a launch.
 *
 * Each element is touched by one thread, whatever the number of blocks, and threads share nothing
 * but the sums that they add to. All are bound by memory: the conversions are integer code and not the device's
 * instructions, so that every device and the host give the same bits. */
#include "muster/gpu/kernels.h"

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void
#define INLINE static __device__ __forceinline__
#define ARGS const __grid_constant__
#define AS_F32(bits) __uint_as_float(bits)
#define AS_BITS(value) __float_as_uint(value)
#define SQUARE_ROOT(value) __fsqrt_rn(value)
#define XOR_INTO(address, value) (void)atomicXor(address, value)
#define CONSTANT static __constant__ const
#define UNROLLED _Pragma("unroll")
#endif

/* What a thread moves at once where the addresses allow it. */
struct __attribute__((aligned(16), may_alias)) word16 {
    uint32_t words[4];
};

struct __attribute__((aligned(8), may_alias)) word8 {
    uint32_t words[2];
};

typedef uint32_t __attribute__((may_alias)) word4;

/* ---- conversions ----------------------------------------------------------------------------- */

/* A binary format below f32, with subnormals: its greatest number is followed by `over`. */
struct format {
    uint32_t sign;     /* its bit */
    uint32_t fraction; /* bits of it */
    uint32_t bias;     /* of the exponent */
    uint32_t greatest, over, nan;
};

#define FORMAT_F16 ((struct format){0x8000, 10, 15, 0x7bff, 0x7c00, 0x7e00})
#define FORMAT_F8E5M2 ((struct format){0x80, 2, 15, 0x7b, 0x7c, 0x7e})
#define FORMAT_F8E4M3 ((struct format){0x80, 3, 7, 0x7e, 0x7f, 0x7f})

/* Drops the low `shift` bits (1 … 31), to nearest even. */
INLINE uint32_t round_off(uint32_t value, uint32_t shift)
{
    uint32_t half = 1U << (shift - 1), even = value >> shift & 1;
    return (value + half - 1 + even) >> shift;
}

INLINE uint32_t bf16_of(float value)
{
    uint32_t bits = AS_BITS(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return bits >> 16 | 0x40; /* a NaN, whose fraction must not become 0 */
    return round_off(bits, 16);
}

/* `size` is that of a finite f32 or infinity. */
INLINE uint32_t narrow_size(uint32_t size, struct format to)
{
    uint32_t exponent = size >> 23, drop = 23 - to.fraction, normal = 128 - to.bias;
    if (exponent >= normal) {
        uint32_t code = round_off(size - ((127 - to.bias) << 23), drop);
        return code > to.greatest ? to.over : code;
    }
    uint32_t shift = drop + normal - exponent;
    return shift > 24 ? 0 : round_off((size & 0x7fffff) | 0x800000, shift);
}

INLINE uint32_t narrow(float value, struct format to)
{
    uint32_t bits = AS_BITS(value), size = bits & 0x7fffffff;
    uint32_t code = size > 0x7f800000 ? to.nan : narrow_size(size, to);
    return code | (bits >> 31 ? to.sign : 0);
}

INLINE float widen(uint32_t code, struct format from)
{
    uint32_t size = code & (from.sign - 1), sign = code & from.sign ? 0x80000000 : 0;
    if (size > from.over || size == from.nan)
        return AS_F32(sign | 0x7fc00000);
    if (size == from.over)
        return AS_F32(sign | 0x7f800000);
    if (size >> from.fraction)
        return AS_F32(sign | ((size << (23 - from.fraction)) + ((127 - from.bias) << 23)));
    /* A subnormal: its unit is a power of two, and the product exact. */
    float magnitude = (float)size * AS_F32((128 - from.bias - from.fraction) << 23);
    return AS_F32(sign | AS_BITS(magnitude));
}

INLINE uint32_t encode(float value, enum kernel_type type)
{
    switch (type) {
    case KERNEL_F32: return AS_BITS(value);
    case KERNEL_F16: return narrow(value, FORMAT_F16);
    case KERNEL_BF16: return bf16_of(value);
    case KERNEL_F8E4M3: return narrow(value, FORMAT_F8E4M3);
    default: return narrow(value, FORMAT_F8E5M2);
    }
}

INLINE float decode(uint32_t code, enum kernel_type type)
{
    switch (type) {
    case KERNEL_F32: return AS_F32(code);
    case KERNEL_F16: return widen(code, FORMAT_F16);
    case KERNEL_BF16: return AS_F32(code << 16);
    case KERNEL_F8E4M3: return widen(code, FORMAT_F8E4M3);
    default: return widen(code, FORMAT_F8E5M2);
    }
}

/* ---- elements -------------------------------------------------------------------------------- */

INLINE uint32_t size_of(enum kernel_type type)
{
    return type == KERNEL_F32 ? 4 : type == KERNEL_F16 || type == KERNEL_BF16 ? 2 : 1;
}

INLINE float load(const void *in, enum kernel_type type, size_t i)
{
    switch (size_of(type)) {
    case 4: return decode(((const word4 *)in)[i], type);
    case 2: return decode(((const uint16_t *)in)[i], type);
    default: return decode(((const uint8_t *)in)[i], type);
    }
}

INLINE void store(void *out, enum kernel_type type, size_t i, float value)
{
    uint32_t code = encode(value, type);
    switch (size_of(type)) {
    case 4: ((word4 *)out)[i] = code; break;
    case 2: ((uint16_t *)out)[i] = (uint16_t)code; break;
    default: ((uint8_t *)out)[i] = (uint8_t)code; break;
    }
}

/* Four neighbours, which one access moves. */
#define QUAD 4

struct quad {
    float values[QUAD];
};

/* Their codes as they lie in memory, in the first words. */
INLINE struct word16 load_codes(const void *in, enum kernel_type type, size_t quad)
{
    struct word16 codes = {{0, 0, 0, 0}};
    if (size_of(type) == 4) {
        codes = ((const struct word16 *)in)[quad];
    } else if (size_of(type) == 2) {
        struct word8 pair = ((const struct word8 *)in)[quad];
        codes.words[0] = pair.words[0];
        codes.words[1] = pair.words[1];
    } else {
        codes.words[0] = ((const word4 *)in)[quad];
    }
    return codes;
}

INLINE struct quad decode_quad(struct word16 codes, enum kernel_type type)
{
    const uint32_t *words = codes.words;
    struct quad quad;
    for (uint32_t k = 0; k < QUAD; k++) {
        uint32_t code = size_of(type) == 4   ? words[k]
                        : size_of(type) == 2 ? words[k / 2] >> 16 * (k % 2) & 0xffff
                                             : words[0] >> 8 * k & 0xff;
        quad.values[k] = decode(code, type);
    }
    return quad;
}

INLINE struct quad load_quad(const void *in, enum kernel_type type, size_t quad)
{
    return decode_quad(load_codes(in, type, quad), type);
}

INLINE void store_quad(void *out, enum kernel_type type, size_t quad, struct quad from)
{
    uint32_t codes[QUAD];
    for (uint32_t k = 0; k < QUAD; k++)
        codes[k] = encode(from.values[k], type);
    if (size_of(type) == 4)
        ((struct word16 *)out)[quad] = (struct word16){{codes[0], codes[1], codes[2], codes[3]}};
    else if (size_of(type) == 2)
        ((struct word8 *)out)[quad] = (struct word8){
            {codes[0] | codes[1] << 16, codes[2] | codes[3] << 16}};
    else
        ((word4 *)out)[quad] = codes[0] | codes[1] << 8 | codes[2] << 16 | codes[3] << 24;
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

/* How many quads a thread may take of `count` elements at addresses whose bits are or-ed here. */
INLINE size_t quad_count(size_t count, uintptr_t addresses, enum kernel_type type)
{
    return addresses % (QUAD * size_of(type)) == 0 ? count / QUAD : 0;
}

/* How many accesses a thread has under way before it uses the first. */
#define DEPTH 4

KERNEL mst_kernel_cast(ARGS struct kernel_cast args)
{
    size_t stride = item_stride(), quads = quad_count(args.count, (uintptr_t)args.in, args.in_type);
    quads = quad_count(args.count, (uintptr_t)args.out, args.out_type) ? quads : 0;
    for (size_t at = first_item(); at < quads; at += DEPTH * stride) {
        struct word16 codes[DEPTH];
        UNROLLED for (size_t k = 0; k < DEPTH; k++)
        {
            if (at + k * stride < quads)
                codes[k] = load_codes(args.in, args.in_type, at + k * stride);
        }
        UNROLLED for (size_t k = 0; k < DEPTH; k++)
        {
            if (at + k * stride < quads)
                store_quad(args.out, args.out_type, at + k * stride,
                           decode_quad(codes[k], args.in_type));
        }
    }
    for (size_t i = quads * QUAD + first_item(); i < args.count; i += item_stride())
        store(args.out, args.out_type, i, load(args.in, args.in_type, i));
}

INLINE uintptr_t inputs_of(const struct kernel_sum *args)
{
    uintptr_t addresses = (uintptr_t)args->out;
    for (uint32_t n = 0; n < args->in_count; n++)
        addresses |= (uintptr_t)args->in[n];
    return addresses;
}

KERNEL mst_kernel_sum(ARGS struct kernel_sum args)
{
    size_t quads = quad_count(args.count, inputs_of(&args), args.type);
    for (size_t q = first_item(); q < quads; q += item_stride()) {
        struct quad sum = load_quad(args.in[0], args.type, q);
        for (uint32_t n = 1; n < args.in_count; n++) {
            struct quad next = load_quad(args.in[n], args.type, q);
            for (uint32_t k = 0; k < QUAD; k++)
                sum.values[k] += next.values[k];
        }
        store_quad(args.out, args.type, q, sum);
    }
    for (size_t i = quads * QUAD + first_item(); i < args.count; i += item_stride()) {
        float sum = load(args.in[0], args.type, i);
        for (uint32_t n = 1; n < args.in_count; n++)
            sum += load(args.in[n], args.type, i);
        store(args.out, args.type, i, sum);
    }
}

/* ---- optimisers ------------------------------------------------------------------------------ */

INLINE void step_sgd(float *param, float *momentum, float grad, const struct kernel_sgd *args)
{
    *momentum = args->momentum_decay * *momentum + args->grad_scale * grad;
    *param -= args->lr * *momentum;
}

KERNEL mst_kernel_sgd(ARGS struct kernel_sgd args)
{
    uintptr_t addresses = (uintptr_t)args.params | (uintptr_t)args.momentum | (uintptr_t)args.grads;
    size_t quads = quad_count(args.count, addresses, KERNEL_F32);
    for (size_t q = first_item(); q < quads; q += item_stride()) {
        struct quad params = load_quad(args.params, KERNEL_F32, q);
        struct quad momentum = load_quad(args.momentum, KERNEL_F32, q);
        struct quad grads = load_quad(args.grads, KERNEL_F32, q);
        for (uint32_t k = 0; k < QUAD; k++)
            step_sgd(&params.values[k], &momentum.values[k], grads.values[k], &args);
        store_quad(args.momentum, KERNEL_F32, q, momentum);
        store_quad(args.params, KERNEL_F32, q, params);
    }
    for (size_t i = quads * QUAD + first_item(); i < args.count; i += item_stride())
        step_sgd(&args.params[i], &args.momentum[i], args.grads[i], &args);
}

/* Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2, in
 * the order of operations that PyTorch's has. */
INLINE void step_adamw(float *param, float *mean, float *square, float grad,
                       const struct kernel_adamw *args)
{
    float scaled = args->grad_scale * grad;
    *mean += args->mean_blend * (scaled - *mean);
    *square = args->square_decay * *square + args->square_blend * (scaled * scaled);
    float root = SQUARE_ROOT(*square) / args->square_bias_root + args->epsilon;
    *param = args->param_decay * *param - args->step_size * (*mean / root);
}

KERNEL mst_kernel_adamw(ARGS struct kernel_adamw args)
{
    uintptr_t addresses = (uintptr_t)args.params | (uintptr_t)args.means | (uintptr_t)args.squares |
                          (uintptr_t)args.grads;
    size_t quads = quad_count(args.count, addresses, KERNEL_F32);
    for (size_t q = first_item(); q < quads; q += item_stride()) {
        struct quad params = load_quad(args.params, KERNEL_F32, q);
        struct quad means = load_quad(args.means, KERNEL_F32, q);
        struct quad squares = load_quad(args.squares, KERNEL_F32, q);
        struct quad grads = load_quad(args.grads, KERNEL_F32, q);
        for (uint32_t k = 0; k < QUAD; k++)
            step_adamw(&params.values[k], &means.values[k], &squares.values[k], grads.values[k],
                       &args);
        store_quad(args.means, KERNEL_F32, q, means);
        store_quad(args.squares, KERNEL_F32, q, squares);
        store_quad(args.params, KERNEL_F32, q, params);
    }
    for (size_t i = quads * QUAD + first_item(); i < args.count; i += item_stride())
        step_adamw(&args.params[i], &args.means[i], &args.squares[i], args.grads[i], &args);
}

/* ---- checksums ------------------------------------------------------------------------------- */

/* A CRC is a remainder modulo a polynomial over GF(2), bit 31 the coefficient of x^0. A lane takes
 * every KERNEL_CRC_LANES-th word of a segment, so that neighbours read neighbouring words, and
 * moves its remainder on by a row at each; then it moves it to where its block ends, and adds it to
 * the block's. Tables would be faster on a host: on a device a word's 100 integer operations are
 * hidden behind memory.
 * Source: multiplication as in zlib's crc32_combine; lanes as in V. Gopal et al., "Fast CRC
 * Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011. */
#define CRC32C_POLYNOMIAL 0x82f63b78U
#define CRC32C_ONE 0x80000000U
#define CRC32C_ROW 0xe4172b16U /* x^(8 * bytes of a row) */

/* x^(8 * 2^i) */
CONSTANT uint32_t crc_squares[32] = {
    0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
    0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
    0xfe7740e6, 0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915, 0x734d5309, 0xbc1ac763, 0x7d0722cc,
    0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42, 0x40000000, 0x20000000, 0x08000000, 0x00800000,
};

/* left * right. Where `right` is known, only the products are left of the loop. */
INLINE uint32_t crc_multiply(uint32_t left, uint32_t right)
{
    uint32_t product = 0;
    UNROLLED for (uint32_t bit = 0; bit < 32; bit++)
    {
        product ^= right & (0U - (left >> (31 - bit) & 1));
        right = right >> 1 ^ (CRC32C_POLYNOMIAL & (0U - (right & 1)));
    }
    return product;
}

/* Moves a remainder `bytes` further from the end. */
INLINE uint32_t crc_shift(uint32_t remainder, uint32_t bytes)
{
    for (uint32_t bit = 0; bytes >> bit != 0 && bit < 32; bit++)
        if (bytes >> bit & 1)
            remainder = crc_multiply(remainder, crc_squares[bit]);
    return remainder;
}

/* Of a block, which zeros before its first byte fill to whole segments: those change no
 * remainder. */
struct segment {
    const char *block;
    uint32_t block_bytes;
    uint32_t zeros; /* before the block, as if it began with them */
    uint32_t at;    /* the segment's place behind the first of them */
};

INLINE struct segment find_segment(const struct kernel_crc32c *args, size_t block, uint32_t index)
{
    size_t at = block * args->block_bytes, left = args->bytes - at;
    uint32_t bytes = left < args->block_bytes ? (uint32_t)left : args->block_bytes;
    return (struct segment){.block = args->data + at,
                            .block_bytes = bytes,
                            .zeros = (0U - bytes) % KERNEL_CRC_BYTES,
                            .at = index * KERNEL_CRC_BYTES};
}

INLINE uint32_t segment_word(struct segment segment, uint32_t offset)
{
    uint32_t at = segment.at + offset, zeros = segment.zeros;
    const char *next = segment.block + at - zeros;
    if (at >= zeros && (uintptr_t)next % 4 == 0)
        return *(const word4 *)next;
    uint32_t word = 0;
    for (uint32_t k = 0; k < 4; k++)
        if (at + k >= zeros)
            word |= (uint32_t)(unsigned char)next[k] << 8 * k;
    return word;
}

INLINE uint32_t lane_remainder(struct segment segment, uint32_t lane)
{
    const uint32_t row_bytes = 4 * KERNEL_CRC_LANES;
    uint32_t state = segment_word(segment, 4 * lane);
    for (uint32_t row = 1; row < KERNEL_CRC_ROWS; row++)
        state = crc_multiply(state, CRC32C_ROW) ^ segment_word(segment, row * row_bytes + 4 * lane);
    uint32_t end = segment.block_bytes + segment.zeros;
    return crc_shift(state, end - segment.at - KERNEL_CRC_BYTES + row_bytes - 4 * lane);
}

/* What starting from ones, and inverting at the end, add to a block's remainder. */
INLINE uint32_t inversions(struct segment segment)
{
    return ~crc_shift(0xffffffff, segment.block_bytes);
}

KERNEL mst_kernel_crc32c(ARGS struct kernel_crc32c args)
{
    size_t blocks = (args.bytes + args.block_bytes - 1) / args.block_bytes;
    uint32_t segments = args.block_bytes / KERNEL_CRC_BYTES;
    for (size_t i = first_item(); i < blocks * segments * KERNEL_CRC_LANES; i += item_stride()) {
        uint32_t lane = (uint32_t)(i % KERNEL_CRC_LANES);
        size_t block = i / KERNEL_CRC_LANES / segments;
        struct segment segment = find_segment(&args, block,
                                              (uint32_t)(i / KERNEL_CRC_LANES % segments));
        if (segment.at >= segment.block_bytes + segment.zeros)
            continue;
        uint32_t sum = lane_remainder(segment, lane);
        if (segment.at == 0 && lane == 0)
            sum ^= inversions(segment);
        XOR_INTO(&args.sums[block], sum);
    }
}
