/* What the decoders share: seals, and numbers within limits. */
#include "muster/ckpt/fields.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_seal_covers_all_behind_it(void **state)
{
    char text[] = FIELDS_SEAL ",\"a\":1}";
    const size_t size = sizeof text - 1;
    (void)state;
    fields_seal(text, size);
    assert_int_equal(fields_check_seal(text, size, size, NULL), 0);
    struct mst_err err = {0};
    assert_int_equal(fields_check_seal(text, size, size - 1, &err), -EBADMSG);
    assert_int_equal(fields_check_seal(text, sizeof FIELDS_SEAL - 1, size, &err), -EBADMSG);
    for (size_t i = 0; i < size; i++) {
        text[i] ^= 1;
        assert_int_equal(fields_check_seal(text, size, size, &err), -EBADMSG);
        text[i] ^= 1;
    }
}

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    assert_int_equal(fields_parse(text, strlen(text), &root, NULL), 0);
    return root;
}

static void numbers_have_limits(void **state)
{
    json_t *root = parse("{\"n\":7,\"m\":-1,\"t\":\"x\",\"a\":[1,2]}");
    uint64_t n = 0;
    uint32_t small = 0;
    struct mst_err err = {0};
    (void)state;
    assert_int_equal(fields_get_u64(root, "n", 7, &n, &err), 0);
    assert_int_equal(n, 7);
    assert_int_equal(fields_get_u32(root, "n", 7, &small, &err), 0);
    assert_int_equal(small, 7);
    assert_int_equal(fields_get_u64(root, "n", 6, &n, &err), -EBADMSG);
    assert_int_equal(fields_get_u64(root, "m", 6, &n, &err), -EBADMSG);
    assert_int_equal(fields_get_u64(root, "t", 6, &n, &err), -EBADMSG);
    assert_int_equal(fields_get_u64(root, "absent", 6, &n, &err), -EBADMSG);
    assert_string_equal(err.text, "field \"absent\" is missing or out of range");
    const json_t *array;
    size_t count;
    assert_int_equal(fields_get_array(root, "a", 2, &array, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(fields_get_array(root, "a", 1, &array, &count, &err), -EBADMSG);
    json_decref(root);
    assert_int_equal(fields_parse("{", 1, &root, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "line 1"));
}

static void digits_are_lower_case(void **state)
{
    json_t *root = parse(
        "{\"a\":\"00000000000000af\",\"b\":\"00000000000000AF\",\"c\":\"0000000f\"}");
    uint64_t value = 0;
    uint32_t crc = 0;
    (void)state;
    assert_int_equal(fields_get_hex64(root, "a", &value, NULL), 0);
    assert_int_equal(value, 0xaf);
    assert_int_equal(fields_get_hex64(root, "b", &value, NULL), -EBADMSG);
    assert_int_equal(fields_get_hex64(root, "c", &value, NULL), -EBADMSG);
    assert_int_equal(fields_get_crc(root, "c", &crc, NULL), 0);
    assert_int_equal(crc, 15);
    assert_int_equal(fields_get_crc(root, "a", &crc, NULL), -EBADMSG);
    json_decref(root);
}

static void texts_are_printable(void **state)
{
    json_t *root = parse("{\"a\":\"abc\",\"b\":\"a\\u0007\",\"c\":\"\\u00e4\",\"d\":1}");
    char text[4] = "";
    (void)state;
    assert_int_equal(fields_get_text(root, "a", text, 4, NULL), 0);
    assert_string_equal(text, "abc");
    assert_int_equal(fields_get_text(root, "a", text, 3, NULL), -EBADMSG);
    assert_int_equal(fields_get_text(root, "b", text, 4, NULL), -EBADMSG);
    assert_int_equal(fields_get_text(root, "c", text, 4, NULL), -EBADMSG);
    assert_int_equal(fields_get_text(root, "d", text, 4, NULL), -EBADMSG);
    json_decref(root);
}

static void what_is_printed_is_json(void **state)
{
    char *text = NULL;
    size_t size = 0;
    (void)state;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    fputs("{\"t\":\"", out);
    fields_print_escaped(out, "a\"\\\n");
    fputs("\"}", out);
    assert_int_equal(fields_close_text(out, &text), 0);
    json_t *root = parse(text);
    assert_string_equal(json_string_value(json_object_get(root, "t")), "a\"\\\n");
    json_decref(root);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seal_covers_all_behind_it), cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(digits_are_lower_case),       cmocka_unit_test(texts_are_printable),
        cmocka_unit_test(what_is_printed_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
