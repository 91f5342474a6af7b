#include "muster/launcher/strays.h"

#include "muster/core/clock.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A child that ignores what it can, with a child of its own that becomes ours when it dies. */
static void leave_a_family(int alive_fd)
{
    if (fork() != 0)
        return;
    (void)signal(SIGTERM, SIG_IGN);
    (void)fork();
    if (write(alive_fd, "x", 1) != 1) /* the pipe stays open while one of the two lives */
        _exit(1);
    for (;;)
        pause();
}

static void test_whole_families_are_killed(void **state)
{
    (void)state;
    int fds[2];
    char byte;
    assert_int_equal(pipe(fds), 0);
    leave_a_family(fds[1]);
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_int_equal(strays_kill(0, mst_deadline_ms(5000)), 2);
    struct pollfd closed = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, 0), 1);
    assert_int_equal(read(fds[0], &byte, 1), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    close(fds[0]);
}

static void test_nobody_is_nobody(void **state)
{
    (void)state;
    assert_int_equal(strays_kill(0, mst_deadline_ms(5000)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_families_are_killed),
        cmocka_unit_test(test_nobody_is_nobody),
    };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
