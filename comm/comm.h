/* comm: collectives between the ranks of a job.
 *
 *   mst_comm_create(world, kv, &opts, &comm, &err)       every rank; exchanges addresses over kv
 *   mst_comm_allreduce(comm, in, out, count, MST_F32, MST_SUM, NULL)     returns with the result
 *   mst_comm_destroy(comm)
 *
 * All ranks call the same collectives in the same order. Inside a node the host back end works in a
 * shared segment (a memfd, no /dev/shm); between nodes over TCP. In place: in == out. Buffers have
 * the alignment of their type and any count, 0 included, and must not overlap otherwise.
 *
 * An operation has one form. Its last argument says how it is called: NULL blocks until the result
 * is there, or the communicator's timeout has passed; struct mst_call sets a deadline, starts it
 * behind the caller's back, or puts it in order with a stream of the device, or into it.
 *
 * Determinism (level 0): the same inputs and world give the same bits, whatever the size, chunking,
 * timing, instruction set or start/wait order: elements are reduced in rank order inside a node,
 * then in node order (under MPI, in rank order); 16-bit types are accumulated in f32 and rounded
 * once.
 *
 * Every wait ends: by its deadline, or within milliseconds when the generation is aborted. Create
 * is slower to notice an abort: it looks every few seconds while it waits for ranks, every second
 * while it dials another node. Common errors of all collectives: -EINVAL a root, count or
 * buffer, or a struct without its size; -ETIMEDOUT (mst_comm_error names who has not arrived, and
 * its last op); -ECONNRESET a peer is lost or the generation was aborted; -EPROTO peers called
 * different collectives (the text names both ranks' op, type and count; from three nodes on a rank
 * to which a message was half sent may hear -ECONNRESET of it); -ENOTSUP a type or op that this
 * library or back end does not know or reduce, a field of struct mst_call that only a newer library
 * knows, or this back end has no streams. -ENOTSUP, too, answers a forked child of the process that
 * created it. -EINVAL, -ENOTSUP and what starting alone answers (-EAGAIN, -ENOMEM) refuse the call,
 * and the communicator lives on. After any other error it is dead: every later call that is not
 * refused returns the same code.
 *
 * The mpi back end works over the MPI that started the ranks (Open MPI, MPICH). It initialises MPI
 * unless the program has, which then needs MPI_THREAD_SERIALIZED, or MPI_THREAD_MULTIPLE to call
 * MPI itself while requests are started. MPI's own initialisation has no deadline, and a timeout
 * there does not tell a rank's last op.
 *
 * The nccl back end works on the GPU whose number is the rank's local rank. Memory of that device
 * is used as it is, and must be ready when the call is made, or be made by the stream that the call
 * names; host memory goes through the device in rounds. Both buffers of a call are on one side, or
 * -EINVAL; i16 and u16 are not reduced, -ENOTSUP; -EIO the device failed. 8-bit floats, which other
 * back ends only move, are reduced: -ENOTSUP before NCCL 2.24; where a device has a compute
 * capability below 9.0 NCCL says so, and the communicator ends with -EPROTO. The arithmetic is
 * NCCL's: its order of reduction, where it rounds, and so the last bits, are its own. After an
 * error memory of the device belongs to the call until destroy, which waits some seconds at most
 * for NCCL, and for ranks of the node that still use the communicator. NCCL's own connections know
 * nothing of the job's secret, and are encrypted only if the program has called ncclSetEncryption
 * before. It has run on a fake NCCL only, never on a GPU.
 *
 * One thread at a time per communicator; started requests progress on a thread of its own. */
#ifndef MUSTER_COMM_COMM_H
#define MUSTER_COMM_COMM_H

#include "muster/core/coll.h"
#include "muster/core/dtype.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_comm;
struct mst_err;
struct mst_kv;
struct mst_req;
struct mst_world;

#define MST_COMM_TIMEOUT_MS_DEFAULT 600000

struct mst_comm_opts {
    uint32_t struct_bytes;
    /* Of create and of every collective that has no deadline of its own; 0 = MST_TIMEOUT_MS, else
     * MST_COMM_TIMEOUT_MS_DEFAULT. */
    uint32_t timeout_ms;
    const char *backend; /* "host", "mpi", "nccl"; NULL or "auto" = MST_COMM, else host or mpi */
};
#define MST_COMM_OPTS_INIT                                                                         \
    {                                                                                              \
        sizeof(struct mst_comm_opts), 0, NULL                                                      \
    }

/* Joins all ranks of `world` into a communicator. Collective; blocks until all have called or
 * opts->timeout_ms passed. `kv` and opts with its string are borrowed for the call only; world is
 * copied as far as needed. opts may be NULL, and so may kv for a back end that needs none: mpi,
 * which "auto" takes then under an MPI's launcher. 0; with text
 *   -EINVAL      opts does not begin with MST_COMM_OPTS_INIT; the node page is that of fewer ranks
 *   -ENOTSUP     the back end is unknown or missing, or what failed before has broken it here; host
 *                has no kv; or an option is set that only a newer libmuster knows
 *   -ETIMEDOUT   naming the ranks that did not come, or the node or server that did not answer
 *   -ECONNRESET  the key-value server or another rank is lost, or the generation was aborted
 *   -ESTALE      the generation of this rank is over
 *   -ENOTSUP     the world is that of the process that this one was forked from
 *   -EACCES      another node does not know the job secret
 *   -EPROTO      what the ranks say of themselves does not fit together, or is no answer at all
 *   -EBADMSG     the node page is not one of this version
 *   -EIO         the device failed, or gives no random bytes
 *   -ENOMEM      no memory here, on the device, in the shared segment or on the server
 * or the code of the system call that gives no listener or shared segment. */
int mst_comm_create(const struct mst_world *world, struct mst_kv *kv,
                    const struct mst_comm_opts *opts, struct mst_comm **ret_comm,
                    struct mst_err *err);

/* As create, with a kv handle of its own for the time being, or none where the world has no server.
 * Errors of mst_kv_dial too. */
int mst_comm_join(const struct mst_world *world, const struct mst_comm_opts *opts,
                  struct mst_comm **ret_comm, struct mst_err *err);

/* Ends the communicator of this rank. Not collective: does not block for peers, unless requests are
 * still open or something is enqueued: they are run first, to their results or their deadline, and
 * their handles end with the communicator; what went wrong then is not told. Who cannot wait for
 * that calls mst_comm_abort before. Of nccl it gives memory of the device back, for which the
 * driver waits for all streams of the device, the program's too. NULL is allowed. */
void mst_comm_destroy(struct mst_comm *comm);

/* Makes every wait of every rank of this communicator end with -ECONNRESET: at once on this node;
 * on the others once a leader of this node (a rank whose local rank every node has) called this, or
 * is in its next collective. Safe from any thread. */
void mst_comm_abort(struct mst_comm *comm);

/* This rank, and how many there are. Never fail. Safe from any thread. */
uint32_t mst_comm_rank(const struct mst_comm *comm);
uint32_t mst_comm_size(const struct mst_comm *comm);

/* "host", "mpi" or "nccl"; later versions may add names. Static storage; never fails. Safe from any
 * thread. */
const char *mst_comm_backend(const struct mst_comm *comm);

/* The text of the error that ended the communicator; while it lives, why the last collective or
 * mst_comm_get_stats was refused, "" if it was not. On the thread of the collectives; never fails,
 * does not block. Valid until the next call, the text of the end until destroy. */
const char *mst_comm_error(const struct mst_comm *comm);

/* How an operation is called, where NULL does not do. Read before the call returns; one struct may
 * serve many calls. */
struct mst_call {
    uint32_t struct_bytes;

    /* A point of core/clock.h's time, by which the result is there or the wait ends: of a blocking
     * call, or of the mst_req_wait of a started one, whatever was started before it. 0 = the
     * communicator's timeout, counted from the operation's turn; MST_NEVER waits for ever. */
    uint64_t deadline_ns;

    /* Not NULL: the operation is started. The call returns at once with *ret_req, the work goes on
     * behind (in start order), mst_req_wait returns its result. The buffers belong to the operation
     * until then. At most MST_COMM_REQS_MAX requests may be open: -EAGAIN after that. The first
     * start makes a thread: -ENOMEM. A start tells what is wrong with the call (-EINVAL, -ENOTSUP),
     * the wait everything else, that the communicator is dead too. A blocking call runs after
     * everything started before it. */
    struct mst_req **ret_req;

    /* A stream of the rank's device, as the CUDA driver or runtime hands it out; the default one,
     * whose handle may be NULL there, is cudaStreamLegacy ((void *)1) here. The operation comes
     * after what is queued there now, and what is queued there once the call, or the wait of a
     * started one, has returned comes after the operation. The host looks at the result after the
     * stream, too. Both buffers are memory of the device, or -EINVAL. NULL = the order of the
     * host's calls. -ENOTSUP on back ends without devices. */
    void *queue;

    /* Not 0: the operation is enqueued. The call puts it into `queue`, between what is queued there
     * now and what is queued there next, and returns; the host waits neither for the stream nor for
     * the other ranks. Whoever makes the call waits for what was started before it (and not
     * enqueued), for NCCL where it connects ranks at their first operations, and, without a
     * request, for room among MST_COMM_REQS_MAX. The communicator's thread, which the first such
     * call makes, is the watchdog behind: it meets the others under the signature of the call, and
     * looks for errors, the abort, and the deadline, which it counts from the operation's turn.
     * When something is wrong NCCL is aborted, and the stream goes on, with anything in the
     * buffers: they hold results once the host was told so. It is by a blocking call, a barrier,
     * say, and by mst_req_wait where `ret_req` asks for a request: they wait for what was enqueued
     * before, and return what has ended the communicator. An enqueued call returns that as well, as
     * soon as it is known; it is then not made, and gives no request. -EINVAL without a stream;
     * -ENOTSUP a barrier; -ENOTSUP, here and wherever a stream is named, one that is being captured
     * into a graph. */
    uint64_t enqueue;
};
#define MST_CALL_INIT                                                                              \
    {                                                                                              \
        sizeof(struct mst_call), 0, NULL, NULL, 0                                                  \
    }

#define MST_COMM_REQS_MAX 64

/* out[i] = op over ranks of in[i], on every rank; `count` elements.
 * Cost inside a node of p ranks: each rank copies its input once, reduces count/p elements from p
 * inputs, copies the result once. Between n nodes: direct reduce-scatter and allgather, 2 steps,
 * 2(n-1)/n of the bytes per node. */
int mst_comm_allreduce(struct mst_comm *comm, const void *in, void *out, size_t count,
                       enum mst_dtype dtype, enum mst_op op, const struct mst_call *call);

/* buf of `root` to every rank's buf; `count` elements. The root does not wait for ranks of its node
 * that are behind, as far as there is room; what is wrong with theirs is told to it by a later
 * collective. */
int mst_comm_broadcast(struct mst_comm *comm, void *buf, size_t count, enum mst_dtype dtype,
                       uint32_t root, const struct mst_call *call);

/* out = in of rank 0, of rank 1, …; `count` elements per rank, so out holds size * count. In place:
 * in == out + rank*count elements. */
int mst_comm_allgather(struct mst_comm *comm, const void *in, void *out, size_t count,
                       enum mst_dtype dtype, const struct mst_call *call);

/* in holds size * count elements; rank r gets op over ranks of elements [r*count, (r+1)*count) in
 * out. In place: out == in + rank*count elements. */
int mst_comm_reduce_scatter(struct mst_comm *comm, const void *in, void *out, size_t count,
                            enum mst_dtype dtype, enum mst_op op, const struct mst_call *call);

/* Ends once every rank has called it. */
int mst_comm_barrier(struct mst_comm *comm, const struct mst_call *call);

/* Waits for a started request and frees it, whatever the result, which is the collective's. Wait
 * once per request, in any order, on the thread of the collectives: a second time is -EINVAL while
 * its place has not been given to another request. Blocks until the deadline of
 * the call that started it; where that is 0, until what was started before it has ended, each by
 * its own deadline, and the communicator's timeout has passed since. */
int mst_req_wait(struct mst_req *req);

struct mst_comm_stats {
    uint32_t struct_bytes;
    uint64_t op_count;
    uint64_t bytes;   /* payload of this rank's inputs */
    uint64_t busy_ns; /* time the caller spent inside collectives and waits */
};
#define MST_COMM_STATS_INIT                                                                        \
    {                                                                                              \
        sizeof(struct mst_comm_stats), 0, 0, 0                                                     \
    }

/* Since create. Same thread as the collectives. 0; -EINVAL ret_stats->struct_bytes was not set,
 * with text by mst_comm_error. */
int mst_comm_get_stats(struct mst_comm *comm, struct mst_comm_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
