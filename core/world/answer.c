/* pure */
#include "muster/core/world/answer.h"

#include "muster/core/err.h"
#include "muster/core/resolve/ports.h"
#include "muster/core/resolve/resolve.h"
#include "muster/core/world/env.h"
#include "muster/core/world/state.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define WAY_ON "start it with `muster run -- …`, or set MST_WORLD=single"

/* ---- ranks of another launcher --------------------------------------------------------------- */

/* Launchers by how sure it is that they started this very process. */
static const struct {
    const char *scheme;
    enum mst_world_source source;
} launchers[] = {
    {"ompi", MST_WORLD_OPENMPI},
    {"pmi1", MST_WORLD_PMI},
    {"slurm", MST_WORLD_SLURM},
    {"torchrun", MST_WORLD_TORCHRUN},
};
#define LAUNCHER_COUNT (sizeof launchers / sizeof *launchers)

static const struct mst_plan *find_scheme(const struct mst_answer *answer, const char *scheme)
{
    for (uint32_t i = 0; i < answer->candidate_count; i++) {
        const struct mst_candidate *candidate = &answer->candidates[i];
        if (!candidate->is_passed_over && strcmp(candidate->plan.scheme, scheme) == 0)
            return &candidate->plan;
    }
    return NULL;
}

const char *world_launcher(const struct mst_answer *answer)
{
    const struct mst_plan *torchrun = find_scheme(answer, "torchrun");
    if (torchrun && torchrun->rdzv_id[0]) /* only torchrun itself gives one */
        return torchrun->scheme;
    for (size_t i = 0; i < LAUNCHER_COUNT; i++) {
        const struct mst_plan *plan = find_scheme(answer, launchers[i].scheme);
        if (plan)
            return plan->scheme;
    }
    return answer->plan.scheme;
}

static enum mst_world_source source_of(const char *scheme)
{
    for (size_t i = 0; i < LAUNCHER_COUNT; i++) {
        if (strcmp(launchers[i].scheme, scheme) == 0)
            return launchers[i].source;
    }
    return MST_WORLD_FOREIGN;
}

/* A launcher that does not tell the local numbers leaves each rank a node of its own: that is slow
 * where it is wrong, while a shared segment that is not shared would be broken. Where it tells no
 * nodes, every one is taken to have as many ranks as this, in rank order. */
static void place_rank(const struct mst_plan *plan, struct mst_world *world)
{
    bool has_local = plan->local_size > 0 && plan->local_rank >= 0;
    world->local_size = has_local ? (uint32_t)plan->local_size : 1;
    world->local_rank = has_local ? (uint32_t)plan->local_rank : 0;
    world->node = world->rank / world->local_size;
    world->node_count = world->size / world->local_size + (world->size % world->local_size != 0);
    if (has_local && plan->node_rank >= 0 && plan->node_count > 0) {
        world->node = (uint32_t)plan->node_rank;
        world->node_count = (uint32_t)plan->node_count;
    }
}

/* Where rank 0 serves the others' keys, if all of them can tell: on one node at its loopback
 * address, else where the launcher says that rank 0 is. The port follows from what no other job has
 * in common with this one: a port of its own, or the name of this start. */
static void place_server(const struct mst_plan *plan, struct mst_world *world)
{
    bool has_port = plan->master_port > 0 && !plan->port_is_default;
    char job[MST_HOST_BYTES + MST_JOB_ID_BYTES + MST_STEP_ID_BYTES + 32];
    uint16_t ports[MST_PORTS_COUNT];
    const char *host = world->node_count == 1 ? "127.0.0.1" : plan->master_host;
    if (!host[0] || !(has_port || plan->step_id[0])) {
        world->no_kv = "set MASTER_ADDR to rank 0's host, and MASTER_PORT to a port that no other "
                       "job there has, alike for all ranks";
        return;
    }
    (void)snprintf(job, sizeof job, "%s:%lld/%s.%s", plan->master_host,
                   has_port ? (long long)plan->master_port : 0, plan->job_id,
                   plan->step_id); /* it fits */
    mst_ports_derive(job, ports);
    (void)snprintf(world->kv_addr, sizeof world->kv_addr, strchr(host, ':') ? "[%s]:%u" : "%s:%u",
                   host, ports[0]); /* it fits */
    world->is_resident = true;
}

static int take_rank(const struct mst_answer *answer, struct mst_world *world, struct mst_err *err)
{
    const struct mst_plan *plan = &answer->plan;
    if (plan->world_size < 0)
        return mst_err_set(err, -ENOTSUP,
                           "%s says that this is rank %lld, but not of how many: " WAY_ON,
                           plan->scheduler, (long long)plan->rank);
    world->rank = (uint32_t)plan->rank;
    world->size = (uint32_t)plan->world_size;
    place_rank(plan, world);
    world->source = source_of(world_launcher(answer));
    world->generation = plan->incarnation > 0 ? (uint32_t)plan->incarnation : 0;
    if (world->size > 1)
        place_server(plan, world);
    return world_check(world, err);
}

/* ---- nobody's rank --------------------------------------------------------------------------- */

static int refuse(const struct mst_plan *plan, struct mst_err *err)
{
    switch (plan->mode) {
    case MST_PLAN_CONTROL:
        return mst_err_set(err, -EINVAL,
                           "%s: this is the launcher's pod, whose program mpirun starts on the "
                           "workers; who means to be alone sets MST_WORLD=single",
                           plan->scheduler);
    case MST_PLAN_WAIT_FOR_LAUNCHER:
        return mst_err_set(err, -EINVAL,
                           "%s: this worker's ranks are started by its launcher; who means to be "
                           "alone sets MST_WORLD=single",
                           plan->scheduler);
    case MST_PLAN_SPAWN: break;
    default:
        return mst_err_set(err, -EINVAL,
                           "%s: this is one of a number of nodes that nobody says: set "
                           "MST_NNODES and " WAY_ON,
                           plan->scheduler);
    }
    if (plan->node_count < 0)
        return mst_err_set(
            err, -EINVAL,
            "%s asks for %lld to %lld nodes, and nobody has started the ranks: " WAY_ON,
            plan->scheduler, (long long)plan->elastic_min, (long long)plan->elastic_max);
    return mst_err_set(
        err, -EINVAL,
        "%s says %lld nodes and %lld ranks, of which nobody has started this one: " WAY_ON,
        plan->scheduler, (long long)plan->node_count, (long long)plan->world_size);
}

/* The resolver's own text ends with what to set, and may have the last word already. */
static int hand_on(const struct mst_err *why, struct mst_err *err)
{
    bool is_said = strstr(why->text, "MST_WORLD=single") != NULL;
    return mst_err_set(err, why->code, "%s%s", why->text,
                       is_said ? "" : "; who means to be alone sets MST_WORLD=single");
}

/* A name that goes into keys and log lines. */
static bool is_word(const char *text)
{
    while (isgraph((unsigned char)*text))
        text++;
    return *text == '\0';
}

static void name_job(const struct mst_plan *plan, struct mst_world *world)
{
    if (is_word(plan->job_id))
        memcpy(world->job_id, plan->job_id, sizeof world->job_id);
}

int world_from_answer(const struct mst_answer *answer, struct mst_world *world, struct mst_err *err)
{
    struct mst_world found = *world;
    int rc = 0;
    if (answer->plan.mode == MST_PLAN_ERROR)
        rc = hand_on(&answer->err, err);
    else if (answer->plan.mode == MST_PLAN_RANK)
        rc = take_rank(answer, &found, err);
    else if (mst_answer_has_others(answer))
        rc = refuse(&answer->plan, err);
    if (rc < 0)
        return rc;
    name_job(&answer->plan, &found);
    *world = found;
    return 0;
}
