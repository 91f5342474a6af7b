#include "muster/core/size_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(uint64_t size_bytes, const char *shown)
{
    char text[SIZE_TEXT_BYTES];
    assert_string_equal(size_text(size_bytes, text), shown);
}

static void bytes_are_whole(void **state)
{
    (void)state;
    expect(0, "0 B");
    expect(1023, "1023 B");
}

static void units_follow(void **state)
{
    (void)state;
    expect(1024, "1.0 KiB");
    expect(1536, "1.5 KiB");
    expect(UINT64_C(5) << 30, "5.0 GiB");
    expect(UINT64_MAX, "16.0 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_whole),
        cmocka_unit_test(units_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
