/* Writer: the image of a file in memory → a durable file, checksummed on the way.
 *
 * Space is taken first, so that a full disk is found out before a byte is written. Data goes out in
 * 4 MiB pieces around the page cache (O_DIRECT) while the processor checksums what is under way;
 * the front of the file, which holds the table of checksums, goes last. Blocks. */
#ifndef MUSTER_CKPT_WRITER_H
#define MUSTER_CKPT_WRITER_H

#include "muster/ckpt/skeleton.h"

struct mst_aio;

#define WRITER_PIECE_BYTES (UINT64_C(4) << 20)
#define WRITER_DEPTH 8

struct writer_job {
    int fd;
    const char *name; /* for texts */
    uint8_t *image;   /* page-aligned; skeleton->size_bytes */
    const struct skeleton *skeleton;
    const struct layout_part *parts; /* sorted by offset */
    size_t part_count;
    uint32_t frame_crc; /* out: of all bytes that lie in no part */
};

/* Writes the file, which is open and empty. When it returns, `image` is no longer in use and holds
 * the checksums of all blocks at skeleton->crc_offset; job->frame_crc is set. 0: the bytes are
 * durable (the directory entry is not); -ENOSPC, -EIO … naming the file and the operation;
 * -ETIMEDOUT. */
int writer_write(struct mst_aio *aio, struct writer_job *job, uint64_t deadline_ns,
                 struct mst_err *err);

/* Opens `name` in `dir_fd`, to be written around the page cache, or through it where the file
 * system refuses (tmpfs); never through a link of that name. `flags` without O_DIRECT. An fd, or
 * -errno. */
int writer_open_direct(int dir_fd, const char *name, int flags);

/* As root_open_file, around the page cache where the file system lets it be. */
int writer_open_to_read(int dir_fd, const char *name);

#endif
