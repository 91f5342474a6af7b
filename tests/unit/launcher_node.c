#include "muster/launcher/node.h"

#include "muster/core/clock.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/link.h"
#include "muster/launcher/opts.h"
#include "said.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* A node that has joined, and holds the other end of its link. */
struct fixture {
    struct opts opts;
    struct link link;
    struct node node;
    int fd;
};

static void begin(struct fixture *f)
{
    int fds[2];
    *f = (struct fixture){.opts = {.node_count = 1, .local_size = 1, .grace_ms = 1000}};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    f->fd = fds[1];
    assert_int_equal(link_init(&f->link, fds[0], NULL), 0);
    const struct node_config config = {.opts = &f->opts, .link = &f->link, .secret_fd = -1};
    assert_int_equal(node_init(&f->node, &config, NULL), 0);
}

static void end(struct fixture *f)
{
    ranks_fini(&f->node.ranks);
    link_fini(&f->link);
    close(f->fd);
}

/* What was interrupted twice says so, however long its ranks hang in the kernel. */
static void the_last_moment_keeps_the_exit_code(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.node.super.state = SUPER_STUCK;
    f.node.super.ending = true;
    f.node.exit_code = 128 + SIGINT;
    f.node.grace_hard_ns = mst_now_ns();
    node_tick(&f.node, f.node.grace_hard_ns);
    assert_true(f.node.over);
    assert_int_equal(f.node.exit_code, 128 + SIGINT);
    end(&f);
}

static void the_end_of_the_grace_is_a_preemption(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.node.super.state = SUPER_DONE; /* the others' ranks live on */
    f.node.grace_soft_ns = f.node.grace_hard_ns = mst_now_ns();
    node_tick(&f.node, f.node.grace_hard_ns);
    assert_true(f.node.over);
    assert_int_equal(f.node.exit_code, EXITCODE_DRAINED);
    end(&f);
}

static void a_checkpoint_without_ranks_is_told(void **state)
{
    (void)state;
    struct fixture f;
    struct said said;
    begin(&f);
    assert_true(said_begin(&said));
    node_checkpoint(&f.node);
    assert_non_null(strstr(said_end(&said), "no checkpoint"));
    assert_null(f.link.outbox.first);
    f.node.super.state = SUPER_RUNNING;
    assert_true(said_begin(&said));
    node_checkpoint(&f.node);
    assert_string_equal(said_end(&said), "");
    assert_non_null(f.link.outbox.first);
    end(&f);
}

static const char *said_in_a_look(struct fixture *f)
{
    static struct said said;
    assert_true(said_begin(&said));
    node_tick(&f->node, f->node.late.look_ns);
    return said_end(&said);
}

/* Once, and once more when it is over. */
static void a_lost_save_is_told_while_ranks_run(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(ranks_open(&f.node.ranks, 4, 2, NULL), 0);
    struct mst_page_slot *slot = mst_page_slot(f.node.ranks.page, 1);
    f.node.grace_soft_ns = f.node.grace_hard_ns = f.node.patience_ns = MST_NEVER;
    f.node.mpi.wake_ns = MST_NEVER;
    atomic_store(&slot->lost_step, 41);
    assert_string_equal(said_in_a_look(&f), ""); /* the rank has left */
    f.node.ranks.procs[1].pid = 1;
    f.node.ranks.alive = 1;
    assert_non_null(strstr(said_in_a_look(&f), "lost_step=41 of_rank=5"));
    assert_string_equal(said_in_a_look(&f), "");
    atomic_store(&slot->lost_step, MST_PAGE_NO_STEP);
    assert_non_null(strstr(said_in_a_look(&f), "committed again"));
    assert_string_equal(said_in_a_look(&f), "");
    f.node.ranks.procs[1].pid = 0;
    f.node.ranks.alive = 0;
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_moment_keeps_the_exit_code),
        cmocka_unit_test(the_end_of_the_grace_is_a_preemption),
        cmocka_unit_test(a_checkpoint_without_ranks_is_told),
        cmocka_unit_test(a_lost_save_is_told_while_ranks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
