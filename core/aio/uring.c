/* aio_uring: the back end over io_uring.
 *
 * The ring is used by one thread at a time but not always by the same: an owner creates it, a
 * worker runs it. So it has none of the modes that bind a ring to a thread (SINGLE_ISSUER,
 * DEFER_TASKRUN, a registered ring fd); they save interrupts per completion, which large reads and
 * writes have few of. What a kernel does not know is found by trying, never by its version. */
#include "muster/core/aio/backend.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#define COLLECT_MAX 64u

struct ring {
    struct io_uring uring;
    bool works[MST_AIO_KIND_COUNT]; /* the ring knows the operation */
    size_t under_way;               /* attempts started and not yet taken */
};

static const enum io_uring_op opcodes[MST_AIO_KIND_COUNT] = {
    [MST_AIO_READ] = IORING_OP_READ,           [MST_AIO_WRITE] = IORING_OP_WRITE,
    [MST_AIO_FSYNC] = IORING_OP_FSYNC,         [MST_AIO_FDATASYNC] = IORING_OP_FSYNC,
    [MST_AIO_FALLOCATE] = IORING_OP_FALLOCATE, [MST_AIO_RENAME] = IORING_OP_RENAMEAT,
    [MST_AIO_MKDIR] = IORING_OP_MKDIRAT,       [MST_AIO_UNLINK] = IORING_OP_UNLINKAT,
};

/* Optional flags, the newest first: each -EINVAL drops the first one left. TASKRUN_FLAG needs
 * COOP_TASKRUN, so they go together. */
static const unsigned optional_flags[] = {
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, /* 5.19 */
    IORING_SETUP_SUBMIT_ALL,                               /* 5.18 */
};

static int setup(struct io_uring *uring, uint32_t depth)
{
    size_t flag_count = sizeof optional_flags / sizeof optional_flags[0];
    int rc = -EINVAL;
    for (size_t dropped = 0; rc == -EINVAL && dropped <= flag_count; dropped++) {
        struct io_uring_params params = {.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
                                         .cq_entries = 2 * depth};
        for (size_t i = dropped; i < flag_count; i++)
            params.flags |= optional_flags[i];
        rc = io_uring_queue_init_params(depth, uring, &params);
    }
    if (rc == 0)
        (void)io_uring_ring_dontfork(uring); /* refused: a child has the ring, and lets it be */
    return rc;
}

/* A filter may let the ring be made and deny its use: one empty operation tells. */
static int try_ring(struct io_uring *uring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
    io_uring_prep_nop(sqe);
    int rc = io_uring_submit_and_wait(uring, 1);
    if (rc < 0)
        return rc;
    struct io_uring_cqe *cqe;
    rc = io_uring_peek_cqe(uring, &cqe);
    if (rc == 0)
        io_uring_cqe_seen(uring, cqe);
    return rc;
}

static int probe_kinds(struct ring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
    if (!probe)
        return -ENOTSUP;
    for (int kind = 0; kind < MST_AIO_KIND_COUNT; kind++)
        ring->works[kind] = io_uring_opcode_supported(probe, (int)opcodes[kind]) != 0;
    io_uring_free_probe(probe);
    return 0;
}

static int check_ring(struct ring *ring)
{
    if (!(ring->uring.features & IORING_FEAT_EXT_ARG)) /* waits with a deadline, 5.11 */
        return -ENOTSUP;
    int rc = try_ring(&ring->uring);
    return rc ? rc : probe_kinds(ring);
}

static int refuse(int rc, struct mst_err *err)
{
    if (rc == -ENOMEM)
        return mst_err_set(err, -ENOMEM, "io_uring: no memory (see ulimit -l), or MST_AIO=threads");
    return mst_err_set(err, -ENOTSUP, "io_uring does not work here: %s%s; use MST_AIO=threads",
                       mst_err_meaning(rc), rc == -EPERM ? " (seccomp filter or sysctl)" : "");
}

static int ring_create(uint32_t depth, void **ret_impl, struct mst_err *err)
{
    struct ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return mst_err_set(err, -ENOMEM, "aio: no memory for the ring");
    int rc = setup(&ring->uring, depth);
    if (rc) {
        free(ring);
        return refuse(rc, err);
    }
    rc = check_ring(ring);
    if (rc) {
        io_uring_queue_exit(&ring->uring);
        free(ring);
        return refuse(rc, err);
    }
    *ret_impl = ring;
    return 0;
}

static void ring_destroy(void *impl)
{
    struct ring *ring = impl;
    if (!ring)
        return;
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

static void prepare(struct io_uring_sqe *sqe, const struct aio_slot *slot)
{
    const struct mst_aio_op *op = &slot->op;
    unsigned size = (unsigned)aio_slot_bytes(slot);
    switch (op->kind) {
    case MST_AIO_READ:
        io_uring_prep_read(sqe, op->fd, aio_slot_data(slot), size, aio_slot_offset(slot));
        break;
    case MST_AIO_WRITE:
        io_uring_prep_write(sqe, op->fd, aio_slot_data(slot), size, aio_slot_offset(slot));
        break;
    case MST_AIO_FSYNC: io_uring_prep_fsync(sqe, op->fd, 0); break;
    case MST_AIO_FDATASYNC: io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC); break;
    case MST_AIO_FALLOCATE:
        /* As io_uring_prep_fallocate, whose arguments are signed in one liburing only. */
        io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, op->fd, NULL, 0, op->offset);
        sqe->addr = op->size_bytes;
        break;
    case MST_AIO_RENAME:
        io_uring_prep_renameat(sqe, op->fd, op->path, op->fd, op->path2, op->flags);
        break;
    case MST_AIO_MKDIR: io_uring_prep_mkdirat(sqe, op->fd, op->path, 0777); break;
    case MST_AIO_UNLINK: io_uring_prep_unlinkat(sqe, op->fd, op->path, (int)op->flags); break;
    case MST_AIO_KIND_COUNT: assert(false); /* no such kind */
    }
}

static bool ring_start(void *impl, struct aio_slot *slot)
{
    struct ring *ring = impl;
    if (!ring->works[slot->op.kind]) {
        slot->result = aio_attempt(slot);
        return false;
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    assert(sqe); /* the ring has an entry for every slot */
    prepare(sqe, slot);
    io_uring_sqe_set_data(sqe, slot);
    ring->under_way++;
    return true;
}

static void ring_flush(void *impl)
{
    struct ring *ring = impl;
    (void)io_uring_submit(&ring->uring); /* what is refused stays queued for the next call */
}

static size_t take(struct ring *ring, struct aio_slot **ret_slots, size_t cap)
{
    struct io_uring_cqe *cqes[COLLECT_MAX];
    unsigned count = io_uring_peek_batch_cqe(&ring->uring, cqes,
                                             (unsigned)mst_least(cap, COLLECT_MAX));
    assert(count <= ring->under_way && io_uring_sq_ready(&ring->uring) <= ring->under_way - count);
    for (unsigned i = 0; i < count; i++) {
        ret_slots[i] = io_uring_cqe_get_data(cqes[i]);
        ret_slots[i]->result = cqes[i]->res;
    }
    io_uring_cq_advance(&ring->uring, count);
    ring->under_way -= count;
    return count;
}

static void wait_for(struct ring *ring, size_t want, uint64_t deadline_ns)
{
    uint64_t now_ns = mst_now_ns();
    uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    struct __kernel_timespec left = {.tv_sec = (int64_t)(left_ns / MST_NS_PER_S),
                                     .tv_nsec = (int64_t)(left_ns % MST_NS_PER_S)};
    struct io_uring_cqe *cqe;
    /* Whatever ends the wait (completions, time, a signal), the caller looks again. */
    (void)io_uring_wait_cqes(&ring->uring, &cqe, (unsigned)want,
                             deadline_ns == MST_NEVER ? NULL : &left, NULL);
}

static size_t ring_collect(void *impl, struct aio_slot **ret_slots, size_t cap, size_t want,
                           uint64_t deadline_ns)
{
    struct ring *ring = impl;
    if (io_uring_sq_ready(&ring->uring))
        ring_flush(ring);
    /* While the kernel refuses some for lack of memory, their completions cannot be waited for. */
    if (want && io_uring_sq_ready(&ring->uring) == 0)
        wait_for(ring, want, deadline_ns);
    return take(ring, ret_slots, cap);
}

const struct aio_backend aio_uring = {
    .name = "uring",
    .create = ring_create,
    .destroy = ring_destroy,
    .start = ring_start,
    .flush = ring_flush,
    .collect = ring_collect,
};
