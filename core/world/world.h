/* World: who this rank is, and how it reaches the others. The first noun of the library: every
 * create and open takes one.
 *
 *   struct mst_world world;
 *   mst_world_from_env(&world, &err)   MST_* from `muster run`, a foreign launcher's, or one of one
 *   mst_kv_dial(&world, …)  mst_comm_create(&world, …)  mst_loader_open(…)  mst_ckpt_open(…)
 *   mst_world_fini(&world)
 *
 * The contract that `muster run` sets for a rank (all numbers decimal):
 *   MST_RANK MST_WORLD_SIZE MST_LOCAL_RANK MST_LOCAL_SIZE MST_NODE MST_NODE_COUNT MST_GENERATION
 *   MST_KV_ADDR    host:port of the job's key-value server
 *   MST_SECRET_FD  a sealed memfd with the job secret (the environment is what `ps e` shows)
 *   MST_PAGE_FD    the node page (core/world/page.h)
 *   MST_SHM_FD     an empty memfd, one per node, for the communicators' shared segment
 *   MST_JOB_ID     names the job in logs and keys
 *
 * Tuning that a user may set for every program: MST_AIO, MST_COMM, MST_MPI_MODULE, MST_NCCL_LIB,
 * MST_WAIT, MST_TIMEOUT_MS.
 * Only this file, core/blob/env.c (stores) and launcher/opts.c read the environment. */
#ifndef MUSTER_CORE_WORLD_WORLD_H
#define MUSTER_CORE_WORLD_WORLD_H

#include <stdint.h>

struct mst_err;

enum mst_world_source {
    MST_WORLD_SINGLE,   /* nothing said otherwise: a world of one */
    MST_WORLD_MUSTER,   /* MST_* */
    MST_WORLD_TORCHRUN, /* RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, TORCHELASTIC_RUN_ID */
    MST_WORLD_OPENMPI,  /* OMPI_COMM_WORLD_* */
    MST_WORLD_PMI,      /* PMI_RANK, PMI_SIZE (MPICH, Intel MPI) */
    MST_WORLD_SLURM,    /* SLURM_PROCID, SLURM_NTASKS, more than one task on the node */
};

enum mst_wait_policy {
    MST_WAIT_AUTO,  /* spin while a core is free, then yield, then sleep */
    MST_WAIT_SPIN,  /* never sleep */
    MST_WAIT_YIELD, /* give the core away at once */
    MST_WAIT_BLOCK, /* sleep at once */
};

struct mst_tuning {
    char aio[16];              /* MST_AIO: "auto", "uring", "threads" */
    char comm[16];             /* MST_COMM: "auto", "host", "mpi", "nccl" */
    char nccl_lib[256];        /* MST_NCCL_LIB: path of libnccl.so.2; empty = the linker finds it */
    char mpi_module[256];      /* MST_MPI_MODULE: path of libmuster-mpi-*.so; empty = find it */
    enum mst_wait_policy wait; /* MST_WAIT: auto, spin, yield, block */
    uint32_t timeout_ms;       /* MST_TIMEOUT_MS: of one collective; 0 = comm/comm.h's default */
};

#define MST_SECRET_BYTES_MAX 256

struct mst_world {
    uint32_t rank, size;             /* rank < size */
    uint32_t local_rank, local_size; /* among the ranks of this node */
    uint32_t node, node_count;
    uint32_t generation; /* rises with every membership change */
    enum mst_world_source source;
    char kv_addr[272]; /* empty when there is no server: a world of one, or ranks of a foreign
                          launcher */
    char job_id[64];
    uint8_t secret[MST_SECRET_BYTES_MAX];
    uint32_t secret_bytes; /* 0: connections are not authenticated (one node only, or --insecure) */
    int page_fd;           /* -1 when no agent made one */
    int shm_fd;            /* -1 when no agent made one */
    struct mst_tuning tuning;
};

/* Fills *ret_world from the environment; MST_* wins over foreign markers. Takes ownership of the
 * inherited fds and sets them close-on-exec. Does not block. Not thread-safe (reads the
 * environment). 0; -EINVAL naming the variable, its value and the fault: not a number, rank >=
 * size, some MST_* set and others missing, an fd that is not open. */
int mst_world_from_env(struct mst_world *ret_world, struct mst_err *err);

/* The tuning variables alone, for programs that are no rank. 0; -EINVAL naming the variable. */
int mst_tuning_from_env(struct mst_tuning *ret_tuning, struct mst_err *err);

/* A world of one without server, page or segment: what tests and one-process tools start from. */
void mst_world_single(struct mst_world *ret_world);

/* Closes the fds and wipes the secret. NULL is allowed. */
void mst_world_fini(struct mst_world *world);

#endif
