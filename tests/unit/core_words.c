#include "muster/core/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const none[] = {NULL};
static const char *const one[] = {"auto", NULL};
static const char *const two[] = {"auto", "none", NULL};
static const char *const three[] = {"auto", "uring", "threads", NULL};

static void finds_whole_words(void **state)
{
    (void)state;
    assert_int_equal(mst_words_find(three, "auto"), 0);
    assert_int_equal(mst_words_find(three, "threads"), 2);
    assert_int_equal(mst_words_find(three, "thread"), -1);
    assert_int_equal(mst_words_find(three, "Auto"), -1);
    assert_int_equal(mst_words_find(three, ""), -1);
    assert_int_equal(mst_words_find(none, "auto"), -1);
    assert_int_equal(mst_words_find(NULL, "auto"), -1);
}

static void joins_as_people_do(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(mst_words_join(none, text, sizeof text), "");
    assert_string_equal(mst_words_join(one, text, sizeof text), "auto");
    assert_string_equal(mst_words_join(two, text, sizeof text), "auto or none");
    assert_ptr_equal(mst_words_join(three, text, sizeof text), text);
    assert_string_equal(text, "auto, uring or threads");
}

static void cuts_at_every_size(void **state)
{
    (void)state;
    static const char whole[] = "auto, uring or threads";
    for (size_t cap = 1; cap <= sizeof whole; cap++) {
        char text[sizeof whole + 1];
        memset(text, '#', sizeof text);
        assert_int_equal(strlen(mst_words_join(three, text, cap)), cap - 1);
        assert_memory_equal(text, whole, cap - 1);
        assert_int_equal(text[cap], '#');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_whole_words),
        cmocka_unit_test(joins_as_people_do),
        cmocka_unit_test(cuts_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
