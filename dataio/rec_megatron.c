/* Megatron's indexed dataset: tokens in *.bin, and an *.idx of
 *   "MMIDIDX\0\0", u64 version 1, u8 type, u64 sequences, u64 documents (at byte 34:)
 *   i32 length[sequences], i64 byte offset[sequences], i64 first sequence[documents],
 *   and for multimodal sets i8 mode[sequences]; all little-endian and unaligned.
 * The index is checked against itself and the size of the tokens. Samples are then cut from the
 * tokens as from a raw file: every writer lays the sequences out one after the other. */
/* pure */
#include "muster/dataio/record.h"

#include "muster/core/bytes.h"
#include "muster/core/err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_BYTES 34u
#define SEQUENCE_BYTES 12u
#define COUNT_MAX (UINT64_C(1) << 48) /* keeps all sizes below 2^63 */

struct idx {
    enum mst_dtype dtype;
    uint64_t sequence_count, document_count;
    const uint8_t *lengths, *offsets, *documents;
};

static int decode_type(uint8_t code, enum mst_dtype *ret_dtype, struct mst_err *err)
{
    static const enum mst_dtype types[] = {MST_U8,  MST_I8,  MST_I16, MST_I32,
                                           MST_I64, MST_F64, MST_F32, MST_U16};
    if (code < 1 || code > sizeof types / sizeof types[0])
        return mst_err_set(err, -EBADMSG, "index: unknown element type %u", code);
    *ret_dtype = types[code - 1];
    return 0;
}

static int decode_header(const uint8_t *bytes, uint64_t size_bytes, struct idx *idx,
                         struct mst_err *err)
{
    if (size_bytes < HEADER_BYTES || memcmp(bytes, "MMIDIDX\0\0", 9) != 0)
        return mst_err_set(err, -EBADMSG, "index: not a Megatron index (no MMIDIDX header)");
    if (mst_get_le64(bytes + 9) != 1)
        return mst_err_set(err, -EBADMSG, "index: version %" PRIu64 ", only 1 is known",
                           mst_get_le64(bytes + 9));
    idx->sequence_count = mst_get_le64(bytes + 18);
    idx->document_count = mst_get_le64(bytes + 26);
    return decode_type(bytes[17], &idx->dtype, err);
}

static int decode_tables(const uint8_t *bytes, uint64_t size_bytes, struct idx *idx,
                         struct mst_err *err)
{
    uint64_t n = idx->sequence_count;
    if (n > COUNT_MAX || idx->document_count > COUNT_MAX)
        return mst_err_set(err, -EBADMSG, "index: impossible counts, %" PRIu64 " sequences", n);
    uint64_t want = HEADER_BYTES + SEQUENCE_BYTES * n + 8 * idx->document_count;
    if (size_bytes != want && size_bytes != want + n) /* with the modes */
        return mst_err_set(err, -EBADMSG,
                           "index: its counts need %" PRIu64 " bytes, it has %" PRIu64, want,
                           size_bytes);
    idx->lengths = bytes + HEADER_BYTES;
    idx->offsets = idx->lengths + 4 * n;
    idx->documents = idx->offsets + 8 * n;
    return 0;
}

static int check_sequences(const struct idx *idx, uint64_t size_bytes, struct mst_err *err)
{
    uint64_t elem_bytes = mst_dtype_size(idx->dtype), end = 0;
    for (uint64_t i = 0; i < idx->sequence_count; i++) {
        uint64_t length = mst_get_le32(idx->lengths + 4 * i),
                 offset = mst_get_le64(idx->offsets + 8 * i);
        if (length > INT32_MAX || offset != end)
            return mst_err_set(err, -EBADMSG,
                               "index: sequence %" PRIu64 " of %" PRIu64
                               " elements at byte %" PRIu64 ", expected at %" PRIu64,
                               i, length, offset, end);
        end += length * elem_bytes;
    }
    if (end != size_bytes)
        return mst_err_set(err, -EBADMSG,
                           "index describes %" PRIu64 " bytes of tokens, the data has %" PRIu64
                           ": truncated, or not a pair",
                           end, size_bytes);
    return 0;
}

static int check_documents(const struct idx *idx, struct mst_err *err)
{
    uint64_t before = 0;
    for (uint64_t i = 0; i < idx->document_count; i++) {
        uint64_t first = mst_get_le64(idx->documents + 8 * i);
        if (first < before || first > idx->sequence_count || (i == 0 && first != 0))
            return mst_err_set(err, -EBADMSG,
                               "index: document %" PRIu64 " starts at sequence %" PRIu64
                               " of %" PRIu64,
                               i, first, idx->sequence_count);
        before = first;
    }
    if (before != idx->sequence_count || idx->document_count == 0)
        return mst_err_set(err, -EBADMSG,
                           "index: its %" PRIu64 " document boundaries end at sequence %" PRIu64
                           " of %" PRIu64 ": cut short, write it anew",
                           idx->document_count, before, idx->sequence_count);
    return 0;
}

static int cut(struct record_shape *shape, uint64_t size_bytes, struct mst_cspan companion,
               struct record_table *ret_table, struct mst_err *err)
{
    struct idx idx = {0};
    int rc = decode_header(companion.data, companion.size_bytes, &idx, err);
    if (!rc)
        rc = decode_tables(companion.data, companion.size_bytes, &idx, err);
    if (!rc)
        rc = check_sequences(&idx, size_bytes, err);
    if (!rc)
        rc = check_documents(&idx, err);
    if (rc)
        return rc;
    shape->dtype = idx.dtype;
    record_cut(shape, size_bytes, ret_table);
    return 0;
}

const struct record_reader rec_megatron = {.name = "megatron",
                                           .format = MST_FORMAT_MEGATRON,
                                           .typed = true,
                                           .companion = ".idx",
                                           .cut = cut};
