#include "muster/ckpt/intake.h"

#include "muster/ckpt/reshard.h"
#include "muster/ckpt/tier.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NO_TARGET UINT32_MAX

/* Tensors mostly come in the order in which they were saved: look there first. */
static int64_t find_tensor(const struct manifest *manifest, const char *name, size_t hint)
{
    for (size_t i = 0; i < manifest->tensor_count; i++) {
        size_t at = (hint + i) % manifest->tensor_count;
        if (strcmp(manifest->tensors[at].name, name) == 0)
            return (int64_t)at;
    }
    return -1;
}

static int aim_one(struct intake *intake, const struct mst_tensor *tensors, size_t index,
                   size_t *staging_bytes, struct mst_err *err)
{
    const struct mst_tensor *tensor = &tensors[index];
    struct intake_target *target = &intake->targets[index];
    struct layout_tensor described;
    int rc = layout_describe(tensor, &described, err);
    if (rc < 0)
        return rc;
    int64_t source = find_tensor(&intake->manifest, described.name, index);
    if (source < 0)
        return mst_err_set(err, -EINVAL, "step %" PRIu64 " has no tensor %.100s",
                           intake->manifest.step, described.name);
    if (!layout_tensor_equal(&described, &intake->manifest.tensors[source]))
        return mst_err_set(err, -EINVAL, "tensor %.100s has another shape or type in step %" PRIu64,
                           described.name, intake->manifest.step);
    if (intake->target_of[source] != NO_TARGET)
        return mst_err_set(err, -EINVAL, "tensor %.100s is asked for twice", described.name);
    intake->target_of[source] = (uint32_t)index;
    *target = (struct intake_target){.row_start = tensor->sharded ? tensor->row_start : 0,
                                     .row_count = tensor->sharded ? tensor->row_count
                                                                  : described.row_count,
                                     .row_bytes = described.row_bytes,
                                     .staging_at = *staging_bytes};
    *staging_bytes += tensor->data.size_bytes;
    return 0;
}

/* Matches the caller's tensors with the manifest's. */
static int aim(struct intake *intake, const struct state *state, size_t *ret_staging_bytes,
               struct mst_err *err)
{
    size_t source_count = intake->manifest.tensor_count;
    intake->targets = calloc(state->tensor_count + 1, sizeof *intake->targets);
    intake->target_of = malloc((source_count + 1) * sizeof *intake->target_of);
    if (!intake->targets || !intake->target_of)
        return mst_err_set(err, -ENOMEM, "no memory for %zu tensors", state->tensor_count);
    intake->target_count = state->tensor_count;
    for (size_t i = 0; i < source_count; i++)
        intake->target_of[i] = NO_TARGET;
    *ret_staging_bytes = 0;
    int rc = 0;
    for (size_t i = 0; i < state->tensor_count && rc == 0; i++)
        rc = aim_one(intake, state->tensors, i, ret_staging_bytes, err);
    return rc;
}

/* The blocks that hold a piece: whole ones, for a checksum covers a whole block. */
static struct reader_span span_of(const struct manifest *manifest, const struct reshard_box *box,
                                  const struct reshard_piece *piece)
{
    uint64_t row_bytes = manifest->tensors[box->tensor].row_bytes;
    uint64_t start = (piece->row_start - box->row_start) * row_bytes;
    uint64_t last = start + piece->row_count * row_bytes - 1;
    uint64_t first_block = start / LAYOUT_BLOCK_BYTES;
    return (struct reader_span){.file = box->file,
                                .part = box->part,
                                .block_first = first_block,
                                .block_count = last / LAYOUT_BLOCK_BYTES - first_block + 1};
}

/* `pieces` has room for as many as the slice has boxes. */
static int plan_tensor(struct intake *intake, const struct reshard_slice *slice, uint32_t source,
                       struct reshard_piece *pieces, struct mst_err *err)
{
    const struct intake_target *target = &intake->targets[intake->target_of[source]];
    if (target->row_bytes == 0 || target->row_count == 0)
        return 0;
    uint64_t row = 0;
    int64_t piece_count = reshard_plan(slice, target->row_start, target->row_count, pieces,
                                       slice->count, &row);
    if (piece_count < 0)
        return mst_err_set(
            err, -EBADMSG,
            "step_%" PRIu64 "/%s: tensor %.100s: row %" PRIu64 " lies in no file, or in two",
            intake->manifest.step, MANIFEST_NAME, intake->manifest.tensors[source].name, row);
    for (int64_t i = 0; i < piece_count; i++)
        intake->spans[intake->span_count++] = span_of(&intake->manifest,
                                                      &slice->boxes[pieces[i].box], &pieces[i]);
    return 0;
}

static int plan(struct intake *intake, struct mst_err *err)
{
    struct reshard_box *boxes = NULL;
    size_t count = 0;
    int rc = manifest_boxes(&intake->manifest, &boxes, &count);
    struct reshard_piece *pieces = NULL;
    if (rc == 0) {
        pieces = calloc(count + 1, sizeof *pieces);
        intake->spans = calloc(count + 1, sizeof *intake->spans);
    }
    if (!pieces || !intake->spans)
        rc = mst_err_set(err, -ENOMEM, "no memory for the list of parts");
    for (uint32_t t = 0; t < intake->manifest.tensor_count && rc == 0; t++) {
        const struct reshard_slice slice = reshard_slice(boxes, count, t);
        if (intake->target_of[t] != NO_TARGET)
            rc = plan_tensor(intake, &slice, t, pieces, err);
    }
    assert(intake->span_count <= count);
    free(pieces);
    free(boxes);
    return rc;
}

/* Copies what the target wants of a block. Bytes are counted from the tensor's first. */
static void take_in(struct intake *intake, const struct reader_block *block)
{
    const struct layout_part *part = &intake->manifest.files[block->file].parts[block->part];
    assert(intake->target_of[part->tensor] < intake->target_count);
    const struct intake_target *target = &intake->targets[intake->target_of[part->tensor]];
    uint64_t have = part->row_start * target->row_bytes + layout_block_start(block->block);
    uint64_t want = target->row_start * target->row_bytes;
    uint64_t start = have > want ? have : want;
    uint64_t end = mst_least(have + block->size_bytes,
                             want + target->row_count * target->row_bytes);
    if (start < end)
        memcpy(intake->staging->base + target->staging_at + (start - want),
               block->data + (start - have), end - start);
}

static int read_blocks(struct intake *intake, struct tier *tier, uint64_t deadline_ns,
                       struct mst_err *err)
{
    struct reader *reader;
    int rc = reader_create(tier, &intake->manifest, &reader);
    if (rc < 0)
        return mst_err_set(err, rc, "no memory to read with");
    reader_start(reader, intake->spans, intake->span_count);
    struct reader_block block;
    while ((rc = reader_next(reader, deadline_ns, &block, err)) == 1)
        take_in(intake, &block);
    reader_destroy(reader);
    return rc;
}

void intake_fini(struct intake *intake)
{
    manifest_fini(&intake->manifest);
    free(intake->targets);
    free(intake->target_of);
    free(intake->spans);
    *intake = (struct intake){.staging = intake->staging};
}

int intake_read(struct intake *intake, struct tier *tier, uint64_t step, const struct state *state,
                uint64_t deadline_ns, struct mst_err *err)
{
    intake_fini(intake);
    int rc = tier->ops->read_manifest(tier, step, &intake->manifest, deadline_ns, err);
    size_t staging_bytes = 0;
    if (rc == 0)
        rc = aim(intake, state, &staging_bytes, err);
    if (rc == 0)
        rc = plan(intake, err);
    if (rc == 0 && snapshot_reserve(intake->staging, staging_bytes ? staging_bytes : 1) < 0)
        rc = mst_err_set(err, -ENOMEM, "no memory to stage %zu bytes", staging_bytes);
    return rc == 0 ? read_blocks(intake, tier, deadline_ns, err) : rc;
}

void intake_install(const struct intake *intake, const struct state *state)
{
    assert(intake->target_count == state->tensor_count);
    for (size_t i = 0; i < intake->target_count; i++) {
        const struct mst_span *to = &state->tensors[i].data;
        if (to->size_bytes > 0)
            memcpy(to->data, intake->staging->base + intake->targets[i].staging_at, to->size_bytes);
    }
}
