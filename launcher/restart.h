/* Restart: whether the ranks of a generation that failed are started again, and when. It counts
 * restarts without progress; what progress is:
 *
 *   a program that counts steps    its highest step is over that of all lives before
 *   one that does not              it lived ten minutes, or longer than every life before; but the
 *                                  same rank's same code, twice within a minute of the start, is
 *                                  a fault that will come again
 *
 *   restart_init → restart_decide per life
 *
 * The first restart after progress is immediate; from the second without progress on there are
 * pauses of 1, 2, 4 … 60 s, a quarter more or less, so that what they wait for can come back, and
 * jobs that failed together do not return together. What another try cannot change is not tried: a
 * final exit code, or a rank's failure where a library met an error past cure. */
/* pure */
#ifndef MUSTER_LAUNCHER_RESTART_H
#define MUSTER_LAUNCHER_RESTART_H

#include "muster/core/rng.h"

#include <stdbool.h>
#include <stdint.h>

enum restart_why {
    RESTART_PROGRESS, /* it got further than before: again, at once */
    RESTART_LASTED,   /* it counts no steps, and lived long or longer than before: the same */
    RESTART_FIRST,    /* the first without progress: again, at once */
    RESTART_PAUSED,   /* one more: again, after a pause */
    RESTART_FINAL,    /* another try cannot help: not again */
    RESTART_SPENT,    /* too many without progress: not again */
    RESTART_REGROUP,  /* nodes come or go: again, at once, and no restart is counted */
};

/* A generation that failed, from its START to the first word of its failure. */
struct restart_life {
    uint64_t life_ns;
    uint64_t best_step; /* highest of any rank + 1; 0: none counted steps */
    uint32_t rank;      /* that failed first, or MST_PAGE_CAUSE_JOB */
    uint32_t code;
    uint32_t verdict; /* errno that the library met and no restart cures, or 0 */
};

struct restart_decision {
    enum restart_why why;
    bool again;
    uint64_t pause_ns;
};

struct restart {
    uint32_t most; /* restarts without progress; 0: none at all */
    uint32_t used;
    struct mst_rng jitter;
    uint64_t best_step; /* as in restart_life, of all lives */
    uint64_t longest_ns;
    struct restart_life last; /* the life before; life_ns 0: there was none */
};

void restart_init(struct restart *restart, uint32_t most, uint64_t seed);

/* Counts a life, and says what follows it. */
struct restart_decision restart_decide(struct restart *restart, const struct restart_life *life);

/* The same for a life that ended as nodes come or go: only what is final ends the job then. */
struct restart_decision restart_excuse(struct restart *restart, const struct restart_life *life);

/* "it got further than before", … for logs. */
const char *restart_reason(enum restart_why why);

#endif
