#include "muster/core/clock.h"
#include "muster/core/kv/sock.h"
#include "muster/core/span.h"
#include "soon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing_memory.h"

struct ends {
    struct mst_stream left, right;
};

static int open_ends(void **state)
{
    struct ends *ends = calloc(1, sizeof *ends);
    assert_non_null(ends);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    mst_stream_init(&ends->left, pair[0]);
    mst_stream_init(&ends->right, pair[1]);
    *state = ends;
    return 0;
}

static int close_ends(void **state)
{
    struct ends *ends = *state;
    close(ends->left.fd);
    close(ends->right.fd);
    mst_stream_fini(&ends->left);
    mst_stream_fini(&ends->right);
    free(ends);
    return 0;
}

static void frames_come_in_order(void **state)
{
    struct ends *ends = *state;
    assert_int_equal(mst_stream_read(&ends->right), 0);
    uint8_t type, text[1];
    const uint8_t *payload;
    size_t size;
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 0);
    for (uint8_t i = 0; i < 100; i++) {
        text[0] = i;
        assert_int_equal(mst_stream_put(&ends->left, i, text, i % 2), 0);
    }
    assert_int_equal(mst_stream_pending(&ends->left), 0);
    assert_true(mst_stream_read(&ends->right) > 0);
    for (uint8_t i = 0; i < 100; i++) {
        assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 1);
        assert_int_equal(type, i);
        assert_int_equal(size, i % 2);
        if (size)
            assert_int_equal(payload[0], i);
    }
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 0);
}

static void frames_come_byte_by_byte(void **state)
{
    struct ends *ends = *state;
    const struct mst_cspan parts[] = {{.data = "in ", .size_bytes = 3},
                                      {.data = NULL, .size_bytes = 0},
                                      {.data = "parts", .size_bytes = 5}};
    assert_int_equal(mst_stream_put_parts(&ends->left, 9, parts, 3), 0);
    uint8_t bytes[MST_FRAME_HEADER_BYTES + 8], type;
    assert_int_equal(mst_sock_recv_all(ends->right.fd, bytes, sizeof bytes, soon()), 0);
    const uint8_t *payload;
    size_t size;
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 0);
        assert_int_equal(write(ends->left.fd, bytes + i, 1), 1);
        assert_int_equal(mst_stream_read(&ends->right), 1);
    }
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 1);
    assert_int_equal(size, 8);
    assert_memory_equal(payload, "in parts", 8);
}

static void queue_waits_for_the_socket(void **state)
{
    struct ends *ends = *state;
    const size_t frame_bytes = 2 << 20;
    uint8_t *bytes = malloc(frame_bytes), type;
    size_t size, count = 0;
    assert_non_null(bytes);
    for (size_t i = 0; i < frame_bytes; i++)
        bytes[i] = (uint8_t)(i * 7 >> 4);
    for (uint8_t i = 0; i < 4; i++)
        assert_int_equal(mst_stream_put(&ends->left, i, bytes, frame_bytes), 0);
    assert_true(mst_stream_pending(&ends->left) > 6 << 20);
    while (count < 4) {
        assert_int_equal(mst_stream_write(&ends->left), 0);
        assert_true(mst_stream_read(&ends->right) >= 0);
        const uint8_t *payload;
        while (mst_stream_next(&ends->right, &type, &payload, &size) == 1) {
            assert_int_equal(type, count++);
            assert_int_equal(size, frame_bytes);
            assert_memory_equal(payload, bytes, size);
        }
    }
    assert_int_equal(mst_stream_pending(&ends->left), 0);
    assert_int_equal(mst_stream_put(&ends->left, 1, bytes, (size_t)MST_FRAME_PAYLOAD_MAX + 1),
                     -EINVAL);
    free(bytes);
}

static void payloads_over_the_limit_are_bad(void **state)
{
    struct ends *ends = *state;
    ends->right.payload_max = 3;
    assert_int_equal(mst_stream_put(&ends->left, 1, "abc", 3), 0);
    assert_int_equal(mst_stream_put(&ends->left, 2, "abcd", 4), 0);
    assert_true(mst_stream_read(&ends->right) > 0);
    uint8_t type;
    const uint8_t *payload;
    size_t size;
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 1);
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), -EBADMSG);
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), -EBADMSG);
}

static void corrupt_payload_is_bad(void **state)
{
    struct ends *ends = *state;
    assert_int_equal(mst_stream_put(&ends->left, 1, "abcd", 4), 0);
    uint8_t bytes[MST_FRAME_HEADER_BYTES + 4], type;
    assert_int_equal(mst_sock_recv_all(ends->right.fd, bytes, sizeof bytes, soon()), 0);
    bytes[sizeof bytes - 1] ^= 0x10;
    assert_int_equal(write(ends->left.fd, bytes, sizeof bytes), sizeof bytes);
    assert_true(mst_stream_read(&ends->right) > 0);
    const uint8_t *payload;
    size_t size;
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), -EBADMSG);
}

static void closed_peer_is_a_reset(void **state)
{
    struct ends *ends = *state;
    assert_int_equal(mst_stream_put(&ends->left, 1, "bye", 3), 0);
    assert_int_equal(shutdown(ends->left.fd, SHUT_RDWR), 0);
    assert_true(mst_stream_read(&ends->right) > 0);
    uint8_t type;
    const uint8_t *payload;
    size_t size;
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 1);
    assert_int_equal(mst_stream_read(&ends->right), -ECONNRESET);
    assert_int_equal(mst_stream_put(&ends->right, 1, "?", 1), -ECONNRESET);
}

static void out_of_memory_loses_nothing(void **state)
{
    struct ends *ends = *state;
    fail_allocations_after(0);
    assert_int_equal(mst_stream_put(&ends->left, 1, "a", 1), -ENOMEM);
    allow_allocations();
    assert_int_equal(mst_stream_put(&ends->left, 2, "b", 1), 0);
    fail_allocations_after(0);
    assert_int_equal(mst_stream_read(&ends->right), -ENOMEM);
    allow_allocations();
    assert_true(mst_stream_read(&ends->right) > 0);
    uint8_t type;
    const uint8_t *payload;
    size_t size;
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 1);
    assert_int_equal(type, 2);
    assert_int_equal(mst_stream_next(&ends->right, &type, &payload, &size), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_come_in_order, open_ends, close_ends),
        cmocka_unit_test_setup_teardown(frames_come_byte_by_byte, open_ends, close_ends),
        cmocka_unit_test_setup_teardown(queue_waits_for_the_socket, open_ends, close_ends),
        cmocka_unit_test_setup_teardown(payloads_over_the_limit_are_bad, open_ends, close_ends),
        cmocka_unit_test_setup_teardown(corrupt_payload_is_bad, open_ends, close_ends),
        cmocka_unit_test_setup_teardown(closed_peer_is_a_reset, open_ends, close_ends),
        cmocka_unit_test_setup_teardown(out_of_memory_loses_nothing, open_ends, close_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
