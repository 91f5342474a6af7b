/* Asks: what a rank has said to others and no fence has brought to this node is asked of its own.
 *
 *   open → (ask, given, left, as libpmix has it; fd is readable, or due_ns has come: run) → close
 *
 * One thread. */
#ifndef MUSTER_LAUNCHER_PMIX_ASKS_H
#define MUSTER_LAUNCHER_PMIX_ASKS_H

#include "muster/launcher/pmix/parts.h"

#include <stdbool.h>
#include <stdint.h>

struct host_event;
struct mail;
struct mst_err;
struct pmi_nodes;

struct asks {
    struct parts_layout layout;
    struct mail *mail;    /* NULL: there is no other node */
    struct asked *ours;   /* that wait for another node's answer */
    struct asked *theirs; /* of ranks here, for which libpmix is waited for */
    uint32_t last_id;
    uint64_t due_ns; /* when one of theirs has waited long enough for a rank that has left */
};

/* All is borrowed. 0; errors of mail_open, with text. */
int asks_open(struct asks *asks, struct pmi_nodes *nodes, struct parts_layout layout,
              struct mst_err *err);

/* A zeroed one is allowed. Who still waits is not answered. */
void asks_close(struct asks *asks);

/* -1: there is nothing to hear. */
int asks_fd(const struct asks *asks);

/* HOST_ASKED, which is taken, and answered at once or in run. 0; errors of kv.h, with text. */
int asks_ask(struct asks *asks, struct host_event *event, struct mst_err *err);

/* HOST_GIVEN, which is borrowed. The same. */
int asks_given(struct asks *asks, struct host_event *event, struct mst_err *err);

/* A rank here says no more: libpmix, if it has something of it, is soon heard. */
void asks_left(struct asks *asks, uint32_t rank);

/* Acts on letters, and on what is due; `has_left` says whether a rank here has. The same. */
int asks_run(struct asks *asks, bool (*has_left)(const void *arg, uint32_t rank), const void *arg,
             struct mst_err *err);

#endif
