/* What a program passes, whatever headers it was compiled against. */
#include "muster/ckpt/state.h"

#include "muster/ckpt/manifest.h"
#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 3

struct newer {
    struct mst_tensor known;
    uint32_t layout;
    uint32_t spare;
};

/* A program that knows nothing behind the shape. */
struct older {
    char bytes[offsetof(struct mst_tensor, sharded)];
};

static struct mst_tensor make(size_t i)
{
    static const char *const names[COUNT] = {"a", "b", "c"};
    return (struct mst_tensor){.name = names[i],
                               .dtype = MST_F32,
                               .dim_count = 1,
                               .shape = {10 + i},
                               .sharded = true,
                               .row_start = i,
                               .row_count = 5};
}

static struct mst_state describe(const void *tensors, size_t tensor_bytes)
{
    struct mst_state state = MST_STATE_INIT;
    state.tensor_bytes = (uint32_t)tensor_bytes;
    state.tensors = tensors;
    state.tensor_count = COUNT;
    return state;
}

static void tensors_of_our_size_are_not_copied(void **unused)
{
    (void)unused;
    const struct mst_tensor tensors[COUNT] = {make(0), make(1), make(2)};
    struct mst_state given = describe(tensors, sizeof tensors[0]);
    given.cursor = (struct mst_cspan){.data = "xyz", .size_bytes = 3};
    struct state state;
    assert_int_equal(state_take(&state, &given, NULL), 0);
    assert_ptr_equal(state.tensors, tensors);
    assert_null(state.copies);
    assert_int_equal(state.tensor_count, COUNT);
    assert_int_equal(state.cursor.size_bytes, 3);
    state_fini(&state);
}

static void what_an_older_program_does_not_know_is_zero(void **unused)
{
    (void)unused;
    struct older tensors[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        struct mst_tensor tensor = make(i);
        memcpy(&tensors[i], &tensor, sizeof tensors[i]);
    }
    struct mst_state given = describe(tensors, sizeof tensors[0]);
    struct state state;
    assert_int_equal(state_take(&state, &given, NULL), 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_string_equal(state.tensors[i].name, make(i).name);
        assert_int_equal(state.tensors[i].shape[0], 10 + i);
        assert_false(state.tensors[i].sharded);
        assert_int_equal(state.tensors[i].row_count, 0);
        assert_null(state.tensors[i].data.data);
    }
    state_fini(&state);
}

static void a_newer_program_is_understood_if_it_asks_for_nothing_new(void **unused)
{
    (void)unused;
    struct newer tensors[COUNT] = {{.known = make(0)}, {.known = make(1)}, {.known = make(2)}};
    struct mst_state given = describe(tensors, sizeof tensors[0]);
    struct state state;
    assert_int_equal(state_take(&state, &given, NULL), 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_string_equal(state.tensors[i].name, make(i).name);
        assert_int_equal(state.tensors[i].row_start, i);
    }
    state_fini(&state);
    struct mst_err err = {0};
    tensors[2].spare = 1;
    assert_int_equal(state_take(&state, &given, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "tensor c: the program sets a field"));
}

static void a_size_that_was_not_set_names_the_macro(void **unused)
{
    (void)unused;
    const struct mst_tensor tensors[COUNT] = {make(0), make(1), make(2)};
    const size_t wrong[] = {0,     1,         8, sizeof tensors[0] - 4, sizeof tensors[0] + 1,
                            65537, UINT32_MAX};
    struct state state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct mst_state given = describe(tensors, wrong[i]);
        struct mst_err err = {0};
        assert_int_equal(state_take(&state, &given, &err), -EINVAL);
        assert_non_null(strstr(err.text, "MST_STATE_INIT"));
    }
    const struct mst_state unset = {.tensors = tensors, .tensor_count = COUNT};
    struct mst_err err = {0};
    assert_int_equal(state_take(&state, &unset, &err), -EINVAL);
    assert_non_null(strstr(err.text, "MST_STATE_INIT"));
    assert_int_equal(state_take(&state, NULL, &err), -EINVAL);
}

static void tensors_that_are_not_there_are_refused(void **unused)
{
    (void)unused;
    struct mst_state given = describe(NULL, sizeof(struct mst_tensor));
    struct state state;
    struct mst_err err = {0};
    assert_int_equal(state_take(&state, &given, &err), -EINVAL);
    assert_non_null(strstr(err.text, "state.tensors is NULL"));
    given.tensor_count = 0;
    assert_int_equal(state_take(&state, &given, &err), 0);
    state_fini(&state);
}

static void limits_hold(void **unused)
{
    (void)unused;
    const struct mst_tensor tensors[COUNT] = {make(0), make(1), make(2)};
    struct mst_state given = describe(tensors, sizeof tensors[0]);
    struct state state;
    given.cursor.size_bytes = MST_CKPT_CURSOR_MAX + 1;
    assert_int_equal(state_take(&state, &given, NULL), -EINVAL);
    given.cursor.size_bytes = 0;
    given.tensor_count = MANIFEST_TENSORS_MAX + 1;
    assert_int_equal(state_take(&state, &given, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_of_our_size_are_not_copied),
        cmocka_unit_test(what_an_older_program_does_not_know_is_zero),
        cmocka_unit_test(a_newer_program_is_understood_if_it_asks_for_nothing_new),
        cmocka_unit_test(a_size_that_was_not_set_names_the_macro),
        cmocka_unit_test(tensors_that_are_not_there_are_refused),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
