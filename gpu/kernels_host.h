/* The kernels' source as host code. */
#ifndef MUSTER_GPU_KERNELS_HOST_H
#define MUSTER_GPU_KERNELS_HOST_H

#include "muster/gpu/kernels.h"

/* Runs a launch to its end, thread by thread, in blocks of `threads` >= 1. Safe from any thread. */
void kernels_run(const struct kernel_launch *launch, uint32_t threads);

#endif
