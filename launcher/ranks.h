/* Ranks: this node's processes of one generation, with the page and the segment they share.
 *
 *   init → (open → spawn → poll death_fd, ranks_reap per death → close), per generation → fini
 *
 * One thread. */
#ifndef MUSTER_LAUNCHER_RANKS_H
#define MUSTER_LAUNCHER_RANKS_H

#include "muster/core/world/page.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mst_err;
struct opts;
struct outlog;
struct rankenv_facts;

struct rank_proc {
    pid_t pid;              /* 0: not running */
    int pidfd;              /* of a running one; -1: the kernel or the sandbox has none */
    const cpu_set_t *cores; /* the only ones it may use; NULL: those of the agent */
};

struct rank_death {
    uint32_t local_rank;
    pid_t pid;
    int code; /* as exitcode_of_death says it */
};

struct ranks {
    int death_fd;        /* epoll of the pidfds: readable when a rank is dead and not reaped */
    uint32_t first_rank; /* global rank of local rank 0 */
    uint32_t local_size;
    uint32_t alive;
    struct rank_proc *procs; /* local_size of them */
    cpu_set_t *shares;       /* local_size of them: where the cores of procs lie */
    struct mst_page *page;   /* NULL: not open */
    int page_fd, shm_fd;
};

/* Nothing is open. 0; errors of epoll_create1 with text. */
int ranks_init(struct ranks *ranks, struct mst_err *err);

/* Closes what is open. A zeroed struct with a death_fd of -1 is allowed. */
void ranks_fini(struct ranks *ranks);

/* Makes page and segment. 0; -ENOMEM and errors of memfd_create with text. */
int ranks_open(struct ranks *ranks, uint32_t first_rank, uint32_t local_size, struct mst_err *err);

/* Unmaps and closes; death_fd stays. A closed struct is allowed. Asserts that none is alive. */
void ranks_close(struct ranks *ranks);

/* Starts rank after rank; `facts` holds what is the same for all of them. Stops at the first that
 * fails and leaves those before it running: alive says how many. Errors of spawn_start and
 * outlog_add_rank. */
int ranks_spawn(struct ranks *ranks, const struct opts *opts, const struct rankenv_facts *facts,
                struct outlog *outlog, struct mst_err *err);

/* Takes one death, if there is one: what is left of the rank's group is killed while its zombie
 * still holds the group's number. False: none of those with a pidfd is dead. */
bool ranks_reap(struct ranks *ranks, struct rank_death *ret_death);

/* The same for the child `pid`, which is dead and not reaped. False, and not reaped: no rank. */
bool ranks_reap_pid(struct ranks *ranks, pid_t pid, struct rank_death *ret_death);

/* Signals the process groups of all live ranks. */
void ranks_signal(const struct ranks *ranks, int signal_number);

/* Highest step of any rank, dead ones too, and lowest of the live ones (one that has counted none
 * yet is at 0, one that has an agreed checkpoint still before it not past that):
 * MST_PAGE_NO_STEP if there is none. */
void ranks_steps(const struct ranks *ranks, uint64_t *ret_highest, uint64_t *ret_lowest);

/* An error that a rank's library met and no restart cures, as an errno, and whose it is; 0 and
 * MST_PAGE_CAUSE_JOB if there is none. */
uint32_t ranks_verdict(const struct ranks *ranks, uint32_t *ret_rank);

#endif
