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
    if (rc == 0)
        rc = get_optional(env, "MST_TAKE_ROOT", 1, &tuning.take_root, err);
    if (rc < 0)
        return rc;
    memcpy(tuning.aio, aio_words[aio], strlen(aio_words[aio]) + 1);
    memcpy(tuning.comm, comm_words[comm], strlen(comm_words[comm]) + 1);
    tuning.wait = (enum mst_wait_policy)wait;
    *ret_tuning = tuning;
    return 0;
}

/* ---- a rank of muster run -------------------------------------------------------------------- */

static int check_below(const char *index_name, uint32_t index, const char *count_name,
                       uint32_t count, struct mst_err *err)
{
    if (index < count)
        return 0;
    return mst_err_set(err, -EINVAL, "%s %u is not below %s %u", index_name, index, count_name,
                       count);
}

int world_check(const struct mst_world *world, struct mst_err *err)
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

/* ---- all of it ------------------------------------------------------------------------------- */

bool world_env_is_alone(const struct world_env *env)
{
    const char *text = lookup(env, "MST_WORLD");
    return text && strcmp(text, "single") == 0;
}

int world_env_decode(const struct world_env *env, struct mst_world *ret_world, int *ret_secret_fd,
                     struct mst_err *err)
{
    struct mst_world world;
    world_init_single(&world);
    const char *marker = world_env_is_alone(env) ? NULL : muster_marker(env);
    int secret_fd = -1;
    int rc = world_env_tuning(env, &world.tuning, err);
    if (rc == 0 && marker)
        rc = decode_muster(env, marker, &world, &secret_fd, err);
    if (rc == 0)
        rc = world_check(&world, err);
    if (rc < 0)
        return rc;
    *ret_world = world;
    *ret_secret_fd = secret_fd;
    return marker != NULL;
}

void world_env_place(const struct world_env *env, struct mst_world *ret_world)
{
    uint32_t local_rank = 0, page_fd = 0;
    world_init_single(ret_world);
    if (get_number(env, "MST_LOCAL_RANK", UINT32_MAX, &local_rank, NULL) < 0 ||
        get_number(env, "MST_PAGE_FD", INT_MAX, &page_fd, NULL) < 0)
        return;
    ret_world->local_rank = local_rank;
    ret_world->page_fd = (int)page_fd;
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
