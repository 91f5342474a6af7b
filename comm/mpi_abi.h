/* What libmuster and its MPI modules say to each other. MPI implementations share no binary
 * interface, so mpi_module.c is compiled once for each by its mpicc, and libmuster itself knows no
 * MPI at all: it loads the module that fits (comm/mpi_load.h) and finds this table in it.
 *
 * Everything moves as bytes, asynchronously: a start, then tests until it is done. Calls answer 0
 * or MPI's positive error code. Safe from any thread: the module lets one at a time into MPI. */
#ifndef MUSTER_COMM_MPI_ABI_H
#define MUSTER_COMM_MPI_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MPI_ABI_VERSION 1
#define MPI_ABI_SYMBOL "muster_mpi_abi"

/* MPI's own communicator or request, an int or a pointer, in its first bytes. It stays where it is
 * until it is done or freed: MPI may write to it at any time. */
struct mpi_handle {
    uint64_t opaque;
};

struct mpi_abi {
    uint32_t version; /* MPI_ABI_VERSION */

    /* Initialises MPI unless the program has, and tells this process's place in MPI_COMM_WORLD.
     * Blocks until all processes of the job have come; MPI has no deadline for that. -ENOTSUP if
     * the program's MPI_Init allows no calls from threads. Whoever initialises finalises: when we
     * did, the module does at a successful exit(). */
    int (*init)(uint32_t *ret_rank, uint32_t *ret_size);

    /* From now on exit() does not finalise: something unfinished is left, and MPI_Finalize might
     * wait for it for ever. An exit(0) ends the process with 1: it is no success of the job. */
    void (*abandon)(void);

    /* A copy of MPI_COMM_WORLD, whose errors are returned. *ret_comm is there once the request is
     * done. */
    int (*start_dup)(struct mpi_handle *ret_comm, struct mpi_handle *ret_request);
    void (*free_comm)(struct mpi_handle *comm);

    /* `bytes` of each rank; from `root`; `bytes` to and from each rank. */
    int (*start_allgather)(struct mpi_handle comm, const void *in, void *out, size_t bytes,
                           struct mpi_handle *ret_request);
    int (*start_broadcast)(struct mpi_handle comm, void *buf, size_t bytes, uint32_t root,
                           struct mpi_handle *ret_request);
    int (*start_alltoall)(struct mpi_handle comm, const void *in, void *out, size_t bytes,
                          struct mpi_handle *ret_request);

    int (*start_send)(struct mpi_handle comm, const void *buf, size_t bytes, uint32_t to,
                      struct mpi_handle *ret_request);
    /* From whichever rank sends first. */
    int (*start_receive)(struct mpi_handle comm, void *buf, size_t bytes,
                         struct mpi_handle *ret_request);

    /* Lets MPI work. A request that is done is freed. */
    int (*test)(struct mpi_handle *request, bool *ret_done);
    /* Takes a receive back. */
    void (*cancel)(struct mpi_handle *request);

    /* What `code` means to MPI; always terminated. */
    void (*describe)(int code, char *text, size_t cap);
};

#endif
