/* Ranks of another launcher meet at rank 0: worlds as their environments make them, several in this
 * process. */
#include "failing_memory.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/gather.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/resident.h"
#include "muster/core/kv/sock.h"
#include "muster/core/world/state.h"
#include "muster/core/world/world.h"
#include "soon.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct mst_err err;
static bool are_apart; /* each rank on a node of its own */

/* Ranks of a test have a port of their own: the first test's may still be in TIME_WAIT. */
static int begin(void **state)
{
    static int port = 1000;
    char text[8];
    (void)state;
    (void)snprintf(text, sizeof text, "%d", port++);
    setenv("MASTER_PORT", text, 1);
    setenv("MASTER_ADDR", "head.nowhere", 1);
    setenv("WORLD_SIZE", "2", 1);
    setenv("LOCAL_WORLD_SIZE", "2", 1);
    are_apart = false;
    setenv("TORCHELASTIC_RUN_ID", "a-job", 1);
    unsetenv("MST_JOB_SECRET");
    unsetenv("MST_INSECURE");
    return 0;
}

static struct mst_world *rank(int number, const char *restart)
{
    struct mst_world *world = NULL;
    char text[8];
    (void)snprintf(text, sizeof text, "%d", number);
    setenv("RANK", text, 1);
    setenv("LOCAL_RANK", are_apart ? "0" : text, 1);
    setenv("TORCHELASTIC_RESTART_COUNT", restart, 1);
    err = (struct mst_err){0};
    int rc = mst_world_from_env(&world, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, 0);
    return world;
}

static struct mst_kv *dial(const struct mst_world *world)
{
    struct mst_kv *kv = NULL;
    err = (struct mst_err){0};
    int rc = mst_kv_dial(world, soon(), &kv, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, 0);
    return kv;
}

static void set(struct mst_kv *kv, const char *key)
{
    assert_int_equal(mst_kv_set(kv, key, key, strlen(key), soon()), 0);
}

static void expect(struct mst_kv *kv, const char *key)
{
    char value[16];
    size_t size = 0;
    assert_int_equal(mst_kv_wait(kv, key, value, sizeof value, &size, soon()), 0);
    assert_int_equal(size, strlen(key));
    assert_memory_equal(value, key, size);
}

/* A thread that dials, and what came of it. */
struct dialler {
    const struct mst_world *world;
    struct mst_kv *kv;
    int rc;
    pthread_t thread;
};

static void *run_dialler(void *arg)
{
    struct dialler *dialler = arg;
    dialler->rc = mst_kv_dial(dialler->world, soon(), &dialler->kv, NULL);
    return NULL;
}

static void start_dialler(struct dialler *dialler, const struct mst_world *world)
{
    *dialler = (struct dialler){.world = world};
    assert_int_equal(pthread_create(&dialler->thread, NULL, run_dialler, dialler), 0);
}

static struct mst_kv *join_dialler(struct dialler *dialler)
{
    assert_int_equal(pthread_join(dialler->thread, NULL), 0);
    assert_int_equal(dialler->rc, 0);
    return dialler->kv;
}

static void ranks_meet_whoever_comes_first(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0"), *second = rank(1, "0");
    struct dialler early;
    start_dialler(&early, second);
    struct mst_kv *own = dial(first), *other = join_dialler(&early), *clone = NULL;
    set(other, "from-1");
    expect(own, "from-1");
    assert_int_equal(mst_kv_clone(own, soon(), &clone, NULL), 0);
    mst_kv_close(own);
    set(clone, "from-0");
    expect(other, "from-0");
    mst_kv_close(other);
    mst_kv_close(clone);
    own = dial(first); /* the table is the world's, not a handle's */
    expect(own, "from-1");
    mst_kv_close(own);
    mst_world_destroy(second);
    mst_world_destroy(first);
}

/* A framework and its extension, say. */
static void a_world_that_is_taken_twice_has_one_server(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0"), *again = rank(0, "0"), *second = rank(1, "0");
    struct mst_kv *own = dial(first), *same = dial(again), *other = dial(second);
    set(own, "one");
    mst_kv_close(own);
    mst_world_destroy(first);
    expect(same, "one");
    expect(other, "one");
    mst_kv_close(other);
    mst_world_destroy(second);
    mst_kv_close(same);
    mst_world_destroy(again);
}

/* A process that calls itself rank 1, too: the 0 that it ends with, or what it was told. */
static int be_another_rank_1(void)
{
    struct mst_world *world = NULL;
    struct mst_kv *kv = NULL;
    if (mst_world_from_env(&world, &err))
        return 1;
    world->node_count =
        2; /* of a job on several nodes: that rank 0 is there is known all the same */
    if (mst_kv_dial(world, mst_deadline_ms(3000), &kv, &err) != -EEXIST)
        return 1;
    bool is_told = strstr(err.text, "rank 1 has joined already") && strstr(err.text, "MASTER_PORT");
    return is_told && !strstr(err.text, "MASTER_ADDR") ? 0 : 2;
}

/* That of another job, which has the same port; or the rank's program behind another one, which has
 * ended in this rank but not in rank 0. */
static void a_rank_is_one_process(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0"), *second = rank(1, "0");
    struct mst_kv *own = dial(first), *other = dial(second);
    set(other, "still");
    mst_kv_close(other); /* and that it is not there at the moment does not count */
    pid_t child = fork();
    if (child == 0)
        _exit(be_another_rank_1());
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    other = dial(second);
    expect(other, "still");
    mst_kv_close(other);
    mst_kv_close(own);
    mst_world_destroy(second);
    mst_world_destroy(first);
}

static void who_counts_other_ranks_is_refused(void **state)
{
    (void)state;
    struct mst_kv *kv = NULL;
    struct mst_world *first = rank(0, "0");
    struct mst_kv *own = dial(first);
    setenv("WORLD_SIZE", "3", 1);
    setenv("LOCAL_WORLD_SIZE", "3", 1);
    struct mst_world *third = rank(2, "0");
    assert_int_equal(mst_kv_dial(third, soon(), &kv, &err), -EPROTO);
    assert_non_null(strstr(err.text, "rank 2 counts 3 ranks, but rank 0 2: set one WORLD_SIZE"));
    mst_world_destroy(third);
    mst_kv_close(own);
    mst_world_destroy(first);
}

static void *destroy(void *world)
{
    mst_world_destroy(world);
    return NULL;
}

/* Rank 0 may be through before others are. */
static void a_rank_0_that_is_gone_is_named(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0"), *second = rank(1, "0");
    struct mst_kv *own = dial(first), *other = NULL;
    struct mst_err missed = {-ECONNRESET, "lost"};
    mst_kv_explain(own, &missed);
    assert_string_equal(missed.text, "lost"); /* nobody was refused */
    other = dial(second);
    mst_kv_explain(other, &missed);
    assert_string_equal(missed.text, "lost"); /* nor is rank 0 gone */
    mst_kv_close(own);
    mst_world_destroy(first);
    assert_int_equal(mst_kv_set(other, "k", "", 0, soon()), -ECONNRESET);
    mst_kv_explain(other, &missed);
    assert_non_null(strstr(missed.text, "lost; rank 0, which serves the keys at 127.0.0.1:"));
    mst_kv_close(other);
    mst_world_destroy(second);
}

static void the_last_rank_is_served_to_its_end(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0"), *second = rank(1, "0");
    struct mst_kv *own = dial(first), *other = dial(second);
    pthread_t thread;
    mst_kv_close(own);
    assert_int_equal(pthread_create(&thread, NULL, destroy, first), 0);
    set(other, "late");
    expect(other, "late");
    mst_kv_close(other);
    assert_int_equal(pthread_join(thread, NULL), 0);
    mst_world_destroy(second);
}

static void handles_live_on_when_the_world_is_gone(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0");
    struct mst_kv *own = dial(first);
    mst_world_destroy(first);
    set(own, "alone");
    expect(own, "alone");
    mst_kv_close(own);
}

/* The launcher starts ranks anew before the last of the old ones has ended. */
static void a_later_start_waits_for_the_end_of_the_one_before(void **state)
{
    (void)state;
    struct mst_world *old = rank(0, "0"), *first = rank(0, "1"), *second = rank(1, "1");
    struct mst_kv *of_old = dial(old);
    struct dialler early[2];
    start_dialler(&early[0], second);
    start_dialler(&early[1], first);
    mst_kv_close(of_old);
    mst_world_destroy(old);
    struct mst_kv *other = join_dialler(&early[0]), *own = join_dialler(&early[1]);
    set(other, "anew");
    expect(own, "anew");
    mst_kv_close(other);
    mst_kv_close(own);
    mst_world_destroy(second);
    mst_world_destroy(first);
}

static void a_port_that_is_taken_is_named(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0");
    struct mst_kv *kv = NULL;
    char host[64];
    uint16_t port;
    assert_int_equal(mst_sock_split(first->kv_addr, host, sizeof host, &port), 0);
    int listener = mst_sock_listen(host, port, NULL, &err);
    assert_true(listener >= 0);
    err = (struct mst_err){0};
    assert_int_equal(mst_kv_dial(first, mst_deadline_ms(1), &kv, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, first->kv_addr));
    assert_non_null(strstr(err.text, "MASTER_PORT"));
    close(listener);
    mst_kv_close(dial(first));
    mst_world_destroy(first);
}

static void several_nodes_need_a_secret_or_a_word(void **state)
{
    (void)state;
    struct mst_kv *kv = NULL;
    setenv("LOCAL_WORLD_SIZE", "1", 1);
    are_apart = true;
    struct mst_world *world = rank(0, "0");
    assert_int_equal(mst_kv_dial(world, soon(), &kv, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "MST_JOB_SECRET_FILE"));
    assert_non_null(strstr(err.text, "MST_INSECURE=1"));
    mst_world_destroy(world);
    setenv("MASTER_ADDR", "localhost", 1); /* nobody is far away */
    world = rank(0, "0");
    mst_kv_close(dial(world));
    mst_world_destroy(world);
    setenv("MASTER_ADDR", "head.nowhere", 1);
    setenv("MST_INSECURE", "1", 1);
    world = rank(0, "0");
    mst_kv_close(dial(world)); /* of rank 0 the name is not asked for */
    mst_world_destroy(world);
}

/* What the error tells to do is whole behind the longest values. */
static void expect_advice(const struct mst_world *world, int code, const char *advice)
{
    struct mst_kv *kv = NULL;
    err = (struct mst_err){0};
    assert_int_equal(mst_kv_dial(world, mst_deadline_ms(1), &kv, &err), code);
    size_t size = strlen(err.text), tail = strlen(advice);
    if (size < tail || strcmp(err.text + size - tail, advice) != 0 || strstr(err.text, "…"))
        fail_msg("%s", err.text);
}

static void errors_end_with_their_advice(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0");
    char host[64], address[sizeof first->kv_addr];
    uint16_t port;
    assert_int_equal(mst_sock_split(first->kv_addr, host, sizeof host, &port), 0);
    (void)snprintf(address, sizeof address,
                   "a-job-of-a-somewhat-long-name-worker-0.a-job-of-a-somewhat-long-name."
                   "a-namespace.svc.cluster.local:%u",
                   port);
    memcpy(first->kv_addr, address, sizeof first->kv_addr);
    int listener = mst_sock_listen(NULL, port, NULL, &err);
    assert_true(listener >= 0);
    expect_advice(first, -EADDRINUSE, "or end that process");
    close(listener);
    mst_world_destroy(first);
    setenv("LOCAL_WORLD_SIZE", "1", 1);
    are_apart = true;
    struct mst_world *far = rank(1, "0");
    far->rank = UINT32_MAX - 1;
    far->size = UINT32_MAX;
    assert_non_null(strstr(far->no_kv, "MST_INSECURE=1"));
    expect_advice(far, -ENOTSUP,
                  "MST_INSECURE=1 to do without; or let `muster run` start the ranks");
    mst_world_destroy(far);
    unsetenv("MASTER_ADDR");
    far = rank(1, "0");
    far->rank = UINT32_MAX - 1;
    far->size = UINT32_MAX;
    expect_advice(far, -ENOTSUP, "alike for all ranks; or let `muster run` start the ranks");
    mst_world_destroy(far);
}

static void who_has_another_secret_is_refused(void **state)
{
    (void)state;
    struct mst_kv *kv = NULL;
    setenv("MST_JOB_SECRET", "hush", 1);
    struct mst_world *first = rank(0, "0");
    struct mst_kv *own = dial(first);
    mst_kv_close(dial(first));
    setenv("MST_JOB_SECRET", "hash", 1);
    struct mst_world *stranger = rank(1, "0");
    assert_int_equal(mst_kv_dial(stranger, soon(), &kv, &err), -EACCES);
    assert_non_null(strstr(err.text, "rank 0 serves the keys of its job"));
    mst_world_destroy(stranger);
    struct mst_err missed;
    uint64_t deadline_ns = soon();
    do { /* the refusal is sent before it is noted */
        missed = (struct mst_err){-ETIMEDOUT, "rank 1 did not come"};
        mst_kv_explain(own, &missed);
    } while (!strstr(missed.text, "refused here") && !mst_deadline_passed(deadline_ns));
    assert_int_equal(missed.code, -ETIMEDOUT);
    if (!strstr(missed.text, "rank 1 did not come; refused here: 1, last 127.0.0.1:") ||
        !strstr(missed.text, "which says to be rank 1: it has another job secret than we"))
        fail_msg("%s", missed.text);
    mst_kv_close(own);
    mst_world_destroy(first);
}

static void a_secret_that_cannot_be_read_is_no_missing_one(void **state)
{
    (void)state;
    struct mst_world *world = NULL;
    setenv("RANK", "0", 1);
    setenv("LOCAL_RANK", "0", 1);
    setenv("MST_JOB_SECRET_FILE", "/nowhere", 1);
    assert_int_equal(mst_world_from_env(&world, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere"));
    unsetenv("MST_JOB_SECRET_FILE");
}

static void no_memory_is_an_error_that_leaves_nothing(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0");
    struct kv_resident *resident = NULL;
    int rc = -ENOMEM;
    for (size_t n = 0; rc; n++) {
        err = (struct mst_err){0};
        fail_allocations_after(n);
        rc = kv_resident_join(first, &resident, &err);
        allow_allocations();
        if (rc) {
            assert_int_equal(rc, -ENOMEM);
            assert_non_null(strstr(err.text, "no memory"));
        } else {
            assert_true(n > 1);
        }
    }
    kv_resident_release(resident);
    mst_kv_close(dial(first));
    mst_world_destroy(first);
}

static void a_forked_child_lets_it_be(void **state)
{
    (void)state;
    struct mst_world *first = rank(0, "0");
    struct mst_kv *own = dial(first);
    pid_t child = fork();
    if (child == 0) {
        mst_kv_close(own);
        mst_world_destroy(first);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    set(own, "still");
    expect(own, "still");
    mst_kv_close(own);
    mst_world_destroy(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ranks_meet_whoever_comes_first, begin),
        cmocka_unit_test_setup(a_world_that_is_taken_twice_has_one_server, begin),
        cmocka_unit_test_setup(a_rank_is_one_process, begin),
        cmocka_unit_test_setup(who_counts_other_ranks_is_refused, begin),
        cmocka_unit_test_setup(a_rank_0_that_is_gone_is_named, begin),
        cmocka_unit_test_setup(the_last_rank_is_served_to_its_end, begin),
        cmocka_unit_test_setup(handles_live_on_when_the_world_is_gone, begin),
        cmocka_unit_test_setup(a_later_start_waits_for_the_end_of_the_one_before, begin),
        cmocka_unit_test_setup(a_port_that_is_taken_is_named, begin),
        cmocka_unit_test_setup(several_nodes_need_a_secret_or_a_word, begin),
        cmocka_unit_test_setup(errors_end_with_their_advice, begin),
        cmocka_unit_test_setup(who_has_another_secret_is_refused, begin),
        cmocka_unit_test_setup(a_secret_that_cannot_be_read_is_no_missing_one, begin),
        cmocka_unit_test_setup(no_memory_is_an_error_that_leaves_nothing, begin),
        cmocka_unit_test_setup(a_forked_child_lets_it_be, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
