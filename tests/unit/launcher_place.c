#include "muster/launcher/place.h"

#include "muster/launcher/exitcode.h"

#include <errno.h>
#include <string.h>

#include "unit/opts_fixture.h"

/* Parses "run", `line` and a program; no variable counts. */
static int parse_nodes(const char *line)
{
    char text[256];
    assert_in_range(snprintf(text, sizeof text, "run --from none %s p", line), 0, sizeof text - 1);
    return parse(text);
}

static void refuse(const char *line, int code, const char *word)
{
    assert_int_equal(parse_nodes(line), code);
    assert_non_null(strstr(err.text, word));
}

static void a_node_of_several_meets_them_where_it_is_told(void **state)
{
    (void)state;
    assert_int_equal(parse_nodes("--nnodes 2 --nproc 3 --node-rank 1 --rdzv h:7 --insecure"), 0);
    assert_int_equal(opts.node_count, 2);
    assert_int_equal(opts.node_least, 0);
    assert_int_equal(opts.node_rank, 1);
    assert_int_equal(opts.local_size, 3);
    assert_int_equal(opts.rdzv_port_count, 1);
    assert_int_equal(opts.rdzv_ports[0], 7);
    assert_string_equal(opts.rdzv_host, "h");
    assert_string_equal(opts.scheme, "flags");
}

static void nodes_may_come_and_go(void **state)
{
    (void)state;
    assert_int_equal(parse_nodes("--nnodes 2:3 --node-rank 1 --rdzv h:7 --insecure"), EXITCODE_OK);
    assert_int_equal(opts.node_least, 2);
    assert_int_equal(opts.node_count, 3);
    assert_int_equal(opts.last_call_ms, 30000);
    assert_int_equal(place_slots(&opts), 3);
    assert_int_equal(parse_nodes("--nnodes 2:2 --node-rank 1 --rdzv h:7 --insecure"), EXITCODE_OK);
    assert_int_equal(opts.node_least, 0);
    assert_int_equal(opts.node_count, 2);
    refuse("--nnodes 2:3", -EINVAL, "--nnodes 2:3 needs --node-rank R; --rdzv HOST:PORT");
    refuse("--nnodes 2:3 --node-rank 3 --rdzv h:7 --insecure", -EINVAL, "is not below");
    refuse("--nnodes 2:3 --node-rank 1 --rdzv h:7", EXITCODE_CONFIG, "no job secret");
}

/* They are nodes beyond the world: one node with a spare is not alone. */
static void spares_are_nodes(void **state)
{
    (void)state;
    assert_int_equal(parse_nodes("--nnodes 1 --spares 1 --node-rank 1 --rdzv h:7 --insecure "
                                 "--last-call 5"),
                     EXITCODE_OK);
    assert_int_equal(place_slots(&opts), 2);
    assert_int_equal(opts.node_rank, 1);
    assert_int_equal(opts.last_call_ms, 5000);
    assert_string_equal(opts.rdzv_host, "h");
    assert_string_equal(opts.idle, "");
    assert_int_equal(parse_nodes("--nproc 2"), EXITCODE_OK);
    assert_int_equal(place_slots(&opts), 1);
    assert_string_equal(opts.rdzv_host, "127.0.0.1");
    assert_int_equal(parse_nodes("--last-call 5"), EXITCODE_OK);
    assert_string_equal(opts.idle, "--last-call");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_of_several_meets_them_where_it_is_told),
        cmocka_unit_test(nodes_may_come_and_go),
        cmocka_unit_test(spares_are_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
