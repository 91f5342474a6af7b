/* The command line of train_lm. */
#ifndef MUSTER_EXAMPLES_TRAIN_OPTS_H
#define MUSTER_EXAMPLES_TRAIN_OPTS_H

#include "muster/examples/optimizer.h"

#include <stdint.h>

struct train_opts {
    const char *data, *ckpt;           /* URIs */
    const char *device;                /* "cuda", "host" */
    const char *sample_log, *loss_log; /* a folder, a file, or NULL */
    uint64_t steps, ckpt_every, batch, seed;
    enum optimizer_kind optimizer;
    double lr;
};

/* Parses argv, whose strings ret_opts borrows. Ends the program for --help, and with 64 and a text
 * for what it does not understand. */
void train_opts_parse(int argc, char **argv, struct train_opts *ret_opts);

#endif
