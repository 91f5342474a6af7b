#include "muster/core/libc.h"
#include "soon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The libc that the tests run on is new enough to have what the table stands for. */
static void names_are_those_of_libc(void **state)
{
    (void)state;
    for (int i = -2; i < 5000; i++) {
        const char *ours = libc_signal_name(i), *theirs = sigabbrev_np(i);
        assert_int_equal(!ours, !theirs);
        if (ours)
            assert_string_equal(ours, theirs);
    }
    assert_null(libc_signal_name(INT32_MIN));
    assert_null(libc_signal_name(INT32_MAX));
}

static void pidfd_tells_the_end(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(1);
    }
    assert_true(child > 0);
    struct pollfd pollfd = {.fd = libc_pidfd_open(child), .events = POLLIN};
    assert_true(pollfd.fd >= 0 || pollfd.fd == -ENOSYS || pollfd.fd == -EPERM);
    if (pollfd.fd >= 0)
        assert_int_equal(poll(&pollfd, 1, 0), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    if (pollfd.fd >= 0) {
        assert_int_equal(poll(&pollfd, 1, (int)SOON_MS), 1);
        assert_int_equal(close(pollfd.fd), 0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(libc_pidfd_open(-1) < 0);
}

static void closing_from_a_number_on_leaves_those_below(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        bool opened = dup2(0, 30) == 30 && dup2(0, 31) == 31 && dup2(0, 900) == 900;
        libc_close_from(31);
        _exit(!(opened && fcntl(30, F_GETFD) >= 0 && fcntl(31, F_GETFD) < 0 &&
                fcntl(900, F_GETFD) < 0));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_libc),
        cmocka_unit_test(pidfd_tells_the_end),
        cmocka_unit_test(closing_from_a_number_on_leaves_those_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
