/* Notes between ranks, with both ends in the test's hands. */
#include "muster/comm/mpi_notes.h"

#include "comm_fake_mpi.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COMM 1

static struct mpi_notes rank_0, rank_1;

static int open_both(void **state)
{
    (void)state;
    fake_reset(2);
    memset(&rank_0, 0, sizeof rank_0);
    memset(&rank_1, 0, sizeof rank_1);
    assert_int_equal(mpi_notes_open(&rank_0, &fake_abi, fake_comm(COMM, 0), 0, 2, NULL), 0);
    assert_int_equal(mpi_notes_open(&rank_1, &fake_abi, fake_comm(COMM, 1), 1, 2, NULL), 0);
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    mpi_notes_close(&rank_0);
    mpi_notes_close(&rank_1);
    fake_forget();
    return 0;
}

/* From rank 1 to rank 0, by hand. */
static void send(const struct mpi_note *note)
{
    bool done;
    struct mpi_handle request;
    assert_int_equal(fake_start_send(fake_comm(COMM, 1), note, sizeof *note, 0, &request), 0);
    assert_int_equal(fake_test(&request, &done), 0);
    assert_true(done);
}

static size_t letters_for(uint32_t rank)
{
    size_t count = 0;
    for (const struct fake_message *m = fake.mail[COMM][rank]; m; m = m->next)
        count++;
    return count;
}

static void the_first_failure_reaches_all(void **state)
{
    (void)state;
    struct mst_err first = {0}, second = {0};
    (void)mst_err_set(&first, -EPROTO, "first");
    (void)mst_err_set(&second, -EIO, "second");
    assert_int_equal(mpi_notes_poll(&rank_1, 1), 0);
    assert_true(mpi_notes_fail(&rank_0, &first));
    assert_false(mpi_notes_fail(&rank_0, &second));
    assert_int_equal(second.code, -EPROTO);
    assert_string_equal(second.text, "first");
    assert_int_equal(letters_for(1), 1);
    mpi_notes_flush(&rank_0);
    assert_int_equal(mpi_notes_poll(&rank_1, 1), -ECANCELED);
    assert_int_equal(rank_1.failure.code, -EPROTO);
    assert_string_equal(rank_1.failure.text, "first");
    assert_int_equal(mpi_notes_poll(&rank_0, 1), -ECANCELED);
}

static void questions_are_answered_once(void **state)
{
    (void)state;
    struct mpi_note ask = {.kind = MPI_NOTE_ASK, .from = 1, .op_seq = 3};
    send(&ask);
    send(&ask);
    assert_true(mpi_notes_quiet(&rank_0));
    assert_int_equal(mpi_notes_poll(&rank_0, 3), 0);
    assert_false(mpi_notes_quiet(&rank_0));
    assert_int_equal(letters_for(1), 1);
    assert_int_equal(mpi_notes_poll(&rank_1, 3), 0);
    assert_true(rank_1.worker.present[0]);
    mpi_notes_flush(&rank_0);
}

/* An answer counts if its sender waits in this collective, or has been through it. */
static void who_is_behind_is_missing(void **state)
{
    (void)state;
    char text[40];
    struct mpi_note here = {.kind = MPI_NOTE_HERE, .from = 1, .op_seq = 6};
    send(&here);
    mpi_notes_missing(&rank_0, 7, text, sizeof text);
    assert_string_equal(text, " rank 1");
    here.op_seq = 7;
    send(&here);
    mpi_notes_missing(&rank_0, 7, text, sizeof text);
    assert_string_equal(text, "");
}

static void nonsense_is_ignored(void **state)
{
    (void)state;
    struct mpi_note notes[] = {
        {.kind = MPI_NOTE_FAILED, .from = 1}, /* without a code */
        {.kind = MPI_NOTE_FAILED, .from = 2, .err.code = -EIO},
        {.kind = MPI_NOTE_FAILED, .from = 0, .err.code = -EIO}, /* this rank itself */
        {.kind = MPI_NOTE_FAILED, .from = UINT32_MAX, .err.code = -EIO},
        {.kind = 77, .from = 1, .err.code = -EIO},
        {.kind = MPI_NOTE_HERE, .from = 9},
    };
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++)
        send(&notes[i]);
    assert_int_equal(mpi_notes_poll(&rank_0, 1), 0);
    assert_int_equal(letters_for(0), 0);
    struct mpi_note endless = {.kind = MPI_NOTE_FAILED, .from = 1, .err.code = -EIO};
    memset(endless.err.text, 'x', sizeof endless.err.text);
    send(&endless);
    assert_int_equal(mpi_notes_poll(&rank_0, 1), -ECANCELED);
    assert_int_equal(strlen(rank_0.failure.text), sizeof endless.err.text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_failure_reaches_all, open_both, close_both),
        cmocka_unit_test_setup_teardown(questions_are_answered_once, open_both, close_both),
        cmocka_unit_test_setup_teardown(who_is_behind_is_missing, open_both, close_both),
        cmocka_unit_test_setup_teardown(nonsense_is_ignored, open_both, close_both),
    };
    return cmocka_run_group_tests_name("comm_mpi_notes", tests, NULL, NULL);
}
