/* Cuts a save to a store of objects at every one of its requests: by killing the whole job before
 * or behind it, and by making it fail. Whatever was cut, a load gives the new step or the one
 * before, bit-exact and the same on all ranks, a later save works, and nothing of a dead attempt
 * stays. */
#include "soon.h"
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/remote_keys.h"
#include "muster/core/blob/blob.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define WORLD 3

static const uint64_t first[] = {1, 0}, second[] = {2, 0}, third[] = {3, 0};

/* ---- the store ------------------------------------------------------------------------------- */

static struct {
    atomic_int left; /* requests that still go through */
    bool kills, behind;
    int code;
} cut = {.left = INT32_MAX};

/* Counts a request of a save. 0, or what it ends with. */
static int enter(const char *key, bool *ret_dies_behind)
{
    bool is_it = strncmp(key, "step_", 5) == 0 && atomic_fetch_sub(&cut.left, 1) == 0;
    *ret_dies_behind = is_it && cut.kills && cut.behind;
    if (is_it && cut.kills && !cut.behind)
        (void)kill(getpid(), SIGKILL);
    return is_it ? cut.code : 0;
}

static int leave(bool dies, int result)
{
    if (dies)
        (void)kill(getpid(), SIGKILL);
    return result;
}

int __wrap_mst_blob_put(struct mst_blob *blob, const char *key, struct mst_cspan data,
                        uint32_t flags, uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_put_file(struct mst_blob *blob, const char *key, const char *path,
                             uint32_t flags, uint64_t deadline_ns, struct mst_err *err);
int __wrap_mst_blob_remove(struct mst_blob *blob, const char *key, uint64_t deadline_ns,
                           struct mst_err *err);

#define CUT(name, parameters, arguments)                                                           \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        bool dies;                                                                                 \
        int code = enter(key, &dies);                                                              \
        return code < 0 ? mst_err_set(err, code, "%s: cut", key)                                   \
                        : leave(dies, __real_##name arguments);                                    \
    }

CUT(mst_blob_put,
    (struct mst_blob * blob, const char *key, struct mst_cspan data, uint32_t flags,
     uint64_t deadline_ns, struct mst_err *err),
    (blob, key, data, flags, deadline_ns, err))
CUT(mst_blob_put_file,
    (struct mst_blob * blob, const char *key, const char *path, uint32_t flags,
     uint64_t deadline_ns, struct mst_err *err),
    (blob, key, path, flags, deadline_ns, err))
CUT(mst_blob_remove,
    (struct mst_blob * blob, const char *key, uint64_t deadline_ns, struct mst_err *err),
    (blob, key, deadline_ns, err))

/* Every object belongs to a step that has a manifest, and to the commit that it speaks of. */
static void expect_nothing_dead(void)
{
    struct mst_blob *blob;
    assert_int_equal(mst_blob_open(fixture_uri, NULL, &blob, NULL), 0);
    struct remote_keys keys = {0};
    assert_int_equal(remote_keys_list(blob, "", soon(), &keys, NULL), 0);
    mst_blob_close(blob);
    assert_int_equal(keys.count % (WORLD + 1), 0);
    for (size_t i = 0; i < keys.count; i++)
        assert_int_equal(keys.keys[i].commit[0] == '\0', i % (WORLD + 1) == 0);
    remote_keys_fini(&keys);
}

static void remove_step(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture_root, name);
    fixture_remove(path);
}

/* ---- kill ------------------------------------------------------------------------------------ */

static void save_killed(int after, bool behind)
{
    cut.kills = true;
    cut.behind = behind;
    atomic_store(&cut.left, after);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, WORLD, fixture_save_steps, (void *)(uintptr_t)second);
    _exit(0);
}

static bool kill_at(int after, bool behind)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        save_killed(after, behind);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) || WTERMSIG(status) == SIGKILL);
    return WIFSIGNALED(status);
}

static void test_kill_at_every_request(void **state)
{
    (void)state;
    fixture_save(WORLD, first);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    bool seen_first = false, seen_second = false, killed = true;
    for (int n = 0; killed; n++) {
        killed = kill_at(n / 2, n % 2);
        uint64_t step = fixture_load(n % 2 ? 2 : WORLD, ranks);
        assert_true(step == 1 || step == 2);
        assert_int_equal(ranks[0].loaded.skipped_count, 0);
        seen_first = seen_first || step == 1;
        seen_second = seen_second || (killed && step == 2);
        expect_nothing_dead();
        remove_step("step_2");
    }
    assert_true(seen_first && seen_second);
    fixture_save(WORLD, third);
    assert_int_equal(fixture_load(WORLD, ranks), 3);
}

/* ---- fail ------------------------------------------------------------------------------------ */

/* Whether the request number `after` took place, i.e. failed. */
static bool fail_at(int after)
{
    cut.code = -EACCES;
    atomic_store(&cut.left, after);
    struct fixture_rank ranks[FIXTURE_RANKS_MAX];
    fixture_run(ranks, WORLD, fixture_save_steps, (void *)(uintptr_t)second);
    bool failed = atomic_load(&cut.left) < 0;
    cut.code = 0;
    for (uint32_t r = 0; r < WORLD; r++) {
        assert_int_equal(ranks[r].result, ranks[0].result);
        assert_true(ranks[r].result == 0 || ranks[r].result == -EACCES);
        assert_int_equal(ranks[r].status.failed_count, ranks[r].result != 0);
        assert_string_equal(ranks[r].status.failed_text, ranks[0].status.failed_text);
        assert_true(ranks[r].result == 0 || strstr(ranks[r].status.failed_text, "cut"));
    }
    uint64_t step = fixture_load(WORLD, ranks);
    assert_true(step == 1 || step == 2);
    expect_nothing_dead();
    return failed;
}

static void test_every_request_fails(void **state)
{
    (void)state;
    fixture_save(WORLD, first);
    int n = 0;
    for (; fail_at(n); n++) {
        fixture_save(WORLD, third);
        struct fixture_rank ranks[FIXTURE_RANKS_MAX];
        assert_int_equal(fixture_load(2, ranks), 3);
        remove_step("step_2");
        remove_step("step_3");
    }
    assert_int_equal(n, WORLD + 1);
}

static int setup(void **state)
{
    fixture_remote = true;
    return fixture_setup(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_kill_at_every_request),
                                       CASE(test_every_request_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
