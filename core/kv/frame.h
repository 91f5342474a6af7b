/* The head of a frame (core/kv/sock.h), shared by the blocking calls and the stream. */
/* pure */
#ifndef MUSTER_CORE_KV_FRAME_H
#define MUSTER_CORE_KV_FRAME_H

#include "muster/core/kv/sock.h"

#include <stddef.h>
#include <stdint.h>

struct frame_head {
    uint8_t type;
    uint32_t size_bytes;
    uint32_t crc;
};

void frame_encode(uint8_t bytes[MST_FRAME_HEADER_BYTES], const struct frame_head *head);

/* 0; -EBADMSG for a bad magic, a field that must be zero, or a size over `payload_max`. */
int frame_decode(const uint8_t bytes[MST_FRAME_HEADER_BYTES], size_t payload_max,
                 struct frame_head *ret_head);

#endif
