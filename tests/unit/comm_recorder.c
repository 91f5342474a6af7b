#include "muster/comm/recorder.h"

#include "muster/core/world/page.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static const struct signature_desc desc = {
    .coll = MST_COLL_REDUCE_SCATTER, .dtype = MST_BF16, .op = MST_MAX, .count = 12};

static void an_entry_tells_all(void **state)
{
    (void)state;
    struct mst_page *page;
    int fd;
    assert_int_equal(mst_page_create(2, &fd, &page, NULL), 0);
    struct recorder recorder = {.page = page, .local_rank = 1, .comm_id = 9};
    struct mst_page_slot *slot = mst_page_slot(page, 1);
    struct mst_page_op *op = recorder_enter(&recorder, &desc, 5, 1000);
    assert_ptr_equal(op, mst_page_op(page, 1, 0));
    assert_int_equal(atomic_load(&slot->op_count), 1);
    assert_int_equal(atomic_load(&slot->state), MST_RANK_IN_COLL);
    assert_int_equal(op->seq, 5);
    assert_int_equal(op->comm_id, 9);
    assert_int_equal(op->signature, signature_of(&desc));
    assert_int_equal(op->kind, MST_COLL_REDUCE_SCATTER);
    assert_int_equal(op->dtype, MST_BF16);
    assert_int_equal(op->op, MST_MAX);
    assert_int_equal(op->enter_ns, 1000);
    assert_int_equal(op->done_ns, 0);
    recorder_leave(&recorder, op, -ETIMEDOUT, 2000);
    assert_int_equal(op->done_ns, 2000);
    assert_int_equal(op->result, -ETIMEDOUT);
    assert_int_equal(atomic_load(&slot->state), MST_RANK_RUNNING);
    assert_int_equal(atomic_load(&slot->beat_ns), 2000);
    assert_int_equal(atomic_load(&mst_page_slot(page, 0)->op_count), 0);
    mst_page_unmap(page);
    (void)close(fd);
}

static void the_ring_keeps_the_last(void **state)
{
    (void)state;
    struct mst_page *page;
    int fd;
    assert_int_equal(mst_page_create(1, &fd, &page, NULL), 0);
    struct recorder recorder = {.page = page};
    for (uint64_t seq = 1; seq <= MST_PAGE_RING_OPS + 3; seq++)
        recorder_leave(&recorder, recorder_enter(&recorder, &desc, seq, seq), 0, seq);
    assert_int_equal(mst_page_op(page, 0, MST_PAGE_RING_OPS + 2)->seq, MST_PAGE_RING_OPS + 3);
    assert_int_equal(mst_page_op(page, 0, 3)->seq, 4);
    mst_page_unmap(page);
    (void)close(fd);
}

static void without_a_page_nothing_happens(void **state)
{
    (void)state;
    struct recorder recorder = {0};
    recorder_leave(&recorder, recorder_enter(&recorder, &desc, 1, 1), 0, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_tells_all),
        cmocka_unit_test(the_ring_keeps_the_last),
        cmocka_unit_test(without_a_page_nothing_happens),
    };
    return cmocka_run_group_tests_name("comm_recorder", tests, NULL, NULL);
}
