/* What this machine tells the resolver: files under another root, folders, and what is not
 * there. */
#include "muster/core/resolve/machine.h"

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

static char root[] = "/tmp/muster-machine-XXXXXX";
static struct mst_answer answer;

static void put(const char *path, const char *text)
{
    char full[256];
    (void)snprintf(full, sizeof full, "%s%s", root, path);
    FILE *file = fopen(full, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/hosts", "/etc/volcano/a.host", "/etc/volcano/b.host", "/etc/volcano", "/etc", ""};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char full[256];
        (void)snprintf(full, sizeof full, "%s%s", root, paths[i]);
        (void)remove(full);
    }
    return 0;
}

static void the_hosts_name_is_known(void **state)
{
    (void)state;
    char *env[] = {NULL};
    struct machine machine;
    machine_init(&machine, env, "");
    char name[256];
    assert_int_equal(gethostname(name, sizeof name), 0);
    assert_string_equal(machine.facts.hostname, name);
    machine_fini(&machine);
}

static void the_environment_tells_address_and_devices(void **state)
{
    (void)state;
    char address[] = "POD_IP=10.0.0.7", hidden[] = "CUDA_VISIBLE_DEVICES=";
    char *env[] = {address, hidden, NULL}, *bare[] = {NULL};
    struct machine machine;
    machine_init(&machine, env, "");
    machine_look(&machine);
    assert_string_equal(machine.facts.pod_ip, "10.0.0.7");
    assert_int_equal(mst_machine_gpus(&machine.facts), 0);
    assert_true(mst_machine_cores(&machine.facts) >= 1);
    machine_fini(&machine);
    machine_init(&machine, bare, "");
    machine_look(&machine);
    assert_string_equal(machine.facts.pod_ip, "");
    machine_fini(&machine);
}

static uint32_t counted;

static void count(void *arg)
{
    struct mst_machine *facts = arg;
    facts->core_count = 8;
    counted++;
}

/* Nor does anybody look for devices and quotas where the ranks are counted. */
static void hardware_is_counted_where_nobody_says_a_number(void **state)
{
    (void)state;
    static char one[] = "MST_NPROC_PER_NODE=3", one_node[] = "MST_NNODES=1",
                by_cores[] = "PET_NPROC_PER_NODE=cpu", nodes[] = "PET_NNODES=1";
    const struct {
        char *env[3];
        bool is_sized;
        int64_t local_size;
        bool is_counted;
    } cases[] = {{{NULL}, false, 8, true},
                 {{NULL}, true, 1, false},
                 {{one, one_node, NULL}, false, 3, false},
                 {{by_cores, nodes, NULL}, true, 8, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mst_machine facts = {.env = cases[i].env,
                                    .hostname = "",
                                    .pod_ip = "",
                                    .is_sized = cases[i].is_sized,
                                    .count = count,
                                    .arg = &facts};
        counted = 0;
        assert_int_equal(mst_resolve(&facts, NULL, &answer), 0);
        assert_int_equal(answer.plan.local_size, cases[i].local_size);
        assert_int_equal(counted > 0, cases[i].is_counted);
    }
}

static void files_are_read_under_the_root(void **state)
{
    (void)state;
    char variable[] = "HYDRA_HOST_FILE=/hosts", *env[] = {variable, NULL};
    struct machine machine;
    machine_init(&machine, env, root);
    assert_true(mst_resolve(&machine.facts, NULL, &answer) < 0);
    put("/hosts", "a:2\nb:2\n");
    assert_int_equal(mst_resolve(&machine.facts, NULL, &answer), 0);
    assert_int_equal(answer.plan.world_size, 4);
    machine_fini(&machine);
}

static void a_folder_is_the_list_of_its_files(void **state)
{
    (void)state;
    char folder[256], variable[] = "VC_TASK_INDEX=0", *env[] = {variable, NULL};
    (void)snprintf(folder, sizeof folder, "%s/etc", root);
    assert_int_equal(mkdir(folder, 0700), 0);
    (void)snprintf(folder, sizeof folder, "%s/etc/volcano", root);
    assert_int_equal(mkdir(folder, 0700), 0);
    put("/etc/volcano/b.host", "j-b-0.j\n");
    put("/etc/volcano/a.host", "j-a-0.j\nj-a-1.j\n");
    struct machine machine;
    machine_init(&machine, env, root);
    machine.facts.hostname = "j-b-0";
    assert_int_equal(mst_resolve(&machine.facts, NULL, &answer), 0);
    assert_int_equal(answer.plan.node_count, 3);
    assert_int_equal(answer.plan.node_rank, 2);
    machine_fini(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hosts_name_is_known),
        cmocka_unit_test(the_environment_tells_address_and_devices),
        cmocka_unit_test(hardware_is_counted_where_nobody_says_a_number),
        cmocka_unit_test(files_are_read_under_the_root),
        cmocka_unit_test(a_folder_is_the_list_of_its_files),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
