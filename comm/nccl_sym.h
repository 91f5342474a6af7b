/* What of NCCL is used: types, numbers and functions as libnccl.so.2 has them since 2.14, so that
 * building needs no header of NVIDIA's; and the library, found at run time. */
#ifndef MUSTER_COMM_NCCL_SYM_H
#define MUSTER_COMM_NCCL_SYM_H

#include <stddef.h>
#include <stdint.h>

struct mst_err;

#define NCCL_ID_BYTES 128
#define NCCL_F8_VERSION 22400 /* the first that reduces 8-bit floats */

typedef struct ncclComm *ncclComm_t;
typedef struct {
    char bytes[NCCL_ID_BYTES];
} ncclUniqueId; /* passed by value */

typedef int ncclResult_t;
enum {
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1,
    ncclSystemError = 2,
    ncclInternalError = 3,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7,
    ncclTimeout = 8, /* since 2.30; no earlier one answers 8 */
};

typedef int ncclDataType_t;
enum {
    ncclInt8 = 0,
    ncclUint8 = 1,
    ncclInt32 = 2,
    ncclUint32 = 3,
    ncclInt64 = 4,
    ncclUint64 = 5,
    ncclFloat16 = 6,
    ncclFloat32 = 7,
    ncclFloat64 = 8,
    ncclBfloat16 = 9,
    ncclFloat8e4m3 = 10, /* these since NCCL_F8_VERSION */
    ncclFloat8e5m2 = 11,
};

typedef int ncclRedOp_t;
enum { ncclSum = 0, ncclMax = 2, ncclMin = 3, ncclAvg = 4 };

/* As of 2.27. It only grows at its end, and the library fills in what our `size` and `version` do
 * not know. A library before 2.27 is given the part of 2.14, which all of them have. */
struct nccl_config {
    size_t size;
    unsigned magic, version;
    int blocking;
    int cga_cluster_size; /* from here on since 2.17; in 2.14 these bytes are padding */
    int min_ctas, max_ctas;
    const char *net_name;
    int split_share, traffic_class;
    const char *comm_name; /* since 2.27, as what follows; the library keeps the pointer */
    int collnet_enable, cta_policy, shrink_share, nvls_ctas;
};

#define NCCL_CONFIG_MAGIC 0xcafebeef
#define NCCL_CONFIG_UNSET INT32_MIN
#define NCCL_NAME_VERSION 22700 /* the first whose communicators have names */

/* X(symbol, parameters): one line for each function that answers ncclResult_t. A stream is the
 * driver's CUstream. */
#define NCCL_FUNCTIONS(X)                                                                          \
    X(ncclGetVersion, (int *ret_version))                                                          \
    X(ncclGetUniqueId, (ncclUniqueId * ret_id))                                                    \
    X(ncclCommInitRankConfig,                                                                      \
      (ncclComm_t * ret_comm, int size, ncclUniqueId id, int rank, struct nccl_config *config))    \
    X(ncclCommGetAsyncError, (ncclComm_t comm, ncclResult_t * ret_result))                         \
    X(ncclCommFinalize, (ncclComm_t comm))                                                         \
    X(ncclCommDestroy, (ncclComm_t comm))                                                          \
    X(ncclCommAbort, (ncclComm_t comm))                                                            \
    X(ncclAllReduce, (const void *in, void *out, size_t count, ncclDataType_t type,                \
                      ncclRedOp_t op, ncclComm_t comm, void *stream))                              \
    X(ncclBroadcast, (const void *in, void *out, size_t count, ncclDataType_t type, int root,      \
                      ncclComm_t comm, void *stream))                                              \
    X(ncclAllGather, (const void *in, void *out, size_t count, ncclDataType_t type,                \
                      ncclComm_t comm, void *stream))                                              \
    X(ncclReduceScatter, (const void *in, void *out, size_t count, ncclDataType_t type,            \
                          ncclRedOp_t op, ncclComm_t comm, void *stream))

struct nccl_library {
#define X(symbol, parameters) ncclResult_t(*symbol) parameters;
    NCCL_FUNCTIONS(X)
#undef X
    const char *(*ncclGetErrorString)(ncclResult_t result);
    const char *(*ncclGetLastError)(ncclComm_t comm); /* comm may be NULL */
};

/* Loads `path`, or libnccl.so.2 if it is empty, once per process; it stays. 0; -ENOTSUP with what
 * the dynamic linker says, or what is missing in it. Safe from any thread. */
int nccl_load(const char *path, const struct nccl_library **ret_library, struct mst_err *err);

/* How a communicator of ours is made by a library of this version: it blocks nobody, and is called
 * `name`, if it can be, which stays the caller's until the communicator has ended. */
struct nccl_config nccl_config_of(uint32_t version, const char *name);

/* The library's number as people write it: "2.28.9". Returns `text`, cut if it does not fit. */
const char *nccl_version_text(uint32_t version, char *text, size_t cap);

#define NCCL_VERSION_TEXT_MAX 32 /* room for any */

#endif
