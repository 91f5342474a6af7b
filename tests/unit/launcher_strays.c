#include "muster/launcher/strays.h"

#include "muster/launcher/guard.h"
#include "muster/launcher/ranks.h"
#include "soon.h"

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

static const struct ranks no_ranks = {.death_fd = -1};

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
    assert_int_equal(strays_kill(&no_ranks, NULL, 0, soon()), 2);
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
    assert_int_equal(strays_kill(&no_ranks, NULL, 0, soon()), 0);
}

/* A process of the agent's own is no stray, and its end is not waited for. */
static void test_the_agents_own_live_on(void **state)
{
    (void)state;
    pid_t own = fork();
    if (own == 0)
        for (;;)
            pause();
    pid_t stray = fork();
    if (stray == 0)
        for (;;)
            pause();
    const pid_t spared[] = {0, own};
    uint64_t deadline_ns = soon();
    assert_int_equal(strays_kill(&no_ranks, spared, 2, deadline_ns), 1);
    assert_false(mst_deadline_passed(deadline_ns));
    assert_int_equal(waitpid(own, NULL, WNOHANG), 0);
    assert_int_equal(waitpid(stray, NULL, WNOHANG), -1);
    assert_int_equal(kill(own, SIGKILL), 0);
    assert_int_equal(waitpid(own, NULL, 0), own);
}

/* A rank that was given up keeps its number until it is reaped here. */
static void test_the_guard_is_told_of_the_reaped(void **state)
{
    (void)state;
    int fds[2];
    pid_t word;
    assert_int_equal(pipe(fds), 0);
    struct guard guard = {.fd = fds[1]};
    struct ranks ranks = {.death_fd = -1, .guard = &guard};
    pid_t rank = fork();
    if (rank == 0)
        for (;;)
            pause();
    assert_int_equal(strays_kill(&ranks, NULL, 0, soon()), 1);
    assert_int_equal(read(fds[0], &word, sizeof word), sizeof word);
    assert_int_equal(word, -rank);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_families_are_killed),
        cmocka_unit_test(test_nobody_is_nobody),
        cmocka_unit_test(test_the_agents_own_live_on),
        cmocka_unit_test(test_the_guard_is_told_of_the_reaped),
    };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
