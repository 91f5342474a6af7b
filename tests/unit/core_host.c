#include "muster/core/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void loopback(void **state)
{
    (void)state;
    assert_true(mst_host_is_local("localhost"));
    assert_true(mst_host_is_local("127.0.1.1"));
    assert_true(mst_host_is_local("::1"));
    assert_false(mst_host_is_local("localhost-0"));
    assert_false(mst_host_is_local(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(loopback)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
