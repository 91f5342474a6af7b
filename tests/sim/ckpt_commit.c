/* Cuts a save at every one of its durable operations: by killing the whole job there, and by making
 * the operation fail. Whatever was cut, a load gives the new step or the one before, bit-exact and
 * the same on all ranks, and a later save works. */
#include "unit/ckpt_fixture.h"

#include "muster/core/aio/aio.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define WORLD 3

static const uint64_t first[] = {1, 0}, second[] = {2, 0}, third[] = {3, 0};

static void remove_step(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture_root, name);
    fixture_remove(path);
}

/* ---- kill ------------------------------------------------------------------------------------ */

struct cut {
    atomic_int left; /* operations that still go through */
    int code;
    enum mst_aio_kind only; /* MST_AIO_KIND_COUNT: any kind */
};

static int kill_tap(void *arg, const struct mst_aio_op *op)
{
    struct cut *cut = arg;
    (void)op;
    if (atomic_fetch_sub(&cut->left, 1) == 0)
        (void)kill(getpid(), SIGKILL);
    return 1;
}

static void save_killed(int after)
{
    struct cut cut = {.left = after};
    mst_aio_set_tap(kill_tap, &cut);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_keep = 1;
    fixture_run(ranks, WORLD, fixture_save_steps, (void *)(uintptr_t)second);
    _exit(0);
}

/* Runs the save of step 2 in a process of its own. Returns whether it was killed. */
static bool kill_at(int after)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        save_killed(after);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) || WTERMSIG(status) == SIGKILL);
    return WIFSIGNALED(status);
}

static void test_kill_at_every_op(void **state)
{
    (void)state;
    fixture_save(WORLD, first);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    bool seen_first = false, seen_second = false, killed = true;
    for (int n = 0; killed; n++) {
        killed = kill_at(n);
        uint64_t step = fixture_load(n % 2 ? 2 : WORLD, ranks);
        assert_true(step == 1 || step == 2);
        assert_int_equal(ranks[0].loaded.skipped_count, 0);
        assert_true(killed || (step == 2 && !fixture_has("step_1")));
        assert_false(fixture_has_temp("step_1"));
        remove_step("step_2");
        if (!fixture_has("step_1"))
            fixture_save(WORLD, first);
        seen_first = seen_first || step == 1;
        seen_second = seen_second || (killed && step == 2);
        assert_false(fixture_has_temp("step_2"));
    }
    assert_true(seen_first && seen_second);
    fixture_save(WORLD, second);
    assert_int_equal(fixture_load(WORLD, ranks), 2);
}

/* ---- fail ------------------------------------------------------------------------------------ */

static int fail_tap(void *arg, const struct mst_aio_op *op)
{
    struct cut *cut = arg;
    if (cut->only != MST_AIO_KIND_COUNT && op->kind != cut->only)
        return 1;
    return atomic_fetch_sub(&cut->left, 1) == 0 ? cut->code : 1;
}

/* Whether the operation number `after` took place, i.e. failed. */
static bool fail_at(int after, int code)
{
    struct cut cut = {.left = after, .code = code, .only = MST_AIO_KIND_COUNT};
    mst_aio_set_tap(fail_tap, &cut);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, WORLD, fixture_save_steps, (void *)(uintptr_t)second);
    mst_aio_set_tap(NULL, NULL);
    for (uint32_t r = 0; r < WORLD; r++) {
        assert_int_equal(ranks[r].result, ranks[0].result);
        assert_true(ranks[r].result == 0 || ranks[r].result == code);
        assert_int_equal(ranks[r].status.failed_count, ranks[r].result != 0);
        assert_string_equal(ranks[r].status.failed_text, ranks[0].status.failed_text);
    }
    uint64_t step = fixture_load(WORLD, ranks);
    assert_true(step == 1 || step == 2);
    return atomic_load(&cut.left) < 0;
}

static void fail_everywhere(int code)
{
    fixture_save(WORLD, first);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    for (int n = 0; fail_at(n, code); n++) {
        fixture_save(WORLD, third);
        assert_int_equal(fixture_load(2, ranks), 3);
        remove_step("step_2");
        remove_step("step_3");
    }
    assert_int_equal(fixture_load(WORLD, ranks), 2);
}

static void test_every_op_fails(void **state)
{
    (void)state;
    fail_everywhere(-EIO);
}

static void test_disk_is_full(void **state)
{
    struct cut cut = {.code = -ENOSPC, .only = MST_AIO_FALLOCATE};
    (void)state;
    fixture_save(WORLD, first);
    mst_aio_set_tap(fail_tap, &cut);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, WORLD, fixture_save_steps, (void *)(uintptr_t)second);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(ranks[1].result, -ENOSPC);
    assert_non_null(strstr(ranks[1].status.failed_text, "no room for"));
    assert_false(fixture_has_temp("step_2"));
    assert_int_equal(fixture_load(1, ranks), 1);
}

static void test_read_fails(void **state)
{
    static const uint64_t both[] = {1, 2, 0};
    struct cut cut = {.left = 4, .code = -EIO, .only = MST_AIO_READ};
    (void)state;
    fixture_save(WORLD, both);
    mst_aio_set_tap(fail_tap, &cut);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    assert_int_equal(fixture_load(WORLD, ranks), 1);
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(ranks[2].loaded.skipped_count, 1);
}

/* ---- retention ------------------------------------------------------------------------------- */

/* Stands in front of retention until the next save is there, and fails the first attempt of one
 * rank to take room for it. */
struct full {
    sem_t saved;
    pthread_barrier_t seen; /* by all ranks, that both steps are there */
    atomic_bool held;
    atomic_int refused;
    uint32_t rank;
};

static bool is_of_rank(const struct mst_aio_op *op, uint32_t rank)
{
    char link[64], path[512], name[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", op->fd);
    snprintf(name, sizeof name, "step_3.tmp.");
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    char *file = strrchr(path, '/');
    return file && strstr(path, name) && strtoul(file + sizeof "/rank_" - 1, NULL, 10) == rank;
}

static int full_tap(void *arg, const struct mst_aio_op *op)
{
    struct full *full = arg;
    if (op->kind == MST_AIO_UNLINK && strcmp(op->path, "LATEST.tmp") == 0 &&
        fixture_has("step_2") && !atomic_exchange(&full->held, true))
        assert_int_equal(sem_wait(&full->saved), 0);
    if (op->kind == MST_AIO_FALLOCATE && is_of_rank(op, full->rank) &&
        atomic_fetch_add(&full->refused, 1) == 0)
        return -ENOSPC;
    return 1;
}

/* The verdict on step 2 does not wait until step 1 is gone, nor does the save of step 3; but if
 * that finds no room, step 1 goes first. */
static void save_on_a_full_disk(struct fixture_rank *rank)
{
    struct full *full = rank->arg;
    static const uint64_t both[] = {1, 2, 0};
    rank->arg = (void *)(uintptr_t)both;
    fixture_save_steps(rank);
    assert_true(fixture_has("step_1") && fixture_has("step_2"));
    (void)pthread_barrier_wait(&full->seen);
    const struct mst_state state = fixture_state(&rank->model, "cursor");
    fixture_fill(&rank->model, 3);
    rank->result = mst_ckpt_save(rank->ckpt, 3, &state, soon());
    if (rank->world.rank == 0)
        assert_int_equal(sem_post(&full->saved), 0);
    if (rank->result == 0)
        rank->result = mst_ckpt_drain(rank->ckpt, soon());
    assert_false(fixture_has("step_1") || fixture_has_temp("step_1"));
}

static void full_disk(uint32_t rank)
{
    struct full full = {.rank = rank};
    assert_int_equal(sem_init(&full.saved, 0, 0), 0);
    assert_int_equal(pthread_barrier_init(&full.seen, NULL, WORLD), 0);
    mst_aio_set_tap(full_tap, &full);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_keep = 1;
    fixture_run(ranks, WORLD, save_on_a_full_disk, &full);
    fixture_keep = 0;
    mst_aio_set_tap(NULL, NULL);
    assert_int_equal(atomic_load(&full.refused), 2);
    for (uint32_t r = 0; r < WORLD; r++)
        assert_int_equal(ranks[r].result, 0);
    assert_false(fixture_has("step_2"));
    assert_int_equal(fixture_load(WORLD, ranks), 3);
    pthread_barrier_destroy(&full.seen);
    sem_destroy(&full.saved);
}

static void test_old_steps_make_room(void **state)
{
    (void)state;
    full_disk(0);
    remove_step("step_3");
    full_disk(2);
}

/* ---- order ----------------------------------------------------------------------------------- */

#define OPS_MAX 512

struct recorder {
    atomic_int count;
    struct {
        enum mst_aio_kind kind;
        bool is_dir;
        ino_t inode;
    } ops[OPS_MAX];
};

static int record_tap(void *arg, const struct mst_aio_op *op)
{
    struct recorder *recorder = arg;
    int n = atomic_fetch_add(&recorder->count, 1);
    if (n >= OPS_MAX)
        return -ENOSPC;
    struct stat st = {0};
    (void)fstat(op->fd, &st);
    recorder->ops[n].kind = op->kind;
    recorder->ops[n].is_dir = S_ISDIR(st.st_mode);
    recorder->ops[n].inode = st.st_ino;
    return 1;
}

static bool is_sync(enum mst_aio_kind kind)
{
    return kind == MST_AIO_FSYNC || kind == MST_AIO_FDATASYNC;
}

/* Before the rename: every file that was written is synced behind its last write, and then the
 * directory. After it: the root is synced before anything else happens. */
static void test_order_of_durability(void **state)
{
    static struct recorder recorder;
    (void)state;
    mst_aio_set_tap(record_tap, &recorder);
    fixture_save(WORLD, first);
    mst_aio_set_tap(NULL, NULL);
    int renamed = 0;
    while (recorder.ops[renamed].kind != MST_AIO_RENAME)
        renamed++;
    int synced_dirs = 0;
    for (int i = 0; i < renamed; i++) {
        bool synced = recorder.ops[i].kind != MST_AIO_WRITE;
        for (int j = i + 1; j < renamed && !synced; j++)
            synced = is_sync(recorder.ops[j].kind) &&
                     recorder.ops[j].inode == recorder.ops[i].inode;
        assert_true(synced);
        synced_dirs += is_sync(recorder.ops[i].kind) && recorder.ops[i].is_dir;
    }
    assert_int_equal(synced_dirs, 1);
    assert_true(is_sync(recorder.ops[renamed - 1].kind) && recorder.ops[renamed - 1].is_dir);
    assert_true(is_sync(recorder.ops[renamed + 1].kind) && recorder.ops[renamed + 1].is_dir);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_kill_at_every_op),    CASE(test_every_op_fails), CASE(test_disk_is_full),
        CASE(test_old_steps_make_room), CASE(test_read_fails),     CASE(test_order_of_durability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
