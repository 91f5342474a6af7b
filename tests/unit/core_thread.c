#include "muster/core/thread.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int create_code; /* what pthread_create answers; 0 = the real one does its work */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    return create_code ? create_code : __real_pthread_create(thread, attr, run, arg);
}

struct seen {
    pthread_barrier_t named; /* the thread lives until its name was read */
    bool blocks_term, blocks_child;
};

static void *look(void *arg)
{
    struct seen *seen = arg;
    sigset_t mask;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
    seen->blocks_term = sigismember(&mask, SIGTERM);
    seen->blocks_child = sigismember(&mask, SIGCHLD);
    (void)pthread_barrier_wait(&seen->named);
    return arg;
}

static void assert_mask_unchanged(void)
{
    sigset_t mask;
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    assert_false(sigismember(&mask, SIGTERM));
}

static void a_thread_takes_no_signals(void **state)
{
    (void)state;
    struct seen seen;
    assert_int_equal(pthread_barrier_init(&seen.named, NULL, 2), 0);
    pthread_t thread;
    assert_int_equal(mst_thread_start(&thread, "mst-test", look, &seen), 0);
    char name[16];
    assert_int_equal(pthread_getname_np(thread, name, sizeof name), 0);
    assert_string_equal(name, "mst-test");
    (void)pthread_barrier_wait(&seen.named);
    void *result;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &seen);
    assert_int_equal(pthread_barrier_destroy(&seen.named), 0);
    assert_true(seen.blocks_term && seen.blocks_child);
    assert_mask_unchanged();
}

static void a_refusal_is_told(void **state)
{
    (void)state;
    create_code = EAGAIN;
    pthread_t thread;
    assert_int_equal(mst_thread_start(&thread, "mst-test", look, NULL), -EAGAIN);
    create_code = 0;
    assert_mask_unchanged();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_takes_no_signals),
        cmocka_unit_test(a_refusal_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
