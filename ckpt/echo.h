/* Echo: what a device says of the bytes that were copied to it. It takes their checksums by itself,
 * block by block as they were saved, and they are compared with the manifest's: what was verified
 * in memory of the host has arrived. */
#ifndef MUSTER_CKPT_ECHO_H
#define MUSTER_CKPT_ECHO_H

#include "muster/ckpt/layout.h"

struct mst_gpu_queue;

/* Bytes of one part; all that it points to is borrowed. */
struct echo_piece {
    const uint8_t *there, *here; /* on the device, and where they came from */
    uint64_t start, size_bytes;  /* from the part's first byte; at least one */
    const struct layout_part *part;
    const uint32_t *crcs; /* of the file's blocks */
};

/* How many blocks a piece has bytes of: there is a checksum for each. */
size_t echo_count(const struct echo_piece *piece);

/* Puts the work into the queue, behind the copy; `sums` is the device's memory. 0; -ENOTSUP without
 * kernels; -ENOMEM; -EIO. */
int echo_ask(struct mst_gpu_queue *queue, const struct echo_piece *piece, uint32_t *sums);

/* Compares what was heard. Returns the index of the first block that differs, or echo_count. */
size_t echo_compare(const struct echo_piece *piece, const uint32_t *heard);

#endif
