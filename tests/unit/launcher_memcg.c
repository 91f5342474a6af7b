#include "muster/launcher/memcg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *text, enum memcg_version version, const char *path)
{
    char got[MEMCG_PATH_BYTES] = "untouched";
    assert_int_equal(memcg_find(text, got), version);
    assert_string_equal(got, path);
}

static void test_whose_controller_counts(void **state)
{
    (void)state;
    expect("0::/pod/box\n", MEMCG_V2, "/pod/box");
    expect("0::/", MEMCG_V2, "/");
    expect("5:memory:/docker/1\n0::/\n", MEMCG_V1, "/docker/1");
    expect("0::/pod\n4:cpu,memory,pids:/a:b\n", MEMCG_V1, "/a:b"); /* wherever it stands */
    expect("4:memoryless,unmemory:/a\n", MEMCG_NONE, "untouched");
    expect("9:name=systemd:/x\n", MEMCG_NONE, "untouched");
    expect("", MEMCG_NONE, "untouched");
    expect("4:memory", MEMCG_NONE, "untouched");
    expect("4\nmemory:/a:/b\n", MEMCG_NONE, "untouched");
}

static void test_a_path_that_is_too_long(void **state)
{
    (void)state;
    char text[MEMCG_PATH_BYTES + 16], path[MEMCG_PATH_BYTES];
    memset(text, 'x', sizeof text);
    memcpy(text, "0::/", 4);
    text[3 + MEMCG_PATH_BYTES] = '\0';
    assert_int_equal(memcg_find(text, path), MEMCG_NONE);
    text[2 + MEMCG_PATH_BYTES] = '\0';
    assert_int_equal(memcg_find(text, path), MEMCG_V2);
    assert_int_equal(strlen(path), MEMCG_PATH_BYTES - 1);
}

static void test_counts(void **state)
{
    (void)state;
    uint64_t count = 7;
    static const char v2[] = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
    assert_true(memcg_count(v2, "oom_kill", &count));
    assert_int_equal(count, 2);
    assert_true(memcg_count("oom_kill_disable 1\nunder_oom 0\noom_kill 5", "oom_kill", &count));
    assert_int_equal(count, 5);
    assert_false(memcg_count("oom_kill_disable 0\nunder_oom 0\n", "oom_kill", &count));
    assert_false(memcg_count("oom_kill \n", "oom_kill", &count));
    assert_false(memcg_count("oom_kill 1x\n", "oom_kill", &count));
    assert_false(memcg_count("oom_kill -1\n", "oom_kill", &count));
    assert_false(memcg_count("oom_kill 18446744073709551616\n", "oom_kill", &count));
    assert_int_equal(count, 5);
    assert_true(memcg_count("oom_kill 18446744073709551615\n", "oom_kill", &count));
    assert_true(count == UINT64_MAX);
}

static void test_bytes(void **state)
{
    (void)state;
    uint64_t size_bytes = 7;
    assert_true(memcg_bytes("67108864\n", &size_bytes));
    assert_int_equal(size_bytes, 67108864);
    assert_true(memcg_bytes("max\n", &size_bytes) && size_bytes == MEMCG_UNLIMITED);
    assert_true(memcg_bytes("0", &size_bytes) && size_bytes == 0);
    assert_true(memcg_bytes("9223372036854771712\n", &size_bytes)); /* version 1's "none" */
    assert_true(size_bytes == MEMCG_UNLIMITED);
    assert_false(memcg_bytes("", &size_bytes) || memcg_bytes("maximum\n", &size_bytes) ||
                 memcg_bytes("-1\n", &size_bytes) || memcg_bytes("1 2\n", &size_bytes));
}

static void test_sizes(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(memcg_size(64 << 20, text, sizeof text), "64.0 MiB");
    assert_string_equal(memcg_size((uint64_t)3 << 29, text, sizeof text), "1.5 GiB");
    assert_string_equal(memcg_size(1 << 19, text, sizeof text), "0.5 MiB");
    assert_string_equal(memcg_size(MEMCG_UNLIMITED, text, sizeof text), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whose_controller_counts),
        cmocka_unit_test(test_a_path_that_is_too_long),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
