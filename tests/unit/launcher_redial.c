/* Handing a connection over is tested with the coordinator's other end, in launcher_coord.c. */
#include "muster/launcher/redial.h"

#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/sock.h"
#include "soon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct redial_request request_to(const char *address, const struct mst_auth_hello *hello)
{
    return (struct redial_request){
        .address = address, .hello = hello, .secret = (const uint8_t *)"secret", .secret_bytes = 6};
}

static void nobody_listening_is_told_at_once(void **state)
{
    (void)state;
    const struct mst_auth_hello hello = {.role = MST_ROLE_AGENT, .rank = 1};
    struct mst_err err = {0};
    char address[64];
    uint16_t port;
    int listener = mst_sock_listen("127.0.0.1", 0, &port, NULL), fd;
    pid_t pid;
    assert_int_equal(mst_sock_join("127.0.0.1", port, address, sizeof address), 0);
    close(listener);
    struct redial_request request = request_to(address, &hello);
    assert_int_equal(redial_start(&request, &fd, &pid, NULL), 0);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, SOON_MS), 1);
    assert_int_equal(redial_take(fd, &err), -ECONNREFUSED);
    assert_non_null(strstr(err.text, address));
    close(fd);
}

/* Who listens and does not answer is dialled on, and the agent waits for nothing. */
static void a_result_that_is_not_there_is_not_awaited(void **state)
{
    (void)state;
    const struct mst_auth_hello hello = {.role = MST_ROLE_AGENT, .rank = 1};
    char address[64];
    uint16_t port;
    int listener = mst_sock_listen("127.0.0.1", 0, &port, NULL), fd;
    pid_t pid;
    assert_int_equal(mst_sock_join("127.0.0.1", port, address, sizeof address), 0);
    struct redial_request request = request_to(address, &hello);
    assert_int_equal(redial_start(&request, &fd, &pid, NULL), 0);
    assert_int_equal(redial_take(fd, NULL), -EAGAIN);
    close(fd);
    close(listener);
}

/* The guard acts at the end of a pipe whose other end the agent alone may hold. */
static void it_holds_nothing_of_the_agent(void **state)
{
    (void)state;
    const struct mst_auth_hello hello = {.role = MST_ROLE_AGENT, .rank = 1};
    char address[64];
    uint16_t port;
    int listener = mst_sock_listen("127.0.0.1", 0, &port, NULL), fd, held[2];
    pid_t pid;
    assert_int_equal(mst_sock_join("127.0.0.1", port, address, sizeof address), 0);
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    struct redial_request request = request_to(address, &hello);
    assert_int_equal(redial_start(&request, &fd, &pid, NULL), 0);
    close(held[1]);
    struct pollfd closed = {.fd = held[0], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, SOON_MS), 1);
    assert_int_equal(redial_take(fd, NULL), -EAGAIN);
    close(held[0]);
    close(fd);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_listening_is_told_at_once),
        cmocka_unit_test(a_result_that_is_not_there_is_not_awaited),
        cmocka_unit_test(it_holds_nothing_of_the_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
