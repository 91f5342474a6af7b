/* The node page: what the ranks of a node and their agent tell one another with plain stores.
 *
 * A memfd, made by the agent for each generation and inherited by its ranks: it needs no /dev/shm,
 * leaves nothing behind, and survives the SIGKILL of a rank, so that the agent can still read what
 * the rank was doing. It holds
 *   - the abort word: set once, it ends every wait of every rank of the node;
 *   - the drain gate: the step at which all ranks stop or checkpoint (launcher/job.h);
 *   - one slot per rank: pid, state, step, beat;
 *   - one flight recorder ring per rank: its last collectives.
 *
 *   agent: mst_page_create → spawn ranks with the fd
 *          → read slots, mst_page_abort, mst_page_gate_set → mst_page_unmap
 *   rank:  mst_page_map(world.page_fd) → mst_page_slot(page, local_rank) → stores
 *          → mst_page_unmap
 *
 * All functions are safe from any thread and process; none blocks except mst_page_gate_wait. */
#ifndef MUSTER_CORE_WORLD_PAGE_H
#define MUSTER_CORE_WORLD_PAGE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct mst_err;
struct mst_page;

enum mst_rank_state {
    MST_RANK_EMPTY,     /* not spawned yet */
    MST_RANK_STARTING,  /* spawned, has not opened the page */
    MST_RANK_RUNNING,   /* in user code */
    MST_RANK_IN_COLL,   /* inside a collective */
    MST_RANK_AT_GATE,   /* waiting at the drain gate */
    MST_RANK_FINISHING, /* has left the job loop */
    MST_RANK_LEFT,      /* its process has ended with 0, says the agent */
    MST_RANK_STATE_COUNT
};

/* "in collective"; "?" for a number that is none. Static storage. */
const char *mst_rank_state_name(unsigned state);

#define MST_PAGE_NO_STEP UINT64_MAX           /* a rank that has not called mst_job_step yet */
#define MST_PAGE_STEP_MAX (UINT64_C(1) << 59) /* of a rank; the gate's may lie a little beyond */

struct mst_page_slot {
    _Alignas(64) atomic_uint pid;
    atomic_uint state;               /* enum mst_rank_state */
    atomic_uint_least64_t step;      /* last step entered by mst_job_step, or MST_PAGE_NO_STEP */
    atomic_uint_least64_t beat_ns;   /* when the rank last showed life, mst_now_ns() */
    atomic_uint_least64_t ckpt_step; /* last checkpoint committed, or MST_PAGE_NO_STEP */
    atomic_uint_least64_t op_count;  /* collectives begun: the index of the next recorder entry */
    atomic_uint_least64_t lost_step; /* last save, if it was abandoned, else MST_PAGE_NO_STEP */
    atomic_uint_least64_t
        acted_step;        /* the agreed step that the rank acted on last, or ..NO_STEP */
    atomic_uint waits_for; /* rank + 1 of another node that a collective waits for; 0: nobody's */
    atomic_int verdict;    /* 0, or the -errno that the library met and no restart will cure */
};

/* One collective in the flight recorder: 64 bytes, written by its rank alone, read by anyone after
 * its death. */
struct mst_page_op {
    _Alignas(64) uint64_t seq; /* 1, 2, … within its communicator */
    uint64_t enter_ns;
    uint64_t done_ns; /* 0 while running */
    uint64_t count;   /* elements */
    uint32_t comm_id;
    uint32_t signature;
    uint8_t kind;  /* enum mst_coll */
    uint8_t dtype; /* enum mst_dtype */
    uint8_t op;    /* enum mst_op */
    uint8_t pad;
    int32_t result; /* 0 or -errno once done */
};

#define MST_PAGE_RING_OPS 64 /* entries kept per rank */
#define MST_PAGE_RANKS_MAX 1024

/* Agent: makes the page for `local_size` ranks. The fd is close-on-exec. 0; -EINVAL if local_size
 * is 0 or over MST_PAGE_RANKS_MAX; -ENOMEM and other codes of memfd_create, ftruncate, mmap with
 * text. */
int mst_page_create(uint32_t local_size, int *ret_fd, struct mst_page **ret_page,
                    struct mst_err *err);

/* Rank: maps an inherited page. The fd stays the caller's. 0; -EBADMSG if it is no page of this
 * version; codes of fstat and mmap. */
int mst_page_map(int fd, struct mst_page **ret_page, struct mst_err *err);

/* A page that this process has inherited: the fd, or -1. For who has none of the variables that
 * name it, as what started it has cleared the environment. */
int mst_page_find_inherited(void);

/* NULL is allowed. Does not close the fd. */
void mst_page_unmap(struct mst_page *page);

uint32_t mst_page_local_size(const struct mst_page *page);

/* Those of all local ranks are one array. Asserts local_rank < local_size. */
struct mst_page_slot *mst_page_slot(struct mst_page *page, uint32_t local_rank);

/* Entry `index % MST_PAGE_RING_OPS` of the rank's ring. */
struct mst_page_op *mst_page_op(struct mst_page *page, uint32_t local_rank, uint64_t index);

/* Not one rank's fault: another node, or the agent's decision. */
#define MST_PAGE_CAUSE_JOB UINT32_C(0x7fffffff)

/* Sets the abort word to "because of global rank `cause_rank`" (or MST_PAGE_CAUSE_JOB) unless it is
 * set already, and wakes the gate. */
void mst_page_abort(struct mst_page *page, uint32_t cause_rank);

/* 0 while the generation lives, else cause + 1. One acquire load: cheap enough for spin loops. */
uint32_t mst_page_aborted(const struct mst_page *page);

/* The drain gate. PROPOSED(s): a rank that has finished step s or a later one waits; AGREED(s): it
 * acts, at the first step that it tells from s on. */
enum mst_gate_state { MST_GATE_OPEN, MST_GATE_PROPOSED, MST_GATE_AGREED };
enum mst_gate_action {
    MST_GATE_STOP,
    MST_GATE_CHECKPOINT,
    MST_GATE_REGROUP /* a stop that another generation follows; agents' word, in no page */
};

struct mst_gate {
    enum mst_gate_state state;
    enum mst_gate_action action;
    uint64_t step; /* < 2^60 */
};

struct mst_gate mst_page_gate(const struct mst_page *page);

/* Agent: stores the gate with seq_cst and wakes waiting ranks. With mst_page_enter_step it forms
 * the Dekker pair: after PROPOSED(s) is stored, either the agent sees that a rank has told a step
 * of s or more, or that rank sees the proposal. */
void mst_page_gate_set(struct mst_page *page, struct mst_gate gate);

/* Rank: stores the step just finished with seq_cst, then returns the gate. */
struct mst_gate mst_page_enter_step(struct mst_page *page, uint32_t local_rank, uint64_t step);

/* Sleeps until the gate differs from `seen`, the generation is aborted (-ECONNRESET) or the
 * deadline (-ETIMEDOUT). */
int mst_page_gate_wait(struct mst_page *page, struct mst_gate seen, uint64_t deadline_ns);

#endif
