/* Flags: those that are settled among themselves, before anybody else has a say. */
#ifndef MUSTER_LAUNCHER_FLAGS_H
#define MUSTER_LAUNCHER_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

struct mst_err;
struct option_list;
struct opts;

/* What the command line says that others have a say in, too. */
struct flags {
    int64_t local_size; /* 0: nothing; enum flags_nproc */
    const char *nodes;  /* NULL: nothing; "N" or "MIN:MAX", as flags_read_nodes takes it */
    int64_t node_count, node_least;                              /* 0: nothing; both of nodes */
    int64_t node_rank, max_restarts, gpu_count;                  /* -1: nothing */
    int log_level, log_format, term, profile;                    /* -1: nothing */
    const char *rdzv, *job_id, *hostname, *pod_ip, *root, *from; /* NULL: nothing */
    int bind, mpi, input; /* of bind_words, mpi_words, input_words, whose first is the default */
    int64_t total;        /* 0: nothing; ranks of the job */
    int64_t master_port;  /* 0: nothing */
    bool standalone, no_prefix, raw;
    const char *master_addr; /* NULL: nothing */
    char rdzv_text[288];     /* master_addr and its port, for rdzv */
};

/* What local_size may be in place of a number. */
enum flags_nproc { FLAGS_NPROC_AUTO = -1, FLAGS_NPROC_GPU = -2, FLAGS_NPROC_CPU = -3 };

/* Reads "N", or "MIN:MAX" where nodes may come and go. False: it is neither, or out of range. */
bool flags_read_nodes(const char *text, int64_t *ret_least, int64_t *ret_most);

/* Other launchers' ways to say the same: fills node_count and rdzv, which may point into *flags. 0;
 * -EINVAL with text for two that contradict one another. */
int flags_settle(struct flags *flags, struct mst_err *err);

/* Fills output, prefix and feeds_rank0. 0; -EINVAL with text for two that contradict one another,
 * and for a terminal, which no rank can read. */
int flags_settle_output(const struct flags *flags, struct opts *opts, struct mst_err *err);

/* 0; -EINVAL with text for an export of a variable that each rank gets from the launcher. */
int flags_check_exports(const struct option_list *exports, struct mst_err *err);

/* What ranks inherit: makes opts->env of this process's variables and those of --export above them.
 * 0; -ENOMEM with text. */
int flags_export(struct opts *opts, struct mst_err *err);

#endif
