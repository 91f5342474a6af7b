/* resume: a "training" loop that may be stopped or killed at any moment and ends with the same
 * value. The state is one tensor of numbers that every step stirs; a step costs some milliseconds.
 *
 *   muster run --nproc 2 -- resume --ckpt /tmp/ck --steps 2000
 *   kill it, with SIGTERM or -9, and run the same line again: it goes on where it was. */
#include "muster/ckpt/ckpt.h"
#include "muster/core/cli/options.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"
#include "muster/core/rng.h"
#include "muster/core/world/world.h"
#include "muster/launcher/job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#define START_MS 60000
#define TIMEOUT_MS 300000 /* more than a save may take on all ranks: 2.25 times 120 s */
#define CKPT_EVERY 100
#define ELEMS 4096
#define ROUNDS 200 /* of stirring per step: stands for the computation of a real one */

static uint64_t numbers[ELEMS];
static const struct mst_tensor tensor = {.name = "state",
                                         .dtype = MST_U64,
                                         .dim_count = 1,
                                         .shape = {ELEMS},
                                         .data = {numbers, sizeof(numbers), MST_MEM_HOST}};
static const struct mst_state state = {.struct_bytes = sizeof(state),
                                       .tensor_bytes = sizeof(tensor),
                                       .tensors = &tensor,
                                       .tensor_count = 1};

static void die_with(int status, const char *what, const char *why)
{
    fprintf(stderr, "resume: %s: %s\n", what, why);
    exit(status);
}

static void die(const char *what, const char *why)
{
    die_with(1, what, why);
}

static void train_step(uint64_t step)
{
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < ELEMS; i++)
            numbers[i] = mst_mix64(numbers[i] + numbers[(i + 1) % ELEMS] + step);
}

/* The step to start from: after the newest checkpoint, or the first. */
static uint64_t resume(const struct mst_world *world, struct mst_ckpt *ckpt)
{
    struct mst_err err;
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    int rc = mst_ckpt_load(ckpt, &state, &loaded, mst_deadline_ms(TIMEOUT_MS), &err);
    if (rc < 0 && rc != -ENOENT)
        die("mst_ckpt_load", err.text);
    if (rc == 0 && loaded.skipped_count > 0 && mst_world_rank(world) == 0)
        fprintf(stderr, "resume: passed over %" PRIu32 " damaged: %s\n", loaded.skipped_count,
                err.text);
    return rc == 0 ? loaded.step : 0;
}

static void save(struct mst_ckpt *ckpt, uint64_t step)
{
    if (mst_ckpt_save(ckpt, step, &state, mst_deadline_ms(TIMEOUT_MS)) < 0)
        die("mst_ckpt_save", mst_ckpt_error(ckpt));
}

/* A save that fails ends nothing, as the checkpoint before it stands; but it is told. */
static void report(const struct mst_world *world, struct mst_job *job, struct mst_ckpt *ckpt)
{
    static uint32_t told;
    struct mst_ckpt_status saves = MST_CKPT_STATUS_INIT;
    (void)mst_ckpt_get_status(ckpt, &saves); /* its size is set */
    if (saves.committed_step != MST_CKPT_NONE)
        mst_job_committed(job, saves.committed_step);
    if (saves.failed_count > told && mst_world_rank(world) == 0)
        fprintf(stderr, "resume: step %" PRIu64 " is not saved: %s\n", saves.failed_step,
                saves.failed_text);
    told = saves.failed_count;
}

/* Waits until what was saved is committed. Returns `status`, or what says that it is not. */
static int drain(struct mst_ckpt *ckpt, int status)
{
    if (mst_ckpt_drain(ckpt, mst_deadline_ms(TIMEOUT_MS)) >= 0)
        return status;
    fprintf(stderr, "resume: the last checkpoint is lost: %s\n", mst_ckpt_error(ckpt));
    return MST_EXIT_SAVE_LOST;
}

/* Returns the exit status: 0 with all steps done, or drained before that. */
static int train(const struct mst_world *world, struct mst_job *job, struct mst_ckpt *ckpt,
                 uint64_t step_count)
{
    int verdict = MST_JOB_GO;
    for (uint64_t step = resume(world, ckpt); step < step_count && verdict != MST_JOB_STOP;) {
        train_step(step++);
        verdict = mst_job_step(job, step, mst_deadline_ms(TIMEOUT_MS));
        if (verdict < 0)
            die("mst_job_step", mst_err_meaning(verdict));
        if (verdict != MST_JOB_GO || step % CKPT_EVERY == 0 || step == step_count)
            save(ckpt, step);
        report(world, job, ckpt);
    }
    int status = drain(ckpt, verdict == MST_JOB_STOP ? MST_EXIT_DRAINED : 0);
    report(world, job, ckpt);
    return status;
}

static uint64_t value_of_numbers(void)
{
    uint64_t value = 0;
    for (size_t i = 0; i < ELEMS; i++)
        value = mst_mix64(value ^ numbers[i]);
    return value;
}

struct args {
    const char *ckpt;
    uint64_t steps;
};

static const struct option options[] = {
    {"ckpt", OPTION_TEXT, OPTION_AT(struct args, ckpt), .value = "URI", .required = true,
     .help = "where checkpoints are, or will be"},
    {"steps", OPTION_COUNT, OPTION_AT(struct args, steps), .value = "N", .required = true,
     .help = "of the whole run, those before a resume included", .least = 1, .most = 1e15},
    {0},
};

static const struct options command_line = {
    .program = "resume",
    .synopsis = "--ckpt URI --steps N",
    .about = "Ends with the same value however often it is stopped and started again.",
    .groups = {{"Options:", options}},
};

int main(int argc, char **argv)
{
    struct args args = {0};
    options_or_exit(&command_line, argc, argv, &args);
    struct mst_ckpt_opts opts = MST_CKPT_OPTS_INIT;
    opts.uri = args.ckpt;
    struct mst_err err;
    struct mst_world *world = NULL;
    struct mst_kv *kv;
    struct mst_job *job;
    struct mst_ckpt *ckpt;
    if (mst_world_from_env(&world, &err) < 0)
        die("mst_world_from_env", err.text);
    if (mst_kv_dial(world, mst_deadline_ms(START_MS), &kv, &err) < 0)
        die("mst_kv_dial", err.text);
    if (mst_job_open(world, &job, &err) < 0)
        die("mst_job_open", err.text);
    if (mst_ckpt_open(&opts, world, kv, &ckpt, &err) < 0)
        die_with(err.code == -EEXIST ? EX_CONFIG : 1, "mst_ckpt_open", err.text);
    int status = train(world, job, ckpt, args.steps);
    if (status == 0 && mst_world_rank(world) == 0)
        printf("final step=%" PRIu64 " value=%016" PRIx64 "\n", args.steps, value_of_numbers());
    mst_ckpt_close(ckpt);
    mst_job_close(job);
    mst_kv_close(kv);
    mst_world_destroy(world);
    return status;
}
