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

/* Fills what the family's variables say into *plan, in which all is unknown but what the family's
 * row said. 1; 0 if they are not there after all; -EINVAL with text (role and node_rank may then be
 * filled already). */
typedef int resolve_parse_fn(const struct mst_machine *machine, struct mst_plan *plan,
                             struct mst_err *err);

/* A number of the plan and the variable that gives it. */
struct resolve_number {
    const char *name;
    size_t offset; /* in struct mst_plan */
    int64_t low, high;
    bool needed; /* unless a variable before it gave the same number */
};

/* A family of variables: names of variables for what a launcher says. Lists of names are separated
 * by blanks; what a family does not have is NULL or 0. */
struct resolve_family {
    const char *scheme, *scheduler;
    const char *signs;  /* one of these is there: set, for a rank not empty; NULL: parse looks */
    const char *with;   /* … and one of these */
    const char *unless; /* … and none of these, with which the names mean something else */
    enum mst_plan_mode mode; /* unset: spawn if it gives a number of nodes, else a part */
    struct resolve_number numbers[11];
    const char *nodes, *local_size; /* texts of resolve_nodes and resolve_local_size */
    const char *host;               /* of node 0, with or without a port */
    const char *hosts;              /* of all nodes, node 0 first */
    int64_t port;                   /* where the host came without one */
    int64_t ranks_per_node;         /* of a framework that has one process for all GPUs */
    const char *roles[2];           /* of node 0, and of the others */
    resolve_parse_fn *parse;        /* what a row cannot say */
    const char *more; /* variables that only parse reads; "PET_*": all that begin so */
};

/* By precedence, ended by a row without scheme. */
extern const struct resolve_family resolve_families[];

extern resolve_parse_fn resolve_single, resolve_torchrun, resolve_step_pmi, resolve_flux,
    resolve_pet, resolve_tfjob, resolve_vertex, resolve_mxnet, resolve_paddle, resolve_paddle_old,
    resolve_flyte, resolve_jobset, resolve_dlrover, resolve_volcano, resolve_mpi, resolve_slurm,
    resolve_pbs, resolve_lsf, resolve_lepton, resolve_aws_batch, resolve_sagemaker,
    resolve_determined, resolve_grove, resolve_bare, resolve_index;

/* Reads one family, row and parse. As resolve_parse_fn. */
int resolve_family_read(const struct resolve_family *family, const struct mst_machine *machine,
                        struct mst_plan *plan, struct mst_err *err);

/* A variable's text, NULL if it is absent or empty. What Kubernetes writes for a Service, as
 * MASTER_PORT=tcp://10.0.0.1:80 for one called "master", is absent: it is nobody's word on this
 * job. */
const char *resolve_text(const struct mst_machine *machine, const char *name);

/* The same, but as it stands: "" if it is empty, and a link, too. */
const char *resolve_value(const struct mst_machine *machine, const char *name);

/* One of the variables in a list separated by blanks is set. */
bool resolve_any_set(const struct mst_machine *machine, const char *names);

/* True if the variable is there, be it empty. */
bool resolve_is_set(const struct mst_machine *machine, const char *name);

/* A decimal number in [low, high]: 1; 0 if the variable is absent or empty; -EINVAL with text. */
int resolve_number(const struct mst_machine *machine, const char *name, int64_t low, int64_t high,
                   int64_t *ret_value, struct mst_err *err);

/* The decimal digits at *text, at most `high`, or MST_UNKNOWN; *text moves behind them. */
int64_t resolve_digits(const char **text, int64_t high);

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
#define RESOLVE_DEVICES(name) RESOLVE_NUMBER(name, device_count, 0, RESOLVE_LOCAL_MAX, false)
#define RESOLVE_RESTARTS(name, field) RESOLVE_NUMBER(name, field, 0, INT32_MAX, false)
#define RESOLVE_MASTER_PORT(name) RESOLVE_NUMBER(name, master_port, 1, UINT16_MAX, false)
#define RESOLVE_COUNT(numbers) (sizeof(numbers) / sizeof(numbers)[0])

/* Reads `count` of them, up to the first without a name. 0; -EINVAL with text if one is bad, or if
 * some are needed and absent, which names them all. */
int resolve_numbers(const struct mst_machine *machine, const struct resolve_number *numbers,
                    size_t count, struct mst_plan *plan, struct mst_err *err);

/* "3", or "2:4" for a world that may shrink and grow. As resolve_number. */
int resolve_nodes(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                  struct mst_err *err);

/* A number of ranks, or "auto", "gpu", "cpu". 0; -EINVAL with text. */
int resolve_local_size(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                       struct mst_err *err);

/* "host", "host:port", "[v6]:port" or a bare v6 address from variable `name` to the master: 1; 0 if
 * absent; -EINVAL with text if it is empty or names none. */
int resolve_master(const struct mst_machine *machine, const char *name, struct mst_plan *plan,
                   struct mst_err *err);

/* The same from any text; `name` is for the error. 0; -EINVAL with text. */
int resolve_split(const char *name, const char *text, struct mst_plan *plan, struct mst_err *err);

/* 0 if `text`, which `name` gives, is one of `words`, separated by blanks; -EINVAL with text that
 * names all of them. */
int resolve_word(const char *name, const char *text, const char *words, struct mst_err *err);

void resolve_role(struct mst_plan *plan, const char *role);

/* Copies text; what does not fit is -EINVAL with text, as a cut name is another name. */
int resolve_copy(char *to, size_t cap, const char *what, const char *text, size_t size,
                 struct mst_err *err);

/* The N of "<stem>-N" in the first label of a host's name, else MST_UNKNOWN. *ret_stem (or NULL) is
 * the stem's length. */
int64_t resolve_ordinal(const char *host, size_t *ret_stem);

/* The N of "<job>-worker-N", as Kubeflow names pods, else MST_UNKNOWN. */
int64_t resolve_worker_number(const char *host);

/* An IPv4 or IPv6 address, no name. */
bool resolve_is_address(const char *host);

/* The same name, or one is the other followed by a domain. An address is only itself. */
bool resolve_same_host(const char *a, const char *b);

/* True if `host` is the name or the address of this machine. Nothing is looked up. */
bool resolve_is_self(const struct mst_machine *machine, const char *host);

/* This node's rank among pods "<stem>-0", "<stem>-1", …, of which `master` is the first; 0 if the
 * master is this machine; else MST_UNKNOWN. */
int64_t resolve_rank_by_name(const struct mst_machine *machine, const char *master);

/* Puts every host of a list of names into the plan: the first is the master, our place is the
 * node's rank where nobody gave one, and their count the number of nodes where nobody gave that.
 * 0; -EINVAL with text. */
int resolve_place(const struct mst_machine *machine, const char *name, const char *text,
                  struct mst_plan *plan, struct mst_err *err);

/* Names the first of the pods "<stem>-0", "<stem>-1", … that this machine is one of, as the master,
 * where nothing else does. */
void resolve_master_by_name(const struct mst_machine *machine, struct mst_plan *plan);

/* Whether a machine to which no family speaks may be a world by itself: not where a variable
 * that no family knows says, in the last words of its name, that there are several processes,
 * nor in the pod of a worker that lost its variables. 0; -EINVAL with text. */
int resolve_check_alone(const struct mst_machine *machine, struct mst_err *err);

/* Completes the plan's defaults and refuses what cannot be meant. 0; -EINVAL with text. */
int resolve_complete(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err);

#endif
