#include "muster/launcher/guard.h"
#include "said.h"
#include "soon.h"

#include "muster/launcher/procs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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

struct family {
    int alive[2]; /* both of a rank's processes hold the writing end for as long as they live */
    pid_t rank;
};

/* A rank leads a session, tells the guard of it, and leaves a child behind in another group.
 * Returns once both stand. */
static void start_rank(struct family *family, const struct guard *guard)
{
    char byte;
    if (pipe2(family->alive, O_CLOEXEC))
        _exit(1);
    family->rank = fork();
    if (family->rank == 0) {
        (void)setsid();
        guard_add(guard->fd, getpid());
        close(guard->fd); /* as execve does */
        if (fork() == 0)
            (void)setpgid(0, 0);
        if (write(family->alive[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(family->alive[1]);
    for (int i = 0; i < 2; i++) {
        if (read(family->alive[0], &byte, 1) != 1)
            _exit(1);
    }
}

/* What an agent tells the test before it waits for its SIGKILL. */
struct told {
    pid_t guard, forgotten;
};

/* An agent with two ranks, the second of which it has the guard forget. *ret_held holds what only
 * the first rank and the agent do. */
static pid_t start_agent(struct told *ret_told, int *ret_held)
{
    int told_fds[2], held[2];
    assert_int_equal(pipe2(told_fds, O_CLOEXEC), 0);
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    pid_t agent = fork();
    if (agent == 0) {
        struct guard guard;
        struct family known, forgotten;
        if (guard_open(&guard, NULL))
            _exit(1);
        start_rank(&known, &guard);
        close(held[1]);
        start_rank(&forgotten, &guard);
        const struct told told = {guard.pid, forgotten.rank};
        guard_forget(&guard, forgotten.rank);
        if (guard.fd < 0 || write(told_fds[1], &told, sizeof told) != sizeof told)
            _exit(1);
        for (;;)
            pause();
    }
    close(told_fds[1]);
    close(held[1]);
    assert_int_equal(read(told_fds[0], ret_told, sizeof *ret_told), sizeof *ret_told);
    close(told_fds[0]);
    *ret_held = held[0];
    return agent;
}

/* The guard comes to us, its subreaper, when the agent is dead: then it has done its work. */
static void test_ranks_and_what_they_started_do_not_outlive_the_agent(void **state)
{
    (void)state;
    struct told told;
    int held;
    pid_t agent = start_agent(&told, &held);
    kill(agent, SIGKILL);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    struct pollfd closed = {.fd = held, .events = POLLIN};
    assert_int_equal(poll(&closed, 1, (int)SOON_MS), 1);
    assert_int_equal(waitpid(told.guard, NULL, 0), told.guard);
    assert_int_equal(procs_state(told.forgotten), 'S'); /* its number could be a stranger's */
    assert_int_equal(procs_kill(&told.forgotten, 1), 2);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    close(held);
}

/* waitpid(-1) of the agent is about ranks and orphans. */
static void test_it_is_nobodys_child_and_holds_nothing(void **state)
{
    (void)state;
    int held[2];
    char byte;
    struct guard guard;
    assert_int_equal(pipe(held), 0);
    assert_int_equal(guard_open(&guard, NULL), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    close(held[1]);
    struct pollfd closed = {.fd = held[0]};
    assert_int_equal(poll(&closed, 1, (int)SOON_MS), 1); /* its copy is closed as well */
    assert_int_equal(read(held[0], &byte, 1), 0);
    pid_t pid = guard.pid;
    guard_close(&guard);
    assert_int_equal(kill(pid, 0), -1);
    guard_close(&guard);
    close(held[0]);
}

static void test_a_guard_that_was_killed_is_noticed(void **state)
{
    (void)state;
    struct guard guard;
    assert_int_equal(guard_open(&guard, NULL), 0);
    kill(guard.pid, SIGKILL);
    struct pollfd gone = {.fd = guard.fd};
    assert_int_equal(poll(&gone, 1, (int)SOON_MS), 1);
    guard_add(guard.fd, 1234567); /* costs nothing */
    struct said said;
    assert_true(said_begin(&said));
    guard_forget(&guard, 1234567);
    guard_forget(&guard, 1234567);
    guard_forget(NULL, 1234567);
    const char *text = said_end(&said);
    assert_int_equal(guard.fd, -1);
    assert_non_null(strstr(text, "the guard is gone"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* said once */
}

/* It ends while its agent does something else: nothing is told to it any more. */
static void test_one_that_is_dismissed_is_awaited_later(void **state)
{
    (void)state;
    struct guard guard;
    struct said said;
    assert_int_equal(guard_open(&guard, NULL), 0);
    pid_t pid = guard.pid;
    guard_dismiss(&guard);
    assert_true(said_begin(&said));
    guard_forget(&guard, 1234567);
    assert_string_equal(said_end(&said), "");
    assert_int_equal(kill(pid, 0), 0); /* at least its zombie is there */
    guard_close(&guard);
    assert_int_equal(kill(pid, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_and_what_they_started_do_not_outlive_the_agent),
        cmocka_unit_test(test_it_is_nobodys_child_and_holds_nothing),
        cmocka_unit_test(test_a_guard_that_was_killed_is_noticed),
        cmocka_unit_test(test_one_that_is_dismissed_is_awaited_later),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
