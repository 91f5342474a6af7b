/* What a collective is, in 32 bits and in words. */
/* pure */
#include "muster/comm/signature.h"

#include "muster/core/err.h"
#include "muster/core/rng.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

uint64_t signature_pack(const struct signature_desc *desc)
{
    return (uint64_t)desc->coll | (uint64_t)desc->dtype << 8 | (uint64_t)desc->op << 16 |
           (uint64_t)desc->root << 32;
}

struct signature_desc signature_unpack(uint64_t kind, uint64_t count)
{
    return (struct signature_desc){
        .count = count,
        .coll = (enum mst_coll)(kind & 0xff),
        .dtype = (enum mst_dtype)(kind >> 8 & 0xff),
        .op = (enum mst_op)(kind >> 16 & 0xff),
        .root = (uint32_t)(kind >> 32),
    };
}

uint32_t signature_of(const struct signature_desc *desc)
{
    uint64_t mixed = mst_mix64(mst_mix64(signature_pack(desc)) ^ desc->count);
    uint32_t signature = (uint32_t)(mixed ^ mixed >> 32);
    return signature != 0 ? signature : 1;
}

const char *signature_describe(const struct signature_desc *desc, char *text, size_t cap)
{
    const char *coll = mst_coll_name(desc->coll);
    const char *dtype = mst_dtype_name(desc->dtype);
    unsigned long long count = desc->count;
    switch (desc->coll) {
    case MST_COLL_ALLREDUCE:
    case MST_COLL_REDUCE_SCATTER:
        (void)snprintf(text, cap, "%s %s %s count %llu", coll, mst_op_name(desc->op), dtype, count);
        break;
    case MST_COLL_BROADCAST:
        (void)snprintf(text, cap, "%s %s count %llu root %u", coll, dtype, count, desc->root);
        break;
    case MST_COLL_ALLGATHER:
        (void)snprintf(text, cap, "%s %s count %llu", coll, dtype, count);
        break;
    default: (void)snprintf(text, cap, "%s", coll); break;
    }
    return text;
}

bool signature_reduces(const struct signature_desc *desc)
{
    return desc->coll == MST_COLL_ALLREDUCE || desc->coll == MST_COLL_REDUCE_SCATTER;
}

int signature_mismatch(uint32_t rank_a, const struct signature_desc *desc_a, uint32_t rank_b,
                       const struct signature_desc *desc_b, struct mst_err *err)
{
    char a[SIGNATURE_TEXT_MAX], b[SIGNATURE_TEXT_MAX];
    bool a_first = rank_a < rank_b;
    return mst_err_set(err, -EPROTO, "rank %u: %s; rank %u: %s", a_first ? rank_a : rank_b,
                       signature_describe(a_first ? desc_a : desc_b, a, sizeof a),
                       a_first ? rank_b : rank_a,
                       signature_describe(a_first ? desc_b : desc_a, b, sizeof b));
}

void signature_append_absent(const char *who, uint64_t op_seq, const struct signature_desc *last,
                             char *text, size_t cap)
{
    char coll[SIGNATURE_TEXT_MAX];
    size_t used = strlen(text);
    if (op_seq == 0)
        (void)snprintf(text + used, cap - used, " %s (last: none)", who);
    else
        (void)snprintf(text + used, cap - used, " %s (last: op %llu, %s)", who,
                       (unsigned long long)op_seq, signature_describe(last, coll, sizeof coll));
}
