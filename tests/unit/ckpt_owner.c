/* The record of an owner, and what follows from it. */
#include "muster/ckpt/owner.h"

#include "muster/ckpt/fields.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct owner make(void)
{
    struct owner owner = {.epoch = 7,
                          .token = 0xaf,
                          .job_id = "run \"seven\"\\",
                          .job_nonce = 12,
                          .node = "node-a",
                          .renewed_s = 1000,
                          .fences = {{0xae, 21}, {0, 0}},
                          .fence_count = 2};
    return owner;
}

static void what_is_written_is_read(void **state)
{
    const struct owner owner = make();
    (void)state;
    char text[OWNER_BYTES];
    owner_encode(&owner, text);
    struct owner back = {0};
    struct mst_err err = {0};
    assert_int_equal(owner_decode(text, sizeof text, &back, &err), 0);
    assert_int_equal(back.epoch, 7);
    assert_int_equal(back.token, 0xaf);
    assert_string_equal(back.job_id, owner.job_id);
    assert_int_equal(back.job_nonce, 12);
    assert_string_equal(back.node, "node-a");
    assert_int_equal(back.renewed_s, 1000);
    assert_false(back.released);
    assert_int_equal(back.fence_count, 2);
    assert_int_equal(back.fences[0].token, 0xae);
    assert_int_equal(back.fences[0].below, 21);
    assert_int_equal(back.fences[1].below, 0);
}

/* Names of the greatest length, of characters that take the most room, and all fences. */
static void the_largest_record_fits(void **state)
{
    struct owner owner = {.epoch = OWNER_EPOCH_MAX, .renewed_s = INT64_MAX, .released = true};
    (void)state;
    memset(owner.job_id, '"', sizeof owner.job_id - 1);
    memset(owner.node, '\\', sizeof owner.node - 1);
    for (uint64_t i = 0; i < OWNER_FENCES_MAX + 5; i++)
        owner_add_fence(&owner, &(struct owner_fence){UINT64_MAX - i, (UINT64_C(1) << 62) + i});
    char text[OWNER_BYTES];
    owner_encode(&owner, text);
    struct owner back;
    assert_int_equal(owner_decode(text, sizeof text, &back, NULL), 0);
    assert_string_equal(back.job_id, owner.job_id);
    assert_true(back.released);
    assert_int_equal(back.fence_count, OWNER_FENCES_MAX);
    assert_int_equal(back.fences[0].token, UINT64_MAX - OWNER_FENCES_MAX - 4);
}

static void damage_is_named(void **state)
{
    static const struct {
        const char *from, *to, *text;
    } cases[] = {{"muster-owner", "muster-other", "format"},
                 {"\"version\":1", "\"version\":0", "version"},
                 {"\"epoch\":7", "\"epoch\":-", "line 1"},
                 {"\"token\":\"0", "\"token\":\"x", "token"},
                 {"\"node\":\"n", "\"node\":\"\x01", "line"},
                 {"\"renewed\"", "\"removed\"", "renewed"},
                 {"false", "12345", "released"},
                 {"[\"0", "[\"g", "committed"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct owner owner = make();
        char text[OWNER_BYTES + 1] = "";
        owner_encode(&owner, text);
        char *at = strstr(text, cases[i].from);
        assert_non_null(at);
        memcpy(at, cases[i].to, strlen(cases[i].to));
        struct owner back = {0};
        struct mst_err err = {0};
        assert_int_equal(owner_decode(text, OWNER_BYTES, &back, &err), -EBADMSG);
        assert_non_null(strstr(err.text, "checksum"));
        fields_seal(text, OWNER_BYTES);
        assert_int_equal(owner_decode(text, OWNER_BYTES, &back, &err), -EBADMSG);
        if (!strstr(err.text, cases[i].text))
            print_error("%s\n", err.text);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_int_equal(back.epoch, 0);
    }
}

/* Its writer may live, and what this build cannot read may matter. */
static void a_later_version_is_no_damage(void **state)
{
    const struct owner owner = make();
    (void)state;
    char text[OWNER_BYTES + 1] = "";
    owner_encode(&owner, text);
    *(strstr(text, "\"version\":1") + 10) = '2';
    fields_seal(text, OWNER_BYTES);
    struct owner back = {0};
    struct mst_err err = {0};
    assert_int_equal(owner_decode(text, OWNER_BYTES, &back, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "version 2: this build reads 1"));
    assert_int_equal(back.epoch, 0);
}

static void one_job_has_one_id_or_one_nonce(void **state)
{
    static const struct {
        const char *a, *b;
        uint64_t a_nonce, b_nonce;
        bool same;
    } cases[] = {{"x", "x", 1, 2, true}, {"x", "y", 3, 3, true}, {"x", "y", 1, 2, false},
                 {"x", "", 1, 2, false}, {"", "", 0, 0, false},  {"", "", 5, 5, true},
                 {"", "x", 0, 0, false}, {"x", "x", 0, 0, true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct owner a = {.job_nonce = cases[i].a_nonce}, b = {.job_nonce = cases[i].b_nonce};
        owner_copy_text(a.job_id, sizeof a.job_id, cases[i].a);
        owner_copy_text(b.job_id, sizeof b.job_id, cases[i].b);
        assert_int_equal(owner_is_same_job(&a, &b), cases[i].same);
    }
}

/* By times alone nobody is dead: clocks differ. */
static void an_owner_lives_while_it_is_locked_or_renews(void **state)
{
    struct owner owner = make();
    (void)state;
    const uint64_t fresh = 1000 + OWNER_FRESH_S - 1, stale = 1000 + OWNER_FRESH_S;
    assert_int_equal(owner_life(&owner, OWNER_LOCKED, "node-b", stale), OWNER_ALIVE);
    assert_int_equal(owner_life(&owner, OWNER_UNKNOWN, "node-a", fresh), OWNER_ALIVE);
    assert_int_equal(owner_life(&owner, OWNER_UNKNOWN, "node-a", stale), OWNER_IN_DOUBT);
    assert_int_equal(owner_life(&owner, OWNER_UNLOCKED, "node-a", fresh), OWNER_DEAD);
    assert_int_equal(owner_life(&owner, OWNER_UNLOCKED, "node-b", fresh), OWNER_ALIVE);
    assert_int_equal(owner_life(&owner, OWNER_UNLOCKED, "node-b", stale), OWNER_IN_DOUBT);
    assert_int_equal(owner_life(&owner, OWNER_UNKNOWN, "node-b", 1000), OWNER_ALIVE);
    assert_int_equal(owner_life(&owner, OWNER_UNKNOWN, "node-b", 999), OWNER_IN_DOUBT);
    owner.node[0] = '\0'; /* nodes without names are not one */
    assert_int_equal(owner_life(&owner, OWNER_UNLOCKED, "", fresh), OWNER_ALIVE);
    owner.released = true;
    assert_int_equal(owner_life(&owner, OWNER_LOCKED, "node-b", fresh), OWNER_DEAD);
}

static void what_came_behind_a_fence_is_hidden(void **state)
{
    const struct owner owner = make();
    (void)state;
    assert_false(owner_hides(&owner, 0xae, 20));
    assert_true(owner_hides(&owner, 0xae, 21));
    assert_true(owner_hides(&owner, 0, 0));
    assert_false(owner_hides(&owner, 0xaf, 1000)); /* its own */
    assert_false(owner_hides(&owner, 0xbb, 1000)); /* of another root, copied here */
    assert_true(owner_may_hide(&owner, 0));
    const struct owner later = {.fences = {{0xae, 21}}, .fence_count = 1};
    assert_false(owner_may_hide(&later, 20));
    assert_true(owner_may_hide(&later, 21));
}

static void odd_names_are_made_plain(void **state)
{
    char text[8];
    (void)state;
    owner_copy_text(text, sizeof text, "a\nb\xc3\xa4z");
    assert_string_equal(text, "a?b??z");
    owner_copy_text(text, sizeof text, "0123456789");
    assert_string_equal(text, "0123456");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_largest_record_fits),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(a_later_version_is_no_damage),
        cmocka_unit_test(one_job_has_one_id_or_one_nonce),
        cmocka_unit_test(an_owner_lives_while_it_is_locked_or_renews),
        cmocka_unit_test(what_came_behind_a_fence_is_hidden),
        cmocka_unit_test(odd_names_are_made_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
