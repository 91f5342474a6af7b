/* What of the CUDA driver's interface is used: types, numbers and functions as libcuda.so.1 has
 * them, so that building needs no header of NVIDIA's. The _v2 names are what the public ones stand
 * for: that of the uuid since CUDA 11.4, the others since CUDA 4. */
#ifndef MUSTER_GPU_GPU_CUDA_SYM_H
#define MUSTER_GPU_GPU_CUDA_SYM_H

#include <stddef.h>
#include <stdint.h>

typedef int CUresult;
typedef int CUdevice;
typedef uintptr_t CUdeviceptr; /* unsigned long long there: the same register on 64-bit Linux */
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_IMAGE = 200,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CUDA_ERROR_INVALID_PTX = 218,
    CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221,
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
    CUDA_ERROR_JIT_COMPILATION_DISABLED = 223,
    CUDA_ERROR_INVALID_SOURCE = 300,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906,
    CU_STREAM_NON_BLOCKING = 1,
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0,
    CU_STREAM_CAPTURE_MODE_RELAXED = 2,
    CU_STREAM_CAPTURE_STATUS_NONE = 0,
    CU_EVENT_DISABLE_TIMING = 2,
    CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,
    CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9,
    CU_MEMORYTYPE_HOST = 1,
    CU_MEMORYTYPE_DEVICE = 2,
};

/* X(symbol, parameters): one line for each function. */
#define CUDA_FUNCTIONS(X)                                                                          \
    X(cuInit, (unsigned flags))                                                                    \
    X(cuGetErrorString, (CUresult code, const char **ret_text))                                    \
    X(cuDeviceGetCount, (int *ret_count))                                                          \
    X(cuDeviceGet, (CUdevice * ret_device, int ordinal))                                           \
    X(cuDeviceGetUuid_v2, (unsigned char(*ret_uuid)[16], CUdevice device))                         \
    X(cuDeviceGetName, (char *name, int cap, CUdevice device))                                     \
    X(cuDevicePrimaryCtxRetain, (CUcontext * ret_context, CUdevice device))                        \
    X(cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                             \
    X(cuCtxPushCurrent_v2, (CUcontext context))                                                    \
    X(cuCtxPopCurrent_v2, (CUcontext * ret_context))                                               \
    X(cuThreadExchangeStreamCaptureMode, (int *mode))                                              \
    X(cuMemAlloc_v2, (CUdeviceptr * ret_address, size_t bytes))                                    \
    X(cuMemFree_v2, (CUdeviceptr address))                                                         \
    X(cuMemHostAlloc, (void **ret_address, size_t bytes, unsigned flags))                          \
    X(cuMemFreeHost, (void *address))                                                              \
    X(cuMemHostRegister_v2, (void *address, size_t bytes, unsigned flags))                         \
    X(cuMemHostUnregister, (void *address))                                                        \
    X(cuPointerGetAttribute, (void *ret_value, int attribute, CUdeviceptr address))                \
    X(cuMemcpyAsync, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))            \
    X(cuMemsetD8Async, (CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream))       \
    X(cuStreamCreate, (CUstream * ret_stream, unsigned flags))                                     \
    X(cuStreamDestroy_v2, (CUstream stream))                                                       \
    X(cuStreamSynchronize, (CUstream stream))                                                      \
    X(cuStreamQuery, (CUstream stream))                                                            \
    X(cuStreamIsCapturing, (CUstream stream, int *ret_status))                                     \
    X(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))                         \
    X(cuEventCreate, (CUevent * ret_event, unsigned flags))                                        \
    X(cuEventDestroy_v2, (CUevent event))                                                          \
    X(cuEventRecord, (CUevent event, CUstream stream))                                             \
    X(cuEventQuery, (CUevent event))                                                               \
    X(cuModuleLoadData, (CUmodule * ret_module, const void *image))                                \
    X(cuModuleUnload, (CUmodule module))                                                           \
    X(cuModuleGetFunction, (CUfunction * ret_function, CUmodule module, const char *name))         \
    X(cuLaunchKernel, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,     \
                       unsigned block_x, unsigned block_y, unsigned block_z,                       \
                       unsigned shared_bytes, CUstream stream, void **args, void **extra))

#endif
