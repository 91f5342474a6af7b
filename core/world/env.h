/* The environment's words for a world, decoded without touching the process: variables come by a
 * callback and fds are only numbers here. world.c adds getenv and the fds. */
/* pure */
#ifndef MUSTER_CORE_WORLD_ENV_H
#define MUSTER_CORE_WORLD_ENV_H

#include <stdbool.h>

struct mst_err;
struct mst_tuning;
struct mst_world;

/* The value of variable `name`, or NULL when it is not set. */
typedef const char *(*world_lookup_fn)(void *arg, const char *name);

struct world_env {
    world_lookup_fn lookup;
    void *arg;
};

/* MST_WORLD=single: alone by its own word, whoever started it. */
bool world_env_is_alone(const struct world_env *env);

/* Fills *ret_world (no secret yet; page_fd and shm_fd unchecked numbers) and *ret_secret_fd (-1
 * when not set). 1: a rank of `muster run`; 0: none, and a world of one with what is tuned;
 * -EINVAL naming the variable, its value and the fault. Outputs untouched on failure. */
int world_env_decode(const struct world_env *env, struct mst_world *ret_world, int *ret_secret_fd,
                     struct mst_err *err);

/* Where a rank whose variables are refused may say so: a world that is alone, but for local_rank
 * and page_fd if both can be read. */
void world_env_place(const struct world_env *env, struct mst_world *ret_world);

/* Whether its numbers fit one another, and what this library can hold: 0; -EINVAL with text. */
int world_check(const struct mst_world *world, struct mst_err *err);

/* The tuning variables. 0; -EINVAL as above. */
int world_env_tuning(const struct world_env *env, struct mst_tuning *ret_tuning,
                     struct mst_err *err);

#endif
