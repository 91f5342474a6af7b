#include "muster/dataio/tool/tool.h"

#include "muster/core/size_text.h"

#include <inttypes.h>
#include <stdio.h>

static bool print_json(const struct index *index)
{
    const char *format = record_reader_of(index->shape.format)->name;
    json_t *list = json_array();
    bool whole = true;
    for (uint32_t i = 0; i < index->shard_count; i++) {
        const struct shard *shard = &index->shards[i];
        json_t *object = json_pack("{s:s, s:s, s:b, s:I, s:I, s:I}", "path", shard->source.label,
                                   "format", format, "gzip", shard->source.compressed,
                                   "stored_bytes", (json_int_t)shard->source.stored_bytes, "bytes",
                                   (json_int_t)shard->source.size_bytes, "samples",
                                   (json_int_t)shard->table.count);
        whole = tool_add_json(list, object, shard->source.label) && whole;
    }
    tool_print(list);
    return whole;
}

static void print_text(const struct index *index)
{
    const char *format = record_reader_of(index->shape.format)->name;
    char stored[SIZE_TEXT_BYTES], size[SIZE_TEXT_BYTES];
    printf("%-10s %10s %10s %14s  %s\n", "FORMAT", "STORED", "SIZE", "SAMPLES", "PATH");
    for (uint32_t i = 0; i < index->shard_count; i++) {
        const struct shard *shard = &index->shards[i];
        printf("%-10s %10s %10s %14" PRIu64 "  %s\n", format,
               size_text(shard->source.stored_bytes, stored),
               size_text(shard->source.size_bytes, size), shard->table.count, shard->source.label);
    }
}

int tool_ls(const struct tool *tool)
{
    struct index *index = tool_open(tool);
    if (!index)
        return TOOL_DAMAGED;
    bool whole = true;
    if (tool->json)
        whole = print_json(index);
    else
        print_text(index);
    index_close(index);
    return whole ? 0 : TOOL_DAMAGED;
}
