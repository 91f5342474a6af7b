#include "muster/launcher/job.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"
#include "soon.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct mst_world world;
    struct mst_page *page; /* the agent's view */
    struct mst_page_slot *slot;
    struct mst_job *job;
    uint64_t step;
    int verdict; /* of the waiting thread */
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.verdict = -1};
    world_init_single(&f->world);
    f->world.local_rank = 1;
    assert_int_equal(mst_page_create(2, &f->world.page_fd, &f->page, NULL), 0);
    assert_int_equal(mst_job_open(&f->world, &f->job, NULL), 0);
    f->slot = mst_page_slot(f->page, 1);
}

static void end(struct fixture *f)
{
    mst_job_close(f->job);
    assert_int_equal(atomic_load(&f->slot->state), MST_RANK_FINISHING);
    mst_page_unmap(f->page);
    world_fini(&f->world);
}

static void set_gate(struct fixture *f, enum mst_gate_state state, enum mst_gate_action action,
                     uint64_t step)
{
    mst_page_gate_set(f->page, (struct mst_gate){state, action, step});
}

static int step(struct fixture *f, uint64_t number)
{
    return mst_job_step(f->job, number, soon());
}

static void *step_in_thread(void *arg)
{
    struct fixture *f = arg;
    f->verdict = step(f, f->step);
    return NULL;
}

/* Another thread is the rank; returns once it waits at the gate. */
static pthread_t wait_at_gate(struct fixture *f, uint64_t number)
{
    f->step = number;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, step_in_thread, f), 0);
    for (uint64_t deadline_ns = soon(); atomic_load(&f->slot->state) != MST_RANK_AT_GATE;) {
        assert_false(mst_deadline_passed(deadline_ns));
        sched_yield();
    }
    return thread;
}

static void test_without_an_agent_it_goes_on(void **state)
{
    (void)state;
    struct mst_world world;
    world_init_single(&world);
    struct mst_job *job;
    assert_int_equal(mst_job_open(&world, &job, NULL), 0);
    assert_int_equal(mst_job_step(job, 1, 0), MST_JOB_GO);
    mst_job_committed(job, 1);
    mst_job_close(job);
    mst_job_close(NULL);
}

static void test_open_gate_costs_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(atomic_load(&f.slot->state), MST_RANK_RUNNING);
    assert_int_equal(mst_job_step(f.job, 3, 0), MST_JOB_GO);
    assert_int_equal(atomic_load(&f.slot->step), 3);
    assert_true(atomic_load(&f.slot->beat_ns) > 0);
    mst_job_committed(f.job, 2);
    assert_int_equal(atomic_load(&f.slot->ckpt_step), 2);
    end(&f);
}

static void test_saves_once_at_the_agreed_step_and_stops_from_it_on(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    set_gate(&f, MST_GATE_AGREED, MST_GATE_CHECKPOINT, 5);
    assert_int_equal(step(&f, 4), MST_JOB_GO);
    assert_int_equal(step(&f, 5), MST_JOB_CHECKPOINT);
    assert_int_equal(step(&f, 6), MST_JOB_GO);
    set_gate(&f, MST_GATE_AGREED, MST_GATE_STOP, 7);
    assert_int_equal(step(&f, 7), MST_JOB_STOP);
    assert_int_equal(step(&f, 8), MST_JOB_STOP);
    end(&f);
}

static void test_a_program_that_tells_each_tenth_step_is_told_as_well(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    set_gate(&f, MST_GATE_AGREED, MST_GATE_CHECKPOINT, 11);
    assert_int_equal(step(&f, 10), MST_JOB_GO);
    assert_true(atomic_load(&f.slot->acted_step) == MST_PAGE_NO_STEP);
    assert_int_equal(step(&f, 20), MST_JOB_CHECKPOINT);
    assert_int_equal(atomic_load(&f.slot->acted_step), 11);
    assert_int_equal(step(&f, 30), MST_JOB_GO);
    set_gate(&f, MST_GATE_PROPOSED, MST_GATE_STOP, 31);
    pthread_t thread = wait_at_gate(&f, 40);
    set_gate(&f, MST_GATE_AGREED, MST_GATE_STOP, 31);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(f.verdict, MST_JOB_STOP);
    end(&f);
}

static void test_waits_at_a_proposal_until_it_is_agreed(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    set_gate(&f, MST_GATE_PROPOSED, MST_GATE_STOP, 9);
    assert_int_equal(step(&f, 8), MST_JOB_GO);
    pthread_t thread = wait_at_gate(&f, 9);
    set_gate(&f, MST_GATE_AGREED, MST_GATE_STOP, 9);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(f.verdict, MST_JOB_STOP);
    end(&f);
}

static void test_a_later_proposal_lets_it_go_on(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    set_gate(&f, MST_GATE_PROPOSED, MST_GATE_STOP, 9);
    pthread_t thread = wait_at_gate(&f, 9);
    set_gate(&f, MST_GATE_PROPOSED, MST_GATE_STOP, 11);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(f.verdict, MST_JOB_GO);
    assert_int_equal(atomic_load(&f.slot->state), MST_RANK_RUNNING);
    end(&f);
}

static void test_abort_and_deadline_end_the_wait(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    set_gate(&f, MST_GATE_PROPOSED, MST_GATE_STOP, 9);
    assert_int_equal(mst_job_step(f.job, 9, mst_deadline_ms(1)), -ETIMEDOUT);
    pthread_t thread = wait_at_gate(&f, 9);
    mst_page_abort(f.page, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(f.verdict, -ECONNRESET);
    assert_int_equal(step(&f, 10), -ECONNRESET);
    end(&f);
}

static void test_a_step_that_no_gate_holds_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(step(&f, MST_PAGE_STEP_MAX), MST_JOB_GO);
    assert_int_equal(step(&f, MST_PAGE_STEP_MAX + 1), -EINVAL);
    assert_int_equal(atomic_load(&f.slot->step), MST_PAGE_STEP_MAX);
    end(&f);
}

static void test_a_foreign_page_is_refused(void **state)
{
    (void)state;
    struct mst_world world;
    world_init_single(&world);
    world.page_fd = memfd_create("no page", MFD_CLOEXEC);
    struct mst_err err = {0};
    struct mst_job *job = NULL;
    assert_int_equal(mst_job_open(&world, &job, &err), -EBADMSG);
    close(world.page_fd);
    struct mst_page *page;
    assert_int_equal(mst_page_create(1, &world.page_fd, &page, NULL), 0);
    world.local_rank = 1;
    assert_int_equal(mst_job_open(&world, &job, &err), -EBADMSG);
    assert_null(job);
    mst_page_unmap(page);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_an_agent_it_goes_on),
        cmocka_unit_test(test_open_gate_costs_nothing),
        cmocka_unit_test(test_saves_once_at_the_agreed_step_and_stops_from_it_on),
        cmocka_unit_test(test_a_program_that_tells_each_tenth_step_is_told_as_well),
        cmocka_unit_test(test_waits_at_a_proposal_until_it_is_agreed),
        cmocka_unit_test(test_a_later_proposal_lets_it_go_on),
        cmocka_unit_test(test_abort_and_deadline_end_the_wait),
        cmocka_unit_test(test_a_step_that_no_gate_holds_is_refused),
        cmocka_unit_test(test_a_foreign_page_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
