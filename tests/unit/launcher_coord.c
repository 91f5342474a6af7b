/* The coordinator and an agent's link, over real sockets on the loopback. */
#include "muster/launcher/coord.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/version.h"
#include "muster/core/world/page.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/link.h"
#include "muster/launcher/opts.h"
#include "said.h"
#include "soon.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t skipped_ns; /* by tests that would have to wait */

uint64_t __real_mst_now_ns(void);
uint64_t __wrap_mst_now_ns(void);

uint64_t __wrap_mst_now_ns(void)
{
    return __real_mst_now_ns() + skipped_ns;
}

struct fixture {
    struct opts opts;
    struct coord *coord;
    struct link own, other;
    struct link *dialing;
    struct opts dial_opts;
    int dial_result;
    atomic_bool dialed;
};

static const struct link closed_link = {.epoll_fd = -1, .stream = {.fd = -1}, .dial_fd = -1};

/* A world of node_least to node_count nodes; 0: of node_count. */
static void begin_elastic(struct fixture *f, uint32_t node_least, uint32_t node_count,
                          uint32_t max_restarts)
{
    int fd;
    *f = (struct fixture){.opts = {.node_count = node_count,
                                   .node_least = node_least,
                                   .last_call_ms = 1000,
                                   .max_restarts = max_restarts,
                                   .rdzv_host = "127.0.0.1",
                                   .rdzv_port_count = 1,
                                   .rdzv_timeout_ms = SOON_MS,
                                   .peer_timeout_ms = SOON_MS,
                                   .job_id = "job",
                                   .meeting = "job.1",
                                   .secret = "secret",
                                   .secret_bytes = 6},
                          .other = closed_link};
    assert_int_equal(coord_create(&f->opts, &f->coord, &fd, NULL), 0);
    f->opts.rdzv_ports[0] = coord_port(f->coord);
    assert_int_equal(link_init(&f->own, fd, NULL), 0);
}

static void begin_with(struct fixture *f, uint32_t node_count, uint32_t max_restarts)
{
    begin_elastic(f, 0, node_count, max_restarts);
}

static void begin(struct fixture *f)
{
    begin_with(f, 2, 0);
}

static void end(struct fixture *f)
{
    link_fini(&f->own);
    link_fini(&f->other);
    coord_destroy(f->coord);
}

static void *dial_in_thread(void *arg)
{
    struct fixture *f = arg;
    struct mst_err err = {0};
    f->dial_result = link_dial(f->dialing, &f->dial_opts, f->dial_opts.rdzv_ports[0], -1, soon(),
                               &err);
    atomic_store(&f->dialed, true);
    return NULL;
}

/* The handshake needs both ends to run: the dialer has a thread, the coordinator this one. */
static int dial(struct fixture *f, struct link *link, uint32_t node, const char *secret)
{
    pthread_t thread;
    f->dialing = link;
    f->dial_opts = f->opts;
    f->dial_opts.node_rank = node;
    memcpy(f->dial_opts.secret, secret, f->opts.secret_bytes);
    atomic_store(&f->dialed, false);
    assert_int_equal(pthread_create(&thread, NULL, dial_in_thread, f), 0);
    while (!atomic_load(&f->dialed)) {
        struct pollfd ready = {.fd = coord_fd(f->coord), .events = POLLIN};
        (void)poll(&ready, 1, 20);
        coord_run(f->coord);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    return f->dial_result;
}

static void join_of(struct link *link, uint32_t node_count, uint32_t local_size)
{
    struct msg join = {
        .type = MSG_JOIN, .local_size = local_size, .node_count = node_count, .grace_ms = 1};
    snprintf(join.version, sizeof join.version, "%s", mst_version());
    link_send(link, &join);
}

static void join(struct link *link, uint32_t local_size)
{
    join_of(link, 2, local_size);
}

/* Waits for the next message on `link`; false if it breaks first. */
static bool hear(struct fixture *f, struct link *link, struct msg *msg)
{
    while (!link->broken && !link_next(link, msg)) {
        struct pollfd ready = {.fd = link_fd(link), .events = POLLIN};
        coord_run(f->coord);
        assert_true(poll(&ready, 1, 20) >= 0);
        link_run(link);
        link_tick(link, mst_now_ns());
    }
    return !link->broken;
}

static void begin_together(struct fixture *f, uint32_t other_size)
{
    begin(f);
    join(&f->own, 1);
    assert_int_equal(dial(f, &f->other, 1, "secret"), 0);
    join(&f->other, other_size);
}

static void test_two_nodes_start_together(void **state)
{
    (void)state;
    struct fixture f;
    struct msg first, second;
    begin_together(&f, 3);
    assert_true(hear(&f, &f.own, &first));
    assert_true(hear(&f, &f.other, &second));
    assert_int_equal(first.type, MSG_START);
    assert_int_equal(first.rank, 0);
    assert_int_equal(first.local_size, 1);
    assert_int_equal(second.rank, 1);
    assert_int_equal(second.local_size, 3);
    assert_true(first.master_port > 0 && first.job_nonce != 0);
    assert_int_equal(second.master_port, first.master_port);
    assert_int_equal(second.job_nonce, first.job_nonce);
    assert_string_equal(second.host, first.host);
    assert_int_equal(second.generation, first.generation);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal((i ? &second : &first)->node_count, 2);
        assert_int_equal((i ? &second : &first)->world_size, 4);
    }
    link_fini(&f.other);
    assert_true(hear(&f, &f.own, &first)); /* the other node is lost */
    assert_int_equal(first.type, MSG_ABORT);
    assert_int_equal(first.rank, MST_PAGE_CAUSE_JOB);
    end(&f);
}

/* Each hears its seat first, and then the START of all: with one port, though it is told one by
 * one. Who is to leave asks for a stop that the others go on from. */
static void test_nodes_may_come_and_go(void **state)
{
    (void)state;
    struct fixture f;
    struct msg first, second;
    struct said said;
    begin_elastic(&f, 1, 3, 0);
    join_of(&f.own, 3, 1);
    assert_int_equal(dial(&f, &f.other, 2, "secret"), 0);
    join_of(&f.other, 3, 1);
    while (f.other.outbox.first) { /* until both are heard */
        struct pollfd ready = {.fd = link_fd(&f.other), .events = POLLIN};
        coord_run(f.coord);
        assert_true(poll(&ready, 1, 20) >= 0);
        link_run(&f.other);
        (void)link_next(&f.other, &second);
        link_tick(&f.other, mst_now_ns());
    }
    skipped_ns += MST_NS_PER_S;
    assert_true(hear(&f, &f.own, &first));
    assert_int_equal(first.type, MSG_SEAT);
    assert_true(hear(&f, &f.own, &first));
    assert_true(hear(&f, &f.other, &second));
    assert_int_equal(second.type, MSG_SEAT);
    assert_int_equal(second.rank, 1);
    assert_true(hear(&f, &f.other, &second));
    assert_int_equal(second.type, MSG_START);
    assert_int_equal(second.node_count, 2);
    assert_int_equal(second.rank, 1);
    assert_int_equal(second.master_port, first.master_port);
    link_send(&f.other, &(struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
    assert_true(said_begin(&said));
    assert_true(hear(&f, &f.other, &second));
    assert_int_equal(second.type, MSG_QUERY);
    assert_int_equal(second.action, MST_GATE_REGROUP);
    assert_non_null(strstr(said_end(&said), "nodes come or go"));
    end(&f);
}

/* Drops the connection as a middlebox does, which nobody closed. */
static void cut(struct link *link)
{
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    assert_int_equal(connect(link->stream.fd, &nowhere, sizeof nowhere), 0);
}

/* The coordinator hears of a failure, and the agent of what follows, over the next connection. */
static void test_a_cut_connection_is_dialled_again(void **state)
{
    (void)state;
    struct fixture f;
    struct msg msg;
    begin_together(&f, 1);
    assert_true(hear(&f, &f.own, &msg));
    assert_true(hear(&f, &f.other, &msg));
    assert_int_equal(msg.type, MSG_START);
    cut(&f.other);
    link_send(&f.other, &(struct msg){.type = MSG_FAILED, .rank = 1, .code = 9});
    assert_true(hear(&f, &f.other, &msg));
    assert_int_equal(msg.type, MSG_ABORT);
    assert_int_equal(msg.rank, 1);
    assert_true(hear(&f, &f.own, &msg));
    assert_int_equal(msg.type, MSG_ABORT);
    end(&f);
}

/* Who waits for a link that is broken for good would be woken for ever. */
static void test_a_broken_link_wakes_nobody(void **state)
{
    (void)state;
    struct fixture f;
    struct msg msg;
    begin_together(&f, 1);
    assert_true(hear(&f, &f.own, &msg)); /* the other's START is on its way, too */
    struct pollfd ready = {.fd = link_fd(&f.other), .events = POLLIN};
    assert_int_equal(poll(&ready, 1, (int)SOON_MS), 1);
    link_break(&f.other, "enough");
    assert_int_equal(poll(&ready, 1, 0), 0);
    end(&f);
}

/* The next generation starts before the log is written: what is told is of the one that failed. */
static void test_a_restart_tells_how_long_the_ranks_lived(void **state)
{
    (void)state;
    struct fixture f;
    struct said said;
    struct msg msg;
    begin_with(&f, 1, 1);
    join_of(&f.own, 1, 1);
    assert_true(hear(&f, &f.own, &msg));
    assert_int_equal(msg.type, MSG_START);
    skipped_ns += 2 * MST_NS_PER_S;
    assert_true(said_begin(&said));
    link_send(&f.own, &(struct msg){.type = MSG_FAILED, .code = 9});
    link_send(&f.own, &(struct msg){.type = MSG_DOWN, .step = MST_PAGE_NO_STEP});
    assert_true(hear(&f, &f.own, &msg));
    assert_int_equal(msg.type, MSG_ABORT);
    assert_true(hear(&f, &f.own, &msg));
    assert_int_equal(msg.type, MSG_START);
    const char *text = said_end(&said);
    assert_non_null(strstr(text, "restarting all ranks"));
    assert_non_null(strstr(text, "lived_s="));
    assert_null(strstr(text, "lived_s=0."));
    end(&f);
}

static void test_strangers_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct link again = closed_link;
    begin(&f);
    assert_int_equal(dial(&f, &again, 1, "guessd"), -EACCES);
    assert_int_equal(dial(&f, &again, 7, "secret"), -EPROTO);
    assert_int_equal(dial(&f, &f.other, 1, "secret"), 0);
    assert_int_equal(dial(&f, &again, 1, "secret"), -EAGAIN); /* its twin may still be dying */
    end(&f);
}

static void test_nonsense_drops_the_node(void **state)
{
    (void)state;
    struct fixture f;
    struct msg msg;
    begin(&f);
    assert_int_equal(dial(&f, &f.other, 1, "secret"), 0);
    link_send(&f.other, &(struct msg){.type = MSG_DONE}); /* before it has joined */
    assert_false(hear(&f, &f.other, &msg));
    end(&f);
}

static void test_a_port_in_use_is_named(void **state)
{
    (void)state;
    struct fixture f;
    struct coord *second;
    struct mst_err err = {0};
    char port[16];
    int fd;
    begin(&f);
    snprintf(port, sizeof port, "%u", f.opts.rdzv_ports[0]);
    assert_int_equal(coord_create(&f.opts, &second, &fd, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, port));
    end(&f);
}

/* Who listens and does not answer would be waited for, and a stop with it. */
static void test_a_stop_ends_a_dial(void **state)
{
    (void)state;
    struct fixture f;
    struct link link = closed_link;
    struct mst_err err = {0};
    int stop[2];
    begin(&f); /* it listens, and nobody runs it */
    f.opts.node_rank = 1;
    assert_int_equal(pipe(stop), 0);
    assert_int_equal(write(stop[1], "", 1), 1);
    assert_int_equal(link_dial(&link, &f.opts, f.opts.rdzv_ports[0], stop[0], soon(), &err),
                     -EINTR);
    assert_int_equal(link_dial(&link, &f.opts, f.opts.rdzv_ports[0], -1, mst_now_ns(), &err),
                     -ETIMEDOUT);
    assert_non_null(strstr(err.text, "by the deadline"));
    close(stop[0]);
    close(stop[1]);
    link_fini(&link);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stop_ends_a_dial),
        cmocka_unit_test(test_two_nodes_start_together),
        cmocka_unit_test(test_nodes_may_come_and_go),
        cmocka_unit_test(test_a_cut_connection_is_dialled_again),
        cmocka_unit_test(test_a_broken_link_wakes_nobody),
        cmocka_unit_test(test_a_restart_tells_how_long_the_ranks_lived),
        cmocka_unit_test(test_strangers_are_refused),
        cmocka_unit_test(test_nonsense_drops_the_node),
        cmocka_unit_test(test_a_port_in_use_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
