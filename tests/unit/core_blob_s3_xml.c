#include "muster/core/blob/s3/xml.h"

#include "muster/core/blob/xml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int note(void *arg, const char *key, const struct mst_blob_info *info)
{
    char *notes = arg;
    size_t used = strlen(notes);
    snprintf(notes + used, 256 - used, "%s|%llu|%s;", key, (unsigned long long)info->size_bytes,
             info->version);
    return strcmp(key, "stop") == 0 ? 7 : 0;
}

static int list(const char *text, char notes[256], struct s3_page *page)
{
    notes[0] = '\0';
    return s3_xml_list(text, strlen(text), note, notes, page);
}

#define OBJECT(key, size)                                                                          \
    "<Contents><Key>" key "</Key><ETag>&quot;e&quot;</ETag><Size>" size "</Size></Contents>"

static void reads_listings(void **state)
{
    (void)state;
    struct s3_page page;
    char notes[256];
    assert_int_equal(list("<?xml version=\"1.0\"?><s:ListBucketResult xmlns:s=\"u\">" OBJECT(
                              "a%2Fb+c", "18446744073709551615") "<EncodingType>url</EncodingType>"
                                                                 "</s:ListBucketResult>",
                          notes, &page),
                     0);
    assert_string_equal(notes, "a/b c|18446744073709551615|\"e\";");
    assert_int_equal(page.truncated, 0);
    assert_int_equal(
        list("<ListBucketResult>" OBJECT("a%2F+&amp;", "1") "</ListBucketResult>", notes, &page),
        0);
    assert_string_equal(notes, "a%2F+&|1|\"e\";");
    assert_int_equal(list("<ListBucketResult>" OBJECT("stop", "1")
                              OBJECT("b", "1") "</ListBucketResult>",
                          notes, &page),
                     7);
    assert_string_equal(notes, "stop|1|\"e\";");
}

static void refuses_what_is_no_listing(void **state)
{
    (void)state;
    const char *const bad[] = {
        "",
        "<ListBucketResult>",
        "<Other/>",
        "<ListBucketResult>" OBJECT("a", "-1") "</ListBucketResult>",
        "<ListBucketResult>" OBJECT("a", "1x") "</ListBucketResult>",
        "<ListBucketResult>" OBJECT("a", "18446744073709551616") "</ListBucketResult>",
        "<ListBucketResult><EncodingType>url</EncodingType>" OBJECT("a%2",
                                                                    "1") "</ListBucketResult>",
        "<ListBucketResult><EncodingType>url</EncodingType>" OBJECT("a%00",
                                                                    "1") "</ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult>&a;</ListBucketResult>",
    };
    struct s3_page page;
    char notes[256];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(list(bad[i], notes, &page), -EBADMSG);
}

static void reads_errors_and_ids(void **state)
{
    (void)state;
    const char *text = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
    struct s3_error error;
    assert_int_equal(s3_xml_error(text, strlen(text), &error), 0);
    assert_string_equal(error.code, "NoSuchKey");
    assert_string_equal(error.message, "gone");
    assert_string_equal(error.region, "");
    assert_int_equal(s3_xml_error("<Error/>", 8, &error), -EBADMSG);
    assert_int_equal(s3_xml_error("oops", 4, &error), -EBADMSG);
    text = "<InitiateMultipartUploadResult><UploadId>1234567</UploadId>"
           "</InitiateMultipartUploadResult>";
    char id[8];
    assert_int_equal(s3_xml_upload_id(text, strlen(text), id, sizeof id), 0);
    assert_string_equal(id, "1234567");
    assert_int_equal(s3_xml_upload_id(text, strlen(text), id, 7), -ENOSPC);
    assert_int_equal(s3_xml_upload_id("<a/>", 4, id, sizeof id), -EBADMSG);
}

static void a_session_needs_all_its_parts(void **state)
{
    (void)state;
    const char *text = "<R><Credentials><AccessKeyId>A</AccessKeyId></Credentials></R>";
    struct s3_session session;
    assert_int_equal(s3_xml_session(text, strlen(text), &session), -EBADMSG);
}

static int count_element(void *arg, const char *parent, const char *name, const char *text)
{
    (void)parent;
    (void)name;
    *(size_t *)arg += strlen(text);
    return 0;
}

static void limits_depth_and_text(void **state)
{
    (void)state;
    const char *deep = "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>";
    size_t bytes = 0;
    assert_int_equal(xml_read(deep, strlen(deep), count_element, &bytes), -EBADMSG);
    char *long_text = malloc(XML_TEXT_MAX + 16);
    assert_non_null(long_text);
    memset(long_text, 'x', XML_TEXT_MAX + 16);
    memcpy(long_text, "<a>", 3);
    memcpy(long_text + XML_TEXT_MAX + 2, "</a>", 4);
    assert_int_equal(xml_read(long_text, XML_TEXT_MAX + 6, count_element, &bytes), 0);
    assert_int_equal(bytes, XML_TEXT_MAX - 1);
    memcpy(long_text + XML_TEXT_MAX + 2, "x</a>", 5);
    assert_int_equal(xml_read(long_text, XML_TEXT_MAX + 7, count_element, &bytes), -EBADMSG);
    free(long_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_listings),        cmocka_unit_test(refuses_what_is_no_listing),
        cmocka_unit_test(reads_errors_and_ids),  cmocka_unit_test(a_session_needs_all_its_parts),
        cmocka_unit_test(limits_depth_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
