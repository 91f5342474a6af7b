/* sigv4: the signature of a request to AWS and to what speaks like it.
 * libcurl's own signs neither an unsorted query nor the hash of the payload, which some servers
 * demand. Source: AWS Signature Version 4, "Authenticating Requests", S3 API reference. */
/* pure */
#ifndef MUSTER_CORE_BLOB_S3_SIGV4_H
#define MUSTER_CORE_BLOB_S3_SIGV4_H

#include <stdbool.h>
#include <stddef.h>

#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD" /* payload_hash where TLS guards the body */
#define SIGV4_DATE_BYTES 17               /* "20130524T000000Z" */
#define SIGV4_PAIRS_MAX 16

struct sigv4_pair {
    const char *name, *value;
};

struct sigv4_scope {
    const char *access_key, *secret_key;
    const char *region, *service;
    const char *date; /* UTC, "20130524T000000Z" */
};

struct sigv4_request {
    const char *method;
    const char *path;  /* as sent: escaped, absolute */
    const char *query; /* as sent: of sigv4_query */
    const struct sigv4_pair
        *headers; /* what is signed: lower-case names, sorted; host among them */
    size_t header_count;
    const char *payload_hash; /* hexadecimal, or SIGV4_UNSIGNED */
};

/* Writes the value of the Authorization header. 0; -ENOSPC when the request or the value is too
 * long. */
int sigv4_sign(const struct sigv4_scope *scope, const struct sigv4_request *request,
               char *ret_value, size_t cap);

/* Writes "name=value&…", escaped and sorted as the signature wants it. Sorts `pairs`, at most
 * SIGV4_PAIRS_MAX. 0; -ENOSPC. */
int sigv4_query(struct sigv4_pair *pairs, size_t count, char *ret_text, size_t cap);

#endif
