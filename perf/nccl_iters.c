/* How the times of single iterations spread. */
#include "muster/perf/nccl_iters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void slowest_ranks(const struct nccl_iters *iters, double *times_us)
{
    for (size_t i = 0; i < iters->iter_count; i++) {
        times_us[i] = 0;
        for (uint32_t rank = 0; rank < iters->rank_count; rank++)
            times_us[i] = fmax(times_us[i], iters->rank_us[rank * iters->iter_count + i]);
    }
}

static double percentile(const double *sorted, size_t count, size_t percent)
{
    size_t rank = (count * percent + 99) / 100;
    return sorted[rank - 1];
}

static void set_moments(struct nccl_iters *iters)
{
    double sum = 0, squares = 0, count = (double)iters->iter_count;
    for (size_t i = 0; i < iters->iter_count; i++)
        sum += iters->times_us[i];
    iters->avg_us = sum / count;
    for (size_t i = 0; i < iters->iter_count; i++)
        squares += (iters->times_us[i] - iters->avg_us) * (iters->times_us[i] - iters->avg_us);
    iters->stdev_us = sqrt(squares / count);
    iters->cv_pct = iters->avg_us > 0 ? iters->stdev_us / iters->avg_us * 100 : 0;
}

void nccl_iters_summarise(struct nccl_iters *iters, double *times_us, double *scratch)
{
    size_t count = iters->iter_count;
    slowest_ranks(iters, times_us);
    iters->times_us = times_us;
    memcpy(scratch, times_us, count * sizeof(*scratch));
    qsort(scratch, count, sizeof(*scratch), compare);
    iters->min_us = scratch[0];
    iters->max_us = scratch[count - 1];
    iters->p50_us = scratch[count / 2];
    iters->p95_us = percentile(scratch, count, 95);
    iters->p99_us = percentile(scratch, count, 99);
    set_moments(iters);
}
