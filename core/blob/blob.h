/* blob: objects and byte ranges behind URIs, wherever they are: file:, http(s):, s3:, webhdfs: and
 * hdfs: behind one interface, so that data and checkpoints care for a URI and nothing else.
 *
 *   mst_blob_open("s3://bucket/prefix", &opts, &blob, &err)   one store; keys are relative to it
 *   mst_blob_stat, mst_blob_list, mst_blob_put, mst_blob_remove     one at a time, blocking
 *   mst_blob_submit(reads) → mst_blob_reap(done)              many ranges at a time
 *   mst_blob_close(blob)
 *
 * Every request is retried with jittered, growing pauses while that makes sense (connection lost,
 * 5xx, 429, a body cut short), until its deadline, or for opts.connect_ms where nobody has answered
 * yet: an address that is wrong is told soon, and a server that restarts is waited for. A byte
 * range is delivered whole or not at all. One thread at a time per store; several stores are
 * independent. Credentials never appear in an error text. Common errors: -ENOENT (404); -EACCES
 * (401, 403, bad or missing credentials: the text says which were used and where they came from);
 * -EINVAL a variable with a control character in it; -ESTALE the object changed since it was first
 * read; -ETIMEDOUT; -ECONNREFUSED, -EHOSTUNREACH …; -EBADMSG an answer that makes no sense; -ENOSPC
 * the server has no room; -EIO its own failure; -ENOMEM. */
#ifndef MUSTER_CORE_BLOB_BLOB_H
#define MUSTER_CORE_BLOB_BLOB_H

#include "muster/core/err.h"
#include "muster/core/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_blob;

struct mst_blob_opts {
    uint32_t depth;      /* requests in flight; 0 = 8 */
    uint32_t timeout_ms; /* of one request, retries included, and a second more for each MiB that
                            it sends; 0 = 60 000 */
    uint32_t connect_ms; /* for how long a place that has never answered is tried; 0 = 3 000 */
    bool answered;       /* it has: an outage is waited for */
    bool fail_fast;      /* there is another place to ask: where nobody listens is soon given up */
    bool skip_hidden;    /* list leaves out what begins with '.' or '_', and all below it */
    const char *aio;     /* file: as mst_aio_opts.backend (world.tuning.aio); NULL = probe */
};

/* Opens the store that `uri` names. s3://bucket[/prefix]: endpoint from ?endpoint=,
 * AWS_ENDPOINT_URL or the region; path style unless the endpoint is AWS's own.
 * webhdfs://host:port/path: the name node's HTTP address. hdfs://authority/path: that address from
 * HADOOP_CONF_DIR. Blocks at most for credentials. 0; -ENOTSUP scheme; -EINVAL; -EACCES no
 * credentials, naming where they were looked for. */
int mst_blob_open(const char *uri, const struct mst_blob_opts *opts, struct mst_blob **ret_blob,
                  struct mst_err *err);

/* How much of a long object of the store that `uri` names one read should bring, so that what its
 * server does for each request hardly counts. */
uint64_t mst_blob_bulk_bytes(const char *uri);

/* Ends what is in flight. NULL is allowed. */
void mst_blob_close(struct mst_blob *blob);

struct mst_blob_info {
    uint64_t size_bytes;
    char version[80]; /* what changes when the object does: ETag, or length and time; may be "" */
};

/* Size and version of object `key` ("" = the URI itself). */
int mst_blob_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                  uint64_t deadline_ns, struct mst_err *err);

struct mst_blob_look {
    const char *key;
    int rc; /* 0 or -errno; -EAGAIN: not asked for */
    struct mst_blob_info info;
    struct mst_err err;
};

/* Looks at many objects of a remote store, `depth` requests at a time; where that gains nothing, at
 * none. After a failure that is not the object's (-ENOENT, -EACCES) nothing more is asked for. */
void mst_blob_stat_all(struct mst_blob *blob, struct mst_blob_look *looks, size_t count,
                       uint64_t deadline_ns);

/* Calls `each` for every object below the folder `prefix` ("" = all of the URI's), however deep, in
 * byte order of keys, until it answers other than 0, which is then returned. That there is none is
 * no error. -ENOTSUP for http:. */
typedef int (*mst_blob_each_fn)(void *arg, const char *key, const struct mst_blob_info *info);
int mst_blob_list(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each, void *arg,
                  uint64_t deadline_ns, struct mst_err *err);

/* What lists have left out, with skip_hidden: files, folders that were not looked into, objects. */
uint64_t mst_blob_hidden_count(const struct mst_blob *blob);

/* Makes object `key` of `data`, host memory; it appears whole or not at all. With MST_BLOB_NEW only
 * if there is none: -EEXIST otherwise. */
enum { MST_BLOB_NEW = 1 };
int mst_blob_put(struct mst_blob *blob, const char *key, struct mst_cspan data, uint32_t flags,
                 uint64_t deadline_ns, struct mst_err *err);

/* As put, from a local file of any size (S3: multipart above 64 MiB). */
int mst_blob_put_file(struct mst_blob *blob, const char *key, const char *path, uint32_t flags,
                      uint64_t deadline_ns, struct mst_err *err);

/* Removes an object; that there is none is no error. */
int mst_blob_remove(struct mst_blob *blob, const char *key, uint64_t deadline_ns,
                    struct mst_err *err);

struct mst_blob_read {
    const char *key; /* borrowed until completion, like the memory */
    uint64_t offset;
    void *data;
    size_t size_bytes;
    const char *version;   /* NULL, or the version that the bytes must be of */
    uint64_t object_bytes; /* 0, or how long the object must be, where the server says it */
    void *user;
};

struct mst_blob_done {
    void *user;
    int64_t result; /* size_bytes, fewer at the end of the object, or -errno */
};

/* Starts reads: how many were taken, fewer than `count` when `depth` are in flight. Does not
 * block. -EINVAL a key that leaves the store. */
int mst_blob_submit(struct mst_blob *blob, const struct mst_blob_read *reads, size_t count);

/* Collects completions as mst_aio_reap does: at least `min` if so many are in flight, blocking
 * until the deadline. -ETIMEDOUT when fewer came; they are kept. mst_blob_error has the text of the
 * last failed read. */
int mst_blob_reap(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                  uint64_t deadline_ns);

const char *mst_blob_error(const struct mst_blob *blob);

#endif
