/* What the parts of the s3 back end share: the store, and requests to it that are signed and whose
 * errors are understood. */
#ifndef MUSTER_CORE_BLOB_S3_S3_H
#define MUSTER_CORE_BLOB_S3_S3_H

#include "muster/core/blob/env.h"
#include "muster/core/blob/http/remote.h"
#include "muster/core/blob/s3/cred.h"
#include "muster/core/blob/s3/sigv4.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct s3_store {
    struct blob_remote remote;
    struct blob_env env;
    struct cred cred;
    uint64_t renew_not_before_ns; /* the last try to renew them failed */
    char bucket[256];
    char region[48];
    bool secure;    /* TLS guards bodies: their hash is not signed */
    bool aws;       /* the endpoint is AWS's own, and follows the region */
    char host[320]; /* of the endpoint, as the Host header has it */
    int64_t skew_s; /* the server's clock is ahead of ours by this */
};

/* What a request asks for, beside its body, which is in the call. */
struct s3_ask {
    enum http_method method;
    bool bucket; /* of the bucket, not of an object in it */
    struct sigv4_pair *query;
    size_t query_count;
    const void *text; /* a body in memory, instead of the call's */
    size_t text_bytes;
};

/* Fills call->request, signed. 0, or -errno with the text in call->err. */
int s3_prepare(struct s3_store *store, struct blob_call *call, const struct s3_ask *ask);

/* As blob_judge, and puts right once each what can be: a region, a clock, expired credentials.
 * A 200 may carry an error too (CompleteMultipartUpload): `text_is_error` says to look. */
int s3_judge(struct s3_store *store, struct blob_call *call, const struct http_answer *answer,
             bool text_is_error);

/* The slot `put`. */
int s3_put(struct mst_blob *blob, const char *key, const struct blob_source *source, uint32_t flags,
           uint64_t deadline_ns, struct mst_err *err);

#endif
