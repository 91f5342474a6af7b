/* The process that serves PMI-1 to the ranks of one node, which are this test's descriptors. */
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/version.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/pmi.h"
#include "muster/launcher/rankenv.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RANKS 3

/* Who serves, which this process is forked to, is soon out of patience. */
static bool is_impatient;

uint64_t __real_mst_deadline_ms(uint32_t timeout_ms);
uint64_t __wrap_mst_deadline_ms(uint32_t timeout_ms);

uint64_t __wrap_mst_deadline_ms(uint32_t timeout_ms)
{
    bool is_short = timeout_ms == 30000 || timeout_ms == PMI_LOOK_MS;
    return __real_mst_deadline_ms(is_impatient && is_short ? 1 : timeout_ms);
}

struct fixture {
    struct pmi pmi;
    int ranks[RANKS]; /* as each of them inherits it */
};

static void start(struct fixture *f)
{
    const struct rankenv_facts facts = {.rank = 10,
                                        .world_size = RANKS,
                                        .local_size = RANKS,
                                        .node_count = 1,
                                        .kv_addr = "",
                                        .job_id = "",
                                        .secret_fd = -1};
    assert_int_equal(pmi_start(&f->pmi, &facts, NULL, NULL), 0);
    for (uint32_t i = 0; i < RANKS; i++) {
        f->ranks[i] = dup(pmi_rank_fd(&f->pmi, i));
        assert_true(f->ranks[i] >= 0);
    }
    pmi_started(&f->pmi);
    assert_int_equal(pmi_rank_fd(&f->pmi, 0), 0);
}

static void say(const struct fixture *f, uint32_t rank, const char *line)
{
    assert_int_equal(send(f->ranks[rank], line, strlen(line), MSG_NOSIGNAL), strlen(line));
}

static void expect(const struct fixture *f, uint32_t rank, const char *line)
{
    char heard[256];
    size_t have = 0;
    while (have < strlen(line)) {
        struct pollfd ready = {.fd = f->ranks[rank], .events = POLLIN};
        assert_int_equal(poll(&ready, 1, SOON_MS), 1);
        ssize_t size = recv(f->ranks[rank], heard + have, strlen(line) - have, 0);
        assert_true(size > 0);
        have += (size_t)size;
    }
    assert_memory_equal(heard, line, have);
}

static void init(const struct fixture *f, uint32_t rank)
{
    say(f, rank, "cmd=init pmi_version=1 pmi_subversion=1\n");
    expect(f, rank, "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
}

static void init_all(const struct fixture *f)
{
    for (uint32_t i = 0; i < RANKS; i++)
        init(f, i);
}

static void leave(struct fixture *f, uint32_t rank)
{
    close(f->ranks[rank]);
    f->ranks[rank] = -1;
}

static void end(struct fixture *f)
{
    pmi_end(&f->pmi);
    assert_int_equal(f->pmi.fd, -1);
    pmi_end(&f->pmi); /* allowed */
    for (uint32_t i = 0; i < RANKS; i++) {
        if (f->ranks[i] >= 0)
            leave(f, i);
    }
    int status;
    assert_true(waitpid(-1, &status, 0) > 0); /* it has ended by itself */
    assert_int_equal(status, 0);
    assert_int_equal(waitpid(-1, &status, 0), -1);
}

/* Whom it blames, and why. */
static struct pmi_failure failure_of(struct fixture *f)
{
    struct pmi_failure failure;
    do {
        struct pollfd ready = {.fd = f->pmi.fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, SOON_MS), 1);
    } while (!pmi_take(&f->pmi, &failure)); /* that it lives */
    return failure;
}

static void a_fence_is_over_when_all_are_there(void **state)
{
    (void)state;
    struct fixture f;
    struct pmi_failure failure;
    start(&f);
    init_all(&f);
    say(&f, 1, "cmd=put kvsname=muster_0000000000000000_0 key=a value=1\n");
    expect(&f, 1, "cmd=put_result rc=0 msg=success\n");
    for (uint32_t i = 0; i < RANKS; i++)
        say(&f, i, "cmd=barrier_in\n");
    for (uint32_t i = 0; i < RANKS; i++) {
        expect(&f, i, "cmd=barrier_out\n");
        say(&f, i, "cmd=get kvsname=muster_0000000000000000_0 key=a\n");
        expect(&f, i, "cmd=get_result rc=0 msg=success value=1\n");
        say(&f, i, "cmd=finalize\n");
        expect(&f, i, "cmd=finalize_ack rc=0\n");
        leave(&f, i);
    }
    assert_false(pmi_take(&f.pmi, &failure));
    end(&f);
}

static void a_line_may_come_in_pieces_and_lines_together(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    say(&f, 0, "cmd=init pmi_ver");
    say(&f, 0, "sion=1\ncmd=get_appnum\ncmd=get_app");
    expect(&f, 0, "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
    expect(&f, 0, "cmd=appnum rc=0 appnum=0\n");
    say(&f, 0, "num\n");
    expect(&f, 0, "cmd=appnum rc=0 appnum=0\n");
    end(&f);
}

static void who_leaves_without_a_word_is_named(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    init_all(&f);
    say(&f, 0, "cmd=barrier_in\n");
    leave(&f, 2);
    struct pmi_failure failure = failure_of(&f);
    assert_int_equal(failure.rank, 12);
    assert_int_equal(failure.exit_code, EXIT_FAILURE);
    assert_non_null(strstr(failure.err.text, "without MPI_Finalize"));
    end(&f);
}

static void who_waits_and_goes_is_named(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    init_all(&f);
    say(&f, 1, "cmd=barrier_in\n");
    leave(&f, 1);
    assert_int_equal(failure_of(&f).rank, 11);
    end(&f);
}

static void who_never_comes_is_named(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    leave(&f, 1);
    init(&f, 0);
    struct pmi_failure failure = failure_of(&f);
    assert_int_equal(failure.rank, 11);
    assert_non_null(strstr(failure.err.text, "without MPI_Init"));
    end(&f);
}

static void who_is_late_is_named_once_and_may_come_yet(void **state)
{
    (void)state;
    struct fixture f;
    struct pmi_failure failure;
    is_impatient = true;
    start(&f);
    is_impatient = false;
    for (uint32_t i = 0; i < 2; i++) {
        init(&f, i);
        say(&f, i, "cmd=barrier_in\n");
    }
    failure = failure_of(&f);
    assert_int_equal(failure.err.code, -EAGAIN);
    assert_int_equal(failure.rank, 12);
    assert_non_null(strstr(failure.err.text, "has not called MPI_Init"));
    init(&f, 2);
    say(&f, 2, "cmd=barrier_in\n");
    for (uint32_t i = 0; i < RANKS; i++)
        expect(&f, i, "cmd=barrier_out\n");
    assert_false(pmi_take(&f.pmi, &failure));
    end(&f);
}

static void who_ends_and_leaves_a_child_is_named(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    init_all(&f);
    say(&f, 0, "cmd=finalize\n");
    pmi_rank_ended(&f.pmi, 0); /* all is well with that one */
    expect(&f, 0, "cmd=finalize_ack rc=0\n");
    pmi_rank_ended(&f.pmi, 2);
    struct pmi_failure failure = failure_of(&f);
    assert_int_equal(failure.rank, 12);
    assert_non_null(strstr(failure.err.text, "without MPI_Finalize"));
    end(&f);
    pmi_rank_ended(&f.pmi, 1); /* allowed */
}

static void that_the_process_has_died_is_told(void **state)
{
    (void)state;
    struct fixture f;
    int status;
    start(&f);
    assert_int_equal(kill(f.pmi.pid, SIGKILL), 0);
    struct pmi_failure failure = failure_of(&f);
    assert_int_equal(failure.rank, 10); /* of this node */
    assert_int_equal(failure.err.code, -ECHILD);
    for (uint32_t i = 0; i < RANKS; i++)
        leave(&f, i);
    assert_true(waitpid(-1, &status, 0) > 0);
}

static void an_abort_has_its_exit_code_and_its_rank_stands_still(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    init_all(&f);
    say(&f, 1, "cmd=abort exitcode=5\n");
    struct pmi_failure failure = failure_of(&f);
    assert_int_equal(failure.rank, 11);
    assert_int_equal(failure.exit_code, 5);
    assert_non_null(strstr(failure.err.text, "MPI_Abort"));
    struct pollfd closed = {.fd = f.ranks[1], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, 0), 0);
    end(&f);
}

static void nonsense_is_told_with_its_rank(void **state)
{
    (void)state;
    static const char *const said[] = {"cmd=fly\n", "cmd=init pmi_version=2\n"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        start(&f);
        say(&f, 2, said[i]);
        struct pmi_failure failure = failure_of(&f);
        assert_int_equal(failure.rank, 12);
        assert_int_equal(failure.err.code, -EPROTO);
        end(&f);
    }
}

static void a_line_with_a_nul_is_refused(void **state)
{
    (void)state;
    static const char line[] = "cmd=init\0pmi_version=1\n";
    struct fixture f;
    start(&f);
    assert_int_equal(send(f.ranks[1], line, sizeof line - 1, MSG_NOSIGNAL), sizeof line - 1);
    assert_non_null(strstr(failure_of(&f).err.text, "a NUL"));
    end(&f);
}

static void a_line_without_an_end_is_refused(void **state)
{
    (void)state;
    char text[3000];
    struct fixture f;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    start(&f);
    say(&f, 0, text);
    assert_non_null(strstr(failure_of(&f).err.text, "a line of more than"));
    end(&f);
}

static const struct rankenv_facts helper_facts = {.rank = 10,
                                                  .world_size = 12,
                                                  .local_size = 2,
                                                  .node = 1,
                                                  .node_count = 1,
                                                  .generation = 3,
                                                  .kv_addr = "",
                                                  .job_id = "",
                                                  .job_nonce = 0xabc};

static void start_helper(struct fixture *f, const char *program, int secret)
{
    struct rankenv_facts facts = helper_facts;
    facts.secret_fd = secret;
    *f = (struct fixture){.ranks = {-1, -1, -1}};
    assert_int_equal(pmi_start(&f->pmi, &facts, program, NULL), 0);
    assert_true(f->pmi.pmix.tidy_pid > 0);
}

/* It, and who clears up behind it. */
static void end_helper(struct fixture *f)
{
    pmi_end(&f->pmi);
    assert_true(wait(NULL) > 0);
    assert_true(wait(NULL) > 0);
    assert_int_equal(wait(NULL), -1);
}

static char script_path[] = "/tmp/muster-helper-XXXXXX";

static void write_script(const char *text)
{
    memcpy(script_path + sizeof script_path - 7, "XXXXXX", 6);
    int file = mkstemp(script_path);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(file, 0700), 0);
    close(file);
}

/* Started as muster-pmix, it ends at once, or is not there. */
static void a_helper_that_does_not_begin_is_told_from_one_that_dies(void **state)
{
    (void)state;
    static const struct {
        const char *script, *text;
        int exit_code;
    } cases[] = {
        {NULL, "libpmix2", EXITCODE_CONFIG},
        {"#!/bin/sh\n[ \"$3\" = remove ] || exit 127\n", "libpmix2", EXITCODE_CONFIG},
        {"#!/bin/sh\nexit 3\n", "(exit code 3)", EXITCODE_CONFIG},
        {"#!/bin/sh\n[ \"$3\" = remove ] || kill -9 $$\n", "(killed by SIGKILL)", EXIT_FAILURE}};
    int secret = memfd_create("secret", MFD_CLOEXEC);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        if (cases[i].script)
            write_script(cases[i].script);
        start_helper(&f, cases[i].script ? script_path : "/nowhere/muster-pmix", secret);
        pmi_started(&f.pmi);
        struct pmi_failure failure = failure_of(&f);
        assert_int_equal(failure.exit_code, cases[i].exit_code);
        assert_non_null(strstr(failure.err.text, cases[i].text));
        end_helper(&f);
        (void)unlink(script_path);
    }
    close(secret);
}

/* What it does is what the script says, with the agent at descriptor 0 and a rank at 5. */
static void a_helper_is_started_as_the_first_rank_would_be(void **state)
{
    (void)state;
    char said[128] = "", expected[128];
    int secret = memfd_create("secret", MFD_CLOEXEC);
    write_script("#!/bin/sh\n"
                 "[ \"$MST_RANK $MST_WORLD_SIZE $MST_LOCAL_SIZE $MST_SECRET_FD\" = "
                 "'10 12 2 3' ] && [ -z \"$MST_PAGE_FD$HOME\" ] && "
                 "[ \"$(cat <&3)\" = secret ] && [ -p /dev/fd/4 ] && [ -S /dev/fd/6 ] && "
                 "[ ! -e /dev/fd/7 ] && printf '%s %s' \"$1\" \"$2\" >&5\n");
    assert_int_equal(write(secret, "secret", 6), 6);
    assert_int_equal(lseek(secret, 0, SEEK_SET), 0);
    struct fixture f;
    start_helper(&f, script_path, secret);
    assert_true(recv(pmi_rank_fd(&f.pmi, 0), said, sizeof said - 1, 0) > 0);
    (void)snprintf(expected, sizeof expected, "%s muster-pmix-0000000000000abc-3-1", mst_version());
    assert_string_equal(said, expected);
    end_helper(&f);
    close(secret);
    assert_int_equal(unlink(script_path), 0);
}

/* Who is killed has not cleared up; who has says so in the pipe that is its life. */
static void somebody_clears_up_behind_a_helper(void **state)
{
    (void)state;
    static const char *const how[] = {"kill -9 $$", "printf x >&4"};
    int secret = memfd_create("secret", MFD_CLOEXEC);
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        char script[256], mark[] = "/tmp/muster-cleared-XXXXXX";
        assert_true(mkstemp(mark) >= 0);
        assert_int_equal(unlink(mark), 0);
        (void)snprintf(script, sizeof script,
                       "#!/bin/sh\nif [ \"$3\" = remove ]; then echo $2 >%s; "
                       "else %s; fi\n",
                       mark, how[i]);
        write_script(script);
        struct fixture f;
        start_helper(&f, script_path, secret);
        (void)failure_of(&f);
        end_helper(&f);
        assert_int_equal(unlink(mark), i == 0 ? 0 : -1);
        assert_int_equal(unlink(script_path), 0);
    }
    close(secret);
}

static void who_says_nothing_hangs_and_is_killed(void **state)
{
    (void)state;
    struct fixture f;
    struct pmi_failure failure;
    uint64_t now_ns = mst_now_ns();
    int status;
    start(&f);
    init_all(&f);
    assert_int_equal(kill(f.pmi.pid, SIGSTOP), 0);
    assert_int_equal(waitpid(f.pmi.pid, &status, WUNTRACED), f.pmi.pid);
    assert_false(pmi_take(&f.pmi, &failure)); /* that it lives has been said before */
    for (uint32_t i = 1; i < PMI_SILENT_LOOKS; i++) {
        assert_false(pmi_look(&f.pmi, now_ns, &failure));
        assert_true(f.pmi.look_ns > now_ns);
        now_ns = f.pmi.look_ns;
    }
    assert_true(pmi_look(&f.pmi, now_ns, &failure));
    assert_int_equal(failure.rank, 10);
    assert_int_equal(failure.exit_code, EXIT_FAILURE);
    assert_non_null(strstr(failure.err.text, "muster-pmi hangs"));
    assert_non_null(strstr(failure.err.text, "it serves the ranks of this node; it is T in"));
    assert_non_null(strstr(failure.err.text, "somebody has stopped it"));
    assert_int_equal(f.pmi.fd, -1);
    assert_int_equal(waitpid(f.pmi.pid, &status, 0), f.pmi.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    for (uint32_t i = 0; i < RANKS; i++)
        leave(&f, i);
}

static void who_says_anything_does_not_hang(void **state)
{
    (void)state;
    struct fixture f;
    struct pmi_failure failure;
    is_impatient = true; /* it says that it lives all the time */
    start(&f);
    is_impatient = false;
    for (uint32_t i = 0; i < 2 * PMI_SILENT_LOOKS; i++) {
        struct pollfd ready = {.fd = f.pmi.fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, SOON_MS), 1);
        assert_false(pmi_take(&f.pmi, &failure));
        assert_false(pmi_look(&f.pmi, mst_now_ns(), &failure));
    }
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fence_is_over_when_all_are_there),
        cmocka_unit_test(a_line_may_come_in_pieces_and_lines_together),
        cmocka_unit_test(who_leaves_without_a_word_is_named),
        cmocka_unit_test(who_waits_and_goes_is_named),
        cmocka_unit_test(who_never_comes_is_named),
        cmocka_unit_test(who_is_late_is_named_once_and_may_come_yet),
        cmocka_unit_test(who_ends_and_leaves_a_child_is_named),
        cmocka_unit_test(that_the_process_has_died_is_told),
        cmocka_unit_test(an_abort_has_its_exit_code_and_its_rank_stands_still),
        cmocka_unit_test(nonsense_is_told_with_its_rank),
        cmocka_unit_test(a_line_with_a_nul_is_refused),
        cmocka_unit_test(a_line_without_an_end_is_refused),
        cmocka_unit_test(a_helper_that_does_not_begin_is_told_from_one_that_dies),
        cmocka_unit_test(a_helper_is_started_as_the_first_rank_would_be),
        cmocka_unit_test(somebody_clears_up_behind_a_helper),
        cmocka_unit_test(who_says_nothing_hangs_and_is_killed),
        cmocka_unit_test(who_says_anything_does_not_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
