/* The conformance cases and the failures under a real MPI: mpirun -n 2 mpi_conformance CASE [DIR].
 * DIR has two FIFOs, `go` and `end`, where two ranks meet without MPI. A rank prints "rank 1: OK"
 * with the text of its expected error, or what it found instead. */
#include "comm_call.h"
#include "comm_cases.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/world/world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOON_MS 3000 /* of errors that must not wait for the deadline of a collective */

struct context {
    struct mst_world *world;
    struct mst_comm *comm;
    const char *directory;
    char fault[500];
};

/* What a case does; NULL or what went wrong. */
typedef const char *(*case_fn)(struct context *context);

#define CHECK(context, condition, ...)                                                             \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)snprintf((context)->fault, sizeof(context)->fault, __VA_ARGS__);                 \
            return (context)->fault;                                                               \
        }                                                                                          \
    } while (0)

/* Both ranks are here when this returns: opening a FIFO waits for its other end. */
static void meet(const struct context *context, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", context->directory, name);
    int fd = open(path, (mst_world_rank(context->world) == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    if (fd < 0)
        perror(path);
    else
        (void)close(fd);
}

static int join(struct context *context, uint32_t timeout_ms, struct mst_err *err)
{
    struct mst_comm_opts opts = {.struct_bytes = sizeof opts, .timeout_ms = timeout_ms};
    return mst_comm_join(context->world, &opts, &context->comm, err);
}

/* `rc` and the text of the communicator's end are as they should be. */
static const char *expect_end(struct context *context, int rc, int want, const char *words)
{
    const char *text = mst_comm_error(context->comm);
    CHECK(context, rc == want && strstr(text, words), "%d (%s) instead of %d with \"%s\"", rc, text,
          want, words);
    rc = mst_comm_barrier(context->comm, NULL);
    CHECK(context, rc == want, "%d from a dead communicator instead of %d", rc, want);
    printf("rank %u: %s\n", mst_world_rank(context->world), text);
    return NULL;
}

/* ---- the cases ------------------------------------------------------------------------------- */

static const char *conformance(struct context *context)
{
    uint32_t node_sizes[] = {mst_world_size(context->world), 0};
    struct cases_rank view = {
        .comm = context->comm,
        .rank = mst_world_rank(context->world),
        .size = mst_world_size(context->world),
        .node_sizes = node_sizes,
        .expected = malloc(cases_bytes(mst_world_size(context->world))),
    };
    const char *fault = "not over MPI, or no memory";
    cases_init();
    if (view.expected && strcmp(mst_comm_backend(context->comm), "mpi") == 0)
        fault = cases_run(&view);
    free(view.expected);
    CHECK(context, !fault, "%s", fault);
    return NULL;
}

/* Several at a time and one after another: each has its own traffic. */
static const char *communicators(struct context *context)
{
    struct mst_comm *first;
    struct mst_err err = {0};
    for (int i = 0; i < 3; i++) {
        int64_t sum = 1, size = mst_world_size(context->world);
        first = context->comm;
        CHECK(context, join(context, 10000, &err) == 0, "join: %s", err.text);
        CHECK(context,
              mst_comm_allreduce(context->comm, &sum, &sum, 1, MST_I64, MST_SUM, NULL) == 0 &&
                  mst_comm_allreduce(first, &sum, &sum, 1, MST_I64, MST_SUM, NULL) == 0 &&
                  sum == size * size,
              "sum %lld", (long long)sum);
        mst_comm_destroy(first);
        CHECK(context, mst_comm_barrier(context->comm, NULL) == 0, "%s",
              mst_comm_error(context->comm));
    }
    return NULL;
}

/* A child ends as any process does: the MPI is its parent's. */
static const char *forked(struct context *context)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        exit(0);
    CHECK(context, waitpid(child, &status, 0) == child && status == 0, "the child ended with %#x",
          (unsigned)status);
    CHECK(context, mst_comm_barrier(context->comm, NULL) == 0, "%s", mst_comm_error(context->comm));
    return NULL;
}

/* Rank 1 comes after rank 0's deadline: rank 0 names it, and rank 1 hears of it. */
static const char *late(struct context *context)
{
    float value[1000] = {0};
    if (mst_world_rank(context->world) == 1)
        meet(context, "go");
    int rc = mst_comm_allreduce(context->comm, value, value, 1000, MST_F32, MST_SUM, NULL);
    const char *fault = expect_end(context, rc, -ETIMEDOUT, "still missing rank 1");
    if (mst_world_rank(context->world) == 0)
        meet(context, "go");
    return fault;
}

static const char *mismatch(struct context *context)
{
    double value[8] = {0};
    uint64_t soon_ns = mst_deadline_ms(SOON_MS);
    int rc = mst_world_rank(context->world) == 0
                 ? mst_comm_allreduce(context->comm, value, value, 8, MST_F64, MST_MAX, NULL)
                 : mst_comm_broadcast(context->comm, value, 7, MST_F64, 1, NULL);
    CHECK(context, !mst_deadline_passed(soon_ns), "late");
    return expect_end(context, rc, -EPROTO,
                      "rank 0: allreduce max f64 count 8; rank 1: broadcast f64 count 7 root 1");
}

/* Rank 1 aborts while rank 0 waits; started, so that another thread waits than aborts. */
static const char *aborted(struct context *context)
{
    struct mst_req *req;
    float value[4] = {0};
    uint64_t soon_ns = mst_deadline_ms(SOON_MS);
    int rc;
    if (mst_world_rank(context->world) == 0) {
        rc = mst_comm_allreduce(context->comm, value, value, 4, MST_F32, MST_SUM, STARTED(&req));
        rc = rc == 0 ? mst_req_wait(req) : rc;
    } else {
        mst_comm_abort(context->comm);
        rc = mst_comm_barrier(context->comm, NULL);
    }
    CHECK(context, !mst_deadline_passed(soon_ns), "late");
    return expect_end(context, rc, -ECONNRESET, "rank 1 aborted");
}

/* Rank 1 does not come to the making of the second communicator. */
static const char *absent(struct context *context)
{
    struct mst_comm *second;
    struct mst_err err = {0};
    struct mst_comm_opts opts = {.struct_bytes = sizeof opts, .timeout_ms = 500};
    int rc = -ETIMEDOUT;
    if (mst_world_rank(context->world) == 0)
        rc = mst_comm_join(context->world, &opts, &second, &err);
    CHECK(context, rc == -ETIMEDOUT, "%d %s", rc, err.text);
    printf("rank %u: %s\n", mst_world_rank(context->world), err.text);
    return NULL;
}

/* Rank 1 dies in a collective: what then happens is the launcher's decision. */
static const char *killed(struct context *context)
{
    if (mst_world_rank(context->world) == 1)
        (void)raise(SIGKILL);
    int rc = mst_comm_barrier(context->comm, NULL);
    CHECK(context, rc < 0, "a barrier without rank 1");
    return NULL;
}

static const struct test_case {
    const char *name;
    uint32_t timeout_ms[2]; /* of rank 0, of others */
    case_fn run;
} cases[] = {
    {"conformance", {30000, 30000}, conformance}, {"communicators", {10000, 10000}, communicators},
    {"forked", {20000, 20000}, forked},           {"late", {500, 20000}, late},
    {"mismatch", {20000, 20000}, mismatch},       {"aborted", {20000, 20000}, aborted},
    {"absent", {20000, 20000}, absent},           {"killed", {20000, 20000}, killed},
};

static const struct test_case *find_case(const char *name)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(name, cases[i].name) == 0)
            return &cases[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct test_case *test = argc > 1 ? find_case(argv[1]) : NULL;
    struct context context = {.directory = argc > 2 ? argv[2] : NULL};
    struct mst_err err = {0};
    if (!test) {
        fprintf(stderr, "usage: mpi_conformance CASE [DIR]\n");
        return 64;
    }
    int rc = mst_world_from_env(&context.world, &err);
    if (rc == 0)
        rc = join(&context, test->timeout_ms[mst_world_rank(context.world) > 0], &err);
    const char *fault = rc == 0 ? test->run(&context) : err.text;
    printf("rank %u: %s\n", mst_world_rank(context.world), fault ? fault : "OK");
    (void)fflush(stdout);
    if (context.directory)
        meet(&context, "end"); /* a launcher may kill the others when the first ends */
    mst_comm_destroy(context.comm);
    mst_world_destroy(context.world);
    return fault != NULL;
}
