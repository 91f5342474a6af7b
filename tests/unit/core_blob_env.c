#include "muster/core/blob/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void the_more_special_name_counts(void **state)
{
    (void)state;
    assert_int_equal(clearenv(), 0);
    struct blob_env env;
    blob_env_read(&env);
    assert_null(env.region);
    assert_null(env.ca_file);
    assert_int_equal(setenv("AWS_DEFAULT_REGION", "there", 1), 0);
    assert_int_equal(setenv("AWS_ENDPOINT_URL", "http://all", 1), 0);
    assert_int_equal(setenv("SSL_CERT_FILE", "system", 1), 0);
    blob_env_read(&env);
    assert_string_equal(env.region, "there");
    assert_string_equal(env.endpoint, "http://all");
    assert_string_equal(env.ca_file, "system");
    assert_int_equal(setenv("AWS_REGION", "here", 1), 0);
    assert_int_equal(setenv("AWS_ENDPOINT_URL_S3", "http://s3", 1), 0);
    assert_int_equal(setenv("AWS_CA_BUNDLE", "bundle", 1), 0);
    blob_env_read(&env);
    assert_string_equal(env.region, "here");
    assert_string_equal(env.endpoint, "http://s3");
    assert_string_equal(env.ca_file, "bundle");
}

static void empty_is_not_set(void **state)
{
    (void)state;
    assert_int_equal(clearenv(), 0);
    assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "", 1), 0);
    assert_int_equal(setenv("AWS_REGION", "", 1), 0);
    assert_int_equal(setenv("AWS_DEFAULT_REGION", "there", 1), 0);
    struct blob_env env;
    blob_env_read(&env);
    assert_null(env.access_key);
    assert_string_equal(env.region, "there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_more_special_name_counts),
        cmocka_unit_test(empty_is_not_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
