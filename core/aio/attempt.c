/* aio_attempt: one blocking system call per operation. */
#include "muster/core/aio/backend.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t call(const struct aio_slot *slot)
{
    const struct mst_aio_op *op = &slot->op;
    switch (op->kind) {
    case MST_AIO_READ:
        return pread(op->fd, aio_slot_data(slot), aio_slot_bytes(slot),
                     (off_t)aio_slot_offset(slot));
    case MST_AIO_WRITE:
        return pwrite(op->fd, aio_slot_data(slot), aio_slot_bytes(slot),
                      (off_t)aio_slot_offset(slot));
    case MST_AIO_FSYNC: return fsync(op->fd);
    case MST_AIO_FDATASYNC: return fdatasync(op->fd);
    case MST_AIO_FALLOCATE: return fallocate(op->fd, 0, (off_t)op->offset, (off_t)op->size_bytes);
    case MST_AIO_RENAME: return renameat2(op->fd, op->path, op->fd, op->path2, op->flags);
    case MST_AIO_MKDIR: return mkdirat(op->fd, op->path, 0777);
    case MST_AIO_UNLINK: return unlinkat(op->fd, op->path, (int)op->flags);
    case MST_AIO_KIND_COUNT: break;
    }
    assert(false); /* no such kind */
    errno = EINVAL;
    return -1;
}

int64_t aio_attempt(const struct aio_slot *slot)
{
    int64_t rc = call(slot);
    return rc < 0 ? -errno : rc;
}
