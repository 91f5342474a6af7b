#include "muster/dataio/source.h"

#include "muster/core/aio/aio.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/dataio/inflate.h"
#include "muster/dataio/record.h"
#include "muster/dataio/scan.h"
#include "muster/dataio/uris.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void source_close_contents(struct source *source)
{
    feed_close(source->file);
    source->file = NULL;
}

void source_close(struct source *source)
{
    source_close_contents(source);
    free(source->name);
    free(source->label);
    *source = (struct source){0};
}

struct transfer {
    struct scan scan;
    struct mst_cspan rest; /* of the last piece */
    struct mst_aio *aio;   /* for the scratch file: the feed's is busy reading ahead */
    const struct feed_file *contents;
    int fd;
    uint64_t offset; /* of the contents */
    uint64_t written_bytes;
    struct mst_err fault; /* of reading */
};

static int64_t read_stored(void *arg, void *data, size_t cap)
{
    struct transfer *t = arg;
    int rc = t->rest.size_bytes ? 1 : scan_next(&t->scan, &t->rest, &t->fault);
    if (rc <= 0)
        return rc;
    size_t count = mst_least(t->rest.size_bytes, cap);
    memcpy(data, t->rest.data, count);
    t->rest.data = (const uint8_t *)t->rest.data + count;
    t->rest.size_bytes -= count;
    return (int64_t)count;
}

static int write_contents(void *arg, const void *data, size_t size_bytes)
{
    struct transfer *t = arg;
    int rc = feed_check(t->contents, t->written_bytes + size_bytes);
    if (rc)
        return rc;
    struct mst_aio_op op = {.kind = MST_AIO_WRITE,
                            .fd = t->fd,
                            .data = (void *)(uintptr_t)data, /* only read from */
                            .size_bytes = size_bytes,
                            .offset = t->offset + t->written_bytes};
    int64_t count = mst_aio_do(t->aio, &op, MST_NEVER);
    t->written_bytes += size_bytes;
    return count < 0 ? (int)count : 0;
}

static int inflate_into(const struct source *source, struct transfer *t, struct mst_err *err)
{
    struct inflate_io io = {.read = read_stored, .write = write_contents, .arg = t};
    struct mst_aio_opts aio = {.depth = 1, .backend = feed_aio(feed_of(source->file))};
    int rc = mst_aio_create(&aio, &t->aio, err);
    if (rc == 0)
        rc = scan_init(&t->scan, source->file, NULL, err);
    int64_t size = 0;
    if (rc == 0) {
        size = inflate_gzip(&io, err);
        scan_fini(&t->scan);
    }
    mst_aio_destroy(t->aio);
    if (size < 0 && t->fault.code)
        return mst_err_set(err, t->fault.code, "%s", t->fault.text);
    return size < 0 ? (int)size : rc;
}

/* Replaces the stored bytes by the contents. */
static int inflate_source(struct source *source, const char *scratch_dir, struct mst_err *err)
{
    struct feed_file *contents;
    struct feed_room room;
    int rc = feed_begin(feed_of(source->file), source->label, scratch_dir, &contents, &room, err);
    if (rc)
        return rc;
    struct transfer t = {.fd = room.fd, .offset = room.offset, .contents = contents};
    rc = inflate_into(source, &t, err);
    if (rc) {
        mst_err_wrap(err, "%s (scratch in %s)", source->label, feed_place(feed_of(contents)));
        feed_close(contents);
        return rc;
    }
    feed_end(contents, t.written_bytes);
    feed_close(source->file);
    source->file = contents;
    source->compressed = true;
    return 0;
}

int source_open(const struct dataset_source *where, const char *scratch_dir, struct feed *feed,
                struct source *ret_source, struct mst_err *err)
{
    const char *uri = where->mirrors[0];
    struct source source = {.name = strdup(where->name),
                            .label = strndup(uri, uris_shown_bytes(uri))};
    int rc;
    if (source.name && source.label)
        rc = feed_open(feed, where->mirrors, where->mirror_count, &source.file, err);
    else
        rc = mst_err_set(err, -ENOMEM, "%s: no memory", where->name);
    if (rc)
        goto fail;
    source.stored_bytes = feed_size(source.file);
    source.version = feed_version(source.file);
    if (record_is_gzip(source.name))
        rc = inflate_source(&source, scratch_dir, err);
    if (rc)
        goto fail;
    source.size_bytes = feed_size(source.file);
    *ret_source = source;
    return 0;
fail:
    source_close(&source);
    return rc;
}

static int scan_file(struct feed_file *file, void *into, source_visit_fn visit, void *arg,
                     struct mst_err *err)
{
    struct scan scan;
    int rc = scan_init(&scan, file, into, err);
    if (rc)
        return rc;
    struct mst_cspan piece;
    while ((rc = scan_next(&scan, &piece, err)) > 0) {
        rc = visit ? visit(arg, piece) : 0;
        if (rc)
            break;
    }
    scan_fini(&scan);
    return rc;
}

int source_scan(const struct source *source, void *into, source_visit_fn visit, void *arg,
                struct mst_err *err)
{
    return scan_file(source->file, into, visit, arg, err);
}

int source_slurp(const struct dataset_source *where, struct feed *feed, uint64_t max_bytes,
                 uint8_t **ret_data, uint64_t *ret_size_bytes, struct mst_err *err)
{
    const char *uri = where->mirrors[0];
    int shown = (int)uris_shown_bytes(uri);
    struct feed_file *file = NULL;
    int rc = feed_open(feed, where->mirrors, where->mirror_count, &file, err);
    if (rc)
        return rc;
    uint64_t size_bytes = feed_size(file);
    uint8_t *data = NULL;
    if (size_bytes > max_bytes)
        rc = mst_err_set(err, -EBADMSG,
                         "%.*s: %" PRIu64 " bytes are more than the %" PRIu64 " that it may have",
                         shown, uri, size_bytes, max_bytes);
    else if (!(data = malloc(size_bytes ? size_bytes : 1)))
        rc = mst_err_set(err, -ENOMEM, "%.*s: no memory for %" PRIu64 " bytes", shown, uri,
                         size_bytes);
    else
        rc = scan_file(file, data, NULL, NULL, err);
    feed_close(file);
    if (rc) {
        free(data);
        return rc;
    }
    *ret_data = data;
    *ret_size_bytes = size_bytes;
    return 0;
}
