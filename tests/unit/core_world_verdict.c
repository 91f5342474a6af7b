#include "muster/core/err.h"
#include "muster/core/process.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct mst_page *page;
    struct mst_world world;
};

static void begin(struct fixture *f)
{
    world_init_single(&f->world);
    f->world.local_rank = 1;
    assert_int_equal(mst_page_create(2, &f->world.page_fd, &f->page, NULL), 0);
}

static void end(struct fixture *f)
{
    mst_page_unmap(f->page);
    world_fini(&f->world);
}

static int verdict_of(struct fixture *f, uint32_t local_rank)
{
    return atomic_load(&mst_page_slot(f->page, local_rank)->verdict);
}

static void what_no_restart_cures_is_noted(void **state)
{
    (void)state;
    static const int past_cure[] = {-ENOTSUP, -EACCES, -EINVAL, -EEXIST, -ENOTDIR, -EISDIR, -EROFS};
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < sizeof past_cure / sizeof *past_cure; i++) {
        assert_int_equal(mst_world_note_verdict(&f.world, past_cure[i]), past_cure[i]);
        assert_int_equal(verdict_of(&f, 1), past_cure[i]);
        assert_int_equal(verdict_of(&f, 0), 0);
    }
    end(&f);
}

static void the_rest_is_worth_a_restart(void **state)
{
    (void)state;
    static const int curable[] = {-ECONNRESET, -ETIMEDOUT, -ENOMEM, -ESTALE};
    struct fixture f;
    begin(&f);
    for (size_t i = 0; i < sizeof curable / sizeof *curable; i++) {
        assert_int_equal(mst_world_note_verdict(&f.world, curable[i]), curable[i]);
        assert_int_equal(verdict_of(&f, 1), 0);
    }
    end(&f);
}

static void a_later_success_takes_it_back(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(mst_world_note_verdict(&f.world, -ENOTSUP), -ENOTSUP);
    assert_int_equal(mst_world_note_verdict(&f.world, -ECONNRESET), -ECONNRESET);
    assert_int_equal(verdict_of(&f, 1), -ENOTSUP);
    assert_int_equal(mst_world_note_verdict(&f.world, 0), 0);
    assert_int_equal(verdict_of(&f, 1), 0);
    end(&f);
}

/* What a child tries with the parent's world is refused, which is no fault of the rank. */
static void a_forked_child_notes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.world.process = mst_process_mark() + 1;
    assert_int_equal(mst_world_note_verdict(&f.world, -ENOTSUP), -ENOTSUP);
    assert_int_equal(verdict_of(&f, 1), 0);
    f.world.process = mst_process_mark();
    assert_int_equal(mst_world_note_verdict(&f.world, -ENOTSUP), -ENOTSUP);
    assert_int_equal(verdict_of(&f, 1), -ENOTSUP);
    end(&f);
}

static void without_a_line_nothing_is_noted(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.world.local_rank = 2;
    assert_int_equal(mst_world_note_verdict(&f.world, -EACCES), -EACCES);
    end(&f);
    assert_int_equal(mst_world_note_verdict(&f.world, -EACCES), -EACCES);
}

/* Its variables are refused, but where it stands can be read. */
static void a_refused_environment_is_noted(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_world *world;
    struct mst_err err = {0};
    char fd[16];
    begin(&f);
    clearenv();
    (void)snprintf(fd, sizeof fd, "%d", f.world.page_fd);
    assert_int_equal(setenv("MST_PAGE_FD", fd, 1) | setenv("MST_LOCAL_RANK", "1", 1), 0);
    assert_int_equal(setenv("MST_COMM", "foo", 1), 0);
    assert_int_equal(mst_world_from_env(&world, &err), -EINVAL);
    assert_non_null(strstr(err.text, "MST_COMM=foo"));
    assert_int_equal(verdict_of(&f, 1), -EINVAL);
    assert_int_equal(setenv("MST_LOCAL_RANK", "one", 1), 0);
    assert_int_equal(mst_page_note_verdict(f.page, 1, 0), 0);
    assert_int_equal(mst_world_from_env(&world, &err), -EINVAL);
    assert_int_equal(verdict_of(&f, 1), 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_restart_cures_is_noted),
        cmocka_unit_test(the_rest_is_worth_a_restart),
        cmocka_unit_test(a_later_success_takes_it_back),
        cmocka_unit_test(a_forked_child_notes_nothing),
        cmocka_unit_test(without_a_line_nothing_is_noted),
        cmocka_unit_test(a_refused_environment_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
