/* s3's put: one request, or, above 64 MiB, an upload of parts, several at a time. */
#include "muster/core/blob/s3/s3.h"
#include "muster/core/blob/s3/xml.h"
#include "muster/core/clock.h"
#include "muster/core/least.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_BYTES_MAX (UINT64_C(64) << 20)
#define PART_BYTES (UINT64_C(16) << 20)
#define PARTS_MAX 10000
#define PART_XML_BYTES 160 /* of one part in the list that ends an upload */

struct part {
    struct blob_call call;
    uint32_t number; /* from 1; 0: idle */
};

struct upload {
    struct blob_remote *remote;
    const char *key;
    const struct blob_source *source;
    uint64_t deadline_ns;
    bool only_new;
    uint64_t part_bytes;
    uint32_t part_count;
    char id[1024];
    char (*etags)[80];  /* part_count of them */
    struct part *parts; /* remote->depth of them */
    char *list;         /* the XML that ends it */
};

static struct s3_store *store_of(struct blob_remote *remote)
{
    return (struct s3_store *)remote;
}

static int judge_new(struct blob_remote *remote, struct blob_call *call)
{
    return blob_call_fail(remote, call, -EEXIST, "exists already");
}

/* The ETag of an object that was put in one request: its MD5, unless the server encrypts. */
static bool has_etag_of(const struct mst_blob_info *info, const struct blob_source *source)
{
    uint8_t sum[16];
    char etag[2 * sizeof sum + 3] = "\"";
    if (!source->data ||
        !EVP_Digest(source->data, (size_t)source->size_bytes, sum, NULL, EVP_md5(), NULL))
        return false;
    for (size_t i = 0; i < sizeof sum; i++)
        (void)snprintf(etag + 1 + 2 * i, sizeof etag - 1 - 2 * i, "%02x\"", sum[i]); /* fits */
    return strcmp(info->version, etag) == 0;
}

/* Whether an earlier try of this put, whose answer was lost, has made the object: to the next try
 * it looks like somebody else's, or like an upload that is unknown. */
static bool is_ours(struct blob_remote *remote, const struct blob_call *call, int rc,
                    const struct blob_source *source, uint64_t deadline_ns)
{
    struct mst_blob_info info;
    if (call->failures == 0 || (rc != -EEXIST && rc != -ENOENT) ||
        remote->blob.backend->stat(&remote->blob, call->key, &info, deadline_ns, NULL) < 0)
        return false;
    return info.size_bytes == source->size_bytes && (rc == -ENOENT || has_etag_of(&info, source));
}

static int add_condition(struct blob_remote *remote, struct blob_call *call, bool only_new)
{
    if (!only_new || http_request_header(&call->request, "If-None-Match: *") == 0)
        return 0;
    return blob_call_fail(remote, call, -ENOMEM, "no memory for a request");
}

static int prepare_single(struct blob_remote *remote, struct blob_call *call)
{
    const uint32_t *flags = call->arg;
    const struct s3_ask ask = {.method = HTTP_PUT};
    int rc = s3_prepare(store_of(remote), call, &ask);
    return rc < 0 ? rc : add_condition(remote, call, *flags & MST_BLOB_NEW);
}

static int judge_single(struct blob_remote *remote, struct blob_call *call,
                        const struct http_answer *answer)
{
    if (answer->rc == 0 && answer->status == 412)
        return judge_new(remote, call);
    return s3_judge(store_of(remote), call, answer, false);
}

static const struct blob_verb single_verb = {.prepare = prepare_single, .judge = judge_single};

static int prepare_create(struct blob_remote *remote, struct blob_call *call)
{
    struct sigv4_pair query[] = {{"uploads", ""}};
    const struct s3_ask ask = {.method = HTTP_POST, .query = query, .query_count = 1};
    return s3_prepare(store_of(remote), call, &ask);
}

static int judge_create(struct blob_remote *remote, struct blob_call *call,
                        const struct http_answer *answer)
{
    struct upload *upload = call->arg;
    int rc = s3_judge(store_of(remote), call, answer, false);
    if (rc != 0)
        return rc;
    rc = s3_xml_upload_id(answer->text, answer->text_bytes, upload->id, sizeof upload->id);
    return rc < 0 ? blob_call_fail(remote, call, -EBADMSG, "the server begins no upload") : 0;
}

static const struct blob_verb create_verb = {.prepare = prepare_create, .judge = judge_create};

static int prepare_part(struct blob_remote *remote, struct blob_call *call)
{
    const struct upload *upload = call->arg;
    const struct part *part = (const struct part *)call;
    char number[16];
    (void)snprintf(number, sizeof number, "%u", part->number); /* fits */
    struct sigv4_pair query[] = {{"partNumber", number}, {"uploadId", upload->id}};
    const struct s3_ask ask = {.method = HTTP_PUT, .query = query, .query_count = 2};
    return s3_prepare(store_of(remote), call, &ask);
}

static int judge_part(struct blob_remote *remote, struct blob_call *call,
                      const struct http_answer *answer)
{
    struct upload *upload = call->arg;
    const struct part *part = (const struct part *)call;
    int rc = s3_judge(store_of(remote), call, answer, false);
    if (rc == 0 && !answer->etag[0])
        rc = blob_call_fail(remote, call, -EBADMSG, "the server took part %u and gave it no ETag",
                            part->number);
    if (rc == 0)
        memcpy(upload->etags[part->number - 1], answer->etag, sizeof answer->etag);
    return rc;
}

static const struct blob_verb part_verb = {.prepare = prepare_part, .judge = judge_part};

static int prepare_complete(struct blob_remote *remote, struct blob_call *call)
{
    const struct upload *upload = call->arg;
    struct sigv4_pair query[] = {{"uploadId", upload->id}};
    const struct s3_ask ask = {.method = HTTP_POST,
                               .query = query,
                               .query_count = 1,
                               .text = upload->list,
                               .text_bytes = strlen(upload->list)};
    int rc = s3_prepare(store_of(remote), call, &ask);
    call->request.patient = true; /* the parts are put together first */
    return rc < 0 ? rc : add_condition(remote, call, upload->only_new);
}

static int judge_complete(struct blob_remote *remote, struct blob_call *call,
                          const struct http_answer *answer)
{
    if (answer->rc == 0 && answer->status == 412)
        return judge_new(remote, call);
    return s3_judge(store_of(remote), call, answer, true);
}

static const struct blob_verb complete_verb = {.prepare = prepare_complete,
                                               .judge = judge_complete};

static int prepare_abort(struct blob_remote *remote, struct blob_call *call)
{
    const struct upload *upload = call->arg;
    struct sigv4_pair query[] = {{"uploadId", upload->id}};
    const struct s3_ask ask = {.method = HTTP_DELETE, .query = query, .query_count = 1};
    return s3_prepare(store_of(remote), call, &ask);
}

static int judge_abort(struct blob_remote *remote, struct blob_call *call,
                       const struct http_answer *answer)
{
    return s3_judge(store_of(remote), call, answer, false);
}

static const struct blob_verb abort_verb = {.prepare = prepare_abort, .judge = judge_abort};

static int do_step(struct upload *upload, const struct blob_verb *verb, uint64_t deadline_ns,
                   struct mst_err *err)
{
    struct blob_call call = {.verb = verb, .key = upload->key, .arg = upload};
    return blob_call_do(upload->remote, &call, deadline_ns, err);
}

static int complete(struct upload *upload, struct mst_err *err)
{
    struct blob_call call = {.verb = &complete_verb, .key = upload->key, .arg = upload};
    int rc = blob_call_do(upload->remote, &call, upload->deadline_ns, err);
    return is_ours(upload->remote, &call, rc, upload->source, upload->deadline_ns) ? 0 : rc;
}

static void start_part(struct upload *upload, struct part *part, uint32_t number)
{
    uint64_t offset = (number - 1) * upload->part_bytes;
    *part = (struct part){
        .number = number,
        .call = {.verb = &part_verb,
                 .key = upload->key,
                 .arg = upload,
                 .body = upload->source,
                 .body_offset = offset,
                 .body_bytes = mst_least(upload->source->size_bytes - offset, upload->part_bytes)},
    };
    blob_call_start(upload->remote, &part->call, upload->deadline_ns);
}

/* Frees the slots of parts that ended; keeps the first error. How many are still on their way. */
static uint32_t settle_parts(struct upload *upload, int *rc, struct mst_err *err)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < upload->remote->depth; i++) {
        struct part *part = &upload->parts[i];
        if (part->number == 0)
            continue;
        if (part->call.state != CALL_ENDED) {
            busy++;
            continue;
        }
        if (part->call.result < 0 && *rc == 0)
            *rc = mst_err_set(err, (int)part->call.result, "%s", part->call.err.text);
        part->number = 0;
    }
    return busy;
}

static void cancel_parts(struct upload *upload)
{
    for (uint32_t i = 0; i < upload->remote->depth; i++)
        if (upload->parts[i].number > 0)
            blob_call_cancel(upload->remote, &upload->parts[i].call);
}

static int send_parts(struct upload *upload, struct mst_err *err)
{
    uint32_t next = 1, busy = 0;
    int rc = 0;
    while (rc == 0 && (busy > 0 || next <= upload->part_count)) {
        for (uint32_t i = 0; i < upload->remote->depth && next <= upload->part_count; i++)
            if (upload->parts[i].number == 0)
                start_part(upload, &upload->parts[i], next++);
        rc = blob_remote_step(upload->remote, MST_NEVER);
        if (rc < 0)
            mst_err_set(err, rc, "%s: the HTTP client failed", upload->remote->label);
        busy = settle_parts(upload, &rc, err);
    }
    cancel_parts(upload);
    return rc;
}

static int make_list(struct upload *upload)
{
    size_t cap = (size_t)upload->part_count * PART_XML_BYTES + 128, used = 0;
    upload->list = malloc(cap);
    if (!upload->list)
        return -ENOMEM;
    used += (size_t)snprintf(upload->list, cap, "<CompleteMultipartUpload>");
    for (uint32_t i = 0; i < upload->part_count; i++)
        used += (size_t)snprintf(upload->list + used, cap - used,
                                 "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", i + 1,
                                 upload->etags[i]);
    /* There is room: PART_XML_BYTES for each part, and for this. */
    (void)snprintf(upload->list + used, cap - used, "</CompleteMultipartUpload>");
    return 0;
}

static int make_upload(struct upload *upload)
{
    uint64_t size = upload->source->size_bytes;
    upload->part_bytes = PART_BYTES;
    while (size / upload->part_bytes >= PARTS_MAX)
        upload->part_bytes *= 2;
    upload->part_count = (uint32_t)((size + upload->part_bytes - 1) / upload->part_bytes);
    upload->etags = calloc(upload->part_count, sizeof *upload->etags);
    upload->parts = calloc(upload->remote->depth, sizeof *upload->parts);
    return upload->etags && upload->parts ? 0 : -ENOMEM;
}

/* Parts of an upload that nobody ends are kept, and billed, for ever. */
static void abort_upload(struct upload *upload)
{
    /* The upload's own failure is the one to tell. */
    (void)do_step(upload, &abort_verb, mst_deadline_ms(upload->remote->timeout_ms), NULL);
}

static int put_parts(struct upload *upload, struct mst_err *err)
{
    int rc = do_step(upload, &create_verb, upload->deadline_ns, err);
    if (rc < 0)
        return rc;
    rc = send_parts(upload, err);
    if (rc == 0 && make_list(upload) < 0)
        rc = mst_err_set(err, -ENOMEM, "no memory to list %u parts", upload->part_count);
    if (rc == 0)
        rc = complete(upload, err);
    if (rc < 0)
        abort_upload(upload);
    return rc;
}

static int put_large(struct upload *upload, struct mst_err *err)
{
    int rc = make_upload(upload) < 0 ? mst_err_set(err, -ENOMEM, "no memory for an upload") : 0;
    if (rc == 0)
        rc = put_parts(upload, err);
    free(upload->etags);
    free(upload->parts);
    free(upload->list);
    return rc;
}

int s3_put(struct mst_blob *blob, const char *key, const struct blob_source *source, uint32_t flags,
           uint64_t deadline_ns, struct mst_err *err)
{
    struct blob_remote *remote = (struct blob_remote *)blob;
    if (source->size_bytes > SINGLE_BYTES_MAX) {
        struct upload upload = {.remote = remote,
                                .key = key,
                                .source = source,
                                .deadline_ns = deadline_ns,
                                .only_new = flags & MST_BLOB_NEW};
        return put_large(&upload, err);
    }
    struct blob_call call = {.verb = &single_verb,
                             .key = key,
                             .arg = &flags,
                             .body = source,
                             .body_bytes = source->size_bytes};
    int rc = blob_call_do(remote, &call, deadline_ns, err);
    return is_ours(remote, &call, rc, source, deadline_ns) ? 0 : rc;
}
