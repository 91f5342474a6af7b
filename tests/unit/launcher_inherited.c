#include "muster/launcher/inherited.h"

#include "muster/core/err.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static bool ignores(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static bool blocks(int number)
{
    sigset_t mask;
    return sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && sigismember(&mask, number) == 1;
}

/* The state is the process's: each case has its own, whose exit code counts what was wrong. */
static void in_a_child(int (*run)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(run());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int take_with_everything_wrong(void)
{
    struct stat null, found;
    int wrong = stat("/dev/null", &null) != 0;
    (void)signal(SIGCHLD, SIG_IGN);
    close(STDIN_FILENO);
    close(STDERR_FILENO);
    wrong += inherited_take(NULL) != 0;
    wrong += fstat(STDIN_FILENO, &found) != 0 || found.st_rdev != null.st_rdev;
    wrong += fstat(STDERR_FILENO, &found) != 0 || found.st_rdev != null.st_rdev;
    wrong += ignores(SIGCHLD) || !blocks(SIGCHLD) || !blocks(SIGTERM);
    inherited_give_back();
    return wrong + (!ignores(SIGCHLD) || blocks(SIGTERM));
}

static void test_what_is_wrong_is_put_right(void **state)
{
    (void)state;
    in_a_child(take_with_everything_wrong);
}

static int hand_on(bool deaf, const int *ignored, size_t count)
{
    int wrong = inherited_take(NULL) != 0;
    inherited_hand_on(deaf);
    for (int number = 1; number <= 31; number++) {
        bool expected = false;
        for (size_t i = 0; i < count; i++)
            expected = expected || ignored[i] == number;
        wrong += ignores(number) != expected || blocks(number);
    }
    return wrong;
}

static int a_rank_begins_clean(void)
{
    static const int kept[] = {SIGHUP, SIGQUIT};
    sigset_t mask;
    sigfillset(&mask);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGQUIT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    return hand_on(false, kept, 2);
}

static int a_deaf_rank_leaves_it_to_the_agent(void)
{
    static const int agents[] = {SIGTERM, SIGINT, SIGQUIT, SIGUSR1};
    return hand_on(true, agents, 4);
}

static void test_ranks_get_clean_signals(void **state)
{
    (void)state;
    in_a_child(a_rank_begins_clean);
    in_a_child(a_deaf_rank_leaves_it_to_the_agent);
}

static int limits_are_the_agents_own(void)
{
    struct rlimit found = {.rlim_cur = 100}, limit;
    int wrong = getrlimit(RLIMIT_NOFILE, &limit) != 0;
    found.rlim_max = limit.rlim_max;
    wrong += setrlimit(RLIMIT_NOFILE, &found) != 0;
    inherited_raise_fd_limit();
    wrong += getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur != found.rlim_max;
    inherited_hand_on(false);
    wrong += getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur != 100;
    return wrong;
}

static void test_the_limit_of_descriptors_is_raised_for_the_agent_only(void **state)
{
    (void)state;
    in_a_child(limits_are_the_agents_own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_wrong_is_put_right),
        cmocka_unit_test(test_ranks_get_clean_signals),
        cmocka_unit_test(test_the_limit_of_descriptors_is_raised_for_the_agent_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
