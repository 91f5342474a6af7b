/* The signature of a collective: what all ranks must agree on before a byte of one is reduced with
 * another's. 32 bits travel with every flag and header; the whole description is kept where peers
 * can read it, so that a mismatch is told in words. */
/* pure */
#ifndef MUSTER_COMM_SIGNATURE_H
#define MUSTER_COMM_SIGNATURE_H

#include "muster/comm/comm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct signature_desc {
    uint64_t count; /* elements, as the caller of the collective says it */
    enum mst_coll coll;
    enum mst_dtype dtype;
    enum mst_op op;
    uint32_t root; /* 0 where the collective has none */
};

/* Never 0. Equal descriptions have equal signatures; two different ones collide with a chance of
 * 2^-32. */
uint32_t signature_of(const struct signature_desc *desc);

/* Everything but the count in one word, and back: for slots that are read while they are written,
 * and for headers. */
uint64_t signature_pack(const struct signature_desc *desc);
struct signature_desc signature_unpack(uint64_t kind, uint64_t count);

/* Writes "allreduce sum f32 count 1024", "broadcast f32 count 7 root 2", "barrier". Cut if it does
 * not fit; always terminated. Returns `text`. Numbers out of range are shown as "?". */
const char *signature_describe(const struct signature_desc *desc, char *text, size_t cap);

#define SIGNATURE_TEXT_MAX 96 /* room for any description */

/* Whether elements are reduced, and not only moved. */
bool signature_reduces(const struct signature_desc *desc);

/* -EPROTO with "rank 0: allreduce sum f32 count 1024; rank 1: allreduce sum f32 count 1023", the
 * lower rank first, so that both sides tell the same story. */
int signature_mismatch(uint32_t rank_a, const struct signature_desc *desc_a, uint32_t rank_b,
                       const struct signature_desc *desc_b, struct mst_err *err);

/* Appends " <who> (last: op 17, barrier)", or "(last: none)" if op_seq is 0: whoever has not come,
 * and the last collective that is known of it. Cut if it does not fit; always terminated. */
void signature_append_absent(const char *who, uint64_t op_seq, const struct signature_desc *last,
                             char *text, size_t cap);

#endif
