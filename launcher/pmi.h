/* Pmi: the process that this node's ranks of MPI ask who the others are. Between nodes it brings
 * what they put to the job's key-value server, and waits for what the other nodes bring.
 *
 *   start → (rank_fd, which that rank inherits) → started → fd is readable: take; at look_ns: look
 *   → end
 *
 * By PMI-1 it is a copy of the agent, and by PMIx muster-pmix (pmix/main.c): the agent waits for
 * none of this, and loads no library for it. It ends with the agent, or when it is told to, and
 * gives up when a rank aborts the job, or has left without a word of MPI's, for which others may
 * wait for ever; the agent, which knows of the deaths of ranks, has a second to act on that by
 * itself. */
#ifndef MUSTER_LAUNCHER_PMI_H
#define MUSTER_LAUNCHER_PMI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "muster/core/err.h"
#include "muster/launcher/pmix_start.h"

struct rankenv_facts;

/* Why ranks of MPI cannot go on, and how their job ends. A code of the error that is none: 0
 * muster-pmix is ready; -EINPROGRESS the process lives, and does what the text says; -EAGAIN they
 * may go on yet. */
struct pmi_failure {
    uint32_t rank; /* whose doing it is */
    int exit_code;
    struct mst_err err;
};

#define PMI_LOOK_MS 5000 /* how often it says that it lives, and the agent looks whether it does */
#define PMI_SILENT_LOOKS 7 /* at which it hangs; its own waits are of 20 s at most */
#define PMI_DOING_BYTES 64

/* One with an fd of -1 is not started, and allowed everywhere but in take. */
struct pmi {
    int fd;        /* readable when the process has given up */
    pid_t pid;     /* of the process */
    uint32_t rank; /* the node's first */
    bool watched;  /* by the agent's loop, which sets it */
    bool ready;    /* it has begun to serve, or is PMI-1's, which needs nothing for that */
    int *fds;      /* it and the ranks' ends, close-on-exec; NULL once the ranks are started */
    uint32_t count;
    struct pmix_process pmix;    /* zeroed for PMI-1 */
    uint64_t look_ns;            /* when to look next */
    uint32_t silent;             /* looks since it has said anything */
    char doing[PMI_DOING_BYTES]; /* what it has said last */
};

/* For the ranks of this node, as `facts` says. `program` is the file of muster-pmix, which is to do
 * it; NULL: PMI-1 will do. 0; -EMFILE, -ENOMEM, -EAGAIN with text. */
int pmi_start(struct pmi *pmi, const struct rankenv_facts *facts, const char *program,
              struct mst_err *err);

/* The end that a rank inherits; 0: there is none. */
int pmi_rank_fd(const struct pmi *pmi, uint32_t local_rank);

/* The ranks have their ends, or will have none. */
void pmi_started(struct pmi *pmi);

/* A rank has ended, though a child that it leaves may still hold its end. */
void pmi_rank_ended(const struct pmi *pmi, uint32_t local_rank);

/* Why it gave up. False: it has not, and maybe says that it is ready. */
bool pmi_take(struct pmi *pmi, struct pmi_failure *ret_failure);

/* Is due at look_ns. True: it has said nothing for PMI_SILENT_LOOKS such looks, is killed, and that
 * is the failure. An agent that was stopped with it has not looked meanwhile. */
bool pmi_look(struct pmi *pmi, uint64_t now_ns, struct pmi_failure *ret_failure);

/* The process ends at once. Whoever reaps orphans reaps it. */
void pmi_end(struct pmi *pmi);

/* Waits until muster-pmix, which was told to end, has cleared up, or somebody has for it: where the
 * agent's end would kill them. */
void pmi_await(const struct pmi *pmi, uint64_t deadline_ns);

#endif
