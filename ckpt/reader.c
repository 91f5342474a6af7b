#include "ckpt/reader.h"

#include "ckpt/root.h"
#include "ckpt/writer.h"
#include "core/aio.h"
#include "core/clock.h"
#include "core/crc32c.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH 8
#define PAGE_BYTES UINT64_C(4096)
/* A block that starts inside a page ends inside another. */
#define SLOT_BYTES (LAYOUT_BLOCK_BYTES + 2 * PAGE_BYTES)

struct slot {
    struct reader_block block;
    uint8_t *buffer;
    size_t skip; /* from the page's start to the block's */
};

struct reader {
    struct mst_aio *aio;
    int root_fd;
    const struct manifest *manifest;
    int *fds; /* of the files; -1: not open yet */
    uint8_t *buffers;
    struct slot slots[DEPTH];
    struct slot *free[DEPTH];
    size_t free_count;
    struct slot *shown; /* by the last reader_next */
    const struct reader_span *spans;
    size_t span_count, span;
    uint64_t block; /* within the span */
};

int reader_create(struct mst_aio *aio, int root_fd, const struct manifest *manifest,
                  struct reader **ret_reader)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return -ENOMEM;
    *reader = (struct reader){.aio = aio, .root_fd = root_fd, .manifest = manifest};
    reader->fds = malloc(manifest->world_size * sizeof *reader->fds);
    reader->buffers = mmap(NULL, DEPTH * SLOT_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reader->buffers == MAP_FAILED)
        reader->buffers = NULL;
    for (uint32_t r = 0; reader->fds && r < manifest->world_size; r++)
        reader->fds[r] = -1;
    if (!reader->fds || !reader->buffers) {
        reader_destroy(reader);
        return -ENOMEM;
    }
    for (size_t i = 0; i < DEPTH; i++) {
        reader->slots[i].buffer = reader->buffers + i * SLOT_BYTES;
        reader->free[reader->free_count++] = &reader->slots[i];
    }
    *ret_reader = reader;
    return 0;
}

void reader_start(struct reader *reader, const struct reader_span *spans, size_t count)
{
    assert(mst_aio_in_flight(reader->aio) == 0);
    reader->spans = spans;
    reader->span_count = count;
    reader->span = 0;
    reader->block = 0;
}

static void file_path(const struct reader *reader, uint32_t file, char path[2 * ROOT_NAME_MAX])
{
    char step[ROOT_NAME_MAX], name[ROOT_NAME_MAX];
    root_step_name(step, reader->manifest->step);
    root_file_name(name, file);
    snprintf(path, 2 * ROOT_NAME_MAX, "%s/%s", step, name);
}

/* What the disk does not give is damage, as a wrong checksum is; running out of descriptors is not.
 */
static int open_file(struct reader *reader, uint32_t file, struct mst_err *err)
{
    uint64_t expected = reader->manifest->files[file].size_bytes;
    char path[2 * ROOT_NAME_MAX];
    struct stat st;
    int fd;
    if (reader->fds[file] >= 0)
        return 0;
    file_path(reader, file, path);
    fd = writer_open_direct(reader->root_fd, path, O_RDONLY);
    if (fd == -EMFILE || fd == -ENFILE)
        return mst_err_set(err, fd, "%s: %s: raise the limit (ulimit -n)", path, strerror(-fd));
    if (fd < 0)
        return mst_err_set(err, -EBADMSG, "%s: %s", path, strerror(-fd));
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != expected) {
        close(fd);
        return mst_err_set(err, -EBADMSG, "%s: not of the %" PRIu64 " bytes that the manifest says",
                           path, expected);
    }
    reader->fds[file] = fd;
    return 0;
}

static const struct layout_part *part_of(const struct reader *reader,
                                         const struct reader_block *block)
{
    return &reader->manifest->files[block->file].parts[block->part];
}

/* Takes the next block of the job, or returns false at its end. */
static bool take_block(struct reader *reader, struct reader_block *block)
{
    const struct reader_span *span = &reader->spans[reader->span];
    if (reader->span == reader->span_count)
        return false;
    *block = (struct reader_block){
        .file = span->file, .part = span->part, .block = span->block_first + reader->block};
    if (++reader->block == span->block_count) {
        reader->span++;
        reader->block = 0;
    }
    return true;
}

static void submit(struct reader *reader, struct slot *slot)
{
    const struct layout_part *part = part_of(reader, &slot->block);
    uint64_t offset = part->offset + layout_block_start(slot->block.block);
    struct mst_aio_op op = {.kind = MST_AIO_READ,
                            .fd = reader->fds[slot->block.file],
                            .data = slot->buffer,
                            .user = slot};
    int taken;
    slot->block.size_bytes = layout_block_bytes(part, slot->block.block);
    slot->skip = offset % PAGE_BYTES;
    op.offset = offset - slot->skip;
    op.size_bytes = (slot->skip + slot->block.size_bytes + PAGE_BYTES - 1) / PAGE_BYTES *
                    PAGE_BYTES;
    taken = mst_aio_submit(reader->aio, &op, 1);
    assert(taken == 1); /* the aio is at least as deep as we are */
    (void)taken;
}

/* Keeps all free slots busy. A file that cannot be opened fails one block. */
static int fill(struct reader *reader, struct reader_block *ret_block, struct mst_err *err)
{
    while (reader->free_count > 0) {
        struct slot *slot = reader->free[reader->free_count - 1];
        int r;
        if (!take_block(reader, &slot->block))
            return 0;
        r = open_file(reader, slot->block.file, err);
        if (r < 0) {
            *ret_block = slot->block;
            mst_err_wrap(err, "tensor %.80s block %" PRIu64,
                         reader->manifest->tensors[part_of(reader, &slot->block)->tensor].name,
                         slot->block.block);
            return r;
        }
        reader->free_count--;
        submit(reader, slot);
    }
    return 0;
}

static int describe_damage(const struct reader *reader, const struct reader_block *block,
                           struct mst_err *err, const char *fault)
{
    const struct layout_part *part = part_of(reader, block);
    uint64_t start = layout_block_start(block->block);
    char path[2 * ROOT_NAME_MAX];
    file_path(reader, block->file, path);
    return mst_err_set(err, -EBADMSG,
                       "%s: tensor %.80s block %" PRIu64 " (bytes %" PRIu64 "..%" PRIu64 "): %s",
                       path, reader->manifest->tensors[part->tensor].name, block->block, start,
                       start + layout_block_bytes(part, block->block) - 1, fault);
}

static int check_block(struct reader *reader, const struct slot *slot, int64_t result,
                       struct mst_err *err)
{
    const struct reader_block *block = &slot->block;
    const struct manifest_file *file = &reader->manifest->files[block->file];
    uint32_t said = file->crcs[part_of(reader, block)->block_first + block->block], is;
    char fault[64];
    if (result < 0)
        return describe_damage(reader, block, err, strerror((int)-result));
    if (result < (int64_t)(slot->skip + block->size_bytes))
        return describe_damage(reader, block, err, "the file ends inside of it");
    is = mst_crc32c(0, slot->buffer + slot->skip, block->size_bytes);
    if (is == said)
        return 1;
    snprintf(fault, sizeof fault, "checksum %08" PRIx32 ", manifest says %08" PRIx32, is, said);
    return describe_damage(reader, block, err, fault);
}

int reader_next(struct reader *reader, uint64_t deadline_ns, struct reader_block *ret_block,
                struct mst_err *err)
{
    struct mst_aio_done done;
    int r;
    if (reader->shown)
        reader->free[reader->free_count++] = reader->shown;
    reader->shown = NULL;
    r = fill(reader, ret_block, err);
    if (r < 0)
        return r;
    if (reader->free_count == DEPTH)
        return 0;
    r = mst_aio_reap(reader->aio, &done, 1, 1, deadline_ns);
    if (r < 0)
        return mst_err_set(err, r, "reading step %" PRIu64 ": %s", reader->manifest->step,
                           strerror(-r));
    reader->shown = done.user;
    reader->shown->block.data = reader->shown->buffer + reader->shown->skip;
    *ret_block = reader->shown->block;
    return check_block(reader, reader->shown, done.result, err);
}

/* Adds [start, end) of the file to the checksum. */
static int add_gap(int fd, uint64_t start, uint64_t end, uint8_t *buffer, uint32_t *crc)
{
    while (start < end) {
        size_t want = end - start < LAYOUT_BLOCK_BYTES ? end - start : LAYOUT_BLOCK_BYTES;
        ssize_t n = pread(fd, buffer, want, (off_t)start);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        *crc = mst_crc32c(*crc, buffer, (size_t)n);
        start += (uint64_t)n;
    }
    return 0;
}

static int checksum_gaps(int fd, const struct manifest_file *file, uint8_t *buffer, uint32_t *crc)
{
    uint64_t at = 0;
    int r = 0;
    for (size_t i = 0; i < file->part_count && r == 0; i++) {
        r = add_gap(fd, at, file->parts[i].offset, buffer, crc);
        at = file->parts[i].offset + file->parts[i].size_bytes;
    }
    return r == 0 ? add_gap(fd, at, file->size_bytes, buffer, crc) : r;
}

int reader_check_frame(struct reader *reader, uint32_t file, struct mst_err *err)
{
    const struct manifest_file *said = &reader->manifest->files[file];
    char path[2 * ROOT_NAME_MAX];
    uint32_t crc = 0;
    int fd, r;
    file_path(reader, file, path);
    fd = openat(reader->root_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mst_err_set(err, -EBADMSG, "%s: %s", path, strerror(errno));
    r = checksum_gaps(fd, said, reader->slots[0].buffer, &crc);
    close(fd);
    if (r < 0)
        return mst_err_set(err, -EBADMSG, "%s: %s", path, strerror(-r));
    if (crc != said->frame_crc)
        return mst_err_set(err, -EBADMSG,
                           "%s: HDF5 metadata (all bytes outside of tensors): checksum %08" PRIx32
                           ", manifest says %08" PRIx32,
                           path, crc, said->frame_crc);
    return 0;
}

void reader_destroy(struct reader *reader)
{
    struct mst_aio_done done;
    if (!reader)
        return;
    while (mst_aio_in_flight(reader->aio) > 0)
        (void)mst_aio_reap(reader->aio, &done, 1, 1, MST_NEVER); /* buffers are borrowed */
    for (uint32_t r = 0; reader->fds && r < reader->manifest->world_size; r++)
        if (reader->fds[r] >= 0)
            close(reader->fds[r]);
    if (reader->buffers)
        (void)munmap(reader->buffers, DEPTH * SLOT_BYTES);
    free(reader->fds);
    free(reader);
}
