/* Drain: how all nodes agree on the step at which every rank stops, or saves a checkpoint.
 *
 *   request → QUERY all nodes → PROPOSE(highest step + margin) → each node puts the step into its
 *   gate and then reads its ranks' steps → all still below: AGREED; else a later proposal
 *
 * A rank that comes to the proposed step, or tells a later one first, waits at the gate. One whose
 * step is read at or past the proposal may have gone by before the gate was shut, so the proposal
 * fails and the next one leaves twice the room: ranks that do not wait for one another are caught
 * after a few rounds.
 * If no rank counts steps, FORWARD says so.
 *
 * A stop that another generation follows (MST_GATE_REGROUP) is agreed on as one that ends the job,
 * and becomes one that is asked for before the last word.
 *
 * Each call returns true if the message in *ret_msg must go to all nodes. */
/* pure */
#ifndef MUSTER_LAUNCHER_DRAIN_H
#define MUSTER_LAUNCHER_DRAIN_H

#include "muster/core/world/page.h"
#include "muster/launcher/msg.h"

#include <stdbool.h>
#include <stdint.h>

enum drain_state {
    DRAIN_IDLE,
    DRAIN_QUERYING,
    DRAIN_PROPOSING,
    DRAIN_SETTLING, /* a checkpoint was agreed, and not every rank is past it: ask again soon */
    DRAIN_STOPPING  /* the last word of this generation is spoken: AGREED to stop, or FORWARD */
};

struct drain {
    enum drain_state state;
    enum mst_gate_action action; /* what is being agreed */
    enum mst_gate_action wanted; /* asked for while a checkpoint was being agreed; that: nothing */
    uint32_t generation;
    uint32_t round;
    uint32_t node_count, answer_count;
    uint32_t *answered;       /* per node: the last round it answered; caller's memory */
    uint64_t step, margin;    /* of the proposal */
    uint64_t highest, lowest; /* of the round's answers */
    uint64_t checkpoint_step; /* the last agreed, or MST_PAGE_NO_STEP */
};

/* Forgets everything: a new generation starts with an open gate. `answered` has node_count
 * entries. */
void drain_init(struct drain *drain, uint32_t generation, uint32_t node_count, uint32_t *answered);

/* A node asks for `action`. A stop that was asked for is never taken back. */
bool drain_request(struct drain *drain, enum mst_gate_action action, struct msg *ret_msg);

/* `node` answers; other rounds and second answers are ignored. */
bool drain_steps(struct drain *drain, uint32_t node, const struct msg *steps, struct msg *ret_msg);

/* Takes a stop of which FORWARD would be the last word back: another may be asked for. */
void drain_withdraw(struct drain *drain);

/* Time has passed (call it a few times a second). */
bool drain_tick(struct drain *drain, struct msg *ret_msg);

#endif
