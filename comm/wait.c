/* Spin, yield, sleep. */
#include "muster/comm/wait.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/core/quota.h"
#include "muster/core/world/page.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define POLLS_PER_LOOK 32      /* of a spinning wait: polls between two looks at the clock */
#define SLEEPS_PER_PROBE 50    /* of a sleeping one, between two looks for the process */
#define SPIN_NS 30000          /* on a core of its own: about what a wake-up would cost */
#define YIELD_NS_FREE 300000   /* yielding to nobody is polite spinning */
#define YIELD_NS_SHARED 100000 /* tens of hand-overs: after that a peer computes something long */

void wait_set_policy(struct waiter *waiter, enum mst_wait_policy policy, bool core_free)
{
    waiter->spin_ns = core_free ? SPIN_NS : 0;
    waiter->yield_ns = core_free ? SPIN_NS + YIELD_NS_FREE : YIELD_NS_SHARED;
    if (policy == MST_WAIT_SPIN)
        waiter->spin_ns = waiter->yield_ns = UINT64_MAX;
    if (policy == MST_WAIT_YIELD) {
        waiter->spin_ns = 0;
        waiter->yield_ns = UINT64_MAX;
    }
    if (policy == MST_WAIT_BLOCK)
        waiter->spin_ns = waiter->yield_ns = 0;
}

int wait_alive(const struct waiter *waiter)
{
    /* Acquire: pairs with the release of whoever recorded the failure. */
    if (atomic_load_explicit(waiter->failed, memory_order_acquire) != 0)
        return -ECANCELED;
    return waiter->page && mst_page_aborted(waiter->page) != 0 ? -ECONNRESET : 0;
}

/* Acquire: pairs with the release of the agent that saw it end, so that a look at the word after
 * this one sees all that the rank said. */
static bool has_left(const struct waiter *waiter)
{
    return waiter->whose &&
           atomic_load_explicit(waiter->whose, memory_order_acquire) == MST_RANK_LEFT;
}

/* A zombie's is ended, too. What the kernel does not tell is not so. */
static bool has_ended(uint32_t pid)
{
    int fd = pid ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
    if (fd < 0)
        return pid && errno == ESRCH;
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    bool has = poll(&ended, 1, 0) == 1;
    (void)close(fd); /* nothing is written to it */
    return has;
}

int wait_check(const struct waiter *waiter, uint64_t deadline_ns)
{
    int rc = wait_alive(waiter);
    return rc == 0 && mst_deadline_passed(deadline_ns) ? -ETIMEDOUT : rc;
}

int wait_explain(const struct waiter *waiter, struct mst_err *err)
{
    assert(waiter->page && mst_page_aborted(waiter->page) != 0);
    uint32_t cause = mst_page_aborted(waiter->page) - 1;
    if (cause == MST_PAGE_CAUSE_JOB)
        return mst_err_set(err, -ECONNRESET, "the generation was aborted");
    return mst_err_set(err, -ECONNRESET, "the generation was aborted because of rank %u", cause);
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool wait_look(const struct wait_state *state)
{
    return state->patient || state->polls % POLLS_PER_LOOK == 0;
}

bool wait_idle(const struct waiter *waiter, struct wait_state *state)
{
    state->polls++;
    if (!wait_look(state)) {
        cpu_relax();
        return false;
    }
    uint64_t now_ns = mst_now_ns();
    if (state->began_ns == 0)
        state->began_ns = now_ns;
    uint64_t waited_ns = now_ns - state->began_ns;
    if (waited_ns < waiter->spin_ns)
        return false;
    state->patient = true;
    if (waited_ns >= waiter->yield_ns)
        return true;
    (void)sched_yield(); /* cannot fail on Linux */
    return false;
}

/* The word may be in another process's mapping, so the futex is a shared one. An early return of
 * any kind is harmless: the caller looks again. */
static void futex_wait(atomic_uint *word, uint32_t seen, uint64_t slice_ns)
{
    struct timespec slice = {.tv_nsec = (long)slice_ns};
    (void)syscall(SYS_futex, word, FUTEX_WAIT, seen, &slice, NULL, 0);
}

/* Whoever does not sleep needs no waking, which is all that could go wrong. */
void wait_wake(atomic_uint *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Dekker with wait_post: the sleeper counts itself, then the kernel compares the word with what was
 * seen; the poster writes the word, then reads the count. Ours are seq_cst and the kernel has a
 * full barrier before its own, so that at least one sees the other. */
static void sleep_on(const struct waiter *waiter, atomic_uint *word, uint32_t seen,
                     uint64_t deadline_ns)
{
    uint64_t now_ns = mst_now_ns(), slice_ns = WAIT_SLICE_MS * MST_NS_PER_MS;
    if (deadline_ns > now_ns)
        slice_ns = mst_least(slice_ns, deadline_ns - now_ns);
    atomic_fetch_add(waiter->sleepers, 1);
    futex_wait(word, seen, slice_ns);
    atomic_fetch_sub(waiter->sleepers, 1);
}

void wait_post(const struct waiter *waiter, atomic_uint *word, uint32_t value)
{
    atomic_store(word, value);
    if (atomic_load(waiter->sleepers) != 0)
        wait_wake(word);
}

int wait_word(const struct waiter *waiter, atomic_uint *word, uint32_t value, uint64_t deadline_ns)
{
    struct wait_state state = {0};
    uint32_t seen, sleeps = 0;
    /* Acquire: pairs with wait_post, so that what the poster wrote before is seen. */
    while ((seen = atomic_load_explicit(word, memory_order_acquire)) != value) {
        bool sleep = wait_idle(waiter, &state);
        int rc = wait_look(&state) ? wait_check(waiter, deadline_ns) : 0;
        if (rc == 0 && wait_look(&state) && has_left(waiter))
            rc = -EPIPE;
        if (rc == 0 && sleep && ++sleeps % SLEEPS_PER_PROBE == 0 && has_ended(waiter->whose_pid))
            rc = -EPIPE;
        if (rc < 0) /* a failure of a later step must not hide that this one was completed */
            return atomic_load_explicit(word, memory_order_acquire) == value ? 0 : rc;
        if (sleep)
            sleep_on(waiter, word, seen, deadline_ns);
    }
    return 0;
}

uint32_t wait_cpus_count(const cpu_set_t *cpus, const char *root)
{
    uint64_t cores = (uint64_t)CPU_COUNT(cpus);
    struct mst_quota quota;
    if (mst_quota_find(root, &quota))
        cores = mst_least(cores, quota.quota_us / quota.period_us);
    return cores > 0 ? (uint32_t)cores : 1;
}

void wait_cpus_here(cpu_set_t *ret_cpus)
{
    CPU_ZERO(ret_cpus);
    if (sched_getaffinity(0, sizeof *ret_cpus, ret_cpus) < 0)
        CPU_SET(0, ret_cpus);
}
