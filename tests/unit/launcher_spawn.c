#include "muster/launcher/spawn.h"

#include "muster/core/err.h"
#include "muster/launcher/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char *env[] = {"PATH=/usr/bin:/bin", "WHO=rank", NULL};

/* Runs sh -c `script` with its output in `output`; returns waitpid's status. */
static int run(const char *script, int keep_fd, char *output, size_t cap)
{
    char text[256];
    int fds[2], status;
    pid_t pid = 0;
    size_t used = 0;
    ssize_t size;
    snprintf(text, sizeof text, "%s", script);
    char *argv[] = {"sh", "-c", text, NULL};
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    const struct spawn_request request = {.argv = argv,
                                          .env = env,
                                          .out_fd = fds[1],
                                          .err_fd = fds[1],
                                          .keep_fds = &keep_fd,
                                          .keep_fd_count = keep_fd >= 0};
    assert_int_equal(spawn_start(&request, &pid, NULL), 0);
    close(fds[1]);
    while (used < cap - 1 && (size = read(fds[0], output + used, cap - 1 - used)) > 0)
        used += (size_t)size;
    output[used] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_environment_output_and_code(void **state)
{
    (void)state;
    char output[256];
    int status = run("echo $WHO; echo two >&2; exit 7", -1, output, sizeof output);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_string_equal(output, "rank\ntwo\n");
}

static void test_signals_are_as_a_program_expects_them(void **state)
{
    (void)state;
    char output[256];
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    int status = run("kill -TERM $$; echo still here", -1, output, sizeof output);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

/* Whoever tells a guard that is gone of itself gets a SIGPIPE, which waits until it is let through.
 * */
static void test_a_guard_that_is_gone_costs_no_rank(void **state)
{
    (void)state;
    int fds[2], status;
    sigset_t all, before;
    pid_t pid = 0;
    char *argv[] = {"true", NULL};
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    struct guard guard = {.fd = fds[1]};
    const struct spawn_request request = {.argv = argv,
                                          .env = env,
                                          .out_fd = STDOUT_FILENO,
                                          .err_fd = STDERR_FILENO,
                                          .guard = &guard};
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    assert_int_equal(spawn_start(&request, &pid, NULL), 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(fds[1]);
}

/* The guard's pipe is full, which holds the child up as a dead file server would. */
static void test_a_start_that_hangs_holds_nobody_up(void **state)
{
    (void)state;
    int fds[2], status;
    pid_t pid = 0;
    char *argv[] = {"/nowhere/at/all", NULL}, drain[4096] = {0};
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(fds[1], drain, sizeof drain) > 0)
        continue;
    assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
    struct guard guard = {.fd = fds[1]};
    const struct spawn_request request = {.argv = argv,
                                          .env = env,
                                          .out_fd = STDOUT_FILENO,
                                          .err_fd = STDERR_FILENO,
                                          .guard = &guard};
    assert_int_equal(spawn_start(&request, &pid, NULL), 0);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    while (read(fds[0], drain, sizeof drain) > 0)
        continue;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 127);
    close(fds[0]);
    close(fds[1]);
}

static void test_own_session_and_no_input(void **state)
{
    (void)state;
    char output[256];
    run("read x || echo none; set -- $(cat /proc/$$/stat); echo $((($1 == $5 && $1 == $6)))", -1,
        output, sizeof output);
    assert_string_equal(output, "none\n1\n");
}

static void test_kept_fds_and_no_others(void **state)
{
    (void)state;
    char output[256], script[128];
    int kept = memfd_create("kept", MFD_CLOEXEC), other = memfd_create("other", MFD_CLOEXEC);
    assert_int_equal(write(kept, "secret\n", 7), 7);
    snprintf(script, sizeof script, "cat /proc/self/fd/%d; [ -e /proc/self/fd/%d ] || echo closed",
             kept, other);
    run(script, kept, output, sizeof output);
    assert_string_equal(output, "secret\nclosed\n");
    assert_int_equal(fcntl(kept, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC); /* ours is as it was */
    close(kept);
    close(other);
}

static void refuse(char *program, int expected, const char *why)
{
    struct mst_err err = {0};
    pid_t pid = -1;
    char *argv[] = {program, NULL};
    const struct spawn_request request = {.argv = argv, .env = env, .out_fd = 1, .err_fd = 2};
    assert_int_equal(spawn_start(&request, &pid, &err), expected);
    assert_int_equal(pid, -1);
    assert_non_null(strstr(err.text, program));
    assert_non_null(strstr(err.text, why));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
}

static void test_refused_programs_are_reported(void **state)
{
    (void)state;
    refuse("/nowhere/at/all", -ENOENT, "does not exist");
    refuse("/", -EACCES, "ermi");
    refuse("no-such-program", -ENOENT, "nowhere in PATH");
    (void)unlink("train.of-this-test");
    assert_int_equal(symlink("/dev/null", "train.of-this-test"), 0);
    refuse("train.of-this-test", -ENOENT, "the one in this folder is ./train.of-this-test");
    assert_int_equal(unlink("train.of-this-test"), 0);
}

/* A process forks a child by spawn_start and is killed: the child must follow. The pipe that the
 * child holds closes when it is dead. */
static void test_the_child_dies_with_its_agent(void **state)
{
    (void)state;
    int fds[2], pid_pipe[2];
    pid_t child = 0;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(pipe2(pid_pipe, O_CLOEXEC), 0);
    pid_t agent = fork();
    if (agent == 0) {
        char *argv[] = {"sleep", "30", NULL};
        const struct spawn_request request = {
            .argv = argv, .env = env, .out_fd = fds[1], .err_fd = fds[1]};
        int rc = spawn_start(&request, &child, NULL);
        if (rc || write(pid_pipe[1], &child, sizeof child) != sizeof child)
            _exit(1);
        pause();
        _exit(0);
    }
    close(fds[1]);
    assert_int_equal(read(pid_pipe[0], &child, sizeof child), sizeof child);
    kill(agent, SIGKILL);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    struct pollfd closed = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, 5000), 1);
    close(fds[0]);
    close(pid_pipe[0]);
    close(pid_pipe[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment_output_and_code),
        cmocka_unit_test(test_signals_are_as_a_program_expects_them),
        cmocka_unit_test(test_a_guard_that_is_gone_costs_no_rank),
        cmocka_unit_test(test_a_start_that_hangs_holds_nobody_up),
        cmocka_unit_test(test_own_session_and_no_input),
        cmocka_unit_test(test_kept_fds_and_no_others),
        cmocka_unit_test(test_refused_programs_are_reported),
        cmocka_unit_test(test_the_child_dies_with_its_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
