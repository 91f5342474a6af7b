/* An MPI between the threads of one process, behind the table of comm/mpi_abi.h: eager messages,
 * and collectives that happen when the last rank has come. */
#ifndef MUSTER_TESTS_UNIT_COMM_FAKE_MPI_H
#define MUSTER_TESTS_UNIT_COMM_FAKE_MPI_H

#include "muster/comm/mpi_abi.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_RANKS_MAX 8
#define FAKE_COMMS_MAX 16
#define FAKE_MPI_ERROR 15 /* what a start answers when told to fail */

enum fake_kind { FAKE_DUP, FAKE_ALLGATHER, FAKE_BROADCAST, FAKE_ALLTOALL, FAKE_RECEIVE };

/* The seq-th collective of a communicator. */
struct fake_op {
    struct fake_op *next;
    uint32_t comm, seq, arrived, left;
    enum fake_kind kind;
    size_t bytes;
    uint32_t root;
    const void *in[FAKE_RANKS_MAX];
    void *out[FAKE_RANKS_MAX];
};

struct fake_message {
    struct fake_message *next;
    size_t bytes;
    unsigned char data[];
};

struct fake_request {
    enum fake_kind kind;
    struct fake_op *op; /* of collectives */
    uint32_t comm, rank;
    void *buf;
};

static struct {
    pthread_mutex_t lock;
    uint32_t size;
    struct fake_op *ops;
    uint32_t seqs[FAKE_COMMS_MAX][FAKE_RANKS_MAX];
    uint32_t fails_in[FAKE_RANKS_MAX]; /* the n-th start of a collective fails; 0 = none */
    struct fake_message *mail[FAKE_COMMS_MAX][FAKE_RANKS_MAX];
    atomic_bool abandoned;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local uint32_t fake_rank; /* of the thread that creates */

/* Before the ranks run. */
static void fake_reset(uint32_t size)
{
    memset(fake.seqs, 0, sizeof fake.seqs);
    memset(fake.fails_in, 0, sizeof fake.fails_in);
    fake.size = size;
    fake.abandoned = false;
}

/* After them. */
static void fake_forget(void)
{
    while (fake.ops) {
        struct fake_op *op = fake.ops;
        fake.ops = op->next;
        free(op);
    }
    for (size_t c = 0; c < FAKE_COMMS_MAX; c++)
        for (size_t r = 0; r < FAKE_RANKS_MAX; r++)
            while (fake.mail[c][r]) {
                struct fake_message *message = fake.mail[c][r];
                fake.mail[c][r] = message->next;
                free(message);
            }
}

static struct mpi_handle fake_handle(const void *pointer)
{
    return (struct mpi_handle){.opaque = (uintptr_t)pointer};
}

static struct mpi_handle fake_comm(uint32_t comm, uint32_t rank)
{
    return (struct mpi_handle){.opaque = (uint64_t)comm << 32 | rank};
}

static uint32_t fake_comm_of(struct mpi_handle comm)
{
    return (uint32_t)(comm.opaque >> 32);
}

static uint32_t fake_rank_of(struct mpi_handle comm)
{
    return (uint32_t)comm.opaque;
}

static struct fake_request *fake_request(enum fake_kind kind, uint32_t comm, uint32_t rank)
{
    struct fake_request *request = calloc(1, sizeof *request);
    assert(request);
    *request = (struct fake_request){.kind = kind, .comm = comm, .rank = rank};
    return request;
}

/* ---- collectives ----------------------------------------------------------------------------- */

static struct fake_op *fake_op_locked(uint32_t comm, uint32_t seq)
{
    struct fake_op *op = fake.ops;
    while (op && (op->comm != comm || op->seq != seq))
        op = op->next;
    if (op)
        return op;
    op = calloc(1, sizeof *op);
    assert(op);
    *op = (struct fake_op){.next = fake.ops, .comm = comm, .seq = seq, .left = fake.size};
    fake.ops = op;
    return op;
}

static void fake_perform(const struct fake_op *op)
{
    for (uint32_t to = 0; to < fake.size; to++) {
        unsigned char *out = op->out[to];
        if (op->kind == FAKE_BROADCAST && to != op->root)
            memcpy(out, op->in[op->root], op->bytes);
        if (op->kind == FAKE_DUP)
            *(struct mpi_handle *)(void *)out = fake_comm(op->seq + 1, to);
        for (uint32_t from = 0; from < fake.size; from++) {
            const unsigned char *in = op->in[from];
            if (op->kind == FAKE_ALLGATHER)
                memcpy(out + from * op->bytes, in, op->bytes);
            if (op->kind == FAKE_ALLTOALL)
                memcpy(out + from * op->bytes, in + to * op->bytes, op->bytes);
        }
    }
}

/* What a rank brings to a collective must be what the others bring: MPI would not notice. */
static int fake_start(struct mpi_handle comm, const struct fake_op *call, const void *in, void *out,
                      struct mpi_handle *ret_request)
{
    uint32_t id = fake_comm_of(comm), rank = fake_rank_of(comm);
    pthread_mutex_lock(&fake.lock);
    if (fake.fails_in[rank] > 0 && --fake.fails_in[rank] == 0) {
        pthread_mutex_unlock(&fake.lock);
        return FAKE_MPI_ERROR;
    }
    struct fake_op *op = fake_op_locked(id, fake.seqs[id][rank]++);
    assert(op->arrived == 0 ||
           (op->kind == call->kind && op->bytes == call->bytes && op->root == call->root));
    op->kind = call->kind;
    op->bytes = call->bytes;
    op->root = call->root;
    op->in[rank] = in;
    op->out[rank] = out;
    if (++op->arrived == fake.size)
        fake_perform(op);
    struct fake_request *request = fake_request(call->kind, id, rank);
    request->op = op;
    *ret_request = fake_handle(request);
    pthread_mutex_unlock(&fake.lock);
    return 0;
}

static int fake_start_dup(struct mpi_handle *ret_comm, struct mpi_handle *ret_request)
{
    struct fake_op call = {.kind = FAKE_DUP};
    return fake_start(fake_comm(0, fake_rank), &call, NULL, ret_comm, ret_request);
}

static int fake_start_allgather(struct mpi_handle comm, const void *in, void *out, size_t bytes,
                                struct mpi_handle *ret_request)
{
    struct fake_op call = {.kind = FAKE_ALLGATHER, .bytes = bytes};
    return fake_start(comm, &call, in, out, ret_request);
}

static int fake_start_broadcast(struct mpi_handle comm, void *buf, size_t bytes, uint32_t root,
                                struct mpi_handle *ret_request)
{
    struct fake_op call = {.kind = FAKE_BROADCAST, .bytes = bytes, .root = root};
    return fake_start(comm, &call, buf, buf, ret_request);
}

static int fake_start_alltoall(struct mpi_handle comm, const void *in, void *out, size_t bytes,
                               struct mpi_handle *ret_request)
{
    struct fake_op call = {.kind = FAKE_ALLTOALL, .bytes = bytes};
    return fake_start(comm, &call, in, out, ret_request);
}

/* ---- messages -------------------------------------------------------------------------------- */

static int fake_start_send(struct mpi_handle comm, const void *buf, size_t bytes, uint32_t to,
                           struct mpi_handle *ret_request)
{
    struct fake_message *message = malloc(sizeof *message + bytes);
    assert(message);
    message->next = NULL;
    message->bytes = bytes;
    memcpy(message->data, buf, bytes);
    pthread_mutex_lock(&fake.lock);
    struct fake_message **last = &fake.mail[fake_comm_of(comm)][to];
    while (*last)
        last = &(*last)->next;
    *last = message;
    pthread_mutex_unlock(&fake.lock);
    *ret_request = fake_handle(NULL); /* eager: it is done */
    return 0;
}

static int fake_start_receive(struct mpi_handle comm, void *buf, size_t bytes,
                              struct mpi_handle *ret_request)
{
    struct fake_request *request = fake_request(FAKE_RECEIVE, fake_comm_of(comm),
                                                fake_rank_of(comm));
    (void)bytes; /* all notes have one size */
    request->buf = buf;
    *ret_request = fake_handle(request);
    return 0;
}

/* ---- completion ------------------------------------------------------------------------------ */

static bool fake_receive_locked(const struct fake_request *request)
{
    struct fake_message **mail = &fake.mail[request->comm][request->rank], *message = *mail;
    if (!message)
        return false;
    memcpy(request->buf, message->data, message->bytes);
    *mail = message->next;
    free(message);
    return true;
}

static bool fake_finish_op_locked(struct fake_op *op)
{
    if (op->arrived < fake.size)
        return false;
    if (--op->left > 0)
        return true;
    struct fake_op **link = &fake.ops;
    while (*link != op)
        link = &(*link)->next;
    *link = op->next;
    free(op);
    return true;
}

static int fake_test(struct mpi_handle *handle, bool *ret_done)
{
    struct fake_request *request = (struct fake_request *)(uintptr_t)handle->opaque;
    pthread_mutex_lock(&fake.lock);
    if (!request)
        *ret_done = true;
    else
        *ret_done = request->op ? fake_finish_op_locked(request->op) : fake_receive_locked(request);
    pthread_mutex_unlock(&fake.lock);
    if (*ret_done)
        free(request);
    return 0;
}

static void fake_cancel(struct mpi_handle *handle)
{
    free((struct fake_request *)(uintptr_t)handle->opaque);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static int fake_init(uint32_t *ret_rank, uint32_t *ret_size)
{
    *ret_rank = fake_rank;
    *ret_size = fake.size;
    return 0;
}

static void fake_abandon(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.abandoned = true;
    pthread_mutex_unlock(&fake.lock);
}

static void fake_free_comm(struct mpi_handle *comm)
{
    *comm = (struct mpi_handle){0};
}

static void fake_describe(int code, char *text, size_t cap)
{
    (void)snprintf(text, cap, "fake error %d", code);
}

static const struct mpi_abi fake_abi = {
    .version = MPI_ABI_VERSION,
    .init = fake_init,
    .abandon = fake_abandon,
    .start_dup = fake_start_dup,
    .free_comm = fake_free_comm,
    .start_allgather = fake_start_allgather,
    .start_broadcast = fake_start_broadcast,
    .start_alltoall = fake_start_alltoall,
    .start_send = fake_start_send,
    .start_receive = fake_start_receive,
    .test = fake_test,
    .cancel = fake_cancel,
    .describe = fake_describe,
};

#endif
