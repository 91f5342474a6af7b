#include "muster/ckpt/writer.h"

#include "muster/ckpt/root.h"
#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

/* One write under way. */
struct writer {
    struct mst_aio *aio;
    struct writer_job *job;
    uint32_t *crcs; /* inside the image */
    size_t part;    /* the next block to checksum */
    uint64_t block;
};

/* No link at the end of the name leads elsewhere. */
int writer_open_direct(int dir_fd, const char *name, int flags)
{
    flags |= O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(dir_fd, name, flags | O_DIRECT, 0666);
    if (fd < 0 && errno == EINVAL) /* O_CREAT may have made the file before the flag was refused */
        fd = openat(dir_fd, name, flags & ~O_EXCL, 0666);
    return fd < 0 ? -errno : fd;
}

int writer_open_to_read(int dir_fd, const char *name)
{
    int fd = root_open_file(dir_fd, name, O_DIRECT);
    return fd == -EINVAL ? root_open_file(dir_fd, name, 0) : fd;
}

/* Checksums the blocks that end at or before `offset` of the file, from where it stopped. */
static void checksum_until(struct writer *writer, uint64_t offset)
{
    const struct writer_job *job = writer->job;
    for (; writer->part < job->part_count; writer->part++, writer->block = 0) {
        const struct layout_part *part = &job->parts[writer->part];
        for (; writer->block < part->block_count; writer->block++) {
            uint64_t start = part->offset + layout_block_start(writer->block);
            uint64_t size = layout_block_bytes(part, writer->block);
            if (start + size > offset)
                return;
            writer->crcs[part->block_first + writer->block] = mst_crc32c(0, job->image + start,
                                                                         size);
        }
    }
}

/* The gaps between the parts: metadata, our tables, padding. */
static void checksum_frame(struct writer_job *job)
{
    job->frame_crc = 0;
    uint64_t at = 0;
    for (size_t i = 0; i < job->part_count; i++) {
        job->frame_crc = mst_crc32c(job->frame_crc, job->image + at, job->parts[i].offset - at);
        at = job->parts[i].offset + job->parts[i].size_bytes;
    }
    job->frame_crc = mst_crc32c(job->frame_crc, job->image + at, job->skeleton->size_bytes - at);
}

/* Waits for at least one write. The kernel reads the image until a write has ended, so that no
 * deadline can cut this short. */
static int reap_writes(struct writer *writer)
{
    struct mst_aio_done done[WRITER_DEPTH];
    int n = mst_aio_reap(writer->aio, done, WRITER_DEPTH, 1, MST_NEVER);
    int rc = n < 0 ? n : 0;
    for (int i = 0; i < n; i++) {
        int64_t size_bytes = (int64_t)(intptr_t)done[i].user;
        if (done[i].result != size_bytes && rc == 0)
            rc = done[i].result < 0 ? (int)done[i].result : -EIO;
    }
    return rc;
}

/* Writes [start, end) of the image. Nothing is in flight when it returns. */
static int write_range(struct writer *writer, uint64_t start, uint64_t end, uint64_t deadline_ns)
{
    uint64_t next = start;
    int rc = 0;
    while (rc == 0 && (next < end || mst_aio_in_flight(writer->aio) > 0)) {
        uint64_t size = mst_least(end - next, WRITER_PIECE_BYTES);
        struct mst_aio_op op = {.kind = MST_AIO_WRITE,
                                .fd = writer->job->fd,
                                .data = writer->job->image + next,
                                .size_bytes = size,
                                .offset = next,
                                .user = (void *)(uintptr_t)size};
        if (next < end && mst_aio_in_flight(writer->aio) < WRITER_DEPTH &&
            mst_aio_submit(writer->aio, &op, 1) == 1) {
            next += op.size_bytes;
            checksum_until(writer, next);
        } else {
            rc = reap_writes(writer);
        }
        if (rc == 0 && next < end && mst_deadline_passed(deadline_ns))
            rc = -ETIMEDOUT;
    }
    while (mst_aio_in_flight(writer->aio) > 0)
        (void)reap_writes(writer); /* the first failure is the answer */
    assert(rc < 0 || next == end);
    return rc;
}

static int write_file(struct writer *writer, uint64_t deadline_ns, struct mst_err *err)
{
    const struct skeleton *skeleton = writer->job->skeleton;
    struct mst_aio_op allocate = {
        .kind = MST_AIO_FALLOCATE, .fd = writer->job->fd, .size_bytes = skeleton->size_bytes};
    int rc = (int)mst_aio_do(writer->aio, &allocate, MST_NEVER);
    if (rc < 0 && rc != -EOPNOTSUPP) /* some network file systems have no fallocate */
        return mst_err_set(err, rc, "%s: no room for %" PRIu64 " bytes: %s", writer->job->name,
                           skeleton->size_bytes, mst_err_meaning(rc));
    rc = write_range(writer, skeleton->head_bytes, skeleton->size_bytes, deadline_ns);
    if (rc == 0) {
        checksum_until(writer, skeleton->size_bytes);
        assert(writer->part == writer->job->part_count);
        checksum_frame(writer->job);
        rc = write_range(writer, 0, skeleton->head_bytes, deadline_ns);
    }
    if (rc < 0)
        return mst_err_set(err, rc, "%s: write: %s", writer->job->name, mst_err_meaning(rc));
    struct mst_aio_op sync = {.kind = MST_AIO_FDATASYNC, .fd = writer->job->fd};
    rc = (int)mst_aio_do(writer->aio, &sync, MST_NEVER);
    if (rc < 0)
        return mst_err_set(err, rc, "%s: fdatasync: %s", writer->job->name, mst_err_meaning(rc));
    return 0;
}

int writer_write(struct mst_aio *aio, struct writer_job *job, uint64_t deadline_ns,
                 struct mst_err *err)
{
    assert(job->skeleton->head_bytes <= job->skeleton->size_bytes);
    struct writer writer = {
        .aio = aio,
        .job = job,
        .crcs = (uint32_t *)(void *)(job->image + job->skeleton->crc_offset),
    };
    return write_file(&writer, deadline_ns, err);
}
