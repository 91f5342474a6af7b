/* Two ranks of one process step through a segment by turns of one thread: a step of the second
 * completes at once when the first has posted, and the first is tried with a deadline in the past.
 */
#include "muster/comm/segment.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/least.h"
#include "muster/core/rng.h"
#include "muster/core/world/page.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

int __real_posix_fallocate(int fd, off_t offset, off_t bytes);
int __wrap_posix_fallocate(int fd, off_t offset, off_t bytes);

/* Signals that come while the room is taken, and the answer after them. */
static int interruptions, refusal;

int __wrap_posix_fallocate(int fd, off_t offset, off_t bytes)
{
    if (interruptions > 0) {
        interruptions--;
        return EINTR;
    }
    return refusal ? refusal : __real_posix_fallocate(fd, offset, bytes);
}

static bool no_more_files;

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);

int __wrap_memfd_create(const char *name, unsigned flags)
{
    if (!no_more_files)
        return __real_memfd_create(name, flags);
    errno = EMFILE;
    return -1;
}

static const uint32_t global_ranks[] = {4, 5};
static const struct signature_desc barrier = {.coll = MST_COLL_BARRIER};

struct pair {
    struct segment segments[2];
    struct mst_err err;
};

static void open_pair(struct pair *pair, int shm_fd)
{
    struct segment_place place;
    assert_int_equal(segment_create(&pair->segments[0], shm_fd, 2, &place, &pair->err), 0);
    assert_int_equal(segment_open(&pair->segments[1], shm_fd, 1, 2, &place, &pair->err), 0);
    segment_seal(&pair->segments[0]);
    pair->segments[0].ranks = pair->segments[1].ranks = global_ranks;
}

static void close_pair(struct pair *pair)
{
    segment_close(&pair->segments[0]);
    segment_close(&pair->segments[1]);
}

static void reserve_both(struct pair *pair, size_t bytes)
{
    for (int r = 0; r < 2; r++)
        assert_int_equal(segment_reserve(&pair->segments[r], bytes, 1, &pair->err), 0);
}

/* Rank 0 posts and finds nobody; rank 1 then finds rank 0, and rank 0 has it told. */
static void step_both(struct pair *pair)
{
    assert_int_equal(segment_step(&pair->segments[0], 1, &pair->err), -ETIMEDOUT);
    assert_int_equal(segment_step(&pair->segments[1], soon(), &pair->err), 0);
    pair->segments[0].known = pair->segments[0].step;
}

static void deposits_are_seen_after_the_step(void **state)
{
    (void)state;
    struct pair pair = {0};
    open_pair(&pair, -1);
    struct segment *a = &pair.segments[0], *b = &pair.segments[1];
    const size_t sizes[] = {SEGMENT_INLINE_BYTES, SEGMENT_INLINE_BYTES + 1, a->most_bytes};
    segment_begin(a, &barrier, 1);
    segment_begin(b, &barrier, 1);
    for (int round = 0; round < 60; round++) { /* three times round the lines and the areas */
        size_t bytes = sizes[round % 3];
        reserve_both(&pair, bytes);
        memset(segment_next(a, 0), 'a' + round, bytes);
        memset(segment_next(b, 1), 'A' + round, bytes);
        step_both(&pair);
        const unsigned char *from_a = segment_last(b, 0), *from_b = segment_last(a, 1);
        assert_int_equal(from_a[0], 'a' + round);
        assert_int_equal(from_a[bytes - 1], 'a' + round);
        assert_int_equal(from_b[bytes - 1], 'A' + round);
    }
    close_pair(&pair);
}

/* Rooms of all sizes in any order, and all ways of following one another: what the last step holds
 * is still whole after the next deposit. */
static void no_deposit_meets_the_one_before(void **state)
{
    (void)state;
    struct pair pair = {0};
    open_pair(&pair, -1);
    struct segment *a = &pair.segments[0], *b = &pair.segments[1];
    const size_t sizes[] = {8, 64, 1000, 8 << 10, (8 << 10) + 1, 64 << 10, a->most_bytes};
    struct mst_rng rng;
    mst_rng_init(&rng, 7, 0);
    segment_begin(a, &barrier, 1);
    segment_begin(b, &barrier, 1);
    size_t before = 0;
    for (int round = 0; round < 5000; round++) {
        if (round > 0 && mst_rng_below(&rng, 50) == 0) {
            segment_set_rooms(a, (enum segment_rooms)(round % 3));
            segment_set_rooms(b, (enum segment_rooms)(round % 3));
        }
        size_t bytes = mst_least(sizes[mst_rng_below(&rng, 7)], a->most_bytes);
        reserve_both(&pair, bytes);
        memset(segment_next(a, 0), round, bytes);
        const unsigned char *last = segment_last(b, 0);
        assert_true(before == 0 || (last[0] == (unsigned char)(round - 1) &&
                                    last[before - 1] == (unsigned char)(round - 1)));
        step_both(&pair);
        before = bytes;
    }
    close_pair(&pair);
}

/* The poster may be ahead until the lines, or the room, would be those that the other reads. */
static void who_waits_for_nobody_stops_when_the_ring_is_full(void **state)
{
    (void)state;
    static const struct {
        size_t bytes;
        int steps;
    } cases[] = {{8, SEGMENT_RING - 1}, {SIZE_MAX, 8}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct pair pair = {0};
        open_pair(&pair, -1);
        struct segment *root = &pair.segments[0], *reader = &pair.segments[1];
        size_t bytes = cases[c].bytes < root->most_bytes ? cases[c].bytes : root->most_bytes;
        segment_begin(root, &barrier, 1);
        segment_begin(reader, &barrier, 1);
        for (int i = 0; i < cases[c].steps; i++) {
            assert_int_equal(segment_reserve(root, bytes, 1, &pair.err), 0);
            memset(segment_next(root, 0), i, bytes);
            assert_int_equal(segment_step_from(root, 0, 1, &pair.err), 0);
        }
        assert_int_equal(segment_reserve(root, bytes, 1, &pair.err), -ETIMEDOUT);
        assert_string_equal(pair.err.text,
                            "op 1, barrier: still missing rank 5 (last: op 1, barrier)");
        for (int i = 0; i < cases[c].steps; i++) {
            assert_int_equal(segment_reserve(reader, bytes, 1, &pair.err), 0);
            assert_int_equal(segment_step_from(reader, 0, 1, &pair.err), 0);
            const unsigned char *seen = segment_last(reader, 0);
            assert_int_equal(seen[0], i);
            assert_int_equal(seen[bytes - 1], i);
        }
        close_pair(&pair);
    }
}

/* Rank 0 has gone on: what differed is told, not what it does now. */
static void a_mismatch_is_found_after_the_poster_has_gone_on(void **state)
{
    (void)state;
    struct pair pair = {0};
    open_pair(&pair, -1);
    struct signature_desc mine = {.coll = MST_COLL_BROADCAST, .dtype = MST_F32, .count = 3};
    struct signature_desc theirs = {.coll = MST_COLL_BROADCAST, .dtype = MST_F32, .root = 1};
    segment_begin(&pair.segments[0], &mine, 1);
    segment_begin(&pair.segments[1], &theirs, 1);
    for (int r = 0; r < 2; r++) /* both take themselves for the root */
        assert_int_equal(segment_step_from(&pair.segments[r], (uint32_t)r, 1, &pair.err), 0);
    for (uint64_t op = 2; op < SEGMENT_RING; op++) {
        segment_begin(&pair.segments[0], &barrier, op);
        assert_int_equal(segment_step_from(&pair.segments[0], 0, 1, &pair.err), 0);
    }
    segment_begin(&pair.segments[1], &barrier, 2);
    assert_int_equal(segment_step(&pair.segments[1], 1, &pair.err), -EPROTO);
    assert_string_equal(pair.err.text, "rank 4: broadcast f32 count 3 root 0; "
                                       "rank 5: broadcast f32 count 0 root 1");
    close_pair(&pair);
}

/* However many ranks a node has, an area holds its largest deposits three times. */
static void areas_stay_within_the_nodes_share(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {2, 3, 8, 9, 16, 17, 64, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t ranks = sizes[i];
        struct segment segment;
        struct segment_place place;
        assert_int_equal(segment_create(&segment, -1, ranks, &place, NULL), 0);
        size_t most = ranks > 16 ? 2 * SEGMENT_NODE_BYTES : SEGMENT_NODE_BYTES;
        assert_true(ranks * segment.area_bytes <= most);
        assert_true(ranks * (size_t)64 <= segment.most_bytes);
        assert_true(3 * segment.most_bytes <= segment.area_bytes);
        segment_close(&segment);
    }
}

/* It ended in the middle of the job; a rank that left after its last step is missed by nobody. */
static void a_rank_that_has_left_is_missed_at_once(void **state)
{
    (void)state;
    struct pair pair = {0};
    struct mst_page *page;
    int page_fd;
    open_pair(&pair, -1);
    assert_int_equal(mst_page_create(2, &page_fd, &page, NULL), 0);
    segment_set_page(&pair.segments[0], page);
    segment_set_page(&pair.segments[1], page);
    segment_begin(&pair.segments[0], &barrier, 1);
    segment_begin(&pair.segments[1], &barrier, 1);
    assert_int_equal(segment_step(&pair.segments[1], 1, &pair.err), -ETIMEDOUT);
    atomic_store(&mst_page_slot(page, 1)->state, MST_RANK_LEFT);
    assert_int_equal(segment_step(&pair.segments[0], soon(), &pair.err), 0);
    segment_begin(&pair.segments[0], &barrier, 2);
    assert_int_equal(segment_step(&pair.segments[0], soon(), &pair.err), -ECONNRESET);
    assert_string_equal(pair.err.text, "op 2, barrier: rank 5 has left, its process has ended");
    close_pair(&pair);
    mst_page_unmap(page);
    (void)close(page_fd);
}

static void a_mismatch_is_told_from_both_descriptions(void **state)
{
    (void)state;
    struct pair pair = {0};
    open_pair(&pair, -1);
    struct signature_desc other = {.coll = MST_COLL_BROADCAST, .dtype = MST_F32, .count = 3};
    segment_begin(&pair.segments[0], &barrier, 1);
    segment_begin(&pair.segments[1], &other, 1);
    assert_int_equal(segment_step(&pair.segments[0], 1, &pair.err), -ETIMEDOUT);
    assert_int_equal(segment_step(&pair.segments[1], soon(), &pair.err), -EPROTO);
    assert_string_equal(pair.err.text, "rank 4: barrier; rank 5: broadcast f32 count 3 root 0");
    close_pair(&pair);
}

static void a_timeout_tells_what_the_absent_did_last(void **state)
{
    (void)state;
    struct pair pair = {0};
    open_pair(&pair, -1);
    segment_begin(&pair.segments[0], &barrier, 7);
    assert_int_equal(segment_step(&pair.segments[0], 1, &pair.err), -ETIMEDOUT);
    assert_string_equal(pair.err.text, "op 7, barrier: still missing rank 5 (last: none)");
    close_pair(&pair);
}

static void the_first_failure_is_everybodys(void **state)
{
    (void)state;
    struct pair pair = {0};
    open_pair(&pair, -1);
    struct mst_err first, second;
    (void)mst_err_set(&first, -EPROTO, "the first");
    (void)mst_err_set(&second, -ETIMEDOUT, "the second");
    assert_int_equal(segment_fail(&pair.segments[0], &first), -EPROTO);
    assert_int_equal(segment_fail(&pair.segments[1], &second), -EPROTO);
    assert_string_equal(second.text, "the first");
    segment_begin(&pair.segments[1], &barrier, 1);
    assert_int_equal(segment_step(&pair.segments[1], soon(), &pair.err), -EPROTO);
    assert_string_equal(pair.err.text, "the first");
    close_pair(&pair);
}

static void segments_share_a_file_and_give_it_back(void **state)
{
    (void)state;
    struct pair one = {0}, two = {0};
    struct stat before, full, after;
    int fd = memfd_create("segments", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &before), 0);
    open_pair(&one, fd);
    open_pair(&two, fd);
    reserve_both(&one, 100);
    reserve_both(&two, 100);
    memset(segment_next(&one.segments[0], 0), 1, 100);
    memset(segment_next(&two.segments[0], 0), 2, 100);
    assert_int_equal(*(uint8_t *)segment_next(&one.segments[1], 0), 1);
    assert_int_equal(fstat(fd, &full), 0);
    close_pair(&one);
    close_pair(&two);
    assert_int_equal(fstat(fd, &after), 0);
    assert_true(full.st_blocks > 0);
    assert_int_equal(after.st_blocks, before.st_blocks);
    (void)close(fd);
}

static void a_signal_does_not_stop_the_taking_of_room(void **state)
{
    (void)state;
    struct pair pair = {0};
    interruptions = 3;
    open_pair(&pair, -1);
    assert_int_equal(interruptions, 0);
    close_pair(&pair);
}

static void a_node_without_memory_says_so(void **state)
{
    (void)state;
    struct segment segment;
    struct segment_place place;
    struct mst_err err;
    refusal = ENOSPC;
    assert_int_equal(segment_create(&segment, -1, 2, &place, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "fewer ranks per node"));
    assert_int_equal(segment.fd, -1);
    refusal = 0;
}

static void a_node_without_files_says_so(void **state)
{
    (void)state;
    struct segment segment;
    struct segment_place place;
    struct mst_err err;
    no_more_files = true;
    assert_int_equal(segment_create(&segment, -1, 2, &place, &err), -EMFILE);
    assert_string_equal(err.text, "cannot make the node's shared segment: Too many open files");
    no_more_files = false;
    assert_int_equal(segment_create(&segment, 1 << 20, 2, &place, &err), -EBADF);
    assert_string_equal(err.text, "cannot read the size of the node's shared segment, fd 1048576: "
                                  "Bad file descriptor");
}

static void unequal_inheritance_is_an_error(void **state)
{
    (void)state;
    struct segment segment;
    struct segment_place place = {.pid = 0};
    struct mst_err err;
    assert_int_equal(segment_open(&segment, -1, 1, 2, &place, &err), -EPROTO);
    assert_non_null(strstr(err.text, "MST_SHM_FD"));
    place = (struct segment_place){.pid = (uint32_t)getpid(), .fd = 1U << 20};
    assert_int_equal(segment_open(&segment, -1, 1, 2, &place, &err), -ENOENT);
    segment_close(&segment);
}

/* What stands there was written by another process. */
static void anothers_failure_is_read_like_a_wire(void **state)
{
    (void)state;
    struct pair pair = {0};
    open_pair(&pair, -1);
    struct mst_err first = {.code = -EIO, .text = "first"}, second = {.code = -EPROTO};
    assert_int_equal(segment_fail(&pair.segments[0], &first), -EIO);
    struct mst_err *written = memmem(pair.segments[0].head, 4096, &first,
                                     offsetof(struct mst_err, text) + sizeof "first");
    assert_non_null(written);
    written->code = 7;
    memset(written->text, 'x', sizeof written->text);
    assert_int_equal(segment_fail(&pair.segments[1], &second), -EPROTO);
    assert_int_equal(second.code, -EPROTO);
    assert_int_equal(strlen(second.text), sizeof second.text - 1);
    written->code = INT_MIN;
    written->text[0] = '\0';
    assert_int_equal(segment_fail(&pair.segments[1], &second), -EPROTO);
    assert_non_null(strstr(second.text, "did not say why"));
    close_pair(&pair);
}

/* A forked child that runs destructors counts itself out for its parent. */
static void a_child_that_closes_harms_nobodys_close(void **state)
{
    (void)state;
    struct pair pair = {0};
    open_pair(&pair, -1);
    pid_t child = fork();
    if (child == 0) {
        close_pair(&pair);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close_pair(&pair);
}

/* Beyond which the kernel ends a process. */
static void a_limit_on_files_is_named(void **state)
{
    (void)state;
    struct segment segment;
    struct segment_place place;
    struct mst_err err = {0};
    struct rlimit before, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = before;
    low.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int rc = segment_create(&segment, -1, 2, &place, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -EFBIG);
    assert_non_null(strstr(err.text, "may write up to 1048576 (RLIMIT_FSIZE): raise ulimit -f"));
    segment_close(&segment);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_on_files_is_named),
        cmocka_unit_test(deposits_are_seen_after_the_step),
        cmocka_unit_test(no_deposit_meets_the_one_before),
        cmocka_unit_test(who_waits_for_nobody_stops_when_the_ring_is_full),
        cmocka_unit_test(a_mismatch_is_found_after_the_poster_has_gone_on),
        cmocka_unit_test(areas_stay_within_the_nodes_share),
        cmocka_unit_test(a_rank_that_has_left_is_missed_at_once),
        cmocka_unit_test(a_mismatch_is_told_from_both_descriptions),
        cmocka_unit_test(a_timeout_tells_what_the_absent_did_last),
        cmocka_unit_test(the_first_failure_is_everybodys),
        cmocka_unit_test(segments_share_a_file_and_give_it_back),
        cmocka_unit_test(a_signal_does_not_stop_the_taking_of_room),
        cmocka_unit_test(a_node_without_memory_says_so),
        cmocka_unit_test(a_node_without_files_says_so),
        cmocka_unit_test(unequal_inheritance_is_an_error),
        cmocka_unit_test(anothers_failure_is_read_like_a_wire),
        cmocka_unit_test(a_child_that_closes_harms_nobodys_close),
    };
    return cmocka_run_group_tests_name("comm_segment", tests, NULL, NULL);
}
