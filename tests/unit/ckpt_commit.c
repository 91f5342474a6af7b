#include "unit/ckpt_fixture.h"

#include "muster/ckpt/commit.h"

/* Walks every sequence of outcomes. `published`: the rename has taken place. */
static void walk(enum commit_state state, bool leader, bool published, bool announced, int depth)
{
    assert_true(depth < COMMIT_STATE_COUNT);
    if (commit_is_final(state)) {
        assert_int_equal(commit_next(state, leader, true), state);
        assert_int_equal(commit_next(state, leader, false), state);
        assert_true(state == COMMIT_FAILED || !leader || (published && announced));
        return;
    }
    for (int ok = 0; ok < 2; ok++) {
        enum commit_state next = commit_next(state, leader, ok);
        bool now = published || (state == COMMIT_PUBLISH && ok);
        bool told = announced || state == COMMIT_ANNOUNCE || state == COMMIT_REFUSE;
        assert_true(state != COMMIT_RETAIN || (leader && !published));
        assert_true(next != COMMIT_ABANDON || !now);
        assert_true(next != COMMIT_FAILED || !leader || told);
        walk(next, leader, now, told, depth + 1);
    }
}

static void test_every_path(void **state)
{
    (void)state;
    walk(COMMIT_WRITE, true, false, false, 0);
    walk(COMMIT_WRITE, false, false, false, 0);
}

static void test_all_go_well(void **state)
{
    static const enum commit_state leader[] = {COMMIT_WRITE,    COMMIT_VOTE,     COMMIT_RETAIN,
                                               COMMIT_GATHER,   COMMIT_MANIFEST, COMMIT_PUBLISH,
                                               COMMIT_ANNOUNCE, COMMIT_COMMITTED};
    static const enum commit_state other[] = {COMMIT_WRITE, COMMIT_VOTE, COMMIT_AWAIT,
                                              COMMIT_COMMITTED};
    (void)state;
    for (size_t i = 0; i + 1 < sizeof leader / sizeof *leader; i++)
        assert_int_equal(commit_next(leader[i], true, true), leader[i + 1]);
    for (size_t i = 0; i + 1 < sizeof other / sizeof *other; i++)
        assert_int_equal(commit_next(other[i], false, true), other[i + 1]);
}

static void test_failed_write_votes(void **state)
{
    (void)state;
    assert_int_equal(commit_next(COMMIT_WRITE, true, false), COMMIT_VOTE);
    assert_int_equal(commit_next(COMMIT_WRITE, false, false), COMMIT_VOTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_path),
        cmocka_unit_test(test_all_go_well),
        cmocka_unit_test(test_failed_write_votes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
