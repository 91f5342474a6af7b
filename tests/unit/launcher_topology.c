#include "muster/launcher/topology.h"

#include "fake_root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CPU "/sys/devices/system/cpu/cpu"
#define NODE "/sys/devices/system/node/"
#define GPU "/proc/driver/nvidia/gpus/"

static struct topology topology;

static cpu_set_t cpus(const char *list)
{
    cpu_set_t set;
    topology_parse_cpus(list, &set);
    return set;
}

static void put_gpu(const char *bus_id, int minor, const char *uuid, const char *near)
{
    char path[128], text[256];
    (void)snprintf(path, sizeof path, GPU "%s/information", bus_id);
    (void)snprintf(text, sizeof text,
                   "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 78\nGPU UUID: \t %s\n"
                   "Bus Type: \t PCIe\nBus Location: \t %s\nDevice Minor: \t %d\n",
                   uuid, bus_id, minor);
    fake_root_put(path, text);
    (void)snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/local_cpulist", bus_id);
    fake_root_put(path, near);
}

static void reads_lists_as_the_kernel_writes_them(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        int count;
    } lists[] = {{"", 0},          {"\n", 0},   {"5\n", 1},           {"0-3,8,10-11\n", 7},
                 {"1023-1030", 1}, {"2000", 0}, {"3-1", 0},           {"x", 0},
                 {"0,x", 1},       {"0-", 1},   {"99999999999999", 0}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        cpu_set_t set = cpus(lists[i].list);
        assert_int_equal(CPU_COUNT(&set), lists[i].count);
    }
}

static void without_sys_each_cpu_is_a_core(void **state)
{
    (void)state;
    cpu_set_t allowed = cpus("0-7");
    topology_read(scratch_dir, &allowed, NULL, &topology);
    assert_int_equal(topology.gpu_count, 0);
    for (uint16_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        assert_int_equal(topology.cpus[cpu].core, cpu);
        assert_int_equal(topology.cpus[cpu].node, 0);
    }
}

static void finds_cores_and_nodes(void **state)
{
    (void)state;
    fake_root_put(CPU "0/topology/thread_siblings_list", "0,4\n");
    fake_root_put(CPU "1/topology/thread_siblings_list", "1,5\n");
    fake_root_put(CPU "2/topology/thread_siblings_list", "2,6\n");
    fake_root_put(CPU "7/topology/thread_siblings_list", "3,7\n");
    fake_root_put(NODE "has_cpu", "0,2\n");
    fake_root_put(NODE "node0/cpulist", "0-1,4-5\n");
    fake_root_put(NODE "node1/cpulist", "0-7\n"); /* has none, says the list */
    fake_root_put(NODE "node2/cpulist", "2-3,6-7\n");
    cpu_set_t allowed = cpus("0-2,4-7");
    topology_read(scratch_dir, &allowed, NULL, &topology);
    static const struct topology_cpu wanted[] = {{0, 0}, {1, 0}, {2, 2}, {3, 2},
                                                 {0, 0}, {1, 0}, {2, 2}, {3, 2}};
    for (size_t cpu = 0; cpu < 8; cpu++) {
        assert_int_equal(topology.cpus[cpu].core, wanted[cpu].core);
        assert_int_equal(topology.cpus[cpu].node, wanted[cpu].node);
    }
}

static void expect_gpus(const char *visible, const char *const *bus_ids)
{
    cpu_set_t allowed = cpus("0-7");
    topology_read(scratch_dir, &allowed, visible, &topology);
    uint32_t count = 0;
    for (; bus_ids[count]; count++)
        assert_string_equal(topology.gpus[count].bus_id, bus_ids[count]);
    assert_int_equal(topology.gpu_count, count);
}

#define BUS_IDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_GPU ((const char *const[]){NULL})

static void finds_the_gpus_of_this_container(void **state)
{
    (void)state;
    put_gpu("0000:5d:00.0", 2, "GPU-2b3c", "4-7\n");
    put_gpu("0000:0a:00.0", 0, "GPU-1a2b", "0-3\n");
    put_gpu("0000:8f:00.0", 1, "GPU-3c4d", "4-7\n");
    expect_gpus(NULL, NO_GPU);
    fake_root_put("/dev/nvidia0", "");
    fake_root_put("/dev/nvidia2", ""); /* the one with minor 1 was not given to us */
    expect_gpus(NULL, BUS_IDS("0000:0a:00.0", "0000:5d:00.0"));
    cpu_set_t low = cpus("0-3"), high = cpus("4-7");
    assert_true(CPU_EQUAL(&topology.gpus[0].near, &low));
    assert_true(CPU_EQUAL(&topology.gpus[1].near, &high));
    expect_gpus("1,0", BUS_IDS("0000:5d:00.0", "0000:0a:00.0"));
    expect_gpus("1", BUS_IDS("0000:5d:00.0"));
    expect_gpus("GPU-2b,0", BUS_IDS("0000:5d:00.0", "0000:0a:00.0"));
}

static void a_list_that_it_cannot_follow_is_no_guide(void **state)
{
    (void)state;
    put_gpu("0000:0a:00.0", 0, "GPU-1a2b", "0-3\n");
    fake_root_put("/dev/nvidia0", "");
    static const char *const lists[] = {"", "-1", "0,7", "1", "MIG-1a2b", "GPU-ff", "0,,0", "no"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        expect_gpus(lists[i], NO_GPU);
}

static void a_gpu_may_be_near_to_nothing_known(void **state)
{
    (void)state;
    fake_root_put(GPU "0000:0a:00.0/information", "Device Minor: 0\n");
    fake_root_put("/dev/nvidia0", "");
    expect_gpus(NULL, BUS_IDS("0000:0a:00.0"));
    assert_int_equal(CPU_COUNT(&topology.gpus[0].near), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_lists_as_the_kernel_writes_them),
        cmocka_unit_test_setup_teardown(without_sys_each_cpu_is_a_core, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(finds_cores_and_nodes, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(finds_the_gpus_of_this_container, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_list_that_it_cannot_follow_is_no_guide, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_gpu_may_be_near_to_nothing_known, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
