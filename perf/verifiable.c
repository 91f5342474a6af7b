/* Inputs that sum exactly, and their sums. */
#include "muster/perf/verifiable.h"

#include "muster/core/rng.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define AVERAGE_ULPS 2

/* What a type can hold: every whole number of units up to 2^bits, and four scales around one. */
struct range {
    uint32_t rank_count;
    int64_t step;  /* w[k] is in [0, step]: any partial sum of the ring is under 2^bits / 2 */
    int64_t share; /* t is in [-share, share] */
};

/* One element, as all ranks see it. */
struct element {
    uint64_t hash;
    uint32_t turn; /* rank r stands at place (r + turn) % rank_count of the ring */
    int64_t share;
    double scale; /* 1 for integers */
};

static unsigned exact_bits(enum mst_dtype dtype)
{
    switch (dtype) {
    case MST_BF16: return 8;
    case MST_F16: return 11;
    case MST_F32: return 24;
    case MST_F64: return 53;
    case MST_I64: return 62;
    default: assert(dtype == MST_I32); return 30;
    }
}

static struct range range_of(const struct verifiable *v)
{
    int64_t limit = INT64_C(1) << exact_bits(v->dtype);
    return (struct range){v->rank_count, limit / v->rank_count, limit / 2};
}

/* A number in [0, limit], limit < 2^62. */
static int64_t spread(uint64_t hash, int64_t limit)
{
    return (int64_t)(hash % ((uint64_t)limit + 1));
}

static struct element element_at(const struct verifiable *v, const struct range *range,
                                 size_t index)
{
    static const double scales[4] = {0.25, 0.5, 1.0, 2.0};
    uint64_t hash = mst_mix64(v->seed ^ mst_mix64(index));
    bool whole = v->dtype == MST_I32 || v->dtype == MST_I64;
    return (struct element){
        .hash = hash,
        .turn = (uint32_t)(hash >> 32) % range->rank_count,
        .share = spread(mst_mix64(hash), 2 * range->share) - range->share,
        .scale = whole ? 1.0 : scales[hash & 3],
    };
}

static int64_t ring_weight(const struct element *e, const struct range *range, uint32_t place)
{
    return spread(mst_mix64(e->hash + 1 + place % range->rank_count), range->step);
}

static int64_t input_units(const struct verifiable *v, const struct range *range,
                           const struct element *e, uint32_t rank)
{
    uint32_t place = (rank + e->turn) % range->rank_count;
    int64_t weight = ring_weight(e, range, place);
    if (v->op == MST_MIN || v->op == MST_MAX) {
        int64_t away = place == 0 ? 0 : weight / 2;
        return e->share / 2 + (v->op == MST_MIN ? away : -away);
    }
    int64_t sum_zero = weight - ring_weight(e, range, place + 1);
    return sum_zero + (place == 0 ? e->share : 0);
}

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* Cuts what binary16 cannot hold; |value| is 0 or within its normal range. */
static uint16_t half_bits(float value)
{
    uint32_t bits = float_bits(value);
    uint32_t sign = bits >> 16 & 0x8000;
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude == 0)
        return (uint16_t)sign;
    return (uint16_t)(sign | ((magnitude - ((127U - 15U) << 23)) >> 13));
}

static void store_float(enum mst_dtype dtype, double value, void *out)
{
    float single = (float)value;
    uint16_t bits = dtype == MST_F16 ? half_bits(single) : (uint16_t)(float_bits(single) >> 16);
    if (dtype == MST_F64)
        memcpy(out, &value, sizeof(value));
    else if (dtype == MST_F32)
        memcpy(out, &single, sizeof(single));
    else
        memcpy(out, &bits, sizeof(bits));
}

static void store_int(enum mst_dtype dtype, int64_t value, void *out)
{
    int32_t narrow = (int32_t)value;
    if (dtype == MST_I64)
        memcpy(out, &value, sizeof(value));
    else
        memcpy(out, &narrow, sizeof(narrow));
}

/* Stores units * scale / divisor: exactly where the type can, else rounded or, for the 16-bit types
 * and integers, cut. */
static void store(enum mst_dtype dtype, int64_t units, double scale, uint32_t divisor, void *out)
{
    if (dtype == MST_I32 || dtype == MST_I64)
        store_int(dtype, units / divisor, out);
    else
        store_float(dtype, (double)units * scale / divisor, out);
}

void verifiable_input(const struct verifiable *v, uint32_t rank, size_t first, void *out,
                      size_t count)
{
    struct range range = range_of(v);
    size_t elem_bytes = mst_dtype_size(v->dtype);
    for (size_t i = 0; i < count; i++) {
        struct element e = element_at(v, &range, first + i);
        store(v->dtype, input_units(v, &range, &e, rank), e.scale, 1, (char *)out + i * elem_bytes);
    }
}

static void store_result(const struct verifiable *v, const struct element *e, void *out)
{
    bool extreme = v->op == MST_MIN || v->op == MST_MAX;
    store(v->dtype, extreme ? e->share / 2 : e->share, e->scale,
          v->op == MST_AVG ? v->rank_count : 1, out);
}

/* The position of a float among all floats of its type: neighbours differ by one, both zeros are
 * 0. */
static int64_t ordinal(enum mst_dtype dtype, const void *value)
{
    unsigned bits = 8 * (unsigned)mst_dtype_size(dtype);
    uint64_t raw = 0;
    memcpy(&raw, value, bits / 8);
    uint64_t sign = UINT64_C(1) << (bits - 1);
    int64_t magnitude = (int64_t)(raw & (sign - 1));
    return raw & sign ? -magnitude : magnitude;
}

static bool is_wrong(const struct verifiable *v, const void *got, const void *expected)
{
    if (v->dtype == MST_I32 || v->dtype == MST_I64)
        return memcmp(got, expected, mst_dtype_size(v->dtype)) != 0;
    int64_t a = ordinal(v->dtype, got);
    int64_t b = ordinal(v->dtype, expected);
    uint64_t distance = a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
    return distance > (v->op == MST_AVG ? AVERAGE_ULPS : 0);
}

uint64_t verifiable_wrong(const struct verifiable *v, size_t first, const void *got, size_t count)
{
    struct range range = range_of(v);
    size_t elem_bytes = mst_dtype_size(v->dtype);
    uint64_t wrong_count = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned char expected[8];
        struct element e = element_at(v, &range, first + i);
        store_result(v, &e, expected);
        wrong_count += is_wrong(v, (const char *)got + i * elem_bytes, expected);
    }
    return wrong_count;
}
