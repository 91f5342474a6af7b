/* The host back end for a back end that moves its data by other means, over a communicator of
 * comm_host_ops: ranks meet there, and tell one another of failures. */
#ifndef MUSTER_COMM_HOST_H
#define MUSTER_COMM_HOST_H

#include "muster/comm/backend.h"

/* A barrier in which all ranks must be about to call `desc`, the `op_seq`-th collective. As run. */
int host_meet(struct comm_backend *backend, const struct signature_desc *desc, uint64_t op_seq,
              uint64_t deadline_ns);

/* 0, or what has ended it: another rank's failure, or the generation's abort. Between two of the
 * above. Does not block. */
int host_alive(struct comm_backend *backend, struct mst_err *err);

/* Ends it with *err on all ranks: they see it in host_alive, and in their next collective. An
 * earlier failure stands, and is copied to *err. Returns err->code. */
int host_fail(struct comm_backend *backend, struct mst_err *err);

/* Rank 0: removes the keys that were put under this communicator's id after its create. */
void host_forget(struct comm_backend *backend, struct mst_kv *kv, uint64_t deadline_ns);

#endif
