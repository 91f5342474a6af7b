/* Flags: those that are settled among themselves, before anybody else has a say. */
#ifndef MUSTER_LAUNCHER_FLAGS_H
#define MUSTER_LAUNCHER_FLAGS_H

struct flags;
struct mst_err;
struct opts;

#define FLAGS_PORT 29500 /* where node 0 listens if nobody says */

/* Other launchers' ways to say the same: fills node_count and rdzv, which may point into *flags. 0;
 * -EINVAL with text for two that contradict one another. */
int flags_settle(struct flags *flags, struct mst_err *err);

/* Fills output, prefix and feeds_rank0. 0; -EINVAL with text for two that contradict one another,
 * and for a terminal, which no rank can read. */
int flags_settle_output(const struct flags *flags, struct opts *opts, struct mst_err *err);

/* What ranks inherit: makes opts->env of this process's variables and those of --export above them.
 * 0; -ENOMEM with text. */
int flags_export(struct opts *opts, struct mst_err *err);

#endif
