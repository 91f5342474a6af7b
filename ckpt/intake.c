#include "muster/ckpt/intake.h"

#include "muster/ckpt/reshard.h"
#include "muster/ckpt/tier.h"

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
    int64_t source;
    int r = layout_describe(tensor, &described, err);
    if (r < 0)
        return r;
    source = find_tensor(&intake->manifest, described.name, index);
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
static int aim(struct intake *intake, const struct mst_tensor *tensors, size_t tensor_count,
               size_t *ret_staging_bytes, struct mst_err *err)
{
    size_t source_count = intake->manifest.tensor_count;
    int r = 0;
    intake->targets = calloc(tensor_count + 1, sizeof *intake->targets);
    intake->target_of = malloc((source_count + 1) * sizeof *intake->target_of);
    if (!intake->targets || !intake->target_of)
        return mst_err_set(err, -ENOMEM, "no memory for %zu tensors", tensor_count);
    intake->target_count = tensor_count;
    for (size_t i = 0; i < source_count; i++)
        intake->target_of[i] = NO_TARGET;
    *ret_staging_bytes = 0;
    for (size_t i = 0; i < tensor_count && r == 0; i++)
        r = aim_one(intake, tensors, i, ret_staging_bytes, err);
    return r;
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

static int plan_tensor(struct intake *intake, const struct reshard_box *boxes, size_t count,
                       uint32_t source, struct reshard_piece *pieces, struct mst_err *err)
{
    const struct intake_target *target = &intake->targets[intake->target_of[source]];
    uint64_t row = 0;
    int64_t piece_count;
    if (target->row_bytes == 0 || target->row_count == 0)
        return 0;
    piece_count = reshard_plan(boxes, count, target->row_start, target->row_count, pieces, count,
                               &row);
    if (piece_count < 0)
        return mst_err_set(
            err, -EBADMSG,
            "step_%" PRIu64 "/%s: tensor %.100s: row %" PRIu64 " lies in no file, or in two",
            intake->manifest.step, MANIFEST_NAME, intake->manifest.tensors[source].name, row);
    for (int64_t i = 0; i < piece_count; i++)
        intake->spans[intake->span_count++] = span_of(&intake->manifest, &boxes[pieces[i].box],
                                                      &pieces[i]);
    return 0;
}

static int plan(struct intake *intake, struct mst_err *err)
{
    struct reshard_box *boxes = NULL;
    struct reshard_piece *pieces = NULL;
    size_t count = 0;
    int r = manifest_boxes(&intake->manifest, &boxes, &count);
    if (r == 0) {
        pieces = calloc(count + 1, sizeof *pieces);
        intake->spans = calloc(count + 1, sizeof *intake->spans);
    }
    if (!pieces || !intake->spans)
        r = mst_err_set(err, -ENOMEM, "no memory for the list of parts");
    for (uint32_t t = 0; t < intake->manifest.tensor_count && r == 0; t++) {
        size_t first, n = reshard_slice(boxes, count, t, &first);
        if (intake->target_of[t] != NO_TARGET)
            r = plan_tensor(intake, boxes + first, n, t, pieces, err);
    }
    free(pieces);
    free(boxes);
    return r;
}

/* Copies what the target wants of a block. Bytes are counted from the tensor's first. */
static void take_in(struct intake *intake, const struct reader_block *block)
{
    const struct layout_part *part = &intake->manifest.files[block->file].parts[block->part];
    const struct intake_target *target = &intake->targets[intake->target_of[part->tensor]];
    uint64_t have = part->row_start * target->row_bytes + layout_block_start(block->block);
    uint64_t want = target->row_start * target->row_bytes;
    uint64_t have_end = have + block->size_bytes;
    uint64_t want_end = want + target->row_count * target->row_bytes;
    uint64_t start = have > want ? have : want, end = have_end < want_end ? have_end : want_end;
    if (start < end)
        memcpy(intake->staging->base + target->staging_at + (start - want),
               block->data + (start - have), end - start);
}

static int read_blocks(struct intake *intake, struct tier *tier, uint64_t deadline_ns,
                       struct mst_err *err)
{
    struct reader *reader;
    struct reader_block block;
    int r = reader_create(tier, &intake->manifest, &reader);
    if (r < 0)
        return mst_err_set(err, r, "no memory to read with");
    reader_start(reader, intake->spans, intake->span_count);
    while ((r = reader_next(reader, deadline_ns, &block, err)) == 1)
        take_in(intake, &block);
    reader_destroy(reader);
    return r;
}

void intake_fini(struct intake *intake)
{
    manifest_fini(&intake->manifest);
    free(intake->targets);
    free(intake->target_of);
    free(intake->spans);
    *intake = (struct intake){.staging = intake->staging};
}

int intake_read(struct intake *intake, struct tier *tier, uint64_t step,
                const struct mst_tensor *tensors, size_t tensor_count, uint64_t deadline_ns,
                struct mst_err *err)
{
    size_t staging_bytes = 0;
    int r;
    intake_fini(intake);
    r = tier->ops->read_manifest(tier, step, &intake->manifest, deadline_ns, err);
    if (r == 0)
        r = aim(intake, tensors, tensor_count, &staging_bytes, err);
    if (r == 0)
        r = plan(intake, err);
    if (r == 0 && snapshot_reserve(intake->staging, staging_bytes ? staging_bytes : 1) < 0)
        r = mst_err_set(err, -ENOMEM, "no memory to stage %zu bytes", staging_bytes);
    return r == 0 ? read_blocks(intake, tier, deadline_ns, err) : r;
}

void intake_install(const struct intake *intake, const struct mst_tensor *tensors)
{
    for (size_t i = 0; i < intake->target_count; i++)
        if (tensors[i].data.size_bytes > 0)
            memcpy(tensors[i].data.data, intake->staging->base + intake->targets[i].staging_at,
                   tensors[i].data.size_bytes);
}
