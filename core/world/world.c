#include "muster/core/world/world.h"

#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/host.h"
#include "muster/core/process.h"
#include "muster/core/resolve/machine.h"
#include "muster/core/world/answer.h"
#include "muster/core/world/env.h"
#include "muster/core/world/page.h"
#include "muster/core/world/secret.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *from_environment(void *arg, const char *name)
{
    (void)arg; /* the environment is the process's */
    return getenv(name);
}

static const struct world_env process_env = {.lookup = from_environment};

/* Inherited fds were open across exec for our sake; they are not for our children's. */
static int take_fd(const char *name, int fd, struct mst_err *err)
{
    if (fd < 0)
        return 0;
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
        return mst_err_set(err, -EINVAL,
                           "%s=%d is not an open file; start ranks with `muster run`, which hands "
                           "it down",
                           name, fd);
    return 0;
}

/* By pread from 0: the ranks of a node share the fd's position. */
static int read_secret(int fd, struct mst_world *world, struct mst_err *err)
{
    uint8_t secret[MST_SECRET_BYTES_MAX + 1];
    int64_t used = mst_file_pread(fd, secret, sizeof secret, 0);
    int rc = 0;
    if (used < 0)
        rc = mst_err_set(err, -EINVAL, "MST_SECRET_FD=%d cannot be read: %s", fd,
                         mst_err_meaning((int)used));
    else if (used > MST_SECRET_BYTES_MAX)
        rc = mst_err_set(err, -EINVAL, "MST_SECRET_FD=%d holds more than %d bytes", fd,
                         MST_SECRET_BYTES_MAX);
    if (rc == 0) {
        memcpy(world->secret, secret, (size_t)used);
        world->secret_bytes = (uint32_t)used;
    }
    explicit_bzero(secret, sizeof secret);
    return rc;
}

/* A rank that no `muster run` has started is given the job's secret by its own environment. On
 * several nodes, which is where ranks of a launcher that does not tell are taken to be, there is no
 * server without one, but by the user's word. */
static int settle_server(struct mst_world *world, bool is_near, struct mst_err *err)
{
    const char *insecure = getenv("MST_INSECURE");
    int size = world->is_resident ? mst_secret_from_env(world->secret, err) : 0;
    if (size < 0)
        return size;
    world->secret_bytes = (uint32_t)size;
    if (!world->is_resident || size > 0 || is_near || (insecure && strcmp(insecure, "1") == 0))
        return 0;
    world->is_resident = false;
    world->kv_addr[0] = '\0';
    world->no_kv = "set MST_JOB_SECRET_FILE to a file of the same random bytes on every node, or "
                   "MST_INSECURE=1 to do without";
    return 0;
}

/* What `muster run` would find out here. MST_FROM is its --from, and names the launcher of a rank
 * that it became. */
static int ask_resolver(struct mst_world *world, struct mst_err *err)
{
    struct machine machine;
    const char *from = getenv("MST_FROM");
    struct mst_answer *answer = malloc(sizeof *answer);
    if (!answer)
        return mst_err_set(err, -ENOMEM, "no memory for what the environment means");
    machine_init(&machine, environ, "");
    machine_look(&machine);
    (void)mst_resolve(&machine.facts, from && *from ? from : NULL, answer); /* it has the error */
    int rc = world_from_answer(answer, world, err);
    if (rc == 0)
        rc = settle_server(
            world, world->node_count == 1 || mst_host_is_local(answer->plan.master_host), err);
    machine_fini(&machine);
    free(answer);
    return rc;
}

/* A rank of `muster run` has a node page, whatever its environment has become. */
static int check_cleared(struct mst_err *err)
{
    int fd = mst_page_find_inherited();
    if (fd < 0)
        return 0;
    return mst_err_set(err, -EINVAL,
                       "this is a rank of `muster run`, whose page is descriptor %d, and MST_RANK "
                       "is not set: what started this program cleared the environment (env -i, "
                       "su -); let it pass it on, or set MST_WORLD=single",
                       fd);
}

static int take_files(struct mst_world *world, int secret_fd, struct mst_err *err)
{
    int rc = take_fd("MST_SECRET_FD", secret_fd, err);
    if (rc == 0)
        rc = take_fd("MST_PAGE_FD", world->page_fd, err);
    if (rc == 0)
        rc = take_fd("MST_SHM_FD", world->shm_fd, err);
    if (rc == 0 && secret_fd >= 0)
        rc = read_secret(secret_fd, world, err);
    if (rc == 0 && secret_fd >= 0)
        (void)close(secret_fd); /* read only */
    return rc;
}

int world_init_from_env(struct mst_world *ret_world, struct mst_err *err)
{
    int secret_fd = -1;
    struct mst_world world = {0};
    int rc = world_env_decode(&process_env, &world, &secret_fd, err);
    if (rc > 0)
        rc = take_files(&world, secret_fd, err);
    else if (rc == 0 && !world_env_is_alone(&process_env)) {
        rc = check_cleared(err);
        rc = rc ? rc : ask_resolver(&world, err);
    }
    if (rc == 0)
        *ret_world = world;
    explicit_bzero(world.secret, sizeof world.secret);
    return rc;
}

int world_tuning_from_env(struct mst_tuning *ret_tuning, struct mst_err *err)
{
    return world_env_tuning(&process_env, ret_tuning, err);
}

void world_fini(struct mst_world *world)
{
    if (!world)
        return;
    mst_file_close(&world->page_fd);
    mst_file_close(&world->shm_fd);
    explicit_bzero(world->secret, sizeof world->secret);
    world->secret_bytes = 0;
}

static int make_tail(struct mst_world *world, struct mst_err *err)
{
    struct mst_world_tail *tail = calloc(1, sizeof *tail);
    if (!tail)
        return mst_err_set(err, -ENOMEM, "no memory for a world");
    world->tail = tail;
    return 0;
}

/* That of a process which this one was forked from stays with that one. */
static void let_tail_go(struct mst_world *world)
{
    struct mst_world_tail *tail = world->tail;
    world->tail = NULL;
    if (!tail || !mst_process_owns(world->process))
        return;
    if (tail->object)
        tail->release(tail->object);
    free(tail);
}

/* The numbers of the inherited fds mean something else once they were taken and closed. */
static bool fds_taken;

static int note_refusal(int rc)
{
    struct mst_world place;
    world_env_place(&process_env, &place);
    return mst_world_note_verdict(&place, rc);
}

int mst_world_from_env(struct mst_world **ret_world, struct mst_err *err)
{
    if (fds_taken)
        return mst_err_set(err, -EINVAL,
                           "this process has taken the world of `muster run` already: hand that "
                           "one on, the files that MST_*_FD name are taken once");
    struct mst_world *world = malloc(sizeof *world);
    if (!world)
        return mst_err_set(err, -ENOMEM, "no memory for a world");
    int rc = world_init_from_env(world, err);
    if (rc != 0) {
        free(world);
        return note_refusal(rc);
    }
    if (world->is_resident && world->rank == 0)
        rc = make_tail(world, err);
    if (rc) {
        world_fini(world);
        free(world);
        return rc;
    }
    world->process = mst_process_mark();
    fds_taken = world->source == MST_WORLD_MUSTER;
    *ret_world = world;
    return 0;
}

int mst_world_single(struct mst_world **ret_world)
{
    struct mst_world *world = malloc(sizeof *world);
    if (!world)
        return -ENOMEM;
    world_init_single(world);
    world->process = mst_process_mark();
    *ret_world = world;
    return 0;
}

int mst_world_check_process(const struct mst_world *world, struct mst_err *err)
{
    return world->process ? mst_process_check(world->process, "the world", err) : 0;
}

void mst_world_destroy(struct mst_world *world)
{
    if (world)
        let_tail_go(world);
    world_fini(world);
    free(world);
}

uint32_t mst_world_rank(const struct mst_world *world)
{
    return world->rank;
}

uint32_t mst_world_size(const struct mst_world *world)
{
    return world->size;
}

uint32_t mst_world_local_rank(const struct mst_world *world)
{
    return world->local_rank;
}

uint32_t mst_world_local_size(const struct mst_world *world)
{
    return world->local_size;
}

uint32_t mst_world_node(const struct mst_world *world)
{
    return world->node;
}

uint32_t mst_world_node_count(const struct mst_world *world)
{
    return world->node_count;
}

uint32_t mst_world_generation(const struct mst_world *world)
{
    return world->generation;
}

enum mst_world_source mst_world_get_source(const struct mst_world *world)
{
    return world->source;
}

const char *mst_world_job_id(const struct mst_world *world)
{
    return world->job_id;
}
