#include "muster/launcher/roster.h"

#include "muster/core/kv/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define S UINT64_C(1000000000)

struct fixture {
    struct roster roster;
    uint32_t gone_count, gone_node;
    uint64_t now_ns;
};

static void on_gone(void *arg, uint32_t node, const char *why)
{
    struct fixture *f = arg;
    f->gone_count++;
    f->gone_node = node;
    assert_true(why[0]);
}

static int no_agent(void *arg, uint64_t peer, const struct mst_auth_hello *hello,
                    struct mst_err *err)
{
    (void)arg, (void)peer, (void)hello, (void)err; /* nobody can dial this server */
    return -EPROTO;
}

static void no_frame(void *arg, const struct kv_agent *from, uint8_t type, const uint8_t *payload,
                     size_t size_bytes)
{
    (void)arg, (void)from, (void)type, (void)payload, (void)size_bytes; /* as above */
}

static void no_loss(void *arg, const struct kv_agent *who, bool hung_up)
{
    (void)arg, (void)who, (void)hung_up; /* as above */
}

static void no_refusal(void *arg, const struct mst_err *why)
{
    (void)arg, (void)why; /* as above */
}

static void begin(struct fixture *f)
{
    const struct kv_server_config config = {
        .listen_fd = -1, .events = {NULL, no_agent, no_frame, no_loss, no_refusal}};
    *f = (struct fixture){.now_ns = 1000 * S};
    assert_int_equal(roster_init(&f->roster, 3, 20 * S, on_gone, f), 0);
    assert_int_equal(kv_server_create(&config, &f->roster.server, NULL), 0);
}

static void end(struct fixture *f)
{
    kv_server_destroy(f->roster.server);
    roster_fini(&f->roster);
}

static int meet(struct fixture *f, uint64_t peer, uint32_t tag, bool again)
{
    return roster_meet(&f->roster, 1, peer, (struct roster_hello){tag, again}, f->now_ns);
}

static void wait_s(struct fixture *f, uint32_t seconds)
{
    for (uint32_t i = 0; i < seconds * 10; i++) {
        f->now_ns += S / 10;
        roster_tick(&f->roster, f->now_ns);
    }
}

static void an_agent_that_hangs_up_is_lost_at_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(meet(&f, 70, 9, false), 0);
    assert_true(roster_has(&f.roster, 1, 70));
    roster_lose(&f.roster, 1, 70, true, f.now_ns);
    assert_int_equal(f.gone_count, 1);
    assert_int_equal(f.gone_node, 1);
    assert_false(roster_has(&f.roster, 1, 70));
    end(&f);
}

/* What was said meanwhile waits for it. */
static void a_cut_connection_is_no_lost_node(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(meet(&f, 70, 9, false), 0);
    roster_lose(&f.roster, 1, 70, false, f.now_ns);
    roster_send(&f.roster, 1, &(struct msg){.type = MSG_END});
    wait_s(&f, 19);
    assert_false(roster_all_heard(&f.roster));
    assert_int_equal(meet(&f, 71, 9, true), 0);
    roster_lose(&f.roster, 1, 70, true, f.now_ns); /* the end of the old one is nobody's */
    assert_int_equal(f.gone_count, 0);
    assert_true(roster_has(&f.roster, 1, 71));
    const struct msg beat = {.type = MSG_BEAT, .ack = 1};
    assert_int_equal(roster_take(&f.roster, 1, &beat, f.now_ns), 0);
    assert_true(roster_all_heard(&f.roster));
    end(&f);
}

static void who_stays_away_is_given_up(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(meet(&f, 70, 9, false), 0);
    roster_send(&f.roster, 1, &(struct msg){.type = MSG_END});
    wait_s(&f, 25);
    assert_int_equal(f.gone_count, 0);
    wait_s(&f, 2);
    assert_int_equal(f.gone_count, 1);
    assert_true(roster_all_heard(&f.roster));
    assert_int_equal(meet(&f, 71, 9, true), -ESTALE);
    assert_int_equal(meet(&f, 72, 10, false), 0);
    end(&f);
}

/* What tells that it lives need not be its JOIN. */
static void who_beats_before_it_joins_is_kept(void **state)
{
    (void)state;
    struct fixture f;
    const struct msg beat = {.type = MSG_BEAT}, join = {.type = MSG_JOIN, .serial = 1};
    begin(&f);
    assert_int_equal(meet(&f, 70, 9, false), 0);
    for (int i = 0; i < 20; i++) {
        wait_s(&f, 2);
        assert_int_equal(roster_take(&f.roster, 1, &beat, f.now_ns), 0);
    }
    assert_int_equal(f.gone_count, 0);
    assert_int_equal(roster_take(&f.roster, 1, &join, f.now_ns), 1);
    end(&f);
}

/* Its pod may be a zombie; while it shows life, its replacement waits. */
static void a_silent_agent_makes_room_for_another(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(meet(&f, 70, 9, false), 0);
    assert_int_equal(meet(&f, 71, 10, false), -EEXIST);
    wait_s(&f, 7);
    assert_int_equal(meet(&f, 72, 10, false), 0);
    assert_int_equal(f.gone_count, 1);
    assert_false(roster_has(&f.roster, 1, 70));
    assert_true(roster_has(&f.roster, 1, 72));
    end(&f);
}

static void node_0_is_never_silent(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(roster_meet(&f.roster, 0, 7, (struct roster_hello){.tag = 0}, f.now_ns), 0);
    wait_s(&f, 100);
    assert_int_equal(f.gone_count, 0);
    end(&f);
}

static void a_node_is_named_with_its_host(void **state)
{
    (void)state;
    struct fixture f;
    char text[MSG_HOST_BYTES + 16];
    const struct msg join = {.type = MSG_JOIN, .serial = 1, .host = "worker-1"};
    begin(&f);
    assert_string_equal(roster_name(&f.roster, 1, text, sizeof text), "1");
    assert_int_equal(meet(&f, 70, 9, false), 0);
    assert_int_equal(roster_take(&f.roster, 1, &join, f.now_ns), 1);
    roster_lose(&f.roster, 1, 70, true, f.now_ns);
    assert_string_equal(roster_name(&f.roster, 1, text, sizeof text), "1 (worker-1)");
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_that_hangs_up_is_lost_at_once),
        cmocka_unit_test(a_cut_connection_is_no_lost_node),
        cmocka_unit_test(who_stays_away_is_given_up),
        cmocka_unit_test(who_beats_before_it_joins_is_kept),
        cmocka_unit_test(a_silent_agent_makes_room_for_another),
        cmocka_unit_test(node_0_is_never_silent),
        cmocka_unit_test(a_node_is_named_with_its_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
