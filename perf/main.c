/* muster-bench: `muster bench <collective>` measures one collective the way nccl-tests does. */
#include "muster/core/cli/options.h"
#include "muster/core/err.h"
#include "muster/core/world/world.h"
#include "muster/perf/bench.h"
#include "muster/perf/launch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#define EXIT_FAILED BENCH_WRONG /* or a collective failed */

static int fail(const struct mst_err *err, int status)
{
    fprintf(stderr, "muster-bench: %s\n", err->text);
    return status;
}

/* In a world of its own the program is a rank; without one it starts ranks. */
static int run(const struct collective *coll, const struct bench_opts *opts, int argc, char **argv)
{
    struct mst_world *world = NULL;
    struct mst_err err = {0};
    if (mst_world_from_env(&world, &err) < 0)
        return fail(&err, OPTIONS_EXIT_USAGE);
    uint32_t nproc = opts->nproc > 0 ? (uint32_t)opts->nproc : launch_default_nproc();
    bool alone = mst_world_get_source(world) == MST_WORLD_SINGLE && nproc > 1;
    int rc = alone ? launch_ranks(nproc, argc, argv, &err)
                   : bench_run(coll, opts, world, argc, argv, &err);
    mst_world_destroy(world);
    if (rc < 0)
        return fail(&err, rc == -EINVAL ? OPTIONS_EXIT_USAGE : EXIT_FAILED);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench_opts opts;
    struct mst_err err = {0};
    bool is_named = argc > 1 && argv[1][0] != '-';
    const struct collective *coll = is_named ? collective_find(argv[1]) : NULL;
    int rc = bench_opts_parse(argc - is_named, argv + is_named, &opts, &err);
    if (rc == 0 && !is_named)
        rc = mst_err_set(&err, -EINVAL, "no collective given");
    else if (rc == 0 && !coll)
        rc = mst_err_set(&err, -EINVAL, "%s: no such collective", argv[1]);
    return rc ? options_answer(&bench_options, rc, &err) : run(coll, &opts, argc, argv);
}
