#include "muster/dataio/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_names_tell_the_format(void **state)
{
    (void)state;
    assert_int_equal(record_format_of("x.bin", true), MST_FORMAT_MEGATRON);
    assert_int_equal(record_format_of("x.bin.gz", true), MST_FORMAT_MEGATRON);
    assert_int_equal(record_format_of("x.bin", false), MST_FORMAT_RAW);
    assert_int_equal(record_format_of("x.txt", true), MST_FORMAT_LINES);
    assert_int_equal(record_format_of("x.jsonl.gz", false), MST_FORMAT_LINES);
    assert_int_equal(record_format_of("gcide.dict.dz", false), MST_FORMAT_RAW);
    assert_int_equal(record_format_of("", false), MST_FORMAT_RAW);
    assert_int_equal(record_format_of(".gz", false), MST_FORMAT_RAW);
}

static void test_gzip_names(void **state)
{
    (void)state;
    assert_true(record_is_gzip("a.gz"));
    assert_true(record_is_gzip("a.dz"));
    assert_false(record_is_gzip("a.gzip"));
    assert_false(record_is_gzip("gz"));
}

static void test_formats_have_names(void **state)
{
    (void)state;
    enum mst_format format = MST_FORMAT_RAW;
    assert_int_equal(record_format_parse("auto", &format), 0);
    assert_int_equal(format, MST_FORMAT_AUTO);
    for (size_t i = 0; record_readers[i]; i++) {
        assert_int_equal(record_format_parse(record_readers[i]->name, &format), 0);
        assert_int_equal(format, record_readers[i]->format);
    }
    assert_int_equal(record_format_parse("csv", &format), -EINVAL);
    assert_int_equal(record_format_parse("", &format), -EINVAL);
}

static void test_table_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; record_readers[i]; i++) {
        const struct record_reader *reader = record_readers[i];
        assert_non_null(reader->name);
        assert_ptr_equal(record_reader_of(reader->format), reader);
        assert_true(!reader->cut == !!reader->scan); /* one of the two */
        assert_true(!reader->scan == !reader->finish);
    }
    assert_null(record_reader_of(MST_FORMAT_AUTO));
    assert_null(record_reader_of((enum mst_format)99));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_tell_the_format),
        cmocka_unit_test(test_gzip_names),
        cmocka_unit_test(test_formats_have_names),
        cmocka_unit_test(test_table_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
