#include "muster/core/blob/blob.h"

#include "muster/core/blob/backend.h"
#include "muster/core/err.h"
#include "muster/core/uri.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct blob_backend *const backends[] = {
    &blob_file_backend,    &blob_http_backend,     &blob_https_backend, &blob_s3_backend,
    &blob_webhdfs_backend, &blob_swebhdfs_backend, &blob_hdfs_backend,  NULL,
};

static const struct blob_backend *find_backend(const char *scheme)
{
    for (const struct blob_backend *const *backend = backends; *backend; backend++)
        if (strcmp((*backend)->scheme, scheme) == 0)
            return *backend;
    return NULL;
}

int mst_blob_open(const char *uri, const struct mst_blob_opts *opts, struct mst_blob **ret_blob,
                  struct mst_err *err)
{
    struct mst_uri parsed;
    int rc = mst_uri_parse(uri, &parsed, err);
    if (rc < 0)
        return rc;
    const struct blob_backend *backend = find_backend(parsed.scheme);
    if (!backend)
        return mst_err_set(err, -ENOTSUP,
                           "scheme %s is not supported; use file, http, https, s3, webhdfs, "
                           "swebhdfs or hdfs",
                           parsed.scheme);
    struct mst_blob_opts filled = opts ? *opts : (struct mst_blob_opts){0};
    if (filled.depth == 0)
        filled.depth = BLOB_DEPTH_DEFAULT;
    if (filled.timeout_ms == 0)
        filled.timeout_ms = BLOB_TIMEOUT_MS_DEFAULT;
    rc = backend->open(&parsed, &filled, ret_blob, err);
    if (rc == 0)
        (*ret_blob)->skip_hidden = filled.skip_hidden;
    return rc;
}

uint64_t mst_blob_bulk_bytes(const char *uri)
{
    struct mst_uri parsed;
    int rc = mst_uri_parse(uri, &parsed, NULL);
    const struct blob_backend *backend = rc < 0 ? NULL : find_backend(parsed.scheme);
    return backend && backend->bulk_bytes ? backend->bulk_bytes : BLOB_BULK_BYTES_DEFAULT;
}

void mst_blob_close(struct mst_blob *blob)
{
    if (blob)
        blob->backend->close(blob);
}

int blob_join(const char *base, const char *key, char *ret_path, size_t cap)
{
    size_t length = strlen(base);
    bool slash = key[0] && length > 0 && base[length - 1] != '/';
    int written = snprintf(ret_path, cap, "%s%s%s", base, slash ? "/" : "", key);
    return written < 0 || (size_t)written >= cap ? -ENOSPC : 0;
}

/* A key stays below its store: "../x" would not. */
static bool is_key(const char *key)
{
    if (key[0] == '/' || strlen(key) >= BLOB_KEY_MAX)
        return false;
    for (const char *part = key; *part;) {
        size_t length = strcspn(part, "/");
        if (strncmp(part, "..", length) == 0 && length > 0 && length <= 2)
            return false;
        part += length + (part[length] == '/');
    }
    return true;
}

static int check_key(const char *key, struct mst_err *err)
{
    if (is_key(key))
        return 0;
    return mst_err_set(err, -EINVAL,
                       "key \"%.100s\": keys are relative, under %d bytes and without . and ..",
                       key, BLOB_KEY_MAX);
}

static int lacks(const struct mst_blob *blob, const char *what, struct mst_err *err)
{
    return mst_err_set(err, -ENOTSUP, "%s: cannot %s; use a file:, s3: or hdfs: URI",
                       blob->backend->scheme, what);
}

int mst_blob_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                  uint64_t deadline_ns, struct mst_err *err)
{
    int rc = check_key(key, err);
    return rc < 0 ? rc : blob->backend->stat(blob, key, ret_info, deadline_ns, err);
}

void mst_blob_stat_all(struct mst_blob *blob, struct mst_blob_look *looks, size_t count,
                       uint64_t deadline_ns)
{
    bool keys = true;
    for (size_t i = 0; i < count; i++) {
        looks[i].rc = -EAGAIN;
        keys = keys && is_key(looks[i].key);
    }
    if (keys && blob->backend->stat_all)
        blob->backend->stat_all(blob, looks, count, deadline_ns);
}

int mst_blob_list(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each, void *arg,
                  uint64_t deadline_ns, struct mst_err *err)
{
    if (!blob->backend->list)
        return lacks(blob, "list objects", err);
    int rc = check_key(prefix, err);
    if (rc < 0)
        return rc;
    size_t length = strlen(prefix);
    while (length > 0 && prefix[length - 1] == '/')
        length--;
    char folder[BLOB_KEY_MAX];
    memcpy(folder, prefix, length);
    folder[length] = '\0';
    return blob->backend->list(blob, folder, each, arg, deadline_ns, err);
}

/* Tools keep there what is no data of the user's: halves, copies, notes. */
static bool is_hidden(const char *key)
{
    bool hidden = false;
    for (const char *part = key; part && !hidden; part = strchr(part, '/')) {
        part += *part == '/';
        hidden = *part == '.' || *part == '_';
    }
    return hidden;
}

bool blob_skips(struct mst_blob *blob, const char *key)
{
    bool skips = blob->skip_hidden && is_hidden(key);
    blob->hidden_count += skips;
    return skips;
}

uint64_t mst_blob_hidden_count(const struct mst_blob *blob)
{
    return blob->hidden_count;
}

static int put_source(struct mst_blob *blob, const char *key, const struct blob_source *source,
                      uint32_t flags, uint64_t deadline_ns, struct mst_err *err)
{
    if (!blob->backend->put)
        return lacks(blob, "put objects", err);
    int rc = check_key(key, err);
    return rc < 0 ? rc : blob->backend->put(blob, key, source, flags, deadline_ns, err);
}

int mst_blob_put(struct mst_blob *blob, const char *key, struct mst_cspan data, uint32_t flags,
                 uint64_t deadline_ns, struct mst_err *err)
{
    const struct blob_source source = {
        .data = data.data ? data.data : "", .fd = -1, .size_bytes = data.size_bytes};
    return put_source(blob, key, &source, flags, deadline_ns, err);
}

int mst_blob_put_file(struct mst_blob *blob, const char *key, const char *path, uint32_t flags,
                      uint64_t deadline_ns, struct mst_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) < 0) {
        int rc = -errno;
        if (fd >= 0)
            (void)close(fd); /* read only */
        return mst_err_set(err, rc, "%s: cannot be read: %s", path, mst_err_meaning(rc));
    }
    const struct blob_source source = {.fd = fd, .size_bytes = (uint64_t)stat.st_size};
    int rc = put_source(blob, key, &source, flags, deadline_ns, err);
    (void)close(fd); /* read only */
    return rc;
}

int mst_blob_remove(struct mst_blob *blob, const char *key, uint64_t deadline_ns,
                    struct mst_err *err)
{
    if (!blob->backend->remove)
        return lacks(blob, "remove objects", err);
    int rc = check_key(key, err);
    return rc < 0 ? rc : blob->backend->remove(blob, key, deadline_ns, err);
}

int mst_blob_submit(struct mst_blob *blob, const struct mst_blob_read *reads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_key(reads[i].key))
            return check_key(reads[i].key, &blob->last);
    return blob->backend->submit(blob, reads, count);
}

int mst_blob_reap(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                  uint64_t deadline_ns)
{
    return blob->backend->reap(blob, done, cap, min, deadline_ns);
}

const char *mst_blob_error(const struct mst_blob *blob)
{
    return blob->last.text;
}
