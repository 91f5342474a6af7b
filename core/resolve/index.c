/* An Indexed Job of Kubernetes: the index, and nothing about how many there are. Not read in the
 * pods of a TrainJob with MPI, where launcher and first node both have index 0, nor in those of a
 * JobSet, whose parser knows what the index counts. */
/* pure */
#include "muster/core/resolve/parser.h"

#include <stdio.h>

static bool belongs_to_another(const struct mst_machine *machine)
{
    return resolve_is_set(machine, "JOBSET_NAME") || resolve_is_set(machine, "K_MPI_JOB_ROLE") ||
           resolve_is_set(machine, "OMPI_MCA_orte_default_hostfile") ||
           resolve_is_set(machine, "PRTE_MCA_prte_default_hostfile") ||
           resolve_is_set(machine, "I_MPI_HYDRA_HOST_FILE") ||
           resolve_is_set(machine, "HYDRA_HOST_FILE");
}

/* Pods are named <job>-<index>; a name resolves only under the user's headless Service. */
static void name_master(const struct mst_machine *machine, struct mst_plan *plan)
{
    const char *subdomain = resolve_text(machine, "MST_SUBDOMAIN");
    size_t stem;
    if (!subdomain || resolve_ordinal(machine->hostname, &stem) != plan->node_rank)
        return;
    int size = snprintf(plan->master_host, sizeof plan->master_host, "%.*s-0.%s", (int)stem,
                        machine->hostname, subdomain);
    if (size >= (int)sizeof plan->master_host)
        plan->master_host[0] = '\0';
}

int resolve_index(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    static const struct resolve_number numbers[] = {RESOLVE_NODE("JOB_COMPLETION_INDEX")};
    if (!resolve_text(machine, "JOB_COMPLETION_INDEX") || belongs_to_another(machine))
        return 0;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc < 0)
        return rc;
    plan->default_port = RESOLVE_PORT;
    name_master(machine, plan);
    return 1;
}
