/* The document of nccl-tests, by jansson. */
#include "muster/perf/nccl_json.h"

#include <errno.h>

#define FORMAT_VERSION 3

json_t *nccl_json_start(int argc, char *const *argv, const char *start_time)
{
    json_t *args = json_array();
    for (int i = 0; i < argc; i++)
        if (json_array_append_new(args, json_string(argv[i])) != 0)
            goto fail;
    return json_pack("{s:i, s:s, s:o, s:[], s:i}", "version", FORMAT_VERSION, "start_time",
                     start_time, "args", args, "env", "nccl_version", 0);
fail:
    json_decref(args);
    return NULL;
}

static json_t *pack_device(const struct nccl_device *device)
{
    return json_pack("{s:i, s:i, s:i, s:s, s:i, s:s, s:s}", "rank", device->rank, "group", 0, "pid",
                     device->pid, "hostname", device->host, "device", device->device, "device_hex",
                     "0000:00:00", "device_info", device->info);
}

static json_t *pack_devices(const struct nccl_device *devices, size_t device_count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < device_count; i++) {
        if (json_array_append_new(list, pack_device(&devices[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

int nccl_json_config(json_t *doc, const struct nccl_config *config,
                     const struct nccl_device *devices, size_t device_count)
{
    bool by_factor = config->step_factor > 1;
    json_t *packed = json_pack(
        "{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:s, s:s, s:i, s:s, s:o}", "nthreads",
        1, "ngpus", 1, "minimum_bytes", (json_int_t)config->min_bytes, "maximum_bytes",
        (json_int_t)config->max_bytes, by_factor ? "step_factor" : "step_bytes",
        (json_int_t)(by_factor ? config->step_factor : config->step_bytes), "warmup_iters",
        (json_int_t)config->warmup_iters, "iterations", (json_int_t)config->iters,
        "aggregated_iterations", (json_int_t)config->agg_iters, "validation",
        (json_int_t)config->check_iters, "graph", 0, "blocking_collectives", "false",
        "per_iter_timing", config->per_iter ? "true" : "false", "per_iter_skip", 0, "parallel_init",
        "false", "devices", pack_devices(devices, device_count));
    int rc = json_object_set_new(doc, "config", packed);
    if (rc == 0)
        rc = json_object_set_new(doc, "results", json_array());
    return rc == 0 ? 0 : -ENOMEM;
}

static json_t *pack_timing(const struct nccl_timing *timing, bool checked)
{
    json_t *wrong = checked ? json_real((double)timing->wrong_count) : json_null();
    return json_pack("{s:f, s:f, s:f, s:o}", "time", timing->time_us, "alg_bw", timing->alg_bw,
                     "bus_bw", timing->bus_bw, "nwrong", wrong);
}

static json_t *pack_times(const double *times_us, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(list, json_real(times_us[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *pack_ranks(const struct nccl_iters *iters)
{
    json_t *list = json_array();
    for (uint32_t rank = 0; rank < iters->rank_count; rank++) {
        const double *times_us = iters->rank_us + rank * iters->iter_count;
        if (json_array_append_new(list, pack_times(times_us, iters->iter_count)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *pack_iters(const struct nccl_iters *iters)
{
    json_t *packed = json_pack(
        "{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "skipped_iterations", 0, "min_us",
        iters->min_us, "max_us", iters->max_us, "avg_us", iters->avg_us, "p50_us", iters->p50_us,
        "p95_us", iters->p95_us, "p99_us", iters->p99_us, "stdev_us", iters->stdev_us, "cv_pct",
        iters->cv_pct, "times_us", pack_times(iters->times_us, iters->iter_count));
    if (iters->rank_count > 1 &&
        json_object_set_new(packed, "per_process_max_times_us", pack_ranks(iters)) != 0) {
        json_decref(packed);
        return NULL;
    }
    return packed;
}

/* Adds one half of a row, `key` of it, and how its iterations spread. */
static int set_timing(json_t *packed, const char *key, const struct nccl_timing *timing,
                      bool checked)
{
    char iters_key[32];
    if (json_object_set_new(packed, key, pack_timing(timing, checked)) != 0)
        return -ENOMEM;
    if (!timing->iters)
        return 0;
    (void)snprintf(iters_key, sizeof(iters_key), "%s_per_iter", key);
    return json_object_set_new(packed, iters_key, pack_iters(timing->iters)) == 0 ? 0 : -ENOMEM;
}

int nccl_json_row(json_t *doc, const struct nccl_config *config, const struct nccl_row *row)
{
    char root[16];
    (void)snprintf(root, sizeof(root), "%6d", row->root);
    json_t *packed = json_pack("{s:I, s:I, s:s, s:s, s:s}", "size", (json_int_t)row->size_bytes,
                               "count", (json_int_t)row->count, "type", row->type, "redop", row->op,
                               "root", root);
    int rc = set_timing(packed, "out_of_place", &row->out_of_place, row->checked);
    rc |= set_timing(packed, "in_place", &row->in_place, row->checked);
    rc |= json_object_set_new(packed, "actual_iterations", json_integer((json_int_t)config->iters));
    rc |= json_object_set_new(packed, "experiment_name", json_string(""));
    if (rc != 0) {
        json_decref(packed);
        return -ENOMEM;
    }
    return json_array_append_new(json_object_get(doc, "results"), packed) == 0 ? 0 : -ENOMEM;
}

int nccl_json_finish(json_t *doc, const struct nccl_summary *summary, const char *end_time)
{
    json_t *bounds = json_pack("{s:I, s:s}", "count", (json_int_t)summary->wrong_row_count, "okay",
                               summary->wrong_row_count == 0 ? "true" : "false");
    json_t *bandwidth = json_pack("{s:f, s:s}", "bandwidth", summary->bus_bw, "okay", "unchecked");
    int rc = json_object_set_new(doc, "out_of_bounds", bounds);
    rc |= json_object_set_new(doc, "average_bus_bandwidth", bandwidth);
    rc |= json_object_set_new(doc, "errors", json_array());
    rc |= json_object_set_new(doc, "end_time", json_string(end_time));
    return rc == 0 ? 0 : -ENOMEM;
}
