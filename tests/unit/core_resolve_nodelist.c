/* Slurm's compressed lists, forwards and backwards. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/resolve/nodelist.h"

/* `list` expands to `hosts`, separated by blanks, and to nothing more. */
static void expands(const char *list, const char *hosts)
{
    char text[512] = "", host[64];
    int64_t count = resolve_nodelist_count(list);
    assert_true(count > 0);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(resolve_nodelist_at(list, i, host, sizeof host), 0);
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", host);
    }
    assert_string_equal(text, hosts);
    assert_int_equal(resolve_nodelist_at(list, count, host, sizeof host), -ENOENT);
}

static void ranges_count_as_numbers(void **state)
{
    (void)state;
    expands("dev[7-10]", "dev7 dev8 dev9 dev10");
    expands("n1", "n1");
    expands("a,b", "a b");
    expands("n[3,1,5-6]", "n3 n1 n5 n6");
}

static void leading_zeros_are_kept(void **state)
{
    (void)state;
    expands("gpu[008-011]", "gpu008 gpu009 gpu010 gpu011");
    expands("gpu[08,9]", "gpu08 gpu9");
    expands("n[098-101]", "n098 n099 n100 n101");
}

static void lists_and_brackets_combine(void **state)
{
    (void)state;
    expands("login,dev[07-08],gpu[1]-ib,z", "login dev07 dev08 gpu1-ib z");
    expands("r[0-1]n[1-3]", "r0n1 r0n2 r0n3 r1n1 r1n2 r1n3");
    expands("a[1-2]b[1-2]c[1-2]", "a1b1c1 a1b1c2 a1b2c1 a1b2c2 a2b1c1 a2b1c2 a2b2c1 a2b2c2");
}

static void every_range_has_its_hosts(void **state)
{
    (void)state;
    for (int low = 0; low <= 12; low++) {
        for (int high = low; high <= 120; high += 7) {
            char list[64], host[64], want[64];
            (void)snprintf(list, sizeof list, "x,n[%d-%d]", low, high);
            assert_int_equal(resolve_nodelist_count(list), high - low + 2);
            for (int i = low; i <= high; i++) {
                (void)snprintf(want, sizeof want, "n%d", i);
                assert_int_equal(resolve_nodelist_at(list, i - low + 1, host, sizeof host), 0);
                assert_string_equal(host, want);
            }
        }
    }
}

static void wrong_lists_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ",a",
                                      "a,,b",
                                      "n[",
                                      "n[1",
                                      "n[1-",
                                      "n[1-]",
                                      "n[-2]",
                                      "n[2-1]",
                                      "n[1,]",
                                      "n]1[",
                                      "n[1]]",
                                      "n[a-b]",
                                      "n[1-99999]",
                                      "a b",
                                      "n[0-999]m[0-999]",
                                      "n[12345678901]",
                                      "n[1-3",
                                      "n[1[2]]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(resolve_nodelist_count(bad[i]), -EINVAL);
    assert_int_equal(resolve_nodelist_count("n[0-65535]"), 65536);
    assert_int_equal(resolve_nodelist_count("n[0-255]m[0-255]"), 65536);
    assert_int_equal(resolve_nodelist_count("n[0-65534],z"), 65536);
    assert_int_equal(resolve_nodelist_count("n[0-65535],z"), -EINVAL);
    char tiny[3], full[6];
    assert_int_equal(resolve_nodelist_at("node1", 0, full, 5), -ENOSPC);
    assert_int_equal(resolve_nodelist_at("node1", 0, full, 6), 0);
    assert_string_equal(full, "node1");
    assert_int_equal(resolve_nodelist_at("node1", 0, tiny, sizeof tiny), -ENOSPC);
    assert_int_equal(resolve_nodelist_at("n[1-2", 0, tiny, sizeof tiny), -EINVAL);
}

static void tasks_repeat(void **state)
{
    (void)state;
    static const int64_t want[] = {2, 2, 2, 1, -ENOENT};
    int64_t most;
    for (int64_t node = 0; node < 5; node++) {
        assert_int_equal(resolve_tasks_at("2(x3),1", node, &most), want[node]);
        assert_int_equal(most, 2);
    }
    assert_int_equal(resolve_tasks_at("8", 0, NULL), 8);
    assert_int_equal(resolve_tasks_at("1(x2),4,1(x2)", 2, &most), 4);
    assert_int_equal(most, 4);
    assert_int_equal(resolve_tasks_at("1(x2),4,1(x2)", 4, &most), 1);
    static const char *const bad[] = {"0", "x", "2(x", "2(x0)", "2(x3", "2x3", "2(x3)1", "1;2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(resolve_tasks_at(bad[i], 0, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_count_as_numbers),    cmocka_unit_test(leading_zeros_are_kept),
        cmocka_unit_test(lists_and_brackets_combine), cmocka_unit_test(every_range_has_its_hosts),
        cmocka_unit_test(wrong_lists_are_refused),    cmocka_unit_test(tasks_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
