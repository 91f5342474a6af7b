/* http and https: objects of a web server, which can be looked at and read. */
#include "muster/core/blob/env.h"
#include "muster/core/blob/http/object.h"
#include "muster/core/uri.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define REDIRECTS_MAX 5 /* mirrors send clients on to their caches */

struct http_store {
    struct blob_remote remote;
    char query[sizeof((struct mst_uri *)0)->query]; /* part of the name, and perhaps a secret */
};

static int prepare(struct blob_remote *remote, struct blob_call *call, enum http_method method)
{
    const struct http_store *store = (const struct http_store *)remote;
    call->request.method = method;
    call->request.follow = REDIRECTS_MAX;
    char path[BLOB_ESCAPED_MAX];
    if (blob_remote_path(remote, call->key, path, sizeof path) < 0)
        return blob_call_fail(remote, call, -EINVAL, "the URL is too long");
    if (http_request_url(&call->request, "%s%s%s%s", remote->label, path,
                         store->query[0] ? "?" : "", store->query) < 0)
        return blob_call_fail(remote, call, -ENOMEM, "no memory for a request");
    return 0;
}

static int judge(struct blob_remote *remote, struct blob_call *call,
                 const struct http_answer *answer)
{
    return blob_judge(remote, call, answer, NULL);
}

static int prepare_read(struct blob_remote *remote, struct blob_call *call)
{
    int rc = prepare(remote, call, HTTP_GET);
    return rc < 0 ? rc : blob_object_ask_read(remote, call);
}

static int judge_read(struct blob_remote *remote, struct blob_call *call,
                      const struct http_answer *answer)
{
    return blob_object_judge_read(remote, call, answer, judge);
}

static const struct blob_verb read_verb = {.prepare = prepare_read, .judge = judge_read};

static int prepare_stat(struct blob_remote *remote, struct blob_call *call)
{
    return prepare(remote, call, blob_object_ask_stat(call));
}

/* HEAD is not allowed everywhere, nor by URLs signed for GET. */
static bool head_does(const struct http_answer *answer)
{
    if (answer->status / 100 == 2)
        return answer->length_bytes != UINT64_MAX;
    return answer->status != 403 && answer->status != 405 && answer->status != 501;
}

/* An empty object has no first byte, and says so. */
static bool is_empty(const struct http_answer *answer)
{
    return answer->rc == 0 && answer->status == 416 && answer->has_range &&
           answer->range.total == 0;
}

static int judge_stat(struct blob_remote *remote, struct blob_call *call,
                      const struct http_answer *answer)
{
    if (answer->rc == 0 && call->step == BLOB_STAT_HEAD && !head_does(answer)) {
        call->step = BLOB_STAT_GET;
        return BLOB_AGAIN;
    }
    int rc = is_empty(answer) ? 0 : judge(remote, call, answer);
    return rc != 0 ? rc : blob_object_take_stat(remote, call, answer);
}

static const struct blob_verb stat_verb = {.prepare = prepare_stat, .judge = judge_stat};

static int http_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                     uint64_t deadline_ns, struct mst_err *err)
{
    return blob_object_stat(blob, &stat_verb, key, ret_info, deadline_ns, err);
}

static void http_close(struct mst_blob *blob)
{
    blob_remote_fini((struct blob_remote *)blob);
    free(blob);
}

static int open_store(const struct blob_backend *backend, const struct mst_uri *uri,
                      const struct mst_blob_opts *opts, struct mst_blob **ret_blob,
                      struct mst_err *err)
{
    if (!uri->authority[0])
        return mst_err_set(err, -EINVAL, "%s:%s names no host", uri->scheme, uri->path);
    struct blob_env env;
    int rc = blob_env_read(&env, err);
    if (rc < 0)
        return rc;
    struct http_store *store = calloc(1, sizeof *store);
    if (!store) {
        blob_env_fini(&env);
        return mst_err_set(err, -ENOMEM, "no memory for a store");
    }
    struct blob_remote *remote = &store->remote;
    remote->blob.backend = backend;
    /* Each has room for the part of a URI that it holds. */
    (void)snprintf(remote->label, sizeof remote->label, "%s://%s", uri->scheme, uri->authority);
    (void)snprintf(remote->base, sizeof remote->base, "%s", uri->path);
    (void)snprintf(store->query, sizeof store->query, "%s", uri->query);
    remote->address = "the host in its URI";
    rc = blob_remote_init(remote, opts, &read_verb, &stat_verb, env.ca_file, err);
    blob_env_fini(&env);
    if (rc < 0) {
        http_close(&remote->blob);
        return rc;
    }
    *ret_blob = &remote->blob;
    return 0;
}

static int plain_open(const struct mst_uri *uri, const struct mst_blob_opts *opts,
                      struct mst_blob **ret_blob, struct mst_err *err)
{
    return open_store(&blob_http_backend, uri, opts, ret_blob, err);
}

static int secure_open(const struct mst_uri *uri, const struct mst_blob_opts *opts,
                       struct mst_blob **ret_blob, struct mst_err *err)
{
    return open_store(&blob_https_backend, uri, opts, ret_blob, err);
}

const struct blob_backend blob_http_backend = {
    .scheme = "http",
    .open = plain_open,
    .close = http_close,
    .stat = http_stat,
    .stat_all = blob_remote_stat_all,
    .submit = blob_remote_submit,
    .reap = blob_remote_reap,
};

const struct blob_backend blob_https_backend = {
    .scheme = "https",
    .open = secure_open,
    .close = http_close,
    .stat = http_stat,
    .stat_all = blob_remote_stat_all,
    .submit = blob_remote_submit,
    .reap = blob_remote_reap,
};
