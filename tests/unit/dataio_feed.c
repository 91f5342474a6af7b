/* Reads from copies on web servers that break in mid-run, and from files. */
#include "muster/core/blob/blob.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/rng.h"
#include "muster/dataio/feed.h"
#include "muster/dataio/mirror.h"
#include "scratch.h"
#include "soon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sources.h"
#include "unit/http_files.h"

#include <errno.h>

#define SIZE 1000003u
#define PIECE 20011u

static uint8_t *data; /* SIZE bytes */
static struct http_files one, two;

/* The time for those who judge places, 0 = the clock's; deadlines keep to the clock. */
static uint64_t judged_ns;
static unsigned failed_count; /* times that a place was found to fail */

uint64_t __real_mst_now_ns(void);
uint64_t __wrap_mst_now_ns(void);
void __real_mirror_failed(struct mirror_health *health, uint64_t now_ns);
void __wrap_mirror_failed(struct mirror_health *health, uint64_t now_ns);

uint64_t __wrap_mst_now_ns(void)
{
    return judged_ns ? judged_ns : __real_mst_now_ns();
}

void __wrap_mirror_failed(struct mirror_health *health, uint64_t now_ns)
{
    failed_count++;
    __real_mirror_failed(health, now_ns);
}

static int reap_fault; /* that the next blob meets which is asked what has ended; 0: none */

int __real_mst_blob_reap(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                         uint64_t deadline_ns);
int __wrap_mst_blob_reap(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                         uint64_t deadline_ns);
int __wrap_mst_blob_reap(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                         uint64_t deadline_ns)
{
    int fault = reap_fault;
    reap_fault = 0;
    return fault ? fault : __real_mst_blob_reap(blob, done, cap, min, deadline_ns);
}

static struct feed_file *open_copies(struct feed *feed, char *first, char *second)
{
    char *uris[] = {first, second};
    struct feed_file *file = NULL;
    struct mst_err err = {0};
    if (feed_open(feed, uris, second ? 2 : 1, &file, &err))
        fail_msg("%s", err.text);
    assert_int_equal(feed_size(file), SIZE);
    return file;
}

static int read_one(struct feed_file *file, uint64_t offset, void *bytes, size_t size_bytes,
                    struct mst_err *err)
{
    struct feed_read read = {
        .file = file, .offset = offset, .data = bytes, .size_bytes = size_bytes};
    return sources_read(feed_of(file), &read, err);
}

static void refuse(struct feed *feed, char *first, char *second, int rc, const char *why)
{
    char *uris[] = {first, second};
    struct feed_file *file = NULL;
    struct mst_err err = {0};
    assert_int_equal(feed_open(feed, uris, second ? 2 : 1, &file, &err), rc);
    assert_null(file);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
}

/* Reads the whole file in pieces, many under way; server `one` changes when half are done. */
static void read_through(struct feed_file *file, enum files_mode then)
{
    enum { COUNT = (SIZE + PIECE - 1) / PIECE };
    struct feed *feed = feed_of(file);
    uint8_t *copy = calloc(COUNT, PIECE);
    size_t submitted = 0, ended = 0;
    while (ended < COUNT) {
        while (submitted < COUNT) {
            struct feed_read read = {.file = file,
                                     .offset = submitted * PIECE,
                                     .data = copy + submitted * PIECE,
                                     .size_bytes = PIECE};
            if (feed_submit(feed, &read, 1) == 0)
                break;
            submitted++;
        }
        struct feed_done done[8];
        int count = feed_reap(feed, done, 8, 1, soon());
        assert_true(count >= 1);
        for (int i = 0; i < count; i++)
            if (done[i].result <= 0)
                fail_msg("%s", done[i].err->text);
        ended += (size_t)count;
        if (ended >= COUNT / 2)
            atomic_store(&one.mode, (int)then);
    }
    assert_int_equal(feed_in_flight(feed), 0);
    assert_memory_equal(copy, data, SIZE);
    free(copy);
}

static void test_one_copy(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, NULL);
    assert_int_equal(feed_grain(file), 1);
    read_through(file, FILES_GOOD);
    uint8_t bytes[10];
    assert_int_equal(read_one(file, SIZE - 5, bytes, 5, NULL), 0);
    assert_memory_equal(bytes, data + SIZE - 5, 5);
    assert_int_equal(read_one(file, SIZE - 5, bytes, 6, NULL), -EBADMSG);
    feed_close(file);
    feed_destroy(feed);
}

static void test_a_copy_that_breaks_is_replaced(void **state)
{
    (void)state;
    static const enum files_mode modes[] = {FILES_DEAD, FILES_TRUNCATED, FILES_MISSING,
                                            FILES_CHANGED, FILES_SILENT};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct feed *feed = sources_feed("auto");
        unsigned before = atomic_load(&two.requests);
        atomic_store(&one.mode, FILES_GOOD);
        struct feed_file *file = open_copies(feed, one.uri, two.uri);
        read_through(file, modes[i]);
        assert_true(atomic_load(&two.requests) > before);
        feed_close(file);
        feed_destroy(feed);
    }
}

/* However long a read may take: that nobody listens is known at once. */
static void test_a_server_that_is_gone_holds_nothing_up(void **state)
{
    (void)state;
    uint64_t start_ns = mst_now_ns();
    struct feed *feed = NULL;
    assert_int_equal(feed_create(&(struct feed_opts){.timeout_ms = 30000}, &feed, NULL), 0);
    struct http_files gone;
    files_start(&gone, "gone", data, SIZE);
    struct feed_file *file = open_copies(feed, gone.uri, two.uri);
    files_stop(&gone);
    uint8_t byte;
    assert_int_equal(read_one(file, 9, &byte, 1, NULL), 0);
    assert_int_equal(byte, data[9]);
    feed_close(file);
    file = open_copies(feed, gone.uri, two.uri);
    feed_close(file);
    assert_true(mst_now_ns() - start_ns < 15 * MST_NS_PER_S);
    feed_destroy(feed);
}

/* One that lacks the file is not asked for it before every read. */
static void test_a_copy_that_is_missing_is_left_alone(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    atomic_store(&one.mode, FILES_MISSING);
    struct feed_file *file = open_copies(feed, one.uri, two.uri);
    atomic_store(&one.requests, 0);
    read_through(file, FILES_MISSING);
    assert_int_equal(atomic_load(&one.requests), 0);
    feed_close(file);
    feed_destroy(feed);
}

static void test_a_file_stands_in_for_a_server(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    char path[320];
    snprintf(path, sizeof path, "%s", scratch_write("copy", data, SIZE));
    struct feed_file *file = open_copies(feed, one.uri, path);
    read_through(file, FILES_DEAD);
    feed_close(file);
    feed_destroy(feed);
}

static void test_a_copy_that_is_not_there_at_first(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    atomic_store(&one.mode, FILES_MISSING);
    struct feed_file *file = open_copies(feed, one.uri, two.uri);
    read_through(file, FILES_GOOD);
    atomic_store(&two.mode, FILES_MISSING); /* now it is the other one's turn */
    uint8_t bytes[10];
    assert_int_equal(read_one(file, 100, bytes, 10, NULL), 0);
    assert_memory_equal(bytes, data + 100, 10);
    feed_close(file);
    feed_destroy(feed);
}

/* Nobody waits for the server while it is down, and it is used again when it is back. */
static void test_a_server_that_comes_back_is_used_again(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, two.uri);
    uint64_t deadline_ns = soon();
    read_through(file, FILES_DEAD);
    atomic_store(&one.mode, FILES_GOOD);
    unsigned before;
    uint8_t byte;
    do {
        before = atomic_load(&two.requests);
        assert_int_equal(read_one(file, 9, &byte, 1, NULL), 0);
    } while (atomic_load(&two.requests) != before && !mst_deadline_passed(deadline_ns));
    assert_false(mst_deadline_passed(deadline_ns));
    feed_close(file);
    feed_destroy(feed);
}

static void test_the_error_names_every_copy(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, two.uri);
    atomic_store(&one.mode, FILES_MISSING);
    atomic_store(&two.mode, FILES_CHANGED);
    struct mst_err err = {0};
    uint8_t byte;
    assert_true(read_one(file, 0, &byte, 1, &err) < 0);
    assert_non_null(strstr(err.text, "all 2 mirrors failed: "));
    assert_non_null(strstr(err.text, one.uri));
    assert_non_null(strstr(err.text, two.uri));
    atomic_store(&one.mode, FILES_GOOD);
    assert_int_equal(read_one(file, 0, &byte, 1, &err), 0); /* nothing is held against it */
    feed_close(file);
    feed_destroy(feed);
}

/* Reads that were under way there come back as failed, or from another copy: none is waited for. */
static void test_a_place_whose_reads_are_lost_is_left(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, two.uri);
    uint8_t bytes[2];
    reap_fault = -ENOMEM;
    assert_int_equal(read_one(file, 7, bytes, 2, NULL), 0);
    assert_memory_equal(bytes, data + 7, 2);
    assert_int_equal(reap_fault, 0);
    feed_close(file);
    file = open_copies(feed, one.uri, NULL);
    struct mst_err err = {0};
    reap_fault = -ENOMEM;
    assert_int_equal(read_one(file, 7, bytes, 2, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "reading broke off: "));
    assert_int_equal(read_one(file, 7, bytes, 2, NULL), 0);
    feed_close(file);
    feed_destroy(feed);
}

static void test_an_object_that_changes_is_not_read(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, NULL);
    atomic_store(&one.mode, FILES_CHANGED);
    struct mst_err err = {0};
    uint8_t byte;
    assert_int_equal(read_one(file, 0, &byte, 1, &err), -ESTALE);
    assert_non_null(strstr(err.text, "/one"));
    feed_close(file);
    feed_destroy(feed);
}

static void test_copies_that_differ_are_refused(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct http_files other;
    files_start(&other, "other", data, SIZE - 1);
    refuse(feed, one.uri, other.uri, -EBADMSG, "1000003");
    refuse(feed, one.uri, other.uri, -EBADMSG, "1000002");
    refuse(feed, one.uri, other.uri, -EBADMSG, other.uri);
    char signed_uri[100];
    snprintf(signed_uri, sizeof signed_uri, "%s?sig=secret", other.uri);
    struct feed_file *file = NULL;
    struct mst_err err = {0};
    assert_int_equal(feed_open(feed, (char *[]){one.uri, signed_uri}, 2, &file, &err), -EBADMSG);
    assert_null(strstr(err.text, "secret"));
    files_stop(&other);
    files_start(&other, "other", data, FEED_BYTES_MAX + 1);
    refuse(feed, other.uri, NULL, -EBADMSG, "/other: no file has 4611686018427387905 bytes");
    atomic_store(&one.mode, FILES_MISSING);
    refuse(feed, one.uri, NULL, -ENOENT, "/one");
    refuse(feed, one.uri, one.uri, -ENOENT, "all 2 mirrors failed: ");
    files_stop(&other);
    feed_destroy(feed);
}

static void test_cancel_does_not_wait_for_a_silent_server(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, NULL);
    struct feed_read read = {.file = file, .size_bytes = 1};
    uint64_t start_ns = mst_now_ns();
    uint8_t byte = 0;
    read.data = &byte;
    atomic_store(&one.mode, FILES_SILENT);
    for (size_t i = 0; i < FEED_DEPTH; i++)
        assert_int_equal(feed_submit(feed, &read, 1), 1);
    assert_int_equal(feed_submit(feed, &read, 1), 0);
    struct feed_done done;
    assert_int_equal(feed_reap(feed, &done, 1, 1, mst_deadline_ms(5)), -ETIMEDOUT);
    feed_cancel(feed);
    assert_int_equal(feed_in_flight(feed), 0);
    assert_true(mst_now_ns() - start_ns < 5 * MST_NS_PER_S);
    atomic_store(&one.mode, FILES_GOOD);
    assert_int_equal(read_one(file, 7, &byte, 1, NULL), 0);
    assert_int_equal(byte, data[7]);
    feed_close(file);
    feed_destroy(feed);
}

/* Reads a byte; which of the servers were asked for one. */
static void read_from(struct feed_file *file, unsigned ones, unsigned twos)
{
    unsigned one_before = atomic_load(&one.requests), two_before = atomic_load(&two.requests);
    uint8_t byte;
    assert_int_equal(read_one(file, 9, &byte, 1, NULL), 0);
    assert_int_equal(byte, data[9]);
    assert_int_equal(atomic_load(&one.requests) - one_before, ones);
    assert_int_equal(atomic_load(&two.requests) - two_before, twos);
}

/* Reads until the first copy alone has served one. */
static void read_until_one_is_used(struct feed_file *file)
{
    uint64_t deadline_ns = soon();
    unsigned before;
    uint8_t byte;
    do {
        assert_false(mst_deadline_passed(deadline_ns));
        before = atomic_load(&two.requests);
        assert_int_equal(read_one(file, 9, &byte, 1, NULL), 0);
    } while (atomic_load(&two.requests) != before);
    read_from(file, 1, 0);
}

static void test_a_place_that_fails_a_read_is_down(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, two.uri);
    judged_ns = 100 * MST_NS_PER_S;
    atomic_store(&one.mode, FILES_DENIED);
    read_from(file, 1, 1);
    for (int i = 0; i < 5; i++)
        read_from(file, 0, 1);
    judged_ns += MIRROR_REST_MIN_NS - 1;
    read_from(file, 0, 1);
    judged_ns++;
    unsigned before = atomic_load(&one.requests);
    uint8_t byte;
    for (uint64_t deadline_ns = soon(); failed_count < 2;) {
        assert_false(mst_deadline_passed(deadline_ns));
        assert_int_equal(read_one(file, 9, &byte, 1, NULL), 0);
    }
    assert_int_equal(atomic_load(&one.requests), before + 1); /* the probe failed as well */
    judged_ns += 2 * MIRROR_REST_MIN_NS - 1;
    read_from(file, 0, 1);
    judged_ns++;
    atomic_store(&one.mode, FILES_GOOD);
    read_until_one_is_used(file);
    assert_int_equal(failed_count, 2);
    feed_close(file);
    feed_destroy(feed);
}

static void test_a_place_that_fails_at_open_is_down(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    judged_ns = 100 * MST_NS_PER_S;
    atomic_store(&one.mode, FILES_DENIED);
    feed_close(open_copies(feed, one.uri, two.uri));
    assert_int_equal(failed_count, 1);
    unsigned before = atomic_load(&one.requests);
    feed_close(open_copies(feed, one.uri, two.uri));
    assert_int_equal(atomic_load(&one.requests), before);
    judged_ns += MIRROR_REST_MIN_NS;
    feed_close(open_copies(feed, one.uri, two.uri));
    assert_true(atomic_load(&one.requests) > before);
    feed_destroy(feed);
}

/* Other files of that server are as good as before. */
static void test_a_wrong_copy_is_no_fault_of_its_place(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file, *other;
    atomic_store(&one.mode, FILES_MISSING);
    file = open_copies(feed, one.uri, two.uri);
    atomic_store(&one.mode, FILES_GOOD);
    other = open_copies(feed, one.uri, two.uri);
    read_from(other, 1, 0);
    atomic_store(&one.mode, FILES_CHANGED);
    read_from(other, 1, 1);
    read_from(other, 0, 1);
    assert_int_equal(failed_count, 0);
    feed_close(other);
    feed_close(file);
    feed_destroy(feed);
}

/* A place that rests is asked if no other can help, and when it does it need not be probed. */
static void test_a_read_that_ends_well_ends_the_rest(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, two.uri);
    struct feed_file *turned = open_copies(feed, two.uri, one.uri);
    judged_ns = 100 * MST_NS_PER_S;
    atomic_store(&two.mode, FILES_DENIED);
    read_from(turned, 1, 1);
    judged_ns++;
    atomic_store(&one.mode, FILES_DENIED);
    uint8_t byte;
    assert_int_equal(read_one(file, 9, &byte, 1, NULL), -EACCES);
    atomic_store(&one.mode, FILES_GOOD);
    read_from(file, 1, 1); /* the rest of two ends first */
    read_from(file, 1, 0);
    feed_close(turned);
    feed_close(file);
    feed_destroy(feed);
}

/* One probe at a time, and one that is given up is made again. */
static void test_a_probe_may_be_cancelled(void **state)
{
    (void)state;
    struct feed *feed = sources_feed("auto");
    struct feed_file *file = open_copies(feed, one.uri, two.uri);
    judged_ns = 100 * MST_NS_PER_S;
    atomic_store(&one.mode, FILES_DENIED);
    read_from(file, 1, 1);
    judged_ns += MIRROR_REST_MIN_NS;
    atomic_store(&one.mode, FILES_SILENT);
    unsigned before = atomic_load(&one.requests);
    uint8_t byte;
    for (int i = 0; i < 10; i++)
        assert_int_equal(read_one(file, 9, &byte, 1, NULL), 0);
    assert_in_range(atomic_load(&one.requests), before, before + 1);
    feed_cancel(feed);
    atomic_store(&one.mode, FILES_GOOD);
    read_until_one_is_used(file);
    feed_close(file);
    feed_destroy(feed);
}

static int start_servers(void **state)
{
    (void)state;
    judged_ns = failed_count = 0;
    files_start(&one, "one", data, SIZE);
    files_start(&two, "two", data, SIZE);
    return 0;
}

static int stop_servers(void **state)
{
    (void)state;
    files_stop(&one);
    files_stop(&two);
    return 0;
}

static int setup(void **state)
{
    data = malloc(SIZE);
    for (size_t i = 0; data && i < SIZE; i++)
        data[i] = (uint8_t)mst_mix64(i);
    return data ? scratch_setup(state) : -1;
}

static int teardown(void **state)
{
    free(data);
    return scratch_teardown(state);
}

#define WITH_SERVERS(test) cmocka_unit_test_setup_teardown(test, start_servers, stop_servers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVERS(test_one_copy),
        WITH_SERVERS(test_a_copy_that_breaks_is_replaced),
        WITH_SERVERS(test_a_server_that_is_gone_holds_nothing_up),
        WITH_SERVERS(test_a_copy_that_is_missing_is_left_alone),
        WITH_SERVERS(test_a_file_stands_in_for_a_server),
        WITH_SERVERS(test_a_copy_that_is_not_there_at_first),
        WITH_SERVERS(test_a_server_that_comes_back_is_used_again),
        WITH_SERVERS(test_a_place_that_fails_a_read_is_down),
        WITH_SERVERS(test_a_place_that_fails_at_open_is_down),
        WITH_SERVERS(test_a_wrong_copy_is_no_fault_of_its_place),
        WITH_SERVERS(test_a_read_that_ends_well_ends_the_rest),
        WITH_SERVERS(test_a_probe_may_be_cancelled),
        WITH_SERVERS(test_the_error_names_every_copy),
        WITH_SERVERS(test_a_place_whose_reads_are_lost_is_left),
        WITH_SERVERS(test_an_object_that_changes_is_not_read),
        WITH_SERVERS(test_copies_that_differ_are_refused),
        WITH_SERVERS(test_cancel_does_not_wait_for_a_silent_server),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
