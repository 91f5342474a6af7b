#include "muster/ckpt/reader.h"

#include "muster/ckpt/tier.h"
#include "muster/core/clock.h"
#include "muster/core/crc32c.h"
#include "muster/core/err.h"
#include "muster/core/huge.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOT_BYTES (LAYOUT_BLOCK_BYTES + TIER_SLACK_BYTES)

struct slot {
    struct tier_read read; /* first: it is what comes back */
    uint8_t *own;          /* memory, for what is not read to its place */
    struct reader_block block;
};

struct reader {
    struct tier *tier;
    const struct manifest *manifest;
    uint8_t *buffers;
    struct slot slots[TIER_DEPTH];
    struct slot *free[TIER_DEPTH]; /* neither in flight nor shown */
    size_t free_count;
    bool has_begun;
    struct slot *shown; /* by the last reader_next */
    const struct reader_span *spans;
    size_t span_count, span;
    uint64_t block; /* within the span */
};

int reader_create(struct tier *tier, const struct manifest *manifest, struct reader **ret_reader)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return -ENOMEM;
    *reader = (struct reader){.tier = tier, .manifest = manifest};
    reader->buffers = mst_huge_map(TIER_DEPTH * SLOT_BYTES);
    reader->has_begun = reader->buffers && tier->ops->begin(tier, manifest) == 0;
    if (!reader->has_begun) {
        reader_destroy(reader);
        return -ENOMEM;
    }
    for (size_t i = 0; i < TIER_DEPTH; i++) {
        reader->slots[i].own = reader->buffers + i * SLOT_BYTES;
        reader->free[reader->free_count++] = &reader->slots[i];
    }
    *ret_reader = reader;
    return 0;
}

void reader_start(struct reader *reader, const struct reader_span *spans, size_t count)
{
    reader->spans = spans;
    reader->span_count = count;
    reader->span = 0;
    reader->block = 0;
}

static const struct layout_part *part_of(const struct reader *reader,
                                         const struct reader_block *block)
{
    return &reader->manifest->files[block->file].parts[block->part];
}

/* Takes the next block of the job, or returns false at its end. */
static bool take_block(struct reader *reader, struct reader_block *block)
{
    assert(reader->span <= reader->span_count);
    if (reader->span == reader->span_count)
        return false;
    const struct reader_span *span = &reader->spans[reader->span];
    *block = (struct reader_block){.span = reader->span,
                                   .file = span->file,
                                   .part = span->part,
                                   .block = span->block_first + reader->block};
    if (++reader->block == span->block_count) {
        reader->span++;
        reader->block = 0;
    }
    return true;
}

/* A read brings whole pages: at its place it must not bring any of another block. */
static uint8_t *place_of(const struct reader *reader, const struct slot *slot)
{
    const struct reader_span *span = &reader->spans[slot->block.span];
    uint64_t start = layout_block_start(slot->block.block);
    bool is_wanted = span->into && start >= span->start &&
                     start + slot->block.size_bytes <= span->end;
    if (!is_wanted || slot->read.offset % TIER_PAGE_BYTES != 0)
        return slot->own;
    uint8_t *place = span->into + (start - span->start);
    assert((uintptr_t)place % TIER_PAGE_BYTES == 0);
    return place;
}

static int submit(struct reader *reader, struct slot *slot, struct mst_err *err)
{
    const struct layout_part *part = part_of(reader, &slot->block);
    slot->block.size_bytes = layout_block_bytes(part, slot->block.block);
    slot->read.file = slot->block.file;
    slot->read.offset = part->offset + layout_block_start(slot->block.block);
    slot->read.size_bytes = slot->block.size_bytes;
    slot->read.buffer = place_of(reader, slot);
    return reader->tier->ops->submit(reader->tier, &slot->read, err);
}

/* Keeps all free slots busy. A file that cannot be opened fails one block. */
static int fill(struct reader *reader, struct reader_block *ret_block, struct mst_err *err)
{
    while (reader->free_count > 0) {
        struct slot *slot = reader->free[reader->free_count - 1];
        if (!take_block(reader, &slot->block))
            return 0;
        int rc = submit(reader, slot, err);
        if (rc < 0) {
            *ret_block = slot->block;
            mst_err_wrap(err, "tensor %.80s block %" PRIu64,
                         reader->manifest->tensors[part_of(reader, &slot->block)->tensor].name,
                         slot->block.block);
            return rc;
        }
        reader->free_count--;
    }
    return 0;
}

static int describe(const struct reader *reader, const struct reader_block *block, int code,
                    const char *fault, struct mst_err *err)
{
    const struct layout_part *part = part_of(reader, block);
    uint64_t start = layout_block_start(block->block);
    char path[ROOT_PATH_MAX];
    root_file_path(path, reader->manifest, block->file);
    return mst_err_set(err, code,
                       "%s: tensor %.80s block %" PRIu64 " (bytes %" PRIu64 "..%" PRIu64 "): %s",
                       path, reader->manifest->tensors[part->tensor].name, block->block, start,
                       start + layout_block_bytes(part, block->block) - 1, fault);
}

static int check_block(struct reader *reader, const struct slot *slot, struct mst_err *err)
{
    const struct reader_block *block = &slot->block;
    const struct manifest_file *file = &reader->manifest->files[block->file];
    if (slot->read.result < 0)
        return describe(reader, block, (int)slot->read.result, slot->read.fault, err);
    if (slot->read.result < (int64_t)block->size_bytes)
        return describe(reader, block, -EBADMSG, "the file ends inside of it", err);
    uint32_t said = file->crcs[part_of(reader, block)->block_first + block->block];
    uint32_t is = mst_crc32c(0, block->data, block->size_bytes);
    if (is == said)
        return 1;
    char fault[64];
    snprintf(fault, sizeof fault, "checksum %08" PRIx32 ", manifest says %08" PRIx32, is, said);
    return describe(reader, block, -EBADMSG, fault, err);
}

int reader_next(struct reader *reader, uint64_t deadline_ns, struct reader_block *ret_block,
                struct mst_err *err)
{
    if (reader->shown)
        reader->free[reader->free_count++] = reader->shown;
    assert(reader->free_count <= TIER_DEPTH);
    reader->shown = NULL;
    int rc = fill(reader, ret_block, err);
    if (rc < 0)
        return rc;
    if (reader->free_count == TIER_DEPTH)
        return 0;
    struct tier_read *read;
    rc = reader->tier->ops->reap(reader->tier, &read, deadline_ns);
    if (rc < 0)
        return mst_err_set(err, rc, "reading step %" PRIu64 ": %s", reader->manifest->step,
                           mst_err_meaning(rc));
    reader->shown = (struct slot *)read;
    reader->shown->block.data = read->data;
    *ret_block = reader->shown->block;
    return check_block(reader, reader->shown, err);
}

/* Adds [start, end) of the file to the checksum. Nothing else is in flight. */
static int add_gap(struct reader *reader, uint32_t file, uint64_t start, uint64_t end,
                   uint32_t *crc, struct mst_err *err)
{
    struct tier_read *read = &reader->slots[0].read;
    while (start < end) {
        read->file = file;
        read->offset = start;
        read->size_bytes = mst_least(end - start, LAYOUT_BLOCK_BYTES);
        read->buffer = reader->slots[0].own;
        int rc = reader->tier->ops->submit(reader->tier, read, err);
        if (rc == 0)
            rc = reader->tier->ops->reap(reader->tier, &read, MST_NEVER);
        if (rc < 0)
            return rc;
        if (read->result < (int64_t)read->size_bytes)
            return mst_err_set(err, read->result < 0 ? (int)read->result : -EBADMSG, "%s: %s",
                               read->path, read->result < 0 ? read->fault : "it ends too early");
        *crc = mst_crc32c(*crc, read->data, read->size_bytes);
        start += read->size_bytes;
    }
    return 0;
}

static int checksum_gaps(struct reader *reader, uint32_t file, uint32_t *crc, struct mst_err *err)
{
    const struct manifest_file *said = &reader->manifest->files[file];
    uint64_t at = 0;
    int rc = 0;
    for (size_t i = 0; i < said->part_count && rc == 0; i++) {
        rc = add_gap(reader, file, at, said->parts[i].offset, crc, err);
        at = said->parts[i].offset + said->parts[i].size_bytes;
    }
    return rc == 0 ? add_gap(reader, file, at, said->size_bytes, crc, err) : rc;
}

int reader_check_frame(struct reader *reader, uint32_t file, struct mst_err *err)
{
    const struct manifest_file *said = &reader->manifest->files[file];
    assert(reader->free_count + (reader->shown != NULL) == TIER_DEPTH);
    uint32_t crc = 0;
    int rc = checksum_gaps(reader, file, &crc, err);
    if (rc < 0 || crc == said->frame_crc)
        return rc;
    char path[ROOT_PATH_MAX];
    root_file_path(path, reader->manifest, file);
    return mst_err_set(err, -EBADMSG,
                       "%s: HDF5 metadata (all bytes outside of tensors, which no load reads): "
                       "checksum %08" PRIx32 ", manifest says %08" PRIx32,
                       path, crc, said->frame_crc);
}

void reader_destroy(struct reader *reader)
{
    if (!reader)
        return;
    if (reader->has_begun)
        reader->tier->ops->end(reader->tier);
    mst_huge_unmap(reader->buffers, TIER_DEPTH * SLOT_BYTES);
    free(reader);
}
