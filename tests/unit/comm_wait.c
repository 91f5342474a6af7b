#include "muster/comm/wait.h"

#include "muster/core/clock.h"
#include "muster/core/world/page.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const enum mst_wait_policy policies[] = {MST_WAIT_AUTO, MST_WAIT_SPIN, MST_WAIT_YIELD,
                                                MST_WAIT_BLOCK};

/* Two threads count a word up in turns. */
struct ping_pong {
    struct waiter waiter;
    atomic_uint failed, sleepers, word;
    int rc;
};

#define TURNS 200

static void *pong(void *arg)
{
    struct ping_pong *game = arg;
    for (uint32_t turn = 1; turn < TURNS && game->rc == 0; turn += 2) {
        game->rc = wait_word(&game->waiter, &game->word, turn, mst_deadline_ms(10000));
        wait_post(&game->waiter, &game->word, turn + 1);
    }
    return NULL;
}

static void play(enum mst_wait_policy policy, bool core_free)
{
    struct ping_pong game = {.waiter = {.failed = &game.failed, .sleepers = &game.sleepers}};
    pthread_t thread;
    wait_set_policy(&game.waiter, policy, core_free);
    assert_int_equal(pthread_create(&thread, NULL, pong, &game), 0);
    for (uint32_t turn = 0; turn < TURNS; turn += 2) {
        wait_post(&game.waiter, &game.word, turn + 1);
        assert_int_equal(wait_word(&game.waiter, &game.word, turn + 2, mst_deadline_ms(10000)), 0);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(game.rc, 0);
    assert_int_equal(atomic_load(&game.sleepers), 0);
}

static void every_policy_hands_a_word_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        play(policies[i], true);
        play(policies[i], false);
    }
}

static void every_policy_ends_at_the_deadline(void **state)
{
    (void)state;
    atomic_uint failed = 0, sleepers = 0, word = 0;
    struct waiter waiter = {.failed = &failed, .sleepers = &sleepers};
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        wait_set_policy(&waiter, policies[i], true);
        uint64_t deadline_ns = mst_deadline_ms(12);
        assert_int_equal(wait_word(&waiter, &word, 1, deadline_ns), -ETIMEDOUT);
        assert_true(mst_deadline_passed(deadline_ns));
    }
}

static void failures_and_aborts_end_a_wait(void **state)
{
    (void)state;
    atomic_uint failed = 1, sleepers = 0, word = 0;
    struct waiter waiter = {.failed = &failed, .sleepers = &sleepers};
    struct mst_page *page;
    int fd;
    wait_set_policy(&waiter, MST_WAIT_AUTO, true);
    assert_int_equal(wait_word(&waiter, &word, 1, MST_NEVER), -ECANCELED);
    assert_int_equal(wait_word(&waiter, &word, 0, MST_NEVER), 0); /* what is there, is there */
    failed = 0;
    assert_int_equal(mst_page_create(1, 1, &fd, &page, NULL), 0);
    waiter.page = page;
    assert_int_equal(wait_alive(&waiter), 0);
    mst_page_abort(page, 0);
    assert_int_equal(wait_word(&waiter, &word, 1, MST_NEVER), -ECONNRESET);
    mst_page_unmap(page);
    (void)close(fd);
}

static void a_patient_wait_becomes_one_that_sleeps(void **state)
{
    (void)state;
    struct waiter waiter = {0};
    struct wait_state wait = {0};
    wait_set_policy(&waiter, MST_WAIT_AUTO, false);
    uint64_t deadline_ns = mst_deadline_ms(5000);
    while (!wait_idle(&waiter, &wait))
        assert_false(mst_deadline_passed(deadline_ns));
    assert_true(wait.patient);
}

static void quotas_are_read(void **state)
{
    (void)state;
    assert_int_equal(wait_parse_quota("max 100000\n"), UINT32_MAX);
    assert_int_equal(wait_parse_quota("200000 100000\n"), 2);
    assert_int_equal(wait_parse_quota("150000 100000\n"), 1);
    assert_int_equal(wait_parse_quota("1000 100000\n"), 1);
    assert_int_equal(wait_parse_quota("200000 0\n"), UINT32_MAX);
    assert_int_equal(wait_parse_quota("200000"), UINT32_MAX);
    assert_int_equal(wait_parse_quota(""), UINT32_MAX);
}

static void cores_are_counted(void **state)
{
    (void)state;
    struct wait_cpus cpus = {{0}};
    assert_int_equal(wait_cpus_count(&cpus), 1);
    wait_cpus_here(&cpus);
    assert_true(wait_cpus_count(&cpus) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_hands_a_word_over),
        cmocka_unit_test(every_policy_ends_at_the_deadline),
        cmocka_unit_test(failures_and_aborts_end_a_wait),
        cmocka_unit_test(a_patient_wait_becomes_one_that_sleeps),
        cmocka_unit_test(quotas_are_read),
        cmocka_unit_test(cores_are_counted),
    };
    return cmocka_run_group_tests_name("comm_wait", tests, NULL, NULL);
}
