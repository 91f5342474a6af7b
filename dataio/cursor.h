/* Cursor: a place in a dataset as 64 bytes for a checkpoint.
 *
 * Little-endian: u32 magic, u32 version, u64 fingerprint, u64 shape, u64 seed, u64 position,
 * u32 flags, u32 place, u32 pin, u64 full fingerprint, u32 CRC32C of all before. In version 1 the
 * fingerprint is the named one (fingerprint.h), and place, pin and full are zero. What is the same
 * on every rank comes first, up to and with the flags: a save compares it. */
/* pure */
#ifndef MUSTER_DATAIO_CURSOR_H
#define MUSTER_DATAIO_CURSOR_H

#include "muster/dataio/fingerprint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CURSOR_BYTES 64
#define CURSOR_VERSION 2u

struct mst_err;

struct cursor {
    uint32_t version;               /* CURSOR_VERSION, or what was decoded */
    struct fingerprint fingerprint; /* of the dataset: named in version 1, else sampled and full */
    uint32_t place, pin;            /* as of struct index */
    uint64_t shape;                 /* hash of the record shape */
    uint64_t seed;
    uint64_t position; /* of the next global batch */
    bool sequential;
};

void cursor_encode(const struct cursor *cursor, uint8_t ret_bytes[CURSOR_BYTES]);

/* 0; -EBADMSG wrong size, magic, version, checksum, or bits that no writer sets. *ret_cursor is
 * untouched on failure. */
int cursor_decode(const uint8_t *bytes, size_t size_bytes, struct cursor *ret_cursor,
                  struct mst_err *err);

/* Whether a loader that stands at `here` may go on at `saved`: 0; -EINVAL when the order or the
 * samples are not the same, naming the first difference that matters. */
int cursor_match(const struct cursor *saved, const struct cursor *here, struct mst_err *err);

/* What, besides, a program should know that goes on at `saved`; NULL: nothing. */
const char *cursor_doubt(const struct cursor *saved, const struct cursor *here);

#endif
