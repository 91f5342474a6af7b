#include "muster/core/blob/s3/sha256.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* FIPS 180-4's example, and RFC 4231's second test case. */
static const char abc_sum[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char jefe_sum[] = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

static void sums_as_published(void **state)
{
    (void)state;
    uint8_t sum[SHA256_BYTES];
    sha256("abc", 3, sum);
    char hex[SHA256_HEX_BYTES];
    sha256_hex(sum, hex);
    assert_string_equal(hex, abc_sum);
    sha256_hmac("Jefe", 4, "what do ya want for nothing?", 28, sum);
    sha256_hex(sum, hex);
    assert_string_equal(hex, jefe_sum);
}

static void sums_a_part_of_a_file(void **state)
{
    (void)state;
    uint8_t sum[SHA256_BYTES], whole[SHA256_BYTES];
    static char bytes[200000];
    memset(bytes, 'x', sizeof bytes);
    memcpy(bytes + 70000, "abc", 3);
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, sizeof bytes, file), sizeof bytes);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(sha256_file(fileno(file), 70000, 3, sum), 0);
    char hex[SHA256_HEX_BYTES];
    sha256_hex(sum, hex);
    assert_string_equal(hex, abc_sum);
    assert_int_equal(sha256_file(fileno(file), 0, sizeof bytes, sum), 0);
    sha256(bytes, sizeof bytes, whole);
    assert_memory_equal(sum, whole, sizeof sum);
    assert_int_equal(sha256_file(fileno(file), 1, sizeof bytes, sum), -EIO); /* it is shorter */
    assert_int_equal(sha256_file(-1, 0, 1, sum), -EBADF);
    assert_int_equal(fclose(file), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_as_published),
        cmocka_unit_test(sums_a_part_of_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
