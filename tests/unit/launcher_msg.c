#include "muster/launcher/msg.h"

#include "muster/core/err.h"
#include "muster/core/world/page.h"
#include "muster/launcher/exitcode.h"

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
                        .serial = type == MSG_BEAT ? 0 : 5,
                        .ack = 6,
                        .version = "1.2.3",
                        .host = "worker-1",
                        .generation = 0x01020304,
                        .local_size = 3,
                        .node_count = 2,
                        .rank = 17,
                        .code = 137,
                        .round = 9,
                        .action = MST_GATE_CHECKPOINT,
                        .verdict = ENOTSUP,
                        .grace_ms = 30000,
                        .world_size = 6,
                        .max_restarts = 4,
                        .end = EXITCODE_END_DEADLINE,
                        .present = 5,
                        .step = UINT64_C(0x0123456789),
                        .lowest_step = MST_PAGE_NO_STEP,
                        .master_port = 65535,
                        .job_nonce = UINT64_C(0xfedcba9876543210),
                        .job_id = "job-1",
                        .text = "why, and what to do"};
}

static void test_round_trip_of_every_type(void **state)
{
    (void)state;
    static uint8_t first[MSG_BYTES_MAX], second[MSG_BYTES_MAX];
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

static void test_what_was_asked_for_comes_over(void **state)
{
    (void)state;
    static uint8_t bytes[MSG_BYTES_MAX];
    struct msg msg = full(MSG_JOIN), back;
    int size = msg_encode(&msg, bytes, sizeof bytes);
    assert_int_equal(msg_decode(MSG_JOIN, bytes, (size_t)size, &back), 0);
    assert_int_equal(back.world_size, 6);
    msg = full(MSG_START);
    size = msg_encode(&msg, bytes, sizeof bytes);
    assert_int_equal(msg_decode(MSG_START, bytes, (size_t)size, &back), 0);
    assert_int_equal(back.max_restarts, 4);
    assert_int_equal(back.rank, 17);
    assert_int_equal(back.local_size, 3);
    assert_int_equal(back.world_size, 6);
}

static void test_an_encoded_message_gets_another_number(void **state)
{
    (void)state;
    static uint8_t bytes[MSG_BYTES_MAX], renumbered[MSG_BYTES_MAX];
    struct msg msg = full(MSG_END);
    int size = msg_encode(&msg, bytes, sizeof bytes);
    msg.serial = UINT64_C(0x0102030405060708);
    msg.ack = 7;
    assert_int_equal(msg_encode(&msg, renumbered, sizeof renumbered), size);
    msg_number(bytes, msg.serial, msg.ack);
    assert_memory_equal(bytes, renumbered, (size_t)size);
}

static void test_every_other_size_is_refused(void **state)
{
    (void)state;
    static uint8_t bytes[MSG_BYTES_MAX], cut_off[MSG_BYTES_MAX];
    struct msg back;
    for (int type = MSG_JOIN; type < MSG_TYPE_END; type++) {
        struct msg msg = full((enum msg_type)type);
        int size = msg_encode(&msg, bytes, sizeof bytes);
        for (int cut = 0; cut < size; cut++) {
            assert_int_equal(msg_decode((uint8_t)type, bytes, (size_t)cut, &back), -EBADMSG);
            assert_int_equal(msg_encode(&msg, cut_off, (size_t)cut), -ENOSPC);
        }
        assert_int_equal(msg_decode((uint8_t)type, bytes, (size_t)size + 1, &back), -EBADMSG);
    }
}

static void refuse(struct msg msg)
{
    static uint8_t bytes[MSG_BYTES_MAX];
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
    msg = full(MSG_END), msg.end = EXITCODE_END_COUNT, refuse(msg);
    msg = full(MSG_QUERY), msg.action = 3, refuse(msg);
    msg = full(MSG_DOWN), msg.verdict = MST_ERRNO_MAX + 1, refuse(msg);
    msg = full(MSG_PROPOSE), msg.step = MSG_STEP_LIMIT, refuse(msg);
    msg = full(MSG_STEPS), msg.lowest_step = MST_PAGE_NO_STEP - 1, refuse(msg);
    msg = full(MSG_PROPOSE), msg.step = MST_PAGE_NO_STEP, refuse(msg);
    msg = full(MSG_AGREED), msg.step = MST_PAGE_NO_STEP, refuse(msg);
    msg = full(MSG_START), msg.master_port = 65536, refuse(msg);
    msg = full(MSG_START), msg.local_size = 0, refuse(msg);
    msg = full(MSG_START), msg.local_size = MST_PAGE_RANKS_MAX + 1, refuse(msg);
    msg = full(MSG_JOIN), msg.grace_ms = 0, refuse(msg);
    msg = full(MSG_JOIN), msg.world_size = MST_PAGE_RANKS_MAX * MSG_NODES_MAX + 1, refuse(msg);
    msg = full(MSG_JOIN), msg.host[1] = ' ', refuse(msg);
    msg = full(MSG_JOIN), msg.serial = 0, refuse(msg);
    msg = full(MSG_BEAT), msg.serial = 1, refuse(msg);
    msg = full(MSG_REFUSED), msg.text[1] = '\n', refuse(msg);
    msg = full(MSG_START), msg.job_id[1] = '\n', refuse(msg);
    msg = full(MSG_START), msg.job_nonce = 0, refuse(msg);
    msg = full(MSG_SEAT), msg.present = 0, refuse(msg);
    msg = full(MSG_SEAT), msg.present = 2 * MSG_NODES_MAX + 1, refuse(msg);
}

static void test_the_longest_has_room(void **state)
{
    (void)state;
    static uint8_t bytes[MSG_BYTES_MAX];
    for (int type = MSG_JOIN; type < MSG_TYPE_END; type++) {
        struct msg msg = full((enum msg_type)type);
        memset(msg.version, 'v', sizeof msg.version);
        memset(msg.host, 'h', sizeof msg.host);
        memset(msg.job_id, 'j', sizeof msg.job_id);
        memset(msg.text, 't', sizeof msg.text);
        assert_true(msg_encode(&msg, bytes, sizeof bytes) > 0);
    }
}

/* Whatever another version may write behind it. */
static void test_a_version_is_read_by_every_version(void **state)
{
    (void)state;
    static uint8_t bytes[MSG_BYTES_MAX];
    char version[MSG_VERSION_BYTES];
    struct msg msg = full(MSG_JOIN), back;
    int size = msg_encode(&msg, bytes, sizeof bytes);
    bytes[size] = 7;
    assert_int_equal(msg_decode(MSG_JOIN, bytes, (size_t)size + 1, &back), -EBADMSG);
    assert_int_equal(msg_decode_version(bytes, (size_t)size + 1, version), 0);
    assert_string_equal(version, "1.2.3");
    assert_int_equal(msg_decode_version(bytes, 20, version), -EBADMSG);
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
        cmocka_unit_test(test_what_was_asked_for_comes_over),
        cmocka_unit_test(test_an_encoded_message_gets_another_number),
        cmocka_unit_test(test_every_other_size_is_refused),
        cmocka_unit_test(test_fields_out_of_range_are_refused),
        cmocka_unit_test(test_the_longest_has_room),
        cmocka_unit_test(test_a_version_is_read_by_every_version),
        cmocka_unit_test(test_unknown_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
