#include "muster/launcher/plan.h"

#include "muster/core/err.h"
#include "muster/core/host.h"
#include "muster/core/kv/sock.h"
#include "muster/core/resolve/machine.h"
#include "muster/core/resolve/resolve.h"
#include "muster/core/world/page.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/flags.h"
#include "muster/launcher/msg.h"
#include "muster/launcher/opts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- flags ----------------------------------------------------------------------------------- */

static int64_t one_per(uint32_t count)
{
    if (count > MST_PAGE_RANKS_MAX)
        return MST_PAGE_RANKS_MAX;
    return count ? count : 1;
}

static int64_t one_per_device(const struct mst_machine *machine)
{
    uint32_t gpu_count = mst_machine_gpus(machine);
    return one_per(gpu_count ? gpu_count : mst_machine_cores(machine));
}

/* What --nproc asks for; 0: it is not given. */
static int64_t wanted_local_size(const struct flags *flags, const struct mst_machine *machine)
{
    switch (flags->local_size) {
    case FLAGS_NPROC_AUTO: return one_per_device(machine);
    case FLAGS_NPROC_GPU: return one_per(mst_machine_gpus(machine));
    case FLAGS_NPROC_CPU: return one_per(mst_machine_cores(machine));
    default: return flags->local_size;
    }
}

int64_t plan_most_nodes(const struct mst_plan *plan)
{
    return plan->node_count > 0 ? plan->node_count : plan->elastic_max;
}

static bool is_elastic(const struct flags *flags)
{
    return flags->node_least > 0 && flags->node_least < flags->node_count;
}

/* Without anybody's word on the number of nodes the flags' count, one if they have none, and all
 * else with it. What the job is called stays true. */
static void plan_from_flags(const struct flags *flags, const struct mst_machine *machine,
                            struct mst_plan *plan)
{
    struct mst_plan made = mst_plan_unknown;
    made.mode = MST_PLAN_SPAWN;
    made.scheme = "flags";
    made.scheduler = "none";
    memcpy(made.role, "worker", sizeof "worker");
    made.node_count = flags->node_count > 0 ? flags->node_count : 1;
    if (is_elastic(flags)) {
        made.node_count = MST_UNKNOWN;
        made.elastic_min = flags->node_least;
        made.elastic_max = flags->node_count;
    }
    made.node_rank = made.node_count == 1 ? 0 : MST_UNKNOWN;
    made.local_size = one_per_device(machine);
    made.world_size = made.node_count > 0 ? made.node_count * made.local_size : MST_UNKNOWN;
    memcpy(made.job_id, plan->job_id, sizeof made.job_id);
    memcpy(made.step_id, plan->step_id, sizeof made.step_id);
    *plan = made;
}

static int apply_place(const struct flags *flags, struct opts *opts, struct mst_err *err)
{
    struct mst_plan *plan = &opts->answer->plan;
    uint16_t port = 0;
    if (flags->rdzv &&
        (mst_sock_split(flags->rdzv, plan->master_host, sizeof plan->master_host, &port) ||
         port == 0))
        return mst_err_set(err, -EINVAL, "--rdzv %s: HOST:PORT of node 0", flags->rdzv);
    if (flags->rdzv) {
        plan->master_port = port;
        plan->port_is_default = false;
        memcpy(opts->rdzv_host, plan->master_host, sizeof opts->rdzv_host);
    }
    if (flags->node_rank >= 0)
        plan->node_rank = flags->node_rank;
    int64_t limit = plan_most_nodes(plan) + opts->spare_count;
    if (plan_most_nodes(plan) > 0 && plan->node_rank >= limit)
        return mst_err_set(err, -EINVAL,
                           "node rank %lld is not below the number of nodes, %lld (%s): correct "
                           "--node-rank or --nnodes",
                           (long long)plan->node_rank, (long long)limit, plan->scheme);
    return 0;
}

/* Why there are as many ranks as there are. */
static const char *reason_of(const struct flags *flags, const struct mst_machine *machine,
                             const struct mst_plan *plan)
{
    if (flags->local_size > 0 || (flags->local_size == 0 && flags->total > 0))
        return "given";
    if (flags->local_size == FLAGS_NPROC_CPU)
        return "cores";
    if (flags->local_size == 0 && strcmp(plan->scheme, "single") != 0 &&
        strcmp(plan->scheme, "flags") != 0)
        return "environment";
    return mst_machine_gpus(machine) ? "GPUs" : "cores";
}

static void apply_local_size(const struct flags *flags, const struct mst_machine *machine,
                             struct opts *opts)
{
    struct mst_plan *plan = &opts->answer->plan;
    opts->local_size_reason = reason_of(flags, machine, plan);
    if (flags->local_size == 0)
        return;
    plan->local_size = wanted_local_size(flags, machine);
    plan->world_size = plan->node_count > 0 ? plan->node_count * plan->local_size : MST_UNKNOWN;
}

/* -n counts the ranks of the job; without --nproc each node has the same share of them. */
static int apply_total(const struct flags *flags, struct opts *opts, struct mst_err *err)
{
    struct mst_plan *plan = &opts->answer->plan;
    if (flags->total > 0 && plan->elastic_min > 0 && plan->node_count < 0)
        return mst_err_set(err, -EINVAL,
                           "-n %lld counts the ranks of a fixed world, and nodes of this one may "
                           "come and go: give their number on this node by --nproc",
                           (long long)flags->total);
    if (flags->total == 0 || plan->node_count <= 0)
        return 0;
    if (flags->local_size == 0 && flags->total % plan->node_count == 0 &&
        flags->total / plan->node_count <= MST_PAGE_RANKS_MAX) {
        plan->local_size = flags->total / plan->node_count;
        plan->world_size = flags->total;
    }
    opts->world_size = (uint32_t)flags->total;
    if (plan->local_size * plan->node_count == flags->total)
        return 0;
    return mst_err_set(err, -EINVAL,
                       "-n %lld: so many ranks cannot be %s on each of %lld nodes: give their "
                       "number on this node by --nproc, or another total",
                       (long long)flags->total, flags->local_size ? "those of --nproc" : "as many",
                       (long long)plan->node_count);
}

/* ---- a rank of another launcher -------------------------------------------------------------- */

static bool is_rank(const struct mst_plan *plan)
{
    return plan->mode == MST_PLAN_RANK;
}

/* A flag that is given, and not what the rank's launcher says. */
static bool differs(int64_t flag, bool is_given, int64_t said)
{
    return is_given && flag != said;
}

static int refuse_flag(const char *flag, int64_t value, const struct mst_plan *plan,
                       struct mst_err *err)
{
    char size[24] = "an unknown number";
    if (plan->world_size > 0)
        snprintf(size, sizeof size, "%lld", (long long)plan->world_size);
    return mst_err_set(err, -EINVAL,
                       "%s %lld is not what %s says, of which this is rank %lld of %s already: "
                       "leave the flag out, or believe no variable by --from none",
                       flag, (long long)value, plan->scheduler, (long long)plan->rank, size);
}

/* 0 if the flags say what the rank is; 1 if they do not, and it is alone; -EINVAL with text for one
 * of several. */
static int compare_rank(const struct flags *flags, const struct mst_machine *machine,
                        const struct mst_plan *plan, struct mst_err *err)
{
    int64_t local_size = wanted_local_size(flags, machine);
    bool other_size = differs(local_size, local_size > 0, plan->local_size);
    int64_t least = is_elastic(flags) ? flags->node_least : flags->node_count;
    bool other_count = plan->node_count < least || plan->node_count > flags->node_count;
    bool other_place = differs(flags->node_rank, flags->node_rank >= 0, plan->node_rank);
    if (plan->world_size == 1)
        return (local_size > 1) || (flags->node_count > 1) || (flags->node_rank > 0) ||
               (flags->total > 1);
    if (differs(flags->total, flags->total > 0, plan->world_size))
        return refuse_flag("-n", flags->total, plan, err);
    if (other_size)
        return refuse_flag("--nproc", local_size, plan, err);
    if (flags->node_count > 0 && other_count)
        return refuse_flag("--nnodes", flags->node_count, plan, err);
    return other_place ? refuse_flag("--node-rank", flags->node_rank, plan, err) : 0;
}

/* ---- what is overruled ----------------------------------------------------------------------- */

/* The number of ranks on a node that a variable gives, if one does. */
static int64_t said_local_size(const struct mst_answer *answer)
{
    for (uint32_t i = 0; i < answer->candidate_count; i++) {
        const struct mst_candidate *candidate = &answer->candidates[i];
        if (!candidate->is_passed_over && candidate->plan.local_size > 0)
            return answer->plan.local_size;
    }
    return MST_UNKNOWN;
}

__attribute__((format(printf, 2, 3))) static void note(struct opts *opts, const char *format, ...)
{
    size_t used = strlen(opts->overruled);
    va_list args;
    va_start(args, format);
    /* cut where it is too long: it is for people */
    vsnprintf(opts->overruled + used, sizeof opts->overruled - used, format, args);
    va_end(args);
}

static void note_number(struct opts *opts, const char *what, int64_t said, int64_t now)
{
    if (said >= 0 && said != now)
        note(opts, "%s%s %lld", opts->overruled[0] ? ", " : "", what, (long long)said);
}

static void note_mode(const struct mst_plan *said, struct opts *opts)
{
    if (said->mode == MST_PLAN_ERROR)
        note(opts, "%s", opts->answer->err.text);
    else if (said->mode == MST_PLAN_RANK)
        note(opts, "rank %lld of %lld", (long long)said->rank, (long long)said->world_size);
    else if (said->mode != MST_PLAN_SPAWN)
        note(opts, "%s", said->role);
}

static void note_numbers(const struct mst_plan *said, int64_t local_size, struct opts *opts)
{
    const struct mst_plan *plan = &opts->answer->plan;
    note_number(opts, "nodes", said->node_count, plan->node_count);
    note_number(opts, "node rank", said->node_rank, plan->node_rank);
    note_number(opts, "ranks per node", local_size, plan->local_size);
    if (plan->node_count > 1 && said->master_host[0] &&
        strcmp(said->master_host, plan->master_host) != 0)
        note(opts, "%snode 0 at %.60s", opts->overruled[0] ? ", " : "", said->master_host);
}

/* What the environment said and the plan does not follow. `said` is the plan before the flags. */
static void note_overruled(const struct mst_plan *said, int64_t local_size, struct opts *opts)
{
    if (opts->answer->candidate_count == 0 && said->mode != MST_PLAN_ERROR)
        return; /* nobody spoke: the numbers are those of this machine */
    note_mode(said, opts);
    if (!opts->overruled[0])
        note_numbers(said, local_size, opts);
    if (opts->overruled[0] && said->scheme)
        note(opts, " (%s)", said->scheme);
}

/* ---- together -------------------------------------------------------------------------------- */

/* What a flag says stands above the environment. */
static int apply_flags(const struct flags *flags, const struct mst_machine *machine,
                       struct opts *opts, struct mst_err *err)
{
    struct mst_plan *plan = &opts->answer->plan, said = *plan;
    int64_t local_size = said_local_size(opts->answer);
    if (flags->local_size == FLAGS_NPROC_GPU && mst_machine_gpus(machine) == 0)
        return mst_err_set(err, -EINVAL,
                           "--nproc gpu: this machine shows no GPU: give a number, or auto");
    int rc = is_rank(plan) ? compare_rank(flags, machine, plan, err) : 0;
    if (rc < 0)
        return rc;
    if (rc > 0 || (flags->node_count > 0 && !is_rank(plan)))
        plan_from_flags(flags, machine, plan);
    if (flags->max_restarts >= 0)
        plan->max_restarts = flags->max_restarts;
    if (plan->mode != MST_PLAN_SPAWN)
        return 0;
    apply_local_size(flags, machine, opts);
    rc = apply_total(flags, opts, err);
    if (rc == 0)
        rc = apply_place(flags, opts, err);
    if (rc == 0)
        note_overruled(&said, local_size, opts);
    if (rc == 0 && said.mode == MST_PLAN_ERROR)
        opts->answer->err = (struct mst_err){0};
    return rc;
}

/* Flags stand for what the machine would say. */
static void describe_machine(const struct flags *flags, struct mst_machine *facts)
{
    if (flags->hostname)
        facts->hostname = flags->hostname;
    if (flags->pod_ip)
        facts->pod_ip = flags->pod_ip;
    facts->is_sized = flags->local_size > 0 || flags->total > 0;
    if (flags->gpu_count < 0)
        return;
    facts->count = NULL;
    facts->gpu_count = (uint32_t)flags->gpu_count;
    facts->core_count = 0; /* whoever describes another machine has said nothing of its cores */
}

int plan_read(const struct flags *flags, struct opts *opts, struct mst_err *err)
{
    struct machine machine;
    const char *from = flags->from;
    machine_init(&machine, opts->env, flags->root ? flags->root : "");
    machine_look(&machine);
    describe_machine(flags, &machine.facts);
    if (from && strcmp(from, "none") == 0) {
        opts->answer->plan = mst_plan_unknown;
        opts->answer->err = (struct mst_err){0};
        opts->answer->candidate_count = 0;
        mst_plan_name_job(&machine.facts, &opts->answer->plan);
        plan_from_flags(flags, &machine.facts, &opts->answer->plan);
    } else {
        (void)mst_resolve(&machine.facts, from, opts->answer); /* it has the error */
    }
    int rc = apply_flags(flags, &machine.facts, opts, err);
    machine_fini(&machine);
    return rc;
}

/* ---- a start --------------------------------------------------------------------------------- */

/* What is to be done where there is nothing to start. */
static const char *advice(enum mst_plan_mode mode)
{
    switch (mode) {
    case MST_PLAN_CONTROL:
        return "this is a launcher's pod, which runs no rank: start the program with mpirun here, "
               "or "
               "set runLauncherAsWorker";
    case MST_PLAN_WAIT_FOR_LAUNCHER:
        return "this worker is told nothing but its role: let its launcher start ranks here "
               "(sshd), "
               "or set MST_NNODES and MST_MASTER_ADDR";
    default: return "the number of nodes is not known: set MST_NNODES and MST_MASTER_ADDR";
    }
}

static bool is_by_flags(const struct mst_plan *plan)
{
    return strcmp(plan->scheme, "flags") == 0;
}

/* "4", or "1 to 4". */
static const char *name_range(const struct mst_plan *plan, char *text, size_t cap)
{
    if (plan->node_count > 0)
        snprintf(text, cap, "%lld", (long long)plan->node_count);
    else
        snprintf(text, cap, "%lld to %lld", (long long)plan->elastic_min,
                 (long long)plan->elastic_max);
    return text;
}

int plan_check(const struct mst_plan *plan, struct mst_err *err)
{
    if (plan->mode == MST_PLAN_NO_COLLECTIVE)
        return 0;
    if (plan->mode != MST_PLAN_SPAWN)
        return mst_err_set(err, -EINVAL, "%s, role %s: %s", plan->scheduler, plan->role,
                           advice(plan->mode));
    int64_t most = plan_most_nodes(plan);
    char range[48];
    if (most > MSG_NODES_MAX)
        return mst_err_set(err, -EINVAL, "%lld nodes are over the limit of %d", (long long)most,
                           MSG_NODES_MAX);
    if (!is_by_flags(plan) && (plan->node_rank < 0 || (most > 1 && !plan->master_host[0])))
        return mst_err_set(err, -EINVAL,
                           "%s says %s nodes, but not which one this is or where node 0 is: set "
                           "MST_NODE_RANK and MST_MASTER_ADDR",
                           plan->scheduler, name_range(plan, range, sizeof range));
    return 0;
}

void plan_find_missing(struct opts *opts, bool has_secret)
{
    const struct mst_plan *plan = &opts->answer->plan;
    const char **next = opts->missing;
    if (plan->mode != MST_PLAN_SPAWN || plan_most_nodes(plan) + opts->spare_count < 2)
        return;
    if (plan->node_rank < 0)
        *next++ = "--node-rank R";
    if (!plan->master_host[0])
        *next++ = "--rdzv HOST:PORT";
    /* by a flag "localhost" is this machine; by an operator it is this pod */
    bool is_local = opts->rdzv_host[0] && mst_host_is_local(opts->rdzv_host);
    if (!opts->insecure && !is_local && !has_secret)
        *next++ = "MST_JOB_SECRET_FILE, or --insecure";
}
