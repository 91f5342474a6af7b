/* Clouds and small operators: what their rows in the table of families do not say. */
#include "muster/core/resolve/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Its master is a service of its own, which tells the nodes about one another. */
int resolve_dlrover(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *type = resolve_text(machine, "NODE_TYPE");
    if (!type)
        return 1;
    int rc = resolve_word("NODE_TYPE", type, "worker chief master ps evaluator dlrover-master",
                          err);
    if (rc)
        return rc;
    if (strcmp(type, "worker") != 0 && strcmp(type, "chief") != 0 && strcmp(type, "master") != 0) {
        plan->mode = MST_PLAN_NO_COLLECTIVE;
        plan->node_rank = MST_UNKNOWN;
    }
    resolve_role(plan, type);
    return 1;
}

static int name_first(const char *stem, const char *domain, struct mst_plan *plan,
                      struct mst_err *err)
{
    if (!stem || !domain)
        return 1;
    int size = snprintf(plan->master_host, sizeof plan->master_host, "%s-0.%s", stem, domain);
    plan->default_port = MST_PORT_DEFAULT;
    if (size < (int)sizeof plan->master_host)
        return 1;
    return mst_err_set(err, -EINVAL, "%.60s-0.%.60s… is too long for a host's name", stem, domain);
}

int resolve_lepton(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *stem = resolve_text(machine, "LEPTON_JOB_WORKER_PREFIX");
    if (!stem)
        stem = resolve_text(machine, "LEPTON_JOB_SERVICE_PREFIX");
    return name_first(stem, resolve_text(machine, "LEPTON_SUBDOMAIN"), plan, err);
}

int resolve_grove(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    return name_first(resolve_text(machine, "GROVE_PCLQ_NAME"),
                      resolve_text(machine, "GROVE_HEADLESS_SERVICE"), plan, err);
}

/* The main node, which need not have index 0, is told no address: it is node 0 itself. */
int resolve_aws_batch(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    int64_t first = 0, count = plan->node_count;
    int rc = resolve_number(machine, "AWS_BATCH_JOB_MAIN_NODE_INDEX", 0, count - 1, &first, err);
    if (rc < 0)
        return rc;
    if (plan->node_rank < count)
        plan->node_rank = (plan->node_rank - first + count) % count;
    if (plan->node_rank == 0 && !plan->master_host[0])
        memcpy(plan->master_host, "localhost", sizeof "localhost");
    plan->default_port = MST_PORT_DEFAULT;
    return 1;
}

static json_t *load(const char *what, const char *text, struct mst_err *err)
{
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        mst_err_set(err, -EINVAL, "%s is no JSON (column %d: %.100s)", what, error.column,
                    error.text);
    return root;
}

/* The first of the hosts is node 0, and the one called `own` (or NULL) this node. */
static int read_hosts(const char *what, const json_t *hosts, const char *own, struct mst_plan *plan,
                      struct mst_err *err)
{
    const char *first = json_string_value(json_array_get(hosts, 0));
    if (!first || json_array_size(hosts) > RESOLVE_NODES_MAX)
        return mst_err_set(err, -EINVAL, "%s: no list of 1 … %d hosts' names", what,
                           RESOLVE_NODES_MAX);
    plan->mode = MST_PLAN_SPAWN;
    plan->default_port = MST_PORT_DEFAULT;
    plan->node_count = (int64_t)json_array_size(hosts);
    for (size_t i = 0; own && i < json_array_size(hosts); i++) {
        const char *host = json_string_value(json_array_get(hosts, i));
        if (host && strcmp(host, own) == 0)
            plan->node_rank = (int64_t)i;
    }
    return resolve_split(what, first, plan, err);
}

#define RESOURCES "/opt/ml/input/config/resourceconfig.json"

/* The file says the same as the variables, which only images with SageMaker's toolkit have. */
static int read_resources(const struct mst_machine *machine, struct mst_plan *plan,
                          struct mst_err *err)
{
    const char *text = machine->read_file(machine->arg, RESOURCES);
    if (!text)
        return mst_err_set(
            err, -EINVAL,
            "TRAINING_JOB_NAME is set as SageMaker does, but neither SM_HOSTS nor " RESOURCES
            " is there: pass SM_HOSTS and SM_CURRENT_HOST on");
    json_t *root = load(RESOURCES, text, err);
    if (!root)
        return -EINVAL;
    int rc = read_hosts(RESOURCES, json_object_get(root, "hosts"),
                        json_string_value(json_object_get(root, "current_host")), plan, err);
    json_decref(root);
    return rc;
}

int resolve_sagemaker(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *text = resolve_text(machine, "SM_HOSTS");
    const char *arn = resolve_text(machine, "TRAINING_JOB_ARN");
    if (!text && (!arn || !strstr(arn, ":sagemaker:")))
        return 0;
    json_t *hosts = text ? load("SM_HOSTS", text, err) : NULL;
    int rc = !text ? read_resources(machine, plan, err) : hosts ? 0 : -EINVAL;
    if (hosts)
        rc = read_hosts("SM_HOSTS", hosts, resolve_text(machine, "SM_CURRENT_HOST"), plan, err);
    json_decref(hosts);
    return rc < 0 ? rc : 1;
}

#define RENDEZVOUS "/run/determined/info/rendezvous.json"

static int read_containers(const json_t *root, struct mst_plan *plan, struct mst_err *err)
{
    const json_t *rank = json_object_get(root, "container_rank");
    const json_t *slots = json_object_get(root, "container_slot_counts");
    int rc = read_hosts(RENDEZVOUS, json_object_get(root, "container_addrs"), NULL, plan, err);
    if (rc)
        return rc;
    plan->node_rank = json_integer_value(rank);
    if (!json_is_integer(rank) || plan->node_rank < 0 || plan->node_rank >= plan->node_count) {
        plan->node_rank = MST_UNKNOWN;
        return mst_err_set(err, -EINVAL, RENDEZVOUS ": container_rank is none of the containers");
    }
    int64_t devices = json_integer_value(json_array_get(slots, (size_t)plan->node_rank));
    if (devices > 0 && devices <= RESOLVE_LOCAL_MAX)
        plan->device_count = devices;
    return 0;
}

/* Only trials have several containers, and they tell one another by this file. */
int resolve_determined(const struct mst_machine *machine, struct mst_plan *plan,
                       struct mst_err *err)
{
    const char *type = resolve_text(machine, "DET_TASK_TYPE");
    if (!resolve_text(machine, "DET_ALLOCATION_ID") || (type && strcmp(type, "TRIAL") != 0))
        return 0;
    const char *text = machine->read_file(machine->arg, RENDEZVOUS);
    if (!text)
        return mst_err_set(err, -EINVAL,
                           "DET_ALLOCATION_ID is set, but " RENDEZVOUS
                           " cannot be read: start in a trial's container");
    json_t *root = load(RENDEZVOUS, text, err);
    int rc = root ? read_containers(root, plan, err) : -EINVAL;
    json_decref(root);
    return rc < 0 ? rc : 1;
}
