#include "unit/ckpt_fixture.h"

#include "muster/ckpt/retain.h"

/* All 2^7 states of seven steps, every committed step and every keep: the committed one stays, as
 * many good ones as asked stay, and a step that is dropped is older than all of them. */
static void test_all_states(void **state)
{
    (void)state;
    for (unsigned good = 0; good < 128; good++)
        for (uint64_t committed = 1; committed <= 7; committed++)
            for (uint32_t keep = 1; keep <= 4; keep++) {
                struct retain_step steps[7];
                uint64_t kept_good = 0, all_good = 0;
                size_t dropped;
                for (uint64_t i = 0; i < 7; i++)
                    steps[i] = (struct retain_step){.step = i + 1,
                                                    .good = (good >> i & 1) || i + 1 == committed};
                dropped = retain_plan(steps, 7, committed, keep);
                for (uint64_t i = 0; i < 7; i++) {
                    bool counts = steps[i].good && steps[i].step <= committed;
                    assert_true(!steps[i].drop || steps[i].step < committed);
                    all_good += counts;
                    kept_good += counts && !steps[i].drop;
                    dropped -= steps[i].drop;
                }
                assert_int_equal(dropped, 0);
                assert_int_equal(kept_good, all_good < keep ? all_good : keep);
            }
}

/* Steps beyond the committed one were damaged when it was resumed: they keep nothing alive, and do
 * not push out what is good. */
static void test_newer_do_not_count(void **state)
{
    struct retain_step steps[] = {{.step = 500, .good = true}, {.step = 300, .good = true}};
    (void)state;
    assert_int_equal(retain_plan(steps, 2, 300, 1), 0);
}

/* What nobody counts goes, and counts for nothing. One that is newer stays until a commit has
 * passed it: other ranks may be writing that very step. */
static void test_hidden_go(void **state)
{
    struct retain_step steps[] = {{.step = 400, .hidden = true},
                                  {.step = 300, .good = true},
                                  {.step = 250, .hidden = true},
                                  {.step = 200, .good = true}};
    (void)state;
    assert_int_equal(retain_plan(steps, 4, 300, 2), 1);
    assert_true(!steps[0].drop && steps[2].drop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_states),
        cmocka_unit_test(test_newer_do_not_count),
        cmocka_unit_test(test_hidden_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
