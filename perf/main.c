/* muster-bench: `muster bench <collective>` measures one collective the way nccl-tests does. */
#include "muster/core/err.h"
#include "muster/core/world/world.h"
#include "muster/perf/bench.h"
#include "muster/perf/launch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define EXIT_FAILED BENCH_WRONG /* or a collective failed */
#define EXIT_USAGE 64           /* as `muster` itself */

static void print_usage(FILE *out)
{
    fputs("usage: muster bench COLLECTIVE [OPTIONS]\n\nCollectives:", out);
    const struct collective *coll;
    for (size_t i = 0; (coll = collective_at(i)) != NULL; i++)
        fprintf(out, " %s", coll->name);
    fprintf(out, "\n\nOptions, as in nccl-tests (default):\n%s", bench_opts_usage());
}

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
        return fail(&err, EXIT_USAGE);
    uint32_t nproc = opts->nproc > 0 ? (uint32_t)opts->nproc : launch_default_nproc();
    bool alone = mst_world_source(world) == MST_WORLD_SINGLE && nproc > 1;
    int rc = alone ? launch_ranks(nproc, argc, argv, &err)
                   : bench_run(coll, opts, world, argc, argv, &err);
    mst_world_destroy(world);
    if (rc < 0)
        return fail(&err, rc == -EINVAL ? EXIT_USAGE : EXIT_FAILED);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench_opts opts;
    struct mst_err err = {0};
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        print_usage(stdout);
        return 0;
    }
    const struct collective *coll = collective_find(argv[1]);
    if (!coll) {
        mst_err_set(&err, -EINVAL, "%s: no such collective; see --help", argv[1]);
        return fail(&err, EXIT_USAGE);
    }
    if (bench_opts_parse(argc - 1, argv + 1, &opts, &err) < 0)
        return fail(&err, EXIT_USAGE);
    if (opts.help) {
        print_usage(stdout);
        return 0;
    }
    return run(coll, &opts, argc, argv);
}
