/* verify: each mirror of each source is opened on its own, so that one damaged file does not hide
 * the next, nor a good mirror a bad one; what a loader asks of all together is asked of each beside
 * the first good one. */
#include "muster/dataio/tool/tool.h"

#include "muster/core/cli/progress.h"
#include "muster/core/crc32c.h"
#include "muster/core/size_text.h"

#include <inttypes.h>
#include <stdio.h>

struct verify {
    const struct tool *tool;
    size_t source_count;
    char *uri, *name;  /* of the copy, and of the source */
    const char *first; /* copy of the source that was good, or "" */
    uint32_t first_crc;
    char *
        like; /* the first good copy of all sources, whose format the others have; NULL: none yet */
    struct record_shape shape;   /* of that */
    const struct source *source; /* while it is read */
    uint64_t done_bytes;
    uint32_t crc;
    struct progress progress;
    json_t *report;
    bool told; /* all of it is in the report */
};

static int take_piece(void *arg, struct mst_cspan piece)
{
    struct verify *verify = arg;
    verify->crc = mst_crc32c(verify->crc, piece.data, piece.size_bytes);
    verify->done_bytes += piece.size_bytes;
    progress_show(&verify->progress, verify->source->name, verify->done_bytes,
                  verify->source->size_bytes);
    return 0;
}

static void report(struct verify *verify, json_t *entry)
{
    verify->told = tool_add_json(verify->report, entry, verify->uri) && verify->told;
}

static void report_damage(struct verify *verify, const char *text)
{
    progress_clear(&verify->progress);
    if (verify->tool->json)
        report(verify, json_pack("{s:s, s:b, s:s}", "uri", verify->uri, "ok", 0, "damage", text));
    else
        printf("%s: damaged: %s\n", verify->uri, text);
}

static void report_good(struct verify *verify, uint64_t sample_count)
{
    progress_clear(&verify->progress);
    char size[SIZE_TEXT_BYTES], crc[9];
    (void)snprintf(crc, sizeof crc, "%08" PRIx32, verify->crc); /* fits */
    if (verify->tool->json)
        report(verify, json_pack("{s:s, s:b, s:I, s:I, s:s}", "uri", verify->uri, "ok", 1, "bytes",
                                 (json_int_t)verify->done_bytes, "samples",
                                 (json_int_t)sample_count, "crc32c", crc));
    else
        printf("%s: ok, %s, %" PRIu64 " samples, crc32c %s\n", verify->uri,
               size_text(verify->done_bytes, size), sample_count, crc);
}

/* A mirror that differs from the first good one is damaged, whichever of them is right; and so is a
 * source of another format than the first. A long name is cut. */
static bool is_different(const struct verify *verify, const struct record_shape *shape,
                         char text[300])
{
    bool other = verify->like &&
                 (shape->format != verify->shape.format || shape->dtype != verify->shape.dtype);
    if (other)
        (void)snprintf(text, 300,
                       "it looks like another format than %s: say --format if it is none",
                       verify->like);
    else
        (void)snprintf(text, 300, "its contents are not those of %s", verify->first);
    return other || (*verify->first && verify->crc != verify->first_crc);
}

/* Opening checks gzip trailers and the index against its data; reading, the rest. */
static bool verify_copy(struct verify *verify)
{
    struct dataset_source self = {.name = verify->name, .mirrors = &verify->uri, .mirror_count = 1};
    struct dataset dataset = {.sources = &self, .source_count = 1};
    struct index_opts opts = verify->tool->opts;
    opts.dataset = &dataset;
    opts.is_part = verify->source_count > 1;
    verify->crc = 0;
    verify->done_bytes = 0;
    struct index *index = NULL;
    struct mst_err err = {0};
    int rc = index_open(&opts, verify->tool->feed, &index, &err);
    if (rc == 0) {
        verify->source = &index->shards[0].source;
        rc = source_scan(verify->source, NULL, take_piece, verify, &err);
    }
    char text[300];
    bool whole = rc == 0 && !is_different(verify, &index->shape, text);
    if (whole && !verify->like) {
        verify->like = verify->uri;
        verify->shape = index->shape;
    }
    if (whole)
        report_good(verify, index->sample_count);
    else
        report_damage(verify, rc ? err.text : text);
    index_close(index);
    return whole;
}

static bool verify_source(struct verify *verify, const struct dataset_source *source)
{
    verify->name = source->name;
    verify->first = "";
    bool whole = true;
    for (size_t i = 0; i < source->mirror_count; i++) {
        verify->uri = source->mirrors[i];
        if (!verify_copy(verify)) {
            whole = false;
        } else if (!*verify->first) {
            verify->first = verify->uri;
            verify->first_crc = verify->crc;
        }
    }
    return whole;
}

int tool_verify(const struct tool *tool)
{
    struct dataset *dataset = tool_dataset(tool);
    struct verify verify = {.tool = tool,
                            .source_count = dataset ? dataset->source_count : 0,
                            .report = json_array(),
                            .told = true};
    progress_init(&verify.progress, !tool->json);
    bool whole = dataset != NULL;
    for (size_t i = 0; dataset && i < dataset->source_count; i++)
        whole = verify_source(&verify, &dataset->sources[i]) && whole;
    if (tool->json && dataset)
        tool_print(verify.report);
    else
        json_decref(verify.report);
    dataset_close(dataset);
    return whole && verify.told ? 0 : TOOL_DAMAGED;
}
