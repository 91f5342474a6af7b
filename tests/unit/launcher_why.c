#include "muster/launcher/why.h"

#include "fake_root.h"
#include "muster/launcher/errfile.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/oom.h"
#include "muster/launcher/ranks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define EVENTS "/sys/fs/cgroup/pod/memory.events"

struct fixture {
    struct oom oom;
    struct rank_proc procs[3];
    struct ranks ranks;
    struct why why;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.why.end = 0};
    f->ranks = (struct ranks){.first_rank = 4, .local_size = 3, .procs = f->procs};
    fake_root_put("/proc/self/cgroup", "0::/pod\n");
    fake_root_put("/sys/fs/cgroup/pod/memory.max", "67108864\n");
    fake_root_put(EVENTS, "oom_kill 0\n");
    oom_init(&f->oom, scratch_dir);
}

static bool ask(struct fixture *f, const struct rank_death *death)
{
    why_of_death(&f->oom, &f->ranks, death, 1, &f->why);
    return f->why.end == EXITCODE_END_NO_MEMORY;
}

static void only_the_kernels_word_counts(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_false(ask(&f, &(struct rank_death){.code = 137, .killed = true}));
    assert_string_equal(f.why.text, "killed by SIGKILL");
}

/* Neither who ended otherwise nor whom the agent killed takes the kill from him whom it was. */
static void only_sigkill_of_another_is_asked_for(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    fake_root_put(EVENTS, "oom_kill 1\n");
    assert_false(ask(&f, &(struct rank_death){.code = 1}));
    assert_false(ask(&f, &(struct rank_death){.code = 139, .killed = true}));
    assert_false(ask(&f, &(struct rank_death){.code = 137, .killed = true, .ended = true}));
    assert_true(ask(&f, &(struct rank_death){.code = 137})); /* of a wrapper */
    assert_false(ask(&f, &(struct rank_death){.code = 137, .killed = true}));
}

static void the_largest_of_the_others_is_named(void **state)
{
    (void)state;
    struct fixture f;
    const struct rank_death death = {.code = 137, .killed = true, .peak_bytes = 3 << 20};
    begin(&f);
    fake_root_put(EVENTS, "oom_kill 1\n");
    assert_true(ask(&f, &death));
    assert_string_equal(f.why.text,
                        "out of memory: killed by the kernel (limit 64.0 MiB); it had 3.0 MiB");
    f.procs[1].pid = getpid();
    fake_root_put(EVENTS, "oom_kill 2\n");
    fake_root_put("/sys/fs/cgroup/pod/memory.peak", "66060288\n");
    assert_true(ask(&f, &death));
    assert_non_null(strstr(f.why.text,
                           "(limit 64.0 MiB, peak 63.0 MiB); it had 3.0 MiB, and beside it "
                           "rank 5 has "));
    assert_non_null(strstr(f.why.text, " MiB: the victim need not be the culprit"));
}

/* What a rank says of itself stands behind its code, and never for the kernel's word. */
static void a_rank_says_why(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    int fds[3] = {0, memfd_create("error", MFD_CLOEXEC), 0};
    static const char text[] = "{\"message\": {\"message\": \"ValueError: no\\nloss\"}}";
    f.ranks.error_fds = fds;
    assert_false(ask(&f, &(struct rank_death){.local_rank = 1, .code = 1}));
    assert_string_equal(f.why.text, "exit code 1");
    assert_int_equal(pwrite(fds[1], text, sizeof text - 1, 0), sizeof text - 1);
    assert_false(ask(&f, &(struct rank_death){.local_rank = 1, .code = 1}));
    assert_string_equal(f.why.text, "exit code 1: ValueError: no loss");
    assert_false(ask(&f, &(struct rank_death){.local_rank = 0, .code = 1}));
    assert_string_equal(f.why.text, "exit code 1");
    assert_int_equal(ftruncate(fds[1], ERRFILE_BYTES_MAX), 0);
    assert_false(ask(&f, &(struct rank_death){.local_rank = 1, .code = 1}));
    assert_string_equal(f.why.text, "exit code 1"); /* NULs behind it */
    char byte[2];
    assert_int_equal(ranks_read_error(&f.ranks, 1, byte, 2), 0);
    fake_root_put(EVENTS, "oom_kill 1\n");
    assert_true(ask(&f, &(struct rank_death){.local_rank = 1, .code = 137, .killed = true}));
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_the_kernels_word_counts, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(only_sigkill_of_another_is_asked_for, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(the_largest_of_the_others_is_named, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_rank_says_why, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
