#include "muster/examples/train_opts.h"

#include "muster/comm/comm.h"
#include "muster/core/cli/options.h"
#include "muster/core/err.h"

#include <errno.h>

#define PLACE(field) OPTION_AT(struct train_opts, field)

static const char *const devices[] = {"host", "cuda", NULL};
static const char *const optimizers[] = {
    [OPTIMIZER_SGD] = "sgd", [OPTIMIZER_ADAMW] = "adamw", NULL};
static const char *const grad_dtypes[] = {
    [GRADIENTS_F32] = "f32", [GRADIENTS_BF16] = "bf16", [GRADIENTS_F16] = "f16", NULL};
static const double usual_lr[] = {[OPTIMIZER_SGD] = 0.3, [OPTIMIZER_ADAMW] = 0.01};

static const struct option train_options[] = {
    {"data", OPTION_TEXT, PLACE(data), .value = "URI[,URI]", .required = true,
     .help = "text to train on, or mirrors of it: a path, s3:, http(s):, webhdfs:, hdfs:; *.gz and "
             "*.dz are inflated"},
    {"ckpt", OPTION_TEXT, PLACE(ckpt), .value = "URI", .required = true,
     .help = "checkpoints: a directory, made if missing, or s3:, webhdfs:, hdfs:"},
    {"steps", OPTION_COUNT, PLACE(steps), .value = "N", .required = true, .least = 1, .most = 1e12,
     .help = "stop after N steps, those before a resume included"},
    {"ckpt-every", OPTION_COUNT, PLACE(ckpt_every), .value = "K", .least = 1, .most = 1e12,
     .help = "checkpoint after every K steps (100)"},
    {"batch", OPTION_COUNT, PLACE(batch), .value = "B", .least = 1, .most = 1e6,
     .help = "samples in a step over all ranks (64); one sample predicts 24 bytes"},
    {"micro-batches", OPTION_COUNT, PLACE(micro_batches), .value = "K", .least = 1,
     .most = GRADIENTS_PARTS_MAX,
     .help = "parts in which a rank computes its share of a step, one after the other, whose "
             "gradients are added up in f32 (1)"},
    {"grad-dtype", OPTION_CHOICE, PLACE(grad_dtype), .value = "TYPE", .words = grad_dtypes,
     .help = "of gradients on their way between ranks: f32 (the default), bf16, or f16, which ends "
             "at 65504; parameters and the optimizer stay f32"},
    {"optimizer", OPTION_CHOICE, PLACE(optimizer), .value = "NAME", .words = optimizers,
     .help = "sgd = with momentum (the default), or adamw"},
    {"lr", OPTION_REAL, PLACE(lr), .value = "X", .least = 1e-6, .most = 100,
     .help = "learning rate (0.3; of adamw 0.01)"},
    {"seed", OPTION_COUNT, PLACE(seed), .value = "S", .most = 1e15,
     .help = "of the parameters and the order of samples (1)"},
    {"device", OPTION_TEXT, PLACE(device), .value = "NAME", .words = devices,
     .help = "where parameters, gradients and the optimizer's state are, and where that works: "
             "host (the default), or cuda = the GPU that has this local rank's number, with NCCL. "
             "The gradients themselves are computed on the CPU"},
    {"sample-log", OPTION_TEXT, PLACE(sample_log), .value = "DIR",
     .help = "each process writes \"generation step sample\" lines to a file in DIR, which is made "
             "if missing"},
    {"loss-log", OPTION_TEXT, PLACE(loss_log), .value = "FILE",
     .help = "rank 0 appends \"step loss\" lines"},
    {0},
};

static const struct options command_line = {
    .program = "train_lm",
    .synopsis = "--data URI --ckpt URI --steps N [OPTIONS]",
    .about = "Trains a byte-level language model; resumes from the newest checkpoint in --ckpt.",
    .groups = {{"Options:", train_options}},
    .notes =
        "Exit: 0 finished, 143 preempted, 74 the last checkpoint is lost, 78 another job's root, "
        "64 bad usage, 1 anything else.",
};

void train_opts_parse(int argc, char **argv, struct train_opts *ret_opts)
{
    *ret_opts = (struct train_opts){
        .device = "host", .ckpt_every = 100, .batch = 64, .micro_batches = 1, .seed = 1};
    options_or_exit(&command_line, argc, argv, ret_opts);
    if (ret_opts->lr == 0)
        ret_opts->lr = usual_lr[ret_opts->optimizer];
}

/* `words` are those of the option's numbers, or NULL. */
static int tell_unlike(const char *option, const char *const *words, const double values[3],
                       struct mst_err *err)
{
    double mine = values[0], least = values[1], most = values[2];
    if (words)
        return mst_err_set(err, -EINVAL,
                           "%s: it is %s here, and %s on another rank: give all the same", option,
                           words[(int)mine], words[(int)(mine > least ? least : most)]);
    return mst_err_set(err, -EINVAL,
                       "%s: it is %g here, and from %g to %g on all ranks: give all the same",
                       option, mine, least, most);
}

int train_opts_agree(const struct train_opts *opts, struct mst_comm *comm, struct mst_err *err)
{
    const struct {
        const char *name;
        double value;
        const char *const *words;
    } alike[] = {{"--steps", (double)opts->steps, NULL},
                 {"--ckpt-every", (double)opts->ckpt_every, NULL},
                 {"--batch", (double)opts->batch, NULL},
                 {"--micro-batches", (double)opts->micro_batches, NULL},
                 {"--grad-dtype", (double)opts->grad_dtype, grad_dtypes},
                 {"--seed", (double)opts->seed, NULL},
                 {"--optimizer", (double)opts->optimizer, optimizers},
                 {"--lr", opts->lr, NULL}};
    enum { COUNT = sizeof alike / sizeof alike[0] };
    double mine[COUNT], least[COUNT], most[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        mine[i] = alike[i].value;
    int rc = mst_comm_allreduce(comm, mine, least, COUNT, MST_F64, MST_MIN, NULL);
    if (rc >= 0)
        rc = mst_comm_allreduce(comm, mine, most, COUNT, MST_F64, MST_MAX, NULL);
    if (rc < 0)
        return mst_err_set(err, rc, "%s", mst_comm_error(comm));
    for (size_t i = 0; i < COUNT; i++)
        if (least[i] < most[i])
            return tell_unlike(alike[i].name, alike[i].words,
                               (double[]){mine[i], least[i], most[i]}, err);
    return 0;
}
