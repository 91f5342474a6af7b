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

static struct spawn *spawn;

static int make_spawn(void **state)
{
    (void)state;
    return spawn_create(&spawn, NULL);
}

static int end_spawn(void **state)
{
    (void)state;
    spawn_destroy(spawn);
    return 0;
}

/* Starts one program, which is not held up. */
static pid_t start(const struct spawn_request *request)
{
    struct spawn_child child;
    size_t started = 0;
    assert_int_equal(spawn_start(spawn, request, 1, &child, &started, NULL), 0);
    assert_int_equal(started, 1);
    assert_false(child.is_late);
    return child.pid;
}

/* Runs sh -c `script` with its output in `output`; returns waitpid's status. */
static int run(const char *script, int keep_fd, char *output, size_t cap)
{
    char text[256];
    int fds[2], status;
    size_t used = 0;
    ssize_t size;
    snprintf(text, sizeof text, "%s", script);
    char *argv[] = {"sh", "-c", text, NULL};
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    const struct spawn_request request = {.argv = argv,
                                          .env = env,
                                          .out_fd = fds[1],
                                          .err_fd = fds[1],
                                          .keep_fds = {keep_fd},
                                          .keep_fd_count = keep_fd >= 0};
    pid_t pid = start(&request);
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
    pid_t pid = start(&request);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(fds[1]);
}

/* A pipe to a guard, which is full: it holds a child up as a dead file server would. */
static void fill_pipe(int fds[2])
{
    char bytes[4096] = {0};
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(fds[1], bytes, sizeof bytes) > 0)
        continue;
    assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
}

static void empty_pipe(int fds[2])
{
    char bytes[4096];
    while (read(fds[0], bytes, sizeof bytes) > 0)
        continue;
}

static void expect_exit(pid_t pid, int code)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

/* The first of two hangs, the one behind it is started by another thread. When the first is refused
 * after all, its thread starts what comes next. */
static void test_a_start_that_hangs_holds_nobody_up(void **state)
{
    (void)state;
    int fds[2];
    struct spawn_child children[2];
    size_t started = 0;
    static char *nowhere[] = {"/nowhere/at/all", NULL}, *there[] = {"true", NULL};
    static struct guard guard;
    fill_pipe(fds);
    guard.fd = fds[1];
    const struct spawn_request requests[] = {
        {.argv = nowhere, .env = env, .out_fd = 1, .err_fd = 2, .guard = &guard},
        {.argv = there, .env = env, .out_fd = 1, .err_fd = 2},
    };
    assert_int_equal(spawn_start(spawn, requests, 2, children, &started, NULL), 0);
    assert_int_equal(started, 2);
    assert_true(children[0].is_late);
    assert_int_equal(waitpid(children[0].pid, NULL, WNOHANG), 0);
    expect_exit(children[1].pid, 0);
    empty_pipe(fds);
    expect_exit(children[0].pid, 127);
    do { /* on a busy machine it may be late, too */
        assert_int_equal(spawn_start(spawn, &requests[1], 1, children, &started, NULL), 0);
        expect_exit(children[0].pid, 0);
    } while (children[0].is_late);
    close(fds[0]);
    close(fds[1]);
}

/* Then destroy leaves its thread behind, with which the child dies, and that with its process. */
static void hang_to_the_end(void)
{
    int fds[2];
    struct spawn_child child;
    size_t started = 0;
    char *argv[] = {"true", NULL};
    fill_pipe(fds);
    struct guard guard = {.fd = fds[1]};
    const struct spawn_request request = {
        .argv = argv, .env = env, .out_fd = 1, .err_fd = 2, .guard = &guard};
    if (spawn_create(&spawn, NULL) || spawn_start(spawn, &request, 1, &child, &started, NULL) ||
        !child.is_late)
        _exit(1);
    spawn_destroy(spawn);
    (void)raise(SIGKILL); /* a leak checker would wait for the thread */
}

static void test_a_start_may_hang_to_the_end(void **state)
{
    (void)state;
    int held[2], status;
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    pid_t agent = fork();
    if (agent == 0)
        hang_to_the_end();
    close(held[1]);
    assert_int_equal(waitpid(agent, &status, 0), agent);
    assert_true(WIFSIGNALED(status));
    struct pollfd closed = {.fd = held[0], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, 5000), 1);
    close(held[0]);
}

/* Those before it run, those behind it are not tried. */
static void test_a_batch_ends_with_the_first_that_is_refused(void **state)
{
    (void)state;
    struct mst_err err = {0};
    struct spawn_child children[SPAWN_BATCH];
    struct spawn_request requests[SPAWN_BATCH];
    size_t started = 0;
    char *nowhere[] = {"/nowhere/at/all", NULL}, *there[] = {"true", NULL};
    for (int i = 0; i < SPAWN_BATCH; i++)
        requests[i] = (struct spawn_request){
            .argv = i == 2 ? nowhere : there, .env = env, .out_fd = 1, .err_fd = 2};
    assert_int_equal(spawn_start(spawn, requests, SPAWN_BATCH, children, &started, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    assert_int_equal(started, 2);
    for (size_t i = 0; i < started; i++)
        expect_exit(children[i].pid, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
    assert_int_equal(spawn_start(spawn, requests + 3, 1, children, &started, &err), 0);
    expect_exit(children[0].pid, 0);
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
    struct spawn_child child;
    size_t started = 1;
    char *argv[] = {program, NULL};
    const struct spawn_request request = {.argv = argv, .env = env, .out_fd = 1, .err_fd = 2};
    assert_int_equal(spawn_start(spawn, &request, 1, &child, &started, &err), expected);
    assert_int_equal(started, 0);
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

/* What the shell is given for a script without a first line is as long as what the script is. */
static void test_a_script_may_have_many_arguments(void **state)
{
    (void)state;
    enum { ARGUMENTS = 150000 };
    static const char text[] = "exit $(($# == 150000 ? 7 : 1))\n";
    static char *argv[ARGUMENTS + 2];
    char program[] = "./script.of-this-test", argument[] = "y";
    int fd = open(program, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700), status;
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    argv[0] = program;
    for (size_t i = 1; i <= ARGUMENTS; i++)
        argv[i] = argument;
    const struct spawn_request request = {.argv = argv, .env = env, .out_fd = 1, .err_fd = 2};
    pid_t pid = start(&request);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 7 << 8);
    assert_int_equal(unlink(program), 0);
}

/* A process makes a child by spawn_start and is killed: the child must follow. The pipe that the
 * child holds closes when it is dead. A process of one thread, for the thread sanitizer's sake. */
static void test_the_child_dies_with_its_agent(void **state)
{
    (void)state;
    int fds[2], pid_pipe[2];
    pid_t child = 0;
    spawn_destroy(spawn);
    spawn = NULL;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(pipe2(pid_pipe, O_CLOEXEC), 0);
    pid_t agent = fork();
    if (agent == 0) {
        char *argv[] = {"sleep", "30", NULL};
        const struct spawn_request request = {
            .argv = argv, .env = env, .out_fd = fds[1], .err_fd = fds[1]};
        struct spawn_child started;
        size_t count;
        int rc = spawn_create(&spawn, NULL);
        rc = rc ? rc : spawn_start(spawn, &request, 1, &started, &count, NULL);
        if (rc || write(pid_pipe[1], &started.pid, sizeof started.pid) != sizeof started.pid)
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
        cmocka_unit_test(test_a_batch_ends_with_the_first_that_is_refused),
        cmocka_unit_test(test_own_session_and_no_input),
        cmocka_unit_test(test_kept_fds_and_no_others),
        cmocka_unit_test(test_refused_programs_are_reported),
        cmocka_unit_test(test_a_script_may_have_many_arguments),
        cmocka_unit_test(test_the_child_dies_with_its_agent),
        cmocka_unit_test(test_a_start_may_hang_to_the_end),
    };
    return cmocka_run_group_tests(tests, make_spawn, end_spawn);
}
