#include "muster/launcher/cause.h"

#include "muster/launcher/tail.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64], got[2 * CAUSE_BYTES_MAX];

static int make_file(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/muster-cause-XXXXXX");
    int fd = mkstemp(path);
    return fd >= 0 && write(fd, "what was there before, and longer", 33) == 33 ? close(fd) : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static const char *content(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, got, sizeof got - 1);
    assert_true(size >= 0);
    got[size] = '\0';
    close(fd);
    return got;
}

static void test_the_reason(void **state)
{
    (void)state;
    assert_int_equal(cause_write(path, 3, "exit code 5", "out of\nluck\n"), 0);
    assert_string_equal(content(), "muster: rank 3: exit code 5\nout of\nluck\n");
    assert_int_equal(cause_write(path, -1, "preempted", ""), 0);
    assert_string_equal(content(), "muster: preempted\n");
}

static void test_the_longest_fits(void **state)
{
    (void)state;
    char words[TAIL_BYTES + 2];
    memset(words, 'x', sizeof words);
    words[TAIL_BYTES] = '\n';
    words[TAIL_BYTES + 1] = '\0';
    assert_int_equal(cause_write(path, INT64_MAX, "killed by SIGKILL", words), 0);
    assert_true(strlen(content()) <= CAUSE_BYTES_MAX);
    assert_string_equal(got + strlen(got) - strlen(words), words);
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    assert_int_equal(cause_write("/tmp/muster-no-such-file", 1, "w", ""), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(cause_write(path, 1, "w", ""), 0); /* nobody reads it */
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(cause_write(path, 1, "w", ""), 0);
    assert_int_equal(read(reader, got, 1), 0);
    close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_reason, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_the_longest_fits, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_what_is_no_file, make_file, remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
