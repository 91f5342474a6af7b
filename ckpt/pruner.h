/* Pruner: removes the steps that retention drops, on rank 0, once nobody waits for it.
 *
 *   a step is committed: pruner_note → pruner_run, while nothing else is to be done, or at the
 *   latest before the next step is
 *
 * Removing files of a gigabyte takes as long as a small checkpoint does. One thread at a time: the
 * one that has the site. */
#ifndef MUSTER_CKPT_PRUNER_H
#define MUSTER_CKPT_PRUNER_H

#include "muster/ckpt/site.h"

struct pruner {
    uint64_t committed;    /* the newest, whose older ones may go; MST_CKPT_NONE: nothing is due */
    uint64_t half_removed; /* where it stopped, or MST_CKPT_NONE */
};

void pruner_init(struct pruner *pruner);

void pruner_note(struct pruner *pruner, uint64_t committed_step);

bool pruner_is_due(const struct pruner *pruner);

/* Renews LATEST, and removes what is due, file by file, until it is all gone or `pause` says so:
 * then the rest stays due. What cannot be removed stays until a step more is committed. Tells the
 * other ranks when there is room. Blocks, for a quarter of the site's timeout at most (single file
 * operations aside). */
void pruner_run(struct pruner *pruner, const struct site *site, const struct root_pause *pause);

/* Waits, on another rank than 0, until all is gone that `committed_step` let go. 0: there may be
 * more room than there was; -ETIMEDOUT; errors of the table. */
int pruner_await(const struct site *site, uint64_t committed_step, uint64_t deadline_ns);

#endif
