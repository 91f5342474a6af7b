#include "soon.h"
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/verdict.h"
#include "muster/ckpt/word.h"

#include <errno.h>

static void test_round_trip(void **state)
{
    (void)state;
    struct mst_err verdict;
    mst_err_set(&verdict, -ENOSPC, "rank 3: no room");
    struct mst_err back = {0};
    char text[VERDICT_BYTES_MAX];
    assert_int_equal(verdict_decode(text, verdict_encode(&verdict, text), &back), 0);
    assert_int_equal(back.code, -ENOSPC);
    assert_string_equal(back.text, "rank 3: no room");
    mst_err_set(&verdict, -EIO, "%0239d", 0);
    assert_int_equal(verdict_decode(text, verdict_encode(&verdict, text), &back), 0);
    assert_string_equal(back.text, verdict.text);
}

static void test_bad_texts(void **state)
{
    static const char *const bad[] = {"", "x", "5 positive", "-28", "-5000 too far", "-28no room"};
    (void)state;
    struct mst_err verdict;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(verdict_decode(bad[i], strlen(bad[i]), &verdict), -EBADMSG);
    char long_text[VERDICT_BYTES_MAX];
    memset(long_text, '1', sizeof long_text);
    assert_int_equal(verdict_decode(long_text, sizeof long_text, &verdict), -EBADMSG);
}

static void test_over_kv(void **state)
{
    (void)state;
    struct mst_kv_store *store;
    assert_int_equal(mst_kv_store_create(&store), 0);
    struct mst_kv *kv;
    assert_int_equal(mst_kv_local(store, 0, &kv), 0);
    struct mst_err got = {0};
    const struct word word = {.kv = kv, .from = 3, .key = "k"};
    assert_int_equal(verdict_await(&word, 1, &got), -ETIMEDOUT);
    assert_non_null(strstr(got.text, "rank 3"));
    struct mst_err sent;
    mst_err_set(&sent, -EIO, "disk");
    assert_int_equal(verdict_post(kv, "k", &sent, soon()), 0);
    assert_int_equal(verdict_await(&word, soon(), &got), -EIO);
    assert_string_equal(got.text, "disk");
    mst_kv_close(kv);
    mst_kv_store_destroy(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_over_kv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
