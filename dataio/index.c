#include "muster/dataio/index.h"

#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/core/rng.h"
#include "muster/dataio/dataset.h"
#include "muster/dataio/uris.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 4096u
#define FINGERPRINT_BLOCKS 16u
#define COMPANION_BYTES_MAX ((uint64_t)1 << 40)
#define COMPANION_LABEL_BYTES 120

void index_close(struct index *index)
{
    if (!index)
        return;
    for (uint32_t i = 0; i < index->shard_count; i++) {
        source_close(&index->shards[i].source);
        free(index->shards[i].starts);
    }
    free(index->shards);
    free(index->resident);
    free(index);
}

/* ---- sources --------------------------------------------------------------------------------- */

static int open_shards(struct index *index, const struct index_opts *opts, struct feed *feed,
                       struct mst_err *err)
{
    const struct dataset *dataset = opts->dataset;
    index->shards = calloc(dataset->source_count, sizeof *index->shards);
    if (!index->shards)
        return mst_err_set(err, -ENOMEM, "no memory for %zu sources", dataset->source_count);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < dataset->source_count; i++) {
        struct source *source = &index->shards[i].source;
        rc = source_open(&dataset->sources[i], opts->scratch_dir, feed, source, err);
        index->size_bytes += source->size_bytes; /* two of the maximum: no overflow */
        index->shard_count += rc == 0;
        if (rc == 0 && index->size_bytes > FEED_BYTES_MAX)
            rc = mst_err_set(err, -EBADMSG, "%s: with it the dataset has %" PRIu64 " bytes",
                             source->label, index->size_bytes);
    }
    return rc;
}

/* "x.bin" or "x.bin.gz" and ".idx" make "x.idx", in each mirror. */
static int find_companion(const struct dataset_source *source, const char *suffix,
                          struct dataset_source *ret_companion, struct mst_err *err)
{
    size_t gzip = record_is_gzip(source->name) ? 3 : 0, length = strlen(source->name) - gzip;
    bool is_bin = uris_text_ends_with(source->name, length, ".bin");
    return dataset_companion(source, gzip + (is_bin ? 4 : 0), suffix, ret_companion, err);
}

/* A store that hides what it lacks answers -EACCES. */
static int has_companion(const struct dataset_source *source, struct feed *feed, bool *ret_has,
                         struct mst_err *err)
{
    struct dataset_source companion;
    int rc = find_companion(source, rec_megatron.companion, &companion, err);
    if (rc)
        return rc;
    struct feed_file *file = NULL;
    rc = feed_open(feed, companion.mirrors, companion.mirror_count, &file, err);
    dataset_source_fini(&companion);
    feed_close(file);
    *ret_has = rc == 0;
    return rc == -ENOENT || rc == -EACCES ? 0 : rc;
}

static int guess_format(const struct dataset_source *source, struct feed *feed,
                        enum mst_format *ret_format, struct mst_err *err)
{
    bool has_idx = false;
    int rc = 0;
    if (record_format_of(source->name, true) == MST_FORMAT_MEGATRON)
        rc = has_companion(source, feed, &has_idx, err);
    *ret_format = record_format_of(source->name, has_idx);
    return rc;
}

static int settle_format(struct index *index, const struct dataset *dataset, struct feed *feed,
                         struct mst_err *err)
{
    if (index->shape.format != MST_FORMAT_AUTO)
        return 0;
    enum mst_format first = MST_FORMAT_AUTO;
    for (size_t i = 0; i < dataset->source_count; i++) {
        enum mst_format format;
        int rc = guess_format(&dataset->sources[i], feed, &format, err);
        if (rc)
            return rc;
        first = i == 0 ? format : first;
        if (format != first)
            return mst_err_set(err, -EINVAL,
                               "%s and %s look like different formats; say which one it is",
                               index->shards[0].source.label, index->shards[i].source.label);
    }
    index->shape.format = first;
    return 0;
}

/* ---- samples --------------------------------------------------------------------------------- */

/* Reads the file beside the source that its reader needs; the caller frees the bytes. */
static int read_companion(const struct dataset_source *where, const struct record_reader *format,
                          struct feed *feed, struct mst_span *ret_bytes,
                          char ret_label[COMPANION_LABEL_BYTES], struct mst_err *err)
{
    *ret_label = '\0';
    *ret_bytes = (struct mst_span){0};
    if (!format->companion)
        return 0;
    struct dataset_source companion;
    int rc = find_companion(where, format->companion, &companion, err);
    if (rc)
        return rc;
    (void)snprintf(ret_label, COMPANION_LABEL_BYTES, ", %.*s", /* a long one is cut */
                   (int)uris_shown_bytes(companion.mirrors[0]), companion.mirrors[0]);
    uint8_t *data = NULL;
    uint64_t size_bytes = 0;
    rc = source_slurp(&companion, feed, COMPANION_BYTES_MAX, &data, &size_bytes, err);
    dataset_source_fini(&companion);
    *ret_bytes = (struct mst_span){.data = data, .size_bytes = size_bytes};
    return rc;
}

static int cut_shard(struct index *index, struct shard *shard, const struct dataset_source *where,
                     struct feed *feed, struct mst_err *err)
{
    const struct record_reader *format = record_reader_of(index->shape.format);
    struct record_shape shape = index->shape;
    char label[COMPANION_LABEL_BYTES];
    struct mst_span bytes;
    int rc = read_companion(where, format, feed, &bytes, label, err);
    if (rc)
        return rc;
    rc = format->cut(&shape, shard->source.size_bytes,
                     (struct mst_cspan){.data = bytes.data, .size_bytes = bytes.size_bytes},
                     &shard->table, err);
    free(bytes.data);
    if (rc) {
        mst_err_wrap(err, "%s%s", shard->source.label, label);
        return rc;
    }
    if (shard != index->shards && shape.dtype != index->shape.dtype)
        return mst_err_set(err, -EINVAL, "%s holds %s, %s holds %s: one dataset has one type",
                           index->shards->source.label, mst_dtype_name(index->shape.dtype),
                           shard->source.label, mst_dtype_name(shape.dtype));
    index->shape.dtype = shape.dtype;
    return 0;
}

struct starts {
    const struct record_reader *reader;
    struct record_scan scan;
    uint64_t *starts;
    size_t count, cap;
};

/* Readers may find one start per byte, so they are fed little at a time. */
static int scan_block(struct starts *s, struct mst_cspan block)
{
    if (s->cap - s->count < block.size_bytes + 1) { /* one more for the end */
        size_t cap = s->cap * 2 + block.size_bytes + 1;
        uint64_t *starts = realloc(s->starts, cap * sizeof *starts);
        if (!starts)
            return -ENOMEM;
        s->starts = starts;
        s->cap = cap;
    }
    s->count += s->reader->scan(&s->scan, block, s->starts + s->count);
    return 0;
}

static int scan_piece(void *arg, struct mst_cspan piece)
{
    const uint8_t *data = piece.data;
    size_t at = 0;
    int rc = 0;
    while (rc == 0 && at < piece.size_bytes) {
        size_t size = mst_least(piece.size_bytes - at, BLOCK_BYTES);
        rc = scan_block(arg, (struct mst_cspan){.data = data + at, .size_bytes = size});
        at += size;
    }
    return rc;
}

/* Ends the table. Gives back the room that growing by doubling left over. */
static int finish_starts(struct shard *shard, struct starts *s)
{
    int rc = scan_block(s, (struct mst_cspan){.data = "", .size_bytes = 0});
    if (rc)
        return rc;
    s->starts[s->count] = s->reader->finish(&s->scan);
    uint64_t *starts = realloc(s->starts, (s->count + 1) * sizeof *starts);
    if (starts)
        s->starts = starts;
    shard->table = (struct record_table){.count = s->count, .starts = s->starts};
    return 0;
}

static int scan_shard(struct shard *shard, const struct record_reader *reader, struct mst_err *err)
{
    struct starts s = {.reader = reader};
    int rc;
    if (shard->resident)
        rc = scan_piece(&s, (struct mst_cspan){.data = shard->resident,
                                               .size_bytes = shard->source.size_bytes});
    else
        rc = source_scan(&shard->source, NULL, scan_piece, &s, err);
    if (rc == 0)
        rc = finish_starts(shard, &s);
    shard->starts = s.starts;
    if (rc == -ENOMEM)
        return mst_err_set(err, rc, "%s: no memory for its line table", shard->source.label);
    return rc;
}

static uint64_t record_bytes_max(const struct record_table *table)
{
    if (!table->starts)
        return table->size_bytes;
    uint64_t max = 0;
    for (uint64_t i = 0; i < table->count; i++) {
        uint64_t offset, size_bytes;
        record_locate(table, i, &offset, &size_bytes);
        if (size_bytes > max)
            max = size_bytes;
    }
    return max;
}

static int find_samples(struct index *index, const struct dataset *dataset, struct feed *feed,
                        struct mst_err *err)
{
    const struct record_reader *format = record_reader_of(index->shape.format);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < index->shard_count; i++) {
        struct shard *shard = &index->shards[i];
        rc = format->cut ? cut_shard(index, shard, &dataset->sources[i], feed, err)
                         : scan_shard(shard, format, err);
        if (rc)
            break;
        shard->first_sample = index->sample_count;
        index->sample_count += shard->table.count;
        uint64_t max = record_bytes_max(&shard->table);
        index->record_bytes_max = max > index->record_bytes_max ? max : index->record_bytes_max;
    }
    if (rc == 0 && index->sample_count == 0)
        rc = mst_err_set(err, -EINVAL,
                         "%s: no sample: %" PRIu64 " bytes are less than one %s record",
                         index->shards[0].source.label, index->size_bytes, format->name);
    return rc;
}

struct place index_locate(const struct index *index, uint64_t sample)
{
    assert(sample < index->sample_count);
    uint32_t low = 0, high = index->shard_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (index->shards[middle].first_sample <= sample)
            low = middle;
        else
            high = middle;
    }
    struct place place = {.shard = low};
    record_locate(&index->shards[low].table, sample - index->shards[low].first_sample,
                  &place.offset, &place.size_bytes);
    return place;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int load_shards(struct index *index, struct mst_err *err)
{
    uint8_t *at = malloc(index->size_bytes ? index->size_bytes : 1);
    index->resident = at;
    if (!at)
        return mst_err_set(err, -ENOMEM, "no memory for a dataset of %" PRIu64 " bytes",
                           index->size_bytes);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < index->shard_count; i++) {
        struct shard *shard = &index->shards[i];
        shard->resident = at;
        rc = source_scan(&shard->source, at, NULL, NULL, err);
        at += shard->source.size_bytes;
    }
    return rc;
}

/* ---- identity -------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return mst_mix64(hash ^ value);
}

/* Blocks spread evenly from the first to the last byte, so that a changed head, tail or size is
 * always seen, and a rewritten file nearly always. */
static uint64_t block_offset(uint64_t i, uint64_t size_bytes, size_t block_bytes)
{
    uint64_t span = size_bytes - block_bytes, gaps = FINGERPRINT_BLOCKS - 1;
    return span / gaps * i + span % gaps * i / gaps; /* span * i could overflow */
}

static int read_blocks(const struct shard *shard, uint8_t *blocks, size_t block_bytes,
                       struct mst_err *err)
{
    struct feed_read reads[FINGERPRINT_BLOCKS];
    for (uint64_t i = 0; i < FINGERPRINT_BLOCKS; i++) {
        uint64_t offset = block_offset(i, shard->source.size_bytes, block_bytes);
        uint8_t *block = blocks + i * block_bytes;
        if (shard->resident)
            memcpy(block, shard->resident + offset, block_bytes);
        reads[i] = (struct feed_read){
            .file = shard->source.file, .offset = offset, .data = block, .size_bytes = block_bytes};
    }
    if (shard->resident || !block_bytes)
        return 0;
    return feed_read_all(feed_of(shard->source.file), reads, FINGERPRINT_BLOCKS, err);
}

static int fingerprint_shard(const struct shard *shard, uint64_t *hash, struct mst_err *err)
{
    uint64_t size = shard->source.size_bytes;
    size_t block_bytes = mst_least(size, BLOCK_BYTES);
    const char *name = shard->source.name;
    uint8_t blocks[FINGERPRINT_BLOCKS * BLOCK_BYTES];
    int rc = read_blocks(shard, blocks, block_bytes, err);
    *hash = mix(*hash, mst_crc32c(0, name, strlen(name)));
    *hash = mix(*hash, size);
    for (size_t i = 0; rc == 0 && i < FINGERPRINT_BLOCKS && block_bytes; i++)
        *hash = mix(*hash, mst_crc32c(0, blocks + i * block_bytes, block_bytes));
    return rc;
}

static int identify(struct index *index, struct mst_err *err)
{
    const struct record_shape *shape = &index->shape;
    uint64_t hash = mix(0, shape->format);
    if (record_reader_of(shape->format)->typed) {
        hash = mix(hash, shape->dtype);
        hash = mix(hash, shape->elems);
        hash = mix(hash, shape->stride);
    }
    index->shape_hash = hash;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < index->shard_count; i++)
        rc = fingerprint_shard(&index->shards[i], &hash, err);
    index->fingerprint = hash;
    return rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int check_shape(struct record_shape *shape, struct mst_err *err)
{
    const struct record_reader *reader = record_reader_of(shape->format);
    if (!reader)
        return mst_err_set(err, -EINVAL, "format %d: no such format", (int)shape->format);
    if (!reader->typed)
        return 0;
    if (mst_dtype_size(shape->dtype) == 0)
        return mst_err_set(err, -EINVAL, "dtype %d: no such type", (int)shape->dtype);
    if (shape->elems == 0)
        return mst_err_set(err, -EINVAL, "record_elems is 0: a %s sample has at least 1 element",
                           reader->name);
    if (shape->stride == 0)
        shape->stride = shape->elems;
    return 0;
}

int index_open(const struct index_opts *opts, struct feed *feed, struct index **ret_index,
               struct mst_err *err)
{
    struct index *index = calloc(1, sizeof *index);
    if (!index)
        return mst_err_set(err, -ENOMEM, "no memory for the index");
    index->shape = opts->shape;
    index->hidden_count = opts->dataset->hidden_count;
    int rc = open_shards(index, opts, feed, err);
    if (!rc)
        rc = settle_format(index, opts->dataset, feed, err);
    if (!rc)
        rc = check_shape(&index->shape, err);
    if (!rc && index->size_bytes <= opts->resident_bytes)
        rc = load_shards(index, err);
    if (!rc)
        rc = find_samples(index, opts->dataset, feed, err);
    if (!rc)
        rc = identify(index, err);
    for (uint32_t i = 0; !rc && index->resident && i < index->shard_count; i++)
        source_close_contents(&index->shards[i].source);
    if (rc) {
        index_close(index);
        return rc;
    }
    *ret_index = index;
    return 0;
}
