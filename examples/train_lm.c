/* train_lm: a training run from end to end, small enough to read in one sitting.
 *
 * A byte-level language model (examples/lm.h) learns any text, data-parallel. Gradients are
 * computed here; a device sums them over the ranks and makes the step of the optimizer. The run
 * resumes from its newest checkpoint, stops at an agreed step when the job is preempted, and its
 * loss does not depend on how often that happened.
 *
 *   muster run --nproc 2 -- train_lm --data text.gz --ckpt ckpt/ --steps 1000 */
#include "muster/ckpt/ckpt.h"
#include "muster/comm/comm.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"
#include "muster/core/rng.h"
#include "muster/core/world/world.h"
#include "muster/dataio/dataio.h"
#include "muster/examples/device.h"
#include "muster/examples/gradients.h"
#include "muster/examples/lm.h"
#include "muster/examples/optimizer.h"
#include "muster/examples/train_opts.h"
#include "muster/launcher/job.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { START_MS = 120000 };

/* More than a request to a store (60 s) or a save may take on all ranks (2.25 times 120 s). */
enum { WAIT_MS = 300000 };

#define TELL_NS (5 * MST_NS_PER_S) /* how often rank 0 says how far it is */

struct trainer {
    struct train_opts opts;
    struct mst_world *world;
    uint32_t rank, size, generation; /* the world's */
    struct mst_kv *kv;
    struct mst_comm *comm;
    struct mst_loader *loader;
    struct mst_ckpt *ckpt;
    struct mst_job *job;

    struct device device;
    struct optimizer optimizer; /* the model, on the device */
    struct gradients gradients;
    struct lm *lm;       /* in pinned memory: parameters as of the last step */
    struct lm_row *rows; /* one per byte that a micro-batch predicts */

    uint64_t step; /* finished */
    uint64_t saved_step;
    double loss; /* of the last step: mean over the global batch, nats per byte */
    struct mst_rng rng;

    uint32_t failed_saves; /* told so far */
    uint64_t start_ns, start_step;
    uint64_t told_ns, told_step; /* when rank 0 last said how far it is */
    int sample_fd;
    FILE *loss_file;
};

static int fail(const struct trainer *trainer, const char *what, const char *text, int code)
{
    fprintf(stderr, "train_lm: rank %u: %s: %s\n", trainer->rank, what,
            text && *text ? text : mst_err_meaning(code));
    return code;
}

/* ---- one step -------------------------------------------------------------------------------- */

/* The gradients of a micro-batch, layer by layer. While a layer's are summed, those of the layer
 * before are computed. */
static int compute_part(struct trainer *trainer, const struct mst_batch *batch, size_t part)
{
    struct lm *lm = trainer->lm;
    size_t part_count = trainer->gradients.part_count, samples = batch->sample_count;
    size_t first = samples * part / part_count * LM_TARGETS;
    size_t row_count = samples * (part + 1) / part_count * LM_TARGETS - first;
    for (size_t r = 0; r < row_count; r++) {
        size_t target = first + r;
        const uint8_t *record = batch->samples[target / LM_TARGETS].data.data;
        trainer->loss += lm_forward(lm, &trainer->rows[r], record + target % LM_TARGETS);
    }
    int rc = part > 0 ? device_wait(&trainer->device) : 0; /* it copies the last part's */
    for (size_t b = 0; b < LM_BUCKETS && rc >= 0; b++) {
        size_t at = lm_bucket_start[b], count = lm_bucket_start[b + 1] - at;
        lm_backward(lm, trainer->rows, row_count, b);
        rc = gradients_put(&trainer->gradients, part, at, lm->grads + at, count);
        if (rc >= 0 && part + 1 == part_count)
            rc = gradients_reduce(&trainer->gradients, at, count);
    }
    return rc;
}

/* Puts the step behind the sums, and what it makes of the parameters to where the next is
 * computed. */
static int update(struct trainer *trainer, double targets)
{
    struct optimizer *optimizer = &trainer->optimizer;
    int rc = optimizer_step(optimizer, trainer->step + 1, (float)(1 / targets),
                            (float)trainer->opts.lr);
    return rc < 0
               ? rc
               : device_copy(&trainer->device, trainer->lm->params, optimizer->params, LM_PARAMS);
}

/* A checkpoint of such a model would end whoever resumes from it. */
static int check_finite(const struct trainer *trainer)
{
    char text[200];
    if (isfinite(trainer->loss) && lm_is_finite(trainer->lm))
        return 0;
    snprintf(text, sizeof text,
             "step %llu, whose loss is %g, leaves parameters that are not finite: give a smaller "
             "--lr%s",
             (unsigned long long)trainer->step, trainer->loss,
             trainer->opts.grad_dtype == GRADIENTS_F16
                 ? ", or --grad-dtype bf16, as f16 ends at 65504"
                 : "");
    return fail(trainer, "step", text, -ERANGE);
}

static int train_step(struct trainer *trainer, const struct mst_batch *batch)
{
    double targets = (double)trainer->opts.batch * LM_TARGETS;
    int rc = 0;
    trainer->loss = 0;
    for (size_t part = 0; part < trainer->gradients.part_count && rc >= 0; part++)
        rc = compute_part(trainer, batch, part);
    rc = gradients_end(&trainer->gradients, rc);
    if (rc >= 0)
        rc = update(trainer, targets);
    if (rc >= 0) /* it blocks, so that it tells of those in the stream, too */
        rc = mst_comm_allreduce(trainer->comm, &trainer->loss, &trainer->loss, 1, MST_F64, MST_SUM,
                                NULL);
    if (rc >= 0)
        rc = device_wait(&trainer->device);
    const char *comm_text = mst_comm_error(trainer->comm);
    if (rc < 0)
        return fail(trainer, "step", *comm_text ? comm_text : device_error(&trainer->device, rc),
                    rc);
    trainer->loss /= targets;
    trainer->step++;
    return check_finite(trainer);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* Of the model's arrays, and of the three numbers beside them. */
enum { TENSORS_MAX = (1 + OPTIMIZER_MOMENTS) * LM_TENSORS + 3 };

struct tensors {
    struct mst_tensor list[TENSORS_MAX];
    char names[TENSORS_MAX][32];
    size_t count;
};

static struct mst_tensor tensor(const char *name, enum mst_dtype dtype, void *data, uint64_t rows,
                                uint64_t columns)
{
    size_t count = (size_t)((rows ? rows : 1) * (columns ? columns : 1));
    return (struct mst_tensor){
        .name = name,
        .dtype = dtype,
        .dim_count = columns ? 2
                     : rows  ? 1
                             : 0,
        .shape = {rows, columns},
        .data = {.data = data, .size_bytes = count * mst_dtype_size(dtype)},
    };
}

static void add_array(struct trainer *trainer, struct tensors *tensors, const char *array,
                      float *floats)
{
    for (size_t i = 0; i < LM_TENSORS; i++) {
        const struct lm_tensor *part = &lm_tensors[i];
        char *name = tensors->names[tensors->count];
        struct mst_tensor *next = &tensors->list[tensors->count++];
        (void)snprintf(name, sizeof tensors->names[0], "%s/%s", array, part->name);
        *next = tensor(name, MST_F32, floats + part->at, part->rows, part->columns);
        next->data.mem = device_mem(&trainer->device);
    }
}

/* Everything that a resumed run needs but the loader's position, which is the cursor, and the
 * optimizer's step, which is the checkpoint's. */
static struct mst_state list_tensors(struct trainer *trainer, struct tensors *tensors)
{
    struct mst_state state = MST_STATE_INIT;
    const struct optimizer *optimizer = &trainer->optimizer;
    tensors->count = 0;
    add_array(trainer, tensors, "model", optimizer->params);
    for (size_t m = 0; m < OPTIMIZER_MOMENTS; m++)
        if (optimizer_moment(optimizer->kind, m))
            add_array(trainer, tensors, optimizer_moment(optimizer->kind, m),
                      optimizer->moments[m]);
    struct mst_tensor *next = tensors->list + tensors->count;
    *next++ = tensor("state/loss", MST_F64, &trainer->loss, 0, 0);
    *next++ = tensor("state/rng_state", MST_U64, &trainer->rng.state, 0, 0);
    *next++ = tensor("state/rng_increment", MST_U64, &trainer->rng.increment, 0, 0);
    state.tensors = tensors->list;
    state.tensor_count = (size_t)(next - tensors->list);
    state.stream = device_stream(&trainer->device);
    return state;
}

static int save(struct trainer *trainer)
{
    struct tensors tensors;
    uint8_t cursor[MST_CURSOR_BYTES];
    if (trainer->saved_step == trainer->step)
        return 0;
    struct mst_state state = list_tensors(trainer, &tensors);
    mst_loader_cursor(trainer->loader, cursor);
    state.cursor = (struct mst_cspan){.data = cursor, .size_bytes = sizeof cursor};
    int rc = mst_ckpt_save(trainer->ckpt, trainer->step, &state, mst_deadline_ms(WAIT_MS));
    if (rc < 0)
        return fail(trainer, "checkpoint", mst_ckpt_error(trainer->ckpt), rc);
    trainer->saved_step = trainer->step;
    return 0;
}

/* A checkpoint that fails is told once and does not stop the training: the older one stands. */
static void report_saves(struct trainer *trainer)
{
    struct mst_ckpt_status status = MST_CKPT_STATUS_INIT;
    (void)mst_ckpt_get_status(trainer->ckpt, &status); /* its size is set */
    if (status.committed_step != MST_CKPT_NONE)
        mst_job_committed(trainer->job, status.committed_step);
    if (status.failed_count != trainer->failed_saves && trainer->rank == 0)
        fprintf(stderr, "train_lm: checkpoint of step %llu abandoned: %s; training goes on\n",
                (unsigned long long)status.failed_step, status.failed_text);
    trainer->failed_saves = status.failed_count;
}

/* Waits until what was saved is committed. Returns `status`, or what says that it is not. */
static int drain(struct trainer *trainer, int status)
{
    int rc = mst_ckpt_drain(trainer->ckpt, mst_deadline_ms(WAIT_MS));
    report_saves(trainer);
    if (rc >= 0)
        return status;
    (void)fail(trainer, "the last checkpoint is lost", mst_ckpt_error(trainer->ckpt), rc);
    return MST_EXIT_SAVE_LOST;
}

static void tell_doubt(const struct trainer *trainer)
{
    const char *doubt = mst_loader_warning(trainer->loader);
    if (*doubt && trainer->rank == 0)
        fprintf(stderr, "train_lm: %s: %s\n", trainer->opts.data, doubt);
}

static int copy_params(struct trainer *trainer, float *to, const float *from)
{
    int rc = device_copy(&trainer->device, to, from, LM_PARAMS);
    if (rc == 0)
        rc = device_wait(&trainer->device);
    return rc < 0 ? fail(trainer, "parameters", device_error(&trainer->device, rc), rc) : 0;
}

static int resume(struct trainer *trainer)
{
    struct tensors tensors;
    struct mst_ckpt_loaded loaded = MST_CKPT_LOADED_INIT;
    struct mst_err err = {0};
    trainer->saved_step = MST_CKPT_NONE;
    tell_doubt(trainer);
    struct mst_state state = list_tensors(trainer, &tensors);
    int rc = mst_ckpt_load(trainer->ckpt, &state, &loaded, mst_deadline_ms(WAIT_MS), &err);
    if (rc == -ENOENT)
        return copy_params(trainer, trainer->optimizer.params, trainer->lm->params);
    if (rc < 0)
        return fail(trainer, "resume", err.text, rc);
    if (loaded.skipped_count && trainer->rank == 0)
        fprintf(stderr, "train_lm: passed over a damaged checkpoint: %s\n", err.text);
    rc = mst_loader_seek(trainer->loader, loaded.cursor, loaded.cursor_bytes, &err);
    if (rc < 0)
        return fail(trainer, "resume", err.text, rc);
    tell_doubt(trainer);
    trainer->step = trainer->saved_step = loaded.step;
    if (trainer->rank == 0)
        fprintf(stderr, "train_lm: resumed at step %llu, saved by %u ranks, now %u\n",
                (unsigned long long)loaded.step, loaded.saved_world_size, trainer->size);
    return copy_params(trainer, trainer->lm->params, trainer->optimizer.params);
}

/* ---- logs ------------------------------------------------------------------------------------ */

/* Makes a folder and those above it; other ranks do, too. */
static int make_folder(const char *path)
{
    char *copy = strdup(path), *slash = copy;
    int rc = copy ? 0 : -ENOMEM;
    while (rc == 0 && slash) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        rc = mkdir(copy, 0777) && errno != EEXIST ? -errno : 0;
        if (slash)
            *slash = '/';
    }
    free(copy);
    return rc;
}

static int open_logs(struct trainer *trainer)
{
    char path[4096];
    if (trainer->opts.sample_log) {
        int rc = make_folder(trainer->opts.sample_log);
        if (rc < 0)
            return fail(trainer, trainer->opts.sample_log, mst_err_meaning(rc), rc);
        snprintf(path, sizeof path, "%s/gen%u_rank%u_pid%d.log", trainer->opts.sample_log,
                 trainer->generation, trainer->rank, (int)getpid());
        trainer->sample_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (trainer->sample_fd < 0)
            return fail(trainer, path, mst_err_meaning(errno), -errno);
    }
    if (trainer->opts.loss_log && trainer->rank == 0) {
        trainer->loss_file = fopen(trainer->opts.loss_log, "ae");
        if (!trainer->loss_file)
            return fail(trainer, trainer->opts.loss_log, mst_err_meaning(errno), -errno);
    }
    return 0;
}

/* A step's lines are one write, so that a kill leaves whole steps. */
static int log_samples(struct trainer *trainer, const struct mst_batch *batch)
{
    size_t cap = (size_t)batch->sample_count * 64 + 1, size = 0;
    char *lines = malloc(cap);
    if (!lines)
        return fail(trainer, "sample log", NULL, -ENOMEM);
    for (uint32_t i = 0; i < batch->sample_count; i++)
        size += (size_t)snprintf(lines + size, cap - size, "%u %llu %llu\n", trainer->generation,
                                 (unsigned long long)trainer->step,
                                 (unsigned long long)batch->samples[i].index);
    ssize_t written = write(trainer->sample_fd, lines, size);
    free(lines);
    return written == (ssize_t)size ? 0 : fail(trainer, "sample log", mst_err_meaning(errno), -EIO);
}

static int log_step(struct trainer *trainer, const struct mst_batch *batch)
{
    if (trainer->loss_file) {
        fprintf(trainer->loss_file, "%llu %.6f\n", (unsigned long long)trainer->step,
                trainer->loss);
        fflush(trainer->loss_file);
    }
    return trainer->sample_fd >= 0 ? log_samples(trainer, batch) : 0;
}

static void tell_progress(struct trainer *trainer)
{
    uint64_t now_ns = mst_now_ns(), span_ns = now_ns - trainer->told_ns;
    if (trainer->rank != 0 || span_ns < TELL_NS)
        return;
    uint64_t steps = trainer->step - trainer->told_step;
    fprintf(stderr, "train_lm: step %llu of %llu, loss %.4f, %.0f tokens/s\n",
            (unsigned long long)trainer->step, (unsigned long long)trainer->opts.steps,
            trainer->loss,
            (double)(steps * trainer->opts.batch * LM_TARGETS) / ((double)span_ns / 1e9));
    trainer->told_ns = now_ns;
    trainer->told_step = trainer->step;
}

/* What the model has learned, for people: bytes drawn from it. */
static void print_text(struct trainer *trainer)
{
    uint8_t text[LM_CONTEXT + 72] = " of the ";
    for (size_t i = 0; i + LM_CONTEXT < sizeof text; i++) {
        struct lm_row *row = trainer->rows;
        (void)lm_forward(trainer->lm, row, text + i); /* the next byte is drawn, not predicted */
        float left = mst_rng_unit(&trainer->rng);
        uint8_t byte = 0;
        while (byte < LM_BYTES - 1 && (left -= row->prob[byte]) > 0)
            byte++;
        text[i + LM_CONTEXT] = byte;
    }
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = text[i] >= ' ' && text[i] < 127 ? text[i] : ' ';
    printf("the model writes:%.*s\n", (int)sizeof text, (char *)text);
}

static void print_stats(struct trainer *trainer)
{
    double seconds = (double)(mst_now_ns() - trainer->start_ns) / 1e9;
    struct mst_comm_stats comm = MST_COMM_STATS_INIT;
    struct mst_ckpt_status ckpt = MST_CKPT_STATUS_INIT;
    (void)mst_comm_get_stats(trainer->comm, &comm); /* their sizes are set */
    (void)mst_ckpt_get_status(trainer->ckpt, &ckpt);
    uint64_t steps = trainer->step - trainer->start_step;
    printf("stats generation=%u steps=%llu tokens_per_s=%.0f allreduce_share=%.3f "
           "ckpt_stall_ms=%.2f\n",
           trainer->generation, (unsigned long long)steps,
           (double)(steps * trainer->opts.batch * LM_TARGETS) / seconds,
           (double)comm.busy_ns / 1e9 / seconds,
           (double)ckpt.stall_ns / 1e6 / (double)(ckpt.save_count ? ckpt.save_count : 1));
}

/* ---- the run --------------------------------------------------------------------------------- */

static void tell_slow(const struct trainer *trainer)
{
    struct mst_ckpt_status saves = MST_CKPT_STATUS_INIT;
    (void)mst_ckpt_get_status(trainer->ckpt, &saves); /* its size is set */
    if (*saves.warning && trainer->rank == 0)
        fprintf(stderr, "train_lm: %s\n", saves.warning);
}

static void tell_hidden(const struct trainer *trainer)
{
    struct mst_dataset_info info = MST_DATASET_INFO_INIT;
    (void)mst_loader_info(trainer->loader, &info); /* its size is set */
    if (info.hidden_count && trainer->rank == 0)
        fprintf(stderr, "train_lm: %s: left out %u names that begin with . or _\n",
                trainer->opts.data, info.hidden_count);
}

/* The device, and the communicator that sums on it. */
static int open_device(struct trainer *trainer, struct mst_err *err)
{
    const struct train_opts *opts = &trainer->opts;
    bool on_gpu = strcmp(opts->device, "cuda") == 0;
    uint32_t local_rank = mst_world_local_rank(trainer->world);
    struct mst_comm_opts comm = MST_COMM_OPTS_INIT;
    if (on_gpu)
        comm.backend = "nccl";
    int rc = mst_comm_create(trainer->world, trainer->kv, &comm, &trainer->comm, err);
    if (rc >= 0)
        rc = device_open(&trainer->device, opts->device, local_rank, err);
    void *memory = NULL;
    if (rc >= 0)
        rc = device_alloc(&trainer->device, MST_MEM_PINNED, sizeof *trainer->lm, &memory, err);
    if (rc >= 0)
        rc = optimizer_open(&trainer->optimizer, opts->optimizer, &trainer->device, LM_PARAMS, err);
    trainer->lm = memory;
    trainer->gradients = (struct gradients){.device = &trainer->device,
                                            .comm = trainer->comm,
                                            .sums = trainer->optimizer.grads,
                                            .count = LM_PARAMS};
    if (rc >= 0)
        rc = gradients_open(&trainer->gradients, opts->grad_dtype, opts->micro_batches, err);
    if (rc == -ENOTSUP && on_gpu)
        (void)mst_err_wrap(err, "--device host works without a GPU, cuda does not");
    return rc;
}

static int set_up(struct trainer *trainer)
{
    struct mst_err err = {0};
    const struct train_opts *opts = &trainer->opts;
    struct mst_loader_opts data = {
        .struct_bytes = sizeof data,
        .uri = opts->data,
        .format = MST_FORMAT_RAW,
        .dtype = MST_U8,
        .record_elems = LM_RECORD,
        .record_stride = LM_TARGETS,
        .global_batch = (uint32_t)opts->batch,
        .seed = opts->seed,
    };
    struct mst_ckpt_opts ckpt = MST_CKPT_OPTS_INIT;
    uint64_t deadline = mst_deadline_ms(START_MS);
    ckpt.uri = opts->ckpt;
    if (mst_world_from_env(&trainer->world, &err) < 0)
        return fail(trainer, "start", err.text, err.code);
    trainer->rank = mst_world_rank(trainer->world);
    trainer->size = mst_world_size(trainer->world);
    trainer->generation = mst_world_generation(trainer->world);
    if (mst_kv_dial(trainer->world, deadline, &trainer->kv, &err) < 0 ||
        open_device(trainer, &err) < 0 ||
        mst_loader_open(&data, trainer->world, &trainer->loader, &err) < 0 ||
        mst_ckpt_open(&ckpt, trainer->world, trainer->kv, &trainer->ckpt, &err) < 0 ||
        mst_job_open(trainer->world, &trainer->job, &err) < 0)
        return fail(trainer, "start", err.text, err.code);
    tell_hidden(trainer);
    tell_slow(trainer);
    if (train_opts_agree(opts, trainer->comm, &err) < 0)
        return fail(trainer, "options", err.text, err.code);
    size_t samples = (opts->batch / trainer->size + 1) / opts->micro_batches + 1;
    trainer->rows = calloc(samples * LM_TARGETS, sizeof *trainer->rows);
    if (!trainer->rows)
        return fail(trainer, "activations", NULL, -ENOMEM);
    mst_rng_init(&trainer->rng, opts->seed, 0);
    lm_init(trainer->lm, &trainer->rng);
    return open_logs(trainer);
}

/* 0 finished; MST_EXIT_DRAINED preempted, at a step that all ranks agreed on; MST_EXIT_SAVE_LOST
 * either, but the last checkpoint is not committed; -errno, also if that step's was refused. */
static int run(struct trainer *trainer)
{
    int rc = resume(trainer);
    trainer->start_ns = trainer->told_ns = mst_now_ns();
    trainer->start_step = trainer->told_step = trainer->step;
    while (rc >= 0 && trainer->step < trainer->opts.steps) {
        struct mst_batch batch = MST_BATCH_INIT;
        rc = mst_loader_next(trainer->loader, &batch, mst_deadline_ms(WAIT_MS));
        if (rc < 0)
            return fail(trainer, "data", mst_loader_error(trainer->loader), rc);
        if ((rc = train_step(trainer, &batch)) < 0 || (rc = log_step(trainer, &batch)) < 0)
            return rc;
        tell_progress(trainer);
        int verdict = mst_job_step(trainer->job, trainer->step, mst_deadline_ms(WAIT_MS));
        if (verdict < 0)
            return fail(trainer, "job", NULL, verdict);
        if (verdict != MST_JOB_GO || trainer->step == trainer->opts.steps ||
            trainer->step % trainer->opts.ckpt_every == 0)
            rc = save(trainer);
        report_saves(trainer);
        if (verdict == MST_JOB_STOP && rc >= 0)
            return drain(trainer, MST_EXIT_DRAINED);
        if (verdict == MST_JOB_STOP)
            (void)drain(trainer, rc); /* the save before it may still be under way */
    }
    return rc < 0 ? rc : drain(trainer, 0);
}

static void tear_down(struct trainer *trainer)
{
    mst_job_close(trainer->job);
    mst_ckpt_close(trainer->ckpt);
    mst_loader_close(trainer->loader);
    mst_comm_destroy(trainer->comm);
    device_close(&trainer->device);
    mst_kv_close(trainer->kv);
    mst_world_destroy(trainer->world);
    if (trainer->sample_fd >= 0)
        close(trainer->sample_fd);
    if (trainer->loss_file)
        fclose(trainer->loss_file);
    free(trainer->rows);
    free(trainer);
}

int main(int argc, char **argv)
{
    struct train_opts opts;
    train_opts_parse(argc, argv, &opts);
    struct trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer)
        return 1;
    trainer->opts = opts;
    trainer->sample_fd = -1;
    int rc = set_up(trainer);
    if (rc >= 0)
        rc = run(trainer);
    if (rc >= 0 && trainer->rank == 0)
        print_stats(trainer);
    if (rc == 0 && trainer->rank == 0) {
        print_text(trainer);
        printf("final step=%llu loss=%a samples=%llu\n", (unsigned long long)trainer->step,
               trainer->loss, (unsigned long long)(trainer->step * opts.batch));
    }
    tear_down(trainer);
    if (rc == -EEXIST) /* the root is another job's: that is no fault of this one's to retry */
        return EX_CONFIG;
    return rc < 0 ? 1 : rc;
}
