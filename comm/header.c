/* Message headers, field by field. */
/* pure */
#include "muster/comm/header.h"

#include "muster/core/bytes.h"

#include <errno.h>

void header_encode(const struct header *header, uint8_t bytes[HEADER_BYTES])
{
    mst_put_le32(bytes, HEADER_MAGIC);
    mst_put_le32(bytes + 4, header->generation);
    mst_put_le32(bytes + 8, header->comm_id);
    mst_put_le32(bytes + 12, header->signature);
    mst_put_le64(bytes + 16, header->op_seq);
    mst_put_le64(bytes + 24, header->kind);
    mst_put_le64(bytes + 32, header->count);
    mst_put_le32(bytes + 40, header->part);
    mst_put_le32(bytes + 44, (uint32_t)header->code);
    mst_put_le64(bytes + 48, header->size_bytes);
}

int header_decode(const uint8_t bytes[HEADER_BYTES], struct header *ret_header)
{
    struct header header = {
        .generation = mst_get_le32(bytes + 4),
        .comm_id = mst_get_le32(bytes + 8),
        .signature = mst_get_le32(bytes + 12),
        .op_seq = mst_get_le64(bytes + 16),
        .kind = mst_get_le64(bytes + 24),
        .count = mst_get_le64(bytes + 32),
        .part = mst_get_le32(bytes + 40),
        .code = (int32_t)mst_get_le32(bytes + 44),
        .size_bytes = mst_get_le64(bytes + 48),
    };
    if (mst_get_le32(bytes) != HEADER_MAGIC || header.code > 0)
        return -EPROTO;
    if (header.code < 0 && header.size_bytes > HEADER_TEXT_MAX)
        return -EPROTO;
    *ret_header = header;
    return 0;
}
