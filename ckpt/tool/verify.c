#include "muster/ckpt/tool/tool.h"

#include "muster/ckpt/reader.h"
#include "muster/ckpt/tier.h"
#include "muster/core/clock.h"
#include "muster/core/size_text.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_NS (100 * MST_NS_PER_MS)

struct verify {
    const struct tool *tool;
    uint64_t step;
    uint64_t total_bytes, done_bytes, block_count;
    uint64_t next_progress_ns;
    bool has_bar;
    json_t *damage; /* texts */
};

static void clear_bar(const struct verify *verify)
{
    if (verify->has_bar)
        fputs("\r\033[K", stderr);
}

static void show_progress(struct verify *verify)
{
    static const char bar[] = "########################################";
    uint64_t now = mst_now_ns();
    double part;
    if (!verify->has_bar || now < verify->next_progress_ns || verify->total_bytes == 0)
        return;
    verify->next_progress_ns = now + PROGRESS_NS;
    part = (double)verify->done_bytes / (double)verify->total_bytes;
    fprintf(stderr, "\rstep_%" PRIu64 " [%-40.*s] %3.0f %%", verify->step, (int)(part * 40), bar,
            part * 100);
}

static void add_damage(struct verify *verify, const char *text)
{
    (void)json_array_append_new(verify->damage, json_string(text));
    if (!verify->tool->json) {
        clear_bar(verify);
        printf("step_%" PRIu64 ": damaged: %s\n", verify->step, text);
    }
}

/* All blocks of all parts, to be freed. */
static struct reader_span *list_spans(const struct manifest *manifest, size_t *ret_count)
{
    struct reader_span *spans;
    size_t count = 0;
    for (uint32_t r = 0; r < manifest->world_size; r++)
        count += manifest->files[r].part_count;
    spans = calloc(count + 1, sizeof *spans);
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
        int r = reader_next(reader, MST_NEVER, &block, &err);
        if (r == 0)
            return 0;
        if (r < 0)
            add_damage(verify, err.text);
        if (r < 0 && r != -EBADMSG)
            return r;
        verify->block_count++;
        verify->done_bytes += block.size_bytes;
        show_progress(verify);
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
    struct reader *reader = NULL;
    struct mst_err err = {0};
    if (manifest_check_cover(manifest, &err) < 0)
        add_damage(verify, err.text);
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
    size_t damage_count = json_array_size(verify->damage);
    char size[SIZE_TEXT_BYTES];
    clear_bar(verify);
    if (!verify->tool->json && damage_count == 0)
        printf("step_%" PRIu64 ": ok, %" PRIu64 " blocks, %s\n", verify->step, verify->block_count,
               size_text(verify->total_bytes, size));
    (void)json_array_append_new(
        report, json_pack("{s:I, s:b, s:I, s:I, s:O}", "step", (json_int_t)verify->step, "ok",
                          damage_count == 0, "blocks", (json_int_t)verify->block_count, "bytes",
                          (json_int_t)verify->total_bytes, "damage", verify->damage));
}

/* Whether the step is whole. */
static bool verify_step(const struct tool *tool, uint64_t step, json_t *report)
{
    struct verify verify = {.tool = tool,
                            .step = step,
                            .has_bar = !tool->json && isatty(STDERR_FILENO),
                            .damage = json_array()};
    struct manifest manifest = {0};
    struct mst_err err = {0};
    bool whole;
    if (tool->tier->ops->read_manifest(tool->tier, step, &manifest, MST_NEVER, &err) < 0) {
        add_damage(&verify, err.text);
    } else {
        verify.total_bytes = tool_total_bytes(&manifest);
        check_manifest(&verify, &manifest);
        manifest_fini(&manifest);
    }
    conclude(&verify, report);
    whole = json_array_size(verify.damage) == 0;
    json_decref(verify.damage);
    return whole;
}

int tool_verify(const struct tool *tool)
{
    json_t *report;
    int status = 0;
    if (tool->step_count == 0) {
        fprintf(stderr, "muster-ckpt: %s: no checkpoint here\n", tool->path);
        return TOOL_DAMAGED;
    }
    report = json_array();
    for (size_t i = 0; i < tool->step_count; i++)
        if (!verify_step(tool, tool->steps[i], report))
            status = TOOL_DAMAGED;
    if (tool->json) {
        (void)json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(report);
    return status;
}
