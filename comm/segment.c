/* Lines, areas, and the record of a failure, in memory that the ranks of a node share. */
#include "muster/comm/segment.h"

#include "muster/core/least.h"
#include "muster/core/world/page.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_LINE 64
#define PAGE_ALIGN 4096

struct segment_line {
    _Alignas(CACHE_LINE) atomic_uint seq; /* the step that the rest of the line belongs to */
    uint32_t signature;
    uint8_t payload[SEGMENT_INLINE_BYTES];
};
static_assert(sizeof(struct segment_line) == CACHE_LINE, "a flag and its payload travel together");

/* What a rank says about itself. Read by others while it is written: atomics, and no order. */
struct segment_slot {
    _Alignas(CACHE_LINE) atomic_uint_least64_t op_seq; /* 0 = none yet */
    atomic_uint_least64_t kind, count;                 /* signature_pack */
    cpu_set_t cpus;                                    /* written before the first step */
};

struct segment_head {
    _Alignas(CACHE_LINE) atomic_uint failed; /* 1 once `failure` may be read */
    atomic_uint claimed;                     /* 1 once somebody writes it */
    struct mst_err failure;
    _Alignas(CACHE_LINE) atomic_uint sleepers;
    atomic_uint members; /* ranks that have not left */
};

static struct segment_slot *slot_of(const struct segment *segment, uint32_t local_rank)
{
    return (struct segment_slot *)(segment->head + 1) + local_rank;
}

static struct segment_line *line_of(const struct segment *segment, uint32_t local_rank,
                                    uint32_t step)
{
    struct segment_line *lines = (void *)slot_of(segment, segment->local_size);
    return &lines[(size_t)(step & 1) * segment->local_size + local_rank];
}

static size_t control_bytes(uint32_t local_size)
{
    return mst_round_up(sizeof(struct segment_head) +
                            local_size *
                                (sizeof(struct segment_slot) + 2 * sizeof(struct segment_line)),
                        PAGE_ALIGN);
}

static size_t area_bytes_for(uint32_t local_size)
{
    return SEGMENT_CHUNK_BYTES + mst_round_up(SEGMENT_CHUNK_BYTES / local_size, CACHE_LINE) +
           CACHE_LINE;
}

static size_t bytes_for(uint32_t local_size)
{
    size_t areas = 2 * (size_t)local_size * area_bytes_for(local_size);
    return control_bytes(local_size) + mst_round_up(areas, PAGE_ALIGN);
}

static int map(struct segment *segment, int fd, uint64_t offset, struct mst_err *err)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *base = mmap(NULL, segment->bytes, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset);
    if (base == MAP_FAILED)
        return mst_err_set(err, -errno, "cannot map %zu bytes of the node's shared segment: %s",
                           segment->bytes, mst_err_meaning(errno));
    segment->head = base;
    segment->areas = (uint8_t *)base + control_bytes(segment->local_size);
    segment->wait.failed = &segment->head->failed;
    segment->wait.sleepers = &segment->head->sleepers;
    wait_set_policy(&segment->wait, MST_WAIT_AUTO, false);
    wait_cpus_here(&slot_of(segment, segment->local_rank)->cpus);
    return 0;
}

static void prepare(struct segment *segment, uint32_t local_rank, uint32_t local_size)
{
    assert(local_rank < local_size);
    memset(segment, 0, sizeof *segment);
    segment->fd = -1;
    segment->local_rank = local_rank;
    segment->local_size = local_size;
    segment->area_bytes = area_bytes_for(local_size);
    segment->bytes = bytes_for(local_size);
}

/* Appends the segment's room to the file, all of it backed by memory. */
static int take_room(const struct segment *segment, int fd, uint64_t *ret_offset,
                     struct mst_err *err)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return mst_err_set(err, -errno,
                           "cannot read the size of the node's shared segment, fd %d: %s", fd,
                           mst_err_meaning(errno));
    uint64_t offset = mst_round_up((size_t)status.st_size, PAGE_ALIGN);
    int rc = -EINTR;
    while (rc == -EINTR) /* the program's signals; nothing was taken then */
        rc = -posix_fallocate(fd, (off_t)offset, (off_t)segment->bytes);
    if (rc < 0)
        return mst_err_set(err, rc == -ENOSPC ? -ENOMEM : rc,
                           "no memory for the node's shared segment of %zu bytes: raise the memory "
                           "limit of the container, or start fewer ranks per node",
                           segment->bytes);
    *ret_offset = offset;
    return 0;
}

int segment_create(struct segment *segment, int shm_fd, uint32_t local_size,
                   struct segment_place *ret_place, struct mst_err *err)
{
    prepare(segment, 0, local_size);
    struct segment_place place = {0};
    int rc = 0, fd = shm_fd;
    if (local_size == 1) {
        fd = -1;
    } else if (shm_fd < 0) {
        fd = segment->fd = memfd_create("muster-comm", MFD_CLOEXEC);
        if (fd < 0)
            return mst_err_set(err, -errno, "cannot make the node's shared segment: %s",
                               mst_err_meaning(errno));
        place.pid = (uint32_t)getpid();
        place.fd = (uint32_t)fd;
    }
    if (fd >= 0)
        rc = take_room(segment, fd, &place.offset, err);
    if (rc == 0)
        rc = map(segment, fd, place.offset, err);
    if (rc < 0) {
        segment_close(segment);
        return rc;
    }
    atomic_store(&segment->head->members, local_size);
    *ret_place = place;
    return 0;
}

int segment_open(struct segment *segment, int shm_fd, uint32_t local_rank, uint32_t local_size,
                 const struct segment_place *place, struct mst_err *err)
{
    prepare(segment, local_rank, local_size);
    if (place->pid == 0 && shm_fd >= 0)
        return map(segment, shm_fd, place->offset, err);
    if (place->pid == 0)
        return mst_err_set(err, -EPROTO,
                           "the node's first rank inherited a shared segment "
                           "(MST_SHM_FD) and this rank did not");
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%u/fd/%u", place->pid, place->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return mst_err_set(err, -errno, "cannot open the segment of the node's first rank, %s: %s",
                           path, mst_err_meaning(errno));
    int rc = map(segment, fd, place->offset, err);
    (void)close(fd); /* the mapping stays */
    return rc;
}

void segment_seal(struct segment *segment)
{
    if (segment->fd >= 0)
        (void)close(segment->fd); /* a memfd: nothing to lose */
    segment->fd = -1;
}

void segment_close(struct segment *segment)
{
    if (segment->head) {
        unsigned members = atomic_fetch_sub(&segment->head->members, 1);
        /* The last one out punches the room out of the file: others may still hold the fd. Private
         * memory has no file, and a mapping that is not there has no room. */
        if (members == 1)
            (void)madvise(segment->head, segment->bytes, MADV_REMOVE);
        (void)munmap(segment->head, segment->bytes);
    }
    segment_seal(segment);
    segment->head = NULL;
}

void segment_set_page(struct segment *segment, struct mst_page *page)
{
    assert(!page || mst_page_local_size(page) >= segment->local_size);
    segment->wait.page = page;
    segment->slots = page ? mst_page_slot(page, 0) : NULL;
}

void segment_set_wait(struct segment *segment, enum mst_wait_policy policy,
                      uint32_t threads_per_rank)
{
    cpu_set_t all;
    CPU_ZERO(&all);
    for (uint32_t r = 0; r < segment->local_size; r++)
        CPU_OR(&all, &all, &slot_of(segment, r)->cpus);
    bool core_free = segment->local_size * threads_per_rank <= wait_cpus_count(&all, "");
    wait_set_policy(&segment->wait, policy, core_free);
}

void segment_begin(struct segment *segment, const struct signature_desc *desc, uint64_t op_seq)
{
    struct segment_slot *slot = slot_of(segment, segment->local_rank);
    assert(op_seq >= segment->op_seq);
    segment->signature = signature_of(desc);
    segment->op_seq = op_seq;
    /* Relaxed: on a mismatch the flag's release orders them; in a timeout's text they may lag. */
    atomic_store_explicit(&slot->kind, signature_pack(desc), memory_order_relaxed);
    atomic_store_explicit(&slot->count, desc->count, memory_order_relaxed);
    atomic_store_explicit(&slot->op_seq, op_seq, memory_order_relaxed);
}

static void *area(const struct segment *segment, uint32_t local_rank, uint32_t step, size_t bytes)
{
    assert(local_rank < segment->local_size && bytes <= segment->area_bytes);
    if (bytes <= SEGMENT_INLINE_BYTES)
        return line_of(segment, local_rank, step)->payload;
    size_t index = (size_t)(step & 1) * segment->local_size + local_rank;
    return segment->areas + index * segment->area_bytes;
}

void *segment_next(const struct segment *segment, uint32_t local_rank, size_t bytes)
{
    return area(segment, local_rank, segment->step + 1, bytes);
}

const void *segment_last(const struct segment *segment, uint32_t local_rank, size_t bytes)
{
    return area(segment, local_rank, segment->step, bytes);
}

static struct signature_desc desc_of(const struct segment *segment, uint32_t local_rank)
{
    struct segment_slot *slot = slot_of(segment, local_rank);
    return signature_unpack(atomic_load_explicit(&slot->kind, memory_order_relaxed),
                            atomic_load_explicit(&slot->count, memory_order_relaxed));
}

static int mismatch(const struct segment *segment, uint32_t other, struct mst_err *err)
{
    struct signature_desc mine = desc_of(segment, segment->local_rank);
    struct signature_desc theirs = desc_of(segment, other);
    return signature_mismatch(segment->ranks[segment->local_rank], &mine, segment->ranks[other],
                              &theirs, err);
}

/* Appends a rank whose line has not come. */
static void append_absent(const struct segment *segment, uint32_t local_rank, char *text,
                          size_t cap)
{
    char who[32];
    struct signature_desc last = desc_of(segment, local_rank);
    uint64_t op_seq = atomic_load_explicit(&slot_of(segment, local_rank)->op_seq,
                                           memory_order_relaxed);
    (void)snprintf(who, sizeof who, "rank %u", segment->ranks[local_rank]);
    signature_append_absent(who, op_seq, &last, text, cap);
}

static int timed_out(const struct segment *segment, struct mst_err *err)
{
    char mine[SIGNATURE_TEXT_MAX], absent[sizeof err->text] = "";
    struct signature_desc desc = desc_of(segment, segment->local_rank);
    for (uint32_t r = 0; r < segment->local_size; r++)
        if (atomic_load(&line_of(segment, r, segment->step)->seq) != segment->step)
            append_absent(segment, r, absent, sizeof absent);
    return mst_err_set(err, -ETIMEDOUT, "op %llu, %s: still missing%s",
                       (unsigned long long)segment->op_seq,
                       signature_describe(&desc, mine, sizeof mine), absent);
}

/* What another rank wrote is bytes like those of a wire. */
static int read_failure(const struct segment *segment, struct mst_err *err)
{
    *err = segment->head->failure;
    err->text[sizeof err->text - 1] = '\0';
    if (err->code >= 0 || err->code < -MST_ERRNO_MAX)
        err->code = -EPROTO;
    if (!err->text[0])
        (void)mst_err_set(err, err->code, "a rank of this node gave up and did not say why");
    return err->code;
}

int segment_explain(const struct segment *segment, int code, struct mst_err *err)
{
    return code == -ECANCELED ? read_failure(segment, err) : wait_explain(&segment->wait, err);
}

/* Whoever ends in the middle of a job, be it with 0, is missed by the others at once. */
static int has_left(const struct segment *segment, uint32_t local_rank, struct mst_err *err)
{
    char mine[SIGNATURE_TEXT_MAX];
    struct signature_desc desc = desc_of(segment, segment->local_rank);
    return mst_err_set(err, -ECONNRESET, "op %llu, %s: rank %u has left, its process has ended",
                       (unsigned long long)segment->op_seq,
                       signature_describe(&desc, mine, sizeof mine), segment->ranks[local_rank]);
}

int segment_step(struct segment *segment, uint64_t deadline_ns, struct mst_err *err)
{
    uint32_t step = ++segment->step;
    struct segment_line *mine = line_of(segment, segment->local_rank, step);
    mine->signature = segment->signature;
    wait_post(&segment->wait, &mine->seq, step);
    for (uint32_t r = 0; r < segment->local_size; r++) {
        struct segment_line *line = line_of(segment, r, step);
        segment->wait.whose = segment->slots ? &segment->slots[r].state : NULL;
        int rc = wait_word(&segment->wait, &line->seq, step, deadline_ns);
        if (rc == -EPIPE)
            return has_left(segment, r, err);
        if (rc < 0)
            return rc == -ETIMEDOUT ? timed_out(segment, err) : segment_explain(segment, rc, err);
        if (line->signature != segment->signature)
            return mismatch(segment, r, err);
    }
    return 0;
}

int segment_fail(struct segment *segment, struct mst_err *err)
{
    struct segment_head *head = segment->head;
    unsigned unclaimed = 0;
    assert(err->code < 0);
    if (atomic_compare_exchange_strong(&head->claimed, &unclaimed, 1)) {
        head->failure = *err;
        /* Release: pairs with wait_check and the load below. */
        atomic_store_explicit(&head->failed, 1, memory_order_release);
        for (uint32_t r = 0; r < 2 * segment->local_size; r++)
            wait_wake(&line_of(segment, 0, 0)[r].seq);
    } else if (atomic_load_explicit(&head->failed, memory_order_acquire) != 0) {
        return read_failure(segment, err);
    }
    return err->code;
}
