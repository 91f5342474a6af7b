/* Rendezvous: the coordinator of a job, without sockets and clock. Nodes join; when all are there
 * and hold no ranks, the next generation starts; a rank that fails or a node that is lost ends it
 * on all nodes; then the next one starts, as long as the restart budget lasts.
 *
 *   GATHERING ── all nodes ready ──▶ RUNNING ── failure, loss ──▶ STOPPING ── all down ─▶ GATHERING
 *        └─ deadline ─▶ ENDED            └─ all done ─▶ ENDED         └─ budget, drain ─▶ ENDED
 *
 * In a world of least_count to node_count nodes (elastic.c) those of a generation are its members.
 * So many as suffice start after a last call for more; nodes above them wait, as spares or at the
 * door:
 *
 *   RUNNING ── a member leaves, one waits at the door ─▶ a drain (MST_GATE_REGROUP) ── all done ─▶
 *   STOPPING ── all down ─▶ GATHERING, without those who left and with those who waited
 *
 * Whether and when a generation follows one that failed is restart.h's: its pause is a part of
 * GATHERING. A drain (launcher/drain.h) that asked to stop makes whatever ends the generation end
 * the job, with EXITCODE_DRAINED.
 *
 * Messages go out through `send`, in order; it must not call back. One thread. */
/* pure */
#ifndef MUSTER_LAUNCHER_RDZV_H
#define MUSTER_LAUNCHER_RDZV_H

#include "muster/launcher/drain.h"
#include "muster/launcher/msg.h"
#include "muster/launcher/restart.h"

#include <stdbool.h>
#include <stdint.h>

#define RDZV_ALL UINT32_MAX

typedef void (*rdzv_send_fn)(void *arg, uint32_t node, const struct msg *msg); /* or RDZV_ALL */

enum rdzv_phase {
    RDZV_ABSENT,  /* has not joined, or was lost */
    RDZV_REFUSED, /* was told why it is none of the job: what else it says is passed over */
    RDZV_LEFT,    /* has left the job, which goes on: passed over, too */
    RDZV_READY,   /* joined, no ranks */
    RDZV_LIVE,    /* ranks of the generation live */
    RDZV_DONE,    /* its ranks have all finished */
    RDZV_PHASE_COUNT
};

struct rdzv_node {
    enum rdzv_phase phase;
    bool gone;           /* DONE, then lost: the others need nothing more of it */
    bool returned;       /* another agent has taken its place, and waits for the next generation */
    uint32_t local_size; /* since it joined, */
    uint32_t grace_ms;   /* and this */
    bool member;         /* of the generation that started last: */
    uint32_t index;      /* which of its nodes it is, in their order */
    uint32_t first_rank; /* and its first rank */
    bool leaving;        /* asked to leave a job that goes on */
};

enum rdzv_state { RDZV_GATHERING, RDZV_RUNNING, RDZV_STOPPING, RDZV_ENDED };

struct rdzv_config {
    uint32_t node_count;   /* 1 … MSG_NODES_MAX: of the world, at most */
    uint32_t least_count;  /* at least; 0: all of them */
    uint32_t spare_count;  /* nodes above them, which wait; 0 … MSG_NODES_MAX */
    uint32_t local_size;   /* ranks of node 0 */
    uint32_t world_size;   /* of the job, if node 0 was asked for so many; else 0 */
    uint32_t max_restarts; /* without progress */
    uint64_t last_call_ns; /* how long nodes that suffice wait for the others */
    uint64_t timeout_ns;   /* how long GATHERING, after its pause, and STOPPING may last */
    uint64_t end_ns;       /* when the job's own time is over, and it is drained; 0: never */
    uint64_t job_nonce;    /* not 0; in every START, and the seed of pauses */
    char job_id[MSG_JOB_ID_BYTES];
    const char *version; /* of this agent: others are refused; lives as long as *rdzv */
    rdzv_send_fn send;
    void *arg;
};

struct rdzv {
    struct rdzv_config config;
    enum rdzv_state state;
    uint32_t generation; /* of the last START, or of the first to come */
    bool started;        /* a generation has started */
    struct rdzv_node *nodes;
    uint32_t slot_count; /* of them */
    uint32_t size;       /* members of the generation */
    uint64_t call_ns;    /* of GATHERING: when those who are there start; 0: too few are */
    uint64_t door_ns;    /* of RUNNING: when to let in who waits; 0: nobody is to be */
    bool regrouping;     /* a drain goes on, or has, that the next generation follows */
    uint32_t counts[RDZV_PHASE_COUNT]; /* of the nodes, in each phase */
    uint64_t deadline_ns;              /* of GATHERING and STOPPING */
    uint64_t pause_end_ns;             /* none starts before it; 0: no pause */
    uint64_t start_ns;                 /* of the generation */
    struct restart restart;
    struct restart_life life;         /* of the generation, known as it ends */
    uint32_t verdict_rank;            /* who met life.verdict */
    uint32_t decision_count;          /* generations that failed, and were decided on */
    struct restart_decision decision; /* about the last of them */
    bool stop_wanted;                 /* a node asked for a drain that ends the job */
    bool past_end;                    /* the job's own time is over */
    bool drained;                     /* a node finished by draining */
    bool save_lost;                   /* a node finished without its last checkpoint */
    uint32_t cause_rank, cause_code;  /* of the first failure of this generation */
    uint32_t cause_end;               /* what its code does not tell, or 0 */
    char cause_text[MSG_TEXT_BYTES];  /* what its node says of it, or empty */
    struct msg end;                   /* of ENDED: what all are told */
    struct drain drain;
    uint32_t *answered;
};

/* Starts to gather. `nodes` and `answered` have an entry per node, spares too, the caller's, and
 * live as long as *rdzv. */
void rdzv_init(struct rdzv *rdzv, const struct rdzv_config *config, struct rdzv_node *nodes,
               uint32_t *answered, uint64_t now_ns);

/* A message of `node` (< slot_count). 0; -EPROTO if no agent in its state says this: the caller
 * drops the node. Messages that merely crossed a newer state are ignored. */
int rdzv_message(struct rdzv *rdzv, uint32_t node, const struct msg *msg, uint64_t now_ns);

/* Makes of the START that was sent to all that of `node` (< slot_count): which ranks are its. */
void rdzv_address(const struct rdzv *rdzv, uint32_t node, struct msg *start);

/* Whether nodes may be missing, or wait. */
bool rdzv_is_elastic(const struct rdzv *rdzv);

/* The connection of `node` is gone. */
void rdzv_lost(struct rdzv *rdzv, uint32_t node, uint64_t now_ns);

/* Why a node of another version is turned away. */
void rdzv_name_versions(uint32_t node, const char *theirs, const char *ours,
                        char text[MSG_TEXT_BYTES]);

/* Time has passed: call it a few times a second. */
void rdzv_tick(struct rdzv *rdzv, uint64_t now_ns);

#endif
