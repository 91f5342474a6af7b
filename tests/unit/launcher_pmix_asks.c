/* What two nodes ask each other in one process; libpmix is this test. */
#include "muster/launcher/pmix/asks.h"

#include "muster/core/clock.h"

#include <errno.h>
#include <poll.h>

#include "unit/pmix_fixture.h"

static struct {
    uint32_t rank, id, count;
} asked;

int host_ask(uint32_t rank, uint32_t id)
{
    asked.rank = rank;
    asked.id = id;
    asked.count++;
    return 0;
}

static bool is_gone; /* whether any rank here has left */

static bool has_left(const void *arg, uint32_t rank)
{
    (void)arg;
    (void)rank;
    return is_gone;
}

/* As if time had passed that was waited for. */
static bool is_late;

bool __real_mst_deadline_passed(uint64_t deadline_ns);
bool __wrap_mst_deadline_passed(uint64_t deadline_ns);

bool __wrap_mst_deadline_passed(uint64_t deadline_ns)
{
    return (is_late && deadline_ns != MST_NEVER) || __real_mst_deadline_passed(deadline_ns);
}

struct fixture {
    struct pmi_nodes nodes[2];
    struct asks asks[2];
};

static void begin(struct fixture *f)
{
    open_nodes(f->nodes);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(asks_open(&f->asks[i], &f->nodes[i], layout, NULL), 0);
    answered.count = asked.count = 0;
    is_gone = false;
}

static void end(struct fixture *f)
{
    for (size_t i = 0; i < 2; i++)
        asks_close(&f->asks[i]);
    close_nodes(f->nodes);
}

static void run(struct fixture *f, uint32_t node)
{
    assert_int_equal(asks_run(&f->asks[node], has_left, NULL, NULL), 0);
}

/* Until a letter has come, and changed what *count counts. */
static void hear(struct fixture *f, uint32_t node, const uint32_t *count)
{
    uint32_t before = *count;
    for (run(f, node); *count == before; run(f, node)) {
        struct pollfd ready = {.fd = asks_fd(&f->asks[node]), .events = POLLIN};
        assert_int_equal(poll(&ready, 1, SOON_MS), 1);
    }
}

static void ask(struct fixture *f, uint32_t node, uint32_t rank)
{
    struct host_event *event = calloc(1, sizeof *event);
    *event = (struct host_event){.kind = HOST_ASKED, .rank = rank};
    assert_int_equal(asks_ask(&f->asks[node], event, NULL), 0);
}

static void give(struct fixture *f, uint32_t node, uint32_t id, char *data)
{
    struct host_event event = {
        .kind = HOST_GIVEN, .id = id, .data = data, .size_bytes = strlen(data)};
    assert_int_equal(asks_given(&f->asks[node], &event, NULL), 0);
}

static void a_rank_is_asked_where_it_is(void **state)
{
    (void)state;
    struct fixture f;
    char word[] = "word", other[] = "other";
    begin(&f);
    ask(&f, 0, 3);
    hear(&f, 1, &asked.count);
    assert_int_equal(asked.rank, 3);
    uint32_t first = asked.id;
    ask(&f, 0, 2);
    hear(&f, 1, &asked.count);
    give(&f, 1, asked.id, other);
    hear(&f, 0, &answered.count);
    assert_string_equal(answered.data, "other");
    give(&f, 1, first, word);
    hear(&f, 0, &answered.count);
    assert_int_equal(answered.rc, 0);
    assert_string_equal(answered.data, "word");
    give(&f, 1, first, word); /* too late: nobody waits */
    assert_int_equal(answered.count, 2);
    end(&f);
}

static void who_is_nowhere_has_said_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    ask(&f, 0, 4);
    assert_int_equal(answered.rc, -ENOENT);
    struct pmi_nodes alone = {.node_count = 1};
    struct asks asks;
    assert_int_equal(asks_open(&asks, &alone, layout, NULL), 0);
    assert_int_equal(asks_fd(&asks), -1);
    struct host_event *event = calloc(1, sizeof *event);
    assert_int_equal(asks_ask(&asks, event, NULL), 0);
    assert_int_equal(answered.count, 2);
    asks_close(&asks);
    end(&f);
}

/* Before it is asked, or after. */
static void who_leaves_without_a_word_is_not_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        begin(&f);
        is_gone = i == 0;
        ask(&f, 0, 3);
        hear(&f, 1, &asked.count);
        assert_true((f.asks[1].due_ns == MST_NEVER) == (i == 1));
        asks_left(&f.asks[1], 2);
        asks_left(&f.asks[1], 3);
        assert_true(f.asks[1].due_ns != MST_NEVER);
        run(&f, 1);
        assert_non_null(f.asks[1].theirs);
        is_late = true;
        run(&f, 1);
        is_late = false;
        assert_null(f.asks[1].theirs);
        assert_true(f.asks[1].due_ns == MST_NEVER);
        hear(&f, 0, &answered.count);
        assert_int_equal(answered.rc, -ENOENT);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_is_asked_where_it_is),
        cmocka_unit_test(who_is_nowhere_has_said_nothing),
        cmocka_unit_test(who_leaves_without_a_word_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
