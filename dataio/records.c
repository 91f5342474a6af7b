/* pure */
#include "muster/dataio/record.h"

#include "muster/dataio/uris.h"

#include <errno.h>
#include <string.h>

const struct record_reader *const record_readers[] = {&rec_raw, &rec_megatron, &rec_lines, NULL};

const struct record_reader *record_reader_of(enum mst_format format)
{
    for (size_t i = 0; record_readers[i]; i++)
        if (record_readers[i]->format == format)
            return record_readers[i];
    return NULL;
}

int record_format_parse(const char *name, enum mst_format *ret_format)
{
    for (size_t i = 0; record_readers[i]; i++) {
        if (strcmp(record_readers[i]->name, name) == 0) {
            *ret_format = record_readers[i]->format;
            return 0;
        }
    }
    if (strcmp(name, "auto") != 0)
        return -EINVAL;
    *ret_format = MST_FORMAT_AUTO;
    return 0;
}

bool record_is_gzip(const char *name)
{
    size_t length = strlen(name);
    return uris_text_ends_with(name, length, ".gz") || uris_text_ends_with(name, length, ".dz");
}

enum mst_format record_format_of(const char *name, bool has_idx)
{
    size_t length = strlen(name) - (record_is_gzip(name) ? 3 : 0);
    if (uris_text_ends_with(name, length, ".bin") && has_idx)
        return MST_FORMAT_MEGATRON;
    if (uris_text_ends_with(name, length, ".txt") || uris_text_ends_with(name, length, ".jsonl"))
        return MST_FORMAT_LINES;
    return MST_FORMAT_RAW;
}

void record_cut(const struct record_shape *shape, uint64_t size_bytes,
                struct record_table *ret_table)
{
    uint64_t elem_bytes = mst_dtype_size(shape->dtype);
    uint64_t record_bytes = elem_bytes * shape->elems, stride_bytes = elem_bytes * shape->stride;
    uint64_t count = size_bytes < record_bytes ? 0 : (size_bytes - record_bytes) / stride_bytes + 1;
    *ret_table = (struct record_table){
        .count = count, .stride_bytes = stride_bytes, .size_bytes = record_bytes};
}
