#include "muster/launcher/pulse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define S UINT64_C(1000000000)
#define BORN (1000 * S)
#define LIMIT (20 * S)

/* Looks every 100 ms until `until_s` after birth. */
static enum pulse_state look_until(struct pulse *pulse, uint64_t *now_ns, uint64_t until_s)
{
    enum pulse_state state = PULSE_FINE;
    for (; *now_ns < BORN + until_s * S; *now_ns += S / 10)
        state = pulse_look(pulse, LIMIT, *now_ns);
    return state;
}

static void silence_is_named_once_and_given_up(void **state)
{
    (void)state;
    struct pulse pulse;
    uint64_t now_ns = BORN;
    pulse_init(&pulse, now_ns);
    assert_int_equal(look_until(&pulse, &now_ns, 6), PULSE_FINE);
    assert_int_equal(pulse_look(&pulse, LIMIT, now_ns), PULSE_SILENT);
    assert_int_equal(look_until(&pulse, &now_ns, 26), PULSE_AWAY);
    assert_int_equal(pulse_look(&pulse, LIMIT, now_ns), PULSE_GONE);
}

static void a_word_is_a_sign_of_life(void **state)
{
    (void)state;
    struct pulse pulse;
    uint64_t now_ns = BORN;
    pulse_init(&pulse, now_ns);
    look_until(&pulse, &now_ns, 10);
    assert_true(pulse_heard(&pulse, now_ns));
    assert_false(pulse_heard(&pulse, now_ns));
    assert_int_equal(look_until(&pulse, &now_ns, 16), PULSE_FINE);
    assert_int_equal(pulse_look(&pulse, LIMIT, now_ns), PULSE_SILENT);
}

static void a_cut_counts_from_the_cut(void **state)
{
    (void)state;
    struct pulse pulse;
    uint64_t now_ns = BORN;
    pulse_init(&pulse, now_ns);
    look_until(&pulse, &now_ns, 1);
    pulse_cut(&pulse, now_ns);
    assert_int_equal(look_until(&pulse, &now_ns, 21), PULSE_AWAY);
    assert_int_equal(pulse_look(&pulse, LIMIT, now_ns), PULSE_GONE);
}

static void who_slept_blames_nobody(void **state)
{
    (void)state;
    struct pulse pulse;
    uint64_t now_ns = BORN;
    pulse_init(&pulse, now_ns);
    look_until(&pulse, &now_ns, 5);
    now_ns += 500 * S;
    assert_int_equal(pulse_look(&pulse, LIMIT, now_ns), PULSE_FINE);
    now_ns += S + S / 2; /* what was missed before the sleep counts */
    assert_int_equal(pulse_look(&pulse, LIMIT, now_ns), PULSE_SILENT);
    now_ns += 500 * S;
    pulse_heard(&pulse, now_ns); /* the first thing that it does awake is to read */
    assert_int_equal(pulse_look(&pulse, LIMIT, now_ns), PULSE_FINE);
}

static void beats_come_every_two_seconds(void **state)
{
    (void)state;
    struct pulse pulse;
    pulse_init(&pulse, BORN);
    assert_true(pulse_beats(&pulse, BORN));
    assert_false(pulse_beats(&pulse, BORN + 2 * S - 1));
    assert_true(pulse_beats(&pulse, BORN + 2 * S));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_is_named_once_and_given_up),
        cmocka_unit_test(a_word_is_a_sign_of_life),
        cmocka_unit_test(a_cut_counts_from_the_cut),
        cmocka_unit_test(who_slept_blames_nobody),
        cmocka_unit_test(beats_come_every_two_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
