#include "muster/launcher/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void test_a_descriptor_goes_over_with_its_bytes(void **state)
{
    (void)state;
    int ends[2], pipe_fds[2], fd = -2;
    char text[8] = "";
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(pass_send(ends[0], "here", 4, pipe_fds[1]), 4);
    close(pipe_fds[1]);
    assert_int_equal(pass_receive(ends[1], text, sizeof text, &fd), 4);
    assert_string_equal(text, "here");
    assert_true(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(read(pipe_fds[0], text, sizeof text), 1);
    close(fd);
    close(pipe_fds[0]);
    close(ends[0]);
    close(ends[1]);
}

static void test_bytes_alone(void **state)
{
    (void)state;
    int ends[2], fd = -2;
    char text[8];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(pass_receive(ends[1], text, sizeof text, &fd), -1);
    assert_true(errno == EAGAIN && fd == -1);
    assert_int_equal(pass_send(ends[0], "a", 1, -1), 1);
    assert_int_equal(pass_receive(ends[1], text, sizeof text, &fd), 1);
    assert_int_equal(fd, -1);
    close(ends[0]);
    assert_int_equal(pass_receive(ends[1], text, sizeof text, &fd), 0);
    assert_int_equal(pass_send(ends[1], "a", 1, -1), -1);
    assert_int_equal(errno, EPIPE);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_descriptor_goes_over_with_its_bytes),
        cmocka_unit_test(test_bytes_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
