#include "muster/launcher/msg.h"

#include "muster/core/err.h"
#include "muster/core/world/page.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct msg full(enum msg_type type)
{
    return (struct msg){.type = type,
                        .generation = 0x01020304,
                        .local_size = 3,
                        .node_count = 2,
                        .rank = 17,
                        .code = 137,
                        .round = 9,
                        .action = MST_GATE_CHECKPOINT,
                        .verdict = ENOTSUP,
                        .step = UINT64_C(0x0123456789),
                        .lowest_step = MST_PAGE_NO_STEP,
                        .master_port = 65535,
                        .job_nonce = UINT64_C(0xfedcba9876543210),
                        .job_id = "job-1",
                        .local_sizes = {3, 1024}};
}

static void test_round_trip_of_every_type(void **state)
{
    (void)state;
    uint8_t first[MSG_BYTES_MAX], second[MSG_BYTES_MAX];
    for (int type = MSG_JOIN; type < MSG_TYPE_END; type++) {
        struct msg msg = full((enum msg_type)type), back;
        int size = msg_encode(&msg, first, sizeof first);
        assert_true(size > 0);
        assert_int_equal(msg_decode((uint8_t)type, first, (size_t)size, &back), 0);
        assert_int_equal(back.type, type);
        assert_int_equal(msg_encode(&back, second, sizeof second), size);
        assert_memory_equal(first, second, (size_t)size);
    }
}

static void test_every_other_size_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[MSG_BYTES_MAX] = {0};
    struct msg back;
    for (int type = MSG_JOIN; type < MSG_TYPE_END; type++) {
        struct msg msg = full((enum msg_type)type);
        int size = msg_encode(&msg, bytes, sizeof bytes);
        for (int cut = 0; cut < size; cut++) {
            assert_int_equal(msg_decode((uint8_t)type, bytes, (size_t)cut, &back), -EBADMSG);
            assert_int_equal(msg_encode(&msg, (uint8_t[MSG_BYTES_MAX]){0}, (size_t)cut), -ENOSPC);
        }
        assert_int_equal(msg_decode((uint8_t)type, bytes, (size_t)size + 1, &back), -EBADMSG);
    }
}

static void refuse(struct msg msg)
{
    uint8_t bytes[MSG_BYTES_MAX];
    struct msg back;
    int size = msg_encode(&msg, bytes, sizeof bytes);
    assert_int_equal(msg_decode((uint8_t)msg.type, bytes, (size_t)size, &back), -EBADMSG);
}

static void test_fields_out_of_range_are_refused(void **state)
{
    (void)state;
    struct msg msg;
    msg = full(MSG_JOIN), msg.local_size = 0, refuse(msg);
    msg = full(MSG_JOIN), msg.local_size = MST_PAGE_RANKS_MAX + 1, refuse(msg);
    msg = full(MSG_JOIN), msg.node_count = 0, refuse(msg);
    msg = full(MSG_FAILED), msg.rank = MST_PAGE_CAUSE_JOB + 1, refuse(msg);
    msg = full(MSG_FAILED), msg.code = 256, refuse(msg);
    msg = full(MSG_QUERY), msg.action = 2, refuse(msg);
    msg = full(MSG_DOWN), msg.verdict = MST_ERRNO_MAX + 1, refuse(msg);
    msg = full(MSG_PROPOSE), msg.step = MSG_STEP_LIMIT, refuse(msg);
    msg = full(MSG_STEPS), msg.lowest_step = MST_PAGE_NO_STEP - 1, refuse(msg);
    msg = full(MSG_PROPOSE), msg.step = MST_PAGE_NO_STEP, refuse(msg);
    msg = full(MSG_AGREED), msg.step = MST_PAGE_NO_STEP, refuse(msg);
    msg = full(MSG_START), msg.master_port = 65536, refuse(msg);
    msg = full(MSG_START), msg.local_sizes[1] = 0, refuse(msg);
    msg = full(MSG_START), msg.local_sizes[1] = 1025, refuse(msg);
    msg = full(MSG_START), memset(msg.job_id, 'x', sizeof msg.job_id), refuse(msg);
    msg = full(MSG_START), msg.job_id[1] = '\n', refuse(msg);
    msg = full(MSG_START), msg.job_nonce = 0, refuse(msg);
}

static void test_unknown_types_are_refused(void **state)
{
    (void)state;
    struct msg back;
    assert_int_equal(msg_decode(MSG_JOIN - 1, NULL, 0, &back), -EBADMSG);
    assert_int_equal(msg_decode(MSG_TYPE_END, NULL, 0, &back), -EBADMSG);
    assert_string_equal(msg_name(MSG_TYPE_END), "?");
    assert_string_equal(msg_name(MSG_END), "END");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_of_every_type),
        cmocka_unit_test(test_every_other_size_is_refused),
        cmocka_unit_test(test_fields_out_of_range_are_refused),
        cmocka_unit_test(test_unknown_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
