/* Intake: the rows that one rank wants of one checkpoint, read and verified into memory of its own.
 *
 *   intake_read → intake_install, or not → intake_fini
 *
 * One thread at a time. */
#ifndef MUSTER_CKPT_INTAKE_H
#define MUSTER_CKPT_INTAKE_H

#include "muster/ckpt/manifest.h"
#include "muster/ckpt/reader.h"
#include "muster/ckpt/snapshot.h"
#include "muster/ckpt/state.h"

/* Where the rows of one of the caller's tensors go. */
struct intake_target {
    uint64_t row_start, row_count;
    uint64_t row_bytes;
    size_t staging_at;
};

struct intake {
    struct manifest manifest;
    struct intake_target *targets; /* of the caller's tensors */
    size_t target_count;
    uint32_t *target_of; /* by the manifest's tensor; UINT32_MAX: nobody asks for it */
    struct reader_span *spans;
    size_t span_count;
    struct snapshot *staging; /* borrowed */
};

/* Reads step `step` for these tensors; what an earlier read left is dropped. 0; -EBADMSG damage, or
 * rows that no file holds, with text; -EINVAL a tensor that is missing or has another shape or
 * type, naming it; -ENOTSUP; -ENOMEM; -ETIMEDOUT; another -errno if the place does not answer.
 * Blocks. */
int intake_read(struct intake *intake, struct tier *tier, uint64_t step, const struct state *state,
                uint64_t deadline_ns, struct mst_err *err);

/* Copies what was read into the tensors it was read for. */
void intake_install(const struct intake *intake, const struct state *state);

/* A zeroed or half-built one is allowed. */
void intake_fini(struct intake *intake);

#endif
