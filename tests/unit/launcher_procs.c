#include "muster/launcher/procs.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void ignore(int number)
{
    (void)number;
}

/* A child that leads a session, with a child of its own in another group of it; both write a byte
 * once they stand. Returns the leader; *ret_other is the other. */
static pid_t start_family(pid_t *ret_other)
{
    int fds[2];
    pid_t other = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t leader = fork();
    if (leader == 0) {
        (void)setsid();
        (void)prctl(PR_SET_NAME, "a) R 1 (b"); /* what a name may do to the line in /proc */
        other = fork();
        if (other == 0) {
            (void)setpgid(0, 0);
            (void)signal(SIGUSR2, ignore);
            other = getpid();
            if (write(fds[1], &other, sizeof other) != sizeof other)
                _exit(1);
        }
        for (;;)
            pause();
    }
    assert_int_equal(read(fds[0], ret_other, sizeof *ret_other), sizeof *ret_other);
    close(fds[0]);
    close(fds[1]);
    return leader;
}

static int signal_that_ended(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_a_session_is_killed_whole_and_nobody_else(void **state)
{
    (void)state;
    pid_t other, stranger_other;
    pid_t leader = start_family(&other), stranger = start_family(&stranger_other);
    assert_int_equal(procs_kill(&leader, 1), 2);
    assert_int_equal(signal_that_ended(leader), SIGKILL);
    assert_int_equal(signal_that_ended(other), SIGKILL); /* it came to us, its subreaper */
    assert_int_equal(procs_kill(&leader, 1), 0);
    assert_int_equal(kill(stranger, 0), 0);
    const pid_t both[] = {leader, stranger};
    assert_int_equal(procs_kill(both, 2), 2);
    assert_int_equal(signal_that_ended(stranger), SIGKILL);
    assert_int_equal(signal_that_ended(stranger_other), SIGKILL);
}

/* A child that leads a session, and listens to nothing. */
static pid_t start_quiet(void)
{
    int fds[2];
    char byte;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (setsid() < 0 || write(fds[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void test_who_listens(void **state)
{
    (void)state;
    pid_t other;
    const pid_t leaders[] = {0, start_family(&other), start_quiet()};
    bool listens[3] = {true, false, true};
    procs_listen(leaders, 3, SIGUSR2, listens);
    assert_false(listens[0]);
    assert_true(listens[1]); /* by its child's handler */
    assert_false(listens[2]);
    procs_listen(leaders, 3, SIGTERM, listens);
    assert_false(listens[0] || listens[1] || listens[2]);
    assert_int_equal(procs_kill(leaders, 3), 3);
    (void)signal_that_ended(leaders[1]);
    (void)signal_that_ended(other);
    (void)signal_that_ended(leaders[2]);
    procs_listen(leaders, 3, SIGUSR2, listens);
    assert_false(listens[1]); /* they are gone */
}

static void test_states(void **state)
{
    (void)state;
    char text[PROCS_WHERE_BYTES];
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(procs_state(child), 'Z');
    assert_int_equal(procs_state(getpid()), 'R');
    assert_int_equal(signal_that_ended(child), 0);
    assert_int_equal(procs_state(child), '?');
    assert_string_equal(procs_where(child, text), "");
    assert_null(strchr(procs_where(getpid(), text), '\n'));
}

static void test_a_process_has_memory(void **state)
{
    (void)state;
    assert_true(procs_resident(getpid()) > 65536);
    assert_int_equal(procs_resident(1 << 22), 0); /* over the most that there may be */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_is_killed_whole_and_nobody_else),
        cmocka_unit_test(test_who_listens),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_a_process_has_memory),
    };
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
