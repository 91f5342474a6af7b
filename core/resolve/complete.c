/* Defaults of a merged plan, and the refusals: whatever is left open here would end as a world of
 * one on every node, which trains without an error and learns nothing from the others. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <string.h>

/* A pod whose operator's variables were lost (a container of another name, env wiped by a shell)
 * still has the name that the operator gave it. */
static int check_lost(const struct mst_machine *machine, struct mst_err *err)
{
    if (!resolve_is_set(machine, "KUBERNETES_SERVICE_HOST") ||
        resolve_worker_number(machine->hostname) < 1)
        return 0;
    return mst_err_set(
        err, -EINVAL,
        "this pod is called %.80s, one worker of several, but no operator's variable is "
        "set: pass them on, or give --nnodes 1",
        machine->hostname);
}

static int complete_single(const struct mst_machine *machine, struct mst_plan *plan,
                           struct mst_err *err)
{
    int rc = check_lost(machine, err);
    if (rc == 0)
        rc = resolve_check_strangers(machine, err);
    if (rc)
        return rc;
    plan->scheme = "single";
    plan->scheduler = "none";
    plan->mode = MST_PLAN_SPAWN;
    plan->node_count = 1;
    if (plan->local_size < 0 && machine->gpu_count == 0 && machine->core_count > 0)
        plan->local_size = machine->core_count; /* a user's own machine: nobody else is on it */
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
        plan->local_size = machine->gpu_count > 0 ? machine->gpu_count : 1;
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
    else
        return mst_err_set(err, -EINVAL,
                           "%s names this pod or its master, but nothing says how many nodes there "
                           "are: set MST_NNODES, or give --nnodes",
                           plan->scheduler);
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

static int complete_node_rank(const struct mst_machine *machine, struct mst_plan *plan,
                              struct mst_err *err)
{
    if (plan->node_rank < 0 && plan->node_count == 1)
        plan->node_rank = 0;
    if (plan->node_rank < 0 && plan->elastic_min < 0 && plan->master_host[0] &&
        !mst_host_is_local(plan->master_host))
        plan->node_rank = resolve_rank_by_name(machine, plan->master_host);
    int64_t limit = plan->node_count > 0 ? plan->node_count : plan->elastic_max;
    if (plan->node_rank >= limit)
        return mst_err_set(err, -EINVAL,
                           "%s: node rank %lld is not below the number of nodes, %lld: correct one "
                           "of them",
                           plan->scheme, (long long)plan->node_rank, (long long)limit);
    if (plan->node_rank < 0 && plan->elastic_min < 0)
        return mst_err_set(err, -EINVAL,
                           "%s says %lld nodes, but not which one this is: set MST_NODE_RANK, or "
                           "give --node-rank with --nnodes",
                           plan->scheme, (long long)plan->node_count);
    return 0;
}

static int complete_master(struct mst_plan *plan, struct mst_err *err)
{
    if (!plan->master_host[0] && plan->node_count == 1)
        memcpy(plan->master_host, "127.0.0.1", sizeof "127.0.0.1");
    else if (plan->master_port < 0 && strcmp(plan->master_host, "127.0.0.1") != 0)
        plan->master_port = plan->default_port;
    if (!plan->master_host[0] && plan->elastic_min < 0)
        return mst_err_set(err, -EINVAL,
                           "%s says %lld nodes, but nothing says where node 0 is: set "
                           "MST_MASTER_ADDR (an Indexed Job: MST_SUBDOMAIN)",
                           plan->scheme, (long long)plan->node_count);
    if (mst_host_is_local(plan->master_host) && plan->node_rank > 0)
        return mst_err_set(
            err, -EINVAL,
            "the master is %.40s, which is this node, but this is node %lld of %lld: "
            "set MASTER_ADDR to node 0's name",
            plan->master_host, (long long)plan->node_rank, (long long)plan->node_count);
    return 0;
}

static int complete_spawn(const struct mst_machine *machine, struct mst_plan *plan,
                          struct mst_err *err)
{
    plan->mode = MST_PLAN_SPAWN;
    complete_local_size(machine, plan);
    if (!plan->role[0])
        resolve_role(plan, "worker");
    int rc = complete_node_count(plan, err);
    if (rc == 0)
        rc = complete_world(plan, err);
    if (rc == 0)
        rc = complete_node_rank(machine, plan, err);
    return rc ? rc : complete_master(plan, err);
}

/* Without better knowledge ranks are laid out in blocks, as launchers do by default. */
static void guess_nodes(struct mst_plan *plan)
{
    bool is_even = plan->local_size > 0 && plan->world_size % plan->local_size == 0;
    if (plan->node_count < 0 && is_even)
        plan->node_count = plan->world_size / plan->local_size;
    if (plan->node_rank < 0 && is_even)
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
