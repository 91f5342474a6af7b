/* Pmi_nodes: what the processes that connect ranks of MPI, one a node, tell one another by the
 * job's key-value server.
 *
 *   open → meet → gather, or (put → wait, again while it says -EAGAIN), per exchange → close
 */
#ifndef MUSTER_LAUNCHER_PMI_NODES_H
#define MUSTER_LAUNCHER_PMI_NODES_H

#include "muster/core/kv/gather.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_err;
struct mst_kv;
struct mst_world;

#define PMI_NODES_KEY_BYTES 64

/* Why ranks that wait for another wait in vain. */
#define PMI_NO_INIT "it has ended without MPI_Init, and other ranks have called that"
#define PMI_NO_FINALIZE "it has ended without MPI_Finalize"

/* The same of one that may come yet. */
#define PMI_LATE_INIT "it has not called MPI_Init, and others have waited for it for half a minute"

/* Ranks that wait for another: zeroed, nobody does. */
struct pmi_wait {
    uint64_t tell_ns; /* when that is told; MST_NEVER: it was; 0: nobody waits */
};

/* To be asked each time that something may have changed: true once, when ranks have waited for half
 * a minute without a pause. */
bool pmi_wait_is_long(struct pmi_wait *wait, bool do_wait);

/* How long poll may sleep until then. */
int pmi_wait_left_ms(const struct pmi_wait *wait);

/* Tells the agent that ranks wait, and for whom. */
void pmi_tell_wait(uint32_t rank, const char *because);

struct pmi_nodes {
    struct mst_kv *kv; /* NULL: there is no other node, and nobody to exchange anything with */
    const char *name;  /* of the protocol, and of its value of --mpi */
    uint32_t node, node_count, local_size, first_rank;
    bool told_left;
    struct pmi_wait wait; /* for other nodes */
};

/* As one of the world's ranks sees it; `name` is borrowed. 0; errors of mst_kv_dial with text. */
int pmi_nodes_open(struct pmi_nodes *nodes, const char *name, const struct mst_world *world,
                   struct mst_err *err);

/* A zeroed one is allowed. */
void pmi_nodes_close(struct pmi_nodes *nodes);

/* An exchange, of `count` nodes that name it alike, of which this one is the one at `index`. */
struct pmi_exchange {
    const char *key;
    uint32_t index, count;
    const uint32_t *ranks; /* whom it waits for, in order; NULL: all */
    uint32_t rank_count;
};

/* That of all nodes; `key` is borrowed. */
struct pmi_exchange pmi_nodes_all(const struct pmi_nodes *nodes, const char *key);

/* This node's part of an exchange. 0; as mst_kv_gather_put. */
int pmi_nodes_put(struct pmi_nodes *nodes, const struct pmi_exchange *exchange,
                  struct mst_cspan mine);

/* The parts of all its nodes, the caller's to free: waits for them for so long. 0; -EAGAIN not
 * yet; -ECONNRESET with text: a rank of another node has ended without MPI_Init; as
 * mst_kv_gather_wait, without text. */
int pmi_nodes_wait(struct pmi_nodes *nodes, const struct pmi_exchange *exchange,
                   uint32_t timeout_ms, struct mst_kv_gathered *ret_gathered, struct mst_err *err);

#define PMI_NODES_LOOK_MS 200 /* so often the agent is looked at while other nodes are waited for */

/* Both, until the deadline or as long as the agent lives: -ETIMEDOUT then. */
int pmi_nodes_gather(struct pmi_nodes *nodes, const char *key, struct mst_cspan mine,
                     uint64_t deadline_ns, struct mst_kv_gathered *ret_gathered,
                     struct mst_err *err);

/* How many ranks each node has, in order, into sizes[node_count]: what all nodes tell first. Blocks
 * until they have. 0; -EPROTO they are not the world's `size`; -ETIMEDOUT and errors of gather.h;
 * all with text. */
int pmi_nodes_meet(struct pmi_nodes *nodes, uint32_t size, uint16_t *sizes, struct mst_err *err);

/* One of this node's ranks has ended without MPI_Init: whoever waits for it is told. */
void pmi_nodes_tell_left(struct pmi_nodes *nodes, uint32_t rank);

/* Returns rc, which ended an exchange in which this node had a part of `size_bytes`, with text. */
int pmi_nodes_refuse(int rc, const char *key, size_t size_bytes, struct mst_err *err);

#endif
