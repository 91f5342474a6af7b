/* Source: one file of a dataset, opened so that its contents can be read at any offset. */
#ifndef MUSTER_DATAIO_SOURCE_H
#define MUSTER_DATAIO_SOURCE_H

#include "muster/core/span.h"
#include "muster/dataio/dataset.h"
#include "muster/dataio/feed.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_err;

struct source {
    char *name;             /* the last part of its path */
    char *label;            /* what texts call it: its first mirror, without the query */
    struct feed_file *file; /* the contents */
    uint64_t size_bytes;    /* of the contents */
    uint64_t stored_bytes;  /* of the file */
    uint64_t version;       /* of the file: feed_version */
    bool compressed;
};

/* Opens a file in all its mirrors. A name in *.gz or *.dz is inflated into the feed's scratch file
 * (scratch.h: `scratch_dir`), all checksums verified. Nothing of the feed is under way. 0; -ENOTSUP
 * scheme; -ENOENT, -EACCES …; -EINVAL not a regular file; -EBADMSG damaged gzip. The text names
 * it. */
int source_open(const struct dataset_source *where, const char *scratch_dir, struct feed *feed,
                struct source *ret_source, struct mst_err *err);

/* Closes what is open; an empty source is allowed. */
void source_close(struct source *source);

/* Closes the contents, for one that has been read; the names stay. */
void source_close_contents(struct source *source);

/* Called with the contents in order, piece by piece. Not 0 stops the scan. */
typedef int (*source_visit_fn)(void *arg, struct mst_cspan piece);

/* Reads all contents, several pieces ahead: into `into` (room for size_bytes), or where that is
 * NULL, into a few buffers of its own. Calls `visit` (may be NULL) for each piece. 0; -EBADMSG the
 * file became shorter; -EIO …; -ENOMEM, all with the file in the text; or what visit returned. */
int source_scan(const struct source *source, void *into, source_visit_fn visit, void *arg,
                struct mst_err *err);

/* Reads a whole small file, an index beside its data, into memory that the caller frees. As
 * source_open and source_scan; -EBADMSG more than `max_bytes`. */
int source_slurp(const struct dataset_source *where, struct feed *feed, uint64_t max_bytes,
                 uint8_t **ret_data, uint64_t *ret_size_bytes, struct mst_err *err);

#endif
