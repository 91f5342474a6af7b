/* The shared segment of one communicator on one node: how its ranks step together and hand one
 * another bytes.
 *
 * A *step* is an all-to-all flag exchange: every rank posts its own cache line, then waits for the
 * lines of all others. Before it posts, a rank deposits bytes in its area of the coming step; after
 * the step it may read everybody's. Areas and lines are double-buffered by the step's parity: a
 * rank that prepares step s + 2 has seen all lines of s + 1, so all have read what s brought. Up to
 * SEGMENT_INLINE_BYTES ride in the flag's own line.
 *
 * Every line carries the signature of the collective that its rank is in, so that a mismatch shows
 * at the first step, before any byte is used. The first failure of any rank is recorded in the
 * segment with its text, and ends the waits of all.
 *
 *   leader: segment_create → tell the others the place    others: segment_open(place)
 *   segment_begin(desc) → [deposit → segment_step → read]…   segment_close
 *
 * One thread at a time, except segment_fail. */
#ifndef MUSTER_COMM_SEGMENT_H
#define MUSTER_COMM_SEGMENT_H

#include "muster/comm/signature.h"
#include "muster/comm/wait.h"
#include "muster/core/err.h"

#include <stddef.h>
#include <stdint.h>

#define SEGMENT_INLINE_BYTES 56
#define SEGMENT_CHUNK_BYTES ((size_t)128 << 10) /* of one deposit: what a chunk touches fits L2 */

struct segment_head;
struct mst_page_slot;

struct segment {
    struct segment_head *head;
    uint8_t *areas;
    size_t bytes;      /* of the mapping */
    size_t area_bytes; /* of one rank in one step: a chunk, and a rank's share of a result */
    uint32_t local_rank, local_size;
    const uint32_t *ranks;             /* local rank → global rank; borrowed, for texts */
    const struct mst_page_slot *slots; /* of the local ranks in the node's page; NULL: no page */
    uint32_t step;                     /* the last one completed */
    uint32_t signature;                /* of the collective that this rank is in */
    uint64_t op_seq;
    struct waiter wait;
    int fd; /* the leader's own memfd, or -1 */
};

/* Where the leader put the segment. */
struct segment_place {
    uint32_t pid; /* whose fd it is; 0 = the one that all ranks of the node inherited */
    uint32_t fd;
    uint64_t offset; /* in the file */
};

/* Leader (local rank 0): takes room at the end of shm_fd, or of a new memfd when shm_fd is -1; for
 * a rank alone on its node, private memory. All of it is allocated now, so that a node without
 * memory answers -ENOMEM here and not SIGBUS later. 0; -ENOMEM and codes of memfd_create and mmap,
 * with text. */
int segment_create(struct segment *segment, int shm_fd, uint32_t local_size,
                   struct segment_place *ret_place, struct mst_err *err);

/* The others. 0; codes of open and mmap with text. */
int segment_open(struct segment *segment, int shm_fd, uint32_t local_rank, uint32_t local_size,
                 const struct segment_place *place, struct mst_err *err);

/* Closes the leader's own memfd, once all have opened it. */
void segment_seal(struct segment *segment);

/* Leaves. The last rank to leave gives the memory back to the file's owner. Half-built and zeroed
 * segments are allowed. */
void segment_close(struct segment *segment);

/* The node's page, or NULL: its abort word ends waits, and so does the slot of a rank that has
 * left. Borrowed until the close. */
void segment_set_page(struct segment *segment, struct mst_page *page);

/* Sets how this rank waits. Once all ranks have stepped together after the open: counts the cores
 * of all, and allows spinning only if there are `threads_per_rank` for each. */
void segment_set_wait(struct segment *segment, enum mst_wait_policy policy,
                      uint32_t threads_per_rank);

/* Announces a collective, the `op_seq`-th of this communicator. */
void segment_begin(struct segment *segment, const struct signature_desc *desc, uint64_t op_seq);

/* The area of `local_rank` for a deposit of `bytes`: of the coming step (only one's own is
 * written), and of the step just completed. Asserts that it fits. */
void *segment_next(const struct segment *segment, uint32_t local_rank, size_t bytes);
const void *segment_last(const struct segment *segment, uint32_t local_rank, size_t bytes);

/* One step. 0; -EPROTO with both ranks' collectives; -ETIMEDOUT naming the ranks that have not
 * come and what each did last; -ECONNRESET; or the code of the failure that another rank has
 * recorded, with its text. */
int segment_step(struct segment *segment, uint64_t deadline_ns, struct mst_err *err);

/* Puts a wait's -ECANCELED or -ECONNRESET into words: the recorded failure, or the abort and its
 * cause. Returns the code to answer with. */
int segment_explain(const struct segment *segment, int code, struct mst_err *err);

/* Records *err as the end of this communicator and wakes everybody, unless a failure is recorded
 * already: then that one is copied to *err. Returns err->code. Safe from any thread. */
int segment_fail(struct segment *segment, struct mst_err *err);

#endif
