#include "failing_memory.h"
#include "muster/comm/arrivals.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/sock.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

/* While set, every deadline has passed. */
static bool time_is_up;

bool __real_mst_deadline_passed(uint64_t deadline_ns);
bool __wrap_mst_deadline_passed(uint64_t deadline_ns);

bool __wrap_mst_deadline_passed(uint64_t deadline_ns)
{
    return time_is_up || __real_mst_deadline_passed(deadline_ns);
}

/* While set, no connection can be accepted. */
static bool no_more_files;

int __real_mst_sock_accept(int listen_fd);
int __wrap_mst_sock_accept(int listen_fd);

int __wrap_mst_sock_accept(int listen_fd)
{
    return no_more_files ? -EMFILE : __real_mst_sock_accept(listen_fd);
}

/* The next poll is interrupted. */
static atomic_bool signal_comes;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (!atomic_exchange(&signal_comes, false))
        return __real_poll(fds, count, timeout_ms);
    errno = EINTR;
    return -1;
}

/* A dialer whose second frame, the proof, has a byte behind it. */
static atomic_int hasty_fd = -1;
static atomic_int hasty_frames;

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (fd != hasty_fd || ++hasty_frames < 2)
        return __real_sendmsg(fd, message, flags);
    struct iovec parts[] = {message->msg_iov[0],
                            message->msg_iov[1], /* head and payload */
                            {.iov_base = "!", .iov_len = 1}};
    const struct msghdr more = {.msg_iov = parts, .msg_iovlen = 3};
    return __real_sendmsg(fd, &more, flags) - 1;
}

struct bench {
    struct mst_world world;
    struct arrivals arrivals;
    int listen_fd;
    char address[32];
    struct mst_auth_hello hello; /* of whoever came last */
    struct mst_err refused;
};

static void set_up(struct bench *bench)
{
    uint16_t port;
    memset(bench, 0, sizeof *bench);
    world_init_single(&bench->world);
    bench->world.generation = 6;
    memcpy(bench->world.secret, "ours", bench->world.secret_bytes = 4);
    bench->listen_fd = mst_sock_listen("127.0.0.1", 0, &port, NULL);
    assert_true(bench->listen_fd >= 0);
    (void)snprintf(bench->address, sizeof bench->address, "127.0.0.1:%u", port);
    assert_int_equal(arrivals_open(&bench->arrivals, bench->listen_fd, &bench->world, NULL), 0);
}

static void tear_down(struct bench *bench)
{
    arrivals_close(&bench->arrivals);
    (void)close(bench->listen_fd);
    time_is_up = no_more_files = false;
    hasty_fd = -1;
}

static int dial(const struct bench *bench)
{
    int fd = mst_sock_dial(bench->address, soon(), NULL);
    assert_true(fd >= 0);
    return fd;
}

static int next(struct bench *bench)
{
    return arrivals_next(&bench->arrivals, (int)SOON_MS, &bench->hello, &bench->refused);
}

static void expect_end(int fd)
{
    uint8_t byte;
    assert_int_equal(mst_sock_recv_all(fd, &byte, 1, soon()), -ECONNRESET);
    (void)close(fd);
}

struct dialer {
    int fd, rc;
    struct mst_auth_hello hello;
    const char *secret;
    bool is_hasty;
    pthread_t thread;
};

static void *shake_hands(void *arg)
{
    struct dialer *dialer = arg;
    dialer->rc = mst_auth_dial(dialer->fd, &dialer->hello, (const uint8_t *)dialer->secret,
                               strlen(dialer->secret), soon(), NULL);
    return NULL;
}

/* What becomes of one that dials; its fd at our end, or that of nobody. */
static int meet(struct bench *bench, struct dialer *dialer)
{
    int fd = -EAGAIN;
    dialer->fd = dial(bench);
    if (dialer->is_hasty)
        hasty_fd = dialer->fd;
    assert_int_equal(pthread_create(&dialer->thread, NULL, shake_hands, dialer), 0);
    while (fd < 0 && !bench->refused.text[0])
        fd = next(bench);
    assert_int_equal(pthread_join(dialer->thread, NULL), 0);
    (void)close(dialer->fd);
    return fd;
}

static void who_proves_himself_is_let_in(void **state)
{
    (void)state;
    struct bench bench;
    struct dialer dialer = {.hello = {MST_ROLE_RANK_COMM, 6, 2, 3}, .secret = "ours"};
    set_up(&bench);
    int silent = dial(&bench);
    int fd = meet(&bench, &dialer);
    assert_true(fd >= 0);
    assert_int_equal(dialer.rc, 0);
    assert_int_equal(bench.hello.rank, 2);
    assert_int_equal(bench.hello.tag, 3);
    assert_int_equal(bench.arrivals.door.count, 1);
    (void)close(fd);
    arrivals_close(&bench.arrivals);
    expect_end(silent);
    tear_down(&bench);
}

static void who_is_of_another_is_sent_off(void **state)
{
    (void)state;
    static const struct {
        struct dialer dialer;
        int rc;
        const char *why;
    } cases[] = {
        {{.hello = {MST_ROLE_RANK_COMM, 5, 2, 3}, .secret = "ours"},
         -ESTALE,
         "a peer that says to be rank 2: generation 5 is not ours, 6"},
        {{.hello = {MST_ROLE_RANK_KV, 6, 2, 3}, .secret = "ours"},
         -EPROTO,
         "a peer that says to be rank 2: role 0 is not wanted here, but 2"},
        {{.hello = {MST_ROLE_RANK_COMM, 6, 2, 3}, .secret = "theirs"},
         -EACCES,
         "a peer that says to be rank 2: it has another job secret than we"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench bench;
        struct dialer dialer = cases[i].dialer;
        set_up(&bench);
        assert_int_equal(meet(&bench, &dialer), -EAGAIN);
        assert_int_equal(dialer.rc, cases[i].rc);
        assert_string_equal(bench.refused.text, cases[i].why);
        assert_int_equal(bench.arrivals.door.count, 0);
        tear_down(&bench);
    }
}

static void who_speaks_otherwise_is_sent_off(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench);
    int fd = dial(&bench);
    assert_int_equal(mst_sock_send_all(fd, "GET / HTTP/1.1\r\n", 16, soon()), 0);
    while (!bench.refused.text[0])
        assert_int_equal(next(&bench), -EAGAIN);
    assert_non_null(strstr(bench.refused.text, "handshake not finished"));
    assert_int_equal(bench.arrivals.door.count, 0);
    expect_end(fd);
    tear_down(&bench);
}

/* Until the one that came is turned away. */
static void expect_refusal(struct bench *bench, const char *why)
{
    while (!bench->refused.text[0])
        assert_int_equal(next(bench), -EAGAIN);
    assert_non_null(strstr(bench->refused.text, why));
    assert_int_equal(bench->arrivals.door.count, 0);
}

static void who_hangs_up_leaves_his_place(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench);
    int fd = dial(&bench);
    assert_int_equal(next(&bench), -EAGAIN);
    assert_int_equal(bench.arrivals.door.count, 1);
    (void)close(fd);
    expect_refusal(&bench, "handshake not finished");
    tear_down(&bench);
}

/* What stands behind a proof would be the first bytes of a message that nobody checked. */
static void who_does_not_wait_for_his_welcome_is_sent_off(void **state)
{
    (void)state;
    struct bench bench;
    struct dialer dialer = {
        .hello = {MST_ROLE_RANK_COMM, 6, 2, 3}, .secret = "ours", .is_hasty = true};
    hasty_frames = 0;
    set_up(&bench);
    assert_int_equal(meet(&bench, &dialer), -EAGAIN);
    assert_int_equal(bench.refused.code, -EPROTO);
    assert_non_null(strstr(bench.refused.text, "a peer that says to be rank 2: "));
    assert_int_equal(bench.arrivals.door.count, 0);
    tear_down(&bench);
}

static void no_memory_is_told(void **state)
{
    (void)state;
    struct bench bench;
    struct arrivals arrivals;
    struct mst_err err = {0};
    set_up(&bench);
    fail_allocations_after(0);
    assert_int_equal(arrivals_open(&arrivals, bench.listen_fd, &bench.world, &err), -ENOMEM);
    allow_allocations();
    assert_string_equal(err.text, "no memory for the handshakes of 64 ranks");
    arrivals_close(&arrivals);
    int fd = dial(&bench);
    assert_int_equal(next(&bench), -EAGAIN);
    assert_int_equal(mst_sock_send_all(fd, "GET ", 4, soon()), 0);
    fail_allocations_after(0);
    expect_refusal(&bench, "handshake not finished");
    allow_allocations();
    expect_end(fd);
    tear_down(&bench);
}

/* Who cannot be let in now is let in later, and nobody spins meanwhile. */
static void without_descriptors_all_wait(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench);
    int fd = dial(&bench);
    no_more_files = true;
    assert_int_equal(next(&bench), -EAGAIN);
    assert_true(bench.arrivals.paused);
    assert_int_equal(bench.refused.code, -EMFILE);
    assert_int_equal(bench.arrivals.door.count, 0);
    no_more_files = false;
    assert_int_equal(arrivals_next(&bench.arrivals, 0, &bench.hello, &bench.refused), -EAGAIN);
    assert_int_equal(bench.arrivals.door.count, 0); /* it was left alone once */
    assert_int_equal(next(&bench), -EAGAIN);
    assert_int_equal(bench.arrivals.door.count, 1);
    (void)close(fd);
    tear_down(&bench);
}

static void a_signal_loses_nobody(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench);
    int fd = dial(&bench);
    signal_comes = true;
    assert_int_equal(next(&bench), -EAGAIN);
    assert_int_equal(bench.arrivals.door.count, 0);
    assert_int_equal(next(&bench), -EAGAIN);
    assert_int_equal(bench.arrivals.door.count, 1);
    (void)close(fd);
    tear_down(&bench);
}

static void the_silent_are_sent_off_in_time(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench);
    int fd = dial(&bench);
    assert_int_equal(next(&bench), -EAGAIN);
    assert_int_equal(bench.arrivals.door.count, 1);
    time_is_up = true;
    assert_int_equal(arrivals_next(&bench.arrivals, 0, &bench.hello, &bench.refused), -EAGAIN);
    time_is_up = false;
    assert_int_equal(bench.arrivals.door.count, 0);
    assert_non_null(strstr(bench.refused.text, "handshake not finished"));
    expect_end(fd);
    tear_down(&bench);
}

/* More than there is room for: the first makes room for the last, after a while. */
static void the_longest_there_make_room(void **state)
{
    (void)state;
    struct bench bench;
    int fds[ARRIVALS_MAX + 1];
    set_up(&bench);
    for (int i = 0; i <= ARRIVALS_MAX; i++)
        fds[i] = dial(&bench);
    while (!bench.arrivals.paused)
        assert_int_equal(next(&bench), -EAGAIN);
    assert_int_equal(bench.arrivals.door.count, ARRIVALS_MAX);
    for (struct mst_guest *guest = bench.arrivals.door.first; guest; guest = guest->later)
        guest->since_ns -= MST_DOOR_MIN_MS * MST_NS_PER_MS;
    assert_int_equal(arrivals_next(&bench.arrivals, 0, &bench.hello, &bench.refused), -EAGAIN);
    assert_int_equal(next(&bench), -EAGAIN);
    assert_int_equal(bench.arrivals.door.count, ARRIVALS_MAX);
    assert_string_equal(bench.refused.text, "one that had to make room for others");
    expect_end(fds[0]);
    for (int i = 1; i <= ARRIVALS_MAX; i++)
        (void)close(fds[i]);
    tear_down(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_proves_himself_is_let_in),
        cmocka_unit_test(who_is_of_another_is_sent_off),
        cmocka_unit_test(who_speaks_otherwise_is_sent_off),
        cmocka_unit_test(who_hangs_up_leaves_his_place),
        cmocka_unit_test(who_does_not_wait_for_his_welcome_is_sent_off),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(without_descriptors_all_wait),
        cmocka_unit_test(a_signal_loses_nobody),
        cmocka_unit_test(the_silent_are_sent_off_in_time),
        cmocka_unit_test(the_longest_there_make_room),
    };
    return cmocka_run_group_tests_name("comm_arrivals", tests, NULL, NULL);
}
