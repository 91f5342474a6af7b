/* One output that nobody reads, or too late, or no more. */
#include "muster/launcher/sink.h"

#include "muster/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LINE                                                                                       \
    "ninety-nine bytes and a newline, so that no power of two is a multiple of it "                \
    "..................\n"

static int fds[2];
static struct sink sink;

static int open_pipe(void **state)
{
    (void)state;
    if (pipe2(fds, O_CLOEXEC))
        return -1;
    sink_init(&sink, fds[1]);
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    sink_fini(&sink);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

static void fill(size_t bytes)
{
    for (size_t i = 0; i < bytes; i += strlen(LINE))
        sink_put(&sink, LINE, strlen(LINE));
    sink_flush(&sink);
}

/* The others' description of the pipe keeps its flags, and a full one holds nobody up. */
static void test_a_full_pipe(void **state)
{
    (void)state;
    static char got[1 << 20];
    fill(200000);
    assert_true(sink.is_own);
    assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
    assert_true(sink_pending(&sink) > 100000);
    ssize_t size = read(fds[0], got, sizeof got);
    assert_true(size > 0);
    assert_int_equal(got[size - 1], '\n'); /* lines go whole */
    sink_flush(&sink);
    assert_true(read(fds[0], got, sizeof got) >= (ssize_t)strlen(LINE));
    assert_memory_equal(got, LINE, strlen(LINE));
    assert_int_equal(sink.lost_bytes, 0);
}

static void test_the_bound(void **state)
{
    (void)state;
    fill(2 * SINK_BYTES_MAX);
    assert_true(sink_pending(&sink) <= SINK_BYTES_MAX);
    assert_true(sink_pending(&sink) > SINK_BYTES_MAX - 100000);
    assert_true(sink.lost_bytes > 0 && sink.lost_bytes % strlen(LINE) == 0);
}

/* Whatever comes and goes in which pieces, the order stays. */
static void test_nothing_is_mixed_up(void **state)
{
    (void)state;
    uint8_t next_in = 0, next_out = 0;
    char piece[3000], got[5000];
    for (int round = 0; round < 2000; round++) {
        size_t size = (size_t)round * 37 % sizeof piece;
        for (size_t i = 0; i < size; i++)
            piece[i] = (char)next_in++;
        sink_put(&sink, piece, size);
        sink_flush(&sink);
        if (round % 3 == 2) {
            ssize_t read_size = read(fds[0], got, sizeof got);
            for (ssize_t i = 0; i < read_size; i++)
                assert_int_equal((uint8_t)got[i], next_out++);
        }
    }
    assert_int_equal(sink.lost_bytes, 0);
}

static void test_a_reader_that_is_gone(void **state)
{
    (void)state;
    close(fds[0]);
    fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    fill(1000);
    assert_true(sink.broken);
    assert_int_equal(sink.error, -EPIPE);
    assert_int_equal(sink_pending(&sink), 0);
    assert_null(sink_reserve(&sink, 1));
    sink_drain(&sink, MST_NEVER);
}

static void test_a_full_disk(void **state)
{
    (void)state;
    struct sink full;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    sink_init(&full, fd);
    sink_put(&full, LINE, strlen(LINE));
    sink_flush(&full);
    assert_false(full.broken); /* it may have room again */
    assert_int_equal(full.error, -ENOSPC);
    assert_int_equal(full.lost_bytes, strlen(LINE));
    sink_fini(&full);
    close(fd);
}

static void test_a_socket(void **state)
{
    (void)state;
    int ends[2];
    struct sink socket;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    sink_init(&socket, ends[1]);
    for (int i = 0; i < 20000; i++)
        sink_put(&socket, LINE, strlen(LINE));
    sink_flush(&socket);
    assert_true(sink_pending(&socket) > 0);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    sink_flush(&socket); /* and no SIGPIPE */
    assert_true(socket.broken);
    sink_fini(&socket);
    close(ends[1]);
}

/* A file keeps its place, which others share. */
static void test_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/muster-sink-XXXXXX", got[16];
    struct sink file;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "one\n", 4), 4);
    sink_init(&file, fd);
    sink_put(&file, "two\n", 4);
    sink_flush(&file);
    assert_int_equal(write(fd, "three\n", 6), 6);
    assert_int_equal(pread(fd, got, sizeof got, 0), 14);
    assert_memory_equal(got, "one\ntwo\nthree\n", 14);
    sink_fini(&file);
    close(fd);
    assert_int_equal(unlink(path), 0);
}

static void test_drain_has_a_deadline(void **state)
{
    (void)state;
    fill(200000);
    size_t pending = sink_pending(&sink);
    sink_drain(&sink, mst_deadline_ms(0));
    assert_int_equal(sink_pending(&sink), pending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_pipe, open_pipe, close_both),
        cmocka_unit_test_setup_teardown(test_the_bound, open_pipe, close_both),
        cmocka_unit_test_setup_teardown(test_nothing_is_mixed_up, open_pipe, close_both),
        cmocka_unit_test_setup_teardown(test_a_reader_that_is_gone, open_pipe, close_both),
        cmocka_unit_test_setup_teardown(test_drain_has_a_deadline, open_pipe, close_both),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_a_socket),
        cmocka_unit_test(test_a_file),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
