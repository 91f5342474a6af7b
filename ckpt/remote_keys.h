/* Keys: what lies under the root of a remote tier, as far as it is ours.
 *
 *   step_<n>/MANIFEST.json · step_<n>/<commit>/rank_<r>.h5
 *
 * One thread at a time. Functions block. */
#ifndef MUSTER_CKPT_REMOTE_KEYS_H
#define MUSTER_CKPT_REMOTE_KEYS_H

#include "muster/ckpt/root.h"

struct manifest_file;
struct mst_blob;

/* An object that is read whole. */
struct remote_object {
    const char *key;
    uint64_t size_max;
};

struct remote_key {
    char *text;
    uint64_t step;
    char commit[ROOT_NAME_MAX]; /* "" for a manifest */
    uint64_t epoch;             /* of the commit */
    uint64_t size_bytes;
};

struct remote_keys {
    struct remote_key *keys; /* those of a step, and of a commit, lie together */
    size_t count;
};

/* Lists the folder `prefix` ("" = the root). Keys of other shapes are left out. 0; -ENOMEM; errors
 * of mst_blob_list. */
int remote_keys_list(struct mst_blob *blob, const char *prefix, uint64_t deadline_ns,
                     struct remote_keys *ret_keys, struct mst_err *err);

/* Whether a listing of a commit has all of its `count` files, with their sizes. 0; -EBADMSG naming
 * one; -ENOMEM. */
int remote_keys_check(const struct remote_keys *keys, const struct manifest_file *files,
                      uint32_t count, struct mst_err *err);

/* Reads all of an object, to be freed. 0; -EBADMSG it is empty, over its limit, or ended too early;
 * -ENOMEM; errors of core/blob/blob.h. */
int remote_keys_read(struct mst_blob *blob, const struct remote_object *object, char **ret_text,
                     size_t *ret_bytes, uint64_t deadline_ns, struct mst_err *err);

/* A zeroed one is allowed. */
void remote_keys_fini(struct remote_keys *keys);

#endif
