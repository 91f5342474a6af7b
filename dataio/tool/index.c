#include "muster/dataio/tool/tool.h"

#include "muster/core/size_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static const char *kind_of(const struct index *index)
{
    return index->fingerprint.full ? "full" : "sampled";
}

static void print_json(const struct index *index, const char *fingerprint)
{
    const struct record_reader *reader = record_reader_of(index->shape.format);
    json_t *object = json_pack(
        "{s:s, s:s?, s:I, s:I, s:I, s:I, s:s, s:s}", "format", reader->name, "dtype",
        reader->typed ? mst_dtype_name(index->shape.dtype) : NULL, "sources",
        (json_int_t)index->shard_count, "left_out", (json_int_t)index->hidden_count, "samples",
        (json_int_t)index->sample_count, "bytes", (json_int_t)index->size_bytes, "fingerprint",
        fingerprint, "fingerprint_kind", kind_of(index));
    tool_print(object);
}

static void print_text(const struct index *index, const char *fingerprint)
{
    const struct record_reader *reader = record_reader_of(index->shape.format);
    printf("format       %s\n", reader->name);
    if (reader->typed)
        printf("sample       %u x %s, stride %u\n", index->shape.elems,
               mst_dtype_name(index->shape.dtype), index->shape.stride);
    printf("sources      %u\n", index->shard_count);
    if (index->hidden_count)
        printf("left out     %" PRIu64 " names that begin with . or _\n", index->hidden_count);
    printf("samples      %" PRIu64 "\n", index->sample_count);
    char size[SIZE_TEXT_BYTES];
    printf("bytes        %" PRIu64 " (%s)\n", index->size_bytes,
           size_text(index->size_bytes, size));
    printf("fingerprint  %s %s\n", fingerprint, kind_of(index));
}

int tool_index(const struct tool *tool)
{
    struct index *index = tool_open(tool);
    if (!index)
        return TOOL_DAMAGED;
    char fingerprint[17];
    const struct fingerprint *all = &index->fingerprint;
    (void)snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, /* fits */
                   all->full ? all->full : all->sampled);
    if (tool->json)
        print_json(index, fingerprint);
    else
        print_text(index, fingerprint);
    index_close(index);
    return 0;
}
