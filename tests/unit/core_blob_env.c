#include "muster/core/blob/env.h"
#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void the_more_special_name_counts(void **state)
{
    (void)state;
    assert_int_equal(clearenv(), 0);
    struct blob_env env;
    assert_int_equal(blob_env_read(&env, NULL), 0);
    assert_null(env.region);
    assert_null(env.ca_file);
    set("AWS_DEFAULT_REGION", "there");
    set("AWS_ENDPOINT_URL", "http://all");
    set("SSL_CERT_FILE", "system");
    assert_int_equal(blob_env_read(&env, NULL), 0);
    assert_string_equal(env.region, "there");
    assert_string_equal(env.endpoint, "http://all");
    assert_string_equal(env.ca_file, "system");
    set("AWS_REGION", "here");
    set("AWS_ENDPOINT_URL_S3", "http://s3");
    set("AWS_CA_BUNDLE", "bundle");
    assert_int_equal(blob_env_read(&env, NULL), 0);
    assert_string_equal(env.region, "here");
    assert_string_equal(env.endpoint, "http://s3");
    assert_string_equal(env.ca_file, "bundle");
}

static void empty_is_not_set(void **state)
{
    (void)state;
    assert_int_equal(clearenv(), 0);
    set("AWS_ACCESS_KEY_ID", "");
    set("AWS_REGION", "");
    set("AWS_DEFAULT_REGION", "there");
    struct blob_env env;
    assert_int_equal(blob_env_read(&env, NULL), 0);
    assert_null(env.access_key);
    assert_string_equal(env.region, "there");
}

/* As "echo key | base64" makes a Secret. */
static void a_newline_at_the_end_is_no_part_of_a_value(void **state)
{
    (void)state;
    assert_int_equal(clearenv(), 0);
    set("AWS_ACCESS_KEY_ID", "key\n");
    set("MST_HDFS_DELEGATION", "token\r\n\n");
    set("AWS_REGION", "\n");
    struct blob_env env;
    assert_int_equal(blob_env_read(&env, NULL), 0);
    assert_string_equal(env.access_key, "key");
    assert_string_equal(env.hdfs_delegation, "token");
    assert_null(env.region);
    blob_env_fini(&env);
    assert_null(env.access_key);
}

static void control_characters_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"AWS_ACCESS_KEY_ID",   "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",   "AWS_REGION",
                                        "AWS_ENDPOINT_URL",    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                        "AWS_ROLE_ARN",        "HADOOP_USER_NAME",
                                        "MST_HDFS_DELEGATION", "AWS_ENDPOINT_URL_S3",
                                        "http_proxy",          "HTTPS_PROXY"};
    static const char *const values[] = {"hush\nX-Evil: 1", "\thush", "hu\177sh\n"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            struct blob_env env = {.region = "untouched"};
            struct mst_err err;
            assert_int_equal(clearenv(), 0);
            set(names[i], values[v]);
            assert_int_equal(blob_env_read(&env, &err), -EINVAL);
            assert_non_null(strstr(err.text, names[i]));
            assert_null(strstr(err.text, "sh\n"));
            assert_null(strstr(err.text, "hush"));
            assert_string_equal(env.region, "untouched");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_more_special_name_counts),
        cmocka_unit_test(empty_is_not_set),
        cmocka_unit_test(a_newline_at_the_end_is_no_part_of_a_value),
        cmocka_unit_test(control_characters_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
