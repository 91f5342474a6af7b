#include "dataio/source.h"

#include "core/aio.h"
#include "core/clock.h"
#include "core/err.h"
#include "core/uri.h"
#include "dataio/inflate.h"
#include "dataio/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_CAP 1024

/* ---- open and close ---- */

void source_close(struct source *source)
{
    if (source->direct_fd >= 0)
        close(source->direct_fd);
    if (source->fd >= 0)
        close(source->fd);
    free(source->path);
    *source = SOURCE_CLOSED;
}

const char *source_name(const struct source *source)
{
    const char *slash = strrchr(source->path, '/');

    return slash ? slash + 1 : source->path;
}

static int open_regular(const char *path, int *ret_fd, uint64_t *ret_size_bytes,
                        struct mst_err *err)
{
    /* Not blocking: the name may be that of a pipe, which is then refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = fd < 0 ? -errno : 0;
    struct stat st;

    if (rc == 0 && (fstat(fd, &st) || fcntl(fd, F_SETFL, 0)))
        rc = -errno;
    if (rc)
        (void)mst_err_set(err, rc, "%s: %s", path, strerror(-rc));
    else if (!S_ISREG(st.st_mode))
        rc = mst_err_set(err, -EINVAL, "%s: not a regular file; name the files of the dataset",
                         path);
    if (rc) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *ret_fd = fd;
    *ret_size_bytes = (uint64_t)st.st_size;
    return 0;
}

struct transfer {
    struct mst_aio *aio;
    int in_fd, out_fd;
    uint64_t in_bytes, out_bytes;
};

static int64_t read_stored(void *arg, void *data, size_t cap)
{
    struct transfer *t = arg;
    struct mst_aio_op op = {.kind = MST_AIO_READ,
                            .fd = t->in_fd,
                            .data = data,
                            .size_bytes = cap,
                            .offset = t->in_bytes};
    int64_t count = mst_aio_do(t->aio, &op, MST_NEVER);

    t->in_bytes += count > 0 ? (uint64_t)count : 0;
    return count;
}

static int write_contents(void *arg, const void *data, size_t size_bytes)
{
    struct transfer *t = arg;
    struct mst_aio_op op = {.kind = MST_AIO_WRITE,
                            .fd = t->out_fd,
                            .data = (void *)(uintptr_t)data, /* only read from */
                            .size_bytes = size_bytes,
                            .offset = t->out_bytes};
    int64_t count = mst_aio_do(t->aio, &op, MST_NEVER);

    t->out_bytes += size_bytes;
    return count < 0 ? (int)count : 0;
}

/* Replaces the descriptor of the stored bytes by one of the contents. */
static int inflate_source(struct source *source, const char *scratch_dir, struct mst_aio *aio,
                          struct mst_err *err)
{
    int fd = open(scratch_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    struct transfer t = {.aio = aio, .in_fd = source->fd, .out_fd = fd};
    struct inflate_io io = {.read = read_stored, .write = write_contents, .arg = &t};
    int64_t size;

    if (fd < 0)
        return mst_err_set(err, -errno, "%s: no scratch file in %s: %s", source->path, scratch_dir,
                           strerror(errno));
    size = inflate_gzip(&io, err);
    if (size < 0) {
        close(fd);
        mst_err_wrap(err, "%s (scratch in %s)", source->path, scratch_dir);
        return (int)size;
    }
    close(source->fd);
    source->fd = fd;
    source->size_bytes = (uint64_t)size;
    source->compressed = true;
    return 0;
}

int source_open(const char *uri, const char *scratch_dir, struct mst_aio *aio,
                struct source *ret_source, struct mst_err *err)
{
    struct source source = SOURCE_CLOSED;
    char path[PATH_CAP];
    int rc = mst_uri_file_path(uri, path, sizeof path, err);

    if (rc)
        return rc;
    source.path = strdup(path);
    if (!source.path)
        return mst_err_set(err, -ENOMEM, "%s: no memory", path);
    rc = open_regular(path, &source.fd, &source.stored_bytes, err);
    if (rc)
        goto fail;
    source.size_bytes = source.stored_bytes;
    if (record_is_gzip(path))
        rc = inflate_source(&source, scratch_dir, aio, err);
    if (rc)
        goto fail;
    *ret_source = source;
    return 0;
fail:
    source_close(&source);
    return rc;
}

int source_direct(struct source *source)
{
    char path[32];

    if (source->direct_fd >= 0)
        return source->direct_fd;
    /* By the descriptor: an inflated file has no name, and a name may have changed its file. */
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", source->fd);
    source->direct_fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    return source->direct_fd >= 0 ? source->direct_fd : source->fd;
}

/* ---- scan ---- */

#define PIECE_BYTES ((size_t)1 << 20)
#define WINDOW 4u

struct scan {
    const struct source *source;
    struct mst_aio *aio;
    uint8_t *into;               /* all of it, or NULL */
    uint8_t *window;             /* WINDOW pieces, or NULL */
    uint64_t submitted, visited; /* pieces */
    struct {
        int64_t result;
        bool ended;
    } pieces[WINDOW];
    struct mst_err *err;
};

static size_t piece_bytes(const struct scan *scan, uint64_t piece)
{
    uint64_t left = scan->source->size_bytes - piece * PIECE_BYTES;

    return left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
}

static uint8_t *piece_data(const struct scan *scan, uint64_t piece)
{
    return scan->into ? scan->into + piece * PIECE_BYTES
                      : scan->window + piece % WINDOW * PIECE_BYTES;
}

static void submit_pieces(struct scan *scan, uint64_t piece_count)
{
    while (scan->submitted < piece_count && scan->submitted < scan->visited + WINDOW) {
        uint64_t piece = scan->submitted;
        struct mst_aio_op op = {.kind = MST_AIO_READ,
                                .fd = scan->source->fd,
                                .data = piece_data(scan, piece),
                                .size_bytes = piece_bytes(scan, piece),
                                .offset = piece * PIECE_BYTES,
                                .user = &scan->pieces[piece % WINDOW]};
        scan->pieces[piece % WINDOW].ended = false;
        if (mst_aio_submit(scan->aio, &op, 1) == 0)
            return; /* a shallower queue than the window */
        scan->submitted++;
    }
}

static void reap_pieces(struct scan *scan, size_t min)
{
    struct mst_aio_done done[WINDOW];
    int count = mst_aio_reap(scan->aio, done, WINDOW, min, MST_NEVER);

    for (int i = 0; i < count; i++) {
        size_t slot = 0;
        while (done[i].user != &scan->pieces[slot])
            slot++;
        scan->pieces[slot].result = done[i].result;
        scan->pieces[slot].ended = true;
    }
}

static int check_piece(const struct scan *scan, uint64_t piece)
{
    int64_t result = scan->pieces[piece % WINDOW].result;
    size_t want = piece_bytes(scan, piece);

    if (result < 0)
        return mst_err_set(scan->err, (int)result, "%s: reading at byte %" PRIu64 ": %s",
                           scan->source->path, piece * PIECE_BYTES, strerror((int)-result));
    if ((size_t)result < want)
        return mst_err_set(scan->err, -EBADMSG,
                           "%s: became shorter while it was read: %" PRIu64 " bytes, not %" PRIu64,
                           scan->source->path, piece * PIECE_BYTES + (uint64_t)result,
                           scan->source->size_bytes);
    return 0;
}

static int run_scan(struct scan *scan, source_visit_fn visit, void *arg)
{
    uint64_t piece_count = (scan->source->size_bytes + PIECE_BYTES - 1) / PIECE_BYTES;

    while (scan->visited < piece_count) {
        uint64_t piece = scan->visited;
        struct mst_cspan span = {.data = piece_data(scan, piece),
                                 .size_bytes = piece_bytes(scan, piece)};
        int rc;
        submit_pieces(scan, piece_count);
        while (!scan->pieces[piece % WINDOW].ended)
            reap_pieces(scan, 1);
        rc = check_piece(scan, piece);
        if (rc == 0 && visit)
            rc = visit(arg, span);
        if (rc)
            return rc;
        scan->visited++;
    }
    return 0;
}

int source_scan(const struct source *source, struct mst_aio *aio, void *into, source_visit_fn visit,
                void *arg, struct mst_err *err)
{
    struct scan scan = {.source = source, .aio = aio, .into = into, .err = err};
    int rc;

    if (!into)
        scan.window = malloc(WINDOW * PIECE_BYTES);
    if (!into && !scan.window)
        return mst_err_set(err, -ENOMEM, "%s: no memory to read it", source->path);
    rc = run_scan(&scan, visit, arg);
    while (mst_aio_in_flight(aio)) /* the buffers are borrowed until the last one has ended */
        reap_pieces(&scan, 1);
    free(scan.window);
    return rc;
}

int source_slurp(const char *path, struct mst_aio *aio, uint8_t **ret_data,
                 uint64_t *ret_size_bytes, struct mst_err *err)
{
    struct source source = SOURCE_CLOSED;
    uint8_t *data = NULL;
    int rc = open_regular(path, &source.fd, &source.size_bytes, err);

    if (rc)
        return rc;
    source.path = strdup(path);
    data = malloc(source.size_bytes ? source.size_bytes : 1);
    if (!source.path || !data)
        rc = mst_err_set(err, -ENOMEM, "%s: no memory for %" PRIu64 " bytes", path,
                         source.size_bytes);
    else
        rc = source_scan(&source, aio, data, NULL, NULL, err);
    if (rc == 0) {
        *ret_data = data;
        *ret_size_bytes = source.size_bytes;
        data = NULL;
    }
    free(data);
    source_close(&source);
    return rc;
}
