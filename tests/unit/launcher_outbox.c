#include "muster/launcher/outbox.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct pair {
    struct outbox near, far;
};

static void begin(struct pair *pair)
{
    outbox_init(&pair->near);
    outbox_init(&pair->far);
}

static void end(struct pair *pair)
{
    outbox_fini(&pair->near);
    outbox_fini(&pair->far);
}

static const struct outbox_item *put(struct outbox *outbox, uint32_t code)
{
    const struct outbox_item *item;
    const struct msg msg = {.type = MSG_DONE, .code = code};
    assert_int_equal(outbox_put(outbox, &msg, &item), 0);
    return item;
}

static struct msg decoded(const struct outbox_item *item)
{
    struct msg msg;
    assert_int_equal(msg_decode(item->type, item->payload, item->size_bytes, &msg), 0);
    return msg;
}

static int carry(struct outbox *to, const struct outbox_item *item)
{
    struct msg msg = decoded(item);
    return outbox_take(to, &msg);
}

static void beat(const struct outbox *from, struct outbox *to, int want)
{
    uint8_t payload[64];
    struct msg msg;
    size_t size = outbox_beat(from, payload, sizeof payload);
    assert_int_equal(msg_decode(MSG_BEAT, payload, size, &msg), 0);
    assert_int_equal(outbox_take(to, &msg), want);
}

static uint32_t kept(const struct outbox *outbox)
{
    uint32_t count = 0;
    for (const struct outbox_item *item = outbox->first; item; item = item->next)
        count++;
    return count;
}

static void what_came_is_forgotten(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair);
    for (uint32_t code = 0; code < 3; code++)
        assert_int_equal(carry(&pair.far, put(&pair.near, code)), 1);
    assert_int_equal(kept(&pair.near), 3);
    assert_int_equal(carry(&pair.near, put(&pair.far, 9)), 1);
    assert_int_equal(kept(&pair.near), 0);
    assert_int_equal(kept(&pair.far), 1);
    beat(&pair.near, &pair.far, 0);
    assert_int_equal(kept(&pair.far), 0);
    assert_int_equal(carry(&pair.far, put(&pair.near, 3)), 1); /* its end is where it was */
    end(&pair);
}

/* The second of three came, but nobody was told: all are sent again, and each counts once. */
static void a_new_connection_neither_loses_nor_doubles(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair);
    for (uint32_t code = 1; code <= 3; code++)
        put(&pair.near, code);
    uint32_t taken = 0, count = 0;
    carry(&pair.far, pair.near.first);
    carry(&pair.far, pair.near.first->next);
    for (const struct outbox_item *item = pair.near.first; item; item = item->next) {
        taken += (uint32_t)carry(&pair.far, item);
        count++;
        assert_int_equal(decoded(item).code, count);
    }
    assert_int_equal(count, 3);
    assert_int_equal(taken, 1);
    assert_int_equal(pair.far.heard, 3);
    end(&pair);
}

static void a_gap_is_an_error(void **state)
{
    (void)state;
    struct pair pair;
    begin(&pair);
    put(&pair.near, 1);
    assert_int_equal(carry(&pair.far, put(&pair.near, 2)), -EPROTO);
    const struct msg nothing_like_it = {.type = MSG_BEAT, .ack = 3};
    assert_int_equal(outbox_take(&pair.near, &nothing_like_it), -EPROTO);
    assert_int_equal(kept(&pair.near), 2);
    end(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_is_forgotten),
        cmocka_unit_test(a_new_connection_neither_loses_nor_doubles),
        cmocka_unit_test(a_gap_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
