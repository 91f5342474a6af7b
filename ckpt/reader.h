/* Reader: blocks of a checkpoint, each checked against the manifest before anyone sees it.
 *
 *   reader_create → reader_start(spans) → reader_next until 0 → reader_destroy
 *
 * Several blocks are on the way at a time; they come in any order. One thread at a time. */
#ifndef MUSTER_CKPT_READER_H
#define MUSTER_CKPT_READER_H

#include "muster/ckpt/manifest.h"

struct tier;
struct reader;

/* Blocks of one part. */
struct reader_span {
    uint32_t file;
    uint32_t part;
    uint64_t block_first, block_count;
    /* Where the part's bytes from `start` to `end` are wanted, with room up to the end of a page,
     * as far from the start of one as they are in the file. A block of which all is wanted is read
     * straight there. NULL: nowhere; all are shown where they were read. */
    uint8_t *into;
    uint64_t start, end;
};

struct reader_block {
    size_t span; /* index */
    uint32_t file, part;
    uint64_t block;
    const uint8_t *data; /* in the span's memory for good, or until the next call */
    size_t size_bytes;
};

/* `manifest` and `tier`, which reads nothing else, are borrowed until destroy. 0; -ENOMEM. */
int reader_create(struct tier *tier, const struct manifest *manifest, struct reader **ret_reader);

/* Names what to read; the last job must have ended. `spans` is borrowed. */
void reader_start(struct reader *reader, const struct reader_span *spans, size_t count);

/* The next block. 1 and a block; 0 when all have come; -EBADMSG if one is damaged, its file missing
 * or of another size, or the disk fails, naming file, tensor and block: *ret_block says which, and
 * reading may go on; another -errno if the place does not answer; -ETIMEDOUT; -EMFILE. */
int reader_next(struct reader *reader, uint64_t deadline_ns, struct reader_block *ret_block,
                struct mst_err *err);

/* Checks all bytes of a file that lie in no part. 0; -EBADMSG naming the file; as reader_next. */
int reader_check_frame(struct reader *reader, uint32_t file, struct mst_err *err);

/* NULL is allowed. */
void reader_destroy(struct reader *reader);

#endif
