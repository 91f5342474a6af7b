#include "muster/launcher/opts_mpi.h"

#include "muster/core/err.h"
#include "muster/launcher/mpi.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/program.h"

#include <errno.h>
#include <unistd.h>

const char *const opts_mpi_words[] = {"auto", "none", "pmi1", "pmix", NULL};

static const enum opts_mpi served_by[] = {[MPI_FAMILY_NONE] = OPTS_MPI_NONE,
                                          [MPI_FAMILY_MPICH] = OPTS_MPI_PMI1,
                                          [MPI_FAMILY_OPEN] = OPTS_MPI_PMIX};

/* Beside this program, else in PATH. */
static int find_pmix(struct opts *opts, struct mst_err *err)
{
    static const char name[] = "muster-pmix";
    if (program_beside(name, opts->pmix) && access(opts->pmix, X_OK) == 0)
        return 0;
    if (program_find(name, opts->path, opts->pmix) == 0)
        return 0;
    return mst_err_set(err, -ENOTSUP,
                       "ranks of Open MPI are connected by muster-pmix, which is neither beside "
                       "muster nor in PATH: it is built where Debian's package libpmix-dev is; or "
                       "start them with mpirun, or with --mpi=none if they do not use MPI");
}

/* To an MPI that nobody serves each rank is alone, and says so by a result that looks right. */
static int refuse_mpi(const struct opts *opts, const char *library, bool is_needed,
                      struct mst_err *err)
{
    return mst_err_set(err, -ENOTSUP,
                       "%.60s is %s %.30s, which %s%s does not connect: each rank would be alone; "
                       "%s, or with --mpi=none if it does not use that library",
                       opts->argv[0], is_needed ? "linked with" : "told by MPI4PY_* to load",
                       library, opts->mpi == OPTS_MPI_AUTO ? "muster run" : "--mpi=",
                       opts->mpi == OPTS_MPI_AUTO ? "" : opts_mpi_words[opts->mpi],
                       mpi_way(library));
}

/* What a Python would load if its program imports mpi4py is served, if it can be: a program that
 * does not is none the worse for it, and one that is not served after all is seen later. */
static void guess(struct opts *opts)
{
    char library[MPI_LIBRARY_BYTES];
    struct mst_err why = {0};
    if (!mpi_is_imported(opts->argv, opts->path, opts->env, library))
        return;
    enum opts_mpi by = served_by[mpi_family_of(library)];
    if (by == OPTS_MPI_NONE || (by == OPTS_MPI_PMIX && find_pmix(opts, &why)))
        return;
    opts->mpi = by;
    opts->mpi_is_guessed = true;
}

int opts_settle_mpi(struct opts *opts, struct mst_err *err)
{
    char library[MPI_LIBRARY_BYTES];
    bool are_several = opts->node_count * opts->local_size > 1, is_needed = false;
    if (opts->is_beside)
        opts->mpi = OPTS_MPI_NONE;
    if (opts->mpi != OPTS_MPI_NONE && are_several &&
        ((is_needed = mpi_is_needed(opts->argv, opts->path, library)) ||
         mpi_is_named(opts->env, library))) {
        enum opts_mpi by = served_by[mpi_family_of(library)];
        if (by == OPTS_MPI_NONE || (opts->mpi != OPTS_MPI_AUTO && opts->mpi != by))
            return refuse_mpi(opts, library, is_needed, err);
        opts->mpi = by;
    }
    if (opts->mpi == OPTS_MPI_AUTO && are_several)
        guess(opts);
    return opts->mpi == OPTS_MPI_PMIX && !opts->mpi_is_guessed ? find_pmix(opts, err) : 0;
}
