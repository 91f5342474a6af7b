#include "muster/core/kv/sock.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

static void make_pair(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
}

static void close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

static void splits_addresses(void **state)
{
    (void)state;
    uint16_t port = 0;
    char host[16];
    assert_int_equal(mst_sock_split("node-0:29400", host, sizeof host, &port), 0);
    assert_string_equal(host, "node-0");
    assert_int_equal(port, 29400);
    assert_int_equal(mst_sock_split("[fe80::1]:65535", host, sizeof host, &port), 0);
    assert_string_equal(host, "fe80::1");
    assert_int_equal(port, 65535);
    const char *bad[] = {"",        "host",    ":1",      "host:",      "host:65536",
                         "host:1x", "::1",     "a:b:1",   "[]:1",       "[::1]",
                         "[::1:80", "host:-1", "host: 1", "host:000080"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mst_sock_split(bad[i], host, sizeof host, &port), -EINVAL);
    assert_int_equal(mst_sock_split("a-host-name-of-16:1", host, sizeof host, &port), -ENOSPC);
    assert_int_equal(port, 65535);
}

static void joins_what_it_splits(void **state)
{
    (void)state;
    static const char *const addresses[] = {"node-0:29400", "10.0.0.1:0", "[fe80::1]:65535",
                                            "[::]:1"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        char host[16], joined[24] = "as it was";
        uint16_t port;
        size_t length = strlen(addresses[i]);
        assert_int_equal(mst_sock_split(addresses[i], host, sizeof host, &port), 0);
        assert_int_equal(mst_sock_join(host, port, joined, 0), -ENOSPC);
        assert_int_equal(mst_sock_join(host, port, joined, length), -ENOSPC);
        assert_string_equal(joined, "as it was");
        assert_int_equal(mst_sock_join(host, port, joined, length + 1), 0);
        assert_string_equal(joined, addresses[i]);
    }
}

static void assert_connects(const char *host, const char *format)
{
    int one = 0;
    socklen_t size = sizeof one;
    uint16_t port = 0;
    struct mst_err err = {0};
    int listener = mst_sock_listen(host, 0, &port, &err);
    if (listener < 0 && (listener == -EAFNOSUPPORT || listener == -EADDRNOTAVAIL))
        return; /* this machine has no such family */
    assert_true(listener >= 0);
    assert_int_equal(mst_sock_accept(listener), -EAGAIN);
    char address[64];
    (void)snprintf(address, sizeof address, format, port);
    int fd = mst_sock_dial(address, soon(), &err);
    assert_true(fd >= 0);
    struct pollfd pollfd = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&pollfd, 1, (int)SOON_MS), 1);
    int accepted = mst_sock_accept(listener);
    assert_true(accepted >= 0);
    assert_true(fcntl(accepted, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, &size), 0);
    assert_true(one);
    assert_int_equal(mst_sock_send_all(fd, "hello", 5, soon()), 0);
    char text[5];
    assert_int_equal(mst_sock_recv_all(accepted, text, 5, soon()), 0);
    assert_memory_equal(text, "hello", 5);
    close(accepted);
    close(fd);
    close(listener);
}

static void listens_and_dials(void **state)
{
    (void)state;
    assert_connects("127.0.0.1", "127.0.0.1:%u");
    assert_connects("127.0.0.1", "localhost:%u");
    assert_connects("localhost", "localhost:%u");
    assert_connects("::1", "[::1]:%u");
    assert_connects(NULL, "127.0.0.1:%u");
    assert_connects("", "localhost:%u");
}

static void listen_says_what_is_wrong(void **state)
{
    (void)state;
    uint16_t port = 0;
    int listener = mst_sock_listen("127.0.0.1", 0, &port, NULL);
    assert_true(listener >= 0);
    struct mst_err err = {0};
    assert_int_equal(mst_sock_listen("127.0.0.1", port, NULL, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "127.0.0.1 port"));
    assert_non_null(strstr(err.text, "choose another port"));
    assert_int_equal(mst_sock_listen("192.0.2.1", 0, NULL, &err), -EADDRNOTAVAIL);
    assert_non_null(strstr(err.text, "192.0.2.1"));
    close(listener);
}

static void dial_tells_address_tries_and_failure(void **state)
{
    (void)state;
    struct mst_err err = {0};
    assert_int_equal(mst_sock_dial("127.0.0.1:1", mst_deadline_ms(35), &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "127.0.0.1:1"));
    assert_non_null(strstr(err.text, "tries"));
    assert_null(strstr(err.text, "after 1 tries"));
    assert_non_null(strstr(err.text, "refused"));
    assert_int_equal(mst_sock_dial("127.0.0.1", soon(), &err), -EINVAL);
    assert_int_equal(mst_sock_dial("127.0.0.1:0", soon(), &err), -EINVAL);
    assert_non_null(strstr(err.text, "host:port"));
}

static void *dial_later_port(void *arg)
{
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", *(uint16_t *)arg);
    return (void *)(intptr_t)mst_sock_dial(address, soon(), NULL);
}

/* A port that was bound and let go again: nobody listens there until the test does. */
static void dial_waits_for_the_listener(void **state)
{
    (void)state;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    assert_int_equal(setsockopt(bound, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(bound, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(getsockname(bound, (struct sockaddr *)&name, &size), 0);
    uint16_t port = ntohs(name.sin_port);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, dial_later_port, &port), 0);
    assert_int_equal(poll(NULL, 0, 30),
                     0); /* some attempts fail; the result does not depend on it */
    assert_int_equal(listen(bound, 8), 0);
    void *fd;
    assert_int_equal(pthread_join(thread, &fd), 0);
    assert_true((intptr_t)fd >= 0);
    close((int)(intptr_t)fd);
    close(bound);
}

struct transfer {
    int fd;
    uint8_t *bytes;
    size_t size;
    int code;
};

static void *send_transfer(void *arg)
{
    struct transfer *self = arg;
    self->code = mst_sock_send_all(self->fd, self->bytes, self->size, soon());
    return NULL;
}

static void moves_more_than_the_socket_holds(void **state)
{
    (void)state;
    struct transfer out = {.size = 3 << 20};
    uint8_t *in = malloc(out.size);
    out.bytes = malloc(out.size);
    assert_non_null(in);
    assert_non_null(out.bytes);
    for (size_t i = 0; i < out.size; i++)
        out.bytes[i] = (uint8_t)(i * 31 >> 3);
    int pair[2];
    make_pair(pair);
    out.fd = pair[0];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_transfer, &out), 0);
    for (size_t at = 0, step = 1; at < out.size; at += step, step = step * 2 % 100003 + 1) {
        if (step > out.size - at)
            step = out.size - at;
        assert_int_equal(mst_sock_recv_all(pair[1], in + at, step, soon()), 0);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(out.code, 0);
    assert_memory_equal(in, out.bytes, out.size);
    free(in);
    free(out.bytes);
    close_pair(pair);
}

static void keeps_deadlines(void **state)
{
    (void)state;
    static uint8_t bytes[8 << 20];
    int pair[2];
    make_pair(pair);
    assert_int_equal(mst_sock_recv_all(pair[0], bytes, 1, mst_deadline_ms(5)), -ETIMEDOUT);
    assert_int_equal(mst_sock_send_all(pair[0], bytes, sizeof bytes, mst_deadline_ms(5)),
                     -ETIMEDOUT);
    close_pair(pair);
}

static void lost_peer_is_a_reset(void **state)
{
    (void)state;
    static uint8_t bytes[64];
    int pair[2];
    make_pair(pair);
    assert_int_equal(mst_sock_send_all(pair[1], bytes, 10, soon()), 0);
    close(pair[1]);
    assert_int_equal(mst_sock_recv_all(pair[0], bytes, 20, soon()), -ECONNRESET);
    assert_int_equal(mst_sock_send_all(pair[0], bytes, 1, soon()), -ECONNRESET);
    close(pair[0]);
}

static void frames_come_whole(void **state)
{
    (void)state;
    int pair[2];
    make_pair(pair);
    assert_int_equal(mst_sock_send_frame(pair[0], 7, "payload", 7, soon()), 0);
    assert_int_equal(mst_sock_send_frame(pair[0], 8, NULL, 0, soon()), 0);
    char payload[8];
    uint8_t type = 0;
    size_t size = 0;
    assert_int_equal(mst_sock_recv_frame(pair[1], &type, payload, 7, &size, soon()), 0);
    assert_int_equal(type, 7);
    assert_int_equal(size, 7);
    assert_memory_equal(payload, "payload", 7);
    assert_int_equal(mst_sock_recv_frame(pair[1], &type, NULL, 0, &size, soon()), 0);
    assert_int_equal(type, 8);
    assert_int_equal(size, 0);
    assert_int_equal(mst_sock_send_frame(pair[0], 9, "too long", 8, soon()), 0);
    assert_int_equal(mst_sock_recv_frame(pair[1], &type, payload, 7, &size, soon()), -ENOSPC);
    assert_int_equal(type, 8);
    assert_int_equal(
        mst_sock_send_frame(pair[0], 9, payload, (size_t)MST_FRAME_PAYLOAD_MAX + 1, soon()),
        -EINVAL);
    close_pair(pair);
}

static void a_small_frame_is_one_packet(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(mst_sock_send_frame(pair[0], 7, "payload", 7, soon()), 0);
    char packet[64];
    assert_int_equal(recv(pair[1], packet, sizeof packet, 0), MST_FRAME_HEADER_BYTES + 7);
    assert_memory_equal(packet + MST_FRAME_HEADER_BYTES, "payload", 7);
    assert_int_equal(recv(pair[1], packet, sizeof packet, 0), -1);
    close_pair(pair);
}

static void *send_large_frame(void *arg)
{
    struct transfer *self = arg;
    self->code = mst_sock_send_frame(self->fd, 5, self->bytes, self->size, soon());
    return NULL;
}

static void a_frame_may_be_more_than_the_socket_holds(void **state)
{
    (void)state;
    struct transfer out = {.size = 3 << 20};
    uint8_t *in = malloc(out.size), type = 0;
    out.bytes = malloc(out.size);
    assert_non_null(in);
    assert_non_null(out.bytes);
    for (size_t i = 0; i < out.size; i++)
        out.bytes[i] = (uint8_t)(i * 31 >> 3);
    int pair[2];
    make_pair(pair);
    out.fd = pair[0];
    pthread_t thread;
    size_t size = 0;
    assert_int_equal(pthread_create(&thread, NULL, send_large_frame, &out), 0);
    assert_int_equal(mst_sock_recv_frame(pair[1], &type, in, out.size, &size, soon()), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(out.code, 0);
    assert_int_equal(type, 5);
    assert_int_equal(size, out.size);
    assert_memory_equal(in, out.bytes, out.size);
    free(in);
    free(out.bytes);
    close_pair(pair);
}

/* Every flipped bit of a frame is noticed, but for those of the type, which no checksum covers. */
static void flipped_bits_are_noticed(void **state)
{
    (void)state;
    int pair[2];
    make_pair(pair);
    assert_int_equal(mst_sock_send_frame(pair[0], 1, "data", 4, soon()), 0);
    uint8_t frame[MST_FRAME_HEADER_BYTES + 4], type, payload[64];
    assert_int_equal(mst_sock_recv_all(pair[1], frame, sizeof frame, soon()), 0);
    close_pair(pair);
    for (size_t bit = 0; bit < 8 * sizeof frame; bit++) {
        if (bit / 8 == 4)
            continue;
        make_pair(pair);
        frame[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(mst_sock_send_all(pair[0], frame, sizeof frame, soon()), 0);
        frame[bit / 8] ^= (uint8_t)(1U << bit % 8);
        close(pair[0]);
        size_t size;
        int rc = mst_sock_recv_frame(pair[1], &type, payload, sizeof payload, &size, soon());
        assert_true(rc == -EBADMSG || rc == -ECONNRESET || rc == -ENOSPC);
        close(pair[1]);
    }
}

static void pauses_grow_up_to_a_limit(void **state)
{
    (void)state;
    assert_int_equal(mst_sock_longer_pause(0), 10);
    assert_int_equal(mst_sock_longer_pause(10), 20);
    assert_int_equal(mst_sock_longer_pause(320), 640);
    assert_int_equal(mst_sock_longer_pause(640), 640);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_grow_up_to_a_limit),
        cmocka_unit_test(splits_addresses),
        cmocka_unit_test(joins_what_it_splits),
        cmocka_unit_test(listens_and_dials),
        cmocka_unit_test(listen_says_what_is_wrong),
        cmocka_unit_test(dial_tells_address_tries_and_failure),
        cmocka_unit_test(dial_waits_for_the_listener),
        cmocka_unit_test(moves_more_than_the_socket_holds),
        cmocka_unit_test(keeps_deadlines),
        cmocka_unit_test(lost_peer_is_a_reset),
        cmocka_unit_test(frames_come_whole),
        cmocka_unit_test(a_small_frame_is_one_packet),
        cmocka_unit_test(a_frame_may_be_more_than_the_socket_holds),
        cmocka_unit_test(flipped_bits_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
