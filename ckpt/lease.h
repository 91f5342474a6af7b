/* Lease: rank 0's hold on a root. It takes the next epoch, renews its record while it lives, by a
 * thread and a connection of its own, and tells whether somebody has taken the root since.
 *
 *   lease_take → the saves of a job, each with lease_check before and behind its publishing
 *              → lease_release
 *
 * A lease may be lost at any time: by --take-root, by the next life of the same job, or to another
 * job once it could not renew for OWNER_FRESH_S. Then its saves fail, and what it published in that
 * very moment does not count for readers (ckpt/owner.h). */
#ifndef MUSTER_CKPT_LEASE_H
#define MUSTER_CKPT_LEASE_H

#include "muster/ckpt/owner.h"

struct lease;
struct mst_world;
struct tier;
struct tier_opts;

struct lease_opts {
    const struct tier_opts *tier;
    const struct mst_world *world; /* whose job takes it */
    bool by_force;                 /* whoever has it */
};

/* Makes the root if it is missing, and takes it. Blocks, for OWNER_FRESH_S if it must be seen
 * whether another job still renews. 0; -EEXIST another job has it, naming it, its node and when it
 * last renewed; -ENOTSUP its record is of a later version; -ETIMEDOUT; errors of tier_open and of
 * the place. */
int lease_take(const struct lease_opts *opts, uint64_t deadline_ns, struct lease **ret_lease,
               struct mst_err *err);

/* Its own record, as it was when the root was taken. */
const struct owner *lease_owner(const struct lease *lease);

/* Whether the root is still this lease's, asked by `tier`, which is the caller's thread's. 0, also
 * for NULL; -ESTALE naming who has it now; other -errno if the place does not answer. Blocks. */
int lease_check(struct lease *lease, struct tier *tier, uint64_t deadline_ns, struct mst_err *err);

/* Marks the root as free, so that whoever comes next need not wait, and frees. Blocks for some
 * seconds where the place does not answer (single file operations aside). NULL is allowed. */
void lease_release(struct lease *lease);

#endif
