/* How a row of the table of families is read, and that the table itself is sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/resolve/parser.h"
#include "resolve_fixture.h"

static const struct resolve_family row = {
    .scheme = "row",
    .scheduler = "Row",
    .signs = "R_NODES R_NODE",
    .unless = "OTHER",
    .mode = MST_PLAN_SPAWN,
    .numbers = {RESOLVE_NUMBER("R_NODES", node_count, 1, RESOLVE_NODES_MAX, true),
                RESOLVE_NUMBER("R_NODE", node_rank, 0, RESOLVE_NODES_MAX, true),
                RESOLVE_DEVICES("R_GPUS"), RESOLVE_MASTER_PORT("R_PORT")},
    .host = "R_HOST",
    .hosts = "R_HOSTS",
    .port = 77,
    .roles = {"first", "rest"},
};

static struct mst_plan plan;
static struct mst_err err;

static int read(const struct resolve_family *family, const char *env)
{
    struct pod pod;
    pod_init(&pod);
    pod_env(&pod, env);
    pod.machine.pod_ip = "10.0.0.8";
    plan = mst_plan_unknown;
    plan.scheduler = family->scheduler;
    err = (struct mst_err){0};
    return resolve_family_read(family, &pod.machine, &plan, &err);
}

static void a_row_gives_numbers_addresses_and_roles(void **state)
{
    (void)state;
    assert_int_equal(read(&row, "R_NODES=3 R_NODE=1 R_GPUS=4 R_HOST=h"), 1);
    assert_int_equal(plan.mode, MST_PLAN_SPAWN);
    assert_int_equal(plan.node_count, 3);
    assert_int_equal(plan.node_rank, 1);
    assert_int_equal(plan.device_count, 4);
    assert_int_equal(plan.local_size, MST_UNKNOWN);
    assert_string_equal(plan.master_host, "h");
    assert_int_equal(plan.master_port, MST_UNKNOWN);
    assert_int_equal(plan.default_port, 77);
    assert_string_equal(plan.role, "rest");
    assert_int_equal(read(&row, "R_NODES=3 R_NODE=0 R_HOST=h:5"), 1);
    assert_int_equal(plan.master_port, 5);
    assert_string_equal(plan.role, "first");
}

static void a_list_names_node_0_and_places_this_one(void **state)
{
    (void)state;
    struct resolve_family list = row;
    list.numbers[0].needed = list.numbers[1].needed = false;
    list.signs = "R_HOSTS";
    assert_int_equal(read(&list, "R_HOSTS=10.0.0.7,10.0.0.8,10.0.0.9"), 1);
    assert_string_equal(plan.master_host, "10.0.0.7");
    assert_int_equal(plan.node_count, 3);
    assert_int_equal(plan.node_rank, 1);
    assert_int_equal(read(&list, "R_HOSTS=10.0.0.7 R_NODES=2"), -22);
    assert_non_null(strstr(err.text, "R_HOSTS lists 1 hosts, but Row says 2 nodes"));
}

static void a_row_is_there_by_its_signs(void **state)
{
    (void)state;
    struct resolve_family with = row;
    with.with = "R_HOST";
    assert_int_equal(read(&row, "R_GPUS=4"), 0);
    assert_int_equal(read(&row, "R_NODES=1 R_NODE=0 OTHER="), 0);
    assert_int_equal(read(&with, "R_NODES=1 R_NODE=0"), 0);
    assert_int_equal(read(&with, "R_NODES=1 R_NODE=0 R_HOST=h"), 1);
    assert_true(read(&row, "R_NODES=") < 0); /* an operator left it open */
    with.mode = MST_PLAN_RANK;
    assert_int_equal(read(&with, "R_NODES= R_HOST=h"), 0); /* a rank has a number */
}

static void all_that_is_missing_is_named_at_once(void **state)
{
    (void)state;
    assert_true(read(&row, "R_NODE=") < 0);
    assert_non_null(strstr(err.text, "R_NODES, R_NODE are not set, though Row is there: set them"));
    assert_true(read(&row, "R_NODES=2") < 0);
    assert_non_null(strstr(err.text, "R_NODE is not set, though Row is there: set both"));
}

static void an_empty_address_matters_to_several_nodes(void **state)
{
    (void)state;
    assert_int_equal(read(&row, "R_NODES=1 R_NODE=0 R_HOST="), 1);
    assert_true(read(&row, "R_NODES=2 R_NODE=0 R_HOST=") < 0);
    assert_non_null(strstr(err.text, "R_HOST is empty"));
}

static void a_link_to_a_service_is_no_port(void **state)
{
    (void)state;
    assert_int_equal(read(&row, "R_NODES=2 R_NODE=0 R_HOST=h R_PORT=tcp://10.0.0.1:80"), 1);
    assert_int_equal(plan.master_port, MST_UNKNOWN);
    assert_int_equal(read(&row, "R_NODES=2 R_NODE=0 R_HOST=h R_PORT=udp://10.0.0.1:80"), 1);
    assert_true(read(&row, "R_NODES=2 R_NODE=0 R_HOST=h R_PORT=http://10.0.0.1:80") < 0);
}

static void addresses_may_be_of_ipv6(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int64_t port;
    } hosts[] = {
        {"R_NODES=2 R_NODE=0 R_HOST=[fd00::7]", "fd00::7", MST_UNKNOWN},
        {"R_NODES=2 R_NODE=0 R_HOST=[fd00::7]:9", "fd00::7", 9},
        {"R_NODES=2 R_NODE=0 R_HOST=fd00::7", "fd00::7", MST_UNKNOWN},
        {"R_NODES=2 R_NODE=0 R_HOST=[fd00::7]9", NULL, 0},
        {"R_NODES=2 R_NODE=0 R_HOST=[]:9", NULL, 0},
        {"R_NODES=2 R_NODE=0 R_HOST=[fd00::7]:", NULL, 0},
        {"R_NODES=2 R_NODE=0 R_HOST=h:0", NULL, 0},
        {"R_NODES=2 R_NODE=0 R_HOST=:1", NULL, 0},
    };
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        int rc = read(&row, hosts[i].text);
        assert_int_equal(rc > 0, hosts[i].host != NULL);
        if (!hosts[i].host)
            continue;
        assert_string_equal(plan.master_host, hosts[i].host);
        assert_int_equal(plan.master_port, hosts[i].port);
    }
}

static bool is_explained(const struct resolve_family *family, const char *sign, size_t size)
{
    struct mst_candidate candidate = {.family = family};
    const char *names;
    for (uint32_t i = 0; (names = mst_candidate_variables(&candidate, i)); i++) {
        const char *at = strstr(names, sign);
        if (at && strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") >= size)
            return true;
    }
    return false;
}

static void every_scheme_is_listed_once(void **state)
{
    (void)state;
    const struct resolve_family *family = resolve_families;
    assert_string_equal(mst_schemes[0], "none");
    for (const char *const *scheme = mst_schemes + 1; *scheme; scheme++) {
        assert_non_null(family->scheme);
        assert_string_equal(*scheme, family->scheme);
        while (family->scheme && strcmp(family->scheme, *scheme) == 0)
            family++;
    }
    assert_null(family->scheme);
}

/* What makes a family be there is shown by `muster env --explain`. */
static void every_family_can_be_explained(void **state)
{
    (void)state;
    for (const struct resolve_family *family = resolve_families; family->scheme; family++) {
        struct mst_candidate candidate = {.family = family};
        assert_non_null(mst_candidate_variables(&candidate, 0));
        assert_true(family->signs || family->parse);
        for (const char *sign = family->signs ? family->signs : ""; *sign;) {
            char name[64];
            size_t size = strcspn(sign, " ");
            assert_true(size > 0 && size < sizeof name);
            memcpy(name, sign, size);
            name[size] = '\0';
            if (!is_explained(family, name, size))
                fail_msg("%s (%s): %s is among no variables", family->scheme, family->scheduler,
                         name);
            sign += size + strspn(sign + size, " ");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_gives_numbers_addresses_and_roles),
        cmocka_unit_test(a_list_names_node_0_and_places_this_one),
        cmocka_unit_test(a_row_is_there_by_its_signs),
        cmocka_unit_test(all_that_is_missing_is_named_at_once),
        cmocka_unit_test(an_empty_address_matters_to_several_nodes),
        cmocka_unit_test(a_link_to_a_service_is_no_port),
        cmocka_unit_test(addresses_may_be_of_ipv6),
        cmocka_unit_test(every_scheme_is_listed_once),
        cmocka_unit_test(every_family_can_be_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
