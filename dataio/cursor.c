/* pure */
#include "muster/dataio/cursor.h"

#include "muster/core/bytes.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MAGIC 0x5543534du /* "MSCU" */
#define FLAG_SEQUENTIAL 1u
#define FLAGS_AT 40
#define PLACE_AT 44
#define PIN_AT 48
#define FULL_AT 52
#define CRC_AT 60

void cursor_encode(const struct cursor *cursor, uint8_t ret_bytes[CURSOR_BYTES])
{
    mst_put_le32(ret_bytes, MAGIC);
    mst_put_le32(ret_bytes + 4, CURSOR_VERSION);
    mst_put_le64(ret_bytes + 8, cursor->fingerprint.sampled);
    mst_put_le64(ret_bytes + 16, cursor->shape);
    mst_put_le64(ret_bytes + 24, cursor->seed);
    mst_put_le64(ret_bytes + 32, cursor->position);
    mst_put_le32(ret_bytes + FLAGS_AT, cursor->sequential ? FLAG_SEQUENTIAL : 0);
    mst_put_le32(ret_bytes + PLACE_AT, cursor->place);
    mst_put_le32(ret_bytes + PIN_AT, cursor->pin);
    mst_put_le64(ret_bytes + FULL_AT, cursor->fingerprint.full);
    mst_put_le32(ret_bytes + CRC_AT, mst_crc32c(0, ret_bytes, CRC_AT));
}

static int check(const uint8_t *bytes, size_t size_bytes, struct mst_err *err)
{
    static const uint8_t zeros[CRC_AT - PLACE_AT];
    if (size_bytes != CURSOR_BYTES)
        return mst_err_set(err, -EBADMSG, "cursor of %zu bytes: %d expected", size_bytes,
                           CURSOR_BYTES);
    if (mst_get_le32(bytes) != MAGIC)
        return mst_err_set(err, -EBADMSG, "cursor: not a loader's cursor");
    if (mst_get_le32(bytes + CRC_AT) != mst_crc32c(0, bytes, CRC_AT))
        return mst_err_set(err, -EBADMSG, "cursor: checksum does not match, it is damaged");
    uint32_t version = mst_get_le32(bytes + 4);
    if (version < 1 || version > CURSOR_VERSION)
        return mst_err_set(err, -EBADMSG, "cursor: version %" PRIu32 ", this build reads 1 to %u",
                           version, CURSOR_VERSION);
    if (mst_get_le32(bytes + FLAGS_AT) & ~FLAG_SEQUENTIAL ||
        (version == 1 && memcmp(bytes + PLACE_AT, zeros, sizeof zeros) != 0))
        return mst_err_set(err, -EBADMSG, "cursor: unknown flags, written by a newer build");
    return 0;
}

int cursor_decode(const uint8_t *bytes, size_t size_bytes, struct cursor *ret_cursor,
                  struct mst_err *err)
{
    int rc = check(bytes, size_bytes, err);
    if (rc)
        return rc;
    uint32_t version = mst_get_le32(bytes + 4);
    uint64_t fingerprint = mst_get_le64(bytes + 8);
    *ret_cursor = (struct cursor){.version = version,
                                  .fingerprint = {.sampled = version == 1 ? 0 : fingerprint,
                                                  .named = version == 1 ? fingerprint : 0,
                                                  .full = mst_get_le64(bytes + FULL_AT)},
                                  .place = mst_get_le32(bytes + PLACE_AT),
                                  .pin = mst_get_le32(bytes + PIN_AT),
                                  .shape = mst_get_le64(bytes + 16),
                                  .seed = mst_get_le64(bytes + 24),
                                  .position = mst_get_le64(bytes + 32),
                                  .sequential = mst_get_le32(bytes + FLAGS_AT) & FLAG_SEQUENTIAL};
    return 0;
}

/* Compares what both have, which is the full ones only if both were asked for. */
static int match_fingerprints(const struct cursor *saved, const struct cursor *here,
                              struct mst_err *err)
{
    const struct fingerprint *a = &saved->fingerprint, *b = &here->fingerprint;
    uint64_t was = saved->version == 1 ? a->named : a->sampled;
    uint64_t is = saved->version == 1 ? b->named : b->sampled;
    if (was != is)
        return mst_err_set(err, -EINVAL,
                           "cursor: saved on another dataset, fingerprint %016" PRIx64
                           ", this one has %016" PRIx64 "%s: open that one, or begin anew",
                           was, is,
                           saved->version == 1 ? " (of version 1: names count)"
                                               : " (muster data index shows it, given the "
                                                 "loader's format, elems and stride)");
    if (a->full && b->full && a->full != b->full)
        return mst_err_set(err, -EINVAL,
                           "cursor: saved on other bytes, full fingerprint %016" PRIx64
                           ", these have %016" PRIx64
                           " (muster data index --fingerprint full shows it, given the loader's "
                           "format, elems and stride): open those, or begin anew",
                           a->full, b->full);
    return 0;
}

const char *cursor_doubt(const struct cursor *saved, const struct cursor *here)
{
    if (saved->fingerprint.full && !here->fingerprint.full)
        return "the cursor has a full fingerprint and the dataset was opened with a sampled one, "
               "so "
               "that not every byte was compared: open it with the full one";
    bool both_full = saved->fingerprint.full && here->fingerprint.full;
    bool known = saved->place && saved->pin && here->pin;
    if (known && saved->place == here->place && saved->pin != here->pin && !both_full)
        return "a source has another time or ETag than when the cursor was saved, at the same URI; "
               "its size and the sampled blocks are alike: was it written anew?";
    return NULL;
}

int cursor_match(const struct cursor *saved, const struct cursor *here, struct mst_err *err)
{
    /* The fingerprint covers the shape too, so the shape is asked first. */
    if (saved->shape != here->shape)
        return mst_err_set(err, -EINVAL,
                           "cursor: saved with another record shape (format, type, elements or "
                           "stride); open the dataset with the old one");
    int rc = match_fingerprints(saved, here, err);
    if (rc)
        return rc;
    if (saved->seed != here->seed)
        return mst_err_set(err, -EINVAL, "cursor: saved with seed %" PRIu64 ", not %" PRIu64,
                           saved->seed, here->seed);
    if (saved->sequential != here->sequential)
        return mst_err_set(err, -EINVAL, "cursor: saved in %s order, now %s",
                           saved->sequential ? "file" : "shuffled",
                           here->sequential ? "file" : "shuffled");
    return 0;
}
