/* Plan: which world the command line and the environment mean together. Flags stand above
 * variables, but a rank of another launcher stays what it is: an answer that overrules it would
 * start a world inside of each rank. */
#ifndef MUSTER_LAUNCHER_PLAN_H
#define MUSTER_LAUNCHER_PLAN_H

#include <stdbool.h>

#include <stdint.h>

struct flags;
struct mst_err;
struct mst_plan;
struct opts;

/* Fills opts->answer, local_size_reason, overruled, and rdzv_host if a flag gives it. An answer
 * that is an error is no failure. 0; -EINVAL with text for a flag that is wrong, or differs from
 * what this rank of several is; EXITCODE_CONFIG with text for a node rank beyond the nodes. */
int plan_read(const struct flags *flags, struct opts *opts, struct mst_err *err);

/* The number of nodes, or the most that there may be; -1: nobody says it. */
int64_t plan_most_nodes(const struct mst_plan *plan);

/* Whether ranks can be started by what is known. 0; -EINVAL with what to do instead. What only the
 * command line decides may be missing still. */
int plan_check(const struct mst_plan *plan, struct mst_err *err);

/* Fills opts->missing for a plan that plan_check lets pass. */
void plan_find_missing(struct opts *opts, bool has_secret);

#endif
