#include "muster/core/blob/blob.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/http_script.h"

#define OK_206(etag)                                                                               \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\nContent-Length: 4\r\n"         \
    "ETag: " etag "\r\n\r\n2345"

/* One read of bytes 2 to 5 of the ten "0123456789", with an end to it. */
struct result {
    int64_t result;
    char data[5];
    char error[240];
};

static struct http_script script;
static uint64_t object_bytes; /* that reads ask for */

static struct mst_blob *open_server(uint32_t timeout_ms)
{
    const struct mst_blob_opts opts = {.depth = 2, .timeout_ms = timeout_ms};
    char uri[64];
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/a%%20b?sig=secret", script.port);
    struct mst_blob *blob = NULL;
    assert_int_equal(mst_blob_open(uri, &opts, &blob, NULL), 0);
    return blob;
}

static struct result read_once(uint32_t timeout_ms, const char *version)
{
    struct mst_blob *blob = open_server(timeout_ms);
    struct result result = {0};
    const struct mst_blob_read read = {.key = "key",
                                       .offset = 2,
                                       .data = result.data,
                                       .size_bytes = 4,
                                       .version = version,
                                       .object_bytes = object_bytes,
                                       .user = &result};
    assert_int_equal(mst_blob_submit(blob, &read, 1), 1);
    struct mst_blob_done done;
    assert_int_equal(mst_blob_reap(blob, &done, 1, 1, soon()), 1);
    assert_ptr_equal(done.user, &result);
    result.result = done.result;
    snprintf(result.error, sizeof result.error, "%s", mst_blob_error(blob));
    mst_blob_close(blob);
    return result;
}

static struct result play(const struct script_step *steps, size_t count, const char *version)
{
    script_start(&script, steps, count);
    struct result result = read_once(5000, version);
    script_stop(&script);
    assert_int_equal(script.served, count);
    return result;
}

#define PLAY(version, ...)                                                                         \
    play((const struct script_step[]){__VA_ARGS__},                                                \
         sizeof((const struct script_step[]){__VA_ARGS__}) / sizeof(struct script_step), version)

static void asks_for_a_range(void **state)
{
    (void)state;
    struct result result = PLAY("\"v1\"", {OK_206("\"v1\""), SCRIPT_CLOSE});
    assert_int_equal(result.result, 4);
    assert_string_equal(result.data, "2345");
    assert_non_null(strstr(script.requests[0], "GET /a%20b/key?sig=secret HTTP/1.1\r\n"));
    assert_non_null(strstr(script.requests[0], "Range: bytes=2-5\r\n"));
    assert_non_null(strstr(script.requests[0], "If-Match: \"v1\"\r\n"));
}

static void copes_with_a_range_that_is_ignored(void **state)
{
    (void)state;
    struct result result = PLAY(
        NULL, {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", SCRIPT_CLOSE});
    assert_int_equal(result.result, 4);
    assert_string_equal(result.data, "2345");
    result = PLAY(NULL, {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n012", SCRIPT_CLOSE});
    assert_int_equal(result.result, 1);
    assert_string_equal(result.data, "2");
}

static void takes_chunked_bodies(void **state)
{
    (void)state;
    struct result result = PLAY(
        NULL, {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/*\r\n"
               "Transfer-Encoding: chunked\r\n\r\n2\r\n23\r\n2\r\n45\r\n0\r\n\r\n",
               SCRIPT_CLOSE});
    assert_int_equal(result.result, 4);
    assert_string_equal(result.data, "2345");
}

static void reads_short_at_the_end(void **state)
{
    (void)state;
    struct result result = PLAY(NULL,
                                {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/4\r\n"
                                 "Content-Length: 2\r\n\r\n23",
                                 SCRIPT_CLOSE});
    assert_int_equal(result.result, 2);
    result = PLAY(NULL, {"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */2\r\n"
                         "Content-Length: 0\r\n\r\n",
                         SCRIPT_CLOSE});
    assert_int_equal(result.result, 0);
}

static void tries_again(void **state)
{
    (void)state;
    struct result result = PLAY(
        NULL,
        {"HTTP/1.1 503 Slow Down\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", SCRIPT_CLOSE},
        {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\n"
         "Content-Length: 4\r\n\r\n23",
         SCRIPT_CLOSE},
        {"", SCRIPT_RESET}, {"", SCRIPT_CLOSE}, {OK_206("\"v1\""), SCRIPT_CLOSE});
    assert_int_equal(result.result, 4);
    assert_string_equal(result.data, "2345");
}

static void hears_how_long_to_wait(void **state)
{
    (void)state;
    uint64_t before = mst_now_ns();
    struct result result = PLAY(
        NULL,
        {"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", SCRIPT_CLOSE},
        {OK_206("\"v1\""), SCRIPT_CLOSE});
    assert_int_equal(result.result, 4);
    assert_true(mst_now_ns() - before >= MST_NS_PER_S);
}

static void gives_up_at_the_deadline(void **state)
{
    (void)state;
    const struct script_step stall[] = {{"HTTP/1.1 206 Partial Content\r\n", SCRIPT_STALL}};
    script_start(&script, stall, 1);
    struct result result = read_once(300, NULL);
    script_stop(&script);
    assert_int_equal(result.result, -ETIMEDOUT);
    const struct script_step down[] = {
        {"HTTP/1.1 503 Down\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n", SCRIPT_CLOSE}};
    script_start(&script, down, 1);
    result = read_once(5000, NULL);
    script_stop(&script);
    assert_int_equal(result.result, -EIO);
    assert_non_null(strstr(result.error, "given up after 1 try"));
    assert_non_null(strstr(result.error, "503"));
}

static void refuses_what_makes_no_sense(void **state)
{
    (void)state;
    const char *const replies[] = {
        /* another range, none, a body that is shorter or longer than it */
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-6/10\r\n"
        "Content-Length: 4\r\n\r\n3456",
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\n2345",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\n"
        "Content-Length: 3\r\n\r\n234",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\n"
        "Content-Length: 3\r\n\r\n234",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\n"
        "Content-Length: 5\r\n\r\n23456",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n",
        "this is no HTTP\r\n",
    };
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        struct result result = PLAY(NULL, {replies[i], SCRIPT_CLOSE});
        assert_int_equal(result.result, -EBADMSG);
    }
}

static void tells_what_the_server_said(void **state)
{
    (void)state;
    struct result result = PLAY(
        NULL, {"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", SCRIPT_CLOSE});
    assert_int_equal(result.result, -ENOENT);
    assert_string_equal(result.data, "");
    assert_non_null(strstr(result.error, "/a b/key"));
    assert_null(strstr(result.error, "secret"));
    result = PLAY(NULL, {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", SCRIPT_CLOSE});
    assert_int_equal(result.result, -EACCES);
}

static void notices_another_version(void **state)
{
    (void)state;
    struct result result = PLAY(
        "\"v1\"", {"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n", SCRIPT_CLOSE});
    assert_int_equal(result.result, -ESTALE);
    result = PLAY("\"v1\"", {OK_206("\"v2\""), SCRIPT_CLOSE}); /* conditions are ignored too */
    assert_int_equal(result.result, -ESTALE);
    assert_non_null(strstr(result.error, "\"v2\""));
    result = PLAY("W/\"v1\"", {OK_206("W/\"v1\""), SCRIPT_CLOSE});
    assert_int_equal(result.result, 4);
    assert_null(strstr(script.requests[0], "If-Match"));
}

/* All that a server without ETag and time tells. */
static void notices_another_length(void **state)
{
    (void)state;
    static const char *const replies[] = {
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\n"
        "Content-Length: 4\r\n\r\n2345",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/*\r\n"
        "Content-Length: 4\r\n\r\n2345"};
    for (size_t i = 0; i < 3; i++) {
        object_bytes = 10;
        assert_int_equal(PLAY(NULL, {replies[i], SCRIPT_CLOSE}).result, 4);
        object_bytes = 11;
        struct result result = PLAY(NULL, {replies[i], SCRIPT_CLOSE});
        assert_int_equal(result.result, i < 2 ? -ESTALE : 4); /* the last one does not tell */
        assert_true(i == 2 || strstr(result.error, "has 10 bytes now and had 11"));
    }
    object_bytes = 0;
}

#define TOGETHER 3

/* Answers requests only when TOGETHER of them have come. The one for "gone" is a 404. */
static void *answer_together(void *arg)
{
    const int *listener = arg;
    for (size_t round = 0; round < 2; round++) {
        int fds[TOGETHER];
        char requests[TOGETHER][SCRIPT_REQUEST_BYTES];
        for (size_t i = 0; i < TOGETHER; i++) {
            fds[i] = accept(*listener, NULL, NULL);
            script_read(fds[i], requests[i]);
        }
        for (size_t i = 0; i < TOGETHER; i++) {
            const char *reply = strstr(requests[i], "gone")
                                    ? "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                                      "Connection: close\r\n\r\n"
                                    : "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: \"v\"\r\n"
                                      "Connection: close\r\n\r\n";
            (void)send(fds[i], reply, strlen(reply), MSG_NOSIGNAL);
            close(fds[i]);
        }
    }
    return NULL;
}

static void looks_at_many_together(void **state)
{
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    pthread_t thread;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(pthread_create(&thread, NULL, answer_together, &listener), 0);
    char uri[64];
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/", ntohs(address.sin_port));
    const struct mst_blob_opts opts = {.depth = TOGETHER, .timeout_ms = 20000};
    struct mst_blob *blob;
    assert_int_equal(mst_blob_open(uri, &opts, &blob, NULL), 0);
    struct mst_blob_look looks[2 * TOGETHER] = {{.key = "a"},    {.key = "gone"}, {.key = "b"},
                                                {.key = "gone"}, {.key = "c"},    {.key = "d"}};
    mst_blob_stat_all(blob, looks, 2 * TOGETHER, soon());
    for (size_t i = 0; i < 2 * TOGETHER; i++) {
        bool gone = strcmp(looks[i].key, "gone") == 0;
        assert_int_equal(looks[i].rc, gone ? -ENOENT : 0);
        assert_int_equal(looks[i].info.size_bytes, gone ? 0 : 7);
    }
    pthread_join(thread, NULL);
    close(listener);
    looks[0].rc = 0;
    mst_blob_stat_all(blob, looks, 2 * TOGETHER, mst_deadline_ms(200));
    for (size_t i = TOGETHER; i < 2 * TOGETHER; i++)
        assert_int_equal(looks[i].rc, -EAGAIN); /* nobody is there any more: not asked for */
    assert_true(looks[0].rc < 0 && looks[0].rc != -EAGAIN);
    looks[0].key = "../x";
    mst_blob_stat_all(blob, looks, 1, soon());
    assert_int_equal(looks[0].rc, -EAGAIN);
    mst_blob_close(blob);
}

static void follows_redirects(void **state)
{
    (void)state;
    struct result result = PLAY(
        NULL,
        {"HTTP/1.1 302 Found\r\nLocation: /cache\r\nContent-Length: 0\r\nETag: \"x\"\r\n\r\n",
         SCRIPT_CLOSE},
        {OK_206("\"v1\""), SCRIPT_CLOSE});
    assert_int_equal(result.result, 4);
    assert_non_null(strstr(script.requests[1], "GET /cache HTTP/1.1\r\n"));
    assert_non_null(strstr(script.requests[1], "Range: bytes=2-5\r\n"));
}

static void stats(void **state)
{
    (void)state;
    const struct script_step steps[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v1\"\r\n\r\n", SCRIPT_CLOSE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT"
         "\r\n\r\n",
         SCRIPT_CLOSE},
        {"HTTP/1.1 200 OK\r\n\r\n", SCRIPT_CLOSE},
        {"HTTP/1.1 200 OK\r\n\r\nbytes", SCRIPT_CLOSE},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", SCRIPT_CLOSE},
        {"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-0/7\r\nContent-Length: 1\r\n\r\nx",
         SCRIPT_CLOSE},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", SCRIPT_CLOSE},
        {"HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\nContent-Length: 0\r\n\r\n", SCRIPT_CLOSE},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n", SCRIPT_CLOSE},
    };
    script_start(&script, steps, sizeof steps / sizeof *steps);
    struct mst_blob *blob = open_server(5000);
    struct mst_blob_info info;
    struct mst_err err;
    assert_int_equal(mst_blob_stat(blob, "key", &info, soon(), &err), 0);
    assert_int_equal(info.size_bytes, 10);
    assert_string_equal(info.version, "\"v1\"");
    assert_int_equal(mst_blob_stat(blob, "key", &info, soon(), &err), 0);
    assert_string_equal(info.version, "10-Mon, 01 Jan 2024 00:00:00 GMT");
    assert_int_equal(mst_blob_stat(blob, "key", &info, soon(), &err), -ENOTSUP);
    assert_int_equal(mst_blob_stat(blob, "key", &info, soon(), &err), 0);
    assert_int_equal(info.size_bytes, 7);
    assert_int_equal(mst_blob_stat(blob, "key", &info, soon(), &err), 0);
    assert_int_equal(info.size_bytes, 0);
    assert_int_equal(mst_blob_stat(blob, "", &info, soon(), &err), -ENOENT);
    mst_blob_close(blob);
    script_stop(&script);
    assert_non_null(strstr(script.requests[0], "HEAD /a%20b/key?sig=secret HTTP/1.1\r\n"));
    assert_non_null(strstr(script.requests[8], "HEAD /a%20b?sig=secret HTTP/1.1\r\n"));
}

static int never(void *arg, const char *key, const struct mst_blob_info *info)
{
    (void)arg;
    (void)key;
    (void)info;
    return 1;
}

static void says_what_a_web_server_cannot(void **state)
{
    (void)state;
    script_start(&script, NULL, 0);
    struct mst_blob *blob = open_server(5000);
    struct mst_err err;
    assert_int_equal(mst_blob_list(blob, "", never, NULL, soon(), &err), -ENOTSUP);
    assert_int_equal(mst_blob_put(blob, "k", (struct mst_cspan){0}, 0, soon(), &err), -ENOTSUP);
    assert_int_equal(mst_blob_remove(blob, "k", soon(), &err), -ENOTSUP);
    mst_blob_close(blob);
    script_stop(&script);
}

static void holds_depth_reads_and_ends_them(void **state)
{
    (void)state;
    const struct script_step steps[] = {{"", SCRIPT_STALL}, {"", SCRIPT_STALL}};
    script_start(&script, steps, 2);
    struct mst_blob *blob = open_server(60000);
    char data[4];
    const struct mst_blob_read read = {.key = "k", .data = data, .size_bytes = 4};
    const struct mst_blob_read reads[] = {read, read, read};
    assert_int_equal(mst_blob_submit(blob, reads, 3), 2);
    struct mst_blob_done done;
    assert_int_equal(mst_blob_reap(blob, &done, 1, 0, 0), 0);
    assert_int_equal(mst_blob_reap(blob, &done, 1, 1, mst_deadline_ms(20)), -ETIMEDOUT);
    mst_blob_close(blob); /* with both in flight */
    script_stop(&script);
}

static void reads_nothing_at_once(void **state)
{
    (void)state;
    script_start(&script, NULL, 0);
    struct mst_blob *blob = open_server(5000);
    const struct mst_blob_read read = {.key = "k"};
    struct mst_blob_done done = {.result = 1};
    assert_int_equal(mst_blob_submit(blob, &read, 1), 1);
    assert_int_equal(mst_blob_reap(blob, &done, 1, 1, soon()), 1);
    assert_int_equal(done.result, 0);
    mst_blob_close(blob);
    script_stop(&script);
}

static void nobody_listens(void **state)
{
    (void)state;
    script_start(&script, NULL, 0);
    script_stop(&script); /* now its port is nobody's */
    struct result result = read_once(200, NULL);
    assert_int_equal(result.result, -ECONNREFUSED);
    assert_non_null(strstr(result.error, "given up after"));
}

/* An address at which nobody has ever answered is told soon, however long requests may take. */
static void nobody_ever_listened(void **state)
{
    (void)state;
    const struct mst_blob_opts opts = {.timeout_ms = 600000, .connect_ms = 100};
    static const char *const hosts[] = {"127.0.0.1", SCRIPT_NO_HOST};
    script_start(&script, NULL, 0);
    script_stop(&script);
    for (size_t i = 0; i < 2; i++) {
        char uri[128];
        snprintf(uri, sizeof uri, "http://%s:%u/a", hosts[i], script.port);
        struct mst_blob *blob = NULL;
        struct mst_blob_info info;
        struct mst_err err;
        assert_int_equal(mst_blob_open(uri, &opts, &blob, NULL), 0);
        int rc = mst_blob_stat(blob, "k", &info, soon(), &err);
        assert_int_equal(rc, i ? -EHOSTUNREACH : -ECONNREFUSED);
        assert_non_null(strstr(err.text, "does its server run"));
        assert_non_null(strstr(err.text, uri + 7));
        mst_blob_close(blob);
    }
}

/* One that has answered restarts: its silence is waited for. */
static void who_has_answered_is_waited_for(void **state)
{
    (void)state;
    const struct mst_blob_opts opts = {.timeout_ms = 1000, .connect_ms = 1};
    script_start(&script, STEPS({OK_206("\"v1\""), SCRIPT_CLOSE}), 1);
    char uri[64], data[5] = "";
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/a", script.port);
    struct mst_blob *blob = NULL;
    assert_int_equal(mst_blob_open(uri, &opts, &blob, NULL), 0);
    const struct mst_blob_read read = {.key = "k", .offset = 2, .data = data, .size_bytes = 4};
    struct mst_blob_done done;
    assert_int_equal(mst_blob_submit(blob, &read, 1), 1);
    assert_int_equal(mst_blob_reap(blob, &done, 1, 1, soon()), 1);
    assert_int_equal(done.result, 4);
    script_stop(&script);
    assert_int_equal(mst_blob_submit(blob, &read, 1), 1);
    assert_int_equal(mst_blob_reap(blob, &done, 1, 1, soon()), 1);
    assert_int_equal(done.result, -ECONNREFUSED);
    assert_null(strstr(mst_blob_error(blob), "after 1 try"));
    assert_null(strstr(mst_blob_error(blob), "does its server run"));
    mst_blob_close(blob);
}

static void texts_say_whose_fault_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        int rc;
        const char *text;
    } cases[] = {
        {"HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n", -ENOSPC, "the server has no room left"},
        {"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n", -EIO, "the server failed"},
        {"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", -EBADMSG,
         "the server refuses the request"},
        {"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", -EBADMSG,
         "the server sends us elsewhere"},
        {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\n"
         "Content-Length: 5\r\n\r\n23456",
         -EBADMSG, "the server sends more bytes"},
        {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-6/10\r\n"
         "Content-Length: 4\r\n\r\n3456",
         -EBADMSG, "the server's Content-Range"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct result result = PLAY(NULL, {cases[i].reply, SCRIPT_CLOSE});
        assert_int_equal(result.result, cases[i].rc);
        if (!strstr(result.error, cases[i].text))
            fail_msg("\"%s\" lacks \"%s\"", result.error, cases[i].text);
        assert_null(strstr(result.error, "secret"));
    }
    script_start(&script, STEPS({"HTTP/1.1 206 Partial Content\r\n", SCRIPT_STALL}), 1);
    struct result slow = read_once(300, NULL);
    script_stop(&script);
    assert_non_null(strstr(slow.error, "the server is too slow"));
    script_start(&script, STEPS({"", SCRIPT_RESET}, {"", SCRIPT_STALL}), 2);
    struct result broken = read_once(300, NULL);
    script_stop(&script);
    assert_non_null(strstr(broken.error, "the server "));
}

static void a_proxy_is_not_shown(void **state)
{
    (void)state;
    assert_int_equal(setenv("http_proxy", "foo://user:hush@127.0.0.1:1", 1), 0);
    struct mst_blob *blob = NULL;
    struct mst_blob_info info;
    struct mst_err err;
    assert_int_equal(mst_blob_open("http://10.0.0.1/a", NULL, &blob, NULL), 0);
    assert_true(mst_blob_stat(blob, "k", &info, soon(), &err) < 0);
    assert_null(strstr(err.text, "hush"));
    assert_non_null(strstr(err.text, "proxy"));
    mst_blob_close(blob);
    assert_int_equal(unsetenv("http_proxy"), 0);
}

/* With another place to ask nobody waits for this one. */
static void nobody_listens_and_others_do(void **state)
{
    (void)state;
    const struct mst_blob_opts opts = {.timeout_ms = 30000, .fail_fast = true};
    uint64_t start_ns = mst_now_ns();
    script_start(&script, NULL, 0);
    script_stop(&script);
    char uri[64];
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/a", script.port);
    struct mst_blob *blob = NULL;
    assert_int_equal(mst_blob_open(uri, &opts, &blob, NULL), 0);
    struct mst_blob_info info;
    assert_int_equal(mst_blob_stat(blob, "k", &info, soon(), NULL), -ECONNREFUSED);
    assert_true(mst_now_ns() - start_ns < 10 * MST_NS_PER_S);
    mst_blob_close(blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_a_range),
        cmocka_unit_test(copes_with_a_range_that_is_ignored),
        cmocka_unit_test(takes_chunked_bodies),
        cmocka_unit_test(reads_short_at_the_end),
        cmocka_unit_test(tries_again),
        cmocka_unit_test(hears_how_long_to_wait),
        cmocka_unit_test(gives_up_at_the_deadline),
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(tells_what_the_server_said),
        cmocka_unit_test(notices_another_version),
        cmocka_unit_test(notices_another_length),
        cmocka_unit_test(looks_at_many_together),
        cmocka_unit_test(follows_redirects),
        cmocka_unit_test(stats),
        cmocka_unit_test(says_what_a_web_server_cannot),
        cmocka_unit_test(holds_depth_reads_and_ends_them),
        cmocka_unit_test(reads_nothing_at_once),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(nobody_ever_listened),
        cmocka_unit_test(who_has_answered_is_waited_for),
        cmocka_unit_test(texts_say_whose_fault_it_is),
        cmocka_unit_test(a_proxy_is_not_shown),
        cmocka_unit_test(nobody_listens_and_others_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
