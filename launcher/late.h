/* Late: which rank keeps the others of a collective waiting, as far as the node page shows it.
 *
 *   late_init → late_look from time to time, for each generation
 *
 * What a rank does stands in its slot and its flight recorder: a rank that is in no collective of a
 * communicator, or in an earlier one than another rank of the node, is who keeps that one waiting;
 * if all are there, the ranks that speak with other nodes say whom they wait for. One thread. */
#ifndef MUSTER_LAUNCHER_LATE_H
#define MUSTER_LAUNCHER_LATE_H

#include <stdbool.h>
#include <stdint.h>

struct ranks;

#define LATE_AFTER_S 30 /* then it is told for the first time; again whenever it has doubled */
#define LATE_EVERY_S 5  /* how often to look */

struct late {
    uint64_t look_ns;  /* when to look next */
    uint64_t told_seq; /* what was told last; 0: nothing */
    uint32_t told_comm;
    uint32_t wait_s; /* of that, when to tell again */
};

struct late_report {
    const char *coll; /* static: "allreduce" */
    uint64_t seq;     /* its number within the communicator */
    uint32_t comm_id;
    uint32_t wait_s; /* since its first rank came */
    uint32_t here;   /* ranks of this node that are in it */
    char who[256];   /* "rank 3 (running, step 41), rank 5 (…)"; cut if long */
};

void late_init(struct late *late, uint64_t now_ns);

/* Looks at the operation that the ranks of this node have waited in for longest. True, and
 * *ret_report, if it is time to tell of it. Sets look_ns. */
bool late_look(struct late *late, const struct ranks *ranks, uint64_t now_ns,
               struct late_report *ret_report);

#endif
