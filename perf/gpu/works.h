/* works: every kernel of gpu/, as work on four buffers that a device and the host's twin do alike.
 */
#ifndef MUSTER_PERF_GPU_WORKS_H
#define MUSTER_PERF_GPU_WORKS_H

#include "muster/core/dtype.h"
#include "muster/perf/gpu/rig.h"

#define WORKS_BUFFERS 4

/* Buffers of `count` f32 each, or what a work takes for it. */
struct works_view {
    char *at[WORKS_BUFFERS];
    size_t count;
};

struct work {
    const char *name;
    int (*put)(struct rig *rig, const struct works_view *view);
    enum mst_dtype dtypes[WORKS_BUFFERS]; /* of what a buffer holds afterwards */
    double moved;                         /* bytes read and written for each of `count` */
    bool is_crc;                          /* its limit is a copy to the host, not on the device */
};

extern const struct work works[];
extern const size_t works_count;

#endif
