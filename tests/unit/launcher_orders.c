#include "muster/launcher/exitcode.h"
#include "muster/launcher/link.h"
#include "muster/launcher/node.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/outlog.h"
#include "said.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* A node that has joined, and the other end of its link. */
struct fixture {
    struct mst_answer answer;
    struct opts opts;
    struct link link;
    struct node node;
    struct outlog *outlog;
    int fd, secret_fd;
};

static void begin(struct fixture *f)
{
    static char program[] = "true", *argv[] = {program, NULL};
    int fds[2];
    *f = (struct fixture){.opts = {.answer = &f->answer,
                                   .node_count = 1,
                                   .local_size = 1,
                                   .grace_ms = 1000,
                                   .max_restarts = 3,
                                   .unbound = true,
                                   .argv = argv,
                                   .env = environ},
                          .secret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)};
    const struct outlog_config output = {
        .out_fd = STDOUT_FILENO, .err_fd = STDERR_FILENO, .prefix = ""};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    f->fd = fds[1];
    assert_int_equal(link_init(&f->link, fds[0], NULL), 0);
    assert_int_equal(outlog_create(&output, &f->outlog, NULL), 0);
    const struct node_config config = {
        .opts = &f->opts, .link = &f->link, .outlog = f->outlog, .secret_fd = f->secret_fd};
    assert_int_equal(node_init(&f->node, &config, NULL), 0);
}

static void end(struct fixture *f)
{
    node_fini(&f->node);
    outlog_destroy(f->outlog);
    link_fini(&f->link);
    close(f->fd);
    close(f->secret_fd);
}

static struct msg start_of(uint32_t generation, uint32_t max_restarts)
{
    return (struct msg){.type = MSG_START,
                        .generation = generation,
                        .node_count = 1,
                        .grace_ms = 1000,
                        .max_restarts = max_restarts,
                        .job_nonce = 1,
                        .local_size = 1,
                        .world_size = 1};
}

/* What the node says to a message of node 0. */
static const char *told(struct fixture *f, struct msg msg)
{
    static struct said said;
    assert_true(said_begin(&said));
    node_message(&f->node, &msg);
    return said_end(&said);
}

/* Whoever was given another number of restarts than node 0 learns it. */
static void node_0_s_restarts_count(void **state)
{
    (void)state;
    struct fixture f;
    for (uint32_t i = 0; i < 4; i++) {
        bool is_given = i & 1, differs = i & 2;
        begin(&f);
        f.opts.answer->plan.max_restarts = is_given ? 3 : MST_UNKNOWN;
        const char *text = told(&f, start_of(0, differs ? 0 : 3));
        assert_int_equal(f.node.super.state, SUPER_RUNNING);
        assert_int_equal(strstr(text, "--max-restarts") != NULL, is_given && differs);
        end(&f);
    }
}

static void why_a_generation_ends_is_told(void **state)
{
    (void)state;
    static const struct {
        uint32_t rank, code;
        const char *text, *says, *remembered;
    } cases[] = {
        {MST_PAGE_CAUSE_JOB, EXITCODE_RENDEZVOUS, "", "a node was lost", ""},
        {MST_PAGE_CAUSE_JOB, EXITCODE_DRAINED, "", "no more time to drain", ""},
        {MST_PAGE_CAUSE_JOB, EXITCODE_OK, "", "nodes come or go", ""},
        {7, 143, "", "killed by SIGTERM, or exit code 143", "killed by SIGTERM, or exit code 143"},
        {7, 137, "out of memory", "what=\"out of memory\"", "out of memory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        begin(&f);
        (void)told(&f, start_of(0, 3));
        struct msg abort = {.type = MSG_ABORT, .rank = cases[i].rank, .code = cases[i].code};
        snprintf(abort.text, sizeof abort.text, "%s", cases[i].text);
        assert_non_null(strstr(told(&f, abort), cases[i].says));
        assert_string_equal(f.node.cause_text, cases[i].remembered);
        assert_int_equal(f.node.super.state, SUPER_LEAVING);
        end(&f);
    }
}

/* A node that waits says so once; one that is a member knows which, by its seat and not by its own
 * rank. */
static void a_seat_is_in_the_generation_or_outside(void **state)
{
    (void)state;
    struct fixture f;
    struct msg seat = {.type = MSG_SEAT, .rank = MST_PAGE_CAUSE_JOB, .node_count = 2, .present = 3};
    begin(&f);
    assert_non_null(strstr(told(&f, seat), "waits until it is let in"));
    assert_null(strstr(told(&f, seat), "waits"));
    assert_true(f.node.outside);
    f.opts.node_rank = 5;
    seat.rank = 0;
    (void)told(&f, seat);
    assert_false(f.node.outside);
    assert_int_equal(f.node.present, 3);
    (void)told(&f, start_of(0, 3));
    assert_int_equal(f.node.super.state, SUPER_RUNNING);
    end(&f);
}

/* To ranks it is a stop; to the agent it is none: no grace begins. */
static void a_stop_for_others_is_no_end(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    (void)told(&f, start_of(0, 3));
    (void)told(&f, (struct msg){.type = MSG_PROPOSE, .action = MST_GATE_REGROUP, .step = 7});
    assert_int_equal(mst_page_gate(f.node.ranks.page).action, MST_GATE_STOP);
    const char *text = told(
        &f, (struct msg){.type = MSG_AGREED, .action = MST_GATE_REGROUP, .step = 7});
    assert_non_null(strstr(text, "for a world of other nodes"));
    assert_int_equal(f.node.stop_step, 7);
    assert_false(f.node.stopping);
    end(&f);
}

/* What is told at the end is why the job ends, and not what ended an earlier generation. */
static void the_end_says_why(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    (void)told(&f, (struct msg){.type = MSG_END,
                                .rank = 3,
                                .code = 137,
                                .end = EXITCODE_END_NO_MEMORY,
                                .text = "out of memory"});
    assert_true(f.node.over && f.node.end_told);
    assert_int_equal(f.node.end, EXITCODE_END_NO_MEMORY);
    assert_int_equal(f.node.cause_rank, 3);
    assert_string_equal(f.node.end_text, "out of memory");
    end(&f);
    begin(&f);
    (void)told(&f, (struct msg){.type = MSG_REFUSED, .code = 78, .text = "another -n"});
    assert_false(f.node.end_told);
    assert_string_equal(f.node.end_text, "another -n");
    end(&f);
    begin(&f);
    f.node.cause_rank = 3;
    snprintf(f.link.why.text, sizeof f.link.why.text, "it hung up");
    node_link_lost(&f.node);
    assert_int_equal(f.node.exit_code, EXITCODE_RENDEZVOUS);
    assert_int_equal(f.node.cause_rank, MST_PAGE_CAUSE_JOB);
    assert_string_equal(f.node.end_text, "node 0 is lost: it hung up");
    end(&f);
}

/* Whatever this node sees last of the job: the grace's end, or that of node 0. */
static void who_hears_no_end_knows_whose_drain_it_was(void **state)
{
    (void)state;
    const uint32_t ends[] = {EXITCODE_END_DRAINED, EXITCODE_END_DEADLINE};
    const int codes[] = {EXITCODE_DRAINED, EXITCODE_DEADLINE};
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        begin(&f);
        (void)told(&f, start_of(0, 3));
        (void)told(&f,
                   (struct msg){.type = MSG_QUERY, .action = MST_GATE_STOP, .end = ends[i / 2]});
        assert_true(f.node.stopping);
        if (i % 2)
            node_link_lost(&f.node);
        else
            node_tick(&f.node, f.node.grace_soft_ns);
        assert_int_equal(f.node.exit_code, codes[i / 2]);
        end(&f);
    }
}

static void a_start_that_leaves_this_node_out_is_no_start(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.node.index = 1;
    (void)told(&f, start_of(0, 3));
    assert_true(f.link.broken);
    assert_int_equal(f.node.super.state, SUPER_IDLE);
    end(&f);
}

static void a_start_with_more_ranks_here_than_in_all_is_no_start(void **state)
{
    (void)state;
    static const uint32_t ranks[] = {1, UINT32_MAX};
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
        struct fixture f;
        begin(&f);
        struct msg start = start_of(0, 3);
        start.rank = ranks[i];
        (void)told(&f, start);
        assert_true(f.link.broken);
        assert_int_equal(f.node.super.state, SUPER_IDLE);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_0_s_restarts_count),
        cmocka_unit_test(why_a_generation_ends_is_told),
        cmocka_unit_test(the_end_says_why),
        cmocka_unit_test(who_hears_no_end_knows_whose_drain_it_was),
        cmocka_unit_test(a_seat_is_in_the_generation_or_outside),
        cmocka_unit_test(a_stop_for_others_is_no_end),
        cmocka_unit_test(a_start_that_leaves_this_node_out_is_no_start),
        cmocka_unit_test(a_start_with_more_ranks_here_than_in_all_is_no_start),
    };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
