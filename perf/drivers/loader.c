/* loader: reads a dataset of 16-bit tokens once, in order, as one rank.
 *
 *   loader URI RECORD_ELEMS BATCH
 *
 * Prints the seconds to open it, those to read all of it, and the processor's in the latter; a byte
 * of each sample is looked at. */
#include "muster/perf/drivers/api.h"
#include "muster/perf/drivers/stopwatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAIT_MS = 120000 };

static void die(const char *what, const char *text)
{
    fprintf(stderr, "loader: %s: %s\n", what, text);
    exit(1);
}

static uint64_t sample_count(const struct mst_loader *loader)
{
#ifdef MST_DATASET_INFO_INIT
    struct mst_dataset_info info = MST_DATASET_INFO_INIT;
    (void)mst_loader_info(loader, &info); /* its size is set */
#else
    struct mst_dataset_info info = mst_loader_info(loader);
#endif
    return info.sample_count;
}

static struct mst_loader *open_loader(char **argv)
{
    struct mst_world *world;
    struct mst_loader *loader;
    struct mst_err err = {0};
    struct mst_loader_opts opts = MST_LOADER_OPTS_INIT;
    opts.uri = argv[1];
    opts.format = MST_FORMAT_RAW;
    opts.dtype = MST_U16;
    opts.record_elems = (uint32_t)strtoul(argv[2], NULL, 10);
    opts.global_batch = (uint32_t)strtoul(argv[3], NULL, 10);
    opts.sequential = 1;
    if (mst_world_single(&world) < 0)
        die("world", "no memory");
    if (mst_loader_open(&opts, world, &loader, &err) < 0)
        die(argv[1], err.text);
    mst_world_destroy(world);
    return loader;
}

/* The exclusive or of a byte of each sample, so that all are looked at. */
static unsigned read_all(struct mst_loader *loader)
{
    unsigned seen = 0;
    for (uint64_t left = sample_count(loader); left > 0;) {
        struct mst_batch batch = MST_BATCH_INIT;
        if (mst_loader_next(loader, &batch, mst_deadline_ms(WAIT_MS)) < 0)
            die("next", mst_loader_error(loader));
        for (uint32_t i = 0; i < batch.sample_count; i++)
            seen ^= *(const uint8_t *)batch.samples[i].data.data;
        left -= batch.sample_count < left ? batch.sample_count : left;
    }
    return seen;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("usage", "loader URI RECORD_ELEMS BATCH");
    double began_s = stopwatch_s();
    struct mst_loader *loader = open_loader(argv);
    double open_s = stopwatch_s(), open_cpu_s = stopwatch_cpu_s();
    unsigned seen = read_all(loader);
    double read_s = stopwatch_s() - open_s, cpu_s = stopwatch_cpu_s() - open_cpu_s;
    printf("%.6f %.6f %.6f %u\n", open_s - began_s, read_s, cpu_s, seen);
    mst_loader_close(loader);
    return 0;
}
