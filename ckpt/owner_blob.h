/* The record of an owner as an object of a store: there are no locks, only times. Functions block,
 * with the errors of core/blob/blob.h. */
#ifndef MUSTER_CKPT_OWNER_BLOB_H
#define MUSTER_CKPT_OWNER_BLOB_H

#include "muster/core/err.h"

#include <stddef.h>
#include <stdint.h>

struct mst_blob;
struct tier_owner;

/* The epochs that have an owner, highest first, to be freed. */
int owner_blob_list(struct mst_blob *blob, uint64_t **ret_epochs, size_t *ret_count,
                    uint64_t deadline_ns, struct mst_err *err);

/* -ENOENT there is none; -EBADMSG it is too large, or was being replaced. */
int owner_blob_read(struct mst_blob *blob, uint64_t epoch, struct tier_owner *ret_owner,
                    uint64_t deadline_ns, struct mst_err *err);

/* Puts OWNER_BYTES; with MST_BLOB_NEW only where there is none, and a try whose answer was lost is
 * known by its text. */
int owner_blob_put(struct mst_blob *blob, uint64_t epoch, const char *text, uint32_t flags,
                   uint64_t deadline_ns, struct mst_err *err);

/* What cannot be removed stays for the next owner. */
void owner_blob_remove(struct mst_blob *blob, uint64_t epoch, uint64_t deadline_ns);

#endif
