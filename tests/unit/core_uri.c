#include "muster/core/uri.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/err.h"

static void splits_into_parts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *scheme, *authority, *path, *query;
    } cases[] = {
        {"data/train.bin", "file", "", "data/train.bin", ""},
        {"/data/50%/a?b", "file", "", "/data/50%/a?b", ""},
        {"./s3:odd", "file", "", "./s3:odd", ""},
        {"7z:odd", "file", "", "7z:odd", ""},
        {"file:/a/b", "file", "", "/a/b", ""},
        {"file:///a/b", "file", "", "/a/b", ""},
        {"FILE://localhost/a%20b", "file", "localhost", "/a b", ""},
        {"s3://bucket/key%2fx%2B/#1", "s3", "bucket", "/key/x+/#1", ""},
        {"s3://b/%09%10%ef%aF", "s3", "b", "/\t\x10\xef\xaf", ""},
        {"s3://bucket", "s3", "bucket", "/", ""},
        {"hdfs://nn:8020/d?user=a&x=%41", "hdfs", "nn:8020", "/d", "user=a&x=%41"},
        {"http://[::1]:80?q", "http", "[::1]:80", "/", "q"},
        {"http://me@host/", "http", "me@host", "/", ""},
        {"a+b-c.1:/x?", "a+b-c.1", "", "/x", ""},
        {"http://h//a//b??", "http", "h", "//a//b", "?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mst_uri uri;
        assert_int_equal(mst_uri_parse(cases[i].text, &uri, NULL), 0);
        assert_string_equal(uri.scheme, cases[i].scheme);
        assert_string_equal(uri.authority, cases[i].authority);
        assert_string_equal(uri.path, cases[i].path);
        assert_string_equal(uri.query, cases[i].query);
    }
}

static void refuses_with_the_fault(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"", "empty"},
        {"file:", "not absolute"},
        {"file:rel/x", "not absolute"},
        {"s3:bucket/x", "not absolute"},
        {"s3:///a%2", "percent"},
        {"s3://b/a%", "percent"},
        {"s3://b/%zz", "percent"},
        {"s3://b/a%00b", "percent"},
        {"http://u:secretword@h/x", "credentials"},
        {"http://ho st/x", "0x20"},
        {"http://h\n/x", "0x0a"},
        {"averylongscheme1:/x", "scheme is over 15"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mst_uri uri = {.path = "before"};
        struct mst_err err = {0};
        assert_int_equal(mst_uri_parse(cases[i].text, &uri, &err), -EINVAL);
        assert_non_null(strstr(err.text, cases[i].fault));
        assert_null(strstr(err.text, "secretword"));
        assert_string_equal(uri.path, "before");
    }
}

/* "<head><length times x>" parses up to the part's room, and one more byte is refused. */
static void check_room(const char *head, size_t room, const char *fault)
{
    size_t start = strlen(head);
    char text[2048];
    memcpy(text, head, start);
    memset(text + start, 'x', room + 1);
    text[start + room] = '\0';
    struct mst_uri uri;
    struct mst_err err = {0};
    assert_int_equal(mst_uri_parse(text, &uri, &err), 0);
    text[start + room] = 'x';
    text[start + room + 1] = '\0';
    assert_int_equal(mst_uri_parse(text, &uri, &err), -EINVAL);
    assert_non_null(strstr(err.text, fault));
}

static void fills_each_part_to_its_room(void **state)
{
    (void)state;
    struct mst_uri uri;
    check_room("", sizeof uri.path - 1, "path is over 1023");
    check_room("s3://b/", sizeof uri.path - 2, "path is over 1023");
    check_room("s3://", sizeof uri.authority - 1, "authority is over 255");
    check_room("s3://b/?", sizeof uri.query - 1, "query is over 511");
}

static void finds_parameters(void **state)
{
    (void)state;
    struct mst_uri uri;
    assert_int_equal(
        mst_uri_parse("s3://b/k?ab=1&a=x%26y&empty=&bare&bad=%4&nine=123456789", &uri, NULL), 0);
    char value[8];
    assert_int_equal(mst_uri_param(&uri, "a", value, sizeof value), 0);
    assert_string_equal(value, "x&y");
    assert_int_equal(mst_uri_param(&uri, "ab", value, sizeof value), 0);
    assert_string_equal(value, "1");
    assert_int_equal(mst_uri_param(&uri, "empty", value, sizeof value), 0);
    assert_string_equal(value, "");
    assert_int_equal(mst_uri_param(&uri, "bare", value, sizeof value), 0);
    assert_string_equal(value, "");
    assert_int_equal(mst_uri_param(&uri, "b", value, sizeof value), -ENOENT);
    assert_int_equal(mst_uri_param(&uri, "1", value, sizeof value), -ENOENT);
    assert_int_equal(mst_uri_param(&uri, "bad", value, sizeof value), -EINVAL);
    assert_int_equal(mst_uri_param(&uri, "nine", value, sizeof value), -ENOSPC);
}

static void gives_local_paths_only(void **state)
{
    (void)state;
    struct mst_err err = {0};
    char path[32];
    assert_int_equal(mst_uri_file_path("file:///a%20b", path, sizeof path, &err), 0);
    assert_string_equal(path, "/a b");
    assert_int_equal(mst_uri_file_path("rel", path, sizeof path, &err), 0);
    assert_string_equal(path, "rel");
    assert_int_equal(mst_uri_file_path("s3://b/k", path, sizeof path, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "s3"));
    assert_int_equal(mst_uri_file_path("file://data/x", path, sizeof path, &err), -EINVAL);
    assert_non_null(strstr(err.text, "three slashes"));
    assert_int_equal(mst_uri_file_path("/a/path/longer/than/thirty-one/b", path, sizeof path, &err),
                     -EINVAL);
    assert_int_equal(mst_uri_file_path("", path, sizeof path, &err), -EINVAL);
    assert_string_equal(path, "rel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_into_parts),           cmocka_unit_test(refuses_with_the_fault),
        cmocka_unit_test(fills_each_part_to_its_room), cmocka_unit_test(finds_parameters),
        cmocka_unit_test(gives_local_paths_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
