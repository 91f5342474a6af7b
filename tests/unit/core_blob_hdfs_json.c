#include "muster/core/blob/hdfs/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define STATUS(name, type, size)                                                                   \
    "{\"pathSuffix\":\"" name "\",\"type\":\"" type "\",\"length\":" size ",\"modificationTime\":" \
    "5}"

static int note(void *arg, const struct webhdfs_status *status)
{
    char *notes = arg;
    size_t used = strlen(notes);
    snprintf(notes + used, 128 - used, "%s%s ", status->name, status->folder ? "/" : "");
    return strcmp(status->name, "stop") == 0 ? 7 : 0;
}

static int list(const char *text, char notes[128])
{
    notes[0] = '\0';
    return webhdfs_json_list(text, strlen(text), note, notes);
}

#define LIST(entries) "{\"FileStatuses\":{\"FileStatus\":[" entries "]}}"

static void reads_listings(void **state)
{
    (void)state;
    char notes[128];
    assert_int_equal(list(LIST(""), notes), 0);
    assert_int_equal(list(LIST(STATUS("a", "FILE", "1") "," STATUS("b", "DIRECTORY", "0")), notes),
                     0);
    assert_string_equal(notes, "a b/ ");
    assert_int_equal(list(LIST(STATUS("stop", "FILE", "1") "," STATUS("b", "FILE", "0")), notes),
                     7);
    assert_string_equal(notes, "stop ");
}

static void refuses_what_makes_no_sense(void **state)
{
    (void)state;
    const char *const bad[] = {"",
                               "[]",
                               "{\"FileStatuses\":{}}",
                               LIST("1"),
                               LIST(STATUS("a/b", "FILE", "1")),
                               LIST(STATUS("a", "FILE", "-1")),
                               LIST(STATUS("a", "FILE", "\"1\"")),
                               LIST("{\"pathSuffix\":\"a\"}")};
    char notes[128];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(list(bad[i], notes), -EBADMSG);
}

static void reads_the_rest(void **state)
{
    (void)state;
    const char *text = "{\"RemoteException\":{\"exception\":\"E\",\"message\":\"line\\nstack\"}}";
    struct webhdfs_error error;
    assert_int_equal(webhdfs_json_error(text, strlen(text), &error), 0);
    assert_string_equal(error.exception, "E");
    assert_string_equal(error.message, "line");
    assert_int_equal(webhdfs_json_error("{}", 2, &error), -EBADMSG);
    text = "{\"FileStatus\":" STATUS("", "FILE", "9") "}";
    struct webhdfs_status status;
    assert_int_equal(webhdfs_json_status(text, strlen(text), &status), 0);
    assert_int_equal(status.size_bytes, 9);
    assert_int_equal(status.modified_ms, 5);
    assert_int_equal(webhdfs_json_status("{}", 2, &status), -EBADMSG);
    bool truth = false;
    assert_int_equal(webhdfs_json_boolean("{\"boolean\":true}", 16, &truth), 0);
    assert_true(truth);
    assert_int_equal(webhdfs_json_boolean("{\"boolean\":1}", 13, &truth), -EBADMSG);
    text = "{\"Location\":\"1234567\"}";
    char location[8];
    assert_int_equal(webhdfs_json_location(text, strlen(text), location, 8), 0);
    assert_string_equal(location, "1234567");
    assert_int_equal(webhdfs_json_location(text, strlen(text), location, 7), -ENOSPC);
    assert_int_equal(webhdfs_json_location("{}", 2, location, 8), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_listings),
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(reads_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
