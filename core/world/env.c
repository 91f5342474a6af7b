/* pure */
#include "muster/core/world/env.h"

#include "muster/core/err.h"
#include "muster/core/words.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_SIZE_MAX (UINT32_C(1) << 24)

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* A number of the world and the variable that says it. */
struct number {
    const char *name;
    size_t offset; /* of the uint32_t in struct mst_world */
};
#define NUMBER(name, field)                                                                        \
    {                                                                                              \
        name, offsetof(struct mst_world, field)                                                    \
    }

/* ---- values ---------------------------------------------------------------------------------- */

static const char *lookup(const struct world_env *env, const char *name)
{
    return env->lookup(env->arg, name);
}

static bool is_set(const struct world_env *env, const char *name)
{
    return lookup(env, name) != NULL;
}

/* Reads decimal digits up to the end or `stop`; *text moves behind them. 0; -EINVAL. */
static int parse_digits(const char **text, uint32_t *ret_value)
{
    const char *next = *text;
    uint64_t value = 0;
    for (; isdigit((unsigned char)*next); next++) {
        value = value * 10 + (uint64_t)(*next - '0');
        if (value > UINT32_MAX)
            return -EINVAL;
    }
    if (next == *text)
        return -EINVAL;
    *text = next;
    *ret_value = (uint32_t)value;
    return 0;
}

/* 0; -ENOENT, without text, when the variable is not set; -EINVAL. */
static int get_number(const struct world_env *env, const char *name, uint32_t max,
                      uint32_t *ret_value, struct mst_err *err)
{
    const char *text = lookup(env, name), *end = text;
    if (!text)
        return -ENOENT;
    uint32_t value;
    if (parse_digits(&end, &value) < 0 || *end || value > max)
        return mst_err_set(err, -EINVAL, "%s=%.64s is not a number from 0 to %u", name, text, max);
    *ret_value = value;
    return 0;
}

/* As get_number, but an unset variable leaves *value as it is and is no error. */
static int get_optional(const struct world_env *env, const char *name, uint32_t max,
                        uint32_t *value, struct mst_err *err)
{
    int rc = get_number(env, name, max, value, err);
    return rc == -ENOENT ? 0 : rc;
}

/* Every number of `numbers`; `because` tells in the text why a missing one is missed. */
static int get_all(const struct world_env *env, const struct number *numbers, size_t count,
                   const char *because, struct mst_world *world, struct mst_err *err)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t value = 0;
        int rc = get_number(env, numbers[i].name, UINT32_MAX, &value, err);
        if (rc == -ENOENT)
            return mst_err_set(err, -EINVAL, "%s is not set, but %s is; set all of them or none",
                               numbers[i].name, because);
        if (rc < 0)
            return rc;
        memcpy((char *)world + numbers[i].offset, &value, sizeof value);
    }
    return 0;
}

static int get_fd(const struct world_env *env, const char *name, int *ret_fd, struct mst_err *err)
{
    uint32_t fd = 0;
    int rc = get_number(env, name, INT_MAX, &fd, err);
    if (rc == 0)
        *ret_fd = (int)fd;
    return rc == -ENOENT ? 0 : rc;
}

/* Sixteen hexadecimal digits. An unset variable is no error. */
static int get_nonce(const struct world_env *env, const char *name, uint64_t *nonce,
                     struct mst_err *err)
{
    const char *text = lookup(env, name);
    if (!text)
        return 0;
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return mst_err_set(err, -EINVAL, "%s=%.64s is not 16 hexadecimal digits", name, text);
    *nonce = strtoull(text, NULL, 16);
    return 0;
}

/* A word that goes into keys, addresses and log lines as it is: printable, without blanks. */
static int get_word(const struct world_env *env, const char *name, char *word, size_t cap,
                    struct mst_err *err)
{
    const char *text = lookup(env, name);
    if (!text)
        return 0;
    size_t length = strlen(text);
    if (length >= cap)
        return mst_err_set(err, -EINVAL, "%s=%.64s… is over %zu bytes", name, text, cap - 1);
    for (size_t i = 0; i < length; i++)
        if (!isgraph((unsigned char)text[i]))
            return mst_err_set(err, -EINVAL, "%s=%.64s has a blank or unprintable byte at %zu",
                               name, text, i);
    memcpy(word, text, length + 1);
    return 0;
}

/* ---- tuning ---------------------------------------------------------------------------------- */

/* Of each the first is what an unset variable means. */
static const char *const aio_words[] = {"auto", "uring", "threads", NULL};
static const char *const comm_words[] = {"auto", "host", "mpi", "nccl", NULL};
static const char *const wait_words[] = {[MST_WAIT_AUTO] = "auto",
                                         [MST_WAIT_SPIN] = "spin",
                                         [MST_WAIT_YIELD] = "yield",
                                         [MST_WAIT_BLOCK] = "block",
                                         NULL};

static int get_choice(const struct world_env *env, const char *name, const char *const *words,
                      int *ret_choice, struct mst_err *err)
{
    const char *text = lookup(env, name);
    int choice = text ? mst_words_find(words, text) : 0;
    char known[64];
    if (choice < 0)
        return mst_err_set(err, -EINVAL, "%s=%.64s is none of %s", name, text,
                           mst_words_join(words, known, sizeof known));
    *ret_choice = choice;
    return 0;
}

int world_env_tuning(const struct world_env *env, struct mst_tuning *ret_tuning,
                     struct mst_err *err)
{
    struct mst_tuning tuning = {0};
    int aio = 0, comm = 0, wait = 0;
    int rc = get_choice(env, "MST_AIO", aio_words, &aio, err);
    if (rc == 0)
        rc = get_choice(env, "MST_COMM", comm_words, &comm, err);
    if (rc == 0)
        rc = get_choice(env, "MST_WAIT", wait_words, &wait, err);
    if (rc == 0)
        rc = get_word(env, "MST_MPI_MODULE", tuning.mpi_module, sizeof tuning.mpi_module, err);
    if (rc == 0)
        rc = get_word(env, "MST_NCCL_LIB", tuning.nccl_lib, sizeof tuning.nccl_lib, err);
    if (rc == 0)
        rc = get_optional(env, "MST_TIMEOUT_MS", UINT32_MAX, &tuning.timeout_ms, err);
    if (rc < 0)
        return rc;
    memcpy(tuning.aio, aio_words[aio], strlen(aio_words[aio]) + 1);
    memcpy(tuning.comm, comm_words[comm], strlen(comm_words[comm]) + 1);
    tuning.wait = (enum mst_wait_policy)wait;
    *ret_tuning = tuning;
    return 0;
}

/* ---- launchers ------------------------------------------------------------------------------- */

static int check_below(const char *index_name, uint32_t index, const char *count_name,
                       uint32_t count, struct mst_err *err)
{
    if (index < count)
        return 0;
    return mst_err_set(err, -EINVAL, "%s %u is not below %s %u", index_name, index, count_name,
                       count);
}

static int check_numbers(const struct mst_world *world, struct mst_err *err)
{
    if (world->size > WORLD_SIZE_MAX)
        return mst_err_set(err, -EINVAL, "world size %u is over %u", world->size, WORLD_SIZE_MAX);
    int rc = check_below("rank", world->rank, "world size", world->size, err);
    if (rc == 0)
        rc = check_below("local rank", world->local_rank, "local size", world->local_size, err);
    if (rc == 0)
        rc = check_below("node", world->node, "node count", world->node_count, err);
    if (rc < 0)
        return rc;
    if (world->local_size > world->size || world->node_count > world->size)
        return mst_err_set(err, -EINVAL,
                           "local size %u and node count %u do not fit a world size of %u",
                           world->local_size, world->node_count, world->size);
    if (world->local_size > MST_PAGE_RANKS_MAX)
        return mst_err_set(err, -EINVAL, "local size %u is over %u: start fewer ranks on a node",
                           world->local_size, MST_PAGE_RANKS_MAX);
    return 0;
}

static const struct number muster_numbers[] = {
    NUMBER("MST_RANK", rank),
    NUMBER("MST_WORLD_SIZE", size),
    NUMBER("MST_LOCAL_RANK", local_rank),
    NUMBER("MST_LOCAL_SIZE", local_size),
    NUMBER("MST_NODE", node),
    NUMBER("MST_NODE_COUNT", node_count),
    NUMBER("MST_GENERATION", generation),
};

/* The first variable of the contract that is set, or NULL. MST_JOB_ID alone is no claim to be a
 * rank: people set it to name a job. */
static const char *muster_marker(const struct world_env *env)
{
    static const char *const others[] = {"MST_KV_ADDR", "MST_SECRET_FD", "MST_PAGE_FD",
                                         "MST_SHM_FD"};
    for (size_t i = 0; i < LENGTH(muster_numbers); i++)
        if (is_set(env, muster_numbers[i].name))
            return muster_numbers[i].name;
    for (size_t i = 0; i < LENGTH(others); i++)
        if (is_set(env, others[i]))
            return others[i];
    return NULL;
}

static int decode_muster(const struct world_env *env, const char *marker, struct mst_world *world,
                         int *secret_fd, struct mst_err *err)
{
    world->source = MST_WORLD_MUSTER;
    int rc = get_all(env, muster_numbers, LENGTH(muster_numbers), marker, world, err);
    if (rc == 0)
        rc = get_word(env, "MST_KV_ADDR", world->kv_addr, sizeof world->kv_addr, err);
    if (rc == 0 && world->size > 1 && !world->kv_addr[0])
        rc = mst_err_set(err, -EINVAL, "MST_KV_ADDR is not set, but MST_WORLD_SIZE is %u",
                         world->size);
    if (rc == 0)
        rc = get_word(env, "MST_JOB_ID", world->job_id, sizeof world->job_id, err);
    if (rc == 0)
        rc = get_nonce(env, "MST_JOB_NONCE", &world->job_nonce, err);
    if (rc == 0)
        rc = get_fd(env, "MST_SECRET_FD", secret_fd, err);
    if (rc == 0)
        rc = get_fd(env, "MST_PAGE_FD", &world->page_fd, err);
    if (rc == 0)
        rc = get_fd(env, "MST_SHM_FD", &world->shm_fd, err);
    return rc;
}

/* Node and node count where the launcher tells neither: as if every node had as many ranks as
 * this one, in rank order. */
static void guess_node(struct mst_world *world)
{
    if (world->local_size == 0)
        return;
    world->node = world->rank / world->local_size;
    world->node_count = world->size / world->local_size + (world->size % world->local_size != 0);
}

static int decode_torchrun(const struct world_env *env, struct mst_world *world,
                           struct mst_err *err)
{
    static const struct number numbers[] = {
        NUMBER("RANK", rank),
        NUMBER("WORLD_SIZE", size),
        NUMBER("LOCAL_RANK", local_rank),
        NUMBER("LOCAL_WORLD_SIZE", local_size),
    };
    world->source = MST_WORLD_TORCHRUN;
    int rc = get_all(env, numbers, LENGTH(numbers), "TORCHELASTIC_RUN_ID", world, err);
    if (rc < 0)
        return rc;
    guess_node(world);
    rc = get_optional(env, "GROUP_RANK", UINT32_MAX, &world->node, err);
    if (rc == 0)
        rc = get_optional(env, "GROUP_WORLD_SIZE", UINT32_MAX, &world->node_count, err);
    if (rc == 0)
        rc = get_optional(env, "TORCHELASTIC_RESTART_COUNT", UINT32_MAX, &world->generation, err);
    if (rc == 0)
        rc = get_word(env, "TORCHELASTIC_RUN_ID", world->job_id, sizeof world->job_id, err);
    return rc;
}

/* OMPI_COMM_WORLD_NODE_RANK is a local rank over all jobs of the node, not the node's index. */
static int decode_openmpi(const struct world_env *env, struct mst_world *world, struct mst_err *err)
{
    static const struct number numbers[] = {
        NUMBER("OMPI_COMM_WORLD_RANK", rank),
        NUMBER("OMPI_COMM_WORLD_SIZE", size),
        NUMBER("OMPI_COMM_WORLD_LOCAL_RANK", local_rank),
        NUMBER("OMPI_COMM_WORLD_LOCAL_SIZE", local_size),
    };
    world->source = MST_WORLD_OPENMPI;
    int rc = get_all(env, numbers, LENGTH(numbers), "OMPI_COMM_WORLD_RANK", world, err);
    guess_node(world);
    return rc;
}

/* A process manager that does not tell the local numbers leaves each rank a node of its own: that
 * is slow where it is wrong, while a shared segment that is not shared would be broken. */
static int decode_pmi(const struct world_env *env, struct mst_world *world, struct mst_err *err)
{
    static const struct number numbers[] = {NUMBER("PMI_RANK", rank), NUMBER("PMI_SIZE", size)};
    static const struct number local[] = {NUMBER("MPI_LOCALRANKID", local_rank),
                                          NUMBER("MPI_LOCALNRANKS", local_size)};
    world->source = MST_WORLD_PMI;
    int rc = get_all(env, numbers, LENGTH(numbers), "PMI_RANK", world, err);
    if (rc == 0 && is_set(env, "MPI_LOCALNRANKS"))
        rc = get_all(env, local, LENGTH(local), "MPI_LOCALNRANKS", world, err);
    guess_node(world);
    return rc;
}

/* Tasks on node `node` by Slurm's run-length list: "2(x3),1" is 2, 2, 2, 1. 0; -EINVAL. */
static int slurm_tasks_on(const char *list, uint32_t node, uint32_t *ret_tasks)
{
    for (uint64_t first = 0;;) {
        uint32_t tasks, repeat = 1;
        if (parse_digits(&list, &tasks) < 0)
            return -EINVAL;
        if (strncmp(list, "(x", 2) == 0) {
            list += 2;
            if (parse_digits(&list, &repeat) < 0 || *list++ != ')')
                return -EINVAL;
        }
        if (node - first < repeat) {
            *ret_tasks = tasks;
            return 0;
        }
        first += repeat;
        if (*list++ != ',')
            return -EINVAL;
    }
}

static int decode_slurm(const struct world_env *env, uint32_t local_size, struct mst_world *world,
                        struct mst_err *err)
{
    static const struct number numbers[] = {
        NUMBER("SLURM_PROCID", rank),        NUMBER("SLURM_NTASKS", size),
        NUMBER("SLURM_LOCALID", local_rank), NUMBER("SLURM_NODEID", node),
        NUMBER("SLURM_NNODES", node_count),
    };
    world->source = MST_WORLD_SLURM;
    world->local_size = local_size;
    int rc = get_all(env, numbers, LENGTH(numbers), "SLURM_PROCID", world, err);
    if (rc == 0)
        rc = get_optional(env, "SLURM_RESTART_COUNT", UINT32_MAX, &world->generation, err);
    if (rc == 0)
        rc = get_word(env, "SLURM_JOB_ID", world->job_id, sizeof world->job_id, err);
    return rc;
}

/* Slurm's marker of a rank is more than one task on this node: a single task is where `muster run`
 * is meant to start the ranks. 0 and the tasks, 0 of them when this is no rank; -EINVAL. */
static int slurm_local_size(const struct world_env *env, uint32_t *ret_tasks, struct mst_err *err)
{
    *ret_tasks = 0;
    const char *list = lookup(env, "SLURM_TASKS_PER_NODE");
    if (!is_set(env, "SLURM_PROCID") || !is_set(env, "SLURM_NTASKS") || !list)
        return 0;
    uint32_t node = 0;
    int rc = get_optional(env, "SLURM_NODEID", UINT32_MAX, &node, err);
    if (rc < 0)
        return rc;
    uint32_t tasks;
    if (slurm_tasks_on(list, node, &tasks) < 0)
        return mst_err_set(err, -EINVAL, "SLURM_TASKS_PER_NODE=%.64s says nothing for node %u",
                           list, node);
    *ret_tasks = tasks > 1 ? tasks : 0;
    return 0;
}

/* In the order of trust: a launcher that started this very process before those around it. */
static int decode_foreign(const struct world_env *env, struct mst_world *world, struct mst_err *err)
{
    if (is_set(env, "TORCHELASTIC_RUN_ID") && is_set(env, "LOCAL_RANK"))
        return decode_torchrun(env, world, err);
    if (is_set(env, "OMPI_COMM_WORLD_RANK"))
        return decode_openmpi(env, world, err);
    if (is_set(env, "PMI_RANK"))
        return decode_pmi(env, world, err);
    uint32_t tasks;
    int rc = slurm_local_size(env, &tasks, err);
    return rc == 0 && tasks > 0 ? decode_slurm(env, tasks, world, err) : rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int world_env_decode(const struct world_env *env, struct mst_world *ret_world, int *ret_secret_fd,
                     struct mst_err *err)
{
    struct mst_world world;
    world_init_single(&world);
    const char *marker = muster_marker(env);
    int secret_fd = -1;
    int rc = marker ? decode_muster(env, marker, &world, &secret_fd, err)
                    : decode_foreign(env, &world, err);
    if (rc == 0)
        rc = check_numbers(&world, err);
    if (rc == 0)
        rc = world_env_tuning(env, &world.tuning, err);
    if (rc < 0)
        return rc;
    *ret_world = world;
    *ret_secret_fd = secret_fd;
    return 0;
}

void world_init_single(struct mst_world *ret_world)
{
    *ret_world = (struct mst_world){
        .size = 1,
        .local_size = 1,
        .node_count = 1,
        .source = MST_WORLD_SINGLE,
        .page_fd = -1,
        .shm_fd = -1,
        .tuning = {.aio = "auto", .comm = "auto", .wait = MST_WAIT_AUTO},
    };
}
