/* Text on standard output, and the document beside it. */
#include "muster/perf/report.h"

#include "muster/core/err.h"
#include "muster/perf/nccl_json.h"

#include <errno.h>
#include <time.h>

#define PATH_CAP 4096
#define PATH_TRIES 1000

static void format_now(char *out, size_t cap)
{
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    out[strftime(out, cap, "%Y-%m-%d %H:%M:%S", &local)] = '\0';
}

/* "x" makes the open exclusive: results of an earlier run are never lost. */
static int create_new(const char *path, FILE **ret_file, struct mst_err *err)
{
    char name[PATH_CAP];
    (void)snprintf(name, sizeof(name), "%s", path);
    for (int i = 1; i < PATH_TRIES; i++) {
        FILE *file = fopen(name, "wxe");
        if (file) {
            printf("# Writing JSON output to %s\n", name);
            *ret_file = file;
            return 0;
        }
        if (errno != EEXIST)
            break;
        (void)snprintf(name, sizeof(name), "%s.%d", path, i);
    }
    return mst_err_set(err, -errno, "--output_file %s: %s", name, mst_err_meaning(errno));
}

static int start_document(struct report *report, const struct report_opts *opts,
                          struct mst_err *err)
{
    int rc = create_new(opts->json_path, &report->json_file, err);
    if (rc < 0)
        return rc;
    char now[32];
    format_now(now, sizeof(now));
    report->doc = nccl_json_start(opts->argc, opts->argv, now);
    return report->doc
               ? 0
               : mst_err_set(err, -ENOMEM, "%s: no memory for the document", opts->json_path);
}

int report_open(struct report *report, uint32_t rank, const struct nccl_config *config,
                const struct report_opts *opts, struct mst_err *err)
{
    *report = (struct report){.text = rank == 0 ? stdout : NULL, .config = *config};
    if (!report->text)
        return 0;
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* else lines come later, and no worse */
    return opts->json_path ? start_document(report, opts, err) : 0;
}

int report_devices(struct report *report, const struct nccl_device *devices, size_t device_count,
                   struct mst_err *err)
{
    if (!report->text)
        return 0;
    nccl_text_preamble(report->text, &report->config);
    for (size_t i = 0; i < device_count; i++)
        nccl_text_device(report->text, &devices[i]);
    nccl_text_header(report->text, &report->config);
    if (report->doc && nccl_json_config(report->doc, &report->config, devices, device_count) < 0)
        return mst_err_set(err, -ENOMEM, "no memory for the JSON document");
    return 0;
}

static void count_timing(struct report *report, const struct nccl_timing *timing)
{
    report->bus_bw_sum += timing->bus_bw;
    report->timing_count++;
    report->summary.wrong_row_count += timing->wrong_count > 0;
    report->summary.bus_bw = report->bus_bw_sum / (double)report->timing_count;
}

int report_row(struct report *report, const struct nccl_row *row, struct mst_err *err)
{
    count_timing(report, &row->out_of_place);
    count_timing(report, &row->in_place);
    if (report->text)
        nccl_text_row(report->text, row);
    if (report->doc && nccl_json_row(report->doc, &report->config, row) < 0)
        return mst_err_set(err, -ENOMEM, "no memory for the JSON document");
    return 0;
}

static int write_document(struct report *report, struct mst_err *err)
{
    char now[32];
    format_now(now, sizeof(now));
    if (nccl_json_finish(report->doc, &report->summary, now) < 0)
        return mst_err_set(err, -ENOMEM, "no memory for the JSON document");
    int rc = json_dumpf(report->doc, report->json_file, JSON_COMPACT);
    rc |= fclose(report->json_file);
    report->json_file = NULL;
    return rc == 0 ? 0
                   : mst_err_set(err, -EIO, "the JSON file was not written: %s",
                                 mst_err_meaning(errno));
}

int report_close(struct report *report, struct mst_err *err)
{
    if (!report->text)
        return 0;
    nccl_text_footer(report->text, &report->config, &report->summary);
    if (fflush(report->text) != 0 || ferror(report->text))
        return mst_err_set(err, -EIO, "standard output did not take the results");
    return report->doc ? write_document(report, err) : 0;
}

void report_discard(struct report *report)
{
    json_decref(report->doc);
    if (report->json_file)
        (void)fclose(report->json_file); /* the error that brought us here is the one to tell */
    *report = (struct report){0};
}
