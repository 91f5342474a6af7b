#include "muster/perf/gpu/rig.h"

#include "muster/core/clock.h"
#include "muster/perf/drivers/stopwatch.h"

#include <errno.h>
#include <stdlib.h>

#define WAIT_MS 60000

int rig_open(struct rig *rig, const char *backend, struct mst_err *err)
{
    *rig = (struct rig){0};
    int rc = mst_gpu_open(&(struct mst_gpu_opts){.backend = backend}, &rig->gpu, err);
    if (rc < 0)
        return rc;
    rc = mst_gpu_queue_create(rig->gpu, &rig->queue);
    if (rc == 0)
        rc = mst_gpu_event_create(rig->gpu, &rig->event);
    if (rc < 0) {
        rc = mst_err_set(err, rc, "%s", rig_error(rig));
        rig_close(rig);
    }
    return rc;
}

void rig_close(struct rig *rig)
{
    mst_gpu_event_destroy(rig->event);
    mst_gpu_queue_destroy(rig->queue);
    mst_gpu_close(rig->gpu);
    *rig = (struct rig){0};
}

const char *rig_error(const struct rig *rig)
{
    const char *words = mst_gpu_error(rig->gpu);
    return words[0] ? words : "without a word of the driver";
}

bool rig_lacks_kernels(const struct rig *rig, int rc)
{
    return rc == -ENOTSUP && mst_gpu_error(rig->gpu)[0] == '\0';
}

int rig_wait(struct rig *rig)
{
    int rc = mst_gpu_event_record(rig->event, rig->queue);
    return rc == 0 ? mst_gpu_event_wait(rig->event, mst_deadline_ms(WAIT_MS)) : rc;
}

int rig_copy(struct rig *rig, void *to, const void *from, size_t size_bytes)
{
    int rc = mst_gpu_copy(rig->queue, to, from, size_bytes);
    return rc == 0 ? rig_wait(rig) : rc;
}

double rig_seconds(struct rig *rig, rig_fn put, const void *arg, int repeats)
{
    int rc = put(rig, arg);
    if (rc < 0 || rig_wait(rig) < 0)
        return 0;
    double began_s = stopwatch_s();
    for (int i = 0; i < repeats && rc == 0; i++)
        rc = put(rig, arg);
    return rc == 0 && rig_wait(rig) == 0 ? (stopwatch_s() - began_s) / repeats : 0;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double rig_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}
