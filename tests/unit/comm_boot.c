#include "muster/comm/boot.h"
#include "soon.h"

#include "muster/core/bytes.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/gather.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/store.h"
#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool all_comes_late;

int __real_mst_kv_gather_wait(struct mst_kv *kv, const char *key, uint32_t count,
                              struct mst_kv_gathered *ret_gathered, uint64_t deadline_ns);
int __wrap_mst_kv_gather_wait(struct mst_kv *kv, const char *key, uint32_t count,
                              struct mst_kv_gathered *ret_gathered, uint64_t deadline_ns);

int __wrap_mst_kv_gather_wait(struct mst_kv *kv, const char *key, uint32_t count,
                              struct mst_kv_gathered *ret_gathered, uint64_t deadline_ns)
{
    if (all_comes_late)
        return -ETIMEDOUT;
    return __real_mst_kv_gather_wait(kv, key, count, ret_gathered, deadline_ns);
}

/* The table holds what the other ranks have published; this test is rank 0. */
struct fixture {
    struct mst_kv_store *store;
    struct mst_kv *kv;
    struct mst_world world;
    struct boot boot;
    struct mst_err err;
};

static void set_up(struct fixture *f, uint32_t size, uint32_t node_count, uint32_t local_size)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(mst_kv_store_create(&f->store), 0);
    assert_int_equal(mst_kv_local(f->store, 1, &f->kv), 0);
    world_init_single(&f->world);
    f->world.size = size;
    f->world.node_count = node_count;
    f->world.local_size = local_size;
    f->boot.id = 1;
}

static void tear_down(struct fixture *f)
{
    boot_fini(&f->boot);
    mst_kv_close(f->kv);
    mst_kv_store_destroy(f->store);
}

static void bring(struct fixture *f, uint32_t rank, const void *record, size_t size_bytes)
{
    const struct mst_kv_part part = {
        .index = rank, .count = f->world.size, .value = record, .size_bytes = size_bytes};
    assert_int_equal(mst_kv_gather_put(f->kv, "comm/1/ranks", &part, soon()), 0);
}

static void publish(struct fixture *f, uint32_t rank, uint32_t node, uint32_t local_rank)
{
    uint8_t record[8 + 4] = {0};
    mst_put_le32(record, node);
    mst_put_le32(record + 4, local_rank);
    memcpy(record + 8, "addr", 4);
    bring(f, rank, record, sizeof record);
}

static int exchange(struct fixture *f, uint32_t timeout_ms)
{
    return boot_exchange(&f->boot, f->kv, &f->world, "me", mst_deadline_ms(timeout_ms), &f->err);
}

/* One that ended before it came, and an abort. */
static void who_cannot_come_is_not_waited_for(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_page *page;
    int page_fd;
    assert_int_equal(mst_page_create(2, &page_fd, &page, NULL), 0);
    set_up(&f, 2, 1, 2);
    f.boot.page = page;
    atomic_store(&mst_page_slot(page, 1)->state, MST_RANK_LEFT);
    assert_int_equal(exchange(&f, SOON_MS), -ECONNRESET);
    assert_non_null(strstr(f.err.text, "local rank 1 has left"));
    tear_down(&f);
    set_up(&f, 2, 1, 2);
    f.boot.page = page;
    atomic_store(&mst_page_slot(page, 1)->state, MST_RANK_RUNNING);
    mst_page_abort(page, 1);
    assert_int_equal(exchange(&f, SOON_MS), -ECONNRESET);
    assert_string_equal(f.err.text, "the generation was aborted");
    tear_down(&f);
    struct segment_place place;
    set_up(&f, 1, 1, 1);
    assert_int_equal(exchange(&f, SOON_MS), 0);
    f.boot.page = page; /* as that of a rank whose first rank has yet to make the segment */
    assert_int_equal(boot_get_place(&f.boot, f.kv, 0, &place, soon(), &f.err), -ECONNRESET);
    assert_string_equal(f.err.text, "the generation was aborted");
    tear_down(&f);
    mst_page_unmap(page);
    (void)close(page_fd);
}

static void ranks_are_sorted_by_node(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 5, 2, 3);
    publish(&f, 1, 1, 1);
    publish(&f, 2, 0, 1);
    publish(&f, 3, 1, 0);
    publish(&f, 4, 0, 2);
    assert_int_equal(exchange(&f, 1000), 0);
    assert_int_equal(boot_local_size(&f.boot, 0), 3);
    assert_int_equal(boot_local_size(&f.boot, 1), 2);
    assert_int_equal(boot_rank(&f.boot, 0, 1), 2);
    assert_int_equal(boot_rank(&f.boot, 1, 0), 3);
    assert_string_equal(f.boot.peers[0].address, "me");
    assert_string_equal(f.boot.peers[4].address, "addr");
    tear_down(&f);
}

static void the_absent_are_named(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 4, 1, 4);
    publish(&f, 2, 0, 2);
    assert_int_equal(exchange(&f, 10), -ETIMEDOUT);
    assert_non_null(strstr(f.err.text, "rank 1, 3"));
    tear_down(&f);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t node, local_rank;
    } wrong[] = {{2, 0}, {0, 0}, {0, 7}, {1, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct fixture f;
        set_up(&f, 2, 2, 1);
        publish(&f, 1, wrong[i].node, wrong[i].local_rank);
        assert_int_equal(exchange(&f, 1000), -EPROTO);
        assert_true(f.err.text[0] != '\0');
        tear_down(&f);
    }
    struct fixture f;
    set_up(&f, 2, 1, 1); /* the world says one rank per node, the other rank is here too */
    publish(&f, 1, 0, 1);
    assert_int_equal(exchange(&f, 1000), -EPROTO);
    tear_down(&f);
}

static void a_double_of_this_rank_is_named(void **state)
{
    (void)state;
    struct boot_peer doubles[] = {{0, 1, "me"}, {1, 0, "me"}, {0, 0, "elsewhere:1"}};
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++) {
        struct fixture f;
        set_up(&f, 3, 2, 2);
        publish(&f, 1, 0, 1);
        publish(&f, 2, 1, 0);
        uint8_t record[8 + BOOT_ADDRESS_MAX];
        size_t address_bytes = strlen(doubles[i].address);
        mst_put_le32(record, doubles[i].node);
        mst_put_le32(record + 4, doubles[i].local_rank);
        memcpy(record + 8, doubles[i].address, address_bytes);
        bring(&f, 0, record, 8 + address_bytes);
        assert_int_equal(exchange(&f, 1000), -EPROTO);
        assert_non_null(strstr(f.err.text, "rank 0, too"));
        assert_non_null(strstr(f.err.text, doubles[i].address));
        tear_down(&f);
    }
}

/* Nothing is made up where its record says nothing. */
static void a_double_without_an_address_is_told(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 1, 1);
    bring(&f, 0, "?", 1);
    assert_int_equal(exchange(&f, 1000), -EPROTO);
    assert_non_null(strstr(f.err.text, "rank 0, too: is the job started twice"));
    tear_down(&f);
}

static void worlds_of_two_sizes_are_told(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 3, 1, 3);
    publish(&f, 1, 0, 1);
    f.world.size = f.world.local_size = 2;
    assert_int_equal(exchange(&f, 1000), -EPROTO);
    assert_non_null(strstr(f.err.text, "rank 0 counts 2 ranks, and another one does not"));
    tear_down(&f);
}

static void the_last_may_come_after_the_deadline(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1, 1, 1);
    all_comes_late = true;
    assert_int_equal(exchange(&f, 1000), -ETIMEDOUT);
    all_comes_late = false;
    assert_non_null(strstr(f.err.text, "all ranks came, the last of them after the deadline"));
    tear_down(&f);
}

static void short_and_long_records_are_refused(void **state)
{
    (void)state;
    uint8_t record[400] = {0};
    static const size_t sizes[] = {3, 136, 400};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct fixture f;
        set_up(&f, 2, 1, 2);
        bring(&f, 1, record, sizes[i]);
        assert_true(exchange(&f, 1000) < 0);
        assert_non_null(strstr(f.err.text, "rank 1"));
        tear_down(&f);
    }
}

static void places_and_ids_go_over_the_table(void **state)
{
    (void)state;
    struct fixture f;
    uint32_t id;
    set_up(&f, 1, 1, 1);
    assert_int_equal(boot_next_id(f.kv, &f.world, soon(), &id, &f.err), 0);
    assert_int_equal(id, 1);
    assert_int_equal(boot_next_id(f.kv, &f.world, soon(), &id, &f.err), 0);
    assert_int_equal(id, 2);
    assert_int_equal(exchange(&f, 1000), 0);
    struct segment_place place = {.pid = 12, .fd = 7, .offset = UINT64_C(1) << 35}, back;
    assert_int_equal(boot_get_place(&f.boot, f.kv, 0, &back, mst_deadline_ms(5), &f.err),
                     -ETIMEDOUT);
    assert_int_equal(boot_put_place(&f.boot, f.kv, 0, &place, soon(), &f.err), 0);
    assert_int_equal(boot_get_place(&f.boot, f.kv, 0, &back, soon(), &f.err), 0);
    assert_int_equal(back.pid, 12);
    assert_int_equal(back.fd, 7);
    assert_true(back.offset == place.offset);
    boot_forget(&f.boot, f.kv, soon());
    assert_int_equal(boot_get_place(&f.boot, f.kv, 0, &back, mst_deadline_ms(5), &f.err),
                     -ETIMEDOUT);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_cannot_come_is_not_waited_for),
        cmocka_unit_test(ranks_are_sorted_by_node),
        cmocka_unit_test(the_absent_are_named),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(a_double_of_this_rank_is_named),
        cmocka_unit_test(a_double_without_an_address_is_told),
        cmocka_unit_test(worlds_of_two_sizes_are_told),
        cmocka_unit_test(the_last_may_come_after_the_deadline),
        cmocka_unit_test(short_and_long_records_are_refused),
        cmocka_unit_test(places_and_ids_go_over_the_table),
    };
    return cmocka_run_group_tests_name("comm_boot", tests, NULL, NULL);
}
