/* Rankenv: the environment of one rank. The MST_* contract of core/world/world.h, and what torchrun
 * would have set, so that unchanged PyTorch programs run too. */
#ifndef MUSTER_LAUNCHER_RANKENV_H
#define MUSTER_LAUNCHER_RANKENV_H

#include <stddef.h>
#include <stdint.h>

struct rankenv_facts {
    uint32_t rank, world_size;
    uint32_t local_rank, local_size;
    uint32_t node, node_count;
    uint32_t generation, max_restarts;
    const char *kv_addr;     /* host:port */
    const char *master_host; /* where rank 0 runs, for torch programs */
    uint32_t master_port;
    const char *job_id; /* "": the job has no name */
    uint64_t job_nonce; /* 0: not drawn yet, as in a dry run */
    int secret_fd, page_fd, shm_fd;
};

#define RANKENV_VARS_MAX 40
#define RANKENV_VAR_BYTES 352

struct rankenv {
    char **vars; /* ends with NULL: inherited ones that stay, then ours; for execve */
    size_t own_count;
    char own[RANKENV_VARS_MAX][RANKENV_VAR_BYTES]; /* NAME=value */
};

/* Builds the environment from `inherited` (ends with NULL, must outlive *env) without what we set,
 * what the operator said to the launcher (PET_*), and the job secret. 0; -ENOMEM. */
int rankenv_init(struct rankenv *env, char *const *inherited, const struct rankenv_facts *facts);
void rankenv_fini(struct rankenv *env);

#endif
