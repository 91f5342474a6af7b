/* Commit: the states of one save, and what follows what.
 *
 *   rank 0:  write → vote → retain → gather → manifest → publish → announce → committed
 *   others:  write → vote → await → committed
 *
 * Every failure leads, over abandon and announce on rank 0, to failed. Safe from any thread. */
/* pure */
#ifndef MUSTER_CKPT_COMMIT_H
#define MUSTER_CKPT_COMMIT_H

#include <stdbool.h>

enum commit_state {
    COMMIT_WRITE,    /* this rank's file → durable */
    COMMIT_VOTE,     /* tell rank 0 what was written, or why not */
    COMMIT_RETAIN,   /* rank 0: what the step before lets go, if there was no time for it yet */
    COMMIT_GATHER,   /* rank 0: all votes, until the deadline */
    COMMIT_MANIFEST, /* rank 0: manifest → durable in the temporary directory */
    COMMIT_PUBLISH,  /* rank 0: rename → durable; from here on readers see it */
    COMMIT_ANNOUNCE, /* rank 0: tell all that it is committed */
    COMMIT_ABANDON,  /* rank 0: remove the temporary directory */
    COMMIT_REFUSE,   /* rank 0: tell all that it is not */
    COMMIT_AWAIT,    /* others: what rank 0 says */
    COMMIT_COMMITTED,
    COMMIT_FAILED,
    COMMIT_STATE_COUNT
};

/* The state after `state`, when its work ended well or not. Every pair is decided; states follow in
 * the order above, and the final ones stay. */
enum commit_state commit_next(enum commit_state state, bool is_leader, bool ok);

bool commit_is_final(enum commit_state state);

#endif
