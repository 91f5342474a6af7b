#include "muster/comm/wait.h"

#include "fake_root.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/world/page.h"
#include "soon.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the kernel's side of a wait ------------------------------------------------------------- */

/* Stands between wait.c and the futex. */
static struct {
    void (*asleep)(atomic_uint *word); /* runs once, where the kernel is about to compare */
    void (*deciding)(void);            /* runs once, between a look at the word and the sleep */
    bool long_slices;                  /* a sleep that nobody ends lasts until soon() */
    uint32_t seen;                     /* what the last sleeper says that the word was */
    uint64_t slice_ns;                 /* of the last sleeper */
    atomic_uint wakes;
} kernel;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
    struct timespec slice;
    va_list args;
    va_start(args, number);
    atomic_uint *word = va_arg(args, atomic_uint *);
    int operation = va_arg(args, int);
    uint32_t value = va_arg(args, uint32_t);
    const struct timespec *timeout = va_arg(args, const struct timespec *);
    va_end(args);
    if (number == SYS_pidfd_open)
        return __real_syscall(number, (pid_t)(uintptr_t)word, 0);
    if (number != SYS_futex)
        fail_msg("a system call of nobody's: %ld", number);
    if (operation == FUTEX_WAKE) {
        atomic_fetch_add(&kernel.wakes, 1);
        return __real_syscall(number, word, operation, value, NULL, NULL, 0);
    }
    slice = kernel.long_slices ? (struct timespec){.tv_sec = SOON_MS / 1000} : *timeout;
    if (kernel.asleep) {
        void (*asleep)(atomic_uint *) = kernel.asleep;
        kernel.asleep = NULL;
        kernel.seen = value;
        kernel.slice_ns = (uint64_t)timeout->tv_sec * MST_NS_PER_S + (uint64_t)timeout->tv_nsec;
        asleep(word);
    }
    return __real_syscall(number, word, operation, value, &slice, NULL, 0);
}

bool __real_mst_deadline_passed(uint64_t deadline_ns);
bool __wrap_mst_deadline_passed(uint64_t deadline_ns);

bool __wrap_mst_deadline_passed(uint64_t deadline_ns)
{
    void (*deciding)(void) = kernel.deciding;
    if (deciding) {
        kernel.deciding = NULL;
        deciding();
    }
    return __real_mst_deadline_passed(deadline_ns);
}

static int reset(void **state)
{
    (void)state;
    memset(&kernel, 0, sizeof kernel);
    return 0;
}

/* ---- waits ----------------------------------------------------------------------------------- */

static const enum mst_wait_policy policies[] = {MST_WAIT_AUTO, MST_WAIT_SPIN, MST_WAIT_YIELD,
                                                MST_WAIT_BLOCK};

/* Two threads count a word up in turns. */
struct ping_pong {
    struct waiter waiter;
    atomic_uint failed, sleepers, word;
    int rc;
};

#define TURNS 200

static void *pong(void *arg)
{
    struct ping_pong *game = arg;
    for (uint32_t turn = 1; turn < TURNS && game->rc == 0; turn += 2) {
        game->rc = wait_word(&game->waiter, &game->word, turn, soon());
        wait_post(&game->waiter, &game->word, turn + 1);
    }
    return NULL;
}

static void play(enum mst_wait_policy policy, bool core_free)
{
    struct ping_pong game = {.waiter = {.failed = &game.failed, .sleepers = &game.sleepers}};
    pthread_t thread;
    wait_set_policy(&game.waiter, policy, core_free);
    assert_int_equal(pthread_create(&thread, NULL, pong, &game), 0);
    for (uint32_t turn = 0; turn < TURNS; turn += 2) {
        wait_post(&game.waiter, &game.word, turn + 1);
        assert_int_equal(wait_word(&game.waiter, &game.word, turn + 2, soon()), 0);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(game.rc, 0);
    assert_int_equal(atomic_load(&game.sleepers), 0);
}

static void every_policy_hands_a_word_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        play(policies[i], true);
        play(policies[i], false);
    }
}

/* Nobody who is to be woken sleeps for as long as he may: a wake-up that is lost ends the game. */
static void sleepers_are_woken(void **state)
{
    (void)state;
    kernel.long_slices = true;
    for (int game = 0; game < 20; game++)
        play(MST_WAIT_BLOCK, false);
}

/* A word that others wait for, and a sleeper's way to wait. */
static struct {
    struct waiter waiter;
    atomic_uint failed, sleepers, word;
} shared;

static void share(enum mst_wait_policy policy)
{
    memset(&shared, 0, sizeof shared);
    shared.waiter = (struct waiter){.failed = &shared.failed, .sleepers = &shared.sleepers};
    wait_set_policy(&shared.waiter, policy, false);
}

static void post_one(atomic_uint *word)
{
    wait_post(&shared.waiter, word, 1);
}

static void post_before_the_sleep(void)
{
    wait_post(&shared.waiter, &shared.word, 1);
}

static void check_not_slept(void)
{
    uint64_t deadline_ns = soon();
    kernel.long_slices = true;
    assert_int_equal(wait_word(&shared.waiter, &shared.word, 1, deadline_ns), 0);
    assert_false(mst_deadline_passed(deadline_ns));
    assert_int_equal(atomic_load(&shared.sleepers), 0);
}

/* The poster comes where it is last possible: the sleeper has decided, the kernel has not
 * looked. */
static void a_sleeper_is_seen_before_it_sleeps(void **state)
{
    (void)state;
    share(MST_WAIT_BLOCK);
    kernel.asleep = post_one;
    check_not_slept();
    assert_int_equal(kernel.seen, 0);
    assert_int_equal(atomic_load(&kernel.wakes), 1);
}

/* Whom nobody counts nobody wakes: the word itself must keep such a one from sleeping. */
static void a_word_that_has_come_is_not_slept_on(void **state)
{
    (void)state;
    share(MST_WAIT_BLOCK);
    kernel.deciding = post_before_the_sleep;
    check_not_slept();
    assert_int_equal(atomic_load(&kernel.wakes), 0);
}

static void who_does_not_sleep_is_not_woken(void **state)
{
    (void)state;
    share(MST_WAIT_BLOCK);
    wait_post(&shared.waiter, &shared.word, 1);
    assert_int_equal(wait_word(&shared.waiter, &shared.word, 1, soon()), 0);
    assert_int_equal(atomic_load(&kernel.wakes), 0);
}

static void fail_all(atomic_uint *word)
{
    (void)word;
    atomic_store(&shared.failed, 1);
}

/* The abort words are looked at between two sleeps, and no sleep lasts beyond the deadline. */
static void a_sleep_is_short(void **state)
{
    (void)state;
    share(MST_WAIT_BLOCK);
    kernel.asleep = fail_all;
    assert_int_equal(wait_word(&shared.waiter, &shared.word, 1, soon()), -ECANCELED);
    assert_int_equal(kernel.slice_ns, WAIT_SLICE_MS * MST_NS_PER_MS);
    do {
        share(MST_WAIT_BLOCK);
        kernel.asleep = fail_all;
        (void)wait_word(&shared.waiter, &shared.word, 1, mst_deadline_ms(WAIT_SLICE_MS - 1));
    } while (kernel.asleep); /* the deadline was over before there was time to sleep */
    assert_in_range(kernel.slice_ns, 1, (WAIT_SLICE_MS - 1) * MST_NS_PER_MS);
}

/* Two pages that nobody may touch until he has been seen to. */
static struct {
    char *pages;
    size_t page_bytes;
    int touched[2]; /* which page first, which then */
    int count;
} watch;

static void see_touch(int number, siginfo_t *info, void *context)
{
    ptrdiff_t at = (char *)info->si_addr - watch.pages;
    (void)number;
    (void)context;
    if (at < 0 || (size_t)at >= 2 * watch.page_bytes || watch.count == 2)
        _exit(1);
    int page = (size_t)at >= watch.page_bytes;
    watch.touched[watch.count++] = page;
    (void)mprotect(watch.pages + (size_t)page * watch.page_bytes, watch.page_bytes,
                   PROT_READ | PROT_WRITE);
}

/* Who reads the count first misses a sleeper who comes in between. */
static void a_poster_writes_the_word_and_then_reads_the_count(void **state)
{
    struct sigaction seen = {.sa_sigaction = see_touch, .sa_flags = SA_SIGINFO}, before;
    (void)state;
    share(MST_WAIT_BLOCK);
    watch.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    watch.pages = mmap(NULL, 2 * watch.page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(watch.pages, MAP_FAILED);
    atomic_uint *word = (atomic_uint *)watch.pages;
    shared.waiter.sleepers = (atomic_uint *)(watch.pages + watch.page_bytes);
    assert_int_equal(sigaction(SIGSEGV, &seen, &before), 0);
    wait_post(&shared.waiter, word, 1);
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    assert_int_equal(watch.count, 2);
    assert_int_equal(watch.touched[0], 0);
    assert_int_equal(watch.touched[1], 1);
    assert_int_equal(munmap(watch.pages, 2 * watch.page_bytes), 0);
}

static void every_policy_ends_at_the_deadline(void **state)
{
    (void)state;
    atomic_uint failed = 0, sleepers = 0, word = 0;
    struct waiter waiter = {.failed = &failed, .sleepers = &sleepers};
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        wait_set_policy(&waiter, policies[i], true);
        uint64_t deadline_ns = mst_deadline_ms(12);
        assert_int_equal(wait_word(&waiter, &word, 1, deadline_ns), -ETIMEDOUT);
        assert_true(mst_deadline_passed(deadline_ns));
    }
}

static void failures_and_aborts_end_a_wait(void **state)
{
    (void)state;
    atomic_uint failed = 1, sleepers = 0, word = 0;
    struct waiter waiter = {.failed = &failed, .sleepers = &sleepers};
    struct mst_page *page;
    int fd;
    wait_set_policy(&waiter, MST_WAIT_AUTO, true);
    assert_int_equal(wait_word(&waiter, &word, 1, soon()), -ECANCELED);
    assert_int_equal(wait_word(&waiter, &word, 0, soon()), 0); /* what is there, is there */
    failed = 0;
    assert_int_equal(mst_page_create(1, &fd, &page, NULL), 0);
    waiter.page = page;
    assert_int_equal(wait_alive(&waiter), 0);
    mst_page_abort(page, 3);
    assert_int_equal(wait_word(&waiter, &word, 1, soon()), -ECONNRESET);
    struct mst_err err;
    assert_int_equal(wait_explain(&waiter, &err), -ECONNRESET);
    assert_string_equal(err.text, "the generation was aborted because of rank 3");
    mst_page_unmap(page);
    (void)close(fd);
    assert_int_equal(mst_page_create(1, &fd, &page, NULL), 0);
    waiter.page = page;
    mst_page_abort(page, MST_PAGE_CAUSE_JOB);
    assert_int_equal(wait_explain(&waiter, &err), -ECONNRESET);
    assert_string_equal(err.text, "the generation was aborted");
    mst_page_unmap(page);
    (void)close(fd);
}

/* Where no agent tells of it; a zombie has ended, too. */
static void a_process_that_ends_ends_the_wait_for_it(void **state)
{
    (void)state;
    atomic_uint failed = 0, sleepers = 0, word = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    struct waiter waiter = {.failed = &failed, .sleepers = &sleepers, .whose_pid = (uint32_t)child};
    wait_set_policy(&waiter, MST_WAIT_BLOCK, false);
    assert_int_equal(wait_word(&waiter, &word, 1, soon()), -EPIPE);
    assert_int_equal(wait_word(&waiter, &word, 0, soon()), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(wait_word(&waiter, &word, 1, soon()), -EPIPE);
    waiter.whose_pid = (uint32_t)getpid(); /* that lives on */
    assert_int_equal(wait_word(&waiter, &word, 1, mst_deadline_ms(300)), -ETIMEDOUT);
}

static void a_patient_wait_becomes_one_that_sleeps(void **state)
{
    (void)state;
    struct waiter waiter = {0};
    struct wait_state wait = {0};
    wait_set_policy(&waiter, MST_WAIT_AUTO, false);
    uint64_t deadline_ns = soon();
    while (!wait_idle(&waiter, &wait))
        assert_false(mst_deadline_passed(deadline_ns));
    assert_true(wait.patient);
}

static void cores_are_counted(void **state)
{
    (void)state;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    assert_int_equal(wait_cpus_count(&cpus, "/nowhere"), 1);
    for (size_t core = 0; core < 8; core++)
        CPU_SET(core, &cpus);
    assert_int_equal(wait_cpus_count(&cpus, "/nowhere"), 8);
    wait_cpus_here(&cpus);
    assert_in_range(wait_cpus_count(&cpus, ""), 1, CPU_COUNT(&cpus));
}

/* Who spins uses a whole core up, wherever above this cgroup the quota is. */
static void a_quota_leaves_whole_cores(void **state)
{
    (void)state;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (size_t core = 0; core < 8; core++)
        CPU_SET(core, &cpus);
    fake_root_put("/proc/self/cgroup", "0::/slice/scope\n");
    fake_root_put("/sys/fs/cgroup/slice/cpu.max", "390000 100000\n");
    assert_int_equal(wait_cpus_count(&cpus, scratch_dir), 3);
    fake_root_put("/sys/fs/cgroup/slice/scope/cpu.max", "90000 100000\n");
    assert_int_equal(wait_cpus_count(&cpus, scratch_dir), 1);
    fake_root_put("/sys/fs/cgroup/slice/scope/cpu.max", "max 100000\n");
    fake_root_put("/sys/fs/cgroup/slice/cpu.max", "900000 100000\n");
    assert_int_equal(wait_cpus_count(&cpus, scratch_dir), 8);
}

#define CASE(test) cmocka_unit_test_setup(test, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_policy_hands_a_word_over),
        CASE(sleepers_are_woken),
        CASE(a_sleeper_is_seen_before_it_sleeps),
        CASE(a_word_that_has_come_is_not_slept_on),
        CASE(who_does_not_sleep_is_not_woken),
        CASE(a_sleep_is_short),
        CASE(a_poster_writes_the_word_and_then_reads_the_count),
        CASE(every_policy_ends_at_the_deadline),
        CASE(failures_and_aborts_end_a_wait),
        CASE(a_process_that_ends_ends_the_wait_for_it),
        CASE(a_patient_wait_becomes_one_that_sleeps),
        CASE(cores_are_counted),
        CASE(a_quota_leaves_whole_cores),
    };
    return cmocka_run_group_tests_name("comm_wait", tests, scratch_setup, scratch_teardown);
}
