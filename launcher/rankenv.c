#include "muster/launcher/rankenv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void add(struct rankenv *env, const char *format, ...)
{
    assert(env->own_count < RANKENV_VARS_MAX);
    va_list args;
    va_start(args, format);
    vsnprintf(env->own[env->own_count++], RANKENV_VAR_BYTES, format, args);
    va_end(args);
}

static void add_contract(struct rankenv *env, const struct rankenv_facts *facts)
{
    add(env, "MST_RANK=%u", facts->rank);
    add(env, "MST_WORLD_SIZE=%u", facts->world_size);
    add(env, "MST_LOCAL_RANK=%u", facts->local_rank);
    add(env, "MST_LOCAL_SIZE=%u", facts->local_size);
    add(env, "MST_NODE=%u", facts->node);
    add(env, "MST_NODE_COUNT=%u", facts->node_count);
    add(env, "MST_GENERATION=%u", facts->generation);
    add(env, "MST_KV_ADDR=%s", facts->kv_addr);
    if (facts->job_id[0])
        add(env, "MST_JOB_ID=%s", facts->job_id);
    if (facts->job_nonce)
        add(env, "MST_JOB_NONCE=%016" PRIx64, facts->job_nonce);
    add(env, "MST_SECRET_FD=%d", facts->secret_fd);
    add(env, "MST_PAGE_FD=%d", facts->page_fd);
    add(env, "MST_SHM_FD=%d", facts->shm_fd);
}

static void add_torch(struct rankenv *env, const struct rankenv_facts *facts)
{
    add(env, "RANK=%u", facts->rank);
    add(env, "LOCAL_RANK=%u", facts->local_rank);
    add(env, "WORLD_SIZE=%u", facts->world_size);
    add(env, "LOCAL_WORLD_SIZE=%u", facts->local_size);
    add(env, "GROUP_RANK=%u", facts->node);
    add(env, "GROUP_WORLD_SIZE=%u", facts->node_count);
    add(env, "ROLE_RANK=%u", facts->rank);
    add(env, "ROLE_WORLD_SIZE=%u", facts->world_size);
    add(env, "ROLE_NAME=default");
    add(env, "MASTER_ADDR=%s", facts->master_host);
    add(env, "MASTER_PORT=%u", facts->master_port);
    add(env, "TORCHELASTIC_RESTART_COUNT=%u", facts->generation);
    add(env, "TORCHELASTIC_MAX_RESTARTS=%u", facts->max_restarts);
    if (facts->job_id[0])
        add(env, "TORCHELASTIC_RUN_ID=%s", facts->job_id);
    else if (facts->job_nonce)
        add(env, "TORCHELASTIC_RUN_ID=muster-%016" PRIx64, facts->job_nonce);
}

static bool has_prefix(const char *var, const char *prefix)
{
    return strncmp(var, prefix, strlen(prefix)) == 0;
}

static bool is_ours(const struct rankenv *env, const char *var)
{
    size_t name_size = strcspn(var, "=") + 1;
    for (size_t i = 0; i < env->own_count; i++) {
        if (strncmp(var, env->own[i], name_size) == 0)
            return true;
    }
    return false;
}

/* MST_JOB_ID and the nonce are of the job around this one, where ours has none. */
static bool is_for_launcher(const char *var)
{
    return has_prefix(var, "PET_") || has_prefix(var, "MST_JOB_");
}

int rankenv_init(struct rankenv *env, char *const *inherited, const struct rankenv_facts *facts)
{
    size_t inherited_count = 0, kept = 0;
    bool threads_set = false;
    for (; inherited[inherited_count]; inherited_count++)
        threads_set = threads_set || has_prefix(inherited[inherited_count], "OMP_NUM_THREADS=");
    env->own_count = 0;
    add_contract(env, facts);
    add_torch(env, facts);
    if (!threads_set)
        add(env, "OMP_NUM_THREADS=1");
    env->vars = calloc(inherited_count + env->own_count + 1, sizeof *env->vars);
    if (!env->vars)
        return -ENOMEM;
    for (size_t i = 0; i < inherited_count; i++) {
        if (!is_ours(env, inherited[i]) && !is_for_launcher(inherited[i]))
            env->vars[kept++] = inherited[i];
    }
    for (size_t i = 0; i < env->own_count; i++)
        env->vars[kept++] = env->own[i];
    return 0;
}

void rankenv_fini(struct rankenv *env)
{
    free(env->vars);
    env->vars = NULL;
}
