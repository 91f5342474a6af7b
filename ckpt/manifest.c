#include "muster/ckpt/manifest.h"

#include "muster/ckpt/fields.h"
#include "muster/ckpt/reshard.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the manifest ---------------------------------------------------------------------------- */

static int decode_cursor(const json_t *root, struct manifest *manifest, struct mst_err *err)
{
    const json_t *cursor = json_object_get(root, "cursor");
    size_t length = json_string_length(cursor);
    if (!json_is_string(cursor) || length % 2 || length / 2 > MANIFEST_CURSOR_MAX)
        return fields_bad(err, "cursor");
    for (size_t i = 0; i < length / 2; i++) {
        uint32_t byte;
        if (!fields_parse_hex32(json_string_value(cursor) + 2 * i, 2, &byte))
            return fields_bad(err, "cursor");
        manifest->cursor[i] = (uint8_t)byte;
    }
    manifest->cursor_bytes = length / 2;
    return 0;
}

static int decode_tensor(const json_t *object, struct layout_tensor *tensor, struct mst_err *err)
{
    const char *dtype_name = json_string_value(json_object_get(object, "dtype"));
    enum mst_dtype dtype;
    if (!dtype_name || mst_dtype_parse(dtype_name, &dtype) < 0)
        return fields_bad(err, "dtype");
    uint64_t shape[MST_TENSOR_DIMS_MAX] = {0};
    const json_t *dims;
    size_t dim_count = 0;
    int rc = fields_get_array(object, "shape", MST_TENSOR_DIMS_MAX, &dims, &dim_count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < dim_count; i++) {
        const json_t *dim = json_array_get(dims, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return fields_bad(err, "shape");
        shape[i] = (uint64_t)json_integer_value(dim);
    }
    rc = layout_tensor_init(tensor, json_string_value(json_object_get(object, "name")), dtype,
                            (uint32_t)dim_count, shape, err);
    if (rc < 0 && err)
        err->code = -EBADMSG;
    return rc < 0 ? -EBADMSG : 0;
}

static int decode_tensors(const json_t *root, struct manifest *manifest, struct mst_err *err)
{
    const json_t *array;
    size_t count;
    int rc = fields_get_array(root, "tensors", MANIFEST_TENSORS_MAX, &array, &count, err);
    if (rc < 0)
        return rc;
    manifest->tensors = calloc(count ? count : 1, sizeof *manifest->tensors);
    if (!manifest->tensors)
        return mst_err_set(err, -ENOMEM, "no memory for %zu tensors", count);
    manifest->tensor_count = count;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = decode_tensor(json_array_get(array, i), &manifest->tensors[i], err);
    return rc;
}

/* Geometry of one part: everything that readers later compute with. */
static int decode_part(const json_t *object, const struct layout_tensor *tensors,
                       size_t tensor_count, uint64_t file_bytes, struct layout_part *part,
                       struct mst_err *err)
{
    int rc = fields_get_u32(object, "tensor", MANIFEST_TENSORS_MAX, &part->tensor, err);
    if (rc < 0)
        return rc;
    if (part->tensor >= tensor_count)
        return fields_bad(err, "tensor");
    const struct layout_tensor *tensor = &tensors[part->tensor];
    rc = fields_get_u64(object, "row", tensor->row_count, &part->row_start, err);
    if (rc == 0)
        rc = fields_get_u64(object, "rows", tensor->row_count - part->row_start, &part->row_count,
                            err);
    if (rc < 0)
        return rc;
    part->size_bytes = part->row_count * tensor->row_bytes;
    part->block_count = layout_block_count(part->size_bytes);
    if (part->size_bytes == 0 || part->size_bytes > file_bytes)
        return fields_bad(err, "rows");
    return fields_get_u64(object, "offset", file_bytes - part->size_bytes, &part->offset, err);
}

/* Appends the checksums of `part`, which has its size by now. */
static int decode_crcs(const json_t *object, struct manifest_file *file, struct layout_part *part,
                       struct mst_err *err)
{
    const json_t *crcs = json_object_get(object, "crc32c");
    size_t length = json_string_length(crcs);
    if (!json_is_string(crcs) || length % 8 || length / 8 != part->block_count)
        return fields_bad(err, "crc32c");
    uint32_t *grown = realloc(file->crcs, (file->crc_count + part->block_count) * sizeof *grown);
    if (!grown)
        return mst_err_set(err, -ENOMEM, "no memory for checksums");
    file->crcs = grown;
    part->block_first = file->crc_count;
    for (uint64_t b = 0; b < part->block_count; b++)
        if (!fields_parse_hex32(json_string_value(crcs) + 8 * b, 8, &grown[part->block_first + b]))
            return fields_bad(err, "crc32c");
    file->crc_count += part->block_count;
    assert(part->block_first + part->block_count == file->crc_count);
    return 0;
}

static int decode_file(const json_t *object, const struct layout_tensor *tensors,
                       size_t tensor_count, struct manifest_file *file, struct mst_err *err)
{
    int rc = fields_get_u64(object, "bytes", INT64_MAX, &file->size_bytes, err);
    if (rc == 0)
        rc = fields_get_crc(object, "frame_crc32c", &file->frame_crc, err);
    const json_t *array = NULL;
    size_t count = 0;
    if (rc == 0)
        rc = fields_get_array(object, "parts", tensor_count, &array, &count, err);
    if (rc < 0)
        return rc;
    file->parts = calloc(count ? count : 1, sizeof *file->parts);
    if (!file->parts)
        return mst_err_set(err, -ENOMEM, "no memory for %zu parts", count);
    file->part_count = count;
    uint64_t end = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const json_t *part = json_array_get(array, i);
        rc = decode_part(part, tensors, tensor_count, file->size_bytes, &file->parts[i], err);
        if (rc == 0 && file->parts[i].offset < end)
            rc = fields_bad(err, "offset"); /* parts come in order and do not overlap */
        if (rc == 0)
            rc = decode_crcs(part, file, &file->parts[i], err);
        end = file->parts[i].offset + file->parts[i].size_bytes;
    }
    assert(rc < 0 || end <= file->size_bytes);
    return rc;
}

static int decode_files(const json_t *root, struct manifest *manifest, struct mst_err *err)
{
    const json_t *array;
    size_t count;
    int rc = fields_get_array(root, "files", MANIFEST_WORLD_MAX, &array, &count, err);
    if (rc < 0)
        return rc;
    if (count != manifest->world_size)
        return fields_bad(err, "files");
    assert(count > 0); /* no world of none is taken */
    manifest->files = calloc(count, sizeof *manifest->files);
    if (!manifest->files)
        return mst_err_set(err, -ENOMEM, "no memory for %zu files", count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = decode_file(json_array_get(array, i), manifest->tensors, manifest->tensor_count,
                         &manifest->files[i], err);
        if (rc < 0)
            mst_err_wrap(err, "rank_%zu.h5", i);
    }
    return rc;
}

/* It becomes a part of paths: digits and dots that start with a digit lead nowhere else. */
static int decode_commit(const json_t *root, struct manifest *manifest, struct mst_err *err)
{
    const json_t *commit = json_object_get(root, "commit");
    const char *text = json_string_value(commit);
    size_t length = json_string_length(commit);
    if (!commit)
        return 0;
    if (length == 0 || length >= sizeof manifest->commit || fields_hex_digit(text[0]) < 0)
        return fields_bad(err, "commit");
    for (size_t i = 0; i < length; i++)
        if (fields_hex_digit(text[i]) < 0 && text[i] != '.')
            return fields_bad(err, "commit");
    memcpy(manifest->commit, text, length + 1);
    return 0;
}

/* Written since roots have owners. */
static int decode_owner(const json_t *root, struct manifest *manifest, struct mst_err *err)
{
    if (!json_object_get(root, "epoch"))
        return 0;
    int rc = fields_get_u64(root, "epoch", INT64_MAX, &manifest->epoch, err);
    if (rc == 0)
        rc = fields_get_hex64(root, "token", &manifest->token, err);
    return rc == 0 ? fields_get_text(root, "job", manifest->job_id, sizeof manifest->job_id, err)
                   : rc;
}

static int decode_head(const json_t *root, struct manifest *manifest, struct mst_err *err)
{
    int rc = fields_check_format(root, "muster-checkpoint", err);
    if (rc == 0)
        rc = fields_get_crc(root, "crc32c", &manifest->crc, err);
    if (rc < 0)
        return rc;
    uint64_t block_bytes;
    if (fields_get_u64(root, "block_bytes", LAYOUT_BLOCK_BYTES, &block_bytes, err) < 0 ||
        block_bytes != LAYOUT_BLOCK_BYTES)
        return fields_bad(err, "block_bytes");
    rc = fields_get_u64(root, "step", INT64_MAX, &manifest->step, err);
    if (rc == 0)
        rc = fields_get_u32(root, "world_size", MANIFEST_WORLD_MAX, &manifest->world_size, err);
    if (rc == 0)
        rc = fields_get_u32(root, "generation", UINT32_MAX, &manifest->generation, err);
    if (rc == 0)
        rc = fields_get_u32(root, "attempt", UINT32_MAX, &manifest->attempt, err);
    if (rc == 0)
        rc = decode_commit(root, manifest, err);
    if (rc == 0)
        rc = decode_owner(root, manifest, err);
    return rc == 0 && manifest->world_size == 0 ? fields_bad(err, "world_size") : rc;
}

static int decode_root(const json_t *root, struct manifest *manifest, struct mst_err *err)
{
    int rc = decode_head(root, manifest, err);
    if (rc == 0)
        rc = decode_cursor(root, manifest, err);
    if (rc == 0)
        rc = decode_tensors(root, manifest, err);
    return rc == 0 ? decode_files(root, manifest, err) : rc;
}

int manifest_decode(const char *text, size_t size_bytes, struct manifest *ret_manifest,
                    struct mst_err *err)
{
    json_t *root = NULL;
    int rc = fields_open(text, size_bytes, MANIFEST_BYTES_MAX, &root, err);
    if (rc < 0)
        return rc;
    struct manifest manifest = {0};
    rc = decode_root(root, &manifest, err);
    json_decref(root);
    if (rc < 0) {
        manifest_fini(&manifest);
        return rc;
    }
    *ret_manifest = manifest;
    return 0;
}

/* ---- votes ----------------------------------------------------------------------------------- */

static int decode_vote(const struct manifest_ballot *ballot, const json_t *root,
                       struct manifest_vote *vote, struct mst_err *err)
{
    const json_t *code = json_object_get(root, "code");
    if (!json_is_integer(code) || json_integer_value(code) > 0 || json_integer_value(code) < -4095)
        return fields_bad(err, "code");
    const char *text = json_string_value(json_object_get(root, "text"));
    if (!text)
        return fields_bad(err, "text");
    vote->failure.code = (int)json_integer_value(code);
    snprintf(vote->failure.text, sizeof vote->failure.text, "%s", text);
    if (vote->failure.code != 0)
        return 0;
    int rc = fields_get_u32(root, "fingerprint", UINT32_MAX, &vote->fingerprint, err);
    if (rc == 0 && vote->fingerprint != ballot->fingerprint)
        rc = mst_err_set(err, -EINVAL,
                         "saved other tensors than rank 0: all ranks must pass the "
                         "same names, types and shapes");
    if (rc == 0)
        rc = fields_get_u32(root, "cursor", UINT32_MAX, &vote->cursor, err);
    if (rc == 0 && vote->cursor != ballot->cursor)
        rc = mst_err_set(err, -EINVAL,
                         "passed another cursor than rank 0: its dataset, order or position is "
                         "another, and all ranks must train on the same");
    return rc == 0 ? decode_file(root, ballot->tensors, ballot->tensor_count, &vote->file, err)
                   : rc;
}

int manifest_vote_decode(const struct manifest_ballot *ballot, const char *text, size_t size_bytes,
                         struct manifest_vote *ret_vote, struct mst_err *err)
{
    json_t *root = NULL;
    int rc = fields_parse(text, size_bytes, &root, err);
    if (rc < 0)
        return rc;
    struct manifest_vote vote = {0};
    rc = decode_vote(ballot, root, &vote, err);
    json_decref(root);
    if (rc < 0) {
        manifest_file_fini(&vote.file);
        return rc;
    }
    *ret_vote = vote;
    return 0;
}

void manifest_file_fini(struct manifest_file *file)
{
    free(file->parts);
    free(file->crcs);
    *file = (struct manifest_file){0};
}

void manifest_fini(struct manifest *manifest)
{
    for (uint32_t r = 0; manifest->files && r < manifest->world_size; r++)
        manifest_file_fini(&manifest->files[r]);
    free(manifest->files);
    free(manifest->tensors);
    manifest->files = NULL;
    manifest->tensors = NULL;
}

/* ---- what it covers -------------------------------------------------------------------------- */

int manifest_boxes(const struct manifest *manifest, struct reshard_box **ret_boxes,
                   size_t *ret_count)
{
    size_t count = 0;
    for (uint32_t r = 0; r < manifest->world_size; r++)
        count += manifest->files[r].part_count;
    struct reshard_box *boxes = calloc(count ? count : 1, sizeof *boxes);
    if (!boxes)
        return -ENOMEM;
    size_t next = 0;
    for (uint32_t r = 0; r < manifest->world_size; r++)
        for (size_t i = 0; i < manifest->files[r].part_count; i++) {
            const struct layout_part *part = &manifest->files[r].parts[i];
            boxes[next++] = (struct reshard_box){part->tensor, r, (uint32_t)i, part->row_start,
                                                 part->row_count};
        }
    reshard_sort(boxes, count);
    *ret_boxes = boxes;
    *ret_count = count;
    return 0;
}

/* Empty tensors have no parts, and rows without bytes need none. */
static int check_tensor(const struct layout_tensor *tensor, const struct reshard_slice *slice,
                        struct reshard_piece *pieces, struct mst_err *err)
{
    uint64_t row = 0;
    if (tensor->row_bytes == 0 ||
        reshard_plan(slice, 0, tensor->row_count, pieces, slice->count, &row) >= 0)
        return 0;
    return mst_err_set(err, -EINVAL,
                       "tensor %.100s: row %" PRIu64 " is written by no rank, or by two",
                       tensor->name, row);
}

int manifest_check_cover(const struct manifest *manifest, struct mst_err *err)
{
    struct reshard_box *boxes;
    size_t count;
    int rc = manifest_boxes(manifest, &boxes, &count);
    if (rc < 0)
        return mst_err_set(err, rc, "no memory for the list of parts");
    struct reshard_piece *pieces = calloc(count ? count : 1, sizeof *pieces);
    if (!pieces)
        rc = mst_err_set(err, -ENOMEM, "no memory for the list of parts");
    for (uint32_t t = 0; t < manifest->tensor_count && rc == 0; t++) {
        const struct reshard_slice slice = reshard_slice(boxes, count, t);
        rc = check_tensor(&manifest->tensors[t], &slice, pieces, err);
    }
    free(pieces);
    free(boxes);
    return rc;
}
