#include "muster/ckpt/manifest.h"

#include "muster/ckpt/fields.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_shape(FILE *out, const struct layout_tensor *tensor)
{
    for (uint32_t i = 0; i < tensor->dim_count; i++)
        fprintf(out, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
}

/* Names need no escapes: layout_tensor_init lets no quote, backslash or control character in. */
static void print_tensors(FILE *out, const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->tensor_count; i++) {
        const struct layout_tensor *tensor = &manifest->tensors[i];
        fprintf(out, "%s\n{\"name\":\"%s\",\"dtype\":\"%s\",\"shape\":[", i ? "," : "",
                tensor->name, mst_dtype_name(tensor->dtype));
        print_shape(out, tensor);
        fputs("]}", out);
    }
}

static void print_parts(FILE *out, const struct manifest_file *file)
{
    for (size_t i = 0; i < file->part_count; i++) {
        const struct layout_part *part = &file->parts[i];
        fprintf(out,
                "%s\n{\"tensor\":%" PRIu32 ",\"row\":%" PRIu64 ",\"rows\":%" PRIu64
                ",\"offset\":%" PRIu64 ",\"crc32c\":\"",
                i ? "," : "", part->tensor, part->row_start, part->row_count, part->offset);
        assert(part->block_first + part->block_count <= file->crc_count);
        for (uint64_t b = 0; b < part->block_count; b++)
            fprintf(out, "%08" PRIx32, file->crcs[part->block_first + b]);
        fputs("\"}", out);
    }
}

static void print_file(FILE *out, const struct manifest_file *file)
{
    fprintf(out, "\"bytes\":%" PRIu64 ",\"frame_crc32c\":\"%08" PRIx32 "\",\"parts\":[",
            file->size_bytes, file->frame_crc);
    print_parts(out, file);
    fputs("]", out);
}

static void print_manifest(FILE *out, const struct manifest *manifest)
{
    fprintf(out,
            FIELDS_SEAL ",\n\"format\":\"muster-checkpoint\",\"version\":1,"
                        "\"step\":%" PRIu64 ",\"world_size\":%" PRIu32 ",\"generation\":%" PRIu32
                        ",\"attempt\":%" PRIu32 ",\"block_bytes\":%" PRIu64,
            manifest->step, manifest->world_size, manifest->generation, manifest->attempt,
            LAYOUT_BLOCK_BYTES);
    if (manifest->epoch > 0) {
        fprintf(out, ",\"epoch\":%" PRIu64 ",\"token\":\"%016" PRIx64 "\",\"job\":\"",
                manifest->epoch, manifest->token);
        fields_print_escaped(out, manifest->job_id);
        fputs("\"", out);
    }
    if (manifest->commit[0])
        fprintf(out, ",\"commit\":\"%s\"", manifest->commit);
    fputs(",\n\"cursor\":\"", out);
    for (size_t i = 0; i < manifest->cursor_bytes; i++)
        fprintf(out, "%02x", manifest->cursor[i]);
    fputs("\",\n\"tensors\":[", out);
    print_tensors(out, manifest);
    fputs("],\n\"files\":[", out);
    for (uint32_t r = 0; r < manifest->world_size; r++) {
        fprintf(out, "%s\n{\"name\":\"rank_%" PRIu32 ".h5\",", r ? "," : "", r);
        print_file(out, &manifest->files[r]);
        fputs("}", out);
    }
    fputs("]}\n", out);
}

int manifest_encode(const struct manifest *manifest, char **ret_text, size_t *ret_bytes)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    print_manifest(out, manifest);
    if (fields_close_text(out, &text) < 0)
        return -ENOMEM;
    fields_seal(text, size);
    *ret_text = text;
    *ret_bytes = size;
    return 0;
}

int manifest_vote_encode(const struct manifest_vote *vote, char **ret_text, size_t *ret_bytes)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    fprintf(out, "{\"code\":%d,\"text\":\"", vote->failure.code);
    fields_print_escaped(out, vote->failure.text);
    fprintf(out, "\",\"fingerprint\":%" PRIu32 ",\"cursor\":%" PRIu32 ",", vote->fingerprint,
            vote->cursor);
    print_file(out, &vote->file);
    fputs("}", out);
    if (fields_close_text(out, &text) < 0)
        return -ENOMEM;
    *ret_text = text;
    *ret_bytes = size;
    return 0;
}
