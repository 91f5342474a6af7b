/* Any Hadoop configuration: what it resolves to is at least one address, and no more than there is
 * room for. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "muster/core/blob/hdfs/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int truth)
{
    if (!truth)
        abort();
}

static void resolve(const struct hadoop_conf *conf, const char *authority)
{
    struct hadoop_nodes nodes;
    if (hadoop_conf_nodes(conf, authority, &nodes, NULL) < 0)
        return;
    expect(nodes.count >= 1 && nodes.count <= HADOOP_NODES_MAX);
    for (size_t i = 0; i < nodes.count; i++)
        expect(memchr(nodes.address[i], '\0', sizeof nodes.address[i]) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hadoop_conf conf = {0};
    (void)hadoop_conf_add(&conf, (const char *)data, size); /* what came before the fault stays */
    resolve(&conf, "");
    resolve(&conf, "ns");
    resolve(&conf, "host:8020");
    hadoop_conf_fini(&conf);
    return 0;
}
