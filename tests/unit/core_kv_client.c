/* The client against a server of the test's own, which answers late, wrongly or not at all. That
 * client and real server agree is core_kv_server.c's business. */
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/sock.h"
#include "muster/core/kv/wire.h"
#include "muster/core/world/state.h"
#include "soon.h"
#include "unit/auth_acceptor.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* The client's tag is 0 and its first call 1, as its random numbers are all zero. */
static bool numbers_are_known;
static uint32_t tag_bytes;

ssize_t __real_getrandom(void *buffer, size_t size_bytes, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t size_bytes, unsigned flags);

ssize_t __wrap_getrandom(void *buffer, size_t size_bytes, unsigned flags)
{
    if (size_bytes != 16)
        return __real_getrandom(buffer, size_bytes, flags);
    memset(buffer, 0, size_bytes);
    memcpy((uint8_t *)buffer + 8, &tag_bytes, sizeof tag_bytes);
    return numbers_are_known ? (ssize_t)size_bytes : -1;
}

/* How long the client dials again, when it is not to be as long as it is. */
static _Atomic uint32_t redial_ms;

uint64_t __real_mst_deadline_ms(uint32_t timeout_ms);
uint64_t __wrap_mst_deadline_ms(uint32_t timeout_ms);

uint64_t __wrap_mst_deadline_ms(uint32_t timeout_ms)
{
    uint32_t shorter_ms = redial_ms;
    return __real_mst_deadline_ms(shorter_ms && timeout_ms == 20000 ? shorter_ms : timeout_ms);
}

struct fake {
    int listener, fd;
    pthread_t thread;
    struct mst_kv *kv;
    struct mst_auth_hello hello;
    int code;
};

static void *accept_one(void *arg)
{
    struct fake *fake = arg;
    struct pollfd pollfd = {.fd = fake->listener, .events = POLLIN};
    fake->code = -ETIMEDOUT;
    if (poll(&pollfd, 1, (int)SOON_MS) != 1)
        return NULL;
    fake->fd = mst_sock_accept(fake->listener);
    const struct wanted wanted = {.role = MST_ROLE_RANK_KV,
                                  .generation = 4,
                                  .secret = (const uint8_t *)"s",
                                  .secret_bytes = 1};
    fake->code = accept_dialer(fake->fd, &wanted, soon(), &fake->hello, NULL);
    return NULL;
}

static int open_fake(void **state)
{
    struct fake *fake = calloc(1, sizeof *fake);
    assert_non_null(fake);
    uint16_t port;
    fake->listener = mst_sock_listen("127.0.0.1", 0, &port, NULL);
    assert_true(fake->listener >= 0);
    struct mst_world world;
    world_init_single(&world);
    world.rank = 6;
    world.size = 8;
    world.generation = 4;
    world.secret[0] = 's';
    world.secret_bytes = 1;
    world.job_nonce = 0x77;
    memcpy(world.job_id, "job", 4);
    (void)snprintf(world.kv_addr, sizeof world.kv_addr, "127.0.0.1:%u", port);
    numbers_are_known = true;
    tag_bytes = 0xabcd;
    assert_int_equal(pthread_create(&fake->thread, NULL, accept_one, fake), 0);
    assert_int_equal(mst_kv_dial(&world, soon(), &fake->kv, NULL), 0);
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
    assert_int_equal(fake->code, 0);
    *state = fake;
    return 0;
}

static int close_fake(void **state)
{
    struct fake *fake = *state;
    mst_kv_close(fake->kv);
    close(fake->listener);
    close(fake->fd);
    free(fake);
    return 0;
}

/* Sends a reply before its request has come: the client reads it after it has asked. */
static void reply(const struct fake *fake, uint64_t id, int result, const char *value)
{
    size_t value_bytes = strlen(value);
    struct kv_reply reply = {.id = id, .result = result};
    uint8_t bytes[KV_REPLY_HEAD_BYTES + 32];
    kv_reply_encode(&reply, bytes);
    memcpy(bytes + KV_REPLY_HEAD_BYTES, value, value_bytes);
    assert_int_equal(mst_sock_send_frame(fake->fd, KV_FRAME_REPLY, bytes,
                                         KV_REPLY_HEAD_BYTES + value_bytes, soon()),
                     0);
}

static int get(struct fake *fake, char value[8], uint64_t deadline_ns)
{
    return mst_kv_get(fake->kv, "key", value, 8, NULL, deadline_ns);
}

static void says_who_it_is(void **state)
{
    struct fake *fake = *state;
    assert_int_equal(fake->hello.role, MST_ROLE_RANK_KV);
    assert_int_equal(fake->hello.rank, 6);
    assert_int_equal(fake->hello.generation, 4);
    assert_int_equal(fake->hello.tag, 0xabcd);
    assert_int_equal(fake->hello.job_nonce, 0x77);
    assert_string_equal(fake->hello.job_id, "job");
}

static void skips_late_replies(void **state)
{
    struct fake *fake = *state;
    char value[8] = "";
    assert_int_equal(get(fake, value, mst_deadline_ms(3)), -ETIMEDOUT);
    assert_int_equal(get(fake, value, mst_deadline_ms(3)), -ETIMEDOUT);
    reply(fake, 1, 0, "first");
    reply(fake, 2, -ENOENT, "");
    reply(fake, 3, 0, "third");
    assert_int_equal(get(fake, value, soon()), 0);
    assert_string_equal(value, "third");
}

static void keeps_half_a_reply(void **state)
{
    struct fake *fake = *state;
    struct kv_reply late = {.id = 1, .result = -ENOENT};
    uint8_t head[KV_REPLY_HEAD_BYTES], frame[MST_FRAME_HEADER_BYTES + KV_REPLY_HEAD_BYTES];
    kv_reply_encode(&late, head);
    struct mst_stream stream; /* of no socket: the frame stays in it */
    mst_stream_init(&stream, -1);
    assert_int_equal(mst_stream_put(&stream, KV_FRAME_REPLY, head, sizeof head), -ECONNRESET);
    assert_int_equal(mst_stream_pending(&stream), sizeof frame);
    memcpy(frame, stream.out, sizeof frame);
    mst_stream_fini(&stream);
    assert_int_equal(mst_sock_send_all(fake->fd, frame, 30, soon()), 0);
    char value[8];
    assert_int_equal(get(fake, value, mst_deadline_ms(3)), -ETIMEDOUT);
    assert_int_equal(mst_sock_send_all(fake->fd, frame + 30, sizeof frame - 30, soon()), 0);
    reply(fake, 2, 0, "whole");
    assert_int_equal(get(fake, value, soon()), 0);
    assert_memory_equal(value, "whole", 5);
}

static void broken_protocol_ends_the_handle(void **state)
{
    struct fake *fake = *state;
    reply(fake, 99, 0, "not asked");
    char value[8];
    assert_int_equal(get(fake, value, soon()), -EPROTO);
    assert_int_equal(get(fake, value, soon()), -EPROTO);
}

static void other_frames_are_no_replies(void **state)
{
    struct fake *fake = *state;
    assert_int_equal(mst_sock_send_frame(fake->fd, KV_FRAME_REPLY + 1, "", 0, soon()), 0);
    char value[8];
    assert_int_equal(get(fake, value, soon()), -EPROTO);
}

static void garbage_is_no_reply(void **state)
{
    struct fake *fake = *state;
    assert_int_equal(mst_sock_send_all(fake->fd, "HTTP/1.1 400 Bad\r\n", 18, soon()), 0);
    char value[8];
    assert_int_equal(get(fake, value, soon()), -EPROTO);
}

static void last_words_are_heard(void **state)
{
    struct fake *fake = *state;
    reply(fake, 1, -ESTALE, "");
    close(fake->fd);
    char value[8];
    assert_int_equal(get(fake, value, soon()), -ESTALE);
    assert_int_equal(get(fake, value, soon()), -ESTALE);
    fake->fd = -1;
}

/* A server that closes connections while it has read requests of them, and answers the third. */
struct cutter {
    struct fake *fake;
    struct kv_request seen[3]; /* without their bytes */
    int cuts;
};

static void *cut_connections(void *arg)
{
    struct cutter *cutter = arg;
    for (int i = 0; i <= cutter->cuts; i++) {
        uint8_t type, payload[128];
        size_t size;
        int rc = mst_sock_recv_frame(cutter->fake->fd, &type, payload, sizeof payload, &size,
                                     soon());
        if (rc || kv_request_decode(type, payload, size, &cutter->seen[i]))
            return NULL;
        if (i == cutter->cuts)
            break;
        close(cutter->fake->fd);
        cutter->fake->fd = -1;
        accept_one(cutter->fake);
    }
    reply(cutter->fake, cutter->seen[cutter->cuts].id, 0, "value");
    return NULL;
}

static void a_lost_connection_is_dialled_again(void **state)
{
    struct fake *fake = *state;
    struct cutter cutter = {.fake = fake, .cuts = 2};
    char value[8] = "";
    assert_false(fake->hello.again);
    assert_int_equal(pthread_create(&fake->thread, NULL, cut_connections, &cutter), 0);
    assert_int_equal(get(fake, value, soon()), 0);
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
    assert_string_equal(value, "value");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cutter.seen[i].verb, KV_GET);
        assert_int_equal(cutter.seen[i].id, 1);
        assert_int_equal(cutter.seen[i].is_repeat, i > 0);
    }
    assert_int_equal(fake->hello.tag, 0xabcd); /* it is the same client */
    assert_true(fake->hello.again);
    assert_int_equal(fake->hello.rank, 6);
    cutter.cuts = 0;
    assert_int_equal(pthread_create(&fake->thread, NULL, cut_connections, &cutter), 0);
    assert_int_equal(get(fake, value, soon()), 0);
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
    assert_int_equal(cutter.seen[0].id, 2);
    assert_false(cutter.seen[0].is_repeat);
}

static void *cut_for_ever(void *arg)
{
    struct fake *fake = arg;
    do {
        close(fake->fd);
        accept_one(fake);
    } while (fake->code == 0);
    return NULL;
}

/* One that lets it in each time, and hangs up on it, is no better than one that is away. */
static void a_server_that_only_hangs_up_is_given_up(void **state)
{
    struct fake *fake = *state;
    char value[8];
    redial_ms = 50;
    assert_int_equal(pthread_create(&fake->thread, NULL, cut_for_ever, fake), 0);
    assert_int_equal(get(fake, value, soon()), -ECONNRESET);
    redial_ms = 0;
    shutdown(fake->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
    assert_int_equal(get(fake, value, soon()), -ECONNRESET);
}

/* The process of the server is gone: that is told at once, for ever. */
static void a_server_that_is_gone_is_lost(void **state)
{
    struct fake *fake = *state;
    char value[8];
    shutdown(fake->listener, SHUT_RDWR);
    close(fake->fd);
    fake->fd = -1;
    assert_int_equal(get(fake, value, soon()), -ECONNRESET);
    assert_int_equal(get(fake, value, soon()), -ECONNRESET);
}

static void *come_back(void *arg)
{
    struct cutter *cutter = arg;
    do
        accept_one(cutter->fake); /* tries that timed out stand in the queue */
    while (cutter->fake->code == -ECONNRESET);
    return cut_connections(arg);
}

/* A server that does not come back before the call's deadline may still do so before the next's. */
static void a_call_without_a_server_times_out(void **state)
{
    struct fake *fake = *state;
    struct cutter cutter = {.fake = fake};
    char value[8];
    close(fake->fd);
    fake->fd = -1;
    assert_int_equal(get(fake, value, mst_deadline_ms(30)), -ETIMEDOUT); /* nobody accepts */
    assert_int_equal(pthread_create(&fake->thread, NULL, come_back, &cutter), 0);
    assert_int_equal(get(fake, value, soon()), 0);
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
}

static void without_random_numbers_nobody_is_dialled(void **state)
{
    struct fake *fake = *state;
    struct mst_kv *kv = NULL;
    struct mst_err err = {0};
    numbers_are_known = false;
    assert_int_equal(mst_kv_clone(fake->kv, soon(), &kv, &err), -EIO);
    assert_null(kv);
    assert_non_null(strstr(err.text, "random"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(says_who_it_is, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(skips_late_replies, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(keeps_half_a_reply, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(broken_protocol_ends_the_handle, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(other_frames_are_no_replies, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(garbage_is_no_reply, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(last_words_are_heard, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(a_lost_connection_is_dialled_again, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(a_server_that_only_hangs_up_is_given_up, open_fake,
                                        close_fake),
        cmocka_unit_test_setup_teardown(a_server_that_is_gone_is_lost, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(a_call_without_a_server_times_out, open_fake, close_fake),
        cmocka_unit_test_setup_teardown(without_random_numbers_nobody_is_dialled, open_fake,
                                        close_fake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
