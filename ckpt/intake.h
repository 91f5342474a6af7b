/* Intake: the rows that one rank wants of one checkpoint, read and verified.
 *
 *   intake_read → intake_install or intake_undo → intake_fini
 *
 * Tensors that nobody has written to yet are filled as it reads: undo makes them blank again. What
 * others are to hold is read to memory of the intake's own, where it stays until it is installed,
 * and the tensors are faulted in meanwhile: behind the verdict there is one copy to make. One
 * thread at a time. */
#ifndef MUSTER_CKPT_INTAKE_H
#define MUSTER_CKPT_INTAKE_H

#include "muster/ckpt/manifest.h"
#include "muster/ckpt/reader.h"
#include "muster/ckpt/snapshot.h"
#include "muster/ckpt/state.h"

/* The rows that one of the caller's tensors holds. */
struct intake_target {
    uint64_t row_start, row_count;
    uint64_t row_bytes;
    uint8_t *blank; /* the tensor's memory, if it is filled at once; NULL: once it is installed */
    bool on_device;
};

/* Bytes of one part that go to one target. */
struct intake_piece {
    uint32_t target;
    uint64_t target_at;         /* from the target's first byte */
    uint64_t start, size_bytes; /* from the part's first byte */
    size_t staging_at;          /* unless the target is filled at once */
};

struct intake {
    struct manifest manifest;
    struct intake_target *targets; /* of the caller's tensors */
    size_t target_count;
    uint32_t *target_of; /* by the manifest's tensor; UINT32_MAX: nobody asks for it */
    struct intake_piece *pieces;
    struct reader_span *spans; /* one for each piece */
    size_t piece_count;
    size_t staging_bytes;
    struct snapshot *staging; /* borrowed */
    struct device *device;    /* borrowed */
    size_t echo_count;        /* checksums that the device is to take of what it is given */
    size_t heard_at;          /* where they are to come to, in staging */
};

/* Reads step `step` for these tensors, for which the device was joined; an earlier read was undone,
 * and what it left is dropped. 0; -EBADMSG damage, or rows that no file holds, with text; -EINVAL a
 * tensor that is missing or has another shape or type, naming it; -ENOTSUP; -ENOMEM; -ETIMEDOUT;
 * -EIO of the device; another -errno if the place does not answer. Blocks. */
int intake_read(struct intake *intake, struct tier *tier, uint64_t step, const struct state *state,
                uint64_t deadline_ns, struct mst_err *err);

/* Copies what was read into the tensors it was read for. 0; only where some are on a device: -EIO
 * it failed, or does not hold what it was given, with text; -ENOMEM. */
int intake_install(const struct intake *intake, const struct state *state, struct mst_err *err);

/* Leaves all tensors as they were before the read, however far that came. */
void intake_undo(const struct intake *intake);

/* A zeroed or half-built one is allowed. */
void intake_fini(struct intake *intake);

#endif
