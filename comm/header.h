/* The header of every message between two leaders: enough to know that both mean the same bytes of
 * the same collective. Little-endian:
 *   magic u32 | generation u32 | communicator u32 | signature u32 | op_seq u64 | kind u64 |
 *   count u64 | part u32 | code i32 | size u64 */
/* pure */
#ifndef MUSTER_COMM_HEADER_H
#define MUSTER_COMM_HEADER_H

#include <stdint.h>

#define HEADER_BYTES 56
#define HEADER_MAGIC UINT32_C(0x4d434d31) /* "1MCM" on the wire */

struct header {
    uint32_t generation;
    uint32_t comm_id;
    uint32_t signature; /* signature_of the collective */
    uint64_t op_seq;
    uint64_t kind, count; /* signature_pack, for the text of a mismatch */
    uint32_t part;        /* the how-manieth exchange of the collective */
    int32_t code;         /* 0: payload follows; < 0: the sender failed, and its text follows */
    uint64_t size_bytes;  /* of what follows */
};

void header_encode(const struct header *header, uint8_t bytes[HEADER_BYTES]);

/* 0; -EPROTO if it is no header: bad magic, a positive code, or an endless text. */
int header_decode(const uint8_t bytes[HEADER_BYTES], struct header *ret_header);

#define HEADER_TEXT_MAX 239 /* bytes of a failure's text */

#endif
