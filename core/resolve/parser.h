/* What the resolver's parsers share: the table's row, readers of variables and of host names. */
/* pure */
#ifndef MUSTER_CORE_RESOLVE_PARSER_H
#define MUSTER_CORE_RESOLVE_PARSER_H

#include "muster/core/resolve/resolve.h"

#include <stdbool.h>
#include <stddef.h>

#define RESOLVE_NODES_MAX 65536
#define RESOLVE_LOCAL_MAX 1024
#define RESOLVE_RANKS_MAX ((int64_t)RESOLVE_NODES_MAX * RESOLVE_LOCAL_MAX)
#define RESOLVE_PORT 29500 /* of torchrun, TrainJob and everything that names none */

/* Fills what the family's variables say into *plan, in which all is unknown. 1; 0 if they are not
 * there; -EINVAL with text (role and node_rank may then be filled already). */
typedef int resolve_parse_fn(const struct mst_machine *machine, struct mst_plan *plan,
                             struct mst_err *err);

struct resolve_parser {
    const char *scheme, *scheduler, *variables;
    resolve_parse_fn *parse;
};

/* One file per family; the order of precedence is in resolve.c. */
extern resolve_parse_fn resolve_single, resolve_muster_rank, resolve_torchrun, resolve_ompi,
    resolve_pmi1, resolve_horovod, resolve_paddle_rank, resolve_muster, resolve_pet, resolve_tfjob,
    resolve_mxnet, resolve_paddle, resolve_paddle_old, resolve_jax, resolve_xgboost, resolve_dmlc,
    resolve_lws, resolve_flyte, resolve_jobset, resolve_dlrover, resolve_volcano, resolve_mpi,
    resolve_slurm, resolve_bare, resolve_index;

/* A variable's text, NULL if it is absent or empty. */
const char *resolve_text(const struct mst_machine *machine, const char *name);

/* The same, but "" if it is empty. */
const char *resolve_value(const struct mst_machine *machine, const char *name);

/* True if the variable is there, be it empty. */
bool resolve_is_set(const struct mst_machine *machine, const char *name);

/* A decimal number in [low, high]: 1; 0 if the variable is absent or empty; -EINVAL with text. */
int resolve_number(const struct mst_machine *machine, const char *name, int64_t low, int64_t high,
                   int64_t *ret_value, struct mst_err *err);

/* The decimal digits at *text, at most `high`, or MST_UNKNOWN; *text moves behind them. */
int64_t resolve_digits(const char **text, int64_t high);

/* A number of the plan and the variable that gives it. */
struct resolve_number {
    const char *name;
    size_t offset; /* in struct mst_plan */
    int64_t low, high;
    bool needed;
};

#define RESOLVE_NUMBER(name, field, low, high, needed)                                             \
    {                                                                                              \
        name, offsetof(struct mst_plan, field), low, high, needed                                  \
    }
#define RESOLVE_RANK(name) RESOLVE_NUMBER(name, rank, 0, RESOLVE_RANKS_MAX, true)
#define RESOLVE_WORLD(name) RESOLVE_NUMBER(name, world_size, 1, RESOLVE_RANKS_MAX, true)
#define RESOLVE_LOCAL_RANK(name) RESOLVE_NUMBER(name, local_rank, 0, RESOLVE_LOCAL_MAX, false)
#define RESOLVE_LOCAL_SIZE(name) RESOLVE_NUMBER(name, local_size, 1, RESOLVE_LOCAL_MAX, false)
#define RESOLVE_NODE(name) RESOLVE_NUMBER(name, node_rank, 0, RESOLVE_NODES_MAX, false)
#define RESOLVE_NODE_COUNT(name) RESOLVE_NUMBER(name, node_count, 1, RESOLVE_NODES_MAX, false)
#define RESOLVE_MASTER_PORT(name) RESOLVE_NUMBER(name, master_port, 1, UINT16_MAX, false)
#define RESOLVE_COUNT(numbers) (sizeof(numbers) / sizeof(numbers)[0])

/* Reads `count` of them. 0; -EINVAL with text if one is bad, or needed and absent. */
int resolve_numbers(const struct mst_machine *machine, const struct resolve_number *numbers,
                    size_t count, struct mst_plan *plan, struct mst_err *err);

/* "3", or "2:4" for a world that may shrink and grow. As resolve_number. */
int resolve_nodes(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                  struct mst_err *err);

/* A number of ranks, or "auto", "gpu", "cpu". 0; -EINVAL with text. */
int resolve_local_size(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                       struct mst_err *err);

/* The master's host: 1; 0 if absent; -EINVAL if the variable is empty or no host name. */
int resolve_master(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                   struct mst_err *err);

/* MASTER_ADDR and MASTER_PORT, which a user may give to ranks whose launcher names no master. As
 * resolve_numbers. */
int resolve_user_master(const struct mst_machine *machine, struct mst_plan *plan,
                        struct mst_err *err);

/* "host", "host:port" or "[v6]:port" from variable `name` to the master. As resolve_master. */
int resolve_endpoint(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                     struct mst_err *err);

/* The same from any text; `name` is for the error. 0; -EINVAL with text. */
int resolve_split(const char *name, const char *text, struct mst_plan *plan, struct mst_err *err);

void resolve_role(struct mst_plan *plan, const char *role);

/* Copies text; what does not fit is -EINVAL with text, as a cut name is another name. */
int resolve_copy(char *to, size_t cap, const char *what, const char *text, size_t size,
                 struct mst_err *err);

/* The N of "<stem>-N" in the first label of a host's name, else MST_UNKNOWN. *ret_stem (or NULL) is
 * the stem's length. */
int64_t resolve_ordinal(const char *host, size_t *ret_stem);

/* The N of "<job>-worker-N", as Kubeflow names pods, else MST_UNKNOWN. */
int64_t resolve_worker_number(const char *host);

/* The same name, or one is the other followed by a domain. An address is only itself. */
bool resolve_same_host(const char *a, const char *b);

/* True if `host` is the name or the address of this machine. Nothing is looked up. */
bool resolve_is_self(const struct mst_machine *machine, const char *host);

/* This node's rank among pods "<stem>-0", "<stem>-1", …, of which `master` is the first; 0 if the
 * master is this machine; else MST_UNKNOWN. */
int64_t resolve_rank_by_name(const struct mst_machine *machine, const char *master);

/* Names the first of the pods "<stem>-0", "<stem>-1", … that this machine is one of, as the master,
 * where nothing else does. */
void resolve_master_by_name(const struct mst_machine *machine, struct mst_plan *plan);

/* Completes the plan's defaults and refuses what cannot be meant. 0; -EINVAL with text. */
int resolve_complete(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err);

#endif
