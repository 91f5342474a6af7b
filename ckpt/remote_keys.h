/* Keys: what lies under the root of a remote tier, as far as it is ours.
 *
 *   step_<n>/MANIFEST.json · step_<n>/<commit>/rank_<r>.h5
 *
 * One thread at a time. Functions block. */
#ifndef MUSTER_CKPT_REMOTE_KEYS_H
#define MUSTER_CKPT_REMOTE_KEYS_H

#include "muster/ckpt/root.h"

struct mst_blob;

struct remote_key {
    char *text;
    uint64_t step;
    char commit[ROOT_NAME_MAX]; /* "" for a manifest */
    uint32_t generation;        /* of the commit */
};

struct remote_keys {
    struct remote_key *keys; /* those of a step, and of a commit, lie together */
    size_t count;
};

/* Lists the folder `prefix` ("" = the root). Keys of other shapes are left out. 0; -ENOMEM; errors
 * of mst_blob_list. */
int remote_keys_list(struct mst_blob *blob, const char *prefix, uint64_t deadline_ns,
                     struct remote_keys *ret_keys, struct mst_err *err);

/* A zeroed one is allowed. */
void remote_keys_fini(struct remote_keys *keys);

#endif
