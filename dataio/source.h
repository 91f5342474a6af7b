/* Source: one file of a dataset, opened so that its contents can be read at any offset. */
#ifndef MUSTER_DATAIO_SOURCE_H
#define MUSTER_DATAIO_SOURCE_H

#include "core/span.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_aio;
struct mst_err;

struct source {
    char *path;
    int fd;                /* of the contents, through the page cache */
    int direct_fd;         /* of the contents, past it; -1 until asked for or where there is none */
    uint64_t size_bytes;   /* of the contents */
    uint64_t stored_bytes; /* of the file */
    bool compressed;
};

/* What a source is outside of any. */
#define SOURCE_CLOSED ((struct source){.fd = -1, .direct_fd = -1})

/* Opens a file: URI or path. A name in *.gz or *.dz is inflated into an unlinked file in
 * `scratch_dir`, all checksums verified. `aio` has nothing in flight. 0; -ENOTSUP scheme; -ENOENT,
 * -EACCES …; -EINVAL not a regular file; -EBADMSG damaged gzip. The text names the file. */
int source_open(const char *uri, const char *scratch_dir, struct mst_aio *aio,
                struct source *ret_source, struct mst_err *err);

/* Closes what is open; a closed source is allowed. */
void source_close(struct source *source);

/* The descriptor to read ahead from, with aligned offsets, sizes and memory: O_DIRECT, or the
 * buffered one where the file system refuses that. */
int source_direct(struct source *source);

/* Called with the contents in order, piece by piece. Not 0 stops the scan. */
typedef int (*source_visit_fn)(void *arg, struct mst_cspan piece);

/* Reads all contents, several pieces ahead: into `into` (room for size_bytes), or where that is
 * NULL, into a few buffers of its own. Calls `visit` (may be NULL) for each piece. 0; -EBADMSG the
 * file became shorter; -EIO …; -ENOMEM, all with the path in the text; or what visit returned. */
int source_scan(const struct source *source, struct mst_aio *aio, void *into, source_visit_fn visit,
                void *arg, struct mst_err *err);

/* Reads a whole small file, an index beside its data, into memory that the caller frees. */
int source_slurp(const char *path, struct mst_aio *aio, uint8_t **ret_data,
                 uint64_t *ret_size_bytes, struct mst_err *err);

/* The last part of the path. */
const char *source_name(const struct source *source);

#endif
