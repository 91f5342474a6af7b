/* Rankenv: the environment of one rank. The MST_* contract of core/world/world.h, and what other
 * launchers would have set, all of them at once, so that unchanged programs run too: torchrun, Open
 * MPI (what frameworks read of it), Horovod, Paddle, JAX, rabit. */
#ifndef MUSTER_LAUNCHER_RANKENV_H
#define MUSTER_LAUNCHER_RANKENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rankenv_facts {
    uint32_t rank, world_size;
    uint32_t local_rank, local_size; /* a size of 0: not known */
    uint32_t node, node_count;       /* a count of 0: not known */
    uint32_t generation, max_restarts;
    const char *kv_addr;     /* host:port */
    const char *master_host; /* where rank 0 runs; "": not known */
    uint32_t master_port;    /* free there for a program that listens; 0: not known */
    const char *job_id;      /* "": the job has no name */
    uint64_t job_nonce;      /* 0: not drawn yet, as in a dry run */
    int secret_fd, page_fd, shm_fd;
    uint32_t take_root; /* 1: MST_TAKE_ROOT */
    int pmi_fd;         /* where PMI-1 is served; 0: nowhere */
    int pmix_fd;        /* by which muster-pmix tells a rank more variables; 0: it does not */
    int error_fd;       /* the agent's, of the rank's error file; 0: it has none */
    int agent_pid;      /* whose descriptor that is */
    bool is_beside;     /* the world of ranks: the program is told that it is alone, and no more */
};

#define RANKENV_VARS_MAX 72
#define RANKENV_VAR_BYTES 352

struct rankenv {
    char **vars; /* ends with NULL: inherited ones that stay, then ours; for execve */
    size_t own_count, text_size;
    char *own[RANKENV_VARS_MAX]; /* NAME=value; in text, one behind the other */
    char text[RANKENV_VARS_MAX * RANKENV_VAR_BYTES];
};

/* Whether every rank gets a value of ours for the variable that `var` ("NAME" or "NAME=value")
 * names, or none: what anybody else says of it has no effect. Pure. */
bool rankenv_decides(const char *var);

/* Builds the environment from `inherited` (ends with NULL, must outlive *env) without what we set,
 * what was said to the launcher (PET_*, MST_WORLD, MST_FROM), and the job secret. 0; -ENOMEM. */
int rankenv_init(struct rankenv *env, char *const *inherited, const struct rankenv_facts *facts);

/* The same for a rank that `launcher`, one of the resolver's schemes, has started: its own
 * variables stay as they are, those of the others say the same, and MST_FROM names it to libmuster.
 * 0; -ENOMEM. */
int rankenv_init_foreign(struct rankenv *env, char *const *inherited,
                         const struct rankenv_facts *facts, const char *launcher);

/* The contract alone, for a program that speaks for the rank. 0; -ENOMEM. */
int rankenv_init_contract(struct rankenv *env, char *const *inherited,
                          const struct rankenv_facts *facts);

void rankenv_fini(struct rankenv *env);

#endif
