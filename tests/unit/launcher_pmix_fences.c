/* Fences of two nodes in one process; libpmix is this test. */
#include "muster/launcher/pmix/fences.h"

#include "muster/core/err.h"

#include <errno.h>

#include "unit/pmix_fixture.h"

/* Of ranks a and b, or of all if they are the same. */
static struct host_event *fence_of(uint32_t a, uint32_t b, const char *text)
{
    struct host_event *event = calloc(1, sizeof *event);
    *event = (struct host_event){
        .kind = HOST_FENCED, .data = strdup(text), .size_bytes = strlen(text)};
    if (a != b) {
        event->ranks = calloc(2, sizeof *event->ranks);
        event->rank_count = 2;
        event->ranks[0] = a;
        event->ranks[1] = b;
    }
    return event;
}

struct fixture {
    struct pmi_nodes nodes[2];
    struct fences fences[2];
};

static void begin(struct fixture *f)
{
    open_nodes(f->nodes);
    for (size_t i = 0; i < 2; i++)
        fences_init(&f->fences[i], &f->nodes[i], layout);
    answered.count = 0;
}

static void end(struct fixture *f)
{
    for (size_t i = 0; i < 2; i++)
        fences_fini(&f->fences[i]);
    close_nodes(f->nodes);
}

static void come(struct fixture *f, uint32_t node, struct host_event *event)
{
    assert_int_equal(fences_begin(&f->fences[node], event, NULL), 0);
}

static void run(struct fixture *f, uint32_t node)
{
    assert_int_equal(fences_run(&f->fences[node], 1, NULL), 0);
}

static void all_get_what_all_have_given(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    for (uint32_t i = 1; i <= 3; i++) {
        come(&f, 0, fence_of(0, 0, "first "));
        run(&f, 0);
        assert_true(fences_wait(&f.fences[0]));
        assert_int_equal(answered.count, 2 * (i - 1));
        come(&f, 1, fence_of(0, 0, "second"));
        for (uint32_t node = 0; node < 2; node++) {
            run(&f, node);
            assert_int_equal(answered.rc, 0);
            assert_string_equal(answered.data, "first second");
            assert_false(fences_wait(&f.fences[node]));
        }
        assert_int_equal(answered.count, 2 * i);
    }
    end(&f);
}

/* A node may come to those of two sets in another order than the other. */
static void sets_do_not_wait_for_one_another(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    come(&f, 0, fence_of(0, 2, "a"));
    come(&f, 0, fence_of(1, 3, "b"));
    come(&f, 0, fence_of(0, 0, "c"));
    come(&f, 1, fence_of(3, 1, "B"));
    run(&f, 0);
    assert_int_equal(answered.count, 1);
    assert_string_equal(answered.data, "bB");
    run(&f, 1);
    assert_string_equal(answered.data, "bB");
    come(&f, 1, fence_of(0, 0, "C"));
    run(&f, 0);
    assert_int_equal(answered.count, 3);
    assert_string_equal(answered.data, "cC");
    come(&f, 1, fence_of(2, 0, "A"));
    run(&f, 0);
    assert_string_equal(answered.data, "aA");
    assert_false(fences_wait(&f.fences[0]));
    run(&f, 1);
    assert_int_equal(answered.count, 6);
    end(&f);
}

static void who_needs_no_other_node_goes_on(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    come(&f, 1, fence_of(2, 3, "x"));
    assert_int_equal(answered.count, 1);
    assert_int_equal(answered.rc, 0);
    assert_string_equal(answered.data, "x");
    end(&f);
}

static void what_is_no_set_of_this_job_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    struct host_event *foreign = fence_of(0, 2, "x");
    foreign->status = -ENOTSUP;
    come(&f, 0, foreign);
    assert_int_equal(answered.rc, -ENOTSUP);
    come(&f, 0, fence_of(0, 4, "x"));
    assert_int_equal(answered.rc, -ENOTSUP);
    assert_int_equal(answered.count, 2);
    end(&f);
}

/* A set waits in vain for its own only. */
static void who_has_left_ends_the_fences_that_wait_for_it(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_err err = {0};
    begin(&f);
    pmi_nodes_tell_left(&f.nodes[1], 3);
    struct host_event *event = fence_of(0, 2, "x");
    come(&f, 0, event);
    run(&f, 0);
    assert_true(fences_wait(&f.fences[0]));
    struct host_event *other = fence_of(0, 3, "y");
    come(&f, 0, other);
    assert_int_equal(fences_run(&f.fences[0], 2, &err), -ECONNRESET);
    assert_non_null(strstr(err.text, "it waits for rank 3"));
    end(&f);
    host_answer(event, -ECONNRESET, NULL, 0); /* as libpmix would be at its end */
    host_answer(other, -ECONNRESET, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_get_what_all_have_given),
        cmocka_unit_test(sets_do_not_wait_for_one_another),
        cmocka_unit_test(who_needs_no_other_node_goes_on),
        cmocka_unit_test(what_is_no_set_of_this_job_is_refused),
        cmocka_unit_test(who_has_left_ends_the_fences_that_wait_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
