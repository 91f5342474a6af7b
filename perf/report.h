/* report: where results go. Rank 0 prints them and, if asked, writes the JSON document; on other
 * ranks every call does nothing, so that the benchmark reads the same on all of them.
 *
 *   report_open → report_devices → report_row … → report_close → report_discard
 */
#ifndef MUSTER_PERF_REPORT_H
#define MUSTER_PERF_REPORT_H

#include "muster/perf/nccl_format.h"

#include <jansson.h>
#include <stddef.h>

struct mst_err;

struct report {
    FILE *text;      /* stdout on rank 0, else NULL */
    FILE *json_file; /* NULL = no document */
    json_t *doc;
    struct nccl_config config;
    struct nccl_summary summary;
    double bus_bw_sum;
    uint64_t timing_count;
};

/* Starts the report of `config`. A json_path that exists is not overwritten: ".1", ".2" … is added.
 * 0; -ENOMEM; codes of open, naming the file. */
int report_open(struct report *report, uint32_t rank, const struct nccl_config *config,
                const char *json_path, int argc, char *const *argv, struct mst_err *err);

int report_devices(struct report *report, const struct nccl_device *devices, size_t device_count,
                   struct mst_err *err);

/* Also counts the row into the summary, on every rank. */
int report_row(struct report *report, const struct nccl_row *row, struct mst_err *err);

/* Prints the summary and writes the document. 0; -EIO if stdout or the file did not take it all. */
int report_close(struct report *report, struct mst_err *err);

/* Frees what is left; a document that was not closed is lost. Safe on a zeroed report. */
void report_discard(struct report *report);

#endif
