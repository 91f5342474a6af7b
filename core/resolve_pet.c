/* pure */
#include "core/err.h"
#include "core/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NODES_MAX 4096
#define LOCAL_MAX 1024
#define RESTARTS_MAX 1000000
#define PORT_DEFAULT 29500 /* torchrun's and TrainJob's */

/* "auto", "gpu" and "cpu" all leave the choice to us. */
static int read_local_size(const struct resolve_env *env, uint32_t *ret_size, struct mst_err *err)
{
    const char *text = resolve_text(env, "PET_NPROC_PER_NODE");

    if (text && (!strcmp(text, "auto") || !strcmp(text, "gpu") || !strcmp(text, "cpu"))) {
        *ret_size = 0;
        return 0;
    }
    int result = resolve_number(env, "PET_NPROC_PER_NODE", 1, LOCAL_MAX, ret_size, err);
    return result < 0 ? result : 0;
}

static int read_node_count(const struct resolve_env *env, uint32_t *ret_count, struct mst_err *err)
{
    const char *text = resolve_text(env, "PET_NNODES");

    if (text && strchr(text, ':'))
        return mst_err_set(err, -ENOTSUP,
                           "PET_NNODES=%.40s asks for an elastic world, which this version does "
                           "not form: set one number",
                           text);
    return resolve_number(env, "PET_NNODES", 1, NODES_MAX, ret_count, err);
}

/* The two names of one thing must agree when both are set. */
static int read_master_host(const struct resolve_env *env, struct mst_plan *plan,
                            struct mst_err *err)
{
    const char *pet = resolve_text(env, "PET_MASTER_ADDR");
    const char *plain = resolve_text(env, "MASTER_ADDR");

    if (pet && plain && strcmp(pet, plain) != 0)
        return mst_err_set(err, -EINVAL,
                           "PET_MASTER_ADDR=%.60s but MASTER_ADDR=%.60s: unset one of them", pet,
                           plain);
    const char *host = pet ? pet : plain;
    if (!host && plan->node_count > 1)
        return mst_err_set(err, -EINVAL,
                           "%u nodes, but neither PET_MASTER_ADDR nor MASTER_ADDR says where node "
                           "0 is: set one, or give --rdzv",
                           plan->node_count);
    if (host && strlen(host) >= sizeof plan->master_host)
        return mst_err_set(err, -EINVAL, "MASTER_ADDR=%.60s… is too long for a host name", host);
    if (host)
        snprintf(plan->master_host, sizeof plan->master_host, "%s", host);
    return 0;
}

static int read_master_port(const struct resolve_env *env, struct mst_plan *plan,
                            struct mst_err *err)
{
    uint32_t pet = 0, plain = 0;
    int has_pet = resolve_number(env, "PET_MASTER_PORT", 1, UINT16_MAX, &pet, err);
    if (has_pet < 0)
        return has_pet;
    int has_plain = resolve_number(env, "MASTER_PORT", 1, UINT16_MAX, &plain, err);
    if (has_plain < 0)
        return has_plain;
    if (has_pet && has_plain && pet != plain)
        return mst_err_set(err, -EINVAL, "PET_MASTER_PORT=%u but MASTER_PORT=%u: unset one of them",
                           pet, plain);
    plan->master_port = (uint16_t)(has_pet ? pet : has_plain ? plain : PORT_DEFAULT);
    return 0;
}

/* PyTorchJob adds WORLD_SIZE and RANK. RANK is the node's; WORLD_SIZE is nodes times
 * PET_NPROC_PER_NODE, where "auto" counts as one. */
static int check_plain_counts(const struct resolve_env *env, const struct mst_plan *plan,
                              struct mst_err *err)
{
    uint32_t world = 0, rank = 0;
    int has_world = resolve_number(env, "WORLD_SIZE", 1, UINT32_MAX, &world, err);
    if (has_world < 0)
        return has_world;
    int has_rank = resolve_number(env, "RANK", 0, UINT32_MAX, &rank, err);
    if (has_rank < 0)
        return has_rank;
    if (has_world && has_rank && rank >= world)
        return mst_err_set(err, -EINVAL, "RANK=%u is not below WORLD_SIZE=%u: correct one of them",
                           rank, world);
    if (has_world && world != plan->node_count && world != plan->node_count * plan->local_size)
        return mst_err_set(err, -EINVAL,
                           "WORLD_SIZE=%u, but PET_NNODES=%u with PET_NPROC_PER_NODE=%u: unset "
                           "WORLD_SIZE or correct them",
                           world, plan->node_count, plan->local_size);
    if (has_rank && rank != plan->node_rank)
        return mst_err_set(err, -EINVAL, "RANK=%u but PET_NODE_RANK=%u: unset one of them", rank,
                           plan->node_rank);
    return 0;
}

static int read_node_rank(const struct resolve_env *env, struct mst_plan *plan, struct mst_err *err)
{
    int found = resolve_number(env, "PET_NODE_RANK", 0, UINT32_MAX, &plan->node_rank, err);
    if (found == 0)
        found = resolve_number(env, "RANK", 0, UINT32_MAX, &plan->node_rank, err);
    if (found < 0)
        return found;
    if (found == 0 && plan->node_count > 1)
        return mst_err_set(err, -EINVAL,
                           "PET_NNODES=%u, but PET_NODE_RANK is not set: set it to this node's "
                           "rank, or give --node-rank",
                           plan->node_count);
    if (plan->node_rank >= plan->node_count)
        return mst_err_set(err, -EINVAL,
                           "PET_NODE_RANK=%u is not below PET_NNODES=%u: correct one of them",
                           plan->node_rank, plan->node_count);
    return 0;
}

int resolve_pet(const struct resolve_env *env, struct mst_plan *plan, struct mst_err *err)
{
    plan->source = "pet";
    int result = read_node_count(env, &plan->node_count, err);
    if (result <= 0)
        return result;
    if ((result = read_local_size(env, &plan->local_size, err)) < 0 ||
        (result = read_node_rank(env, plan, err)) < 0 ||
        (result = check_plain_counts(env, plan, err)) < 0 ||
        (result = read_master_host(env, plan, err)) < 0 ||
        (result = read_master_port(env, plan, err)) < 0)
        return result;
    result = resolve_number(env, "PET_MAX_RESTARTS", 0, RESTARTS_MAX, &plan->max_restarts, err);
    plan->has_max_restarts = result > 0;
    return result < 0 ? result : 1;
}

int resolve_pytorch_legacy(const struct resolve_env *env, struct mst_plan *plan,
                           struct mst_err *err)
{
    int has_world = resolve_number(env, "WORLD_SIZE", 1, NODES_MAX, &plan->node_count, err);
    if (has_world < 0)
        return has_world;
    int has_rank = resolve_number(env, "RANK", 0, UINT32_MAX, &plan->node_rank, err);
    if (has_rank <= 0 || !has_world)
        return has_rank < 0 ? has_rank : 0;
    if (resolve_text(env, "LOCAL_RANK"))
        return mst_err_set(err, -EINVAL,
                           "RANK=%u, LOCAL_RANK=%.20s: this process is a rank already; start the "
                           "program without muster run, or unset LOCAL_RANK",
                           plan->node_rank, resolve_text(env, "LOCAL_RANK"));
    if (plan->node_rank >= plan->node_count)
        return mst_err_set(err, -EINVAL, "RANK=%u is not below WORLD_SIZE=%u: correct one of them",
                           plan->node_rank, plan->node_count);
    plan->source = "pytorchjob-legacy";
    int result = read_master_host(env, plan, err);
    if (result < 0)
        return result;
    result = read_master_port(env, plan, err);
    return result < 0 ? result : 1;
}
