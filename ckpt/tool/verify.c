#include "muster/ckpt/tool/tool.h"

#include "muster/ckpt/reader.h"
#include "muster/ckpt/tier.h"
#include "muster/core/cli/progress.h"
#include "muster/core/clock.h"
#include "muster/core/size_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct verify {
    const struct tool *tool;
    uint64_t step;
    uint64_t total_bytes, done_bytes, block_count;
    char name[32]; /* step_<step> */
    struct progress progress;
    bool ignored, gone;
    size_t damage_count;
    json_t *damage; /* texts */
};

/* Retention may be at work beside us. */
static void add_damage(struct verify *verify, const char *text)
{
    if (verify->damage_count == 0 && !verify->gone)
        verify->gone = tier_is_gone(verify->tool->tier, verify->step, MST_NEVER);
    if (verify->gone)
        return;
    verify->damage_count++; /* whether or not there is memory for its text */
    tool_append(verify->damage, json_string(text));
    if (!verify->tool->json) {
        progress_clear(&verify->progress);
        printf("%s: damaged: %s\n", verify->name, text);
    }
}

/* No reader counts it: neither whole nor damaged. */
static void ignore(struct verify *verify, const char *text)
{
    verify->ignored = true;
    if (!verify->tool->json)
        printf("%s: ignored: %s\n", verify->name, text);
}

/* All blocks of all parts, to be freed. */
static struct reader_span *list_spans(const struct manifest *manifest, size_t *ret_count)
{
    size_t count = 0;
    for (uint32_t r = 0; r < manifest->world_size; r++)
        count += manifest->files[r].part_count;
    struct reader_span *spans = calloc(count + 1, sizeof *spans);
    *ret_count = 0;
    for (uint32_t r = 0; spans && r < manifest->world_size; r++)
        for (uint32_t i = 0; i < manifest->files[r].part_count; i++)
            spans[(*ret_count)++] = (struct reader_span){
                .file = r, .part = i, .block_count = manifest->files[r].parts[i].block_count};
    return spans;
}

/* 0 when all blocks were looked at, whatever they hold. */
static int check_blocks(struct verify *verify, struct reader *reader)
{
    for (;;) {
        struct reader_block block = {0};
        struct mst_err err = {0};
        int rc = reader_next(reader, MST_NEVER, &block, &err);
        if (rc == 0)
            return 0;
        if (rc < 0)
            add_damage(verify, err.text);
        if (rc < 0 && (rc != -EBADMSG || verify->gone))
            return rc;
        verify->block_count++;
        verify->done_bytes += block.size_bytes;
        progress_show(&verify->progress, verify->name, verify->done_bytes, verify->total_bytes);
    }
}

static void check_frames(struct verify *verify, struct reader *reader, uint32_t world_size)
{
    for (uint32_t r = 0; r < world_size; r++) {
        struct mst_err err = {0};
        if (reader_check_frame(reader, r, &err) < 0)
            add_damage(verify, err.text);
    }
}

static void check_manifest(struct verify *verify, const struct manifest *manifest)
{
    size_t span_count = 0;
    struct reader_span *spans = list_spans(manifest, &span_count);
    struct mst_err err = {0};
    if (manifest_check_cover(manifest, &err) < 0)
        add_damage(verify, err.text);
    struct reader *reader = NULL;
    if (!spans || reader_create(verify->tool->tier, manifest, &reader) < 0) {
        add_damage(verify, "no memory to read with");
        free(spans);
        return;
    }
    reader_start(reader, spans, span_count);
    if (check_blocks(verify, reader) == 0)
        check_frames(verify, reader, manifest->world_size);
    reader_destroy(reader);
    free(spans);
}

/* Prints what was found, and adds it to `report` for --json. */
static void conclude(struct verify *verify, json_t *report)
{
    progress_clear(&verify->progress);
    if (verify->gone) {
        if (!verify->tool->json)
            printf("%s: gone: removed while it was read\n", verify->name);
        return;
    }
    char size[SIZE_TEXT_BYTES];
    if (!verify->tool->json && verify->damage_count == 0 && !verify->ignored)
        printf("%s: ok, %" PRIu64 " blocks, %s\n", verify->name, verify->block_count,
               size_text(verify->total_bytes, size));
    tool_append(report,
                json_pack("{s:I, s:b, s:b, s:I, s:I, s:O}", "step", (json_int_t)verify->step, "ok",
                          verify->damage_count == 0 && !verify->ignored, "ignored", verify->ignored,
                          "blocks", (json_int_t)verify->block_count, "bytes",
                          (json_int_t)verify->total_bytes, "damage", verify->damage));
}

/* Whether the step is whole, or gone; one that is there is counted. */
static bool verify_step(const struct tool *tool, uint64_t step, json_t *report, size_t *seen_count)
{
    struct verify verify = {.tool = tool, .step = step, .damage = json_array()};
    (void)snprintf(verify.name, sizeof verify.name, "step_%" PRIu64, step); /* fits */
    progress_init(&verify.progress, !tool->json);
    struct manifest manifest = {0};
    struct mst_err err = {0};
    int rc = tier_read_manifest(tool->tier, step, &manifest, MST_NEVER, &err);
    if (rc == -ESTALE) {
        ignore(&verify, err.text);
    } else if (rc < 0) {
        add_damage(&verify, err.text);
    } else {
        verify.total_bytes = tool_total_bytes(&manifest);
        check_manifest(&verify, &manifest);
        manifest_fini(&manifest);
    }
    conclude(&verify, report);
    json_decref(verify.damage);
    *seen_count += !verify.gone;
    return verify.damage_count == 0;
}

int tool_verify(const struct tool *tool)
{
    json_t *report = json_array();
    size_t seen_count = 0;
    int rc = 0;
    for (size_t i = 0; i < tool->step_count; i++)
        if (!verify_step(tool, tool->steps[i], report, &seen_count))
            rc = TOOL_DAMAGED;
    rc = seen_count == 0 ? TOOL_DAMAGED : rc;
    if (tool->json)
        tool_print(report);
    else
        json_decref(report);
    return rc;
}
