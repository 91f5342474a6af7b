#include "muster/launcher/ranks.h"
#include "soon.h"

#include "muster/core/err.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/outlog.h"
#include "muster/launcher/rankenv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What a kernel without pidfds says. */
static int pidfd_error;
int __wrap_libc_pidfd_open(pid_t pid);
int __real_libc_pidfd_open(pid_t pid);
int __wrap_libc_pidfd_open(pid_t pid)
{
    return pidfd_error ? -pidfd_error : __real_libc_pidfd_open(pid);
}

/* A signal that does not arrive, as at a process in state D. */
static int lost_signal;
int __wrap_kill(pid_t pid, int number);
int __real_kill(pid_t pid, int number);
int __wrap_kill(pid_t pid, int number)
{
    return number && number == lost_signal ? 0 : __real_kill(pid, number);
}

static char *env[] = {"PATH=/usr/bin:/bin", NULL};

struct fixture {
    struct ranks ranks;
    struct outlog *outlog;
    struct opts opts;
    int out[2];
    int secret_fd;
};

static void begin(struct fixture *f, char **argv)
{
    *f = (struct fixture){.opts = {.argv = argv, .env = env}};
    assert_int_equal(pipe2(f->out, O_CLOEXEC), 0);
    const struct outlog_config config = {
        .out_fd = f->out[1], .err_fd = f->out[1], .job_id = "", .prefix = "[%r] "};
    assert_int_equal(outlog_create(&config, &f->outlog, NULL), 0);
    f->secret_fd = memfd_create("secret", MFD_CLOEXEC);
    assert_int_equal(ranks_init(&f->ranks, NULL, NULL), 0);
    assert_int_equal(ranks_open(&f->ranks, 10, 3, NULL), 0);
}

static int spawn(struct fixture *f, struct mst_err *err)
{
    const struct rankenv_facts facts = {.world_size = 20,
                                        .local_size = 3,
                                        .generation = 2,
                                        .kv_addr = "kv:1",
                                        .master_host = "kv",
                                        .job_id = "job",
                                        .secret_fd = f->secret_fd};
    return ranks_spawn(&f->ranks, &f->opts, &facts, f->outlog, err);
}

/* Takes one death, when it comes; deaths are those of ranks, as orphans go elsewhere. */
static struct rank_death reap_one(struct fixture *f)
{
    struct rank_death death;
    struct pollfd ready = {.fd = f->ranks.death_fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, (int)SOON_MS), 1);
    assert_true(ranks_reap(&f->ranks, &death));
    assert_int_equal(f->ranks.procs[death.local_rank].pid, 0);
    return death;
}

static void reap_all(struct fixture *f)
{
    while (f->ranks.alive > 0)
        (void)reap_one(f);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
}

static void end(struct fixture *f)
{
    reap_all(f);
    ranks_close(&f->ranks);
    ranks_close(&f->ranks); /* closed already: allowed */
    ranks_fini(&f->ranks);
    outlog_destroy(f->outlog);
    close(f->out[0]);
    close(f->out[1]);
    if (f->secret_fd >= 0)
        close(f->secret_fd);
}

static void test_each_rank_knows_who_it_is(void **state)
{
    (void)state;
    struct fixture f;
    char text[256];
    char *argv[] = {"sh", "-c", "echo $RANK $LOCAL_RANK", NULL};
    begin(&f, argv);
    assert_int_equal(spawn(&f, NULL), 0);
    assert_int_equal(f.ranks.alive, 3);
    assert_int_equal(atomic_load(&mst_page_slot(f.ranks.page, 2)->state), MST_RANK_STARTING);
    assert_int_equal(atomic_load(&mst_page_slot(f.ranks.page, 2)->pid), f.ranks.procs[2].pid);
    reap_all(&f);
    assert_int_equal(atomic_load(&mst_page_slot(f.ranks.page, 2)->state), MST_RANK_LEFT);
    outlog_finish_ranks(f.outlog);
    ssize_t size = read(f.out[0], text, sizeof text - 1);
    text[size < 0 ? 0 : size] = '\0';
    assert_string_equal(text, "[10] 10 0\n[11] 11 1\n[12] 12 2\n");
    end(&f);
}

static void test_signals_reach_all(void **state)
{
    (void)state;
    struct fixture f;
    char *argv[] = {"sleep", "60", NULL};
    begin(&f, argv);
    assert_int_equal(spawn(&f, NULL), 0);
    ranks_signal(&f.ranks, SIGTERM);
    end(&f); /* hangs, and the test's time runs out, if one did not get it */
}

static void test_every_death_is_told_once(void **state)
{
    (void)state;
    struct fixture f;
    struct rank_death death;
    unsigned seen = 0;
    char *argv[] = {"sh", "-c", "[ $LOCAL_RANK != 1 ] || kill -9 $$; exit 4$LOCAL_RANK", NULL};
    begin(&f, argv);
    assert_false(ranks_reap(&f.ranks, &death)); /* nobody lives */
    assert_int_equal(spawn(&f, NULL), 0);
    while (f.ranks.alive > 0) {
        pid_t pids[3];
        for (int i = 0; i < 3; i++)
            pids[i] = f.ranks.procs[i].pid;
        death = reap_one(&f);
        assert_int_equal(death.pid, pids[death.local_rank]);
        assert_int_equal(death.code, death.local_rank == 1 ? 128 + SIGKILL : 40 + death.local_rank);
        assert_false(seen & 1u << death.local_rank);
        seen |= 1u << death.local_rank;
        assert_false(ranks_reap_pid(&f.ranks, death.pid, &death));
    }
    assert_false(ranks_reap(&f.ranks, &death));
    end(&f);
}

/* A process of the agent's own, which dials or looks, has copies of whatever was open. */
static void test_a_death_is_told_once_while_others_hold_its_pidfd(void **state)
{
    (void)state;
    struct fixture f;
    struct rank_death death;
    int hold[2];
    char byte, *argv[] = {"sh", "-c", "exit 7", NULL};
    begin(&f, argv);
    assert_int_equal(spawn(&f, NULL), 0);
    assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
    pid_t holder = fork();
    if (holder == 0) {
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) != 0);
    }
    while (f.ranks.alive > 0)
        assert_int_equal(reap_one(&f).code, 7);
    assert_false(ranks_reap(&f.ranks, &death));
    close(hold[0]);
    close(hold[1]);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    end(&f);
}

/* What a rank started holds the write end of a pipe for as long as it lives. */
static void test_a_death_takes_the_group(void **state)
{
    (void)state;
    struct fixture f;
    int held[2];
    char *argv[] = {"sh", "-c", "sleep 60 & exit 0", NULL};
    begin(&f, argv);
    close(f.secret_fd);
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    f.secret_fd = held[1];
    assert_int_equal(spawn(&f, NULL), 0);
    close(f.secret_fd);
    f.secret_fd = -1;
    int pidfd = f.ranks.procs[0].pidfd;
    assert_int_equal(fcntl(pidfd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    reap_all(&f);
    assert_int_equal(fcntl(pidfd, F_GETFD), -1);
    struct pollfd closed = {.fd = held[0], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, (int)SOON_MS), 1);
    close(held[0]);
    end(&f);
}

static void test_without_pidfds_the_zombies_are_looked_at(void **state)
{
    (void)state;
    struct fixture f;
    struct rank_death death;
    siginfo_t info;
    char *argv[] = {"sh", "-c", "exit 7", NULL};
    begin(&f, argv);
    pidfd_error = ENOSYS;
    assert_int_equal(spawn(&f, NULL), 0);
    pidfd_error = 0;
    while (f.ranks.alive > 0) {
        assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
        assert_false(ranks_reap(&f.ranks, &death));
        assert_true(ranks_reap_pid(&f.ranks, info.si_pid, &death));
        assert_int_equal(death.pid, info.si_pid);
        assert_int_equal(death.code, 7);
    }
    end(&f);
}

/* Rank 0 has a handler of its own, of which it says so; the others began deaf and stayed so. */
static void test_a_deaf_rank_that_has_no_handler_is_ended(void **state)
{
    (void)state;
    struct fixture f;
    char byte;
    int ready[2];
    char *argv[] = {"python3", "-c",
                    "import os, signal, sys\n"
                    "if os.environ['LOCAL_RANK'] == '0':\n"
                    "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
                    "os.write(int(os.environ['MST_SECRET_FD']), b'x')\n"
                    "signal.pause()\n",
                    NULL};
    begin(&f, argv);
    f.opts.term = OPTS_TERM_AGENT;
    close(f.secret_fd);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    f.secret_fd = ready[1];
    assert_int_equal(spawn(&f, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(read(ready[0], &byte, 1), 1);
    ranks_terminate(&f.ranks, true);
    while (f.ranks.alive > 0) {
        struct rank_death death = reap_one(&f);
        assert_int_equal(death.ended, death.local_rank != 0);
        assert_int_equal(death.code, death.local_rank == 0 ? 5 : 128 + SIGKILL);
    }
    close(ready[0]);
    end(&f);
}

/* What no signal ends is in the kernel; here the signal does not come. */
static void test_ranks_that_are_given_up_are_reaped_as_orphans(void **state)
{
    (void)state;
    struct fixture f;
    pid_t pids[3];
    struct rank_death death;
    char *argv[] = {"sleep", "60", NULL};
    begin(&f, argv);
    assert_int_equal(spawn(&f, NULL), 0);
    for (int i = 0; i < 3; i++)
        pids[i] = f.ranks.procs[i].pid;
    lost_signal = SIGKILL;
    ranks_signal(&f.ranks, SIGKILL);
    lost_signal = 0;
    ranks_report(&f.ranks, "a rank that does not end");
    ranks_abandon(&f.ranks);
    assert_int_equal(f.ranks.alive, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kill(pids[i], SIGKILL), 0);
    }
    for (int i = 0; i < 3; i++) {
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOWAIT), 0);
        assert_false(ranks_reap(&f.ranks, &death));
        assert_false(ranks_reap_pid(&f.ranks, pids[i], &death));
        ranks_reap_orphan(&f.ranks, pids[i]);
    }
    end(&f);
}

static void test_a_missing_program_stops_the_start(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_err err = {0};
    char *argv[] = {"/nowhere", NULL};
    begin(&f, argv);
    assert_int_equal(spawn(&f, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere"));
    assert_int_equal(f.ranks.alive, 0);
    assert_int_equal(atomic_load(&mst_page_slot(f.ranks.page, 0)->state), MST_RANK_EMPTY);
    end(&f);
}

/* -ENOENT would be said of the program. */
static void test_a_log_that_is_missing_is_no_missing_program(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_err err = {0};
    char dir[] = "/tmp/muster-ranks-XXXXXX", *argv[] = {"true", NULL};
    assert_non_null(mkdtemp(dir));
    begin(&f, argv);
    outlog_destroy(f.outlog);
    const struct outlog_config config = {
        .out_fd = f.out[1], .err_fd = f.out[1], .log_dir = dir, .job_id = "", .prefix = ""};
    assert_int_equal(outlog_create(&config, &f.outlog, NULL), 0);
    assert_int_equal(rmdir(outlog_folder(f.outlog)), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(spawn(&f, &err), -EIO);
    assert_non_null(strstr(err.text, "rank_10.gen_2.log"));
    end(&f);
}

static void test_steps(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t highest, lowest;
    char *argv[] = {"sleep", "60", NULL};
    begin(&f, argv);
    ranks_steps(&f.ranks, &highest, &lowest);
    assert_true(highest == MST_PAGE_NO_STEP && lowest == MST_PAGE_NO_STEP); /* nobody lives */
    assert_int_equal(spawn(&f, NULL), 0);
    ranks_steps(&f.ranks, &highest, &lowest);
    assert_true(highest == MST_PAGE_NO_STEP && lowest == 0); /* alive, nothing counted */
    for (uint32_t i = 0; i < 3; i++)
        atomic_store(&mst_page_slot(f.ranks.page, i)->step, 40 + i);
    ranks_steps(&f.ranks, &highest, &lowest);
    assert_true(highest == 42 && lowest == 40);
    mst_page_gate_set(f.ranks.page, (struct mst_gate){MST_GATE_AGREED, MST_GATE_CHECKPOINT, 35});
    ranks_steps(&f.ranks, &highest, &lowest);
    assert_true(highest == 42 && lowest == 35); /* nobody has taken the verdict */
    for (uint32_t i = 0; i < 3; i++)
        atomic_store(&mst_page_slot(f.ranks.page, i)->acted_step, 35);
    ranks_steps(&f.ranks, &highest, &lowest);
    assert_true(highest == 42 && lowest == 40);
    atomic_store(&mst_page_slot(f.ranks.page, 2)->step, MST_PAGE_NO_STEP - 1);
    ranks_steps(&f.ranks, &highest, &lowest);
    assert_true(highest == MST_PAGE_STEP_MAX && lowest == 40);
    atomic_store(&mst_page_slot(f.ranks.page, 2)->step, 42);
    ranks_signal(&f.ranks, SIGKILL);
    reap_all(&f);
    ranks_steps(&f.ranks, &highest, &lowest);
    assert_true(highest == 42 && lowest == MST_PAGE_NO_STEP);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_rank_knows_who_it_is),
        cmocka_unit_test(test_signals_reach_all),
        cmocka_unit_test(test_every_death_is_told_once),
        cmocka_unit_test(test_a_death_is_told_once_while_others_hold_its_pidfd),
        cmocka_unit_test(test_a_death_takes_the_group),
        cmocka_unit_test(test_without_pidfds_the_zombies_are_looked_at),
        cmocka_unit_test(test_a_deaf_rank_that_has_no_handler_is_ended),
        cmocka_unit_test(test_ranks_that_are_given_up_are_reaped_as_orphans),
        cmocka_unit_test(test_a_missing_program_stops_the_start),
        cmocka_unit_test(test_a_log_that_is_missing_is_no_missing_program),
        cmocka_unit_test(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
