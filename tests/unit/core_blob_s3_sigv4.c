#include "muster/core/blob/http/escape.h"
#include "muster/core/blob/s3/sigv4.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HOST "examplebucket.s3.amazonaws.com"
#define DATE "20130524T000000Z"

/* The examples of the S3 API reference. */
static const struct sigv4_scope scope = {
    .access_key = "AKIAIOSFODNN7EXAMPLE",
    .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    .region = "us-east-1",
    .service = "s3",
    .date = DATE,
};

static void signs_as(const struct sigv4_request *request, const char *names, const char *signature)
{
    char value[512], want[512];
    assert_int_equal(sigv4_sign(&scope, request, value, sizeof value), 0);
    snprintf(want, sizeof want,
             "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
             "aws4_request,SignedHeaders=%s,Signature=%s",
             names, signature);
    assert_string_equal(value, want);
}

static void signs_a_ranged_get(void **state)
{
    (void)state;
    const struct sigv4_pair headers[] = {{"host", HOST},
                                         {"range", "bytes=0-9"},
                                         {"x-amz-content-sha256", EMPTY_HASH},
                                         {"x-amz-date", DATE}};
    signs_as(&(struct sigv4_request){"GET", "/test.txt", "", headers, 4, EMPTY_HASH},
             "host;range;x-amz-content-sha256;x-amz-date",
             "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void signs_a_put_with_an_escaped_path(void **state)
{
    (void)state;
    const char *hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    char path[64];
    assert_int_equal(http_escape("/test$file.text", true, path, sizeof path), 0);
    const struct sigv4_pair headers[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                         {"host", HOST},
                                         {"x-amz-content-sha256", hash},
                                         {"x-amz-date", DATE},
                                         {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    signs_as(&(struct sigv4_request){"PUT", path, "", headers, 5, hash},
             "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
             "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void signs_queries_sorted(void **state)
{
    (void)state;
    const struct sigv4_pair headers[] = {
        {"host", HOST}, {"x-amz-content-sha256", EMPTY_HASH}, {"x-amz-date", DATE}};
    const char *names = "host;x-amz-content-sha256;x-amz-date";
    struct sigv4_pair pairs[] = {{"prefix", "J"}, {"max-keys", "2"}};
    char query[64];
    assert_int_equal(sigv4_query(pairs, 2, query, sizeof query), 0);
    assert_string_equal(query, "max-keys=2&prefix=J");
    signs_as(&(struct sigv4_request){"GET", "/", query, headers, 3, EMPTY_HASH}, names,
             "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    struct sigv4_pair lifecycle[] = {{"lifecycle", ""}};
    assert_int_equal(sigv4_query(lifecycle, 1, query, sizeof query), 0);
    assert_string_equal(query, "lifecycle=");
    signs_as(&(struct sigv4_request){"GET", "/", query, headers, 3, EMPTY_HASH}, names,
             "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void says_what_does_not_fit(void **state)
{
    (void)state;
    struct sigv4_pair pairs[] = {{"a", "1"}, {"b", "23"}};
    char text[8];
    assert_int_equal(sigv4_query(pairs, 2, text, sizeof text), -ENOSPC);
    const struct sigv4_pair headers[] = {{"host", HOST}};
    struct sigv4_request request = {"GET", "/", "", headers, 1, EMPTY_HASH};
    assert_int_equal(sigv4_sign(&scope, &request, text, sizeof text), -ENOSPC);
    static char huge[20000];
    memset(huge, 'x', sizeof huge - 1);
    request.path = huge;
    char value[512];
    assert_int_equal(sigv4_sign(&scope, &request, value, sizeof value), -ENOSPC);
    struct sigv4_scope long_secret = scope;
    long_secret.secret_key = huge;
    request.path = "/";
    assert_int_equal(sigv4_sign(&long_secret, &request, value, sizeof value), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_a_ranged_get),
        cmocka_unit_test(signs_a_put_with_an_escaped_path),
        cmocka_unit_test(signs_queries_sorted),
        cmocka_unit_test(says_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
