#include "muster/core/blob/blob.h"
#include "soon.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/http_script.h"

#define EXCEPTION(status, name, message)                                                           \
    REPLY(status, "{\"RemoteException\":{\"exception\":\"" name                                    \
                  "\",\"javaClassName\":\"x\",\"message\":\"" message "\"}}")
#define STATUS(type, size)                                                                         \
    REPLY("200 OK", "{\"FileStatus\":{\"pathSuffix\":\"\",\"type\":\"" type "\",\"length\":" size  \
                    ",\"modificationTime\":99}}")
#define TRUTH(value) REPLY("200 OK", "{\"boolean\":" value "}")
#define DATA "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n2345"
#define CREATED REPLY("201 Created", "")

static struct http_script script;
static const struct mst_cspan xy = {"xy", 2, MST_MEM_HOST};

static struct mst_blob *open_nodes(const char *more)
{
    const struct mst_blob_opts opts = {.depth = 2, .timeout_ms = 5000};
    assert_int_equal(unsetenv("MST_HDFS_DELEGATION"), 0);
    char uri[128];
    snprintf(uri, sizeof uri, "webhdfs://127.0.0.1:%u/pre%s", script.port, more);
    struct mst_blob *blob = NULL;
    assert_int_equal(mst_blob_open(uri, &opts, &blob, NULL), 0);
    return blob;
}

static bool asked(size_t index, const char *text)
{
    return strstr(script.requests[index], text) != NULL;
}

static int64_t read_once(const struct script_step *steps, size_t count, const char *version,
                         char data[5])
{
    script_start(&script, steps, count);
    struct mst_blob *blob = open_nodes("?user.name=me");
    const struct mst_blob_read read = {
        .key = "k", .offset = 2, .data = data, .size_bytes = 4, .version = version};
    memset(data, 0, 5);
    assert_int_equal(mst_blob_submit(blob, &read, 1), 1);
    struct mst_blob_done done;
    assert_int_equal(mst_blob_reap(blob, &done, 1, 1, soon()), 1);
    mst_blob_close(blob);
    script_stop(&script);
    assert_int_equal(script.served, count);
    return done.result;
}

static void reads_what_it_can(void **state)
{
    (void)state;
    char data[5];
    assert_int_equal(read_once(STEPS({DATA, SCRIPT_CLOSE}), 1, NULL, data), 4);
    assert_string_equal(data, "2345");
    assert_true(asked(0, "GET /webhdfs/v1/pre/k?op=OPEN&offset=2&length=4&user.name=me HTTP/1.1"));
    const char *behind = EXCEPTION("403 Forbidden", "IOException",
                                   "Offset=2 out of the range [0, 2); OPEN, path=/pre/k");
    assert_int_equal(read_once(STEPS({behind, SCRIPT_CLOSE}), 1, NULL, data), 0);
}

static void reads_the_version_it_means(void **state)
{
    (void)state;
    const char *status = STATUS("FILE", "10");
    char data[5];
    int64_t got = read_once(STEPS({status, SCRIPT_CLOSE}, {DATA, SCRIPT_CLOSE}), 2, "10-99", data);
    assert_int_equal(got, 4);
    assert_true(asked(0, "op=GETFILESTATUS&"));
    got = read_once(STEPS({status, SCRIPT_CLOSE}), 1, "10-98", data);
    assert_int_equal(got, -ESTALE);
}

static void tries_again(void **state)
{
    (void)state;
    char data[5];
    int64_t got = read_once(
        STEPS({EXCEPTION("403 Forbidden", "StandbyException", "not me"), SCRIPT_CLOSE},
              {EXCEPTION("403 Forbidden", "RetriableException", "starting"), SCRIPT_CLOSE},
              {EXCEPTION("403 Forbidden", "IOException", "No active nodes"), SCRIPT_CLOSE},
              {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n23", SCRIPT_CLOSE},
              {DATA, SCRIPT_CLOSE}),
        5, NULL, data);
    assert_int_equal(got, 4);
}

static void knows_what_stays(void **state)
{
    (void)state;
    const struct {
        const char *reply;
        int rc;
    } cases[] = {
        {EXCEPTION("404 Not Found", "FileNotFoundException", "none\\nat x"), -ENOENT},
        {EXCEPTION("403 Forbidden", "AccessControlException", "no"), -EACCES},
        {EXCEPTION("403 Forbidden", "InvalidToken", "expired"), -EACCES},
        {EXCEPTION("403 Forbidden", "DSQuotaExceededException", "full"), -ENOSPC},
        {EXCEPTION("400 Bad Request", "IllegalArgumentException", "no"), -EINVAL},
        {REPLY("401 Unauthorized", "<html>"), -EACCES},
    };
    char data[5];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(read_once(STEPS({cases[i].reply, SCRIPT_CLOSE}), 1, NULL, data),
                         cases[i].rc);
}

/* Puts "xy" as the replies allow; the redirect leads to the script's next reply. */
static int put(const struct script_step *steps, size_t count, uint32_t flags, struct mst_err *err)
{
    script_start(&script, steps, count);
    struct mst_blob *blob = open_nodes("?delegation=to%2Fken");
    int rc = mst_blob_put(blob, "d/k", xy, flags, soon(), err);
    mst_blob_close(blob);
    script_stop(&script);
    assert_int_equal(script.served, count);
    return rc;
}

/* The name node's answer to CREATE: a redirect to the script itself. */
static const char *redirect(void)
{
    static char reply[256];
    snprintf(reply, sizeof reply,
             REPLY("307 Temporary Redirect\r\nLocation: http://127.0.0.1:%u/dn", ""), script.port);
    return reply;
}

/* The same as HttpFS puts it. */
static const char *location(void)
{
    static char reply[256];
    snprintf(reply, sizeof reply, REPLY("200 OK", "{\"Location\":\"http://127.0.0.1:%u/dn\"}"),
             script.port);
    return reply;
}

static void puts_and_renames(void **state)
{
    (void)state;
    script_bind(&script);
    struct script_step steps[] = {
        {redirect(), SCRIPT_CLOSE}, {CREATED, SCRIPT_CLOSE}, {REPLY("200 OK", ""), SCRIPT_CLOSE}};
    script_run(&script, steps, 3);
    struct mst_blob *blob = open_nodes("?delegation=to%2Fken");
    assert_int_equal(mst_blob_put(blob, "d/k", xy, 0, soon(), NULL), 0);
    mst_blob_close(blob);
    script_stop(&script);
    assert_true(asked(0, "PUT /webhdfs/v1/pre/d/.muster-put-"));
    assert_true(asked(0, "?op=CREATE&overwrite=true&delegation=to%2Fken HTTP/1.1"));
    assert_true(asked(1, "PUT /dn HTTP/1.1"));
    assert_true(asked(1, "\r\n\r\nxy"));
    assert_true(asked(2, "?op=RENAME&destination=%2Fpre%2Fd%2Fk&renameoptions=OVERWRITE&"));
}

static void does_not_replace(void **state)
{
    (void)state;
    script_bind(&script);
    struct script_step steps[] = {{location(), SCRIPT_CLOSE},
                                  {CREATED, SCRIPT_CLOSE},
                                  {TRUTH("false"), SCRIPT_CLOSE},
                                  {TRUTH("true"), SCRIPT_CLOSE}};
    script_run(&script, steps, 4);
    struct mst_blob *blob = open_nodes("?delegation=hush");
    struct mst_err err;
    int rc = mst_blob_put(blob, "k", xy, MST_BLOB_NEW, soon(), &err);
    assert_int_equal(rc, -EEXIST);
    assert_null(strstr(err.text, "hush"));
    mst_blob_close(blob);
    script_stop(&script);
    assert_true(asked(2, "?op=RENAME&destination=%2Fpre%2Fk&delegation="));
    assert_true(asked(3, "DELETE /webhdfs/v1/pre/.muster-put-")); /* what it had made */
}

static void a_lost_answer_to_a_rename_is_no_failure(void **state)
{
    (void)state;
    script_bind(&script);
    struct script_step steps[] = {
        {redirect(), SCRIPT_CLOSE},
        {CREATED, SCRIPT_CLOSE},
        {"", SCRIPT_RESET},
        {EXCEPTION("404 Not Found", "FileNotFoundException", "temp"), SCRIPT_CLOSE},
        {EXCEPTION("404 Not Found", "FileNotFoundException", "temp"), SCRIPT_CLOSE},
        {STATUS("FILE", "2"), SCRIPT_CLOSE}};
    script_run(&script, steps, 6);
    struct mst_blob *blob = open_nodes("");
    assert_int_equal(mst_blob_put(blob, "k", xy, 0, soon(), NULL), 0);
    mst_blob_close(blob);
    script_stop(&script);
    assert_int_equal(script.served, 6);
}

static void a_put_that_is_late_leaves_nothing(void **state)
{
    (void)state;
    script_bind(&script);
    struct script_step steps[] = {{redirect(), SCRIPT_CLOSE},
                                  {"", SCRIPT_STALL},
                                  {"", SCRIPT_RESET},
                                  {TRUTH("true"), SCRIPT_CLOSE}};
    script_run(&script, steps, 4);
    struct mst_blob *blob = open_nodes("");
    assert_int_equal(mst_blob_put(blob, "k", xy, 0, mst_deadline_ms(300), NULL), -ETIMEDOUT);
    mst_blob_close(blob);
    script_stop(&script);
    assert_int_equal(script.served, 4);
    assert_true(asked(3, "DELETE /webhdfs/v1/pre/.muster-put-"));
}

static void a_put_needs_a_data_node(void **state)
{
    (void)state;
    const char *nowhere = "HTTP/1.1 307 Temporary\r\nConnection: close\r\n\r\n";
    struct mst_err err;
    int rc = put(STEPS({nowhere, SCRIPT_CLOSE}, {TRUTH("false"), SCRIPT_CLOSE}), 2, 0, &err);
    assert_int_equal(rc, -EBADMSG);
}

static int note_key(void *arg, const char *key, const struct mst_blob_info *info)
{
    char *keys = arg;
    size_t used = strlen(keys);
    snprintf(keys + used, 256 - used, "%s=%s ", key, info->version);
    return 0;
}

#define ENTRY(name, type)                                                                          \
    "{\"pathSuffix\":\"" name "\",\"type\":\"" type "\",\"length\":3,\"modificationTime\":4}"
#define LIST(entries) REPLY("200 OK", "{\"FileStatuses\":{\"FileStatus\":[" entries "]}}")

static void lists_folders_in_byte_order(void **state)
{
    (void)state;
    char keys[256] = "";
    const char *top = LIST(ENTRY("a", "DIRECTORY") "," ENTRY("a.b", "FILE") "," ENTRY(
        ".muster-put-1", "FILE") "," ENTRY("b", "DIRECTORY"));
    script_start(&script,
                 STEPS({top, SCRIPT_CLOSE},
                       {EXCEPTION("404 Not Found", "FileNotFoundException", "gone"), SCRIPT_CLOSE},
                       {LIST(ENTRY("x", "FILE")), SCRIPT_CLOSE}),
                 3);
    struct mst_blob *blob = open_nodes("");
    assert_int_equal(mst_blob_list(blob, "", note_key, keys, soon(), NULL), 0);
    mst_blob_close(blob);
    script_stop(&script);
    assert_string_equal(keys, "a.b=3-4 a/x=3-4 ");
}

static void lists_without_what_is_hidden(void **state)
{
    (void)state;
    char keys[256] = "", uri[64];
    const char *top = LIST(ENTRY(".a", "DIRECTORY") "," ENTRY("_SUCCESS", "FILE") "," ENTRY(
        "b_", "FILE") "," ENTRY(".muster-put-1", "FILE"));
    script_start(&script, STEPS({top, SCRIPT_CLOSE}), 1);
    snprintf(uri, sizeof uri, "webhdfs://127.0.0.1:%u/_base/", script.port);
    struct mst_blob *blob;
    assert_int_equal(mst_blob_open(uri, &(struct mst_blob_opts){.skip_hidden = true}, &blob, NULL),
                     0);
    assert_int_equal(mst_blob_list(blob, "", note_key, keys, soon(), NULL), 0);
    assert_string_equal(keys, "b_=3-4 ");
    assert_int_equal(mst_blob_hidden_count(blob), 2);
    mst_blob_close(blob);
    script_stop(&script);
}

/* Opens the service of two name nodes, which have these ports. */
static struct mst_blob *open_service(uint16_t first, uint16_t second)
{
    char folder[] = "/tmp/muster-hadoop-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/hdfs-site.xml", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "<configuration><property><name>dfs.nameservices</name><value>ns</value></property>"
            "<property><name>dfs.ha.namenodes.ns</name><value>a, b</value></property>"
            "<property><name>dfs.namenode.http-address.ns.a</name><value>127.0.0.1:%u</value>"
            "</property><property><name>dfs.namenode.http-address.ns.b</name>"
            "<value>127.0.0.1:%u</value></property></configuration>",
            first, second);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(setenv("HADOOP_CONF_DIR", folder, 1), 0);
    const struct mst_blob_opts opts = {.fail_fast = true}; /* the impatient must find them too */
    struct mst_blob *blob = NULL;
    assert_int_equal(mst_blob_open("hdfs://ns/", &opts, &blob, NULL), 0);
    assert_int_equal(unlink(path) | rmdir(folder), 0);
    assert_int_equal(unsetenv("HADOOP_CONF_DIR"), 0);
    return blob;
}

/* A port that nobody listens at. */
static uint16_t free_port(void)
{
    struct http_script gone;
    script_start(&gone, NULL, 0);
    script_stop(&gone);
    return gone.port;
}

/* Two name nodes of one service, of which the first is gone and the second is not. */
static void finds_the_active_node(void **state)
{
    (void)state;
    script_start(&script, STEPS({STATUS("FILE", "7"), SCRIPT_CLOSE}), 1);
    struct mst_blob *blob = open_service(free_port(), script.port);
    struct mst_blob_info info;
    assert_int_equal(mst_blob_stat(blob, "k", &info, soon(), NULL), 0);
    assert_int_equal(info.size_bytes, 7);
    mst_blob_close(blob);
    script_stop(&script);
    assert_int_equal(mst_blob_open("hdfs://ns/", NULL, &blob, NULL), -EINVAL);
}

/* A data node that is gone is no reason to leave the name node that named it. */
static void stays_with_the_active_node(void **state)
{
    (void)state;
    char data[4], lost[256];
    const struct mst_blob_read read = {.key = "k", .data = data, .size_bytes = sizeof data};
    snprintf(lost, sizeof lost,
             REPLY("307 Temporary Redirect\r\nLocation: http://127.0.0.1:%u/dn", ""), free_port());
    script_bind(&script);
    const struct script_step steps[] = {
        {lost, SCRIPT_CLOSE},       {DATA, SCRIPT_CLOSE},    {lost, SCRIPT_CLOSE},
        {redirect(), SCRIPT_CLOSE}, {CREATED, SCRIPT_CLOSE}, {REPLY("200 OK", ""), SCRIPT_CLOSE}};
    script_run(&script, steps, 6);
    struct http_script standby;
    script_start(&standby,
                 STEPS({EXCEPTION("403 Forbidden", "StandbyException", "not me"), SCRIPT_CLOSE}),
                 1);
    struct mst_blob *blob = open_service(script.port, standby.port);
    assert_int_equal(mst_blob_submit(blob, &read, 1), 1);
    struct mst_blob_done done;
    assert_int_equal(mst_blob_reap(blob, &done, 1, 1, soon()), 1);
    assert_int_equal(done.result, 4);
    assert_int_equal(mst_blob_put(blob, "k", xy, 0, soon(), NULL), 0);
    mst_blob_close(blob);
    script_stop(&standby);
    script_stop(&script);
    assert_int_equal(standby.served, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_can),
        cmocka_unit_test(reads_the_version_it_means),
        cmocka_unit_test(tries_again),
        cmocka_unit_test(knows_what_stays),
        cmocka_unit_test(puts_and_renames),
        cmocka_unit_test(does_not_replace),
        cmocka_unit_test(a_lost_answer_to_a_rename_is_no_failure),
        cmocka_unit_test(a_put_that_is_late_leaves_nothing),
        cmocka_unit_test(a_put_needs_a_data_node),
        cmocka_unit_test(lists_folders_in_byte_order),
        cmocka_unit_test(lists_without_what_is_hidden),
        cmocka_unit_test(finds_the_active_node),
        cmocka_unit_test(stays_with_the_active_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
