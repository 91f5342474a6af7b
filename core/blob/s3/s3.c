/* s3: AWS's object store and the many that speak like it. */
#include "muster/core/blob/s3/s3.h"
#include "muster/core/blob/http/object.h"
#include "muster/core/blob/listing.h"
#include "muster/core/blob/s3/xml.h"
#include "muster/core/uri.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct s3_store *store_of(struct blob_remote *remote)
{
    return (struct s3_store *)remote;
}

static int judge(struct blob_remote *remote, struct blob_call *call,
                 const struct http_answer *answer)
{
    return s3_judge(store_of(remote), call, answer, false);
}

static int prepare_read(struct blob_remote *remote, struct blob_call *call)
{
    const struct s3_ask ask = {.method = HTTP_GET};
    int rc = s3_prepare(store_of(remote), call, &ask);
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
    const struct s3_ask ask = {.method = blob_object_ask_stat(call)};
    return s3_prepare(store_of(remote), call, &ask);
}

/* HEAD tells all there is to know, except why it failed. */
static int judge_stat(struct blob_remote *remote, struct blob_call *call,
                      const struct http_answer *answer)
{
    bool untold = answer->status / 100 == 4 && answer->status != 429;
    if (answer->rc == 0 && call->step == BLOB_STAT_HEAD && untold) {
        call->step = BLOB_STAT_GET;
        return BLOB_AGAIN;
    }
    int rc = judge(remote, call, answer);
    return rc != 0 ? rc : blob_object_take_stat(remote, call, answer);
}

static const struct blob_verb stat_verb = {.prepare = prepare_stat, .judge = judge_stat};

static int s3_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                   uint64_t deadline_ns, struct mst_err *err)
{
    return blob_object_stat(blob, &stat_verb, key, ret_info, deadline_ns, err);
}

/* One page of a listing. */
struct page_call {
    struct mst_blob *blob;
    char prefix[BLOB_PATH_MAX]; /* of the objects' whole names */
    size_t base_bytes;          /* of which belong to the store, not to keys */
    struct s3_page page;        /* until its answer is here, the one before */
    struct blob_listing listing;
};

static int prepare_list(struct blob_remote *remote, struct blob_call *call)
{
    const struct page_call *page = call->arg;
    struct sigv4_pair query[] = {{"list-type", "2"},
                                 {"encoding-type", "url"},
                                 {"prefix", page->prefix},
                                 {"continuation-token", page->page.token}};
    const struct s3_ask ask = {.method = HTTP_GET,
                               .bucket = true,
                               .query = query,
                               .query_count = page->page.token[0] ? 4 : 3};
    return s3_prepare(store_of(remote), call, &ask);
}

/* Names that end in '/' stand for folders: consoles make them. */
static int add_object(void *arg, const char *name, const struct mst_blob_info *info)
{
    struct page_call *page = arg;
    size_t length = strlen(name);
    if (length < page->base_bytes || length == 0 || name[length - 1] == '/' ||
        blob_skips(page->blob, name + page->base_bytes))
        return 0;
    return blob_listing_add(&page->listing, name + page->base_bytes, info);
}

static int judge_list(struct blob_remote *remote, struct blob_call *call,
                      const struct http_answer *answer)
{
    struct page_call *page = call->arg;
    int rc = judge(remote, call, answer);
    if (rc != 0)
        return rc;
    struct s3_page next;
    rc = s3_xml_list(answer->text, answer->text_bytes, add_object, page, &next);
    if (rc < 0)
        return blob_call_fail(remote, call, rc, "the server's listing makes no sense");
    if (next.truncated && strcmp(next.token, page->page.token) == 0)
        return blob_call_fail(remote, call, -EBADMSG,
                              "the server's listing does not go on: a page ends where it began");
    page->page = next;
    return 0;
}

static const struct blob_verb list_verb = {.prepare = prepare_list, .judge = judge_list};

/* "base/folder/" without the slash in front, which names of objects do not have. */
static void make_prefix(const struct blob_remote *remote, const char *folder,
                        struct page_call *page)
{
    const char *base = remote->base + strspn(remote->base, "/");
    size_t base_bytes = strlen(base);
    page->base_bytes = base_bytes > 0 ? base_bytes + (base[base_bytes - 1] != '/') : 0;
    char path[BLOB_PATH_MAX];
    int rc = blob_join(base, folder, path, sizeof path);
    assert(rc == 0); /* a base and a key always fit */
    size_t length = strlen(path);
    bool slash = length > 0 && path[length - 1] != '/' && length < sizeof path - 1;
    /* It fits: as long as the path, and a slash where there is room for one. */
    (void)snprintf(page->prefix, sizeof page->prefix, "%.*s%s", (int)length, path,
                   slash ? "/" : "");
}

static int s3_list(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each, void *arg,
                   uint64_t deadline_ns, struct mst_err *err)
{
    struct blob_remote *remote = (struct blob_remote *)blob;
    struct page_call page = {.blob = blob};
    make_prefix(remote, prefix, &page);
    int rc = 0;
    do {
        struct blob_call call = {.verb = &list_verb, .key = prefix, .arg = &page};
        rc = blob_call_do(remote, &call, deadline_ns, err);
        if (rc == 0)
            rc = blob_listing_tell(&page.listing, each, arg);
        blob_listing_fini(&page.listing);
    } while (rc == 0 && page.page.truncated);
    return rc;
}

static int prepare_remove(struct blob_remote *remote, struct blob_call *call)
{
    const struct s3_ask ask = {.method = HTTP_DELETE};
    return s3_prepare(store_of(remote), call, &ask);
}

static int judge_remove(struct blob_remote *remote, struct blob_call *call,
                        const struct http_answer *answer)
{
    struct s3_error error;
    if (answer->rc == 0 && answer->status == 404 &&
        s3_xml_error(answer->text, answer->text_bytes, &error) == 0 &&
        strcmp(error.code, "NoSuchKey") == 0)
        return 0;
    return judge(remote, call, answer);
}

static const struct blob_verb remove_verb = {.prepare = prepare_remove, .judge = judge_remove};

static int s3_remove(struct mst_blob *blob, const char *key, uint64_t deadline_ns,
                     struct mst_err *err)
{
    struct blob_call call = {.verb = &remove_verb, .key = key};
    return blob_call_do((struct blob_remote *)blob, &call, deadline_ns, err);
}

static void s3_close(struct mst_blob *blob)
{
    struct s3_store *store = (struct s3_store *)blob;
    blob_remote_fini(&store->remote);
    cred_wipe(&store->cred);
    blob_env_fini(&store->env);
    free(store);
}

/* The Host header is signed as curl sends it: without the scheme's own port. */
static void set_host(struct s3_store *store, const char *authority)
{
    const char *own_port = store->secure ? ":443" : ":80";
    size_t length = strlen(authority), cut = strlen(own_port);
    if (length > cut && strcmp(authority + length - cut, own_port) == 0)
        length -= cut;
    (void)snprintf(store->host, sizeof store->host, "%.*s", (int)length, authority); /* fits */
    store->aws = length > 14 && strncmp(store->host + length - 14, ".amazonaws.com", 14) == 0;
}

static int set_endpoint(struct s3_store *store, const char *endpoint, struct mst_err *err)
{
    if (!endpoint) {
        store->secure = store->aws = true;
        /* A region fits. */
        (void)snprintf(store->host, sizeof store->host, "s3.%s.amazonaws.com", store->region);
        return 0;
    }
    struct mst_uri uri;
    int rc = mst_uri_parse(endpoint, &uri, err);
    if (rc < 0)
        return mst_err_wrap(err, "S3 endpoint");
    store->secure = strcmp(uri.scheme, "https") == 0;
    if ((!store->secure && strcmp(uri.scheme, "http") != 0) || !uri.authority[0] ||
        strcmp(uri.path, "/") != 0)
        return mst_err_set(err, -EINVAL, "S3 endpoint %.100s: give http://host:port or https://…",
                           endpoint);
    set_host(store, uri.authority);
    return 0;
}

/* A parameter of the URI, or `fallback`, which may be NULL. 0; -EINVAL. */
static int param(const struct mst_uri *uri, const char *name, const char *fallback, char *value,
                 size_t cap, struct mst_err *err)
{
    int rc = mst_uri_param(uri, name, value, cap);
    if (rc == -ENOENT)
        rc = (size_t)snprintf(value, cap, "%s", fallback ? fallback : "") < cap ? 0 : -ENOSPC;
    if (rc == 0 && !blob_env_is_plain(value))
        rc = -EINVAL;
    return rc < 0 ? mst_err_set(err, -EINVAL, "%s of s3://%s is malformed or too long", name,
                                uri->authority)
                  : 0;
}

static int set_up(struct s3_store *store, const struct mst_uri *uri, struct mst_err *err)
{
    struct blob_remote *remote = &store->remote;
    int rc = blob_env_read(&store->env, err);
    if (rc < 0)
        return rc;
    /* Each has room for the part of a URI that it holds. */
    (void)snprintf(store->bucket, sizeof store->bucket, "%s", uri->authority);
    (void)snprintf(remote->label, sizeof remote->label, "s3://%s", uri->authority);
    (void)snprintf(remote->base, sizeof remote->base, "%s", uri->path);
    rc = param(uri, "region", store->env.region, store->region, sizeof store->region, err);
    char endpoint[320];
    if (rc == 0)
        rc = param(uri, "endpoint", store->env.endpoint, endpoint, sizeof endpoint, err);
    if (rc == 0)
        rc = cred_find(&store->env, store->region[0] ? store->region : "us-east-1", &store->cred,
                       err);
    if (rc < 0)
        return rc;
    if (!store->region[0])
        (void)snprintf(store->region, sizeof store->region, "%s", /* fits */
                       store->cred.region[0] ? store->cred.region : "us-east-1");
    return set_endpoint(store, endpoint[0] ? endpoint : NULL, err);
}

static int s3_open(const struct mst_uri *uri, const struct mst_blob_opts *opts,
                   struct mst_blob **ret_blob, struct mst_err *err)
{
    if (!uri->authority[0])
        return mst_err_set(err, -EINVAL, "s3:%s names no bucket; write s3://bucket/prefix",
                           uri->path);
    struct s3_store *store = calloc(1, sizeof *store);
    if (!store)
        return mst_err_set(err, -ENOMEM, "no memory for a store");
    store->remote.blob.backend = &blob_s3_backend;
    store->remote.address = "the endpoint (?endpoint=, AWS_ENDPOINT_URL)";
    int rc = set_up(store, uri, err);
    if (rc == 0)
        rc = blob_remote_init(&store->remote, opts, &read_verb, &stat_verb, store->env.ca_file,
                              err);
    if (rc < 0) {
        s3_close(&store->remote.blob);
        return rc;
    }
    *ret_blob = &store->remote.blob;
    return 0;
}

const struct blob_backend blob_s3_backend = {
    .scheme = "s3",
    .open = s3_open,
    .close = s3_close,
    .stat = s3_stat,
    .stat_all = blob_remote_stat_all,
    .list = s3_list,
    .put = s3_put,
    .remove = s3_remove,
    .submit = blob_remote_submit,
    .reap = blob_remote_reap,
};
