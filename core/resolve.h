/* Resolve: which world the operator of this pod meant. Each family of operators has one parser; the
 * first that recognises its variables decides, and contradictions among them are errors, never a
 * silent world of one. */
/* pure */
#ifndef MUSTER_CORE_RESOLVE_H
#define MUSTER_CORE_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

struct mst_err;

/* The value of an environment variable, or NULL. */
typedef const char *(*mst_env_fn)(void *arg, const char *name);

struct mst_plan {
    const char *source; /* static text: "none", "pet", "pytorchjob-legacy" */
    uint32_t node_count, node_rank;
    uint32_t local_size;   /* ranks on this node; 0: one per GPU or core */
    char master_host[256]; /* empty if there is one node */
    uint16_t master_port;
    bool has_max_restarts;
    uint32_t max_restarts;
};

/* Fills *ret_plan; without any operator's variables a plan of one node. 0; -EINVAL or -ENOTSUP with
 * a text that names the variables, their values and what to do. */
int mst_resolve(mst_env_fn get, void *arg, struct mst_plan *ret_plan, struct mst_err *err);

struct resolve_env {
    mst_env_fn get;
    void *arg;
};

/* A parser answers 1 and a full plan, 0 if its family's variables are absent, or an error as
 * above. */
typedef int (*resolve_parse_fn)(const struct resolve_env *env, struct mst_plan *plan,
                                struct mst_err *err);

/* Kubeflow's torchrun variables PET_*: PyTorchJob (static) and TrainJob. */
int resolve_pet(const struct resolve_env *env, struct mst_plan *plan, struct mst_err *err);

/* PyTorchJob before 1.4: MASTER_ADDR, WORLD_SIZE, RANK alone, which count nodes. */
int resolve_pytorch_legacy(const struct resolve_env *env, struct mst_plan *plan,
                           struct mst_err *err);

/* What parsers share. A variable's text, NULL if absent or empty. */
const char *resolve_text(const struct resolve_env *env, const char *name);

/* A decimal number in [low, high]: 1, 0 if the variable is absent or empty, -EINVAL with text. */
int resolve_number(const struct resolve_env *env, const char *name, uint32_t low, uint32_t high,
                   uint32_t *ret_value, struct mst_err *err);

#endif
