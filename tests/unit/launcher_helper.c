#include "muster/launcher/helper.h"

#include "soon.h"

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

static void it_holds_one_descriptor_and_has_a_name(void **state)
{
    (void)state;
    int held[2], own[2], status;
    char name[16] = "";
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    assert_int_equal(pipe2(own, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        helper_begin("muster-test", &own[1], 1);
        (void)prctl(PR_GET_NAME, name);
        if (write(STDIN_FILENO, name, sizeof name) != sizeof name)
            _exit(1);
        for (;;)
            pause();
    }
    close(held[1]);
    close(own[1]);
    assert_int_equal(read(own[0], name, sizeof name), sizeof name);
    assert_string_equal(name, "muster-test");
    struct pollfd closed = {.fd = held[0], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, SOON_MS), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(held[0]);
    close(own[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_one_descriptor_and_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
