/* The contract between blob's face (blob.c) and its back ends, one for each scheme. */
#ifndef MUSTER_CORE_BLOB_BACKEND_H
#define MUSTER_CORE_BLOB_BACKEND_H

#include "muster/core/blob/blob.h"
#include "muster/core/err.h"

#include <stddef.h>
#include <stdint.h>

struct mst_uri;

#define BLOB_KEY_MAX 1024  /* bytes of a key, and of a URI's path, terminator included */
#define BLOB_PATH_MAX 2048 /* of both joined */
#define BLOB_DEPTH_DEFAULT 8
#define BLOB_TIMEOUT_MS_DEFAULT 60000
#define BLOB_BULK_BYTES_DEFAULT (UINT64_C(8) << 20)

/* What a put puts: memory, or a file if `data` is NULL. */
struct blob_source {
    const void *data;
    int fd;
    uint64_t size_bytes;
};

/* Keys come checked: relative, no "." or ".." in them. Errors as core/blob/blob.h says. */
struct blob_backend {
    const char *scheme;
    uint64_t bulk_bytes; /* mst_blob_bulk_bytes; 0: the default */

    /* `opts` has its defaults filled in. May block for credentials. */
    int (*open)(const struct mst_uri *uri, const struct mst_blob_opts *opts,
                struct mst_blob **ret_blob, struct mst_err *err);
    void (*close)(struct mst_blob *blob);

    int (*stat)(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                uint64_t deadline_ns, struct mst_err *err);

    /* As mst_blob_stat_all, of good keys. NULL: none is asked for. */
    void (*stat_all)(struct mst_blob *blob, struct mst_blob_look *looks, size_t count,
                     uint64_t deadline_ns);

    /* NULL: -ENOTSUP. `prefix` does not end in '/'. */
    int (*list)(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each, void *arg,
                uint64_t deadline_ns, struct mst_err *err);
    /* NULL: -ENOTSUP. The source stays open and is the caller's. */
    int (*put)(struct mst_blob *blob, const char *key, const struct blob_source *source,
               uint32_t flags, uint64_t deadline_ns, struct mst_err *err);
    /* NULL: -ENOTSUP. */
    int (*remove)(struct mst_blob *blob, const char *key, uint64_t deadline_ns,
                  struct mst_err *err);

    /* As mst_blob_submit and mst_blob_reap; a failed read leaves its text in blob->last. */
    int (*submit)(struct mst_blob *blob, const struct mst_blob_read *reads, size_t count);
    int (*reap)(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                uint64_t deadline_ns);
};

/* Every back end's handle starts with this. */
struct mst_blob {
    const struct blob_backend *backend;
    bool skip_hidden; /* as its options say */
    uint64_t hidden_count;
    struct mst_err last;
};

extern const struct blob_backend blob_file_backend, blob_http_backend, blob_https_backend,
    blob_s3_backend, blob_webhdfs_backend, blob_swebhdfs_backend, blob_hdfs_backend;

/* Writes "base/key", or the base alone for "". `base` may end in '/'. 0; -ENOSPC. */
int blob_join(const char *base, const char *key, char *ret_path, size_t cap);

/* Whether a list leaves the key out, which is then counted. */
bool blob_skips(struct mst_blob *blob, const char *key);

/* How an unfinished put is named: in the folder of its object, and never listed. */
#define BLOB_TEMP_PREFIX ".muster-put-"

#endif
