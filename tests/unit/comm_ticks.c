/* The counter's time against the clock's, over enough calls to look at the clock many times. */
#include "muster/comm/ticks.h"

#include "muster/core/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t stall_ns; /* before the next answer */

uint64_t __real_mst_now_ns(void);
uint64_t __wrap_mst_now_ns(void);

uint64_t __wrap_mst_now_ns(void)
{
    uint64_t until_ns = __real_mst_now_ns() + stall_ns;
    stall_ns = 0;
    while (__real_mst_now_ns() < until_ns)
        continue;
    return __real_mst_now_ns();
}

/* Between two looks at the clock, and in order. */
static void check_for(struct ticks *ticks, uint64_t span_ns)
{
    uint64_t began_ns = mst_now_ns(), last_ns = 0, before_ns = began_ns;
    while (before_ns - began_ns < span_ns) {
        uint64_t ns = ticks_now_ns(ticks), after_ns = mst_now_ns();
        assert_true(ns >= last_ns);
        assert_in_range(ns, before_ns - MST_NS_PER_MS, after_ns + MST_NS_PER_MS);
        last_ns = ns;
        before_ns = after_ns;
    }
}

static void it_goes_with_the_clock(void **state)
{
    (void)state;
    struct ticks ticks;
    ticks_init(&ticks, TICKS_CLOCK_SOURCE);
    check_for(&ticks, 40 * MST_NS_PER_MS);
}

static void a_counter_that_is_set_is_learnt_anew(void **state)
{
    (void)state;
    struct ticks ticks;
    ticks_init(&ticks, TICKS_CLOCK_SOURCE);
    check_for(&ticks, 10 * MST_NS_PER_MS);
    ticks.base_ticks += 1ULL << 62; /* as of another machine */
    check_for(&ticks, 10 * MST_NS_PER_MS);
    ticks.base_ticks -= 1ULL << 40;
    check_for(&ticks, 10 * MST_NS_PER_MS);
}

/* The time slice ends after the counter was read: what the clock says then is of another moment. */
static void an_interrupted_look_is_not_gone_by(void **state)
{
    (void)state;
    struct ticks ticks;
    ticks_init(&ticks, TICKS_CLOCK_SOURCE);
    check_for(&ticks, 10 * MST_NS_PER_MS);
    ticks.good_ticks = 0; /* look now */
    stall_ns = 5 * MST_NS_PER_MS;
    (void)ticks_now_ns(&ticks);
    assert_int_equal(stall_ns, 0);
    check_for(&ticks, 10 * MST_NS_PER_MS);
}

/* Where the kernel says that its clock is made of `source`. */
static bool trusts(const char *source)
{
    char path[] = "/tmp/muster-ticks-XXXXXX";
    struct ticks ticks;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, source, strlen(source)), strlen(source));
    (void)close(fd);
    ticks_init(&ticks, path);
    assert_int_equal(unlink(path), 0);
    check_for(&ticks, MST_NS_PER_MS);
    return ticks.trusted;
}

static void only_a_counter_that_the_kernel_trusts_is_used(void **state)
{
    (void)state;
    struct ticks ticks;
    assert_true(trusts("tsc\n"));
    assert_false(trusts("kvm-clock\n"));
    assert_false(trusts("tsc-early\n"));
    assert_false(trusts(""));
    ticks_init(&ticks, "/nowhere");
    assert_false(ticks.trusted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_with_the_clock),
        cmocka_unit_test(a_counter_that_is_set_is_learnt_anew),
        cmocka_unit_test(an_interrupted_look_is_not_gone_by),
        cmocka_unit_test(only_a_counter_that_the_kernel_trusts_is_used),
    };
    return cmocka_run_group_tests_name("comm_ticks", tests, NULL, NULL);
}
