#include "muster/launcher/affinity.h"

#include "muster/launcher/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct topology topology;

static cpu_set_t cpus(const char *list)
{
    cpu_set_t set;
    topology_parse_cpus(list, &set);
    return set;
}

/* Two sockets of eight cores of two threads, numbered as Linux does: all first threads, then all
 * second ones. Four GPUs on each socket. */
static int make_server(void **state)
{
    (void)state;
    for (uint16_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        topology.cpus[cpu] = (struct topology_cpu){.core = cpu};
    for (uint16_t cpu = 0; cpu < 32; cpu++)
        topology.cpus[cpu] = (struct topology_cpu){.core = cpu % 16, .node = cpu % 16 / 8};
    topology.gpu_count = 8;
    for (size_t gpu = 0; gpu < 8; gpu++)
        topology.gpus[gpu] = (struct topology_gpu){
            .near = cpus(gpu < 4 ? "0-7,16-23" : "8-15,24-31")};
    return 0;
}

static void expect_share(const char *allowed_list, uint32_t rank, uint32_t size, const char *wanted)
{
    cpu_set_t allowed = cpus(allowed_list), share;
    char text[256];
    assert_true(affinity_share(&topology, &allowed, rank, size, &share));
    assert_string_equal(affinity_text(&share, text, sizeof text), wanted);
}

/* Every CPU of `allowed` belongs to one rank at most, and no rank has two cores more than
 * another. */
static void check_shares(const cpu_set_t *allowed, uint32_t local_size)
{
    int least = CPU_SETSIZE, most = 0;
    cpu_set_t all, share, both;
    CPU_ZERO(&all);
    for (uint32_t rank = 0; rank < local_size; rank++) {
        assert_true(affinity_share(&topology, allowed, rank, local_size, &share));
        CPU_AND(&both, &all, &share);
        assert_int_equal(CPU_COUNT(&both), 0);
        CPU_OR(&all, &all, &share);
        least = CPU_COUNT(&share) < least ? CPU_COUNT(&share) : least;
        most = CPU_COUNT(&share) > most ? CPU_COUNT(&share) : most;
    }
    assert_true(CPU_EQUAL(&all, allowed));
    assert_in_range(most - least, 0, 1);
    assert_true(least >= 1);
}

static void shares_cover_the_allowed_cores(void **state)
{
    (void)state;
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    for (uint16_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        topology.cpus[cpu] = (struct topology_cpu){.core = cpu};
    topology.gpu_count = 0;
    for (size_t cpu = 0, count = 0; count < 17; cpu += cpu % 3 + 1) {
        CPU_SET(cpu, &allowed);
        count++;
        for (uint32_t local_size = 1; local_size <= count; local_size++)
            check_shares(&allowed, local_size);
    }
}

static void more_ranks_than_cpus_are_not_bound(void **state)
{
    (void)state;
    cpu_set_t allowed = cpus("5,9"), share = cpus("");
    assert_false(affinity_share(&topology, &allowed, 0, 3, &share));
    assert_int_equal(CPU_COUNT(&share), 0);
}

static void ranks_are_on_the_socket_of_their_gpu(void **state)
{
    (void)state;
    static const char *const wanted[] = {"0-1,16-17", "2-3,18-19",   "4-5,20-21",   "6-7,22-23",
                                         "8-9,24-25", "10-11,26-27", "12-13,28-29", "14-15,30-31"};
    for (uint32_t rank = 0; rank < 8; rank++)
        expect_share("0-31", rank, 8, wanted[rank]);
    expect_share("0-31", 0, 2, "0-3,16-19"); /* devices 0 and 1: the same socket */
    expect_share("0-31", 1, 2, "4-7,20-23");
    expect_share("0-31", 8, 16, "8,24"); /* two ranks a device */
}

static void cores_come_before_threads(void **state)
{
    (void)state;
    topology.gpu_count = 0;
    expect_share("0-31", 0, 16, "0,16");
    expect_share("0-31", 15, 16, "15,31");
    expect_share("0-31", 0, 32, "0");
    expect_share("0-31", 1, 32, "16");
    expect_share("0-31", 0, 2, "0-7,16-23");
    expect_share("0-3,8-11", 1, 2, "8-11");
    expect_share("0,16,1", 0, 2, "0,16");
}

/* A container that may use one socket only has GPUs of both. */
static void a_gpu_without_near_cpus_is_near_to_all(void **state)
{
    (void)state;
    expect_share("0-7", 7, 8, "7");
    topology.gpu_count = 2;
    topology.gpus[0].near = cpus("");
    topology.gpus[1].near = cpus("");
    expect_share("0-3", 1, 2, "2-3");
}

static void gpus_that_overlap_are_no_guide(void **state)
{
    (void)state;
    topology.gpu_count = 3;
    topology.gpus[0].near = cpus("0-7");
    topology.gpus[1].near = cpus("4-11");
    topology.gpus[2].near = cpus("12-15");
    cpu_set_t allowed = cpus("0-15");
    check_shares(&allowed, 3);
    expect_share("0-15", 2, 3, "10-15");
}

static void ranks_that_share_devices_follow_one_another(void **state)
{
    (void)state;
    assert_int_equal(affinity_gpu(0, 3, 4), UINT32_MAX);
    assert_int_equal(affinity_gpu(8, 3, 4), 3);
    assert_int_equal(affinity_gpu(2, 1, 4), 0);
    assert_int_equal(affinity_gpu(2, 2, 4), 1);
    assert_int_equal(affinity_gpu(1, 1023, 1024), 0);
}

static void text_is_cut_where_it_has_to(void **state)
{
    (void)state;
    char text[8];
    cpu_set_t set = cpus("1,3-4,6,8,10");
    assert_string_equal(affinity_text(&set, text, sizeof text), "1,3-4,6");
    CPU_ZERO(&set);
    assert_string_equal(affinity_text(&set, text, sizeof text), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_cover_the_allowed_cores),
        cmocka_unit_test_setup(more_ranks_than_cpus_are_not_bound, make_server),
        cmocka_unit_test_setup(ranks_are_on_the_socket_of_their_gpu, make_server),
        cmocka_unit_test_setup(cores_come_before_threads, make_server),
        cmocka_unit_test_setup(a_gpu_without_near_cpus_is_near_to_all, make_server),
        cmocka_unit_test_setup(gpus_that_overlap_are_no_guide, make_server),
        cmocka_unit_test(ranks_that_share_devices_follow_one_another),
        cmocka_unit_test(text_is_cut_where_it_has_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
