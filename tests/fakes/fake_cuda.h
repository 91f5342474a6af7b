/* FAKE. What the fake driver tells the fake NCCL. */
#ifndef MUSTER_TESTS_FAKES_FAKE_CUDA_H
#define MUSTER_TESTS_FAKES_FAKE_CUDA_H

#include "muster/gpu/gpu_cuda_sym.h"

#include <stdbool.h>

#define CU_STREAM_LEGACY ((CUstream)1) /* the default stream, as NULL */

/* Where the bytes of a device or pinned address are; NULL for ordinary memory. */
void *fake_cuda_bytes(const void *address);

/* The n-th from now on of the calls that may fail answers `code`, and if `sticky` so do all after
 * it, as those of a device that is lost; 0: none does. */
void fake_cuda_fail_call(long n, CUresult code, bool sticky);

/* Whether it has come to that. */
bool fake_cuda_has_failed(void);

/* How many allocations there are, and how many pieces of registered memory. */
size_t fake_cuda_block_count(void);

/* The next query of the stream, or of a mark that it has not come to, runs the function before it
 * looks. */
void fake_cuda_at_query(CUstream stream, void (*function)(void *arg), void *arg);

/* How many events there have been. */
long fake_cuda_events_made(void);

/* Whether the stream is being captured. */
bool fake_cuda_is_captured(CUstream stream);

/* As the driver's own. */
CUresult cuLaunchHostFunc(CUstream stream, void (*function)(void *arg), void *arg);
CUresult cuStreamSynchronize(CUstream stream);
CUresult cuCtxGetCurrent(CUcontext *ret_context);
CUresult cuCtxPushCurrent_v2(CUcontext context);
CUresult cuCtxPopCurrent_v2(CUcontext *ret_context);

#endif
