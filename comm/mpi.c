/* The mpi back end: collectives over the MPI that started the ranks.
 *
 * MPI moves bytes and we reduce, in rank order and with the host back end's kernels, so that the
 * bits are the same under any MPI and any size. Every collective begins with an allgather of cards
 * that say what each rank calls; what fits on the card is done with that. The rest goes in rounds
 * through memory of our own: MPI cannot take a collective back, and after a missed deadline a late
 * peer may still touch that memory, so it is never freed then. */
#include "muster/comm/backend.h"
#include "muster/comm/mpi_load.h"
#include "muster/comm/mpi_notes.h"
#include "muster/comm/reduce.h"
#include "muster/comm/wait.h"
#include "muster/core/least.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_BYTES ((size_t)1 << 18)    /* what a round touches stays in a core's own cache */
#define AT_ONCE_BYTES ((size_t)64 << 10) /* of all ranks together; more is cheaper in slices */
#define CARD_BYTES 48

/* What a rank calls, and its input if that is small. One cache line. */
struct card {
    uint64_t kind, count; /* the description as signature_pack has it */
    uint8_t bytes[CARD_BYTES];
};

/* What ranks tell one another at the start. */
struct hello {
    uint32_t comm_id, node;
    cpu_set_t cpus;
};

struct mpi {
    struct comm_backend base;
    const struct mpi_abi *abi;
    struct mpi_handle data, beside; /* communicators of the collectives and of the notes */
    struct mpi_handle request;      /* of the collective under way */
    struct mpi_notes notes;
    struct waiter wait;
    enum mst_wait_policy policy;
    uint32_t rank, size, local_size;
    cpu_set_t cpus; /* of all ranks of this node */

    const struct comm_call *call;
    uint64_t op_seq, deadline_ns;

    struct card *cards; /* one per rank, and behind them this rank's */
    const void **streams;
    size_t room_bytes; /* of each of the two */
    uint8_t *outbound, *inbound;
    struct mpi *next; /* of the abandoned */
};

/* Communicators whose last collective MPI has not ended. */
static struct mpi *_Atomic abandoned;

/* ---- waiting --------------------------------------------------------------------------------- */

/* Waits for mpi->request. 0; MPI's positive code; -ECANCELED, -ECONNRESET, -ETIMEDOUT as
 * wait_check. MPI works only while it is called, so there is no sleeping here. */
static int finish(struct mpi *mpi)
{
    struct wait_state state = {0};
    for (;;) {
        bool done = false;
        int rc = mpi->abi->test(&mpi->request, &done);
        if (rc != 0 || done)
            return rc;
        if (wait_idle(&mpi->wait, &state))
            (void)sched_yield(); /* cannot fail on Linux */
        if (!wait_look(&state))
            continue;
        rc = mpi_notes_poll(&mpi->notes, mpi->op_seq);
        if (rc == 0)
            rc = wait_check(&mpi->wait, mpi->deadline_ns);
        if (rc < 0) /* a failure of a later collective must not hide that this one was completed */
            return mpi->abi->test(&mpi->request, &done) == 0 && done ? 0 : rc;
    }
}

static int finish_started(struct mpi *mpi, int code)
{
    return code != 0 ? code : finish(mpi);
}

static int allgather_bytes(struct mpi *mpi, const void *in, void *out, size_t bytes)
{
    return finish_started(mpi, mpi->abi->start_allgather(mpi->data, in, out, bytes, &mpi->request));
}

/* Block r of `outbound` goes to rank r; rank r's comes as block r of `inbound`. */
static int alltoall_bytes(struct mpi *mpi, size_t bytes)
{
    return finish_started(mpi, mpi->abi->start_alltoall(mpi->data, mpi->outbound, mpi->inbound,
                                                        bytes, &mpi->request));
}

static int explain_timeout(struct mpi *mpi, struct mst_err *err)
{
    char absent[sizeof err->text], call[SIGNATURE_TEXT_MAX] = "create";
    if (mpi->call)
        (void)signature_describe(&mpi->call->desc, call, sizeof call); /* `call` itself */
    mpi_notes_missing(&mpi->notes, mpi->op_seq, absent, sizeof absent);
    return mst_err_set(err, -ETIMEDOUT, "op %llu, %s: still missing%s",
                       (unsigned long long)mpi->op_seq, call,
                       absent[0] ? absent : " bytes, though all ranks have come");
}

/* What the end of a wait means, in words. */
static int explain(struct mpi *mpi, int code, struct mst_err *err)
{
    if (code > 0) {
        char words[128];
        mpi->abi->describe(code, words, sizeof words);
        return mst_err_set(err, -ECONNRESET, "MPI: %s", words);
    }
    if (code == -ETIMEDOUT)
        return explain_timeout(mpi, err);
    if (code == -ECANCELED) {
        *err = mpi->notes.failure;
        return err->code;
    }
    return code == -ECONNRESET ? wait_explain(&mpi->wait, err) : err->code;
}

/* ---- cards ----------------------------------------------------------------------------------- */

/* Bytes of this rank's input; of the root's in a broadcast. */
static size_t input_bytes(const struct mpi *mpi, const struct signature_desc *desc)
{
    size_t blocks = desc->coll == MST_COLL_REDUCE_SCATTER ? mpi->size : 1;
    return desc->count * mst_dtype_size(desc->dtype) * blocks;
}

static bool fits_card(const struct mpi *mpi, const struct signature_desc *desc)
{
    return desc->coll == MST_COLL_BARRIER || input_bytes(mpi, desc) <= CARD_BYTES;
}

static int mismatch(struct mpi *mpi, uint32_t other, struct mst_err *err)
{
    const struct card *cards = mpi->cards;
    struct signature_desc first = signature_unpack(cards[0].kind, cards[0].count);
    struct signature_desc theirs = signature_unpack(cards[other].kind, cards[other].count);
    return signature_mismatch(0, &first, other, &theirs, err);
}

/* All ranks see all cards, so all of them find the same mismatch. */
static int exchange_cards(struct mpi *mpi, const struct comm_call *call)
{
    const struct signature_desc *desc = &call->desc;
    struct card *cards = mpi->cards, *mine = &cards[mpi->size];
    *mine = (struct card){.kind = signature_pack(desc), .count = desc->count};
    const void *input = desc->coll == MST_COLL_BROADCAST ? call->out : call->in;
    if (desc->coll != MST_COLL_BARRIER && desc->count > 0 && fits_card(mpi, desc))
        memcpy(mine->bytes, input, input_bytes(mpi, desc));
    int rc = allgather_bytes(mpi, mine, cards, sizeof *mine);
    for (uint32_t r = 1; rc == 0 && r < mpi->size; r++)
        if (cards[r].kind != cards[0].kind || cards[r].count != cards[0].count)
            rc = mismatch(mpi, r, &mpi->base.err);
    return rc;
}

static struct reduce reduce_of(const struct mpi *mpi, const struct signature_desc *desc)
{
    return (struct reduce){.isa = reduce_best(),
                           .stage = REDUCE_WHOLE,
                           .dtype = desc->dtype,
                           .op = desc->op,
                           .divisor = mpi->size};
}

/* Folds what all ranks sent: `stride` bytes apart, from `first` on. */
static void fold(struct mpi *mpi, const struct signature_desc *desc, const uint8_t *first,
                 size_t stride, void *out, size_t len)
{
    struct reduce reduce = reduce_of(mpi, desc);
    for (uint32_t r = 0; r < mpi->size; r++)
        mpi->streams[r] = first + r * stride;
    reduce_fold(&reduce, out, mpi->streams, mpi->size, len);
}

static void finish_from_cards(struct mpi *mpi, const struct comm_call *call)
{
    const struct signature_desc *desc = &call->desc;
    const struct card *cards = mpi->cards;
    size_t bytes = desc->count * mst_dtype_size(desc->dtype);
    if (desc->coll == MST_COLL_BARRIER || desc->count == 0)
        return;
    switch (desc->coll) {
    case MST_COLL_ALLREDUCE:
        fold(mpi, desc, cards->bytes, sizeof *cards, call->out, desc->count);
        break;
    case MST_COLL_REDUCE_SCATTER:
        fold(mpi, desc, cards->bytes + mpi->rank * bytes, sizeof *cards, call->out, desc->count);
        break;
    case MST_COLL_ALLGATHER:
        for (uint32_t r = 0; r < mpi->size; r++)
            memcpy((uint8_t *)call->out + r * bytes, cards[r].bytes, bytes);
        break;
    default: memcpy(call->out, cards[desc->root].bytes, bytes); break;
    }
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* Everybody gets everything and reduces all of it: one exchange instead of two. */
static int allreduce_at_once(struct mpi *mpi, const struct signature_desc *desc, const uint8_t *in,
                             uint8_t *out)
{
    size_t bytes = desc->count * mst_dtype_size(desc->dtype);
    memcpy(mpi->outbound, in, bytes);
    int rc = allgather_bytes(mpi, mpi->outbound, mpi->inbound, bytes);
    if (rc == 0)
        fold(mpi, desc, mpi->inbound, bytes, out, desc->count);
    return rc;
}

/* Rank r reduces slice r of the round, then gives it to all: 2(p-1)/p of the bytes. */
static int allreduce_round(struct mpi *mpi, const struct signature_desc *desc, const uint8_t *in,
                           uint8_t *out, size_t len)
{
    size_t size = mst_dtype_size(desc->dtype);
    size_t slice = len / mpi->size + (len % mpi->size != 0), at = mst_least(slice * mpi->rank, len);
    memcpy(mpi->outbound, in, len * size);
    int rc = alltoall_bytes(mpi, slice * size);
    if (rc != 0)
        return rc;
    fold(mpi, desc, mpi->inbound, slice * size, mpi->outbound, mst_least(slice, len - at));
    rc = allgather_bytes(mpi, mpi->outbound, mpi->inbound, slice * size);
    if (rc == 0)
        memcpy(out, mpi->inbound, len * size);
    return rc;
}

static int scatter_round(struct mpi *mpi, const struct signature_desc *desc, const uint8_t *in,
                         uint8_t *out, size_t len)
{
    size_t size = mst_dtype_size(desc->dtype);
    for (uint32_t r = 0; r < mpi->size; r++)
        memcpy(mpi->outbound + r * len * size, in + r * desc->count * size, len * size);
    int rc = alltoall_bytes(mpi, len * size);
    if (rc == 0)
        fold(mpi, desc, mpi->inbound, len * size, out, len);
    return rc;
}

static int gather_round(struct mpi *mpi, const struct signature_desc *desc, const uint8_t *in,
                        uint8_t *out, size_t len)
{
    size_t size = mst_dtype_size(desc->dtype);
    memcpy(mpi->outbound, in, len * size);
    int rc = allgather_bytes(mpi, mpi->outbound, mpi->inbound, len * size);
    for (uint32_t r = 0; rc == 0 && r < mpi->size; r++)
        memcpy(out + r * desc->count * size, mpi->inbound + r * len * size, len * size);
    return rc;
}

static int broadcast_round(struct mpi *mpi, const struct signature_desc *desc, uint8_t *buf,
                           size_t len)
{
    size_t bytes = len * mst_dtype_size(desc->dtype);
    bool is_root = desc->root == mpi->rank;
    if (is_root)
        memcpy(mpi->outbound, buf, bytes);
    int rc = finish_started(
        mpi, mpi->abi->start_broadcast(mpi->data, mpi->outbound, bytes, desc->root, &mpi->request));
    if (rc == 0 && !is_root)
        memcpy(buf, mpi->outbound, bytes);
    return rc;
}

static int run_round(struct mpi *mpi, const struct comm_call *call, size_t done, size_t len)
{
    const struct signature_desc *desc = &call->desc;
    size_t at = done * mst_dtype_size(desc->dtype);
    uint8_t *out = (uint8_t *)call->out + at;
    const uint8_t *in = desc->coll == MST_COLL_BROADCAST ? out : (const uint8_t *)call->in + at;
    switch (desc->coll) {
    case MST_COLL_ALLREDUCE: return allreduce_round(mpi, desc, in, out, len);
    case MST_COLL_REDUCE_SCATTER: return scatter_round(mpi, desc, in, out, len);
    case MST_COLL_ALLGATHER: return gather_round(mpi, desc, in, out, len);
    default: assert(desc->coll == MST_COLL_BROADCAST); return broadcast_round(mpi, desc, out, len);
    }
}

/* A round has the room for `block` elements of every rank. */
static int run_rounds(struct mpi *mpi, const struct comm_call *call)
{
    const struct signature_desc *desc = &call->desc;
    if (desc->coll == MST_COLL_ALLREDUCE && input_bytes(mpi, desc) <= AT_ONCE_BYTES / mpi->size)
        return allreduce_at_once(mpi, desc, call->in, call->out);
    bool whole = desc->coll == MST_COLL_ALLREDUCE || desc->coll == MST_COLL_BROADCAST;
    size_t block = mpi->room_bytes / mpi->size / mst_dtype_size(desc->dtype);
    size_t round = whole ? block * mpi->size : block;
    for (size_t done = 0; done < desc->count; done += mst_least(round, desc->count - done)) {
        int rc = run_round(mpi, call, done, mst_least(round, desc->count - done));
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- the slots ------------------------------------------------------------------------------- */

/* Tells the others, or lets their earlier failure stand. */
static int give_up(struct mpi *mpi, int code)
{
    struct mst_err *err = &mpi->base.err;
    mpi->abi->abandon();
    (void)explain(mpi, code, err); /* its code is err->code */
    if (mpi_notes_fail(&mpi->notes, err))
        mpi_notes_flush(&mpi->notes);
    return err->code;
}

static int mpi_run(struct comm_backend *backend, const struct comm_call *call, uint64_t op_seq,
                   uint64_t deadline_ns)
{
    struct mpi *mpi = (struct mpi *)backend;
    mpi->call = call;
    mpi->op_seq = op_seq;
    mpi->deadline_ns = deadline_ns;
    int rc = wait_alive(&mpi->wait);
    if (rc == 0)
        rc = exchange_cards(mpi, call);
    if (rc != 0)
        return give_up(mpi, rc);
    if (fits_card(mpi, &call->desc)) {
        finish_from_cards(mpi, call);
        return 0;
    }
    rc = run_rounds(mpi, call);
    return rc != 0 ? give_up(mpi, rc) : 0;
}

static void mpi_abort(struct comm_backend *backend, const struct mst_err *err)
{
    struct mpi *mpi = (struct mpi *)backend;
    struct mst_err copy = *err;
    mpi->abi->abandon();
    (void)mpi_notes_fail(&mpi->notes, &copy); /* an earlier failure stands */
}

static void mpi_set_threads(struct comm_backend *backend, uint32_t threads_per_rank)
{
    struct mpi *mpi = (struct mpi *)backend;
    bool core_free = mpi->local_size * threads_per_rank <= wait_cpus_count(&mpi->cpus, "");
    wait_set_policy(&mpi->wait, mpi->policy, core_free);
}

/* MPI may still use what a failed communicator has: it is kept, and so is MPI itself. */
static void leave_behind(struct mpi *mpi)
{
    mpi->abi->abandon();
    mpi->next = atomic_load(&abandoned);
    while (!atomic_compare_exchange_weak(&abandoned, &mpi->next, mpi))
        continue;
}

static void mpi_destroy(struct comm_backend *backend)
{
    struct mpi *mpi = (struct mpi *)backend;
    if (!mpi)
        return;
    if (!mpi_notes_quiet(&mpi->notes)) {
        leave_behind(mpi);
        return;
    }
    mpi_notes_close(&mpi->notes);
    mpi->abi->free_comm(&mpi->beside);
    mpi->abi->free_comm(&mpi->data);
    free(mpi->cards);
    free(mpi->streams);
    free(mpi->outbound);
    free(mpi->inbound);
    free(mpi);
}

/* ---- joining --------------------------------------------------------------------------------- */

static int check_place(const struct mpi *mpi, const struct mst_world *world, struct mst_err *err)
{
    uint32_t rank = 0, size = 0;
    int rc = mpi->abi->init(&rank, &size);
    if (rc == -ENOTSUP)
        return mst_err_set(err, rc,
                           "the program's MPI takes no calls from threads: initialise it by "
                           "MPI_Init_thread with MPI_THREAD_SERIALIZED or more");
    if (rc != 0)
        return mst_err_set(err, -ECONNRESET, "MPI_Init_thread failed with code %d", rc);
    if (rank == world->rank && size == world->size)
        return 0;
    return mst_err_set(err, -ENOTSUP,
                       "rank %u of %u is rank %u of %u to MPI; start ranks with the mpirun or "
                       "mpiexec of the MPI whose module is loaded",
                       world->rank, world->size, rank, size);
}

static int allocate(struct mpi *mpi, struct mst_err *err)
{
    mpi->room_bytes = ROUND_BYTES;
    if (mpi->room_bytes / mpi->size < sizeof(struct hello))
        mpi->room_bytes = mpi->size * sizeof(struct hello);
    mpi->cards = calloc((size_t)mpi->size + 1, sizeof *mpi->cards);
    mpi->streams = calloc(mpi->size, sizeof *mpi->streams);
    mpi->outbound = calloc(1, mpi->room_bytes);
    mpi->inbound = calloc(1, mpi->room_bytes);
    if (mpi->cards && mpi->streams && mpi->outbound && mpi->inbound)
        return 0;
    return mst_err_set(err, -ENOMEM, "no memory for a communicator's buffers");
}

static int duplicate(struct mpi *mpi, struct mpi_handle *comm, struct mst_err *err)
{
    int rc = finish_started(mpi, mpi->abi->start_dup(comm, &mpi->request));
    if (rc == -ETIMEDOUT)
        return mst_err_set(err, rc, "not all %u ranks have come to make a communicator", mpi->size);
    return rc != 0 ? explain(mpi, rc, err) : 0;
}

/* All ranks are there after this; and they know who shares the cores of this node. */
static int greet(struct mpi *mpi, uint32_t node, struct mst_err *err)
{
    static atomic_uint comm_count;
    struct hello *mine = (struct hello *)(void *)mpi->outbound;
    *mine = (struct hello){.comm_id = atomic_fetch_add(&comm_count, 1), .node = node};
    wait_cpus_here(&mine->cpus);
    int rc = allgather_bytes(mpi, mine, mpi->inbound, sizeof *mine);
    if (rc != 0)
        return explain(mpi, rc, err);
    const struct hello *all = (const struct hello *)(const void *)mpi->inbound;
    mpi->base.comm_id = all[0].comm_id;
    for (uint32_t r = 0; r < mpi->size; r++) {
        if (all[r].node != node)
            continue;
        mpi->local_size++;
        CPU_OR(&mpi->cpus, &mpi->cpus, &all[r].cpus);
    }
    return 0;
}

static int join(struct mpi *mpi, uint32_t node, struct mst_err *err)
{
    int rc = allocate(mpi, err);
    if (rc == 0)
        rc = duplicate(mpi, &mpi->data, err);
    if (rc == 0)
        rc = duplicate(mpi, &mpi->beside, err);
    if (rc == 0)
        rc = mpi_notes_open(&mpi->notes, mpi->abi, mpi->beside, mpi->rank, mpi->size, err);
    return rc == 0 ? greet(mpi, node, err) : rc;
}

static int mpi_create(const struct mst_world *world, struct mst_kv *kv, struct mst_page *page,
                      uint64_t deadline_ns, struct comm_backend **ret_backend, struct mst_err *err)
{
    (void)kv; /* MPI introduces the ranks to one another */
    struct mpi *mpi = calloc(1, sizeof *mpi);
    if (!mpi)
        return mst_err_set(err, -ENOMEM, "no memory for a communicator");
    mpi->base.ops = &comm_mpi_ops;
    mpi->rank = world->rank;
    mpi->size = world->size;
    mpi->policy = world->tuning.wait;
    mpi->deadline_ns = deadline_ns;
    mpi->wait = (struct waiter){.page = page, .failed = &mpi->notes.failed};
    int rc = mpi_load(world, &mpi->abi, err);
    if (rc == 0)
        rc = check_place(mpi, world, err);
    if (rc < 0) {
        free(mpi);
        return rc;
    }
    struct mst_err local_err = {0};
    rc = join(mpi, world->node, &local_err);
    if (rc < 0) {
        if (mpi->notes.worker.receiving && mpi_notes_fail(&mpi->notes, &local_err))
            mpi_notes_flush(&mpi->notes);
        leave_behind(mpi);
        return mst_err_set(err, local_err.code, "%s", local_err.text);
    }
    mpi_set_threads(&mpi->base, 1);
    *ret_backend = &mpi->base;
    return 0;
}

const struct comm_ops comm_mpi_ops = {.name = "mpi",
                                      .create = mpi_create,
                                      .destroy = mpi_destroy,
                                      .run = mpi_run,
                                      .abort = mpi_abort,
                                      .set_threads = mpi_set_threads};
