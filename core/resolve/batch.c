/* Batch systems whose script runs on the first of a job's hosts only: PBS and LSF. Their
 * launchers for all hosts (pbsdsh, blaunch) start one task on each, and nobody says its number:
 * it is this host's place in the job's list. */
/* pure */
#include "muster/core/resolve/hosts.h"

#include <errno.h>
#include <string.h>

/* A list names a host once for each of its slots, one after another. */
static int read_list(const struct mst_machine *machine, const char *what, const char *text,
                     struct mst_plan *plan, struct mst_err *err)
{
    struct resolve_hosts hosts;
    int rc = resolve_hosts_sum(machine, text, 1, false, &hosts, err);
    if (rc < 0)
        return mst_err_wrap(err, "%.100s", what);
    if (plan->node_count > 0 && plan->node_count != hosts.count)
        return mst_err_set(err, -EINVAL, "%.100s has %lld hosts, but %s says %lld nodes", what,
                           (long long)hosts.count, plan->scheduler, (long long)plan->node_count);
    plan->node_count = hosts.count;
    plan->node_rank = hosts.count == 1 ? 0 : hosts.self;
    plan->default_port = MST_PORT_DEFAULT;
    memcpy(plan->master_host, hosts.first, sizeof plan->master_host);
    return 0;
}

/* `is_script` where this may be the job's script: no launcher's variable says that it is a task. */
static int place(const struct mst_machine *machine, bool is_script, const char *advice,
                 struct mst_plan *plan, struct mst_err *err)
{
    int64_t node_rank = plan->node_rank;
    plan->mode = MST_PLAN_SPAWN;
    if (plan->node_count == 1 || (node_rank >= 0 && (node_rank > 0 || !is_script)))
        return 1;
    plan->node_rank = MST_UNKNOWN;
    if (node_rank < 0)
        return mst_err_set(err, -EINVAL,
                           "this is host %.60s, and none of the %lld of the %s job: start on those",
                           machine->hostname, (long long)plan->node_count, plan->scheduler);
    return mst_err_set(err, -EINVAL,
                       "this is the script of a %s job, which runs on the first of its %lld nodes: "
                       "start on all of them with %s",
                       plan->scheduler, (long long)plan->node_count, advice);
}

/* Without the list the count alone still tells whether there are others. */
int resolve_pbs(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *path = resolve_text(machine, "PBS_NODEFILE");
    const char *text = path ? machine->read_file(machine->arg, path) : NULL;
    int64_t task = MST_UNKNOWN;
    int rc = resolve_number(machine, "PBS_TASKNUM", 0, INT32_MAX, &task, err);
    if (rc >= 0 && text)
        rc = read_list(machine, path, text, plan, err);
    if (rc < 0)
        return rc;
    if (plan->node_count < 0 || (plan->node_count > 1 && !text))
        return mst_err_set(err, -EINVAL,
                           "PBS_JOBID is set, but PBS_NODEFILE=%.80s cannot be read: pass the file "
                           "and the variable on, or give --nnodes",
                           path ? path : "");
    bool is_task = task > 1 || resolve_is_set(machine, "PALS_NODEID");
    return place(machine, !is_task, "pbsdsh -u -- muster run …", plan, err);
}

/* "host 2 other 2": names and slots in turn. */
static int read_pairs(const struct mst_machine *machine, const char *text, struct mst_plan *plan,
                      struct mst_err *err)
{
    char host[MST_HOST_BYTES], slots[24];
    int64_t count = 0;
    int rc;
    plan->node_rank = MST_UNKNOWN;
    while ((rc = resolve_names_next(&text, host, sizeof host, err)) > 0) {
        if (resolve_names_next(&text, slots, sizeof slots, err) <= 0 ||
            slots[strspn(slots, "0123456789")] != '\0')
            return mst_err_set(err, -EINVAL, "LSB_MCPU_HOSTS: no count of slots behind %.60s",
                               host);
        if (count == 0)
            memcpy(plan->master_host, host, sizeof plan->master_host);
        if (plan->node_rank < 0 && resolve_is_self(machine, host))
            plan->node_rank = count;
        count++;
    }
    plan->node_count = count;
    plan->default_port = MST_PORT_DEFAULT;
    return rc;
}

int resolve_lsf(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *pairs = resolve_text(machine, "LSB_MCPU_HOSTS");
    const char *path = resolve_text(machine, "LSB_DJOB_HOSTFILE");
    const char *list = path && !pairs ? machine->read_file(machine->arg, path) : NULL;
    if (!pairs && !list)
        return mst_err_set(err, -EINVAL,
                           "LSB_JOBID is set, but neither LSB_MCPU_HOSTS nor a file "
                           "LSB_DJOB_HOSTFILE is there: pass all LSB_* variables on, or give "
                           "--nnodes");
    int rc = pairs ? read_pairs(machine, pairs, plan, err)
                   : read_list(machine, path, list, plan, err);
    if (rc < 0)
        return rc;
    return place(machine, !resolve_text(machine, "LSF_PM_TASKID"),
                 "blaunch -z \"HOST …\" muster run …", plan, err);
}
