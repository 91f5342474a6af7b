/* Opts_mpi: by what the ranks of a program are connected: --mpi, and what can be seen of it. */
#ifndef MUSTER_LAUNCHER_OPTS_MPI_H
#define MUSTER_LAUNCHER_OPTS_MPI_H

struct mst_err;
struct opts;

/* What --mpi may say, as enum opts_mpi has them; ends with NULL. */
extern const char *const opts_mpi_words[];

/* Decides what `auto` is, and finds muster-pmix. 0; -ENOTSUP with text: the program needs an MPI
 * that is not served so, or at all, or muster-pmix is not there. */
int opts_settle_mpi(struct opts *opts, struct mst_err *err);

#endif
