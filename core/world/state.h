/* What a world is inside the tree. A program sees it through world.h only. */
#ifndef MUSTER_CORE_WORLD_STATE_H
#define MUSTER_CORE_WORLD_STATE_H

#include "muster/core/resolve/resolve.h"
#include "muster/core/world/world.h"

#include <stdbool.h>
#include <stdint.h>

struct mst_page;

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
    uint32_t take_root;        /* MST_TAKE_ROOT: 1 = checkpoints' roots of other jobs, too */
};

#define MST_SECRET_BYTES_MAX 256

/* What a room above this one makes of a world when it is first needed, and is let go with it. */
struct mst_world_tail {
    void *object; /* NULL: it is not made yet */
    void (*release)(void *object);
};

struct mst_world {
    uint32_t rank, size;             /* rank < size */
    uint32_t local_rank, local_size; /* among the ranks of this node */
    uint32_t node, node_count;
    uint32_t generation; /* rises with every membership change */
    enum mst_world_source source;
    char kv_addr[272]; /* empty when there is no server: a world of one, or ranks of a foreign
                            launcher that cannot find one another */
    bool is_resident;  /* no agent serves at kv_addr, but rank 0 by its library */
    const char *no_kv; /* static text: what is missing for a server; NULL: nothing was looked for */
    struct mst_world_tail *tail;   /* NULL: nothing is made of this world */
    char job_id[MST_JOB_ID_BYTES]; /* empty: the job has no identity but its nonce */
    uint64_t job_nonce; /* drawn by the coordinator at its start; 0: there is no coordinator */
    uint8_t secret[MST_SECRET_BYTES_MAX];
    uint32_t secret_bytes; /* 0: connections are not authenticated (one node only, or --insecure) */
    int page_fd;           /* -1 when no agent made one */
    int shm_fd;            /* -1 when no agent made one */
    struct mst_tuning tuning;
    uint32_t process; /* that made it, core/process.h; 0: whoever has it */
};

/* Fills *ret_world from the environment, as mst_world_from_env. It is untouched on failure. */
int world_init_from_env(struct mst_world *ret_world, struct mst_err *err);

/* The tuning variables alone, for programs that are no rank. 0; -EINVAL naming the variable. */
int world_tuning_from_env(struct mst_tuning *ret_tuning, struct mst_err *err);

/* A world of one without server, page or segment. */
void world_init_single(struct mst_world *ret_world);

/* What a create or an open answers goes through here: one that no restart cures (-ENOTSUP, -EACCES,
 * -EINVAL, -EEXIST, -ENOTDIR, -EISDIR, -EROFS) is left in the rank's line of the node page, where
 * its agent finds it when the rank has died; a later success takes it back, as the program has
 * found another way. Returns rc. Safe from any thread; not for a forked child, whose line is its
 * parent's. */
int mst_world_note_verdict(const struct mst_world *world, int rc);

/* The same for who has the page mapped, which may be NULL, and no world any more. */
int mst_page_note_verdict(struct mst_page *page, uint32_t local_rank, int rc);

/* 0; -ENOTSUP with text: the world is that of the process that this one was forked from, which is
 * no rank. */
int mst_world_check_process(const struct mst_world *world, struct mst_err *err);

/* Closes the fds and wipes the secret. NULL is allowed. */
void world_fini(struct mst_world *world);

#endif
