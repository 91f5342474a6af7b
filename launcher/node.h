/* Node: this machine's part of the job. Listens to the coordinator and to its ranks' deaths, asks
 * the table (launcher/super.h) and does what it says.
 *
 *   init → message, reap, signals, tick … until over → fini
 *
 * One thread. */
#ifndef MUSTER_LAUNCHER_NODE_H
#define MUSTER_LAUNCHER_NODE_H

#include "muster/launcher/deaths.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/hung.h"
#include "muster/launcher/late.h"
#include "muster/launcher/mpi.h"
#include "muster/launcher/msg.h"
#include "muster/launcher/oom.h"
#include "muster/launcher/ranks.h"
#include "muster/launcher/super.h"
#include "muster/launcher/why.h"

#include <stdbool.h>
#include <stdint.h>

struct link;
struct mst_err;
struct opts;
struct outlog;

struct node {
    const struct opts *opts;
    struct link *link;
    struct outlog *outlog;
    int secret_fd;
    uint16_t kv_port;
    char kv_addr[288];
    struct super super;
    struct ranks ranks;
    struct mpi_watch mpi;   /* of node 0: one warning is enough for a job */
    struct msg start;       /* the START of the running or last generation */
    uint32_t index;         /* which node of the generation this is, or is to be */
    uint32_t present;       /* nodes that are there, as last told; 0: nobody tells */
    bool outside;           /* the generation runs without this node, which waits */
    uint64_t patience_ns;   /* when the state's patience ends, or MST_NEVER */
    uint64_t grace_soft_ns; /* when a drain turns into killing, or MST_NEVER */
    uint64_t grace_hard_ns; /* when the agent leaves whatever happens, or MST_NEVER */
    struct late late;
    struct oom oom;
    struct hung hung;
    bool stopping;        /* a drain that ends the job has begun */
    bool past_end;        /* for the time of the job's --deadline is over */
    bool forwarded;       /* by handing SIGTERM to ranks that count no steps */
    uint64_t stop_step;   /* by this agreed step, or MST_PAGE_NO_STEP */
    bool drained;         /* a rank ended because of it */
    struct deaths deaths; /* of ranks that are not judged yet */
    struct rank_death *deaths_memory;
    uint64_t lost_step; /* of the last save, where a rank that finished says it is lost */
    bool told_lost;     /* that live ranks' last save is lost */
    bool failed;        /* a rank failed in this generation */
    uint32_t failed_rank, failed_code;
    struct why failed_why;           /* what is known of it beyond its code */
    uint32_t cause_rank;             /* why the last aborted generation ended */
    char cause_text[MSG_TEXT_BYTES]; /* in words; empty: no rank's death was it */
    int exit_code;
    enum exitcode_end end;         /* what it means, */
    bool end_told;                 /* if node 0 has said so: else what the code does */
    char end_text[MSG_TEXT_BYTES]; /* of the death for which the job ends, or empty */
    bool over;                     /* leave the loop with exit_code */
};

/* What a node is made of, all borrowed. */
struct node_config {
    const struct opts *opts;
    struct link *link; /* to the coordinator */
    struct outlog *outlog;
    int secret_fd;
    struct guard *guard;
    uint16_t kv_port; /* where the ranks find the server on opts->rdzv_host */
};

/* 0; errors of ranks_init with text. */
int node_init(struct node *node, const struct node_config *config, struct mst_err *err);

/* Kills and reaps whatever is left. */
void node_fini(struct node *node);

/* Tells the coordinator that this node is ready. */
void node_join(struct node *node);

void node_message(struct node *node, const struct msg *msg);
void node_link_lost(struct node *node);

/* ranks.death_fd is readable: ranks have died. */
void node_reap(struct node *node);

/* mpi.fd is readable: a look at the ranks' libraries has ended. */
void node_read_look(struct node *node);

/* ranks.pmi.fd is readable: who serves MPI has said something, or has given up. */
void node_read_pmi(struct node *node);

/* SIGCHLD: orphans that came to us may have died. */
void node_reap_orphans(struct node *node);

/* SIGTERM: asks for a drain, and starts the grace. */
void node_drain(struct node *node);

/* SIGUSR1: asks for a checkpoint at an agreed step, if any node may have ranks. */
void node_checkpoint(struct node *node);

/* A second SIGINT: no more patience. */
void node_hurry(struct node *node);

/* Runs what is due; node_wake_ns says when something will be. */
void node_tick(struct node *node, uint64_t now_ns);
uint64_t node_wake_ns(const struct node *node);

#endif
