#include "muster/launcher/oom.h"

#include "fake_root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SELF "/proc/self/cgroup"
#define V1 "/sys/fs/cgroup/memory"
#define V2 "/sys/fs/cgroup"

static void put_kills(const char *file, unsigned kills)
{
    char text[64];
    snprintf(text, sizeof text, "oom 9\noom_kill %u\n", kills);
    fake_root_put(file, text);
}

static void begin(struct oom *oom, const char *cgroup)
{
    fake_root_put(SELF, cgroup);
    oom_init(oom, scratch_dir);
}

static void a_rise_is_claimed_once(void **state)
{
    (void)state;
    struct oom oom;
    put_kills(V2 "/pod/box/memory.events", 3);
    begin(&oom, "0::/pod/box\n");
    assert_false(oom_claim(&oom, 10)); /* it was there before us */
    put_kills(V2 "/pod/box/memory.events", 4);
    assert_true(oom_claim(&oom, 20));
    assert_false(oom_claim(&oom, 30));
}

/* A large process dies slowly: a look may come first. */
static void a_look_keeps_the_claim_for_a_while(void **state)
{
    (void)state;
    struct oom oom;
    put_kills(V2 "/pod/memory.events", 0);
    begin(&oom, "0::/pod\n");
    put_kills(V2 "/pod/memory.events", 2);
    assert_int_equal(oom_look(&oom, NULL, 0, 10), 2);
    assert_int_equal(oom_look(&oom, NULL, 0, 20), 0);
    assert_true(oom_claim(&oom, 10 + OOM_CLAIM_NS));
    assert_false(oom_claim(&oom, 11 + OOM_CLAIM_NS)); /* the second is too old */
    put_kills(V2 "/pod/memory.events", 3);
    assert_int_equal(oom_look(&oom, NULL, 0, 30), 1);
    oom_forget(&oom);
    assert_false(oom_claim(&oom, 40));
}

/* A path of the host's, of which a container sees the mount only. */
static void what_is_not_mounted_is_looked_for_above(void **state)
{
    (void)state;
    struct oom oom;
    put_kills(V1 "/memory.oom_control", 1);
    begin(&oom, "4:memory:/kubepods/pod7/abc\n0::/\n");
    put_kills(V1 "/memory.oom_control", 2);
    assert_true(oom_claim(&oom, 10));
}

/* Before 4.13 the file counts nothing. */
static void without_a_counter_nothing_is_claimed(void **state)
{
    (void)state;
    struct oom oom;
    fake_root_put(V1 "/old/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\n");
    fake_root_put(V1 "/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\n");
    begin(&oom, "4:memory:/old\n");
    assert_int_equal(oom.place_count, 0);
    assert_int_equal(oom_look(&oom, NULL, 0, 10), 0);
    assert_false(oom_claim(&oom, 10));
    assert_true(oom_sizes(&oom).limit_bytes == MEMCG_UNLIMITED);
    oom_init(&oom, "/there/is/no/such/root");
    assert_false(oom_claim(&oom, 10));
}

static void a_rank_may_go_elsewhere(void **state)
{
    (void)state;
    struct oom oom;
    const pid_t pids[] = {0, 41, 42};
    put_kills(V1 "/ours/memory.oom_control", 0);
    begin(&oom, "4:memory:/ours\n");
    put_kills(V1 "/other/memory.oom_control", 5);
    fake_root_put("/proc/41/cgroup", "4:memory:/ours\n");
    fake_root_put("/proc/42/cgroup", "4:memory:/other\n");
    fake_root_put(V1 "/other/memory.limit_in_bytes", "1048576\n");
    assert_int_equal(oom_look(&oom, pids, 3, 10), 0);
    assert_int_equal(oom.place_count, 2);
    put_kills(V1 "/other/memory.oom_control", 6);
    assert_true(oom_claim(&oom, 20));
    assert_int_equal(oom_sizes(&oom).limit_bytes, 1048576);
}

static void the_tightest_limit_counts(void **state)
{
    (void)state;
    struct oom oom;
    put_kills(V2 "/tight/in/memory.events", 0);
    fake_root_put(V2 "/tight/memory.max", "1000\n");
    fake_root_put(V2 "/tight/in/memory.max", "max\n");
    fake_root_put(V2 "/tight/in/memory.peak", "999\n");
    begin(&oom, "0::/tight/in\n");
    assert_int_equal(oom_sizes(&oom).limit_bytes, 1000);
    assert_int_equal(oom_sizes(&oom).peak_bytes, 999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rise_is_claimed_once, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_look_keeps_the_claim_for_a_while, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_mounted_is_looked_for_above, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(without_a_counter_nothing_is_claimed, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_rank_may_go_elsewhere, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_tightest_limit_counts, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
