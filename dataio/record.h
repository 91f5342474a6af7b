/* Record: how the bytes of a source become samples.
 *
 * A reader is a pure decoder. It either cuts a source by arithmetic (raw, Megatron) or finds the
 * starts by looking at every byte (lines). What it finds is a table; from then on all formats are
 * the same: sample i is a range of bytes. */
/* pure */
#ifndef MUSTER_DATAIO_RECORD_H
#define MUSTER_DATAIO_RECORD_H

#include "muster/core/span.h"
#include "muster/dataio/dataio.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_shape {
    enum mst_format format; /* never MST_FORMAT_AUTO */
    enum mst_dtype dtype;
    uint32_t elems, stride; /* >= 1 where the format has elements */
};

/* The samples of one source. */
struct record_table {
    uint64_t count;
    uint64_t stride_bytes, size_bytes; /* when starts is NULL */
    const uint64_t *starts; /* count + 1 of them, ascending: each record ends one byte, its newline,
                               before the next start */
};

struct record_scan {
    uint64_t seen_bytes;
    bool inside; /* the last byte seen did not end a record */
};

struct record_reader {
    const char *name;
    enum mst_format format;
    bool typed;            /* a sample is made of elements: shape.elems >= 1 */
    const char *companion; /* ".idx": the suffix of the file beside *.bin that cut needs, or NULL */

    /* Cuts a source of `size_bytes`. `companion` holds that file's bytes. May set shape->dtype.
     * 0; -EBADMSG the companion is damaged or does not fit the size; the text gives both sizes, the
     * caller adds the names. NULL: the reader scans instead. */
    int (*cut)(struct record_shape *shape, uint64_t size_bytes, struct mst_cspan companion,
               struct record_table *ret_table, struct mst_err *err);

    /* Looks at the next bytes of the source and writes the starts found, at most
     * bytes.size_bytes. Returns how many. */
    size_t (*scan)(struct record_scan *scan, struct mst_cspan bytes, uint64_t *ret_starts);

    /* After the last byte: where a record after the last one would start. */
    uint64_t (*finish)(const struct record_scan *scan);
};

extern const struct record_reader rec_raw, rec_megatron, rec_lines;

/* NULL-ended. */
extern const struct record_reader *const record_readers[];

/* The reader of a format; NULL for AUTO and for a number that is no format. */
const struct record_reader *record_reader_of(enum mst_format format);

/* A reader's name, or "auto". 0; -EINVAL. */
int record_format_parse(const char *name, enum mst_format *ret_format);

/* What AUTO means for a file of this name; `has_idx`: an .idx lies beside it. A .gz or .dz at the
 * end does not count. */
enum mst_format record_format_of(const char *name, bool has_idx);

bool record_is_gzip(const char *name);

/* Sample `i` of the table as a range of the source. */
static inline void record_locate(const struct record_table *table, uint64_t i, uint64_t *ret_offset,
                                 uint64_t *ret_size_bytes)
{
    if (table->starts) {
        *ret_offset = table->starts[i];
        *ret_size_bytes = table->starts[i + 1] - table->starts[i] - 1;
    } else {
        *ret_offset = i * table->stride_bytes;
        *ret_size_bytes = table->size_bytes;
    }
}

/* Cuts `size_bytes` into records of the shape: the common part of raw and Megatron. A rest that is
 * shorter than a record belongs to no sample. */
void record_cut(const struct record_shape *shape, uint64_t size_bytes,
                struct record_table *ret_table);

#endif
