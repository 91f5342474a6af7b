/* The bar, with a terminal and a clock of the test's. */
#include "muster/core/cli/progress.h"

#include "muster/core/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static bool has_terminal;
static uint64_t clock_ns;

int __wrap_isatty(int fd);
int __wrap_isatty(int fd)
{
    assert_int_equal(fd, STDERR_FILENO);
    return has_terminal;
}

uint64_t __wrap_mst_now_ns(void);
uint64_t __wrap_mst_now_ns(void)
{
    return clock_ns;
}

/* What stderr gets from a bar that is shown at 0, 50 and 100 ms, and cleared. */
static const char *drawn(bool wanted, uint64_t total_bytes)
{
    static char text[512];
    FILE *file = tmpfile();
    assert_non_null(file);
    int own = dup(STDERR_FILENO);
    assert_true(own >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    struct progress progress;
    progress_init(&progress, wanted);
    clock_ns = 7;
    progress_show(&progress, "a", 0, total_bytes);
    clock_ns += 50 * MST_NS_PER_MS;
    progress_show(&progress, "b", 1, total_bytes);
    clock_ns += 50 * MST_NS_PER_MS;
    progress_show(&progress, "c", 3, total_bytes);
    progress_clear(&progress);
    assert_true(dup2(own, STDERR_FILENO) >= 0);
    close(own);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void test_a_bar_grows_now_and_then(void **state)
{
    (void)state;
    has_terminal = true;
    assert_string_equal(drawn(true, 4),
                        "\ra [                                        ]   0 %"
                        "\rc [##############################          ]  75 %\r\033[K");
}

static void test_nothing_has_no_part(void **state)
{
    (void)state;
    has_terminal = true;
    assert_string_equal(drawn(true, 0), "\r\033[K");
}

static void test_only_a_terminal_has_a_bar(void **state)
{
    (void)state;
    has_terminal = false;
    assert_string_equal(drawn(true, 4), "");
    has_terminal = true;
    assert_string_equal(drawn(false, 4), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bar_grows_now_and_then),
        cmocka_unit_test(test_nothing_has_no_part),
        cmocka_unit_test(test_only_a_terminal_has_a_bar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
