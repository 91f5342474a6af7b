/* The host back end in processes of their own: killed ranks, and an agent that says so. */
#include "comm_team.h"
#include "soon.h"

#include "muster/core/world/page.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#define RANKS 3
#define VICTIM 1

/* Communicators are made by threads, which share a kv, and used by forked processes, which share
 * only the segment and the page. */
struct family {
    struct mst_comm *comms[RANKS];
    struct mst_page *page;
    int page_fd;
    pid_t pids[RANKS];
};

/* Threads of one process join, and a child of it plays each rank: it may use what it inherited. */
bool __wrap_mst_process_owns(uint32_t mark);
bool __wrap_mst_process_owns(uint32_t mark)
{
    return mark != 0;
}

static const char *join_family(struct team_rank *rank)
{
    struct family *family = rank->team->arg;
    struct mst_err err = {0};
    TEAM_CHECK(rank, team_join(rank, &err) == 0, "%s", err.text);
    family->comms[rank->world.rank] = rank->comm;
    rank->comm = NULL; /* it outlives the team */
    return NULL;
}

/* A rank's life: collectives until they fail; 0 if they fail as they should. */
static int live(struct mst_comm *comm, size_t count)
{
    float *data = calloc(count, sizeof *data);
    int rc = 0;
    while (data && rc == 0)
        rc = mst_comm_allreduce(comm, data, data, count, MST_F32, MST_SUM, NULL);
    free(data);
    if (rc != -ECONNRESET)
        return 1;
    return strstr(mst_comm_error(comm), "rank 1") ? 0 : 2;
}

static void start_family(struct family *family, size_t count)
{
    assert_int_equal(mst_page_create(RANKS, &family->page_fd, &family->page, NULL), 0);
    struct team team = {.node_sizes = {RANKS},
                        .by_hand = true,
                        .page_fd = family->page_fd,
                        .run = join_family,
                        .arg = family};
    team_run(&team);
    for (uint32_t r = 0; r < RANKS; r++) {
        family->pids[r] = fork();
        assert_true(family->pids[r] >= 0);
        if (family->pids[r] == 0)
            _exit(live(family->comms[r], count));
    }
}

static void wait_for_work(const struct family *family)
{
    uint64_t deadline_ns = soon();
    while (atomic_load(&mst_page_slot(family->page, VICTIM)->op_count) < 20) {
        assert_false(mst_deadline_passed(deadline_ns));
        (void)sched_yield();
    }
}

static void end_family(struct family *family)
{
    for (uint32_t r = 0; r < RANKS; r++)
        mst_comm_destroy(family->comms[r]);
    mst_page_unmap(family->page);
    (void)close(family->page_fd);
}

/* The parent plays the agent: it sees the death, and sets the abort word. */
static void kill_one(size_t count)
{
    struct family family = {0};
    int status;
    start_family(&family, count);
    wait_for_work(&family);
    assert_int_equal(kill(family.pids[VICTIM], SIGKILL), 0);
    assert_int_equal(waitpid(family.pids[VICTIM], &status, 0), family.pids[VICTIM]);
    assert_true(WIFSIGNALED(status));
    uint64_t aborted_ns = mst_now_ns();
    mst_page_abort(family.page, VICTIM);
    for (uint32_t r = 0; r < RANKS; r++) {
        if (r == VICTIM)
            continue;
        assert_int_equal(waitpid(family.pids[r], &status, 0), family.pids[r]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_true(mst_now_ns() - aborted_ns < 2 * MST_NS_PER_S);
    /* What the victim was doing is still there to be read. */
    uint64_t op_count = atomic_load(&mst_page_slot(family.page, VICTIM)->op_count);
    assert_int_equal(mst_page_op(family.page, VICTIM, op_count - 1)->count, count);
    end_family(&family);
}

static void survivors_of_a_small_collective_are_told(void **state)
{
    (void)state;
    kill_one(2);
}

static void survivors_of_a_large_collective_are_told(void **state)
{
    (void)state;
    kill_one(200000);
}

/* Whatever a world lacks for a server, the whole of what to do about it is told. */
static void without_a_server_it_says_what_to_do(void **state)
{
    (void)state;
    static const char *const missing[] = {"MASTER_PORT", "MST_JOB_SECRET_FILE"};
    static const char end[] = "; or let `muster run` start the ranks, or set MST_COMM=mpi";
    setenv("RANK", "1", 1);
    setenv("LOCAL_RANK", "0", 1);
    setenv("WORLD_SIZE", "2", 1);
    setenv("LOCAL_WORLD_SIZE", "1", 1);
    for (size_t i = 0; i < 2; i++) {
        struct mst_world *world = NULL;
        struct mst_comm *comm = NULL;
        struct mst_err err = {0};
        struct mst_comm_opts opts = MST_COMM_OPTS_INIT;
        opts.backend = "host";
        assert_int_equal(mst_world_from_env(&world, &err), 0);
        assert_int_equal(mst_comm_join(world, &opts, &comm, &err), -ENOTSUP);
        size_t size = strlen(err.text);
        if (!strstr(err.text, missing[i]) || strstr(err.text, "…") || size < sizeof end ||
            strcmp(err.text + size - strlen(end), end) != 0)
            fail_msg("%s", err.text);
        mst_world_destroy(world);
        setenv("MASTER_ADDR", "head.nowhere", 1);
        setenv("MASTER_PORT", "4321", 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_server_it_says_what_to_do),
        cmocka_unit_test(survivors_of_a_small_collective_are_told),
        cmocka_unit_test(survivors_of_a_large_collective_are_told),
    };
    return cmocka_run_group_tests_name("comm_host", tests, NULL, NULL);
}
