/* World: who this rank is, and how it reaches the others. The first noun of the library: every
 * create and open takes one.
 *
 *   struct mst_world *world;
 *   mst_world_from_env(&world, &err)   MST_* of `muster run`, another launcher's, or one of one
 *   mst_kv_dial(world, …)  mst_comm_create(world, …)  mst_loader_open(…)  mst_ckpt_open(…)
 *   mst_world_destroy(world)
 *
 * A forked child is no rank. What was made before a fork answers -ENOTSUP there, and closing it
 * does nothing: the parent goes on undisturbed. A child that is to be a world of its own calls
 * mst_world_single; loaders may be opened in it, of the parent's world too.
 *
 * It is opaque, as it holds the job secret: what nobody can print or pickle does not leak.
 *
 * The contract that `muster run` sets for a rank (all numbers decimal):
 *   MST_RANK MST_WORLD_SIZE MST_LOCAL_RANK MST_LOCAL_SIZE MST_NODE MST_NODE_COUNT MST_GENERATION
 *   MST_KV_ADDR    host:port of the job's key-value server
 *   MST_SECRET_FD  a sealed memfd with the job secret (the environment is what `ps e` shows)
 *   MST_PAGE_FD    the node page, by which a rank and its agent see each other
 *   MST_SHM_FD     an empty memfd, one per node, for the communicators' shared segment
 *   MST_JOB_ID     names the job in logs and keys
 *   MST_JOB_NONCE  tells this start of the job from every other
 *
 * Without them the environment is read as `muster run` reads it (muster-env(7)). A rank of another
 * launcher is that rank; rank 0 serves the others' keys then (kv.h), on several nodes if there is
 * MST_JOB_SECRET_FILE, MST_JOB_SECRET or MST_INSECURE=1. A world of one is who is told nothing, a
 * pod beside the world (evaluator, parameter server), or the only node of a plan in which no
 * variable counts other processes. All else is one of several that nobody connects, and is
 * refused: it would train alone beside the others. MST_WORLD=single is for who means to be alone.
 *
 * Tuning that a user may set for every program: MST_AIO, MST_COMM, MST_MPI_MODULE, MST_NCCL_LIB,
 * MST_TAKE_ROOT, MST_TIMEOUT_MS, MST_WAIT (muster-env(7)). */
#ifndef MUSTER_CORE_WORLD_WORLD_H
#define MUSTER_CORE_WORLD_WORLD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_err;
struct mst_world;

/* Whose contract described the world. Later versions may add sources. */
enum mst_world_source {
    MST_WORLD_SINGLE,   /* nothing said otherwise: a world of one */
    MST_WORLD_MUSTER,   /* MST_* */
    MST_WORLD_TORCHRUN, /* RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, TORCHELASTIC_RUN_ID */
    MST_WORLD_OPENMPI,  /* OMPI_COMM_WORLD_* */
    MST_WORLD_PMI,      /* PMI_RANK, PMI_SIZE (MPICH, Intel MPI) */
    MST_WORLD_SLURM,    /* SLURM_PROCID, SLURM_NTASKS, more than one task on the node */
    MST_WORLD_FOREIGN,  /* another launcher's rank: horovodrun, paddle, … */
};

/* Makes the world that the environment describes, above; MST_* wins over all other variables. Takes
 * ownership of the inherited fds and sets them close-on-exec. Reads files such as a hostfile that a
 * variable names. Not thread-safe (reads the environment). Once in a process that `muster run`
 * started: the fds are taken. 0; -EINVAL naming the variable, its value and the fault: not a
 * number, rank >= size, over 1024 ranks on a node, some MST_* set and others missing, an fd that is
 * not open, or it was called before; -EINVAL, with what to start instead, if this is one of several
 * processes that nobody has connected, or of nobody knows how many; -ENOTSUP if it is a rank of an
 * unknown number of them; errors of reading MST_JOB_SECRET_FILE; -ENOMEM. */
int mst_world_from_env(struct mst_world **ret_world, struct mst_err *err);

/* A world of one without server, whatever the environment says: for tests and one-process tools.
 * Does not block. Safe from any thread. 0; -ENOMEM. */
int mst_world_single(struct mst_world **ret_world);

/* Closes the fds, wipes the secret and frees. What was made of the world lives on. Does not block,
 * but in rank 0 of another launcher, once no key-value handle is left: until the other ranks have
 * let go of the server that it was, five seconds at most. NULL is allowed. */
void mst_world_destroy(struct mst_world *world);

/* Never fail; safe from any thread. rank < size, local_rank < local_size, node < node_count. */
uint32_t mst_world_rank(const struct mst_world *world);
uint32_t mst_world_size(const struct mst_world *world);
uint32_t mst_world_local_rank(const struct mst_world *world); /* among the ranks of this node */
uint32_t mst_world_local_size(const struct mst_world *world);
uint32_t mst_world_node(const struct mst_world *world);
uint32_t mst_world_node_count(const struct mst_world *world);
uint32_t mst_world_generation(const struct mst_world *world); /* of its members; it only rises */
enum mst_world_source mst_world_get_source(const struct mst_world *world);
const char *mst_world_job_id(const struct mst_world *world); /* "" if it has none; until destroy */

#ifdef __cplusplus
}
#endif

#endif
