#include "muster/dataio/uris.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

struct parting {
    const char *uri, *place, *name;
};

/* Both parts of each; an escape that is none is an error. */
static void expect_parts(int (*part)(const char *, char *, char *), const struct parting *cases,
                         size_t count)
{
    char place[URI_BYTES_MAX], name[URI_BYTES_MAX];
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(part(cases[i].uri, place, name), 0);
        assert_string_equal(place, cases[i].place);
        assert_string_equal(name, cases[i].name);
    }
    assert_int_equal(part("s3://b/%zz", place, name), -EINVAL);
}

static void test_split(void **state)
{
    (void)state;
    static const struct parting cases[] = {
        {"s3://b/dir/name", "s3://b/dir/", "name"},
        {"s3://b/dir/na%20me%2Fx?endpoint=http://h/y", "s3://b/dir/?endpoint=http://h/y",
         "na me/x"},
        {"http://h:1/x", "http://h:1/", "x"},
        {"http://h", "http://h", ""},
        {"http://h?q", "http://h?q", ""},
        {"file:///a/b", "file:///a/", "b"},
        {"file:/a", "file:/", "a"},
        {"/a/b?c%20", "/a/", "b?c%20"},
        {"name", "", "name"},
    };
    expect_parts(uris_split, cases, sizeof cases / sizeof *cases);
    char folder[URI_BYTES_MAX], name[URI_BYTES_MAX];
    assert_int_equal(uris_split("", folder, name), -EINVAL);
}

static void test_place(void **state)
{
    (void)state;
    static const struct parting cases[] = {
        {"s3://b/dir/sub/na%20me?endpoint=http://h/y", "s3://b/?endpoint=http://h/y",
         "dir/sub/na me"},
        {"http://h:1/x", "http://h:1/", "x"},
        {"http://h?q", "http://h?q", ""},
        {"hdfs:///a/b", "hdfs:///", "a/b"},
        /* What no key may have stays in the place. */
        {"s3://b/dir/../x", "s3://b/dir/../", "x"},
        {"s3://b/dir/%2e%2e/x", "s3://b/dir/%2e%2e/", "x"},
        {"s3://b//x/y", "s3://b//x/", "y"},
        {"s3://b/..x/y.", "s3://b/", "..x/y."},
    };
    expect_parts(uris_place, cases, sizeof cases / sizeof *cases);
}

static void test_relatives(void **state)
{
    (void)state;
    char uri[URI_BYTES_MAX];
    assert_int_equal(uris_sibling("s3://b/dir/x?q", "y/z", uri), 0);
    assert_string_equal(uri, "s3://b/dir/y/z?q");
    assert_int_equal(uris_sibling("x", "y", uri), 0);
    assert_string_equal(uri, "y");
    assert_int_equal(uris_child("s3://b/dir/?q", "x/y z%", uri), 0);
    assert_string_equal(uri, "s3://b/dir/x/y%20z%25?q");
    assert_int_equal(uris_child("dir/", "y z", uri), 0);
    assert_string_equal(uri, "dir/y z");
    assert_int_equal(uris_replace_end("http://h/x.bin?q=.bin", 4, ".idx", uri), 0);
    assert_string_equal(uri, "http://h/x.idx?q=.bin");
}

static void test_what_they_are(void **state)
{
    (void)state;
    assert_true(uris_is_relative("a:b") == false);
    assert_true(uris_is_relative("a/b"));
    assert_false(uris_is_relative("/a"));
    assert_true(uris_is_local("/a") && uris_is_local("FILE:/a") && uris_is_local("a"));
    assert_false(uris_is_local("s3://b/file:"));
    assert_true(uris_ends_with("s3://b/x.gz?y", ".gz"));
    assert_false(uris_ends_with("x.gz?y", ".gz")); /* a path has no query */
    assert_false(uris_ends_with("z", ".gz"));
    assert_true(uris_text_ends_with("x.bin.gz", 5, ".bin"));
    assert_false(uris_text_ends_with("x.bin.gz", 4, ".bin"));
    assert_true(uris_text_ends_with(".bin", 4, ".bin"));
    assert_false(uris_text_ends_with("bin", 3, ".bin"));
}

static void test_too_long(void **state)
{
    (void)state;
    char uri[URI_BYTES_MAX], name[URI_BYTES_MAX], longest[URI_BYTES_MAX + 10];
    memset(longest, '+', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(uris_sibling("x/y", longest, uri), -EINVAL);
    assert_int_equal(uris_child("s3://b/", longest, uri), -EINVAL);
    assert_int_equal(uris_split(longest, uri, name), -EINVAL);
    longest[1000] = '\0'; /* escaped it is too long */
    assert_int_equal(uris_child("s3://b/", longest, uri), -EINVAL);
    assert_int_equal(uris_child("s3/", longest, uri), 0);
}

static void test_queries_are_not_shown(void **state)
{
    (void)state;
    assert_int_equal(uris_shown_bytes("http://h/a?sig=x"), strlen("http://h/a"));
    assert_int_equal(uris_shown_bytes("s3://b/a"), strlen("s3://b/a"));
    assert_int_equal(uris_shown_bytes("/what?.txt"), strlen("/what?.txt"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),     cmocka_unit_test(test_place),
        cmocka_unit_test(test_relatives), cmocka_unit_test(test_what_they_are),
        cmocka_unit_test(test_too_long),  cmocka_unit_test(test_queries_are_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
