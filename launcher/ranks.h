/* Ranks: this node's processes of one generation, with the page and the segment they share.
 *
 *   open → spawn → reaped, once per death → close
 *
 * One thread. */
#ifndef MUSTER_LAUNCHER_RANKS_H
#define MUSTER_LAUNCHER_RANKS_H

#include "core/page.h"

#include <stdint.h>
#include <sys/types.h>

struct mst_err;
struct opts;
struct outlog;
struct rankenv_facts;

struct rank_proc {
    pid_t pid; /* 0: not running */
};

struct ranks {
    uint32_t generation;
    uint32_t first_rank; /* global rank of local rank 0 */
    uint32_t local_size;
    uint32_t alive;
    struct rank_proc *procs; /* local_size of them */
    struct mst_page *page;   /* NULL: not open */
    int page_fd, shm_fd;
};

/* Makes page and segment. 0; -ENOMEM and errors of memfd_create with text. */
int ranks_open(struct ranks *ranks, uint32_t generation, uint32_t first_rank, uint32_t local_size,
               struct mst_err *err);

/* Unmaps and closes. A closed or zeroed struct is allowed. Asserts that none is alive. */
void ranks_close(struct ranks *ranks);

/* Starts rank after rank; `facts` holds what is the same for all of them. Stops at the first that
 * fails and leaves those before it running: alive says how many. Errors of spawn_start and
 * outlog_add_rank. */
int ranks_spawn(struct ranks *ranks, const struct opts *opts, const struct rankenv_facts *facts,
                struct outlog *outlog, struct mst_err *err);

/* The local rank whose process is `pid`, or -1. */
int ranks_find(const struct ranks *ranks, pid_t pid);

/* Its process is dead but not reaped: kills what is left of its group and forgets it. */
void ranks_bury(struct ranks *ranks, uint32_t local_rank);

/* Signals the process groups of all live ranks. */
void ranks_signal(const struct ranks *ranks, int signal_number);

/* Highest step of any rank, dead ones too, and lowest of the live ones (one that has counted none
 * yet is at 0): MST_PAGE_NO_STEP if there is none. */
void ranks_steps(const struct ranks *ranks, uint64_t *ret_highest, uint64_t *ret_lowest);

#endif
