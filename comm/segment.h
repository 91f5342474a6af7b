/* The shared segment of one communicator on one node: how its ranks step together and hand one
 * another bytes.
 *
 * In a *step* every rank posts its own cache line, and waits for the lines that it needs: of all
 * ranks, of one, or of none. Before it posts, a rank deposits bytes in its area; whoever has seen
 * its line may read them until he posts his own line of the next step. Up to SEGMENT_INLINE_BYTES
 * ride in the line itself.
 *
 * Lines and areas are rings. All ranks take the same room in them in the same order, so that
 * nobody tells anybody where a deposit lies. A rank that waits for nobody goes on until the ring is
 * full; what a line or a piece of the area held is overwritten only once all ranks have posted a
 * later step. An area is larger than a core's own cache, so that what is written next lies in the
 * cache that the cores share, and no longer in that of whoever read it last.
 *
 * Every line carries a signature of all collectives of its rank so far, so that a mismatch shows
 * at the first step that is waited for, before any byte is used. The first failure of any rank is
 * recorded in the segment with its text, and ends the waits of all.
 *
 *   leader: segment_create → tell the others the place    others: segment_open(place)
 *   segment_begin(desc) → [reserve → deposit → segment_step → read]…   segment_close
 *
 * One thread at a time, except segment_fail. */
#ifndef MUSTER_COMM_SEGMENT_H
#define MUSTER_COMM_SEGMENT_H

#include "muster/comm/signature.h"
#include "muster/comm/wait.h"
#include "muster/core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_INLINE_BYTES 56
#define SEGMENT_RING 16                        /* steps that a rank may be ahead of another */
#define SEGMENT_AREA_BYTES ((size_t)2 << 20)   /* of a rank, where the node's share allows it */
#define SEGMENT_NODE_BYTES ((size_t)16 << 20)  /* of all areas, up to 16 ranks; twice that above */
#define SEGMENT_AREA_LEAST ((size_t)128 << 10) /* of a rank, however many there are */
#define SEGMENT_SMALL_BYTES ((size_t)64 << 10) /* of a small room, or a line for each rank */

struct segment_head;
struct mst_page_slot;

/* How rooms follow one another in the areas. */
enum segment_rooms {
    SEGMENT_ROAMING,     /* through the whole of it, as after create */
    SEGMENT_ALTERNATING, /* between two places: who share a core share its cache, which is to hold
                          * them then */
    SEGMENT_SMALL,       /* the same, and no room is larger than SEGMENT_SMALL_BYTES: two threads of
                          * a core have half of its cache each */
};

/* What a step has of every area. */
struct segment_room {
    uint64_t begin; /* counted on from round to round of the area */
    bool in_line;   /* it has nothing: the line holds it */
};

struct segment {
    struct segment_head *head;
    uint8_t *areas;
    size_t bytes;      /* of the mapping */
    size_t area_bytes; /* of one rank: a power of two, or 0 for a rank alone */
    size_t most_bytes; /* of one rank in one step, now: a line for each of its node, at least */
    uint32_t local_rank, local_size;
    const uint32_t *ranks;             /* local rank → global rank; borrowed, for texts */
    const struct mst_page_slot *slots; /* of the local ranks in the node's page; NULL: no page */
    uint32_t step;                     /* the last one posted */
    uint32_t known;                    /* the last one that all are known to have posted */
    struct segment_room rooms[SEGMENT_RING]; /* of the latest steps */
    uint64_t end;                            /* of the latest room */
    bool roams;                              /* they are SEGMENT_ROAMING */
    uint32_t signature; /* of all collectives up to the one that this rank is in */
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
 * memory answers -ENOMEM here and not SIGBUS later. 0; -ENOMEM; -EFBIG the process may not have so
 * large a file; and codes of memfd_create and mmap, with text. */
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

/* Takes `bytes` of every area for the coming step, 0 to segment->most_bytes; once before each step,
 * and on all ranks alike. Waits until the others have left what lies there. As segment_step. */
int segment_reserve(struct segment *segment, size_t bytes, uint64_t deadline_ns,
                    struct mst_err *err);

/* What `local_rank` deposits in the coming step (only one's own is written), or has deposited in
 * the step just made: all that was reserved, from a cache line on; or the inside of its line, if
 * that is at most SEGMENT_INLINE_BYTES. */
void *segment_next(const struct segment *segment, uint32_t local_rank);
const void *segment_last(const struct segment *segment, uint32_t local_rank);

/* One step: posts, and waits for all. 0; -EPROTO with both ranks' collectives; -ETIMEDOUT naming
 * the ranks that have not come and what each did last; -ECONNRESET; or the code of the failure that
 * another rank has recorded, with its text. */
int segment_step(struct segment *segment, uint64_t deadline_ns, struct mst_err *err);

/* The same, waiting for one rank only; for one's own, for nobody. The others are seen later: by the
 * next segment_step, or when the ring is full. */
int segment_step_from(struct segment *segment, uint32_t local_rank, uint64_t deadline_ns,
                      struct mst_err *err);

/* From the next reserve on, and on all ranks alike. Sets segment->most_bytes, too. */
void segment_set_rooms(struct segment *segment, enum segment_rooms rooms);

/* Whether this rank waits as if it had a core of its own. */
bool segment_has_core(const struct segment *segment);

/* Puts a wait's -ECANCELED or -ECONNRESET into words: the recorded failure, or the abort and its
 * cause. Returns the code to answer with. */
int segment_explain(const struct segment *segment, int code, struct mst_err *err);

/* Records *err as the end of this communicator and wakes everybody, unless a failure is recorded
 * already: then that one is copied to *err. Returns err->code. Safe from any thread. */
int segment_fail(struct segment *segment, struct mst_err *err);

#endif
