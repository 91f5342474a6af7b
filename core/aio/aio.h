/* aio: batches of file operations, done behind the caller's back.
 *
 *   mst_aio_create → mst_aio_submit(ops) → mst_aio_reap(done) → mst_aio_destroy
 *
 * Two back ends with the same results: io_uring (liburing), and a pool of threads for kernels and
 * containers whose seccomp filter denies io_uring. The back end is chosen by probing;
 * MST_AIO=uring|threads forces one.
 * Short reads and writes, EINTR and EAGAIN are continued inside: an op that ends well did all of
 * its bytes, but a READ may end short at the end of the file. Ops complete in any order; a caller
 * that needs order waits for completions. One thread at a time per mst_aio. Steady state allocates
 * nothing. */
#ifndef MUSTER_CORE_AIO_AIO_H
#define MUSTER_CORE_AIO_AIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_aio;
struct mst_err;

enum mst_aio_kind {
    MST_AIO_READ,      /* fd, data, size_bytes, offset → bytes read */
    MST_AIO_WRITE,     /* fd, data, size_bytes, offset → size_bytes */
    MST_AIO_FSYNC,     /* fd → 0; the file's data and metadata are durable */
    MST_AIO_FDATASYNC, /* fd → 0 */
    MST_AIO_FALLOCATE, /* fd, offset, size_bytes → 0; -ENOSPC before a byte is written */
    MST_AIO_RENAME,    /* dir fd `fd`, path → path2, flags as renameat2 → 0 */
    MST_AIO_MKDIR,     /* dir fd `fd`, path, mode 0777 & ~umask → 0 */
    MST_AIO_UNLINK,    /* dir fd `fd`, path, flags as unlinkat → 0 */
    MST_AIO_KIND_COUNT
};

struct mst_aio_op {
    enum mst_aio_kind kind;
    int fd;
    void *data; /* written from for WRITE; borrowed until completion, like the paths */
    size_t size_bytes;
    uint64_t offset;
    const char *path, *path2;
    uint32_t flags;
    void *user; /* comes back in the completion */
};

struct mst_aio_done {
    void *user;
    int64_t result; /* bytes, 0, or -errno */
};

struct mst_aio_opts {
    uint32_t depth;      /* ops in flight; 0 = 64 */
    const char *backend; /* "uring", "threads"; NULL or "auto" = probe (world.tuning.aio) */
};

/* 0; -EINVAL unknown back end; -ENOTSUP the forced one does not work here, saying why; -ENOMEM. The
 * thread back end starts its pool here. */
int mst_aio_create(const struct mst_aio_opts *opts, struct mst_aio **ret_aio, struct mst_err *err);

/* Waits for all ops in flight (their results are lost) and frees. NULL is allowed. */
void mst_aio_destroy(struct mst_aio *aio);

/* "uring" or "threads": how tests see what "auto" has found. */
const char *mst_aio_backend(const struct mst_aio *aio);

/* Starts ops. Returns how many were taken: fewer than `count` when `depth` ops are in flight. Does
 * not block. */
int mst_aio_submit(struct mst_aio *aio, const struct mst_aio_op *ops, size_t count);

/* Collects completions: returns how many, at least `min` (blocking until the deadline) if so many
 * are in flight. -ETIMEDOUT when fewer than `min` came in time; they are kept for the next call. */
int mst_aio_reap(struct mst_aio *aio, struct mst_aio_done *done, size_t cap, size_t min,
                 uint64_t deadline_ns);

/* Ops taken and not yet reaped. */
size_t mst_aio_in_flight(const struct mst_aio *aio);

/* Submits one op and waits for it, for the commit path where order is the point. The op's result,
 * or -ETIMEDOUT. Asserts that nothing else is in flight. */
int64_t mst_aio_do(struct mst_aio *aio, const struct mst_aio_op *op, uint64_t deadline_ns);

/* A tap sees every op before it starts and may answer for it: return 1 to let it through, 0 or
 * -errno to complete it with that result without doing it. This is how tests record the order of
 * writes, and make the n-th one fail or the process die. One tap per process; set it while nothing
 * is in flight; NULL removes it. */
typedef int (*mst_aio_tap_fn)(void *arg, const struct mst_aio_op *op);
void mst_aio_set_tap(mst_aio_tap_fn fn, void *arg);

#endif
