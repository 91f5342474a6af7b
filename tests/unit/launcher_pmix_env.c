#include "muster/launcher/pmix_env.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void what_is_laid_out_is_found(void **state)
{
    (void)state;
    char first[] = "PMIX_RANK=1", second[] = "EMPTY=", third[] = "URI=a;tcp://b=c:1";
    char *const vars[] = {first, second, third, NULL};
    char bytes[64], *found[PMIX_ENV_VARS];
    size_t size = sizeof first + sizeof second + sizeof third;
    assert_int_equal(pmix_env_encode(vars, bytes, sizeof bytes), size);
    assert_int_equal(pmix_env_encode(vars, bytes, size), size);
    assert_int_equal(pmix_env_encode(vars, bytes, size - 1), -ENOSPC);
    assert_int_equal(pmix_env_encode(vars, bytes, 0), -ENOSPC);
    assert_int_equal(pmix_env_encode(vars, bytes, sizeof bytes), size);
    assert_int_equal(pmix_env_decode(bytes, size, found), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(found[i], vars[i]);
}

static void there_is_a_limit_to_how_many(void **state)
{
    (void)state;
    char var[] = "A=", *vars[PMIX_ENV_VARS + 2], bytes[4 * PMIX_ENV_VARS];
    char *found[PMIX_ENV_VARS];
    for (size_t i = 0; i <= PMIX_ENV_VARS; i++) {
        vars[i] = var;
        memcpy(bytes + i * sizeof var, var, sizeof var);
    }
    vars[PMIX_ENV_VARS + 1] = NULL;
    assert_int_equal(pmix_env_encode(vars, bytes, sizeof bytes), -ENOSPC);
    assert_int_equal(pmix_env_decode(bytes, (PMIX_ENV_VARS + 1) * sizeof var, found), -EBADMSG);
    vars[PMIX_ENV_VARS] = NULL;
    assert_int_equal(pmix_env_encode(vars, bytes, sizeof bytes), PMIX_ENV_VARS * sizeof var);
    assert_int_equal(pmix_env_decode(bytes, PMIX_ENV_VARS * sizeof var, found), PMIX_ENV_VARS);
}

static void what_is_no_variable_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {{"", 0},         {"", 1},           {"A=1", 3},
                 {"A=1\0B", 5},   {"A=1\0B\0", 6},   {"A=1\0=2\0", 7},
                 {"A\0B=2\0", 6}, {"A=1\0\0B=2", 8}, {"A=1\0\0B=2\0", 9}};
    char bytes[16], *found[PMIX_ENV_VARS], wrong[] = "=A", *vars[] = {wrong, NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bytes, cases[i].bytes, cases[i].size);
        assert_int_equal(pmix_env_decode(bytes, cases[i].size, found), -EBADMSG);
    }
    assert_int_equal(pmix_env_encode(vars, bytes, sizeof bytes), -EBADMSG);
    assert_int_equal(pmix_env_encode(vars + 1, bytes, sizeof bytes), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_laid_out_is_found),
        cmocka_unit_test(there_is_a_limit_to_how_many),
        cmocka_unit_test(what_is_no_variable_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
