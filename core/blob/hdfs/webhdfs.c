/* webhdfs, swebhdfs and hdfs: HDFS through the REST interface of its name nodes, which send clients
 * on to the data nodes that have, or will have, the bytes. */
#include "muster/core/blob/env.h"
#include "muster/core/blob/hdfs/conf.h"
#include "muster/core/blob/hdfs/json.h"
#include "muster/core/blob/http/escape.h"
#include "muster/core/blob/http/remote.h"
#include "muster/core/blob/listing.h"
#include "muster/core/clock.h"
#include "muster/core/uri.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hdfs_store {
    struct blob_remote remote;
    struct hadoop_nodes nodes;
    size_t node;     /* the name node that is asked: the active one, as far as is known */
    char auth[2048]; /* "&user.name=…" or "&delegation=…", which is a secret */
};

static struct hdfs_store *store_of(struct blob_remote *remote)
{
    return (struct hdfs_store *)remote;
}

/* Makes the request for operation `op`, which has its own parameters behind it. */
static int prepare_op(struct blob_remote *remote, struct blob_call *call, enum http_method method,
                      const char *op)
{
    const struct hdfs_store *store = store_of(remote);
    call->request.method = method;
    char path[BLOB_ESCAPED_MAX];
    int rc = blob_remote_path(remote, call->key, path, sizeof path);
    if (rc == 0)
        rc = http_request_url(&call->request, "http%s://%s/webhdfs/v1%s?op=%s%s",
                              store->nodes.secure ? "s" : "", store->nodes.address[store->node],
                              path, op, store->auth);
    return rc < 0
               ? blob_call_fail(remote, call, rc, "no request can be made: %s", mst_err_meaning(rc))
               : 0;
}

static void next_node(struct hdfs_store *store)
{
    store->node = (store->node + 1) % store->nodes.count;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static int judge_exception(struct hdfs_store *store, struct blob_call *call,
                           const struct http_answer *answer, const struct webhdfs_error *error)
{
    static const char *const passing[] = {
        "StandbyException",          "RetriableException",
        "SafeModeException",         "ObserverRetryOnActiveException",
        "NotReplicatedYetException", NULL};
    static const char *const denied[] = {"AccessControlException", "SecurityException",
                                         "InvalidToken",           "AuthenticationException",
                                         "AuthorizationException", NULL};
    static const char *const full[] = {"DSQuotaExceededException", "NSQuotaExceededException",
                                       "QuotaByStorageTypeExceededException", NULL};
    const struct blob_remote *remote = &store->remote;
    const char *name = error->exception;
    if (is_one_of(name, passing)) {
        if (strcmp(name, "StandbyException") == 0)
            next_node(store);
        blob_call_fail(remote, call, -EIO, "%s: %s", name, error->message);
        return BLOB_RETRY;
    }
    int rc = strcmp(name, "FileNotFoundException") == 0        ? -ENOENT
             : strcmp(name, "FileAlreadyExistsException") == 0 ? -EEXIST
             : strcmp(name, "IllegalArgumentException") == 0   ? -EINVAL
             : is_one_of(name, denied)                         ? -EACCES
             : is_one_of(name, full)                           ? -ENOSPC
                                                               : 0;
    if (rc < 0)
        return blob_call_fail(remote, call, rc, "%s: %s", name, error->message);
    /* A plain IOException has status 403, and is what a lost data node looks like. */
    blob_call_fail(remote, call, -EIO, "%s: %s", name, error->message);
    return answer->status == 403 ? BLOB_RETRY : blob_judge(remote, call, answer, error->message);
}

static int judge(struct hdfs_store *store, struct blob_call *call, const struct http_answer *answer)
{
    struct webhdfs_error error;
    if (answer->rc == 0 && answer->status >= 400 &&
        webhdfs_json_error(answer->text, answer->text_bytes, &error) == 0)
        return judge_exception(store, call, answer, &error);
    /* With a status, the name node has sent us to the one that is gone. */
    if (answer->status == 0 && (answer->rc == -ECONNREFUSED || answer->rc == -EHOSTUNREACH))
        next_node(store);
    return blob_judge(&store->remote, call, answer, NULL);
}

static void version_of(const struct webhdfs_status *status, char version[80])
{
    /* Two numbers fit. */
    (void)snprintf(version, 80, "%" PRIu64 "-%" PRIu64, status->size_bytes, status->modified_ms);
}

/* Reads the status that an answer carries; folders are no objects. */
static int take_status(struct hdfs_store *store, struct blob_call *call,
                       const struct http_answer *answer, struct mst_blob_info *info)
{
    int rc = judge(store, call, answer);
    if (rc != 0)
        return rc;
    struct webhdfs_status status;
    if (webhdfs_json_status(answer->text, answer->text_bytes, &status) < 0)
        return blob_call_fail(&store->remote, call, -EBADMSG,
                              "the name node's status of it makes no sense");
    if (status.folder)
        return blob_call_fail(&store->remote, call, -ENOENT, "a folder, not an object");
    info->size_bytes = status.size_bytes;
    version_of(&status, info->version);
    return 0;
}

static int prepare_stat(struct blob_remote *remote, struct blob_call *call)
{
    return prepare_op(remote, call, HTTP_GET, "GETFILESTATUS");
}

static int judge_stat(struct blob_remote *remote, struct blob_call *call,
                      const struct http_answer *answer)
{
    struct blob_stat *stat = call->arg;
    return take_status(store_of(remote), call, answer, &stat->info);
}

static const struct blob_verb stat_verb = {.prepare = prepare_stat, .judge = judge_stat};

static int hdfs_stat(struct mst_blob *blob, const char *key, struct mst_blob_info *ret_info,
                     uint64_t deadline_ns, struct mst_err *err)
{
    struct blob_stat stat = {0};
    struct blob_call call = {.verb = &stat_verb, .key = key, .arg = &stat};
    int rc = blob_call_do((struct blob_remote *)blob, &call, deadline_ns, err);
    if (rc == 0)
        *ret_info = stat.info;
    return rc;
}

/* A data node says nothing of a file's version: with one to keep, its status is asked for first. */
enum { READ_STATUS, READ_OPEN };

static bool is_pinned(const struct blob_call *call)
{
    return call->read.version && call->read.version[0];
}

static int prepare_read(struct blob_remote *remote, struct blob_call *call)
{
    if (call->step == READ_STATUS && !is_pinned(call))
        call->step = READ_OPEN;
    if (call->step == READ_STATUS)
        return prepare_stat(remote, call);
    char op[96]; /* room for two numbers and their names */
    (void)snprintf(op, sizeof op, "OPEN&offset=%" PRIu64 "&length=%zu", call->read.offset,
                   call->read.size_bytes);
    call->request.follow = 3;
    call->request.data = call->read.data;
    call->request.data_bytes = call->read.size_bytes;
    return prepare_op(remote, call, HTTP_GET, op);
}

static int judge_status(struct blob_remote *remote, struct blob_call *call,
                        const struct http_answer *answer)
{
    struct mst_blob_info info = {0};
    int rc = take_status(store_of(remote), call, answer, &info);
    if (rc != 0)
        return rc;
    if (strcmp(info.version, call->read.version) != 0)
        return blob_call_fail(remote, call, -ESTALE, "is version %s now and was %.80s",
                              info.version, call->read.version);
    if (call->read.offset >= info.size_bytes)
        return 0;
    call->step = READ_OPEN;
    return BLOB_AGAIN;
}

/* Nothing lies behind the end of a file; HDFS calls it an error and has no name for it. */
static bool is_behind_end(const struct http_answer *answer)
{
    struct webhdfs_error error;
    return answer->rc == 0 && answer->status == 403 &&
           webhdfs_json_error(answer->text, answer->text_bytes, &error) == 0 &&
           strstr(error.message, "out of the range");
}

static int judge_read(struct blob_remote *remote, struct blob_call *call,
                      const struct http_answer *answer)
{
    if (call->step == READ_STATUS)
        return judge_status(remote, call, answer);
    if (is_behind_end(answer))
        return 0;
    int rc = judge(store_of(remote), call, answer);
    if (rc == 0)
        call->result = (int64_t)answer->data_bytes;
    return rc;
}

static const struct blob_verb read_verb = {.prepare = prepare_read, .judge = judge_read};

/* One folder of a listing. */
struct folder_call {
    struct mst_blob *blob;
    const char *folder;
    struct blob_listing listing;
};

static int prepare_list(struct blob_remote *remote, struct blob_call *call)
{
    return prepare_op(remote, call, HTTP_GET, "LISTSTATUS");
}

static int add_entry(void *arg, const struct webhdfs_status *status)
{
    struct folder_call *folder = arg;
    if (strncmp(status->name, BLOB_TEMP_PREFIX, strlen(BLOB_TEMP_PREFIX)) == 0 || !status->name[0])
        return 0; /* unfinished, or the folder is an object, which has nothing below it */
    if (blob_skips(folder->blob, status->name))
        return 0;
    char key[BLOB_KEY_MAX];
    if (blob_join(folder->folder, status->name, key, sizeof key) < 0)
        return 0; /* no key can name it */
    if (status->folder)
        return blob_listing_visit(&folder->listing, key);
    struct mst_blob_info info = {.size_bytes = status->size_bytes};
    version_of(status, info.version);
    return blob_listing_add(&folder->listing, key, &info);
}

static int judge_list(struct blob_remote *remote, struct blob_call *call,
                      const struct http_answer *answer)
{
    int rc = judge(store_of(remote), call, answer);
    if (rc == -ENOENT)
        return 0; /* nothing there, or not any more */
    if (rc != 0)
        return rc;
    rc = webhdfs_json_list(answer->text, answer->text_bytes, add_entry, call->arg);
    return rc < 0 ? blob_call_fail(remote, call, rc, "the name node's listing makes no sense") : 0;
}

static const struct blob_verb list_verb = {.prepare = prepare_list, .judge = judge_list};

static int hdfs_list(struct mst_blob *blob, const char *prefix, mst_blob_each_fn each, void *arg,
                     uint64_t deadline_ns, struct mst_err *err)
{
    struct folder_call walk = {.blob = blob};
    int rc = blob_listing_visit(&walk.listing, prefix);
    char *folder;
    while (rc == 0 && (folder = blob_listing_next(&walk.listing))) {
        struct blob_call call = {.verb = &list_verb, .key = folder, .arg = &walk};
        walk.folder = folder;
        rc = blob_call_do((struct blob_remote *)blob, &call, deadline_ns, err);
        free(folder);
    }
    if (rc == 0)
        rc = blob_listing_tell(&walk.listing, each, arg);
    blob_listing_fini(&walk.listing);
    return rc;
}

/* A file is created at the name node, which tells the data node that takes its bytes. */
enum { CREATE_ASK, CREATE_SEND };

struct create_call {
    char location[4096];
};

static int prepare_create(struct blob_remote *remote, struct blob_call *call)
{
    const struct create_call *create = call->arg;
    struct http_request *request = &call->request;
    if (call->step == CREATE_ASK)
        return prepare_op(remote, call, HTTP_PUT, "CREATE&overwrite=true");
    request->method = HTTP_PUT;
    request->body = call->body->data;
    request->body_fd = call->body->fd;
    request->body_bytes = call->body_bytes;
    int rc = http_request_url(request, "%s", create->location);
    if (rc == 0) /* HttpFS insists */
        rc = http_request_header(request, "Content-Type: application/octet-stream");
    return rc < 0 ? blob_call_fail(remote, call, rc, "no memory for a request") : 0;
}

static int take_location(struct blob_remote *remote, struct blob_call *call,
                         const struct http_answer *answer)
{
    struct create_call *create = call->arg;
    if (answer->rc == 0 && answer->status == 307 && answer->location[0])
        memcpy(create->location, answer->location, sizeof create->location);
    else {
        int rc = judge(store_of(remote), call, answer);
        if (rc != 0)
            return rc;
        if (webhdfs_json_location(answer->text, answer->text_bytes, create->location,
                                  sizeof create->location) < 0)
            return blob_call_fail(remote, call, -EBADMSG, "the name node names no data node");
    }
    call->step = CREATE_SEND;
    return BLOB_AGAIN;
}

static int judge_create(struct blob_remote *remote, struct blob_call *call,
                        const struct http_answer *answer)
{
    if (call->step == CREATE_ASK)
        return take_location(remote, call, answer);
    /* What keeps a data node's answer away says nothing of the name node. */
    int rc = answer->rc < 0 ? blob_judge(remote, call, answer, NULL)
                            : judge(store_of(remote), call, answer);
    if (rc == BLOB_RETRY)
        call->step = CREATE_ASK; /* another data node may do better */
    return rc;
}

static const struct blob_verb create_verb = {.prepare = prepare_create, .judge = judge_create};

/* Gives the object of the call's key its final name. */
struct rename_call {
    const char *to; /* the final key */
    bool replace;
    bool renamed;
};

static int prepare_rename(struct blob_remote *remote, struct blob_call *call)
{
    const struct rename_call *rename = call->arg;
    char path[BLOB_PATH_MAX], escaped[BLOB_ESCAPED_MAX];
    int rc = blob_join(remote->base, rename->to, path, sizeof path);
    if (rc == 0)
        rc = http_escape(path, false, escaped, sizeof escaped);
    if (rc < 0)
        return blob_call_fail(remote, call, -EINVAL, "the name is too long");
    char op[BLOB_ESCAPED_MAX + 64]; /* room for all of it */
    (void)snprintf(op, sizeof op, "RENAME&destination=%s%s", escaped,
                   rename->replace ? "&renameoptions=OVERWRITE" : "");
    return prepare_op(remote, call, HTTP_PUT, op);
}

static int judge_rename(struct blob_remote *remote, struct blob_call *call,
                        const struct http_answer *answer)
{
    struct rename_call *rename = call->arg;
    int rc = judge(store_of(remote), call, answer);
    if (rc != 0)
        return rc;
    /* With OVERWRITE the answer is empty, or an exception. */
    rename->renamed = true;
    (void)webhdfs_json_boolean(answer->text, answer->text_bytes, &rename->renamed);
    return 0;
}

static const struct blob_verb rename_verb = {.prepare = prepare_rename, .judge = judge_rename};

static int prepare_remove(struct blob_remote *remote, struct blob_call *call)
{
    return prepare_op(remote, call, HTTP_DELETE, "DELETE&recursive=false");
}

static int judge_remove(struct blob_remote *remote, struct blob_call *call,
                        const struct http_answer *answer)
{
    return judge(store_of(remote), call, answer); /* {"boolean":false}: there was none */
}

static const struct blob_verb remove_verb = {.prepare = prepare_remove, .judge = judge_remove};

static int hdfs_remove(struct mst_blob *blob, const char *key, uint64_t deadline_ns,
                       struct mst_err *err)
{
    struct blob_call call = {.verb = &remove_verb, .key = key};
    return blob_call_do((struct blob_remote *)blob, &call, deadline_ns, err);
}

static int create_temp(struct blob_remote *remote, const char *temp,
                       const struct blob_source *source, uint64_t deadline_ns, struct mst_err *err)
{
    struct create_call create;
    struct blob_call call = {.verb = &create_verb,
                             .key = temp,
                             .arg = &create,
                             .body = source,
                             .body_bytes = source->size_bytes};
    return blob_call_do(remote, &call, deadline_ns, err);
}

/* Whether an earlier try, whose answer was lost, has renamed: the temporary name is gone and the
 * final one has as many bytes. */
static bool has_been_renamed(struct mst_blob *blob, const char *temp, const char *key,
                             uint64_t size_bytes, uint64_t deadline_ns)
{
    struct mst_blob_info info;
    return hdfs_stat(blob, temp, &info, deadline_ns, NULL) == -ENOENT &&
           hdfs_stat(blob, key, &info, deadline_ns, NULL) == 0 && info.size_bytes == size_bytes;
}

/* Gives `temp`, which has `size_bytes`, the name that `rename` says. */
static int publish(struct mst_blob *blob, const char *temp, uint64_t size_bytes,
                   struct rename_call *rename, uint64_t deadline_ns, struct mst_err *err)
{
    struct blob_call call = {.verb = &rename_verb, .key = temp, .arg = rename};
    int rc = blob_call_do((struct blob_remote *)blob, &call, deadline_ns, err);
    if (rc == 0 && rename->renamed)
        return 0;
    if (call.failures > 0 && has_been_renamed(blob, temp, rename->to, size_bytes, deadline_ns))
        return 0;
    if (rc < 0)
        return rc;
    const struct blob_remote *remote = (const struct blob_remote *)blob;
    return mst_err_set(err, -EEXIST, "%s%s/%s: exists already", remote->label,
                       strcmp(remote->base, "/") == 0 ? "" : remote->base, rename->to);
}

static int make_temp_key(struct blob_remote *remote, const char *key, char *temp, size_t cap)
{
    const char *slash = strrchr(key, '/');
    int folder_bytes = slash ? (int)(slash - key) + 1 : 0;
    int length = snprintf(temp, cap, "%.*s" BLOB_TEMP_PREFIX "%08" PRIx32 "%08" PRIx32,
                          folder_bytes, key, mst_rng_next(&remote->rng),
                          mst_rng_next(&remote->rng));
    return (size_t)length < cap ? 0 : -ENOSPC;
}

static int hdfs_put(struct mst_blob *blob, const char *key, const struct blob_source *source,
                    uint32_t flags, uint64_t deadline_ns, struct mst_err *err)
{
    struct blob_remote *remote = (struct blob_remote *)blob;
    if (!key[0])
        return mst_err_set(err, -EINVAL, "%s: a put needs a key", remote->label);
    char temp[BLOB_KEY_MAX];
    if (make_temp_key(remote, key, temp, sizeof temp) < 0)
        return mst_err_set(err, -EINVAL, "%s: key %.80s… is too long", remote->label, key);
    struct rename_call rename = {.to = key, .replace = !(flags & MST_BLOB_NEW)};
    int rc = create_temp(remote, temp, source, deadline_ns, err);
    if (rc == 0)
        rc = publish(blob, temp, source->size_bytes, &rename, deadline_ns, err);
    if (rc < 0) /* time of its own: the put's may be over. What is left is never listed */
        (void)hdfs_remove(blob, temp, mst_deadline_ms(remote->timeout_ms), NULL);
    return rc;
}

static void hdfs_close(struct mst_blob *blob)
{
    blob_remote_fini((struct blob_remote *)blob);
    free(blob);
}

static const char *user_name(const struct blob_env *env, struct passwd *entry, char *buffer,
                             size_t cap)
{
    if (env->hadoop_user)
        return env->hadoop_user;
    struct passwd *found = NULL;
    if (getpwuid_r(geteuid(), entry, buffer, cap, &found) == 0 && found)
        return entry->pw_name;
    return "muster"; /* containers run as users that have no name */
}

/* A token proves who we are; without one the cluster believes what we say. */
static int set_auth(struct hdfs_store *store, const struct mst_uri *uri, const struct blob_env *env,
                    struct mst_err *err)
{
    char value[1024];
    const char *name = "delegation";
    int rc = mst_uri_param(uri, name, value, sizeof value);
    if (rc == -ENOENT && env->hdfs_delegation)
        rc = (size_t)snprintf(value, sizeof value, "%s", env->hdfs_delegation) < sizeof value
                 ? 0
                 : -ENOSPC;
    if (rc == -ENOENT) {
        name = "user.name";
        rc = mst_uri_param(uri, name, value, sizeof value);
        if (rc == -ENOENT) {
            struct passwd entry;
            char buffer[4096];
            const char *user = user_name(env, &entry, buffer, sizeof buffer);
            rc = (size_t)snprintf(value, sizeof value, "%s", user) < sizeof value ? 0 : -ENOSPC;
        }
    }
    char escaped[2000];
    if (rc == 0 && !blob_env_is_plain(value))
        rc = -EINVAL;
    if (rc == 0)
        rc = http_escape(value, false, escaped, sizeof escaped);
    if (rc < 0)
        return mst_err_set(err, -EINVAL, "%s://%s: its %s is malformed or too long", uri->scheme,
                           uri->authority, name);
    (void)snprintf(store->auth, sizeof store->auth, "&%s=%s", name, escaped); /* fits */
    return 0;
}

static int set_nodes(struct hdfs_store *store, const struct mst_uri *uri,
                     const struct blob_env *env, struct mst_err *err)
{
    struct hadoop_nodes *nodes = &store->nodes;
    if (strcmp(uri->scheme, "hdfs") == 0) {
        if (!env->hadoop_conf)
            return mst_err_set(err, -EINVAL,
                               "hdfs://%s needs HADOOP_CONF_DIR to find the name node; or write "
                               "webhdfs://host:port/path with its HTTP address",
                               uri->authority);
        return hadoop_conf_read_nodes(env->hadoop_conf, uri->authority, nodes, err);
    }
    if (!uri->authority[0])
        return mst_err_set(err, -EINVAL, "%s:%s names no host", uri->scheme, uri->path);
    nodes->secure = strcmp(uri->scheme, "swebhdfs") == 0;
    nodes->count = 1;
    (void)snprintf(nodes->address[0], sizeof nodes->address[0], "%s", uri->authority); /* fits */
    return 0;
}

static int open_store(const struct blob_backend *backend, const struct mst_uri *uri,
                      const struct mst_blob_opts *opts, struct mst_blob **ret_blob,
                      struct mst_err *err)
{
    struct blob_env env;
    int rc = blob_env_read(&env, err);
    if (rc < 0)
        return rc;
    struct hdfs_store *store = calloc(1, sizeof *store);
    if (!store) {
        blob_env_fini(&env);
        return mst_err_set(err, -ENOMEM, "no memory for a store");
    }
    struct blob_remote *remote = &store->remote;
    remote->blob.backend = backend;
    remote->address = strcmp(uri->scheme, "hdfs") == 0
                          ? "the name node's HTTP address in HADOOP_CONF_DIR"
                          : "the name node's HTTP address in its URI";
    /* Both have room for the part of a URI that they hold. */
    (void)snprintf(remote->label, sizeof remote->label, "%s://%s", uri->scheme, uri->authority);
    (void)snprintf(remote->base, sizeof remote->base, "%s", uri->path);
    rc = set_nodes(store, uri, &env, err);
    if (rc == 0)
        rc = set_auth(store, uri, &env, err);
    if (rc == 0)
        rc = blob_remote_init(remote, opts, &read_verb, &stat_verb, env.ca_file, err);
    blob_env_fini(&env);
    /* Each name node gets a chance. */
    if (opts->fail_fast)
        remote->refused_max = (uint32_t)store->nodes.count;
    if (rc < 0) {
        hdfs_close(&remote->blob);
        return rc;
    }
    *ret_blob = &remote->blob;
    return 0;
}

static int plain_open(const struct mst_uri *uri, const struct mst_blob_opts *opts,
                      struct mst_blob **ret_blob, struct mst_err *err)
{
    return open_store(&blob_webhdfs_backend, uri, opts, ret_blob, err);
}

static int secure_open(const struct mst_uri *uri, const struct mst_blob_opts *opts,
                       struct mst_blob **ret_blob, struct mst_err *err)
{
    return open_store(&blob_swebhdfs_backend, uri, opts, ret_blob, err);
}

static int cluster_open(const struct mst_uri *uri, const struct mst_blob_opts *opts,
                        struct mst_blob **ret_blob, struct mst_err *err)
{
    return open_store(&blob_hdfs_backend, uri, opts, ret_blob, err);
}

/* A read is two requests to the name node, and one that opens the file anew at a data node. */
#define BULK_BYTES (UINT64_C(16) << 20)

#define HDFS_BACKEND(name, opener)                                                                 \
    {                                                                                              \
        .scheme = (name), .bulk_bytes = BULK_BYTES, .open = (opener), .close = hdfs_close,         \
        .stat = hdfs_stat, .stat_all = blob_remote_stat_all, .list = hdfs_list, .put = hdfs_put,   \
        .remove = hdfs_remove, .submit = blob_remote_submit, .reap = blob_remote_reap,             \
    }

const struct blob_backend blob_webhdfs_backend = HDFS_BACKEND("webhdfs", plain_open);
const struct blob_backend blob_swebhdfs_backend = HDFS_BACKEND("swebhdfs", secure_open);
const struct blob_backend blob_hdfs_backend = HDFS_BACKEND("hdfs", cluster_open);
