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
    assert_int_equal(machine.facts.gpu_count, 0);
    assert_true(machine.facts.core_count >= 1);
    machine_fini(&machine);
    machine_init(&machine, bare, "");
    machine_look(&machine);
    assert_string_equal(machine.facts.pod_ip, "");
    machine_fini(&machine);
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
        cmocka_unit_test(files_are_read_under_the_root),
        cmocka_unit_test(a_folder_is_the_list_of_its_files),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
