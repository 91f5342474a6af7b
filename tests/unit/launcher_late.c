#include "muster/launcher/late.h"

#include "muster/core/clock.h"
#include "muster/core/coll.h"
#include "muster/launcher/ranks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define RANKS 3
#define FIRST_RANK 6
#define S(seconds) ((uint64_t)(seconds)*MST_NS_PER_S)

struct fixture {
    struct ranks ranks;
    struct rank_proc procs[RANKS];
    struct late late;
    struct late_report report;
};

static int begin(void **state)
{
    static struct fixture f;
    f = (struct fixture){.ranks = {.first_rank = FIRST_RANK, .local_size = RANKS}};
    f.ranks.procs = f.procs;
    for (int i = 0; i < RANKS; i++)
        f.procs[i].pid = 100 + i;
    late_init(&f.late, S(100));
    *state = &f;
    return mst_page_create(RANKS, &f.ranks.page_fd, &f.ranks.page, NULL);
}

static int end(void **state)
{
    struct fixture *f = *state;
    mst_page_unmap(f->ranks.page);
    return close(f->ranks.page_fd);
}

/* The rank begins its operation `seq` of a communicator, and ends it at done_ns, or not (0). */
static void enter(struct fixture *f, uint32_t local_rank, uint32_t comm_id, uint64_t seq,
                  uint64_t enter_ns, uint64_t done_ns)
{
    struct mst_page_slot *slot = mst_page_slot(f->ranks.page, local_rank);
    *mst_page_op(f->ranks.page, local_rank,
                 atomic_load(&slot->op_count)) = (struct mst_page_op){.seq = seq,
                                                                      .enter_ns = enter_ns,
                                                                      .done_ns = done_ns,
                                                                      .comm_id = comm_id,
                                                                      .kind = MST_COLL_ALLREDUCE};
    atomic_store(&slot->op_count, atomic_load(&slot->op_count) + 1);
    atomic_store(&slot->state, done_ns ? MST_RANK_RUNNING : MST_RANK_IN_COLL);
}

static bool look(struct fixture *f, uint64_t now_ns)
{
    return late_look(&f->late, &f->ranks, now_ns, &f->report);
}

static void names_ranks_of_this_node(void **state)
{
    struct fixture *f = *state;
    assert_false(look(f, S(105)));
    enter(f, 0, 1, 1, S(110), S(111));
    enter(f, 1, 1, 1, S(110), S(111));
    enter(f, 2, 1, 1, S(110), S(111));
    assert_false(look(f, S(200)));
    enter(f, 2, 1, 2, S(201), 0);
    enter(f, 0, 1, 2, S(202), 0);
    atomic_store(&mst_page_slot(f->ranks.page, 1)->step, 41);
    assert_false(look(f, S(201 + LATE_AFTER_S) - 1));
    assert_true(look(f, S(201 + LATE_AFTER_S)));
    assert_string_equal(f->report.coll, "allreduce");
    assert_int_equal(f->report.comm_id, 1);
    assert_int_equal(f->report.seq, 2);
    assert_int_equal(f->report.wait_s, LATE_AFTER_S);
    assert_int_equal(f->report.here, 2);
    assert_string_equal(f->report.who, "rank 7 (running, step 41)");
}

static void tells_again_when_the_wait_has_doubled(void **state)
{
    struct fixture *f = *state;
    enter(f, 0, 1, 1, S(100), 0);
    assert_true(look(f, S(130)));
    assert_int_equal(f->late.look_ns, S(130 + LATE_EVERY_S));
    assert_false(look(f, S(159)));
    assert_true(look(f, S(160)));
    assert_int_equal(f->report.wait_s, 60);
    assert_false(look(f, S(200)));
    assert_true(look(f, S(220)));
    *mst_page_op(f->ranks.page, 0, 0) = (struct mst_page_op){.seq = 1, .comm_id = 1, .done_ns = 1};
    assert_false(look(f, S(1000)));
    enter(f, 0, 1, 2, S(1000), 0);
    assert_true(look(f, S(1030)));
}

static void tells_of_who_left_and_who_is_in_another_communicator(void **state)
{
    struct fixture *f = *state;
    enter(f, 0, 1, 4, S(100), 0);
    enter(f, 1, 1, 3, S(99), S(100));
    enter(f, 1, 2, 9, S(101), 0);
    enter(f, 2, 1, 3, S(99), S(100));
    f->procs[2].pid = 0;
    assert_true(look(f, S(140)));
    assert_string_equal(f->report.who, "rank 7 (in collective), rank 8 (has left)");
    assert_int_equal(f->report.here, 1);
}

static void one_that_went_on_has_come(void **state)
{
    struct fixture *f = *state;
    enter(f, 0, 1, 4, S(100), 0);
    enter(f, 1, 1, 4, S(100), S(101));
    enter(f, 1, 2, 1, S(102), S(103));
    enter(f, 2, 1, 5, S(104), 0);
    assert_true(look(f, S(140)));
    assert_int_equal(f->report.here, RANKS);
    assert_string_equal(f->report.who, "");
}

static void names_a_rank_of_another_node(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < RANKS; i++)
        enter(f, i, 1, 1, S(100), 0);
    atomic_store(&mst_page_slot(f->ranks.page, 1)->waits_for, 12 + 1);
    assert_true(look(f, S(130)));
    assert_string_equal(f->report.who, "rank 12 (of another node)");
}

static void no_page_and_no_clock_of_ours_is_no_wait(void **state)
{
    struct fixture *f = *state;
    enter(f, 0, 1, 1, S(500), 0); /* after now */
    assert_false(look(f, S(400)));
    struct ranks none = {.page = NULL};
    assert_false(late_look(&f->late, &none, S(900), &f->report));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_ranks_of_this_node, begin, end),
        cmocka_unit_test_setup_teardown(tells_again_when_the_wait_has_doubled, begin, end),
        cmocka_unit_test_setup_teardown(tells_of_who_left_and_who_is_in_another_communicator, begin,
                                        end),
        cmocka_unit_test_setup_teardown(one_that_went_on_has_come, begin, end),
        cmocka_unit_test_setup_teardown(names_a_rank_of_another_node, begin, end),
        cmocka_unit_test_setup_teardown(no_page_and_no_clock_of_ours_is_no_wait, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
