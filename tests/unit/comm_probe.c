/* Whatever the ranks measure, and whoever of them has a core, all go on alike. */
#include "muster/comm/probe.h"
#include "soon.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RANKS 3

struct rank {
    struct segment segment;
    enum mst_wait_policy policy;
    bool streams;
    int rc;
    struct mst_err err;
};

static const uint32_t global_ranks[RANKS] = {4, 5, 6};
static const struct signature_desc barrier = {.coll = MST_COLL_BARRIER};

static void open_ranks(struct rank ranks[RANKS])
{
    struct segment_place place;
    for (uint32_t r = 0; r < RANKS; r++) {
        struct segment *segment = &ranks[r].segment;
        int rc = r == 0 ? segment_create(segment, -1, RANKS, &place, NULL)
                        : segment_open(segment, -1, r, RANKS, &place, NULL);
        assert_int_equal(rc, 0);
        segment->ranks = global_ranks;
        segment_set_wait(segment, ranks[r].policy, 1);
        segment_begin(segment, &barrier, 1);
    }
}

static void close_ranks(struct rank ranks[RANKS])
{
    for (uint32_t r = 0; r < RANKS; r++)
        segment_close(&ranks[r].segment);
}

static void *probe_main(void *arg)
{
    struct rank *rank = arg;
    rank->streams = true;
    rank->rc = probe_deposits(&rank->segment, soon(), &rank->streams, &rank->err);
    return NULL;
}

static void probe_all(struct rank ranks[RANKS])
{
    pthread_t threads[RANKS];
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(pthread_create(&threads[r], NULL, probe_main, &ranks[r]), 0);
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(pthread_join(threads[r], NULL), 0);
}

/* Rank 0 lacks a core, or one of the others does. Twice: the word of the time before is not taken
 * for a new one. */
static void all_go_by_rank_zeros_word(void **state)
{
    static const enum mst_wait_policy first[] = {MST_WAIT_BLOCK, MST_WAIT_SPIN};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rank ranks[RANKS] = {
            {.policy = first[i]}, {.policy = MST_WAIT_YIELD}, {.policy = MST_WAIT_BLOCK}};
        open_ranks(ranks);
        probe_all(ranks);
        probe_all(ranks);
        for (uint32_t r = 0; r < RANKS; r++) {
            const struct segment *segment = &ranks[r].segment;
            assert_int_equal(ranks[r].rc, 0);
            assert_int_equal(ranks[r].streams, ranks[0].streams);
            assert_int_equal(segment->step, ranks[0].segment.step);
            assert_int_equal(segment->end, ranks[0].segment.end);
            assert_int_equal(segment->roams, ranks[0].segment.roams);
            assert_int_equal(segment->most_bytes, ranks[0].segment.most_bytes);
        }
        bool measured = first[i] == MST_WAIT_SPIN;
        assert_int_equal(ranks[0].segment.step > 2, measured); /* a step each says who has none */
        assert_true(measured || !ranks[0].segment.roams);
        assert_true(ranks[0].segment.step <= 2 * 17);
        close_ranks(ranks);
    }
}

static void a_rank_alone_has_nothing_to_measure(void **state)
{
    (void)state;
    struct segment segment;
    struct segment_place place;
    struct mst_err err;
    bool streams = true;
    assert_int_equal(segment_create(&segment, -1, 1, &place, &err), 0);
    assert_int_equal(probe_deposits(&segment, 1, &streams, &err), 0);
    assert_false(streams);
    assert_int_equal(segment.step, 0);
    segment_close(&segment);
}

static void who_does_not_come_is_named(void **state)
{
    (void)state;
    struct rank ranks[RANKS] = {{.policy = MST_WAIT_SPIN}};
    struct mst_err err;
    bool streams = true;
    open_ranks(ranks);
    assert_int_equal(probe_deposits(&ranks[0].segment, 1, &streams, &err), -ETIMEDOUT);
    assert_string_equal(err.text, "op 1, barrier: still missing rank 5 (last: op 1, barrier) "
                                  "rank 6 (last: op 1, barrier)");
    assert_true(streams); /* untouched */
    close_ranks(ranks);
}

static void a_recorded_failure_ends_it(void **state)
{
    (void)state;
    struct rank ranks[RANKS] = {{.policy = MST_WAIT_SPIN}};
    struct mst_err first = {.code = -EIO, .text = "the first"};
    open_ranks(ranks);
    assert_int_equal(segment_fail(&ranks[2].segment, &first), -EIO);
    (void)probe_main(&ranks[0]);
    assert_int_equal(ranks[0].rc, -EIO);
    assert_string_equal(ranks[0].err.text, "the first");
    close_ranks(ranks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_go_by_rank_zeros_word),
        cmocka_unit_test(a_rank_alone_has_nothing_to_measure),
        cmocka_unit_test(who_does_not_come_is_named),
        cmocka_unit_test(a_recorded_failure_ends_it),
    };
    return cmocka_run_group_tests_name("comm_probe", tests, NULL, NULL);
}
