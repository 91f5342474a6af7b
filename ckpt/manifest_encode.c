#include "muster/ckpt/manifest.h"

#include "muster/core/crc32c.h"

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
            "{\"crc32c\":\"00000000\",\n\"format\":\"muster-checkpoint\",\"version\":1,"
            "\"step\":%" PRIu64 ",\"world_size\":%" PRIu32 ",\"generation\":%" PRIu32
            ",\"attempt\":%" PRIu32 ",\"block_bytes\":%" PRIu64,
            manifest->step, manifest->world_size, manifest->generation, manifest->attempt,
            LAYOUT_BLOCK_BYTES);
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

/* Ends the stream; a stream that ran out of memory on the way has its error flag set. */
static int close_text(FILE *out, char **text)
{
    int failed = ferror(out);
    if (fclose(out) != 0 || failed) {
        free(*text);
        *text = NULL;
        return -ENOMEM;
    }
    return 0;
}

int manifest_encode(const struct manifest *manifest, char **ret_text, size_t *ret_bytes)
{
    static const size_t head = sizeof "{\"crc32c\":\"00000000\"" - 1;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    print_manifest(out, manifest);
    if (close_text(out, &text) < 0)
        return -ENOMEM;
    char digits[9];
    snprintf(digits, sizeof digits, "%08" PRIx32, mst_crc32c(0, text + head, size - head));
    memcpy(text + head - 9, digits, 8);
    *ret_text = text;
    *ret_bytes = size;
    return 0;
}

static void print_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\' || c < 0x20 || c > 0x7e)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
}

int manifest_vote_encode(const struct manifest_vote *vote, char **ret_text, size_t *ret_bytes)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    fprintf(out, "{\"code\":%d,\"text\":\"", vote->failure.code);
    print_escaped(out, vote->failure.text);
    fprintf(out, "\",\"fingerprint\":%" PRIu32 ",", vote->fingerprint);
    print_file(out, &vote->file);
    fputs("}", out);
    if (close_text(out, &text) < 0)
        return -ENOMEM;
    *ret_text = text;
    *ret_bytes = size;
    return 0;
}
