/* Lines and columns as nccl-tests prints them. */
#include "muster/perf/nccl_format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define VERSION "2.19.6"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const enum mst_dtype types[] = {MST_I32, MST_I64, MST_F16, MST_F32, MST_F64, MST_BF16};
const char *const nccl_type_words[] = {"int32",  "int64",    "half", "float",
                                       "double", "bfloat16", "all",  NULL};
_Static_assert(COUNT(nccl_type_words) == COUNT(types) + 2, "a name each, \"all\" and NULL");

static const enum mst_op ops[] = {MST_SUM, MST_MAX, MST_MIN, MST_AVG};
const char *const nccl_op_words[] = {"sum", "max", "min", "avg", "all", NULL};
_Static_assert(COUNT(nccl_op_words) == COUNT(ops) + 2, "a name each, \"all\" and NULL");

const char *nccl_type_name(enum mst_dtype dtype)
{
    for (size_t i = 0; i < COUNT(types); i++)
        if (types[i] == dtype)
            return nccl_type_words[i];
    return "?";
}

const char *nccl_op_name(enum mst_op op)
{
    for (size_t i = 0; i < COUNT(ops); i++)
        if (ops[i] == op)
            return nccl_op_words[i];
    return "?";
}

int nccl_type_parse(const char *name, enum mst_dtype *ret_dtype)
{
    for (size_t i = 0; i < COUNT(types); i++) {
        if (strcmp(nccl_type_words[i], name) == 0) {
            *ret_dtype = types[i];
            return 0;
        }
    }
    return -EINVAL;
}

int nccl_op_parse(const char *name, enum mst_op *ret_op)
{
    for (size_t i = 0; i < COUNT(ops); i++) {
        if (strcmp(nccl_op_words[i], name) == 0) {
            *ret_op = ops[i];
            return 0;
        }
    }
    return -EINVAL;
}

bool nccl_type_at(size_t index, enum mst_dtype *ret_dtype)
{
    if (index >= COUNT(types))
        return false;
    *ret_dtype = types[index];
    return true;
}

bool nccl_op_at(size_t index, enum mst_op *ret_op)
{
    if (index >= COUNT(ops))
        return false;
    *ret_op = ops[index];
    return true;
}

void nccl_number(double value, int width, char out[NCCL_NUMBER_CAP])
{
    for (int decimals = 2; decimals >= 0; decimals--)
        if (snprintf(out, NCCL_NUMBER_CAP, "%*.*f", width, decimals, value) <= width)
            return;
    (void)snprintf(out, NCCL_NUMBER_CAP, "%*.*e", width, width >= 7 ? 1 : 0, value);
}

void nccl_text_preamble(FILE *out, const struct nccl_config *config)
{
    bool by_factor = config->step_factor > 1;
    fprintf(out, "# nccl-tests version " VERSION " nccl-headers=0 nccl-library=0\n");
    fprintf(out, "# Collective test starting: %s\n", config->program);
    fprintf(out,
            "# nThread 1 nGpus 1 minBytes %" PRIu64 " maxBytes %" PRIu64 " step: %" PRIu64 "(%s) ",
            config->min_bytes, config->max_bytes,
            by_factor ? config->step_factor : config->step_bytes, by_factor ? "factor" : "bytes");
    fprintf(out,
            "warmup iters: %" PRIu64 " iters: %" PRIu64 " agg iters: %" PRIu64
            " validation: %" PRIu64 " graph: 0 unalign: 0\n",
            config->warmup_iters, config->iters, config->agg_iters, config->check_iters);
    if (config->per_iter)
        fprintf(out, "# Per-Iteration Report: host clock; i_* uses max over process rows \n");
    fprintf(out, "#\n# Using devices\n");
}

void nccl_text_device(FILE *out, const struct nccl_device *device)
{
    fprintf(out, "#  Rank %2d Group %2d Pid %6d on %10s device %2d [0000:00:00] %s\n", device->rank,
            0, device->pid, device->host, device->device, device->info);
}

static void text_titles(FILE *out, bool per_iter, const char *const left[5],
                        const char *const half[4], const char *const iters[4])
{
    fprintf(out, "# %10s  %12s  %8s  %6s  %6s", left[0], left[1], left[2], left[3], left[4]);
    for (int place = 0; place < 2; place++) {
        fprintf(out, "  %7s  %6s  %6s  %6s", half[0], half[1], half[2], half[3]);
        if (per_iter)
            fprintf(out, "  %7s  %7s  %7s  %7s", iters[0], iters[1], iters[2], iters[3]);
    }
    fprintf(out, " \n");
}

void nccl_text_header(FILE *out, const struct nccl_config *config)
{
    static const char *const left[2][5] = {{"size", "count", "type", "redop", "root"},
                                           {"(B)", "(elements)", "", "", ""}};
    static const char *const half[2][4] = {{"time", "algbw", "busbw", "#wrong"},
                                           {"(us)", "(GB/s)", "(GB/s)", ""}};
    static const char *const iters[2][4] = {{"i_min", "i_max", "i_p99", "i_cv%"},
                                            {"(us)", "(us)", "(us)", "(%)"}};
    fprintf(out, "#\n# %52s%s\n", "",
            config->per_iter
                ? "            out-of-place (+ per-iteration)                                "
                  "in-place (+ per-iteration)"
                : "         out-of-place                       in-place          ");
    for (int line = 0; line < 2; line++)
        text_titles(out, config->per_iter, left[line], half[line], iters[line]);
}

static void text_iters(FILE *out, const struct nccl_iters *iters)
{
    double values[] = {iters->min_us, iters->max_us, iters->p99_us, iters->cv_pct};
    for (size_t i = 0; i < COUNT(values); i++) {
        char text[NCCL_NUMBER_CAP];
        nccl_number(values[i], 7, text);
        fprintf(out, "  %7s", text);
    }
}

static void text_timing(FILE *out, const struct nccl_timing *timing, bool checked)
{
    char time[NCCL_NUMBER_CAP], alg_bw[NCCL_NUMBER_CAP], bus_bw[NCCL_NUMBER_CAP];
    nccl_number(timing->time_us, 7, time);
    nccl_number(timing->alg_bw, 6, alg_bw);
    nccl_number(timing->bus_bw, 6, bus_bw);
    fprintf(out, "  %7s  %6s  %6s", time, alg_bw, bus_bw);
    if (checked)
        fprintf(out, "  %6g", (double)timing->wrong_count);
    else
        fprintf(out, "    N/A");
    if (timing->iters)
        text_iters(out, timing->iters);
}

void nccl_text_row(FILE *out, const struct nccl_row *row)
{
    fprintf(out, "%12" PRIu64 "  %12" PRIu64 "  %8s  %6s  %6d", row->size_bytes, row->count,
            row->type, row->op, row->root);
    text_timing(out, &row->out_of_place, row->checked);
    text_timing(out, &row->in_place, row->checked);
    fprintf(out, "\n");
}

void nccl_text_footer(FILE *out, const struct nccl_config *config,
                      const struct nccl_summary *summary)
{
    fprintf(out, "# %-20s : %" PRIu64 " %s\n", "Out of bounds values", summary->wrong_row_count,
            summary->wrong_row_count > 0 ? "FAILED" : "OK");
    fprintf(out, "# %-20s : %g \n", "Avg bus bandwidth", summary->bus_bw);
    fprintf(out, "#\n# Collective test concluded: %s\n#\n\n", config->program);
}
