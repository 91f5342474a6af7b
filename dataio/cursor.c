/* pure */
#include "muster/dataio/cursor.h"

#include "muster/core/bytes.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MAGIC 0x5543534du /* "MSCU" */
#define VERSION 1u
#define FLAG_SEQUENTIAL 1u
#define FLAGS_AT 40
#define ZEROS_AT 44
#define CRC_AT 60

void cursor_encode(const struct cursor *cursor, uint8_t ret_bytes[CURSOR_BYTES])
{
    memset(ret_bytes, 0, CURSOR_BYTES);
    mst_put_le32(ret_bytes, MAGIC);
    mst_put_le32(ret_bytes + 4, VERSION);
    mst_put_le64(ret_bytes + 8, cursor->fingerprint);
    mst_put_le64(ret_bytes + 16, cursor->shape);
    mst_put_le64(ret_bytes + 24, cursor->seed);
    mst_put_le64(ret_bytes + 32, cursor->position);
    mst_put_le32(ret_bytes + FLAGS_AT, cursor->sequential ? FLAG_SEQUENTIAL : 0);
    mst_put_le32(ret_bytes + CRC_AT, mst_crc32c(0, ret_bytes, CRC_AT));
}

static int check(const uint8_t *bytes, size_t size_bytes, struct mst_err *err)
{
    static const uint8_t zeros[CRC_AT - ZEROS_AT];
    if (size_bytes != CURSOR_BYTES)
        return mst_err_set(err, -EBADMSG, "cursor of %zu bytes: %d expected", size_bytes,
                           CURSOR_BYTES);
    if (mst_get_le32(bytes) != MAGIC)
        return mst_err_set(err, -EBADMSG, "cursor: not a loader's cursor");
    if (mst_get_le32(bytes + CRC_AT) != mst_crc32c(0, bytes, CRC_AT))
        return mst_err_set(err, -EBADMSG, "cursor: checksum does not match, it is damaged");
    if (mst_get_le32(bytes + 4) != VERSION)
        return mst_err_set(err, -EBADMSG, "cursor: version %" PRIu32 ", this build reads %u",
                           mst_get_le32(bytes + 4), VERSION);
    if (mst_get_le32(bytes + FLAGS_AT) & ~FLAG_SEQUENTIAL ||
        memcmp(bytes + ZEROS_AT, zeros, sizeof zeros) != 0)
        return mst_err_set(err, -EBADMSG, "cursor: unknown flags, written by a newer build");
    return 0;
}

int cursor_decode(const uint8_t *bytes, size_t size_bytes, struct cursor *ret_cursor,
                  struct mst_err *err)
{
    int rc = check(bytes, size_bytes, err);
    if (rc)
        return rc;
    *ret_cursor = (struct cursor){.fingerprint = mst_get_le64(bytes + 8),
                                  .shape = mst_get_le64(bytes + 16),
                                  .seed = mst_get_le64(bytes + 24),
                                  .position = mst_get_le64(bytes + 32),
                                  .sequential = mst_get_le32(bytes + FLAGS_AT) & FLAG_SEQUENTIAL};
    return 0;
}

int cursor_match(const struct cursor *saved, const struct cursor *here, struct mst_err *err)
{
    /* The fingerprint covers the shape too, so the shape is asked first. */
    if (saved->shape != here->shape)
        return mst_err_set(err, -EINVAL,
                           "cursor: saved with another record shape (format, type, elements or "
                           "stride); open the dataset with the old one");
    if (saved->fingerprint != here->fingerprint)
        return mst_err_set(err, -EINVAL,
                           "cursor: saved on another dataset, fingerprint %016" PRIx64
                           ", this one has %016" PRIx64 "; see muster data ls",
                           saved->fingerprint, here->fingerprint);
    if (saved->seed != here->seed)
        return mst_err_set(err, -EINVAL, "cursor: saved with seed %" PRIu64 ", not %" PRIu64,
                           saved->seed, here->seed);
    if (saved->sequential != here->sequential)
        return mst_err_set(err, -EINVAL, "cursor: saved in %s order, now %s",
                           saved->sequential ? "file" : "shuffled",
                           here->sequential ? "file" : "shuffled");
    return 0;
}
