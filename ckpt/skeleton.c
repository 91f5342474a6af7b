#include "muster/ckpt/skeleton.h"

#include "muster/ckpt/h5type.h"
#include "muster/ckpt/manifest.h"
#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "tables are patched as they lie in memory");

/* libhdf5 is often built without thread safety. */
static pthread_mutex_t hdf5_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t hdf5_once = PTHREAD_ONCE_INIT;

static void lock_hdf5(void)
{
    pthread_mutex_lock(&hdf5_lock);
}

static void unlock_hdf5(void)
{
    pthread_mutex_unlock(&hdf5_lock);
}

/* A child that was forked while libhdf5 was at work would wait for libhdf5's own lock when it
 * exits, and the thread that holds that lock does not exist there. */
static void guard_forks(void)
{
    (void)pthread_atfork(lock_hdf5, unlock_hdf5, unlock_hdf5); /* no memory: as likely as before */
}

/* While a skeleton is made: its plan, and the open handles. */
struct maker {
    const struct skeleton_plan *plan;
    struct skeleton *skeleton;
    hid_t file, group_plist, dataset_plist;
    int fd; /* of the same file */
};

/* What a dataset or an attribute holds. */
struct content {
    hid_t type;
    uint32_t dim_count; /* 0 = a scalar */
    hsize_t dims[MST_TENSOR_DIMS_MAX];
};

/* ---- an HDF5 file in memory ------------------------------------------------------------------ */

static hid_t file_create_plist(void)
{
    hid_t plist = H5Pcreate(H5P_FILE_CREATE);
    /* Pages keep metadata and raw data apart: no page of a tensor holds anything of HDF5's. */
    if (plist < 0 || H5Pset_file_space_strategy(plist, H5F_FSPACE_STRATEGY_PAGE, 0, 1) < 0 ||
        H5Pset_file_space_page_size(plist, SKELETON_PAGE_BYTES) < 0 ||
        H5Pset_obj_track_times(plist, 0) < 0) {
        H5Pclose(plist);
        return -1;
    }
    return plist;
}

static hid_t file_access_plist(void)
{
    hid_t plist = H5Pcreate(H5P_FILE_ACCESS);
    /* stdio is the one driver that does not ask what name lies behind /proc/self/fd. */
    if (plist < 0 || H5Pset_fapl_stdio(plist) < 0 ||
        H5Pset_libver_bounds(plist, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0) {
        H5Pclose(plist);
        return -1;
    }
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(plist, 0, 1); /* only a wish: the file is ours alone */
#endif
    return plist;
}

static hid_t dataset_create_plist(void)
{
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    if (plist < 0 || H5Pset_layout(plist, H5D_CONTIGUOUS) < 0 ||
        H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY) < 0 ||
        H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER) < 0 || H5Pset_obj_track_times(plist, 0) < 0) {
        H5Pclose(plist);
        return -1;
    }
    return plist;
}

static hid_t group_create_plist(void)
{
    hid_t plist = H5Pcreate(H5P_GROUP_CREATE);
    if (plist < 0 || H5Pset_obj_track_times(plist, 0) < 0) {
        H5Pclose(plist);
        return -1;
    }
    return plist;
}

static void maker_close(struct maker *maker)
{
    if (maker->dataset_plist >= 0)
        H5Pclose(maker->dataset_plist);
    if (maker->group_plist >= 0)
        H5Pclose(maker->group_plist);
    if (maker->file >= 0)
        H5Fclose(maker->file);
    if (maker->fd >= 0)
        close(maker->fd);
}

/* Creates the file in memory that has no name: whenever the rank is killed, nothing is left. */
static void create_file(struct maker *maker, hid_t create, hid_t access)
{
    maker->fd = memfd_create("mst-skeleton", MFD_CLOEXEC);
    if (maker->fd < 0)
        return;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", maker->fd);
    maker->file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
}

static int maker_open(struct maker *maker, const struct skeleton_plan *plan,
                      struct skeleton *skeleton)
{
    hid_t create = file_create_plist(), access = file_access_plist();
    *maker = (struct maker){.plan = plan,
                            .skeleton = skeleton,
                            .file = -1,
                            .group_plist = group_create_plist(),
                            .dataset_plist = dataset_create_plist(),
                            .fd = -1};
    if (create >= 0 && access >= 0)
        create_file(maker, create, access);
    H5Pclose(create);
    H5Pclose(access);
    return maker->file < 0 || maker->group_plist < 0 || maker->dataset_plist < 0 ? -EIO : 0;
}

/* ---- attributes and datasets ----------------------------------------------------------------- */

/* Makes the groups above `name`; libhdf5's own way of doing so would stamp them with the time. */
static int make_groups(const struct maker *maker, const char *name)
{
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        char path[MST_TENSOR_NAME_MAX + 1];
        snprintf(path, sizeof path, "%.*s", (int)(slash - name), name);
        if (H5Lexists(maker->file, path, H5P_DEFAULT) > 0)
            continue;
        hid_t group = H5Gcreate2(maker->file, path, H5P_DEFAULT, maker->group_plist, H5P_DEFAULT);
        if (group < 0)
            return -EIO;
        H5Gclose(group);
    }
    return 0;
}

static hid_t make_space(const struct content *content)
{
    return content->dim_count ? H5Screate_simple((int)content->dim_count, content->dims, NULL)
                              : H5Screate(H5S_SCALAR);
}

static int put_attribute(hid_t object, const char *name, const struct content *content,
                         const void *value)
{
    hid_t space = make_space(content);
    hid_t attribute = H5Acreate2(object, name, content->type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t rc = attribute < 0 ? -1 : H5Awrite(attribute, content->type, value);
    H5Aclose(attribute);
    H5Sclose(space);
    return rc < 0 ? -EIO : 0;
}

static int put_number(hid_t object, const char *name, uint64_t value)
{
    const struct content content = {.type = H5T_STD_U64LE};
    return put_attribute(object, name, &content, &value);
}

static int put_string(hid_t object, const char *name, const char *value)
{
    const struct content content = {.type = H5Tcopy(H5T_C_S1)};
    int rc = H5Tset_size(content.type, strlen(value) + 1) < 0
                 ? -EIO
                 : put_attribute(object, name, &content, value);
    H5Tclose(content.type);
    return rc;
}

/* Creates a dataset and tells where its bytes will lie. The handle is the caller's to close. */
static int make_dataset(const struct maker *maker, const char *name, const struct content *content,
                        hid_t *ret_dataset, uint64_t *ret_offset)
{
    hid_t space = make_space(content);
    hid_t dataset = -1;
    if (space >= 0 && make_groups(maker, name) == 0)
        dataset = H5Dcreate2(maker->file, name, content->type, space, H5P_DEFAULT,
                             maker->dataset_plist, H5P_DEFAULT);
    H5Sclose(space);
    if (dataset < 0)
        return -EIO;
    haddr_t offset = H5Dget_offset(dataset);
    if (offset == HADDR_UNDEF) {
        H5Dclose(dataset);
        return -EIO;
    }
    *ret_dataset = dataset;
    *ret_offset = offset;
    return 0;
}

/* ---- our own tables -------------------------------------------------------------------------- */

/* One table; the head of the file grows to hold it. */
static int make_table(const struct maker *maker, const char *name, hid_t type, uint64_t count,
                      uint64_t *ret_offset)
{
    const struct content content = {.type = type, .dim_count = count > 1 ? 1 : 0, .dims = {count}};
    hid_t dataset;
    int rc = make_dataset(maker, name, &content, &dataset, ret_offset);
    if (rc < 0)
        return rc;
    H5Dclose(dataset);
    uint64_t end = mst_round_up(*ret_offset + count * H5Tget_size(type), SKELETON_PAGE_BYTES);
    if (end > maker->skeleton->head_bytes)
        maker->skeleton->head_bytes = end;
    return 0;
}

/* Who wrote the file, and how: beside the tables. */
static int describe_file(const struct maker *maker)
{
    hid_t group = H5Gopen2(maker->file, "muster", H5P_DEFAULT);
    if (group < 0)
        return -EIO;
    int rc = put_number(group, "version", 1);
    if (rc == 0)
        rc = put_number(group, "rank", maker->plan->rank);
    if (rc == 0)
        rc = put_number(group, "world_size", maker->plan->world_size);
    if (rc == 0)
        rc = put_number(group, "block_bytes", LAYOUT_BLOCK_BYTES);
    H5Gclose(group);
    return rc;
}

/* Made first, so that they lie at the front. */
static int make_tables(const struct maker *maker)
{
    struct skeleton *skeleton = maker->skeleton;
    uint64_t crc_capacity = skeleton->crc_count < 2 ? 2 : skeleton->crc_count; /* never a scalar */
    int rc = make_table(maker, "muster/step", H5T_STD_U64LE, 1, &skeleton->step_offset);
    if (rc == 0)
        rc = make_table(maker, "muster/cursor_bytes", H5T_STD_U64LE, 1,
                        &skeleton->cursor_bytes_offset);
    if (rc == 0)
        rc = make_table(maker, "muster/cursor", H5T_STD_U8LE, MANIFEST_CURSOR_MAX,
                        &skeleton->cursor_offset);
    if (rc == 0)
        rc = make_table(maker, "muster/crc32c", H5T_STD_U32LE, crc_capacity, &skeleton->crc_offset);
    return rc == 0 ? describe_file(maker) : rc;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static int describe_part(hid_t dataset, const struct layout_tensor *tensor,
                         const struct layout_part *part)
{
    const struct content shape = {
        .type = H5T_STD_U64LE, .dim_count = 1, .dims = {tensor->dim_count}};
    int rc = put_string(dataset, "muster_dtype", mst_dtype_name(tensor->dtype));
    const char *encoding = h5type_encoding(tensor->dtype);
    if (rc == 0 && encoding)
        rc = put_string(dataset, "muster_encoding", encoding);
    if (rc == 0 && tensor->dim_count > 0)
        rc = put_attribute(dataset, "muster_shape", &shape, tensor->shape);
    if (rc == 0)
        rc = put_number(dataset, "muster_row_start", part->row_start);
    if (rc == 0)
        rc = put_number(dataset, "muster_block_first", part->block_first);
    return rc;
}

static int make_part(const struct maker *maker, const struct layout_tensor *tensor,
                     struct layout_part *part)
{
    struct content content = {.type = h5type_create(tensor->dtype),
                              .dim_count = tensor->dim_count,
                              .dims = {part->row_count}};
    for (uint32_t i = 1; i < tensor->dim_count; i++)
        content.dims[i] = tensor->shape[i];
    hid_t dataset;
    int rc = content.type < 0
                 ? -EIO
                 : make_dataset(maker, tensor->name, &content, &dataset, &part->offset);
    H5Tclose(content.type);
    if (rc < 0)
        return rc;
    rc = describe_part(dataset, tensor, part);
    H5Dclose(dataset);
    assert(part->size_bytes < SKELETON_PAGE_BYTES || part->offset % SKELETON_PAGE_BYTES == 0);
    return rc;
}

static int make_file(const struct maker *maker, struct mst_err *err)
{
    if (make_tables(maker) < 0)
        return mst_err_set(err, -EIO, "skeleton: libhdf5 cannot make the tables");
    for (size_t i = 0; i < maker->plan->part_count; i++) {
        struct layout_part *part = &maker->plan->parts[i];
        const struct layout_tensor *tensor = &maker->plan->tensors[part->tensor];
        if (make_part(maker, tensor, part) < 0)
            return mst_err_set(err, -EINVAL, "tensor %.100s: libhdf5 refuses the name",
                               tensor->name);
    }
    return 0;
}

/* ---- what is kept ---------------------------------------------------------------------------- */

/* Appends one run of pages that exist. */
static int keep_extent(struct skeleton *skeleton, int fd, off_t start, off_t end, size_t *total)
{
    size_t size = (size_t)(end - start);
    struct skeleton_extent *extents = realloc(skeleton->extents,
                                              (skeleton->extent_count + 1) * sizeof *extents);
    if (!extents)
        return -ENOMEM;
    skeleton->extents = extents;
    uint8_t *bytes = realloc(skeleton->bytes, *total + size);
    if (!bytes)
        return -ENOMEM;
    skeleton->bytes = bytes;
    if (pread(fd, bytes + *total, size, start) != (ssize_t)size)
        return -EIO;
    extents[skeleton->extent_count++] = (struct skeleton_extent){(uint64_t)start, size, *total};
    *total += size;
    return 0;
}

static int keep_image(struct skeleton *skeleton, int fd)
{
    struct stat st;
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    if (rc < 0)
        return rc;
    skeleton->size_bytes = (uint64_t)st.st_size;
    assert(skeleton->size_bytes % SKELETON_PAGE_BYTES == 0);
    size_t total = 0;
    off_t start = 0;
    while (rc == 0 && (start = lseek(fd, start, SEEK_DATA)) >= 0) {
        off_t end = lseek(fd, start, SEEK_HOLE);
        rc = end < 0 ? -errno : keep_extent(skeleton, fd, start, end, &total);
        start = end;
    }
    if (rc == 0 && errno != ENXIO) /* ENXIO: no data behind `start` */
        rc = -errno;
    return rc;
}

/* Closes the HDF5 file, which completes it, and takes its pages. */
static int finish(struct maker *maker, struct mst_err *err)
{
    int rc = 0;
    if (H5Fclose(maker->file) < 0)
        rc = -EIO;
    maker->file = -1;
    if (rc == 0)
        rc = keep_image(maker->skeleton, maker->fd);
    return rc < 0 ? mst_err_set(err, rc, "skeleton: cannot read its image back") : 0;
}

/* ---- the skeleton ---------------------------------------------------------------------------- */

static int create_locked(const struct skeleton_plan *plan, struct skeleton *skeleton,
                         struct mst_err *err)
{
    assert(mst_lock_is_held(&hdf5_lock));
    struct maker maker;
    int rc = maker_open(&maker, plan, skeleton);
    if (rc < 0)
        mst_err_set(err, rc, "skeleton: libhdf5 cannot make a file in memory");
    else
        rc = make_file(&maker, err);
    if (rc == 0)
        rc = finish(&maker, err);
    maker_close(&maker);
    return rc;
}

/* Whether the sorted parts lie apart, inside the file: a save copies them without a look. */
static bool parts_lie_apart(const struct skeleton_plan *plan, uint64_t file_bytes)
{
    uint64_t end = 0;
    for (size_t i = 0; i < plan->part_count; i++) {
        if (plan->parts[i].offset < end)
            return false;
        end = plan->parts[i].offset + plan->parts[i].size_bytes;
    }
    return end <= file_bytes;
}

int skeleton_create(const struct skeleton_plan *plan, struct skeleton *ret_skeleton,
                    struct mst_err *err)
{
    struct skeleton skeleton = {0};
    for (size_t i = 0; i < plan->part_count; i++)
        skeleton.crc_count += plan->parts[i].block_count;
    int rc;
    pthread_once(&hdf5_once, guard_forks);
    pthread_mutex_lock(&hdf5_lock);
    H5E_BEGIN_TRY
    {
        rc = create_locked(plan, &skeleton, err);
    }
    H5E_END_TRY;
    pthread_mutex_unlock(&hdf5_lock);
    if (rc < 0) {
        skeleton_fini(&skeleton);
        return rc;
    }
    layout_sort_by_offset(plan->parts, plan->part_count);
    assert(parts_lie_apart(plan, skeleton.size_bytes));
    assert(skeleton.crc_offset + skeleton.crc_count * sizeof(uint32_t) <= skeleton.head_bytes &&
           skeleton.head_bytes <= skeleton.size_bytes);
    *ret_skeleton = skeleton;
    return 0;
}

void skeleton_install(const struct skeleton *skeleton, uint8_t *image, uint64_t step,
                      struct mst_cspan cursor)
{
    assert(cursor.size_bytes <= MANIFEST_CURSOR_MAX);
    for (size_t i = 0; i < skeleton->extent_count; i++) {
        const struct skeleton_extent *extent = &skeleton->extents[i];
        memcpy(image + extent->offset, skeleton->bytes + extent->image_at, extent->size_bytes);
    }
    uint64_t cursor_bytes = cursor.size_bytes;
    memcpy(image + skeleton->step_offset, &step, sizeof step);
    memcpy(image + skeleton->cursor_bytes_offset, &cursor_bytes, sizeof cursor_bytes);
    memset(image + skeleton->cursor_offset, 0, MANIFEST_CURSOR_MAX);
    if (cursor.size_bytes > 0)
        memcpy(image + skeleton->cursor_offset, cursor.data, cursor.size_bytes);
}

void skeleton_fini(struct skeleton *skeleton)
{
    free(skeleton->bytes);
    free(skeleton->extents);
    *skeleton = (struct skeleton){0};
}
