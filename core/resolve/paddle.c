/* PaddlePaddle: PaddleJob of Kubeflow and the older paddle-operator. */
/* pure */
#include "muster/core/resolve/hosts.h"

#include <errno.h>
#include <string.h>

/* There is no rank in the environment: the pod with the master's address is node 0, the others have
 * it in their names. */
static int read_place(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *pod_ip = resolve_text(machine, "POD_IP_DUMMY");
    const char *master = resolve_text(machine, "PADDLE_MASTER");
    int rc = 0;
    if (master && strncmp(master, "etcd://", 7) == 0) /* a store that nodes meet at, not node 0 */
        resolve_master_by_name(machine, plan);
    else if (master && strncmp(master, "http://", 7) == 0)
        rc = resolve_split("PADDLE_MASTER", master + 7, plan, err);
    else
        rc = resolve_master(machine, "PADDLE_MASTER", plan, err);
    if (rc < 0)
        return rc;
    if (pod_ip && strcmp(pod_ip, plan->master_host) == 0)
        plan->node_rank = 0;
    else
        plan->node_rank = resolve_rank_by_name(machine, plan->master_host);
    return 0;
}

int resolve_paddle(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    if (!resolve_is_set(machine, "PADDLE_NNODES"))
        return 0;
    bool is_server = resolve_is_set(machine, "PADDLE_SERVER_NUM");
    bool is_apart = is_server || resolve_is_set(machine, "PADDLE_TRAINER_NUM");
    /* servers and trainers of the parameter-server mode talk to one another, not in a collective */
    plan->mode = is_apart ? MST_PLAN_NO_COLLECTIVE : MST_PLAN_SPAWN;
    plan->default_port = MST_PORT_DEFAULT;
    resolve_role(plan, is_server ? "server" : is_apart ? "trainer" : "worker");
    int rc = resolve_nodes(machine, "PADDLE_NNODES", plan, err);
    if (rc < 0)
        return rc;
    rc = read_place(machine, plan, err);
    if (is_apart)
        plan->node_rank = MST_UNKNOWN;
    return rc < 0 ? rc : 1;
}

static int read_endpoints(const struct mst_machine *machine, struct mst_plan *plan,
                          struct mst_err *err)
{
    const char *text = resolve_text(machine, "PADDLE_TRAINER_ENDPOINTS");
    if (!text)
        return 0;
    char endpoint[MST_HOST_BYTES + 8];
    int64_t count = 0;
    int rc = 1;
    while (rc > 0 && (rc = resolve_names_next(&text, endpoint, sizeof endpoint, err)) > 0) {
        if (count++ == 0 && resolve_split("PADDLE_TRAINER_ENDPOINTS", endpoint, plan, err))
            rc = -EINVAL;
    }
    if (rc < 0)
        return rc;
    if (plan->node_count >= 0 && plan->node_count != count)
        return mst_err_set(err, -EINVAL,
                           "PADDLE_TRAINERS_NUM=%lld, but PADDLE_TRAINER_ENDPOINTS has %lld: "
                           "correct one",
                           (long long)plan->node_count, (long long)count);
    plan->node_count = count;
    return 0;
}

/* Servers, and trainers on other devices than the world's, talk to the trainers: no ranks. */
static int read_role(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct {
        const char *word, *role;
    } apart[] = {{"PSERVER", "server"},
                 {"HETER", "heter_trainer"},
                 {"HETER_TRAINER", "heter_trainer"},
                 {"COORDINATOR", "coordinator"}};
    const char *name = resolve_text(machine, "TRAINING_ROLE") ? "TRAINING_ROLE"
                                                              : "PADDLE_TRAINING_ROLE";
    const char *word = resolve_text(machine, name);
    plan->mode = MST_PLAN_SPAWN;
    resolve_role(plan, "worker");
    if (!word)
        return 0;
    for (size_t i = 0; i < RESOLVE_COUNT(apart); i++) {
        if (strcmp(word, apart[i].word) != 0)
            continue;
        plan->mode = MST_PLAN_NO_COLLECTIVE;
        resolve_role(plan, apart[i].role);
    }
    return resolve_word(name, word, "TRAINER PSERVER HETER HETER_TRAINER COORDINATOR", err);
}

int resolve_paddle_old(const struct mst_machine *machine, struct mst_plan *plan,
                       struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NODE_COUNT("PADDLE_TRAINERS_NUM"),
        RESOLVE_NODE("PADDLE_TRAINER_ID"),
    };
    if (!resolve_is_set(machine, "PADDLE_TRAINER_ID") || resolve_is_set(machine, "PADDLE_NNODES") ||
        resolve_is_set(machine, "PADDLE_GLOBAL_RANK"))
        return 0;
    plan->default_port = MST_PORT_DEFAULT;
    int rc = read_role(machine, plan, err);
    if (rc == 0)
        rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc == 0 && plan->node_count < 0 && !resolve_is_set(machine, "PADDLE_TRAINER_ENDPOINTS"))
        rc = resolve_nodes(machine, "PADDLE_ELASTIC_NP", plan, err);
    if (rc >= 0)
        rc = read_endpoints(machine, plan, err);
    if (plan->mode == MST_PLAN_NO_COLLECTIVE)
        plan->node_rank = MST_UNKNOWN;
    return rc < 0 ? rc : 1;
}
