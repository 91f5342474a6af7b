/* Scan: a file from end to end, piece by piece, several pieces ahead. */
#ifndef MUSTER_DATAIO_SCAN_H
#define MUSTER_DATAIO_SCAN_H

#include "muster/core/span.h"
#include "muster/dataio/feed.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_err;

#define SCAN_WINDOW_MAX 8u

struct scan {
    struct feed_file *file;
    uint8_t *into;        /* all of the file, or NULL */
    uint8_t *buffers;     /* `window` pieces, or NULL */
    bool direct;          /* past the page cache: `buffers` is in huge pages */
    size_t piece_bytes;   /* of each but the last */
    uint64_t piece_count; /* of the file */
    uint64_t window;      /* pieces under way or handed out */
    uint64_t submitted, taken;
    bool ended[SCAN_WINDOW_MAX];
};

/* How much of a file is well read at a time. */
uint64_t scan_piece_bytes(const struct feed_file *file);

/* Nothing of the file's feed is under way, and until scan_fini nothing else may be. Pieces come to
 * lie in `into`, or where that is NULL, in buffers of the scan's own within the feed's window. 0;
 * -ENOMEM. */
int scan_init(struct scan *scan, struct feed_file *file, void *into, struct mst_err *err);

/* The next piece, until the call after: 1; 0 at the end; or -errno. */
int scan_next(struct scan *scan, struct mst_cspan *ret_piece, struct mst_err *err);

/* Also before the end, and after a failure. */
void scan_fini(struct scan *scan);

#endif
