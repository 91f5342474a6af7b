/* loop: the smallest training that can be preempted, killed, resumed and resized, and ends with the
 * same line.
 *
 *   muster run --nproc 2 -- loop text.gz ckpt 5000
 *
 * The model guesses each byte of a text by the byte before it: 256 × 256 weights, squared error,
 * gradient descent. What the ranks sum are whole numbers, exact in any order, so that the result
 * does not depend on how many ranks there are, either. */
#include "muster/muster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, RECORD = 129, SAVE_EVERY = 100 };

/* More than a request to a store (60 s) or a save (120 s; 2.25 times that on all ranks) may take,
 * less than a collective: who waits for another waits longer than that one may take. */
enum { START_MS = 60000, WAIT_MS = 300000 };

static struct mst_world *world;
static struct mst_kv *kv;
static struct mst_comm *comm;
static struct mst_loader *loader;
static struct mst_ckpt *ckpt;
static struct mst_job *job;

/* Of a batch: how often which byte follows which, and a digest of which samples it has. */
static struct sums {
    uint64_t pairs[256][256];
    uint64_t samples;
} sums;

static uint64_t step; /* finished */

/* What a checkpoint holds: the model, and where the loader is. */
static float weights[256][256];
static double loss;      /* of the last step: mean over the global batch */
static uint64_t samples; /* a digest of all batches so far */
static uint8_t cursor[MST_CURSOR_BYTES];
static const struct mst_tensor tensors[] = {
    {.name = "weights",
     .dtype = MST_F32,
     .dim_count = 2,
     .shape = {256, 256},
     .data = {weights, sizeof weights, MST_MEM_HOST}},
    {.name = "loss", .dtype = MST_F64, .data = {&loss, sizeof loss, MST_MEM_HOST}},
    {.name = "samples", .dtype = MST_U64, .data = {&samples, sizeof samples, MST_MEM_HOST}},
};
static const struct mst_state state = {
    .struct_bytes = sizeof(struct mst_state),
    .tensor_bytes = sizeof(struct mst_tensor),
    .tensors = tensors,
    .tensor_count = sizeof tensors / sizeof tensors[0],
    .cursor = {cursor, sizeof cursor, MST_MEM_HOST},
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "loop: %s: %s\n", what, why);
    exit(1);
}

static uint64_t soon(void)
{
    return mst_deadline_ms(WAIT_MS);
}

/* This rank's part of the sums. */
static void forward(const struct mst_batch *batch)
{
    memset(&sums, 0, sizeof sums);
    for (uint32_t i = 0; i < batch->sample_count; i++) {
        const uint8_t *text = (const uint8_t *)batch->samples[i].data.data;
        uint64_t mixed = (batch->samples[i].index + 1) * UINT64_C(0x9E3779B97F4A7C15);
        sums.samples += mixed ^ mixed >> 31;
        for (size_t at = 1; at < RECORD; at++)
            sums.pairs[text[at - 1]][text[at]]++;
    }
}

/* The sums of all ranks are the gradient. */
static void update(void)
{
    const double targets = (double)BATCH * (RECORD - 1);
    loss = 1;
    for (size_t a = 0; a < 256; a++) {
        double total = 0;
        for (size_t b = 0; b < 256; b++)
            total += (double)sums.pairs[a][b];
        for (size_t b = 0; b < 256; b++) {
            double weight = weights[a][b], count = (double)sums.pairs[a][b];
            loss += weight * (total * weight - 2 * count) / targets;
            weights[a][b] = (float)(weight - (total * weight - count) / targets);
        }
    }
    samples = samples * UINT64_C(0xD1342543DE82EF95) + sums.samples;
}

static void start(const char *data, const char *root)
{
    struct mst_err err;
    struct mst_loader_opts texts = MST_LOADER_OPTS_INIT;
    struct mst_ckpt_opts saves = MST_CKPT_OPTS_INIT;
    texts.uri = data;
    texts.format = MST_FORMAT_RAW;
    texts.dtype = MST_U8;
    texts.record_elems = RECORD;
    texts.global_batch = BATCH;
    saves.uri = root;
    if (mst_world_from_env(&world, &err) < 0 ||
        mst_kv_dial(world, mst_deadline_ms(START_MS), &kv, &err) < 0 ||
        mst_comm_create(world, kv, NULL, &comm, &err) < 0 ||
        mst_loader_open(&texts, world, &loader, &err) < 0 ||
        mst_ckpt_open(&saves, world, kv, &ckpt, &err) < 0 || mst_job_open(world, &job, &err) < 0)
        die("start", err.text);
}

static void tell_doubt(void)
{
    if (*mst_loader_warning(loader) && mst_world_rank(world) == 0)
        fprintf(stderr, "loop: %s\n", mst_loader_warning(loader));
}

/* README.md shows from here … */
static void resume(void)
{
    tell_doubt(); /* of opening, which a seek forgets */
    struct mst_err err;
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    int rc = mst_ckpt_load(ckpt, &state, &loaded, soon(), &err);
    if (rc == -ENOENT) /* there is no checkpoint: a fresh start */
        return;
    if (rc < 0)
        die("resume", err.text);
    if (loaded.skipped_count > 0 && mst_world_rank(world) == 0)
        fprintf(stderr, "loop: passed over %" PRIu32 " damaged: %s\n", loaded.skipped_count,
                err.text);
    if (mst_loader_seek(loader, loaded.cursor, loaded.cursor_bytes, &err) < 0)
        die("resume", err.text);
    tell_doubt();
    step = loaded.step;
    if (mst_world_rank(world) == 0)
        printf("resumed at step %" PRIu64 "\n", step);
}

/* A save that fails ends nothing, as the checkpoint before it stands; but it is told. What is
 * committed is shown by `muster status`. */
static void report(void)
{
    static uint32_t told;
    struct mst_ckpt_status saves = MST_CKPT_STATUS_INIT;
    (void)mst_ckpt_get_status(ckpt, &saves); /* its size is set */
    if (saves.committed_step != MST_CKPT_NONE)
        mst_job_committed(job, saves.committed_step);
    if (saves.failed_count > told && mst_world_rank(world) == 0)
        fprintf(stderr, "loop: step %" PRIu64 " is not saved: %s\n", saves.failed_step,
                saves.failed_text);
    told = saves.failed_count;
}

/* Returns the exit status: 143 if the job is preempted, be it at the last step; 74 if the last
 * checkpoint is not committed; else 0. */
static int train(uint64_t steps)
{
    struct mst_batch batch = MST_BATCH_INIT;
    int verdict = MST_JOB_GO;
    resume();
    while (step < steps && verdict != MST_JOB_STOP) {
        if (mst_loader_next(loader, &batch, soon()) < 0)
            die("data", mst_loader_error(loader));
        forward(&batch);
        if (mst_comm_allreduce(comm, &sums, &sums, sizeof sums / 8, MST_U64, MST_SUM, NULL) < 0)
            die("sums", mst_comm_error(comm));
        update();
        verdict = mst_job_step(job, ++step, soon()); /* the same on every rank */
        if (verdict < 0)
            die("job", mst_err_meaning(verdict));
        if (verdict != MST_JOB_GO || step % SAVE_EVERY == 0 || step == steps) {
            mst_loader_cursor(loader, cursor);
            if (mst_ckpt_save(ckpt, step, &state, soon()) < 0) /* costs one memory copy */
                die("save", mst_ckpt_error(ckpt));
        }
        report();
    }
    int rc = mst_ckpt_drain(ckpt, soon()); /* waits until the last one is committed */
    report();
    if (rc < 0) {
        fprintf(stderr, "loop: the last checkpoint is lost: %s\n", mst_ckpt_error(ckpt));
        return MST_EXIT_SAVE_LOST;
    }
    return verdict == MST_JOB_STOP ? MST_EXIT_DRAINED : 0;
}
/* … to here. */

static void stop(void)
{
    mst_job_close(job);
    mst_ckpt_close(ckpt);
    mst_loader_close(loader);
    mst_comm_destroy(comm);
    mst_kv_close(kv);
    mst_world_destroy(world);
}

static const char usage[] = "usage: loop DATA CKPT STEPS\n\n"
                            "Learns which byte of the text DATA follows which. DATA and CKPT are "
                            "paths or URIs.\n";

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    char *end = NULL;
    long long steps = argc == 4 ? strtoll(argv[3], &end, 10) : 0;
    if (steps <= 0 || *end != '\0') {
        fputs(usage, stderr);
        return 64;
    }
    start(argv[1], argv[2]);
    int status = train((uint64_t)steps);
    if (status == 0 && mst_world_rank(world) == 0)
        printf("final step=%" PRIu64 " loss=%a samples=%016" PRIx64 "\n", step, loss, samples);
    stop();
    return status;
}
