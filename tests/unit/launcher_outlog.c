#include "muster/launcher/outlog.h"

#include "muster/core/err.h"

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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct outlog *outlog;
    int out[2]; /* read and write end of what the agent's stdout would be */
    int rank_out, rank_err;
};

static void begin(struct fixture *f, const char *log_dir)
{
    assert_int_equal(pipe2(f->out, O_CLOEXEC), 0);
    assert_int_equal(fcntl(f->out[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(outlog_create(log_dir, f->out[1], f->out[1], &f->outlog, NULL), 0);
    assert_int_equal(outlog_add_rank(f->outlog, 12, 3, &f->rank_out, &f->rank_err, NULL), 0);
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
    assert_int_equal(total, 17 * 4096 + 2 * strlen("[12] \n"));
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
    char dir[] = "/tmp/muster-outlog-XXXXXX", path[128], got[64];
    assert_non_null(mkdtemp(dir));
    begin(&f, dir);
    say(f.rank_out, "one\n");
    outlog_run(f.outlog);
    say(f.rank_err, "two");
    outlog_finish_ranks(f.outlog);
    snprintf(path, sizeof path, "%s/rank_12.gen_3.log", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, got, sizeof got);
    assert_int_equal(size, 7);
    assert_memory_equal(got, "one\ntwo", 7);
    close(fd);
    end(&f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_a_bad_log_directory_is_named(void **state)
{
    (void)state;
    struct mst_err err = {0};
    struct outlog *outlog;
    assert_int_equal(outlog_create("/dev/null/logs", 1, 2, &outlog, &err), -ENOTDIR);
    assert_non_null(strstr(err.text, "/dev/null/logs"));
    outlog_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_whole_lines_leave),
        cmocka_unit_test(test_a_line_without_end_is_cut),
        cmocka_unit_test(test_a_full_output_holds_the_rank_back),
        cmocka_unit_test(test_files_hold_the_rank_s_own_bytes),
        cmocka_unit_test(test_a_bad_log_directory_is_named),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
