/* Fences: sets of ranks whose nodes wait for one another, each with data of its own. Those of one
 * set follow one another; those of any number of sets wait at once.
 *
 *   init → begin, per fence; run, while there are some → fini
 *
 * One thread. */
#ifndef MUSTER_LAUNCHER_PMIX_FENCES_H
#define MUSTER_LAUNCHER_PMIX_FENCES_H

#include "muster/launcher/pmix/parts.h"

#include <stdbool.h>
#include <stdint.h>

struct fence;
struct host_event;
struct mst_err;
struct pmi_nodes;

struct fences {
    struct pmi_nodes *nodes;
    struct parts_layout layout;
    struct fence *waiting; /* for other nodes */
    struct series *series; /* of each set, how many fences it has had */
};

/* Both are borrowed, the sizes too. */
void fences_init(struct fences *fences, struct pmi_nodes *nodes, struct parts_layout layout);

/* All ranks of this node in it have come to the fence. Takes the event, and answers it: at
 * once if no other node has ranks of the set, else in run. 0; what ends the job, with text. */
int fences_begin(struct fences *fences, struct host_event *event, struct mst_err *err);

bool fences_wait(const struct fences *fences);

/* Waits for other nodes, `timeout_ms` at most, and answers those fences that are over. 0; what ends
 * the job, with text. */
int fences_run(struct fences *fences, uint32_t timeout_ms, struct mst_err *err);

/* Who still waits is not answered. */
void fences_fini(struct fences *fences);

#endif
