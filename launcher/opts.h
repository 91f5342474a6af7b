/* Opts: the command line and the environment of `muster run` and `muster env`, in one struct. The
 * command line wins, unless this is a rank of another launcher (launcher/plan.h). */
#ifndef MUSTER_LAUNCHER_OPTS_H
#define MUSTER_LAUNCHER_OPTS_H

#include "muster/core/cli/options.h"
#include "muster/core/resolve/ports.h"
#include "muster/core/resolve/resolve.h"
#include "muster/core/world/state.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/log.h"
#include "muster/launcher/outlog.h"
#include "muster/launcher/program.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTS_HOST_BYTES 256
#define OPTS_MISSING_MAX 3

/* Who hears the signals that a scheduler sends to all processes of the job. */
enum opts_term {
    OPTS_TERM_PROGRAM, /* each rank for itself, as the program has it */
    OPTS_TERM_AGENT    /* the agent, for its ranks, which ignore them to begin with */
};

enum opts_mpi {
    OPTS_MPI_AUTO, /* no program of MPI, as far as can be seen: its libraries are looked for */
    OPTS_MPI_NONE, /* programs of MPI are started, and nobody looks for its libraries */
    OPTS_MPI_PMI1, /* PMI-1 is served */
    OPTS_MPI_PMIX, /* PMIx is served, by muster-pmix */
};

struct opts {
    struct mst_answer *answer; /* the caller's, and filled in: what the environment means; flags
                                  are in its plan already */
    const char *scheme;        /* who said how many nodes there are: "flags", or a plan's scheme */
    uint32_t local_size;       /* ranks on this node */
    const char *local_size_reason;   /* static text: "given", "GPUs", "cores", "environment" */
    uint32_t node_count, node_rank;  /* at most so many; those above them are spares */
    uint32_t node_least;             /* the world may run with so many; 0: it may not be fewer */
    uint32_t spare_count;            /* nodes that wait for the place of a lost one */
    uint32_t last_call_ms;           /* how long nodes that suffice wait for the others */
    bool is_beside;                  /* the world of ranks: one program starts, alone */
    uint32_t world_size;             /* as -n says; 0: it does not */
    char rdzv_host[OPTS_HOST_BYTES]; /* of node 0; 127.0.0.1 if there is one node */
    uint16_t
        rdzv_ports[MST_PORTS_COUNT]; /* node 0 listens on the first that is free; 0: any, one node
                                         only */
    uint32_t rdzv_port_count;        /* 1 if somebody names it */
    uint32_t max_restarts;
    uint32_t grace_ms, rdzv_timeout_ms, peer_timeout_ms;
    uint32_t deadline_ms; /* the job's own time; 0: it has all there is */
    uint64_t end_ns;      /* when that is over, monotonic; 0: never */
    enum exitcode_profile profile;
    const char *profile_by; /* static: "given", who was found, "nobody known" */
    enum opts_term term;
    bool ignores_save_errors; /* a lost last checkpoint does not change the exit code */
    bool unbound;             /* ranks may use every core of this container */
    enum opts_mpi mpi;
    bool mpi_is_guessed;           /* the program may not use it */
    char pmix[PROGRAM_PATH_BYTES]; /* the file of muster-pmix, where PMIx is served */
    bool report_bindings;
    bool take_root;   /* checkpoints' roots of other jobs, too */
    bool elsewhere;   /* the plan is another machine's, by --hostname and its like */
    const char *path; /* where programs are looked for: PATH, or NULL */
    bool dry_run, json, explain, check, insecure;
    char overruled[240]; /* what the environment says and the flags do not; empty: nothing */
    char idle[240];      /* options that do nothing here: for another launcher's rank, a pod beside
                            the world, one node */
    const char *missing[OPTS_MISSING_MAX + 1]; /* what a start still lacks; static, NULL-ended */
    char job_id[MST_JOB_ID_BYTES];  /* --job-id, else the scheduler's; empty: nobody named it */
    char meeting[MST_JOB_ID_BYTES]; /* job_id, and which start within it: what agents compare */
    const char *log_dir;            /* or NULL; points into argv */
    const char *prefix;             /* a valid template of launcher/prefix.h */
    enum outlog_mode output;
    bool feeds_rank0;           /* rank 0 has this process's stdin */
    struct option_list exports; /* NAME=VALUE, and NAME of variables that are set */
    enum log_level log_level;
    enum log_format log_format;
    uint8_t secret[MST_SECRET_BYTES_MAX];
    uint32_t secret_bytes;
    char **argv; /* the program and its arguments; NULL-ended, maybe empty; points into argv */
    char **env;  /* the process's own environment, and exports above it */
    char **merged_env; /* holds that, if there are any */
};

/* What `muster run` and `muster env` understand. */
extern const struct options run_options, env_options;

/* Parses what follows the word `run` or `env` (argv[0] is skipped) and finds out what the
 * environment and the hardware mean: fills *ret_opts->answer, which is the caller's, argv, env and
 * what has a flag of its own. An answer of mode error is no failure. 0; what else options_parse
 * returns; EXITCODE_CONFIG with text, and log_level and log_format are filled in then, too. */
int opts_read(const struct options *options, int argc, char **argv, struct opts *ret_opts,
              struct mst_err *err);

/* Whether `run` can start, or become, anything by the answer. 0; -EINVAL or -ENOTSUP with what to
 * do instead. */
int opts_check(const struct opts *opts, struct mst_err *err);

/* What is missing, side by side, into `text`, which is returned. Asserts that it fits. */
const char *opts_join_missing(const struct opts *opts, char *text, size_t cap);

/* opts_read for `run`, and all that a start needs, the secret's file too. In another mode than
 * spawn, rank and no_collective there is nothing to start: EXITCODE_CONFIG, as for a contradiction,
 * with what to do instead. In mode rank the rest of *ret_opts stays empty. */
int opts_parse(int argc, char **argv, struct opts *ret_opts, struct mst_err *err);

/* Frees what opts_parse made; a zeroed struct is allowed. */
void opts_fini(struct opts *opts);

#endif
