/* The conformance cases and their reference. */
#include "comm_cases.h"

#include "comm_call.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_SIZE 4099
#define COUNT_MAX 100003

static const size_t counts[] = {0, 1, 2, 3, 7, 13, 14, 15, 1000, 4096, 16385, COUNT_MAX};
static const enum mst_dtype dtypes[] = {MST_I32, MST_I64, MST_F32, MST_F64, MST_BF16, MST_F16};
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the reference --------------------------------------------------------------------------- */

/* Rounds to a format of `fraction` bits and smallest exponent `emin`, to nearest even; the bits
 * without sign. Overflow goes to the exponent field's top by itself. */
static uint32_t round_to(double value, int fraction, int emin)
{
    if (value == 0)
        return 0;
    int exponent = ilogb(value) > emin ? ilogb(value) : emin;
    double units = nearbyint(ldexp(value, fraction - exponent));
    uint32_t bits = (uint32_t)units + ((uint32_t)(exponent - emin) << fraction);
    return bits;
}

static uint16_t to_half(double value, enum mst_dtype dtype)
{
    int fraction = dtype == MST_F16 ? 10 : 7, emin = dtype == MST_F16 ? -14 : -126;
    uint32_t inf = dtype == MST_F16 ? 0x7c00 : 0x7f80;
    uint32_t sign = signbit(value) ? 0x8000 : 0;
    if (isnan(value))
        return (uint16_t)(inf + 1);
    uint32_t bits = isinf(value) ? inf : round_to(fabs(value), fraction, emin);
    return (uint16_t)(sign | (bits < inf ? bits : inf));
}

static double from_half(uint16_t half, enum mst_dtype dtype)
{
    int fraction = dtype == MST_F16 ? 10 : 7, emin = dtype == MST_F16 ? -14 : -126;
    uint32_t bits = half & 0x7fff, inf = dtype == MST_F16 ? 0x7c00 : 0x7f80;
    double value = bits > inf ? NAN : INFINITY;
    if (bits < inf) {
        uint32_t exponent = bits >> fraction, mantissa = bits & ((1U << fraction) - 1);
        mantissa += exponent > 0 ? 1U << fraction : 0;
        value = ldexp(mantissa, (int)(exponent > 0 ? exponent - 1 : 0) + emin - fraction);
    }
    return half & 0x8000 ? -value : value;
}

/* The values of the test: ordinary ones, and every kind of special one. */
static double table_value(size_t index)
{
    static const double specials[] = {0.0, -0.0, 1e-41, -3e-8, 65504, -65504, 3e38, 1e-310};
    if (index % 97 == 0)
        return specials[index / 97 % COUNT_OF(specials)];
    if (index == 1111)
        return NAN;
    if (index == 2222 || index == 3333)
        return index == 2222 ? INFINITY : -INFINITY;
    return ((double)(index * 2654435761U % 200003) - 100001.0) / 1237.0;
}

static int64_t table_int(size_t index)
{
    return (int64_t)(index * UINT64_C(0x9e3779b97f4a7c15)) >> (index % 5 == 0 ? 0 : 30);
}

static union {
    int32_t i32[TABLE_SIZE];
    int64_t i64[TABLE_SIZE];
    float f32[TABLE_SIZE];
    double f64[TABLE_SIZE];
    uint16_t half[TABLE_SIZE];
} tables[MST_DTYPE_COUNT];

void cases_init(void)
{
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        tables[MST_I32].i32[i] = (int32_t)(uint32_t)table_int(i);
        tables[MST_I64].i64[i] = table_int(i);
        tables[MST_F32].f32[i] = (float)table_value(i);
        tables[MST_F64].f64[i] = table_value(i);
        tables[MST_F16].half[i] = to_half(table_value(i), MST_F16);
        tables[MST_BF16].half[i] = to_half(table_value(i), MST_BF16);
    }
}

static size_t input_index(uint32_t rank, size_t index)
{
    return (index * 7 + rank * 131U) % TABLE_SIZE;
}

static void fill_input(void *to, uint32_t rank, size_t first, size_t count, enum mst_dtype dtype)
{
    size_t size = mst_dtype_size(dtype);
    for (size_t i = 0; i < count; i++)
        memcpy((char *)to + i * size,
               (const char *)&tables[dtype] + input_index(rank, first + i) * size, size);
}

static int64_t int_of(enum mst_dtype dtype, size_t at)
{
    return dtype == MST_I32 ? tables[dtype].i32[at] : tables[dtype].i64[at];
}

static int64_t combine_int(enum mst_op op, int64_t a, int64_t b)
{
    if (op == MST_MIN)
        return b < a ? b : a;
    if (op == MST_MAX)
        return b > a ? b : a;
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static void expect_int(const struct cases_rank *rank, size_t index, enum mst_dtype dtype,
                       enum mst_op op, void *to)
{
    int64_t value = int_of(dtype, input_index(0, index));
    for (uint32_t r = 1; r < rank->size; r++)
        value = combine_int(op, value, int_of(dtype, input_index(r, index)));
    if (dtype == MST_I32)
        value = (int32_t)(uint32_t)(uint64_t)value; /* wraps */
    if (op == MST_AVG)
        value /= (int64_t)rank->size;
    if (dtype == MST_I32)
        *(int32_t *)to = (int32_t)value;
    else
        *(int64_t *)to = value;
}

/* In double: exact for f32 operands before the rounding to float. */
static double combine_float(enum mst_op op, enum mst_dtype dtype, double a, double b)
{
    if (op == MST_MIN || op == MST_MAX) {
        if (isnan(a) || isnan(b))
            return NAN;
        return (op == MST_MIN ? b < a : b > a) ? b : a;
    }
    return dtype == MST_F64 ? a + b : (double)((float)a + (float)b);
}

static double float_of(enum mst_dtype dtype, size_t at)
{
    switch (dtype) {
    case MST_F32: return (double)tables[dtype].f32[at];
    case MST_F64: return tables[dtype].f64[at];
    default: return from_half(tables[dtype].half[at], dtype);
    }
}

static uint32_t in_order(const struct cases_rank *rank, uint32_t place)
{
    return rank->order ? rank->order[place] : place;
}

/* Ranks of a node first, in their order, then nodes in theirs. */
static double fold_float(const struct cases_rank *rank, size_t index, enum mst_dtype dtype,
                         enum mst_op op)
{
    double total = 0;
    uint32_t next = 0;
    for (uint32_t n = 0; rank->node_sizes[n] > 0; n++) {
        double partial = float_of(dtype, input_index(in_order(rank, next++), index));
        for (uint32_t l = 1; l < rank->node_sizes[n]; l++)
            partial = combine_float(op, dtype, partial,
                                    float_of(dtype, input_index(in_order(rank, next++), index)));
        total = n == 0 ? partial : combine_float(op, dtype, total, partial);
    }
    return total;
}

static void expect_float(const struct cases_rank *rank, size_t index, enum mst_dtype dtype,
                         enum mst_op op, void *to)
{
    double value = fold_float(rank, index, dtype, op);
    if (op == MST_AVG && dtype == MST_F64)
        value *= 1.0 / rank->size;
    else if (op == MST_AVG)
        value = (double)((float)value * (1.0F / (float)rank->size));
    if (dtype == MST_F32)
        *(float *)to = (float)value;
    else if (dtype == MST_F64)
        *(double *)to = value;
    else
        *(uint16_t *)to = to_half(value, dtype);
}

static void expect(const struct cases_rank *rank, size_t count, enum mst_dtype dtype,
                   enum mst_op op, char *to)
{
    size_t size = mst_dtype_size(dtype);
    for (size_t i = 0; i < count; i++) {
        if (dtype == MST_I32 || dtype == MST_I64)
            expect_int(rank, i, dtype, op, to + i * size);
        else
            expect_float(rank, i, dtype, op, to + i * size);
    }
}

static bool is_nan_at(const void *at, enum mst_dtype dtype)
{
    switch (dtype) {
    case MST_F32: return isnan(*(const float *)at);
    case MST_F64: return isnan(*(const double *)at);
    case MST_F16:
    case MST_BF16: return isnan(from_half(*(const uint16_t *)at, dtype));
    default: return false;
    }
}

/* The first element that differs, or `count`; any NaN equals any other. */
static size_t first_wrong(const char *got, const char *expected, size_t count, enum mst_dtype dtype)
{
    size_t size = mst_dtype_size(dtype);
    for (size_t i = 0; i < count; i++) {
        const char *a = got + i * size, *b = expected + i * size;
        if (memcmp(a, b, size) != 0 && !(is_nan_at(a, dtype) && is_nan_at(b, dtype)))
            return i;
    }
    return count;
}

/* ---- the cases ------------------------------------------------------------------------------- */

#define CHECK(rank, condition, ...)                                                                \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)snprintf((rank)->fault, sizeof(rank)->fault, __VA_ARGS__);                       \
            return (rank)->fault;                                                                  \
        }                                                                                          \
    } while (0)

struct buffers {
    char *in, *out;
};

/* What the ranks together should get, in rank->expected. */
static void agree_expected(struct cases_rank *rank, size_t count, enum mst_dtype dtype,
                           enum mst_op op)
{
    bool shared = rank->together != NULL;
    if (shared)
        rank->together(rank->arg);
    if (!shared || rank->rank == 0)
        expect(rank, count, dtype, op, rank->expected);
    if (shared)
        rank->together(rank->arg);
}

/* Large counts take their turn with types and operators; small ones are tried with all. */
static bool is_tried(size_t count, enum mst_dtype dtype, enum mst_op op)
{
    return count <= 4096 || ((size_t)dtype + (size_t)op + count) % 4 == 0 ||
           (dtype == MST_F32 && op == MST_SUM);
}

static const char *try_allreduce(struct cases_rank *rank, struct buffers *b, size_t count,
                                 enum mst_dtype dtype, enum mst_op op)
{
    agree_expected(rank, count, dtype, op);
    for (int in_place = 0; in_place < 2; in_place++) {
        char *out = in_place ? b->in : b->out;
        fill_input(b->in, rank->rank, 0, count, dtype);
        int rc = mst_comm_allreduce(rank->comm, b->in, out, count, dtype, op, NULL);
        CHECK(rank, rc == 0, "allreduce: %d %s", rc, mst_comm_error(rank->comm));
        size_t wrong = first_wrong(out, rank->expected, count, dtype);
        CHECK(rank, wrong == count, "allreduce %s op %d count %zu in place %d: element %zu",
              mst_dtype_name(dtype), (int)op, count, in_place, wrong);
    }
    return NULL;
}

static const char *try_reduce_scatter(struct cases_rank *rank, struct buffers *b, size_t count,
                                      enum mst_dtype dtype, enum mst_op op)
{
    size_t total = count * rank->size;
    size_t at = rank->rank * count * mst_dtype_size(dtype);
    agree_expected(rank, total, dtype, op);
    for (int in_place = 0; in_place < 2; in_place++) {
        char *out = in_place ? b->in + at : b->out;
        fill_input(b->in, rank->rank, 0, total, dtype);
        int rc = mst_comm_reduce_scatter(rank->comm, b->in, out, count, dtype, op, NULL);
        CHECK(rank, rc == 0, "reduce_scatter: %d %s", rc, mst_comm_error(rank->comm));
        size_t wrong = first_wrong(out, rank->expected + at, count, dtype);
        CHECK(rank, wrong == count, "reduce_scatter %s op %d count %zu in place %d: element %zu",
              mst_dtype_name(dtype), (int)op, count, in_place, wrong);
    }
    return NULL;
}

static const char *try_allgather(struct cases_rank *rank, struct buffers *b, size_t count,
                                 enum mst_dtype dtype)
{
    size_t size = mst_dtype_size(dtype), at = rank->rank * count * size;
    for (int in_place = 0; in_place < 2; in_place++) {
        char *in = in_place ? b->out + at : b->in;
        memset(b->out, 0x5a, rank->size * count * size);
        fill_input(in, rank->rank, 0, count, dtype);
        int rc = mst_comm_allgather(rank->comm, in, b->out, count, dtype, NULL);
        CHECK(rank, rc == 0, "allgather: %d %s", rc, mst_comm_error(rank->comm));
        for (uint32_t r = 0; r < rank->size; r++) {
            fill_input(b->in, r, 0, count, dtype);
            CHECK(rank, memcmp(b->in, b->out + r * count * size, count * size) == 0,
                  "allgather %s count %zu in place %d: block %u", mst_dtype_name(dtype), count,
                  in_place, r);
        }
    }
    return NULL;
}

static const char *try_broadcast(struct cases_rank *rank, struct buffers *b, size_t count,
                                 enum mst_dtype dtype)
{
    for (uint32_t root = 0; root < rank->size; root++) {
        fill_input(b->in, root, 0, count, dtype);
        memset(b->out, 0x5a, count * mst_dtype_size(dtype));
        if (root == rank->rank)
            fill_input(b->out, root, 0, count, dtype);
        int rc = mst_comm_broadcast(rank->comm, b->out, count, dtype, root, NULL);
        CHECK(rank, rc == 0, "broadcast: %d %s", rc, mst_comm_error(rank->comm));
        CHECK(rank, memcmp(b->in, b->out, count * mst_dtype_size(dtype)) == 0,
              "broadcast %s count %zu root %u", mst_dtype_name(dtype), count, root);
    }
    return NULL;
}

static const char *try_count(struct cases_rank *rank, struct buffers *b, size_t count,
                             enum mst_dtype dtype)
{
    const char *fault = NULL;
    for (unsigned op = 0; op < MST_OP_COUNT && !fault; op++) {
        if (is_tried(count, dtype, (enum mst_op)op))
            fault = try_allreduce(rank, b, count, dtype, (enum mst_op)op);
        if (!fault && count < COUNT_MAX && is_tried(count, dtype, (enum mst_op)op))
            fault = try_reduce_scatter(rank, b, count, dtype, (enum mst_op)op);
    }
    if (!fault && is_tried(count, dtype, MST_SUM))
        fault = try_allgather(rank, b, count, dtype);
    if (!fault && is_tried(count, dtype, MST_SUM))
        fault = try_broadcast(rank, b, count, dtype);
    return fault;
}

/* Started ones are waited for in another order than they run in; a blocking one comes after
 * them. */
static const char *try_started(struct cases_rank *rank, struct buffers *b)
{
    enum { REQS = 6, COUNT = 5000 };
    struct mst_req *reqs[REQS];
    float *in = (float *)(void *)b->in, *out = (float *)(void *)b->out, last = 1;
    for (size_t i = 0; i < (size_t)REQS * COUNT; i++)
        in[i] = (float)(rank->rank + i % 100);
    for (size_t i = 0; i < REQS; i++) {
        int rc = mst_comm_allreduce(rank->comm, in + i * COUNT, out + i * COUNT, COUNT, MST_F32,
                                    MST_SUM, STARTED(&reqs[i]));
        CHECK(rank, rc == 0, "start %zu: %d %s", i, rc, mst_comm_error(rank->comm));
    }
    CHECK(rank, mst_comm_allreduce(rank->comm, &last, &last, 1, MST_F32, MST_SUM, NULL) == 0,
          "blocking: %s", mst_comm_error(rank->comm));
    CHECK(rank, last == (float)rank->size, "blocking after started");
    for (size_t i = REQS; i-- > 0;)
        CHECK(rank, mst_req_wait(reqs[i]) == 0, "wait %zu: %s", i, mst_comm_error(rank->comm));
    for (size_t i = 0; i < (size_t)REQS * COUNT; i++) {
        size_t sum = rank->size * (rank->size - 1) / 2 + rank->size * (i % 100);
        CHECK(rank, out[i] == (float)sum, "started: element %zu", i);
    }
    return NULL;
}

size_t cases_bytes(uint32_t size)
{
    return (size_t)COUNT_MAX * sizeof(double) * size;
}

const char *cases_run(struct cases_rank *rank)
{
    size_t bytes = cases_bytes(rank->size);
    struct buffers b = {.in = malloc(bytes), .out = malloc(bytes)};
    const char *fault = b.in && b.out ? NULL : "no memory";
    for (size_t t = 0; t < COUNT_OF(dtypes) && !fault; t++)
        for (size_t n = 0; n < COUNT_OF(counts) && !fault; n++)
            fault = try_count(rank, &b, counts[n], dtypes[t]);
    if (!fault)
        fault = try_started(rank, &b);
    if (!fault && mst_comm_barrier(rank->comm, NULL) != 0)
        fault = mst_comm_error(rank->comm);
    free(b.in);
    free(b.out);
    return fault;
}
