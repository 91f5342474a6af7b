#include "muster/launcher/flags.h"

#include "muster/core/err.h"
#include "muster/launcher/opts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct mst_err err;

static void test_a_master_is_a_rendezvous(void **state)
{
    (void)state;
    struct flags flags = {.master_addr = "fe80::1"};
    assert_int_equal(flags_settle(&flags, &err), 0);
    assert_string_equal(flags.rdzv, "[fe80::1]:29500");
    flags = (struct flags){.master_addr = "head", .master_port = 5};
    assert_int_equal(flags_settle(&flags, &err), 0);
    assert_string_equal(flags.rdzv, "head:5");
    flags = (struct flags){.master_addr = "head", .rdzv = "head:5"};
    assert_int_equal(flags_settle(&flags, &err), -EINVAL);
    flags = (struct flags){.master_port = 5};
    assert_int_equal(flags_settle(&flags, &err), -EINVAL);
    char host[1024];
    memset(host, 'h', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    flags = (struct flags){.master_addr = host};
    assert_int_equal(flags_settle(&flags, &err), -EINVAL);
    assert_non_null(strstr(err.text, "too long"));
}

static void test_one_node(void **state)
{
    (void)state;
    struct flags flags = {.standalone = true};
    assert_int_equal(flags_settle(&flags, &err), 0);
    assert_int_equal(flags.node_count, 1);
    assert_int_equal(flags_settle(&flags, &err), 0); /* --nnodes 1 says the same */
    flags.node_count = 2;
    assert_int_equal(flags_settle(&flags, &err), -EINVAL);
}

static void test_nodes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_read;
        int64_t least, most;
    } cases[] = {
        {"1", true, 1, 1},
        {"16384", true, 16384, 16384},
        {"1:3", true, 1, 3},
        {"2:2", true, 2, 2},
        {"0", false, 0, 0},
        {"16385", false, 0, 0},
        {"3:1", false, 0, 0},
        {"0:3", false, 0, 0},
        {"1:", false, 0, 0},
        {":3", false, 0, 0},
        {"1:3:5", false, 0, 0},
        {"-1:3", false, 0, 0},
        {"1:16385", false, 0, 0},
        {"", false, 0, 0},
        {"1 ", false, 0, 0},
        {"1: 3", false, 0, 0},
        {"auto", false, 0, 0},
        {"9e9", false, 0, 0},
        {"99999999999999999999", false, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t least, most;
        assert_int_equal(flags_read_nodes(cases[i].text, &least, &most), cases[i].is_read);
        if (!cases[i].is_read)
            continue;
        assert_int_equal(least, cases[i].least);
        assert_int_equal(most, cases[i].most);
    }
    struct flags flags = {.nodes = "2:4"};
    assert_int_equal(flags_settle(&flags, &err), 0);
    assert_int_equal(flags.node_least, 2);
    assert_int_equal(flags.node_count, 4);
}

static void test_output(void **state)
{
    (void)state;
    struct flags flags = {.raw = true};
    struct opts opts = {.prefix = NULL};
    assert_int_equal(flags_settle_output(&flags, &opts, &err), 0);
    assert_int_equal(opts.output, OUTLOG_RAW);
    assert_string_equal(opts.prefix, "[%r] ");
    assert_false(opts.feeds_rank0);
    flags.no_prefix = true;
    assert_int_equal(flags_settle_output(&flags, &opts, &err), -EINVAL);
}

/* What is exported stands once, and above what was there. */
static void test_exports(void **state)
{
    (void)state;
    char first[] = "AB=1", second[] = "A=2", third[] = "C=3";
    char *env[] = {first, second, third, NULL};
    struct opts opts = {.env = env};
    assert_int_equal(flags_export(&opts, &err), 0);
    assert_ptr_equal(opts.env, env);
    opts.exports = (struct option_list){.texts = {"A=new", "D=", "AB"}, .count = 3};
    assert_int_equal(flags_export(&opts, &err), 0);
    static const char *const want[] = {"AB=1", "C=3", "A=new", "D="};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(opts.env[i], want[i]);
    assert_null(opts.env[4]);
    opts_fini(&opts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_master_is_a_rendezvous),
        cmocka_unit_test(test_one_node),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_exports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
