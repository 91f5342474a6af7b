/* The kernels as nvcc built them, inside the library. */
#ifndef MUSTER_GPU_FATBIN_H
#define MUSTER_GPU_FATBIN_H

/* For cuModuleLoadData; NULL in a build that had no CUDA toolkit. */
extern const void *const gpu_fatbin;

#endif
