/* The module between libmuster and one MPI: see mpi_abi.h. */
#include "muster/comm/mpi_abi.h"

#include <assert.h>
#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TAG 1

static_assert(sizeof(MPI_Comm) <= sizeof(struct mpi_handle), "a communicator fits a handle");
static_assert(sizeof(MPI_Request) <= sizeof(struct mpi_handle), "a request fits a handle");

/* MPI_THREAD_SERIALIZED is what we ask for: several threads, but one at a time. It also guards
 * `abandoned` and `watched`. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool abandoned;
static pid_t watched; /* the process whose exit is; 0: none */

static void enter(void)
{
    pthread_mutex_lock(&lock);
}

/* Returns `rc`, the result of what was done inside. */
static int leave(int rc)
{
    pthread_mutex_unlock(&lock);
    return rc;
}

static MPI_Comm comm_of(struct mpi_handle handle)
{
    return *(MPI_Comm *)(void *)&handle;
}

static MPI_Comm *comm_in(struct mpi_handle *handle)
{
    return (MPI_Comm *)(void *)handle;
}

static MPI_Request *request_in(struct mpi_handle *handle)
{
    return (MPI_Request *)(void *)handle;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* After a failure the peers may be gone: MPI_Finalize would wait for them, and without it their
 * launcher sees that this job has failed; but MPICH's takes the code of whoever leaves first, so it
 * is none of success. What else was to be done at the exit is not. */
static void at_exit(int status, void *arg)
{
    bool we_initialized = arg != NULL;
    int finalized = 0;
    if (getpid() != watched)
        return; /* a forked child: the MPI is its parent's */
    if (abandoned && status == 0) {
        (void)fflush(NULL); /* as exit would: nobody is left to tell */
        _exit(EXIT_FAILURE);
    }
    (void)MPI_Finalized(&finalized); /* may be asked at any time */
    if (we_initialized && status == 0 && !finalized)
        (void)MPI_Finalize(); /* nobody is left to tell */
}

/* 0; -ENOMEM. Once: the first call says who has initialised MPI. */
static int watch_exit(bool we_initialized)
{
    static char we;
    if (watched)
        return 0;
    if (on_exit(at_exit, we_initialized ? &we : NULL) != 0)
        return -ENOMEM;
    watched = getpid();
    return 0;
}

static void abandon(void)
{
    enter();
    abandoned = true;
    leave(0);
}

static int init_here(int *ret_level)
{
    int rc = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, ret_level);
    return rc == MPI_SUCCESS ? watch_exit(true) : rc;
}

static int init_there(int *ret_level)
{
    int rc = MPI_Query_thread(ret_level);
    return rc == MPI_SUCCESS ? watch_exit(false) : rc;
}

static int init_once(uint32_t *ret_rank, uint32_t *ret_size)
{
    int initialized = 0, level = 0, rank = 0, size = 0;
    int rc = MPI_Initialized(&initialized);
    if (rc == MPI_SUCCESS)
        rc = initialized ? init_there(&level) : init_here(&level);
    if (rc == MPI_SUCCESS && level < MPI_THREAD_SERIALIZED)
        rc = -ENOTSUP;
    if (rc == MPI_SUCCESS)
        rc = MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rc == MPI_SUCCESS)
        rc = MPI_Comm_size(MPI_COMM_WORLD, &size);
    *ret_rank = (uint32_t)rank;
    *ret_size = (uint32_t)size;
    return rc;
}

static int init(uint32_t *ret_rank, uint32_t *ret_size)
{
    enter();
    return leave(init_once(ret_rank, ret_size));
}

/* The copy inherits what happens on errors from the original, which is the program's: it is
 * changed for the moment of copying only. Handlers that MPI has just given are not refused. */
static int start_dup(struct mpi_handle *ret_comm, struct mpi_handle *ret_request)
{
    MPI_Errhandler before;
    enter();
    int rc = MPI_Comm_get_errhandler(MPI_COMM_WORLD, &before);
    if (rc != MPI_SUCCESS)
        return leave(rc);
    (void)MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    rc = MPI_Comm_idup(MPI_COMM_WORLD, comm_in(ret_comm), request_in(ret_request));
    (void)MPI_Comm_set_errhandler(MPI_COMM_WORLD, before);
    (void)MPI_Errhandler_free(&before);
    return leave(rc);
}

static void free_comm(struct mpi_handle *comm)
{
    enter();
    (void)MPI_Comm_free(comm_in(comm)); /* nothing goes on in it */
    leave(0);
}

/* ---- transfers ------------------------------------------------------------------------------- */

static int start_allgather(struct mpi_handle comm, const void *in, void *out, size_t bytes,
                           struct mpi_handle *ret_request)
{
    enter();
    return leave(MPI_Iallgather(in, (int)bytes, MPI_BYTE, out, (int)bytes, MPI_BYTE, comm_of(comm),
                                request_in(ret_request)));
}

static int start_broadcast(struct mpi_handle comm, void *buf, size_t bytes, uint32_t root,
                           struct mpi_handle *ret_request)
{
    enter();
    return leave(
        MPI_Ibcast(buf, (int)bytes, MPI_BYTE, (int)root, comm_of(comm), request_in(ret_request)));
}

static int start_alltoall(struct mpi_handle comm, const void *in, void *out, size_t bytes,
                          struct mpi_handle *ret_request)
{
    enter();
    return leave(MPI_Ialltoall(in, (int)bytes, MPI_BYTE, out, (int)bytes, MPI_BYTE, comm_of(comm),
                               request_in(ret_request)));
}

static int start_send(struct mpi_handle comm, const void *buf, size_t bytes, uint32_t to,
                      struct mpi_handle *ret_request)
{
    enter();
    return leave(
        MPI_Isend(buf, (int)bytes, MPI_BYTE, (int)to, TAG, comm_of(comm), request_in(ret_request)));
}

static int start_receive(struct mpi_handle comm, void *buf, size_t bytes,
                         struct mpi_handle *ret_request)
{
    enter();
    return leave(MPI_Irecv(buf, (int)bytes, MPI_BYTE, MPI_ANY_SOURCE, TAG, comm_of(comm),
                           request_in(ret_request)));
}

static int test(struct mpi_handle *request, bool *ret_done)
{
    int done = 0;
    enter();
    int rc = leave(MPI_Test(request_in(request), &done, MPI_STATUS_IGNORE));
    *ret_done = done;
    return rc;
}

static void cancel(struct mpi_handle *request)
{
    enter();
    (void)MPI_Cancel(request_in(request)); /* it may have been done by now: as good */
    (void)MPI_Wait(request_in(request), MPI_STATUS_IGNORE);
    leave(0);
}

static void describe(int code, char *text, size_t cap)
{
    char words[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    enter();
    (void)leave(MPI_Error_string(code, words, &length)); /* no words for it: none */
    (void)snprintf(text, cap, "%s", words);
}

const struct mpi_abi muster_mpi_abi = {
    .version = MPI_ABI_VERSION,
    .init = init,
    .abandon = abandon,
    .start_dup = start_dup,
    .free_comm = free_comm,
    .start_allgather = start_allgather,
    .start_broadcast = start_broadcast,
    .start_alltoall = start_alltoall,
    .start_send = start_send,
    .start_receive = start_receive,
    .test = test,
    .cancel = cancel,
    .describe = describe,
};
