/* Resolve: which world the environment of this pod or task means. One parser per family of
 * operators says what its variables mean (a candidate); candidates that agree are merged, ones that
 * disagree are an error that names both, and nothing is ever read as a silent world of one.
 *
 * Life: fill a struct mst_machine, call mst_resolve, read the answer. The answer is a plain struct
 * and owns nothing. Pure but for the caller's read_file: any thread, no lock. */
/* pure */
#ifndef MUSTER_CORE_RESOLVE_RESOLVE_H
#define MUSTER_CORE_RESOLVE_RESOLVE_H

#include "muster/core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MST_UNKNOWN (-1)       /* in every number of a plan: nobody said */
#define MST_HOST_BYTES 256     /* a host's name and its NUL */
#define MST_JOB_ID_BYTES 128   /* a job's name and its NUL */
#define MST_STEP_ID_BYTES 32   /* a step's number and its NUL */
#define MST_PORT_DEFAULT 29500 /* of torchrun, TrainJob and everything that names none */
#define MST_CANDIDATES_MAX 48  /* at least the number of parsers */

/* What names of jobs, and of hosts, are made of. */
#define MST_NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

enum mst_plan_mode {
    MST_PLAN_UNSET,                /* a candidate that knows a part only */
    MST_PLAN_SPAWN,                /* start local_size ranks here */
    MST_PLAN_RANK,                 /* this process is a rank already: start nothing */
    MST_PLAN_CONTROL,              /* a launcher's pod: it runs no rank */
    MST_PLAN_NO_COLLECTIVE,        /* a parameter server, evaluator, scheduler: outside the world */
    MST_PLAN_WAIT_FOR_LAUNCHER,    /* a worker that only its launcher can tell more */
    MST_PLAN_ELASTIC_UNKNOWN_SIZE, /* a member of a world whose size nobody says */
    MST_PLAN_ERROR
};

struct mst_plan {
    enum mst_plan_mode mode;
    const char *scheme;    /* static: what --from takes, "pet", "slurm"; "single" if nobody spoke */
    const char *scheduler; /* static: "PyTorchJob", "Slurm" */
    int64_t world_size;    /* ranks */
    int64_t node_count, node_rank;
    int64_t
        local_size; /* ranks on this node; before defaults unknown means one per GPU, else one */
    int64_t rank, local_rank; /* in mode rank only */
    int64_t elastic_min, elastic_max;
    int64_t max_restarts, incarnation;
    int64_t master_port;
    int64_t default_port; /* the scheme's own, when nobody gives one */
    bool port_is_default; /* and it was taken for master_port */
    int64_t device_count; /* GPUs of a node by a variable: its ranks where nobody counts those */
    int64_t loose_count;  /* WORLD_SIZE, which counts nodes or ranks: one of them must match */
    char master_host[MST_HOST_BYTES]; /* empty if not known */
    bool host_is_derived;             /* from this machine's own name, by nobody's word */
    char role[64];
    char rdzv_id[128];
    char job_id[MST_JOB_ID_BYTES];   /* what the job is called on every node alike; empty: nobody
                                        said */
    char step_id[MST_STEP_ID_BYTES]; /* which of the starts within that job; empty: nobody said */
};

/* The plan that says nothing: every number unknown, every word empty. */
extern const struct mst_plan mst_plan_unknown;

struct resolve_family; /* core/resolve/parser.h */

struct mst_candidate {
    struct mst_plan plan;
    struct mst_err err;                  /* code 0, or why these variables cannot be meant */
    const struct resolve_family *family; /* static: whose variables these are */
    bool is_passed_over;                 /* not asked, as the process is a rank already */
};

struct mst_answer {
    struct mst_plan plan; /* mode error: only names, role and node_rank may be filled */
    struct mst_err err;
    uint32_t candidate_count;
    struct mst_candidate candidates[MST_CANDIDATES_MAX]; /* by precedence, the strongest first */
};

/* What this machine says. Pointers are borrowed for the call. */
struct mst_machine {
    char *const *env;     /* NULL-ended "NAME=value"; of two with the same name the last counts */
    const char *hostname; /* "" if not known */
    const char *pod_ip;   /* "" if not known */
    bool is_sized;        /* flags say how many ranks this node has: the hardware is not asked */
    uint32_t gpu_count;
    uint32_t core_count;      /* 0 if not known */
    void (*count)(void *arg); /* fills the two when they are asked for; NULL: they are there */
    /* The text of a file, or of a folder (a path ending in "/") the names in it, one a line; NULL
     * if it cannot be read. Stays valid until the next call. */
    const char *(*read_file)(void *arg, const char *path);
    void *arg;
};

/* The counts of *machine, by its `count` if they are not there yet. */
uint32_t mst_machine_gpus(const struct mst_machine *machine);
uint32_t mst_machine_cores(const struct mst_machine *machine);

/* Fills *ret_answer, all of it and in every case. `from` names the one scheme to believe (besides
 * MST_* variables), or is NULL. 0; -EINVAL with the reason in ret_answer->err. */
int mst_resolve(const struct mst_machine *machine, const char *from, struct mst_answer *ret_answer);

/* Whether the world has, or may have, other processes than one that was started here by itself:
 * so says a plan of several nodes or of an unknown number of them, a rank of several, a launcher
 * that is to start this process, a count that a variable gives on one node
 * (PET_NPROC_PER_NODE=4), and a plan that is refused. Not so say "single", a pod beside the
 * world, and one node whose ranks nobody counted but its own GPUs or cores. For answers as
 * mst_resolve gives them, before any flag. */
bool mst_answer_has_others(const struct mst_answer *answer);

/* The candidate's variables, of which some are set: text `index` (0, 1, …) of "A B_*", separated by
 * blanks, or NULL behind the last. Static. */
const char *mst_candidate_variables(const struct mst_candidate *candidate, uint32_t index);

/* Fills job_id and step_id of a plan that did not come from mst_resolve. The name is what a
 * scheduler calls the job alike on every node; where several do, the one that tells most jobs
 * apart. Nothing of this machine's own name is in it, as pods share that of their node. */
void mst_plan_name_job(const struct mst_machine *machine, struct mst_plan *plan);

/* Makes a name of MST_NAME_LETTERS that fits: what had to be changed or cut is closed by '-' and a
 * hash of all of it, so that two names do not become one. `cap` is over 18. */
void mst_name_fit(const char *name, char *to, size_t cap);

/* What --from may name: "none", and every scheme once. NULL-ended, static. */
extern const char *const mst_schemes[];

/* "spawn", "wait_for_launcher": static text. */
const char *mst_plan_mode_name(enum mst_plan_mode mode);

#endif
