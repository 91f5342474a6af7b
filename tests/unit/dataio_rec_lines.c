#include "muster/core/rng.h"
#include "muster/dataio/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define CAP 256

/* Scans `text` in pieces and cuts the table. */
static struct record_table scan(const char *text, size_t size, size_t piece, uint64_t *starts)
{
    struct record_scan scan = {0};
    size_t count = 0;
    for (size_t at = 0; at < size; at += piece) {
        size_t left = size - at;
        struct mst_cspan span = {.data = text + at, .size_bytes = left < piece ? left : piece};
        count += rec_lines.scan(&scan, span, starts + count);
        assert_true(count < CAP);
    }
    starts[count] = rec_lines.finish(&scan);
    return (struct record_table){.count = count, .starts = starts};
}

static void check(const char *text, const char *const *lines, size_t line_count)
{
    uint64_t starts[CAP], offset, size;
    for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
        struct record_table table = scan(text, strlen(text), piece, starts);
        assert_int_equal(table.count, line_count);
        for (size_t i = 0; i < line_count; i++) {
            record_locate(&table, i, &offset, &size);
            assert_int_equal(size, strlen(lines[i]));
            assert_memory_equal(text + offset, lines[i], size);
        }
    }
}

#define CHECK(text, ...)                                                                           \
    check(text, (const char *const[]){__VA_ARGS__},                                                \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_lines(void **state)
{
    (void)state;
    check("", NULL, 0);
    CHECK("a", "a");
    CHECK("a\n", "a");
    CHECK("a\nb", "a", "b");
    CHECK("\n", "");
    CHECK("\n\n", "", "");
    CHECK("a\n\n", "a", "");
    CHECK("a\n\nbb\n", "a", "", "bb");
    CHECK("a\r\nb\r", "a\r", "b\r");
}

/* Random text against a cut by hand. */
static void test_random_text(void **state)
{
    (void)state;
    struct mst_rng rng;
    mst_rng_init(&rng, 3, 0);
    for (int round = 0; round < 2000; round++) {
        uint64_t starts[CAP], offset, size_bytes;
        char text[64];
        size_t size = mst_rng_below(&rng, sizeof text), begin = 0, line = 0;
        for (size_t i = 0; i < size; i++)
            text[i] = mst_rng_below(&rng, 4) ? 'x' : '\n';
        struct record_table table = scan(text, size, 1 + mst_rng_below(&rng, 9), starts);
        for (size_t i = 0; i <= size; i++) {
            if (i < size ? text[i] != '\n' : i == begin)
                continue;
            record_locate(&table, line++, &offset, &size_bytes);
            assert_int_equal(offset, begin);
            assert_int_equal(size_bytes, i - begin);
            begin = i + 1;
        }
        assert_int_equal(table.count, line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_random_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
