#include "muster/dataio/index.h"

#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/dataio/dataset.h"
#include "muster/dataio/scan.h"
#include "muster/dataio/uris.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 4096u
#define COMPANION_BYTES_MAX ((uint64_t)1 << 40)
#define COMPANION_LABEL_BYTES 120
#define SAMPLE_ROOM_BYTES ((size_t)4 << 20) /* what a fingerprint is over, of several sources */
#define WHOLE_BYTES_MAX ((uint64_t)1 << 20)

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

/* Tells the feed of the next sources, so that opening them asks for many at a time. */
static void foresee_sources(const struct dataset *dataset, size_t first, struct feed *feed)
{
    struct feed_name names[FEED_FORESEEN_MAX] = {0};
    size_t count = mst_least(dataset->source_count - first, FEED_FORESEEN_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct dataset_source *source = &dataset->sources[first + i];
        names[i] = (struct feed_name){.uris = source->mirrors,
                                      .uri_count = source->mirror_count,
                                      .listed = source->listed,
                                      .listed_uri = source->listed_mirror};
    }
    feed_foresee(feed, names, count);
}

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
        if (i % FEED_FORESEEN_MAX == 0)
            foresee_sources(dataset, i, feed);
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

/* foresee_sources for the files beside those of them that may have one. */
static void foresee_companions(const struct dataset *dataset, size_t first, struct feed *feed)
{
    struct dataset_source companions[FEED_FORESEEN_MAX];
    struct feed_name names[FEED_FORESEEN_MAX] = {0};
    size_t count = 0;
    for (size_t i = first; i < dataset->source_count && i - first < FEED_FORESEEN_MAX; i++) {
        const struct dataset_source *source = &dataset->sources[i];
        if (record_format_of(source->name, true) != MST_FORMAT_MEGATRON ||
            find_companion(source, rec_megatron.companion, &companions[count], NULL))
            continue;
        names[count] = (struct feed_name){.uris = companions[count].mirrors,
                                          .uri_count = companions[count].mirror_count};
        count++;
    }
    feed_foresee(feed, names, count);
    while (count)
        dataset_source_fini(&companions[--count]);
}

/* A store that hides what it lacks answers -EACCES; a file that may not be read is there. */
static int has_companion(const struct dataset_source *source, struct feed *feed, bool *ret_has,
                         struct mst_err *err)
{
    struct dataset_source companion;
    int rc = find_companion(source, rec_megatron.companion, &companion, err);
    if (rc)
        return rc;
    bool hides = true;
    for (size_t i = 0; i < companion.mirror_count; i++)
        hides = hides && !uris_is_local(companion.mirrors[i]);
    struct feed_file *file = NULL;
    rc = feed_open(feed, companion.mirrors, companion.mirror_count, &file, err);
    dataset_source_fini(&companion);
    feed_close(file);
    *ret_has = rc == 0;
    return rc == -ENOENT || (rc == -EACCES && hides) ? 0 : rc;
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
        if (i % FEED_FORESEEN_MAX == 0)
            foresee_companions(dataset, i, feed);
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

static int find_samples(struct index *index, const struct index_opts *opts, struct feed *feed,
                        struct mst_err *err)
{
    const struct dataset *dataset = opts->dataset;
    const struct record_reader *format = record_reader_of(index->shape.format);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < index->shard_count; i++) {
        struct shard *shard = &index->shards[i];
        if (format->companion && i % FEED_FORESEEN_MAX == 0)
            foresee_companions(dataset, i, feed);
        rc = format->cut ? cut_shard(index, shard, &dataset->sources[i], feed, err)
                         : scan_shard(shard, format, err);
        if (rc)
            break;
        shard->first_sample = index->sample_count;
        index->sample_count += shard->table.count;
        uint64_t max = record_bytes_max(&shard->table);
        index->record_bytes_max = max > index->record_bytes_max ? max : index->record_bytes_max;
    }
    if (rc == 0 && index->sample_count == 0 && !opts->is_part)
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

/* All contents piece by piece, one source after the other. */
struct loading {
    const struct index *index;
    uint32_t shard;
    uint64_t offset; /* of the next piece */
    uint8_t *at;
};

static bool next_piece(void *arg, struct feed_read *ret_read)
{
    struct loading *loading = arg;
    const struct index *index = loading->index;
    while (loading->shard < index->shard_count &&
           loading->offset == index->shards[loading->shard].source.size_bytes) {
        loading->shard++;
        loading->offset = 0;
    }
    if (loading->shard == index->shard_count)
        return false;
    const struct source *source = &index->shards[loading->shard].source;
    size_t size = mst_least(source->size_bytes - loading->offset, scan_piece_bytes(source->file));
    *ret_read = (struct feed_read){
        .file = source->file, .offset = loading->offset, .data = loading->at, .size_bytes = size};
    loading->offset += size;
    loading->at += size;
    return true;
}

/* A look gains by it only where many small ones are read from end to end, which then come side by
 * side; memory that is new costs more than reading one large one piece by piece. */
static bool is_kept(const struct index *index, const struct index_opts *opts)
{
    bool is_read = opts->full || !record_reader_of(index->shape.format)->cut;
    bool is_small = index->size_bytes / WHOLE_BYTES_MAX < index->shard_count;
    bool has_room = opts->resident_bytes > 0 && index->size_bytes <= opts->resident_bytes;
    return has_room && (!opts->look_only || (is_read && is_small));
}

static int load_shards(struct index *index, struct feed *feed, struct mst_err *err)
{
    uint8_t *at = malloc(index->size_bytes ? index->size_bytes : 1);
    index->resident = at;
    if (!at)
        return mst_err_set(err, -ENOMEM, "no memory for a dataset of %" PRIu64 " bytes",
                           index->size_bytes);
    struct loading loading = {.index = index, .at = at};
    for (uint32_t i = 0; i < index->shard_count; i++) {
        index->shards[i].resident = at;
        at += index->shards[i].source.size_bytes;
    }
    return feed_read_all(feed, next_piece, &loading, err);
}

/* ---- identity -------------------------------------------------------------------------------- */

/* Sources whose blocks are read side by side: those before `end`. What is read of them comes to
 * lie at `at`, one behind the other. */
struct sampling {
    const struct index *index;
    uint32_t end;
    uint32_t shard, block; /* what is asked for next */
    uint8_t *at;
};

static uint32_t block_count(const struct index *index, uint32_t shard)
{
    return fingerprint_block_count(index->shards[shard].source.size_bytes, index->shard_count);
}

/* Whether it is better read in one piece: of a remote one each request costs a way there and back,
 * in which many bytes come. */
static bool is_read_whole(const struct index *index, uint32_t shard)
{
    const struct source *source = &index->shards[shard].source;
    uint64_t blocks_bytes = (uint64_t)block_count(index, shard) * FINGERPRINT_BLOCK_BYTES;
    return source->size_bytes <= (feed_grain(source->file) > 1 ? blocks_bytes : WHOLE_BYTES_MAX);
}

/* What is read of a source takes so much room. */
static size_t sampled_bytes(const struct index *index, uint32_t shard)
{
    const struct shard *at = &index->shards[shard];
    if (at->resident)
        return 0;
    return is_read_whole(index, shard)
               ? (size_t)at->source.size_bytes
               : (size_t)block_count(index, shard) * FINGERPRINT_BLOCK_BYTES;
}

static bool next_block(void *arg, struct feed_read *ret_read)
{
    struct sampling *s = arg;
    for (; s->shard < s->end; s->shard++, s->block = 0) {
        const struct source *source = &s->index->shards[s->shard].source;
        uint32_t count = block_count(s->index, s->shard);
        bool whole = is_read_whole(s->index, s->shard);
        if (s->index->shards[s->shard].resident || s->block >= (whole && count ? 1 : count))
            continue;
        *ret_read = (struct feed_read){.file = source->file, .data = s->at};
        ret_read->size_bytes = whole ? (size_t)source->size_bytes
                                     : fingerprint_block(source->size_bytes, count, s->block,
                                                         &ret_read->offset);
        s->at += whole ? ret_read->size_bytes : FINGERPRINT_BLOCK_BYTES;
        s->block++;
        return true;
    }
    return false;
}

/* `sampled` is what was read of it. */
static void add_shard(struct index *index, uint32_t shard, const uint8_t *sampled)
{
    const struct source *source = &index->shards[shard].source;
    const uint8_t *resident = index->shards[shard].resident, *contents = resident;
    uint32_t crcs[FINGERPRINT_BLOCKS_MAX], count = block_count(index, shard);
    uint64_t offset;
    if (!resident && is_read_whole(index, shard))
        contents = sampled;
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = fingerprint_block(source->size_bytes, count, i, &offset);
        const uint8_t *block = contents ? contents + offset
                                        : sampled + (size_t)i * FINGERPRINT_BLOCK_BYTES;
        crcs[i] = mst_crc32c(0, block, bytes);
    }
    fingerprint_add(&index->fingerprint, source->name, source->size_bytes, crcs, count);
}

/* The sources from `first` on for which there is room. *ret_end: the first that is left. */
static int sample_some(struct index *index, struct feed *feed, uint32_t first, uint8_t *room,
                       uint32_t *ret_end, struct mst_err *err)
{
    struct sampling s = {.index = index, .shard = first, .end = first, .at = room};
    size_t used = 0;
    while (s.end < index->shard_count && used + sampled_bytes(index, s.end) <= SAMPLE_ROOM_BYTES)
        used += sampled_bytes(index, s.end++);
    assert(s.end > first); /* one has less than the room */
    int rc = used ? feed_read_all(feed, next_block, &s, err) : 0;
    for (uint32_t i = first; rc == 0 && i < s.end; i++) {
        add_shard(index, i, room);
        room += sampled_bytes(index, i);
    }
    *ret_end = s.end;
    return rc;
}

static int sample(struct index *index, struct feed *feed, struct mst_err *err)
{
    uint8_t *room = malloc(SAMPLE_ROOM_BYTES);
    int rc = room ? 0 : mst_err_set(err, -ENOMEM, "no memory for a fingerprint");
    for (uint32_t i = 0; rc == 0 && i < index->shard_count;)
        rc = sample_some(index, feed, i, room, &i, err);
    free(room);
    return rc;
}

static int add_to_crc(void *arg, struct mst_cspan piece)
{
    uint32_t *crc = arg;
    *crc = mst_crc32c(*crc, piece.data, piece.size_bytes);
    return 0;
}

static int read_whole(struct index *index, struct mst_err *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < index->shard_count; i++) {
        const struct shard *shard = &index->shards[i];
        uint64_t size = shard->source.size_bytes;
        uint32_t crc = 0;
        if (shard->resident)
            crc = mst_crc32c(0, shard->resident, size);
        else
            rc = source_scan(&shard->source, NULL, add_to_crc, &crc, err);
        fingerprint_add_full(&index->fingerprint, size, crc);
    }
    return rc;
}

/* Where the sources lie, and in which versions; 0: one of these is not known. */
static void pin(struct index *index)
{
    uint64_t place = 0, version = 0;
    bool known = true;
    for (uint32_t i = 0; i < index->shard_count; i++) {
        const struct source *source = &index->shards[i].source;
        place = fingerprint_mix(place, mst_crc32c(0, source->label, strlen(source->label)));
        version = fingerprint_mix(version, source->version);
        known = known && source->version;
    }
    index->place = (uint32_t)place;
    index->pin = known ? (uint32_t)version : 0;
}

static int identify(struct index *index, struct feed *feed, bool full, struct mst_err *err)
{
    const struct record_shape *shape = &index->shape;
    uint64_t hash = fingerprint_mix(0, shape->format);
    if (record_reader_of(shape->format)->typed) {
        hash = fingerprint_mix(hash, shape->dtype);
        hash = fingerprint_mix(hash, shape->elems);
        hash = fingerprint_mix(hash, shape->stride);
    }
    index->shape_hash = hash;
    fingerprint_init(&index->fingerprint, hash);
    pin(index);
    int rc = sample(index, feed, err);
    if (rc == 0 && full)
        rc = read_whole(index, err);
    if (!full)
        index->fingerprint.full = 0;
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
    if (!rc && is_kept(index, opts))
        rc = load_shards(index, feed, err);
    if (!rc)
        rc = find_samples(index, opts, feed, err);
    if (!rc)
        rc = identify(index, feed, opts->full, err);
    for (uint32_t i = 0; !rc && index->resident && i < index->shard_count; i++)
        source_close_contents(&index->shards[i].source);
    if (rc) {
        index_close(index);
        return rc;
    }
    *ret_index = index;
    return 0;
}
