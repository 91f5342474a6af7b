#include "muster/examples/train_opts.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: train_lm --data URI --ckpt URI --steps N [options]\n"
    "\n"
    "Trains a byte-level language model; resumes from the newest checkpoint in --ckpt.\n"
    "\n"
    "  --data URI[,URI]  text to train on, or mirrors of it: a path, s3:, http(s):, webhdfs:,\n"
    "                    hdfs:; *.gz and *.dz are inflated\n"
    "  --ckpt URI        checkpoints: a directory, made if missing, or s3:, webhdfs:, hdfs:\n"
    "  --steps N         stop after N steps, those before a resume included\n"
    "  --ckpt-every K    checkpoint after every K steps (100)\n"
    "  --batch B         samples in a step over all ranks (64); one sample predicts 24 bytes\n"
    "  --lr X            learning rate (0.3)\n"
    "  --seed S          of the parameters and the order of samples (1)\n"
    "  --device NAME     where gradients are summed: cuda = on the GPU that has this local\n"
    "                    rank's number, by NCCL; host = in memory that stands in for one.\n"
    "                    Everything else is computed on the CPU\n"
    "  --sample-log DIR  each process writes \"generation step sample\" lines to a file in DIR\n"
    "  --loss-log FILE   rank 0 appends \"step loss\" lines\n"
    "\n"
    "Exit: 0 finished, 143 preempted, 64 bad usage, 1 anything else.\n";

static double number(const char *option, const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (*end || end == text || !(value >= least && value <= most)) {
        fprintf(stderr, "train_lm: --%s %s: expected a number from %g to %.0f\n", option, text,
                least, most);
        exit(64);
    }
    return value;
}

void train_opts_parse(int argc, char **argv, struct train_opts *ret_opts)
{
    static const struct option names[] = {
        {"data", required_argument, NULL, 'd'},
        {"ckpt", required_argument, NULL, 'c'},
        {"steps", required_argument, NULL, 'n'},
        {"ckpt-every", required_argument, NULL, 'k'},
        {"batch", required_argument, NULL, 'b'},
        {"lr", required_argument, NULL, 'l'},
        {"seed", required_argument, NULL, 's'},
        {"device", required_argument, NULL, 'D'},
        {"sample-log", required_argument, NULL, 'S'},
        {"loss-log", required_argument, NULL, 'L'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct train_opts opts = {.ckpt_every = 100, .batch = 64, .lr = 0.3, .seed = 1};
    for (int which, i; (which = getopt_long(argc, argv, "h", names, &i)) != -1;) {
        switch (which) {
        case 'd': opts.data = optarg; break;
        case 'c': opts.ckpt = optarg; break;
        case 'D': opts.device = optarg; break;
        case 'S': opts.sample_log = optarg; break;
        case 'L': opts.loss_log = optarg; break;
        case 'n': opts.steps = (uint64_t)number("steps", optarg, 1, 1e12); break;
        case 'k': opts.ckpt_every = (uint64_t)number("ckpt-every", optarg, 1, 1e12); break;
        case 'b': opts.batch = (uint64_t)number("batch", optarg, 1, 1e6); break;
        case 's': opts.seed = (uint64_t)number("seed", optarg, 0, 1e15); break;
        case 'l': opts.lr = number("lr", optarg, 1e-6, 100); break;
        case 'h': fputs(usage, stdout); exit(0);
        default: fputs("see train_lm --help\n", stderr); exit(64);
        }
    }
    if (opts.device && strcmp(opts.device, "cuda") != 0 && strcmp(opts.device, "host") != 0) {
        fprintf(stderr, "train_lm: --device %s: expected cuda or host\n", opts.device);
        exit(64);
    }
    if (!opts.data || !opts.ckpt || !opts.steps || optind != argc) {
        fputs("train_lm: --data, --ckpt and --steps are needed; see train_lm --help\n", stderr);
        exit(64);
    }
    *ret_opts = opts;
}
