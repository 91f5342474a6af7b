#include "muster/core/blob/http/retry.h"

#include "muster/core/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void knows_what_passes(void **state)
{
    (void)state;
    const int codes[] = {-ECONNRESET, -ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT, -EPIPE};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_true(retry_helps(codes[i], 0));
    const int statuses[] = {408, 429, 500, 502, 503, 504};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        assert_true(retry_helps(0, statuses[i]));
}

static void knows_what_stays(void **state)
{
    (void)state;
    const int codes[] = {-EBADMSG, -EACCES, -ENOMEM, -EINVAL, -ECANCELED};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_false(retry_helps(codes[i], 503));
    const int statuses[] = {200, 206, 301, 400, 401, 403, 404, 409, 412, 416, 501};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        assert_false(retry_helps(0, statuses[i]));
}

static void pauses_grow_to_a_bound(void **state)
{
    (void)state;
    struct mst_rng rng;
    mst_rng_init(&rng, 7, 1);
    for (uint32_t failures = 1; failures < 100; failures++) {
        uint64_t bound = failures < 8 ? RETRY_PAUSE_MIN_NS << (failures - 1) : RETRY_PAUSE_MAX_NS;
        uint64_t longest = 0;
        for (int i = 0; i < 200; i++) {
            uint64_t pause = retry_pause_ns(&rng, failures, 0);
            assert_true(pause < bound);
            longest = pause > longest ? pause : longest;
        }
        assert_true(longest > bound / 2);
    }
}

static void a_server_that_asks_is_heard(void **state)
{
    (void)state;
    struct mst_rng rng;
    mst_rng_init(&rng, 7, 1);
    uint64_t asked = UINT64_C(3000000000);
    for (int i = 0; i < 100; i++) {
        uint64_t pause = retry_pause_ns(&rng, 1, asked);
        assert_true(pause >= asked && pause < asked + RETRY_PAUSE_MIN_NS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_passes),
        cmocka_unit_test(knows_what_stays),
        cmocka_unit_test(pauses_grow_to_a_bound),
        cmocka_unit_test(a_server_that_asks_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
