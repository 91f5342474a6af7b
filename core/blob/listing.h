/* A listing of a tree that is walked folder by folder: what was found, and what is still to be
 * visited. Objects are told in byte order of their whole keys, which is not the order of a walk:
 * "a.b" stands before "a/b". */
#ifndef MUSTER_CORE_BLOB_LISTING_H
#define MUSTER_CORE_BLOB_LISTING_H

#include "muster/core/blob/blob.h"

#include <stddef.h>

struct listing_item {
    char *key;
    struct mst_blob_info info;
};

struct blob_listing {
    struct listing_item *items;
    size_t count, cap;
    char **folders;
    size_t folder_count, folder_cap;
};

/* A zeroed listing is empty. 0; -ENOMEM. */
int blob_listing_add(struct blob_listing *listing, const char *key,
                     const struct mst_blob_info *info);
int blob_listing_visit(struct blob_listing *listing, const char *folder);

/* A folder that is to be visited, which is the caller's to free; NULL: none is left. */
char *blob_listing_next(struct blob_listing *listing);

/* Sorts and tells. What `each` answered. */
int blob_listing_tell(struct blob_listing *listing, mst_blob_each_fn each, void *arg);

void blob_listing_fini(struct blob_listing *listing);

#endif
