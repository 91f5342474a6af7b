/* rig: a device with one queue and one event, and the time that its work takes. */
#ifndef MUSTER_PERF_GPU_RIG_H
#define MUSTER_PERF_GPU_RIG_H

#include "muster/core/err.h"
#include "muster/gpu/gpu.h"

struct rig {
    struct mst_gpu *gpu;
    struct mst_gpu_queue *queue;
    struct mst_gpu_event *event;
};

/* 0; with text the codes of mst_gpu_open, or those of the queue and the event. */
int rig_open(struct rig *rig, const char *backend, struct mst_err *err);

/* Of one that was opened, or all 0s. */
void rig_close(struct rig *rig);

/* Why the last call failed. */
const char *rig_error(const struct rig *rig);

/* Whether the call that answered `rc` lacked kernels because this build has none: nothing is wrong
 * with the device. */
bool rig_lacks_kernels(const struct rig *rig, int rc);

/* Waits for what the queue holds, a minute at most. 0; -ETIMEDOUT; -EIO. */
int rig_wait(struct rig *rig);

/* A copy, waited for. 0; the codes of mst_gpu_copy and rig_wait. */
int rig_copy(struct rig *rig, void *to, const void *from, size_t size_bytes);

/* Puts one piece of work into the queue. 0; -E. */
typedef int (*rig_fn)(struct rig *rig, const void *arg);

/* Seconds that one of `repeats` pieces takes, put in back to back after one that does not count; 0
 * if the device failed. */
double rig_seconds(struct rig *rig, rig_fn put, const void *arg, int repeats);

/* Puts them in order, and returns the one in the middle. */
double rig_median(double *values, size_t count);

#endif
