/* Super: what one node does about its ranks in one generation, as a table of states and events in
 * which every pair is decided. The agent feeds it events and carries out the actions. */
/* pure */
#ifndef MUSTER_LAUNCHER_SUPER_H
#define MUSTER_LAUNCHER_SUPER_H

#include <stdbool.h>

enum super_state {
    SUPER_IDLE,        /* no ranks; waits for START */
    SUPER_RUNNING,     /* ranks live */
    SUPER_LEAVING,     /* abort word set: ranks leave by themselves */
    SUPER_TERMINATING, /* SIGTERM sent */
    SUPER_KILLING,     /* SIGKILL sent */
    SUPER_STUCK,       /* SIGKILL sent again, to ranks that it did not end */
    SUPER_DONE,        /* every rank finished; waits for the other nodes */
    SUPER_OVER,        /* the agent's loop ends */
    SUPER_STATE_COUNT
};

enum super_event {
    SUPER_START,      /* the coordinator starts a generation */
    SUPER_RANK_OK,    /* a rank finished, others live */
    SUPER_LAST_OK,    /* the last live rank finished */
    SUPER_RANK_BAD,   /* a rank failed, others live */
    SUPER_LAST_BAD,   /* the last live rank failed, or none could be started */
    SUPER_ABORT,      /* the coordinator ends the generation */
    SUPER_TIMER,      /* the patience of LEAVING, TERMINATING, KILLING or STUCK is over */
    SUPER_END,        /* the coordinator ends the job */
    SUPER_LINK_LOST,  /* the coordinator is gone */
    SUPER_GRACE_OVER, /* the time to drain is used up */
    SUPER_EVENT_COUNT
};

enum super_action {
    SUPER_DO_SPAWN = 1 << 0,      /* page, segment, ranks */
    SUPER_DO_FAILED = 1 << 1,     /* tell the coordinator which rank failed */
    SUPER_DO_ABORT_WORD = 1 << 2, /* end every wait of the local ranks */
    SUPER_DO_TERM = 1 << 3,       /* SIGTERM to the ranks' process groups */
    SUPER_DO_KILL = 1 << 4,       /* SIGKILL to them */
    SUPER_DO_ARM = 1 << 5,        /* start the new state's patience */
    SUPER_DO_ABANDON = 1 << 6,    /* name the ranks that no signal ends, and forget them */
    SUPER_DO_DOWN = 1 << 7,       /* sweep strays, tell the coordinator that no rank is left */
    SUPER_DO_DONE = 1 << 8,       /* tell the coordinator that all local ranks finished */
    SUPER_DO_QUIT = 1 << 9,       /* leave the loop */
};

struct super {
    enum super_state state;
    bool ending; /* the job is over here as soon as the last rank is gone */
};

/* Takes one event: moves *super and returns the actions to do now, in the order of the enum. */
unsigned super_step(struct super *super, enum super_event event);

/* Whether ranks may live in this state. */
bool super_has_ranks(enum super_state state);

/* "running", … for logs and `muster status`. */
const char *super_name(enum super_state state);

#endif
