#include "muster/core/blob/blob.h"
#include "soon.h"

#include "muster/core/blob/listing.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    struct mst_blob *blob;
};

static int open_place(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    snprintf(place->folder, sizeof place->folder, "/tmp/muster-blob-XXXXXX");
    const struct mst_blob_opts opts = {.depth = 2, .aio = "threads"};
    if (!mkdtemp(place->folder) || mst_blob_open(place->folder, &opts, &place->blob, NULL) < 0)
        return -1;
    *state = place;
    return 0;
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *at)
{
    (void)stat;
    (void)type;
    (void)at;
    return remove(path);
}

static int close_place(void **state)
{
    struct place *place = *state;
    mst_blob_close(place->blob);
    int rc = nftw(place->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(place);
    return rc;
}

static void put(struct place *place, const char *key, const char *text)
{
    assert_int_equal(mst_blob_put(place->blob, key,
                                  (struct mst_cspan){text, strlen(text), MST_MEM_HOST}, 0, soon(),
                                  NULL),
                     0);
}

static int64_t read_key(struct place *place, const char *key, uint64_t offset, char *data,
                        size_t size, const char *version)
{
    const struct mst_blob_read read = {
        .key = key, .offset = offset, .data = data, .size_bytes = size, .version = version};
    memset(data, 0, size);
    assert_int_equal(mst_blob_submit(place->blob, &read, 1), 1);
    struct mst_blob_done done;
    assert_int_equal(mst_blob_reap(place->blob, &done, 1, 1, soon()), 1);
    return done.result;
}

static void keeps_what_is_put(void **state)
{
    struct place *place = *state;
    struct mst_blob_info info, later;
    put(place, "a/b/c", "hello");
    assert_int_equal(mst_blob_stat(place->blob, "a/b/c", &info, soon(), NULL), 0);
    assert_int_equal(info.size_bytes, 5);
    char data[8];
    assert_int_equal(read_key(place, "a/b/c", 0, data, 8, info.version), 5);
    assert_string_equal(data, "hello");
    assert_int_equal(read_key(place, "a/b/c", 1, data, 3, NULL), 3);
    assert_memory_equal(data, "ell", 3);
    assert_int_equal(read_key(place, "a/b/c", 5, data, 3, NULL), 0);
    put(place, "a/b/c", "other");
    assert_int_equal(mst_blob_stat(place->blob, "a/b/c", &later, soon(), NULL), 0);
    assert_string_not_equal(info.version, later.version);
    assert_int_equal(read_key(place, "a/b/c", 0, data, 8, info.version), -ESTALE);
    assert_int_equal(read_key(place, "a/b", 0, data, 8, NULL), -ENOENT);
    assert_int_equal(read_key(place, "a/x", 0, data, 8, NULL), -ENOENT);
    assert_non_null(strstr(mst_blob_error(place->blob), "a/x"));
}

static int count_files(const char *folder)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static void a_new_object_replaces_none(void **state)
{
    struct place *place = *state;
    struct mst_err err;
    assert_int_equal(mst_blob_put(place->blob, "k", (struct mst_cspan){"1", 1, MST_MEM_HOST},
                                  MST_BLOB_NEW, soon(), &err),
                     0);
    assert_int_equal(mst_blob_put(place->blob, "k", (struct mst_cspan){"2", 1, MST_MEM_HOST},
                                  MST_BLOB_NEW, soon(), &err),
                     -EEXIST);
    char data[4];
    assert_int_equal(read_key(place, "k", 0, data, 4, NULL), 1);
    assert_string_equal(data, "1");
    assert_int_equal(count_files(place->folder), 1); /* nothing half-made is left */
    assert_int_equal(mst_blob_remove(place->blob, "k", soon(), &err), 0);
    assert_int_equal(mst_blob_remove(place->blob, "k", soon(), &err), 0);
    assert_int_equal(mst_blob_stat(place->blob, "k", NULL, soon(), &err), -ENOENT);
}

static void a_put_that_fails_leaves_nothing(void **state)
{
    struct place *place = *state;
    put(place, "file", "x");
    struct mst_err err;
    assert_int_equal(mst_blob_put(place->blob, "file/k", (struct mst_cspan){"1", 1, MST_MEM_HOST},
                                  0, soon(), &err),
                     -ENOTDIR);
    put(place, "folder/k", "x");
    assert_int_equal(mst_blob_put(place->blob, "folder", (struct mst_cspan){"1", 1, MST_MEM_HOST},
                                  0, soon(), &err),
                     -EISDIR);
    assert_int_equal(count_files(place->folder), 2);
    assert_int_equal(mst_blob_remove(place->blob, "folder", soon(), &err), -EISDIR);
    assert_int_equal(mst_blob_put_file(place->blob, "k", "/nonexistent", 0, soon(), &err), -ENOENT);
}

static void puts_files(void **state)
{
    struct place *place = *state;
    char path[128], data[4];
    snprintf(path, sizeof path, "%s/source", place->folder);
    size_t size = (1 << 16) + 3;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 'z', size);
    memcpy(bytes + size - 3, "end", 3);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(bytes);
    assert_int_equal(mst_blob_put_file(place->blob, "copy", path, 0, soon(), NULL), 0);
    assert_int_equal(read_key(place, "copy", size - 3, data, 4, NULL), 3);
    assert_string_equal(data, "end");
}

static int note(void *arg, const char *key, const struct mst_blob_info *info)
{
    char *keys = arg;
    size_t used = strlen(keys);
    snprintf(keys + used, 256 - used, "%s=%llu ", key, (unsigned long long)info->size_bytes);
    return strcmp(key, "stop") == 0 ? 7 : 0;
}

static void lists_in_byte_order(void **state)
{
    struct place *place = *state;
    char keys[256] = "";
    const char *const names[] = {"a/x", "a.b", "a/y/z", "a0", "b", ".muster-put-left"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put(place, names[i], names[i]);
    assert_int_equal(mst_blob_list(place->blob, "", note, keys, soon(), NULL), 0);
    assert_string_equal(keys, "a.b=3 a/x=3 a/y/z=5 a0=2 b=1 ");
    keys[0] = '\0';
    assert_int_equal(mst_blob_list(place->blob, "a//", note, keys, soon(), NULL), 0);
    assert_string_equal(keys, "a/x=3 a/y/z=5 ");
    keys[0] = '\0';
    assert_int_equal(mst_blob_list(place->blob, "none", note, keys, soon(), NULL), 0);
    assert_string_equal(keys, "");
    put(place, "stop", "");
    put(place, "tail", "");
    assert_int_equal(mst_blob_list(place->blob, "", note, keys, soon(), NULL), 7);
    assert_null(strstr(keys, "tail"));
}

/* Where the URI itself lies below such a name, that counts for nothing. */
static void lists_without_what_is_hidden(void **state)
{
    struct place *place = *state;
    char keys[256] = "", uri[sizeof place->folder + 16];
    const char *const names[] = {"_top/x",        "_top/.hidden",     "_top/_temporary/0/x",
                                 "_top/a/.b/c/d", "_top/a/c_.d/_e.f", "_top/a/c_.d/g"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put(place, names[i], names[i]);
    snprintf(uri, sizeof uri, "%s/_top/", place->folder);
    struct mst_blob *blob;
    assert_int_equal(mst_blob_open(uri, &(struct mst_blob_opts){.skip_hidden = true}, &blob, NULL),
                     0);
    assert_int_equal(mst_blob_list(blob, "", note, keys, soon(), NULL), 0);
    assert_string_equal(keys, "a/c_.d/g=13 x=6 ");
    assert_int_equal(mst_blob_hidden_count(blob), 4);
    mst_blob_close(blob);
}

/* A dataset without the file behind it would be another one, and nobody would know. */
static void a_link_that_leads_nowhere_is_named(void **state)
{
    struct place *place = *state;
    static const char *const targets[] = {"absent", "link"};
    char path[sizeof place->folder + 16], keys[256];
    put(place, "d/a", "a");
    snprintf(path, sizeof path, "%s/d/link", place->folder);
    for (size_t i = 0; i < 2; i++) {
        struct mst_err err = {0};
        assert_int_equal(symlink(targets[i], path), 0);
        keys[0] = '\0';
        assert_int_equal(mst_blob_list(place->blob, "d/", note, keys, soon(), &err),
                         i ? -ELOOP : -ENOENT);
        assert_non_null(strstr(err.text, path));
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(mst_blob_list(place->blob, "d/", note, keys, soon(), NULL), 0);
    assert_string_equal(keys, "d/a=1 ");
}

static void takes_depth_reads_at_a_time(void **state)
{
    struct place *place = *state;
    char data[3][4] = {{0}};
    put(place, "k", "0123456789");
    struct mst_blob_read reads[3];
    for (size_t i = 0; i < 3; i++)
        reads[i] = (struct mst_blob_read){
            .key = "k", .offset = i, .data = data[i], .size_bytes = 3, .user = &reads[i]};
    assert_int_equal(mst_blob_submit(place->blob, reads, 3), 2);
    struct mst_blob_done done[3];
    assert_int_equal(mst_blob_reap(place->blob, done, 3, 3, soon()), 2);
    assert_int_equal(mst_blob_reap(place->blob, done, 3, 1, soon()), 0); /* none in flight */
    assert_string_equal(data[1], "123");
}

static void keys_stay_inside(void **state)
{
    struct place *place = *state;
    const char *const bad[] = {"/a", "..", "../a", "a/..", "a/../b", ".", "a/./b"};
    struct mst_err err;
    char data[1];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct mst_blob_read read = {.key = bad[i], .data = data, .size_bytes = 1};
        assert_int_equal(mst_blob_put(place->blob, bad[i], (struct mst_cspan){0}, 0, soon(), &err),
                         -EINVAL);
        assert_int_equal(mst_blob_submit(place->blob, &read, 1), -EINVAL);
    }
    put(place, "..a/b..", "");
    char long_key[2000];
    memset(long_key, 'k', sizeof long_key);
    long_key[1024] = '\0';
    assert_int_equal(mst_blob_stat(place->blob, long_key, NULL, soon(), &err), -EINVAL);
}

static void names_the_schemes(void **state)
{
    (void)state;
    struct mst_blob *blob;
    struct mst_err err;
    assert_int_equal(mst_blob_open("gopher://x/y", NULL, &blob, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "s3"));
    assert_int_equal(mst_blob_open("", NULL, &blob, &err), -EINVAL);
    const char *const bad[] = {"file://host/x", "http:/x", "s3:/x", "webhdfs:/x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mst_blob_open(bad[i], NULL, &blob, &err), -EINVAL);
    mst_blob_close(NULL);
}

static void a_read_of_hdfs_brings_more(void **state)
{
    (void)state;
    uint64_t usual = mst_blob_bulk_bytes("s3://bucket/key");
    assert_in_range(usual, 1, SIZE_MAX);
    assert_int_equal(mst_blob_bulk_bytes("http://host/key"), usual);
    assert_int_equal(mst_blob_bulk_bytes("gopher://x/y"), usual);
    assert_int_equal(mst_blob_bulk_bytes(""), usual);
    assert_int_equal(mst_blob_bulk_bytes("hdfs://host/key"), 2 * usual);
    assert_int_equal(mst_blob_bulk_bytes("webhdfs://host:1/key"), 2 * usual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_is_put, open_place, close_place),
        cmocka_unit_test_setup_teardown(a_new_object_replaces_none, open_place, close_place),
        cmocka_unit_test_setup_teardown(a_put_that_fails_leaves_nothing, open_place, close_place),
        cmocka_unit_test_setup_teardown(puts_files, open_place, close_place),
        cmocka_unit_test_setup_teardown(lists_in_byte_order, open_place, close_place),
        cmocka_unit_test_setup_teardown(lists_without_what_is_hidden, open_place, close_place),
        cmocka_unit_test_setup_teardown(a_link_that_leads_nowhere_is_named, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(takes_depth_reads_at_a_time, open_place, close_place),
        cmocka_unit_test_setup_teardown(keys_stay_inside, open_place, close_place),
        cmocka_unit_test(names_the_schemes),
        cmocka_unit_test(a_read_of_hdfs_brings_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
