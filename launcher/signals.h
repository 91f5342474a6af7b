/* Signals: what the agent does about each that it is sent. */
#ifndef MUSTER_LAUNCHER_SIGNALS_H
#define MUSTER_LAUNCHER_SIGNALS_H

#include <stdint.h>

enum signals_action {
    SIGNALS_NOTHING,
    SIGNALS_REAP,       /* children have died */
    SIGNALS_DRAIN,      /* all ranks stop at an agreed step */
    SIGNALS_HURRY,      /* no more patience: kill the ranks */
    SIGNALS_CHECKPOINT, /* all ranks save at an agreed step, and go on */
    SIGNALS_REPORT,     /* say what each rank does */
    SIGNALS_HAND_ON,    /* to the ranks of this node */
};

/* One press of ^C may arrive twice, by the terminal and by a program between: two within this time
 * are one. */
#define SIGNALS_ONE_NS UINT64_C(250000000)

struct signals {
    uint64_t interrupt_ns; /* when the first SIGINT came; 0: none has */
};

/* What to do about signal `number`, which came at now_ns (over 0). A drain that is on goes on: a
 * second SIGTERM, which schedulers send as a matter of course, changes nothing. */
enum signals_action signals_take(struct signals *signals, int number, uint64_t now_ns);

#endif
