/* Plan: which world the command line and the environment mean together. Flags stand above
 * variables, but a rank of another launcher stays what it is: an answer that overrules it would
 * start a world inside of each rank. */
#ifndef MUSTER_LAUNCHER_PLAN_H
#define MUSTER_LAUNCHER_PLAN_H

#include <stdbool.h>
#include <stdint.h>

struct mst_err;
struct mst_plan;
struct opts;

/* What the command line says that others have a say in, too. */
struct flags {
    int64_t local_size;                                          /* 0: nothing; FLAGS_NPROC_AUTO */
    int64_t node_count;                                          /* 0: nothing */
    int64_t node_rank, max_restarts, gpu_count;                  /* -1: nothing */
    int log_level, log_format, term;                             /* -1: nothing */
    const char *rdzv, *job_id, *hostname, *pod_ip, *root, *from; /* NULL: nothing */
    int bind, mpi, input; /* of bind_words, mpi_words, input_words, whose first is the default */
    int64_t total;        /* 0: nothing; ranks of the job */
    int64_t master_port;  /* 0: nothing */
    bool standalone, no_prefix, raw;
    const char *master_addr; /* NULL: nothing */
    char rdzv_text[288];     /* master_addr and its port, for rdzv */
};

#define FLAGS_NPROC_AUTO -1

/* Fills opts->answer, local_size_reason, overruled, and rdzv_host if a flag gives it. An answer
 * that is an error is no failure. 0; -EINVAL with text for a flag that is wrong, or differs from
 * what this rank of several is; EXITCODE_CONFIG with text for a node rank beyond the nodes. */
int plan_read(const struct flags *flags, struct opts *opts, struct mst_err *err);

/* Whether ranks can be started by what is known. 0; -EINVAL, or -ENOTSUP for worlds that grow and
 * shrink, with what to do instead. What only the command line decides may be missing still. */
int plan_check(const struct mst_plan *plan, struct mst_err *err);

/* Fills opts->missing for a plan that plan_check lets pass. */
void plan_find_missing(struct opts *opts, bool has_secret);

#endif
