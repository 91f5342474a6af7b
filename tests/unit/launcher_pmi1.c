/* The lines of PMI-1, as MPICH and Intel MPI say them, and what goes from node to node. */
#include "failing_memory.h"

#include "muster/core/err.h"
#include "muster/launcher/pmi1.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint16_t two_nodes[] = {2, 2};

static void start(struct pmi1_board *board)
{
    assert_int_equal(pmi1_board_init(board, "job", two_nodes, 2, NULL), 0);
}

/* What the rank is told, which is static; an error's code by *ret_rc, or 0. */
static const char *told(struct pmi1_board *board, struct pmi1_rank *rank, const char *said,
                        int *ret_rc)
{
    static char reply[PMI1_LINE_BYTES];
    char line[PMI1_LINE_BYTES];
    struct mst_err err = {0};
    assert_true(snprintf(line, sizeof line, "%s", said) < (int)sizeof line);
    *ret_rc = pmi1_answer(board, rank, line, reply, &err);
    assert_true(*ret_rc == 0 || err.text[0]);
    return reply;
}

static void expect(struct pmi1_board *board, struct pmi1_rank *rank, const char *said,
                   const char *reply)
{
    int rc;
    assert_string_equal(told(board, rank, said, &rc), reply);
    assert_int_equal(rc, 0);
}

static void expect_error(struct pmi1_board *board, struct pmi1_rank *rank, const char *said)
{
    int rc;
    (void)told(board, rank, said, &rc);
    assert_int_equal(rc, -EPROTO);
}

static void init(struct pmi1_board *board, struct pmi1_rank *rank)
{
    *rank = (struct pmi1_rank){.state = PMI1_OUTSIDE};
    expect(board, rank, "cmd=init pmi_version=1 pmi_subversion=1",
           "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
}

/* As MPICH 4.0.2 does under Hydra. */
static void a_rank_learns_who_is_there(void **state)
{
    (void)state;
    struct pmi1_board board;
    struct pmi1_rank rank;
    start(&board);
    init(&board, &rank);
    expect(&board, &rank, "cmd=get_maxes",
           "cmd=maxes rc=0 kvsname_max=64 keylen_max=64 "
           "vallen_max=1024\n");
    expect(&board, &rank, "cmd=get_appnum", "cmd=appnum rc=0 appnum=0\n");
    expect(&board, &rank, "cmd=get_my_kvsname", "cmd=my_kvsname rc=0 kvsname=job\n");
    expect(&board, &rank, "cmd=get_universe_size", "cmd=universe_size rc=0 size=4\n");
    expect(&board, &rank, "cmd=get kvsname=job key=PMI_process_mapping",
           "cmd=get_result rc=0 msg=success value=(vector,(0,2,2))\n");
    expect(&board, &rank, "cmd=put kvsname=job key=-bcast-1-0 value=2F=64",
           "cmd=put_result rc=0 msg=success\n");
    expect(&board, &rank, "cmd=barrier_in", "");
    assert_int_equal(rank.state, PMI1_FENCED);
    rank.state = PMI1_INSIDE;
    expect(&board, &rank, "cmd=get kvsname=job key=-bcast-1-0",
           "cmd=get_result rc=0 msg=success value=2F=64\n");
    expect(&board, &rank, "cmd=finalize", "cmd=finalize_ack rc=0\n");
    assert_int_equal(rank.state, PMI1_LEFT);
    pmi1_board_fini(&board);
}

static void layouts_are_runs_of_equal_nodes(void **state)
{
    (void)state;
    static const uint16_t uneven[] = {3, 1, 1, 2};
    struct pmi1_board board;
    assert_int_equal(pmi1_board_init(&board, "job", uneven, 4, NULL), 0);
    assert_string_equal(board.mapping, "(vector,(0,1,3),(1,2,1),(3,1,2))");
    assert_int_equal(board.size, 7);
    pmi1_board_fini(&board);
}

static void a_layout_that_has_no_room_is_refused(void **state)
{
    (void)state;
    uint16_t sizes[1000];
    struct pmi1_board board;
    struct mst_err err = {0};
    for (size_t i = 0; i < 1000; i++)
        sizes[i] = (uint16_t)(1 + i % 2);
    assert_int_equal(pmi1_board_init(&board, "job", sizes, 1000, &err), -ENOSPC);
    assert_non_null(strstr(err.text, "1000 nodes"));
    pmi1_board_fini(&board);
    for (size_t i = 0; i < 1000; i++)
        sizes[i] = 8;
    assert_int_equal(pmi1_board_init(&board, "job", sizes, 1000, NULL), 0);
    assert_string_equal(board.mapping, "(vector,(0,1000,8))");
    pmi1_board_fini(&board);
}

static void what_one_node_puts_another_gets(void **state)
{
    (void)state;
    struct pmi1_board one, other;
    struct pmi1_rank rank;
    start(&one);
    start(&other);
    init(&one, &rank);
    expect(&one, &rank, "cmd=put kvsname=job key=a value=1", "cmd=put_result rc=0 msg=success\n");
    expect(&one, &rank, "cmd=put kvsname=job key=b value=", "cmd=put_result rc=0 msg=success\n");
    assert_int_equal(pmi1_board_learn(&other, one.fresh, one.fresh_bytes, NULL), 0);
    pmi1_board_fence(&one);
    assert_int_equal(one.fresh_bytes, 0);
    init(&other, &rank);
    expect(&other, &rank, "cmd=get kvsname=job key=a", "cmd=get_result rc=0 msg=success value=1\n");
    expect(&other, &rank, "cmd=get kvsname=job key=b", "cmd=get_result rc=0 msg=success value=\n");
    assert_int_equal(other.fresh_bytes, 0); /* it is not told on */
    pmi1_board_fini(&one);
    pmi1_board_fini(&other);
}

static void what_another_node_says_is_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"a=1", "a\n", "=1\n", "a b=1\n", "a=1 2\n", "\n", "a=1\nb"};
    struct pmi1_board board;
    struct mst_err err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (struct mst_err){0};
        start(&board);
        assert_int_equal(pmi1_board_learn(&board, bad[i], strlen(bad[i]), &err), -EBADMSG);
        assert_non_null(strstr(err.text, "PMI-1"));
        pmi1_board_fini(&board);
    }
    start(&board);
    assert_int_equal(pmi1_board_learn(&board, "a=1\na=2\n", 8, &err), -EEXIST);
    assert_non_null(strstr(err.text, "key a"));
    assert_int_equal(pmi1_board_learn(&board, NULL, 0, &err), 0);
    pmi1_board_fini(&board);
}

static void keys_and_values_have_their_sizes(void **state)
{
    (void)state;
    static const struct {
        int key_bytes, value_bytes;
        const char *said;
    } cases[] = {{63, 1023, "0 msg=success"},
                 {64, 1, "-1 msg=invalid_key_or_value"},
                 {1, 1024, "-1 msg=invalid_key_or_value"},
                 {0, 1, "-1 msg=invalid_key_or_value"}};
    char line[PMI1_LINE_BYTES], reply[64], text[1025];
    struct pmi1_board board;
    struct pmi1_rank rank;
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start(&board);
        init(&board, &rank);
        (void)snprintf(line, sizeof line, "cmd=put kvsname=job key=%.*s value=%.*s",
                       cases[i].key_bytes, text, cases[i].value_bytes, text);
        (void)snprintf(reply, sizeof reply, "cmd=put_result rc=%s\n", cases[i].said);
        expect(&board, &rank, line, reply);
        pmi1_board_fini(&board);
    }
}

static void what_is_not_there_is_no_error_of_the_talk(void **state)
{
    (void)state;
    static const char none[] = "cmd=get_result rc=-1 msg=key_not_found value=unknown\n";
    struct pmi1_board board;
    struct pmi1_rank rank;
    start(&board);
    init(&board, &rank);
    expect(&board, &rank, "cmd=get kvsname=job key=a", none);
    expect(&board, &rank, "cmd=get kvsname=job", none);
    expect(&board, &rank, "cmd=get kvsname=other key=PMI_process_mapping", none);
    expect(&board, &rank, "cmd=put kvsname=job key=a value=1", "cmd=put_result rc=0 msg=success\n");
    expect(&board, &rank, "cmd=put kvsname=job key=a value=2",
           "cmd=put_result rc=-1 msg=duplicate_key\n");
    expect(&board, &rank, "cmd=put kvsname=other key=b value=2",
           "cmd=put_result rc=-1 msg=invalid_key_or_value\n");
    expect(&board, &rank, "", "");
    expect(&board, &rank, "   ", "");
    pmi1_board_fini(&board);
}

static void names_and_processes_are_refused(void **state)
{
    (void)state;
    struct pmi1_board board;
    struct pmi1_rank rank;
    start(&board);
    init(&board, &rank);
    expect(&board, &rank, "cmd=publish_name service=a port=b",
           "cmd=publish_result rc=-1 info=failed msg=no_name_service\n");
    expect(&board, &rank, "cmd=unpublish_name service=a",
           "cmd=unpublish_result rc=-1 info=failed msg=no_name_service\n");
    expect(&board, &rank, "cmd=lookup_name service=a",
           "cmd=lookup_result rc=-1 info=failed msg=no_name_service\n");
    expect(&board, &rank, "mcmd=spawn", "");
    expect(&board, &rank, "nprocs=1", "");
    expect(&board, &rank, "cmd=finalize", ""); /* a line of the request, whatever it says */
    expect(&board, &rank, "endcmd",
           "cmd=spawn_result rc=-1 errmsg=muster_starts_no_more_processes\n");
    expect(&board, &rank, "cmd=finalize", "cmd=finalize_ack rc=0\n");
    pmi1_board_fini(&board);
}

static void an_abort_is_no_success(void **state)
{
    (void)state;
    static const struct {
        const char *said;
        int exit_code;
    } cases[] = {{"cmd=abort exitcode=5", 5},
                 {"cmd=abort exitcode=0", 1},
                 {"cmd=abort exitcode=256", 1},
                 {"cmd=abort", 1}};
    struct pmi1_board board;
    struct pmi1_rank rank;
    start(&board);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        init(&board, &rank);
        expect(&board, &rank, cases[i].said, "");
        assert_int_equal(rank.state, PMI1_ABORTS);
        assert_int_equal(rank.exit_code, cases[i].exit_code);
    }
    pmi1_board_fini(&board);
}

static void out_of_turn_is_an_error(void **state)
{
    (void)state;
    struct pmi1_board board;
    struct pmi1_rank rank = {.state = PMI1_OUTSIDE};
    start(&board);
    expect_error(&board, &rank, "cmd=init pmi_version=2 pmi_subversion=0");
    expect_error(&board, &rank, "cmd=get_maxes");
    init(&board, &rank);
    expect_error(&board, &rank, "cmd=init pmi_version=1");
    expect_error(&board, &rank, "cmd=fly");
    expect_error(&board, &rank, "nonsense");
    expect(&board, &rank, "cmd=barrier_in", "");
    expect_error(&board, &rank, "cmd=barrier_in");
    rank.state = PMI1_LEFT;
    expect_error(&board, &rank, "cmd=get_maxes");
    pmi1_board_fini(&board);
}

/* Whichever allocation fails: nothing of the key is there, and it can be put again. */
static void no_memory_for_a_key(void **state)
{
    (void)state;
    static const char put[] = "cmd=put kvsname=job key=a value=1";
    struct pmi1_board board;
    struct pmi1_rank rank;
    int rc = -ENOMEM;
    size_t n = 0;
    start(&board);
    init(&board, &rank);
    for (; rc != 0; n++) {
        fail_allocations_after(n);
        (void)told(&board, &rank, put, &rc);
        allow_allocations();
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_int_equal(board.fresh_bytes, rc ? 0 : strlen("a=1\n"));
    }
    assert_in_range(n, 2, 10);
    pmi1_board_fini(&board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_learns_who_is_there),
        cmocka_unit_test(layouts_are_runs_of_equal_nodes),
        cmocka_unit_test(a_layout_that_has_no_room_is_refused),
        cmocka_unit_test(what_one_node_puts_another_gets),
        cmocka_unit_test(what_another_node_says_is_checked),
        cmocka_unit_test(keys_and_values_have_their_sizes),
        cmocka_unit_test(what_is_not_there_is_no_error_of_the_talk),
        cmocka_unit_test(names_and_processes_are_refused),
        cmocka_unit_test(an_abort_is_no_success),
        cmocka_unit_test(out_of_turn_is_an_error),
        cmocka_unit_test(no_memory_for_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
