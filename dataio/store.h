/* Store: one place that bytes come from: this machine's files, or a folder somewhere else.
 *
 * An item is one file or object in it. Reads are started in bulk and end in any order; a read that
 * ends well has all of its bytes but for those behind the item's end. One thread at a time. */
#ifndef MUSTER_DATAIO_STORE_H
#define MUSTER_DATAIO_STORE_H

#include "muster/dataio/mirror.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_blob_info;
struct mst_blob_opts;
struct mst_err;
struct store;

struct store_item {
    struct store *store;
    uint64_t size_bytes;
    uint64_t version; /* a hash of what changes when its bytes do: time, ETag; 0: not known */
};

struct store_read {
    struct store_item *item;
    uint64_t offset;
    void *data;
    size_t size_bytes;
    bool direct; /* past the page cache, where offset, size and memory allow it */
    void *user;
};

struct store_done {
    void *user;
    int64_t result; /* bytes or -errno */
};

struct store_name {
    const char *name;
    const struct mst_blob_info *listed; /* NULL: nothing is known of it */
};

struct store_ops {
    /* What offsets, sizes and memory of direct reads should be multiples of. */
    uint32_t grain;

    /* Looks at items that are opened soon, several at a time; at what is listed only if the store
     * has not been found to list what it has. Changes the order of `names`. NULL where none has to
     * wait for another. */
    void (*foresee)(struct store *store, struct store_name *names, size_t count);

    /* Finds an item and its size. May block. 0; -ENOENT … with the item named in the text. */
    int (*open_item)(struct store *store, const char *name, struct store_item **ret_item,
                     struct mst_err *err);
    /* Nothing of it is in flight. */
    void (*close_item)(struct store_item *item);

    /* How many were started: fewer than `count` while enough are in flight; or -errno, and none
     * was. May block for credentials when the store has not been used since `cancel`. */
    int (*submit)(struct store *store, const struct store_read *reads, size_t count);

    /* At least `min` completions if so many are in flight, or -ETIMEDOUT. */
    int (*reap)(struct store *store, struct store_done *done, size_t cap, size_t min,
                uint64_t deadline_ns);

    /* Ends what is in flight; nothing of it comes back. */
    void (*cancel)(struct store *store);

    /* Ends what is in flight and frees; all items are closed. */
    void (*close)(struct store *store);

    /* The text of the failed read that was reaped last, or NULL: its result says all. Reads whose
     * failures have texts are reaped one at a time. */
    const char *(*failure)(const struct store *store);
};

/* Every store starts with this; all but the first two fields are the feed's. */
struct store {
    const struct store_ops *ops;
    uint64_t bulk_bytes; /* of a long item that one read should bring */
    char *root;          /* NULL: the local one */
    bool alone;          /* nothing stands in for what it holds */
    size_t in_flight;
    size_t queued; /* reads that wait to be started */
    struct mirror_health health;
    struct store_item *probe; /* that is asked for a byte, to see whether the store is up again */
    uint8_t probe_byte;
    struct store *next;
};

/* Local files, through core/aio. `aio` is as mst_aio_opts.backend; `depth` reads in flight. However
 * many items there are, about a quarter of the descriptors that the process may have stay open, 256
 * at most: the files read last. One that is opened again must be the same file, of the same size
 * and time, or its reads end with -ESTALE. */
int store_local_create(const char *aio, uint32_t depth, struct store **ret_store,
                       struct mst_err *err);

/* An empty item in the store's scratch file, for contents that the caller writes there at
 * *ret_offset; `dir` as in scratch.h. No other begins before it is closed or has its size. 0;
 * -errno. */
int store_local_begin(struct store *store, const char *dir, struct store_item **ret_item,
                      int *ret_fd, uint64_t *ret_offset, struct mst_err *err);

/* Where the scratch file is, for texts; it has an item. */
const char *store_local_place(struct store *store);

/* Whether it may become as large as this: 0; -ENOSPC. */
int store_local_check(const struct store_item *item, uint64_t size_bytes);

/* The contents are written. */
void store_local_end(struct store_item *item, uint64_t size_bytes);

/* What lies below the URI `root`, through core/blob; items are keys. Nothing is asked of the server
 * before the first item. 0; -ENOMEM. */
int store_remote_create(const char *root, const struct mst_blob_opts *opts,
                        struct store **ret_store, struct mst_err *err);

#endif
