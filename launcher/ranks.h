/* Ranks: this node's processes of one generation, with the page and the segment they share.
 *
 *   init → (open → spawn → poll death_fd, ranks_reap per death → close), per generation → fini
 *
 * One thread. */
#ifndef MUSTER_LAUNCHER_RANKS_H
#define MUSTER_LAUNCHER_RANKS_H

#include "muster/core/world/page.h"
#include "muster/launcher/pmi.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct guard;
struct mst_err;
struct opts;
struct outlog;
struct rankenv;
struct rankenv_facts;
struct spawn;

struct rank_proc {
    pid_t pid;              /* 0: not running */
    int pidfd;              /* of a running one; -1: the kernel or the sandbox has none */
    const cpu_set_t *cores; /* the only ones it may use; NULL: those of the agent */
    struct rankenv *env;    /* of one whose start is held up, else NULL */
    bool ended;             /* killed in place of a SIGTERM that it would not have heard */
};

struct rank_death {
    uint32_t local_rank;
    pid_t pid;
    int code;            /* as exitcode_of_death says it */
    bool ended;          /* by ranks_terminate */
    bool killed;         /* by a signal */
    uint64_t peak_bytes; /* of memory, of the largest of the rank and what it has waited for */
};

struct ranks {
    int death_fd;        /* epoll of the pidfds: readable when a rank is dead and not reaped */
    uint32_t first_rank; /* global rank of local rank 0 */
    uint32_t local_size;
    uint32_t alive;
    struct rank_proc *procs; /* local_size of them */
    cpu_set_t *shares;       /* local_size of them: where the cores of procs lie */
    int *error_fds;          /* local_size of them: what they leave to be read; 0: nothing */
    struct mst_page *page;   /* NULL: not open */
    int page_fd, shm_fd;
    struct pmi pmi;
    char **begin;        /* what a rank begins as that is connected by PMIx; NULL: as its program */
    struct guard *guard; /* borrowed; NULL: none */
    struct spawn *spawn;
};

/* Nothing is open. The guard, which may be NULL, must outlive the ranks. 0; -ENOMEM and errors
 * of epoll_create1 with text. */
int ranks_init(struct ranks *ranks, struct guard *guard, struct mst_err *err);

/* Closes what is open. A zeroed struct with a death_fd of -1 is allowed. */
void ranks_fini(struct ranks *ranks);

/* Makes page and segment. 0; -ENOMEM and errors of memfd_create with text. */
int ranks_open(struct ranks *ranks, uint32_t first_rank, uint32_t local_size, struct mst_err *err);

/* Unmaps and closes; death_fd stays. A closed struct is allowed. Asserts that none is alive. */
void ranks_close(struct ranks *ranks);

/* Starts rank after rank; `facts` holds what is the same for all of them. Stops at the first that
 * fails and leaves those before it running: alive says how many. Errors of spawn_start and
 * pmi_start; -ENOMEM; -EIO its output has no place to go; all with text. */
int ranks_spawn(struct ranks *ranks, const struct opts *opts, const struct rankenv_facts *facts,
                struct outlog *outlog, struct mst_err *err);

/* Takes one death, if there is one: what is left of the rank's group is killed while its zombie
 * still holds the group's number. False: none of those with a pidfd is dead. */
bool ranks_reap(struct ranks *ranks, struct rank_death *ret_death);

/* The same for the child `pid`, which is dead and not reaped. False, and not reaped: no rank. */
bool ranks_reap_pid(struct ranks *ranks, pid_t pid, struct rank_death *ret_death);

/* Reaps the child `pid`, which is dead and no rank, or one that was given up. */
void ranks_reap_orphan(const struct ranks *ranks, pid_t pid);

/* The processes of the ranks, 0 for those that do not live. Returns how many: local_size, or 0. */
uint32_t ranks_pids(const struct ranks *ranks, pid_t pids[MST_PAGE_RANKS_MAX]);

/* What a rank has left in its error file, in `text` of `cap` bytes. Returns its size; 0 if there is
 * nothing, or more than `cap`. */
size_t ranks_read_error(const struct ranks *ranks, uint32_t local_rank, char *text, size_t cap);

/* Signals the process groups of all live ranks. */
void ranks_signal(const struct ranks *ranks, int signal_number);

/* SIGKILL to the process group of one rank of this node, if it lives. */
void ranks_kill(const struct ranks *ranks, uint32_t rank);

/* SIGTERM to the process groups of all live ranks. If they began `deaf` to it, those of which no
 * process has set a handler since get what SIGTERM would be to them: their end. */
void ranks_terminate(struct ranks *ranks, bool deaf);

/* Says of each live rank, in the log, which it is and what it does in the kernel. */
void ranks_report(const struct ranks *ranks, const char *what);

/* Gives up the live ranks, which no signal ends: they are forgotten, and none is alive. The kernel
 * ends them when they come back to it. */
void ranks_abandon(struct ranks *ranks);

/* Highest step of any rank, dead ones too, and lowest of the live ones (one that has counted none
 * yet is at 0, one that has an agreed checkpoint still before it not past that):
 * MST_PAGE_NO_STEP if there is none. */
void ranks_steps(const struct ranks *ranks, uint64_t *ret_highest, uint64_t *ret_lowest);

/* An error that a rank's library met and no restart cures, as an errno, and whose it is; 0 and
 * MST_PAGE_CAUSE_JOB if there is none. */
uint32_t ranks_verdict(const struct ranks *ranks, uint32_t *ret_rank);

/* The highest step of a last save that was abandoned, and of which live rank; MST_PAGE_NO_STEP and
 * MST_PAGE_CAUSE_JOB if there is none. */
uint64_t ranks_lost_step(const struct ranks *ranks, uint32_t *ret_rank);

#endif
