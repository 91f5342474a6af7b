/* http: requests in flight, many at a time, over libcurl.
 *
 *   http_create → http_start(request)… → http_step → http_next(answer)… → http_destroy
 *
 * A request is one exchange: no retries (blob_remote does them) and no redirects unless `follow`
 * says how many. Bytes that were asked for land in the caller's memory; other bodies, which are
 * small, are kept as text. HTTP/1.1 only: many connections carry bulk better than one window.
 * One thread at a time. */
#ifndef MUSTER_CORE_BLOB_HTTP_HTTP_H
#define MUSTER_CORE_BLOB_HTTP_HTTP_H

#include "muster/core/blob/http/range.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct curl_slist;
struct http;
struct mst_err;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_PUT, HTTP_POST, HTTP_DELETE };

struct http_opts {
    uint32_t depth;      /* requests in flight; >= 1 */
    const char *ca_file; /* certificates to trust instead of the system's, or NULL */
    bool direct;         /* no proxy, whatever http_proxy says */
};

struct http_request {
    enum http_method method;
    char *url;                  /* by http_request_url */
    struct curl_slist *headers; /* by http_request_header */
    uint32_t follow;            /* redirects to follow */
    bool patient;               /* the server may be silent for long before it answers */

    uint64_t range_offset, range_bytes; /* asked for by a Range header, if range_bytes > 0 */
    void *data;                         /* where the body of a 2xx goes; NULL: it is a text */
    size_t data_bytes;

    const void *body; /* of PUT and POST; NULL: read from body_fd */
    int body_fd;
    uint64_t body_offset, body_bytes;

    uint64_t deadline_ns;
    uint32_t connect_ms; /* of it, for the connection; 0 = 10 s */
    void *user;
};

struct http_answer {
    int rc;                /* 0: a whole answer came; or the -errno that kept it away */
    const char *why;       /* what it means, in libcurl's words */
    bool connected;        /* somebody took the connection */
    int status;            /* 0 if not even that came */
    size_t data_bytes;     /* now in the request's data */
    char *text;            /* any other body, terminated; "" if none */
    size_t text_bytes;     /* at most HTTP_TEXT_MAX; of errors the beginning */
    uint64_t length_bytes; /* Content-Length; UINT64_MAX if it was not said */
    bool has_range;
    struct http_range range;
    char etag[80], modified[48], region[48], request_id[64];
    char location[4096];
    uint64_t retry_after_ns;
    int64_t date_s; /* the server's clock, Unix; 0 if it was not said */
};

#define HTTP_TEXT_MAX (UINT64_C(64) << 20)
#define HTTP_ERROR_TEXT_MAX (UINT64_C(16) << 10)

/* 0; -EMFILE, -ENFILE; -ENOMEM. */
int http_create(const struct http_opts *opts, struct http **ret_http, struct mst_err *err);

/* Breaks off what is in flight. NULL is allowed. */
void http_destroy(struct http *http);

/* Makes the request empty but for `method`; what it held must have been freed. */
void http_request_init(struct http_request *request, enum http_method method);
void http_request_fini(struct http_request *request);

/* Replaces the URL; adds a header "Name: value". 0; -ENOMEM. */
int http_request_url(struct http_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int http_request_header(struct http_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Starts a request; it is borrowed until http_next hands it back. 0; -EAGAIN `depth` are in flight;
 * -ENOMEM. */
int http_start(struct http *http, struct http_request *request);

/* Breaks off a request that is in flight; it is not borrowed any more. */
void http_cancel(struct http *http, const struct http_request *request);

/* Moves bytes. Unless a request has ended, waits for something to happen until `until_ns`. */
int http_step(struct http *http, uint64_t until_ns);

/* The next request that ended and its answer, which stays until the next call of any of these;
 * NULL: none. */
struct http_request *http_next(struct http *http, const struct http_answer **ret_answer);

#endif
