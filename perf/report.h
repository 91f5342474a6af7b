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

struct report_opts {
    const char *json_path; /* NULL = no document; one that exists is kept: ".1", ".2" … is added */
    int argc;              /* for the document */
    char *const *argv;
};

/* Starts the report of `config`. 0; -ENOMEM; codes of open, naming the file. */
int report_open(struct report *report, uint32_t rank, const struct nccl_config *config,
                const struct report_opts *opts, struct mst_err *err);

int report_devices(struct report *report, const struct nccl_device *devices, size_t device_count,
                   struct mst_err *err);

/* Also counts the row into the summary, on every rank. */
int report_row(struct report *report, const struct nccl_row *row, struct mst_err *err);

/* Prints the summary and writes the document. 0; -EIO if stdout or the file did not take it all. */
int report_close(struct report *report, struct mst_err *err);

/* Frees what is left; a document that was not closed is lost. Safe on a zeroed report. */
void report_discard(struct report *report);

#endif
