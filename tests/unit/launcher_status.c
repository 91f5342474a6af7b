#include "muster/launcher/status.h"

#include "muster/core/clock.h"
#include "muster/core/coll.h"
#include "muster/core/dtype.h"
#include "muster/launcher/node.h"
#include "muster/launcher/opts.h"

#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct opts opts;
    struct node node;
    struct status *status;
    json_t *answer; /* of our own agent; others of this user may run */
    bool own_is_silent;
};

static void begin_with(struct fixture *f, uint32_t rank_count)
{
    static char program[] = "train";
    static char *argv[2];
    argv[0] = program;
    *f = (struct fixture){.opts = {.node_count = 2, .node_rank = 1, .argv = argv},
                          .node = {.super = {SUPER_RUNNING, false},
                                   .stopping = true,
                                   .kv_addr = "head:29500",
                                   .cause_rank = 6,
                                   .cause_text = "out of memory",
                                   .stop_step = MST_PAGE_NO_STEP}};
    snprintf(f->opts.job_id, sizeof f->opts.job_id, "job-of-test-%d", (int)getpid());
    f->node.opts = &f->opts;
    assert_int_equal(ranks_init(&f->node.ranks, NULL, NULL), 0);
    assert_int_equal(ranks_open(&f->node.ranks, 4, rank_count, NULL), 0);
    assert_int_equal(status_create(&f->status, NULL), 0);
}

static void begin(struct fixture *f)
{
    begin_with(f, 2);
}

static void end(struct fixture *f)
{
    status_destroy(f->status);
    ranks_fini(&f->node.ranks);
    json_decref(f->answer);
}

static void *serve_one(void *arg)
{
    struct fixture *f = arg;
    struct pollfd ready = {.fd = status_fd(f->status), .events = POLLIN};
    if (poll(&ready, 1, 5000) == 1)
        status_run(f->status, &f->node);
    return NULL;
}

static void keep(void *arg, int pid, const char *text)
{
    struct fixture *f = arg;
    f->own_is_silent = f->own_is_silent || (pid == getpid() && !text);
    if (!text)
        return;
    json_t *answer = json_loads(text, 0, NULL);
    const char *job = json_string_value(json_object_get(answer, "job"));
    if (job && strcmp(job, f->opts.job_id) == 0 && !f->answer)
        f->answer = answer;
    else
        json_decref(answer);
}

static const json_t *rank_of(const struct fixture *f, size_t index)
{
    return json_array_get(json_object_get(f->answer, "ranks"), index);
}

static void ask(struct fixture *f)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve_one, f), 0);
    assert_true(status_ask_all(keep, f) >= 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(f->answer);
}

static const json_t *field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_non_null(value);
    return value;
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(field(object, key));
}

static long long number(const json_t *object, const char *key)
{
    return json_integer_value(field(object, key));
}

static void test_tells_what_the_page_says(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct mst_page_slot *slot = mst_page_slot(f.node.ranks.page, 1);
    atomic_store(&slot->state, MST_RANK_IN_COLL);
    atomic_store(&slot->step, 41);
    atomic_store(&slot->beat_ns, mst_now_ns());
    atomic_store(&slot->ckpt_step, 40);
    ask(&f);
    assert_string_equal(text(f.answer, "state"), "running");
    assert_string_equal(text(f.answer, "program"), "train");
    assert_string_equal(text(f.answer, "kv"), "head:29500");
    assert_true(json_is_true(field(f.answer, "draining")));
    assert_true(json_is_null(field(f.answer, "stop_step")));
    const json_t *failure = field(f.answer, "last_failure");
    assert_int_equal(number(failure, "rank"), 6);
    assert_string_equal(text(failure, "what"), "out of memory");
    const json_t *rank = rank_of(&f, 1);
    assert_int_equal(number(rank, "rank"), 5);
    assert_int_equal(number(rank, "step"), 41);
    assert_int_equal(number(rank, "checkpoint"), 40);
    assert_true(json_is_real(field(rank, "beat_age_s")));
    assert_string_equal(text(rank, "state"), "in collective");
    assert_true(json_is_null(field(rank_of(&f, 0), "step")));
    assert_true(json_is_null(field(rank_of(&f, 0), "beat_age_s")));
    assert_true(json_is_null(field(rank_of(&f, 0), "collective")));
    end(&f);
}

static void enter(struct fixture *f, uint32_t local_rank, struct mst_page_op op)
{
    op.enter_ns = mst_now_ns();
    *mst_page_op(f->node.ranks.page, local_rank, 0) = op;
    atomic_store(&mst_page_slot(f->node.ranks.page, local_rank)->op_count, 1);
}

/* More than a socket holds at once. */
static void test_tells_of_all_ranks(void **state)
{
    (void)state;
    struct fixture f;
    begin_with(&f, MST_PAGE_RANKS_MAX);
    for (uint32_t i = 0; i < MST_PAGE_RANKS_MAX; i++)
        enter(&f, i, (struct mst_page_op){.seq = UINT64_MAX / 2, .count = UINT64_MAX / 2});
    ask(&f);
    assert_int_equal(json_array_size(field(f.answer, "ranks")), MST_PAGE_RANKS_MAX);
    assert_int_equal(number(rank_of(&f, MST_PAGE_RANKS_MAX - 1), "rank"), MST_PAGE_RANKS_MAX + 3);
    end(&f);
}

static void test_names_the_collective(void **state)
{
    (void)state;
    struct fixture f;
    const struct mst_page_op running = {
        .seq = 9, .kind = MST_COLL_REDUCE_SCATTER, .dtype = MST_BF16, .op = MST_MAX, .count = 12};
    begin(&f);
    enter(&f, 0, running);
    enter(&f, 1, (struct mst_page_op){.kind = MST_COLL_BARRIER, .done_ns = 1, .result = -104});
    ask(&f);
    const json_t *op = field(rank_of(&f, 0), "collective");
    assert_string_equal(text(op, "kind"), "reduce_scatter");
    assert_string_equal(text(op, "dtype"), "bf16");
    assert_string_equal(text(op, "op"), "max");
    assert_int_equal(number(op, "seq"), 9);
    assert_int_equal(number(op, "count"), 12);
    assert_int_equal(number(op, "bytes"), 24);
    assert_true(json_is_false(field(op, "done")) && json_is_null(field(op, "took_s")));
    op = field(rank_of(&f, 1), "collective");
    assert_string_equal(text(op, "kind"), "barrier");
    assert_true(json_is_null(field(op, "dtype")) && json_is_null(field(op, "op")));
    assert_true(json_is_true(field(op, "done")) && json_is_real(field(op, "took_s")));
    assert_int_equal(number(op, "result"), -104);
    end(&f);
}

/* A socket of the name an agent of this user would have. */
static int listen_as_agent(const char *ending)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int size = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "muster-%u-%d-%s",
                        getuid(), (int)getpid(), ending);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size)),
                     0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void test_one_that_never_answers_is_told(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    ask(&f);
    assert_false(f.own_is_silent);
    json_decref(f.answer);
    f.answer = NULL;
    int silent = listen_as_agent("silent");
    ask(&f);
    assert_true(f.own_is_silent);
    close(silent);
    end(&f);
}

/* Seen from another user's side: the agent hangs up without a word. Needs root to change the
 * uid. */
static void test_other_users_get_nothing(void **state)
{
    (void)state;
    struct fixture f;
    int status = 0;
    if (getuid() != 0)
        skip();
    begin(&f);
    pid_t pid = fork();
    if (pid == 0) {
        char name[64];
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t size = sizeof address;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (getsockname(status_fd(f.status), (struct sockaddr *)&address, &size) ||
            setresuid(65534, 65534, 65534) || connect(fd, (struct sockaddr *)&address, size))
            _exit(2);
        _exit(read(fd, name, sizeof name) == 0 ? 0 : 1);
    }
    (void)serve_one(&f);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    end(&f);
}

/* Before the first START nobody knows how many there will be; who waits says so. */
static void test_nodes_are_told_with_their_bounds(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.opts.node_least = 1;
    ask(&f);
    assert_int_equal(json_integer_value(json_object_get(f.answer, "nodes")), 2);
    assert_true(json_is_null(json_object_get(f.answer, "nodes_present")));
    assert_true(json_is_false(json_object_get(f.answer, "outside")));
    json_decref(f.answer);
    f.answer = NULL;
    f.node.start = (struct msg){.job_nonce = 1, .node_count = 1};
    f.node.present = 2;
    f.node.outside = true;
    ask(&f);
    assert_int_equal(json_integer_value(json_object_get(f.answer, "nodes")), 1);
    assert_int_equal(json_integer_value(json_object_get(f.answer, "nodes_min")), 1);
    assert_int_equal(json_integer_value(json_object_get(f.answer, "nodes_max")), 2);
    assert_int_equal(json_integer_value(json_object_get(f.answer, "nodes_present")), 2);
    assert_true(json_is_true(json_object_get(f.answer, "outside")));
    end(&f);
}

static void test_a_program_may_have_any_name(void **state)
{
    (void)state;
    static char program[] = "tr\xffin";
    struct fixture f;
    begin(&f);
    f.opts.argv[0] = program;
    ask(&f);
    assert_string_equal(text(f.answer, "program"), "tr?in");
    end(&f);
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    ask(&f);
    json_decref(f.answer);
    f.answer = NULL;
    status_destroy(f.status);
    f.status = NULL;
    assert_true(status_ask_all(keep, &f) >= 0);
    assert_null(f.answer);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tells_what_the_page_says),
        cmocka_unit_test(test_tells_of_all_ranks),
        cmocka_unit_test(test_names_the_collective),
        cmocka_unit_test(test_one_that_never_answers_is_told),
        cmocka_unit_test(test_other_users_get_nothing),
        cmocka_unit_test(test_nodes_are_told_with_their_bounds),
        cmocka_unit_test(test_a_program_may_have_any_name),
        cmocka_unit_test(test_nothing_is_left),
    };
    /* Where that is allowed, other tests' jobs do not see these, nor these theirs. */
    (void)unshare(CLONE_NEWNET);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
