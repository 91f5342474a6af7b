#include "muster/launcher/restart.h"

#include "muster/core/world/page.h"
#include "muster/launcher/exitcode.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define S UINT64_C(1000000000)

static struct restart_decision live(struct restart *restart, uint64_t life_ns, uint64_t best_step)
{
    return restart_decide(
        restart,
        &(struct restart_life){.life_ns = life_ns, .best_step = best_step, .rank = 1, .code = 3});
}

static void assert_pause(struct restart_decision decision, uint64_t pause_ns)
{
    assert_true(decision.again);
    assert_int_equal(decision.why, RESTART_PAUSED);
    assert_true(decision.pause_ns >= pause_ns * 3 / 4 && decision.pause_ns <= pause_ns * 5 / 4);
}

static void test_pauses_double_from_the_second_on(void **state)
{
    (void)state;
    struct restart restart;
    restart_init(&restart, 100, 5);
    struct restart_decision first = live(&restart, S / 100, 0);
    assert_true(first.again);
    assert_int_equal(first.why, RESTART_FIRST);
    assert_int_equal(first.pause_ns, 0);
    for (uint64_t pause_s = 1; pause_s < 60; pause_s *= 2)
        assert_pause(live(&restart, S / 100, 0), pause_s * S);
    for (int i = 0; i < 60; i++)
        assert_pause(live(&restart, S / 100, 0), 60 * S);
}

/* Jobs that failed together do not return together. */
static void test_pauses_differ(void **state)
{
    (void)state;
    uint64_t shortest = UINT64_MAX, longest = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct restart restart;
        restart_init(&restart, 2, seed);
        live(&restart, S, 0);
        uint64_t pause_ns = live(&restart, S, 0).pause_ns;
        shortest = pause_ns < shortest ? pause_ns : shortest;
        longest = pause_ns > longest ? pause_ns : longest;
    }
    assert_true(shortest < S * 8 / 10 && longest > S * 12 / 10);
}

static void test_a_higher_step_is_progress(void **state)
{
    (void)state;
    struct restart restart;
    restart_init(&restart, 1, 5);
    for (uint64_t step = 1; step < 9; step++) {
        struct restart_decision decision = live(&restart, S, step);
        assert_int_equal(decision.why, RESTART_PROGRESS);
        assert_int_equal(decision.pause_ns, 0);
    }
    struct restart_decision last = live(&restart, 3000 * S, 0); /* long, but it counts steps */
    assert_false(last.again);
    assert_int_equal(last.why, RESTART_SPENT);
}

static void test_without_steps_a_longer_life_is_progress(void **state)
{
    (void)state;
    struct restart restart;
    restart_init(&restart, 1, 5);
    assert_int_equal(live(&restart, 70 * S, 0).why, RESTART_FIRST);
    assert_int_equal(live(&restart, 80 * S, 0).why, RESTART_LASTED);
    assert_int_equal(live(&restart, 599 * S, 0).why, RESTART_LASTED);
    assert_int_equal(live(&restart, 600 * S, 0).why, RESTART_LASTED);
    assert_int_equal(live(&restart, 600 * S, 0).why, RESTART_LASTED); /* ten minutes always are */
    assert_int_equal(live(&restart, 599 * S, 0).why, RESTART_SPENT);
}

/* What a start may vary by is none: ranks that race to the same end would go on for ever. */
static void test_noise_is_no_progress(void **state)
{
    (void)state;
    struct restart restart;
    struct restart_life life = {.life_ns = 70 * S, .rank = 1, .code = 3};
    restart_init(&restart, 2, 5);
    restart_decide(&restart, &life);
    life.life_ns += S / 5;
    life.rank = 0;
    assert_int_equal(restart_decide(&restart, &life).why, RESTART_PAUSED);
}

static void test_the_same_fault_twice_is_no_progress(void **state)
{
    (void)state;
    for (uint32_t other = 0; other < 4; other++) {
        struct restart restart;
        struct restart_life life = {.life_ns = 10 * S, .rank = 1, .code = 3};
        restart_init(&restart, 2, 5);
        restart_decide(&restart, &life);
        life.life_ns = other == 3 ? 60 * S : 20 * S;
        life.rank += other == 1;
        life.code += other == 2;
        assert_int_equal(restart_decide(&restart, &life).why,
                         other ? RESTART_LASTED : RESTART_PAUSED);
    }
}

static void test_lost_nodes_are_no_fault_of_a_rank(void **state)
{
    (void)state;
    struct restart restart;
    struct restart_life life = {
        .life_ns = S, .rank = MST_PAGE_CAUSE_JOB, .code = EXITCODE_RENDEZVOUS};
    restart_init(&restart, 1, 5);
    restart_decide(&restart, &life);
    life.life_ns = 2 * S;
    assert_int_equal(restart_decide(&restart, &life).why, RESTART_LASTED);
}

static void test_what_cannot_pass_is_not_tried_again(void **state)
{
    (void)state;
    static const uint32_t codes[] = {EXITCODE_USAGE, EXITCODE_CONFIG, EXITCODE_NOT_EXECUTABLE,
                                     EXITCODE_NOT_FOUND};
    for (size_t i = 0; i <= sizeof codes / sizeof *codes; i++) {
        bool by_code = i < sizeof codes / sizeof *codes;
        struct restart restart;
        restart_init(&restart, 9, 5);
        const struct restart_life life = {
            .best_step = 100, .code = by_code ? codes[i] : 1, .verdict = by_code ? 0 : ENOTSUP};
        struct restart_decision decision = restart_decide(&restart, &life);
        assert_false(decision.again);
        assert_int_equal(decision.why, RESTART_FINAL);
    }
}

/* What a library met and a program lived on with did not take the node away. */
static void test_a_lost_node_is_nobody_s_verdict(void **state)
{
    (void)state;
    struct restart restart;
    restart_init(&restart, 9, 5);
    const struct restart_life life = {.best_step = 100,
                                      .rank = MST_PAGE_CAUSE_JOB,
                                      .code = EXITCODE_RENDEZVOUS,
                                      .verdict = EACCES};
    assert_int_equal(restart_decide(&restart, &life).why, RESTART_PROGRESS);
}

/* Nodes that come and go cost nothing, be it all the restarts there are; and progress counts. */
static void test_a_regroup_is_no_restart(void **state)
{
    (void)state;
    struct restart restart;
    const struct restart_life life = {.rank = MST_PAGE_CAUSE_JOB, .best_step = 9},
                              final = {.rank = 1, .code = EXITCODE_NOT_FOUND};
    restart_init(&restart, 1, 5);
    assert_true(live(&restart, S, 8).again);
    for (int i = 0; i < 3; i++) {
        struct restart_decision decision = restart_excuse(&restart, &life);
        assert_true(decision.again && decision.pause_ns == 0);
        assert_int_equal(decision.why, RESTART_REGROUP);
    }
    assert_int_equal(restart.used, 0);
    assert_false(restart_excuse(&restart, &final).again);
    restart_init(&restart, 0, 5);
    assert_true(restart_excuse(&restart, &life).again);
}

static void test_none_means_none(void **state)
{
    (void)state;
    struct restart restart;
    restart_init(&restart, 0, 5);
    assert_false(live(&restart, 1000 * S, 50).again);
}

static void test_every_reason_has_a_text(void **state)
{
    (void)state;
    for (int why = RESTART_PROGRESS; why <= RESTART_REGROUP; why++)
        assert_true(restart_reason((enum restart_why)why)[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses_double_from_the_second_on),
        cmocka_unit_test(test_pauses_differ),
        cmocka_unit_test(test_a_higher_step_is_progress),
        cmocka_unit_test(test_without_steps_a_longer_life_is_progress),
        cmocka_unit_test(test_noise_is_no_progress),
        cmocka_unit_test(test_the_same_fault_twice_is_no_progress),
        cmocka_unit_test(test_lost_nodes_are_no_fault_of_a_rank),
        cmocka_unit_test(test_what_cannot_pass_is_not_tried_again),
        cmocka_unit_test(test_a_lost_node_is_nobody_s_verdict),
        cmocka_unit_test(test_a_regroup_is_no_restart),
        cmocka_unit_test(test_none_means_none),
        cmocka_unit_test(test_every_reason_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
