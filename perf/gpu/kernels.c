/* kernels: every kernel on the device beside its twin on the host, bit by bit, and beside a copy of
 * the same run, in bytes read and written.
 *
 *   kernels COUNT BYTES     on COUNT elements, half of them random; timed on buffers of BYTES, or
 *                           not at all if that is 0 */
#include "muster/core/least.h"
#include "muster/core/rng.h"
#include "muster/perf/gpu/row.h"
#include "muster/perf/gpu/works.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 7
#define REPEATS 20
#define COPY_WANTED 0.9
#define CRC_WANTED 4
#define ODD_COUNT 4099 /* beside a quad, and at an address that none fits */

struct side {
    struct rig rig;
    struct mst_span spans[WORKS_BUFFERS];
};

static struct {
    struct side device, host;
    size_t count, bytes;                 /* elements that are compared; of a buffer that is timed */
    struct mst_span fill[WORKS_BUFFERS]; /* what the buffers hold before, pinned */
    struct mst_span got, expected;       /* pinned, and of the host's memory */
} all;

/* ---- data ------------------------------------------------------------------------------------ */

/* At first every value of 16 bits, with what is just below and above the middle to the next one;
 * then any bits, and numbers that are near one another. */
static uint32_t bits_of(size_t i, struct mst_rng *rng)
{
    static const uint32_t low[] = {0, 0x7fff, 0x8000, 0x8001};
    uint32_t any = mst_rng_next(rng);
    if (i < 4 * 65536)
        return (uint32_t)(i / 4) << 16 | low[i % 4];
    return i % 2 ? any : (any & 0x807fffff) | (120 + any % 16) << 23;
}

static void fill(uint32_t *words, size_t count, uint64_t stream)
{
    struct mst_rng rng;
    mst_rng_init(&rng, 2026, stream);
    for (size_t i = 0; i < count; i++)
        words[i] = bits_of((i + stream * 77777) % count, &rng);
}

static bool is_nan(const void *values, size_t i, enum mst_dtype dtype)
{
    switch (dtype) {
    case MST_F32: return (((const uint32_t *)values)[i] & 0x7fffffff) > 0x7f800000;
    case MST_F16: return (((const uint16_t *)values)[i] & 0x7fff) > 0x7c00;
    case MST_BF16: return (((const uint16_t *)values)[i] & 0x7fff) > 0x7f80;
    case MST_F8E4M3: return (((const uint8_t *)values)[i] & 0x7f) > 0x7e;
    case MST_F8E5M2: return (((const uint8_t *)values)[i] & 0x7f) > 0x7c;
    default: return false;
    }
}

/* How many of the values differ; any NaN is any other. */
static size_t count_different(const char *got, const char *expected, size_t bytes,
                              enum mst_dtype dtype)
{
    size_t size = mst_dtype_size(dtype), different = 0;
    for (size_t i = 0; i < bytes / size; i++)
        different += memcmp(got + i * size, expected + i * size, size) != 0 &&
                     !(is_nan(got, i, dtype) && is_nan(expected, i, dtype));
    return different;
}

/* ---- bits ------------------------------------------------------------------------------------ */

static size_t compared_bytes(void)
{
    return all.count * sizeof(uint32_t);
}

static int run(struct side *side, const struct work *work, size_t count, size_t skipped)
{
    struct works_view view = {.count = count};
    int rc = 0;
    for (size_t b = 0; b < WORKS_BUFFERS && rc == 0; b++) {
        view.at[b] = (char *)side->spans[b].data + skipped * sizeof(float);
        rc = rig_copy(&side->rig, side->spans[b].data, all.fill[b].data, compared_bytes());
    }
    if (rc == 0)
        rc = work->put(&side->rig, &view);
    return rc == 0 ? rig_wait(&side->rig) : rc;
}

/* Whole buffers are compared: what must stay as it was counts, too. */
static int compare(const struct work *work, size_t *ret_different)
{
    for (size_t b = 0; b < WORKS_BUFFERS; b++) {
        int rc = rig_copy(&all.device.rig, all.got.data, all.device.spans[b].data,
                          compared_bytes());
        if (rc == 0)
            rc = rig_copy(&all.host.rig, all.expected.data, all.host.spans[b].data,
                          compared_bytes());
        if (rc < 0)
            return rc;
        *ret_different += count_different(all.got.data, all.expected.data, compared_bytes(),
                                          work->dtypes[b]);
    }
    return 0;
}

static void check_bits(const struct work *work, struct row *row, char *words, size_t cap)
{
    size_t different = 0;
    size_t counts[] = {all.count, mst_least(ODD_COUNT, all.count - 1)};
    for (size_t skipped = 0; skipped < 2; skipped++) {
        int rc = run(&all.device, work, counts[skipped], skipped);
        if (rc == 0)
            rc = run(&all.host, work, counts[skipped], skipped);
        if (rc == 0)
            rc = compare(work, &different);
        if (rc < 0) {
            bool lacks = rig_lacks_kernels(&all.device.rig, rc);
            row->result = lacks ? ROW_NOT_RUN : ROW_WRONG;
            (void)snprintf(words, cap, "%s: %s", mst_err_meaning(rc),
                           lacks ? "built without nvcc" : rig_error(&all.device.rig));
            return;
        }
    }
    row->result = different ? ROW_WRONG : ROW_RIGHT;
    if (different)
        (void)snprintf(words, cap, "%zu values differ from the host's", different);
    else
        (void)snprintf(words, cap, "bits of %zu values as the host's", all.count);
}

/* ---- speed ----------------------------------------------------------------------------------- */

static int put_copy(struct rig *rig, const void *arg)
{
    (void)arg;
    return mst_gpu_copy(rig->queue, all.device.spans[1].data, all.device.spans[0].data, all.bytes);
}

static int put_fetch(struct rig *rig, const void *arg)
{
    (void)arg;
    return mst_gpu_copy(rig->queue, all.got.data, all.device.spans[0].data, all.bytes);
}

static int put_work(struct rig *rig, const void *arg)
{
    const struct work *work = arg;
    struct works_view view = {.count = all.bytes / sizeof(float)};
    for (size_t b = 0; b < WORKS_BUFFERS; b++)
        view.at[b] = all.device.spans[b].data;
    return work->put(rig, &view);
}

static double rate(struct rig *rig, rig_fn put, const void *arg, double bytes)
{
    double took_s = rig_seconds(rig, put, arg, REPEATS);
    return took_s > 0 ? bytes / took_s / 1e9 : 0;
}

/* Copy and kernel take turns, so that what slows down both is in both. */
static void time_work(const struct work *work, struct row *row)
{
    struct rig *rig = &all.device.rig;
    double bytes = (double)all.bytes, rates[SAMPLES], ratios[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) {
        double limit = work->is_crc ? rate(rig, put_fetch, NULL, bytes)
                                    : rate(rig, put_copy, NULL, 2 * bytes);
        rates[i] = rate(rig, put_work, work, work->moved * bytes / sizeof(float));
        ratios[i] = limit > 0 ? rates[i] / limit : 0;
    }
    row->figure = rig_median(rates, SAMPLES);
    row->unit = "GB/s";
    row->ratio = rig_median(ratios, SAMPLES);
    row->wanted = work->is_crc ? CRC_WANTED : COPY_WANTED;
}

static void time_limits(void)
{
    struct rig *rig = &all.device.rig;
    double bytes = (double)all.bytes;
    row_print(&(struct row){.what = "limit: copy on the device",
                            .figure = rate(rig, put_copy, NULL, 2 * bytes),
                            .unit = "GB/s"});
    row_print(&(struct row){.what = "limit: copy to pinned memory",
                            .figure = rate(rig, put_fetch, NULL, bytes),
                            .unit = "GB/s"});
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int open_side(struct side *side, const char *backend, size_t bytes, struct mst_err *err)
{
    int rc = rig_open(&side->rig, backend, err);
    for (size_t b = 0; b < WORKS_BUFFERS && rc == 0; b++)
        rc = mst_gpu_alloc(side->rig.gpu, bytes, MST_MEM_DEVICE, &side->spans[b]);
    return rc;
}

static int open_all(struct mst_err *err)
{
    size_t greatest = all.bytes > compared_bytes() ? all.bytes : compared_bytes();
    int rc = open_side(&all.device, "cuda", greatest, err);
    if (rc == 0)
        rc = open_side(&all.host, "host", compared_bytes(), err);
    struct mst_gpu *gpu = all.device.rig.gpu;
    for (size_t b = 0; b < WORKS_BUFFERS && rc == 0; b++) {
        rc = mst_gpu_alloc(gpu, compared_bytes(), MST_MEM_PINNED, &all.fill[b]);
        if (rc == 0)
            fill(all.fill[b].data, all.count, b);
    }
    if (rc == 0)
        rc = mst_gpu_alloc(gpu, greatest, MST_MEM_PINNED, &all.got);
    if (rc == 0)
        rc = mst_gpu_alloc(gpu, compared_bytes(), MST_MEM_PINNED, &all.expected);
    return rc;
}

static void close_all(void)
{
    for (size_t b = 0; b < WORKS_BUFFERS; b++) {
        mst_gpu_free(all.device.rig.gpu, &all.fill[b]);
        mst_gpu_free(all.device.rig.gpu, &all.device.spans[b]);
        mst_gpu_free(all.host.rig.gpu, &all.host.spans[b]);
    }
    mst_gpu_free(all.device.rig.gpu, &all.got);
    mst_gpu_free(all.device.rig.gpu, &all.expected);
    rig_close(&all.host.rig);
    rig_close(&all.device.rig);
}

static void check_work(const struct work *work)
{
    char words[256] = "";
    struct row row = {.what = work->name, .words = words};
    check_bits(work, &row, words, sizeof words);
    if (row.result == ROW_RIGHT && all.bytes > 0)
        time_work(work, &row);
    row_print(&row);
}

static size_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    return *text && !*end ? value : 0;
}

int main(int argc, char **argv)
{
    struct mst_err err = {0};
    all.count = argc == 3 ? number(argv[1]) : 0;
    all.bytes = argc == 3 ? number(argv[2]) / 64 * 64 : 0;
    if (all.count < 2) {
        fprintf(stderr, "usage: kernels COUNT BYTES\n");
        return 64;
    }
    int rc = open_all(&err);
    if (rc < 0) {
        fprintf(stderr, "kernels: %s\n", err.text[0] ? err.text : mst_err_meaning(rc));
        return 1;
    }
    row_print(&(struct row){.what = "card", .words = mst_gpu_name(all.device.rig.gpu)});
    for (size_t w = 0; w < works_count; w++)
        check_work(&works[w]);
    if (all.bytes > 0)
        time_limits();
    close_all();
    return 0;
}
