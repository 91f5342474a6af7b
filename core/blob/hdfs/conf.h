/* conf: which HTTP addresses a cluster's name nodes have, by the files that its clients have:
 * core-site.xml and hdfs-site.xml. */
#ifndef MUSTER_CORE_BLOB_HDFS_CONF_H
#define MUSTER_CORE_BLOB_HDFS_CONF_H

#include <stdbool.h>
#include <stddef.h>

struct mst_err;

#define HADOOP_NODES_MAX 8

struct hadoop_nodes {
    size_t count;
    char address[HADOOP_NODES_MAX][272]; /* host:port of WebHDFS */
    bool secure;                         /* over TLS */
};

/* A set of properties; a later one of the same name counts. */
struct hadoop_conf {
    struct hadoop_property {
        char *name, *value;
    } * list;
    size_t count, cap;
};

/* Adds the properties of a document to a zeroed or earlier set. 0; -EBADMSG; -ENOMEM. */
int hadoop_conf_add(struct hadoop_conf *conf, const char *document, size_t length);
void hadoop_conf_fini(struct hadoop_conf *conf);

/* The value, or NULL. */
const char *hadoop_conf_get(const struct hadoop_conf *conf, const char *name);

/* The name nodes of hdfs://`authority`/: those of a name service, the one at a host:port, or, for
 * an empty authority, of fs.defaultFS. 0; -EINVAL the properties do not say, naming what is
 * missing. */
int hadoop_conf_nodes(const struct hadoop_conf *conf, const char *authority,
                      struct hadoop_nodes *ret_nodes, struct mst_err *err);

/* The same from the files in `folder`, either of which may be missing. -EBADMSG a file is no Hadoop
 * configuration. */
int hadoop_conf_read_nodes(const char *folder, const char *authority,
                           struct hadoop_nodes *ret_nodes, struct mst_err *err);

#endif
