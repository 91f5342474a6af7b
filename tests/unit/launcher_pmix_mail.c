/* Letters between two nodes. */
#include "muster/launcher/pmix/mail.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pmix_nodes.h"

static struct letter next(struct mail *mail)
{
    struct letter letter;
    int rc;
    while ((rc = mail_take(mail, &letter)) == -EAGAIN) {
        struct pollfd ready = {.fd = mail_fd(mail), .events = POLLIN};
        assert_int_equal(poll(&ready, 1, SOON_MS), 1);
    }
    assert_int_equal(rc, 0);
    return letter;
}

static void letters_come_whole_and_in_order(void **state)
{
    (void)state;
    struct pmi_nodes nodes[2];
    struct mail *first, *second;
    struct letter letter;
    open_nodes(nodes);
    assert_int_equal(mail_open(&nodes[0], &first, NULL), 0);
    assert_int_equal(mail_open(&nodes[1], &second, NULL), 0);
    assert_int_equal(mail_take(first, &letter), -EAGAIN);
    static char large[200000];
    memset(large, 'x', sizeof large);
    char word[] = "word";
    const struct letter sent[] = {
        {.kind = LETTER_ASKS, .rank = 7, .id = 1},
        {.kind = LETTER_TELLS, .rank = 8, .id = 2, .data = word, .size_bytes = 4},
        {.kind = LETTER_TELLS, .id = 3, .status = -ENOENT},
        {.kind = LETTER_TELLS, .id = 4, .data = large, .size_bytes = sizeof large}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(mail_send(first, 1, &sent[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        letter = next(second);
        assert_int_equal(letter.kind, sent[i].kind);
        assert_int_equal(letter.from, 0);
        assert_int_equal(letter.rank, sent[i].rank);
        assert_int_equal(letter.id, sent[i].id);
        assert_int_equal(letter.status, sent[i].status);
        assert_int_equal(letter.size_bytes, sent[i].size_bytes);
        if (sent[i].size_bytes > 0)
            assert_memory_equal(letter.data, sent[i].data, letter.size_bytes);
        free(letter.data);
    }
    assert_int_equal(mail_send(second, 0, &sent[0]), 0);
    letter = next(first);
    assert_int_equal(letter.from, 1);
    free(letter.data);
    assert_int_equal(mail_send(second, 0, &sent[1]), 0); /* nobody takes it */
    mail_close(first);
    mail_close(second);
    mail_close(NULL);
    close_nodes(nodes);
}

static void what_is_too_large_is_refused(void **state)
{
    (void)state;
    struct pmi_nodes nodes[2];
    struct mail *mail;
    const struct letter letter = {.kind = LETTER_TELLS, .size_bytes = MST_KV_VALUE_MAX};
    open_nodes(nodes);
    assert_int_equal(mail_open(&nodes[0], &mail, NULL), 0);
    assert_int_equal(mail_send(mail, 1, &letter), -EMSGSIZE);
    mail_close(mail);
    close_nodes(nodes);
}

static void nonsense_ends_the_thread_and_is_told(void **state)
{
    (void)state;
    static const struct {
        unsigned char bytes[20];
        size_t size;
    } cases[] = {{{1}, 19}, {{0}, 20}, {{3}, 20}, {{2, [16] = 0, 16}, 20}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmi_nodes nodes[2];
        struct mail *mail;
        struct letter letter;
        int rc;
        open_nodes(nodes);
        assert_int_equal(mail_open(&nodes[0], &mail, NULL), 0);
        assert_int_equal(
            mst_kv_set(nodes[1].kv, "pmix/box/0/1", cases[i].bytes, cases[i].size, soon()), 0);
        while ((rc = mail_take(mail, &letter)) == -EAGAIN) {
            struct pollfd ready = {.fd = mail_fd(mail), .events = POLLIN};
            assert_int_equal(poll(&ready, 1, SOON_MS), 1);
        }
        assert_int_equal(rc, -EBADMSG);
        mail_close(mail);
        close_nodes(nodes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_come_whole_and_in_order),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(nonsense_ends_the_thread_and_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
