#include "muster/core/blob/http/http.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/least.h"
#include "muster/core/version.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 10000L
/* A transfer that is slower than this for so long has died on the other side. */
#define STALL_BYTES_PER_S 1024L
#define STALL_S 15L
#define BUFFER_BYTES (256L << 10) /* what is copied out of it should still be in a cache */
#define SEND_BUFFER_BYTES (512L << 10)
#define EVENTS_MAX 32

/* One easy handle, used again and again so that its connections and buffers are. */
struct transfer {
    CURL *easy;
    struct http_request *request; /* NULL: free */
    struct http_answer answer;
    size_t text_cap;
    uint64_t body_at;    /* bytes of the request's body that were sent */
    uint64_t skip_bytes; /* of a whole object that came where a range was asked for */
    bool enough;         /* ended by us: all that was asked for is here */
    int fault;           /* ended by us: 0 or -errno */
    const char *reason;  /* and why: libcurl would tell of its own way to end */
    char why[CURL_ERROR_SIZE];
    struct transfer *next; /* in the list of those that ended */
};

struct http {
    CURLM *multi;
    int epoll;         /* has the sockets of the transfers; -1: half built */
    uint64_t timer_ns; /* when libcurl wants to be called without any of them */
    char *ca_file;
    bool direct;
    size_t count;
    struct transfer *transfers;
    struct transfer *ended;
    struct transfer *handed; /* what http_next gave out last; free from the next call on */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* fails only as curl_multi_init then does */
}

void http_request_init(struct http_request *request, enum http_method method)
{
    *request = (struct http_request){.method = method, .body_fd = -1};
}

void http_request_fini(struct http_request *request)
{
    free(request->url);
    curl_slist_free_all(request->headers);
    request->url = NULL;
    request->headers = NULL;
}

int http_request_url(struct http_request *request, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *url;
    int length = vasprintf(&url, format, args);
    va_end(args);
    if (length < 0)
        return -ENOMEM;
    free(request->url);
    request->url = url;
    return 0;
}

int http_request_header(struct http_request *request, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *header;
    int length = vasprintf(&header, format, args);
    va_end(args);
    if (length < 0)
        return -ENOMEM;
    struct curl_slist *headers = curl_slist_append(request->headers, header);
    free(header);
    if (!headers)
        return -ENOMEM;
    request->headers = headers;
    return 0;
}

static void copy_value(char *field, size_t cap, const char *value)
{
    /* A cut version or address would be a wrong one. */
    if ((size_t)snprintf(field, cap, "%s", value) >= cap)
        field[0] = '\0';
}

static void note_retry_after(struct http_answer *answer, const char *value)
{
    char *end;
    unsigned long seconds = strtoul(value, &end, 10);
    if (end != value && *end == '\0' && seconds < UINT32_MAX)
        answer->retry_after_ns = seconds * MST_NS_PER_S;
}

static void note_header(struct http_answer *answer, const char *name, const char *value)
{
    if (strcasecmp(name, "content-length") == 0)
        answer->length_bytes = strtoull(value, NULL, 10);
    else if (strcasecmp(name, "content-range") == 0)
        answer->has_range = http_range_parse(value, &answer->range) == 0;
    else if (strcasecmp(name, "etag") == 0)
        copy_value(answer->etag, sizeof answer->etag, value);
    else if (strcasecmp(name, "last-modified") == 0)
        copy_value(answer->modified, sizeof answer->modified, value);
    else if (strcasecmp(name, "location") == 0)
        copy_value(answer->location, sizeof answer->location, value);
    else if (strcasecmp(name, "x-amz-bucket-region") == 0)
        copy_value(answer->region, sizeof answer->region, value);
    else if (strcasecmp(name, "x-amz-request-id") == 0)
        copy_value(answer->request_id, sizeof answer->request_id, value);
    else if (strcasecmp(name, "retry-after") == 0)
        note_retry_after(answer, value);
    else if (strcasecmp(name, "date") == 0)
        answer->date_s = curl_getdate(value, NULL);
}

/* Forgets an answer, but keeps the memory of its text. */
static void reset_answer(struct http_answer *answer)
{
    char *text = answer->text;
    *answer = (struct http_answer){.text = text, .why = "", .length_bytes = UINT64_MAX};
    text[0] = '\0';
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t length = size * count, used = length;
    if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
        reset_answer(&transfer->answer); /* the one before was a 100 or a redirect */
    while (used > 0 && strchr(" \t\r\n", line[used - 1]))
        used--;
    char *colon = memchr(line, ':', used);
    char copy[sizeof transfer->answer.location + 64];
    if (!colon || used >= sizeof copy)
        return length;
    memcpy(copy, line, used);
    copy[used] = '\0';
    char *value = copy + (colon - line);
    *value++ = '\0';
    note_header(&transfer->answer, copy, value + strspn(value, " \t"));
    return length;
}

/* Whether a partial answer is the range asked for, cut at most by the end of the object. */
static bool is_asked_range(const struct http_request *request, const struct http_answer *answer)
{
    const struct http_range *range = &answer->range;
    if (!answer->has_range || range->first != request->range_offset || range->last < range->first)
        return false;
    uint64_t count = range->last - range->first + 1;
    return count == request->range_bytes ||
           (count < request->range_bytes && range->last + 1 == range->total);
}

static int stop(struct transfer *transfer, int fault, const char *why)
{
    transfer->fault = fault;
    transfer->enough = fault == 0;
    transfer->reason = why;
    return 0; /* fewer bytes than libcurl offered: it ends the transfer */
}

static size_t take_data(struct transfer *transfer, const char *bytes, size_t length)
{
    const struct http_request *request = transfer->request;
    struct http_answer *answer = &transfer->answer;
    size_t skip = mst_least(length, transfer->skip_bytes);
    transfer->skip_bytes -= skip;
    size_t take = mst_least(length - skip, request->data_bytes - answer->data_bytes);
    memcpy((char *)request->data + answer->data_bytes, bytes + skip, take);
    answer->data_bytes += take;
    if (skip + take == length)
        return length;
    if (request->range_bytes > 0 && answer->status == 200)
        return (size_t)stop(transfer, 0, "");
    return (size_t)stop(transfer, -EBADMSG, "the server sends more bytes than were asked for");
}

static size_t take_text(struct transfer *transfer, const char *bytes, size_t length)
{
    struct http_answer *answer = &transfer->answer;
    if (answer->status >= 300 && answer->text_bytes + length > HTTP_ERROR_TEXT_MAX)
        return length;
    size_t need = answer->text_bytes + length + 1;
    if (need > HTTP_TEXT_MAX)
        return (size_t)stop(transfer, -EBADMSG, "the server's answer is too long for a listing");
    if (need > transfer->text_cap) {
        size_t cap = need < transfer->text_cap * 2 ? transfer->text_cap * 2 : need;
        char *text = realloc(answer->text, cap);
        if (!text)
            return (size_t)stop(transfer, -ENOMEM, "no memory for the answer");
        answer->text = text;
        transfer->text_cap = cap;
    }
    memcpy(answer->text + answer->text_bytes, bytes, length);
    answer->text_bytes += length;
    answer->text[answer->text_bytes] = '\0';
    return length;
}

/* The first byte of a body: headers are complete, and say what it is. */
static int begin_body(struct transfer *transfer)
{
    struct http_answer *answer = &transfer->answer;
    long status = 0;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status); /* 0 if none came */
    answer->status = (int)status;
    transfer->skip_bytes = status == 200 ? transfer->request->range_offset : 0;
    if (status != 206 || is_asked_range(transfer->request, answer))
        return 0;
    stop(transfer, -EBADMSG, "the server's Content-Range is not the range that was asked for");
    return -EBADMSG;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t length = size * count;
    if (transfer->answer.status == 0 && begin_body(transfer) < 0)
        return 0;
    if (transfer->request->data && transfer->answer.status / 100 == 2)
        return take_data(transfer, bytes, length);
    return take_text(transfer, bytes, length);
}

static size_t on_send(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    const struct http_request *request = transfer->request;
    size_t length = mst_least(size * count, request->body_bytes - transfer->body_at);
    uint64_t at = request->body_offset + transfer->body_at;
    if (length == 0)
        return 0;
    int64_t got = (int64_t)length;
    if (request->body)
        memcpy(bytes, (const char *)request->body + at, length);
    else
        got = mst_file_pread(request->body_fd, bytes, length, at);
    if (got <= 0) {
        stop(transfer, got < 0 ? (int)got : -EIO, "the file that is sent cannot be read");
        return CURL_READFUNC_ABORT;
    }
    transfer->body_at += (uint64_t)got;
    return (size_t)got;
}

static int on_rewind(void *arg, curl_off_t offset, int origin)
{
    struct transfer *transfer = arg;
    if (origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_CANTSEEK;
    transfer->body_at = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* libcurl's option values are checked by its own tests; what can fail here is memory, and that
 * shows when the transfer starts. */
static void set_method(struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    const struct http_request *request = transfer->request;
    switch (request->method) {
    case HTTP_GET: break;
    case HTTP_HEAD: curl_easy_setopt(easy, CURLOPT_NOBODY, 1L); break;
    case HTTP_DELETE: curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE"); break;
    case HTTP_POST:
    case HTTP_PUT:
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_bytes);
        if (request->method == HTTP_POST)
            curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "POST");
        break;
    }
}

static void set_limits(CURL *easy, const struct http_request *request)
{
    int left_ms = mst_deadline_left_ms(request->deadline_ns);
    if (left_ms >= 0)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, left_ms > 0 ? (long)left_ms : 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     request->connect_ms ? (long)request->connect_ms : CONNECT_TIMEOUT_MS);
    if (!request->patient) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES_PER_S);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, STALL_S);
    }
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
}

static void set_connection(const struct http *http, CURL *easy, uint32_t follow)
{
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, follow > 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)follow);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* a key may have "/../", and is signed so */
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "muster/" MUSTER_VERSION);
    if (http->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file);
    if (http->direct)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
}

static void set_up(const struct http *http, struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    const struct http_request *request = transfer->request;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->why);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    if (request->range_bytes > 0) {
        char range[48]; /* room for two numbers of 64 bits */
        (void)snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)request->range_offset,
                       (unsigned long long)(request->range_offset + request->range_bytes - 1));
        curl_easy_setopt(easy, CURLOPT_RANGE, range);
    }
    set_method(transfer);
    set_limits(easy, request);
    set_connection(http, easy, request->follow);
}

static struct transfer *free_transfer(struct http *http)
{
    for (size_t i = 0; i < http->count; i++)
        if (!http->transfers[i].request && &http->transfers[i] != http->handed)
            return &http->transfers[i];
    return NULL;
}

int http_start(struct http *http, struct http_request *request)
{
    struct transfer *transfer = free_transfer(http);
    if (!transfer)
        return -EAGAIN;
    transfer->request = request;
    transfer->body_at = transfer->skip_bytes = 0;
    transfer->enough = false;
    transfer->fault = 0;
    transfer->why[0] = '\0';
    reset_answer(&transfer->answer);
    set_up(http, transfer);
    if (curl_multi_add_handle(http->multi, transfer->easy) == CURLM_OK)
        return 0;
    transfer->request = NULL;
    return -ENOMEM;
}

void http_cancel(struct http *http, const struct http_request *request)
{
    for (size_t i = 0; i < http->count; i++)
        if (http->transfers[i].request == request) {
            (void)curl_multi_remove_handle(http->multi,
                                           http->transfers[i].easy); /* fails for a bug only */
            http->transfers[i].request = NULL;
        }
}

static int connect_error(CURL *easy)
{
    long error = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &error); /* 0 if it does not know */
    return error > 0 ? -(int)error : -ECONNREFUSED;
}

/* Then a protocol that is none is the server's, in its answer, and not that of the URL. */
static bool has_asked(CURL *easy)
{
    long size_bytes = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &size_bytes); /* 0 if it does not know */
    return size_bytes > 0;
}

static int curl_error(CURL *easy, CURLcode code)
{
    switch (code) {
    case CURLE_OK: return 0;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT: return connect_error(easy);
    case CURLE_OPERATION_TIMEDOUT: return -ETIMEDOUT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_SSL_CONNECT_ERROR: return -ECONNRESET;
    case CURLE_PEER_FAILED_VERIFICATION: return -EACCES;
    case CURLE_OUT_OF_MEMORY: return -ENOMEM;
    case CURLE_URL_MALFORMAT: return -EINVAL;
    case CURLE_UNSUPPORTED_PROTOCOL: return has_asked(easy) ? -EBADMSG : -EINVAL;
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_WEIRD_SERVER_REPLY: return -EBADMSG;
    default: return -EIO;
    }
}

/* A 206 may also be whole by its Content-Length and still not what its Content-Range promised. */
static int check_body(const struct transfer *transfer)
{
    const struct http_answer *answer = &transfer->answer;
    if (answer->status != 206 || !transfer->request->data)
        return 0;
    bool right = is_asked_range(transfer->request, answer) &&
                 answer->data_bytes == answer->range.last - answer->range.first + 1;
    return right ? 0 : -EBADMSG;
}

/* libcurl would show a proxy's URL that it does not understand, password and all. */
static const char *words_of(const struct transfer *transfer, CURLcode code)
{
    if (transfer->fault)
        return transfer->reason;
    if (strstr(transfer->why, "Unsupported proxy"))
        return "the proxy that http_proxy, https_proxy or all_proxy names is not a URL";
    return transfer->why[0] ? transfer->why : curl_easy_strerror(code);
}

static void end_transfer(struct http *http, struct transfer *transfer, CURLcode code)
{
    assert(transfer->request && transfer != http->handed);
    struct http_answer *answer = &transfer->answer;
    long status = 0;
    curl_off_t connect_us = 0; /* 0 also of a connection that was there before */
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME_T, &connect_us);
    answer->connected = connect_us > 0;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status); /* 0 if none came */
    answer->status = (int)status;
    answer->rc = transfer->enough  ? 0
                 : transfer->fault ? transfer->fault
                                   : curl_error(transfer->easy, code);
    answer->why = words_of(transfer, code);
    if (answer->rc == 0 && check_body(transfer) < 0) {
        answer->rc = -EBADMSG;
        answer->why = "the server's body is not what its Content-Range says";
    }
    (void)curl_multi_remove_handle(http->multi, transfer->easy); /* fails for a bug only */
    transfer->next = http->ended;
    http->ended = transfer;
}

static void collect_ended(struct http *http)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(http->multi, &left))) {
        char *private = NULL;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE,
                                &private); /* set in set_up */
        end_transfer(http, (struct transfer *)(void *)private, message->data.result);
    }
}

/* ---- sockets --------------------------------------------------------------------------------- */

/* Libcurl tells what it wants to hear of a socket. Only those where something has happened are then
 * looked at, and not with a poll for each transfer. */
static int on_socket(CURL *easy, curl_socket_t fd, int wanted, void *arg, void *known)
{
    struct http *http = arg;
    struct epoll_event event = {.data.fd = fd};
    (void)easy;
    if (wanted == CURL_POLL_REMOVE) {
        (void)epoll_ctl(http->epoll, EPOLL_CTL_DEL, fd, NULL); /* closing it does the same */
        return 0;
    }
    event.events |= wanted & CURL_POLL_IN ? EPOLLIN : 0;
    event.events |= wanted & CURL_POLL_OUT ? EPOLLOUT : 0;
    if (epoll_ctl(http->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
        return -1;
    (void)curl_multi_assign(http->multi, fd, http); /* fails for a bug only */
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct http *http = arg;
    (void)multi;
    http->timer_ns = timeout_ms < 0 ? MST_NEVER : mst_deadline_ms((uint64_t)timeout_ms);
    return 0;
}

static CURLMcode dispatch(struct http *http, const struct epoll_event *events, int count)
{
    int running;
    CURLMcode code = CURLM_OK;
    for (int i = 0; i < count && code == CURLM_OK; i++) {
        uint32_t flags = events[i].events;
        int what = (flags & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                   (flags & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (flags & EPOLLERR ? CURL_CSELECT_ERR : 0);
        code = curl_multi_socket_action(http->multi, events[i].data.fd, what, &running);
    }
    if (code == CURLM_OK && mst_deadline_passed(http->timer_ns)) {
        http->timer_ns = MST_NEVER;
        code = curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    return code;
}

/* Lets libcurl work. OpenSSL writes to sockets that may be closed: the SIGPIPE of that is nobody's
 * concern. */
static CURLMcode perform(struct http *http, const struct epoll_event *events, int count)
{
    sigset_t pipe_set, before, pending;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
    CURLMcode code = dispatch(http, events, count);
    if (!sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_set, NULL, &(struct timespec){0}) == SIGPIPE)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

int http_step(struct http *http, uint64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int wait_ms = http->ended ? 0 : mst_deadline_left_ms(mst_least(until_ns, http->timer_ns));
    int count = epoll_wait(http->epoll, events, EVENTS_MAX, wait_ms);
    if (count < 0 && errno != EINTR)
        return -errno;
    count = count < 0 ? 0 : count;
    CURLMcode code = CURLM_OK;
    if (count || mst_deadline_passed(http->timer_ns))
        code = perform(http, events, count);
    collect_ended(http);
    return code == CURLM_OK ? 0 : code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

struct http_request *http_next(struct http *http, const struct http_answer **ret_answer)
{
    struct transfer *transfer = http->ended;
    http->handed = transfer;
    if (!transfer)
        return NULL;
    http->ended = transfer->next;
    struct http_request *request = transfer->request;
    transfer->request = NULL;
    *ret_answer = &transfer->answer;
    return request;
}

static int create_transfers(struct http *http, uint32_t depth)
{
    /* One more than may be in flight: the one whose answer is being read. */
    http->transfers = calloc((size_t)depth + 1, sizeof *http->transfers);
    if (!http->transfers)
        return -ENOMEM;
    for (; http->count < (size_t)depth + 1; http->count++) {
        struct transfer *transfer = &http->transfers[http->count];
        transfer->easy = curl_easy_init();
        transfer->text_cap = 4096;
        transfer->answer.text = malloc(transfer->text_cap);
        if (!transfer->easy || !transfer->answer.text) {
            http->count++; /* half built: destroy frees it */
            return -ENOMEM;
        }
    }
    return 0;
}

/* Options that are known cannot fail; without the last, connections are kept as libcurl thinks
 * best. */
static void set_hooks(struct http *http, uint32_t depth)
{
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)depth + 1);
}

int http_create(const struct http_opts *opts, struct http **ret_http, struct mst_err *err)
{
    assert(opts->depth >= 1);
    (void)pthread_once(&curl_once, init_curl); /* cannot fail */
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return mst_err_set(err, -ENOMEM, "no memory for an HTTP client");
    http->timer_ns = MST_NEVER;
    http->epoll = epoll_create1(EPOLL_CLOEXEC);
    int rc = http->epoll < 0 ? -errno : 0;
    http->multi = curl_multi_init();
    http->direct = opts->direct;
    if (opts->ca_file)
        http->ca_file = strdup(opts->ca_file);
    if (!http->multi || (opts->ca_file && !http->ca_file))
        rc = -ENOMEM;
    if (rc == 0)
        rc = create_transfers(http, opts->depth);
    if (rc) {
        http_destroy(http);
        return mst_err_set(err, rc, "%u HTTP requests in flight: %s", opts->depth,
                           mst_err_meaning(rc));
    }
    set_hooks(http, opts->depth);
    *ret_http = http;
    return 0;
}

void http_destroy(struct http *http)
{
    if (!http)
        return;
    for (size_t i = 0; i < http->count; i++) {
        struct transfer *transfer = &http->transfers[i];
        if (transfer->easy)
            (void)curl_multi_remove_handle(http->multi, transfer->easy); /* no-op if not in it */
        curl_easy_cleanup(transfer->easy);
        free(transfer->answer.text);
    }
    free(http->transfers);
    if (http->multi)
        (void)curl_multi_cleanup(http->multi); /* fails for a bug only */
    if (http->epoll >= 0)
        (void)close(http->epoll); /* nothing is written */
    free(http->ca_file);
    free(http);
}
