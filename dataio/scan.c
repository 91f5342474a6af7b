#include "muster/dataio/scan.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/huge.h"
#include "muster/core/least.h"

#include <errno.h>
#include <stdlib.h>

/* Each request of a remote object costs a way there and back, so its pieces are larger. */
#define PIECE_BYTES_LOCAL ((uint64_t)1 << 20)
#define PIECE_BYTES_REMOTE ((uint64_t)8 << 20)
#define PIECE_BYTES_MIN UINT64_C(4096)

uint64_t scan_piece_bytes(const struct feed_file *file)
{
    uint64_t share = feed_window_bytes(feed_of(file)) / 2;
    uint64_t bytes = feed_grain(file) > 1 ? PIECE_BYTES_LOCAL : PIECE_BYTES_REMOTE;
    if (bytes > share)
        bytes = share / PIECE_BYTES_MIN * PIECE_BYTES_MIN;
    return bytes > PIECE_BYTES_MIN ? bytes : PIECE_BYTES_MIN;
}

static size_t buffers_bytes(const struct scan *scan)
{
    return (size_t)scan->window * scan->piece_bytes;
}

/* A long file is read past the page cache, where a copy of it would push out what others need: that
 * is faster, too, in huge pages. */
static int make_buffers(struct scan *scan, struct mst_err *err)
{
    scan->direct = scan->piece_count > SCAN_WINDOW_MAX && feed_grain(scan->file) > 1 &&
                   !feed_is_scratch(scan->file);
    scan->buffers = scan->direct ? mst_huge_map(buffers_bytes(scan)) : malloc(buffers_bytes(scan));
    return scan->buffers ? 0 : mst_err_set(err, -ENOMEM, "no memory to read a file");
}

int scan_init(struct scan *scan, struct feed_file *file, void *into, struct mst_err *err)
{
    uint64_t bytes = scan_piece_bytes(file), window = feed_window_bytes(feed_of(file)) / bytes;
    *scan = (struct scan){.file = file,
                          .into = into,
                          .piece_bytes = (size_t)bytes,
                          .piece_count = (feed_size(file) + bytes - 1) / bytes,
                          .window = mst_least(window, SCAN_WINDOW_MAX)};
    if (scan->window == 0)
        scan->window = 1;
    if (scan->window > scan->piece_count)
        scan->window = scan->piece_count;
    return into || !scan->piece_count ? 0 : make_buffers(scan, err);
}

static size_t size_of_piece(const struct scan *scan, uint64_t piece)
{
    return mst_least(feed_size(scan->file) - piece * scan->piece_bytes, scan->piece_bytes);
}

static uint8_t *data_of_piece(const struct scan *scan, uint64_t piece)
{
    return scan->into ? scan->into + piece * scan->piece_bytes
                      : scan->buffers + piece % scan->window * scan->piece_bytes;
}

static void submit_ahead(struct scan *scan)
{
    while (scan->submitted < scan->piece_count && scan->submitted < scan->taken + scan->window) {
        uint64_t piece = scan->submitted;
        struct feed_read read = {.file = scan->file,
                                 .offset = piece * scan->piece_bytes,
                                 .data = data_of_piece(scan, piece),
                                 .size_bytes = size_of_piece(scan, piece),
                                 .direct = scan->direct,
                                 .user = &scan->ended[piece % scan->window]};
        scan->ended[piece % scan->window] = false;
        (void)feed_submit(feed_of(scan->file), &read, 1); /* the window is below its depth */
        scan->submitted++;
    }
}

int scan_next(struct scan *scan, struct mst_cspan *ret_piece, struct mst_err *err)
{
    uint64_t piece = scan->taken;
    if (piece == scan->piece_count)
        return 0;
    submit_ahead(scan);
    while (!scan->ended[piece % scan->window]) {
        struct feed_done done;
        (void)feed_reap(feed_of(scan->file), &done, 1, 1, MST_NEVER); /* one is under way */
        if (done.result < 0)
            return mst_err_set(err, (int)done.result, "%s", done.err->text);
        *(bool *)done.user = true;
    }
    *ret_piece = (struct mst_cspan){.data = data_of_piece(scan, piece),
                                    .size_bytes = size_of_piece(scan, piece)};
    scan->taken++;
    return 1;
}

void scan_fini(struct scan *scan)
{
    feed_cancel(feed_of(scan->file)); /* the buffers are borrowed until then */
    if (scan->direct)
        mst_huge_unmap(scan->buffers, buffers_bytes(scan));
    else
        free(scan->buffers);
    scan->buffers = NULL;
}
