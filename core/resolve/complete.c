/* Defaults of a merged plan, and the refusals: whatever is left open here would end as a world of
 * one on every node, which trains without an error and learns nothing from the others. */
/* pure */
#include "muster/core/resolve/parser.h"

#include "muster/core/host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int complete_single(const struct mst_machine *machine, struct mst_plan *plan,
                           struct mst_err *err)
{
    int rc = resolve_check_alone(machine, err);
    if (rc)
        return rc;
    plan->scheme = "single";
    plan->scheduler = "none";
    plan->mode = MST_PLAN_SPAWN;
    plan->node_count = 1;
    if (plan->local_size < 0 && machine->is_sized)
        plan->local_size = 1; /* until the flags are read */
    if (plan->local_size < 0 && mst_machine_gpus(machine) == 0 && mst_machine_cores(machine) > 0)
        plan->local_size = mst_machine_cores(machine); /* a user's own: nobody else is on it */
    return 0;
}

static void complete_local_size(const struct mst_machine *machine, struct mst_plan *plan)
{
    if (plan->local_size < 0 && plan->world_size > 0 && plan->node_count > 0 &&
        plan->world_size % plan->node_count == 0 &&
        plan->world_size / plan->node_count <= RESOLVE_LOCAL_MAX)
        plan->local_size = plan->world_size / plan->node_count;
    if (plan->local_size < 0 && plan->device_count > 0)
        plan->local_size = plan->device_count;
    if (plan->local_size < 0)
        plan->local_size = mst_machine_gpus(machine) > 0 ? mst_machine_gpus(machine) : 1;
}

static int complete_node_count(struct mst_plan *plan, struct mst_err *err)
{
    if (plan->elastic_min > 0 && plan->elastic_min == plan->elastic_max && plan->node_count < 0)
        plan->node_count = plan->elastic_min;
    if (plan->elastic_min > 0 && plan->node_count > 0 &&
        (plan->node_count < plan->elastic_min || plan->node_count > plan->elastic_max))
        return mst_err_set(err, -EINVAL, "%lld nodes by one source, %lld to %lld by another",
                           (long long)plan->node_count, (long long)plan->elastic_min,
                           (long long)plan->elastic_max);
    if (plan->node_count > 0 || plan->elastic_min > 0)
        return 0;
    if (plan->world_size > 0 && plan->world_size % plan->local_size != 0)
        return mst_err_set(err, -EINVAL,
                           "%lld ranks do not fill nodes of %lld: set MST_NPROC_PER_NODE",
                           (long long)plan->world_size, (long long)plan->local_size);
    if (plan->world_size > 0)
        plan->node_count = plan->world_size / plan->local_size;
    else if (plan->loose_count > 0 && plan->loose_count <= RESOLVE_NODES_MAX)
        plan->node_count = plan->loose_count;
    else if (plan->node_rank < 0 && mst_host_is_local(plan->master_host))
        plan->node_count = 1; /* MASTER_ADDR=localhost alone: a workstation's habit */
    return 0;
}

static int complete_world(struct mst_plan *plan, struct mst_err *err)
{
    if (plan->node_count > 0) {
        int64_t world = plan->node_count * plan->local_size;
        /* an MPI hostfile may give every host another number of slots */
        if (plan->world_size < 0)
            plan->world_size = world;
        else if (plan->world_size != world && strcmp(plan->scheme, "mpi") != 0)
            return mst_err_set(err, -EINVAL, "%lld nodes of %lld ranks are no world of %lld",
                               (long long)plan->node_count, (long long)plan->local_size,
                               (long long)plan->world_size);
        if (plan->loose_count > 0 && plan->loose_count != plan->node_count &&
            plan->loose_count != plan->world_size)
            return mst_err_set(err, -EINVAL,
                               "WORLD_SIZE=%lld, but %s says %lld nodes and %lld ranks: unset "
                               "WORLD_SIZE, or correct it",
                               (long long)plan->loose_count, plan->scheme,
                               (long long)plan->node_count, (long long)plan->world_size);
    } else if (plan->world_size > 0 && plan->elastic_min > 0) {
        return mst_err_set(err, -EINVAL,
                           "a fixed world of %lld and an elastic one of %lld to %lld "
                           "nodes: unset one",
                           (long long)plan->world_size, (long long)plan->elastic_min,
                           (long long)plan->elastic_max);
    }
    return 0;
}

static void complete_node_rank(const struct mst_machine *machine, struct mst_plan *plan)
{
    if (plan->node_rank < 0 && plan->node_count == 1)
        plan->node_rank = 0;
    if (plan->node_rank < 0 && plan->elastic_min < 0 && plan->master_host[0] &&
        !mst_host_is_local(plan->master_host))
        plan->node_rank = resolve_rank_by_name(machine, plan->master_host);
}

/* Nodes there may be; MST_UNKNOWN: nobody says. */
static int64_t node_limit(const struct mst_plan *plan)
{
    return plan->node_count > 0 ? plan->node_count : plan->elastic_max;
}

static int check_node_rank(const struct mst_plan *plan, struct mst_err *err)
{
    int64_t limit = node_limit(plan);
    if (limit < 0 || plan->node_rank < limit)
        return 0;
    return mst_err_set(err, -EINVAL,
                       "%s: node rank %lld is not below the number of nodes, %lld: correct one of "
                       "them",
                       plan->scheme, (long long)plan->node_rank, (long long)limit);
}

static int complete_master(struct mst_plan *plan, struct mst_err *err)
{
    if (!plan->master_host[0] && plan->node_count == 1) {
        memcpy(plan->master_host, "127.0.0.1", sizeof "127.0.0.1");
    } else if (plan->master_port < 0 && strcmp(plan->master_host, "127.0.0.1") != 0) {
        plan->master_port = plan->default_port;
        plan->port_is_default = true;
    }
    if (!mst_host_is_local(plan->master_host) || plan->node_rank <= 0)
        return 0;
    char of[32] = ""; /* any 64-bit number fits */
    if (node_limit(plan) > 0)
        (void)snprintf(of, sizeof of, " of %lld", (long long)node_limit(plan));
    return mst_err_set(err, -EINVAL,
                       "the master is %.40s, which is this node, but this is node %lld%s: "
                       "set MASTER_ADDR to node 0's name",
                       plan->master_host, (long long)plan->node_rank, of);
}

/* What several nodes must be told, and by what. */
static const char *const questions[][3] = {
    {"how many nodes there are", "MST_NNODES", "--nnodes"},
    {"which one this is", "MST_NODE_RANK", "--node-rank"},
    {"where node 0 is", "MST_MASTER_ADDR", "--rdzv"},
};

struct open {
    bool is[3]; /* of the questions */
    int count;
};

static struct open find_open(const struct mst_plan *plan)
{
    struct open open = {.count = 0};
    if (plan->elastic_min > 0 || plan->node_count == 1)
        return open;
    open.is[0] = plan->node_count < 0;
    open.is[1] = plan->node_rank < 0;
    open.is[2] = !plan->master_host[0];
    open.count = open.is[0] + open.is[1] + open.is[2];
    return open;
}

/* "a", "a and b", "a, b and c": column `column` of the questions that are open. */
static const char *list(const struct open *open, int column, char *text, size_t cap)
{
    size_t size = 0;
    int left = open->count;
    for (int i = 0; i < 3; i++) {
        if (!open->is[i])
            continue;
        left--;
        size += (size_t)snprintf(text + size, cap - size, "%s%s", questions[i][column],
                                 left > 1    ? ", "
                                 : left == 1 ? " and "
                                             : "");
    }
    return text;
}

/* Pods of an Indexed Job have names under their Service, if they are told which that is. */
static const char *hint(const struct mst_machine *machine, char *text, size_t cap)
{
    const char *index = resolve_text(machine, "JOB_COMPLETION_INDEX");
    const char *subdomain = resolve_text(machine, "MST_SUBDOMAIN");
    if (!index)
        return "";
    if (!subdomain)
        return " (or MST_SUBDOMAIN)";
    snprintf(text, cap, " (MST_SUBDOMAIN=%.40s serves a host called JOB-%.12s, not %.64s)",
             subdomain, index,
             machine->hostname[0] ? machine->hostname : "one without a name"); /* cut */
    return text;
}

static int refuse_open(const struct mst_machine *machine, const struct mst_plan *plan,
                       const struct open *open, struct mst_err *err)
{
    char what[96], variables[64], flags[48], more[176]; /* room for all three questions */
    return mst_err_set(
        err, -EINVAL, "%s is there, but nothing says %s: set %s%s, or give %s", plan->scheduler,
        list(open, 0, what, sizeof what), list(open, 1, variables, sizeof variables),
        open->is[2] ? hint(machine, more, sizeof more) : "", list(open, 2, flags, sizeof flags));
}

static int complete_spawn(const struct mst_machine *machine, struct mst_plan *plan,
                          struct mst_err *err)
{
    plan->mode = MST_PLAN_SPAWN;
    complete_local_size(machine, plan);
    if (!plan->role[0])
        resolve_role(plan, "worker");
    int rc = complete_node_count(plan, err);
    if (rc)
        return rc;
    complete_node_rank(machine, plan);
    rc = check_node_rank(plan, err);
    struct open open = find_open(plan);
    if (rc == 0 && open.count > 0)
        rc = refuse_open(machine, plan, &open, err);
    if (rc == 0)
        rc = complete_world(plan, err);
    return rc ? rc : complete_master(plan, err);
}

/* Without better knowledge ranks are laid out in blocks, as launchers do by default. A node that is
 * elsewhere than even blocks would have it says that they are not. */
static void guess_nodes(struct mst_plan *plan)
{
    if (plan->local_size < 1 || plan->world_size % plan->local_size != 0 ||
        (plan->node_rank >= 0 && plan->node_rank != plan->rank / plan->local_size))
        return;
    if (plan->node_count < 0)
        plan->node_count = plan->world_size / plan->local_size;
    if (plan->node_rank < 0)
        plan->node_rank = plan->rank / plan->local_size;
}

static int complete_rank(struct mst_plan *plan, struct mst_err *err)
{
    if (!plan->role[0])
        resolve_role(plan, "worker");
    if (plan->master_host[0] && plan->master_port < 0)
        plan->master_port = plan->default_port;
    if (plan->world_size < 0) /* its library asks the launcher */
        return 0;
    if (plan->rank >= plan->world_size)
        return mst_err_set(err, -EINVAL, "%s: rank %lld is not below the world size, %lld",
                           plan->scheme, (long long)plan->rank, (long long)plan->world_size);
    if (plan->local_size > plan->world_size ||
        (plan->local_size > 0 && plan->local_rank >= plan->local_size))
        return mst_err_set(err, -EINVAL, "%s: local rank %lld of %lld cannot be in a world of %lld",
                           plan->scheme, (long long)plan->local_rank, (long long)plan->local_size,
                           (long long)plan->world_size);
    guess_nodes(plan);
    if (plan->node_count > 0 && plan->node_rank >= plan->node_count)
        return mst_err_set(err, -EINVAL, "%s: node %lld is not below the number of nodes, %lld",
                           plan->scheme, (long long)plan->node_rank, (long long)plan->node_count);
    return 0;
}

/* Those who stand beside the world still say what it is, if they know. */
static void complete_beside(const struct mst_machine *machine, struct mst_plan *plan)
{
    if (!plan->role[0])
        resolve_role(plan, "worker");
    if (plan->mode == MST_PLAN_CONTROL || plan->mode == MST_PLAN_WAIT_FOR_LAUNCHER)
        return;
    complete_local_size(machine, plan);
    if (plan->node_count > 0 && plan->world_size < 0)
        plan->world_size = plan->node_count * plan->local_size;
    if (plan->master_host[0] && plan->master_port < 0)
        plan->master_port = plan->default_port;
}

int resolve_complete(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    if (plan->mode == MST_PLAN_RANK)
        return complete_rank(plan, err);
    if (plan->mode != MST_PLAN_UNSET && plan->mode != MST_PLAN_SPAWN) {
        complete_beside(machine, plan);
        return 0;
    }
    int rc = 0;
    if (!plan->scheme)
        rc = complete_single(machine, plan, err);
    return rc ? rc : complete_spawn(machine, plan, err);
}
