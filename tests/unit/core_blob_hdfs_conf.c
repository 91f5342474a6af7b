#include "muster/core/blob/hdfs/conf.h"

#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PROPERTY(name, value)                                                                      \
    "<property>\n  <name>" name "</name>\n  <value> " value "\n</value></property>"
#define CONF(properties) "<?xml version=\"1.0\"?><configuration>" properties "</configuration>"

/* The addresses of the name nodes, one after another, each with a space behind it. */
static int nodes_of(const char *document, const char *authority, char names[256],
                    struct mst_err *err)
{
    struct hadoop_conf conf = {0};
    assert_int_equal(hadoop_conf_add(&conf, document, strlen(document)), 0);
    struct hadoop_nodes nodes = {0};
    int rc = hadoop_conf_nodes(&conf, authority, &nodes, err);
    names[0] = '\0';
    for (size_t i = 0, used = 0; i < nodes.count; i++)
        used += (size_t)snprintf(names + used, 256 - used, "%s%s ", nodes.address[i],
                                 nodes.secure ? "s" : "");
    hadoop_conf_fini(&conf);
    return rc;
}

static void finds_services(void **state)
{
    (void)state;
    const char *document = CONF(PROPERTY("fs.defaultFS", "hdfs://ns/x") PROPERTY(
        "dfs.nameservices", "other, ns") PROPERTY("dfs.ha.namenodes.ns", "nn1 ,nn2")
                                    PROPERTY("dfs.namenode.http-address.ns.nn1", "a:1")
                                        PROPERTY("dfs.namenode.http-address.ns.nn2", "b:2")
                                            PROPERTY("dfs.namenode.http-address.other", "c:3"));
    char names[256];
    assert_int_equal(nodes_of(document, "ns", names, NULL), 0);
    assert_string_equal(names, "a:1 b:2 ");
    assert_int_equal(nodes_of(document, "", names, NULL), 0);
    assert_string_equal(names, "a:1 b:2 ");
    assert_int_equal(nodes_of(document, "other", names, NULL), 0);
    assert_string_equal(names, "c:3 ");
    assert_int_equal(nodes_of(document, "host:8020", names, NULL), 0);
    assert_string_equal(names, "host:9870 ");
}

static void finds_one_node(void **state)
{
    (void)state;
    const char *document = CONF(PROPERTY("fs.defaultFS", "hdfs://nn:8020")
                                    PROPERTY("dfs.namenode.http-address", "0.0.0.0:50070"));
    char names[256];
    assert_int_equal(nodes_of(document, "nn:8020", names, NULL), 0);
    assert_string_equal(names, "nn:50070 ");
    assert_int_equal(nodes_of(document, "", names, NULL), 0);
    assert_string_equal(names, "nn:50070 ");
    document = CONF(PROPERTY("dfs.namenode.rpc-address", "nn:9000") PROPERTY(
        "dfs.http.policy", "HTTPS_ONLY") PROPERTY("dfs.namenode.https-address", "web:1"));
    assert_int_equal(nodes_of(document, "nn:9000", names, NULL), 0);
    assert_string_equal(names, "web:1s ");
    assert_int_equal(nodes_of(document, "nn:9001", names, NULL), 0);
    assert_string_equal(names, "nn:9871s ");
}

static void names_what_is_missing(void **state)
{
    (void)state;
    char names[256];
    struct mst_err err;
    assert_int_equal(nodes_of(CONF(""), "", names, &err), -EINVAL);
    assert_non_null(strstr(err.text, "fs.defaultFS"));
    const char *document = CONF(PROPERTY("dfs.nameservices", "ns")
                                    PROPERTY("dfs.ha.namenodes.ns", "nn1"));
    assert_int_equal(nodes_of(document, "ns", names, &err), -EINVAL);
    assert_non_null(strstr(err.text, "dfs.namenode.http-address.ns.nn1"));
    document = CONF(PROPERTY("dfs.nameservices", "ns") PROPERTY("dfs.ha.namenodes.ns", " , "));
    assert_int_equal(nodes_of(document, "ns", names, &err), -EINVAL);
    assert_int_equal(hadoop_conf_read_nodes("/nonexistent", "ns", NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "core-site.xml"));
}

static void later_properties_count(void **state)
{
    (void)state;
    const char *document = CONF(PROPERTY("a", "1") PROPERTY("a", "2") "<property/>");
    struct hadoop_conf conf = {0};
    assert_int_equal(hadoop_conf_add(&conf, document, strlen(document)), 0);
    assert_string_equal(hadoop_conf_get(&conf, "a"), "2");
    assert_null(hadoop_conf_get(&conf, "b"));
    assert_int_equal(hadoop_conf_add(&conf, "<other/>", 8), -EBADMSG);
    assert_int_equal(hadoop_conf_add(&conf, "<configuration>", 15), -EBADMSG);
    hadoop_conf_fini(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_services),
        cmocka_unit_test(finds_one_node),
        cmocka_unit_test(names_what_is_missing),
        cmocka_unit_test(later_properties_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
