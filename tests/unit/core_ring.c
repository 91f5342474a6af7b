#include "core/ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ITEMS_PER_PUSHER 20000
#define PUSHERS 3

static int numbers[64];
static char items[PUSHERS][ITEMS_PER_PUSHER]; /* only their addresses are handed over */

static void spsc_is_first_in_first_out(void **state)
{
    (void)state;
    struct mst_spsc ring;
    assert_int_equal(mst_spsc_init(&ring, 5), 0); /* room for 8 */
    for (int lap = 0; lap < 10; lap++) {
        for (int i = 0; i < 8; i++)
            assert_true(mst_spsc_push(&ring, &numbers[i]));
        assert_false(mst_spsc_push(&ring, &numbers[8]));
        for (int i = 0; i < 8; i++)
            assert_ptr_equal(mst_spsc_pop(&ring), &numbers[i]);
        assert_null(mst_spsc_pop(&ring));
    }
    mst_spsc_fini(&ring);
}

static void mpsc_is_first_in_first_out(void **state)
{
    (void)state;
    struct mst_mpsc ring;
    assert_int_equal(mst_mpsc_init(&ring, 8), 0);
    for (int lap = 0; lap < 10; lap++) {
        for (int i = 0; i < 8; i++)
            assert_true(mst_mpsc_push(&ring, &numbers[i]));
        assert_false(mst_mpsc_push(&ring, &numbers[8]));
        for (int i = 0; i < 8; i++)
            assert_ptr_equal(mst_mpsc_pop(&ring), &numbers[i]);
        assert_null(mst_mpsc_pop(&ring));
    }
    mst_mpsc_fini(&ring);
}

/* Every fill level at every position of the lap. */
static void wraps_at_every_position(void **state)
{
    (void)state;
    struct mst_spsc spsc;
    struct mst_mpsc mpsc;
    assert_int_equal(mst_spsc_init(&spsc, 4), 0);
    assert_int_equal(mst_mpsc_init(&mpsc, 4), 0);
    for (int round = 0; round < 40; round++) {
        int count = round % 4 + 1;
        for (int i = 0; i < count; i++) {
            assert_true(mst_spsc_push(&spsc, &numbers[i]));
            assert_true(mst_mpsc_push(&mpsc, &numbers[i]));
        }
        for (int i = 0; i < count; i++) {
            assert_ptr_equal(mst_spsc_pop(&spsc), &numbers[i]);
            assert_ptr_equal(mst_mpsc_pop(&mpsc), &numbers[i]);
        }
    }
    mst_spsc_fini(&spsc);
    mst_mpsc_fini(&mpsc);
}

static void the_smallest_rings_hold_what_they_take(void **state)
{
    (void)state;
    struct mst_spsc spsc;
    struct mst_mpsc mpsc;
    assert_int_equal(mst_spsc_init(&spsc, 1), 0);
    assert_int_equal(mst_mpsc_init(&mpsc, 1), 0);
    assert_true(mst_spsc_push(&spsc, &numbers[1]));
    assert_false(mst_spsc_push(&spsc, &numbers[2]));
    assert_ptr_equal(mst_spsc_pop(&spsc), &numbers[1]);
    assert_true(mst_mpsc_push(&mpsc, &numbers[1]));
    assert_true(mst_mpsc_push(&mpsc, &numbers[2]));
    assert_false(mst_mpsc_push(&mpsc, &numbers[3]));
    assert_ptr_equal(mst_mpsc_pop(&mpsc), &numbers[1]);
    assert_ptr_equal(mst_mpsc_pop(&mpsc), &numbers[2]);
    mst_spsc_fini(&spsc);
    mst_mpsc_fini(&mpsc);
}

static void refuses_an_impossible_capacity(void **state)
{
    (void)state;
    struct mst_spsc spsc;
    struct mst_mpsc mpsc;
    assert_int_equal(mst_spsc_init(&spsc, SIZE_MAX), -ENOMEM);
    assert_int_equal(mst_mpsc_init(&mpsc, SIZE_MAX), -ENOMEM);
}

struct pusher {
    struct mst_spsc *spsc; /* one of the two */
    struct mst_mpsc *mpsc;
    char *items;
};

static void *push_all(void *arg)
{
    const struct pusher *pusher = arg;
    for (int i = 0; i < ITEMS_PER_PUSHER; i++)
        while (pusher->spsc ? !mst_spsc_push(pusher->spsc, &pusher->items[i])
                            : !mst_mpsc_push(pusher->mpsc, &pusher->items[i]))
            sched_yield();
    return NULL;
}

/* Each pusher's items come out once and in the order in which it pushed them. */
static void spsc_hands_over_between_threads(void **state)
{
    (void)state;
    struct mst_spsc ring;
    assert_int_equal(mst_spsc_init(&ring, 16), 0);
    struct pusher pusher = {.spsc = &ring, .items = items[0]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, push_all, &pusher), 0);
    for (int i = 0; i < ITEMS_PER_PUSHER; i++) {
        void *item;
        while (!(item = mst_spsc_pop(&ring)))
            sched_yield();
        assert_ptr_equal(item, &items[0][i]);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_null(mst_spsc_pop(&ring));
    mst_spsc_fini(&ring);
}

static void mpsc_hands_over_between_threads(void **state)
{
    (void)state;
    struct mst_mpsc ring;
    assert_int_equal(mst_mpsc_init(&ring, 16), 0);
    struct pusher pushers[PUSHERS];
    pthread_t threads[PUSHERS];
    int popped[PUSHERS] = {0};
    for (int i = 0; i < PUSHERS; i++) {
        pushers[i] = (struct pusher){.mpsc = &ring, .items = items[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, push_all, &pushers[i]), 0);
    }
    for (int i = 0; i < PUSHERS * ITEMS_PER_PUSHER; i++) {
        const char *item;
        while (!(item = mst_mpsc_pop(&ring)))
            sched_yield();
        ptrdiff_t id = (item - items[0]) / ITEMS_PER_PUSHER;
        assert_in_range(id, 0, PUSHERS - 1);
        assert_ptr_equal(item, &items[id][popped[id]++]);
    }
    for (int i = 0; i < PUSHERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_null(mst_mpsc_pop(&ring));
    mst_mpsc_fini(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spsc_is_first_in_first_out),
        cmocka_unit_test(mpsc_is_first_in_first_out),
        cmocka_unit_test(wraps_at_every_position),
        cmocka_unit_test(the_smallest_rings_hold_what_they_take),
        cmocka_unit_test(refuses_an_impossible_capacity),
        cmocka_unit_test(spsc_hands_over_between_threads),
        cmocka_unit_test(mpsc_hands_over_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
