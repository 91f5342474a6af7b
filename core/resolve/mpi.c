/* MPIJob v1 and v2 (Open MPI, Intel MPI, MPICH) and TrainJob (MPI): the launcher's pod has a
 * hostfile and runs no rank, unless its own name is in the file. Workers are told nothing. */
/* pure */
#include "muster/core/resolve/hosts.h"

#include <errno.h>
#include <string.h>

#define DISCOVER "/etc/mpi/discover_hosts.sh"

static const struct {
    const char *hostfile, *slots;
} flavours[] = {
    {"OMPI_MCA_orte_default_hostfile", "OMPI_MCA_orte_set_default_slots"},
    {"PRTE_MCA_prte_default_hostfile", "PRTE_MCA_prte_set_default_slots"},
    {"I_MPI_HYDRA_HOST_FILE", "I_MPI_PERHOST"},
    {"HYDRA_HOST_FILE", "HYDRA_PERHOST"},
};

static int read_hosts(const struct mst_machine *machine, const char *hostfile,
                      int64_t default_slots, struct resolve_hosts *hosts, struct mst_err *err)
{
    const char *path = hostfile, *text = machine->read_file(machine->arg, path);
    bool is_hostfile = text != NULL;
    if (!is_hostfile) {
        path = DISCOVER;
        text = machine->read_file(machine->arg, path);
    }
    if (!text)
        return mst_err_set(err, -EINVAL,
                           "neither the hostfile %.100s nor " DISCOVER " can be read: mount the "
                           "operator's config map there",
                           hostfile);
    int rc = resolve_hosts_sum(machine, text, default_slots, !is_hostfile, hosts, err);
    if (rc)
        (void)mst_err_wrap(err, "%.100s", path); /* it returns rc */
    return rc;
}

static int read_launcher(const struct mst_machine *machine, size_t flavour, struct mst_plan *plan,
                         struct mst_err *err)
{
    plan->mode = MST_PLAN_CONTROL;
    resolve_role(plan, "launcher");
    int64_t slots = 1;
    int rc = resolve_number(machine, flavours[flavour].slots, 1, RESOLVE_LOCAL_MAX, &slots, err);
    struct resolve_hosts hosts = {0};
    if (rc >= 0)
        rc = read_hosts(machine, resolve_text(machine, flavours[flavour].hostfile), slots, &hosts,
                        err);
    if (rc < 0)
        return rc;
    plan->node_count = hosts.count;
    plan->world_size = hosts.slots;
    plan->local_size = hosts.each;
    memcpy(plan->master_host, hosts.first, sizeof plan->master_host);
    if (hosts.self >= 0) {
        plan->mode = MST_PLAN_SPAWN;
        plan->node_rank = hosts.self;
        plan->local_size = hosts.self_slots;
    }
    return 1;
}

static int read_worker(const struct mst_machine *machine, struct mst_plan *plan)
{
    plan->mode = MST_PLAN_WAIT_FOR_LAUNCHER;
    /* one too low where the launcher runs ranks too, so the user's word stands */
    if (!resolve_is_set(machine, "MST_NODE_RANK"))
        plan->node_rank = resolve_ordinal(machine->hostname, NULL);
    resolve_role(plan, "worker");
    return 1;
}

int resolve_mpi(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *role = resolve_text(machine, "K_MPI_JOB_ROLE");
    if (resolve_is_set(machine, "JOB_COMPLETION_INDEX"))
        plan->scheduler = "TrainJob (MPI)";
    else if (resolve_is_set(machine, "OMPI_MCA_plm_rsh_agent"))
        plan->scheduler = "MPIJob v1";
    int rc = role ? resolve_word("K_MPI_JOB_ROLE", role, "launcher worker", err) : 0;
    if (rc)
        return rc;
    if (role && strcmp(role, "worker") == 0)
        return read_worker(machine, plan);
    for (size_t i = 0; i < sizeof flavours / sizeof *flavours; i++) {
        if (resolve_text(machine, flavours[i].hostfile))
            return read_launcher(machine, i, plan, err);
    }
    if (!role)
        return 0;
    resolve_role(plan, "launcher");
    return mst_err_set(err, -EINVAL,
                       "K_MPI_JOB_ROLE=%.20s, but no variable names a hostfile: set "
                       "mpiImplementation in the MPIJob",
                       role);
}
