#include "soon.h"

#include "muster/ckpt/word.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/store.h"
#include "muster/core/world/page.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

enum { FROM = 2, OTHER = 1 };

/* A table and a page; `kv` waits for the word of FROM, `other_kv` is another thread's. */
struct fixture {
    struct mst_kv_store *store;
    struct mst_kv *kv, *other_kv;
    struct mst_page *page;
    int page_fd;
    struct word word;
};

static void begin(struct fixture *f)
{
    assert_int_equal(mst_kv_store_create(&f->store), 0);
    assert_int_equal(mst_kv_local(f->store, 1, &f->kv), 0);
    assert_int_equal(mst_kv_local(f->store, 1, &f->other_kv), 0);
    assert_int_equal(mst_page_create(1, &f->page_fd, &f->page, NULL), 0);
    f->word = (struct word){f->kv, f->page, FROM, "key"};
}

static void end(struct fixture *f)
{
    mst_page_unmap(f->page);
    close(f->page_fd);
    mst_kv_close(f->kv);
    mst_kv_close(f->other_kv);
    mst_kv_store_destroy(f->store);
}

static int await_word(struct fixture *f, uint64_t deadline_ns)
{
    char text[8];
    size_t size;
    return word_await(&f->word, text, sizeof text, &size, deadline_ns);
}

static void say(struct fixture *f)
{
    assert_int_equal(mst_kv_set(f->other_kv, "key", "word", 4, soon()), 0);
}

static void test_a_rank_that_has_ended_is_not_awaited(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    mst_page_abort(f.page, FROM);
    assert_int_equal(await_word(&f, soon()), -ECONNRESET);
    say(&f); /* and what it said before counts */
    assert_int_equal(await_word(&f, soon()), 0);
    end(&f);
}

static void *abort_because_of_it(void *arg)
{
    struct fixture *f = arg;
    mst_page_abort(f->page, FROM);
    return NULL;
}

static void test_its_end_is_seen_while_it_is_awaited(void **state)
{
    (void)state;
    struct fixture f;
    pthread_t thread;
    begin(&f);
    assert_int_equal(pthread_create(&thread, NULL, abort_because_of_it, &f), 0);
    assert_int_equal(await_word(&f, soon()), -ECONNRESET);
    assert_int_equal(pthread_join(thread, NULL), 0);
    end(&f);
}

static void *say_later(void *arg)
{
    say(arg);
    return NULL;
}

/* A save that only lacks the word of one who lives is committed. */
static void test_the_others_are_awaited(void **state)
{
    (void)state;
    struct fixture f;
    pthread_t thread;
    begin(&f);
    mst_page_abort(f.page, OTHER);
    assert_int_equal(await_word(&f, mst_now_ns()), -ETIMEDOUT);
    assert_int_equal(pthread_create(&thread, NULL, say_later, &f), 0);
    assert_int_equal(await_word(&f, soon()), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    end(&f);
}

static void test_without_a_page_the_deadline_counts(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    mst_page_abort(f.page, FROM);
    f.word.page = NULL;
    assert_int_equal(await_word(&f, mst_now_ns()), -ETIMEDOUT);
    say(&f);
    assert_int_equal(await_word(&f, MST_NEVER), 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_rank_that_has_ended_is_not_awaited),
        cmocka_unit_test(test_its_end_is_seen_while_it_is_awaited),
        cmocka_unit_test(test_the_others_are_awaited),
        cmocka_unit_test(test_without_a_page_the_deadline_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
