/* Messages between the agents and the coordinator: what they say, and the bytes of it.
 *
 *   agent → coordinator   JOIN, FAILED, DONE, DOWN, DRAIN, STEPS, GRACE_OVER
 *   coordinator → agent   START, ABORT, QUERY, PROPOSE, AGREED, FORWARD, END, REFUSED, SEAT
 *   both                  BEAT
 *
 * A message is the payload of one frame (core/kv/sock.h) whose type is the message's: its serial
 * and what it acknowledges (launcher/outbox.h), then the fields that the table in msg.c gives its
 * type, in the order of struct msg, little-endian; a text is its size (u16) and its bytes. JOIN
 * begins with the version in every version of Muster. */
/* pure */
#ifndef MUSTER_LAUNCHER_MSG_H
#define MUSTER_LAUNCHER_MSG_H

#include "muster/core/resolve/resolve.h"

#include <stddef.h>
#include <stdint.h>

#define MSG_NODES_MAX 16384
#define MSG_JOB_ID_BYTES MST_JOB_ID_BYTES
#define MSG_VERSION_BYTES 32
#define MSG_HOST_BYTES 64
#define MSG_TEXT_BYTES 256
#define MSG_BYTES_MAX 1024
#define MSG_STEP_LIMIT (UINT64_C(1) << 60) /* steps are below, or MST_PAGE_NO_STEP */

enum msg_type {
    MSG_JOIN = 64,  /* a node with local_size ranks is ready for a generation */
    MSG_FAILED,     /* rank died with code, the first of its node in this generation */
    MSG_DONE,       /* every local rank finished; code 0, or 143 after a drain */
    MSG_DOWN,       /* no rank of the generation is left; step: the highest that any reached; rank
                      met verdict */
    MSG_DRAIN,      /* this node wants action at an agreed step */
    MSG_STEPS,      /* answer to QUERY and PROPOSE: highest and lowest step of the live ranks */
    MSG_GRACE_OVER, /* this node's time to drain is used up: its ranks are being killed */
    MSG_START,      /* spawn the local_size ranks of generation from rank on, of world_size */
    MSG_ABORT,      /* end generation, because rank died with code */
    MSG_QUERY,      /* how far are you? */
    MSG_PROPOSE,    /* put the step into your gate, then tell your steps */
    MSG_AGREED,     /* all nodes act at step */
    MSG_FORWARD,    /* no rank counts steps: hand the signal on */
    MSG_END,        /* the job is over: exit with code; rank was the cause */
    MSG_REFUSED,    /* this node is none of the job: exit with code, saying text */
    MSG_BEAT,       /* I live, and have heard you up to ack */
    MSG_SEAT,       /* in a world that grows and shrinks: this node is node `rank` of generation, of
                       node_count, or none of it: MST_PAGE_CAUSE_JOB */
    MSG_TYPE_END
};

struct msg {
    enum msg_type type;
    uint64_t serial; /* from 1, each way; 0: of a BEAT, and of what is not sent yet */
    uint64_t ack;    /* the highest serial that came the other way */
    char version[MSG_VERSION_BYTES];
    char host[MSG_HOST_BYTES]; /* of JOIN what the node calls itself, may be empty; of START an
                                  address of node 0 itself, which it needs no name server for */
    uint32_t generation;
    uint32_t local_size; /* 1 … MST_PAGE_RANKS_MAX */
    uint32_t node_count; /* 1 … MSG_NODES_MAX */
    uint32_t rank;       /* global rank, or MST_PAGE_CAUSE_JOB; of START the first of this node */
    uint32_t code;       /* exit code, 0 … 255 */
    uint32_t round;      /* pairs STEPS with its QUERY or PROPOSE */
    uint32_t action;     /* enum mst_gate_action; of DRAIN not MST_GATE_REGROUP */
    uint32_t verdict;    /* 0, or the errno that rank met and no restart cures */
    uint32_t grace_ms;   /* from a drain's begin to its end; of JOIN this node's, of START the
                            job's: the longest that all nodes can keep */
    uint32_t world_size; /* of START the ranks of all nodes; of JOIN those that this node was asked
                            for, as many on each node, or 0: nobody counted them */
    uint32_t max_restarts;         /* of node 0, which decides */
    uint32_t end;                  /* enum exitcode_end; of FAILED what is not told by code, or 0;
                                    * of QUERY what a drain that ends the job is */
    uint32_t present;              /* nodes that are there, those that wait too */
    uint64_t step;                 /* < MSG_STEP_LIMIT; of DOWN and STEPS also MST_PAGE_NO_STEP */
    uint64_t lowest_step;          /* as step; MST_PAGE_NO_STEP if no rank is alive */
    uint32_t master_port;          /* a free port on node 0 for torch programs, 0 … 65535 */
    uint64_t job_nonce;            /* of this start of the job; never 0 */
    char job_id[MSG_JOB_ID_BYTES]; /* empty: the job has no name */
    char text[MSG_TEXT_BYTES];     /* why, and what to do; of FAILED, ABORT and END what is known
                                      of rank's death beyond its code, or empty */
};

/* Writes the payload of `msg`. Returns its size, or -ENOSPC if cap is smaller. Asserts a known
 * type and node_count <= MSG_NODES_MAX. */
int msg_encode(const struct msg *msg, uint8_t *payload, size_t cap);

/* Gives a payload that was encoded another serial and ack. */
void msg_number(uint8_t *payload, uint64_t serial, uint64_t ack);

/* Reads a payload; fields that the type has not are 0. 0; -EBADMSG: unknown type, wrong size, or a
 * field out of range. */
int msg_decode(uint8_t type, const uint8_t *payload, size_t size_bytes, struct msg *ret_msg);

/* The version in the payload of a JOIN, whatever follows it. 0; -EBADMSG. */
int msg_decode_version(const uint8_t *payload, size_t size_bytes, char version[MSG_VERSION_BYTES]);

/* "START", … for logs. */
const char *msg_name(enum msg_type type);

#endif
