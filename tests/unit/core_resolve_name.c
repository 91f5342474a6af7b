/* Host names: ordinals, sameness, and a rank by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "muster/core/resolve/parser.h"

static void ordinals(void **state)
{
    (void)state;
    size_t stem;
    assert_int_equal(resolve_ordinal("job-worker-12", &stem), 12);
    assert_int_equal(stem, 10);
    assert_int_equal(resolve_ordinal("job-worker-3.job.ns.svc", NULL), 3);
    assert_int_equal(resolve_ordinal("a-0", NULL), 0);
    static const char *const none[] = {
        "", "job", "-1", "12", "job1", "job-", "job-1x", "a-b.c-1", "job-1234567890"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(resolve_ordinal(none[i], NULL), MST_UNKNOWN);
}

static void worker_numbers(void **state)
{
    (void)state;
    assert_int_equal(resolve_worker_number("job-worker-3"), 3);
    assert_int_equal(resolve_worker_number("job-master-3"), MST_UNKNOWN);
    assert_int_equal(resolve_worker_number("worker-3"), MST_UNKNOWN);
    assert_int_equal(resolve_worker_number("job-worker"), MST_UNKNOWN);
}

static void sameness(void **state)
{
    (void)state;
    assert_true(resolve_same_host("j-0", "j-0"));
    assert_true(resolve_same_host("j-0", "J-0.ns.svc"));
    assert_true(resolve_same_host("j-0.ns.svc", "j-0.ns"));
    assert_false(resolve_same_host("j-1", "j-10"));
    assert_false(resolve_same_host("j-0.a", "j-0.b"));
    assert_false(resolve_same_host("", ""));
    assert_true(resolve_same_host("10.0.0.1", "10.0.0.1"));
    assert_false(resolve_same_host("10.0.0", "10.0.0.1")); /* no domain of an address */
    assert_false(resolve_same_host("10", "10.0.0.1"));
}

static void rank_by_name(void **state)
{
    (void)state;
    struct mst_machine machine = {.hostname = "j-worker-4", .pod_ip = "10.0.0.9"};
    assert_int_equal(resolve_rank_by_name(&machine, "j-worker-0.j.svc"), 4);
    assert_int_equal(resolve_rank_by_name(&machine, "j-worker-1"), MST_UNKNOWN);
    assert_int_equal(resolve_rank_by_name(&machine, "j-master-0"), MST_UNKNOWN);
    assert_int_equal(resolve_rank_by_name(&machine, "k-worker-0"), MST_UNKNOWN);
    assert_int_equal(resolve_rank_by_name(&machine, "10.0.0.9"), 0);
    assert_int_equal(resolve_rank_by_name(&machine, "10.0.0.8"), MST_UNKNOWN);
    assert_int_equal(resolve_rank_by_name(&machine, "j-worker-4.j"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinals),
        cmocka_unit_test(worker_numbers),
        cmocka_unit_test(sameness),
        cmocka_unit_test(rank_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
