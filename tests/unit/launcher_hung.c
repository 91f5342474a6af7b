#include "muster/launcher/hung.h"

#include "muster/launcher/procs.h"
#include "muster/launcher/ranks.h"
#include "said.h"
#include "scratch.h"
#include "soon.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A process that sleeps in the kernel, as whoever starts a program waits there for a child that is
 * not yet one: this child opens a pipe that nobody writes to. */
static pid_t start_hanging(void)
{
    const char *fifo = scratch_path("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    pid_t pid = fork();
    if (pid == 0) {
        posix_spawn_file_actions_t actions;
        char *argv[] = {(char[]){"true"}, NULL};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* of a test that fails */
        (void)setsid();
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, fifo, O_RDONLY, 0);
        _exit(posix_spawn(&pid, "/bin/true", &actions, NULL, argv, argv + 1));
    }
    uint64_t deadline_ns = soon();
    while (procs_state(pid) != 'D' && !mst_deadline_passed(deadline_ns))
        sched_yield();
    assert_int_equal(procs_state(pid), 'D');
    return pid;
}

static void kill_group(pid_t pid)
{
    int status;
    assert_int_equal(kill(-pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static const char *said_in_a_look(struct hung *hung, const struct ranks *ranks, uint64_t now_ns)
{
    static struct said said;
    assert_true(said_begin(&said));
    hung_look(hung, ranks, now_ns);
    return said_end(&said);
}

/* Seen three times, and told once. */
static void who_does_not_run_meanwhile_is_told_once(void **state)
{
    (void)state;
    static struct hung hung;
    struct rank_proc procs[2] = {{.pid = 0}, {.pid = start_hanging()}};
    const struct ranks ranks = {.first_rank = 6, .local_size = 2, .procs = procs};
    hung_init(&hung);
    assert_true(hung.look_ns == MST_NEVER);
    hung_expect(&hung, 100);
    assert_true(hung.look_ns == 100 + HUNG_EVERY_NS);
    hung_expect(&hung, 200);
    assert_true(hung.look_ns == 100 + HUNG_EVERY_NS);
    assert_string_equal(said_in_a_look(&hung, &ranks, 1000), "");
    assert_true(hung.look_ns == 1000 + HUNG_EVERY_NS);
    assert_string_equal(said_in_a_look(&hung, &ranks, 999 + HUNG_AFTER_NS), "");
    const char *text = said_in_a_look(&hung, &ranks, 1000 + HUNG_AFTER_NS);
    assert_non_null(strstr(text, "hangs in the kernel"));
    assert_non_null(strstr(text, "of_rank=7"));
    assert_non_null(strstr(hung.text, "rank 7 hangs in the kernel, in "));
    assert_string_equal(said_in_a_look(&hung, &ranks, 2000 + HUNG_AFTER_NS), "");
    kill_group(procs[1].pid);
    hung_init(&hung);
    assert_string_equal(hung.text, "");
}

static void who_has_run_begins_anew(void **state)
{
    (void)state;
    static struct hung hung;
    struct rank_proc procs[1] = {{.pid = start_hanging()}};
    const struct ranks ranks = {.local_size = 1, .procs = procs};
    hung_init(&hung);
    hung_expect(&hung, 0);
    hung_look(&hung, &ranks, 1);
    assert_int_equal(hung.seats[0].thread, procs[0].pid);
    hung.seats[0].switches--; /* as if it had run since */
    assert_string_equal(said_in_a_look(&hung, &ranks, 2 + HUNG_AFTER_NS), "");
    assert_true(hung.seats[0].since_ns == 2 + HUNG_AFTER_NS);
    kill_group(procs[0].pid);
    procs[0].pid = getpid();
    hung_look(&hung, &ranks, 3 + 2 * HUNG_AFTER_NS);
    assert_int_equal(hung.seats[0].thread, 0);
    assert_string_equal(hung.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_does_not_run_meanwhile_is_told_once, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(who_has_run_begins_anew, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
