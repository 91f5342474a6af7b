/* Lines, areas, and the record of a failure, in memory that the ranks of a node share. */
#include "muster/comm/segment.h"

#include "muster/core/least.h"
#include "muster/core/world/page.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_LINE 64
#define PAGE_ALIGN 4096
#define MANY_RANKS 16
#define CHAIN_FACTOR UINT32_C(0x9e3779b1) /* odd: what differs once differs from then on */
#define SMALL_ROOM_BYTES ((size_t)8 << 10)
#define STEPS_IN_AREA 8 /* of the largest deposits: so far may a rank be ahead */

struct segment_line {
    _Alignas(CACHE_LINE) atomic_uint seq; /* the step that the rest of the line belongs to */
    uint32_t signature;
    uint8_t payload[SEGMENT_INLINE_BYTES];
};
static_assert(sizeof(struct segment_line) == CACHE_LINE, "a flag and its payload travel together");

/* What a rank says about itself. Read by others while it is written: atomics, and no order. */
struct segment_slot {
    _Alignas(CACHE_LINE) atomic_uint_least64_t op_seq; /* 0 = none yet */
    struct {
        atomic_uint_least64_t kind, count; /* signature_pack */
    } ops[SEGMENT_RING];                   /* the latest, each at its op_seq: one takes a step */
    cpu_set_t cpus;                        /* written before the first step */
    atomic_uint pid;                       /* so is this; 0 = not yet */
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

static uint32_t pid_of(const struct segment *segment, uint32_t local_rank)
{
    /* Relaxed: a number that stands for nothing else. */
    return atomic_load_explicit(&slot_of(segment, local_rank)->pid, memory_order_relaxed);
}

static struct segment_line *line_of(const struct segment *segment, uint32_t local_rank,
                                    uint32_t step)
{
    struct segment_line *lines = (void *)slot_of(segment, segment->local_size);
    return &lines[(size_t)local_rank * SEGMENT_RING + step % SEGMENT_RING];
}

static size_t control_bytes(uint32_t local_size)
{
    return mst_round_up(
        sizeof(struct segment_head) +
            local_size * (sizeof(struct segment_slot) + SEGMENT_RING * sizeof(struct segment_line)),
        PAGE_ALIGN);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Three of the largest deposits fit: two steps, and what is left at an area's end, are apart. */
static size_t area_bytes_for(uint32_t local_size)
{
    size_t node_bytes = local_size > MANY_RANKS ? 2 * SEGMENT_NODE_BYTES : SEGMENT_NODE_BYTES;
    size_t bytes = SEGMENT_AREA_BYTES;
    size_t least = larger(SEGMENT_AREA_LEAST, 3 * (size_t)local_size * CACHE_LINE);
    if (local_size == 1)
        return 0;
    while (bytes / 2 >= least && bytes * local_size > node_bytes)
        bytes /= 2;
    return bytes;
}

static size_t bytes_for(uint32_t local_size)
{
    return control_bytes(local_size) + local_size * area_bytes_for(local_size);
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
    struct segment_slot *own = slot_of(segment, segment->local_rank);
    wait_cpus_here(&own->cpus);
    /* Relaxed: who does not see it yet looks again. */
    atomic_store_explicit(&own->pid, (unsigned)getpid(), memory_order_relaxed);
    return 0;
}

void segment_set_rooms(struct segment *segment, enum segment_rooms rooms)
{
    size_t most = segment->area_bytes / STEPS_IN_AREA;
    if (rooms == SEGMENT_SMALL)
        most = mst_least(most, SEGMENT_SMALL_BYTES);
    segment->roams = rooms == SEGMENT_ROAMING;
    if (segment->local_size > 1)
        segment->most_bytes = larger(most, (size_t)segment->local_size * CACHE_LINE);
    assert(3 * segment->most_bytes <= segment->area_bytes);
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
    segment_set_rooms(segment, SEGMENT_ROAMING);
}

/* A limit on files is one on memory that has a descriptor, too; who goes beyond it is killed. */
static int check_limit(uint64_t end, struct mst_err *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || end <= limit.rlim_cur)
        return 0;
    return mst_err_set(err, -EFBIG,
                       "the node's shared segment ends at byte %" PRIu64 " of its file, and this "
                       "process may write up to %" PRIu64 " (RLIMIT_FSIZE): raise ulimit -f",
                       end, (uint64_t)limit.rlim_cur);
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
    int rc = check_limit(offset + segment->bytes, err);
    if (rc < 0)
        return rc;
    rc = -EINTR;
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
    segment->signature = (segment->signature ^ signature_of(desc)) * CHAIN_FACTOR;
    segment->op_seq = op_seq;
    /* Relaxed: on a mismatch the flag's release orders them; in a timeout's text they may lag. */
    size_t i = op_seq % SEGMENT_RING;
    atomic_store_explicit(&slot->ops[i].kind, signature_pack(desc), memory_order_relaxed);
    atomic_store_explicit(&slot->ops[i].count, desc->count, memory_order_relaxed);
    atomic_store_explicit(&slot->op_seq, op_seq, memory_order_relaxed);
}

/* ---- room ------------------------------------------------------------------------------------ */

static int await_all(struct segment *segment, uint64_t deadline_ns, struct mst_err *err);

/* Whether all ranks have left what the coming step is to overwrite: its lines' last step, and what
 * lay in its room. They have left all steps before the one that they are known to have posted. */
static bool is_left(const struct segment *segment)
{
    uint32_t ahead = segment->step + 1 - segment->known;
    const struct segment_room *kept = &segment->rooms[segment->known % SEGMENT_RING];
    return ahead < SEGMENT_RING && segment->end <= kept->begin + segment->area_bytes;
}

/* Small rooms stay within the beginning of the area: they are as fast there, and need not wait for
 * the kernel to bring page after page. So much of it that the last step's room is not in it when it
 * begins anew: that one begins behind the new one, or ends before the limit. */
static uint64_t place_for(const struct segment *segment, size_t room)
{
    bool stays = segment->roams && room <= SMALL_ROOM_BYTES;
    size_t limit = stays ? segment->most_bytes + 2 * SMALL_ROOM_BYTES : segment->area_bytes;
    uint64_t begin = segment->roams ? segment->end /* rooms are whole lines */
                                    : mst_round_up(segment->end, segment->area_bytes / 2);
    assert(room <= segment->most_bytes && limit <= segment->area_bytes);
    bool fits = (begin & (segment->area_bytes - 1)) + room <= limit;
    return fits ? begin : mst_round_up(begin, segment->area_bytes);
}

int segment_reserve(struct segment *segment, size_t bytes, uint64_t deadline_ns,
                    struct mst_err *err)
{
    bool in_line = bytes <= SEGMENT_INLINE_BYTES;
    size_t room = in_line ? 0 : mst_round_up(bytes, CACHE_LINE);
    uint64_t begin = room > 0 ? place_for(segment, room) : segment->end;
    segment->end = begin + room;
    int rc = is_left(segment) ? 0 : await_all(segment, deadline_ns, err);
    assert(rc < 0 || is_left(segment));
    segment->rooms[(segment->step + 1) % SEGMENT_RING] = (struct segment_room){.begin = begin,
                                                                               .in_line = in_line};
    return rc;
}

static void *area(const struct segment *segment, uint32_t local_rank, uint32_t step)
{
    const struct segment_room *room = &segment->rooms[step % SEGMENT_RING];
    assert(local_rank < segment->local_size);
    if (room->in_line)
        return line_of(segment, local_rank, step)->payload;
    return segment->areas + local_rank * segment->area_bytes +
           (room->begin & (segment->area_bytes - 1));
}

void *segment_next(const struct segment *segment, uint32_t local_rank)
{
    return area(segment, local_rank, segment->step + 1);
}

const void *segment_last(const struct segment *segment, uint32_t local_rank)
{
    return area(segment, local_rank, segment->step);
}

/* ---- failures, in words ---------------------------------------------------------------------- */

static struct signature_desc desc_of(const struct segment *segment, uint32_t local_rank,
                                     uint64_t op_seq)
{
    struct segment_slot *slot = slot_of(segment, local_rank);
    size_t i = op_seq % SEGMENT_RING;
    return signature_unpack(atomic_load_explicit(&slot->ops[i].kind, memory_order_relaxed),
                            atomic_load_explicit(&slot->ops[i].count, memory_order_relaxed));
}

static struct signature_desc own_desc(const struct segment *segment)
{
    return desc_of(segment, segment->local_rank, segment->op_seq);
}

static uint64_t seq_of(const struct segment *segment, uint32_t local_rank)
{
    return atomic_load_explicit(&slot_of(segment, local_rank)->op_seq, memory_order_relaxed);
}

/* Tells of the first collective in which the two differ: whoever waits for nobody may have gone on
 * since, so that it is not always the latest. */
static int mismatch(const struct segment *segment, uint32_t other, struct mst_err *err)
{
    struct signature_desc mine, theirs;
    uint64_t last = segment->op_seq, ahead = seq_of(segment, other);
    uint64_t newest = ahead > last ? ahead : last;
    uint64_t seq = newest < SEGMENT_RING ? 0 : newest - SEGMENT_RING + 1; /* the oldest kept */
    do {
        mine = desc_of(segment, segment->local_rank, seq);
        theirs = desc_of(segment, other, seq);
    } while (signature_of(&mine) == signature_of(&theirs) && seq++ < last);
    return signature_mismatch(segment->ranks[segment->local_rank], &mine, segment->ranks[other],
                              &theirs, err);
}

/* Appends a rank whose line has not come. */
static void append_absent(const struct segment *segment, uint32_t local_rank, char *text,
                          size_t cap)
{
    char who[32];
    uint64_t op_seq = seq_of(segment, local_rank);
    struct signature_desc last = desc_of(segment, local_rank, op_seq);
    (void)snprintf(who, sizeof who, "rank %u", segment->ranks[local_rank]);
    signature_append_absent(who, op_seq, &last, text, cap);
}

static int timed_out(const struct segment *segment, struct mst_err *err)
{
    char mine[SIGNATURE_TEXT_MAX], absent[sizeof err->text] = "";
    struct signature_desc desc = own_desc(segment);
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
    struct signature_desc desc = own_desc(segment);
    return mst_err_set(err, -ECONNRESET, "op %llu, %s: rank %u has left, its process has ended",
                       (unsigned long long)segment->op_seq,
                       signature_describe(&desc, mine, sizeof mine), segment->ranks[local_rank]);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static int await(struct segment *segment, uint32_t local_rank, uint64_t deadline_ns,
                 struct mst_err *err)
{
    struct segment_line *line = line_of(segment, local_rank, segment->step);
    struct segment_line *mine = line_of(segment, segment->local_rank, segment->step);
    segment->wait.whose = segment->slots ? &segment->slots[local_rank].state : NULL;
    segment->wait.whose_pid = segment->slots ? 0 : pid_of(segment, local_rank);
    int rc = wait_word(&segment->wait, &line->seq, segment->step, deadline_ns);
    if (rc == -EPIPE)
        return has_left(segment, local_rank, err);
    if (rc < 0)
        return rc == -ETIMEDOUT ? timed_out(segment, err) : segment_explain(segment, rc, err);
    return line->signature == mine->signature ? 0 : mismatch(segment, local_rank, err);
}

static int await_all(struct segment *segment, uint64_t deadline_ns, struct mst_err *err)
{
    int rc = 0;
    for (uint32_t r = 0; rc == 0 && r < segment->local_size; r++)
        if (r != segment->local_rank)
            rc = await(segment, r, deadline_ns, err);
    segment->known = segment->step;
    return rc;
}

static void post(struct segment *segment)
{
    uint32_t step = ++segment->step;
    struct segment_line *mine = line_of(segment, segment->local_rank, step);
    mine->signature = segment->signature;
    wait_post(&segment->wait, &mine->seq, step);
}

int segment_step(struct segment *segment, uint64_t deadline_ns, struct mst_err *err)
{
    post(segment);
    return await_all(segment, deadline_ns, err);
}

bool segment_has_core(const struct segment *segment)
{
    return segment->wait.spin_ns > 0;
}

int segment_step_from(struct segment *segment, uint32_t local_rank, uint64_t deadline_ns,
                      struct mst_err *err)
{
    post(segment);
    if (local_rank == segment->local_rank)
        return 0;
    return segment->local_size == 2 ? await_all(segment, deadline_ns, err)
                                    : await(segment, local_rank, deadline_ns, err);
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
        for (uint32_t i = 0; i < SEGMENT_RING * segment->local_size; i++)
            wait_wake(&line_of(segment, 0, 0)[i].seq);
    } else if (atomic_load_explicit(&head->failed, memory_order_acquire) != 0) {
        return read_failure(segment, err);
    }
    return err->code;
}
