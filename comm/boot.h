/* How the ranks of a new communicator find one another: each puts one record into the kv and reads
 * those of all others. Keys live under "comm/<id>/" and are removed once everybody has joined. */
#ifndef MUSTER_COMM_BOOT_H
#define MUSTER_COMM_BOOT_H

#include "muster/comm/segment.h"

#include <stdint.h>

struct mst_err;
struct mst_kv;
struct mst_world;

#define BOOT_ADDRESS_MAX 128 /* a numeric host and a port */

struct boot_peer {
    uint32_t node, local_rank;
    char address[BOOT_ADDRESS_MAX]; /* where its listener is; "" without one */
};

struct mst_page;

struct boot {
    uint32_t id;           /* of the communicator: the n-th of its ranks in this generation */
    struct mst_page *page; /* tells who has left, and that the generation is over; NULL; borrowed */
    uint32_t size, node_count;
    struct boot_peer *peers; /* by rank */
    uint32_t *ranks;         /* all ranks, sorted by node, then by local rank */
    uint32_t *first;         /* node n has ranks[first[n]] … ranks[first[n + 1] - 1] */
};

/* Takes the next communicator id of this rank. The ranks agree because they create communicators
 * in the same order. 0; errors of kv with text. */
int boot_next_id(struct mst_kv *kv, const struct mst_world *world, uint64_t deadline_ns,
                 uint32_t *ret_id, struct mst_err *err);

/* Publishes this rank and waits for all others. 0; -ETIMEDOUT naming who did not come; -ECONNRESET
 * the generation was aborted, or a rank of this node has left; -EPROTO if what they say of nodes
 * and local ranks does not fit together, or another process says that it is this rank; -ENOMEM;
 * errors of kv. */
int boot_exchange(struct boot *boot, struct mst_kv *kv, const struct mst_world *world,
                  const char *address, uint64_t deadline_ns, struct mst_err *err);

void boot_fini(struct boot *boot);

uint32_t boot_local_size(const struct boot *boot, uint32_t node);
uint32_t boot_rank(const struct boot *boot, uint32_t node, uint32_t local_rank);

/* The place of a node's segment: from its first rank to the others. 0; get: -ETIMEDOUT; -ECONNRESET
 * as exchange; -EPROTO it is none; errors of kv; with text. */
int boot_put_place(const struct boot *boot, struct mst_kv *kv, uint32_t node,
                   const struct segment_place *place, uint64_t deadline_ns, struct mst_err *err);
int boot_get_place(const struct boot *boot, struct mst_kv *kv, uint32_t node,
                   struct segment_place *ret_place, uint64_t deadline_ns, struct mst_err *err);

/* Rank 0, once all have joined: removes the keys. A failure leaves them to the end of the
 * generation. */
void boot_forget(const struct boot *boot, struct mst_kv *kv, uint64_t deadline_ns);

#endif
