#include "muster/launcher/rankenv.h"

#include "muster/core/least.h"
#include "muster/launcher/pmix_rank.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void add(struct rankenv *env, const char *format, ...)
{
    assert(env->own_count < RANKENV_VARS_MAX);
    char *var = env->text + env->text_size;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(var, RANKENV_VAR_BYTES, format, args);
    va_end(args);
    env->own[env->own_count++] = var;
    env->text_size += mst_least((size_t)size, RANKENV_VAR_BYTES - 1) + 1;
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
    if (facts->page_fd >= 0)
        add(env, "MST_PAGE_FD=%d", facts->page_fd);
    if (facts->shm_fd >= 0)
        add(env, "MST_SHM_FD=%d", facts->shm_fd);
}

static void add_wishes(struct rankenv *env, const struct rankenv_facts *facts)
{
    if (facts->take_root)
        add(env, "MST_TAKE_ROOT=%u", facts->take_root);
}

/* What a library of MPI looks for, and where it finds the rest. */
static void add_pmi(struct rankenv *env, const struct rankenv_facts *facts)
{
    add(env, "PMI_FD=%d", facts->pmi_fd);
    add(env, "PMI_RANK=%u", facts->rank);
    add(env, "PMI_SIZE=%u", facts->world_size);
    add(env, "MPI_LOCALRANKID=%u", facts->local_rank);
    add(env, "MPI_LOCALNRANKS=%u", facts->local_size);
}

/* ---- other launchers' ------------------------------------------------------------------------ */

/* What torchrun says of its own run. */
static void add_elastic(struct rankenv *env, const struct rankenv_facts *facts)
{
    add(env, "TORCHELASTIC_RESTART_COUNT=%u", facts->generation);
    add(env, "TORCHELASTIC_MAX_RESTARTS=%u", facts->max_restarts);
    if (facts->error_fd > 0)
        add(env, "TORCHELASTIC_ERROR_FILE=/proc/%d/fd/%d", facts->agent_pid, facts->error_fd);
    if (facts->job_id[0])
        add(env, "TORCHELASTIC_RUN_ID=%s", facts->job_id);
    else if (facts->job_nonce)
        add(env, "TORCHELASTIC_RUN_ID=muster-%016" PRIx64, facts->job_nonce);
}

static bool is_known(const struct rankenv_facts *facts)
{
    return facts->master_host[0] && facts->master_port > 0;
}

static void meet_torch(struct rankenv *env, const struct rankenv_facts *facts)
{
    add(env, "ROLE_NAME=default");
    if (facts->master_host[0])
        add(env, "MASTER_ADDR=%s", facts->master_host);
    if (facts->master_port > 0)
        add(env, "MASTER_PORT=%u", facts->master_port);
}

static void meet_paddle(struct rankenv *env, const struct rankenv_facts *facts)
{
    if (is_known(facts))
        add(env, "PADDLE_MASTER=%s:%u", facts->master_host, facts->master_port);
}

static void meet_jax(struct rankenv *env, const struct rankenv_facts *facts)
{
    if (!is_known(facts))
        return;
    add(env, "JAX_COORDINATOR_ADDRESS=%s:%u", facts->master_host, facts->master_port);
    add(env, "COORDINATOR_ADDRESS=%s", facts->master_host);
    add(env, "COORDINATOR_PORT=%u", facts->master_port);
}

static void meet_rabit(struct rankenv *env, const struct rankenv_facts *facts)
{
    if (!is_known(facts))
        return;
    add(env, "DMLC_TRACKER_URI=%s", facts->master_host);
    add(env, "DMLC_TRACKER_PORT=%u", facts->master_port);
}

/* Names of variables; NULL where a launcher has none. */
static const struct family {
    const char *scheme; /* of the resolver */
    const char *rank, *world_size, *rank_too, *world_size_too;
    const char *local_rank, *local_size, *node, *node_count;
    void (*meet)(struct rankenv *env, const struct rankenv_facts *facts);
} families[] = {
    {.scheme = "torchrun",
     .rank = "RANK",
     .world_size = "WORLD_SIZE",
     .rank_too = "ROLE_RANK",
     .world_size_too = "ROLE_WORLD_SIZE",
     .local_rank = "LOCAL_RANK",
     .local_size = "LOCAL_WORLD_SIZE",
     .node = "GROUP_RANK",
     .node_count = "GROUP_WORLD_SIZE",
     .meet = meet_torch},
    /* frameworks read these; Open MPI itself asks PMIx */
    {.scheme = "ompi",
     .rank = "OMPI_COMM_WORLD_RANK",
     .world_size = "OMPI_COMM_WORLD_SIZE",
     .local_rank = "OMPI_COMM_WORLD_LOCAL_RANK",
     .local_size = "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {.scheme = "horovod",
     .rank = "HOROVOD_RANK",
     .world_size = "HOROVOD_SIZE",
     .local_rank = "HOROVOD_LOCAL_RANK",
     .local_size = "HOROVOD_LOCAL_SIZE",
     .node = "HOROVOD_CROSS_RANK",
     .node_count = "HOROVOD_CROSS_SIZE"},
    {.scheme = "paddle-rank",
     .rank = "PADDLE_TRAINER_ID",
     .world_size = "PADDLE_TRAINERS_NUM",
     .rank_too = "PADDLE_GLOBAL_RANK",
     .world_size_too = "PADDLE_GLOBAL_SIZE",
     .local_rank = "PADDLE_LOCAL_RANK",
     .local_size = "PADDLE_LOCAL_SIZE",
     .meet = meet_paddle},
    /* in the words of JAX, and in those of JAXJob */
    {.scheme = "jax",
     .rank = "JAX_PROCESS_ID",
     .world_size = "JAX_NUM_PROCESSES",
     .rank_too = "PROCESS_ID",
     .world_size_too = "NUM_PROCESSES",
     .meet = meet_jax},
    /* XGBoost's; rank 0's program is the tracker */
    {.scheme = "dmlc", .rank = "DMLC_TASK_ID", .world_size = "DMLC_NUM_WORKER", .meet = meet_rabit},
};

static void add_number(struct rankenv *env, const char *name, uint32_t value)
{
    if (name)
        add(env, "%s=%u", name, value);
}

static void add_family(struct rankenv *env, const struct rankenv_facts *facts,
                       const struct family *family)
{
    add_number(env, family->rank, facts->rank);
    add_number(env, family->world_size, facts->world_size);
    add_number(env, family->rank_too, facts->rank);
    add_number(env, family->world_size_too, facts->world_size);
    if (facts->local_size > 0) {
        add_number(env, family->local_rank, facts->local_rank);
        add_number(env, family->local_size, facts->local_size);
    }
    if (facts->node_count > 0) {
        add_number(env, family->node, facts->node);
        add_number(env, family->node_count, facts->node_count);
    }
    if (family->meet)
        family->meet(env, facts);
}

/* `but` is the family of the launcher that has spoken already, or NULL. */
static void add_families(struct rankenv *env, const struct rankenv_facts *facts, const char *but)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (!but || strcmp(but, families[i].scheme) != 0)
            add_family(env, facts, &families[i]);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool has_prefix(const char *var, const char *prefix)
{
    return strncmp(var, prefix, strlen(prefix)) == 0;
}

static bool is_ours(const struct rankenv *env, const char *var)
{
    size_t name_size = strcspn(var, "=") + 1;
    for (size_t i = 0; i < env->own_count; i++) {
        if (var[0] == env->own[i][0] && strncmp(var, env->own[i], name_size) == 0)
            return true;
    }
    return false;
}

/* MST_JOB_ID and the nonce are of the job around this one, where ours has none. */
static bool is_for_launcher(const char *var)
{
    static const char *const prefixes[] = {
        "PET_", "MST_JOB_SECRET", "MST_JOB_ID=", "MST_JOB_NONCE=", "MST_WORLD=", "MST_FROM="};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (has_prefix(var, prefixes[i]))
            return true;
    }
    return false;
}

/* Those of a launcher around this one would make a rank one of its own; settings stay. */
static bool is_of_pmi(const char *var)
{
    return is_for_launcher(var) || has_prefix(var, "PMI_") ||
           (has_prefix(var, "PMIX_") && !has_prefix(var, "PMIX_MCA_"));
}

static bool keep_all(const char *var)
{
    (void)var; /* none is for us: the process is another launcher's */
    return false;
}

/* Ours and, of those inherited, what is neither ours nor `is_dropped`. */
static int lay_out(struct rankenv *env, char *const *inherited, bool (*is_dropped)(const char *))
{
    size_t inherited_count = 0, kept = 0;
    while (inherited[inherited_count])
        inherited_count++;
    env->vars = calloc(inherited_count + env->own_count + 1, sizeof *env->vars);
    if (!env->vars)
        return -ENOMEM;
    for (size_t i = 0; i < inherited_count; i++) {
        if (!is_ours(env, inherited[i]) && !is_dropped(inherited[i]))
            env->vars[kept++] = inherited[i];
    }
    for (size_t i = 0; i < env->own_count; i++)
        env->vars[kept++] = env->own[i];
    return 0;
}

bool rankenv_decides(const char *var)
{
    static const struct rankenv_facts all = {.local_size = 1,
                                             .node_count = 1,
                                             .kv_addr = "",
                                             .master_host = "-",
                                             .master_port = 1,
                                             .job_id = "-",
                                             .job_nonce = 1,
                                             .error_fd = 1};
    struct rankenv env;
    env.own_count = env.text_size = 0;
    char named[RANKENV_VAR_BYTES];
    snprintf(named, sizeof named, "%.*s=", (int)strcspn(var, "="), var); /* a cut one is not ours */
    add_contract(&env, &all);
    add_pmi(&env, &all);
    add_elastic(&env, &all);
    add_families(&env, &all, NULL);
    return is_ours(&env, named) || is_for_launcher(named);
}

static bool is_set(char *const *inherited, const char *prefix)
{
    while (*inherited && !has_prefix(*inherited, prefix))
        inherited++;
    return *inherited != NULL;
}

int rankenv_init(struct rankenv *env, char *const *inherited, const struct rankenv_facts *facts)
{
    env->own_count = env->text_size = 0;
    if (facts->is_beside) {
        add(env, "MST_WORLD=single");
        return lay_out(env, inherited, is_for_launcher);
    }
    add_contract(env, facts);
    add_elastic(env, facts);
    add_wishes(env, facts);
    add_families(env, facts, NULL);
    if (facts->pmi_fd)
        add_pmi(env, facts);
    if (facts->pmix_fd)
        add(env, PMIX_RANK_FD "=%d", facts->pmix_fd);
    if (!is_set(inherited, "OMP_NUM_THREADS="))
        add(env, "OMP_NUM_THREADS=1");
    return lay_out(env, inherited, facts->pmi_fd || facts->pmix_fd ? is_of_pmi : is_for_launcher);
}

int rankenv_init_foreign(struct rankenv *env, char *const *inherited,
                         const struct rankenv_facts *facts, const char *launcher)
{
    env->own_count = env->text_size = 0;
    add(env, "MST_FROM=%s", launcher);
    add_wishes(env, facts);
    add_families(env, facts, launcher);
    return lay_out(env, inherited, keep_all);
}

int rankenv_init_contract(struct rankenv *env, char *const *inherited,
                          const struct rankenv_facts *facts)
{
    env->own_count = env->text_size = 0;
    add_contract(env, facts);
    return lay_out(env, inherited, keep_all);
}

void rankenv_fini(struct rankenv *env)
{
    free(env->vars);
    env->vars = NULL;
}
