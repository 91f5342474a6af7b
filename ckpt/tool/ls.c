#include "muster/ckpt/tool/tool.h"

#include "muster/ckpt/tier.h"
#include "muster/core/clock.h"
#include "muster/core/size_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void print_line(uint64_t step, const struct manifest *manifest, const struct mst_err *err)
{
    char size[SIZE_TEXT_BYTES];
    if (err->code < 0)
        printf("%12" PRIu64 "  %s: %s\n", step,
               err->code == -ESTALE    ? "ignored"
               : err->code == -EBADMSG ? "damaged"
                                       : "not read",
               err->text);
    else
        printf("%12" PRIu64 "  %5" PRIu32 "  %7zu  %10s\n", step, manifest->world_size,
               manifest->tensor_count, size_text(tool_total_bytes(manifest), size));
}

static json_t *describe(uint64_t step, const struct manifest *manifest, const struct mst_err *err)
{
    if (err->code < 0)
        return json_pack("{s:I, s:b, s:b, s:s}", "step", (json_int_t)step, "intact",
                         err->code == -ESTALE, "ignored", err->code == -ESTALE, "error", err->text);
    return json_pack(
        "{s:I, s:b, s:I, s:I, s:I, s:I}", "step", (json_int_t)step, "intact", 1, "world_size",
        (json_int_t)manifest->world_size, "generation", (json_int_t)manifest->generation, "tensors",
        (json_int_t)manifest->tensor_count, "bytes", (json_int_t)tool_total_bytes(manifest));
}

/* A listing reads manifests only: "intact" says that of them, not of the tensors. What does not
 * count is no damage. */
int tool_ls(const struct tool *tool)
{
    json_t *array = tool->json ? json_array() : NULL;
    if (!tool->json)
        printf("%12s  %5s  %7s  %10s\n", "step", "world", "tensors", "size");
    int status = 0;
    for (size_t i = 0; i < tool->step_count; i++) {
        struct manifest manifest = {0};
        struct mst_err err = {0};
        (void)tier_read_manifest(tool->tier, tool->steps[i], &manifest, MST_NEVER,
                                 &err); /* its code is in err */
        if (err.code == -EBADMSG && tier_is_gone(tool->tier, tool->steps[i], MST_NEVER))
            continue;
        if (tool->json)
            tool_append(array, describe(tool->steps[i], &manifest, &err));
        else
            print_line(tool->steps[i], &manifest, &err);
        if (err.code < 0 && err.code != -ESTALE)
            status = TOOL_DAMAGED;
        manifest_fini(&manifest);
    }
    if (tool->json)
        tool_print(array);
    return status;
}
