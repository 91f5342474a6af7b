#include "muster/ckpt/tool/tool.h"

#include "muster/ckpt/tier.h"
#include "muster/core/clock.h"
#include "muster/core/size_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void format_shape(const struct layout_tensor *tensor, char *text, size_t cap)
{
    int n = snprintf(text, cap, "%s", tensor->dim_count ? "" : "scalar");
    size_t at = 0;
    for (uint32_t i = 0; i < tensor->dim_count && n >= 0 && at < cap; i++) {
        n = snprintf(text + at, cap - at, "%s%" PRIu64, i ? "x" : "", tensor->shape[i]);
        at += (size_t)n;
    }
}

/* In how many files each tensor lies; to be freed. */
static uint32_t *count_parts(const struct manifest *manifest)
{
    uint32_t *counts = calloc(manifest->tensor_count + 1, sizeof *counts);
    for (uint32_t r = 0; counts && r < manifest->world_size; r++)
        for (size_t i = 0; i < manifest->files[r].part_count; i++)
            counts[manifest->files[r].parts[i].tensor]++;
    return counts;
}

static void print_text(const struct manifest *manifest, const uint32_t *counts)
{
    char size[SIZE_TEXT_BYTES], shape[192];
    printf("step        %" PRIu64 "\nworld size  %" PRIu32 "\ngeneration  %" PRIu32
           "\ncursor      %zu bytes\nsize        %s\n\n",
           manifest->step, manifest->world_size, manifest->generation, manifest->cursor_bytes,
           size_text(tool_total_bytes(manifest), size));
    printf("%-44s %-7s %-20s %10s %5s\n", "tensor", "type", "shape", "size", "files");
    for (size_t i = 0; i < manifest->tensor_count; i++) {
        const struct layout_tensor *tensor = &manifest->tensors[i];
        format_shape(tensor, shape, sizeof shape);
        printf("%-44s %-7s %-20s %10s %5" PRIu32 "\n", tensor->name, mst_dtype_name(tensor->dtype),
               shape, size_text(tensor->row_count * tensor->row_bytes, size), counts[i]);
    }
}

static json_t *describe_tensor(const struct layout_tensor *tensor, uint32_t file_count)
{
    json_t *shape = json_array();
    for (uint32_t i = 0; i < tensor->dim_count; i++)
        tool_append(shape, json_integer((json_int_t)tensor->shape[i]));
    return json_pack("{s:s, s:s, s:o, s:I, s:I}", "name", tensor->name, "dtype",
                     mst_dtype_name(tensor->dtype), "shape", shape, "bytes",
                     (json_int_t)(tensor->row_count * tensor->row_bytes), "files",
                     (json_int_t)file_count);
}

static json_t *describe_files(const struct manifest *manifest)
{
    json_t *files = json_array();
    for (uint32_t r = 0; r < manifest->world_size; r++) {
        char name[ROOT_NAME_MAX];
        root_file_name(name, r);
        tool_append(files, json_pack("{s:s, s:I, s:I}", "name", name, "bytes",
                                     (json_int_t)manifest->files[r].size_bytes, "parts",
                                     (json_int_t)manifest->files[r].part_count));
    }
    return files;
}

static void print_json(const struct manifest *manifest, const uint32_t *counts)
{
    json_t *tensors = json_array();
    for (size_t i = 0; i < manifest->tensor_count; i++)
        tool_append(tensors, describe_tensor(&manifest->tensors[i], counts[i]));
    tool_print(json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "step", (json_int_t)manifest->step,
                         "world_size", (json_int_t)manifest->world_size, "generation",
                         (json_int_t)manifest->generation, "cursor_bytes",
                         (json_int_t)manifest->cursor_bytes, "tensors", tensors, "files",
                         describe_files(manifest)));
}

int tool_show(const struct tool *tool)
{
    struct manifest manifest = {0};
    struct mst_err err = {0};
    int rc = -1;
    for (size_t i = 0; i < tool->step_count && rc < 0; i++)
        rc = tier_read_manifest(tool->tier, tool->steps[i], &manifest, MST_NEVER, &err);
    if (rc < 0) {
        fprintf(stderr, "muster-ckpt: %s: %s\n", tool->path, err.text);
        return TOOL_DAMAGED;
    }
    uint32_t *counts = count_parts(&manifest);
    if (counts && tool->json)
        print_json(&manifest, counts);
    else if (counts)
        print_text(&manifest, counts);
    free(counts);
    manifest_fini(&manifest);
    return counts ? 0 : TOOL_DAMAGED;
}
