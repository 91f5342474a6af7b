/* The face: what is refused, what ends a communicator and with which words, and started
 * requests. The results themselves are comm_conformance's. */
#include "comm_team.h"
#include "soon.h"

#include "muster/core/world/page.h"

#include <sched.h>

#define CHECK_CODE(rank, got, expected)                                                            \
    do {                                                                                           \
        int code_ = (got);                                                                         \
        TEAM_CHECK(rank, code_ == (expected), "line %d: %d, not %d: %s", __LINE__, code_,          \
                   expected, mst_comm_error((rank)->comm));                                        \
    } while (0)
#define CHECK_TEXT(rank, part)                                                                     \
    TEAM_CHECK(rank, strstr(mst_comm_error((rank)->comm), part), "line %d: \"%s\" has no \"%s\"",  \
               __LINE__, mst_comm_error((rank)->comm), part)

/* ---- arguments ------------------------------------------------------------------------------- */

#define CHECK_REFUSED(rank, got, expected, part)                                                   \
    do {                                                                                           \
        CHECK_CODE(rank, got, expected);                                                           \
        CHECK_TEXT(rank, part);                                                                    \
    } while (0)

static const char *refuses_bad_arguments(struct team_rank *rank)
{
    float a[4] = {0};
    void *astray = (char *)a + 2; /* no place for a float */
    struct mst_comm *comm = rank->comm;
    CHECK_REFUSED(rank, mst_comm_allreduce(comm, NULL, a, 4, MST_F32, MST_SUM, NULL), -EINVAL,
                  "allreduce sum f32 count 4: \"in\" is NULL");
    CHECK_REFUSED(rank, mst_comm_allreduce(comm, a, NULL, 4, MST_F32, MST_SUM, NULL), -EINVAL,
                  "\"out\" is NULL");
    CHECK_REFUSED(rank, mst_comm_allreduce(comm, a, a, SIZE_MAX / 2, MST_F32, MST_SUM, NULL),
                  -EINVAL, "the count overflows: 1 blocks, 4 bytes");
    CHECK_REFUSED(rank, mst_comm_allgather(comm, a, a, PTRDIFF_MAX / 4, MST_F32, NULL), -EINVAL,
                  "the count overflows: 2 blocks, 4 bytes");
    CHECK_REFUSED(rank, mst_comm_broadcast(comm, a, 4, MST_F32, rank->team->size, NULL), -EINVAL,
                  "broadcast f32 count 4 root 2: no rank 2 among 2");
    CHECK_REFUSED(rank, mst_comm_allreduce(comm, a, a, 4, MST_F8E4M3, MST_SUM, NULL), -ENOTSUP,
                  "f8e4m3 is moved only");
    CHECK_REFUSED(rank, mst_comm_allreduce(comm, astray, a, 2, MST_F32, MST_SUM, NULL), -EINVAL,
                  "is not aligned to the 4 bytes");
    CHECK_REFUSED(rank, mst_comm_allgather(comm, a, astray, 1, MST_F32, NULL), -EINVAL,
                  "allgather f32 count 1: \"out\" at 0x");
    CHECK_REFUSED(rank, mst_comm_broadcast(comm, astray, 2, MST_F32, 0, NULL), -EINVAL,
                  "\"buf\" at 0x");
    CHECK_CODE(rank, mst_comm_broadcast(comm, astray, 2, MST_U8, 0, NULL), 0);
    TEAM_CHECK(rank, mst_comm_error(comm)[0] == '\0', "a refusal outlives the next call");
    CHECK_CODE(rank, mst_comm_allreduce(comm, NULL, NULL, 0, MST_F32, MST_SUM, NULL), 0);
    CHECK_CODE(rank, mst_comm_broadcast(comm, a, 4, MST_F8E4M3, 0, NULL), 0);
    return NULL;
}

/* Numbers of a newer library. */
static const char *refuses_unknown_kinds(struct team_rank *rank)
{
    float a[4] = {0};
    struct mst_comm *comm = rank->comm;
    enum mst_dtype dtype = MST_DTYPE_COUNT;
    enum mst_op op = MST_OP_COUNT;
    CHECK_REFUSED(rank, mst_comm_allreduce(comm, a, a, 4, dtype, MST_SUM, NULL), -ENOTSUP,
                  "type 14 is unknown to libmuster 0.");
    CHECK_REFUSED(rank, mst_comm_broadcast(comm, a, 4, (enum mst_dtype)99, 0, NULL), -ENOTSUP,
                  "type 99 is unknown");
    CHECK_REFUSED(rank, mst_comm_allreduce(comm, a, a, 4, MST_F32, op, NULL), -ENOTSUP,
                  "operator 4 is unknown to libmuster 0.");
    CHECK_REFUSED(rank, mst_comm_reduce_scatter(comm, a, a, 1, MST_F32, (enum mst_op)99, NULL),
                  -ENOTSUP, "operator 99 is unknown");
    CHECK_CODE(rank, mst_comm_barrier(comm, NULL), 0);
    return NULL;
}

static void bad_arguments_change_nothing(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = refuses_bad_arguments};
    team_run(&team);
}

static void kinds_of_a_newer_library_are_not_supported(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = refuses_unknown_kinds};
    team_run(&team);
}

static void unknown_backends_are_refused(void **state)
{
    (void)state;
    struct mst_world world;
    struct mst_kv *kv;
    struct mst_comm *comm = NULL;
    struct mst_err err;
    world_init_single(&world);
    assert_int_equal(mst_kv_dial(&world, soon(), &kv, &err), 0);
    struct mst_comm_opts opts = {.backend = "pigeon"};
    assert_int_equal(mst_comm_create(&world, kv, &opts, &comm, &err), -EINVAL);
    assert_non_null(strstr(err.text, "MST_COMM_OPTS_INIT"));
    assert_int_equal(mst_comm_join(&world, &opts, &comm, &err), -EINVAL);
    opts.struct_bytes = sizeof opts;
    assert_int_equal(mst_comm_create(&world, kv, &opts, &comm, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "pigeon"));
    assert_null(comm);
    mst_comm_destroy(NULL);
    mst_kv_close(kv);
}

/* The second rank of a node, whose page is one of a single rank; and no page at all. */
static void a_page_of_others_is_refused(void **state)
{
    (void)state;
    struct mst_world world;
    struct mst_page *page;
    struct mst_comm *comm = NULL;
    struct mst_err err;
    world_init_single(&world);
    world.rank = world.local_rank = 1;
    world.size = world.local_size = 2;
    assert_int_equal(mst_page_create(1, &world.page_fd, &page, NULL), 0);
    assert_int_equal(mst_comm_create(&world, NULL, NULL, &comm, &err), -EINVAL);
    assert_non_null(strstr(err.text, "the node page has room for 1 ranks, not for local rank 1"));
    mst_page_unmap(page);
    (void)close(world.page_fd);
    world.page_fd = memfd_create("no-page", MFD_CLOEXEC);
    assert_int_equal(mst_comm_create(&world, NULL, NULL, &comm, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "is no node page"));
    assert_null(comm);
    (void)close(world.page_fd);
}

/* Programs of other minor versions, and a stream where there are none. */
static const char *calls_by_other_structs(struct team_rank *rank)
{
    struct {
        struct mst_call call;
        uint64_t later;
    } newer = {.call.struct_bytes = sizeof newer};
    struct mst_call older = {.struct_bytes = offsetof(struct mst_call, ret_req)};
    struct mst_call unset = {.struct_bytes = 0}, stream = MST_CALL_INIT;
    struct mst_comm_stats stats = {.struct_bytes = 0};
    struct mst_req *req;
    older.ret_req = &req; /* not read */
    stream.queue = &stream;
    CHECK_REFUSED(
        rank, mst_comm_barrier(rank->comm, &unset), -EINVAL,
        "barrier: a struct whose size is not set, or cuts a field: begin it with MST_CALL_INIT");
    CHECK_REFUSED(rank, mst_comm_barrier(rank->comm, &stream), -ENOTSUP,
                  "barrier: this back end (host) has no streams");
    CHECK_CODE(rank, mst_comm_barrier(rank->comm, &older), 0);
    CHECK_CODE(rank, mst_comm_barrier(rank->comm, &newer.call), 0);
    newer.later = 1;
    CHECK_REFUSED(rank, mst_comm_barrier(rank->comm, &newer.call), -ENOTSUP, "MST_CALL_INIT");
    CHECK_REFUSED(rank, mst_comm_get_stats(rank->comm, &stats), -EINVAL, "MST_COMM_STATS_INIT");
    stats.struct_bytes = sizeof stats;
    CHECK_CODE(rank, mst_comm_get_stats(rank->comm, &stats), 0);
    TEAM_CHECK(rank, mst_comm_error(rank->comm)[0] == '\0', "a refusal outlives the next call");
    return NULL;
}

static void calls_may_be_of_other_versions(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = calls_by_other_structs};
    team_run(&team);
}

static const char *knows_itself(struct team_rank *rank)
{
    float in[100] = {0}, out[200];
    CHECK_CODE(rank, mst_comm_allgather(rank->comm, in, out, 100, MST_F32, NULL), 0);
    CHECK_CODE(rank, mst_comm_barrier(rank->comm, NULL), 0);
    struct mst_comm_stats stats = MST_COMM_STATS_INIT;
    CHECK_CODE(rank, mst_comm_get_stats(rank->comm, &stats), 0);
    TEAM_CHECK(rank, mst_comm_rank(rank->comm) == rank->world.rank, "rank");
    TEAM_CHECK(rank, mst_comm_size(rank->comm) == 2, "size");
    TEAM_CHECK(rank, strcmp(mst_comm_backend(rank->comm), "host") == 0, "back end");
    TEAM_CHECK(rank, stats.op_count == 2 && stats.bytes == 400 && stats.busy_ns > 0, "stats");
    return NULL;
}

static void a_communicator_knows_itself(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = knows_itself};
    team_run(&team);
}

/* ---- mismatch -------------------------------------------------------------------------------- */

/* The last rank calls with one element less. */
static const char *calls_one_less(struct team_rank *rank)
{
    size_t count = *(size_t *)rank->team->arg;
    uint32_t last = rank->team->size - 1;
    float *data = calloc(count, sizeof *data);
    TEAM_CHECK(rank, data, "no memory");
    CHECK_CODE(rank, mst_comm_allreduce(rank->comm, data, data, count, MST_F32, MST_SUM, NULL), 0);
    int rc = mst_comm_allreduce(rank->comm, data, data, count - (rank->world.rank == last), MST_F32,
                                MST_SUM, NULL);
    free(data);
    char a[64], b[64];
    (void)snprintf(a, sizeof a, ": allreduce sum f32 count %zu;", count);
    (void)snprintf(b, sizeof b, "rank %u: allreduce sum f32 count %zu", last, count - 1);
    CHECK_CODE(rank, rc, -EPROTO);
    CHECK_TEXT(rank, a);
    CHECK_TEXT(rank, b);
    CHECK_CODE(rank, mst_comm_barrier(rank->comm, NULL), -EPROTO); /* dead, and says the same */
    return NULL;
}

static void a_mismatch_names_both_on_all_ranks(void **state)
{
    (void)state;
    static const uint32_t layouts[][TEAM_NODES_MAX] = {{3}, {2, 2}, {1, 1, 1}};
    size_t counts[] = {4, 1024, 300000};
    for (size_t l = 0; l < 3; l++) {
        for (size_t c = 0; c < 3; c++) {
            struct team team = {.name = __func__, .run = calls_one_less, .arg = &counts[c]};
            memcpy(team.node_sizes, layouts[l], sizeof team.node_sizes);
            team_run(&team);
        }
    }
}

static const char *calls_something_else(struct team_rank *rank)
{
    int32_t data[8] = {0};
    int rc = rank->world.rank == 0 ? mst_comm_broadcast(rank->comm, data, 8, MST_I32, 1, NULL)
                                   : mst_comm_barrier(rank->comm, NULL);
    CHECK_CODE(rank, rc, -EPROTO);
    CHECK_TEXT(rank, "rank 0: broadcast i32 count 8 root 1; rank 1: barrier");
    return NULL;
}

static void different_collectives_are_a_mismatch(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = calls_something_else};
    team_run(&team);
    struct team apart = {.name = __func__, .node_sizes = {1, 1}, .run = calls_something_else};
    team_run(&apart);
}

/* ---- deadlines and aborts -------------------------------------------------------------------- */

/* The last rank does one barrier and stays away from the second. */
static const char *stays_away(struct team_rank *rank)
{
    float x = 1;
    uint32_t last = rank->team->size - 1;
    char name[16];
    CHECK_CODE(rank, mst_comm_allreduce(rank->comm, &x, &x, 1, MST_F32, MST_MAX, NULL), 0);
    if (rank->world.rank != last) {
        (void)snprintf(name, sizeof name, "rank %u", last);
        CHECK_CODE(rank, mst_comm_barrier(rank->comm, NULL), -ETIMEDOUT);
        CHECK_TEXT(rank, name);
        CHECK_TEXT(rank, "op 2, barrier");
        CHECK_TEXT(rank, "op 1, allreduce max f32 count 1");
        CHECK_CODE(rank, mst_comm_barrier(rank->comm, NULL), -ETIMEDOUT);
    }
    (void)pthread_barrier_wait(&rank->team->barrier); /* it is not gone, only absent */
    return NULL;
}

static void a_deadline_names_who_is_missing(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {3}, .timeout_ms = 150, .run = stays_away};
    team_run(&team);
    struct team apart = {
        .name = __func__, .node_sizes = {1, 1}, .timeout_ms = 150, .run = stays_away};
    team_run(&apart);
}

/* As stays_away, by the deadline of the call: the communicator's is far. */
static const char *has_less_time(struct team_rank *rank)
{
    struct mst_req *req;
    uint64_t began_ns = mst_now_ns();
    if (rank->world.rank != rank->team->size - 1) {
        struct mst_call call = MST_CALL_INIT;
        call.deadline_ns = mst_deadline_ms(100);
        call.ret_req = rank->world.rank == 1 ? &req : NULL;
        int rc = mst_comm_barrier(rank->comm, &call);
        rc = rc == 0 && call.ret_req ? mst_req_wait(req) : rc;
        CHECK_CODE(rank, rc, -ETIMEDOUT);
        CHECK_TEXT(rank, "op 1, barrier: still missing rank");
        TEAM_CHECK(rank, mst_now_ns() - began_ns < 5 * MST_NS_PER_S, "it took seconds");
    }
    (void)pthread_barrier_wait(&rank->team->barrier);
    return NULL;
}

static void a_call_may_have_its_own_deadline(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {3}, .run = has_less_time};
    team_run(&team);
    struct team apart = {.name = __func__, .node_sizes = {1, 1}, .run = has_less_time};
    team_run(&apart);
}

/* A call that is given more time than the communicator gives waits longer. */
static const char *has_more_time(struct team_rank *rank)
{
    uint64_t until_ns = mst_deadline_ms(rank->team->timeout_ms * 3 / 2);
    if (rank->world.rank == 0) {
        CHECK_CODE(rank, mst_comm_barrier(rank->comm, BY(soon())), 0);
        return NULL;
    }
    while (!mst_deadline_passed(until_ns))
        (void)sched_yield();
    CHECK_CODE(rank, mst_comm_barrier(rank->comm, NULL), 0);
    return NULL;
}

static void a_call_may_have_more_time(void **state)
{
    (void)state;
    struct team team = {
        .name = __func__, .node_sizes = {2}, .timeout_ms = 150, .run = has_more_time};
    team_run(&team);
}

/* Rank 0 starts what nobody else calls, and has no time to wait for what it calls after that. */
static const char *waits_behind(struct team_rank *rank)
{
    bool starts = *(bool *)rank->team->arg;
    uint64_t began_ns = mst_now_ns();
    struct mst_req *first, *second;
    float a = 1, b = 1;
    if (rank->world.rank == 0) {
        struct mst_call call = MST_CALL_INIT;
        call.deadline_ns = mst_deadline_ms(50);
        call.ret_req = starts ? &second : NULL;
        CHECK_CODE(rank,
                   mst_comm_allreduce(rank->comm, &a, &a, 1, MST_F32, MST_SUM, STARTED(&first)), 0);
        int rc = mst_comm_allreduce(rank->comm, &b, &b, 1, MST_F32, MST_MAX, &call);
        rc = rc == 0 && starts ? mst_req_wait(second) : rc;
        CHECK_CODE(rank, rc, -ETIMEDOUT);
        CHECK_TEXT(rank, "rank 0, allreduce max f32 count 1: what was started before it was not "
                         "done by its deadline");
        CHECK_CODE(rank, mst_req_wait(first), -ETIMEDOUT);
        TEAM_CHECK(rank, mst_now_ns() - began_ns < 5 * MST_NS_PER_S, "it took seconds");
    }
    (void)pthread_barrier_wait(&rank->team->barrier);
    if (rank->world.rank != 0)
        TEAM_CHECK(rank, mst_comm_barrier(rank->comm, NULL) < 0, "rank 0 is gone, and no error");
    return NULL;
}

static void a_deadline_runs_while_others_are_done(void **state)
{
    (void)state;
    for (int starts = 0; starts < 2; starts++) {
        bool flag = starts != 0;
        struct team team = {.name = __func__, .node_sizes = {2}, .run = waits_behind, .arg = &flag};
        team_run(&team);
        struct team apart = {
            .name = __func__, .node_sizes = {1, 1}, .run = waits_behind, .arg = &flag};
        team_run(&apart);
    }
}

static const char *does_not_even_join(struct team_rank *rank)
{
    struct mst_err err = {0};
    if (rank->world.rank == 1)
        return NULL;
    int rc = team_join(rank, &err);
    TEAM_CHECK(rank, rc == -ETIMEDOUT, "%d %s", rc, err.text);
    TEAM_CHECK(rank, strstr(err.text, "rank 1"), "%s", err.text);
    return NULL;
}

static void create_names_who_did_not_come(void **state)
{
    (void)state;
    struct team team = {.name = __func__,
                        .node_sizes = {3},
                        .by_hand = true,
                        .timeout_ms = 100,
                        .run = does_not_even_join};
    team_run(&team);
}

/* Rank 1 aborts while the others wait. */
static const char *aborts(struct team_rank *rank)
{
    uint64_t began_ns = mst_now_ns();
    if (rank->world.rank == 1)
        mst_comm_abort(rank->comm);
    CHECK_CODE(rank, mst_comm_barrier(rank->comm, NULL), -ECONNRESET);
    TEAM_CHECK(rank, mst_now_ns() - began_ns < 5 * MST_NS_PER_S, "the abort took seconds");
    return NULL;
}

static void an_abort_wakes_everybody(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {4}, .run = aborts};
    team_run(&team);
    struct team apart = {.name = __func__, .node_sizes = {1, 1, 1}, .run = aborts};
    team_run(&apart);
}

/* ---- requests -------------------------------------------------------------------------------- */

#define REQS 6

/* Starts several, waits for them backwards, with a blocking call in between. */
static const char *starts_and_waits(struct team_rank *rank)
{
    static const size_t counts[REQS] = {1, 100, 70000, 3, 5000, 20};
    struct mst_req *reqs[REQS];
    float *data[REQS], total = 0, one = 1;
    for (size_t i = 0; i < REQS; i++) {
        data[i] = malloc(counts[i] * sizeof(float));
        TEAM_CHECK(rank, data[i], "no memory");
        for (size_t j = 0; j < counts[i]; j++)
            data[i][j] = (float)(rank->world.rank + i);
        CHECK_CODE(rank,
                   mst_comm_allreduce(rank->comm, data[i], data[i], counts[i], MST_F32, MST_SUM,
                                      STARTED(&reqs[i])),
                   0);
    }
    CHECK_CODE(rank, mst_comm_allreduce(rank->comm, &one, &total, 1, MST_F32, MST_SUM, NULL), 0);
    TEAM_CHECK(rank, total == (float)rank->team->size, "blocking total %g", (double)total);
    for (size_t i = REQS; i-- > 0;) {
        CHECK_CODE(rank, mst_req_wait(reqs[i]), 0);
        float sum = 0;
        for (uint32_t r = 0; r < rank->team->size; r++)
            sum += (float)(r + i);
        for (size_t j = 0; j < counts[i]; j++)
            TEAM_CHECK(rank, data[i][j] == sum, "request %zu element %zu", i, j);
        free(data[i]);
    }
    return NULL;
}

static void requests_may_be_waited_for_in_any_order(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {3}, .run = starts_and_waits};
    team_run(&team);
    struct team apart = {.name = __func__, .node_sizes = {2, 1}, .run = starts_and_waits};
    team_run(&apart);
}

static const char *starts_all_kinds(struct team_rank *rank)
{
    uint32_t me = rank->world.rank;
    int32_t gathered[2], blocks[2] = {1, 2}, sum = 0, token = me == 1 ? 42 : 0, mine = (int32_t)me;
    struct mst_req *reqs[3];
    CHECK_CODE(rank, mst_comm_allgather(rank->comm, &mine, gathered, 1, MST_I32, STARTED(&reqs[0])),
               0);
    CHECK_CODE(rank, mst_comm_broadcast(rank->comm, &token, 1, MST_I32, 1, STARTED(&reqs[1])), 0);
    CHECK_CODE(
        rank,
        mst_comm_reduce_scatter(rank->comm, blocks, &sum, 1, MST_I32, MST_SUM, STARTED(&reqs[2])),
        0);
    for (int i = 0; i < 3; i++)
        CHECK_CODE(rank, mst_req_wait(reqs[i]), 0);
    TEAM_CHECK(rank, gathered[0] == 0 && gathered[1] == 1, "allgather");
    TEAM_CHECK(rank, token == 42, "broadcast");
    TEAM_CHECK(rank, sum == (int32_t)(2 * (me + 1)), "reduce_scatter");
    return NULL;
}

static void every_kind_can_be_started(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = starts_all_kinds};
    team_run(&team);
}

static const char *opens_too_many(struct team_rank *rank)
{
    struct mst_req *reqs[MST_COMM_REQS_MAX], *extra;
    int32_t data[MST_COMM_REQS_MAX] = {0};
    for (int i = 0; i < MST_COMM_REQS_MAX; i++)
        CHECK_CODE(rank,
                   mst_comm_allreduce(rank->comm, &data[i], &data[i], 1, MST_I32, MST_SUM,
                                      STARTED(&reqs[i])),
                   0);
    CHECK_REFUSED(
        rank,
        mst_comm_allreduce(rank->comm, &data[0], &data[0], 1, MST_I32, MST_SUM, STARTED(&extra)),
        -EAGAIN, "allreduce sum i32 count 1: 64 requests are open");
    for (int i = 0; i < MST_COMM_REQS_MAX; i++)
        CHECK_CODE(rank, mst_req_wait(reqs[i]), 0);
    CHECK_REFUSED(rank, mst_req_wait(reqs[0]), -EINVAL, "a request that was waited for before");
    return NULL;
}

static void open_requests_are_bounded(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = opens_too_many};
    team_run(&team);
}

static const char *leaves_without_waiting(struct team_rank *rank)
{
    static int32_t sums[3];
    struct mst_req *req;
    sums[rank->world.rank] = 1;
    int rc = mst_comm_allreduce(rank->comm, &sums[rank->world.rank], &sums[rank->world.rank], 1,
                                MST_I32, MST_SUM, STARTED(&req));
    CHECK_CODE(rank, rc, 0);
    mst_comm_destroy(rank->comm);
    rank->comm = NULL;
    TEAM_CHECK(rank, sums[rank->world.rank] == 3, "sum %d", sums[rank->world.rank]);
    return NULL;
}

static void destroy_finishes_what_was_started(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {3}, .run = leaves_without_waiting};
    team_run(&team);
    struct team apart = {.name = __func__, .node_sizes = {2, 1}, .run = leaves_without_waiting};
    team_run(&apart);
}

/* Rank 0 starts what nobody else will ever call. */
static const char *aborts_and_leaves(struct team_rank *rank)
{
    int32_t data[2] = {0};
    struct mst_req *req;
    uint64_t began_ns = mst_now_ns();
    if (rank->world.rank != 0)
        return NULL;
    for (int i = 0; i < 2; i++)
        CHECK_CODE(
            rank,
            mst_comm_allreduce(rank->comm, &data[i], &data[i], 1, MST_I32, MST_SUM, STARTED(&req)),
            0);
    mst_comm_abort(rank->comm);
    mst_comm_destroy(rank->comm);
    rank->comm = NULL;
    TEAM_CHECK(rank, mst_now_ns() - began_ns < 5 * MST_NS_PER_S, "leaving took seconds");
    return NULL;
}

static void an_abort_lets_destroy_go(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = aborts_and_leaves};
    team_run(&team);
    struct team apart = {.name = __func__, .node_sizes = {1, 1}, .run = aborts_and_leaves};
    team_run(&apart);
}

/* What ended it answers every later call, blocking or started, whatever the peers do. */
static const char *calls_after_the_end(struct team_rank *rank)
{
    int32_t a[2] = {0}, b[4] = {0};
    struct mst_req *req;
    mst_comm_abort(rank->comm);
    CHECK_CODE(rank, mst_comm_barrier(rank->comm, NULL), -ECONNRESET);
    CHECK_CODE(rank, mst_comm_allreduce(rank->comm, a, a, 2, MST_I32, MST_SUM, NULL), -ECONNRESET);
    CHECK_CODE(rank, mst_comm_broadcast(rank->comm, a, 2, MST_I32, 0, NULL), -ECONNRESET);
    CHECK_CODE(rank, mst_comm_allgather(rank->comm, a, b, 2, MST_I32, NULL), -ECONNRESET);
    CHECK_CODE(rank, mst_comm_reduce_scatter(rank->comm, b, a, 2, MST_I32, MST_SUM, NULL),
               -ECONNRESET);
    CHECK_CODE(rank, mst_comm_allreduce(rank->comm, NULL, NULL, 0, MST_I32, MST_SUM, NULL),
               -ECONNRESET);
    CHECK_REFUSED(rank, mst_comm_allreduce(rank->comm, NULL, a, 2, MST_I32, MST_SUM, NULL), -EINVAL,
                  "aborted");
    CHECK_CODE(rank, mst_comm_broadcast(rank->comm, a, 2, MST_I32, 0, STARTED(&req)), 0);
    CHECK_CODE(rank, mst_req_wait(req), -ECONNRESET);
    return NULL;
}

static void a_dead_communicator_repeats_itself(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .run = calls_after_the_end};
    team_run(&team);
    struct team apart = {.name = __func__, .node_sizes = {1, 1}, .run = calls_after_the_end};
    team_run(&apart);
    struct team alone = {.name = __func__, .node_sizes = {1}, .run = calls_after_the_end};
    team_run(&alone);
}

/* ---- more than one --------------------------------------------------------------------------- */

static const char *makes_several(struct team_rank *rank)
{
    for (int i = 0; i < 3; i++) {
        struct mst_comm *first = rank->comm;
        struct mst_err err = {0};
        int rc = team_join(rank, &err);
        struct mst_comm *second = rank->comm;
        rank->comm = first;
        TEAM_CHECK(rank, rc == 0, "create: %s", err.text);
        int32_t a = 1, b = 2;
        CHECK_CODE(rank, mst_comm_allreduce(second, &b, &b, 1, MST_I32, MST_SUM, NULL), 0);
        CHECK_CODE(rank, mst_comm_allreduce(first, &a, &a, 1, MST_I32, MST_SUM, NULL), 0);
        mst_comm_destroy(second);
        TEAM_CHECK(rank, a == 3 && b == 6, "sums %d and %d", a, b);
    }
    return NULL;
}

static void communicators_live_side_by_side(void **state)
{
    (void)state;
    struct team team = {
        .name = __func__, .node_sizes = {3}, .inherit_shm = true, .run = makes_several};
    team_run(&team);
    struct team apart = {.name = __func__, .node_sizes = {2, 1}, .run = makes_several};
    team_run(&apart);
}

/* ---- the flight recorder --------------------------------------------------------------------- */

static const char *leaves_a_record(struct team_rank *rank)
{
    float data[33] = {0};
    CHECK_CODE(rank, mst_comm_allreduce(rank->comm, data, data, 33, MST_F32, MST_MIN, NULL), 0);
    CHECK_CODE(rank, mst_comm_barrier(rank->comm, NULL), 0);
    return NULL;
}

static void collectives_are_on_record(void **state)
{
    (void)state;
    struct mst_page *page;
    int fd;
    assert_int_equal(mst_page_create(2, &fd, &page, NULL), 0);
    struct team team = {.name = __func__, .node_sizes = {2}, .page_fd = fd, .run = leaves_a_record};
    team_run(&team);
    assert_int_equal(atomic_load(&mst_page_slot(page, 1)->op_count), 2);
    assert_int_equal(atomic_load(&mst_page_slot(page, 1)->state), MST_RANK_RUNNING);
    const struct mst_page_op *op = mst_page_op(page, 1, 0);
    assert_int_equal(op->seq, 1);
    assert_int_equal(op->kind, MST_COLL_ALLREDUCE);
    assert_int_equal(op->op, MST_MIN);
    assert_int_equal(op->count, 33);
    assert_int_equal(op->result, 0);
    assert_true(op->done_ns >= op->enter_ns);
    mst_page_unmap(page);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_arguments_change_nothing),
        cmocka_unit_test(kinds_of_a_newer_library_are_not_supported),
        cmocka_unit_test(unknown_backends_are_refused),
        cmocka_unit_test(a_page_of_others_is_refused),
        cmocka_unit_test(calls_may_be_of_other_versions),
        cmocka_unit_test(a_communicator_knows_itself),
        cmocka_unit_test(a_mismatch_names_both_on_all_ranks),
        cmocka_unit_test(different_collectives_are_a_mismatch),
        cmocka_unit_test(a_deadline_names_who_is_missing),
        cmocka_unit_test(a_call_may_have_its_own_deadline),
        cmocka_unit_test(a_call_may_have_more_time),
        cmocka_unit_test(a_deadline_runs_while_others_are_done),
        cmocka_unit_test(create_names_who_did_not_come),
        cmocka_unit_test(an_abort_wakes_everybody),
        cmocka_unit_test(requests_may_be_waited_for_in_any_order),
        cmocka_unit_test(every_kind_can_be_started),
        cmocka_unit_test(open_requests_are_bounded),
        cmocka_unit_test(destroy_finishes_what_was_started),
        cmocka_unit_test(an_abort_lets_destroy_go),
        cmocka_unit_test(a_dead_communicator_repeats_itself),
        cmocka_unit_test(communicators_live_side_by_side),
        cmocka_unit_test(collectives_are_on_record),
    };
    return cmocka_run_group_tests_name("comm_comm", tests, NULL, NULL);
}
