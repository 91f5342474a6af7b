#include "muster/core/blob/http/object.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int blob_object_ask_read(struct blob_remote *remote, struct blob_call *call)
{
    struct http_request *request = &call->request;
    const char *version = call->read.version;
    request->range_offset = call->read.offset;
    request->range_bytes = call->read.size_bytes;
    request->data = call->read.data;
    request->data_bytes = call->read.size_bytes;
    /* A weak ETag, or what stands in for one, cannot be a condition; it is compared afterwards. */
    if (version && version[0] == '"' && http_request_header(request, "If-Match: %s", version) < 0)
        return blob_call_fail(remote, call, -ENOMEM, "no memory for a request");
    return 0;
}

static_assert(HTTP_TOTAL_UNKNOWN == UINT64_MAX, "as a length that is not known");

static uint64_t size_of(const struct http_answer *answer)
{
    return answer->has_range ? answer->range.total : answer->length_bytes;
}

/* An object's version: its ETag or, failing that, its length and time; "" if neither is known. */
static void version_of(const struct http_answer *answer, char ret_version[80])
{
    uint64_t size_bytes = size_of(answer);
    if (answer->etag[0])
        (void)snprintf(ret_version, 80, "%.79s", answer->etag); /* fits, as does the other */
    else if (answer->modified[0] && size_bytes != UINT64_MAX)
        (void)snprintf(ret_version, 80, "%llu-%.47s", (unsigned long long)size_bytes,
                       answer->modified);
    else
        ret_version[0] = '\0';
}

int blob_object_judge_read(struct blob_remote *remote, struct blob_call *call,
                           const struct http_answer *answer, blob_judge_fn judge)
{
    const char *wanted = call->read.version;
    if (answer->rc == 0 && answer->status == 416)
        return 0; /* the range begins behind the end */
    if (answer->rc == 0 && answer->status == 412)
        return blob_call_fail(remote, call, -ESTALE, "is no longer version %.80s", wanted);
    int rc = judge(remote, call, answer);
    if (rc != 0)
        return rc;
    char version[80];
    version_of(answer, version);
    if (wanted && wanted[0] && version[0] && strcmp(version, wanted) != 0)
        return blob_call_fail(remote, call, -ESTALE, "is version %.80s now and was %.80s", version,
                              wanted);
    uint64_t was_bytes = call->read.object_bytes, size_bytes = size_of(answer);
    if (was_bytes && size_bytes != UINT64_MAX && size_bytes != was_bytes)
        return blob_call_fail(remote, call, -ESTALE, "has %" PRIu64 " bytes now and had %" PRIu64,
                              size_bytes, was_bytes);
    call->result = (int64_t)answer->data_bytes;
    return 0;
}

enum http_method blob_object_ask_stat(struct blob_call *call)
{
    struct blob_stat *stat = call->arg;
    if (call->step == BLOB_STAT_HEAD)
        return HTTP_HEAD;
    call->request.range_bytes = 1;
    call->request.data = &stat->byte;
    call->request.data_bytes = 1;
    return HTTP_GET;
}

int blob_object_take_stat(struct blob_remote *remote, struct blob_call *call,
                          const struct http_answer *answer)
{
    struct blob_stat *stat = call->arg;
    stat->info.size_bytes = size_of(answer);
    if (stat->info.size_bytes == UINT64_MAX)
        return blob_call_fail(remote, call, -ENOTSUP, "the server does not tell its size");
    version_of(answer, stat->info.version);
    return 0;
}

int blob_object_stat(struct mst_blob *blob, const struct blob_verb *verb, const char *key,
                     struct mst_blob_info *ret_info, uint64_t deadline_ns, struct mst_err *err)
{
    struct blob_stat stat = {0};
    struct blob_call call = {.verb = verb, .key = key, .arg = &stat};
    int rc = blob_call_do((struct blob_remote *)blob, &call, deadline_ns, err);
    if (rc == 0)
        *ret_info = stat.info;
    return rc;
}
