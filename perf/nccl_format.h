/* nccl_format: results as text, byte for byte as nccl-tests 2.19.6 prints them, so that whatever
 * reads those tables reads ours.
 *
 *   nccl_text_preamble → nccl_text_device, one per rank → nccl_text_header → nccl_text_row … →
 *   nccl_text_footer
 *
 * What the host back end does not have is printed as zero: the NCCL versions, the PCI address. All
 * functions write to a stdio stream and leave its error state to the caller. */
#ifndef MUSTER_PERF_NCCL_FORMAT_H
#define MUSTER_PERF_NCCL_FORMAT_H

#include "muster/comm/comm.h"
#include "muster/core/dtype.h"
#include "muster/perf/nccl_iters.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct nccl_config {
    const char *program; /* "all_reduce_perf" */
    uint64_t min_bytes, max_bytes;
    uint64_t step_factor; /* sizes are multiplied by it; 1 = they grow by step_bytes */
    uint64_t step_bytes;
    uint64_t iters, agg_iters, warmup_iters, check_iters;
    bool per_iter; /* rows also tell how their iterations spread */
};

/* Fixed size and no pointers: ranks send theirs to rank 0. */
struct nccl_device {
    int32_t rank;
    int32_t pid;
    int32_t device; /* index on its node */
    char host[64];
    char info[32]; /* "cpu" */
};

/* One half of a row: in or out of place. */
struct nccl_timing {
    double time_us;
    double alg_bw, bus_bw;          /* GB/s, 10^9 bytes */
    uint64_t wrong_count;           /* elements, all ranks */
    const struct nccl_iters *iters; /* NULL unless config.per_iter */
};

struct nccl_row {
    uint64_t size_bytes, count;
    const char *type, *op; /* op is "none" where nothing is reduced */
    int root;              /* -1 where there is none */
    bool checked;          /* false prints N/A for #wrong */
    struct nccl_timing out_of_place, in_place;
};

struct nccl_summary {
    uint64_t wrong_row_count; /* halves of rows with a wrong element */
    double bus_bw;            /* mean over all halves */
};

/* nccl-tests' names of types and operations, in its order, then "all" and NULL. */
extern const char *const nccl_type_words[], *const nccl_op_words[];

/* The name of one. 0, or -EINVAL if the host back end has none of that name ("all" is none). */
const char *nccl_type_name(enum mst_dtype dtype);
const char *nccl_op_name(enum mst_op op);
int nccl_type_parse(const char *name, enum mst_dtype *ret_dtype);
int nccl_op_parse(const char *name, enum mst_op *ret_op);

/* Type or operation number `index`, 0 … in nccl-tests' order. Returns false after the last. */
bool nccl_type_at(size_t index, enum mst_dtype *ret_dtype);
bool nccl_op_at(size_t index, enum mst_op *ret_op);

#define NCCL_NUMBER_CAP 16

/* `value` in at most `width` (6 or 7) columns: two decimals, one, none, else an exponent. */
void nccl_number(double value, int width, char out[NCCL_NUMBER_CAP]);

void nccl_text_preamble(FILE *out, const struct nccl_config *config);
void nccl_text_device(FILE *out, const struct nccl_device *device);
void nccl_text_header(FILE *out, const struct nccl_config *config);
void nccl_text_row(FILE *out, const struct nccl_row *row);
void nccl_text_footer(FILE *out, const struct nccl_config *config,
                      const struct nccl_summary *summary);

#endif
