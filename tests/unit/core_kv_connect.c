#include "muster/core/kv/connect.h"
#include "soon.h"
#include "unit/auth_acceptor.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A listener that hangs up on the first dialers, at different points, and lets the next one in. */
struct listener {
    int fd;
    char address[32];
    int hang_ups; /* the first at once, the others after the hello */
    int accepted; /* dialers so far */
    uint32_t generation;
    int code;
    pthread_t thread;
};

static void hang_up(int fd, bool at_once)
{
    uint8_t type, hello[64];
    size_t size;
    if (!at_once)
        (void)mst_sock_recv_frame(fd, &type, hello, sizeof hello, &size, soon());
    const struct linger reset = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
}

static void *listen_to(void *arg)
{
    struct listener *listener = arg;
    for (;;) {
        struct pollfd pollfd = {.fd = listener->fd, .events = POLLIN};
        if (poll(&pollfd, 1, (int)SOON_MS) != 1)
            return NULL;
        int fd = mst_sock_accept(listener->fd);
        if (listener->accepted++ < listener->hang_ups) {
            hang_up(fd, listener->accepted == 1);
            continue;
        }
        const struct wanted wanted = {.role = MST_ROLE_RANK_KV, .generation = listener->generation};
        struct mst_auth_hello hello;
        listener->code = accept_dialer(fd, &wanted, soon(), &hello, NULL);
        close(fd);
        return NULL;
    }
}

static void open_listener(struct listener *listener)
{
    uint16_t port;
    listener->fd = mst_sock_listen("127.0.0.1", 0, &port, NULL);
    assert_true(listener->fd >= 0);
    (void)snprintf(listener->address, sizeof listener->address, "127.0.0.1:%u", port);
    assert_int_equal(pthread_create(&listener->thread, NULL, listen_to, listener), 0);
}

static void close_listener(struct listener *listener)
{
    assert_int_equal(pthread_join(listener->thread, NULL), 0);
    close(listener->fd);
}

static int connect_to(const char *address, bool was_there, uint64_t deadline_ns,
                      struct mst_err *err)
{
    const struct mst_auth_hello hello = {.role = MST_ROLE_RANK_KV};
    return mst_connect(
        &(struct mst_connect){.address = address, .hello = &hello, .was_there = was_there},
        deadline_ns, err);
}

static void resets_are_tried_again(void **state)
{
    (void)state;
    for (int was_there = 0; was_there < 2; was_there++) {
        struct listener listener = {.hang_ups = 3};
        open_listener(&listener);
        struct mst_err err = {0};
        int fd = connect_to(listener.address, was_there, soon(), &err);
        assert_true(fd >= 0);
        close_listener(&listener);
        assert_int_equal(listener.code, 0);
        assert_int_equal(listener.accepted, 4);
        close(fd);
    }
}

static void a_refusal_is_final(void **state)
{
    (void)state;
    struct listener listener = {.generation = 9};
    struct mst_err err = {0};
    open_listener(&listener);
    assert_int_equal(connect_to(listener.address, false, soon(), &err), -ESTALE);
    assert_non_null(strstr(err.text, "generation 0 is not ours, 9"));
    close_listener(&listener);
    assert_int_equal(listener.accepted, 1);
}

static void who_was_there_and_is_not_is_gone(void **state)
{
    (void)state;
    struct mst_err err = {0};
    assert_int_equal(connect_to("127.0.0.1:1", true, soon(), &err), -ECONNRESET);
    assert_non_null(strstr(err.text, "nobody listens there any longer"));
    assert_int_equal(connect_to("127.0.0.1:1", false, mst_deadline_ms(5), &err), -ETIMEDOUT);
    assert_int_equal(connect_to("127.0.0.1", true, soon(), &err), -EINVAL);
}

/* A server that never lets anybody in: the deadline ends it, with what was the last to go wrong. */
static void a_deadline_ends_the_tries(void **state)
{
    (void)state;
    uint16_t port;
    char address[32];
    struct mst_err err = {0};
    int fd = mst_sock_listen("127.0.0.1", 0, &port, NULL);
    assert_true(fd >= 0);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    assert_int_equal(connect_to(address, false, mst_deadline_ms(20), &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "no answer in the handshake"));
    close(fd);
}

static bool three_times(void *arg)
{
    return ++*(int *)arg < 3;
}

/* One that listens and says nothing, and one where nobody listens: both are left when there is no
 * point any longer. */
static void who_looks_around_gives_up(void **state)
{
    (void)state;
    const struct mst_auth_hello hello = {.role = MST_ROLE_RANK_KV};
    uint16_t port;
    char deaf[32];
    int fd = mst_sock_listen("127.0.0.1", 0, &port, NULL);
    assert_true(fd >= 0);
    (void)snprintf(deaf, sizeof deaf, "127.0.0.1:%u", port);
    const char *addresses[] = {deaf, "127.0.0.1:1"};
    for (size_t i = 0; i < 2; i++) {
        int count = 0;
        struct mst_err err = {0};
        assert_int_equal(mst_connect(&(struct mst_connect){.address = addresses[i],
                                                           .hello = &hello,
                                                           .handshake_ms = UINT32_MAX,
                                                           .go_on = three_times,
                                                           .arg = &count},
                                     soon(), &err),
                         -ECANCELED);
        assert_int_equal(count, 3);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resets_are_tried_again),
        cmocka_unit_test(a_refusal_is_final),
        cmocka_unit_test(who_was_there_and_is_not_is_gone),
        cmocka_unit_test(a_deadline_ends_the_tries),
        cmocka_unit_test(who_looks_around_gives_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
