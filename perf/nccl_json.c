#include "perf/nccl_json.h"

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
        "per_iter_timing", "false", "per_iter_skip", 0, "parallel_init", "false", "devices",
        pack_devices(devices, device_count));
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

int nccl_json_row(json_t *doc, const struct nccl_config *config, const struct nccl_row *row)
{
    char root[16];
    (void)snprintf(root, sizeof(root), "%6d", row->root);
    json_t *packed = json_pack("{s:I, s:I, s:s, s:s, s:s, s:o, s:o, s:I, s:s}", "size",
                               (json_int_t)row->size_bytes, "count", (json_int_t)row->count, "type",
                               row->type, "redop", row->op, "root", root, "out_of_place",
                               pack_timing(&row->out_of_place, row->checked), "in_place",
                               pack_timing(&row->in_place, row->checked), "actual_iterations",
                               (json_int_t)config->iters, "experiment_name", "");
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
