#include "muster/launcher/deaths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW UINT64_C(1000)

struct fixture {
    struct deaths deaths;
    struct rank_death memory[4], taken;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){0};
    deaths_init(&f->deaths, f->memory);
    assert_true(f->deaths.due_ns == UINT64_MAX);
}

static void die(struct fixture *f, uint32_t local_rank, int code, uint64_t now_ns)
{
    deaths_add(&f->deaths, &(struct rank_death){.local_rank = local_rank, .code = code}, now_ns);
}

static bool take(struct fixture *f, bool known, uint64_t now_ns)
{
    return deaths_take(&f->deaths, known, now_ns, &f->taken);
}

static void test_an_ordinary_death_is_judged_at_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_false(take(&f, true, NOW));
    die(&f, 2, 137, NOW);
    assert_true(take(&f, false, NOW));
    assert_int_equal(f.taken.local_rank, 2);
    assert_int_equal(f.taken.code, 137);
    assert_false(take(&f, true, NOW));
    assert_true(f.deaths.due_ns == UINT64_MAX);
}

static void test_a_death_by_sigterm_waits_for_what_it_means(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    die(&f, 1, 143, NOW);
    assert_false(take(&f, false, NOW));
    assert_false(take(&f, false, NOW + DEATHS_HOLD_NS - 1));
    assert_int_equal(f.deaths.due_ns, NOW + DEATHS_HOLD_NS);
    assert_true(take(&f, true, NOW + 1));
    die(&f, 1, 143, NOW);
    assert_true(take(&f, false, NOW + DEATHS_HOLD_NS));
}

/* The peers of the first fail by its absence: they must not be told as the cause. */
static void test_whoever_dies_behind_it_is_judged_behind_it(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    die(&f, 3, 143, NOW);
    die(&f, 0, 1, NOW + 10);
    die(&f, 1, 143, NOW + 20);
    assert_false(take(&f, false, NOW + 20));
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(take(&f, false, NOW + DEATHS_HOLD_NS));
        assert_int_equal(f.taken.local_rank, i == 0 ? 3 : i - 1);
    }
    assert_int_equal(f.deaths.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ordinary_death_is_judged_at_once),
        cmocka_unit_test(test_a_death_by_sigterm_waits_for_what_it_means),
        cmocka_unit_test(test_whoever_dies_behind_it_is_judged_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
