#include "muster/core/world/page.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The page in memory: this header, then local_size slots, then local_size recorder rings. */
#define PAGE_MAGIC UINT64_C(0x3145474150545354)
#define PAGE_VERSION 4
#define PAGE_NAME "muster-page"

struct header {
    uint64_t magic;
    uint32_t version;
    uint32_t local_size;
    _Alignas(64) atomic_uint aborted;        /* 0, or the cause + 1 */
    _Alignas(64) atomic_uint_least64_t gate; /* step << 3 | action << 2 | state */
    atomic_uint turn;                        /* futex; moves with every change of gate or abort */
};

static_assert(sizeof(struct header) == 192, "the page's layout is shared between processes");
static_assert(sizeof(struct mst_page_slot) == 64, "one cache line per rank");
static_assert(sizeof(struct mst_page_op) == 64, "one cache line per recorder entry");
static_assert(sizeof(atomic_uint) == sizeof(uint32_t), "a futex is 32 bits");

/* local_size is a copy: whatever a rank scribbles over the page, the agent's accesses stay inside
 * it. */
struct mst_page {
    struct header *header;
    struct mst_page_slot *slots;
    struct mst_page_op *ops;
    size_t size_bytes;
    uint32_t local_size;
};

const char *mst_rank_state_name(unsigned state)
{
    static const char *const names[MST_RANK_STATE_COUNT] = {
        "empty", "started", "running", "in collective", "at the gate", "finishing", "left"};
    return state < MST_RANK_STATE_COUNT ? names[state] : "?";
}

static size_t page_bytes(uint32_t local_size)
{
    return sizeof(struct header) + local_size * (sizeof(struct mst_page_slot) +
                                                 MST_PAGE_RING_OPS * sizeof(struct mst_page_op));
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Maps a page of `local_size` ranks, which the fd is known to hold. */
static int map_sized(int fd, uint32_t local_size, struct mst_page **ret_page, struct mst_err *err)
{
    struct mst_page *page = calloc(1, sizeof *page);
    if (!page)
        return mst_err_set(err, -ENOMEM, "no memory for a node page handle");
    page->local_size = local_size;
    page->size_bytes = page_bytes(local_size);
    void *base = mmap(NULL, page->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        int rc = -errno;
        free(page);
        return mst_err_set(err, rc, "cannot map the node page (fd %d): %s", fd,
                           mst_err_meaning(rc));
    }
    page->header = base;
    page->slots = (struct mst_page_slot *)(page->header + 1);
    page->ops = (struct mst_page_op *)(page->slots + local_size);
    assert((char *)(page->ops + (size_t)local_size * MST_PAGE_RING_OPS) ==
           (char *)base + page->size_bytes);
    *ret_page = page;
    return 0;
}

/* The memfd is zeros; a rank that has not begun is told by its steps. */
static void fill(struct mst_page *page)
{
    *page->header = (struct header){
        .magic = PAGE_MAGIC,
        .version = PAGE_VERSION,
        .local_size = page->local_size,
    };
    for (uint32_t i = 0; i < page->local_size; i++) {
        atomic_init(&page->slots[i].step, MST_PAGE_NO_STEP);
        atomic_init(&page->slots[i].ckpt_step, MST_PAGE_NO_STEP);
        atomic_init(&page->slots[i].lost_step, MST_PAGE_NO_STEP);
        atomic_init(&page->slots[i].acted_step, MST_PAGE_NO_STEP);
    }
}

/* Sealed in its size: no rank can cut the page under another's feet. */
static int make_memfd(size_t size_bytes, struct mst_err *err)
{
    int fd = memfd_create(PAGE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return mst_err_set(err, -errno, "cannot create the node page: %s", mst_err_meaning(errno));
    if (ftruncate(fd, (off_t)size_bytes) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
        return fd;
    int rc = -errno;
    (void)close(fd); /* a memfd has nothing to lose */
    return mst_err_set(err, rc, "cannot size the node page to %zu bytes: %s", size_bytes,
                       mst_err_meaning(rc));
}

int mst_page_create(uint32_t local_size, int *ret_fd, struct mst_page **ret_page,
                    struct mst_err *err)
{
    if (local_size == 0 || local_size > MST_PAGE_RANKS_MAX)
        return mst_err_set(err, -EINVAL, "a node page holds 1 to %d ranks, not %u",
                           MST_PAGE_RANKS_MAX, local_size);
    int fd = make_memfd(page_bytes(local_size), err);
    if (fd < 0)
        return fd;
    struct mst_page *page;
    int rc = map_sized(fd, local_size, &page, err);
    if (rc < 0) {
        (void)close(fd); /* as above */
        return rc;
    }
    fill(page);
    *ret_fd = fd;
    *ret_page = page;
    return 0;
}

/* Reads by pread, so that a file that is too short for even a header cannot fault. */
static int check(int fd, struct header *ret_header, struct mst_err *err)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return mst_err_set(err, -errno, "node page fd %d: %s", fd, mst_err_meaning(errno));
    if (pread(fd, ret_header, sizeof *ret_header, 0) != (ssize_t)sizeof *ret_header ||
        ret_header->magic != PAGE_MAGIC)
        return mst_err_set(err, -EBADMSG, "fd %d is no node page; is MST_PAGE_FD stale?", fd);
    if (ret_header->version != PAGE_VERSION)
        return mst_err_set(err, -EBADMSG,
                           "the node page has version %u, this library speaks %d; use the agent "
                           "and the library of one build",
                           ret_header->version, PAGE_VERSION);
    uint32_t local_size = ret_header->local_size;
    if (local_size == 0 || local_size > MST_PAGE_RANKS_MAX ||
        (uint64_t)info.st_size != page_bytes(local_size))
        return mst_err_set(err, -EBADMSG, "the node page says %u ranks but has %lld bytes",
                           local_size, (long long)info.st_size);
    return 0;
}

int mst_page_map(int fd, struct mst_page **ret_page, struct mst_err *err)
{
    struct header header;
    int rc = check(fd, &header, err);
    if (rc < 0)
        return rc;
    return map_sized(fd, header.local_size, ret_page, err);
}

void mst_page_unmap(struct mst_page *page)
{
    if (!page)
        return;
    (void)munmap(page->header, page->size_bytes); /* fails only for a range that is not ours */
    free(page);
}

/* ---- slots and recorder ---------------------------------------------------------------------- */

int mst_page_find_inherited(void)
{
    static const char wanted[] = "/memfd:" PAGE_NAME;
    char target[sizeof wanted];
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;
    int fd = -1;
    while (dir && fd < 0 && (entry = readdir(dir)) != NULL) {
        ssize_t size = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (size == (ssize_t)sizeof target - 1 && memcmp(target, wanted, (size_t)size) == 0)
            fd = (int)strtol(entry->d_name, NULL, 10);
    }
    if (dir)
        (void)closedir(dir); /* only read */
    return fd;
}

uint32_t mst_page_local_size(const struct mst_page *page)
{
    return page->local_size;
}

struct mst_page_slot *mst_page_slot(struct mst_page *page, uint32_t local_rank)
{
    assert(local_rank < page->local_size);
    return &page->slots[local_rank];
}

struct mst_page_op *mst_page_op(struct mst_page *page, uint32_t local_rank, uint64_t index)
{
    assert(local_rank < page->local_size);
    return &page->ops[(size_t)local_rank * MST_PAGE_RING_OPS + index % MST_PAGE_RING_OPS];
}

/* ---- abort word and gate --------------------------------------------------------------------- */

/* The release in this add orders what was stored before it (abort word, gate) for a waiter that
 * reads the new turn. The futex is shared between processes, hence not FUTEX_PRIVATE_FLAG. */
static void move_turn(struct mst_page *page)
{
    atomic_fetch_add_explicit(&page->header->turn, 1, memory_order_release);
    /* Waking can fail only for an address that is none. */
    (void)syscall(SYS_futex, &page->header->turn, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* The turn moves even if the word was set before: whoever set it may have been killed in between.
 */
void mst_page_abort(struct mst_page *page, uint32_t cause_rank)
{
    assert(cause_rank <= MST_PAGE_CAUSE_JOB);
    unsigned expected = 0;
    atomic_compare_exchange_strong_explicit(&page->header->aborted, &expected, cause_rank + 1,
                                            memory_order_release, memory_order_relaxed);
    move_turn(page);
}

uint32_t mst_page_aborted(const struct mst_page *page)
{
    /* pairs with the release in mst_page_abort */
    return atomic_load_explicit(&page->header->aborted, memory_order_acquire);
}

static uint64_t pack_gate(struct mst_gate gate)
{
    return gate.step << 3 | (uint64_t)gate.action << 2 | (uint64_t)gate.state;
}

static struct mst_gate unpack_gate(uint64_t word)
{
    return (struct mst_gate){
        .state = (enum mst_gate_state)(word & 3),
        .action = (enum mst_gate_action)(word >> 2 & 1),
        .step = word >> 3,
    };
}

struct mst_gate mst_page_gate(const struct mst_page *page)
{
    /* pairs with the store in mst_page_gate_set */
    return unpack_gate(atomic_load_explicit(&page->header->gate, memory_order_acquire));
}

void mst_page_gate_set(struct mst_page *page, struct mst_gate gate)
{
    assert(gate.step < UINT64_C(1) << 60 && gate.state <= MST_GATE_AGREED &&
           gate.action <= MST_GATE_CHECKPOINT);
    atomic_store_explicit(&page->header->gate, pack_gate(gate), memory_order_seq_cst);
    move_turn(page);
}

struct mst_gate mst_page_enter_step(struct mst_page *page, uint32_t local_rank, uint64_t step)
{
    assert(step <= MST_PAGE_STEP_MAX);
    atomic_store_explicit(&mst_page_slot(page, local_rank)->step, step, memory_order_seq_cst);
    /* seq_cst against the store above: the rank's half of the Dekker pair with mst_page_gate_set */
    return unpack_gate(atomic_load_explicit(&page->header->gate, memory_order_seq_cst));
}

/* Sleeps while the turn is `turn`, until the deadline. Wakes early for any reason. */
static void sleep_turn(struct mst_page *page, unsigned turn, uint64_t deadline_ns)
{
    struct timespec until = {
        .tv_sec = (time_t)(deadline_ns / MST_NS_PER_S),
        .tv_nsec = (long)(deadline_ns % MST_NS_PER_S),
    };
    /* FUTEX_WAIT_BITSET takes a point on CLOCK_MONOTONIC, FUTEX_WAIT a duration. Why it ends is of
     * no interest: the caller looks again. */
    (void)syscall(SYS_futex, &page->header->turn, FUTEX_WAIT_BITSET, turn,
                  deadline_ns == MST_NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

int mst_page_gate_wait(struct mst_page *page, struct mst_gate seen, uint64_t deadline_ns)
{
    for (;;) {
        /* pairs with the release in move_turn; read first, so that a change after the checks
         * below has moved it and the futex does not sleep */
        unsigned turn = atomic_load_explicit(&page->header->turn, memory_order_acquire);
        if (mst_page_aborted(page))
            return -ECONNRESET;
        if (pack_gate(mst_page_gate(page)) != pack_gate(seen))
            return 0;
        if (mst_deadline_passed(deadline_ns))
            return -ETIMEDOUT;
        sleep_turn(page, turn, deadline_ns);
    }
}
