#include "muster/core/quota.h"

#include "fake_root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CGROUP "/proc/self/cgroup"
#define POD "/sys/fs/cgroup/pod/cpu.max"
#define BOX "/sys/fs/cgroup/pod/box/cpu.max"
#define MOUNT "/sys/fs/cgroup/cpu.max"

static void expect(uint32_t quota_us, uint32_t period_us)
{
    struct mst_quota quota;
    assert_true(mst_quota_find(scratch_dir, &quota));
    assert_int_equal(quota.quota_us, quota_us);
    assert_int_equal(quota.period_us, period_us);
}

static void expect_none(void)
{
    struct mst_quota quota = {7, 8};
    assert_false(mst_quota_find(scratch_dir, &quota));
    assert_int_equal(quota.quota_us, 7);
    assert_int_equal(quota.period_us, 8);
}

static void the_tightest_on_the_way_up_counts(void **state)
{
    (void)state;
    expect_none();
    fake_root_put(CGROUP, "0::/pod/box\n");
    expect_none();
    fake_root_put(MOUNT, "800000 100000\n");
    expect(800000, 100000);
    fake_root_put(POD, "150000 50000\n"); /* 3 cores */
    expect(150000, 50000);
    fake_root_put(BOX, "max 100000\n");
    expect(150000, 50000);
    fake_root_put(BOX, "290000 100000\n");
    expect(290000, 100000);
    fake_root_put(BOX, "310000 100000\n");
    expect(150000, 50000);
    fake_root_put("/sys/fs/cgroup/other/cpu.max", "1000 100000\n");
    expect(150000, 50000);
}

/* A namespace shows its own cgroup as the root; without one, a container names a path that is not
 * mounted where it runs. */
static void containers_see_the_root(void **state)
{
    (void)state;
    static const char *const cgroups[] = {"0::/\n", "0::/not/mounted/here\n", "0::/../../box\n"};
    fake_root_put(MOUNT, "200000 100000\n");
    for (size_t i = 0; i < sizeof cgroups / sizeof cgroups[0]; i++) {
        fake_root_put(CGROUP, cgroups[i]);
        expect(200000, 100000);
    }
    fake_root_put(CGROUP, "4:cpu:/pod\n"); /* version 1 */
    expect_none();
}

static void what_is_no_quota_is_none(void **state)
{
    (void)state;
    static const char *const lines[] = {"max 100000\n",
                                        "200000 0\n",
                                        "0 100000\n",
                                        "200000\n",
                                        "200000 \n",
                                        "200000 100000 extra\n",
                                        "-200000 100000\n",
                                        "x\n",
                                        "",
                                        "4294967296 100000\n",
                                        "99999999999999999999 1\n"};
    fake_root_put(CGROUP, "0::/\n");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        fake_root_put(MOUNT, lines[i]);
        expect_none();
    }
    fake_root_put(MOUNT, "4294967295 100000");
    expect(UINT32_MAX, 100000);
}

static void version_1_has_a_file_for_each_number(void **state)
{
    (void)state;
    fake_root_put(MOUNT, "max 100000");
    fake_root_put(CGROUP, "5:memory:/box\n4:cpuset:/box\n3:cpu,cpuacct:/pod/box\n0::/\n");
    fake_root_put("/sys/fs/cgroup/cpu/pod/box/cpu.cfs_quota_us", "-1\n");
    fake_root_put("/sys/fs/cgroup/cpu/pod/box/cpu.cfs_period_us", "100000\n");
    expect_none();
    fake_root_put("/sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us", "250000\n");
    expect_none(); /* of an unknown period */
    fake_root_put("/sys/fs/cgroup/cpu/pod/cpu.cfs_period_us", "100000\n");
    expect(250000, 100000);
    fake_root_put("/sys/fs/cgroup/cpu/pod/box/cpu.cfs_quota_us", "150000\n");
    expect(150000, 100000);
    fake_root_put(CGROUP, "3:cpuacct,cpu:/pod\n");
    expect(250000, 100000);
    static const char *const others[] = {"3:cpuacct:/pod\n", "3:cpu\n", "cpu:/pod\n",
                                         "3:cpux:/pod\n",    "::\n",    ":\n"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        fake_root_put(CGROUP, others[i]);
        expect_none();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tightest_on_the_way_up_counts),
        cmocka_unit_test(containers_see_the_root),
        cmocka_unit_test(what_is_no_quota_is_none),
        cmocka_unit_test(version_1_has_a_file_for_each_number),
    };
    return cmocka_run_group_tests_name("core_quota", tests, scratch_setup, scratch_teardown);
}
