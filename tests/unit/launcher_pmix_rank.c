/* A rank that is told its variables by this test. */
#include "muster/launcher/pmix_rank.h"

#include "muster/launcher/exitcode.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What `sh -c script` ends with as a rank that hears `said`; no bytes: muster-pmix has gone. */
static int run(const char *program, const char *script, const char *said, size_t said_bytes)
{
    int fds[2], status;
    char number[32];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    (void)snprintf(number, sizeof number, PMIX_RANK_FD "=%d", fds[1]);
    pid_t pid = fork();
    if (pid == 0) {
        char shell[64], flag[] = "-c", code[256], kept[] = "KEPT=1";
        char *argv[] = {shell, flag, code, NULL}, *env[] = {number, kept, NULL};
        (void)snprintf(shell, sizeof shell, "%s", program);
        (void)snprintf(code, sizeof code, "%s", script);
        close(fds[0]);
        (void)close(STDERR_FILENO);
        _exit(pmix_rank(argv, env));
    }
    close(fds[1]);
    if (said_bytes > 0)
        assert_int_equal(send(fds[0], said, said_bytes, MSG_NOSIGNAL), said_bytes);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void it_becomes_the_program_with_what_it_is_told(void **state)
{
    (void)state;
    static const char said[] = "PMIX_RANK=3\0PMIX_NAMESPACE=job";
    assert_int_equal(run("/bin/sh",
                         "[ $KEPT$PMIX_RANK$PMIX_NAMESPACE = 13job ] && "
                         "[ -z \"$MST_PMIX_FD\" ] && exit 42",
                         said, sizeof said),
                     42);
}

static void what_the_user_has_set_stays(void **state)
{
    (void)state;
    static const char said[] = "KEPT=2\0KEPT2=3";
    assert_int_equal(run("/bin/sh", "[ $KEPT$KEPT2 = 13 ] && exit 42", said, sizeof said), 42);
}

static void who_is_told_nothing_does_not_start(void **state)
{
    (void)state;
    assert_int_equal(run("/bin/sh", "exit 0", NULL, 0), EXITCODE_CONFIG);
    assert_int_equal(run("/bin/sh", "exit 0", "nonsense", 8), EXITCODE_CONFIG);
}

static void a_program_that_is_missing_has_its_code(void **state)
{
    (void)state;
    assert_int_equal(run("/nowhere/sh", "", "A=1", 4), EXITCODE_NOT_FOUND);
    assert_int_equal(run("/dev/null", "", "A=1", 4), EXITCODE_NOT_EXECUTABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_becomes_the_program_with_what_it_is_told),
        cmocka_unit_test(what_the_user_has_set_stays),
        cmocka_unit_test(who_is_told_nothing_does_not_start),
        cmocka_unit_test(a_program_that_is_missing_has_its_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
