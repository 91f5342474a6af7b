#include "muster/core/world/page.h"
#include "soon.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "muster/core/clock.h"
#include "muster/core/err.h"

#define RANKS 3

static int page_fd;
static struct mst_page *page;

static int make_page(void **state)
{
    (void)state;
    return mst_page_create(RANKS, &page_fd, &page, NULL);
}

static int drop_page(void **state)
{
    (void)state;
    mst_page_unmap(page);
    return close(page_fd);
}

static void starts_empty(void **state)
{
    (void)state;
    assert_int_equal(mst_page_local_size(page), RANKS);
    assert_int_equal(mst_page_aborted(page), 0);
    assert_int_equal(mst_page_gate(page).state, MST_GATE_OPEN);
    for (uint32_t i = 0; i < RANKS; i++) {
        struct mst_page_slot *slot = mst_page_slot(page, i);
        assert_int_equal(slot->pid, 0);
        assert_int_equal(slot->state, MST_RANK_EMPTY);
        assert_true(slot->step == MST_PAGE_NO_STEP);
        assert_true(slot->ckpt_step == MST_PAGE_NO_STEP);
        assert_true(slot->lost_step == MST_PAGE_NO_STEP);
        assert_int_equal(slot->verdict, 0);
        assert_int_equal(mst_page_op(page, i, 0)->seq, 0);
    }
}

static void is_close_on_exec_and_sealed(void **state)
{
    (void)state;
    assert_true(fcntl(page_fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(ftruncate(page_fd, 64), -1);
    assert_int_equal(errno, EPERM);
}

static void slots_and_entries_do_not_overlap(void **state)
{
    (void)state;
    struct mst_page *other;
    assert_int_equal(mst_page_map(page_fd, &other, NULL), 0);
    for (uint32_t i = 0; i < RANKS; i++) {
        mst_page_slot(page, i)->pid = 100 + i;
        for (uint64_t op = 0; op < MST_PAGE_RING_OPS; op++)
            *mst_page_op(page, i, op) = (struct mst_page_op){.seq = 1 + op, .comm_id = i};
    }
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(mst_page_slot(other, i)->pid, 100 + i);
        for (uint64_t op = 0; op < MST_PAGE_RING_OPS; op++) {
            assert_int_equal(mst_page_op(other, i, op)->seq, 1 + op);
            assert_int_equal(mst_page_op(other, i, op + 5 * MST_PAGE_RING_OPS)->comm_id, i);
        }
    }
    mst_page_unmap(other);
}

static void refuses_impossible_sizes(void **state)
{
    (void)state;
    int fd = -7;
    struct mst_page *none = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_page_create(0, &fd, &none, &err), -EINVAL);
    assert_int_equal(mst_page_create(MST_PAGE_RANKS_MAX + 1, &fd, &none, &err), -EINVAL);
    assert_non_null(strstr(err.text, "1025"));
    assert_int_equal(fd, -7);
    assert_null(none);
}

static void holds_the_most_ranks(void **state)
{
    (void)state;
    int fd;
    struct mst_page *big;
    assert_int_equal(mst_page_create(MST_PAGE_RANKS_MAX, &fd, &big, NULL), 0);
    mst_page_op(big, MST_PAGE_RANKS_MAX - 1, MST_PAGE_RING_OPS - 1)->result = -5;
    mst_page_unmap(big);
    assert_int_equal(mst_page_map(fd, &big, NULL), 0);
    assert_int_equal(mst_page_op(big, MST_PAGE_RANKS_MAX - 1, MST_PAGE_RING_OPS - 1)->result, -5);
    mst_page_unmap(big);
    assert_int_equal(close(fd), 0);
}

static void refuses_what_is_no_page(void **state)
{
    (void)state;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct mst_page *none = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_page_map(null_fd, &none, &err), -EBADMSG);
    assert_int_equal(close(null_fd), 0);
    int memfd = memfd_create("not-a-page", MFD_CLOEXEC);
    assert_int_equal(mst_page_map(memfd, &none, &err), -EBADMSG);
    assert_int_equal(ftruncate(memfd, 1 << 20), 0);
    assert_int_equal(mst_page_map(memfd, &none, &err), -EBADMSG);
    assert_int_equal(close(memfd), 0);
    assert_int_equal(mst_page_map(memfd, &none, &err), -EBADF);
    assert_null(none);
}

static void reports_what_the_system_refuses(void **state)
{
    (void)state;
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", page_fd);
    int read_only = open(path, O_RDONLY | O_CLOEXEC);
    struct mst_page *none = NULL;
    struct mst_err err = {0};
    assert_int_equal(mst_page_map(read_only, &none, &err), -EACCES);
    assert_int_equal(close(read_only), 0);
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int fd;
    int rc = mst_page_create(1, &fd, &none, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, -EMFILE);
    assert_null(none);
}

/* A copy of the page with `size` bytes, not sealed. */
static int copy_page(size_t size)
{
    int fd = memfd_create("copy", MFD_CLOEXEC);
    assert_true(fd >= 0);
    char bytes[4096] = {0};
    ssize_t got = pread(page_fd, bytes, sizeof bytes, 0);
    assert_true(got > 0);
    assert_int_equal(pwrite(fd, bytes, (size_t)got, 0), got);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static void notices_damage(void **state)
{
    (void)state;
    size_t size = (size_t)lseek(page_fd, 0, SEEK_END);
    struct mst_page *damaged;
    for (size_t cut = 0; cut < size; cut += 61) {
        int fd = copy_page(cut);
        assert_int_equal(mst_page_map(fd, &damaged, NULL), -EBADMSG);
        assert_int_equal(close(fd), 0);
    }
    int fd = copy_page(size);
    for (off_t bit = 0; bit < 16 * 8; bit++) { /* magic, version, local size */
        char byte, flipped;
        assert_int_equal(pread(fd, &byte, 1, bit / 8), 1);
        flipped = (char)(byte ^ (1 << bit % 8));
        assert_int_equal(pwrite(fd, &flipped, 1, bit / 8), 1);
        assert_int_equal(mst_page_map(fd, &damaged, NULL), -EBADMSG);
        assert_int_equal(pwrite(fd, &byte, 1, bit / 8), 1);
    }
    assert_int_equal(mst_page_map(fd, &damaged, NULL), 0);
    mst_page_unmap(damaged);
    assert_int_equal(close(fd), 0);
}

static void the_first_abort_stays(void **state)
{
    (void)state;
    mst_page_abort(page, 0);
    assert_int_equal(mst_page_aborted(page), 1);
    mst_page_abort(page, MST_PAGE_CAUSE_JOB);
    assert_int_equal(mst_page_aborted(page), 1);
}

static void the_gate_keeps_every_field(void **state)
{
    (void)state;
    static const uint64_t steps[] = {0, 1, 12345, (UINT64_C(1) << 60) - 1};
    for (size_t i = 0; i < 4; i++) {
        for (int bits = 0; bits < 6; bits++) {
            struct mst_gate gate = {(enum mst_gate_state)(bits % 3),
                                    (enum mst_gate_action)(bits / 3), steps[i]};
            mst_page_gate_set(page, gate);
            struct mst_gate seen = mst_page_enter_step(page, 1, i);
            assert_int_equal(seen.state, gate.state);
            assert_int_equal(seen.action, gate.action);
            assert_true(seen.step == steps[i]);
            assert_true(mst_page_slot(page, 1)->step == i);
        }
    }
}

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    struct mst_gate open_gate = mst_page_gate(page);
    assert_int_equal(mst_page_gate_wait(page, open_gate, 0), -ETIMEDOUT);
    uint64_t deadline_ns = mst_deadline_ms(5);
    assert_int_equal(mst_page_gate_wait(page, open_gate, deadline_ns), -ETIMEDOUT);
    assert_true(mst_deadline_passed(deadline_ns));
    struct mst_gate proposed = {MST_GATE_PROPOSED, MST_GATE_STOP, 4};
    mst_page_gate_set(page, proposed);
    assert_int_equal(mst_page_gate_wait(page, open_gate, soon()), 0);
    mst_page_abort(page, 2);
    assert_int_equal(mst_page_gate_wait(page, proposed, soon()), -ECONNRESET);
}

struct waiter {
    pthread_t thread;
    atomic_int tid;
    int result;
};

static void *wait_at_gate(void *arg)
{
    struct waiter *waiter = arg;
    struct mst_gate seen = mst_page_gate(page);
    waiter->tid = gettid();
    waiter->result = mst_page_gate_wait(page, seen, soon());
    return NULL;
}

/* Until the kernel says that the thread sleeps: after its tid is out, only in the futex. */
static void until_asleep(const struct waiter *waiter)
{
    while (waiter->tid == 0)
        sched_yield();
    char path[64], line[256], *name_end;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", waiter->tid);
    do {
        sched_yield();
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        assert_non_null(fgets(line, sizeof line, file));
        assert_int_equal(fclose(file), 0);
        name_end = strrchr(line, ')');
        assert_non_null(name_end);
    } while (name_end[2] != 'S');
}

static void start_waiter(struct waiter *waiter)
{
    *waiter = (struct waiter){.result = 1};
    assert_int_equal(pthread_create(&waiter->thread, NULL, wait_at_gate, waiter), 0);
    until_asleep(waiter);
}

static int join_waiter(struct waiter *waiter)
{
    assert_int_equal(pthread_join(waiter->thread, NULL), 0);
    return waiter->result;
}

static void a_new_gate_wakes_sleepers(void **state)
{
    (void)state;
    struct waiter waiters[2];
    start_waiter(&waiters[0]);
    start_waiter(&waiters[1]);
    uint64_t start_ns = mst_now_ns();
    mst_page_gate_set(page, (struct mst_gate){MST_GATE_PROPOSED, MST_GATE_CHECKPOINT, 7});
    assert_int_equal(join_waiter(&waiters[0]), 0);
    assert_int_equal(join_waiter(&waiters[1]), 0);
    assert_true(mst_now_ns() - start_ns < 10 * MST_NS_PER_S); /* woken, not timed out */
}

/* Another process, through another mapping: the futex is shared. It dies right after. */
static void an_abort_from_another_process_wakes_sleepers(void **state)
{
    (void)state;
    struct waiter waiter;
    start_waiter(&waiter);
    uint64_t start_ns = mst_now_ns();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct mst_page *mine;
        if (mst_page_map(page_fd, &mine, NULL) == 0)
            mst_page_abort(mine, 2);
        (void)raise(SIGKILL);
    }
    assert_int_equal(join_waiter(&waiter), -ECONNRESET);
    assert_true(mst_now_ns() - start_ns < 10 * MST_NS_PER_S);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(mst_page_aborted(page), 3);
}

int main(void)
{
#define WITH_PAGE(test) cmocka_unit_test_setup_teardown(test, make_page, drop_page)
    const struct CMUnitTest tests[] = {
        WITH_PAGE(starts_empty),
        WITH_PAGE(is_close_on_exec_and_sealed),
        WITH_PAGE(slots_and_entries_do_not_overlap),
        cmocka_unit_test(refuses_impossible_sizes),
        cmocka_unit_test(holds_the_most_ranks),
        cmocka_unit_test(refuses_what_is_no_page),
        WITH_PAGE(reports_what_the_system_refuses),
        WITH_PAGE(notices_damage),
        WITH_PAGE(the_first_abort_stays),
        WITH_PAGE(the_gate_keeps_every_field),
        WITH_PAGE(a_wait_ends_at_its_deadline),
        WITH_PAGE(a_new_gate_wakes_sleepers),
        WITH_PAGE(an_abort_from_another_process_wakes_sleepers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
