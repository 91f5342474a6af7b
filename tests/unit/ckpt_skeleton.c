/* The file that libhdf5 lays out: tensors own their pages, and other tools read their values. */
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/skeleton.h"

#include <errno.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/wait.h>

#define MANY 600

/* Kills the process as soon as libhdf5 has made its file. */
static bool kill_on_create;
hid_t __real_H5Fcreate(const char *name, unsigned flags, hid_t create_plist, hid_t access_plist);
hid_t __wrap_H5Fcreate(const char *name, unsigned flags, hid_t create_plist, hid_t access_plist);
hid_t __wrap_H5Fcreate(const char *name, unsigned flags, hid_t create_plist, hid_t access_plist)
{
    hid_t file = __real_H5Fcreate(name, flags, create_plist, access_plist);
    if (kill_on_create)
        (void)kill(getpid(), SIGKILL);
    return file;
}

struct file {
    struct layout_tensor tensors[MANY];
    struct layout_part parts[MANY];
    size_t count;
    struct skeleton skeleton;
    uint8_t *image;
};

static void add(struct file *file, const char *name, enum mst_dtype dtype, uint32_t dim_count,
                const uint64_t *shape)
{
    struct layout_tensor *tensor = &file->tensors[file->count];
    struct layout_part *part = &file->parts[file->count];
    assert_int_equal(layout_tensor_init(tensor, name, dtype, dim_count, shape, NULL), 0);
    *part = (struct layout_part){.tensor = (uint32_t)file->count++,
                                 .row_count = tensor->row_count,
                                 .size_bytes = tensor->row_count * tensor->row_bytes};
    part->block_count = layout_block_count(part->size_bytes);
}

static int create(struct file *file, uint32_t rank, uint32_t world_size, struct mst_err *err)
{
    const struct skeleton_plan plan = {.tensors = file->tensors,
                                       .parts = file->parts,
                                       .part_count = file->count,
                                       .rank = rank,
                                       .world_size = world_size};
    return skeleton_create(&plan, &file->skeleton, err);
}

static void make(struct file *file, uint64_t step)
{
    struct mst_cspan cursor = {.data = "abc", .size_bytes = 3};
    struct mst_err err = {0};
    int rc = create(file, 1, 4, &err);
    if (rc < 0)
        print_error("%s\n", err.text);
    assert_int_equal(rc, 0);
    file->image = calloc(1, file->skeleton.size_bytes);
    assert_non_null(file->image);
    skeleton_install(&file->skeleton, file->image, step, cursor);
}

static void drop(struct file *file)
{
    skeleton_fini(&file->skeleton);
    free(file->image);
    file->image = NULL;
}

static void make_many(struct file *file)
{
    memset(file, 0, sizeof *file);
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t shape[2] = {1 + i * 37 % 200, 1 + i * 13 % 150};
        char name[64];
        snprintf(name, sizeof name, "layer%d/block/weight%d", (int)(i / 10), (int)i);
        add(file, name, MST_F32, 2, shape);
    }
    make(file, 5);
}

static uint64_t round_up(uint64_t offset)
{
    return (offset + SKELETON_PAGE_BYTES - 1) / SKELETON_PAGE_BYTES * SKELETON_PAGE_BYTES;
}

static void test_no_metadata_in_tensor_pages(void **state)
{
    static struct file file;
    (void)state;
    make_many(&file);
    assert_int_equal(file.skeleton.size_bytes % SKELETON_PAGE_BYTES, 0);
    for (size_t i = 0; i < file.count; i++) {
        const struct layout_part *part = &file.parts[i];
        uint64_t first = part->offset / SKELETON_PAGE_BYTES * SKELETON_PAGE_BYTES;
        uint64_t end = round_up(part->offset + part->size_bytes);
        assert_true(part->size_bytes < SKELETON_PAGE_BYTES || part->offset == first);
        assert_true(end <= file.skeleton.size_bytes);
        assert_true(i == 0 || part->offset >= part[-1].offset + part[-1].size_bytes);
        for (size_t e = 0; e < file.skeleton.extent_count; e++) {
            const struct skeleton_extent *extent = &file.skeleton.extents[e];
            assert_true(extent->offset >= end || extent->offset + extent->size_bytes <= first);
        }
    }
    drop(&file);
}

/* libhdf5 1.10 stamps the root group with the time, whatever its property list says. */
#define ROOT_GROUP_END 128

static void test_same_bytes_each_time(void **state)
{
    static struct file a, b;
    (void)state;
    make_many(&a);
    make_many(&b);
    assert_int_equal(a.skeleton.size_bytes, b.skeleton.size_bytes);
    assert_memory_equal(a.image + ROOT_GROUP_END, b.image + ROOT_GROUP_END,
                        a.skeleton.size_bytes - ROOT_GROUP_END);
    drop(&a);
    drop(&b);
}

static void write_image(const struct file *file, char path[512])
{
    snprintf(path, 512, "%s/x.h5", fixture_root);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(file->image, 1, file->skeleton.size_bytes, out),
                     file->skeleton.size_bytes);
    fclose(out);
}

static struct layout_part *part_of(struct file *file, uint32_t tensor)
{
    struct layout_part *part = file->parts;
    while (part->tensor != tensor)
        part++;
    return part;
}

/* 1.5 and -2 in each small float, as libhdf5 converts them; of E4M3 it sees the codes. */
static void test_small_floats(void **state)
{
    static const struct {
        const char *name;
        enum mst_dtype dtype;
        uint8_t bytes[4];
        float values[2];
    } cases[] = {{"f16", MST_F16, {0x00, 0x3e, 0x00, 0xc0}, {1.5F, -2.0F}},
                 {"bf16", MST_BF16, {0xc0, 0x3f, 0x00, 0xc0}, {1.5F, -2.0F}},
                 {"e4m3", MST_F8E4M3, {0x3c, 0xc0}, {0x3c, 0xc0}},
                 {"e5m2", MST_F8E5M2, {0x3e, 0xc0}, {1.5F, -2.0F}}};
    static struct file file;
    uint64_t shape[1] = {2};
    (void)state;
    memset(&file, 0, sizeof file);
    for (size_t i = 0; i < 4; i++)
        add(&file, cases[i].name, cases[i].dtype, 1, shape);
    make(&file, 1);
    for (uint32_t i = 0; i < 4; i++)
        memcpy(file.image + part_of(&file, i)->offset, cases[i].bytes,
               part_of(&file, i)->size_bytes);
    char path[512];
    write_image(&file, path);
    hid_t opened = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(opened >= 0);
    for (size_t i = 0; i < 4; i++) {
        hid_t dataset = H5Dopen2(opened, cases[i].name, H5P_DEFAULT);
        float values[2] = {0};
        assert_true(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
        assert_memory_equal(values, cases[i].values, sizeof values);
        H5Dclose(dataset);
    }
    H5Fclose(opened);
    drop(&file);
}

static void test_tables(void **state)
{
    static struct file file;
    (void)state;
    memset(&file, 0, sizeof file);
    add(&file, "scalar", MST_F64, 0, NULL);
    make(&file, 77);
    char path[512];
    write_image(&file, path);
    hid_t opened = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    uint64_t step = 0;
    hid_t dataset = H5Dopen2(opened, "muster/step", H5P_DEFAULT);
    assert_true(H5Dread(dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &step) >= 0);
    H5Dclose(dataset);
    uint64_t cursor_bytes = 0;
    dataset = H5Dopen2(opened, "muster/cursor_bytes", H5P_DEFAULT);
    assert_true(H5Dread(dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &cursor_bytes) >=
                0);
    H5Dclose(dataset);
    uint8_t cursor[4096];
    dataset = H5Dopen2(opened, "muster/cursor", H5P_DEFAULT);
    assert_true(H5Dread(dataset, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, cursor) >= 0);
    H5Dclose(dataset);
    H5Fclose(opened);
    assert_int_equal(step, 77);
    assert_int_equal(cursor_bytes, 3);
    assert_memory_equal(cursor, "abc\0", 4);
    drop(&file);
}

static void test_name_is_group(void **state)
{
    static struct file file;
    uint64_t shape[1] = {2};
    (void)state;
    memset(&file, 0, sizeof file);
    add(&file, "a", MST_F32, 1, shape);
    add(&file, "a/b", MST_F32, 1, shape);
    struct mst_err err = {0};
    assert_int_equal(create(&file, 0, 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "a/b"));
}

/* Files in `folder` that came to be since `since` and are named as ours are. */
static int count_ours(const char *folder, time_t since)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int count = 0;
    while (dir && (entry = readdir(dir))) {
        struct stat st;
        if (strncmp(entry->d_name, "mst-skeleton", 12) == 0 &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            count += st.st_mtime >= since;
    }
    if (dir)
        closedir(dir);
    return count;
}

static void test_killed_it_leaves_nothing(void **state)
{
    static struct file file;
    uint64_t shape[1] = {2};
    time_t start = time(NULL);
    int status = 0;
    pid_t pid;
    (void)state;
    memset(&file, 0, sizeof file);
    add(&file, "a", MST_F32, 1, shape);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        kill_on_create = true;
        struct mst_err err = {0};
        (void)create(&file, 0, 1, &err); /* it does not come back */
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(count_ours("/dev/shm", start), 0);
    assert_int_equal(count_ours("/tmp", start), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_no_metadata_in_tensor_pages),
        CASE(test_same_bytes_each_time),
        CASE(test_small_floats),
        CASE(test_tables),
        CASE(test_name_is_group),
        CASE(test_killed_it_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
