#include "muster/core/resolve/hardware.h"

#include "fake_root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_gpus(void **state)
{
    (void)state;
    static const char *const files[] = {"/dev/nvidia0",   "/dev/nvidia1",    "/dev/nvidia12",
                                        "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        fake_root_put(files[i], "");
    char dev[128];
    (void)snprintf(dev, sizeof dev, "%s/dev", scratch_dir); /* made for it */
    assert_int_equal(hardware_gpu_count(dev, NULL, NULL), 3);
    assert_int_equal(hardware_gpu_count(dev, NULL, "all"), 3);
    assert_int_equal(hardware_gpu_count(dev, "0,1", "all"), 2);
    assert_int_equal(hardware_gpu_count(dev, "0,1,2,3,4", NULL), 3);
    assert_int_equal(hardware_gpu_count(dev, "0,-1,2", NULL), 1);
    assert_int_equal(hardware_gpu_count(dev, "", NULL), 0);
    assert_int_equal(hardware_gpu_count(dev, NULL, "void"), 0);
    assert_int_equal(hardware_gpu_count(dev, NULL, "none"), 0);
    assert_int_equal(hardware_gpu_count(dev, NULL, "GPU-4f2a,GPU-77"), 2);
    assert_int_equal(hardware_gpu_count("/nowhere", NULL, NULL), 0);
}

static void test_cores(void **state)
{
    (void)state;
    uint32_t all = hardware_core_count("/nowhere");
    assert_true(all >= 1);
    fake_root_put("/proc/self/cgroup", "0::/pod/box\n");
    fake_root_put("/sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
    assert_int_equal(hardware_core_count(scratch_dir), all);
    fake_root_put("/sys/fs/cgroup/pod/cpu.max", "50000 100000\n"); /* the parent limits too */
    assert_int_equal(hardware_core_count(scratch_dir), 1);
    fake_root_put("/sys/fs/cgroup/pod/cpu.max", "110000 100000\n");
    assert_int_equal(hardware_core_count(scratch_dir), all < 2 ? all : 2);
    fake_root_put("/sys/fs/cgroup/pod/cpu.max", "9900000 100000\n");
    assert_int_equal(hardware_core_count(scratch_dir), all < 99 ? all : 99);
    fake_root_put("/sys/fs/cgroup/pod/cpu.max", "nonsense\n");
    assert_int_equal(hardware_core_count(scratch_dir), all);
    fake_root_put("/proc/self/cgroup", "4:cpu:/pod\n"); /* version 1: not read */
    assert_int_equal(hardware_core_count(scratch_dir), all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpus),
        cmocka_unit_test(test_cores),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
