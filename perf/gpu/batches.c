/* batches: a loader's batches on their way to the device, while it works at those before: gathered
 * into one of two pinned buffers, and copied from there by one call; what works at them is their
 * checksum, which tells that they have come as they were.
 *
 *   batches FOLDER BYTES     where the dataset is made, and gone at the end; of a batch */
#include "muster/core/clock.h"
#include "muster/core/crc32c.h"
#include "muster/core/world/world.h"
#include "muster/dataio/dataio.h"
#include "muster/perf/drivers/stopwatch.h"
#include "muster/perf/gpu/rig.h"
#include "muster/perf/gpu/row.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORD_BYTES 4096
#define BATCHES 40     /* of a run */
#define FILE_BATCHES 8 /* of an epoch, which stays in memory: it is not the disk that is timed */
#define SAMPLES 5      /* runs of a kind, of which the median counts */
#define WAIT_MS 60000
#define WANTED 0.8 /* of the longer of both alone */

struct slot {
    struct mst_span pinned, device;
    struct mst_gpu_event *copied; /* the pinned buffer may be filled again */
    struct mst_gpu_event *used;   /* and the device's */
};

static struct {
    struct mst_world *world;
    struct mst_loader *loader;
    struct rig rig; /* its queue computes */
    struct mst_gpu_queue *copy_queue;
    struct slot slots[2];
    struct mst_span sums; /* of the device: one for each batch of a run */
    uint32_t expected[BATCHES];
    size_t bytes;
    int repeats; /* of the work at a batch, so that it takes about as long as to bring it */
} all;

/* ---- a run ----------------------------------------------------------------------------------- */

struct run {
    bool copies, computes;
    bool expects; /* the host's checksums are taken, too */
};

static int gather(size_t batch, struct slot *slot, bool expects)
{
    struct mst_batch loaded = MST_BATCH_INIT;
    char *to = slot->pinned.data;
    int rc = mst_gpu_event_wait(slot->copied, mst_deadline_ms(WAIT_MS));
    if (rc == 0)
        rc = mst_loader_next(all.loader, &loaded, mst_deadline_ms(WAIT_MS));
    if (expects)
        all.expected[batch] = 0;
    for (uint32_t s = 0; s < loaded.sample_count && rc == 0; s++, to += RECORD_BYTES) {
        const void *data = loaded.samples[s].data.data;
        memcpy(to, data, RECORD_BYTES);
        if (expects)
            all.expected[batch] = mst_crc32c(all.expected[batch], data, RECORD_BYTES);
    }
    return rc;
}

static int bring(size_t batch, struct slot *slot, bool expects)
{
    int rc = gather(batch, slot, expects);
    if (rc == 0)
        rc = mst_gpu_queue_wait_event(all.copy_queue, slot->used);
    if (rc == 0)
        rc = mst_gpu_copy(all.copy_queue, slot->device.data, slot->pinned.data, all.bytes);
    if (rc == 0)
        rc = mst_gpu_event_record(slot->copied, all.copy_queue);
    return rc == 0 ? mst_gpu_queue_wait_event(all.rig.queue, slot->copied) : rc;
}

static int compute(size_t batch, struct slot *slot)
{
    uint32_t *sum = (uint32_t *)all.sums.data + batch;
    int rc = 0;
    for (int i = 0; i < all.repeats && rc == 0; i++)
        rc = mst_gpu_crc32c(all.rig.queue, sum, slot->device.data, all.bytes, (uint32_t)all.bytes);
    return rc == 0 ? mst_gpu_event_record(slot->used, all.rig.queue) : rc;
}

static int do_run(struct run run)
{
    int rc = 0;
    for (size_t b = 0; b < BATCHES && rc == 0; b++) {
        struct slot *slot = &all.slots[b % 2];
        if (run.copies)
            rc = bring(b, slot, run.expects);
        if (rc == 0 && run.computes)
            rc = compute(b, slot);
    }
    int copied = mst_gpu_queue_wait(all.copy_queue, mst_deadline_ms(WAIT_MS));
    int computed = rig_wait(&all.rig); /* nothing is under way behind this, whatever failed */
    return rc ? rc : copied ? copied : computed;
}

/* Of a batch; not a number if the device or the loader failed. */
static double time_run(struct run run)
{
    double began_s = stopwatch_s();
    return do_run(run) == 0 ? (stopwatch_s() - began_s) / BATCHES : NAN;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static const char *why(int rc)
{
    const char *words = mst_loader_error(all.loader);
    if (!*words)
        words = mst_gpu_error(all.rig.gpu);
    return *words ? words : mst_err_meaning(rc);
}

/* Whether there is work for the device. */
static bool check_batches(void)
{
    static uint32_t sums[BATCHES];
    const char *what = "batches arrive as they were loaded";
    int rc = do_run((struct run){.copies = true, .computes = true, .expects = true});
    if (rc == 0)
        rc = rig_copy(&all.rig, sums, all.sums.data, sizeof sums);
    bool lacks = rig_lacks_kernels(&all.rig, rc);
    if (lacks)
        row_print(&(struct row){ROW_NOT_RUN, what, .words = "built without nvcc"});
    else if (rc < 0)
        row_check(what, false, why(rc));
    else
        row_check(what, memcmp(sums, all.expected, sizeof sums) == 0, "other bytes");
    return rc == 0;
}

static void tell(const char *what, double took_s, double ratio, double wanted)
{
    row_print(&(struct row){.result = took_s > 0 ? ROW_RIGHT : ROW_WRONG,
                            .what = what,
                            .figure = took_s > 0 ? took_s * 1e3 : 0,
                            .unit = "ms",
                            .ratio = ratio,
                            .wanted = wanted});
}

/* The three take turns, so that what slows down one is in all. */
static void time_overlap(void)
{
    static const struct run bringing = {.copies = true}, work = {.computes = true},
                            both = {.copies = true, .computes = true};
    double bring_s[SAMPLES], work_s[SAMPLES], both_s[SAMPLES], ratios[SAMPLES];
    double times = round(time_run(bringing) / time_run(work));
    all.repeats = times > 1 ? (int)fmin(times, 1000) : 1;
    for (size_t i = 0; i < SAMPLES; i++) {
        bring_s[i] = time_run(bringing);
        work_s[i] = time_run(work);
        both_s[i] = time_run(both);
        ratios[i] = fmax(bring_s[i], work_s[i]) / both_s[i];
    }
    tell("a batch is loaded, gathered and copied", rig_median(bring_s, SAMPLES), 0, 0);
    tell("the device works at a batch", rig_median(work_s, SAMPLES), 0, 0);
    tell("both at once", rig_median(both_s, SAMPLES), rig_median(ratios, SAMPLES), WANTED);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int write_dataset(const char *path)
{
    FILE *file = fopen(path, "wbe");
    uint32_t words[RECORD_BYTES / sizeof(uint32_t)], word = 0;
    size_t records = FILE_BATCHES * all.bytes / RECORD_BYTES, written = 0;
    for (; file && written < records; written++) {
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            words[i] = word++ * 2654435761U;
        if (fwrite(words, sizeof words, 1, file) != 1)
            break;
    }
    if (!file)
        return -errno;
    return fclose(file) == 0 && written == records ? 0 : -EIO;
}

static int open_loader(const char *folder, struct mst_err *err)
{
    struct mst_loader_opts opts = MST_LOADER_OPTS_INIT;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/batches.%d", folder, (int)getpid());
    opts.uri = path;
    opts.format = MST_FORMAT_RAW;
    opts.dtype = MST_U8;
    opts.record_elems = RECORD_BYTES;
    opts.global_batch = (uint32_t)(all.bytes / RECORD_BYTES);
    opts.budget_bytes = 4 * FILE_BATCHES * all.bytes;
    int rc = write_dataset(path);
    if (rc < 0)
        (void)mst_err_set(err, rc, "%s: %s", path, mst_err_meaning(rc));
    else
        rc = mst_loader_open(&opts, all.world, &all.loader, err);
    (void)unlink(path); /* it is in memory, or was never made */
    return rc;
}

static int open_slot(struct slot *slot)
{
    struct mst_gpu *gpu = all.rig.gpu;
    int rc = mst_gpu_alloc(gpu, all.bytes, MST_MEM_PINNED, &slot->pinned);
    if (rc == 0)
        rc = mst_gpu_alloc(gpu, all.bytes, MST_MEM_DEVICE, &slot->device);
    if (rc == 0)
        rc = mst_gpu_event_create(gpu, &slot->copied);
    return rc == 0 ? mst_gpu_event_create(gpu, &slot->used) : rc;
}

static int open_all(const char *folder, struct mst_err *err)
{
    int rc = mst_world_from_env(&all.world, err);
    if (rc == 0)
        rc = rig_open(&all.rig, "cuda", err);
    if (rc == 0)
        rc = open_loader(folder, err);
    if (rc < 0)
        return rc;
    rc = mst_gpu_queue_create(all.rig.gpu, &all.copy_queue);
    if (rc == 0)
        rc = mst_gpu_alloc(all.rig.gpu, BATCHES * sizeof(uint32_t), MST_MEM_DEVICE, &all.sums);
    for (size_t s = 0; s < 2 && rc == 0; s++)
        rc = open_slot(&all.slots[s]);
    return rc == 0 ? 0 : mst_err_set(err, rc, "%s", rig_error(&all.rig));
}

static void close_all(void)
{
    for (size_t s = 0; s < 2; s++) {
        mst_gpu_free(all.rig.gpu, &all.slots[s].pinned);
        mst_gpu_free(all.rig.gpu, &all.slots[s].device);
        mst_gpu_event_destroy(all.slots[s].copied);
        mst_gpu_event_destroy(all.slots[s].used);
    }
    mst_gpu_free(all.rig.gpu, &all.sums);
    mst_gpu_queue_destroy(all.copy_queue);
    rig_close(&all.rig);
    mst_loader_close(all.loader);
    mst_world_destroy(all.world);
}

int main(int argc, char **argv)
{
    struct mst_err err = {0};
    char *end = NULL;
    all.bytes = argc == 3 ? strtoul(argv[2], &end, 10) : 0;
    all.repeats = 1;
    if (all.bytes == 0 || all.bytes > UINT32_MAX || all.bytes % MST_GPU_CRC_BYTES != 0 || *end) {
        fprintf(stderr, "usage: batches FOLDER BYTES, which are a multiple of %d\n",
                MST_GPU_CRC_BYTES);
        return 64;
    }
    if (open_all(argv[1], &err) < 0) {
        fprintf(stderr, "batches: %s\n", err.text);
        return 1;
    }
    row_print(&(struct row){.what = "card", .words = mst_gpu_name(all.rig.gpu)});
    if (check_batches())
        time_overlap();
    close_all();
    return 0;
}
