#include "muster/launcher/signals.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_each_signal_has_its_meaning(void **state)
{
    (void)state;
    struct signals signals = {0};
    assert_int_equal(signals_take(&signals, SIGCHLD, 1), SIGNALS_REAP);
    assert_int_equal(signals_take(&signals, SIGUSR1, 1), SIGNALS_CHECKPOINT);
    assert_int_equal(signals_take(&signals, SIGQUIT, 1), SIGNALS_REPORT);
    const int handed_on[] = {SIGHUP, SIGUSR2, SIGWINCH, SIGCONT};
    for (int i = 0; i < 4; i++)
        assert_int_equal(signals_take(&signals, handed_on[i], 1), SIGNALS_HAND_ON);
    assert_int_equal(signals_take(&signals, SIGTSTP, 1), SIGNALS_NOTHING);
    assert_int_equal(signals_take(&signals, SIGPIPE, 1), SIGNALS_NOTHING);
}

/* Slurm sends it by srun, by its daemon and before the kill: none of these cuts a drain short. */
static void test_any_number_of_sigterm_is_one_drain(void **state)
{
    (void)state;
    struct signals signals = {0};
    for (uint64_t second = 1; second < 5; second++)
        assert_int_equal(signals_take(&signals, SIGTERM, second * 1000000000), SIGNALS_DRAIN);
    assert_int_equal(signals_take(&signals, SIGINT, 5000000000), SIGNALS_DRAIN);
}

static void test_sigint_again_is_a_hurry_but_not_its_echo(void **state)
{
    (void)state;
    struct signals signals = {0};
    const uint64_t first = 7000000000;
    assert_int_equal(signals_take(&signals, SIGINT, first), SIGNALS_DRAIN);
    assert_int_equal(signals_take(&signals, SIGINT, first + SIGNALS_ONE_NS - 1), SIGNALS_NOTHING);
    assert_int_equal(signals_take(&signals, SIGINT, first + SIGNALS_ONE_NS), SIGNALS_HURRY);
    assert_int_equal(signals_take(&signals, SIGINT, first + 2 * SIGNALS_ONE_NS), SIGNALS_HURRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_signal_has_its_meaning),
        cmocka_unit_test(test_any_number_of_sigterm_is_one_drain),
        cmocka_unit_test(test_sigint_again_is_a_hurry_but_not_its_echo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
