/* nccl_json: the same results as the JSON document, version 3, of nccl-tests 2.19.6.
 *
 *   doc = nccl_json_start(argc, argv, time) → nccl_json_config → nccl_json_row … →
 *   nccl_json_finish(doc, …) → json_dumpf → json_decref
 *
 * As there, truth values are the strings "true" and "false". `env` stays empty: an environment may
 * hold secrets, and result files get passed around. Times are "YYYY-MM-DD HH:MM:SS". Functions that
 * add to a document return 0 or -ENOMEM. */
#ifndef MUSTER_PERF_NCCL_JSON_H
#define MUSTER_PERF_NCCL_JSON_H

#include "muster/perf/nccl_format.h"

#include <jansson.h>

/* The caller owns the document. NULL if memory is used up. */
json_t *nccl_json_start(int argc, char *const *argv, const char *start_time);

/* Before the first row. */
int nccl_json_config(json_t *doc, const struct nccl_config *config,
                     const struct nccl_device *devices, size_t device_count);

int nccl_json_row(json_t *doc, const struct nccl_config *config, const struct nccl_row *row);

/* After the last row. */
int nccl_json_finish(json_t *doc, const struct nccl_summary *summary, const char *end_time);

#endif
