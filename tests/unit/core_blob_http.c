#include "muster/core/blob/http/http.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/http_script.h"

#define EMPTY_200 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static struct http_script script;

static struct http *make_client(uint32_t depth)
{
    struct http *http = NULL;
    assert_int_equal(http_create(&(struct http_opts){.depth = depth, .direct = true}, &http, NULL),
                     0);
    return http;
}

static void aim(struct http_request *request, enum http_method method)
{
    http_request_init(request, method);
    request->deadline_ns = soon();
    assert_int_equal(http_request_url(request, "http://127.0.0.1:%u/p", script.port), 0);
}

static const struct http_answer *await(struct http *http, struct http_request *request)
{
    const struct http_answer *answer = NULL;
    struct http_request *ended;
    while (!(ended = http_next(http, &answer)))
        assert_int_equal(http_step(http, soon()), 0);
    assert_ptr_equal(ended, request);
    return answer;
}

static void reads_headers(void **state)
{
    (void)state;
    script_start(&script,
                 STEPS({"HTTP/1.1 100 Continue\r\nETag: \"old\"\r\n\r\n"
                        "HTTP/1.1 503 Busy\r\nETAG:\"e\" \r\nRetry-After: 3\r\n"
                        "x-amz-bucket-region: there\r\nX-Amz-Request-Id: id\r\n"
                        "Last-Modified: then\r\nDate: Thu, 01 Jan 1970 00:01:00 GMT\r\n"
                        "Location: http://elsewhere/\r\nContent-Length: 4\r\n\r\nbusy",
                        SCRIPT_CLOSE}),
                 1);
    struct http *http = make_client(1);
    struct http_request request;
    aim(&request, HTTP_GET);
    assert_int_equal(http_start(http, &request), 0);
    const struct http_answer *answer = await(http, &request);
    assert_int_equal(answer->rc, 0);
    assert_int_equal(answer->status, 503);
    assert_string_equal(answer->etag, "\"e\"");
    assert_string_equal(answer->region, "there");
    assert_string_equal(answer->request_id, "id");
    assert_string_equal(answer->modified, "then");
    assert_string_equal(answer->location, "http://elsewhere/");
    assert_string_equal(answer->text, "busy");
    assert_int_equal(answer->retry_after_ns, 3 * MST_NS_PER_S);
    assert_int_equal(answer->date_s, 60);
    assert_int_equal(answer->length_bytes, 4);
    http_request_fini(&request);
    http_destroy(http);
    script_stop(&script);
}

static void a_value_that_is_too_long_is_none(void **state)
{
    (void)state;
    char reply[512];
    snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nETag: \"%0100d\"\r\n\r\n", 0);
    script_start(&script, STEPS({reply, SCRIPT_CLOSE}), 1);
    struct http *http = make_client(1);
    struct http_request request;
    aim(&request, HTTP_GET);
    assert_int_equal(http_start(http, &request), 0);
    assert_string_equal(await(http, &request)->etag, "");
    http_request_fini(&request);
    http_destroy(http);
    script_stop(&script);
}

static void sends_bodies(void **state)
{
    (void)state;
    struct http_request put, post, file_put;
    script_start(
        &script,
        STEPS({EMPTY_200, SCRIPT_CLOSE}, {EMPTY_200, SCRIPT_CLOSE}, {EMPTY_200, SCRIPT_CLOSE}), 3);
    struct http *http = make_client(1);
    aim(&put, HTTP_PUT);
    put.body = "0123456789";
    put.body_offset = 3;
    put.body_bytes = 4;
    assert_int_equal(http_request_header(&put, "X-Own: %s", "yes"), 0);
    assert_int_equal(http_start(http, &put), 0);
    assert_int_equal(await(http, &put)->status, 200);
    aim(&post, HTTP_POST);
    assert_int_equal(http_start(http, &post), 0);
    assert_int_equal(await(http, &post)->status, 200);
    aim(&file_put, HTTP_PUT);
    file_put.body_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    file_put.body_offset = 1;
    file_put.body_bytes = 3;
    assert_int_equal(http_start(http, &file_put), 0);
    assert_int_equal(await(http, &file_put)->status, 200);
    close(file_put.body_fd);
    http_request_fini(&put);
    http_request_fini(&post);
    http_request_fini(&file_put);
    http_destroy(http);
    script_stop(&script);
    assert_non_null(strstr(script.requests[0], "PUT /p HTTP/1.1\r\n"));
    assert_non_null(strstr(script.requests[0], "X-Own: yes\r\n"));
    assert_non_null(strstr(script.requests[0], "User-Agent: muster/"));
    assert_non_null(strstr(script.requests[0], "\r\n\r\n3456"));
    assert_non_null(strstr(script.requests[1], "POST /p HTTP/1.1\r\n"));
    assert_non_null(strstr(script.requests[1], "Content-Length: 0\r\n"));
    assert_non_null(strstr(script.requests[2], "\r\n\r\nELF"));
}

static void a_body_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    script_start(&script, STEPS({EMPTY_200, SCRIPT_CLOSE}), 1);
    struct http *http = make_client(1);
    struct http_request request;
    aim(&request, HTTP_PUT);
    request.body_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    request.body_bytes = 3;
    assert_int_equal(http_start(http, &request), 0);
    assert_int_equal(await(http, &request)->rc, -EIO);
    close(request.body_fd);
    http_request_fini(&request);
    http_destroy(http);
    script_stop(&script);
}

static void keeps_long_texts_and_cuts_errors(void **state)
{
    (void)state;
    static char reply[2][100000];
    for (int i = 0; i < 2; i++) {
        int head = snprintf(reply[i], sizeof reply[i], "HTTP/1.1 %d X\r\n\r\n", i ? 404 : 200);
        memset(reply[i] + head, 'x', sizeof reply[i] - 1 - (size_t)head);
    }
    script_start(&script, STEPS({reply[0], SCRIPT_CLOSE}, {reply[1], SCRIPT_CLOSE}), 2);
    struct http *http = make_client(1);
    struct http_request request;
    aim(&request, HTTP_GET);
    assert_int_equal(http_start(http, &request), 0);
    const struct http_answer *answer = await(http, &request);
    assert_true(answer->text_bytes > 99000 && strlen(answer->text) == answer->text_bytes);
    assert_int_equal(http_start(http, &request), 0);
    answer = await(http, &request);
    assert_int_equal(answer->status, 404);
    assert_true(answer->text_bytes <= HTTP_ERROR_TEXT_MAX);
    http_request_fini(&request);
    http_destroy(http);
    script_stop(&script);
}

static void breaks_off(void **state)
{
    (void)state;
    struct http_request first, second, third;
    script_start(&script, STEPS({"", SCRIPT_STALL}, {"", SCRIPT_STALL}), 2);
    struct http *http = make_client(1);
    aim(&first, HTTP_GET);
    aim(&second, HTTP_GET);
    aim(&third, HTTP_GET);
    assert_int_equal(http_start(http, &first), 0);
    assert_int_equal(http_start(http, &second), 0); /* there is room for one more to be read */
    assert_int_equal(http_start(http, &third), -EAGAIN);
    http_cancel(http, &first);
    assert_int_equal(http_start(http, &third), 0);
    third.deadline_ns = 0;
    http_destroy(http); /* with two in flight */
    http_request_fini(&first);
    http_request_fini(&second);
    http_request_fini(&third);
    script_stop(&script);
}

static void knows_why_there_is_no_answer(void **state)
{
    (void)state;
    const struct {
        const char *url;
        int rc;
    } cases[] = {
        {"http://127.0.0.1:1/", -ECONNREFUSED},
        {"http://" SCRIPT_NO_HOST "/", -EHOSTUNREACH},
        {"ftp://127.0.0.1/", -EINVAL},
        {"http://", -EINVAL},
    };
    struct http *http = make_client(1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_request request;
        http_request_init(&request, HTTP_GET);
        request.deadline_ns = soon();
        assert_int_equal(http_request_url(&request, "%s", cases[i].url), 0);
        assert_int_equal(http_start(http, &request), 0);
        const struct http_answer *answer = await(http, &request);
        assert_int_equal(answer->rc, cases[i].rc);
        assert_true(answer->why[0]);
        http_request_fini(&request);
    }
    http_destroy(http);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_headers),
        cmocka_unit_test(a_value_that_is_too_long_is_none),
        cmocka_unit_test(sends_bodies),
        cmocka_unit_test(a_body_that_cannot_be_read_is_an_error),
        cmocka_unit_test(keeps_long_texts_and_cuts_errors),
        cmocka_unit_test(breaks_off),
        cmocka_unit_test(knows_why_there_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
