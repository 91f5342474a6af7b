/* s3's requests: where they go, how they are signed, and what their errors mean. */
#include "muster/core/blob/s3/s3.h"
#include "muster/core/blob/s3/sha256.h"
#include "muster/core/blob/s3/xml.h"
#include "muster/core/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What a call has already tried to put right; each is tried once. */
enum { CURED_REGION = 1, CURED_CLOCK = 2, CURED_CRED = 4 };

#define REFRESH_S 300        /* temporary credentials are renewed so long before they end */
#define RENEW_PAUSE_MS 10000 /* between tries that fail */

/* The host that answers for the bucket, and the bucket's part of the path. A certificate for
 * *.s3.… does not hold for a bucket with dots, and other servers have no names for buckets. */
static bool is_virtual(const struct s3_store *store)
{
    return store->aws && !strchr(store->bucket, '.');
}

static int make_place(const struct s3_store *store, const struct blob_call *call,
                      const struct s3_ask *ask, char host[640], char *path, size_t cap)
{
    bool virtual = is_virtual(store);
    /* A bucket and a host fit. */
    (void)snprintf(host, 640, "%s%s%s", virtual ? store->bucket : "", virtual ? "." : "",
                   store->host);
    char object[BLOB_ESCAPED_MAX];
    int rc = blob_remote_path(&store->remote, call->key, object, sizeof object);
    int length = snprintf(path, cap, "%s%s%s", virtual ? "" : "/", virtual ? "" : store->bucket,
                          ask->bucket && !virtual ? ""
                          : ask->bucket           ? "/"
                                                  : object);
    return rc < 0 || (size_t)length >= cap ? -ENOSPC : 0;
}

static int hash_body(const struct s3_store *store, const struct blob_call *call,
                     const struct s3_ask *ask, char ret_hash[SHA256_HEX_BYTES])
{
    bool has_body = !ask->text && call->body && call->body_bytes > 0;
    if (store->secure && has_body) {
        (void)snprintf(ret_hash, SHA256_HEX_BYTES, "%s", SIGV4_UNSIGNED); /* fits */
        return 0;
    }
    uint8_t sum[SHA256_BYTES];
    int rc = 0;
    if (has_body && !call->body->data)
        rc = sha256_file(call->body->fd, call->body_offset, call->body_bytes, sum);
    else if (has_body)
        sha256((const char *)call->body->data + call->body_offset, (size_t)call->body_bytes, sum);
    else
        sha256(ask->text ? ask->text : "", ask->text_bytes, sum);
    sha256_hex(sum, ret_hash);
    return rc;
}

static void make_date(const struct s3_store *store, char ret_date[SIGV4_DATE_BYTES])
{
    time_t now = time(NULL) + store->skew_s;
    struct tm tm;
    (void)strftime(ret_date, SIGV4_DATE_BYTES, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm)); /* fits */
}

static int add_headers(struct http_request *request, const struct sigv4_pair *headers, size_t count,
                       const char *authorization)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = http_request_header(request, "%s: %s", headers[i].name, headers[i].value);
    return rc == 0 ? http_request_header(request, "Authorization: %s", authorization) : rc;
}

static const char *const method_names[] = {
    [HTTP_GET] = "GET",   [HTTP_HEAD] = "HEAD",     [HTTP_PUT] = "PUT",
    [HTTP_POST] = "POST", [HTTP_DELETE] = "DELETE",
};

static int sign(const struct s3_store *store, struct http_request *request, const char *host,
                const char *path, const char *query, const char *hash)
{
    char date[SIGV4_DATE_BYTES], authorization[512];
    make_date(store, date);
    const struct sigv4_pair headers[] = {{"host", host},
                                         {"x-amz-content-sha256", hash},
                                         {"x-amz-date", date},
                                         {"x-amz-security-token", store->cred.token}};
    size_t count = store->cred.token[0] ? 4 : 3;
    const struct sigv4_scope scope = {.access_key = store->cred.access_key,
                                      .secret_key = store->cred.secret_key,
                                      .region = store->region,
                                      .service = "s3",
                                      .date = date};
    const struct sigv4_request signed_request = {.method = method_names[request->method],
                                                 .path = path,
                                                 .query = query,
                                                 .headers = headers,
                                                 .header_count = count,
                                                 .payload_hash = hash};
    int rc = sigv4_sign(&scope, &signed_request, authorization, sizeof authorization);
    return rc < 0 ? rc : add_headers(request, headers, count, authorization);
}

static void set_body(struct http_request *request, const struct blob_call *call,
                     const struct s3_ask *ask)
{
    if (ask->text) {
        request->body = ask->text;
        request->body_bytes = ask->text_bytes;
    } else if (call->body) {
        request->body = call->body->data;
        request->body_fd = call->body->fd;
        request->body_offset = call->body_offset;
        request->body_bytes = call->body_bytes;
    }
}

/* Credentials that end soon are renewed; while that fails the old ones serve to their end. A try
 * blocks, so a service that is away is not asked before every request. */
static void renew_cred(struct s3_store *store)
{
    if (store->cred.expires_s == 0 || time(NULL) + REFRESH_S < store->cred.expires_s ||
        !mst_deadline_passed(store->renew_not_before_ns))
        return;
    if (cred_find(&store->env, store->region, &store->cred, NULL) < 0)
        store->renew_not_before_ns = mst_deadline_ms(RENEW_PAUSE_MS);
}

int s3_prepare(struct s3_store *store, struct blob_call *call, const struct s3_ask *ask)
{
    struct http_request *request = &call->request;
    char host[640], path[BLOB_ESCAPED_MAX + 264], query[8192], hash[SHA256_HEX_BYTES];
    if (!ask->bucket && !call->key[0] && strcmp(store->remote.base, "/") == 0)
        return blob_call_fail(&store->remote, call, -ENOENT, "a bucket, not an object");
    renew_cred(store);
    request->method = ask->method;
    int rc = make_place(store, call, ask, host, path, sizeof path);
    if (rc == 0)
        rc = sigv4_query(ask->query, ask->query_count, query, sizeof query);
    if (rc == 0)
        rc = hash_body(store, call, ask, hash);
    set_body(request, call, ask);
    if (rc == 0)
        rc = sign(store, request, host, path, query, hash);
    if (rc == 0)
        rc = http_request_url(request, "%s://%s%s%s%s", store->secure ? "https" : "http", host,
                              path, query[0] ? "?" : "", query);
    if (rc < 0)
        return blob_call_fail(&store->remote, call, rc, "no request can be made: %s",
                              rc == -ENOSPC ? "its name is too long" : mst_err_meaning(rc));
    return 0;
}

/* Another region is right, and says so: signs for that one from now on. */
static int cure_region(struct s3_store *store, struct blob_call *call, const char *region)
{
    if (!region[0] || strcmp(region, store->region) == 0 || call->cures & CURED_REGION)
        return 0;
    call->cures |= CURED_REGION;
    (void)snprintf(store->region, sizeof store->region, "%s", region); /* fits, as does the host */
    if (store->aws)
        (void)snprintf(store->host, sizeof store->host, "s3.%s.amazonaws.com", region);
    return BLOB_AGAIN;
}

static int cure_clock(struct s3_store *store, struct blob_call *call, int64_t date_s)
{
    if (date_s <= 0 || call->cures & CURED_CLOCK)
        return 0;
    call->cures |= CURED_CLOCK;
    store->skew_s = date_s - time(NULL);
    return BLOB_AGAIN;
}

static int cure_cred(struct s3_store *store, struct blob_call *call)
{
    if (store->cred.expires_s == 0 || call->cures & CURED_CRED)
        return 0;
    call->cures |= CURED_CRED;
    return cred_find(&store->env, store->region, &store->cred, NULL) == 0 ? BLOB_AGAIN : 0;
}

static int cure(struct s3_store *store, struct blob_call *call, const struct http_answer *answer,
                const struct s3_error *error)
{
    int rc = 0;
    if (answer->status == 301 || answer->status == 307 || answer->status == 400)
        rc = cure_region(store, call, error->region[0] ? error->region : answer->region);
    if (rc == 0 && strcmp(error->code, "RequestTimeTooSkewed") == 0)
        rc = cure_clock(store, call, answer->date_s);
    if (rc == 0 && (strcmp(error->code, "ExpiredToken") == 0 ||
                    strcmp(error->code, "TokenRefreshRequired") == 0))
        rc = cure_cred(store, call);
    return rc;
}

static bool is_one_of(const char *code, const char *const *codes)
{
    for (; *codes; codes++)
        if (strcmp(code, *codes) == 0)
            return true;
    return false;
}

/* Servers agree on these words more than on the statuses that come with them. */
static int fail_error(const struct s3_store *store, struct blob_call *call,
                      const struct http_answer *answer, const struct s3_error *error)
{
    static const char *const denied[] = {
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied",      "XAdminUserNotFound",
        "InvalidToken",       "ExpiredToken",          "AllAccessDisabled", NULL};
    static const char *const passing[] = {"RequestTimeout",   "ConditionalRequestConflict",
                                          "OperationAborted", "SlowDown",
                                          "InternalError",    NULL};
    const struct blob_remote *remote = &store->remote;
    if (is_one_of(error->code, passing)) {
        blob_call_fail(remote, call, -EIO, "%s: %s", error->code, error->message);
        return BLOB_RETRY;
    }
    if (is_one_of(error->code, denied) || answer->status == 401 || answer->status == 403)
        return blob_call_fail(remote, call, -EACCES, "%s (access key %.8s… of %s): %s", error->code,
                              store->cred.access_key, store->cred.source, error->message);
    if (strcmp(error->code, "NoSuchBucket") == 0)
        return blob_call_fail(remote, call, -ENOENT, "%s has no bucket %s", store->host,
                              store->bucket);
    if (strcmp(error->code, "AuthorizationHeaderMalformed") == 0)
        return blob_call_fail(remote, call, -EACCES, "wrong region %s: %s", store->region,
                              error->message);
    if (answer->status / 100 == 2)
        return blob_call_fail(remote, call, -EBADMSG, "%s: %s", error->code, error->message);
    return blob_judge(remote, call, answer, error->code);
}

int s3_judge(struct s3_store *store, struct blob_call *call, const struct http_answer *answer,
             bool text_is_error)
{
    if (answer->rc < 0 || (answer->status / 100 == 2 && !text_is_error))
        return blob_judge(&store->remote, call, answer, NULL);
    struct s3_error error = {0};
    bool is_error = s3_xml_error(answer->text, answer->text_bytes, &error) == 0;
    if (answer->status / 100 == 2 && !is_error)
        return 0;
    int rc = cure(store, call, answer, &error);
    if (rc != 0)
        return rc;
    return is_error ? fail_error(store, call, answer, &error)
                    : blob_judge(&store->remote, call, answer, NULL);
}
