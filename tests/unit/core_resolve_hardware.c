#include "muster/core/resolve/hardware.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[64];

/* Folders on the way are made; the tree is removed by the group's teardown. */
static void put_file(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/muster-hardware-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static const char *const files[] = {"/dev/nvidia0",
                                    "/dev/nvidia1",
                                    "/dev/nvidia12",
                                    "/dev/nvidiactl",
                                    "/dev/nvidia-uvm",
                                    "/dev/nvidia",
                                    "/proc/self/cgroup",
                                    "/sys/fs/cgroup/pod/cpu.max",
                                    "/sys/fs/cgroup/pod/box/cpu.max"};
static const char *const folders[] = {"/dev",
                                      "/proc/self",
                                      "/proc",
                                      "/sys/fs/cgroup/pod/box",
                                      "/sys/fs/cgroup/pod",
                                      "/sys/fs/cgroup",
                                      "/sys/fs",
                                      "/sys",
                                      ""};

static int remove_root(void **state)
{
    (void)state;
    char full[256];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(full, sizeof full, "%s%s", root, files[i]);
        (void)remove(full);
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(full, sizeof full, "%s%s", root, folders[i]);
        (void)remove(full);
    }
    return 0;
}

static void test_gpus(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        put_file(files[i], "");
    char dev[128];
    snprintf(dev, sizeof dev, "%s/dev", root);
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
    put_file("/proc/self/cgroup", "0::/pod/box\n");
    put_file("/sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
    assert_int_equal(hardware_core_count(root), all);
    put_file("/sys/fs/cgroup/pod/cpu.max", "50000 100000\n"); /* the parent limits too */
    assert_int_equal(hardware_core_count(root), 1);
    put_file("/sys/fs/cgroup/pod/cpu.max", "9900000 100000\n");
    assert_int_equal(hardware_core_count(root), all < 99 ? all : 99);
    put_file("/sys/fs/cgroup/pod/cpu.max", "nonsense\n");
    assert_int_equal(hardware_core_count(root), all);
    put_file("/proc/self/cgroup", "4:cpu:/pod\n"); /* version 1: not read */
    assert_int_equal(hardware_core_count(root), all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpus),
        cmocka_unit_test(test_cores),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
