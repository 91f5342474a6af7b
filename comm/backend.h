/* What a back end of comm is: whole collectives between all ranks. comm.c has checked the arguments
 * and calls from one thread at a time; comm_backends lists all of them. */
#ifndef MUSTER_COMM_BACKEND_H
#define MUSTER_COMM_BACKEND_H

#include "muster/comm/signature.h"
#include "muster/core/err.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_kv;
struct mst_page;
struct mst_world;

/* One collective. `in` and `out` as in comm.h; a broadcast has its buffer in `out`. */
struct comm_call {
    struct signature_desc desc;
    const void *in;
    void *out;
    uint64_t deadline_ns; /* 0 = the communicator's timeout from its turn */
    void *queue;          /* the caller's stream of the device, or NULL */
    bool enqueued;        /* behind `queue`, and before what comes there next */
    void *mark;           /* the back end's: where `queue` was when the call was made */
};

struct comm_backend {
    const struct comm_ops *ops;
    uint32_t comm_id;   /* the same on all ranks */
    struct mst_err err; /* of the failed run */
};

struct comm_ops {
    const char *name;
    bool reduces_f8; /* 8-bit floats come to `accept`; else they are refused, as they are not folded
                      * here */

    /* Joins all ranks; blocks until they have come or the deadline passed. world, kv and page are
     * borrowed: kv (NULL where the world has no server) for the call, page (may be NULL) until
     * destroy. Errors of mst_comm_create with text. */
    int (*create)(const struct mst_world *world, struct mst_kv *kv, struct mst_page *page,
                  uint64_t deadline_ns, struct comm_backend **ret_backend, struct mst_err *err);

    /* Does not wait for peers. NULL is allowed. */
    void (*destroy)(struct comm_backend *backend);

    /* Optional: NULL = all that comm.h allows. 0; with text -ENOTSUP this type or operator, -EINVAL
     * these buffers; the communicator lives on. Safe from any thread; does not block. */
    int (*accept)(const struct comm_backend *backend, const struct comm_call *call,
                  struct mst_err *err);

    /* Optional, all or none: NULL = this back end has no streams. On the thread of the call: sets
     * call->mark, after which `run` must come. 0; -EINVAL `queue` is no stream of the device;
     * -EBUSY it is being captured; -ENOMEM, -EIO. Unmark frees it, of an enqueued call once `place`
     * has returned. Both are safe from any thread; mark does not block. */
    int (*mark)(struct comm_backend *backend, struct comm_call *call);
    void (*unmark)(struct comm_backend *backend, const struct comm_call *call);

    /* With mark. On the thread of the call, of each one that is enqueued: puts it on the device
     * behind call->mark, and what comes into `queue` next behind it. Beside it `run` may be under
     * way for it and for what was enqueued before it, and nothing else. Waits for nothing but the
     * library's own beginnings, and no longer once a run has failed. 0; -ECONNRESET it could not,
     * and has made all runs fail. */
    int (*place)(struct comm_backend *backend, const struct comm_call *call);

    /* The `op_seq`-th collective (1, 2, …) of this communicator. Blocks until it is done; one that
     * is enqueued is only watched. 0, or
     * -ETIMEDOUT, -ECONNRESET, -EPROTO, -EIO with backend->err filled; then no more is run, and the
     * back end has seen to it that the peers fail soon too. */
    int (*run)(struct comm_backend *backend, const struct comm_call *call, uint64_t op_seq,
               uint64_t deadline_ns);

    /* Ends every wait of all ranks with *err: on other nodes perhaps with -ECONNRESET. An earlier
     * failure stands. Safe from any thread; does not block. */
    void (*abort)(struct comm_backend *backend, const struct mst_err *err);

    /* How many threads of each rank want a core from now on; between runs. */
    void (*set_threads)(struct comm_backend *backend, uint32_t threads_per_rank);
};

extern const struct comm_ops comm_host_ops;
extern const struct comm_ops comm_mpi_ops;
extern const struct comm_ops comm_nccl_ops;
extern const struct comm_ops *const comm_backends[]; /* NULL-ended */

#endif
