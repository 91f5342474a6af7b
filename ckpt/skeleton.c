#include "muster/ckpt/skeleton.h"

#include "muster/ckpt/h5type.h"
#include "muster/ckpt/manifest.h"
#include "muster/core/err.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <pthread.h>
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

/* The open handles while a skeleton is made. */
struct maker {
    hid_t file, group_plist, dataset_plist;
    int fd; /* of the same file */
    struct skeleton *skeleton;
};

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
    char path[32];
    maker->fd = memfd_create("mst-skeleton", MFD_CLOEXEC);
    if (maker->fd < 0)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", maker->fd);
    maker->file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
}

static int maker_open(struct maker *maker, struct skeleton *skeleton)
{
    hid_t create = file_create_plist(), access = file_access_plist();
    *maker = (struct maker){.file = -1,
                            .group_plist = group_create_plist(),
                            .dataset_plist = dataset_create_plist(),
                            .fd = -1,
                            .skeleton = skeleton};
    if (create >= 0 && access >= 0)
        create_file(maker, create, access);
    H5Pclose(create);
    H5Pclose(access);
    return maker->file < 0 || maker->group_plist < 0 || maker->dataset_plist < 0 ? -EIO : 0;
}

/* Makes the groups above `name`; libhdf5's own way of doing so would stamp them with the time. */
static int make_groups(const struct maker *maker, const char *name)
{
    char path[MST_TENSOR_NAME_MAX + 1];
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        hid_t group;
        snprintf(path, sizeof path, "%.*s", (int)(slash - name), name);
        if (H5Lexists(maker->file, path, H5P_DEFAULT) > 0)
            continue;
        group = H5Gcreate2(maker->file, path, H5P_DEFAULT, maker->group_plist, H5P_DEFAULT);
        if (group < 0)
            return -EIO;
        H5Gclose(group);
    }
    return 0;
}

/* An attribute of `dim_count` (0 = a scalar) dimensions. */
static int put_attribute(hid_t object, const char *name, hid_t type, uint32_t dim_count,
                         const hsize_t *dims, const void *value)
{
    hid_t space = dim_count ? H5Screate_simple((int)dim_count, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t r = attribute < 0 ? -1 : H5Awrite(attribute, type, value);
    H5Aclose(attribute);
    H5Sclose(space);
    return r < 0 ? -EIO : 0;
}

static int put_number(hid_t object, const char *name, uint64_t value)
{
    return put_attribute(object, name, H5T_STD_U64LE, 0, NULL, &value);
}

static int put_string(hid_t object, const char *name, const char *value)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    int r = H5Tset_size(type, strlen(value) + 1) < 0
                ? -EIO
                : put_attribute(object, name, type, 0, NULL, value);
    H5Tclose(type);
    return r;
}

/* Creates a dataset and tells where its bytes will lie. The handle is the caller's to close. */
static int make_dataset(const struct maker *maker, const char *name, hid_t type, uint32_t dim_count,
                        const hsize_t *dims, hid_t *ret_dataset, uint64_t *ret_offset)
{
    hid_t space = dim_count ? H5Screate_simple((int)dim_count, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t dataset = -1;
    haddr_t offset = HADDR_UNDEF;
    if (space >= 0 && make_groups(maker, name) == 0)
        dataset = H5Dcreate2(maker->file, name, type, space, H5P_DEFAULT, maker->dataset_plist,
                             H5P_DEFAULT);
    H5Sclose(space);
    if (dataset < 0)
        return -EIO;
    offset = H5Dget_offset(dataset);
    if (offset == HADDR_UNDEF) {
        H5Dclose(dataset);
        return -EIO;
    }
    *ret_dataset = dataset;
    *ret_offset = offset;
    return 0;
}

/* One of our own tables; the head of the file grows to hold it. */
static int make_table(const struct maker *maker, const char *name, hid_t type, uint64_t count,
                      uint64_t *ret_offset)
{
    hsize_t dims = count;
    uint64_t end;
    hid_t dataset;
    int r = make_dataset(maker, name, type, count > 1 ? 1 : 0, &dims, &dataset, ret_offset);
    if (r < 0)
        return r;
    end = *ret_offset + count * H5Tget_size(type);
    H5Dclose(dataset);
    end = (end + SKELETON_PAGE_BYTES - 1) / SKELETON_PAGE_BYTES * SKELETON_PAGE_BYTES;
    if (end > maker->skeleton->head_bytes)
        maker->skeleton->head_bytes = end;
    return 0;
}

/* Made first, so that they lie at the front. */
static int make_tables(const struct maker *maker, uint32_t rank, uint32_t world_size)
{
    struct skeleton *skeleton = maker->skeleton;
    uint64_t crc_capacity = skeleton->crc_count < 2 ? 2 : skeleton->crc_count; /* never a scalar */
    hid_t group;
    int r;
    if (make_table(maker, "muster/step", H5T_STD_U64LE, 1, &skeleton->step_offset) < 0 ||
        make_table(maker, "muster/cursor_bytes", H5T_STD_U64LE, 1, &skeleton->cursor_bytes_offset) <
            0 ||
        make_table(maker, "muster/cursor", H5T_STD_U8LE, MANIFEST_CURSOR_MAX,
                   &skeleton->cursor_offset) < 0 ||
        make_table(maker, "muster/crc32c", H5T_STD_U32LE, crc_capacity, &skeleton->crc_offset) < 0)
        return -EIO;
    group = H5Gopen2(maker->file, "muster", H5P_DEFAULT);
    if (group < 0)
        return -EIO;
    r = put_number(group, "version", 1);
    if (r == 0)
        r = put_number(group, "rank", rank);
    if (r == 0)
        r = put_number(group, "world_size", world_size);
    if (r == 0)
        r = put_number(group, "block_bytes", LAYOUT_BLOCK_BYTES);
    H5Gclose(group);
    return r;
}

static int describe_part(hid_t dataset, const struct layout_tensor *tensor,
                         const struct layout_part *part)
{
    hsize_t dim_count = tensor->dim_count;
    int r = put_string(dataset, "muster_dtype", mst_dtype_name(tensor->dtype));
    if (r == 0 && dim_count > 0)
        r = put_attribute(dataset, "muster_shape", H5T_STD_U64LE, 1, &dim_count, tensor->shape);
    if (r == 0)
        r = put_number(dataset, "muster_row_start", part->row_start);
    if (r == 0)
        r = put_number(dataset, "muster_block_first", part->block_first);
    return r;
}

static int make_part(const struct maker *maker, const struct layout_tensor *tensor,
                     struct layout_part *part)
{
    hsize_t dims[MST_TENSOR_DIMS_MAX] = {part->row_count};
    hid_t type = h5type_create(tensor->dtype), dataset;
    int r;
    for (uint32_t i = 1; i < tensor->dim_count; i++)
        dims[i] = tensor->shape[i];
    r = type < 0 ? -EIO
                 : make_dataset(maker, tensor->name, type, tensor->dim_count, dims, &dataset,
                                &part->offset);
    H5Tclose(type);
    if (r < 0)
        return r;
    r = describe_part(dataset, tensor, part);
    H5Dclose(dataset);
    assert(part->size_bytes < SKELETON_PAGE_BYTES || part->offset % SKELETON_PAGE_BYTES == 0);
    return r;
}

static int make_file(const struct maker *maker, const struct layout_tensor *tensors,
                     struct layout_part *parts, size_t part_count, uint32_t rank,
                     uint32_t world_size, struct mst_err *err)
{
    if (make_tables(maker, rank, world_size) < 0)
        return mst_err_set(err, -EIO, "skeleton: libhdf5 cannot make the tables");
    for (size_t i = 0; i < part_count; i++)
        if (make_part(maker, &tensors[parts[i].tensor], &parts[i]) < 0)
            return mst_err_set(err, -EINVAL, "tensor %.100s: libhdf5 refuses the name",
                               tensors[parts[i].tensor].name);
    return 0;
}

/* Appends one run of pages that exist. */
static int keep_extent(struct skeleton *skeleton, int fd, off_t start, off_t end, size_t *total)
{
    size_t size = (size_t)(end - start);
    struct skeleton_extent *extents = realloc(skeleton->extents,
                                              (skeleton->extent_count + 1) * sizeof *extents);
    uint8_t *bytes;
    if (!extents)
        return -ENOMEM;
    skeleton->extents = extents;
    bytes = realloc(skeleton->bytes, *total + size);
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
    size_t total = 0;
    off_t start = 0, end;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r < 0)
        return r;
    skeleton->size_bytes = (uint64_t)st.st_size;
    assert(skeleton->size_bytes % SKELETON_PAGE_BYTES == 0);
    while (r == 0 && (start = lseek(fd, start, SEEK_DATA)) >= 0) {
        end = lseek(fd, start, SEEK_HOLE);
        r = end < 0 ? -errno : keep_extent(skeleton, fd, start, end, &total);
        start = end;
    }
    if (r == 0 && errno != ENXIO) /* ENXIO: no data behind `start` */
        r = -errno;
    return r;
}

/* Closes the HDF5 file, which completes it, and takes its pages. */
static int finish(struct maker *maker, struct mst_err *err)
{
    int r = 0;
    if (H5Fclose(maker->file) < 0)
        r = -EIO;
    maker->file = -1;
    if (r == 0)
        r = keep_image(maker->skeleton, maker->fd);
    return r < 0 ? mst_err_set(err, r, "skeleton: cannot read its image back") : 0;
}

static int create_locked(const struct layout_tensor *tensors, struct layout_part *parts,
                         size_t part_count, uint32_t rank, uint32_t world_size,
                         struct skeleton *skeleton, struct mst_err *err)
{
    struct maker maker;
    int r = maker_open(&maker, skeleton);
    if (r < 0)
        mst_err_set(err, r, "skeleton: libhdf5 cannot make a file in memory");
    else
        r = make_file(&maker, tensors, parts, part_count, rank, world_size, err);
    if (r == 0)
        r = finish(&maker, err);
    maker_close(&maker);
    return r;
}

int skeleton_create(const struct layout_tensor *tensors, struct layout_part *parts,
                    size_t part_count, uint32_t rank, uint32_t world_size,
                    struct skeleton *ret_skeleton, struct mst_err *err)
{
    struct skeleton skeleton = {0};
    int r;
    for (size_t i = 0; i < part_count; i++)
        skeleton.crc_count += parts[i].block_count;
    (void)pthread_mutex_lock(&hdf5_lock);
    H5E_BEGIN_TRY
    {
        r = create_locked(tensors, parts, part_count, rank, world_size, &skeleton, err);
    }
    H5E_END_TRY(void) pthread_mutex_unlock(&hdf5_lock);
    if (r < 0) {
        skeleton_fini(&skeleton);
        return r;
    }
    layout_sort_by_offset(parts, part_count);
    *ret_skeleton = skeleton;
    return 0;
}

void skeleton_install(const struct skeleton *skeleton, uint8_t *image, uint64_t step,
                      struct mst_cspan cursor)
{
    uint64_t cursor_bytes = cursor.size_bytes;
    assert(cursor.size_bytes <= MANIFEST_CURSOR_MAX);
    for (size_t i = 0; i < skeleton->extent_count; i++) {
        const struct skeleton_extent *extent = &skeleton->extents[i];
        memcpy(image + extent->offset, skeleton->bytes + extent->image_at, extent->size_bytes);
    }
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
