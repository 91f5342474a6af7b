/* The command line of train_lm, which is every rank's. */
#ifndef MUSTER_EXAMPLES_TRAIN_OPTS_H
#define MUSTER_EXAMPLES_TRAIN_OPTS_H

#include "muster/examples/gradients.h"
#include "muster/examples/optimizer.h"

#include <stdint.h>

struct mst_comm;
struct mst_err;

struct train_opts {
    const char *data, *ckpt;           /* URIs */
    const char *device;                /* "cuda", "host" */
    const char *sample_log, *loss_log; /* a folder, a file, or NULL */
    uint64_t steps, ckpt_every, batch, micro_batches, seed;
    enum optimizer_kind optimizer;
    enum gradients_type grad_dtype;
    double lr;
};

/* Parses argv, whose strings ret_opts borrows. Ends the program for --help, and with 64 and a text
 * for what it does not understand. */
void train_opts_parse(int argc, char **argv, struct train_opts *ret_opts);

/* Whether all ranks have the same of what must be the same: with other options each would train a
 * model of its own, or wait for the others. Collective. 0; -EINVAL naming an option; an error of
 * comm; with text. */
int train_opts_agree(const struct train_opts *opts, struct mst_comm *comm, struct mst_err *err);

#endif
