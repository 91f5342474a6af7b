/* FAKE libnccl.so.2: collectives between the ranks of one machine, for tests. Work is done on the
 * fake driver's streams, through shared memory that the unique id names; it reduces as comm.h says,
 * in rank order, which the real NCCL does not promise.
 *
 * FAKE_NCCL: version=N (22809); version_step=N every rank has a later one; id=R,
 * init=R unique id or init answer R; inprogress=N what is started is under way for N polls before
 * it is in the stream; error=K the K-th collective never ends and rank at=R sees result=R (6);
 * lost=K so does the K-th, but at rank at=R its kernel is aborted just before the stream is asked,
 * which leaves that empty; hang=K the K-th never ends and nobody is told;
 * refuse=K rank at=R does not take the K-th, but answers result=R; kill=K at it rank at=R is
 * killed; abort=0 ncclCommAbort never returns; sm=N the devices' compute capability (90), before
 * which 8-bit floats are neither reduced nor moved. */
#include "muster/comm/nccl_sym.h"

#include "fakes/fake_cuda.h"
#include "fakes/script.h"
#include "muster/comm/reduce.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* NCCL's, as comm/nccl_sym.h has them */

#define RANKS_MAX 64
#define CHUNK ((size_t)64 << 10)
#define MAGIC "FAKE NCCL"

struct segment {
    atomic_int joined, finishing;
    atomic_int arrived, turn; /* of the barrier */
    _Alignas(64) char chunks[RANKS_MAX][CHUNK];
};

struct id {
    char magic[16];
    int pid, fd;
};

enum kind { NOTHING, ALL_REDUCE, BROADCAST, ALL_GATHER, REDUCE_SCATTER };

struct op {
    ncclComm_t comm;
    enum kind kind;
    long number;
    const char *in;
    char *out;
    size_t count, elem_size;
    struct reduce reduce;
    int root;
    CUstream stream;
};

struct ncclComm {
    struct segment *segment;
    CUcontext context; /* of the thread that made it: what is started later is of that device */
    int rank, size;
    long op_count;
    long polls; /* for which what was started is still under way */
    struct op starting;
    atomic_int aborted;
    atomic_long stuck;  /* the number of the work that waits to be aborted; 0 = none */
    atomic_int running; /* in the stream */
    ncclResult_t error;
    const char *name;  /* borrowed from whoever has made it, as the real one does; or NULL */
    const char *words; /* of the last call that was refused; NULL = none has any */
    int finishing;
};

static long script(const char *key, long otherwise)
{
    return script_number("FAKE_NCCL", key, otherwise);
}

/* ---- moving bytes ---------------------------------------------------------------------------- */

/* Nothing of a collective is done once the communicator is aborted. */
static void barrier(ncclComm_t comm)
{
    struct segment *segment = comm->segment;
    int turn = atomic_load(&segment->turn);
    if (atomic_fetch_add(&segment->arrived, 1) == comm->size - 1) {
        atomic_store(&segment->arrived, 0);
        atomic_store(&segment->turn, turn + 1);
    }
    while (atomic_load(&segment->turn) == turn && !atomic_load(&comm->aborted))
        sched_yield();
}

/* What a finite one is. */
static float decode_f8(uint8_t bits, enum mst_dtype dtype)
{
    int mantissa_bits = dtype == MST_F8E4M3 ? 3 : 2;
    int exponent = (bits & 0x7f) >> mantissa_bits;
    int whole = 1 << mantissa_bits;
    float value = (float)(bits % whole + (exponent > 0 ? whole : 0));
    int power = (exponent > 0 ? exponent : 1) - (dtype == MST_F8E4M3 ? 7 : 15) - mantissa_bits;
    for (; power > 0; power--)
        value *= 2;
    for (; power < 0; power++)
        value /= 2;
    return bits & 0x80 ? -value : value;
}

/* The nearest, to even; what is too large becomes the largest. */
static uint8_t encode_f8(float value, enum mst_dtype dtype)
{
    int best = 0, largest = dtype == MST_F8E4M3 ? 0x7e : 0x7b;
    float size = value < 0 ? -value : value, best_off = size;
    for (int bits = 1; bits <= largest; bits++) {
        float off = decode_f8((uint8_t)bits, dtype) - size;
        off = off < 0 ? -off : off;
        if (off < best_off || (off == best_off && bits % 2 == 0)) {
            best = bits;
            best_off = off;
        }
    }
    return (uint8_t)(best | (value < 0 ? 0x80 : 0));
}

static float combine(enum mst_op op, float a, float b)
{
    switch (op) {
    case MST_MIN: return a < b ? a : b;
    case MST_MAX: return a > b ? a : b;
    default: return a + b;
    }
}

/* The `i`-th element of what the ranks have put down, as comm/reduce.h does it with other types:
 * from the left in f32, rounded once. */
static uint8_t fold_f8(const struct op *op, size_t i)
{
    ncclComm_t comm = op->comm;
    enum mst_dtype dtype = op->reduce.dtype;
    float sum = decode_f8((uint8_t)comm->segment->chunks[0][i], dtype);
    for (int r = 1; r < comm->size; r++)
        sum = combine(op->reduce.op, sum, decode_f8((uint8_t)comm->segment->chunks[r][i], dtype));
    return encode_f8(op->reduce.op == MST_AVG ? sum / (float)comm->size : sum, dtype);
}

/* `count` elements of it. */
static void fold(const struct op *op, char *out, size_t count)
{
    const void *streams[RANKS_MAX];
    for (int r = 0; r < op->comm->size; r++)
        streams[r] = op->comm->segment->chunks[r];
    if (reduce_acc_size(op->reduce.dtype) > 0)
        reduce_fold(&op->reduce, out, streams, (size_t)op->comm->size, count);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (char)fold_f8(op, i);
}

static void reduce_block(const struct op *op, const char *in, char *out, int owner)
{
    ncclComm_t comm = op->comm;
    size_t most = CHUNK / op->elem_size;
    for (size_t done = 0, n; done < op->count && !atomic_load(&comm->aborted); done += n) {
        n = op->count - done < most ? op->count - done : most;
        memcpy(comm->segment->chunks[comm->rank], in + done * op->elem_size, n * op->elem_size);
        barrier(comm);
        if (owner < 0 || owner == comm->rank)
            fold(op, out + done * op->elem_size, n);
        barrier(comm);
    }
}

/* Copies what ranks `first` to `last` have to `out`, block by block. */
static void share(const struct op *op, int first, int last)
{
    ncclComm_t comm = op->comm;
    for (size_t done = 0, n; done < op->count && !atomic_load(&comm->aborted); done += n) {
        n = op->count - done < CHUNK ? op->count - done : CHUNK;
        memcpy(comm->segment->chunks[comm->rank], op->in + done, n);
        barrier(comm);
        for (int r = first; r <= last; r++)
            memcpy(op->out + (size_t)(r - first) * op->count + done, comm->segment->chunks[r], n);
        barrier(comm);
    }
}

static void run_op(void *arg)
{
    struct op *op = arg;
    ncclComm_t comm = op->comm;
    size_t block = op->count * op->elem_size;
    while (op->number == atomic_load(&comm->stuck) && !atomic_load(&comm->aborted))
        sched_yield();
    if (op->kind == ALL_REDUCE)
        reduce_block(op, op->in, op->out, -1);
    for (int r = 0; op->kind == REDUCE_SCATTER && r < comm->size; r++)
        reduce_block(op, op->in + (size_t)r * block, op->out, r);
    if (op->kind == ALL_GATHER)
        share(op, 0, comm->size - 1);
    if (op->kind == BROADCAST)
        share(op, op->root, op->root);
    free(op);
    atomic_fetch_sub(&comm->running, 1);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Nobody was told of an error before, and what the stream says now is that all is done. */
static void lose(void *arg)
{
    struct op *op = arg;
    ncclComm_t comm = op->comm;
    CUstream stream = op->stream;
    comm->error = (ncclResult_t)script("result", ncclRemoteError);
    atomic_store(&comm->aborted, 1);
    (void)cuStreamSynchronize(stream);
}

static void meet_fate(struct op *op)
{
    ncclComm_t comm = op->comm;
    int at = (int)script("at", 0);
    bool is_lost = op->number == script("lost", 0);
    if (op->number == script("kill", 0) && comm->rank == at)
        raise(SIGKILL);
    if (op->number == script("error", 0) || op->number == script("hang", 0) || is_lost)
        atomic_store(&comm->stuck, op->number);
    if (is_lost && comm->rank == at)
        fake_cuda_at_query(op->stream, lose, op);
    if (op->number == script("error", 0) && comm->rank == at)
        comm->error = (ncclResult_t)script("result", ncclRemoteError);
}

static ncclResult_t enqueue(ncclComm_t comm)
{
    struct op *op = malloc(sizeof *op);
    if (!op)
        return ncclSystemError;
    *op = comm->starting;
    comm->starting.kind = NOTHING;
    meet_fate(op);
    CUcontext ours = NULL;
    if (cuCtxPushCurrent_v2(comm->context) != CUDA_SUCCESS)
        return free(op), ncclUnhandledCudaError;
    atomic_fetch_add(&comm->running, 1);
    CUresult result = cuLaunchHostFunc(op->stream, run_op, op);
    (void)cuCtxPopCurrent_v2(&ours);
    return result == CUDA_SUCCESS ? ncclSuccess : ncclUnhandledCudaError;
}

static ncclResult_t start(ncclComm_t comm, struct op op)
{
    op.comm = comm;
    op.number = ++comm->op_count;
    op.in = fake_cuda_bytes(op.in);
    op.out = fake_cuda_bytes(op.out);
    if (!op.in || !op.out || comm->starting.kind != NOTHING)
        return ncclInvalidArgument;
    if (op.number == script("refuse", 0) && comm->rank == (int)script("at", 0))
        return (ncclResult_t)script("result", ncclRemoteError);
    comm->starting = op;
    comm->polls = script("inprogress", 0);
    return comm->polls > 0 ? ncclInProgress : enqueue(comm);
}

static long version_of_library(void)
{
    return script("version", 22809);
}

static int find_type(ncclComm_t comm, ncclDataType_t type, enum mst_dtype *ret_dtype)
{
    static const enum mst_dtype types[] = {
        [ncclInt8] = MST_I8,       [ncclUint8] = MST_U8,          [ncclInt32] = MST_I32,
        [ncclUint32] = MST_U32,    [ncclInt64] = MST_I64,         [ncclUint64] = MST_U64,
        [ncclFloat16] = MST_F16,   [ncclFloat32] = MST_F32,       [ncclFloat64] = MST_F64,
        [ncclBfloat16] = MST_BF16, [ncclFloat8e4m3] = MST_F8E4M3, [ncclFloat8e5m2] = MST_F8E5M2};
    ncclDataType_t last = version_of_library() < NCCL_F8_VERSION ? ncclBfloat16 : ncclFloat8e5m2;
    if (type < 0 || type > last)
        return 0;
    if (type > ncclBfloat16 && script("sm", 90) < 90)
        return comm->words = "8-bit floats begin with sm90 (FAKE NCCL)", 0;
    *ret_dtype = types[type];
    return 1;
}

/* `op` has all but what NCCL's numbers say. */
static ncclResult_t start_reduce(ncclComm_t comm, struct op op, ncclDataType_t type,
                                 ncclRedOp_t red)
{
    static const enum mst_op ops[] = {
        [ncclSum] = MST_SUM, [ncclMax] = MST_MAX, [ncclMin] = MST_MIN, [ncclAvg] = MST_AVG};
    if (!find_type(comm, type, &op.reduce.dtype))
        return ncclInvalidArgument;
    op.elem_size = mst_dtype_size(op.reduce.dtype);
    op.reduce.isa = reduce_best();
    op.reduce.stage = REDUCE_WHOLE;
    op.reduce.op = ops[red];
    op.reduce.divisor = (uint32_t)comm->size;
    return start(comm, op);
}

ncclResult_t ncclAllReduce(const void *in, void *out, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, void *stream)
{
    struct op started = {
        .kind = ALL_REDUCE, .in = in, .out = out, .count = count, .stream = (CUstream)stream};
    return start_reduce(comm, started, type, op);
}

ncclResult_t ncclReduceScatter(const void *in, void *out, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, void *stream)
{
    struct op started = {
        .kind = REDUCE_SCATTER, .in = in, .out = out, .count = count, .stream = (CUstream)stream};
    return start_reduce(comm, started, type, op);
}

/* Likewise, of elements that become bytes. */
static ncclResult_t start_share(ncclComm_t comm, struct op op, ncclDataType_t type)
{
    enum mst_dtype dtype;
    if (!find_type(comm, type, &dtype))
        return ncclInvalidArgument;
    op.count *= mst_dtype_size(dtype);
    op.elem_size = 1;
    return start(comm, op);
}

ncclResult_t ncclBroadcast(const void *in, void *out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, void *stream)
{
    struct op op = {.kind = BROADCAST,
                    .in = in,
                    .out = out,
                    .count = count,
                    .root = root,
                    .stream = (CUstream)stream};
    return start_share(comm, op, type);
}

ncclResult_t ncclAllGather(const void *in, void *out, size_t count, ncclDataType_t type,
                           ncclComm_t comm, void *stream)
{
    struct op op = {
        .kind = ALL_GATHER, .in = in, .out = out, .count = count, .stream = (CUstream)stream};
    return start_share(comm, op, type);
}

/* ---- life ------------------------------------------------------------------------------------ */

ncclResult_t ncclGetVersion(int *ret_version)
{
    static atomic_long calls;
    const char *rank = getenv("MST_RANK");
    long step = atomic_fetch_add(&calls, 1) + (rank ? strtol(rank, NULL, 10) : 0);
    *ret_version = (int)(version_of_library() + script("version_step", 0) * step);
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclUnhandledCudaError: return "unhandled cuda error (FAKE NCCL)";
    case ncclRemoteError: return "remote process exited or there was a network error (FAKE NCCL)";
    case ncclTimeout: return "timeout (FAKE NCCL)";
    default: return "some error (FAKE NCCL)";
    }
}

const char *ncclGetLastError(ncclComm_t comm)
{
    return comm && comm->error ? "as scripted" : comm && comm->words ? comm->words : "";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *ret_id)
{
    struct id id = {.magic = MAGIC, .pid = getpid(), .fd = memfd_create("fake-nccl", MFD_CLOEXEC)};
    memset(ret_id, 0, sizeof *ret_id);
    if (script("id", 0) || id.fd < 0 || ftruncate(id.fd, sizeof(struct segment)) < 0)
        return ncclSystemError;
    memcpy(ret_id, &id, sizeof id);
    return ncclSuccess;
}

static struct segment *open_segment(const ncclUniqueId *unique)
{
    struct id id;
    char path[64];
    memcpy(&id, unique, sizeof id);
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", id.pid, id.fd);
    int fd = strcmp(id.magic, MAGIC) == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = fd < 0
                    ? MAP_FAILED
                    : mmap(NULL, sizeof(struct segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return map == MAP_FAILED ? NULL : map;
}

/* What the library's version knows of it. */
static struct nccl_config read_config(const struct nccl_config *config)
{
    struct nccl_config read = {0};
    size_t known = version_of_library() < NCCL_NAME_VERSION ? offsetof(struct nccl_config, min_ctas)
                                                            : sizeof read;
    memcpy(&read, config, config->size < known ? config->size : known);
    return read;
}

static struct {
    pthread_mutex_t lock;
    char text[256];
} last_name = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note_name(const char *name)
{
    pthread_mutex_lock(&last_name.lock);
    (void)snprintf(last_name.text, sizeof last_name.text, "%s", name ? name : "");
    pthread_mutex_unlock(&last_name.lock);
}

/* The name of the communicator that was made or ended last; "" if it had none. */
void fake_nccl_last_name(char *text, size_t cap)
{
    pthread_mutex_lock(&last_name.lock);
    (void)snprintf(text, cap, "%s", last_name.text);
    pthread_mutex_unlock(&last_name.lock);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *ret_comm, int size, ncclUniqueId id, int rank,
                                    struct nccl_config *config)
{
    ncclComm_t comm = calloc(1, sizeof *comm);
    *ret_comm = NULL;
    if (!comm || size > RANKS_MAX || script("init", 0))
        return free(comm), (ncclResult_t)script("init", ncclSystemError);
    struct nccl_config read = read_config(config);
    if (read.magic != NCCL_CONFIG_MAGIC || read.blocking != 0)
        return free(comm), ncclInvalidArgument;
    comm->segment = open_segment(&id);
    if (!comm->segment)
        return free(comm), ncclSystemError;
    if (cuCtxGetCurrent(&comm->context) != CUDA_SUCCESS || !comm->context)
        return munmap(comm->segment, sizeof *comm->segment), free(comm), ncclUnhandledCudaError;
    note_name(read.comm_name);
    comm->name = read.comm_name;
    comm->rank = rank;
    comm->size = size;
    comm->polls = script("inprogress", 0);
    atomic_fetch_add(&comm->segment->joined, 1);
    *ret_comm = comm;
    return ncclInProgress;
}

/* Something is under way: the script's polls, ranks that have not come, or not finished. */
static int is_busy(ncclComm_t comm)
{
    if (comm->polls > 0)
        return comm->polls--, 1;
    return atomic_load(&comm->segment->joined) < comm->size ||
           (comm->finishing && atomic_load(&comm->segment->finishing) < comm->size);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *ret_result)
{
    *ret_result = comm->error ? comm->error : is_busy(comm) ? ncclInProgress : ncclSuccess;
    if (*ret_result == ncclSuccess && comm->starting.kind != NOTHING)
        *ret_result = enqueue(comm);
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    comm->finishing = 1;
    atomic_fetch_add(&comm->segment->finishing, 1);
    return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    note_name(comm->name);
    munmap(comm->segment, sizeof *comm->segment);
    free(comm);
    return ncclSuccess;
}

/* Work that is in a stream sees the abort, and is over before the memory goes. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    while (!script("abort", 1))
        pause();
    atomic_store(&comm->aborted, 1);
    while (atomic_load(&comm->running) > 0)
        sched_yield();
    return ncclCommDestroy(comm);
}
