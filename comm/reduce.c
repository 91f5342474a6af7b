/* The fold over streams, and the choice of an instruction set. The loops themselves, and those of
 * the portable set, come from reduce_loops.h. */
#include "muster/comm/reduce.h"

#include "muster/core/least.h"

#include <assert.h>
#include <string.h>

static bool always(void)
{
    return true;
}

#define REDUCE_TABLE reduce_portable
#define REDUCE_NAME "portable"
#define REDUCE_USABLE always
#include "muster/comm/reduce_loops.h"

#define BLOCK_ELEMS 512 /* folded at a time, so that intermediate sums stay in L1 */

const struct reduce_isa *const reduce_isas[] = {
#if defined(__x86_64__)
    &reduce_avx512,
    &reduce_avx2,
#endif
    &reduce_portable,
    NULL,
};

const struct reduce_isa *reduce_best(void)
{
    const struct reduce_isa *const *isa = reduce_isas;
    while (isa[1] && !(*isa)->usable()) /* the last one is usable everywhere */
        isa++;
    return *isa;
}

const char *reduce_isa_name(const struct reduce_isa *isa)
{
    return isa->name;
}

bool reduce_isa_usable(const struct reduce_isa *isa)
{
    return isa->usable();
}

static bool is_half(enum mst_dtype dtype)
{
    return dtype == MST_F16 || dtype == MST_BF16;
}

size_t reduce_acc_size(enum mst_dtype dtype)
{
    if (dtype == MST_F8E4M3 || dtype == MST_F8E5M2)
        return 0;
    return is_half(dtype) ? sizeof(float) : mst_dtype_size(dtype);
}

static unsigned combine_of(enum mst_op op)
{
    return op == MST_MIN ? 1 : op == MST_MAX ? 2 : 0;
}

struct streams {
    const void *const *in;
    size_t count;
};

/* Streams of the accumulation type to one block of it. Only the last step writes to `dst`, so that
 * dst may be any of the streams; `spare` holds what comes before. */
static void fold_acc(const struct reduce *reduce, void *dst, void *spare,
                     const struct streams *streams, size_t offset_bytes, size_t n)
{
    reduce_combine_fn combine = reduce->isa->combine[reduce->dtype][combine_of(reduce->op)];
    const void *so_far = (const char *)streams->in[0] + offset_bytes;
    for (size_t s = 1; s < streams->count; s++) {
        void *to = s + 1 < streams->count ? spare : dst;
        combine(to, so_far, (const char *)streams->in[s] + offset_bytes, n);
        so_far = to;
    }
    if (streams->count == 1)
        memmove(dst, so_far, n * reduce_acc_size(reduce->dtype));
}

/* Streams of a 16-bit type to one block of f32. */
static void fold_half(const struct reduce *reduce, float *dst, const struct streams *streams,
                      size_t base, size_t n)
{
    const struct reduce_half *half = &reduce->isa->half[reduce->dtype];
    half->widen(dst, (const uint16_t *)streams->in[0] + base, n);
    for (size_t s = 1; s < streams->count; s++)
        half->accumulate[combine_of(reduce->op)](dst, (const uint16_t *)streams->in[s] + base, n);
}

static void fold_block(const struct reduce *reduce, char *out, const struct streams *streams,
                       size_t base, size_t n)
{
    _Alignas(64) double sums[BLOCK_ELEMS], spare[BLOCK_ELEMS];
    bool half = is_half(reduce->dtype), half_in = half && reduce->stage != REDUCE_FINISH;
    bool half_out = half && reduce->stage != REDUCE_PARTIAL;
    size_t acc_size = reduce_acc_size(reduce->dtype);
    void *dst = half_out ? (void *)sums : out + base * acc_size;
    if (half_in)
        fold_half(reduce, dst, streams, base, n);
    else
        fold_acc(reduce, dst, spare, streams, base * acc_size, n);
    if (reduce->op == MST_AVG && reduce->stage != REDUCE_PARTIAL)
        reduce->isa->scale[reduce->dtype](dst, n, reduce->divisor);
    if (half_out)
        reduce->isa->half[reduce->dtype].narrow((uint16_t *)(void *)out + base, dst, n);
}

void reduce_fold(const struct reduce *reduce, void *out, const void *const *in, size_t in_count,
                 size_t count)
{
    assert(in_count >= 1 && reduce_acc_size(reduce->dtype) != 0);
    struct streams streams = {in, in_count};
    for (size_t base = 0; base < count; base += BLOCK_ELEMS)
        fold_block(reduce, out, &streams, base, mst_least(count - base, BLOCK_ELEMS));
}
