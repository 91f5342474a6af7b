#include "muster/launcher/outlog.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/launcher/log.h"
#include "muster/launcher/logdir.h"
#include "muster/launcher/sink.h"
#include "soon.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct outlog *outlog;
    int out[2]; /* read and write end of what the agent's stdout would be */
    int rank_out, rank_err;
};

static void begin_with(struct fixture *f, const struct outlog_config *config)
{
    int fds[2];
    assert_int_equal(pipe2(f->out, O_CLOEXEC), 0);
    assert_int_equal(fcntl(f->out[0], F_SETFL, O_NONBLOCK), 0);
    struct outlog_config mine = *config;
    mine.out_fd = mine.err_fd = f->out[1];
    mine.job_id = "j";
    mine.prefix = mine.prefix ? mine.prefix : "[%r] ";
    assert_int_equal(outlog_create(&mine, &f->outlog, NULL), 0);
    assert_int_equal(outlog_add_rank(f->outlog, 12, 4, 3, fds, NULL), 0);
    f->rank_out = fds[0];
    f->rank_err = fds[1];
}

static void begin(struct fixture *f, const char *log_dir)
{
    begin_with(f, &(struct outlog_config){.log_dir = log_dir});
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void expect(struct fixture *f, const char *text)
{
    char got[512];
    ssize_t size = read(f->out[0], got, sizeof got - 1);
    got[size < 0 ? 0 : size] = '\0';
    assert_string_equal(got, text);
}

static void end(struct fixture *f)
{
    outlog_destroy(f->outlog);
    close(f->out[0]);
    close(f->out[1]);
    close(f->rank_out);
    close(f->rank_err);
}

static uint64_t passed_ns; /* which the clock is ahead */

uint64_t __real_mst_now_ns(void);
uint64_t __wrap_mst_now_ns(void);

uint64_t __wrap_mst_now_ns(void)
{
    return __real_mst_now_ns() + passed_ns;
}

static int file_error; /* of a rank's file */

int __real_logdir_open(const char *path, uint32_t rank, uint32_t generation, struct mst_err *err);
int __wrap_logdir_open(const char *path, uint32_t rank, uint32_t generation, struct mst_err *err);

int __wrap_logdir_open(const char *path, uint32_t rank, uint32_t generation, struct mst_err *err)
{
    return file_error ? mst_err_set(err, -file_error, "log file")
                      : __real_logdir_open(path, rank, generation, err);
}

static void test_only_whole_lines_leave(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    say(f.rank_out, "half");
    say(f.rank_err, "all of it\n");
    outlog_run(f.outlog);
    expect(&f, "[12] all of it\n");
    say(f.rank_out, " and half\n\nnext");
    outlog_run(f.outlog);
    expect(&f, "[12] half and half\n[12] \n");
    outlog_finish_ranks(f.outlog);
    expect(&f, "[12] next\n");
    end(&f);
}

static void test_a_line_without_end_is_cut(void **state)
{
    (void)state;
    struct fixture f;
    char piece[4096];
    size_t total = 0;
    begin(&f, NULL);
    memset(piece, 'x', sizeof piece);
    for (int i = 0; i < 17; i++) { /* 64 KiB and one piece more */
        assert_int_equal(write(f.rank_out, piece, sizeof piece), sizeof piece);
        outlog_run(f.outlog);
    }
    outlog_finish_ranks(f.outlog);
    for (int runs = 0; runs < 100; runs++) {
        ssize_t size = read(f.out[0], piece, sizeof piece);
        total += size > 0 ? (size_t)size : 0;
        outlog_run(f.outlog);
    }
    assert_int_equal(total, 17 * 4096 + 2 * strlen("[12] \n") + strlen("…"));
    end(&f);
}

/* Nobody reads: the agent must not block, and at last the rank must. */
static void test_a_full_output_holds_the_rank_back(void **state)
{
    (void)state;
    struct fixture f;
    char line[1024];
    long taken = 0, idle = 0;
    begin(&f, NULL);
    memset(line, 'y', sizeof line);
    line[sizeof line - 1] = '\n';
    assert_int_equal(fcntl(f.rank_out, F_SETFL, O_NONBLOCK), 0);
    while (idle < 3 && taken < 16 << 20) {
        ssize_t size = write(f.rank_out, line, sizeof line);
        taken += size > 0 ? size : 0;
        idle = size > 0 ? 0 : idle + 1;
        outlog_run(f.outlog);
    }
    assert_true(taken > 1 << 20 && taken < 2 << 20);
    for (int reads = 0; reads < 10000 && idle > 0; reads++) { /* read again, and it goes on */
        (void)!read(f.out[0], line, sizeof line);
        outlog_run(f.outlog);
        idle = write(f.rank_out, "z\n", 2) == 2 ? 0 : 1;
    }
    assert_int_equal(idle, 0);
    close(f.out[0]); /* and gone for good: destroy must not wait */
    f.out[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    end(&f);
}

static void test_files_hold_the_rank_s_own_bytes(void **state)
{
    (void)state;
    struct fixture f;
    char dir[] = "/tmp/muster-outlog-XXXXXX", folder[128], path[160], got[64];
    assert_non_null(mkdtemp(dir));
    begin(&f, dir);
    say(f.rank_out, "one\n");
    outlog_run(f.outlog);
    say(f.rank_err, "two");
    outlog_finish_ranks(f.outlog);
    snprintf(folder, sizeof folder, "%s", outlog_folder(f.outlog));
    assert_int_equal(strncmp(folder, dir, strlen(dir)), 0);
    snprintf(path, sizeof path, "%s/rank_12.gen_3.log", folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, got, sizeof got);
    assert_int_equal(size, 7);
    assert_memory_equal(got, "one\ntwo", 7);
    close(fd);
    end(&f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_a_bad_log_directory_is_named(void **state)
{
    (void)state;
    struct mst_err err = {0};
    struct outlog *outlog;
    const struct outlog_config config = {
        .out_fd = 1, .err_fd = 2, .log_dir = "/dev/null/logs", .job_id = "", .prefix = ""};
    assert_int_equal(outlog_create(&config, &outlog, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, "/dev/null/logs"));
    outlog_destroy(NULL);
}

/* -EPERM, as of a folder that is immutable, is -1. */
static void test_a_rank_without_its_file_is_none(void **state)
{
    (void)state;
    struct fixture f;
    struct mst_err err = {0};
    char dir[] = "/tmp/muster-outlog-XXXXXX", path[160];
    int fds[2];
    assert_non_null(mkdtemp(dir));
    begin(&f, dir);
    file_error = EPERM;
    assert_int_equal(outlog_add_rank(f.outlog, 13, 5, 3, fds, &err), -EPERM);
    file_error = 0;
    assert_string_equal(err.text, "log file");
    snprintf(path, sizeof path, "%s/rank_12.gen_3.log", outlog_folder(f.outlog));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(outlog_folder(f.outlog)), 0);
    assert_int_equal(rmdir(dir), 0);
    end(&f);
}

/* A process of the agent's own has copies of whatever was open. */
static void test_closed_pipes_are_off_the_watch_whoever_holds_them(void **state)
{
    (void)state;
    struct fixture f;
    int hold[2], ready[2];
    char byte;
    begin(&f, NULL);
    assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t holder = fork();
    if (holder == 0) {
        close(hold[1]);
        close(f.rank_out);
        close(f.rank_err);
        close(ready[1]);
        _exit(read(hold[0], &byte, 1) != 0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* the writing ends are ours alone */
    close(ready[0]);
    close(f.rank_out);
    close(f.rank_err);
    f.rank_out = f.rank_err = -1;
    outlog_finish_ranks(f.outlog);
    struct pollfd watched = {.fd = outlog_fd(f.outlog), .events = POLLIN};
    assert_int_equal(poll(&watched, 1, 0), 0);
    close(hold[0]);
    close(hold[1]);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    end(&f);
}

/* A line that is not ended goes out when it is due, and the loop is told when that is. */
static void test_a_part_has_its_time(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    assert_true(outlog_wake_ns(f.outlog) == MST_NEVER);
    say(f.rank_out, "loading");
    outlog_run(f.outlog);
    expect(&f, "");
    assert_true(outlog_wake_ns(f.outlog) <= mst_now_ns() + 100 * MST_NS_PER_MS);
    passed_ns += 100 * MST_NS_PER_MS;
    outlog_run(f.outlog);
    expect(&f, "[12] loading\n");
    say(f.rank_out, " done\n");
    outlog_run(f.outlog);
    expect(&f, "[12] … done\n");
    end(&f);
}

/* Writes until nothing is taken any more. Returns how much was. */
static size_t flood(struct fixture *f, size_t most)
{
    char line[1024];
    size_t taken = 0;
    memset(line, 'y', sizeof line);
    line[sizeof line - 1] = '\n';
    assert_int_equal(fcntl(f->rank_out, F_SETFL, O_NONBLOCK), 0);
    for (int idle = 0; idle < 3 && taken < most;) {
        ssize_t size = write(f->rank_out, line, sizeof line);
        taken += size > 0 ? (size_t)size : 0;
        idle = size > 0 ? 0 : idle + 1;
        outlog_run(f->outlog);
    }
    return taken;
}

static bool read_until(struct fixture *f, const char *text)
{
    static char got[65537];
    for (int reads = 0; reads < 1000; reads++) {
        ssize_t size = read(f->out[0], got, sizeof got - 1);
        got[size < 0 ? 0 : size] = '\0';
        if (strstr(got, text))
            return true;
        outlog_run(f->outlog);
    }
    return false;
}

/* A reader that stopped holds the rank back, but not for ever; the one that comes back is told what
 * was lost. */
static void test_a_reader_that_stopped(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    log_to(outlog_sink(f.outlog));
    assert_true(flood(&f, 16 << 20) < 2 << 20);
    assert_true(outlog_wake_ns(f.outlog) <= mst_now_ns() + 10 * MST_NS_PER_S);
    passed_ns += 10 * MST_NS_PER_S;
    outlog_run(f.outlog);
    assert_int_equal(flood(&f, 16 << 20), 16 << 20);
    assert_true(sink_pending(outlog_sink(f.outlog)) <= SINK_BYTES_MAX);
    assert_true(read_until(&f, "msg=\"output was lost\" stream=stdout bytes="));
    log_to(NULL);
    end(&f);
}

/* A reader that comes back when no rank is left is told, too. */
static void test_the_end_tells_what_was_lost(void **state)
{
    (void)state;
    struct fixture f;
    char got[4097];
    bool told = false;
    begin(&f, NULL);
    log_to(outlog_sink(f.outlog));
    (void)flood(&f, 16 << 20);
    passed_ns += 10 * MST_NS_PER_S;
    assert_int_equal(flood(&f, 16 << 20), 16 << 20);
    outlog_finish_ranks(f.outlog);
    for (int reads = 0; reads < 1 << 16 && !told; reads++) {
        ssize_t size = read(f.out[0], got, sizeof got - 1);
        got[size < 0 ? 0 : size] = '\0';
        told = strstr(got, "msg=\"output was lost\"") != NULL;
        outlog_drain(f.outlog, 0);
    }
    assert_true(told);
    log_to(NULL);
    end(&f);
}

/* Ranks that are to leave are held up for half a second. */
static void test_a_drain_waits_for_no_reader(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    assert_true(flood(&f, 16 << 20) < 2 << 20);
    outlog_hurry(f.outlog, true);
    assert_true(flood(&f, 16 << 20) < 1 << 20);
    passed_ns += 500 * MST_NS_PER_MS;
    outlog_run(f.outlog);
    assert_int_equal(flood(&f, 16 << 20), 16 << 20);
    passed_ns += 500 * MST_NS_PER_MS;
    outlog_drain(f.outlog, MST_NEVER); /* nor does the end wait for it */
    end(&f);
}

static void test_bytes_as_they_are(void **state)
{
    (void)state;
    struct fixture f;
    begin_with(&f, &(struct outlog_config){.mode = OUTLOG_PLAIN});
    say(f.rank_out, "50%\r");
    outlog_run(f.outlog);
    say(f.rank_err, "\xff half");
    outlog_run(f.outlog);
    expect(&f, "50%\r\xff half");
    end(&f);
}

static void test_raw_is_rank_0(void **state)
{
    (void)state;
    struct fixture f;
    int fds[2];
    begin_with(&f, &(struct outlog_config){.mode = OUTLOG_RAW});
    assert_int_equal(outlog_add_rank(f.outlog, 0, 0, 3, fds, NULL), 0);
    say(fds[0], "as it is");
    say(f.rank_out, "a line\n");
    outlog_finish_ranks(f.outlog);
    char got[64];
    ssize_t size = read(f.out[0], got, sizeof got);
    assert_int_equal(size, strlen("[12] a line\nas it is"));
    assert_true(memmem(got, (size_t)size, "[12] a line\n", 12) &&
                memmem(got, (size_t)size, "as it is", 8));
    close(fds[0]);
    close(fds[1]);
    end(&f);
}

static void test_lines_as_objects(void **state)
{
    (void)state;
    struct fixture f;
    char got[512];
    begin_with(&f, &(struct outlog_config){.json = true});
    say(f.rank_err, "say \"h\xc3\xb6her\" \xff\n\nlast");
    outlog_finish_ranks(f.outlog);
    ssize_t size = read(f.out[0], got, sizeof got - 1);
    got[size < 0 ? 0 : size] = '\0';
    static const char *const lines[] = {"say \"h\xc3\xb6her\" ?", "", "last"};
    char *at = got;
    for (int i = 0; i < 3; i++) {
        json_t *object = json_loads(at, JSON_DISABLE_EOF_CHECK, NULL);
        assert_int_equal(json_integer_value(json_object_get(object, "rank")), 12);
        assert_string_equal(json_string_value(json_object_get(object, "stream")), "stderr");
        assert_string_equal(json_string_value(json_object_get(object, "line")), lines[i]);
        json_decref(object);
        at = strchr(at, '\n') + 1;
    }
    assert_string_equal(at, "");
    end(&f);
}

/* What is lost is counted as the rank wrote it. */
static void test_lost_lines_are_counted_as_they_are(void **state)
{
    (void)state;
    for (int json = 0; json < 2; json++) {
        struct fixture f;
        begin_with(&f, &(struct outlog_config){.json = json});
        close(f.out[0]);
        say(f.rank_out, "finds out that nobody reads\n");
        outlog_run(f.outlog);
        outlog_run(f.outlog);
        uint64_t before = outlog_sink(f.outlog)->lost_bytes;
        say(f.rank_out, "one line\nanother\n");
        outlog_run(f.outlog);
        assert_int_equal(outlog_sink(f.outlog)->lost_bytes - before, 17);
        f.out[0] = -1;
        end(&f);
    }
}

/* On a terminal a bar stays where it is, and another's line goes below it. */
static void test_bars_on_a_terminal(void **state)
{
    (void)state;
    struct fixture f;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    int screen = open(ptsname(terminal), O_WRONLY | O_NOCTTY | O_CLOEXEC);
    const struct outlog_config config = {
        .out_fd = screen, .err_fd = screen, .job_id = "", .prefix = "%r>"};
    assert_int_equal(outlog_create(&config, &f.outlog, NULL), 0);
    int fds[2], others[2];
    char got[512];
    assert_int_equal(outlog_add_rank(f.outlog, 0, 0, 0, fds, NULL), 0);
    assert_int_equal(outlog_add_rank(f.outlog, 1, 1, 0, others, NULL), 0);
    say(fds[0], "1%\r2%\r");
    outlog_run(f.outlog);
    say(others[0], "hello\n");
    outlog_run(f.outlog);
    say(fds[0], "done\n");
    outlog_run(f.outlog);
    static const char want[] = "0>1%\r\033[K0>2%\r\r\n1>hello\r\n0>done\r\n";
    size_t used = 0;
    struct pollfd shown = {.fd = terminal, .events = POLLIN};
    while (used < sizeof want - 1 && poll(&shown, 1, SOON_MS) == 1) {
        ssize_t size = read(terminal, got + used, sizeof got - 1 - used);
        used += size > 0 ? (size_t)size : 0;
    }
    got[used] = '\0';
    assert_string_equal(got, want);
    outlog_destroy(f.outlog);
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(others[i]);
    }
    close(screen);
    close(terminal);
}

static void test_last_words(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL);
    assert_string_equal(outlog_last_words(f.outlog, 12), "");
    say(f.rank_err, "out of memory\ngoodbye");
    outlog_remember(f.outlog, 12);
    assert_string_equal(outlog_last_words(f.outlog, 12), "out of memory\ngoodbye\n");
    assert_string_equal(outlog_last_words(f.outlog, 11), "");
    outlog_finish_ranks(f.outlog);
    expect(&f, "[12] out of memory\n[12] goodbye\n");
    assert_string_equal(outlog_last_words(f.outlog, 12), "out of memory\ngoodbye\n");
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_whole_lines_leave),
        cmocka_unit_test(test_a_line_without_end_is_cut),
        cmocka_unit_test(test_a_part_has_its_time),
        cmocka_unit_test(test_a_full_output_holds_the_rank_back),
        cmocka_unit_test(test_a_reader_that_stopped),
        cmocka_unit_test(test_the_end_tells_what_was_lost),
        cmocka_unit_test(test_a_drain_waits_for_no_reader),
        cmocka_unit_test(test_bytes_as_they_are),
        cmocka_unit_test(test_raw_is_rank_0),
        cmocka_unit_test(test_lines_as_objects),
        cmocka_unit_test(test_lost_lines_are_counted_as_they_are),
        cmocka_unit_test(test_bars_on_a_terminal),
        cmocka_unit_test(test_last_words),
        cmocka_unit_test(test_files_hold_the_rank_s_own_bytes),
        cmocka_unit_test(test_a_bad_log_directory_is_named),
        cmocka_unit_test(test_a_rank_without_its_file_is_none),
        cmocka_unit_test(test_closed_pipes_are_off_the_watch_whoever_holds_them),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
