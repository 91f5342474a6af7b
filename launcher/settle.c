#include "muster/launcher/settle.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/mpi.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/program.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_DIGITS "0123456789"

const char *const settle_mpi_words[] = {"auto", "none", "pmi1", "pmix", NULL};

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
                       opts->mpi == OPTS_MPI_AUTO ? "" : settle_mpi_words[opts->mpi],
                       mpi_way(library));
}

int settle_mpi(struct opts *opts, struct mst_err *err)
{
    static const enum opts_mpi served_by[] = {[MPI_FAMILY_NONE] = OPTS_MPI_NONE,
                                              [MPI_FAMILY_MPICH] = OPTS_MPI_PMI1,
                                              [MPI_FAMILY_OPEN] = OPTS_MPI_PMIX};
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
    return opts->mpi == OPTS_MPI_PMIX ? find_pmix(opts, err) : 0;
}

/* MST_* variables say what the world is, and nothing of who starts it: the first that is somebody
 * counts. */
void settle_profile(struct opts *opts, int flag)
{
    const struct mst_answer *answer = opts->answer;
    opts->profile = flag >= 0 ? (enum exitcode_profile)flag : EXITCODE_PLAIN;
    opts->profile_by = flag >= 0 ? "given" : "nobody known";
    for (uint32_t i = 0; flag < 0 && i < answer->candidate_count; i++) {
        const char *scheduler = answer->candidates[i].plan.scheduler;
        opts->profile = exitcode_guess(scheduler);
        if (opts->profile == EXITCODE_PLAIN)
            continue;
        opts->profile_by = scheduler;
        return;
    }
}

int settle_end(struct opts *opts, const char *start, struct mst_err *err)
{
    uint64_t now_s = (uint64_t)time(NULL), since_ms = 0;
    if (opts->deadline_ms == 0)
        return 0;
    if (start && (!*start || strlen(start) > 11 || strspn(start, START_DIGITS) != strlen(start)))
        return mst_err_set(err, -EINVAL,
                           "MST_JOB_START=%.64s is no number of seconds since 1970: set it to what "
                           "`date +%%s` says where the job is made, or leave it out",
                           start);
    uint64_t start_s = start ? strtoull(start, NULL, 10) : now_s;
    if (start_s < now_s)
        since_ms = (now_s - start_s) * 1000;
    opts->end_ns = mst_now_ns();
    if (since_ms < opts->deadline_ms)
        opts->end_ns += (opts->deadline_ms - since_ms) * MST_NS_PER_MS;
    return 0;
}
