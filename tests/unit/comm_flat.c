/* How vectors are cut, and what must not change the bits: how a rank deposits, and how far it is
 * behind. What flat collectives compute is comm_conformance's. */
#include "muster/comm/flat.h"
#include "soon.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Stripes follow one another, cover everything, and start at cache lines. */
static void check_cut(size_t count, uint32_t owners, size_t elem_size)
{
    struct stripes stripes = stripes_cut(count, owners, elem_size);
    size_t at = 0;
    for (uint32_t k = 0; k < owners; k++) {
        size_t len = stripes_len(&stripes, k);
        assert_int_equal(stripes_start(&stripes, k), at);
        assert_true(len == 0 || at * elem_size % 64 == 0);
        at += len;
    }
    assert_int_equal(at, count);
    assert_int_equal(stripes_len(&stripes, owners), 0);
}

static void cuts_cover_everything_once(void **state)
{
    (void)state;
    static const size_t elem_sizes[] = {1, 2, 4, 8};
    for (size_t s = 0; s < 4; s++)
        for (uint32_t owners = 1; owners <= 17; owners++)
            for (size_t count = 0; count < 600; count += 7)
                check_cut(count, owners, elem_sizes[s]);
}

static void stripes_may_be_placed_anywhere(void **state)
{
    (void)state;
    static const uint32_t place[] = {3, 0};
    struct stripes stripes = {
        .count = 40, .stride = 10, .owners = 2, .elem_size = 4, .place = place};
    assert_int_equal(stripes_start(&stripes, 0), 30);
    assert_int_equal(stripes_start(&stripes, 1), 0);
    assert_int_equal(stripes_len(&stripes, 0), 10);
    assert_int_equal(stripes_len(&stripes, 2), 0);
}

#define RANKS 3
#define ROUNDS 40

struct node {
    struct flat flats[RANKS];
    const void *streams[RANKS][RANKS];
    int fault[RANKS]; /* 0, or the line where a rank found one */
};

struct rank {
    struct node *node;
    uint32_t local_rank;
    void (*run)(struct flat *flat, int *fault);
};

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition) && *fault == 0)                                                           \
            *fault = __LINE__;                                                                     \
    } while (0)

static void open_node(struct node *node)
{
    static const uint32_t ranks[RANKS] = {0, 1, 2};
    static const struct signature_desc barrier = {.coll = MST_COLL_BARRIER};
    struct segment_place place;
    for (uint32_t r = 0; r < RANKS; r++) {
        struct segment *segment = &node->flats[r].segment;
        int rc = r == 0 ? segment_create(segment, -1, RANKS, &place, NULL)
                        : segment_open(segment, -1, r, RANKS, &place, NULL);
        assert_int_equal(rc, 0);
        segment->ranks = ranks;
        segment_begin(segment, &barrier, 1);
        node->flats[r].streams = node->streams[r];
        node->flats[r].deadline_ns = soon();
    }
}

static void *rank_main(void *arg)
{
    struct rank *rank = arg;
    rank->run(&rank->node->flats[rank->local_rank], &rank->node->fault[rank->local_rank]);
    return NULL;
}

static void run_node(void (*run)(struct flat *flat, int *fault))
{
    struct node *node = calloc(1, sizeof *node);
    struct rank ranks[RANKS];
    pthread_t threads[RANKS];
    assert_non_null(node);
    open_node(node);
    for (uint32_t r = 0; r < RANKS; r++) {
        ranks[r] = (struct rank){.node = node, .local_rank = r, .run = run};
        assert_int_equal(pthread_create(&threads[r], NULL, rank_main, &ranks[r]), 0);
    }
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(pthread_join(threads[r], NULL), 0);
    for (uint32_t r = 0; r < RANKS; r++) {
        assert_int_equal(node->fault[r], 0);
        segment_close(&node->flats[r].segment);
    }
    free(node);
}

static const size_t counts[] = {1, 14, 700, 5000, 100001};
#define COUNTS (sizeof counts / sizeof *counts)
#define COUNT_MOST 100001

/* Ranks differ in how they deposit, and each changes it all the time; now and then it is measured.
 */
static void change_deposits(struct flat *flat, int *fault)
{
    uint32_t me = flat->segment.local_rank;
    struct reduce sum = {.isa = reduce_best(), .dtype = MST_U32, .op = MST_SUM};
    uint32_t *buf = malloc(COUNT_MOST * sizeof *buf);
    for (uint32_t round = 0; buf && round < ROUNDS; round++) {
        size_t count = counts[round % COUNTS];
        for (size_t i = 0; i < count; i++)
            buf[i] = (uint32_t)i * (me + 1) + round;
        flat->streams_deposits = (round >> me) % 2;
        if (round % 7 == 3)
            flat->moved_bytes = FLAT_PROBE_BYTES;
        CHECK(flat_allreduce(flat, buf, buf, count, &sum) == 0);
        for (size_t i = 0; i < count; i++)
            CHECK(buf[i] == (uint32_t)i * 6 + 3 * round);
    }
    CHECK(buf);
    free(buf);
}

static void how_a_rank_deposits_changes_no_bit(void **state)
{
    (void)state;
    run_node(change_deposits);
}

/* Rank 0 posts and goes on; rank 1 dawdles, so that its deposits are overwritten if ever they may.
 */
static void run_ahead(struct flat *flat, int *fault)
{
    uint32_t me = flat->segment.local_rank;
    uint32_t *buf = malloc(COUNT_MOST * sizeof *buf);
    for (uint32_t round = 0; buf && round < 5 * ROUNDS; round++) {
        size_t count = counts[round % COUNTS];
        uint32_t root = round % 50 == 49 ? 1 : 0; /* the one that is behind is waited for, too */
        for (int i = 0; me == 1 && i < 50; i++)
            (void)sched_yield();
        for (size_t i = 0; i < count; i++)
            buf[i] = me == root ? (uint32_t)i ^ round << 20 : 0;
        CHECK(flat_broadcast(flat, buf, count * sizeof *buf, root) == 0);
        for (size_t i = 0; i < count; i++)
            CHECK(buf[i] == ((uint32_t)i ^ round << 20));
    }
    CHECK(buf);
    free(buf);
}

static void a_slow_reader_gets_every_broadcast_whole(void **state)
{
    (void)state;
    run_node(run_ahead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_cover_everything_once),
        cmocka_unit_test(stripes_may_be_placed_anywhere),
        cmocka_unit_test(how_a_rank_deposits_changes_no_bit),
        cmocka_unit_test(a_slow_reader_gets_every_broadcast_whole),
    };
    return cmocka_run_group_tests_name("comm_flat", tests, NULL, NULL);
}
