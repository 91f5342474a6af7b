/* Kubeflow's torchrun variables PET_*: PyTorchJob, static and elastic, and TrainJob (torch). With
 * them RANK is the node's, and WORLD_SIZE counts nodes when PET_NPROC_PER_NODE is "auto" and ranks
 * when it is a number. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <string.h>

#define RDZV_PORT 29400    /* torchrun's, for an endpoint without one */
#define PYTORCH_PORT 23456 /* that of the Services which PyTorchJob makes, one of each pod's name */

static int disagree(const char *a, const char *a_text, const char *b, const char *b_text,
                    struct mst_err *err)
{
    return mst_err_set(err, -EINVAL, "%s=%.60s but %s=%.60s: unset one of them", a, a_text, b,
                       b_text);
}

/* PyTorchJob gives one thing under two names; a user's override of one of them is half of one. */
static int check_twins(const struct mst_machine *machine, struct mst_err *err)
{
    static const char *const twins[][2] = {{"PET_MASTER_ADDR", "MASTER_ADDR"},
                                           {"PET_MASTER_PORT", "MASTER_PORT"},
                                           {"PET_NODE_RANK", "RANK"}};
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++) {
        const char *pet = resolve_text(machine, twins[i][0]);
        const char *plain = resolve_text(machine, twins[i][1]);
        if (pet && plain && strcmp(pet, plain) != 0)
            return disagree(twins[i][0], pet, twins[i][1], plain, err);
    }
    return 0;
}

static int read_static_master(const struct mst_machine *machine, struct mst_plan *plan,
                              struct mst_err *err)
{
    static const struct resolve_number ports[] = {RESOLVE_MASTER_PORT("MASTER_PORT"),
                                                  RESOLVE_MASTER_PORT("PET_MASTER_PORT")};
    int rc = resolve_master(machine, "PET_MASTER_ADDR", plan, err);
    if (rc == 0)
        rc = resolve_master(machine, "MASTER_ADDR", plan, err);
    if (rc < 0)
        return rc;
    return resolve_numbers(machine, ports, RESOLVE_COUNT(ports), plan, err);
}

/* An etcd endpoint is the store's address; the first worker is then node 0, by its own name. */
static int read_rdzv(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *backend = resolve_text(machine, "PET_RDZV_BACKEND");
    const char *id = resolve_text(machine, "PET_RDZV_ID");
    if (!id) /* Flyte's elastic tasks are PyTorchJobs and name the attempt themselves */
        id = resolve_text(machine, "FLYTE_INTERNAL_EXECUTION_ID");
    plan->scheduler = "PyTorchJob elastic";
    plan->default_port = RDZV_PORT;
    if (!plan->role[0])
        resolve_role(plan, "worker");
    if (plan->elastic_min < 0)
        plan->elastic_min = plan->elastic_max = plan->node_count;
    if (id) {
        int rc = resolve_copy(plan->rdzv_id, sizeof plan->rdzv_id, "PET_RDZV_ID", id, strlen(id),
                              err);
        if (rc)
            return rc;
    }
    if (backend && strncmp(backend, "etcd", 4) == 0) {
        resolve_master_by_name(machine, plan);
        return 0;
    }
    return resolve_master(machine, "PET_RDZV_ENDPOINT", plan, err);
}

/* The operator writes PET_STANDALONE="" for true, so that it is there is all it says. */
static void stand_alone(struct mst_plan *plan)
{
    plan->scheduler = "PyTorchJob elastic";
    plan->node_count = plan->elastic_min = plan->elastic_max = 1;
    plan->node_rank = 0;
    memcpy(plan->master_host, "127.0.0.1", sizeof "127.0.0.1");
}

/* A rendezvous gives its own node ranks, so a rank outside of it is a wish that cannot be kept. */
static void place_elastic(const struct mst_machine *machine, struct mst_plan *plan)
{
    if (plan->node_rank < 0)
        plan->node_rank = resolve_worker_number(machine->hostname); /* wherever the endpoint is */
    if (plan->node_rank < 0)
        plan->node_rank = resolve_rank_by_name(machine, plan->master_host);
    if (plan->node_rank >= plan->elastic_max)
        plan->node_rank = MST_UNKNOWN;
}

/* A PyTorchJob without a Master tells how many nodes there are: which one a pod is, and where the
 * first is, only its name tells. */
static void place_workers(const struct mst_machine *machine, struct mst_plan *plan)
{
    int64_t number = resolve_worker_number(machine->hostname);
    if (plan->node_rank >= 0 || plan->master_host[0] || number < 0 || number >= plan->node_count)
        return;
    plan->scheduler = "PyTorchJob";
    plan->node_rank = number;
    plan->default_port = PYTORCH_PORT;
    resolve_master_by_name(machine, plan);
}

static int read_place(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    if (resolve_is_set(machine, "PET_STANDALONE")) {
        stand_alone(plan);
        return 0;
    }
    bool has_rdzv = resolve_is_set(machine, "PET_RDZV_ENDPOINT");
    int rc = has_rdzv ? read_rdzv(machine, plan, err) : read_static_master(machine, plan, err);
    if (rc >= 0 && plan->elastic_max >= 0)
        place_elastic(machine, plan);
    else if (rc >= 0 && !has_rdzv)
        place_workers(machine, plan);
    return rc;
}

int resolve_pet(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NODE("RANK"),
        RESOLVE_NODE("PET_NODE_RANK"),
        RESOLVE_NUMBER("WORLD_SIZE", loose_count, 1, RESOLVE_RANKS_MAX, false),
        RESOLVE_NUMBER("PET_MAX_RESTARTS", max_restarts, 0, INT32_MAX, false),
        RESOLVE_NUMBER("FLYTE_ATTEMPT_NUMBER", incarnation, 0, INT32_MAX, false),
    };
    int rc = resolve_nodes(machine, "PET_NNODES", plan, err);
    if (rc <= 0 && !resolve_is_set(machine, "PET_RDZV_ENDPOINT"))
        return rc;
    plan->mode = MST_PLAN_SPAWN;
    plan->default_port = MST_PORT_DEFAULT;
    if (rc < 0 || (rc = check_twins(machine, err)) < 0 ||
        (rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err)) < 0 ||
        (rc = resolve_local_size(machine, "PET_NPROC_PER_NODE", plan, err)) < 0)
        return rc;
    /* only a job with a Master spec has RANK; there the master is rank 0 */
    if (resolve_text(machine, "RANK"))
        resolve_role(plan, plan->node_rank == 0 ? "master" : "worker");
    else if (!resolve_is_set(machine, "PET_RDZV_ENDPOINT"))
        plan->scheduler = "TrainJob (torch)";
    rc = read_place(machine, plan, err);
    return rc < 0 ? rc : 1;
}
