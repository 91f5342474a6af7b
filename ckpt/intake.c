#include "muster/ckpt/intake.h"

#include "muster/ckpt/echo.h"
#include "muster/ckpt/reshard.h"
#include "muster/ckpt/tier.h"
#include "muster/ckpt/warmer.h"
#include "muster/core/blank.h"
#include "muster/core/huge.h"
#include "muster/core/least.h"
#include "muster/core/stream.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NO_TARGET UINT32_MAX
#define STRAIGHT_BYTES_MIN (UINT64_C(256) << 10) /* smaller pieces are packed, and copied there */

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
                   struct mst_err *err)
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
                                     .on_device = tensor->data.mem == MST_MEM_DEVICE};
    return 0;
}

/* Matches the caller's tensors with the manifest's. */
static int aim(struct intake *intake, const struct state *state, struct mst_err *err)
{
    size_t source_count = intake->manifest.tensor_count;
    intake->targets = calloc(state->tensor_count + 1, sizeof *intake->targets);
    intake->target_of = malloc((source_count + 1) * sizeof *intake->target_of);
    if (!intake->targets || !intake->target_of)
        return mst_err_set(err, -ENOMEM, "no memory for %zu tensors", state->tensor_count);
    intake->target_count = state->tensor_count;
    for (size_t i = 0; i < source_count; i++)
        intake->target_of[i] = NO_TARGET;
    int rc = 0;
    for (size_t i = 0; i < state->tensor_count && rc == 0; i++)
        rc = aim_one(intake, state->tensors, i, err);
    return rc;
}

static int compare_memory(const void *a, const void *b)
{
    const struct mst_span *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

/* Whether two tensors share memory: then the one that is installed last is right. */
static int find_overlap(const struct state *state, bool *ret_overlap, struct mst_err *err)
{
    struct mst_span *spans = malloc((state->tensor_count + 1) * sizeof *spans);
    if (!spans)
        return mst_err_set(err, -ENOMEM, "no memory for %zu tensors", state->tensor_count);
    for (size_t i = 0; i < state->tensor_count; i++)
        spans[i] = state->tensors[i].data;
    qsort(spans, state->tensor_count, sizeof *spans, compare_memory);
    *ret_overlap = false;
    const uint8_t *end = NULL; /* of those before */
    for (size_t i = 0; i < state->tensor_count; i++) {
        const uint8_t *data = spans[i].data;
        if (spans[i].size_bytes == 0)
            continue;
        if (data < end)
            *ret_overlap = true;
        if (data + spans[i].size_bytes > end)
            end = data + spans[i].size_bytes;
    }
    free(spans);
    return 0;
}

/* Finds the tensors that can be filled at once, of those that are worth the look. */
static int find_blank(struct intake *intake, const struct state *state, struct mst_err *err)
{
    bool overlap = false;
    int rc = find_overlap(state, &overlap, err);
    if (rc < 0 || overlap)
        return rc;
    struct mst_blank blank;
    mst_blank_look(&blank);
    for (size_t i = 0; i < intake->target_count; i++) {
        struct intake_target *target = &intake->targets[i];
        size_t size_bytes = target->row_count * target->row_bytes;
        uint8_t *data = state->tensors[i].data.data;
        if (target->on_device || size_bytes < STRAIGHT_BYTES_MIN ||
            !mst_blank_is(&blank, data, size_bytes))
            continue;
        target->blank = data;
        mst_huge_ask(data, size_bytes);
    }
    mst_blank_forget(&blank);
    return 0;
}

/* The blocks that hold a piece: whole ones, for a checksum covers a whole block. */
static struct reader_span span_of(const struct reshard_box *box, const struct intake_piece *piece)
{
    uint64_t end = piece->start + piece->size_bytes;
    uint64_t first_block = piece->start / LAYOUT_BLOCK_BYTES;
    return (struct reader_span){.file = box->file,
                                .part = box->part,
                                .block_first = first_block,
                                .block_count = layout_block_count(end) - first_block,
                                .start = piece->start,
                                .end = end};
}

/* Finds room for a piece that begins at `offset` of its file. Whole pages are read straight to a
 * place that lies in its page as the file's bytes do. */
static void stage(struct intake *intake, uint64_t offset, struct intake_piece *piece)
{
    bool is_packed = piece->size_bytes < STRAIGHT_BYTES_MIN;
    size_t at = intake->staging_bytes;
    if (!is_packed)
        at = mst_round_up(at, TIER_PAGE_BYTES) + offset % TIER_PAGE_BYTES;
    piece->staging_at = at;
    at += piece->size_bytes;
    intake->staging_bytes = is_packed ? at : mst_round_up(at, TIER_PAGE_BYTES);
}

static void add_piece(struct intake *intake, uint32_t target_index, const struct reshard_box *box,
                      const struct reshard_piece *rows)
{
    const struct intake_target *target = &intake->targets[target_index];
    const struct layout_part *part = &intake->manifest.files[box->file].parts[box->part];
    struct intake_piece piece = {.target = target_index,
                                 .target_at = (rows->row_start - target->row_start) *
                                              target->row_bytes,
                                 .start = (rows->row_start - box->row_start) * target->row_bytes,
                                 .size_bytes = rows->row_count * target->row_bytes};
    if (!target->blank)
        stage(intake, part->offset + piece.start, &piece);
    intake->spans[intake->piece_count] = span_of(box, &piece);
    if (target->on_device)
        intake->echo_count += intake->spans[intake->piece_count].block_count;
    intake->pieces[intake->piece_count++] = piece;
}

/* `rows` has room for as many pieces as the slice has boxes. */
static int plan_tensor(struct intake *intake, const struct reshard_slice *slice, uint32_t source,
                       struct reshard_piece *rows, struct mst_err *err)
{
    const struct intake_target *target = &intake->targets[intake->target_of[source]];
    if (target->row_bytes == 0 || target->row_count == 0)
        return 0;
    uint64_t row = 0;
    int64_t count = reshard_plan(slice, target->row_start, target->row_count, rows, slice->count,
                                 &row);
    if (count < 0)
        return mst_err_set(
            err, -EBADMSG,
            "step_%" PRIu64 "/%s: tensor %.100s: row %" PRIu64 " lies in no file, or in two",
            intake->manifest.step, MANIFEST_NAME, intake->manifest.tensors[source].name, row);
    for (int64_t i = 0; i < count; i++)
        add_piece(intake, intake->target_of[source], &slice->boxes[rows[i].box], &rows[i]);
    return 0;
}

static int plan(struct intake *intake, struct mst_err *err)
{
    struct reshard_box *boxes = NULL;
    size_t count = 0;
    int rc = manifest_boxes(&intake->manifest, &boxes, &count);
    struct reshard_piece *rows = NULL;
    if (rc == 0) {
        rows = calloc(count + 1, sizeof *rows);
        intake->pieces = calloc(count + 1, sizeof *intake->pieces);
        intake->spans = calloc(count + 1, sizeof *intake->spans);
    }
    if (!rows || !intake->pieces || !intake->spans)
        rc = mst_err_set(err, -ENOMEM, "no memory for the list of parts");
    for (uint32_t t = 0; t < intake->manifest.tensor_count && rc == 0; t++) {
        const struct reshard_slice slice = reshard_slice(boxes, count, t);
        if (intake->target_of[t] != NO_TARGET)
            rc = plan_tensor(intake, &slice, t, rows, err);
    }
    assert(intake->piece_count <= count);
    free(rows);
    free(boxes);
    return rc;
}

static uint8_t *place_of(const struct intake *intake, const struct intake_piece *piece)
{
    uint8_t *blank = intake->targets[piece->target].blank;
    return blank ? blank + piece->target_at : intake->staging->base + piece->staging_at;
}

/* Tells the reader of a piece's place, if whole pages may be read there: into a tensor none that
 * reaches beyond it. */
static void offer_place(const struct intake *intake, const struct intake_piece *piece,
                        struct reader_span *span)
{
    uint64_t offset = intake->manifest.files[span->file].parts[span->part].offset;
    uint8_t *place = place_of(intake, piece);
    bool is_aligned = ((uintptr_t)place - (offset + span->start)) % TIER_PAGE_BYTES == 0;
    if (piece->size_bytes < STRAIGHT_BYTES_MIN || !is_aligned)
        return;
    span->into = place;
    if (intake->targets[piece->target].blank)
        span->end -= (offset + span->end) % TIER_PAGE_BYTES;
}

static int reserve(struct intake *intake, struct mst_err *err)
{
    intake->heard_at = mst_round_up(intake->staging_bytes, sizeof(uint32_t));
    if (intake->echo_count > 0)
        intake->staging_bytes = intake->heard_at + intake->echo_count * sizeof(uint32_t);
    if (intake->staging_bytes > 0 && snapshot_reserve(intake->staging, intake->staging_bytes) < 0)
        return mst_err_set(err, -ENOMEM, "no memory to stage %zu bytes", intake->staging_bytes);
    for (size_t i = 0; i < intake->piece_count; i++)
        offer_place(intake, &intake->pieces[i], &intake->spans[i]);
    return 0;
}

/* Copies what is wanted of a block, unless it was read to its place. */
static void take_in(struct intake *intake, const struct reader_block *block)
{
    assert(block->span < intake->piece_count);
    const struct intake_piece *piece = &intake->pieces[block->span];
    uint64_t have = layout_block_start(block->block);
    uint64_t start = have > piece->start ? have : piece->start;
    uint64_t end = mst_least(have + block->size_bytes, piece->start + piece->size_bytes);
    assert(start < end);
    uint8_t *to = place_of(intake, piece) + (start - piece->start);
    const uint8_t *from = block->data + (start - have);
    if (from != to)
        memcpy(to, from, end - start);
}

static int read_blocks(struct intake *intake, struct tier *tier, const struct state *state,
                       uint64_t deadline_ns, struct mst_err *err)
{
    struct warmer warmer = {.state = state};
    struct reader *reader;
    int rc = reader_create(tier, &intake->manifest, &reader);
    if (rc < 0)
        return mst_err_set(err, rc, "no memory to read with");
    reader_start(reader, intake->spans, intake->piece_count);
    struct reader_block block;
    while ((rc = reader_next(reader, deadline_ns, &block, err)) == 1) {
        take_in(intake, &block);
        warmer_go_on(&warmer, block.size_bytes);
    }
    reader_destroy(reader);
    return rc;
}

/* Whatever the device may lack is found out before the ranks agree. */
static int ready_device(struct intake *intake, struct mst_err *err)
{
    if (intake->echo_count == 0)
        return 0;
    int rc = snapshot_register(intake->staging, intake->device, err);
    return rc < 0 ? rc : device_reserve(intake->device, intake->echo_count * sizeof(uint32_t), err);
}

void intake_fini(struct intake *intake)
{
    manifest_fini(&intake->manifest);
    free(intake->targets);
    free(intake->target_of);
    free(intake->pieces);
    free(intake->spans);
    *intake = (struct intake){.staging = intake->staging, .device = intake->device};
}

int intake_read(struct intake *intake, struct tier *tier, uint64_t step, const struct state *state,
                uint64_t deadline_ns, struct mst_err *err)
{
    intake_fini(intake);
    int rc = tier->ops->read_manifest(tier, step, &intake->manifest, deadline_ns, err);
    if (rc == 0)
        rc = aim(intake, state, err);
    if (rc == 0)
        rc = find_blank(intake, state, err);
    if (rc == 0)
        rc = plan(intake, err);
    if (rc == 0)
        rc = reserve(intake, err);
    if (rc == 0)
        rc = read_blocks(intake, tier, state, deadline_ns, err);
    return rc == 0 ? ready_device(intake, err) : rc;
}

/* Where a piece belongs in its tensor. */
static uint8_t *target_of(const struct intake *intake, const struct state *state,
                          const struct intake_piece *piece)
{
    const struct mst_span *to = &state->tensors[piece->target].data;
    assert(intake->target_count == state->tensor_count);
    assert(piece->target_at + piece->size_bytes <= to->size_bytes);
    return (uint8_t *)to->data + piece->target_at;
}

static struct echo_piece echo_of(const struct intake *intake, const struct state *state,
                                 size_t index)
{
    const struct intake_piece *piece = &intake->pieces[index];
    const struct manifest_file *file = &intake->manifest.files[intake->spans[index].file];
    return (struct echo_piece){.there = target_of(intake, state, piece),
                               .here = place_of(intake, piece),
                               .start = piece->start,
                               .size_bytes = piece->size_bytes,
                               .part = &file->parts[intake->spans[index].part],
                               .crcs = file->crcs};
}

static bool is_on_device(const struct intake *intake, size_t index)
{
    return intake->targets[intake->pieces[index].target].on_device;
}

static int put_copies(const struct intake *intake, const struct state *state, struct mst_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < intake->piece_count && rc == 0; i++) {
        const struct intake_piece *piece = &intake->pieces[i];
        if (is_on_device(intake, i))
            rc = device_copy(intake->device, target_of(intake, state, piece),
                             place_of(intake, piece), piece->size_bytes, err);
    }
    return rc;
}

/* 0; -ENOTSUP: the device has no kernels for it, and was not asked. */
static int put_questions(const struct intake *intake, const struct state *state)
{
    struct mst_gpu_queue *queue = intake->device->queue;
    uint32_t *sums = intake->device->sums.data, *echoes = sums;
    int rc = 0;
    for (size_t i = 0; i < intake->piece_count && rc == 0; i++) {
        const struct echo_piece piece = echo_of(intake, state, i);
        if (!is_on_device(intake, i))
            continue;
        rc = echo_ask(queue, &piece, echoes);
        echoes += echo_count(&piece);
    }
    return rc == 0 ? mst_gpu_copy(queue, intake->staging->base + intake->heard_at, sums,
                                  intake->echo_count * sizeof *sums)
                   : rc;
}

/* Everything that the device is to do, one behind the other. */
static int put_on_device(const struct intake *intake, const struct state *state, bool *ret_asked,
                         struct mst_err *err)
{
    int rc = put_copies(intake, state, err);
    if (rc < 0)
        return rc;
    rc = put_questions(intake, state);
    *ret_asked = rc == 0;
    return rc < 0 && rc != -ENOTSUP ? device_explain(intake->device, rc, "checksums", err) : 0;
}

static int compare_echoes(const struct intake *intake, const struct state *state,
                          struct mst_err *err)
{
    const uint32_t *heard = (const uint32_t *)(const void *)(intake->staging->base +
                                                             intake->heard_at);
    for (size_t i = 0; i < intake->piece_count; i++) {
        const struct echo_piece piece = echo_of(intake, state, i);
        if (!is_on_device(intake, i))
            continue;
        if (echo_compare(&piece, heard) < echo_count(&piece))
            return mst_err_set(err, -EIO,
                               "tensor %.100s: %s does not hold what it was given: the bytes are "
                               "right in memory of the host",
                               state->tensors[intake->pieces[i].target].name,
                               mst_gpu_name(intake->device->gpu));
        heard += echo_count(&piece);
    }
    return 0;
}

static void install_here(const struct intake *intake, const struct state *state)
{
    for (size_t i = 0; i < intake->piece_count; i++) {
        const struct intake_piece *piece = &intake->pieces[i];
        if (!intake->targets[piece->target].blank && !is_on_device(intake, i))
            mst_stream_copy(target_of(intake, state, piece), place_of(intake, piece),
                            piece->size_bytes);
    }
}

/* The device copies beside the host. */
int intake_install(const struct intake *intake, const struct state *state, struct mst_err *err)
{
    bool asked = false, uses_device = intake->echo_count > 0;
    int rc = uses_device ? put_on_device(intake, state, &asked, err) : 0;
    if (rc == 0)
        install_here(intake, state);
    int ended = uses_device ? device_finish(intake->device, rc == 0 ? err : NULL) : 0;
    rc = rc < 0 ? rc : ended;
    return rc == 0 && asked ? compare_echoes(intake, state, err) : rc;
}

void intake_undo(const struct intake *intake)
{
    for (size_t i = 0; i < intake->target_count; i++) {
        const struct intake_target *target = &intake->targets[i];
        if (target->blank)
            mst_blank_again(target->blank, target->row_count * target->row_bytes);
    }
}
