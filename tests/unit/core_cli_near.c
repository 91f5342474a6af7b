#include "muster/core/cli/near.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *nearest(const char *word)
{
    static const char *const names[] = {"nproc", "nnodes", "node-rank", "grace", "x"};
    struct near near = near_init(word);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        near_consider(&near, names[i]);
    return near.best ? near.best : "";
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(nearest("nproc"), "nproc");
    assert_string_equal(nearest("nporc"), "nproc");         /* two letters changed */
    assert_string_equal(nearest("noed-rnak"), "node-rank"); /* two swaps */
    assert_string_equal(nearest("proc"), "nproc");
    assert_string_equal(nearest("nprocs"), "nproc");
    assert_string_equal(nearest("node"), "node-rank"); /* begins it, and "nnodes" is two away */
    assert_string_equal(nearest("np"), "nproc");
    assert_string_equal(nearest("grac"), "grace");
    assert_string_equal(nearest("frobnicate"), "");
    assert_string_equal(nearest("grass"), "grace");
    assert_string_equal(nearest("y"), ""); /* all of it would have to change */
    assert_string_equal(nearest(""), "");
}

static void test_long_words(void **state)
{
    (void)state;
    char word[4096];
    memset(word, 'n', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_string_equal(nearest(word), "");
    struct near near = near_init("nnnnnnnn");
    near_consider(&near, word);
    assert_string_equal(near.best, word); /* which it begins */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
