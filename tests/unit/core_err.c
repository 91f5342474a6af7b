#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void sets_code_and_text(void **state)
{
    (void)state;
    struct mst_err err = {0};
    assert_int_equal(mst_err_set(&err, -EINVAL, "shard %d: %s", 3, "empty"), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, "shard 3: empty");
}

static void accepts_null(void **state)
{
    (void)state;
    assert_int_equal(mst_err_set(NULL, -EIO, "x"), -EIO);
    assert_int_equal(mst_err_wrap(NULL, "x"), 0);
}

static void wraps_from_the_outside(void **state)
{
    (void)state;
    struct mst_err err = {0};
    mst_err_set(&err, -ENOENT, "no such file");
    assert_int_equal(mst_err_wrap(&err, "shard %d", 7), -ENOENT);
    assert_int_equal(mst_err_wrap(&err, "data set %s", "a"), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "data set a: shard 7: no such file");
}

static void may_quote_its_own_text(void **state)
{
    (void)state;
    struct mst_err err = {0};
    mst_err_set(&err, -EIO, "first");
    mst_err_set(&err, -EIO, "%s, then second", err.text);
    assert_string_equal(err.text, "first, then second");
}

static void a_long_text_loses_its_middle(void **state)
{
    (void)state;
    char longer[8000];
    memset(longer, 'a', sizeof longer - 1);
    for (size_t size = 100; size < sizeof longer; size += size < 400 ? 1 : 1000) {
        struct mst_err err = {0};
        bool is_cut = size + strlen("host : correct it") >= sizeof err.text;
        bool is_hopeless = size > 4500;
        mst_err_set(&err, -EIO, "host %.*s: correct it", (int)size, longer);
        assert_memory_equal(err.text, "host aaa", 8);
        assert_true(is_hopeless || strstr(err.text, "aaa: correct it"));
        assert_int_equal(strstr(err.text, "a…a") != NULL, is_cut);
        assert_true(!is_cut || strlen(err.text) == sizeof err.text - 1);
        mst_err_wrap(&err, "head");
        assert_memory_equal(err.text, "head: host aaa", 14);
        assert_true(is_hopeless || strstr(err.text, "aaa: correct it"));
        assert_true(strlen(err.text) < sizeof err.text);
    }
}

/* Bytes of the whole character at `text`, or 0. */
static size_t step_over(const char *text, const char *character)
{
    size_t width = strlen(character);
    if (strncmp(text, character, width) == 0)
        return width;
    return *text == 'x' ? 1 : strncmp(text, "…", 3) == 0 ? 3 : 0;
}

/* "é" is two bytes, "€" three, "😀" four: shifted by one byte each, every cut is tried. */
static void never_splits_a_character(void **state)
{
    (void)state;
    static const char *const characters[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t c = 0; c < 3; c++) {
        size_t width = strlen(characters[c]);
        for (size_t shift = 0; shift < width; shift++) {
            char text[6000] = "xxxx";
            text[shift] = '\0';
            while (strlen(text) < (shift == 0 ? 5900 : 300))
                memcpy(text + strlen(text), characters[c], width + 1);
            struct mst_err err = {0};
            mst_err_set(&err, -EIO, "%s%.*s", text, (int)shift, "xxxx");
            size_t length = strlen(err.text);
            assert_true(length > sizeof err.text - 2 * width);
            for (size_t at = 0, step; at < length; at += step) {
                step = step_over(err.text + at, characters[c]);
                assert_true(step > 0);
            }
        }
    }
}

static void knows_meanings_by_either_sign(void **state)
{
    (void)state;
    assert_string_equal(mst_err_meaning(ETIMEDOUT), mst_err_meaning(-ETIMEDOUT));
    assert_string_equal(mst_err_meaning(-ETIMEDOUT), "the deadline passed");
    assert_string_equal(mst_err_meaning(0), "no error");
    assert_string_equal(mst_err_meaning(-ENOTDIR), "Not a directory");
    for (int i = 1; i < 4096; i++)
        if (!strerrordesc_np(i))
            assert_string_equal(mst_err_meaning(i), "unknown error");
        else
            assert_string_not_equal(mst_err_meaning(i), "unknown error");
    assert_string_equal(mst_err_meaning(99999), "unknown error");
    assert_string_equal(mst_err_meaning(INT32_MIN), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_code_and_text),
        cmocka_unit_test(accepts_null),
        cmocka_unit_test(wraps_from_the_outside),
        cmocka_unit_test(may_quote_its_own_text),
        cmocka_unit_test(a_long_text_loses_its_middle),
        cmocka_unit_test(never_splits_a_character),
        cmocka_unit_test(knows_meanings_by_either_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
