/* Waits under a lock: woken, timed out, and whether a lock is held. */
#include "muster/core/cond.h"

#include "muster/core/clock.h"
#include "muster/core/thread.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct meeting {
    pthread_cond_t moved;
    struct {
        pthread_mutex_t lock;
        int stage;
    } locked;
};

static void *answer(void *arg)
{
    struct meeting *meeting = arg;
    pthread_mutex_lock(&meeting->locked.lock);
    meeting->locked.stage++;
    pthread_cond_signal(&meeting->moved);
    pthread_mutex_unlock(&meeting->locked.lock);
    return NULL;
}

static void wakes_when_it_is_signalled(void **state)
{
    (void)state;
    struct meeting meeting = {.locked = {.lock = PTHREAD_MUTEX_INITIALIZER}};
    const uint64_t deadlines[] = {MST_NEVER, mst_deadline_ms(10000)};
    mst_cond_init(&meeting.moved);
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&meeting.locked.lock);
        pthread_t thread;
        assert_int_equal(mst_thread_start(&thread, "answer", answer, &meeting), 0);
        while (meeting.locked.stage == i)
            assert_int_equal(mst_cond_wait(&meeting.moved, &meeting.locked.lock, deadlines[i]), 0);
        assert_true(mst_lock_is_held(&meeting.locked.lock));
        pthread_mutex_unlock(&meeting.locked.lock);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    assert_int_equal(pthread_cond_destroy(&meeting.moved), 0);
}

static void ends_at_the_deadline_of_our_clock(void **state)
{
    (void)state;
    struct meeting meeting = {.locked = {.lock = PTHREAD_MUTEX_INITIALIZER}};
    uint64_t deadline_ns = mst_deadline_ms(10);
    mst_cond_init(&meeting.moved);
    pthread_mutex_lock(&meeting.locked.lock);
    while (mst_cond_wait(&meeting.moved, &meeting.locked.lock, deadline_ns) == 0)
        continue;
    assert_true(mst_deadline_passed(deadline_ns));
    assert_int_equal(mst_cond_wait(&meeting.moved, &meeting.locked.lock, 0), -ETIMEDOUT);
    assert_true(mst_lock_is_held(&meeting.locked.lock));
    pthread_mutex_unlock(&meeting.locked.lock);
    assert_false(mst_lock_is_held(&meeting.locked.lock));
    assert_false(mst_lock_is_held(&meeting.locked.lock)); /* and asking has not taken it */
    assert_int_equal(pthread_cond_destroy(&meeting.moved), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wakes_when_it_is_signalled),
        cmocka_unit_test(ends_at_the_deadline_of_our_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
