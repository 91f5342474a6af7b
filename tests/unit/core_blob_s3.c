#include "muster/core/blob/blob.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "unit/http_script.h"

#define ERROR(status, code, more)                                                                  \
    REPLY(status, "<?xml version=\"1.0\"?><Error><Code>" code                                      \
                  "</Code><Message>told</Message>" more "</Error>")
#define OK REPLY("200 OK", "")

static struct http_script script;
static const struct mst_cspan xy = {"xy", 2, MST_MEM_HOST};

static void prepare(const struct script_step *steps, size_t count)
{
    script_start(&script, steps, count);
    assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "somekey", 1), 0);
    assert_int_equal(setenv("AWS_SECRET_ACCESS_KEY", "hush", 1), 0);
    assert_int_equal(unsetenv("AWS_REGION") | unsetenv("AWS_DEFAULT_REGION"), 0);
}

static struct mst_blob *open_bucket(void)
{
    const struct mst_blob_opts opts = {.depth = 2, .timeout_ms = 5000};
    char uri[128];
    snprintf(uri, sizeof uri, "s3://bkt/pre?endpoint=http://127.0.0.1:%u", script.port);
    struct mst_blob *blob = NULL;
    assert_int_equal(mst_blob_open(uri, &opts, &blob, NULL), 0);
    return blob;
}

static bool asked(size_t index, const char *text)
{
    return strstr(script.requests[index], text) != NULL;
}

/* What a put of two bytes says, when it is answered so. */
static int put(const struct script_step *steps, size_t count, uint32_t flags, struct mst_err *err)
{
    prepare(steps, count);
    struct mst_blob *blob = open_bucket();
    int rc = mst_blob_put(blob, "a b", xy, flags, soon(), err);
    mst_blob_close(blob);
    script_stop(&script);
    assert_int_equal(script.served, count);
    return rc;
}

static void puts_signed(void **state)
{
    (void)state;
    assert_int_equal(put(STEPS({OK, SCRIPT_CLOSE}), 1, MST_BLOB_NEW, NULL), 0);
    assert_true(asked(0, "PUT /bkt/pre/a%20b HTTP/1.1\r\n"));
    assert_true(asked(0, "If-None-Match: *\r\n"));
    assert_true(asked(0, "Credential=somekey/"));
    assert_true(asked(0, "/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;"));
    assert_true(asked(0, "x-amz-content-sha256: "
                         "769a4e6d0003189c7e96c5d9b7e810a0d11c3a12832527ec94b0f86d277f51ca\r\n"));
    assert_true(asked(0, "\r\n\r\nxy"));
    assert_false(asked(0, "hush"));
    assert_false(asked(0, "UNSIGNED-PAYLOAD"));
}

static void tells_what_is_there_already(void **state)
{
    (void)state;
    struct mst_err err;
    int rc = put(STEPS({ERROR("412 Precondition Failed", "PreconditionFailed", ""), SCRIPT_CLOSE}),
                 1, MST_BLOB_NEW, &err);
    assert_int_equal(rc, -EEXIST);
    rc = put(STEPS({ERROR("409 Conflict", "ConditionalRequestConflict", ""), SCRIPT_CLOSE},
                   {OK, SCRIPT_CLOSE}),
             2, MST_BLOB_NEW, &err);
    assert_int_equal(rc, 0);
}

/* The answer to the first try is lost; the second finds an object. */
static void knows_its_own_object(void **state)
{
    (void)state;
    const char *taken = ERROR("412 Precondition Failed", "PreconditionFailed", "");
    struct mst_err err;
    int rc = put(STEPS({"", SCRIPT_RESET}, {taken, SCRIPT_CLOSE},
                       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n"
                        "ETag: \"3e44107170a520582ade522fa73c1d15\"\r\n\r\n",
                        SCRIPT_CLOSE}),
                 3, MST_BLOB_NEW, &err);
    assert_int_equal(rc, 0);
    rc = put(STEPS({"", SCRIPT_RESET}, {taken, SCRIPT_CLOSE},
                   {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n"
                    "ETag: \"other\"\r\n\r\n",
                    SCRIPT_CLOSE}),
             3, MST_BLOB_NEW, &err);
    assert_int_equal(rc, -EEXIST);
}

static void signs_again_for_the_right_region(void **state)
{
    (void)state;
    struct mst_err err;
    int rc = put(STEPS({ERROR("400 Bad Request", "AuthorizationHeaderMalformed",
                              "<Region>eu-west-1</Region>"),
                        SCRIPT_CLOSE},
                       {OK, SCRIPT_CLOSE}),
                 2, 0, &err);
    assert_int_equal(rc, 0);
    assert_true(asked(0, "/us-east-1/s3/"));
    assert_true(asked(1, "/eu-west-1/s3/"));
    rc = put(
        STEPS(
            {ERROR("400 Bad Request", "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
             SCRIPT_CLOSE},
            {ERROR("400 Bad Request", "AuthorizationHeaderMalformed", "<Region>us-east-1</Region>"),
             SCRIPT_CLOSE}),
        2, 0, &err);
    assert_int_equal(rc, -EACCES);
    assert_non_null(strstr(err.text, "wrong region eu-west-1"));
}

static void sets_its_clock_by_the_server(void **state)
{
    (void)state;
    struct mst_err err;
    int rc = put(STEPS({"HTTP/1.1 403 Forbidden\r\nDate: Tue, 01 Jan 2030 00:00:30 GMT\r\n"
                        "Connection: close\r\n\r\n<Error><Code>RequestTimeTooSkewed</Code></Error>",
                        SCRIPT_CLOSE},
                       {OK, SCRIPT_CLOSE}),
                 2, 0, &err);
    assert_int_equal(rc, 0);
    assert_true(asked(1, "x-amz-date: 20300101T00003"));
}

static void names_the_key_that_was_denied(void **state)
{
    (void)state;
    struct mst_err err;
    int rc = put(STEPS({ERROR("403 Forbidden", "SignatureDoesNotMatch", ""), SCRIPT_CLOSE}), 1, 0,
                 &err);
    assert_int_equal(rc, -EACCES);
    assert_non_null(strstr(err.text, "SignatureDoesNotMatch"));
    assert_non_null(strstr(err.text, "the environment"));
    assert_null(strstr(err.text, "hush"));
    rc = put(STEPS({ERROR("404 Not Found", "NoSuchBucket", ""), SCRIPT_CLOSE}), 1, 0, &err);
    assert_int_equal(rc, -ENOENT);
    assert_non_null(strstr(err.text, "no bucket bkt"));
    rc = put(STEPS({ERROR("404 Not Found", "XAdminUserNotFound", ""), SCRIPT_CLOSE}), 1, 0, &err);
    assert_int_equal(rc, -EACCES);
}

static int note_key(void *arg, const char *key, const struct mst_blob_info *info)
{
    char *keys = arg;
    size_t used = strlen(keys);
    snprintf(keys + used, 256 - used, "%s=%llu ", key, (unsigned long long)info->size_bytes);
    return 0;
}

/* Keys that end in a minute, from a service that then goes away: it holds up one request only. */
static void a_failed_renewal_is_not_tried_before_every_request(void **state)
{
    (void)state;
    char keys[256], when[32], url[64];
    time_t soon = time(NULL) + 60;
    struct tm tm;
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&soon, &tm)); /* fits */
    snprintf(keys, sizeof keys,
             REPLY("200 OK", "{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\","
                             "\"Token\":\"TK\",\"Expiration\":\"%s\"}"),
             when);
    const struct script_step steps[] = {{keys, SCRIPT_CLOSE},
                                        {REPLY("500 Oops", ""), SCRIPT_CLOSE},
                                        {OK, SCRIPT_CLOSE},
                                        {OK, SCRIPT_CLOSE}};
    prepare(steps, 4);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/keys", script.port);
    assert_int_equal(unsetenv("AWS_ACCESS_KEY_ID") | unsetenv("AWS_SECRET_ACCESS_KEY"), 0);
    assert_int_equal(setenv("HOME", "/nonexistent", 1), 0);
    assert_int_equal(setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1), 0);
    struct mst_blob *blob = open_bucket();
    assert_int_equal(unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), 0);
    assert_int_equal(mst_blob_put(blob, "a", xy, 0, mst_deadline_ms(5000), NULL), 0);
    assert_int_equal(mst_blob_put(blob, "b", xy, 0, mst_deadline_ms(5000), NULL), 0);
    mst_blob_close(blob);
    script_stop(&script);
    assert_int_equal(script.served, 4);
    assert_true(asked(1, "GET /keys"));
    assert_true(asked(2, "PUT /bkt/pre/a"));
    assert_true(asked(3, "PUT /bkt/pre/b"));
}

static void a_bucket_is_no_object(void **state)
{
    (void)state;
    prepare(NULL, 0);
    struct mst_blob *blob = NULL;
    assert_int_equal(mst_blob_open("s3://bkt?endpoint=http://127.0.0.1:1", NULL, &blob, NULL), 0);
    struct mst_blob_info info;
    assert_int_equal(mst_blob_stat(blob, "", &info, soon(), NULL), -ENOENT);
    mst_blob_close(blob);
    script_stop(&script);
}

static void lists_all_pages(void **state)
{
    (void)state;
    const char *first = REPLY(
        "200 OK",
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
        "<NextContinuationToken>to/ken=</NextContinuationToken><Contents><Key>pre/d/</Key>"
        "<Size>0</Size></Contents><Contents><Key>pre/d/a+%2B</Key><Size>5</Size></Contents>"
        "</ListBucketResult>");
    const char *second = REPLY("200 OK",
                               "<ListBucketResult><IsTruncated>false</IsTruncated><Contents>"
                               "<Key>pre/d/b+</Key><Size>6</Size></Contents></ListBucketResult>");
    char keys[256] = "";
    prepare(STEPS({first, SCRIPT_CLOSE}, {second, SCRIPT_CLOSE}), 2);
    struct mst_blob *blob = open_bucket();
    assert_int_equal(mst_blob_list(blob, "d/", note_key, keys, soon(), NULL), 0);
    mst_blob_close(blob);
    script_stop(&script);
    assert_string_equal(keys, "d/a +=5 d/b+=6 ");
    assert_true(asked(0, "GET /bkt?encoding-type=url&list-type=2&prefix=pre%2Fd%2F HTTP/1.1"));
    assert_true(asked(1, "continuation-token=to%2Fken%3D&"));
}

/* Or it would be asked for ever. */
static void a_listing_that_does_not_go_on_is_refused(void **state)
{
    (void)state;
    const char *page = REPLY(
        "200 OK", "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>same"
                  "</NextContinuationToken></ListBucketResult>");
    char keys[256] = "";
    struct mst_err err = {0};
    prepare(STEPS({page, SCRIPT_CLOSE}, {page, SCRIPT_CLOSE}), 2);
    struct mst_blob *blob = open_bucket();
    assert_int_equal(mst_blob_list(blob, "d/", note_key, keys, soon(), &err), -EBADMSG);
    assert_non_null(strstr(err.text, "does not go on"));
    mst_blob_close(blob);
    script_stop(&script);
}

#define FOUND(key) "<Contents><Key>" key "</Key><Size>1</Size></Contents>"

static void lists_without_what_is_hidden(void **state)
{
    (void)state;
    const char *page = REPLY(
        "200 OK", "<ListBucketResult><IsTruncated>false</IsTruncated>" FOUND("pre/.a/b")
                      FOUND("pre/a/_b/c") FOUND("pre/a/c") FOUND("pre/b_") "</ListBucketResult>");
    char keys[256] = "", uri[64];
    prepare(STEPS({page, SCRIPT_CLOSE}), 1);
    snprintf(uri, sizeof uri, "s3://bkt/pre/?endpoint=http://127.0.0.1:%u", script.port);
    struct mst_blob *blob;
    assert_int_equal(mst_blob_open(uri, &(struct mst_blob_opts){.skip_hidden = true}, &blob, NULL),
                     0);
    assert_int_equal(mst_blob_list(blob, "", note_key, keys, soon(), NULL), 0);
    assert_string_equal(keys, "a/c=1 b_=1 ");
    assert_int_equal(mst_blob_hidden_count(blob), 2);
    mst_blob_close(blob);
    script_stop(&script);
}

static void finds_out_why_a_head_failed(void **state)
{
    (void)state;
    prepare(STEPS({"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n", SCRIPT_CLOSE},
                  {ERROR("400 Bad", "AuthorizationHeaderMalformed", "<Region>there</Region>"),
                   SCRIPT_CLOSE},
                  {"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-0/77\r\nETag: \"e\"\r\n"
                   "Content-Length: 1\r\n\r\nx",
                   SCRIPT_CLOSE}),
            3);
    struct mst_blob *blob = open_bucket();
    struct mst_err err;
    struct mst_blob_info info;
    assert_int_equal(mst_blob_stat(blob, "k", &info, soon(), &err), 0);
    assert_int_equal(info.size_bytes, 77);
    assert_string_equal(info.version, "\"e\"");
    mst_blob_close(blob);
    script_stop(&script);
    assert_true(asked(0, "HEAD "));
    assert_true(asked(2, "/there/s3/"));
}

#define BEGUN                                                                                      \
    REPLY("200 OK", "<InitiateMultipartUploadResult><UploadId>u/1</UploadId>"                      \
                    "</InitiateMultipartUploadResult>")
#define PART "HTTP/1.1 200 OK\r\nETag: \"p\"\r\nConnection: close\r\n\r\n"

/* A put of a little more than 64 MiB: five parts. */
static int put_large(const struct script_step *steps, size_t count, struct mst_err *err)
{
    size_t size = ((size_t)64 << 20) + 1;
    char *data = calloc(1, size);
    assert_non_null(data);
    prepare(steps, count);
    struct mst_blob *blob = open_bucket();
    int rc = mst_blob_put(blob, "k", (struct mst_cspan){data, size, MST_MEM_HOST}, MST_BLOB_NEW,
                          soon(), err);
    mst_blob_close(blob);
    script_stop(&script);
    free(data);
    assert_int_equal(script.served, count);
    return rc;
}

static void uploads_in_parts(void **state)
{
    (void)state;
    int rc = put_large(STEPS({BEGUN, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE},
                             {REPLY("503 Slow Down", ""), SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE},
                             {PART, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE},
                             {REPLY("200 OK", "<CompleteMultipartUploadResult/>"), SCRIPT_CLOSE}),
                       8, NULL);
    assert_int_equal(rc, 0);
    assert_true(asked(0, "POST /bkt/pre/k?uploads= HTTP/1.1"));
    assert_true(asked(1, "&uploadId=u%2F1 HTTP/1.1"));
    assert_true(asked(7, "POST /bkt/pre/k?uploadId=u%2F1 HTTP/1.1"));
    assert_true(asked(7, "If-None-Match: *"));
    assert_true(asked(7, "<Part><PartNumber>5</PartNumber><ETag>\"p\"</ETag></Part>"));
}

static void an_upload_that_fails_is_taken_back(void **state)
{
    (void)state;
    struct mst_err err;
    int rc = put_large(STEPS({BEGUN, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE},
                             {PART, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE},
                             {ERROR("200 OK", "EntityTooSmall", ""), SCRIPT_CLOSE},
                             {REPLY("204 No Content", ""), SCRIPT_CLOSE}),
                       8, &err);
    assert_int_equal(rc, -EBADMSG);
    assert_non_null(strstr(err.text, "EntityTooSmall"));
    assert_true(asked(7, "DELETE /bkt/pre/k?uploadId=u%2F1 HTTP/1.1"));
}

static void an_upload_whose_end_was_lost_is_whole(void **state)
{
    (void)state;
    int rc = put_large(STEPS({BEGUN, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE},
                             {PART, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE}, {PART, SCRIPT_CLOSE},
                             {"", SCRIPT_RESET},
                             {ERROR("404 Not Found", "NoSuchUpload", ""), SCRIPT_CLOSE},
                             {"HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n"
                              "Connection: close\r\nETag: \"x-5\"\r\n\r\n",
                              SCRIPT_CLOSE}),
                       9, NULL);
    assert_int_equal(rc, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_signed),
        cmocka_unit_test(tells_what_is_there_already),
        cmocka_unit_test(knows_its_own_object),
        cmocka_unit_test(signs_again_for_the_right_region),
        cmocka_unit_test(sets_its_clock_by_the_server),
        cmocka_unit_test(names_the_key_that_was_denied),
        cmocka_unit_test(a_failed_renewal_is_not_tried_before_every_request),
        cmocka_unit_test(a_bucket_is_no_object),
        cmocka_unit_test(lists_all_pages),
        cmocka_unit_test(a_listing_that_does_not_go_on_is_refused),
        cmocka_unit_test(lists_without_what_is_hidden),
        cmocka_unit_test(finds_out_why_a_head_failed),
        cmocka_unit_test(uploads_in_parts),
        cmocka_unit_test(an_upload_that_fails_is_taken_back),
        cmocka_unit_test(an_upload_whose_end_was_lost_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
