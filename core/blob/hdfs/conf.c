#include "muster/core/blob/hdfs/conf.h"

#include "muster/core/blob/xml.h"
#include "muster/core/err.h"
#include "muster/core/file.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (4 << 20)
#define DEFAULT_PORT 9870

struct conf_reader {
    struct hadoop_conf *conf;
    char name[512], value[4096];
};

static int add_property(struct hadoop_conf *conf, const char *name, const char *value)
{
    if (conf->count == conf->cap) {
        size_t cap = conf->cap ? conf->cap * 2 : 32;
        struct hadoop_property *list = reallocarray(conf->list, cap, sizeof *list);
        if (!list)
            return -ENOMEM;
        conf->list = list;
        conf->cap = cap;
    }
    struct hadoop_property property = {.name = strdup(name), .value = strdup(value)};
    if (!property.name || !property.value) {
        free(property.name);
        free(property.value);
        return -ENOMEM;
    }
    conf->list[conf->count++] = property;
    return 0;
}

/* Hadoop trims values; files are indented by hand. */
static void copy_trimmed(char *out, size_t cap, const char *text)
{
    text += strspn(text, " \t\r\n");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1]))
        length--;
    /* A name or value that is cut is longer than any that is looked for. */
    (void)snprintf(out, cap, "%.*s", (int)length, text);
}

static int on_element(void *arg, const char *parent, const char *name, const char *text)
{
    struct conf_reader *reader = arg;
    if (strcmp(parent, "property") == 0 && strcmp(name, "name") == 0)
        copy_trimmed(reader->name, sizeof reader->name, text);
    else if (strcmp(parent, "property") == 0 && strcmp(name, "value") == 0)
        copy_trimmed(reader->value, sizeof reader->value, text);
    if (strcmp(parent, "") == 0 && strcmp(name, "configuration") != 0)
        return -EBADMSG;
    if (strcmp(parent, "configuration") != 0 || strcmp(name, "property") != 0)
        return 0;
    int rc = reader->name[0] ? add_property(reader->conf, reader->name, reader->value) : 0;
    reader->name[0] = reader->value[0] = '\0';
    return rc;
}

int hadoop_conf_add(struct hadoop_conf *conf, const char *document, size_t length)
{
    struct conf_reader reader = {.conf = conf};
    return xml_read(document, length, on_element, &reader);
}

void hadoop_conf_fini(struct hadoop_conf *conf)
{
    for (size_t i = 0; i < conf->count; i++) {
        free(conf->list[i].name);
        free(conf->list[i].value);
    }
    free(conf->list);
    *conf = (struct hadoop_conf){0};
}

const char *hadoop_conf_get(const struct hadoop_conf *conf, const char *name)
{
    for (size_t i = conf->count; i-- > 0;)
        if (strcmp(conf->list[i].name, name) == 0)
            return conf->list[i].value;
    return NULL;
}

/* Whether a comma-separated list has the item. */
static bool lists(const char *list, const char *item)
{
    size_t length = strlen(item);
    while (list && *list) {
        list += strspn(list, ", ");
        size_t found = strcspn(list, ", ");
        if (found == length && strncmp(list, item, length) == 0)
            return true;
        list += found;
    }
    return false;
}

/* Adds the address that the property dfs.namenode.http[s]-address`suffix` has. An address of all
 * interfaces is one of the server's; clients reach it at `host`. */
static int add_node(const struct hadoop_conf *conf, const char *suffix, const char *host,
                    struct hadoop_nodes *nodes, struct mst_err *err)
{
    char name[600]; /* room for a suffix and what stands before it */
    (void)snprintf(name, sizeof name, "dfs.namenode.%s-address%s", nodes->secure ? "https" : "http",
                   suffix);
    const char *value = hadoop_conf_get(conf, name);
    if (!value || strstr(value, "${"))
        return mst_err_set(err, -EINVAL, "the Hadoop configuration has no plain %s", name);
    char *address = nodes->address[nodes->count];
    size_t cap = sizeof nodes->address[0];
    bool any = host && strncmp(value, "0.0.0.0:", 8) == 0;
    int length = any ? snprintf(address, cap, "%s:%s", host, value + 8)
                     : snprintf(address, cap, "%s", value);
    if ((size_t)length >= cap)
        return mst_err_set(err, -EINVAL, "%s is too long", name);
    nodes->count++;
    return 0;
}

static int add_service(const struct hadoop_conf *conf, const char *service,
                       struct hadoop_nodes *nodes, struct mst_err *err)
{
    /* Room for a service, which is an authority, and a node's name. Cut, no file has them. */
    char name[600], suffix[512];
    (void)snprintf(name, sizeof name, "dfs.ha.namenodes.%s", service);
    const char *ids = hadoop_conf_get(conf, name);
    if (!ids) {
        (void)snprintf(suffix, sizeof suffix, ".%s", service); /* as above */
        return add_node(conf, suffix, NULL, nodes, err);
    }
    int rc = 0;
    while (rc == 0 && *ids && nodes->count < HADOOP_NODES_MAX) {
        ids += strspn(ids, ", ");
        int length = (int)strcspn(ids, ", ");
        (void)snprintf(suffix, sizeof suffix, ".%s.%.*s", service, length, ids); /* as above */
        if (length > 0)
            rc = add_node(conf, suffix, NULL, nodes, err);
        ids += length;
    }
    if (rc == 0 && nodes->count == 0)
        rc = mst_err_set(err, -EINVAL, "%s lists no name nodes", name);
    return rc;
}

/* The one name node of a small cluster, or of another one than the files are about: then its port
 * is the default one. */
static int add_host(const struct hadoop_conf *conf, const char *authority,
                    struct hadoop_nodes *nodes, struct mst_err *err)
{
    const char *rpc = hadoop_conf_get(conf, "dfs.namenode.rpc-address");
    const char *fs = hadoop_conf_get(conf, "fs.defaultFS");
    char host[256]; /* room for an authority; a port behind it fits an address */
    (void)snprintf(host, sizeof host, "%.*s", (int)strcspn(authority, ":"), authority);
    bool known = (rpc && strcmp(rpc, authority) == 0) ||
                 (fs && strncmp(fs, "hdfs://", 7) == 0 &&
                  strcspn(fs + 7, "/") == strlen(authority) &&
                  strncmp(fs + 7, authority, strlen(authority)) == 0);
    const char *name = nodes->secure ? "dfs.namenode.https-address" : "dfs.namenode.http-address";
    if (known && hadoop_conf_get(conf, name))
        return add_node(conf, "", host, nodes, err);
    (void)snprintf(nodes->address[0], sizeof nodes->address[0], "%s:%d", host, /* as above */
                   nodes->secure ? DEFAULT_PORT + 1 : DEFAULT_PORT);
    nodes->count = 1;
    return 0;
}

int hadoop_conf_nodes(const struct hadoop_conf *conf, const char *authority,
                      struct hadoop_nodes *ret_nodes, struct mst_err *err)
{
    char own[256];
    if (!authority[0]) {
        const char *fs = hadoop_conf_get(conf, "fs.defaultFS");
        if (!fs || strncmp(fs, "hdfs://", 7) != 0)
            return mst_err_set(err, -EINVAL,
                               "the Hadoop configuration has no fs.defaultFS of hdfs://; name the "
                               "cluster in the URI");
        /* One that is cut is none that the files are about. */
        (void)snprintf(own, sizeof own, "%.*s", (int)strcspn(fs + 7, "/"), fs + 7);
        authority = own;
    }
    const char *policy = hadoop_conf_get(conf, "dfs.http.policy");
    struct hadoop_nodes nodes = {.secure = policy && strcmp(policy, "HTTPS_ONLY") == 0};
    bool service = lists(hadoop_conf_get(conf, "dfs.nameservices"), authority);
    int rc = service ? add_service(conf, authority, &nodes, err)
                     : add_host(conf, authority, &nodes, err);
    if (rc == 0)
        *ret_nodes = nodes;
    return rc;
}

static int add_file(struct hadoop_conf *conf, const char *folder, const char *name,
                    struct mst_err *err)
{
    char path[4096]; /* no path is longer; one that is cut is not found */
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = mst_file_read(path);
    if (!file && errno == ENOENT)
        return 0;
    if (!file)
        return mst_err_set(err, -errno, "%s: %s", path, mst_file_meaning(errno));
    char *text = malloc(FILE_BYTES_MAX);
    size_t length = text ? fread(text, 1, FILE_BYTES_MAX, file) : 0;
    (void)fclose(file); /* read only */
    int rc = text ? hadoop_conf_add(conf, text, length) : -ENOMEM;
    free(text);
    return rc < 0 ? mst_err_set(err, rc, "%s: %s", path,
                                rc == -EBADMSG ? "not a Hadoop configuration" : "no memory")
                  : 0;
}

int hadoop_conf_read_nodes(const char *folder, const char *authority,
                           struct hadoop_nodes *ret_nodes, struct mst_err *err)
{
    struct hadoop_conf conf = {0};
    int rc = add_file(&conf, folder, "core-site.xml", err);
    if (rc == 0)
        rc = add_file(&conf, folder, "hdfs-site.xml", err);
    if (rc == 0 && conf.count == 0)
        rc = mst_err_set(err, -EINVAL, "%s (HADOOP_CONF_DIR) has no core-site.xml or hdfs-site.xml",
                         folder);
    if (rc == 0)
        rc = hadoop_conf_nodes(&conf, authority, ret_nodes, err);
    hadoop_conf_fini(&conf);
    return rc;
}
