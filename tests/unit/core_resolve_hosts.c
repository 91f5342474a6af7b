/* The grammars of MPI hostfiles. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "muster/core/resolve/hosts.h"

static struct mst_machine machine = {.hostname = "j-worker-2", .pod_ip = "10.0.0.2"};

static void one(const char *line, const char *name, int64_t slots)
{
    struct resolve_host host;
    assert_int_equal(resolve_hosts_next(&line, &host, NULL), 1);
    assert_string_equal(host.name, name);
    assert_int_equal(host.slots, slots);
    assert_int_equal(resolve_hosts_next(&line, &host, NULL), 0);
}

static void lines_of_every_grammar(void **state)
{
    (void)state;
    one("j-worker-0 slots=2\n", "j-worker-0", 2);
    one("j-worker-0 slots=1\n", "j-worker-0", 1);
    one("j-worker-0.j.ns.svc slots=2", "j-worker-0.j.ns.svc", 2);
    one("  root@node1\tslots=4 max_slots=8 # the big one\n", "node1", 4);
    one("# comment\n\n \nnode2\n#end", "node2", MST_UNKNOWN);
    one("j-worker-0.j.svc:10\n", "j-worker-0.j.svc", 10);
    one("#!/bin/sh\necho j-worker-0:2\r\n", "j-worker-0", 2);
    one("#!/bin/sh\necho j-worker-0\n", "j-worker-0", MST_UNKNOWN);
    one("node3#no blank before", "node3", MST_UNKNOWN);
}

static void bad_lines_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"a slots=0", "a slots=x", "a slots=2x", "a slots=9999",
                                      "a:",        "a:0",       ":4",         "user@",
                                      "a:b",       "a slots="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *text = bad[i];
        struct resolve_host host;
        struct mst_err err = {0};
        assert_int_equal(resolve_hosts_next(&text, &host, &err), -EINVAL);
        assert_non_null(strstr(err.text, "hostfile"));
    }
}

static struct resolve_hosts sum(const char *text, int64_t default_slots, bool by_ordinal)
{
    struct resolve_hosts hosts;
    assert_int_equal(resolve_hosts_sum(&machine, text, default_slots, by_ordinal, &hosts, NULL), 0);
    return hosts;
}

static void sums(void **state)
{
    (void)state;
    struct resolve_hosts hosts = sum("a slots=2\nb slots=2\nj-worker-2.j slots=2\n", 1, false);
    assert_int_equal(hosts.count, 3);
    assert_int_equal(hosts.slots, 6);
    assert_int_equal(hosts.each, 2);
    assert_int_equal(hosts.self, 2);
    assert_string_equal(hosts.first, "a");
    hosts = sum("a\nb slots=3\n", 4, false);
    assert_int_equal(hosts.slots, 7);
    assert_int_equal(hosts.each, MST_UNKNOWN);
    assert_int_equal(hosts.self, MST_UNKNOWN);
    /* Open MPI gives a host that is named again another slot */
    hosts = sum("a\na\nb\n10.0.0.2 slots=2\n10.0.0.2\n", 1, false);
    assert_int_equal(hosts.count, 3);
    assert_int_equal(hosts.slots, 6);
    assert_int_equal(hosts.self, 2);
    assert_int_equal(hosts.self_slots, 3);
}

static void numbers_order_what_strings_mix(void **state)
{
    (void)state;
    struct resolve_hosts hosts = sum("echo j-worker-10\necho j-worker-1:1\necho j-worker-2\n"
                                     "echo j-worker-0\n",
                                     1, true);
    assert_int_equal(hosts.count, 4);
    assert_string_equal(hosts.first, "j-worker-0");
    assert_int_equal(hosts.self, 2);
}

static void no_host_is_an_error(void **state)
{
    (void)state;
    struct mst_err err = {0};
    struct resolve_hosts hosts;
    assert_int_equal(resolve_hosts_sum(&machine, "#!/bin/sh\n", 1, false, &hosts, &err), -EINVAL);
    assert_non_null(strstr(err.text, "no host"));
}

static void names(void **state)
{
    (void)state;
    const char *text = " a,b.c\n\r d,,";
    static const char *const want[] = {"a", "b.c", "d"};
    char name[8];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(resolve_names_next(&text, name, sizeof name, NULL), 1);
        assert_string_equal(name, want[i]);
    }
    assert_int_equal(resolve_names_next(&text, name, sizeof name, NULL), 0);
    text = "longer-than-eight";
    assert_int_equal(resolve_names_next(&text, name, sizeof name, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_every_grammar),
        cmocka_unit_test(bad_lines_are_refused),
        cmocka_unit_test(sums),
        cmocka_unit_test(numbers_order_what_strings_mix),
        cmocka_unit_test(no_host_is_an_error),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
