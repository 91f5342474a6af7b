#include "launcher/status.h"

#include "core/clock.h"
#include "core/err.h"
#include "launcher/node.h"
#include "launcher/opts.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[64];
    struct opts opts;
    struct node node;
    struct status *status;
    json_t *answer;
};

static void begin(struct fixture *f)
{
    static char program[] = "train";
    static char *argv[] = {program, NULL};

    *f = (struct fixture){.dir = "/tmp/muster-status-XXXXXX",
                          .opts = {.node_count = 2, .node_rank = 1, .job_id = "job", .argv = argv},
                          .node = {.super = {SUPER_RUNNING, false}, .stopping = true}};
    f->node.opts = &f->opts;
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(ranks_open(&f->node.ranks, 3, 4, 2, NULL), 0);
    assert_int_equal(status_create(f->dir, &f->status, NULL), 0);
}

static void end(struct fixture *f)
{
    status_destroy(f->status);
    ranks_close(&f->node.ranks);
    json_decref(f->answer);
    assert_int_equal(rmdir(f->dir), 0); /* nothing is left in it */
}

static void *serve_one(void *arg)
{
    struct fixture *f = arg;
    struct pollfd ready = {.fd = status_fd(f->status), .events = POLLIN};
    if (poll(&ready, 1, 5000) == 1)
        status_run(f->status, &f->node);
    return NULL;
}

static void keep(void *arg, const char *text)
{
    struct fixture *f = arg;
    f->answer = json_loads(text, 0, NULL);
}

static const json_t *rank_of(const struct fixture *f, size_t index)
{
    return json_array_get(json_object_get(f->answer, "ranks"), index);
}

static void ask(struct fixture *f)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve_one, f), 0);
    assert_int_equal(status_ask_all(f->dir, keep, f), 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(f->answer);
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
    mst_page_op(f.node.ranks.page, 1, 0)->seq = 1;
    atomic_store(&slot->op_count, 1);
    ask(&f);
    assert_string_equal(json_string_value(json_object_get(f.answer, "job")), "job");
    assert_string_equal(json_string_value(json_object_get(f.answer, "state")), "running");
    assert_true(json_is_true(json_object_get(f.answer, "draining")));
    const json_t *rank = rank_of(&f, 1);
    assert_int_equal(json_integer_value(json_object_get(rank, "rank")), 5);
    assert_int_equal(json_integer_value(json_object_get(rank, "step")), 41);
    assert_int_equal(json_integer_value(json_object_get(rank, "checkpoint")), 40);
    assert_string_equal(json_string_value(json_object_get(rank, "state")), "in collective");
    assert_false(json_is_true(json_object_get(json_object_get(rank, "collective"), "done")));
    assert_true(json_is_null(json_object_get(rank_of(&f, 0), "step")));
    assert_true(json_is_null(json_object_get(rank_of(&f, 0), "collective")));
    end(&f);
}

/* What kill -9 leaves: a socket file that nobody listens on. */
static void leave_stale(const char *dir, const char *owner, char *path, size_t cap)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(path, cap, "%s/muster-%s-99999.sock", dir, owner);
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

static void test_dead_agents_are_cleared_away(void **state)
{
    (void)state;
    struct fixture f;
    struct stat info;
    char owner[16], own[128], foreign[128];

    begin(&f);
    snprintf(owner, sizeof owner, "%u", getuid());
    leave_stale(f.dir, owner, own, sizeof own);
    leave_stale(f.dir, "nobody", foreign, sizeof foreign);
    ask(&f);
    assert_int_equal(stat(own, &info), -1);
    assert_int_equal(stat(foreign, &info), 0); /* not ours to touch */
    assert_int_equal(unlink(foreign), 0);
    end(&f);
}

static void test_a_bad_folder_is_named(void **state)
{
    (void)state;
    struct mst_err err = {0};
    struct status *status;
    char deep[200] = "/";

    assert_int_equal(status_create("/nowhere", &status, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere"));
    memset(deep + 1, 'x', sizeof deep - 2);
    assert_int_equal(status_create(deep, &status, &err), -ENAMETOOLONG);
    assert_int_equal(status_ask_all("/nowhere", NULL, NULL), -ENOENT);
    status_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tells_what_the_page_says),
        cmocka_unit_test(test_dead_agents_are_cleared_away),
        cmocka_unit_test(test_a_bad_folder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
