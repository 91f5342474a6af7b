/* pure */
#include "muster/core/kv/frame.h"

#include "muster/core/bytes.h"

#include <errno.h>

#define FRAME_MAGIC UINT32_C(0x4d54534d) /* "MSTM" */

void frame_encode(uint8_t bytes[MST_FRAME_HEADER_BYTES], const struct frame_head *head)
{
    mst_put_le32(bytes, FRAME_MAGIC);
    bytes[4] = head->type;
    bytes[5] = 0;
    mst_put_le16(bytes + 6, 0);
    mst_put_le32(bytes + 8, head->size_bytes);
    mst_put_le32(bytes + 12, head->crc);
}

int frame_decode(const uint8_t bytes[MST_FRAME_HEADER_BYTES], size_t payload_max,
                 struct frame_head *ret_head)
{
    struct frame_head head = {
        .type = bytes[4], .size_bytes = mst_get_le32(bytes + 8), .crc = mst_get_le32(bytes + 12)};
    if (mst_get_le32(bytes) != FRAME_MAGIC || bytes[5] || mst_get_le16(bytes + 6))
        return -EBADMSG;
    if (head.size_bytes > payload_max || head.size_bytes > MST_FRAME_PAYLOAD_MAX)
        return -EBADMSG;
    *ret_head = head;
    return 0;
}
