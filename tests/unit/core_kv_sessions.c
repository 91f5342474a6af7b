#include "muster/core/kv/sessions.h"

#include "failing_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_client_is_known_by_rank_and_tag(void **state)
{
    (void)state;
    struct kv_sessions sessions = {0};
    struct kv_session *first = kv_sessions_open(&sessions, 1, 10, false);
    assert_non_null(first);
    assert_int_equal(first->peer, 0);
    assert_int_equal(first->last_id, 0);
    kv_session_attach(&sessions, first, 99);
    assert_int_equal(sessions.orphan_count, 0);
    assert_ptr_not_equal(kv_sessions_open(&sessions, 1, 11, false), first);
    assert_ptr_not_equal(kv_sessions_open(&sessions, 2, 10, false), first);
    assert_ptr_equal(kv_sessions_open(&sessions, 1, 10, false), first);
    assert_int_equal(first->peer, 99);
    assert_int_equal(sessions.count, 3);
    kv_sessions_clear(&sessions);
    assert_int_equal(sessions.count, 0);
}

static void the_record_outlives_the_connection(void **state)
{
    (void)state;
    struct kv_sessions sessions = {0};
    struct kv_session *session = kv_sessions_open(&sessions, 1, 10, false);
    kv_session_attach(&sessions, session, 5);
    session->last_id = 77;
    session->last_reply = (struct kv_reply){.id = 77, .number = 3};
    kv_session_detach(&sessions, session);
    assert_int_equal(session->peer, 0);
    for (uint32_t i = 0; i < 1000; i++)
        assert_non_null(kv_sessions_open(&sessions, i, 20, false)); /* the table grows meanwhile */
    session = kv_sessions_open(&sessions, 1, 10, false);
    assert_int_equal(session->last_id, 77);
    assert_int_equal(session->last_reply.number, 3);
    kv_sessions_clear(&sessions);
}

/* What nobody came back for is forgotten, the oldest first; who is connected is not. */
static void records_are_bounded(void **state)
{
    (void)state;
    struct kv_sessions sessions = {0};
    struct kv_session *kept = kv_sessions_open(&sessions, 0, 0, false);
    kv_session_attach(&sessions, kept, 1);
    kept->last_id = 1;
    for (uint32_t i = 1; i <= KV_ORPHANS_MAX + 5; i++) {
        struct kv_session *session = kv_sessions_open(&sessions, i, 0, false);
        kv_session_attach(&sessions, session, i + 1);
        session->last_id = i;
        kv_session_detach(&sessions, session);
    }
    assert_int_equal(sessions.orphan_count, KV_ORPHANS_MAX);
    assert_int_equal(sessions.count, KV_ORPHANS_MAX + 1);
    assert_int_equal(kv_sessions_open(&sessions, 6, 0, false)->last_id, 6);
    assert_int_equal(kv_sessions_open(&sessions, 5, 0, false)->last_id, 0); /* forgotten */
    assert_ptr_equal(kv_sessions_open(&sessions, 0, 0, false), kept);
    kv_sessions_clear(&sessions);
}

static void without_memory_there_is_no_session(void **state)
{
    (void)state;
    struct kv_sessions sessions = {0};
    fail_allocations_after(0);
    assert_null(kv_sessions_open(&sessions, 1, 1, false));
    fail_allocations_after(1);
    assert_null(kv_sessions_open(&sessions, 1, 1, false));
    allow_allocations();
    assert_int_equal(sessions.count, 0);
    struct kv_session *session = kv_sessions_open(&sessions, 1, 1, false);
    assert_non_null(session);
    for (uint32_t i = 2; i <= 64; i++)
        assert_non_null(kv_sessions_open(&sessions, i, 1, false));
    fail_allocations_after(0); /* no larger table, and none needed for one that is there */
    assert_ptr_equal(kv_sessions_open(&sessions, 1, 1, false), session);
    allow_allocations();
    kv_sessions_clear(&sessions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_is_known_by_rank_and_tag),
        cmocka_unit_test(the_record_outlives_the_connection),
        cmocka_unit_test(records_are_bounded),
        cmocka_unit_test(without_memory_there_is_no_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
